//! What the workers and the rest of the process see of each other without a message: counters and a few deadlines.
//!
//! Everything here is an atomic with one writer (a worker's counters) or with a meaning that survives being read a
//! moment late (the lease: a late reader sees a shorter one). Messages go through [`super::link`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::ReplicaShared;
use super::counter::{Counter, Histogram};
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::{IkeCounters, TunnelStats};
use crate::relay::RelayStats;
use crate::unit::{UNITS, Unit};

/// State of the whole data path. Made once, shared by all threads.
#[derive(Debug)]
pub struct Shared {
    /// Until when this member may process and pass on packets, on the common [`super::Clock`]; 0: not at all. Written
    /// by the cluster thread.
    pub lease_until_ns: AtomicU64,
    /// Up to when it is known that nobody else owned what this member owned, on the common [`super::Clock`]; 0: it is not. Written by the
    /// cluster thread.
    pub sole_up_to_ns: AtomicU64,
    /// The wall clock, in seconds, at the beginning of the common [`super::Clock`]: for [`Self::cluster_clock_s`] alone.
    pub epoch_s: AtomicU64,
    /// Whether a port that was silent must prove itself first: this member took over alone, and might merely be cut
    /// off. Written by the cluster core.
    pub probation: AtomicBool,
    /// When a packet of a unit that had just become ours was first processed; 0: not yet. The cluster thread sets it
    /// to 0 when it orders a takeover and reads it for the failover's timeline.
    pub first_packet_ns: AtomicU64,
    /// What the relays count.
    pub relays: RelayStats,
    /// What the gateway's tunnels count.
    pub tunnels: TunnelStats,
    /// What it counts of IKE.
    pub ike: Arc<IkeCounters>,
    /// Which of its lives in the cluster the member lives; on disk before it stands here. 0: it has not joined yet.
    pub incarnation: AtomicU64,
    /// Per port.
    pub ports: Box<[PortShared]>,
    /// Per worker.
    pub workers: Box<[Arc<WorkerShared>]>,
}

/// A port's shared state.
#[derive(Debug)]
pub struct PortShared {
    /// Whether it has a link. Written by whoever watches it (the driver may not tell).
    pub link_up: AtomicBool,
    /// When a frame of any kind last came in; 0: never.
    pub last_frame_ns: AtomicU64,
    /// Until when frames are ignored because the port was silent for long ([`Shared::probation`]).
    pub probation_until_ns: AtomicU64,
}

/// One worker's counters. Conservation ([`Shared::balance`]): `received + copied + reassembled + fragmented =
/// forwarded + passed_on + delivered + held + waiting + handed_over + all drops` at any moment when the worker is between two bursts; what it originates itself is in `originated` alone.
#[derive(Debug, Default)]
pub struct WorkerShared {
    /// Rounds of the poll loop: a heartbeat.
    pub polls: Counter,
    /// When the last round began.
    pub last_poll_ns: Counter,
    /// The version of the view in force.
    pub view_version: Counter,
    /// Packets that came in, from ports.
    pub received: Counter,
    /// Copies made of packets that two members need.
    pub copied: Counter,
    /// Copies among those of packets that a member's death had left unprocessed.
    pub recalled: Counter,
    /// Packets put together from fragments: each counts as received anew, its fragments, until then waiting, as
    /// delivered.
    pub reassembled: Counter,
    /// Fragments made beyond the first of each packet that was cut.
    pub fragmented: Counter,
    /// Packets routed onwards.
    pub forwarded: Counter,
    /// Packets passed on to another member.
    pub passed_on: Counter,
    /// Packets consumed here: by a local service, an app, or the cluster thread.
    pub delivered: Counter,
    /// Packets handed to another worker, less those received from other workers (two's complement).
    pub handed_over: Counter,
    /// Packets in the hold buffer now.
    pub held: Counter,
    /// Packets that wait now: for a neighbour's hardware address, or, as fragments, for the rest of their packet.
    pub waiting: Counter,
    /// Packets that this member originated: answers, requests, errors, cluster frames.
    pub originated: Counter,
    /// Originated packets that could not be sent.
    pub originated_lost: Counter,
    /// Dropped packets, by [`DropReason::index`].
    pub drops: DropCounters,
    /// Per port: what this worker received and sent there.
    pub ports: Box<[PortCounters]>,
    /// Per unit: the load, for the balance between members.
    pub loads: Loads,
    /// What it tells other members of its sessions, and holds of theirs.
    pub replica: ReplicaShared,
    /// How long one round of the poll loop that found packets took.
    pub poll_ns: Histogram,
    /// From the poll that found a packet to its transmission, sampled once a burst.
    pub latency_ns: Histogram,
}

/// What one worker received and sent on one port.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Their bytes.
    pub rx_bytes: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
}

