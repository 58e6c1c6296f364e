//! Each kind of mistake, in a file that is sound but for it: place, sort, and the words that help.

mod mistakes;

use mistakes::{Mistake, are_told};
use phalanx_config::{Config, Kind, MacAddr, Machine};

/// A sound file that names most keys; mistakes are planted in it.
const SOUND: &str = r#"[cluster]
name = "edge"
number = 1
config_version = 1
mode = "unicast"
period_ms = 10
losses_min = 3
mac = "02:00:00:00:00:01"

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
vlan = 100
mtu = 1500
cluster_addresses = ["10.2.0.10/24", "fd00:2::10/64"]
unit_addresses = ["10.2.0.1/24", "fd00:2::1/64"]
queues = 1

[[port]]
name = "inside0"
device = "net_af_packet1,iface=i"
role = "inside"
cluster_addresses = ["10.3.0.10/24"]
unit_addresses = ["10.3.0.1/24"]

[[route]]
to = "0.0.0.0/0"
via = "10.2.0.254"

[[route]]
to = "10.4.0.0/16"
via = "10.3.0.254"

[workers]
cores = [1]
idle = "spin"
realtime = 0

[cluster_thread]
core = 0

[eal]
args = ["--in-memory"]

[management]
listen = "127.0.0.1:9464"

[limits]
neighbour_queue_max = 16
"#;

const FORM: &[Mistake] = &[
    ("number = 1", "number = ", 3, 10, Kind::Syntax, "correct the TOML"),
    ("name = \"edge\"", "name = \"edge\"\nname = \"edge\"", 3, 1, Kind::Syntax, "duplicate key"),
    ("period_ms", "perod_ms", 6, 1, Kind::UnknownKey, "did you mean `period_ms`?"),
    ("period_ms", "colour", 6, 1, Kind::UnknownKey, "use one of: name, number"),
    ("[workers]", "[worker]", 45, 2, Kind::UnknownKey, "did you mean `workers`?"),
    ("[[route]]", "[[rote]]", 37, 3, Kind::UnknownKey, "did you mean `route`?"),
    ("number = 1\n", "", 1, 1, Kind::MissingKey, "[cluster] has no `number`; add a line such as `number = 1`"),
    ("role = \"inside\"\n", "", 30, 1, Kind::MissingKey, "[[port]] has no `role`"),
    (
        "[link]\ninterface = \"eth2\"\naddress = \"10.9.0.1:7400\"\ngroup = \"239.80.72.1:7400\"\n",
        "",
        1,
        1,
        Kind::MissingKey,
        "no section [link]",
    ),
    ("number = 1", "number = \"1\"", 3, 10, Kind::WrongType, "string where a whole number belongs"),
    ("cores = [1]", "cores = 1", 46, 9, Kind::WrongType, "integer where a list belongs"),
    ("name = \"edge\"", "name = 7", 2, 8, Kind::WrongType, "integer where a text belongs"),
    ("period_ms = 10", "period_ms = true", 6, 13, Kind::WrongType, "boolean where a number belongs"),
    ("[workers]\ncores", "[[workers]]\ncores", 45, 1, Kind::WrongType, "a line `[workers]`, once"),
    ("name = \"edge\"", "name = \"my edge\"", 2, 8, Kind::BadValue, "not a name; use 1 to 63 letters"),
    ("mode = \"unicast\"", "mode = \"unicats\"", 5, 8, Kind::BadValue, "did you mean \"unicast\"?"),
    ("idle = \"spin\"", "idle = \"never\"", 47, 8, Kind::BadValue, "one of: spin, interrupt, sleep"),
    ("02:00:00:00:00:01", "02:00:00:00:00", 8, 7, Kind::BadValue, "hardware address"),
    ("10.9.0.1:7400", "10.9.0.1", 17, 11, Kind::BadValue, "an address with a port number"),
    ("127.0.0.1:9464", "localhost", 57, 10, Kind::BadValue, "or \"off\""),
    ("identity = \"m1.pem\"", "identity = \"\"", 13, 12, Kind::BadValue, "it is empty"),
    ("\"10.2.0.1/24\"", "\"10.2.0.1\"", 27, 19, Kind::BadValue, "has no prefix length; write it like \"10.2.0.1/24\""),
    ("\"10.2.0.1/24\"", "\"10.2.0.0/24\"", 27, 19, Kind::BadValue, "the network's own address"),
    ("\"10.2.0.1/24\"", "\"10.2.0.255/24\"", 27, 19, Kind::BadValue, "broadcast address"),
    ("\"10.2.0.1/24\"", "\"224.0.0.1/24\"", 27, 19, Kind::BadValue, "multicast address"),
    ("10.4.0.0/16", "10.4.1.0/16", 42, 6, Kind::BadValue, "bits set behind its prefix; write \"10.4.0.0/16\""),
    ("10.4.0.0/16", "ten", 42, 6, Kind::BadValue, "is not a network"),
    ("10.2.0.254", "gateway", 39, 7, Kind::BadValue, "is not an address without a prefix"),
    ("interface = \"eth2\"", "interface = \"a-very-long-interface\"", 16, 13, Kind::BadValue, "at most 15 letters"),
    ("239.80.72.1", "10.9.0.9", 18, 9, Kind::BadValue, "is not a multicast address"),
    ("10.9.0.1:7400", "239.1.1.1:7400", 17, 11, Kind::BadValue, "not an address of one member"),
];

