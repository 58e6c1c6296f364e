//! Deaths under terminated TCP: many long connections through a relay, bytes flowing both ways, and one owner after the
//! other killed with `kill -9`, the master among them. No connection may be reset, no byte lost, doubled or out of place;
//! how long each connection stood still around each death goes into a report.
//!
//!     cargo test --release -p phalanx-tests --test relay_kill -- --test-threads=1
//!
//! `RELAY_KILLS` (100) and `RELAY_STREAMS` (1000) say how much of it; the report is `target/relay-kill/MODE.json`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use phalanx_tests::lab::traffic::{Load, Report, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};
use serde_json::{Value, json};

const RELAY: &str = r#"
[[relay]]
name = "streams"
listen = "10.2.0.10:7804"
backend = ["10.3.0.100:7804"]
"#;
/// From so many kills on, the run is judged by the bar itself.
const FULL_KILLS: u32 = 100;
/// After a death the others have this long until the member comes back.
const AFTERMATH: Duration = Duration::from_millis(1500);
const HEALED: Duration = Duration::from_secs(15);
/// A pause between two pieces of a connection that is there without any death.
const PIECE_MS: f64 = 200.0;

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Every unit's sessions are held by all its backups: from here on one death costs nothing.
fn await_in_sync(lab: &Lab) -> Outcome<()> {
    clock::until(HEALED, Duration::from_millis(100), || match lab.total("phalanx_replica_lacking_units{")? {
        0.0 => Ok(()),
        lacking => Err(failure(format!("backups lack {lacking} units"))),
    })
    .map(drop)
}

fn kills(mode: &'static str) {
    let (kills, streams) = (number("RELAY_KILLS", FULL_KILLS), number("RELAY_STREAMS", 1000));
    let mut lab = Lab::up(Plan { config: Some(RELAY.into()), ..Plan::new(mode, "none") }).unwrap();
    let _server = Server::start(&lab, "server").unwrap();
    let load = Load {
        host: "client".into(),
        server: stage::cluster(false),
        sources: (100..103).map(|n| IpAddr::from([10, 2, 0, n])).collect(),
        pings_per_s: 10,
        udp_per_s: 0,
        connections_per_s: 0,
        streams,
        download_kbytes_per_s: 0,
    };
    let mut traffic = Traffic::start(&lab, &load, "relay-kill").unwrap();
    let mut problems = Vec::new();
    for kill in 0..kills {
        // Every other time the master.
        let master = lab.member(1).status().map_or(1, |status| status.master.unwrap_or(1));
        let victim = if kill % 2 == 0 { master } else { 1 + (master + (kill / 2 % 2) as u8) % 3 };
        await_in_sync(&lab).unwrap();
        traffic.mark(&format!("kill-{kill}-m{victim}")).unwrap();
        lab.act("kill", victim).unwrap();
        clock::last(AFTERMATH);
        lab.act("start", victim).unwrap();
        if let Err(problem) = lab.await_healthy(HEALED) {
            problems.push(format!("after kill {kill} of m{victim}: {problem}"));
        }
    }
    await_in_sync(&lab).unwrap();
    let counts = ["restored", "not_restored", "resets_received", "timed_out"]
        .map(|event| lab.total(&format!("phalanx_relay_events_total{{relay=\"streams\",event=\"{event}\"}}")).unwrap());
    let report = traffic.finish().unwrap();
    let summary = summarise(mode, &lab, &report, counts, &problems);
    println!("{summary}");
    let failed = report.0["streams"]["failed"].as_u64();
    assert_eq!(failed, Some(0), "{}", report.0["streams"]["failures"]);
    assert!(report.0["streams"]["bytes"].as_u64().unwrap_or(0) > u64::from(streams) * 256);
    assert!(problems.is_empty(), "{problems:#?}");
    judge_blackouts(&lab, &report, kills >= FULL_KILLS);
}

/// All connections' times without progress after kills, without the pause that is there anyway, sorted.
fn blackouts(report: &Report) -> Vec<f64> {
    let events = report.0["events"].as_array().into_iter().flatten();
    let times = events.flat_map(|event| event["streams_ms"].as_array().into_iter().flatten());
    // Who stood still for no longer than between two pieces was not touched.
    let mut all: Vec<f64> = times.filter_map(Value::as_f64).filter(|ms| *ms > 1.5 * PIECE_MS).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// A piece that was sent into the blackout is lost with the member: its sender's kernel sends it again after its own timeout,
/// which is 200 ms at least, and 400 ms more if that one was lost, too. Until Phalanx bears that better, a short run holds
/// only 19 of 20 connections to the limit; a full one judges the median and the worst, as they are meant.
fn judge_blackouts(lab: &Lab, report: &Report, full: bool) {
    let all = blackouts(report);
    // What is measured is up to one pause longer than what is meant.
    let stood_still = |share| quantile(&all, share) - PIECE_MS;
    let (median, most, worst) = (stood_still(0.5), stood_still(0.95), stood_still(1.0));
    let detection = lab.timing.detection_ms();
    assert!(most <= detection + 300.0, "one connection of 20 stood still for {most} ms or more");
    if full {
        assert!(median <= detection + 50.0, "in the median, connections stood still for {median} ms");
        assert!(worst <= detection + 300.0, "a connection stood still for {worst} ms");
    }
}

fn summarise(mode: &str, lab: &Lab, report: &Report, counts: [f64; 4], problems: &[String]) -> String {
    let all = blackouts(report);
    let mut histogram = vec![0_u32; 40];
    for ms in &all {
        histogram[((ms / 50.0) as usize).min(39)] += 1;
    }
    let value = json!({
        "mode": mode, "streams": report.0["streams"], "detection_ms": lab.timing.detection_ms(), "piece_ms": PIECE_MS,
        "touched": all.len(), "median_ms": quantile(&all, 0.5), "p99_ms": quantile(&all, 0.99),
        "worst_ms": quantile(&all, 1.0), "histogram_of_50_ms": histogram,
        "restored": counts[0], "not_restored": counts[1], "resets_received": counts[2], "timed_out": counts[3],
        "problems": problems,
    });
    let dir = stage::target_dir().join("relay-kill");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(format!("{mode}.json")), format!("{value:#}\n")).unwrap();
    let mut text = String::new();
    let _ = write!(
        text,
        "{mode}: {} of {} streams failed; {} stood still by more than their pause: median {} ms, worst {} ms",
        value["streams"]["failed"], value["streams"]["count"], value["touched"], value["median_ms"], value["worst_ms"]
    );
    text
}

#[test]
fn forward() {
    kills("forward");
}

#[test]
fn unicast() {
    kills("unicast");
}

#[test]
fn multicast() {
    kills("multicast");
}
