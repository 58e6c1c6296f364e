//! `[[ipsec.connection]]` and `[[ipsec.pool]]`: what the sound values are, each mistake in a file that is sound but for it, and what a
//! reload refuses.

mod mistakes;

use std::time::Duration;

use mistakes::{Mistake, are_told};
use phalanx_config::{ChildMode, Config, Kind, Start, defaults, reload_diff};

const SOUND: &str = include_str!("../examples/road.toml");
const TEXT_KEY: &str = "psk = \"change me: all who are on the road\"";

fn sound(text: &str) -> Config {
    Config::from_str(text, "m1.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn changed(from: &str, to: &str) -> Config {
    assert!(SOUND.contains(from), "{from:?} is not in the text");
    sound(&SOUND.replacen(from, to, 1))
}

fn errors(text: &str) -> String {
    Config::from_str(text, "m1.toml").unwrap_err().to_string()
}

#[test]
fn what_the_file_says() {
    let config = sound(SOUND);
    let [branch, road] = &config.ike_connections[..] else { panic!("{config:?}") };
    assert_eq!((branch.name.as_str(), road.name.as_str()), ("branch", "road"), "the file's order");
    assert_eq!((branch.local, road.local), ("198.51.100.1".parse().ok(), None));
    assert_eq!(branch.remote, ["192.0.2.9/32".parse().unwrap()]);
    assert_eq!(branch.local_id, "gw.example.org");
    assert_eq!((branch.remote_id.as_deref(), &road.remote_id), (Some("branch.example.org"), &None));
    assert_eq!(branch.psk().unwrap().expose(), (0x20..0x40).collect::<Vec<u8>>());
    assert_eq!(road.psk().unwrap().expose(), b"change me: all who are on the road");
    assert_eq!(branch.proposals, ["aes256gcm16-prfsha384-ecp384", "aes128-sha256-x25519"]);
    assert_eq!(branch.dpd_delay, Duration::from_secs(10));
    assert_eq!((road.remote.len(), road.proposals.len(), road.dpd_delay), (0, 0, defaults::DPD_DELAY));
    assert_eq!(
        (&road.pools[..], &road.dns[..]),
        (&["roadwarriors".to_owned()][..], &["10.3.0.53".parse().unwrap()][..])
    );
    let (lan, given) = (&branch.children[0], &road.children[0]);
    assert_eq!((lan.name.as_str(), &lan.remote_ts[..]), ("lan", &["10.9.0.0/24".parse().unwrap()][..]));
    assert_eq!((lan.esp.len(), given.remote_ts.len(), given.esp.len()), (2, 0, 0));
    let pool = &config.pools[0];
    assert_eq!((pool.name.as_str(), pool.network, pool.shares), ("roadwarriors", "10.99.0.0/16".parse().unwrap(), 4));
    assert!(config.has_sessions());
}

#[test]
fn keys_are_not_shown() {
    let shown = format!("{:?}", sound(SOUND));
    assert!(!shown.contains("change me") && !shown.contains("33, 34, 35") && shown.contains("Secret(..)"), "{shown}");
    for wrong in
        ["psk = \"\"\nsecret", "psk = [\"secret\"]", "psk_hex = \"0xsecret\"", "psk = \"a\"\npsk_hex = \"secret\""]
    {
        let told = errors(&SOUND.replacen(TEXT_KEY, &wrong.replace("\nsecret", ""), 1));
        assert!(!told.contains("secret"), "{told}");
    }
}

const CONNECTIONS: &[Mistake] = &[
    ("[[ipsec.pool]]", "[[ipsec.conection]]\n[[ipsec.pool]]", 93, 9, Kind::UnknownKey, "did you mean `connection`?"),
    ("remote_id", "remote_ids", 71, 1, Kind::UnknownKey, "did you mean `remote_id`?"),
    ("local_id = \"gw.example.org\"      #", "#", 66, 1, Kind::MissingKey, "[[ipsec.connection]] has no `local_id`"),
    ("\"gw.example.org\"      #", "\"\" #", 70, 12, Kind::BadValue, "it is empty"),
    ("\"gw.example.org\"      #", "\" gw\" #", 70, 12, Kind::BadValue, "no space around them"),
    ("local = \"198.51.100.1\"", "local = \"198.51.100.9\"", 68, 9, Kind::Contradiction, "not a cluster address"),
    ("local = \"198.51.100.1\"", "local = \"198.51.100.11\"", 68, 9, Kind::Contradiction, "not a cluster address"),
    ("[\"192.0.2.9/32\"]", "[\"192.0.2.9/24\"]", 69, 11, Kind::BadValue, "host bits; write \"192.0.2.0/24\""),
    ("[\"192.0.2.9/32\"]", "[]", 69, 10, Kind::MissingKey, "or leave the key out"),
    ("[\"192.0.2.9/32\"]", "[\"2001:db8::/32\"]", 69, 10, Kind::Contradiction, "give an IPv4 network"),
    ("name = \"road\"", "name = \"branch\"", 83, 8, Kind::Duplicate, "another [[ipsec.connection]] named \"branch\""),
    (
        "name = \"road\"",
        "name = \"road\"\nremote = [\"::/0\"]",
        84,
        10,
        Kind::Contradiction,
        "no [[port]] has a cluster",
    ),
    (TEXT_KEY, "", 82, 1, Kind::MissingKey, "says nothing of how names are proved"),
    (TEXT_KEY, "psk = \"\"", 85, 7, Kind::BadValue, "it is empty"),
    (TEXT_KEY, "psk_hex = \"0x\"", 85, 11, Kind::BadValue, "it is empty"),
    (TEXT_KEY, "psk_hex = \"0x123\"", 85, 11, Kind::BadValue, "no row of pairs"),
    (
        "psk_hex = ",
        "psk = \"a text of more than enough characters\"\npsk_hex = ",
        73,
        11,
        Kind::Contradiction,
        "remove one",
    ),
    ("\"aes128-sha256-x25519\"]", "\" \"]", 73, 46, Kind::BadValue, "it is empty"),
    ("[\"aes256gcm16-prfsha384-ecp384\", \"aes128-sha256-x25519\"]", "[]", 73, 13, Kind::MissingKey, "at least one"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 0.5 ", 74, 15, Kind::OutOfRange, "from 1 to 86400, or 0 for none"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 86401 ", 74, 15, Kind::OutOfRange, "86401 is out of range"),
    ("dpd_delay_s = 10 ", "rekey_time_s = 59 ", 74, 16, Kind::OutOfRange, "from 60 to 604800, or 0 for none"),
    ("dpd_delay_s = 10 ", "rekey_time_s = 604801 ", 74, 16, Kind::OutOfRange, "604801 is out of range"),
    ("[\"roadwarriors\"]", "[\"roadwariors\"]", 86, 10, Kind::Contradiction, "did you mean \"roadwarriors\"?"),
    (
        "[\"roadwarriors\"]",
        "[\"roadwarriors\", \"others\"]",
        86,
        26,
        Kind::Contradiction,
        "no [[ipsec.pool]] named \"others\"",
    ),
    (
        "[\"roadwarriors\"]",
        "[\"roadwarriors\", \"roadwarriors\"]",
        86,
        26,
        Kind::Duplicate,
        "names \"roadwarriors\" twice",
    ),
    ("[\"10.3.0.53\"]", "[\"dns.example.org\"]", 87, 8, Kind::BadValue, "is not an address"),
    ("[\"10.3.0.53\"]", "[\"127.0.0.53\"]", 87, 8, Kind::BadValue, "is a loopback address"),
    ("\"steered\"", "\"classic\"", 66, 1, Kind::Contradiction, "does not look at SPIs"),
    ("replicas = \"all\"", "replicas = 2", 66, 1, Kind::Contradiction, "set replicas = \"all\""),
];

const CHILDREN: &[Mistake] = &[
    ("esp = ", "ah = ", 80, 1, Kind::UnknownKey, "[[ipsec.connection.child]] has no key `ah`"),
    (
        "[[ipsec.connection.child]]\nname = \"lan\"\nlocal_ts = [\"10.3.0.0/24\"]",
        "#",
        82,
        1,
        Kind::MissingKey,
        "has no [[ipsec.connection.child]]",
    ),
    ("local_ts = [\"10.3.0.0/24\"]       # the", "#", 76, 1, Kind::MissingKey, "has no `local_ts`"),
    ("local_ts = [\"10.3.0.0/24\"]", "mode = \"trasport\"", 78, 8, Kind::BadValue, "did you mean \"transport\"?"),
    ("local_ts = [\"10.3.0.0/24\"]", "mode = \"transport\"", 79, 13, Kind::Contradiction, "between the two addresses"),
    ("local_ts = [\"10.3.0.0/24\"]", "local_ts = []", 78, 12, Kind::MissingKey, "it is empty; give at least one"),
    ("local_ts = [\"10.3.0.0/24\"]", "local_ts = [\"10.3.0.1/24\"]", 78, 13, Kind::BadValue, "write \"10.3.0.0/24\""),
    ("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = [\"10.9.0.1/24\"]", 79, 14, Kind::BadValue, "write \"10.9.0.0/24\""),
    ("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = []", 79, 13, Kind::MissingKey, "or leave the key out"),
    ("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = [\"fd09::/64\"]", 79, 13, Kind::Contradiction, "of one family"),
    ("esp = [\"aes256gcm16\", \"aes128-sha256-x25519\"]", "esp = [\"\"]", 80, 8, Kind::BadValue, "it is empty"),
    ("esp = [\"aes256gcm16\"", "rekey_time_s = 59 # ", 80, 16, Kind::OutOfRange, "from 60 to 604800, or 0 for none"),
    (
        "esp = [\"aes256gcm16\"",
        "life_packets = 999 # ",
        80,
        16,
        Kind::OutOfRange,
        "from 1000 to 1000000000000000, or 0 for none",
    ),
    ("esp = [\"aes256gcm16\"", "life_packets = -1 # ", 80, 16, Kind::OutOfRange, "-1 is out of range"),
    ("esp = [\"aes256gcm16\"", "life_packets = 1e6 # ", 80, 16, Kind::WrongType, "a whole number belongs"),
    (
        "esp = [\"aes256gcm16\"",
        "life_bytes = 199_999_999 # ",
        80,
        14,
        Kind::OutOfRange,
        "from 200000000 to 1000000000000000, or 0 for none",
    ),
    (
        "[[ipsec.connection]]\nname = \"road\"",
        "[[ipsec.connection.child]]\nname = \"lan\"\nlocal_ts = [\"10.3.0.0/24\"]\n[[ipsec.connection]]\nname = \"road\"",
        83,
        8,
        Kind::Duplicate,
        "has another [[ipsec.connection.child]] named \"lan\"",
    ),
];

const POOLS: &[Mistake] = &[
    ("network = \"10.99.0.0/16\" ", "# ", 93, 1, Kind::MissingKey, "[[ipsec.pool]] has no `network`"),
    ("10.99.0.0/16", "10.99.0.1/16", 95, 11, Kind::BadValue, "host bits; write \"10.99.0.0/16\""),
    ("10.99.0.0/16", "224.0.0.0/16", 95, 11, Kind::BadValue, "is a multicast address"),
    ("10.99.0.0/16", "0.0.0.0/0", 95, 11, Kind::BadValue, "is not an address of a host"),
    ("10.99.0.0/16", "10.99.0.0/31", 95, 11, Kind::Contradiction, "fewer addresses than 4 shares"),
    ("10.99.0.0/16", "10.3.0.0/16", 95, 11, Kind::Contradiction, "10.3.0.10 in it, an address of [[port]] \"inside0\""),
    ("10.99.0.0/16", "198.51.100.8/29", 95, 11, Kind::Contradiction, "198.51.100.11 in it"),
    ("shares = 4", "shares = 33", 96, 10, Kind::OutOfRange, "from 1 to 32"),
    ("shares = 4", "shares = 0", 96, 10, Kind::OutOfRange, "from 1 to 32"),
    ("id = 1 ", "id = 5 ", 96, 10, Kind::Contradiction, "none of them for member 5; set shares = 5 or more"),
    (
        "shares = 4",
        "[[ipsec.pool]]\nname = \"roadwarriors\"\nnetwork = \"10.98.0.0/16\" # ",
        97,
        8,
        Kind::Duplicate,
        "another [[ipsec.pool]] named \"roadwarriors\"",
    ),
    (
        "shares = 4",
        "[[ipsec.pool]]\nname = \"vip\"\nnetwork = \"10.99.7.0/24\" # ",
        98,
        11,
        Kind::Contradiction,
        "10.99.7.0/24 overlaps 10.99.0.0/16 of \"roadwarriors\"",
    ),
];

const WARNINGS: &[Mistake] = &[
    (TEXT_KEY, "psk = \"nineteen characters\"", 85, 7, Kind::Warning, "fewer than 20 characters"),
    (TEXT_KEY, "psk_hex = \"0x000102030405060708090a0b0c0d0e\"", 85, 11, Kind::Warning, "fewer than 16 bytes"),
    ("10.99.0.0/16", "10.3.0.128/25", 95, 11, Kind::Warning, "overlaps 10.3.0.0/24 of [[port]] \"inside0\""),
    ("pools = [\"roadwarriors\"]", "#", 93, 1, Kind::Warning, "no [[ipsec.connection]] uses [[ipsec.pool]]"),
    ("pools = [\"roadwarriors\"]", "#", 87, 7, Kind::Warning, "there are no `pools` to give one from"),
    (
        "local_ts = [\"10.3.0.0/24\"]       # no",
        "local_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.99.0.0/16\"] # no",
        86,
        9,
        Kind::Warning,
        "each names `remote_ts`",
    ),
];

#[test]
fn mistakes_in_connections_are_told() {
    are_told(SOUND, CONNECTIONS);
}

#[test]
fn mistakes_in_children_are_told() {
    are_told(SOUND, CHILDREN);
}

#[test]
fn mistakes_in_pools_are_told() {
    are_told(SOUND, POOLS);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    are_told(SOUND, WARNINGS);
}

/// The bounds of both warnings: what is just long enough is not worth one.
#[test]
fn long_enough_keys_and_whole_internets_are_no_trouble() {
    for (from, to) in [
        (TEXT_KEY, "psk = \"ääääääääääääääääääää\""),
        (TEXT_KEY, "psk_hex = \"000102030405060708090a0b0c0d0e0f\""),
        ("[\"192.0.2.9/32\"]", "[\"0.0.0.0/0\", \"::/0\"]"),
        ("10.99.0.0/16", "10.99.0.0/30"),
        ("10.99.0.0/16", "fd00:99::/64"),
        ("id = 1 ", "id = 4 "),
    ] {
        assert_eq!(changed(from, to).warnings, [], "{to}");
    }
    assert_eq!(changed(TEXT_KEY, "psk = \"nineteen characters\"").warnings.len(), 1);
    assert_eq!(changed("dpd_delay_s = 10", "dpd_delay_s = 0").ike_connections[0].dpd_delay, Duration::ZERO);
}

/// One more than there may be, of everything that can be repeated.
#[test]
fn numbers_are_bounded() {
    let at = SOUND.find("[[ipsec.connection]]\nname = \"road\"").unwrap();
    let (before, road) = SOUND.split_at(at);
    let (road, pool) = road.split_at(road.find("[[ipsec.pool]]").unwrap());
    let many = |count: usize, section: &dyn Fn(usize) -> String| (0..count).map(section).collect::<String>();
    let connection = |i: usize| road.replace("\"road\"", &format!("\"road{i}\""));
    let child = |i: usize| format!("[[ipsec.connection.child]]\nname = \"c{i}\"\nlocal_ts = [\"10.3.0.0/24\"]\n");
    let vip = |i: usize| format!("[[ipsec.pool]]\nname = \"vip{i}\"\nnetwork = \"10.98.{i}.0/24\"\n");
    // The example has two connections, one child in the last, and one pool.
    for (most, beside, repeated, what) in [
        (defaults::IKE_CONNECTIONS_MAX, 2, &connection as &dyn Fn(usize) -> String, "more than 256 connections"),
        (defaults::IKE_CHILDREN_MAX, 1, &child, "more than 64 children"),
        (defaults::POOLS_MAX, 1, &vip, "more than 64 pools"),
    ] {
        let text = |count| format!("{before}{road}{}{pool}", many(count, repeated));
        sound(&text(most - beside));
        let told = errors(&text(most - beside + 1));
        assert!(told.contains(what) && told.lines().count() == 1, "{told}");
    }
    let networks = |count: usize| many(count, &|i| format!("\"10.{i}.0.0/16\", "));
    let text = |count| SOUND.replacen("\"10.9.0.0/24\"", &networks(count), 1);
    sound(&text(defaults::IKE_NETWORKS_MAX));
    assert!(errors(&text(defaults::IKE_NETWORKS_MAX + 1)).contains("it has 65 entries; use at most 64"));
}

/// (from, to, the key that a reload refuses)
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("name = \"branch\"", "name = \"other\"", "[[ipsec.connection]]"),
    ("local = \"198.51.100.1\"", "#", "connection \"branch\" local"),
    ("[\"192.0.2.9/32\"]", "[\"192.0.2.0/24\"]", "connection \"branch\" remote"),
    ("\"gw.example.org\"      #", "\"edge.example.org\" #", "connection \"branch\" local_id"),
    ("branch.example.org", "branch2.example.org", "connection \"branch\" remote_id"),
    ("remote_id = \"branch.example.org\"", "#", "connection \"branch\" remote_id"),
    ("0x2021", "0x2121", "connection \"branch\" psk"),
    ("psk = \"change me", "psk = \"changed me", "connection \"road\" psk"),
    ("aes256gcm16-prf", "aes128gcm16-prf", "connection \"branch\" proposals"),
    ("pools = [\"roadwarriors\"]", "#", "connection \"road\" pools"),
    ("10.3.0.53", "10.3.0.54", "connection \"road\" dns"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 11 ", "connection \"branch\" dpd_delay_s"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 10\nreauth_time_s = 300 ", "connection \"branch\" reauth_time_s"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 10\nstart = \"always\" ", "connection \"branch\" start"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 10\nunique = \"replace\" ", "connection \"branch\" unique"),
    ("dpd_delay_s = 10 ", "dpd_delay_s = 10\nrekey_time_s = 60 ", "connection \"branch\" rekey_time_s"),
    ("name = \"lan\"", "name = \"wan\"", "connection \"branch\" child"),
    ("name = \"lan\"", "name = \"lan\"\nrekey_time_s = 0", "connection \"branch\" child \"lan\" rekey_time_s"),
    ("name = \"lan\"", "name = \"lan\"\nlife_packets = 1000", "connection \"branch\" child \"lan\" life_packets"),
    (
        "name = \"lan\"",
        "name = \"lan\"\ndont_fragment = \"clear\"",
        "connection \"branch\" child \"lan\" dont_fragment",
    ),
    ("name = \"lan\"", "name = \"lan\"\ndscp = 46", "connection \"branch\" child \"lan\" dscp"),
    ("name = \"lan\"", "name = \"lan\"\nlife_bytes = 200_000_000", "connection \"branch\" child \"lan\" life_bytes"),
    ("local_ts = [\"10.3.0.0/24\"]", "local_ts = [\"10.3.0.0/25\"]", "connection \"branch\" child \"lan\" local_ts"),
    ("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = [\"10.9.0.0/25\"]", "connection \"branch\" child \"lan\" remote_ts"),
    ("remote_ts = [\"10.9.0.0/24\"]", "#", "connection \"branch\" child \"lan\" remote_ts"),
    ("esp = [\"aes256gcm16\", ", "esp = [", "connection \"branch\" child \"lan\" esp"),
    ("shares = 4", "shares = 4\n[[ipsec.pool]]\nname = \"vip\"\nnetwork = \"10.98.0.0/16\"", "[[ipsec.pool]]"),
    ("10.99.0.0/16", "10.99.0.0/17", "pool \"roadwarriors\" network"),
    ("shares = 4", "shares = 5", "pool \"roadwarriors\" shares"),
];

