//! Several workers a member, each pinned to a core: every packet is processed by the worker that its unit belongs to,
//! whichever of them found it. In one lab a port has one queue, so that all packets of the other worker are handed over to
//! it and sent for it; in another the device spreads frames over two queues by a hash of its own, so that half of them are
//! handed over. A third keeps its worker spinning.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_tests::lab::scenario::SLACK_MS;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, health, stage};

const TWO_WORKERS: &str = "[workers]\ncores = [0, 1]\nidle = \"sleep\"\n";
const TWO_QUEUES: &str = "[[port]]\nname = \"outside0\"\nqueues = 2\n[[port]]\nname = \"inside0\"\nqueues = 2\n";
/// A spinning worker may not have real-time priority, and one member is all that the machine can stand.
const SPINNING: &str = "[workers]\ncores = [1]\nidle = \"spin\"\nrealtime = 0\n";
/// What each worker of each member must have routed: twenty flows send thirty packets a second each.
const SHARE: f64 = 20.0;

/// What each worker of a member has routed onwards.
fn routed(lab: &Lab, id: u8) -> Outcome<Vec<f64>> {
    lab.member(id).samples("phalanx_worker_forwarded_packets_total{")
}

/// Which CPUs each worker thread of a member may use, in the order of the workers' numbers.
fn places(lab: &Lab, id: u8) -> Outcome<Vec<String>> {
    let mut places = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", lab.pid(id)?)).map_err(failure)?.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).map_err(failure)?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        if let Some(number) = field("Name:").strip_prefix("phalanx-work") {
            places.push((number.to_owned(), field("Cpus_allowed_list:").to_owned()));
        }
    }
    places.sort();
    Ok(places.into_iter().map(|(_, place)| place).collect())
}

/// Every worker of every member that is awake takes part.
fn all_take_part(lab: &Lab, workers: usize) -> Outcome<()> {
    for &id in lab.awake() {
        let routed = routed(lab, id)?;
        if routed.len() != workers || routed.iter().any(|&packets| packets < SHARE) {
            return Err(failure(format!("m{id}'s workers have routed {routed:?} packets")));
        }
    }
    Ok(())
}

fn start_traffic(lab: &Lab) -> Traffic {
    let load = Load {
        host: "client".into(),
        server: stage::server(false),
        // Each is a unit with load: whoever comes back is to get several for each of its workers.
        sources: (100..160).map(|n| IpAddr::from([10, 2, 0, n])).collect(),
        pings_per_s: 30,
        udp_per_s: 50,
        connections_per_s: 50,
        download_kbytes_per_s: 0,
        streams: 0,
    };
    Traffic::start(lab, &load, "workers").unwrap()
}

/// Two pinned workers, under traffic, with a death among the members.
fn two_workers(mode: &'static str, more: &str) {
    let plan = Plan { config: Some(format!("{TWO_WORKERS}{more}")), ..Plan::new(mode, "none") };
    let mut lab = Lab::up(plan).unwrap();
    let _server = Server::start(&lab, "server").unwrap();
    let mut traffic = start_traffic(&lab);
    for id in 1..=3 {
        assert_eq!(places(&lab, id).unwrap(), ["0", "1"], "m{id}'s workers are not where they belong");
    }
    clock::until(Duration::from_secs(8), Duration::from_millis(100), || all_take_part(&lab, 2)).unwrap();
    let master = lab.healthy().unwrap();
    let victim = (1..=3).find(|id| *id != master).unwrap();
    traffic.mark("killed").unwrap();
    lab.act("kill", victim).unwrap();
    lab.await_healthy(Duration::from_secs(5)).unwrap();
    clock::last(Duration::from_secs(1));
    lab.act("start", victim).unwrap();
    lab.await_healthy(Duration::from_secs(10)).unwrap();
    clock::until(Duration::from_secs(12), Duration::from_millis(100), || all_take_part(&lab, 2)).unwrap();
    let report = traffic.finish().unwrap();
    let blackout_ms = report.blackout_ms("killed").unwrap();
    println!(
        "{mode}, two workers: interrupted for {blackout_ms:.0} ms by a death; {} of {} probes lost; routed by worker: {:?}",
        report.lost(),
        report.sent(),
        (1..=3).map(|id| routed(&lab, id).unwrap()).collect::<Vec<_>>()
    );
    assert_eq!((report.tcp_failed(), report.duplicates()), (0, 0));
    assert!(report.0["tcp"]["succeeded"].as_u64().unwrap() > 100, "{}", report.0["tcp"]);
    assert!(blackout_ms <= lab.timing.detection_ms() + SLACK_MS, "interrupted for {blackout_ms:.0} ms");
    for member in &lab.members {
        clock::until(Duration::from_secs(2), Duration::from_millis(20), || {
            let report = member.status()?;
            match health::imbalance(&report) {
                0 => Ok(()),
                short => Err(failure(format!("{}'s counters are {short} short", member.name()))),
            }
        })
        .unwrap();
    }
}

#[test]
fn forward_two_workers_of_one_queue() {
    two_workers("forward", "");
}

#[test]
fn unicast_two_workers_of_two_queues() {
    two_workers("unicast", TWO_QUEUES);
}

/// A worker that never sleeps.
#[test]
fn a_spinning_worker_serves() {
    let plan = Plan { members: 1, config: Some(SPINNING.to_owned()), ..Plan::new("forward", "none") };
    let lab = Lab::up(plan).unwrap();
    assert_eq!(places(&lab, 1).unwrap(), ["1"]);
    // The first packet waits for two addresses to be resolved.
    let _ = lab.exec("client", &["ping", "-n", "-q", "-c", "1", "-W", "1", "10.3.0.100"]);
    let said = lab.run("client", &["ping", "-n", "-q", "-c", "50", "-i", "0.01", "-W", "1", "10.3.0.100"]).unwrap();
    assert!(said.contains(" 0% packet loss") && !said.contains("duplicates"), "{said}");
    assert!(routed(&lab, 1).unwrap().iter().all(|&packets| packets >= 100.0));
}
