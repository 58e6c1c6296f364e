//! What is tried. What strongSwan is told is in the case; the cluster takes whatever it knows.

use super::super::charon::Keys;

/// Where the peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A namespace, ESP inside UDP.
    Client,
    /// Behind a translator of addresses.
    Far,
    /// A guest, whose kernel does ESP.
    Guest,
}

/// How the two prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// By a shared key.
    Psk,
    /// By a key that the cluster does not know.
    WrongPsk,
    /// Both by certificates.
    Certificates(Keys),
    /// Both by certificates, the peer's from an authority that the cluster does not trust.
    Stranger(Keys),
    /// The cluster by a certificate, the peer by a password.
    Eap(Keys),
    /// The same, with a wrong one.
    WrongPassword(Keys),
}

/// What is done while the tunnel is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Pings, and counters.
    Pings,
    /// The peer rekeys its child, in the group that the child's proposal names; then pings.
    Group,
    /// The peer rekeys child and IKE SA while pings pass.
    Rekeys,
    /// The cluster does, as configured.
    ClusterRekeys,
    /// The cluster gives a child new keys because of what it has carried.
    WornKeys,
    /// The peer gets another address in place of its own.
    Moves,
    /// The peer asks for another child.
    SecondChild,
    /// Messages must have come in pieces, both ways.
    Pieces,
    /// The peer loads a file through one of the cluster's relays.
    Relay,
    /// The peer dies without a word, and the cluster notices.
    Dies,
    /// The peer dies without a word, and comes again.
    ComesAgain,
}

/// What is to come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It works, in every way.
    Works,
    /// The peer is refused, and says so in these words.
    Refused(&'static str),
}

/// One thing that is tried.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called in the table.
    pub name: String,
    /// Where the peer is.
    pub peer: Peer,
    /// How many members the cluster has: one or three.
    pub members: u8,
    /// As whom the peer speaks, and whom it wants.
    pub ids: (&'static str, &'static str),
    /// How names are proved.
    pub proof: Proof,
    /// What strongSwan proposes for IKE.
    pub ike: String,
    /// And for ESP.
    pub esp: String,
    /// An inner network of IPv6.
    pub inner_v6: bool,
    /// The peer speaks from an address of IPv6.
    pub outer_v6: bool,
    /// It wants an address from a pool.
    pub virtual_ip: bool,
    /// It asks for more networks than there are.
    pub wide: bool,
    /// It wants transport mode, for what it says to the cluster itself.
    pub transport: bool,
    /// It insists on UDP around ESP.
    pub encapsulation: bool,
    /// As in swanctl.conf.
    pub fragmentation: &'static str,
    /// What is done.
    pub course: Course,
    /// What is to come of it.
    pub end: End,
}

impl Case {
    fn new(name: impl Into<String>, peer: Peer) -> Self {
        Self {
            name: name.into(),
            peer,
            members: 1,
            ids: ("near.lab", "gw.lab"),
            proof: Proof::Psk,
            ike: "aes256gcm16-prfsha384-x25519".into(),
            esp: "aes256gcm16".into(),
            inner_v6: false,
            outer_v6: false,
            virtual_ip: false,
            wide: false,
            transport: false,
            encapsulation: false,
            fragmentation: "yes",
            course: Course::Pings,
            end: End::Works,
        }
    }

    fn proved(name: &str, proof: Proof, end: End) -> Self {
        let keys = match proof {
            Proof::Psk | Proof::WrongPsk => None,
            Proof::Certificates(keys) | Proof::Stranger(keys) | Proof::Eap(keys) | Proof::WrongPassword(keys) => {
                Some(keys)
            }
        };
        let ids = ("near.lab", keys.map_or("gw.lab", super::cluster::name_of));
        Self { proof, ids, end, ..Self::new(name, Peer::Client) }
    }
}

