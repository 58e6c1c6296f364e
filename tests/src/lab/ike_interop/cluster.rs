//! What the members are told: few connections, told apart by the name that the peer wants us by, which take all that we have.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::charon::{Auth, Authority, Keys, Leaf, Party};
use super::cases::Proof;
use crate::lab::{Outcome, failure, stage};

/// The key of all who have one.
pub(super) const SECRET: &str = "a secret of the lab's hosts";
pub(super) const USER: &str = "carol";
pub(super) const PASSWORD: &str = "Carol's own: a password";
/// Who the connection for one peer alone is for.
pub(super) const PINNED: &str = "pinned.lab";

/// The name of the connection for who speaks to the cluster itself.
pub(super) const HOST: &str = "host.gw.lab";
/// Of the relay, and of the server that it leads to.
pub(super) const WEB_PORT: u16 = 7880;

/// Of IKE, all that we know.
pub(super) const IKE: [&str; 2] = [
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-prfsha1-prfaesxcbc-prfaescmac-\
     x25519-ecp256-ecp384-ecp521-modp2048-modp3072-modp4096",
    "aes256-aes128-aes256ctr-aes128ctr-sha256-sha384-sha512-sha1-aesxcbc-aescmac-prfsha256-prfsha384-prfsha512-prfsha1-\
     prfaesxcbc-prfaescmac-x25519-ecp256-ecp384-ecp521-modp2048-modp3072-modp4096",
];
const ESP: [&str; 2] = [
    "aes256gcm16-aes128gcm16-chacha20poly1305-aes256gmac-aes128gmac",
    "aes256-aes128-aes256ctr-aes128ctr-null-sha256-sha384-sha512-sha1-aesxcbc-aescmac",
];
const GROUPS: &str = "x25519-ecp256-ecp384-ecp521-modp2048-modp3072-modp4096";

/// The certificates of a run: of each kind of key an authority, ours, and a peer's.
pub(super) struct Papers {
    dir: PathBuf,
    all: Vec<Paper>,
}

/// Of a kind of key.
pub(super) struct Paper {
    pub(super) keys: Keys,
    pub(super) gateway: Leaf,
    pub(super) peer: Leaf,
    /// Somebody else's, of the same name.
    pub(super) stranger: Leaf,
}

/// The name that peers want us by, where certificates of these keys prove names.
pub(super) fn name_of(keys: Keys) -> &'static str {
    match keys {
        Keys::P256 => "p256.gw.lab",
        Keys::P384 => "p384.gw.lab",
        Keys::Ed25519 => "ed25519.gw.lab",
        Keys::Rsa => "rsa.gw.lab",
    }
}

