//! Metrics in Prometheus' text format (version 0.0.4).
//!
//! Every family stands in [`FAMILIES`] with its type and a description, and is written from there: a metric without a
//! description cannot be written, and a test fails on a family that nothing produces.

mod replica;
mod tunnels;

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::worker::Histogram;

use super::report::Sources;
use crate::cluster::Owner;
use crate::status::MemberRole;

/// Name, type, description.
pub(super) const FAMILIES: &[(&str, &str, &str)] = &[
    ("phalanx_info", "gauge", "Always 1; the labels say who this is."),
    ("phalanx_uptime_seconds", "gauge", "Seconds since the process started."),
    ("phalanx_role", "gauge", "1 for what this member is at the moment, 0 for the rest."),
    ("phalanx_term", "gauge", "The term of the present master."),
    ("phalanx_generation", "gauge", "The generation of the assignment table."),
    ("phalanx_lease_seconds", "gauge", "For how long this member may still process packets; 0: not at all."),
    ("phalanx_quorate", "gauge", "1 if leases are renewed."),
    ("phalanx_losses_allowed", "gauge", "The adaptive n: consecutive keepalives lost before a member counts as dead."),
    ("phalanx_detection_seconds", "gauge", "From a master's last keepalive to the verdict, at the present n."),
    ("phalanx_members", "gauge", "Members of the cluster, this one included."),
    ("phalanx_member_heard_seconds", "gauge", "Time since a member was last heard."),
    ("phalanx_member_loss_ratio", "gauge", "A member's keepalives lost, smoothed; known to the master."),
    ("phalanx_member_fit", "gauge", "1 if a member is reached on all its data ports; judged by the master."),
    ("phalanx_member_units", "gauge", "Units that a member owns."),
    ("phalanx_units_unassigned", "gauge", "Units without an owner."),
    ("phalanx_units_quarantined", "gauge", "Units that killed two owners in a row."),
    ("phalanx_unit_owner", "gauge", "The number of the unit's owner; 0: nobody."),
    ("phalanx_unit_packets_total", "counter", "Packets of a unit that this member processed as its owner."),
    (
        "phalanx_unit_bytes_total",
        "counter",
        "Bytes of a unit that this member processed as its owner: whole frames, as they came in.",
    ),
    ("phalanx_unit_load_cycles_total", "counter", "Processor cycles that this member spent on a unit."),
    ("phalanx_worker_polls_total", "counter", "Rounds of a worker's loop."),
    ("phalanx_worker_busy_ratio", "gauge", "Share of a worker's time that packets took, over the last second."),
    ("phalanx_worker_received_packets_total", "counter", "Packets that a worker received from ports."),
    ("phalanx_worker_copied_packets_total", "counter", "Copies made of packets that two members need."),
    (
        "phalanx_worker_recalled_packets_total",
        "counter",
        "Packets to a dead member's sessions that were kept here and processed after all.",
    ),
    ("phalanx_worker_reassembled_packets_total", "counter", "Packets put together from fragments."),
    (
        "phalanx_worker_fragmented_packets_total",
        "counter",
        "Fragments made beyond the first of each packet that was cut.",
    ),
    ("phalanx_worker_forwarded_packets_total", "counter", "Packets routed onwards."),
    ("phalanx_worker_relayed_packets_total", "counter", "Packets passed on to their owner."),
    ("phalanx_worker_delivered_packets_total", "counter", "Packets that this member took itself."),
    ("phalanx_worker_originated_packets_total", "counter", "Packets that this member made."),
    ("phalanx_worker_originated_lost_packets_total", "counter", "Packets that this member made and could not send."),
    ("phalanx_worker_held_packets", "gauge", "Packets kept now for units on their way."),
    ("phalanx_worker_waiting_packets", "gauge", "Packets that wait for a neighbour's hardware address now."),
    ("phalanx_dropped_packets_total", "counter", "Packets dropped, by reason; see phalanx_drop_reason_info."),
    ("phalanx_relay_connections", "gauge", "Connections that a relay of this member has."),
    (
        "phalanx_relay_events_total",
        "counter",
        "What happened to a relay's connections, by event; no relay: to nobody's.",
    ),
    ("phalanx_relay_event_info", "gauge", "Always 1; the label says what the event means."),
    ("phalanx_tunnel_packets_total", "counter", "Packets that a tunnel has carried: in, from the peer; out, to it."),
    ("phalanx_tunnel_bytes_total", "counter", "Their bytes, without what the tunnel adds."),
    ("phalanx_tunnel_events_total", "counter", "What happened to a tunnel's packets, by event."),
    ("phalanx_tunnel_event_info", "gauge", "Always 1; the label says what the event means."),
    ("phalanx_ike_sas", "gauge", "IKE SAs and tunnels of theirs that this member serves and are awake, by kind."),
    ("phalanx_ike_events_total", "counter", "What this member's workers have counted of IKE, by event."),
    ("phalanx_ike_event_info", "gauge", "Always 1; the label says what the event means."),
    ("phalanx_relay_bytes_total", "counter", "Bytes that a relay has passed on and the receiver has acknowledged."),
    ("phalanx_replica_events_total", "counter", "What replication has counted, by worker, side and event."),
    ("phalanx_replica_event_info", "gauge", "Always 1; the label says what the event means."),
    (
        "phalanx_replica_lacking_units",
        "gauge",
        "Units of a worker's that a backup is to hold and does not yet, summed over backups.",
    ),
    ("phalanx_replica_lag_updates", "gauge", "Updates that the slowest backup in sync has not acknowledged."),
    ("phalanx_replica_lag_bytes", "gauge", "Their bytes."),
    ("phalanx_replica_uncommitted_updates", "gauge", "Updates whose consequences wait for backups."),
    ("phalanx_replica_log_bytes", "gauge", "Memory of the log that is kept for backups."),
    (
        "phalanx_replica_commit_seconds",
        "gauge",
        "The longest that an update waited for its commit, in the last quarter of a second.",
    ),
    ("phalanx_replica_sent_bytes_total", "counter", "Bytes of sessions' state that this member sent to backups."),
    ("phalanx_replica_received_bytes_total", "counter", "Bytes of sessions' state that this member got from owners."),
    (
        "phalanx_replica_transport_events_total",
        "counter",
        "What happened on the streams to backups and from owners; see phalanx_replica_transport_event_info.",
    ),
    ("phalanx_replica_transport_event_info", "gauge", "Always 1; the label says what the event means."),
    (
        "phalanx_replica_digest_mismatches_total",
        "counter",
        "Units held in sync here whose digest turned out not to be their owner's; they were sent anew.",
    ),
    (
        "phalanx_replica_unheard_total",
        "counter",
        "Times that commits went on though no master had answered that it knows who fell out of sync.",
    ),
    (
        "phalanx_heirs_not_in_sync_units_total",
        "counter",
        "Units that this member, as the master, gave to heirs without their sessions, for nobody alive was in sync.",
    ),
    ("phalanx_replica_store_sessions", "gauge", "Sessions of others that a worker holds."),
    ("phalanx_replica_store_bytes", "gauge", "Memory that they take."),
    ("phalanx_drop_reason_info", "gauge", "Always 1; the label says what the reason means."),
    ("phalanx_port_up", "gauge", "1 if the port has a link."),
    ("phalanx_port_received_packets_total", "counter", "Frames received on a port."),
    ("phalanx_port_received_bytes_total", "counter", "Their bytes."),
    ("phalanx_port_sent_packets_total", "counter", "Frames sent on a port."),
    ("phalanx_port_sent_bytes_total", "counter", "Their bytes."),
    ("phalanx_port_missed_packets_total", "counter", "Frames that the device dropped before a worker saw them."),
    ("phalanx_port_errors_total", "counter", "Frames that the device or its driver could not receive or send."),
    ("phalanx_poll_seconds", "histogram", "How long a round of a worker's loop took that found packets."),
    ("phalanx_latency_seconds", "histogram", "From the poll that found a packet to its transmission."),
    ("phalanx_cluster_rounds_total", "counter", "Rounds of the cluster thread's loop."),
    ("phalanx_cluster_late_seconds_max", "gauge", "The most that the cluster thread missed a deadline by."),
    ("phalanx_cluster_refused_frames_total", "counter", "Cluster frames refused, by reason."),
    (
        "phalanx_link_events_total",
        "counter",
        "What happened on the cluster link's reliable side; see phalanx_link_event_info.",
    ),
    ("phalanx_link_event_info", "gauge", "Always 1; the label says what the event means."),
    (
        "phalanx_log_left_out_lines_total",
        "counter",
        "Log lines that were left out because they could not be written in time.",
    ),
    ("phalanx_packet_buffers_in_use", "gauge", "Packet buffers in receive rings, kept, or on their way out."),
];

