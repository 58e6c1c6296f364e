//! A connection, and how swanctl.conf says it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::authority::Leaf;
use crate::lab::{Outcome, failure};

/// How a party shows who it is.
#[derive(Clone)]
pub enum Auth {
    /// By a secret that both know.
    Psk(String),
    /// By a certificate. Only the party itself gets certificate and key, its peer gets the authority's certificate.
    Certificate(Leaf),
    /// By EAP-MSCHAPv2 with a password; the identity is the user's name.
    Password(String),
}

/// One of the two that speak; the same value describes it at both ends.
#[derive(Clone)]
pub struct Party {
    /// An FQDN, an address, a mail address, a distinguished name; `%any` is everyone.
    pub id: String,
    /// How it shows that.
    pub auth: Auth,
}

impl Party {
    /// A party of that name.
    pub fn new(id: &str, auth: Auth) -> Self {
        Self { id: id.to_owned(), auth }
    }
}

/// What ESP carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Whole packets.
    Tunnel,
    /// What the packets of both ends themselves carry.
    Transport,
}

/// An IPsec SA of a connection. Selectors are in swanctl's words: `10.3.0.0/24`, `dynamic[udp/1701]`.
#[derive(Clone)]
pub struct Child {
    /// What it is called in commands.
    pub name: String,
    /// Our side.
    pub local_ts: Vec<String>,
    /// The other.
    pub remote_ts: Vec<String>,
    /// As `aes256gcm16-x25519`, several with commas.
    pub proposals: String,
    /// What it carries.
    pub mode: Mode,
    /// In whole seconds; `None`: as strongSwan likes, which is hours.
    pub rekey_after: Option<Duration>,
}

impl Child {
    /// A tunnel between networks.
    pub fn tunnel(name: &str, local_ts: &str, remote_ts: &str) -> Self {
        Self {
            name: name.to_owned(),
            local_ts: vec![local_ts.to_owned()],
            remote_ts: vec![remote_ts.to_owned()],
            proposals: "aes256gcm16-x25519".into(),
            mode: Mode::Tunnel,
            rekey_after: None,
        }
    }
}

/// An IKEv2 connection as charon is to have it.
#[derive(Clone)]
pub struct Connection {
    /// What it is called in commands.
    pub name: String,
    /// `None`: whichever fits.
    pub local_address: Option<IpAddr>,
    /// `None`: whoever comes.
    pub remote_address: Option<IpAddr>,
    /// As `aes256gcm16-prfsha384-x25519`, several with commas.
    pub proposals: String,
    /// We.
    pub local: Party,
    /// They.
    pub remote: Party,
    /// Addresses to ask for; an unspecified one is any.
    pub virtual_ips: Vec<IpAddr>,
    /// Addresses to give to those who ask, as `10.60.9.0/24`.
    pub pool: Option<String>,
    /// Addresses may change (RFC 4555).
    pub mobike: bool,
    /// Long messages go in fragments (RFC 7383): `yes`, `no`, `accept`, `force`.
    pub fragmentation: &'static str,
    /// ESP goes inside UDP even if nobody translates addresses. A charon in a namespace does so in any case.
    pub encapsulation: bool,
    /// How long the peer may be silent before it is asked whether it lives, in whole seconds; `None`: for ever.
    pub dpd_after: Option<Duration>,
    /// In whole seconds; `None`: as strongSwan likes, which is hours.
    pub rekey_after: Option<Duration>,
    /// Its IPsec SAs.
    pub children: Vec<Child>,
}

impl Connection {
    /// One with a child; all else is as strongSwan likes.
    pub fn new(name: &str, local: Party, remote: Party, child: Child) -> Self {
        Self {
            name: name.to_owned(),
            local_address: None,
            remote_address: None,
            proposals: "aes256gcm16-prfsha384-x25519".into(),
            local,
            remote,
            virtual_ips: Vec::new(),
            pool: None,
            mobike: true,
            fragmentation: "yes",
            encapsulation: false,
            dpd_after: None,
            rekey_after: None,
            children: vec![child],
        }
    }

