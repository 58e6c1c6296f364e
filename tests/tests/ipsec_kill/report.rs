//! What a run's report says, and what must be true of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use phalanx_tests::lab::course::Round;
use phalanx_tests::lab::delays::{Blackout, Event, Times};
use phalanx_tests::lab::traffic::Report;
use phalanx_tests::lab::{Lab, Outcome, failure, stage};
use serde_json::{Value, json};

use crate::peers;

/// What may be added to the detection time in the median, and at worst.
const MEDIAN_MS: f64 = 50.0;
const WORST_MS: f64 = 300.0;
/// Pings go every 20 ms: who waited no longer than this for the next answer was not touched.
const TOUCHED_MS: f64 = 60.0;
const MEASURED: &str = "A ping goes through each tunnel every 20 ms, and its answer back. A tunnel's blackout by an event is the \
    longest time from one answer to the next that overlaps the three seconds from the event on, or the time until the next event; \
    tunnels with none over 60 ms count as untouched. Events: `kill`, `pause` (SIGSTOP for longer than the lease), `cut` (all \
    cables of a member), when that was done; `moves`, when the member was started again, woken, or connected again.";

/// All that a run brought to light.
pub(crate) struct Findings {
    pub(crate) name: String,
    pub(crate) seed: u32,
    /// It is long enough to be judged by the bar itself.
    pub(crate) full: bool,
    pub(crate) detection_ms: f64,
    pub(crate) tunnels: Vec<u8>,
    pub(crate) round: Round,
    pub(crate) events: Vec<Event>,
    pub(crate) fresh: u32,
    /// How often each peer was told to connect.
    pub(crate) handshakes: BTreeMap<String, u64>,
    pub(crate) rekeyed: u32,
    pub(crate) replayed: u64,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) client: Report,
    pub(crate) to_guest: Option<Report>,
    pub(crate) failures_at_server: Value,
    pub(crate) arrived_inside: usize,
    pub(crate) repeated_inside: Vec<String>,
    pub(crate) captures: Vec<PathBuf>,
    pub(crate) problems: Vec<String>,
}