const RANGES: &[Mistake] = &[
    ("number = 1", "number = 256", 3, 10, Kind::OutOfRange, "256 is out of range; use a number from 1 to 255"),
    ("number = 1", "number = -1", 3, 10, Kind::OutOfRange, "-1 is out of range"),
    ("number = 1", "number = 0xfff", 3, 10, Kind::OutOfRange, "4095 is out of range"),
    ("id = 1", "id = 33", 12, 6, Kind::OutOfRange, "from 1 to 32"),
    ("period_ms = 10", "period_ms = 0.5", 6, 13, Kind::OutOfRange, "from 1 to 1000"),
    ("period_ms = 10", "period_ms = nan", 6, 13, Kind::OutOfRange, "out of range"),
    ("period_ms = 10", "period_ms = 1e300", 6, 13, Kind::OutOfRange, "out of range"),
    ("losses_min = 3", "losses_min = 2", 7, 14, Kind::OutOfRange, "from 3 to 20"),
    ("vlan = 100", "vlan = 4095", 24, 8, Kind::OutOfRange, "from 1 to 4094"),
    ("mtu = 1500", "mtu = 575", 25, 7, Kind::OutOfRange, "from 576 to 9600"),
    ("queues = 1", "queues = 0", 28, 10, Kind::OutOfRange, "from 1 to 64"),
    ("cores = [1]", "cores = [1, 5000]", 46, 13, Kind::OutOfRange, "from 0 to 1023"),
    ("10.9.0.1:7400", "10.9.0.1:0", 17, 11, Kind::OutOfRange, "port number"),
    ("10.9.0.1:7400", "10.9.0.1:65535", 17, 11, Kind::OutOfRange, "the next one"),
];

