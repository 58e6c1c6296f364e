//! How connections say that names are proved: the sound ways, each mistake, and what a reload refuses.

mod mistakes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mistakes::{Mistake, are_told};
use phalanx_config::{Config, Kind, OwnProof, PeersProof, defaults, reload_diff};

const SOUND: &str = include_str!("../examples/users.toml");
const KEY: &str = "psk = \"a text of more than enough characters\"";

fn sound(text: &str) -> Config {
    Config::from_str(text, "/etc/phalanx/m1.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn changed(from: &str, to: &str) -> Config {
    assert!(SOUND.contains(from), "{from:?} is not in the text");
    sound(&SOUND.replacen(from, to, 1))
}

fn beside(name: &str) -> PathBuf {
    Path::new("/etc/phalanx").join(name)
}

#[test]
fn what_the_file_says() {
    let config = sound(SOUND);
    let [offices, people] = &config.ike_connections[..] else { panic!("{config:?}") };
    assert_eq!(config.ike_users, Some(beside("users")));
    let own = OwnProof::Certificate { certificate: beside("gw.pem"), private_key: beside("gw-key.pem") };
    assert_eq!((&offices.own_proof, &people.own_proof), (&own, &own));
    let theirs = PeersProof::Certificate { ca: vec![beside("offices-ca.pem")], crl: vec![beside("offices.crl")] };
    assert_eq!((&offices.peers_proof, &people.peers_proof), (&theirs, &PeersProof::Password));
    assert_eq!((offices.psk(), people.psk()), (None, None));
    assert_eq!(
        (offices.rekey_time, offices.children[0].rekey_time),
        (Duration::from_secs(7200), Duration::from_secs(1800))
    );
    assert_eq!(
        (people.rekey_time, people.children[0].rekey_time),
        (defaults::IKE_REKEY_TIME, defaults::CHILD_REKEY_TIME)
    );
    let lives = changed("rekey_time_s = 1800", "life_packets = 4_000_000_000");
    let lives =
        [&lives.ike_connections[0].children[0], &offices.children[0]].map(|it| (it.life_packets, it.life_bytes));
    assert_eq!(lives, [(4_000_000_000, 0), (0, 0)]);
    let never = changed("rekey_time_s = 7200", "rekey_time_s = 0");
    assert_eq!(never.ike_connections[0].rekey_time, Duration::ZERO);
    assert_eq!(changed("\"users\"", "\"/srv/users\"").ike_users, Some("/srv/users".into()));
}

/// A shared key can be either side's way, beside the other side's certificate.
#[test]
fn a_side_may_have_a_shared_key_and_the_other_a_certificate() {
    let bare = SOUND.replacen("crl = [\"offices.crl\"]", "#", 1);
    let theirs = sound(&bare.replacen("ca = [\"offices-ca.pem\"]", KEY, 1)).ike_connections.remove(0);
    assert_eq!(theirs.peers_proof, PeersProof::SharedKey(theirs.psk().unwrap().clone()));
    assert!(matches!(theirs.own_proof, OwnProof::Certificate { .. }));
    let text = SOUND.replacen("private_key = \"gw-key.pem\"", "#", 1);
    let ours = sound(&text.replacen("certificate = \"gw.pem\"", KEY, 1)).ike_connections.remove(0);
    assert_eq!(ours.own_proof, OwnProof::SharedKey(ours.psk().unwrap().clone()));
    assert!(matches!(ours.peers_proof, PeersProof::Certificate { .. }));
    assert_eq!(ours.psk().unwrap().expose(), b"a text of more than enough characters");
}

const MISTAKES: &[Mistake] = &[
    ("certificate = \"gw.pem\"", "#", 74, 15, Kind::MissingKey, "has `private_key`, and no `certificate`"),
    ("private_key = \"gw-key.pem\"", "#", 73, 15, Kind::MissingKey, "has `certificate`, and no `private_key`"),
    ("certificate = \"gw.pem\"", "certificate = \"\"", 73, 15, Kind::BadValue, "it is empty"),
    ("private_key = \"gw-key.pem\"", "private_key = 7", 74, 15, Kind::WrongType, "where a text belongs"),
    ("ca = [\"offices-ca.pem\"]", "ca = []", 75, 6, Kind::MissingKey, "it is empty"),
    ("ca = [\"offices-ca.pem\"]", "ca = \"offices-ca.pem\"", 75, 6, Kind::WrongType, "where a list belongs"),
    ("crl = [\"offices.crl\"]", "crl = [\" \"]", 76, 8, Kind::BadValue, "it is empty"),
    ("ca = [\"offices-ca.pem\"]", "#", 76, 7, Kind::Contradiction, "there is no `ca`"),
    ("ca = [\"offices-ca.pem\"]", "eap = \"mschapv2\"", 76, 7, Kind::Contradiction, "there is no `ca`"),
    ("eap = \"mschapv2\"", "#", 85, 1, Kind::MissingKey, "does not say how peers prove their names"),
    ("eap = \"mschapv2\"", "eap = \"mschap\"", 90, 7, Kind::BadValue, "did you mean \"mschapv2\"?"),
    (
        "eap = \"mschapv2\"",
        "eap = \"mschapv2\"\nca = [\"people-ca.pem\"]",
        90,
        7,
        Kind::Contradiction,
        "has both `ca` and `eap`",
    ),
    (
        "eap = \"mschapv2\"",
        "eap = \"mschapv2\"\npsk = \"a text of more than enough characters\"",
        91,
        7,
        Kind::Contradiction,
        "nobody proves a name by",
    ),
    (
        "ca = [\"offices-ca.pem\"]",
        "ca = [\"offices-ca.pem\"]\npsk_hex = \"0x000102030405060708090a0b0c0d0e0f\"",
        76,
        11,
        Kind::Contradiction,
        "nobody proves a name by",
    ),
    ("users = \"users\"", "#", 90, 7, Kind::MissingKey, "[ipsec] has no `users`"),
    ("users = \"users\"", "users = \"\"", 68, 9, Kind::BadValue, "it is empty"),
    ("users = \"users\"", "users = \"users\"\nuser = \"users\"", 69, 1, Kind::UnknownKey, "did you mean `users`?"),
];

const WARNINGS: &[Mistake] = &[
    (
        "eap = \"mschapv2\"",
        "eap = \"mschapv2\"\nremote_id = \"alice@example.org\"",
        91,
        13,
        Kind::Warning,
        "keeps nobody out",
    ),
    (
        "eap = \"mschapv2\"",
        "ca = [\"people-ca.pem\"]",
        68,
        9,
        Kind::Warning,
        "no [[ipsec.connection]] asks the [ipsec] `users`",
    ),
];

#[test]
fn mistakes_are_told() {
    are_told(SOUND, MISTAKES);
    are_told(SOUND, WARNINGS);
}

/// Without our own certificate, there is one thing to say: what is to be added.
#[test]
fn who_asks_for_a_password_shows_a_certificate_first() {
    let bare = |from: &str| {
        let (before, people) = SOUND.split_at(SOUND.find("name = \"people\"").unwrap());
        let people = people.replacen("private_key = \"gw-key.pem\"", "#", 1);
        format!("{before}{}", people.replacen("certificate = \"gw.pem\"", from, 1))
    };
    for given in ["#", KEY] {
        let told = Config::from_str(&bare(given), "m1.toml").unwrap_err();
        assert_eq!((told.problems.len(), told.problems[0].at), (1, Some((90, 7))), "{told}");
        assert!(told.to_string().contains("`eap` needs `certificate`"), "{told}");
    }
    let text = bare("#").replacen("eap = \"mschapv2\"", "ca = [\"people-ca.pem\"]", 1);
    let told = Config::from_str(&text, "m1.toml").unwrap_err().to_string();
    assert!(told.contains("does not say how we prove our name"), "{told}");
}

#[test]
fn lists_of_files_are_bounded() {
    let text = |count| SOUND.replacen("[\"offices-ca.pem\"]", &format!("[{}]", "\"a.pem\", ".repeat(count)), 1);
    sound(&text(defaults::IKE_FILES_MAX));
    let told = Config::from_str(&text(defaults::IKE_FILES_MAX + 1), "m1.toml").unwrap_err().to_string();
    assert!(told.contains("it has 65 entries; use at most 64"), "{told}");
}

/// (from, to, the key that a reload refuses)
const PATHS: &[(&str, &str, &str)] = &[
    ("\"users\"", "\"/srv/users\"", "ipsec.users"),
    ("\"gw.pem\"", "\"other.pem\"", "connection \"offices\" certificate"),
    ("\"gw-key.pem\"", "\"other.pem\"", "connection \"offices\" private_key"),
    ("\"offices-ca.pem\"", "\"other.pem\"", "connection \"offices\" ca"),
    ("\"offices.crl\"", "\"other.crl\"", "connection \"offices\" crl"),
    ("crl = [\"offices.crl\"]", "#", "connection \"offices\" crl"),
];

/// Where files are is each member's own matter, but they are read once.
#[test]
fn members_need_not_agree_on_paths() {
    let before = sound(SOUND);
    for (from, to, key) in PATHS {
        let after = changed(from, to);
        assert_eq!(after.digest(), before.digest(), "{to}");
        let refused = reload_diff(&before, &after).unwrap_err();
        let keys: Vec<&str> = refused.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, [*key], "{to}");
        assert!(refused[0].why.contains("files are read once"), "{}", refused[0]);
    }
}

