//! `[[relay]]`: what the sound values are, and each mistake in a file that is sound but for it.

mod mistakes;

use std::time::Duration;

use mistakes::{Mistake, are_told};
use phalanx_config::{Config, HealthCheck, Kind, Relay, defaults};

const SOUND: &str = r#"[cluster]
name = "edge"
number = 1
config_version = 1
mode = "forward"
scheme = "steered"

[member]
name = "m1"
id = 1
identity = "m1.pem"

[link]
interface = "eth2"
address = "10.9.0.1:7400"
group = "239.80.72.1:7400"

[[port]]
name = "outside0"
device = "net_af_packet0,iface=o"
role = "outside"
cluster_addresses = ["198.51.100.1/24", "198.51.100.9/24", "2001:db8:2::10/64"]
unit_addresses = ["198.51.100.2/24", "2001:db8:2::1/64"]

[[port]]
name = "inside0"
device = "net_af_packet1,iface=i"
role = "inside"
cluster_addresses = ["10.3.0.10/24"]
unit_addresses = ["10.3.0.1/24"]

[[route]]
to = "10.10.0.0/16"
via = "10.3.0.254"

[[relay]]
name = "web6"
listen = "[2001:db8:2::10]:80"
backend = ["10.3.0.20:80"]

[[relay]]
name = "web"
listen = "198.51.100.1:8080"
backend = ["[2001:db8:2::20]:80", "10.10.0.11:80", "10.10.0.10:80"]
connections_max = 500
buffer_kbytes = 32
idle_timeout_s = 60
connect_timeout_ms = 2000
proxy_protocol = true
health_check = true
health_interval_ms = 800
health_timeout_ms = 500
health_fall = 5
health_rise = 4
keepalive_s = 45

[limits]
relay_buffer_mbytes = 65536
"#;

