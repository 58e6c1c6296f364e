//! What an operator does to a running cluster: ask, reload, drain, stop.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use phalanx_control::status::Status;
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_tests::lab::process::{Running, signal};
use phalanx_tests::lab::scenario::SLACK_MS;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

/// The command line, with words.
fn phalanx(words: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(stage::phalanx()).args(words).output().unwrap();
    (done.status.code(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

/// Waits until a member's log, from `from` on, has a line with all of these words.
pub(crate) fn await_log(lab: &Lab, id: u8, from: usize, words: &[&str]) -> Outcome<String> {
    let look = || {
        let log = lab.member(id).log();
        let mut lines = log.get(from..).unwrap_or_default().lines();
        let found = lines.find(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned).ok_or_else(|| failure(format!("m{id} does not say {words:?}")))
    };
    Ok(clock::until(Duration::from_secs(5), Duration::from_millis(50), look)?.0)
}

/// Changes a member's configuration file and sends SIGHUP.
pub(crate) fn reload(lab: &Lab, id: u8, change: impl Fn(&str) -> String) -> usize {
    let member = lab.member(id);
    let text = std::fs::read_to_string(member.config()).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text, "the change changes nothing");
    std::fs::write(member.config(), changed).unwrap();
    let from = member.log().len();
    signal(lab.pid(id).unwrap(), "HUP").unwrap();
    from
}

fn status_and_unit(lab: &Lab) {
    for member in &lab.members {
        let socket = member.socket().display().to_string();
        let (code, said) = phalanx(&["status", "--json", "--socket", &socket]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("\"detection_ms\""), "{said}");
        let (code, said) = phalanx(&["status", "--socket", &socket]);
        assert!(code == Some(0) && said.contains("m2"), "{said}");
    }
    let first = lab.member(1);
    let (config, socket) = (first.config().display().to_string(), first.socket().display().to_string());
    let flow = ["unit", "--forwarding", "udp", "10.2.0.100", "10.3.0.100", "--config", &config, "--socket", &socket];
    let (code, said) = phalanx(&flow);
    let mut lines = said.lines();
    assert_eq!(code, Some(0), "{said}");
    assert!(lines.next().is_some_and(|line| line.parse::<u16>().is_ok_and(|unit| unit < 1024)), "{said}");
    assert!(lines.any(|line| line.starts_with("owner ")), "{said}");
    let (code, said) = phalanx(&["check", &config]);
    assert_eq!(code, Some(0), "{said}");
}

/// `status --watch --json`: one whole object a line, again and again.
fn watch(lab: &Lab) {
    let mut command = Command::new(stage::phalanx());
    command.args(["status", "--watch", "--json", "--socket"]).arg(lab.member(3).socket());
    let mut watch = Running::start(command, "phalanx status --watch").unwrap();
    let mut ages = Vec::new();
    for _ in 0..3 {
        let line = watch.line().unwrap();
        let status: Status = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!((status.member.id, status.units.total), (3, 1024));
        ages.push(status.uptime_s);
    }
    assert!(ages.is_sorted_by(|a, b| a < b), "each line is a new look: {ages:?}");
}

fn metrics(lab: &Lab) {
    let fetch = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=3).read().decode())";
    for path in ["metrics", "health", "status"] {
        let url = format!("http://127.0.0.1:9464/{path}");
        let page = lab.run("m1", &["/usr/bin/python3", "-c", fetch, &url]).unwrap();
        assert!(!page.is_empty(), "{path} is empty");
        if path == "metrics" {
            for reason in DropReason::ALL {
                let label = format!("reason=\"{}\"", reason.name());
                assert!(page.contains(&label), "no metric for drops with {label}");
            }
        }
    }
}

/// What can change live does; what cannot is refused with its reason, and the member runs on as before.
fn sighup(lab: &Lab) {
    let pid = lab.pid(2).unwrap();
    let from = reload(lab, 2, |text| text.replacen("losses_min", "balance_interval_ms = 1500\nlosses_min", 1));
    let line = await_log(lab, 2, from, &["reloaded"]).unwrap();
    assert!(line.contains("balance") || line.contains("1.5"), "{line}");
    let from = reload(lab, 2, |text| text.replacen("period_ms = 25", "period_ms = 35", 1));
    await_log(lab, 2, from, &["reload refused", "period_ms"]).unwrap();
    let from = reload(lab, 2, |text| text.replacen("period_ms", "perod_ms", 1));
    await_log(lab, 2, from, &["reload refused", "perod_ms"]).unwrap();
    assert_eq!(lab.pid(2).unwrap(), pid);
    lab.healthy().unwrap();
}

