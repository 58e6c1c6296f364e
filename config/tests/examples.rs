//! The examples are the operator's documentation: each must be sound, free of warnings, and true about the defaults.

use std::path::{Path, PathBuf};

use phalanx_config::{Config, defaults};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn example(name: &str) -> (String, Config) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let config = Config::from_str(&text, name).unwrap_or_else(|errors| panic!("{errors}"));
    (text, config)
}

#[test]
fn every_example_is_sound() {
    let files = examples();
    assert!(files.len() >= 10);
    for file in files {
        let config = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
        // The reference has a port without a cluster address, which is worth a warning.
        if !file.ends_with("reference.toml") {
            assert!(config.warnings.is_empty(), "{}: {:?}", file.display(), config.warnings);
        }
    }
}

/// The reference says what happens if a line is left out; so saying it aloud must change nothing.
#[test]
fn stated_defaults_are_the_codes() {
    let (text, silent) = example("reference.toml");
    assert!(text.matches("#= ").count() >= 36);
    let spoken =
        Config::from_str(&text.replace("#= ", ""), "reference.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(Config { warnings: Vec::new(), ..spoken }, Config { warnings: Vec::new(), ..silent });
}

/// Each default that is a plain number, text by text: a changed constant must change the reference.
#[test]
fn the_reference_names_each_constant() {
    let (text, _) = example("reference.toml");
    for line in [
        format!("period_ms = {} ", defaults::PERIOD.as_millis()),
        format!("losses_min = {} ", defaults::LOSSES_MIN),
        format!("false_alarm_interval_s = {} ", defaults::FALSE_ALARM_INTERVAL.as_secs()),
        format!("balance_interval_ms = {} ", defaults::BALANCE_INTERVAL.as_millis()),
        format!("compare_interval_s = {} ", defaults::COMPARE_INTERVAL.as_secs()),
        format!("scheme = \"{}\"", defaults::SCHEME),
        format!("quorum = \"{}\"", defaults::QUORUM),
        format!("replicas = \"{}\"", defaults::REPLICAS),
        format!("rekey_time_s = {} ", defaults::IKE_REKEY_TIME.as_secs()),
        format!("rekey_time_s = {} ", defaults::CHILD_REKEY_TIME.as_secs()),
        format!("after {} to {}; 0", defaults::REKEY_TIME_RANGE.0.as_secs(), defaults::REKEY_TIME_RANGE.1.as_secs()),
        format!("at most: {} to {}; 0: any number.", defaults::LIFE_PACKETS_RANGE.0, defaults::LIFE_PACKETS_RANGE.1),
        format!("bytes: {} to {}; 0", defaults::LIFE_BYTES_RANGE.0, defaults::LIFE_BYTES_RANGE.1),
        format!("mtu = {} ", defaults::MTU),
        format!(
            "# {} to {}; at least {} with IPv6",
            defaults::MTU_RANGE.0,
            defaults::MTU_RANGE.1,
            defaults::MTU_IPV6_MIN
        ),
        format!("queues = {} ", defaults::QUEUES),
        format!("idle = \"{}\"", defaults::idle(false)),
        format!("listen = \"{}\"", defaults::LISTEN),
        format!("socket = \"{}/m1.sock\"", defaults::SOCKET_DIR),
        format!("state_dir = \"{}/m1\"", defaults::STATE_DIR),
        format!("format = \"{}\"", defaults::LOG_FORMAT),
        format!("level = \"{}\"", defaults::LOG_LEVEL),
        format!("hold_packets_max = {} ", defaults::HOLD_PACKETS_MAX),
        format!("hold_ms = {} ", defaults::HOLD_TIME.as_millis()),
        format!("neighbours_max = {} ", defaults::NEIGHBOURS_MAX),
        format!("neighbour_queue_max = {} ", defaults::NEIGHBOUR_QUEUE_MAX),
        format!("neighbour_pending_max = {} ", defaults::NEIGHBOUR_PENDING_MAX),
        format!("reassembly_max = {} ", defaults::REASSEMBLY_MAX),
        format!("routes_max = {}", defaults::ROUTES_MAX),
        format!("relay_buffer_mbytes = {} ", defaults::RELAY_BUFFER_MBYTES),
        format!("connections_max = {} ", defaults::CONNECTIONS_MAX),
        format!("buffer_kbytes = {} ", defaults::BUFFER_KBYTES),
        format!("idle_timeout_s = {} ", defaults::IDLE_TIMEOUT.as_secs()),
        format!("connect_timeout_ms = {} ", defaults::CONNECT_TIMEOUT.as_millis()),
        format!("keepalive_s = {} ", defaults::KEEPALIVE.as_secs()),
        format!("health_interval_ms = {} ", defaults::HEALTH_INTERVAL.as_millis()),
        format!("health_timeout_ms = {} ", defaults::HEALTH_TIMEOUT.as_millis()),
        format!("health_fall = {} ", defaults::HEALTH_FALL),
        format!("health_rise = {} ", defaults::HEALTH_RISE),
        format!("up to {}, or none", defaults::RELAYS_MAX),
        format!("1 to {} servers", defaults::BACKENDS_MAX),
        format!("a port number below {};", defaults::OPENED_PORTS_MIN),
        format!("dpd_delay_s = {} ", defaults::DPD_DELAY.as_secs()),
        format!("shares = {} ", defaults::POOL_SHARES),
        format!("up to {}, the same on all members", defaults::IKE_CONNECTIONS_MAX),
        format!("1 to {}, below their connection", defaults::IKE_CHILDREN_MAX),
        format!("up to {} pools", defaults::POOLS_MAX),
        format!("{} characters or more", defaults::PSK_CHARACTERS_SENSIBLE_MIN),
        format!("up to {};", defaults::PORTS_MAX),
        format!("1 to {}, must match", defaults::MEMBER_ID_MAX),
    ] {
        assert!(text.contains(&line), "reference.toml does not say {line:?}");
    }
}

#[test]
fn the_lab_example_means_what_it_says() {
    let (_, config) = example("lab.toml");
    assert_eq!(config.cluster.timing.detection(3).as_millis(), 75);
    assert_eq!(config.cluster.timing.lease(3).as_micros(), 106_250);
    assert_eq!(config.cluster.timing.reassignment(3).as_micros(), 112_500);
    assert_eq!(config.cluster.timing.self_lease(3).as_micros(), 68_750);
    assert_eq!(config.workers.count(), 1);
    assert_eq!(config.routes[0].port, 0);
    // Two ports of one worker: 2 × (1024 + 1024) descriptors; 512 + 4096 + 2 × 1024 + 512 × 8 in the worker.
    assert_eq!(config.limits.mbufs, 4096 + 10752);
}