/// Groups, as both name them.
const GROUPS: [&str; 7] = ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519"];
const IKE_CIPHERS: [&str; 8] = [
    "aes128gcm16-prfsha256",
    "aes256gcm16-prfsha512",
    "chacha20poly1305-prfsha256",
    "aes128-sha1",
    "aes256-sha256",
    "aes128-sha384",
    "aes256ctr-sha512",
    "aes128ctr-sha256",
];
const IKE_INTEGRITIES: [&str; 2] = ["aes128-aesxcbc-prfsha256", "aes128-aescmac-prfsha256"];
const PRFS: [&str; 6] = ["prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc", "prfaescmac"];
/// Of the daemon itself.
const ESP: [&str; 12] = [
    "aes128gcm16",
    "aes256gcm16",
    "chacha20poly1305",
    "aes128-sha1",
    "aes128-sha256",
    "aes256-sha384",
    "aes256-sha512",
    "aes128ctr-sha256",
    "aes256ctr-sha512",
    "aes128-aesxcbc",
    "aes128-aescmac",
    "null-sha256",
];
/// Of a kernel.
const ESP_OF_KERNELS: [&str; 15] = [
    "aes128gcm16",
    "aes256gcm16",
    "chacha20poly1305",
    "aes128-sha1",
    "aes256-sha1",
    "aes128-sha256",
    "aes256-sha384",
    "aes256-sha512",
    "aes128ctr-sha256",
    "aes256ctr-sha512",
    "aes128gmac",
    "aes256gmac",
    "aes128-aesxcbc",
    "aes256-aescmac",
    "null-sha256",
];
const ESN: [&str; 4] = ["aes256gcm16-esn", "chacha20poly1305-esn", "aes128-sha256-esn", "aes256gcm16-esn-noesn"];

/// All cases, in the table's order.
pub fn all() -> Vec<Case> {
    [proofs(), algorithms_of_ike(), algorithms_of_esp(), networks(), courses(), three_members()].concat()
}

/// Those that the cluster begins, in a lab of their own, after the others in the table.
pub fn begun() -> Vec<Case> {
    let case = |what: &str| Case::new(format!("begun by the cluster: {what}"), Peer::Client);
    let proved = |(what, keys)| {
        Case::proved(&format!("begun by the cluster: {what} certificates"), Proof::Certificates(keys), End::Works)
    };
    let keys =
        [("RSA", Keys::Rsa), ("ECDSA P-256", Keys::P256), ("ECDSA P-384", Keys::P384), ("Ed25519", Keys::Ed25519)];
    let groups = GROUPS.iter().filter(|group| **group != "x25519");
    let group = |group: &&str| Case { ike: format!("aes256gcm16-prfsha384-{group}"), ..case(&format!("IKE {group}")) };
    let suites = ["aes128gcm16", "chacha20poly1305", "aes128-sha256", "aes256-sha512", "aes256ctr-sha384"];
    let suite = |esp: &str| Case { esp: esp.into(), ..case(&format!("ESP {esp}")) };
    let cipher = |ike: &str| Case { ike: format!("{ike}-x25519"), ..case(&format!("IKE {ike}")) };
    let mut cases = vec![case("PSK")];
    cases.extend(keys.map(proved));
    cases.extend(groups.map(group));
    cases.extend(["aes128gcm16-prfsha256", "aes256-sha256", "chacha20poly1305-prfsha256"].map(cipher));
    cases.extend(suites.map(suite));
    cases.push(Case { fragmentation: "no", ..case("IKE fragmentation is off") });
    cases
}

/// One of each kind that the suite of every day does not play otherwise.
pub fn some() -> Vec<Case> {
    const NAMES: [&str; 6] = [
        "ESP aes128-sha256, kernel",
        "ESP aes256gcm16-esn, kernel",
        "NAT between",
        "transport mode, TCP to a relay",
        "IKE fragmentation, pieces of 500 bytes, RSA",
        "MOBIKE: the peer moves to another address, kernel",
    ];
    all().into_iter().filter(|case| NAMES.contains(&case.name.as_str())).collect()
}