/// `phalanx drain` empties a member, which then leaves by itself and in order; it can come back.
fn drain(lab: &mut Lab) {
    let master = lab.healthy().unwrap();
    let id = (1..=3).find(|id| *id != master).unwrap();
    let socket = lab.member(id).socket().display().to_string();
    let (code, said) = phalanx(&["drain", "--socket", &socket]);
    assert_eq!(code, Some(0), "{said}");
    let gone = || match lab.process(id)? {
        process if process["process"] == "exited" && process["exit"] == 0 => Ok(()),
        process => Err(failure(format!("after the drain: {process}"))),
    };
    let left = clock::until(Duration::from_secs(5), Duration::from_millis(100), gone);
    if left.is_err() {
        lab.act("stop", id).unwrap();
    } else {
        lab.forget(id);
    }
    lab.await_healthy(Duration::from_secs(3)).unwrap();
    assert_eq!(lab.reports().unwrap().len(), 2);
    lab.act("start", id).unwrap();
    lab.await_healthy(Duration::from_secs(10)).unwrap();
}

/// SIGTERM: units first, then exit code 0 (which `lab member stop` checks); the master, too.
fn sigterm(lab: &mut Lab) {
    for _ in 0..2 {
        let master = lab.healthy().unwrap();
        lab.act("stop", master).unwrap();
        let took = lab.await_healthy(Duration::from_secs(3)).unwrap();
        println!("SIGTERM to the master: the others agree after {} ms", took.as_millis());
        lab.act("start", master).unwrap();
        lab.await_healthy(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn a_cluster_is_operated() {
    let mut lab = Lab::up(Plan::new("forward", "none")).unwrap();
    status_and_unit(&lab);
    watch(&lab);
    metrics(&lab);
    sighup(&lab);
    drain(&mut lab);
    sigterm(&mut lab);
}

/// A mark of a failover's timeline, in milliseconds after the dead member was last heard.
fn mark(line: &str, what: &str) -> f64 {
    let figure = line.split_once(&format!("{what} ")).and_then(|(_, rest)| rest.split_once(" ms"));
    figure.and_then(|(ms, _)| ms.parse().ok()).unwrap_or_else(|| panic!("no figure for '{what}': {line}"))
}

/// A death leaves its story in the log of the member that became master: when the dead one was last heard, when that was
/// judged to be death, when its units were in force elsewhere, when the LANs were told, when packets flowed again.
#[test]
fn a_failover_leaves_its_timeline() {
    let mut lab = Lab::up(Plan::new("forward", "none")).unwrap();
    let _server = Server::start(&lab, "server").unwrap();
    let load = Load {
        host: "client".into(),
        server: stage::server(false),
        // The first packet is one of a unit that was taken over: each heir gets some of so many flows.
        sources: (100..130).map(|n| IpAddr::from([10, 2, 0, n])).collect(),
        pings_per_s: 50,
        udp_per_s: 0,
        connections_per_s: 0,
        download_kbytes_per_s: 0,
        streams: 0,
    };
    let traffic = Traffic::start(&lab, &load, "timeline").unwrap();
    let dead = lab.healthy().unwrap();
    lab.act("kill", dead).unwrap();
    lab.await_healthy(Duration::from_secs(5)).unwrap();
    let heir = lab.healthy().unwrap();
    let line = await_log(&lab, heir, 0, &[&format!("failover from member {dead}:")]).unwrap();
    let marks = ["last heard", "verdict", "takeover", "announced", "first packet"].map(|what| mark(&line, what));
    println!("the timeline after the master's death: {marks:?} ms");
    let [heard, verdict, takeover, announced, packet] = marks;
    assert_eq!(heard, 0.0);
    let detection_ms = lab.timing.detection_ms();
    assert!((detection_ms * 0.8..detection_ms + SLACK_MS).contains(&verdict), "{line}");
    assert!(takeover >= verdict && announced >= verdict && packet >= verdict, "{line}");
    assert!([takeover, announced, packet].iter().all(|ms| *ms < verdict + SLACK_MS), "{line}");
    traffic.finish().unwrap();
}