/// Writes report and picture; fails if anything is not as it must be.
pub(crate) fn judge(lab: &Lab, findings: &Findings) {
    let judged: Vec<Value> = findings.captures.iter().map(|file| wire(file).unwrap()).collect();
    let blackouts = blackouts(findings).unwrap();
    let mut kinds: Vec<&str> = findings.events.iter().map(|event| event.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let times: BTreeMap<&str, Times> =
        kinds.into_iter().map(|kind| (kind, Times::of(kind, &findings.events, &blackouts))).collect();
    let value = summary(lab, findings, &judged, &times, &blackouts);
    let path = write(&findings.name, &value);
    draw(&path);
    println!("{}", in_a_line(&value));
    let mut problems = findings.problems.clone();
    problems.extend(problems_of_wire(findings, &judged));
    problems.extend(problems_of_traffic(findings));
    for (kind, times) in &times {
        problems.extend(problems_of_times(findings, kind, times));
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(findings.round.masters * 3 + 2 >= findings.round.victims, "{:?}", findings.round);
    assert!(times["kill"].touched() > 0, "no tunnel noticed any death: nothing was tested");
}

/// What the program says that knows nothing but a capture.
fn wire(file: &Path) -> Outcome<Value> {
    let inside = ["--inside", "10.60.0.0/16", "--inside", "10.3.0.0/24"];
    let cluster = stage::cluster(false).to_string();
    let program = stage::target_dir().join("release/esp-judge");
    let done = Command::new(program).args(["--cluster", &cluster]).args(inside).arg(file).output().map_err(failure)?;
    serde_json::from_slice(&done.stdout).map_err(|_| failure(String::from_utf8_lossy(&done.stderr)))
}

/// How long each tunnel was without an answer around each event.
fn blackouts(findings: &Findings) -> Outcome<Vec<Blackout>> {
    let mut found = Vec::new();
    let flows = findings.tunnels.iter().map(|&number| (number, &findings.client, peers::behind(number)));
    let guest = findings.to_guest.iter().map(|report| (0, report, stage::server(false)));
    for (number, report, source) in flows.chain(guest) {
        for (index, event) in findings.events.iter().enumerate() {
            let marked = report.0["events"].as_array().into_iter().flatten().find(|one| one["what"] == *event.what);
            let gap = marked.and_then(|one| one["blackout_ms_by_probe"][format!("ping {source}")].as_f64());
            let gap_ms = gap.ok_or_else(|| failure(format!("{source} has no record of {}", event.what)))?;
            if gap_ms > TOUCHED_MS {
                let delay_us = (gap_ms * 1000.0) as u64;
                found.push(Blackout { event: index, stream: number.into(), delay_us, sent_after_us: 0 });
            }
        }
    }
    Ok(found)
}

fn problems_of_wire(findings: &Findings, judged: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for (verdict, file) in judged.iter().zip(&findings.captures) {
        if verdict["content"] != true {
            problems.push(format!("{}: the judge of the wire says {verdict:#}", file.display()));
        }
        if verdict["from_cluster"]["packets"].as_u64().is_none_or(|packets| packets < 500) {
            problems.push(format!("{}: the judge saw next to nothing: {verdict:#}", file.display()));
        }
    }
    let count = |place: &str| judged.first().and_then(|verdict| verdict.pointer(place)?.as_u64()).unwrap_or(u64::MAX);
    let (wanted, begun) = (&findings.handshakes, handshakes(judged));
    if *wanted != begun {
        problems.push(format!("these handshakes were wanted: {wanted:?}; these were begun: {begun:?}"));
    }
    // Some were under way when the capture ended.
    let seen = count("/from_peers/repeated_numbers/count");
    if findings.replayed == 0 || seen < findings.replayed * 9 / 10 || seen > findings.replayed {
        problems.push(format!("{} packets were replayed, the wire saw {seen}", findings.replayed));
    }
    problems
}

/// Of each peer, by the word of the wire that saw most of it.
fn handshakes(judged: &[Value]) -> BTreeMap<String, u64> {
    let mut most = BTreeMap::new();
    for (peer, count) in judged.iter().filter_map(|verdict| verdict["handshakes"].as_object()).flatten() {
        let seen: &mut u64 = most.entry(peer.clone()).or_default();
        *seen = count.as_u64().unwrap_or(u64::MAX).max(*seen);
    }
    most
}

fn problems_of_traffic(findings: &Findings) -> Vec<String> {
    let mut problems = Vec::new();
    for (report, who) in [Some(&findings.client), findings.to_guest.as_ref()].into_iter().flatten().zip(["", "guest: "])
    {
        if report.duplicates() > 0 {
            problems.push(format!("{who}{} answers came twice", report.duplicates()));
        }
        if report.tcp_failed() > 0 {
            let (failed, first) = (report.tcp_failed(), &report.0["tcp"]["failures"][0]);
            problems.push(format!("{who}{failed} connections failed, the first: {first}"));
        }
        if report.downloaded().is_none_or(|bytes| bytes == 0) {
            problems.push(format!("{who}the download: {}", report.0["download"]));
        }
        if report.0["streams"]["failed"] != 0 {
            problems.push(format!("{who}streams failed: {}", report.0["streams"]["failures"]));
        }
    }
    if !findings.repeated_inside.is_empty() {
        let few: Vec<&String> = findings.repeated_inside.iter().take(5).collect();
        problems.push(format!("{} packets came inside twice: {few:?}", findings.repeated_inside.len()));
    }
    if findings.failures_at_server != json!([]) {
        problems.push(format!("the server's streams failed: {}", findings.failures_at_server));
    }
    problems
}

/// A short run holds only 19 of 20 tunnels to the limit, for it shares its machine with others; a full one judges the median and
/// the worst.
fn problems_of_times(findings: &Findings, kind: &str, times: &Times) -> Vec<String> {
    let (median, most, worst) = (times.delay_ms(0.5), times.delay_ms(0.95), times.delay_ms(1.0));
    let (limit, usual) = (findings.detection_ms + WORST_MS, findings.detection_ms + MEDIAN_MS);
    let mut problems = Vec::new();
    if most > limit {
        problems.push(format!("{kind}: one tunnel of 20 was silent for {most} ms or more"));
    }
    if findings.full && median > usual {
        problems.push(format!("{kind}: in the median, tunnels were silent for {median} ms"));
    }
    if findings.full && worst > limit {
        problems.push(format!("{kind}: a tunnel was silent for {worst} ms"));
    }
    problems
}

fn summary(
    lab: &Lab,
    findings: &Findings,
    judged: &[Value],
    times: &BTreeMap<&str, Times>,
    blackouts: &[Blackout],
) -> Value {
    let tunnels = u32::try_from(findings.tunnels.len()).unwrap_or(0) + u32::from(findings.to_guest.is_some());
    let each = |index: usize| {
        let own: BTreeMap<String, f64> = (blackouts.iter().filter(|one| one.event == index))
            .map(|one| (one.stream.to_string(), one.delay_us as f64 / 1000.0))
            .collect();
        json!(own)
    };
    let events: Vec<Value> = (findings.events.iter().enumerate())
        .map(|(index, event)| json!({"kind": event.kind, "what": event.what, "blackouts_ms": each(index)}))
        .collect();
    let blackouts: BTreeMap<&&str, Value> = times.iter().map(|(kind, times)| (kind, times.to_json(tunnels))).collect();
    json!({
        "name": findings.name, "mode": lab.plan.mode, "seed": findings.seed, "detection_ms": findings.detection_ms,
        "limits": {"median_ms": findings.detection_ms + MEDIAN_MS, "worst_ms": findings.detection_ms + WORST_MS},
        "tunnels": tunnels, "with_guest": findings.to_guest.is_some(),
        "victims": findings.round.victims, "masters_among_them": findings.round.masters,
        "handshakes_during_hits": findings.fresh, "rekeyings_during_hits": findings.rekeyed,
        "replayed": findings.replayed, "accepted_twice": findings.repeated_inside.len(),
        "pings_inside": findings.arrived_inside, "duplicate_answers": findings.client.duplicates(),
        "sent": findings.client.sent(), "lost": findings.client.lost(),
        "measured": MEASURED, "blackouts": blackouts, "events": events,
        "wire": judged, "charon": findings.counters, "problems": findings.problems,
    })
}

fn in_a_line(value: &Value) -> String {
    let times = |kind: &str| {
        let one = &value["blackouts"][kind];
        format!(
            "{kind} x{}: {} touched, median {} ms, p95 {}, worst {}",
            one["events"], one["touched"], one["median_ms"], one["p95_ms"], one["worst_ms"]
        )
    };
    let kinds: Vec<String> =
        value["blackouts"].as_object().into_iter().flatten().map(|(kind, _)| times(kind)).collect();
    let wire = &value["wire"][0];
    format!(
        "{}: {} members hit, {} of them masters, {} tunnels; {} handshakes and {} rekeyings during hits; the wire: {} SPIs, {} packets \
         from the cluster, {} numbers and {} IVs twice, {} in clear, {} handshakes; {} replayed, {} accepted; {}",
        value["name"],
        value["victims"],
        value["masters_among_them"],
        value["tunnels"],
        value["handshakes_during_hits"],
        value["rekeyings_during_hits"],
        wire["from_cluster"]["spis"],
        wire["from_cluster"]["packets"],
        wire["from_cluster"]["repeated_numbers"]["count"],
        wire["from_cluster"]["repeated_ivs"]["count"],
        wire["in_clear"]["count"],
        handshakes(value["wire"].as_array().map_or(&[], Vec::as_slice)).values().sum::<u64>(),
        value["replayed"],
        value["accepted_twice"],
        kinds.join("; "),
    )
}

fn write(name: &str, value: &Value) -> PathBuf {
    let dir = stage::target_dir().join("ipsec-kill");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{name}.json"));
    std::fs::write(&path, format!("{value:#}\n")).unwrap();
    path
}

/// The picture is part of the report: without it, the test fails.
fn draw(report: &Path) {
    let script = stage::tool().with_file_name("lib").join("ipsec_kill_plot.py");
    let done = Command::new("/usr/bin/python3").arg("-B").arg(script).arg(report).status();
    let drawn = done.map_err(failure).unwrap();
    assert!(drawn.success(), "no picture of {}", report.display());
}
