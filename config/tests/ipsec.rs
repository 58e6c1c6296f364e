//! `[[ipsec.sa]]`: what the sound values are, each mistake in a file that is sound but for it, and what a reload refuses.

mod mistakes;

use mistakes::{Mistake, are_told};
use phalanx_config::{Config, IpsecEngine, Kind, reload_diff};

const SOUND: &str = include_str!("../examples/tunnel.toml");

fn sound(text: &str) -> Config {
    Config::from_str(text, "m1.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn changed(from: &str, to: &str) -> Config {
    assert!(SOUND.contains(from), "{from:?} is not in the text");
    sound(&SOUND.replacen(from, to, 1))
}

#[test]
fn what_the_file_says() {
    let config = sound(SOUND);
    let sa = &config.static_sas[0];
    assert_eq!(
        (sa.name.as_str(), sa.transform.as_str(), sa.esn, sa.replay_window),
        ("branch", "aes128gcm16", true, 1024)
    );
    assert_eq!((sa.spi_in, sa.spi_out), (0x1_004d, 0x2_0001));
    assert_eq!(sa.encryption_key_in.expose(), [0x10; 20]);
    assert_eq!(sa.integrity_key_in.expose(), [0; 0]);
    assert!(config.has_sessions());
    let shown = format!("{config:?}");
    assert!(!shown.contains("16, 16, 16") && shown.contains("Secret(..)"), "keys are not shown");
}

const MISTAKES: &[Mistake] = &[
    ("[[ipsec.sa]]", "[[ipsec.sas]]", 61, 9, Kind::UnknownKey, "did you mean `sa`?"),
    ("[[ipsec.sa]]", "[[ipsec]]", 61, 1, Kind::WrongType, "`ipsec` is not a section"),
    (
        "[[ipsec.sa]]",
        "[ipsec]\nengine = \"openssl\"\n[[ipsec.sa]]",
        62,
        10,
        Kind::BadValue,
        "one of: auto, built_in, ipsec_mb",
    ),
    ("esn = true", "esm = true", 68, 1, Kind::UnknownKey, "did you mean `esp`?"),
    ("esp = \"aes128gcm16\"\n", "", 61, 1, Kind::MissingKey, "has neither `esp` nor `ah`"),
    ("esn = true", "ah = \"sha256\"", 68, 6, Kind::Contradiction, "remove one"),
    ("local = \"198.51.100.1\"", "local = \"198.51.100.9\"", 63, 9, Kind::Contradiction, "not a cluster address"),
    ("remote = \"192.0.2.9\"", "remote = \"2001:db8::9\"", 64, 10, Kind::Contradiction, "cannot reach each other"),
    ("[\"10.3.0.0/24\"]\nremote_ts", "[\"10.3.0.1/24\"]\nremote_ts", 65, 13, Kind::BadValue, "write \"10.3.0.0/24\""),
    ("[\"10.3.0.0/24\"]\nremote_ts", "[]\nremote_ts", 65, 12, Kind::MissingKey, "at least one network"),
    ("spi_in = 0x1004d ", "spi_in = 255 ", 69, 10, Kind::OutOfRange, "from 256 to 4294967295"),
    ("esn = true", "dont_fragment = \"cpy\"", 68, 17, Kind::BadValue, "did you mean \"copy\"?"),
    ("esn = true", "dscp = 64", 68, 8, Kind::OutOfRange, "from 0 to 63"),
    ("esn = true", "replay_window = 32", 68, 17, Kind::OutOfRange, "from 64 to 4096"),
    ("esn = true", "life_packets = 7", 68, 16, Kind::OutOfRange, "from 1000 to"),
    ("esn = true", "life_bytes = 199999999", 68, 14, Kind::OutOfRange, "from 200000000 to"),
    ("\"steered\"", "\"classic\"", 61, 1, Kind::Contradiction, "does not look at SPIs"),
];

/// Which engine a member has is its own affair, and settled when it starts.
#[test]
fn the_engine_is_each_members_own() {
    let before = sound(SOUND);
    assert_eq!(before.ipsec_engine, IpsecEngine::Auto);
    for (word, engine) in [("built_in", IpsecEngine::BuiltIn), ("ipsec_mb", IpsecEngine::IpsecMb)] {
        let after = changed("[[ipsec.sa]]", &format!("[ipsec]\nengine = \"{word}\"\n[[ipsec.sa]]"));
        assert_eq!((after.ipsec_engine, after.digest()), (engine, before.digest()));
        let refused: Vec<String> = reload_diff(&before, &after).unwrap_err().into_iter().map(|it| it.key).collect();
        assert_eq!(refused, ["ipsec.engine"]);
    }
}

#[test]
fn mistakes_are_told() {
    are_told(SOUND, MISTAKES);
}

#[test]
fn a_wrong_key_is_not_shown() {
    let text = SOUND.replace("encryption_key_in = \"0x1010", "encryption_key_in = \"0xsecret");
    let told = Config::from_str(&text, "m1.toml").unwrap_err().to_string();
    assert!(told.contains("no row of pairs of hexadecimal digits") && !told.contains("secret"), "{told}");
}

#[test]
fn tunnels_are_told_apart() {
    let at = SOUND.find("[[ipsec.sa]]").unwrap();
    let twice = format!("{SOUND}{}", &SOUND[at..]);
    let told = Config::from_str(&twice, "m1.toml").unwrap_err().to_string();
    for part in ["another [[ipsec.sa]] named \"branch\"", "another [[ipsec.sa]] with spi_in = 0x1004d"] {
        assert!(told.contains(part), "{told}");
    }
}

/// Whatever of a tunnel differs: other members are refused at the door, and a reload says which key it was.
#[test]
fn members_must_agree_on_all_of_it() {
    let before = sound(SOUND);
    for (from, to, key) in [
        ("name = \"branch\"", "name = \"other\"", "[[ipsec.sa]]"),
        ("remote = \"192.0.2.9\"", "remote = \"192.0.2.8\"", "sa \"branch\" remote"),
        ("local_ts = [\"10.3.0.0/24\"]", "local_ts = [\"10.3.0.0/25\"]", "sa \"branch\" local_ts"),
        ("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = [\"10.9.0.0/25\"]", "sa \"branch\" remote_ts"),
        ("esp = \"aes128gcm16\"", "esp = \"aes256gcm16\"", "sa \"branch\" esp"),
        ("esp = \"aes128gcm16\"", "ah = \"aes128gcm16\"", "sa \"branch\" esp"),
        ("spi_in = 0x1004d", "spi_in = 0x1004e", "sa \"branch\" spi_in"),
        ("spi_out = 0x20001", "spi_out = 0x20002", "sa \"branch\" spi_out"),
        ("esn = true", "esn = false", "sa \"branch\" esn"),
        ("esn = true", "esn = true\nreplay_window = 64", "sa \"branch\" replay_window"),
        ("esn = true", "esn = true\nlife_packets = 1000", "sa \"branch\" life_packets"),
        ("esn = true", "esn = true\nlife_bytes = 200000000", "sa \"branch\" life_bytes"),
        ("esn = true", "esn = true\ndont_fragment = \"set\"", "sa \"branch\" dont_fragment"),
        ("esn = true", "esn = true\ndscp = 0", "sa \"branch\" dscp"),
        ("esn = true", "esn = true\nintegrity_key_in = \"00\"", "sa \"branch\" integrity_key_in"),
        ("key_out = \"0x20", "key_out = \"0x21", "sa \"branch\" encryption_key_out"),
    ] {
        let after = changed(from, to);
        assert_ne!(after.digest(), before.digest(), "{to}");
        let refused: Vec<String> = reload_diff(&before, &after).unwrap_err().into_iter().map(|it| it.key).collect();
        assert_eq!(refused, [key], "{to}");
    }
    assert_eq!(changed("0x1010", "1010").digest(), before.digest(), "however it is written");
}