#[test]
fn we_begin_what_we_can_begin() {
    let text = SOUND.replacen("dpd_delay_s = 10 ", "dpd_delay_s = 10\nstart = \"always\" ", 1);
    let config = sound(&text);
    assert_eq!(config.ike_connections[0].start, Start::Always);
    assert_eq!(sound(SOUND).ike_connections[1].start, Start::Never, "unless it says so");
    let never = SOUND.replacen("dpd_delay_s = 10 ", "dpd_delay_s = 10\nstart = \"never\" ", 1);
    assert_eq!(sound(&never).digest(), sound(SOUND).digest(), "members of before read what was there before");
    for (from, to, told) in [
        ("remote = [\"192.0.2.9/32\"]", "#", "there is no `remote`"),
        ("[\"192.0.2.9/32\"]", "[\"192.0.2.0/24\"]", "`remote` is more than one address"),
        ("[\"192.0.2.9/32\"]", "[\"192.0.2.9/32\", \"192.0.2.8/32\"]", "`remote` is more than one address"),
        ("local = \"198.51.100.1\"", "#", "there is no `local`"),
        (
            "start = \"always\"",
            "start = \"always\"\npools = [\"roadwarriors\"] #",
            "`pools` gives addresses to peers that begin",
        ),
        ("\"always\"", "\"on\"", "always"),
    ] {
        assert!(text.contains(from), "{from}");
        let told_of = errors(&text.replacen(from, to, 1));
        assert!(told_of.contains(told), "{told_of}");
    }
    let child = |i: usize| format!("[[ipsec.connection.child]]\nname = \"c{i}\"\nlocal_ts = [\"10.3.{i}.0/24\"]\n\n");
    let many = |count| {
        text.replacen(
            "[[ipsec.connection]]\nname = \"road\"",
            &format!("{}[[ipsec.connection]]\nname = \"road\"", (1..count).map(child).collect::<String>()),
            1,
        )
    };
    sound(&many(defaults::IKE_CHILDREN_BEGUN_MAX));
    assert!(errors(&many(defaults::IKE_CHILDREN_BEGUN_MAX + 1)).contains("more than 8 children"));
}

