//! What happened in a run, and its JSON form.

use std::fs;
use std::io;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::RunArgs;
use crate::arrivals::Arrivals;
use crate::flow::{Flow, blackout_us, gaps};

/// Gaps of probes longer than this are listed.
const GAP_US: u64 = 50_000;
/// How long after an event a gap is still its doing.
const WINDOW_US: u64 = 3_000_000;

/// Something that the controller marked.
pub(crate) struct Event {
    /// When.
    pub(crate) at_us: u64,
    /// Its name.
    pub(crate) what: String,
}

/// Short connections.
#[derive(Default)]
pub(crate) struct Short {
    /// Begun.
    pub(crate) attempted: u64,
    /// When connections ended well.
    pub(crate) succeeded_us: Vec<u64>,
    /// How long each of those took.
    pub(crate) took_us: Vec<u64>,
    /// When failed ones began, and why they failed.
    pub(crate) failures: Vec<(u64, String)>,
}

/// The download.
#[derive(Default)]
pub(crate) struct Download {
    /// Right bytes so far.
    pub(crate) bytes: u64,
    /// It ended as it should, with every byte right.
    pub(crate) intact: bool,
    /// Why it did not.
    pub(crate) why: Option<String>,
    /// When blocks were complete.
    pub(crate) progress_us: Vec<u64>,
}

/// Long connections, both ways.
#[derive(Default)]
pub(crate) struct Streams {
    /// Of the server's pieces.
    pub(crate) arrivals: Arrivals,
    /// By connection: whether anything has come.
    pub(crate) heard: Vec<bool>,
    /// When connections failed, and why.
    pub(crate) failures: Vec<(u64, String)>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Record {
    pings: Vec<(IpAddr, Flow)>,
    udp: Flow,
    /// See [`Short`].
    pub(crate) short: Short,
    /// See [`Download`].
    pub(crate) download: Download,
    /// See [`Streams`].
    pub(crate) streams: Streams,
    /// In order.
    pub(crate) events: Vec<Event>,
    /// When sending stopped.
    pub(crate) stopped_us: u64,
}

impl Record {
    /// A ping flow from this address; flows are numbered from 0.
    pub(crate) fn add_ping(&mut self, source: IpAddr) {
        self.pings.push((source, Flow::default()));
    }

    /// A ping flow by its number, or the UDP flow.
    pub(crate) fn flow(&mut self, ping: Option<usize>) -> &mut Flow {
        match ping {
            Some(index) => &mut self.pings[index].1,
            None => &mut self.udp,
        }
    }

    /// Whether everything that was asked for works.
    pub(crate) fn all_answered(&self, args: &RunArgs) -> bool {
        self.pings.iter().all(|(_, flow)| flow.received() > 0)
            && (args.udp_per_s <= 0.0 || self.udp.received() > 0)
            && (args.connections_per_s <= 0.0 || !self.short.succeeded_us.is_empty())
            && (args.download_kbytes_per_s == 0 || self.download.bytes > 0)
            && self.streams.heard.iter().all(|&heard| heard)
    }

    fn duplicates(&self) -> u64 {
        self.pings.iter().map(|(_, flow)| flow.duplicates()).sum::<u64>() + self.udp.duplicates()
    }

    fn flow_json(&self, flow: &Flow) -> Value {
        json!({
            "sent": flow.sent(), "received": flow.received(), "duplicates": flow.duplicates(),
            "lost": flow.sent() - flow.received(), "send_errors": flow.send_errors(),
            "gaps": self.gaps_json(flow.answered_us()),
        })
    }

    fn gaps_json(&self, successes_us: &[u64]) -> Value {
        gaps(successes_us, self.stopped_us, GAP_US).into_iter().map(|(from, to)| json!([ms(from), ms(to)])).collect()
    }

    /// One event: how long each probe was without an answer around it. An event's time ends where the next begins.
    fn event_json(&self, index: usize) -> Value {
        let event = &self.events[index];
        let next_us = self.events.get(index + 1).map_or(u64::MAX, |next| next.at_us);
        let window = (event.at_us, (event.at_us + WINDOW_US).min(next_us));
        let blackout = |successes_us: &[u64]| blackout_us(successes_us, self.stopped_us, window);
        let mut by_probe = serde_json::Map::new();
        for (source, flow) in &self.pings {
            by_probe.insert(format!("ping {source}"), json!(ms(blackout(flow.answered_us()))));
        }
        by_probe.insert("udp".into(), json!(ms(blackout(self.udp.answered_us()))));
        by_probe.insert("tcp".into(), json!(ms(blackout(&self.short.succeeded_us))));
        by_probe.insert("download".into(), json!(ms(blackout(&self.download.progress_us))));
        let worst = self.pings.iter().map(|(_, flow)| blackout(flow.answered_us())).max().unwrap_or(0);
        json!({
            "t_ms": ms(event.at_us), "what": event.what, "blackout_ms": ms(worst), "blackout_ms_by_probe": by_probe,
        })
    }

    fn to_json(&self) -> Value {
        let mut took = self.short.took_us.clone();
        took.sort_unstable();
        let quantile = |share: f64| {
            let place = ((took.len() as f64) * share) as usize;
            took.get(place.min(took.len().saturating_sub(1))).map(|&us| ms(us))
        };
        let pings: Vec<Value> = (self.pings.iter())
            .map(|(source, flow)| {
                let mut value = self.flow_json(flow);
                value["source"] = json!(source.to_string());
                value
            })
            .collect();
        let failures: Vec<Value> =
            self.short.failures.iter().map(|(at, why)| json!({"t_ms": ms(*at), "why": why})).collect();
        json!({
            "seconds": ms(self.stopped_us) / 1000.0,
            "pings": pings,
            "udp": self.flow_json(&self.udp),
            "tcp": {
                "attempted": self.short.attempted, "succeeded": self.short.succeeded_us.len(),
                "failed": failures.len(), "failures": failures,
                "latency_ms": {"p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0)},
                "gaps": self.gaps_json(&self.short.succeeded_us),
            },
            "download": {
                "bytes": self.download.bytes, "intact": self.download.intact, "why": self.download.why,
                "gaps": self.gaps_json(&self.download.progress_us),
            },
            "streams": {
                "count": self.streams.heard.len(), "bytes": self.streams.arrivals.bytes(),
                "failed": self.streams.failures.len(),
                "failures": self.streams.failures.iter().take(20).map(|(at, why)| json!({"t_ms": ms(*at), "why": why}))
                    .collect::<Vec<_>>(),
                "arrivals": self.streams.arrivals.to_json(),
            },
            "duplicates": self.duplicates(),
            "events": (0..self.events.len()).map(|index| self.event_json(index)).collect::<Vec<_>>(),
        })
    }
}

/// Milliseconds, to the tenth.
fn ms(us: u64) -> f64 {
    ((us as f64) / 100.0).round() / 10.0
}

/// Writes the report; gives the one-line summary.
pub(crate) fn write(record: &Record, args: &RunArgs) -> io::Result<String> {
    let value = record.to_json();
    fs::write(&args.report, format!("{value}\n"))?;
    Ok(format!(
        "tcp {} of {} failed; download {} bytes, {}; {} duplicates",
        value["tcp"]["failed"],
        value["tcp"]["attempted"],
        value["download"]["bytes"],
        if record.download.intact { "intact" } else { "not intact" },
        value["duplicates"],
    ))
}