/// Upper bounds of the histograms' buckets, in nanoseconds.
const BOUNDS_NS: [u64; 16] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

const ROLES: [MemberRole; 7] = [
    MemberRole::Starting,
    MemberRole::Joining,
    MemberRole::Member,
    MemberRole::Master,
    MemberRole::Draining,
    MemberRole::Exiled,
    MemberRole::Stopped,
];

/// The text under construction.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins a family.
    fn family(&mut self, name: &'static str) -> Family<'_> {
        let (_, kind, help) =
            FAMILIES.iter().find(|(known, ..)| *known == name).copied().unwrap_or((name, "untyped", ""));
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: &mut self.0, name }
    }

    /// A family of one value.
    fn one(&mut self, name: &'static str, value: f64) {
        self.family(name).add(&[], value);
    }
}

struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.add_suffixed("", labels, value);
    }

    fn add_suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        for (name, label) in labels {
            let comma = if text.is_empty() { "" } else { "," };
            let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{comma}{name}=\"{escaped}\"");
        }
        let braces = if text.is_empty() { String::new() } else { format!("{{{text}}}") };
        let _ = writeln!(self.page, "{}{suffix}{braces} {value}", self.name);
    }

    fn histogram(&mut self, worker: &str, histogram: &Histogram) {
        let buckets = histogram.snapshot();
        for bound in BOUNDS_NS {
            let within: u64 = buckets.iter().filter(|(ns, _)| *ns <= bound).map(|(_, count)| count).sum();
            let le = (bound as f64 / 1e9).to_string();
            self.add_suffixed("_bucket", &[("worker", worker), ("le", &le)], within as f64);
        }
        let all: u64 = buckets.iter().map(|(_, count)| count).sum();
        let sum: f64 = buckets.iter().map(|(ns, count)| *ns as f64 * *count as f64 / 1e9).sum();
        self.add_suffixed("_bucket", &[("worker", worker), ("le", "+Inf")], all as f64);
        self.add_suffixed("_sum", &[("worker", worker)], sum);
        self.add_suffixed("_count", &[("worker", worker)], all as f64);
    }
}