fn sound(text: &str) -> Config {
    Config::from_str(text, "m1.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// `SOUND` with other back ends of the first relay.
fn with_backends(backends: impl IntoIterator<Item = String>) -> String {
    let list: Vec<String> = backends.into_iter().map(|backend| format!("{backend:?}")).collect();
    SOUND.replacen("[\"10.3.0.20:80\"]", &format!("[{}]", list.join(", ")), 1)
}

#[test]
fn what_the_file_says_is_what_the_relay_is() {
    let config = sound(SOUND);
    assert_eq!(config.warnings, []);
    assert_eq!(config.limits.relay_buffer_bytes, 64 << 30);
    let web = Relay {
        name: "web".to_owned(),
        listen: "198.51.100.1:8080".parse().unwrap(),
        backends: ["10.10.0.10:80", "10.10.0.11:80", "[2001:db8:2::20]:80"].map(|b| b.parse().unwrap()).to_vec(),
        connections_max: 500,
        buffer_bytes: 32 * 1024,
        idle_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(2),
        keepalive: Some(Duration::from_secs(45)),
        proxy_protocol: true,
        health: Some(HealthCheck {
            interval: Duration::from_millis(800),
            timeout: Duration::from_millis(500),
            fall: 5,
            rise: 4,
        }),
    };
    let web6 = Relay {
        name: "web6".to_owned(),
        listen: "[2001:db8:2::10]:80".parse().unwrap(),
        backends: vec!["10.3.0.20:80".parse().unwrap()],
        connections_max: defaults::CONNECTIONS_MAX,
        buffer_bytes: 64 * 1024,
        idle_timeout: defaults::IDLE_TIMEOUT,
        connect_timeout: defaults::CONNECT_TIMEOUT,
        keepalive: None,
        proxy_protocol: false,
        health: Some(HealthCheck {
            interval: defaults::HEALTH_INTERVAL,
            timeout: defaults::HEALTH_TIMEOUT,
            fall: defaults::HEALTH_FALL,
            rise: defaults::HEALTH_RISE,
        }),
    };
    assert_eq!(config.relays, [web, web6]);
}

#[test]
fn checks_can_be_off_and_short() {
    let health = |from, to| sound(&SOUND.replacen(from, to, 1)).relays[0].health;
    assert_eq!(health("health_check = true", "health_check = false"), None);
    let short = health("health_interval_ms = 800\nhealth_timeout_ms = 500", "health_interval_ms = 100").unwrap();
    assert_eq!((short.interval, short.timeout), (Duration::from_millis(100), Duration::from_millis(100)));
}

const FORM: &[Mistake] = &[
    ("buffer_kbytes", "bufer_kbytes", 46, 1, Kind::UnknownKey, "did you mean `buffer_kbytes`?"),
    ("buffer_kbytes", "colour", 46, 1, Kind::UnknownKey, "use one of: name, listen, backend, connections_max"),
    ("[[relay]]", "[[relais]]", 36, 3, Kind::UnknownKey, "did you mean `relay`?"),
    ("name = \"web\"\n", "", 41, 1, Kind::MissingKey, "[[relay]] has no `name`"),
    (
        "listen = \"198.51.100.1:8080\"\n",
        "",
        41,
        1,
        Kind::MissingKey,
        "a line such as `listen = \"198.51.100.1:8080\"`",
    ),
    ("backend = [\"10.3.0.20:80\"]\n", "", 36, 1, Kind::MissingKey, "[[relay]] has no `backend`"),
    ("[\"10.3.0.20:80\"]", "[]", 39, 11, Kind::MissingKey, "`backend` is empty; give at least one server"),
    ("[\"10.3.0.20:80\"]", "\"10.3.0.20:80\"", 39, 11, Kind::WrongType, "like `backend = [\"10.3.0.20:80\"]`"),
    ("proxy_protocol = true", "proxy_protocol = 2", 49, 18, Kind::WrongType, "integer where true or false belongs"),
    ("health_check = true", "health_check = \"off\"", 50, 16, Kind::WrongType, "write it like `health_check = true`"),
    ("\"web\"", "\"the web\"", 42, 8, Kind::BadValue, "is not a name"),
    ("198.51.100.1:8080", "198.51.100.1", 43, 10, Kind::BadValue, "no port number; write it like \"198.51.100.1:80\""),
    ("[2001:db8:2::10]:80", "2001:db8:2::10", 38, 10, Kind::BadValue, "write it like \"[2001:db8:2::10]:80\""),
    ("10.3.0.20:80", "web.example:80", 39, 12, Kind::BadValue, "names are not looked up"),
    ("10.3.0.20:80", "[fe80::1%2]:80", 39, 12, Kind::BadValue, "without the %"),
    ("10.3.0.20:80", "[fe80::1]:80", 39, 12, Kind::BadValue, "is a link-local address; give the address of one server"),
    ("10.3.0.20:80", "[::ffff:10.3.0.20]:80", 39, 12, Kind::BadValue, "write \"10.3.0.20:80\""),
    ("198.51.100.1:8080", "[::ffff:198.51.100.1]:8080", 43, 10, Kind::BadValue, "write \"198.51.100.1:8080\""),
    ("10.3.0.20:80", "127.0.0.1:80", 39, 12, Kind::BadValue, "is a loopback address"),
    ("10.3.0.20:80", "224.0.0.1:80", 39, 12, Kind::BadValue, "is a multicast address"),
    ("10.3.0.20:80", "0.0.0.0:80", 39, 12, Kind::BadValue, "is not an address of a host"),
    ("10.3.0.20:80", "255.255.255.255:80", 39, 12, Kind::BadValue, "is not an address of a host"),
];

const RANGES: &[Mistake] = &[
    ("198.51.100.1:8080", "198.51.100.1:0", 43, 10, Kind::OutOfRange, "port number 0 cannot be used"),
    ("198.51.100.1:8080", "198.51.100.1:32768", 43, 10, Kind::OutOfRange, "port number 32768 is not below 32768"),
    (
        "198.51.100.1:8080",
        "198.51.100.1:65535",
        43,
        10,
        Kind::OutOfRange,
        "1 to 32767: those above carry the work units",
    ),
    ("10.3.0.20:80", "10.3.0.20:0", 39, 12, Kind::OutOfRange, "port number 0 cannot be used"),
    ("connections_max = 500", "connections_max = 0", 45, 19, Kind::OutOfRange, "from 1 to 1000000"),
    ("connections_max = 500", "connections_max = 1000001", 45, 19, Kind::OutOfRange, "from 1 to 1000000"),
    ("buffer_kbytes = 32", "buffer_kbytes = 3", 46, 17, Kind::OutOfRange, "from 4 to 1024"),
    ("buffer_kbytes = 32", "buffer_kbytes = 1025", 46, 17, Kind::OutOfRange, "from 4 to 1024"),
    ("idle_timeout_s = 60", "idle_timeout_s = 0", 47, 18, Kind::OutOfRange, "from 1 to 604800"),
    ("keepalive_s = 45", "keepalive_s = 0.5", 55, 15, Kind::OutOfRange, "from 1 to 604800, or 0 for none"),
    ("keepalive_s = 45", "keepalive_s = 604801", 55, 15, Kind::OutOfRange, "from 0 to 604800"),
    ("connect_timeout_ms = 2000", "connect_timeout_ms = 99", 48, 22, Kind::OutOfRange, "from 100 to 60000"),
    ("health_interval_ms = 800", "health_interval_ms = 0", 51, 22, Kind::OutOfRange, "from 100 to 3600000"),
    ("health_timeout_ms = 500", "health_timeout_ms = 9", 52, 21, Kind::OutOfRange, "from 10 to 60000"),
    ("health_fall = 5", "health_fall = 0", 53, 15, Kind::OutOfRange, "from 1 to 100"),
    ("health_rise = 4", "health_rise = 101", 54, 15, Kind::OutOfRange, "from 1 to 100"),
    ("= 65536", "= 65537", 58, 23, Kind::OutOfRange, "from 1 to 65536"),
    ("= 65536", "= 0", 58, 23, Kind::OutOfRange, "from 1 to 65536"),
];

const TOGETHER: &[Mistake] = &[
    ("\"web\"", "\"web6\"", 42, 8, Kind::Duplicate, "another [[relay]] named \"web6\""),
    (
        "198.51.100.1:8080",
        "[2001:db8:2:0::10]:80",
        43,
        10,
        Kind::Duplicate,
        "another [[relay]] that listens on [2001:db8:2::10]:80",
    ),
    ("10.10.0.10:80\"]", "10.10.0.11:80\"]", 44, 52, Kind::Duplicate, "names 10.10.0.11:80 twice"),
    (
        "health_timeout_ms = 500",
        "health_timeout_ms = 900",
        52,
        21,
        Kind::Contradiction,
        "a check may last 900ms, but the next begins after 800ms; lower health_timeout_ms or raise health_interval_ms",
    ),
    (
        "\"steered\"",
        "\"classic\"",
        36,
        1,
        Kind::Contradiction,
        "choose where a back end's answers arrive; set scheme = \"steered\" in [cluster], or remove every [[relay]]",
    ),
    (
        "198.51.100.1:8080",
        "198.51.100.8:8080",
        43,
        10,
        Kind::Contradiction,
        "198.51.100.8 is not a cluster address of any [[port]]; did you mean \"198.51.100.9:8080\"?",
    ),
    ("198.51.100.1:8080", "198.51.101.1:8080", 43, 10, Kind::Contradiction, "did you mean \"198.51.100.1:8080\"?"),
    ("198.51.100.1:8080", "[2001:db8::10]:81", 43, 10, Kind::Contradiction, "did you mean \"[2001:db8:2::10]:81\"?"),
    (
        "198.51.100.1:8080",
        "10.3.0.1:8080",
        43,
        10,
        Kind::Contradiction,
        "this member's own address, which goes down with it; did you mean \"10.3.0.10:8080\"?",
    ),
    ("198.51.100.1:8080", "0.0.0.0:8080", 43, 10, Kind::Contradiction, "is not a cluster address"),
    ("10.3.0.20:80", "10.3.0.10:80", 39, 12, Kind::Contradiction, "10.3.0.10 is an address of this cluster"),
    ("10.3.0.20:80", "198.51.100.2:80", 39, 12, Kind::Contradiction, "give the address of a server behind it"),
    ("10.3.0.20:80", "10.4.0.20:80", 39, 12, Kind::Warning, "no way to 10.4.0.20, which is in no port's network"),
];

#[test]
fn each_mistake_is_told_with_its_place_and_remedy() {
    are_told(SOUND, FORM.iter().chain(RANGES).chain(TOGETHER));
}

#[test]
fn a_back_end_needs_a_cluster_address_of_its_family() {
    let no_ipv6 = SOUND.replace(", \"2001:db8:2::10/64\"", "");
    let mistakes: &[Mistake] = &[
        (
            "[2001:db8:2::10]:80",
            "198.51.100.9:80",
            44,
            12,
            Kind::Contradiction,
            "no [[port]] has an IPv6 cluster address; add one to the [[port]] that leads there",
        ),
        ("[2001:db8:2::20]:80\", \"", "", 38, 10, Kind::Contradiction, "add an IPv6 cluster address to the [[port]]"),
    ];
    are_told(&no_ipv6, mistakes);
}

#[test]
fn relays_and_back_ends_are_counted() {
    let backends = |count| with_backends((1..=count).map(|port| format!("10.3.0.20:{port}")));
    assert_eq!(sound(&backends(defaults::BACKENDS_MAX)).relays[1].backends.len(), defaults::BACKENDS_MAX);
    let errors = Config::from_str(&backends(defaults::BACKENDS_MAX + 1), "m1.toml").unwrap_err();
    assert!(errors.to_string().contains("`backend` has more than 64 servers; use fewer"), "{errors}");

    let relays = |count| {
        let more = (3..=count).map(|port| {
            format!("[[relay]]\nname = \"r{port}\"\nlisten = \"198.51.100.9:{port}\"\nbackend = [\"10.3.0.20:80\"]\n")
        });
        format!("{SOUND}{}", more.collect::<String>())
    };
    assert_eq!(sound(&relays(defaults::RELAYS_MAX)).relays.len(), defaults::RELAYS_MAX);
    let errors = Config::from_str(&relays(defaults::RELAYS_MAX + 1), "m1.toml").unwrap_err();
    assert!(errors.to_string().contains("there are more than 64 relays; use fewer"), "{errors}");
}

/// One wrong port makes the ports unknown; a relay that may be right is not blamed for it.
#[test]
fn a_wrong_port_is_one_problem() {
    let errors = Config::from_str(&SOUND.replacen("role = \"outside\"", "role = \"out\"", 1), "m1.toml").unwrap_err();
    assert_eq!(errors.problems.len(), 1, "{errors}");
}