#[test]
fn transport_mode_has_no_networks() {
    let (before, after) =
        (sound(SOUND), changed("local_ts = [\"10.3.0.0/24\"]       # no", "mode = \"transport\" # no"));
    let mode = |config: &Config| config.ike_connections[1].children[0].mode;
    assert_eq!((mode(&before), mode(&after)), (ChildMode::Tunnel, ChildMode::Transport));
    assert!(after.ike_connections[1].children[0].local_ts.is_empty());
    assert_ne!(before.digest(), after.digest());
    let refused: Vec<String> = reload_diff(&before, &after).unwrap_err().into_iter().map(|it| it.key).collect();
    assert_eq!(refused, ["mode", "local_ts"].map(|key| format!("connection \"road\" child \"lan\" {key}")));
}

#[test]
fn traffic_may_be_limited_to_a_protocol_and_ports() {
    let config =
        changed("remote_ts = [\"10.9.0.0/24\"]", "remote_ts = [\"10.9.0.0/24[udp/53]\", \"10.9.0.0/24[icmp]\"]");
    let texts: Vec<String> = config.ike_connections[0].children[0].remote_ts.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.9.0.0/24[udp/53]", "10.9.0.0/24[icmp]"]);
    assert_ne!(config.digest(), sound(SOUND).digest());
}

