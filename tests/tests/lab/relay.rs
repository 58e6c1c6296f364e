//! Relays: clients' kernels open TCP connections to the cluster address, and a server's kernel inside serves them. Every
//! byte is checked from end to end, on a clean network and on one that loses frames.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_tests::lab::traffic::{Load, Report, Server, Traffic};
use phalanx_tests::lab::{Lab, Plan, clock, failure, stage};

/// The generator's two TCP ports, relayed in both families; a third relay leads to nobody.
const RELAYS: &str = r#"
[[relay]]
name = "short"
listen = "10.2.0.10:7801"
backend = ["10.3.0.100:7801"]
[[relay]]
name = "long"
listen = "10.2.0.10:7802"
backend = ["10.3.0.100:7802"]
[[relay]]
name = "short6"
listen = "[fd00:2::10]:7801"
backend = ["[fd00:3::100]:7801"]
[[relay]]
name = "long6"
listen = "[fd00:2::10]:7802"
backend = ["[fd00:3::100]:7802"]
[[relay]]
name = "nobody"
listen = "10.2.0.10:7999"
backend = ["10.3.0.100:1"]
"#;

fn lab(mode: &'static str) -> Lab {
    Lab::up(Plan { config: Some(RELAYS.into()), ..Plan::new(mode, "none") }).unwrap()
}

fn sources(v6: bool) -> Vec<IpAddr> {
    (100..120u16)
        .map(
            |n| if v6 { IpAddr::from([0xfd00, 2, 0, 0, 0, 0, 0, n + 0x9c]) } else { IpAddr::from([10, 2, 0, n as u8]) },
        )
        .collect()
}

/// Short connections, each done within so many seconds, and a download through the relays, for so long.
fn relay_traffic(lab: &Lab, v6: bool, lasts: Duration, patience_s: u32) -> Report {
    let sources: Vec<IpAddr> = if v6 { Vec::new() } else { sources(false) };
    let load = Load {
        host: "client".into(),
        server: stage::cluster(v6),
        sources,
        pings_per_s: 20,
        udp_per_s: 0,
        connections_per_s: 100,
        download_kbytes_per_s: 1000,
        streams: 0,
    };
    let traffic = Traffic::start_patient(lab, &load, "relay", patience_s).unwrap();
    clock::last(lasts);
    traffic.finish().unwrap()
}

fn assert_whole(report: &Report, least_bytes: u64) {
    assert_eq!(report.tcp_failed(), 0, "{}", report.0["tcp"]["failures"]);
    assert!(report.tcp_attempted() > 50, "{}", report.0["tcp"]);
    let bytes = report.downloaded();
    assert!(bytes.is_some_and(|bytes| bytes >= least_bytes), "{}", report.0["download"]["why"]);
}

/// After the last connection has closed and its TIME-WAIT is over, nothing is left of any.
fn assert_nothing_is_left(lab: &Lab) {
    let look = || match lab.total("phalanx_relay_connections")? {
        0.0 => Ok(()),
        open => Err(failure(format!("{open} connections are still open"))),
    };
    clock::until(Duration::from_secs(45), Duration::from_millis(200), look).unwrap();
}

fn relays_serve(mode: &'static str) {
    let lab = lab(mode);
    let _server = Server::start(&lab, "server").unwrap();
    for v6 in [false, true] {
        assert_whole(&relay_traffic(&lab, v6, Duration::from_secs(4), 5), 3_000_000);
    }
    // Every member took its part, and what the relays count is what the client had.
    for id in 1..=3 {
        let accepted = |relay| {
            let name = format!("phalanx_relay_events_total{{relay=\"{relay}\",event=\"accepted\"}}");
            lab.member(id).samples(&name).unwrap()[0]
        };
        let accepted = accepted("short") + accepted("short6");
        assert!(accepted > 10.0, "m{id} accepted {accepted} connections");
    }
    assert!(lab.total("phalanx_relay_bytes_total{relay=\"long\",direction=\"down\"}").unwrap() > 3_000_000.0);
    lab.healthy().unwrap();
    assert_nothing_is_left(&lab);
}

#[test]
fn forward_relays_serve() {
    relays_serve("forward");
}

#[test]
fn multicast_relays_serve() {
    relays_serve("multicast");
}

/// TCP makes good what the network loses, on both sides of the relay.
#[test]
fn relays_bear_loss() {
    let lab = lab("unicast");
    let _server = Server::start(&lab, "server").unwrap();
    for id in 1..=3 {
        lab.cut(id, "outside", "both", 2).unwrap();
        lab.cut(id, "inside", "both", 2).unwrap();
    }
    assert_whole(&relay_traffic(&lab, false, Duration::from_secs(8), 40), 2_000_000);
}

/// A relay whose back end refuses tells its client so.
#[test]
fn who_cannot_be_served_is_told() {
    let lab = lab("forward");
    let script = "exec 3<>/dev/tcp/10.2.0.10/7999 && cat <&3";
    let done = lab.exec("client", &["timeout", "8", "bash", "-c", script]).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("Connection refused") || said.contains("Connection reset"), "{said}");
    assert!(lab.total("phalanx_relay_events_total{relay=\"nobody\",event=\"refused_no_backend\"}").unwrap() >= 1.0);
}