const CONTRADICTIONS: &[Mistake] = &[
    ("mode = \"unicast\"", "mode = \"forward\"", 8, 7, Kind::Contradiction, "has no use with mode \"forward\""),
    ("mode = \"unicast\"", "mode = \"multicast\"", 8, 7, Kind::Contradiction, "not a multicast address"),
    ("02:00:00:00:00:01", "00:00:00:00:00:01", 8, 7, Kind::Contradiction, "locally administered unicast"),
    ("02:00:00:00:00:01", "03:00:00:00:00:01", 8, 7, Kind::Contradiction, "locally administered unicast"),
    ("239.80.72.1", "[ff05::1]", 18, 9, Kind::Contradiction, "different families"),
    ("name = \"inside0\"", "name = \"outside0\"", 31, 8, Kind::Duplicate, "another [[port]] named \"outside0\""),
    ("net_af_packet1", "net_af_packet0", 32, 10, Kind::Duplicate, "already used"),
    ("mtu = 1500", "mtu = 1279", 25, 7, Kind::Contradiction, "use at least 1280"),
    (", \"fd00:2::1/64\"]", "]", 26, 38, Kind::Contradiction, "no IPv6 unit address; add one in fd00:2::/64"),
    ("10.3.0.10/24", "10.7.0.10/24", 34, 22, Kind::Contradiction, "not in the network of any unit address"),
    ("10.3.0.10/24", "10.3.0.10/16", 34, 22, Kind::Contradiction, "correct the prefix"),
    ("\"10.3.0.10/24\"", "\"10.3.0.1/24\"", 35, 19, Kind::Contradiction, "both a cluster address and a unit address"),
    ("\"10.3.0.10/24\"", "\"10.3.0.10/24\", \"10.3.0.10/24\"", 34, 38, Kind::Duplicate, "10.3.0.10 is given twice"),
    (
        "\"10.3.0.1/24\"",
        "\"10.3.0.1/24\", \"10.2.0.2/24\"",
        35,
        34,
        Kind::Contradiction,
        "also on [[port]] \"outside0\"",
    ),
    ("via = \"10.2.0.254\"", "via = \"10.5.0.254\"", 39, 7, Kind::Contradiction, "in no network of any port"),
    (
        "via = \"10.2.0.254\"",
        "via = \"10.2.0.254\"\nport = \"inside0\"",
        39,
        7,
        Kind::Contradiction,
        "in no network of that port",
    ),
    ("via = \"10.2.0.254\"", "via = \"10.2.0.10\"", 39, 7, Kind::Contradiction, "an address of this cluster"),
    ("via = \"10.2.0.254\"", "via = \"fd00:2::99\"", 39, 7, Kind::Contradiction, "the other family"),
    ("via = \"10.2.0.254\"", "port = \"outsid0\"", 39, 8, Kind::Contradiction, "did you mean \"outside0\"?"),
    ("via = \"10.2.0.254\"\n", "", 37, 1, Kind::MissingKey, "neither `via` nor `port`"),
    ("10.4.0.0/16", "0.0.0.0/0", 42, 6, Kind::Duplicate, "another [[route]] to 0.0.0.0/0"),
    ("realtime = 0", "realtime = 10", 48, 12, Kind::Contradiction, "set realtime = 0, or idle = \"interrupt\""),
    ("cores = [1]", "cores = [1, 2, 1]", 46, 16, Kind::Duplicate, "names core 1 twice"),
    ("core = 0", "core = 1", 51, 8, Kind::Contradiction, "taken by a spinning worker"),
    (
        "neighbour_queue_max = 16",
        "neighbour_queue_max = 2000",
        60,
        23,
        Kind::Contradiction,
        "raise neighbour_pending_max",
    ),
    ("neighbour_queue_max = 16", "mbufs = 4096", 60, 9, Kind::Contradiction, "cannot even fill the ports' rings"),
    (
        "address = \"10.9.0.1",
        "address = \"10.3.0.1",
        17,
        11,
        Kind::Contradiction,
        "also an address of [[port]] \"inside0\"",
    ),
];

const WARNINGS: &[Mistake] = &[
    (
        "period_ms = 10\nlosses_min = 3",
        "period_ms = 1000\nlosses_min = 4",
        6,
        13,
        Kind::Warning,
        "noticed only after 4s",
    ),
    ("127.0.0.1:9464", "0.0.0.0:9464", 57, 10, Kind::Warning, "to anyone who reaches it"),
    ("role = \"inside\"", "role = \"outside\"", 21, 8, Kind::Warning, "no port with role \"inside\""),
    ("cluster_addresses = [\"10.3.0.10/24\"]\n", "", 30, 1, Kind::Warning, "has no cluster address"),
    ("cores = [1]", "cores = []", 47, 8, Kind::Warning, "without a core of its own spins"),
    ("queues = 1", "queues = 2", 28, 10, Kind::Warning, "2 queues for 1 worker(s)"),
    ("--in-memory", "--lcores=1", 54, 9, Kind::Warning, "chooses cores"),
    ("neighbour_queue_max = 16", "mbufs = 5000", 60, 9, Kind::Warning, "fewer than the"),
    ("10.3.0.1/24\"]", "10.3.0.1/24\", \"10.2.1.1/16\"]", 35, 34, Kind::Warning, "overlaps 10.2.0.0/24"),
    ("address = \"10.9.0.1", "address = \"10.3.0.9", 17, 11, Kind::Warning, "a network of its own"),
];

#[test]
fn each_mistake_is_told_with_its_place_and_remedy() {
    are_told(SOUND, FORM.iter().chain(RANGES).chain(CONTRADICTIONS).chain(WARNINGS));
}