const RULES: &str = "[[ipsec.discard]]\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.9.7.0/24\"]\n\
    [[ipsec.bypass]]\nlocal_ts = [\"10.3.0.5/32[tcp/22]\"]\nremote_ts = [\"::/0\", \"10.9.0.0/24\"]\n\n[[ipsec.pool]]";

#[test]
fn rules_let_pass_before_they_drop() {
    let config = changed("[[ipsec.pool]]", RULES);
    let rules: Vec<(bool, usize)> = config.ipsec_rules.iter().map(|it| (it.discard, it.remote_ts.len())).collect();
    assert_eq!(rules, [(false, 2), (true, 1)]);
    assert_ne!(config.digest(), sound(SOUND).digest());
    let refused: Vec<String> = reload_diff(&sound(SOUND), &config).unwrap_err().into_iter().map(|it| it.key).collect();
    assert_eq!(refused, ["[[ipsec.bypass]] and [[ipsec.discard]]"]);
    for (from, to, told) in [
        ("\"10.9.7.0/24\"", "\"::/0\"", "give both sides networks of one family"),
        ("\"10.9.7.0/24\"", "", "give at least one"),
        ("[tcp/22]", "[tcp/ssh]", "is not a network"),
        ("10.3.0.5/32", "10.3.0.5/24", "write \"10.3.0.0/24[tcp/22]\""),
        ("[[ipsec.discard]]", "[[ipsec.discards]]", "did you mean `discard`?"),
    ] {
        assert!(RULES.contains(from), "{from}");
        let text = SOUND.replacen("[[ipsec.pool]]", &RULES.replacen(from, to, 1), 1);
        assert!(errors(&text).contains(told), "{}", errors(&text));
    }
    let one = "[[ipsec.discard]]\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.9.7.0/24\"]\n";
    let text = SOUND.replacen("[[ipsec.pool]]", &(one.repeat(defaults::TRAFFIC_RULES_MAX - 1) + RULES), 1);
    assert!(errors(&text).contains("each is tried for each packet"));
}