/// The whole page.
pub(super) fn render(sources: &Sources<'_>) -> String {
    let mut page = Page(String::with_capacity(256 << 10));
    cluster(&mut page, sources);
    members(&mut page, sources);
    units(&mut page, sources);
    workers(&mut page, sources);
    relays(&mut page, sources);
    tunnels::tunnels(&mut page, sources);
    replica::render(&mut page, sources);
    ports(&mut page, sources);
    shell(&mut page, sources);
    page.0
}

fn cluster(page: &mut Page, sources: &Sources<'_>) {
    let (core, config) = (&sources.posted.core, sources.config);
    let id = core.id.to_string();
    let labels = [
        ("cluster", config.cluster.name.as_str()),
        ("member", id.as_str()),
        ("name", config.member.name.as_str()),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    page.family("phalanx_info").add(&labels, 1.0);
    page.one("phalanx_uptime_seconds", sources.now.0 as f64 / 1e9);
    let role = sources.role();
    let mut family = page.family("phalanx_role");
    for known in ROLES {
        family.add(&[("role", known.as_str())], f64::from(u8::from(known == role)));
    }
    page.one("phalanx_term", core.reign.map_or(0, |reign| reign.term) as f64);
    page.one("phalanx_generation", core.table.version.generation as f64);
    let lease_ns = core.lease_until.map_or(0, |until| until.since(sources.now).0);
    page.one("phalanx_lease_seconds", lease_ns as f64 / 1e9);
    page.one("phalanx_quorate", f64::from(u8::from(core.quorate)));
    page.one("phalanx_losses_allowed", f64::from(core.losses));
    page.one("phalanx_detection_seconds", core.detection.0 as f64 / 1e9);
    page.one("phalanx_members", core.members.len() as f64);
}

fn members(page: &mut Page, sources: &Sources<'_>) {
    let core = &sources.posted.core;
    let mut each = |name, value: &dyn Fn(&crate::cluster::Seen) -> f64| {
        let mut family = page.family(name);
        for seen in &core.members {
            let (id, member) = (seen.member.id.to_string(), sources.name_of(seen.member.id));
            family.add(&[("member", &id), ("name", &member)], value(seen));
        }
    };
    each("phalanx_member_heard_seconds", &|seen| seen.heard_at.map_or(0.0, |at| sources.now.since(at).0 as f64 / 1e9));
    each("phalanx_member_loss_ratio", &|seen| sources.loss_permille(seen).map_or(f64::NAN, |loss| loss / 1000.0));
    each("phalanx_member_fit", &|seen| f64::from(u8::from(seen.fit)));
    each("phalanx_member_units", &|seen| core.table.units_of(seen.member.id).count() as f64);
}

fn units(page: &mut Page, sources: &Sources<'_>) {
    let table = &sources.posted.core.table;
    let count = |owner: Owner| table.entries().iter().filter(|entry| entry.owner == owner).count() as f64;
    page.one("phalanx_units_unassigned", count(Owner::Unassigned));
    page.one("phalanx_units_quarantined", count(Owner::Quarantined));
    let mut each = |name, value: &dyn Fn(Unit) -> f64| {
        let mut family = page.family(name);
        for unit in Unit::all() {
            family.add(&[("unit", &unit.to_string())], value(unit));
        }
    };
    each("phalanx_unit_owner", &|unit| match table.owner(unit) {
        Owner::Member(owner) => f64::from(owner.number()),
        Owner::Unassigned | Owner::Quarantined => 0.0,
    });
    each("phalanx_unit_packets_total", &|unit| sources.sum(|worker| worker.loads.of(unit).packets.get()) as f64);
    each("phalanx_unit_bytes_total", &|unit| sources.sum(|worker| worker.loads.of(unit).bytes.get()) as f64);
    each("phalanx_unit_load_cycles_total", &|unit| sources.sum(|worker| worker.loads.cycles(unit).get()) as f64);
}

fn workers(page: &mut Page, sources: &Sources<'_>) {
    use phalanx_dataplane::worker::WorkerShared;
    let mut each = |name, value: &dyn Fn(usize, &WorkerShared) -> f64| {
        let mut family = page.family(name);
        for (index, worker) in sources.shared.workers.iter().enumerate() {
            family.add(&[("worker", &index.to_string())], value(index, worker));
        }
    };
    each("phalanx_worker_polls_total", &|_, worker| worker.polls.get() as f64);
    each("phalanx_worker_busy_ratio", &|index, _| sources.busy.get(index).copied().unwrap_or(0.0));
    each("phalanx_worker_received_packets_total", &|_, worker| worker.received.get() as f64);
    each("phalanx_worker_copied_packets_total", &|_, worker| worker.copied.get() as f64);
    each("phalanx_worker_recalled_packets_total", &|_, worker| worker.recalled.get() as f64);
    each("phalanx_worker_reassembled_packets_total", &|_, worker| worker.reassembled.get() as f64);
    each("phalanx_worker_fragmented_packets_total", &|_, worker| worker.fragmented.get() as f64);
    each("phalanx_worker_forwarded_packets_total", &|_, worker| worker.forwarded.get() as f64);
    each("phalanx_worker_relayed_packets_total", &|_, worker| worker.passed_on.get() as f64);
    each("phalanx_worker_delivered_packets_total", &|_, worker| worker.delivered.get() as f64);
    each("phalanx_worker_originated_packets_total", &|_, worker| worker.originated.get() as f64);
    each("phalanx_worker_originated_lost_packets_total", &|_, worker| worker.originated_lost.get() as f64);
    each("phalanx_worker_held_packets", &|_, worker| worker.held.get() as f64);
    each("phalanx_worker_waiting_packets", &|_, worker| worker.waiting.get() as f64);
    let mut family = page.family("phalanx_dropped_packets_total");
    for reason in DropReason::ALL {
        for (index, worker) in sources.shared.workers.iter().enumerate() {
            let labels = [("worker", &*index.to_string()), ("reason", reason.name())];
            family.add(&labels, worker.drops.get(*reason) as f64);
        }
    }
    let mut family = page.family("phalanx_drop_reason_info");
    for reason in DropReason::ALL {
        family.add(&[("reason", reason.name()), ("description", reason.description())], 1.0);
    }
    for (name, histogram) in [
        ("phalanx_poll_seconds", (|worker| &worker.poll_ns) as fn(&WorkerShared) -> &Histogram),
        ("phalanx_latency_seconds", |worker| &worker.latency_ns),
    ] {
        let mut family = page.family(name);
        for (index, worker) in sources.shared.workers.iter().enumerate() {
            family.histogram(&index.to_string(), histogram(worker));
        }
    }
}

fn relays(page: &mut Page, sources: &Sources<'_>) {
    let names: Vec<&str> = sources.config.relays.iter().map(|relay| relay.name.as_str()).chain([""]).collect();
    let stats = |at: usize| sources.shared.relays.of(at);
    let mut family = page.family("phalanx_relay_connections");
    for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        family.add(&[("relay", name)], stats(at).open.load(Relaxed) as f64);
    }
    let is_event = |event: &str| event != "open" && !event.starts_with("bytes_");
    let mut family = page.family("phalanx_relay_events_total");
    for (at, name) in names.iter().enumerate() {
        for (event, _, times) in stats(at).iter().filter(|(event, ..)| is_event(event)) {
            family.add(&[("relay", name), ("event", event)], times as f64);
        }
    }
    let mut family = page.family("phalanx_relay_event_info");
    for (event, description, _) in stats(0).iter().filter(|(event, ..)| is_event(event)) {
        family.add(&[("event", event), ("description", description)], 1.0);
    }
    let mut family = page.family("phalanx_relay_bytes_total");
    for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        family.add(&[("relay", name), ("direction", "up")], stats(at).bytes_up.load(Relaxed) as f64);
        family.add(&[("relay", name), ("direction", "down")], stats(at).bytes_down.load(Relaxed) as f64);
    }
}