/// Dropped packets by reason.
#[derive(Debug)]
pub struct DropCounters([Counter; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl DropCounters {
    /// Counts dropped packets.
    #[inline]
    pub fn add(&self, reason: DropReason, n: u64) {
        self.0[reason.index()].add(n);
    }

    /// How many packets were dropped for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason.index()].get()
    }

    /// How many packets were dropped for whatever reason.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// The load of each unit, rising for ever. What each packet touches lies apart from what each round touches.
#[derive(Debug)]
pub struct Loads {
    units: Box<[UnitLoad; UNITS]>,
    cycles: Box<[Counter; UNITS]>,
}

/// What one unit's packets came to. Small, for a burst touches as many of them as it has packets.
#[derive(Debug, Default)]
#[repr(align(16))]
pub struct UnitLoad {
    /// Packets processed.
    pub packets: Counter,
    /// Their bytes: the frames as they came in.
    pub bytes: Counter,
}

impl UnitLoad {
    /// Counts a packet.
    #[inline]
    pub fn add(&self, bytes: u32) {
        self.add_many(1, bytes.into());
    }

    /// Counts packets of so many bytes in all.
    #[inline]
    pub fn add_many(&self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }
}

impl Default for Loads {
    fn default() -> Self {
        Self {
            units: Box::new(std::array::from_fn(|_| UnitLoad::default())),
            cycles: Box::new(std::array::from_fn(|_| Counter::default())),
        }
    }
}

impl Loads {
    /// One unit's packets and bytes.
    #[inline]
    pub fn of(&self, unit: Unit) -> &UnitLoad {
        &self.units[unit.index() % UNITS]
    }

    /// The processor cycles that one unit took, by sampling: each round of the poll loop is charged to one of its units.
    #[inline]
    pub fn cycles(&self, unit: Unit) -> &Counter {
        &self.cycles[unit.index() % UNITS]
    }
}

impl Shared {
    /// No lease, no packets, all links up until someone says otherwise.
    pub fn new(workers: usize, ports: usize, relays: usize, tunnels: usize) -> Self {
        let worker =
            || WorkerShared { ports: (0..ports).map(|_| PortCounters::default()).collect(), ..Default::default() };
        Self {
            lease_until_ns: AtomicU64::new(0),
            sole_up_to_ns: AtomicU64::new(0),
            probation: AtomicBool::new(false),
            first_packet_ns: AtomicU64::new(0),
            epoch_s: AtomicU64::new(0),
            relays: RelayStats::new(relays),
            tunnels: TunnelStats::new(tunnels),
            ike: Arc::default(),
            incarnation: AtomicU64::new(0),
            ports: (0..ports).map(|_| PortShared::default()).collect(),
            workers: (0..workers).map(|_| Arc::new(worker())).collect(),
        }
    }

    /// A clock that all members share to within a minute, if their wall clocks are set: in seconds.
    pub fn cluster_clock_s(&self, now_ns: u64) -> u64 {
        self.epoch_s.load(Relaxed).saturating_add(now_ns / 1_000_000_000)
    }

    /// Whether the lease still runs.
    #[inline]
    pub fn lease_ok(&self, now_ns: u64) -> bool {
        now_ns < self.lease_until_ns.load(Relaxed)
    }

    /// Packets dropped by all workers for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|w| w.drops.get(reason)).sum()
    }

    /// What came in and what became of it, summed over the workers: equal when no burst is under way.
    pub fn balance(&self) -> (u64, u64) {
        let sum = |f: &dyn Fn(&WorkerShared) -> u64| self.workers.iter().map(|w| f(w)).fold(0, u64::wrapping_add);
        let came = sum(&|w| w.received.get() + w.copied.get() + w.reassembled.get() + w.fragmented.get());
        let went = sum(&|w| {
            let out = w.forwarded.get() + w.passed_on.get() + w.delivered.get();
            (out + w.held.get() + w.waiting.get() + w.drops.total()).wrapping_add(w.handed_over.get())
        });
        (came, went)
    }
}

impl Default for PortShared {
    fn default() -> Self {
        Self { link_up: AtomicBool::new(true), last_frame_ns: AtomicU64::new(0), probation_until_ns: AtomicU64::new(0) }
    }
}

impl PortShared {
    /// Notes that frames came in; says whether they are to be ignored. A port that was silent for `quiet_ns` while
    /// probation is on must first show itself alive for `probation_ns`.
    #[inline]
    pub fn heard(&self, now_ns: u64, probation: bool, times: &ProbationTimes) -> bool {
        let last_ns = self.last_frame_ns.load(Relaxed);
        self.last_frame_ns.store(now_ns, Relaxed);
        if !probation {
            return false;
        }
        if now_ns.saturating_sub(last_ns) > times.quiet_ns {
            self.probation_until_ns.store(now_ns.saturating_add(times.probation_ns), Relaxed);
        }
        now_ns < self.probation_until_ns.load(Relaxed)
    }
}

/// How long a port must be silent to be doubted, and how long the doubt lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbationTimes {
    /// Silence after which the next frame starts a probation.
    pub quiet_ns: u64,
    /// How long the probation lasts.
    pub probation_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_port_is_on_probation_only_if_the_core_says_so() {
        let times = ProbationTimes { quiet_ns: 100, probation_ns: 50 };
        let port = PortShared::default();
        assert!(!port.heard(1000, false, &times));
        assert!(!port.heard(1050, true, &times), "it was heard a moment ago");
        assert!(port.heard(1200, true, &times));
        assert!(port.heard(1249, true, &times));
        assert!(!port.heard(1250, true, &times));
        assert!(!port.heard(2000, false, &times));
    }

    #[test]
    fn leases_end() {
        let shared = Shared::new(1, 1, 0, 0);
        assert!(!shared.lease_ok(1));
        shared.lease_until_ns.store(10, Relaxed);
        assert!(shared.lease_ok(9) && !shared.lease_ok(10));
    }
}