#[test]
fn the_mss_is_clamped_unless_that_is_not_wanted() {
    let (on, off) = (sound(SOUND), changed("[[ipsec.connection]]", "[ipsec]\nmss_clamp = false\n[[ipsec.connection]]"));
    assert!(on.clamp_mss && !off.clamp_mss);
    assert_ne!(on.digest(), off.digest());
    let refused: Vec<String> = reload_diff(&on, &off).unwrap_err().into_iter().map(|it| it.key).collect();
    assert_eq!(refused, ["ipsec.mss_clamp"]);
}

#[test]
fn members_must_agree_on_all_of_it() {
    let before = sound(SOUND);
    let mut digests = vec![before.digest()];
    for (from, to, key) in DIFFERENCES {
        let after = changed(from, to);
        assert!(!digests.contains(&after.digest()), "{to}");
        digests.push(after.digest());
        let refused: Vec<String> = reload_diff(&before, &after).unwrap_err().into_iter().map(|it| it.key).collect();
        assert_eq!(refused, [*key], "{to}");
    }
}

/// Which connection comes first decides what a peer gets; of pools it does not matter, and neither does how things are written.
#[test]
fn the_order_of_connections_counts_and_that_of_pools_does_not() {
    let before = sound(SOUND);
    let first = SOUND.find("[[ipsec.connection]]").unwrap();
    let second = SOUND.find("[[ipsec.connection]]\nname = \"road\"").unwrap();
    let pool = SOUND.find("[[ipsec.pool]]").unwrap();
    let (head, branch, road, pool) = (&SOUND[..first], &SOUND[first..second], &SOUND[second..pool], &SOUND[pool..]);
    let turned = sound(&format!("{head}{road}{branch}{pool}"));
    assert_ne!(turned.digest(), before.digest());
    assert_eq!(reload_diff(&before, &turned).unwrap_err()[0].key, "[[ipsec.connection]]");
    let other = "[[ipsec.pool]]\nname = \"vip\"\nnetwork = \"10.98.0.0/16\"\n";
    let (a, b) = (sound(&format!("{SOUND}{other}")), sound(&format!("{head}{other}{branch}{road}{pool}")));
    assert_eq!((a.digest(), &a.pools), (b.digest(), &b.pools));
    for (from, to) in [("shares = 4", ""), (TEXT_KEY, &TEXT_KEY.replace('m', "\\u006d")), ("0x2021", "2021")] {
        assert_eq!(changed(from, to).digest(), before.digest(), "{to}");
    }
}

/// A member without connections has sessions only if something else gives it some, and a pool alone is none.
#[test]
fn a_pool_alone_is_no_session() {
    let first = SOUND.find("# Of the connections").unwrap();
    let pool = SOUND.find("[[ipsec.pool]]").unwrap();
    let config = sound(&format!("{}{}", &SOUND[..first], &SOUND[pool..]));
    assert!(!config.has_sessions() && config.pools.len() == 1);
}