    /// There are some to be read.
    pub(super) fn has_certificates(&self) -> bool {
        [&self.local, &self.remote].iter().any(|party| matches!(party.auth, Auth::Certificate(_)))
    }

    /// Of all that strongSwan can be told about a connection.
    fn text(&self) -> String {
        let address = |address: Option<IpAddr>| address.map_or("%any".to_owned(), |address| address.to_string());
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let mut lines = vec![
            ("version", "2".to_owned()),
            ("local_addrs", address(self.local_address)),
            ("remote_addrs", address(self.remote_address)),
            ("proposals", self.proposals.clone()),
            ("mobike", yes(self.mobike)),
            ("fragmentation", self.fragmentation.to_owned()),
            ("encap", yes(self.encapsulation)),
        ];
        if !self.virtual_ips.is_empty() {
            lines.push(("vips", listed(&self.virtual_ips)));
        }
        if self.pool.is_some() {
            lines.push(("pools", self.pool_name()));
        }
        lines.extend(self.dpd_after.map(|delay| ("dpd_delay", seconds(delay))));
        lines.extend(rekeying(self.rekey_after));
        let children: String = self.children.iter().map(Child::text).collect();
        let [local, remote] = [self.local_lines(), self.remote_lines()];
        let inner = [section("local", &local, ""), section("remote", &remote, ""), section("children", &[], &children)];
        section(&self.name, &lines, &inner.concat())
    }

    fn local_lines(&self) -> Vec<(&'static str, String)> {
        let Party { id, auth } = &self.local;
        let mut lines = vec![("id", id.clone())];
        match auth {
            Auth::Psk(_) => lines.push(("auth", "psk".into())),
            Auth::Certificate(_) => lines.extend([("auth", "pubkey".into()), ("certs", self.file_name())]),
            Auth::Password(_) => lines.extend([("auth", "eap-mschapv2".into()), ("eap_id", id.clone())]),
        }
        lines
    }

    fn remote_lines(&self) -> Vec<(&'static str, String)> {
        let Party { id, auth } = &self.remote;
        match auth {
            Auth::Psk(_) => vec![("id", id.clone()), ("auth", "psk".into())],
            Auth::Certificate(_) => vec![("id", id.clone()), ("auth", "pubkey".into()), ("cacerts", self.file_name())],
            // Users call themselves what they like until EAP asks them; the secret says who they may be.
            Auth::Password(_) => {
                vec![("id", "%any".into()), ("auth", "eap-mschapv2".into()), ("eap_id", "%any".into())]
            }
        }
    }

    fn secrets(&self) -> String {
        let (local, remote) = (&self.local, &self.remote);
        let ids = [("id-1", local.id.clone()), ("id-2", remote.id.clone())].into_iter().filter(|(_, id)| id != "%any");
        let mut text = String::new();
        if let (Auth::Psk(secret), _) | (_, Auth::Psk(secret)) = (&local.auth, &remote.auth) {
            let lines: Vec<_> = ids.chain([("secret", format!("\"{secret}\""))]).collect();
            text += &section(&format!("ike-{}", self.name), &lines, "");
        }
        for (end, party) in [("local", local), ("remote", remote)] {
            if let Auth::Password(password) = &party.auth {
                let lines = [("id", party.id.clone()), ("secret", format!("\"{password}\""))];
                text += &section(&format!("eap-{}-{end}", self.name), &lines, "");
            }
        }
        text
    }

    fn pool_name(&self) -> String {
        format!("{}-pool", self.name)
    }

    fn file_name(&self) -> String {
        format!("{}.pem", self.name)
    }
}

impl Child {
    fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Tunnel => "tunnel",
            Mode::Transport => "transport",
        };
        let mut lines = vec![
            ("local_ts", listed(&self.local_ts)),
            ("remote_ts", listed(&self.remote_ts)),
            ("esp_proposals", self.proposals.clone()),
            ("mode", mode.to_owned()),
        ];
        lines.extend(rekeying(self.rekey_after));
        section(&self.name, &lines, "")
    }
}