fn proofs() -> Vec<Case> {
    const DENIED: &str = "AUTHENTICATION_FAILED";
    let mut cases = vec![Case::new("PSK", Peer::Client), Case::new("PSK, plain ESP", Peer::Guest)];
    for (name, keys) in [("RSA", Keys::Rsa), ("ECDSA P-256", Keys::P256), ("ECDSA P-384", Keys::P384)] {
        cases.push(Case::proved(&format!("{name} certificates"), Proof::Certificates(keys), End::Works));
    }
    cases.push(Case::proved("Ed25519 certificates", Proof::Certificates(Keys::Ed25519), End::Works));
    for (name, keys) in [("RSA", Keys::Rsa), ("ECDSA P-256", Keys::P256)] {
        let eap = Case::proved(&format!("EAP-MSCHAPv2, {name} gateway, virtual IP"), Proof::Eap(keys), End::Works);
        cases.push(Case { virtual_ip: true, ..eap });
    }
    cases.push(Case {
        ids: (super::cluster::PINNED, "gw.lab"),
        ..Case::new("PSK, a connection for this peer", Peer::Client)
    });
    let refused = End::Refused(DENIED);
    cases.push(Case::proved("wrong PSK is refused", Proof::WrongPsk, refused));
    cases.push(Case {
        ids: ("near.lab", "nobody.lab"),
        end: refused,
        ..Case::new("unknown gateway id is refused", Peer::Client)
    });
    cases.push(Case::proved("certificate of a strange authority is refused", Proof::Stranger(Keys::P256), refused));
    let password = End::Refused("EAP-MS-CHAPv2");
    cases.push(Case {
        virtual_ip: true,
        ..Case::proved("wrong password is refused", Proof::WrongPassword(Keys::P256), password)
    });
    cases
}

fn algorithms_of_ike() -> Vec<Case> {
    let ike = |what: &str, ike: String| Case { ike, ..Case::new(format!("IKE {what}"), Peer::Client) };
    let groups = GROUPS.iter().map(|group| ike(group, format!("aes256gcm16-prfsha384-{group}")));
    let ciphers = IKE_CIPHERS.iter().chain(&IKE_INTEGRITIES).map(|suite| ike(suite, format!("{suite}-x25519")));
    let prfs = PRFS.iter().map(|prf| ike(&format!("aes256-sha256-{prf}"), format!("aes256-sha256-{prf}-x25519")));
    let mut cases: Vec<Case> = groups.chain(ciphers).chain(prfs).collect();
    let preferring = "aes256gcm16-prfsha384-modp1024-ecp256";
    cases.push(ike("first group not ours, another is (INVALID_KE_PAYLOAD)", preferring.into()));
    let end = End::Refused("NO_PROPOSAL_CHOSEN");
    cases.push(Case { end, ..ike("no common proposal is refused", "3des-sha1-modp1024".into()) });
    cases
}

fn algorithms_of_esp() -> Vec<Case> {
    let esp = |peer, what: &str, esp: String| Case { esp, ..Case::new(format!("ESP {what}"), peer) };
    let daemon = ESP.iter().map(|suite| esp(Peer::Client, suite, (*suite).to_owned()));
    let kernel = ESP_OF_KERNELS.iter().chain(&ESN);
    let kernel = kernel.map(|suite| esp(Peer::Guest, &format!("{suite}, kernel"), (*suite).to_owned()));
    let groups = GROUPS.iter().map(|group| Case {
        course: Course::Group,
        ..esp(Peer::Client, &format!("aes256gcm16-{group}, new keys by PFS"), format!("aes256gcm16-{group}"))
    });
    let mut cases: Vec<Case> = daemon.chain(kernel).chain(groups).collect();
    let bare = esp(Peer::Client, "aes128-sha256, new keys without PFS", "aes128-sha256".into());
    cases.push(Case { course: Course::Group, ..bare });
    let end = End::Refused("NO_PROPOSAL_CHOSEN");
    cases.push(Case { end, ..esp(Peer::Client, "no common proposal is refused", "3des-sha1".into()) });
    cases
}

