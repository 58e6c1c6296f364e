//! What a run's report says, and what must be true of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use phalanx_tests::lab::course::Round;
use phalanx_tests::lab::delays::{self, Event, Record, Times};
use phalanx_tests::lab::{Lab, Outcome, failure, stage};
use serde_json::{Value, json};

/// What may be added to the detection time in the median, and at worst.
const MEDIAN_MS: f64 = 50.0;
const WORST_MS: f64 = 300.0;
/// Events of relays that the report names. All but the first may not come about while the connections are in use: whoever sees
/// one has lost a connection.
const EVENTS: [&str; 4] = ["restored", "not_restored", "resets_received", "timed_out"];

/// How often each of them came about, by the word of the members that live.
pub(crate) type Counts = BTreeMap<&'static str, f64>;

/// All that a run brought to light.
pub(crate) struct Findings {
    pub(crate) name: String,
    pub(crate) seed: u32,
    pub(crate) streams: u32,
    pub(crate) detection_ms: f64,
    pub(crate) round: Round,
    pub(crate) events: Vec<Event>,
    pub(crate) counts: Counts,
    pub(crate) foreign: Value,
    pub(crate) client: Value,
    pub(crate) server: Value,
    pub(crate) problems: Vec<String>,
    /// It is long enough to be judged by the bar itself.
    pub(crate) full: bool,
}

/// Counts the relays' events while all connections are still there: how programs end theirs is their own affair.
pub(crate) fn count_events(lab: &Lab) -> Outcome<Counts> {
    let metrics = lab.metrics_of_all()?;
    let counted = |event: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with("phalanx_relay_events_total{"));
        let own = lines.filter(|line| line.contains(&format!("event=\"{event}\"")));
        own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    Ok(EVENTS.into_iter().map(|event| (event, counted(event))).collect())
}

/// Writes report and picture; fails if anything is not as it must be.
pub(crate) fn judge(lab: &Lab, findings: &Findings) {
    let mut record = Record::default();
    record.add(&findings.client["streams"]["arrivals"]).unwrap();
    record.add(&findings.server["arrivals"]).unwrap();
    let blackouts = record.blackouts(&findings.events);
    let times = |kind: &str| Times::of(kind, &findings.events, &blackouts);
    let mut value = summary(lab, findings, &record);
    let mut kinds: Vec<&str> = findings.events.iter().map(|event| event.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        value["blackouts"][kind] = times(kind).to_json(findings.streams);
    }
    let path = write(&findings.name, &value);
    draw(&path);
    println!("{}", in_a_line(&value));
    assert_eq!(findings.client["streams"]["failed"], 0, "{}", findings.client["streams"]["failures"]);
    assert_eq!(findings.server["failures"], json!([]));
    for event in &EVENTS[1..] {
        assert_eq!(findings.counts[event], 0.0, "relays counted {event}: {:?}", findings.counts);
    }
    assert!(findings.problems.is_empty(), "{:#?}", findings.problems);
    // Every third, so up to two more may have been others.
    assert!(findings.round.masters * 3 + 2 >= findings.round.victims, "{:?}", findings.round);
    let (kill, moves) = (times("kill"), times("moves"));
    assert!(kill.touched() > 0, "no connection noticed any death: nothing was tested");
    judge_times(findings, &kill, "a death");
    judge_times(findings, &moves, "a return");
}

/// A piece that was sent into the blackout is lost with the member: its sender's kernel sends it again after its own timeout,
/// which is 200 ms at least, and 400 ms more if that one was lost, too. A short run holds only 19 of 20 connections to the
/// limit; a full one judges the median and the worst.
fn judge_times(findings: &Findings, times: &Times, why: &str) {
    let (median, most, worst) = (times.delay_ms(0.5), times.delay_ms(0.95), times.delay_ms(1.0));
    let limit = findings.detection_ms + WORST_MS;
    assert!(most <= limit, "one connection of 20 waited {most} ms or more for its data after {why}");
    if findings.full {
        assert!(
            median <= findings.detection_ms + MEDIAN_MS,
            "in the median, connections waited {median} ms after {why}"
        );
        assert!(worst <= limit, "a connection waited {worst} ms for its data after {why}");
    }
}

fn summary(lab: &Lab, findings: &Findings, record: &Record) -> Value {
    let streams = &findings.client["streams"];
    let moments: Vec<Value> = findings
        .events
        .iter()
        .map(|event| json!({"at_us": event.at_us, "kind": event.kind, "what": event.what}))
        .collect();
    json!({
        "name": findings.name, "mode": lab.plan.mode, "seed": findings.seed, "detection_ms": findings.detection_ms,
        "limits": {"median_ms": findings.detection_ms + MEDIAN_MS, "worst_ms": findings.detection_ms + WORST_MS},
        "victims": findings.round.victims, "masters_among_them": findings.round.masters,
        "streams": {
            "count": streams["count"], "failed": streams["failed"], "failures": streams["failures"],
            "bytes_down": streams["bytes"], "bytes_up": findings.server["arrivals"]["bytes"],
            "failures_at_server": findings.server["failures"],
        },
        "foreign": findings.foreign, "measured": delays::MEASURED, "blackouts": {},
        "throughput": record.throughput(&findings.events, "kill"), "events": moments,
        "relay_events": findings.counts, "problems": findings.problems,
    })
}

fn in_a_line(value: &Value) -> String {
    let (streams, kill, moves) = (&value["streams"], &value["blackouts"]["kill"], &value["blackouts"]["moves"]);
    format!(
        "{}: {} of {} streams failed; {} members hit, {} of them masters; after deaths {} connections waited: median {} ms, \
         p95 {} ms, p99 {} ms, worst {} ms; after returns {}: median {} ms, worst {} ms",
        value["name"],
        streams["failed"],
        streams["count"],
        value["victims"],
        value["masters_among_them"],
        kill["touched"],
        kill["median_ms"],
        kill["p95_ms"],
        kill["p99_ms"],
        kill["worst_ms"],
        moves["touched"],
        moves["median_ms"],
        moves["worst_ms"],
    )
}

fn write(name: &str, value: &Value) -> PathBuf {
    let dir = stage::target_dir().join("relay-kill");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{name}.json"));
    std::fs::write(&path, format!("{value:#}\n")).unwrap();
    path
}

/// The picture is part of the report: without it, the test fails.
fn draw(report: &std::path::Path) {
    let script = stage::tool().with_file_name("lib").join("relay_kill_plot.py");
    let done = Command::new("/usr/bin/python3").arg("-B").arg(script).arg(report).status();
    let drawn = done.map_err(failure).unwrap();
    assert!(drawn.success(), "no picture of {}", report.display());
}
