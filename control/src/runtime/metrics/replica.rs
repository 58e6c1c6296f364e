//! How replication stands: what workers tell and hold, what the transport carries, what heirs lacked.

use phalanx_dataplane::worker::{Counter, ReplicaShared};

use super::{Page, Sources};

/// Figures of the log that rise and fall; the others are counters.
const GAUGES: [(&str, &str); 4] = [
    ("lag_updates", "phalanx_replica_lag_updates"),
    ("lag_bytes", "phalanx_replica_lag_bytes"),
    ("uncommitted", "phalanx_replica_uncommitted_updates"),
    ("log_bytes", "phalanx_replica_log_bytes"),
];

pub(super) fn render(page: &mut Page, sources: &Sources<'_>) {
    workers(page, sources);
    transport(page, sources);
    page.one("phalanx_heirs_not_in_sync_units_total", sources.posted.core.heirs_not_in_sync as f64);
}

fn is_gauge(side: &str, event: &str) -> bool {
    side == "log" && GAUGES.iter().any(|(figure, _)| *figure == event)
}

fn workers(page: &mut Page, sources: &Sources<'_>) {
    let workers: Vec<_> = sources.shared.workers.iter().map(|worker| &worker.replica).enumerate().collect();
    let mut family = page.family("phalanx_replica_events_total");
    for (number, replica) in &workers {
        for (side, event, _, times) in replica.iter().filter(|(side, event, ..)| !is_gauge(side, event)) {
            family.add(&[("worker", &number.to_string()), ("side", side), ("event", event)], times as f64);
        }
    }
    let mut family = page.family("phalanx_replica_event_info");
    for (side, event, description, _) in workers.iter().take(1).flat_map(|(_, replica)| replica.iter()) {
        if !is_gauge(side, event) {
            family.add(&[("side", side), ("event", event), ("description", description.trim())], 1.0);
        }
    }
    let mut each = |name, value: &dyn Fn(&ReplicaShared) -> f64| {
        let mut family = page.family(name);
        for (number, replica) in &workers {
            family.add(&[("worker", &number.to_string())], value(replica));
        }
    };
    let figure = |replica: &ReplicaShared, wanted: (&str, &str)| {
        replica.iter().find(|(side, event, ..)| (*side, *event) == wanted).map_or(0.0, |(.., value)| value as f64)
    };
    for (event, name) in GAUGES {
        each(name, &|replica| figure(replica, ("log", event)));
    }
    each("phalanx_replica_digest_mismatches_total", &|replica| figure(replica, ("store", "diverged")));
    let count = |counter: &Counter| counter.get() as f64;
    each("phalanx_replica_commit_seconds", &|replica| count(&replica.commit_ns) / 1e9);
    each("phalanx_replica_unheard_total", &|replica| count(&replica.unheard));
    each("phalanx_replica_lacking_units", &|replica| count(&replica.lacking));
    each("phalanx_replica_store_sessions", &|replica| count(&replica.sessions));
    each("phalanx_replica_store_bytes", &|replica| count(&replica.bytes));
}

fn transport(page: &mut Page, sources: &Sources<'_>) {
    let stats = &sources.posted.replication;
    page.one("phalanx_replica_sent_bytes_total", stats.bytes_sent as f64);
    page.one("phalanx_replica_received_bytes_total", stats.bytes_received as f64);
    let mut family = page.family("phalanx_replica_transport_events_total");
    for (event, _, times) in stats.iter().filter(|(event, ..)| !event.starts_with("bytes_")) {
        family.add(&[("event", event)], times as f64);
    }
    let mut family = page.family("phalanx_replica_transport_event_info");
    for (event, description, _) in stats.iter().filter(|(event, ..)| !event.starts_with("bytes_")) {
        family.add(&[("event", event), ("description", description.trim())], 1.0);
    }
}