fn networks() -> Vec<Case> {
    use Peer::{Client, Far, Guest};
    let road = ("near.lab", "road.gw.lab");
    let virtual_ip = |name, peer| Case { virtual_ip: true, ids: road, ..Case::new(name, peer) };
    let transport = |name| Case { transport: true, ids: ("near.lab", super::cluster::HOST), ..Case::new(name, Guest) };
    vec![
        virtual_ip("virtual IPv4 from a pool", Client),
        virtual_ip("virtual IPv4 from a pool, plain ESP", Guest),
        Case { inner_v6: true, ..virtual_ip("virtual IPv6 from a pool, plain ESP", Guest) },
        Case { inner_v6: true, ..Case::new("IPv6 inside, plain ESP", Guest) },
        Case { inner_v6: true, ..Case::new("IPv6 inside", Client) },
        Case { outer_v6: true, ..Case::new("IPv6 outside", Client) },
        Case { outer_v6: true, ..Case::new("IPv6 outside, plain ESP", Guest) },
        Case { outer_v6: true, inner_v6: true, ..Case::new("IPv6 outside and inside, plain ESP", Guest) },
        Case { wide: true, ..Case::new("selectors are narrowed", Client) },
        Case { course: Course::SecondChild, ..Case::new("two children, IPv4 and IPv6", Guest) },
        Case::new("NAT between", Far),
        Case { virtual_ip: true, ids: road, ..Case::new("NAT between, virtual IPv4", Far) },
        Case { course: Course::Rekeys, ..Case::new("NAT between, rekeys by the peer under traffic", Far) },
        Case { encapsulation: true, ..Case::new("UDP around ESP is forced, kernel", Guest) },
        transport("transport mode"),
        Case { outer_v6: true, inner_v6: true, ..transport("transport mode, IPv6") },
        Case { course: Course::Relay, ..transport("transport mode, TCP to a relay") },
        Case { course: Course::Rekeys, ..transport("transport mode, rekeys by the peer under traffic") },
    ]
}

fn courses() -> Vec<Case> {
    use Peer::{Client, Guest};
    let course = |name, peer, course| Case { course, ..Case::new(name, peer) };
    let proposal = "aes256gcm16-x25519".to_owned();
    let impatient = ("near.lab", "dpd.gw.lab");
    vec![
        Case { fragmentation: "no", ..Case::new("IKE fragmentation is off", Client) },
        Case {
            fragmentation: "force",
            course: Course::Pieces,
            ..Case::proved("IKE fragmentation, pieces of 500 bytes, RSA", Proof::Certificates(Keys::Rsa), End::Works)
        },
        Case { esp: proposal.clone(), ..course("rekeys by the peer under traffic", Client, Course::Rekeys) },
        Case { esp: proposal, ..course("rekeys by the peer under traffic, kernel", Guest, Course::Rekeys) },
        Case {
            ids: ("near.lab", "renew.gw.lab"),
            ..course("rekeys by the cluster under traffic, kernel", Guest, Course::ClusterRekeys)
        },
        Case {
            ids: ("near.lab", "worn.gw.lab"),
            ..course("rekeys by the cluster after so many packets, kernel", Guest, Course::WornKeys)
        },
        course("MOBIKE: the peer moves to another address, kernel", Guest, Course::Moves),
        course("peer is killed and connects again", Client, Course::ComesAgain),
        Case { ids: impatient, ..course("DPD: a killed peer's tunnel goes", Client, Course::Dies) },
    ]
}

fn three_members() -> Vec<Case> {
    let three = |name: &str, peer| Case { members: 3, ..Case::new(format!("three members: {name}"), peer) };
    let eap = Case::proved("three members: EAP-MSCHAPv2, virtual IP", Proof::Eap(Keys::P256), End::Works);
    vec![
        three("PSK", Peer::Client),
        Case { members: 3, virtual_ip: true, ..eap },
        Case { course: Course::Rekeys, ..three("rekeys by the peer under traffic, kernel", Peer::Guest) },
        three("NAT between", Peer::Far),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn no_two_cases_have_one_name() {
        let cases = [all(), begun()].concat();
        let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn some_are_there_by_their_names() {
        assert_eq!(some().len(), 6);
    }

    /// The table is a run's; a case that is new or gone makes another run necessary.
    #[test]
    fn the_table_in_readme_has_a_row_for_each_case() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let section = readme.split("\n## Interoperability\n").nth(1).expect("a section of that name");
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let rows: Vec<&str> = rows.filter(|name| !["case", "---"].contains(name)).collect();
        let cases = [all(), begun()].concat();
        assert_eq!(rows, cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>());
    }
}
