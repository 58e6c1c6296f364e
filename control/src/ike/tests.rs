//! From files to proofs: what is taken, and what each mistake is called.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use phalanx_config::Config;
use phalanx_ike::config::{OwnProof, PeersProof};
use phalanx_ike::eap::Users;
use phalanx_ike::machine::Machine;
use phalanx_ike::wire::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::settings::ike;

const EXAMPLE: &str = include_str!("../../../config/examples/users.toml");

/// A member's folder with all that the example names.
struct Scene {
    folder: tempfile::TempDir,
    text: String,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), text: EXAMPLE.to_owned() };
        let ca = authority();
        let (certificate, key) = issue(&ca, "gw.example.org");
        for (name, content) in [
            ("gw.pem", certificate),
            ("gw-key.pem", key),
            ("offices-ca.pem", ca.pem()),
            ("offices.crl", revocations(&ca)),
        ] {
            scene.write(name, &content);
        }
        scene.write("users", "alice:her password\n\n# who left\nbob:a:b \r\n");
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
        self.open(name, 0o600);
    }

    fn open(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn changed(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "{from:?} is not in the text");
        self.text = self.text.replacen(from, to, 1);
        self
    }

    fn read(&self) -> Result<phalanx_ike::config::Config, String> {
        let config = Config::from_str(&self.text, &self.path("m1.toml").display().to_string()).unwrap();
        ike(&config, b"cookies", b"tokens").map(|ike| ike.unwrap().config).map_err(|error| error.to_string())
    }

    /// It begins so, with the folder for `@`, and goes on about this.
    fn is_refused(&self, beginning: &str, part: &str) {
        let beginning = beginning.replace('@', &self.folder.path().display().to_string());
        let told = self.read().expect_err(&beginning);
        assert!(told.starts_with(&beginning) && told.contains(part), "{told}\nis not\n{beginning} ... {part}");
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(ca: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (String, String) {
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

fn revocations(ca: &CertifiedIssuer<'static, KeyPair>) -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().pem().unwrap()
}

#[test]
fn what_the_files_hold() {
    let config = Scene::new().read().unwrap();
    let [offices, people] = &config.connections[..] else { panic!("{config:?}") };
    let OwnProof::Certificate(own) = &offices.own_proof else { panic!("{offices:?}") };
    assert!(own.says(&Identity::of_text("gw.example.org")) && own.certificates().len() == 1);
    assert!(matches!(&offices.peers_proof, PeersProof::Certificate(trust) if trust.authorities().len() == 20));
    assert!(matches!(people.peers_proof, PeersProof::Password));
    assert_eq!((offices.rekey_s, offices.children[0].rekey_s), (7200, 1800));
    assert_eq!((people.rekey_s, people.children[0].rekey_s), (14_400, 3600));
    assert!(!people.proposals.is_empty() && !people.children[0].proposals.is_empty(), "the usual ones");
    let password = |name: &str| config.users.password(name).map(|it| it.to_string());
    assert_eq!(password("alice").as_deref(), Some("her password"));
    assert_eq!(password("bob").as_deref(), Some("a:b "), "all behind the first colon, but the line's end");
    assert_eq!((password("# who left"), password("Alice")), (None, None));
    assert!(!format!("{config:?}").contains("her password"));
}

#[test]
fn shared_keys_need_no_files() {
    let text = include_str!("../../../config/examples/road.toml");
    let scene = Scene { folder: tempfile::tempdir().unwrap(), text: text.to_owned() };
    let config = scene.read().unwrap();
    assert!(matches!(config.connections[0].own_proof, OwnProof::SharedKey(_)));
    scene
        .changed("esp = [\"aes256gcm16\"", "esp = [\"aes256gcm17\"")
        .is_refused("[[ipsec.connection]] \"branch\" child \"lan\" esp: ", "`aes256gcm17` is no algorithm");
    let scene = Scene { folder: tempfile::tempdir().unwrap(), text: text.to_owned() };
    scene
        .changed("proposals = [\"aes256gcm16-prfsha384-ecp384\"", "proposals = [\"aes256gcm16-ecp384\"")
        .is_refused("[[ipsec.connection]] \"branch\" proposals: ", "it has no");
}

#[test]
fn what_we_begin_has_a_keeper() {
    let read = |text: &str| {
        let config = Config::from_str(text, "m1.toml").unwrap();
        ike(&config, b"cookies", b"tokens").unwrap().unwrap()
    };
    let site = read(include_str!("../../../config/examples/site.toml"));
    let path = site.config.connections[0].start.expect("we begin");
    assert_eq!((path.ours.to_string(), path.theirs.to_string()), ("198.51.100.1:500".into(), "192.0.2.9:500".into()));
    let keeper = Machine::new(&site.config).keeper_of("branch");
    assert_eq!(site.keepers, [keeper]);
    assert_ne!(Machine::new(&site.config).keeper_of("branch2") % 1024, keeper % 1024);
    assert!(read(include_str!("../../../config/examples/road.toml")).keepers.is_empty(), "its peers begin");
}

#[test]
fn files_that_are_not_there_are_named() {
    for (name, place) in [
        ("gw.pem", "[[ipsec.connection]] \"offices\" certificate"),
        ("gw-key.pem", "[[ipsec.connection]] \"offices\" private_key"),
        ("offices-ca.pem", "[[ipsec.connection]] \"offices\" ca"),
        ("offices.crl", "[[ipsec.connection]] \"offices\" crl"),
        ("users", "[ipsec] users"),
    ] {
        let scene = Scene::new();
        std::fs::remove_file(scene.path(name)).unwrap();
        scene.is_refused(&format!("{place}: cannot read @/{name}: "), "No such file");
    }
}

#[test]
fn secrets_that_others_can_read_are_none() {
    for (name, place) in [("gw-key.pem", "[[ipsec.connection]] \"offices\" private_key"), ("users", "[ipsec] users")] {
        let scene = Scene::new();
        scene.open(name, 0o640);
        scene.is_refused(&format!("{place}: cannot use @/{name}: "), "chmod 600");
    }
    let scene = Scene::new();
    ["gw.pem", "offices-ca.pem", "offices.crl"].into_iter().for_each(|name| scene.open(name, 0o644));
    scene.read().unwrap();
}

#[test]
fn certificates_and_keys_that_are_none_are_named() {
    let other = authority();
    let (leaf, leaf_key) = issue(&other, "gw.example.org");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let own = "[[ipsec.connection]] \"offices\" ";
    let cases: [(&str, &[u8], &str, &str); 9] = [
        ("gw.pem", b"hello", "certificate", "there is no certificate in PEM"),
        ("gw.pem", b"\x30\x82\xff", "certificate", "it is not PEM"),
        ("gw.pem", leaf.as_bytes(), "private_key", "is not that of the first certificate"),
        ("gw-key.pem", leaf.as_bytes(), "private_key", "there is no private key in PEM"),
        ("gw-key.pem", leaf_key.as_bytes(), "private_key", "is not that of the first certificate"),
        ("gw-key.pem", encrypted.as_bytes(), "private_key", "is encrypted"),
        ("offices-ca.pem", leaf_key.as_bytes(), "ca", "it holds no certificate that can be read"),
        ("offices-ca.pem", leaf.as_bytes(), "ca", "no authority's (CA:TRUE)"),
        ("offices.crl", leaf.as_bytes(), "crl", "it holds no revocation list"),
    ];
    for (name, content, key, part) in cases {
        let scene = Scene::new();
        scene.write(name, content);
        let at_fault = if key == "private_key" { "gw-key.pem" } else { name };
        scene.is_refused(&format!("{own}{key}: @/{at_fault}: "), part);
    }
}

/// Of several files, the one at fault is named.
#[test]
fn the_file_at_fault_is_named() {
    let scene = Scene::new().changed("[\"offices-ca.pem\"]", "[\"offices-ca.pem\", \"gw.pem\"]");
    scene.is_refused("[[ipsec.connection]] \"offices\" ca: @/gw.pem: ", "CA:TRUE");
    let scene = Scene::new().changed("[\"offices.crl\"]", "[\"offices.crl\", \"gw.pem\"]");
    scene.is_refused("[[ipsec.connection]] \"offices\" crl: @/gw.pem: ", "no revocation list");
    let scene = Scene::new();
    scene.write("gw.pem", vec![b'\n'; 1 + (1 << 20)]);
    scene.is_refused("[[ipsec.connection]] \"offices\" certificate: cannot read @/gw.pem: ", "too long");
}

#[test]
fn our_certificate_says_our_name() {
    let scene = Scene::new().changed("local_id = \"gw.example.org\"", "local_id = \"GW.example.org\"");
    scene.read().expect("hosts' names have no case");
    let scene = Scene::new().changed("local_id = \"gw.example.org\"", "local_id = \"gw2.example.org\"");
    scene.is_refused(
        "[[ipsec.connection]] \"offices\" certificate: @/gw.pem: it does not say \"gw2.example.org\"",
        "`local_id`",
    );
}

#[test]
fn mistakes_in_users_are_told_by_line_and_without_their_passwords() {
    let long = format!("alice:{}", "x".repeat(257));
    for (content, line, part) in [
        ("alice:secret\nsecret\n", 2, "there is no colon"),
        (":secret", 1, "belongs a name"),
        (" alice:secret", 1, "belongs a name"),
        ("alice :secret", 1, "belongs a name"),
        ("EDGE\\alice:secret", 1, "has a domain"),
        ("\n#\nalice:\n", 3, "belongs a password"),
        (&long, 1, "belongs a password"),
        ("alice:secret\nbob:secret\nalice:secret2\n", 3, "is there before"),
        ("# nobody\n", 1, "there is no user"),
    ] {
        let scene = Scene::new();
        scene.write("users", content);
        scene.is_refused(&format!("[ipsec] users: @/users:{line}: "), part);
        assert!(!scene.read().unwrap_err().contains("secret"));
    }
    let scene = Scene::new();
    scene.write("users", b"alice:secret\nb\xf6b:secret\n");
    scene.is_refused("[ipsec] users: @/users:2: ", "it is not UTF-8");
    scene.write("users", "\u{feff}alice:ä€\n");
    assert_eq!(scene.read().unwrap().users.password("alice").unwrap().as_str(), "ä€");
}

#[test]
fn as_many_users_as_there_may_be() {
    let lines = |count: usize| {
        (0..count).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "user{number}:password {number}");
            text
        })
    };
    let scene = Scene::new();
    scene.write("users", lines(super::users::USERS_MAX));
    let config = scene.read().unwrap();
    assert_eq!(config.users.password("user99999").unwrap().as_str(), "password 99999");
    scene.write("users", lines(super::users::USERS_MAX + 1));
    scene.is_refused("[ipsec] users: @/users:100001: ", "more users than 100000");
}
