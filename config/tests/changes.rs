//! What members compare (the digest), and what may change while running (the reload).

use phalanx_config::{Config, Level, LogFormat, reload_diff};

const TEXT: &str = include_str!("../examples/three-members-m1.toml");
const RELAYS: &str = include_str!("../examples/relay.toml");

fn config(text: &str) -> Config {
    Config::from_str(text, "m1.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// The example with one text in it replaced.
fn changed(from: &str, to: &str) -> Config {
    assert!(TEXT.contains(from), "{from:?} is not in the example");
    config(&TEXT.replacen(from, to, 1))
}

/// The example with relays with one text in it replaced.
fn relays_changed(from: &str, to: &str) -> Config {
    assert!(RELAYS.contains(from), "{from:?} is not in the example");
    config(&RELAYS.replacen(from, to, 1))
}

#[test]
fn members_of_one_cluster_have_one_digest() {
    let digest = config(TEXT).digest();
    for (from, to) in [
        ("name = \"m1\"", "name = \"m2\""),
        ("id = 1 ", "id = 2 "),
        ("10.9.0.1:7400", "10.9.0.2:7400"),
        ("\"192.0.2.1/24\"", "\"192.0.2.2/24\""),
        ("0000:03:00.0", "0000:05:00.0"),
        ("quorum = \"none\"", "# the default stands for it"),
        ("number = 1\nconfig_version = 1", "config_version = 1\nnumber = 0x01"),
        ("\"192.0.2.10/24\", \"2001:db8:2::10/64\"", "\"2001:db8:2::10/64\", \"192.0.2.10/24\""),
        ("period_ms = 10", "period_ms = 10.0\nbalance_interval_ms = 500\ncompare_interval_s = 5"),
        ("cores = [2, 3]", "cores = [4, 5]"),
    ] {
        assert_eq!(changed(from, to).digest(), digest, "{to}");
    }
}

#[test]
fn whatever_all_must_agree_on_changes_the_digest() {
    let mut digests = vec![config(TEXT).digest()];
    for (from, to) in [
        ("name = \"edge\"", "name = \"ridge\""),
        ("number = 1", "number = 2"),
        ("config_version = 1", "config_version = 2"),
        ("mode = \"forward\"", "mode = \"unicast\""),
        ("mode = \"forward\"", "mode = \"multicast\""),
        ("mode = \"forward\"", "mode = \"unicast\"\nmac = \"02:00:00:00:00:01\""),
        ("quorum = \"none\"", "quorum = \"majority\""),
        ("quorum = \"none\"", "scheme = \"classic\""),
        ("quorum = \"none\"", "replicas = 1"),
        ("quorum = \"none\"", "false_alarm_interval_s = 3600"),
        ("period_ms = 10", "period_ms = 11"),
        ("losses_min = 3", "losses_min = 4"),
        ("name = \"inside0\"", "name = \"inside1\""),
        ("role = \"inside\"", "role = \"outside\""),
        ("role = \"inside\"", "role = \"inside\"\nvlan = 5"),
        ("10.3.0.10/24", "10.3.0.11/24"),
    ] {
        let digest = changed(from, to).digest();
        assert!(!digests.contains(&digest), "{to}");
        digests.push(digest);
    }
}

/// Members that know no relays and members that have none join each other: this digest is as old as the encoding.
#[test]
fn without_relays_the_digest_is_as_it_ever_was() {
    let hex: String = config(TEXT).digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "a2a04ea32c2687a7449f714a1c087ecf409437e908389e572fa875363820c45e");
    assert_eq!(changed("[log]", "[limits]\nrelay_buffer_mbytes = 16\n[log]").digest(), config(TEXT).digest());
}

#[test]
fn the_order_of_relays_and_back_ends_does_not_matter() {
    let digest = config(RELAYS).digest();
    let (before, relays) = RELAYS.split_at(RELAYS.find("[[relay]]").unwrap());
    let (relays, after) = relays.split_at(relays.find("[workers]").unwrap());
    let turned = relays.split("[[relay]]").skip(1);
    let turned = turned.fold(String::new(), |turned, relay| format!("[[relay]]{relay}\n{turned}"));
    let turned = config(&format!("{before}{turned}{after}"));
    assert_eq!(turned.digest(), digest);
    assert_eq!(turned.relays, config(RELAYS).relays);
    for (from, to) in [
        ("\"10.10.0.10:80\", \"10.10.0.11:80\"", "\"10.10.0.11:80\", \"10.10.0.10:80\""),
        ("health_interval_ms = 500", "health_interval_ms = 500\nhealth_timeout_ms = 500\nhealth_fall = 3"),
        ("health_check = false", "health_check = false\nhealth_rise = 9"),
        ("relay_buffer_mbytes = 1024", "relay_buffer_mbytes = 512"),
    ] {
        assert_eq!(relays_changed(from, to).digest(), digest, "{to}");
        assert_eq!(relays_changed(from, to).relays, config(RELAYS).relays, "{to}");
    }
}

/// What may differ in a relay: (from, to, the key that a reload refuses).
const RELAY_CHANGES: &[(&str, &str, &str)] = &[
    ("name = \"web6\"", "name = \"web-v6\"", "[[relay]]"),
    ("198.51.100.1:8080", "198.51.100.1:8081", "relay \"web\" listen"),
    // Now the last one by its address.
    ("198.51.100.1:22", "[2001:db8:2::10]:22222", "relay \"ssh\" listen"),
    ("\"10.10.0.10:80\", ", "", "relay \"web\" backend"),
    ("10.10.0.10:80", "10.10.0.10:81", "relay \"web\" backend"),
    ("connections_max = 5000", "connections_max = 5001", "relay \"web\" connections_max"),
    ("buffer_kbytes = 16", "buffer_kbytes = 17", "relay \"ssh\" buffer_kbytes"),
    ("idle_timeout_s = 604800", "idle_timeout_s = 604799.5", "relay \"ssh\" idle_timeout_s"),
    ("buffer_kbytes = 16", "buffer_kbytes = 16\nconnect_timeout_ms = 1000", "relay \"ssh\" connect_timeout_ms"),
    ("keepalive_s = 600 ", "keepalive_s = 60 ", "relay \"ssh\" keepalive_s"),
    ("proxy_protocol = true", "proxy_protocol = false", "relay \"web\" proxy_protocol"),
    ("health_check = false", "health_check = true", "relay \"ssh\" health_check"),
    ("health_interval_ms = 500", "health_timeout_ms = 500", "relay \"web\" health_interval_ms"),
    (
        "health_interval_ms = 500",
        "health_interval_ms = 500\nhealth_timeout_ms = 400",
        "relay \"web\" health_timeout_ms",
    ),
    ("health_interval_ms = 500", "health_interval_ms = 500\nhealth_fall = 4", "relay \"web\" health_fall"),
    ("health_interval_ms = 500", "health_interval_ms = 500\nhealth_rise = 4", "relay \"web\" health_rise"),
];

#[test]
fn whatever_differs_in_a_relay_changes_the_digest_and_is_refused_by_name() {
    let running = config(RELAYS);
    let mut digests = vec![running.digest()];
    for (from, to, key) in RELAY_CHANGES {
        let new = relays_changed(from, to);
        assert!(!digests.contains(&new.digest()), "{to}");
        digests.push(new.digest());
        let refusals = reload_diff(&running, &new).unwrap_err();
        let [refusal] = &refusals[..] else { panic!("{to}: {refusals:?}") };
        assert_eq!(refusal.key, *key);
        assert!(refusal.to_string().contains("cannot change while running: all members must agree on it"), "{refusal}");
    }
    let without = config(&format!("{}{}", RELAYS.split("[[relay]]").next().unwrap(), "[workers]\ncores = [2, 3]\n"));
    assert!(!digests.contains(&without.digest()));
    assert!(reload_diff(&running, &without).unwrap_err().iter().any(|refusal| refusal.key == "[[relay]]"));
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    let changes = reload_diff(&config(TEXT), &config(&format!("# a comment\n{TEXT}"))).unwrap();
    assert!(changes.is_empty());
}

#[test]
fn logs_routes_and_balancing_change_live() {
    let new = TEXT
        .replacen("format = \"json\"", "format = \"human\"\nlevel = \"debug\"", 1)
        .replacen("via = \"10.3.0.254\"", "via = \"10.3.0.253\"", 1)
        .replacen("period_ms = 10", "period_ms = 10\nbalance_interval_ms = 500", 1);
    let new = config(&new);
    let changes = reload_diff(&config(TEXT), &new).unwrap();
    assert_eq!((changes.log_level, changes.log_format), (Some(Level::Debug), Some(LogFormat::Human)));
    assert_eq!(changes.routes, Some(new.routes));
    assert_eq!(changes.balance_interval.map(|interval| interval.as_millis()), Some(500));
}

#[test]
fn the_rest_is_refused_by_name() {
    for (from, to, key) in [
        ("name = \"edge\"", "name = \"ridge\"", "cluster.name"),
        ("number = 1", "number = 2", "cluster.number"),
        ("config_version = 1", "config_version = 2", "cluster.config_version"),
        ("mode = \"forward\"", "mode = \"unicast\"", "cluster.mode"),
        ("quorum = \"none\"", "scheme = \"classic\"", "cluster.scheme"),
        ("quorum = \"none\"", "quorum = \"majority\"", "cluster.quorum"),
        ("quorum = \"none\"", "replicas = 2", "cluster.replicas"),
        ("quorum = \"none\"", "compare_interval_s = 9", "cluster.compare_interval_s"),
        ("quorum = \"none\"", "false_alarm_interval_s = 60", "cluster.false_alarm_interval_s"),
        ("period_ms = 10", "period_ms = 20", "cluster.period_ms"),
        ("losses_min = 3", "losses_min = 5", "cluster.losses_min"),
        ("id = 1 ", "id = 2 ", "member.id"),
        ("identity = \"m1.pem\"", "identity = \"m2.pem\"", "member.identity"),
        ("/var/lib/phalanx/m1", "/var/lib/phalanx/m2", "member.state_dir"),
        ("eth2", "eth3", "link.interface"),
        ("10.9.0.1:7400", "10.9.0.2:7400", "link.address"),
        ("239.80.72.1", "239.80.72.2", "link.group"),
        ("0000:03:00.1", "0000:03:00.2", "port \"inside0\" device"),
        ("queues = 2", "queues = 1", "port \"outside0\" queues"),
        ("\"10.3.0.1/24\"", "\"10.3.0.2/24\"", "port \"inside0\" unit_addresses"),
        ("\"10.3.0.10/24\"", "\"10.3.0.11/24\"", "port \"inside0\" cluster_addresses"),
        ("name = \"inside0\"", "name = \"inside1\"", "[[port]]"),
        ("cores = [2, 3]", "cores = [2, 4]", "workers.cores"),
        ("core = 1", "core = 0", "cluster_thread.core"),
        ("realtime = 50", "realtime = 51", "cluster_thread.realtime"),
        ("127.0.0.1:9464", "127.0.0.1:9465", "management.listen"),
        ("[log]", "[eal]\nargs = [\"-m\", \"64\"]\n[log]", "eal.args"),
        ("[log]", "[limits]\nhold_ms = 100\n[log]", "limits.hold_ms"),
        ("[log]", "[limits]\nroutes_max = 100\n[log]", "limits.routes_max"),
        ("[log]", "[limits]\nrelay_buffer_mbytes = 100\n[log]", "limits.relay_buffer_mbytes"),
    ] {
        let refusals = reload_diff(&config(TEXT), &changed(from, to)).unwrap_err();
        assert!(refusals.iter().any(|refusal| refusal.key == key), "{to}: {refusals:?}");
        assert!(refusals.iter().all(|refusal| refusal.to_string().contains("cannot change while running: ")));
    }
}