/// Writes the folder that swanctl is to load.
pub(super) fn write(dir: &Path, connections: &[&Connection]) -> Outcome<()> {
    // swanctl complains about each that is not there.
    const FOLDERS: [&str; 13] = [
        "x509", "x509ca", "x509ocsp", "x509aa", "x509ac", "x509crl", "pubkey", "private", "rsa", "ecdsa", "bliss",
        "pkcs8", "pkcs12",
    ];
    for folder in FOLDERS {
        std::fs::create_dir_all(dir.join(folder)).map_err(failure)?;
    }
    let (mut all, mut secrets, mut pools) = (String::new(), String::new(), String::new());
    for connection in connections {
        all += &connection.text();
        secrets += &connection.secrets();
        if let Some(addresses) = &connection.pool {
            pools += &section(&connection.pool_name(), &[("addrs", addresses.clone())], "");
        }
        let name = connection.file_name();
        if let Auth::Certificate(leaf) = &connection.local.auth {
            std::fs::write(dir.join("x509").join(&name), &leaf.certificate).map_err(failure)?;
            std::fs::write(dir.join("private").join(&name), &leaf.key).map_err(failure)?;
        }
        if let Auth::Certificate(leaf) = &connection.remote.auth {
            std::fs::write(dir.join("x509ca").join(&name), &leaf.issuer).map_err(failure)?;
        }
    }
    let parts = [("connections", all), ("secrets", secrets), ("pools", pools)];
    let text: String = parts.iter().map(|(name, body)| section(name, &[], body)).collect();
    std::fs::write(dir.join("swanctl.conf"), text).map_err(failure)
}

fn section(name: &str, lines: &[(&str, String)], inner: &str) -> String {
    let mut text = format!("{name} {{\n");
    for (key, value) in lines {
        let _ = writeln!(text, "{key} = {value}");
    }
    text + inner + "}\n"
}

fn listed(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// When exactly, for tests: strongSwan takes up to a tenth off, as chance will have it.
fn rekeying(after: Option<Duration>) -> Vec<(&'static str, String)> {
    after.map_or_else(Vec::new, |after| vec![("rekey_time", seconds(after)), ("rand_time", "0s".to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psk(id: &str) -> Party {
        Party::new(id, Auth::Psk("a secret".into()))
    }

    #[test]
    fn a_secret_is_for_two() {
        let connection =
            Connection::new("t", psk("a.lab"), psk("b.lab"), Child::tunnel("net", "10.9.0.0/24", "dynamic"));
        assert_eq!(connection.secrets(), "ike-t {\nid-1 = a.lab\nid-2 = b.lab\nsecret = \"a secret\"\n}\n");
        let anyone = Connection { remote: psk("%any"), ..connection };
        assert_eq!(anyone.secrets(), "ike-t {\nid-1 = a.lab\nsecret = \"a secret\"\n}\n");
    }

    #[test]
    fn what_is_not_said_is_left_to_strongswan() {
        let plain = Connection::new("t", psk("a"), psk("b"), Child::tunnel("net", "10.9.0.0/24", "10.3.0.0/24"));
        for word in ["vips", "pools", "dpd_delay", "rekey_time"] {
            assert!(!plain.text().contains(word), "{word}");
        }
        let full = Connection {
            virtual_ips: vec![IpAddr::from([0, 0, 0, 0])],
            pool: Some("10.60.9.0/24".into()),
            dpd_after: Some(Duration::from_secs(3)),
            rekey_after: Some(Duration::from_secs(60)),
            ..plain
        };
        for line in ["vips = 0.0.0.0\n", "pools = t-pool\n", "dpd_delay = 3s\n", "rekey_time = 60s\n"] {
            assert!(full.text().contains(line), "{line}");
        }
    }
}
