//! What the streams say about each death: which connections had to wait, for how long, and what that did to the throughput.
//! Pure: it reads the records of both ends of all streams, and the moments at which something was done to a member.
//!
//! Each end of each stream sends a piece every 200 ms, stamped with the machine's clock; the other end notes each piece that
//! came late. A late piece belongs to the last event before it was sent; or shortly after, for what is under way when a member
//! dies may be lost with it. What counts for a connection and an event is the largest delay of any of its pieces, either way:
//! how long its peers had to wait for data, whatever the reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Outcome, failure};

/// A piece that was sent so shortly before an event may be its victim.
const UNDER_WAY_US: u64 = 30_000;
const HISTOGRAM_MS: u64 = 25;
/// Throughput is shown from so long before an event to so long after it.
const BEFORE_US: u64 = 1_000_000;
const AFTER_US: u64 = 2_000_000;

/// How delays are measured, for the reader of a report.
pub const MEASURED: &str = "Each end of each connection sends a piece every 200 ms, stamped with CLOCK_MONOTONIC, which all \
    processes of a machine share; the other end's delay is arrival minus stamp. A connection's blackout is the largest delay of \
    any of its pieces, in either direction, among those sent from 30 ms before an event until the next event. Connections \
    none of whose pieces took longer than 30 ms count as untouched. As pieces are 200 ms apart, a connection may have stood \
    still for somewhat longer than its most delayed piece shows: `from_event` counts from the event itself to the arrival of that \
    piece, which is at least as long for all that were sent after it. `sent_after` says how long after the event it was sent. \
    Events: `kill` and the like, when that was done; `moves`, when the member was started again (a join and planned moves follow); \
    `calm`, half a second before the next kill in which nothing is done to a member: what waits then, waits for balancing or for this machine's processors.";

/// Something that was done to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// As the machine counts.
    pub at_us: u64,
    /// kill, drain, ..., or `moves` when the member comes back: what follows is a join and planned moves.
    pub kind: &'static str,
    /// Whom, and the how-manieth.
    pub what: String,
}

/// One connection's part in one event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Blackout {
    /// Which event.
    pub event: usize,
    /// Which connection.
    pub stream: u64,
    /// The largest delay of its pieces.
    pub delay_us: u64,
    /// When that piece was sent, from the event on.
    pub sent_after_us: i64,
}

/// The record of both ends.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Stream, when sent, when arrived.
    late: Vec<(u64, u64, u64)>,
    ends: Vec<Bins>,
}

#[derive(Clone, Debug)]
struct Bins {
    first_us: u64,
    each_us: u64,
    bytes: Vec<f64>,
}

impl Record {
    /// Adds one end's `arrivals`.
    pub fn add(&mut self, arrivals: &Value) -> Outcome<()> {
        let wrong = || failure("a record of arrivals without its parts");
        for late in arrivals["late"].as_array().ok_or_else(wrong)? {
            match (late[0].as_u64(), late[1].as_u64(), late[2].as_u64()) {
                (Some(stream), Some(sent_us), Some(arrived_us)) => self.late.push((stream, sent_us, arrived_us)),
                _ => return Err(wrong()),
            }
        }
        let bins = &arrivals["bins"];
        let bytes = bins["bytes"].as_array().ok_or_else(wrong)?.iter().filter_map(Value::as_f64).collect();
        let times = (bins["first_us"].as_u64(), bins["each_us"].as_u64());
        let (Some(first_us), Some(each_us)) = times else { return Err(wrong()) };
        self.ends.push(Bins { first_us, each_us, bytes });
        Ok(())
    }

    /// Who had to wait because of what. Events are in order of time.
    pub fn blackouts(&self, events: &[Event]) -> Vec<Blackout> {
        let mut worst: BTreeMap<(usize, u64), Blackout> = BTreeMap::new();
        for &(stream, sent_us, arrived_us) in &self.late {
            let before = events.partition_point(|event| event.at_us <= sent_us + UNDER_WAY_US);
            let Some(event) = before.checked_sub(1) else { continue };
            let sent_after_us = sent_us.cast_signed() - events[event].at_us.cast_signed();
            let blackout = Blackout { event, stream, delay_us: arrived_us - sent_us, sent_after_us };
            let entry = worst.entry((event, stream)).or_insert(blackout);
            if blackout.delay_us > entry.delay_us {
                *entry = blackout;
            }
        }
        worst.into_values().collect()
    }

    /// Bytes of both ends in each bin around an event.
    fn around(&self, event: &Event) -> Vec<f64> {
        let each_us = self.ends.first().map_or(10_000, |bins| bins.each_us);
        let from_us = event.at_us.saturating_sub(BEFORE_US);
        let count = (BEFORE_US + AFTER_US) / each_us;
        let bytes_at = |us: u64| -> f64 {
            let one = |bins: &Bins| bins.bytes.get(((us.checked_sub(bins.first_us)?) / each_us) as usize).copied();
            self.ends.iter().filter_map(one).sum()
        };
        (0..count).map(|bin| bytes_at(from_us + bin * each_us)).collect()
    }

    /// Throughput around events of a kind: the median of all, and one of them.
    pub fn throughput(&self, events: &[Event], kind: &str) -> Value {
        let of_kind: Vec<&Event> = events.iter().filter(|event| event.kind == kind).collect();
        let all: Vec<Vec<f64>> = of_kind.iter().map(|event| self.around(event)).collect();
        let Some(example) = of_kind.get(of_kind.len() / 2) else { return Value::Null };
        let median: Vec<f64> = (0..all[0].len())
            .map(|bin| {
                let mut values: Vec<f64> = all.iter().map(|one| one[bin]).collect();
                values.sort_by(f64::total_cmp);
                quantile(&values, 0.5)
            })
            .collect();
        json!({
            "bin_ms": (BEFORE_US + AFTER_US) / 1000 / median.len() as u64, "from_ms": -(BEFORE_US as f64) / 1000.0,
            "events": all.len(), "median_bytes": median, "example": example.what, "example_bytes": self.around(example),
        })
    }
}