fn ports(page: &mut Page, sources: &Sources<'_>) {
    use phalanx_dataplane::worker::PortCounters;
    let mut each = |name, value: &dyn Fn(usize) -> f64| {
        let mut family = page.family(name);
        for (index, port) in sources.config.ports.iter().enumerate() {
            family.add(&[("port", &port.name), ("side", &port.role.to_string())], value(index));
        }
    };
    let sum =
        |index: usize, f: fn(&PortCounters) -> u64| sources.sum(|worker| worker.ports.get(index).map_or(0, f)) as f64;
    each("phalanx_port_up", &|index| {
        f64::from(u8::from(sources.shared.ports.get(index).is_some_and(|port| port.link_up.load(Relaxed))))
    });
    each("phalanx_port_received_packets_total", &|index| sum(index, |counters| counters.rx_packets.get()));
    each("phalanx_port_received_bytes_total", &|index| sum(index, |counters| counters.rx_bytes.get()));
    each("phalanx_port_sent_packets_total", &|index| sum(index, |counters| counters.tx_packets.get()));
    each("phalanx_port_sent_bytes_total", &|index| sum(index, |counters| counters.tx_bytes.get()));
    let device = |index: usize| sources.devices.get(index).copied().unwrap_or_default();
    each("phalanx_port_missed_packets_total", &|index| device(index).missed as f64);
    each("phalanx_port_errors_total", &|index| device(index).errors as f64);
}