impl Papers {
    /// Issued anew, in a folder of the run's own.
    pub(super) fn issue() -> Outcome<Self> {
        let dir = stage::target_dir().join(format!("interop/papers-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(failure)?;
        let all = [Keys::P256, Keys::P384, Keys::Ed25519, Keys::Rsa].into_iter().map(|keys| Paper::issue(keys, &dir));
        let papers = Self { all: all.collect::<Outcome<_>>()?, dir };
        write(&papers.dir.join("users"), &format!("{USER}:{PASSWORD}\n"))?;
        Ok(papers)
    }

    pub(super) fn of(&self, keys: Keys) -> &Paper {
        self.all.iter().find(|paper| paper.keys == keys).unwrap_or(&self.all[0])
    }

    /// The cluster's certificate of these keys.
    fn own(&self, keys: Keys) -> String {
        let (dir, name) = (self.dir.display(), name_of(keys));
        format!("certificate = \"{dir}/{name}.pem\"\nprivate_key = \"{dir}/{name}.key\"\n")
    }

    /// That, and who may issue the peers' ones.
    pub(super) fn proves(&self, keys: Keys) -> String {
        format!("{}ca = [\"{}/{}.ca\"]\n", self.own(keys), self.dir.display(), name_of(keys))
    }

    /// The peer and the cluster, as strongSwan is to have them, who prove their names so.
    pub(super) fn parties(&self, proof: Proof, (near, gateway): (&str, &str)) -> [Party; 2] {
        let psk = |id: &str, key: &str| Party::new(id, Auth::Psk(key.to_owned()));
        match proof {
            Proof::Psk => [psk(near, SECRET), psk(gateway, SECRET)],
            Proof::WrongPsk => [psk(near, "not the lab's hosts' secret"), psk(gateway, "not the lab's hosts' secret")],
            Proof::Certificates(keys) | Proof::Stranger(keys) | Proof::Eap(keys) | Proof::WrongPassword(keys) => {
                let paper = self.of(keys);
                let local = match proof {
                    Proof::Certificates(_) => Party::new(near, Auth::Certificate(paper.peer.clone())),
                    Proof::Stranger(_) => Party::new(near, Auth::Certificate(paper.stranger.clone())),
                    Proof::WrongPassword(_) => Party::new(USER, Auth::Password("a guess".into())),
                    _ => Party::new(USER, Auth::Password(PASSWORD.into())),
                };
                [local, Party::new(gateway, Auth::Certificate(paper.gateway.clone()))]
            }
        }
    }

    /// The members' configuration.
    pub(super) fn config(&self) -> String {
        let dir = self.dir.display();
        let mut toml = format!("[ipsec]\nusers = \"{dir}/users\"\n");
        let psk = format!("psk = \"{SECRET}\"");
        connection(&mut toml, "pinned", "gw.lab", &format!("{psk}\nremote_id = \"{PINNED}\""), "");
        connection(&mut toml, "branch", "gw.lab", &psk, "");
        connection(&mut toml, "impatient", "dpd.gw.lab", &format!("{psk}\ndpd_delay_s = 1"), "");
        connection(&mut toml, "renewing", "renew.gw.lab", &format!("{psk}\nrekey_time_s = 75"), "rekey_time_s = 60");
        connection(&mut toml, "worn", "worn.gw.lab", &psk, "life_packets = 1000");
        for paper in &self.all {
            let name = name_of(paper.keys);
            let own = self.own(paper.keys);
            let called = name.replace('.', "-");
            connection(&mut toml, &called, name, &self.proves(paper.keys), "");
            if [Keys::P256, Keys::Rsa].contains(&paper.keys) {
                let road = format!("{own}\neap = \"mschapv2\"\npools = [\"road4\", \"road6\"]\ndns = [\"10.3.0.100\"]");
                roaming(&mut toml, &format!("eap-{called}"), name, &road);
            }
        }
        roaming(&mut toml, "road", "road.gw.lab", &format!("{psk}\npools = [\"road4\", \"road6\"]"));
        head(&mut toml, "host", HOST, &psk);
        self::child(&mut toml, "own", "mode = \"transport\"");
        let _ = writeln!(
            toml,
            "[[relay]]\nname = \"web\"\nlisten = \"{}:{WEB_PORT}\"\nbackend = [\"{}:{WEB_PORT}\"]\nhealth_check = false",
            stage::cluster(false),
            stage::server(false)
        );
        let _ = writeln!(toml, "[[ipsec.pool]]\nname = \"road4\"\nnetwork = \"10.99.0.0/24\"");
        let _ = writeln!(toml, "[[ipsec.pool]]\nname = \"road6\"\nnetwork = \"fd00:99::/120\"");
        toml
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Paper {
    fn issue(keys: Keys, dir: &Path) -> Outcome<Self> {
        let authority = Authority::with("the lab", keys)?;
        let name = name_of(keys);
        let gateway = authority.issue(name)?;
        write(&dir.join(format!("{name}.pem")), &gateway.certificate)?;
        write(&dir.join(format!("{name}.key")), &gateway.key)?;
        write(&dir.join(format!("{name}.ca")), &gateway.issuer)?;
        let stranger = Authority::with("the lab", keys)?.issue("near.lab")?;
        Ok(Self { keys, gateway, peer: authority.issue("near.lab")?, stranger })
    }
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(failure)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failure)
}

/// For branches: networks of IPv4 and of IPv6.
fn connection(toml: &mut String, name: &str, local_id: &str, more: &str, more_of_children: &str) {
    head(toml, name, local_id, more);
    for (child, ours, theirs) in [("net", "10.3.0.0/24", "10.60.0.0/16"), ("net6", "fd00:3::/64", "fd00:60::/32")] {
        self::child(toml, child, &format!("local_ts = [\"{ours}\"]\nremote_ts = [\"{theirs}\"]\n{more_of_children}"));
    }
}

/// For who is given an address.
fn roaming(toml: &mut String, name: &str, local_id: &str, more: &str) {
    head(toml, name, local_id, more);
    self::child(toml, "lan", "local_ts = [\"10.3.0.0/24\", \"fd00:3::/64\"]");
}

fn head(toml: &mut String, name: &str, local_id: &str, more: &str) {
    let proposals = IKE.map(|proposal| format!("\"{proposal}\"")).join(", ");
    let _ = writeln!(
        toml,
        "[[ipsec.connection]]\nname = \"{name}\"\nlocal_id = \"{local_id}\"\n{more}\nproposals = [{proposals}]"
    );
}

fn child(toml: &mut String, name: &str, traffic: &str) {
    let proposals = ESP.map(|proposal| format!("\"{proposal}-{GROUPS}\", \"{proposal}\"")).join(", ");
    let _ = writeln!(toml, "[[ipsec.connection.child]]\nname = \"{name}\"\nesp = [{proposals}]\n{traffic}");
}