#[test]
fn the_sound_file_is_sound() {
    let config = Config::from_str(SOUND, "/etc/phalanx/m1.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, []);
    assert_eq!(config.member.identity.to_str(), Some("/etc/phalanx/m1.pem"));
    assert_eq!(config.member.state_dir.to_str(), Some("/var/lib/phalanx/m1"));
    assert_eq!(config.cluster.shared_mac(), Some(MacAddr([2, 0, 0, 0, 0, 1])));
    assert_eq!(config.routes[1].port, 1);
}

#[test]
fn all_problems_are_told_at_once_in_the_files_order() {
    let text = SOUND
        .replacen("number = 1", "number = 0", 1)
        .replacen("losses_min", "loses_min", 1)
        .replacen("vlan = 100", "vlan = 9999", 1)
        .replacen("role = \"inside\"", "role = \"insight\"", 1)
        .replacen("to = \"0.0.0.0/0\"", "to = \"0.0.0.0\"", 1)
        .replacen("idle = \"spin\"", "idle = \"spun\"", 1)
        .replacen("127.0.0.1:9464", "here", 1);
    let errors = Config::from_str(&text, "m1.toml").unwrap_err();
    let lines: Vec<_> = errors.problems.iter().filter_map(|problem| problem.at).map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 7, 24, 33, 38, 47, 57], "{errors}");
    assert_eq!(errors.to_string().lines().count(), 7);
    assert_eq!(
        errors.to_string().lines().next(),
        Some("m1.toml:3:10: [cluster] `number`: 0 is out of range; use a number from 1 to 255")
    );
}

#[test]
fn columns_count_characters_and_crlf_is_a_line() {
    let errors = Config::from_str("# ä\r\n[cluster]\r\nname = \"é\", x\r\n", "m1.toml").unwrap_err();
    assert_eq!(errors.problems[0].at, Some((3, 11)), "{errors}");
}

#[test]
fn an_empty_file_lacks_each_section_once() {
    let errors = Config::from_str("", "m1.toml").unwrap_err();
    assert_eq!(errors.problems.len(), 4, "{errors}");
    assert!(errors.problems.iter().all(|problem| problem.kind == Kind::MissingKey && problem.at == Some((1, 1))));
}

#[test]
fn a_file_that_is_not_there_is_a_problem_without_a_place() {
    let errors = Config::load(std::path::Path::new("/nowhere/m1.toml")).unwrap_err();
    assert_eq!((errors.problems[0].kind, errors.problems[0].at), (Kind::Unreadable, None));
    assert!(errors.to_string().starts_with("/nowhere/m1.toml: cannot be read: "), "{errors}");
}

#[test]
fn link_local_next_hops_need_and_have_a_port() {
    let route = "\n[[route]]\nto = \"::/0\"\nvia = \"fe80::1\"\n";
    let errors = Config::from_str(&format!("{SOUND}{route}"), "m1.toml").unwrap_err();
    assert!(errors.to_string().contains("a link-local one with `port`"), "{errors}");
    let config = Config::from_str(&format!("{SOUND}{route}port = \"inside0\"\n"), "m1.toml").unwrap();
    assert_eq!((config.routes[2].port, config.routes[2].via), (1, "fe80::1".parse().ok()));
}

#[test]
fn cores_that_are_not_there() {
    let path = std::env::temp_dir().join(format!("phalanx-cores-{}.toml", std::process::id()));
    let example = include_str!("../examples/unicast.toml").replace("cores = [1]", "cores = [1, 900]");
    std::fs::write(&path, example).unwrap();
    let here = Config::load_on(&path, &Machine { cores: &[0, 1], runs_here: true });
    let elsewhere = Config::load_on(&path, &Machine { cores: &[0, 1], runs_here: false });
    let unknown = Config::load_on(&path, &Machine { cores: &[], runs_here: true });
    std::fs::remove_file(&path).unwrap();
    let errors = here.unwrap_err();
    let [problem] = &errors.problems[..] else { panic!("{errors}") };
    assert_eq!((problem.kind, problem.at), (Kind::OutOfRange, Some((50, 13))));
    assert!(problem.to_string().ends_with("core 900, which a process cannot have on this machine; choose from 0, 1"));
    let told = |config: Config| config.warnings.iter().filter(|w| w.what.contains("core 900")).count();
    assert_eq!((told(elsewhere.unwrap()), told(unknown.unwrap())), (1, 0));
}

#[test]
fn one_device_is_one_port_whatever_its_tags() {
    let text = SOUND.replace("net_af_packet1,iface=i", "net_af_packet0,iface=o");
    let fix = |text: &str| Config::from_str(text, "m1.toml").unwrap_err().problems[0].fix.clone();
    assert!(fix(&text).contains("give each VLAN a device of its own"), "{}", fix(&text));
    assert!(fix(&text.replace("vlan = 100\n", "")).contains("another number"));
}