fn shell(page: &mut Page, sources: &Sources<'_>) {
    let posted = sources.posted;
    page.one("phalanx_cluster_rounds_total", posted.rounds as f64);
    page.one("phalanx_cluster_late_seconds_max", posted.late_max_ns as f64 / 1e9);
    let mut family = page.family("phalanx_cluster_refused_frames_total");
    for (reason, frames) in posted.refused.iter() {
        family.add(&[("reason", reason)], frames as f64);
    }
    let mut family = page.family("phalanx_link_events_total");
    for (event, _, times) in posted.link.iter() {
        family.add(&[("event", event)], times as f64);
    }
    let mut family = page.family("phalanx_link_event_info");
    for (event, description, _) in posted.link.iter() {
        family.add(&[("event", event), ("description", description.trim())], 1.0);
    }
    page.one("phalanx_log_left_out_lines_total", sources.log_left_out as f64);
    page.one("phalanx_packet_buffers_in_use", f64::from(sources.buffers_in_use));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::runtime::report::tests::with_sources;

    /// The family that a line's sample belongs to.
    fn family_of(line: &str) -> &str {
        let name = line.split(['{', ' ']).next().unwrap();
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        stem.filter(|stem| FAMILIES.iter().any(|(known, ..)| known == stem)).unwrap_or(name)
    }

    #[test]
    fn every_family_is_described_and_produced() {
        let page = with_sources(render);
        let produced: BTreeSet<&str> = page.lines().filter(|line| !line.starts_with('#')).map(family_of).collect();
        let described: BTreeSet<&str> = FAMILIES.iter().map(|(name, ..)| *name).collect();
        assert_eq!(produced, described);
        assert_eq!(described.len(), FAMILIES.len(), "a name stands twice");
        for (name, kind, help) in FAMILIES {
            assert!(help.ends_with('.') && help.len() > 10, "{name} has no description");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}: counters, and only they, end in _total");
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")) && page.contains(&format!("# HELP {name} ")));
        }
    }

    #[test]
    fn every_drop_reason_is_counted_and_explained() {
        let page = with_sources(render);
        for reason in DropReason::ALL {
            let counted = format!("phalanx_dropped_packets_total{{worker=\"0\",reason=\"{}\"}} ", reason.name());
            assert!(page.contains(&counted), "{reason} is not counted");
            let explained = format!("phalanx_drop_reason_info{{reason=\"{}\",description=\"", reason.name());
            assert!(page.contains(&explained), "{reason} is not explained");
        }
        assert!(page.contains("reason=\"no_lease\"} 3\n"));
    }

    #[test]
    fn every_unit_has_its_series() {
        let page = with_sources(render);
        let loads = ["phalanx_unit_packets_total", "phalanx_unit_bytes_total", "phalanx_unit_load_cycles_total"];
        for name in ["phalanx_unit_owner"].into_iter().chain(loads) {
            assert_eq!(page.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count(), 1024);
        }
    }

    #[test]
    fn labels_are_escaped_and_buckets_accumulate() {
        let mut page = Page::default();
        page.family("phalanx_info").add(&[("name", "a\"b\\c\n")], 1.0);
        assert!(page.0.ends_with("phalanx_info{name=\"a\\\"b\\\\c\\n\"} 1\n"), "{}", page.0);
        let histogram = Histogram::default();
        [1_500, 1_500, 40_000].into_iter().for_each(|ns| histogram.record(ns));
        page.family("phalanx_poll_seconds").histogram("0", &histogram);
        assert!(page.0.contains("le=\"0.000001\"} 0\n"));
        assert!(page.0.contains("le=\"0.000002\"} 2\n"));
        assert!(page.0.contains("le=\"+Inf\"} 3\n"));
    }
}