#[test]
fn members_must_agree_on_how_names_are_proved() {
    let both = |text: &str| {
        let text = text.replacen("certificate = \"gw.pem\"", KEY, 1).replacen("private_key = \"gw-key.pem\"", "#", 1);
        text.replacen("ca = [\"offices-ca.pem\"]", "#", 1).replacen("crl = [\"offices.crl\"]", "#", 1)
    };
    let bare = SOUND.replacen("crl = [\"offices.crl\"]", "#", 1);
    let ours = SOUND.replacen("certificate = \"gw.pem\"", KEY, 1).replacen("private_key = \"gw-key.pem\"", "#", 1);
    let mut seen: Vec<(Config, &str)> = Vec::new();
    for (text, what, keys) in [
        (SOUND.to_owned(), "certificates", &[][..]),
        (both(SOUND), "a key", &["psk", "certificate", "ca"]),
        (ours, "our key", &["psk", "certificate"]),
        (bare.replacen("ca = [\"offices-ca.pem\"]", KEY, 1), "their key", &["psk", "ca"]),
        (bare.replacen("ca = [\"offices-ca.pem\"]", "eap = \"mschapv2\"", 1), "passwords", &["ca", "eap"]),
    ] {
        let config = sound(&text);
        if let Some((first, _)) = seen.first() {
            let refused = reload_diff(first, &config).unwrap_err();
            let told: Vec<_> = refused.iter().map(|it| it.key.rsplit(' ').next().unwrap()).collect();
            assert_eq!(told, keys, "{what}");
            assert!(refused.iter().all(|it| it.why.contains("all members must agree")), "{what}");
        }
        for (other, name) in &seen {
            assert_ne!(config.digest(), other.digest(), "{what}, {name}");
        }
        seen.push((config, what));
    }
}