/// The times of one kind of event.
#[derive(Clone, Debug)]
pub struct Times {
    delays_ms: Vec<f64>,
    from_event_ms: Vec<f64>,
    sent_after_ms: Vec<f64>,
    events: usize,
}

impl Times {
    /// Of all events of a kind.
    pub fn of(kind: &str, events: &[Event], blackouts: &[Blackout]) -> Self {
        let own = || blackouts.iter().filter(|blackout| events[blackout.event].kind == kind);
        let sorted = |of: fn(&Blackout) -> f64| {
            let mut times: Vec<f64> = own().map(of).collect();
            times.sort_by(f64::total_cmp);
            times
        };
        Self {
            delays_ms: sorted(|one| one.delay_us as f64 / 1000.0),
            from_event_ms: sorted(|one| (one.delay_us as f64 + one.sent_after_us as f64) / 1000.0),
            sent_after_ms: sorted(|one| one.sent_after_us as f64 / 1000.0),
            events: events.iter().filter(|event| event.kind == kind).count(),
        }
    }

    /// How many connections had to wait, over all events.
    pub fn touched(&self) -> usize {
        self.delays_ms.len()
    }

    /// So many of them waited no longer than this.
    pub fn delay_ms(&self, share: f64) -> f64 {
        quantile(&self.delays_ms, share)
    }

    /// For the report; `streams` connections were there at each event.
    pub fn to_json(&self, streams: u32) -> Value {
        let figures = |times: &[f64]| {
            json!({
                "median_ms": quantile(times, 0.5), "p95_ms": quantile(times, 0.95), "p99_ms": quantile(times, 0.99),
                "worst_ms": quantile(times, 1.0),
            })
        };
        let mut value = figures(&self.delays_ms);
        value["events"] = json!(self.events);
        value["touched"] = json!(self.touched());
        value["untouched"] = json!((self.events * streams as usize).saturating_sub(self.touched()));
        value["from_event"] = figures(&self.from_event_ms);
        value["histogram"] = histogram(&self.delays_ms);
        value["sent_after_histogram"] = histogram(&self.sent_after_ms);
        value
    }
}

/// Of sorted values; 0 if there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// How many of sorted values lie in each bin, from the first that is not empty to the last.
fn histogram(sorted: &[f64]) -> Value {
    let bin = |ms: f64| (ms / HISTOGRAM_MS as f64).floor() as i64;
    let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
        return json!({"bin_ms": HISTOGRAM_MS, "from_ms": 0, "counts": []});
    };
    let mut counts = vec![0u32; (bin(most) - bin(least) + 1) as usize];
    for &ms in sorted {
        counts[(bin(ms) - bin(least)) as usize] += 1;
    }
    json!({"bin_ms": HISTOGRAM_MS, "from_ms": bin(least) * HISTOGRAM_MS.cast_signed(), "counts": counts})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let event = |at_us, kind| Event { at_us, kind, what: format!("{kind} at {at_us}") };
        vec![event(1_000_000, "kill"), event(2_500_000, "moves"), event(5_000_000, "kill")]
    }

    fn record(late: &Value) -> Record {
        let mut record = Record::default();
        let bins = json!({"first_us": 0, "each_us": 10_000, "bytes": vec![7; 900]});
        record.add(&json!({"late": late, "bins": bins})).unwrap();
        record
    }

    #[test]
    fn each_connection_counts_once_an_event_with_its_worst_piece() {
        let late = json!([
            [1, 500_000, 540_000],
            [1, 990_000, 1_150_000],
            [1, 1_190_000, 1_225_000],
            [2, 1_100_000, 1_140_000],
            [2, 2_600_000, 2_700_000]
        ]);
        let blackouts = record(&late).blackouts(&events());
        assert_eq!(
            blackouts,
            [
                Blackout { event: 0, stream: 1, delay_us: 160_000, sent_after_us: -10_000 },
                Blackout { event: 0, stream: 2, delay_us: 40_000, sent_after_us: 100_000 },
                Blackout { event: 1, stream: 2, delay_us: 100_000, sent_after_us: 100_000 },
            ]
        );
        let kills = Times::of("kill", &events(), &blackouts);
        assert_eq!((kills.touched(), kills.delay_ms(1.0)), (2, 160.0));
        let report = kills.to_json(10);
        assert_eq!((&report["events"], &report["untouched"]), (&json!(2), &json!(18)));
        assert_eq!(report["from_event"]["worst_ms"], 150.0);
        assert_eq!(report["histogram"], json!({"bin_ms": 25, "from_ms": 25, "counts": [1, 0, 0, 0, 0, 1]}));
        assert_eq!(report["sent_after_histogram"]["from_ms"], -25);
    }

    #[test]
    fn throughput_is_that_around_the_events() {
        let throughput = record(&json!([])).throughput(&events(), "kill");
        assert_eq!((&throughput["events"], &throughput["bin_ms"]), (&json!(2), &json!(10)));
        assert_eq!(throughput["median_bytes"], json!(vec![7.0; 300]));
        assert_eq!(record(&json!([])).throughput(&events(), "drain"), Value::Null);
    }

    #[test]
    fn a_record_without_its_parts_is_refused() {
        assert!(Record::default().add(&json!({"late": [], "bins": {}})).is_err());
        assert!(Record::default().add(&json!({"late": [[1, 2]], "bins": {}})).is_err());
    }
}
