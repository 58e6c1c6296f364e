//! What a burst adds to counters. A tunnel of the configuration's has counters of its own, which one worker writes, for its unit is
//! that worker's: they are added to as packets come. IKE's tunnels share theirs, and so do workers: each touch of those is worth as much as a
//! header, so what is theirs is kept until the burst's end.

use std::sync::atomic::AtomicU64;

use super::counters::{OF_IKE, TunnelCounters, TunnelStats};
use crate::tallies::{add, add_alone};

/// What was counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) packets_out: u64,
    pub(super) bytes_out: u64,
    pub(super) packets_in: u64,
    pub(super) bytes_in: u64,
    pub(super) dummies_in: u64,
    pub(super) not_sent: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Tally {
    shared: Counts,
}

impl Tally {
    /// Counts what was counted of this part.
    #[inline]
    pub(super) fn add(&mut self, part: usize, counts: Counts, stats: &TunnelStats) {
        match stats.is_of_one(part) {
            true => counts.each(stats.of(part), add_alone),
            false => self.shared.take(counts),
        }
    }

    /// Adds what was kept to the counters.
    pub(super) fn end(self, stats: &TunnelStats) {
        self.shared.each(stats.of(OF_IKE), add);
    }
}

impl Counts {
    #[inline]
    fn each(&self, counters: &TunnelCounters, add: impl Fn(&AtomicU64, u64)) {
        add(&counters.packets_out, self.packets_out);
        add(&counters.bytes_out, self.bytes_out);
        add(&counters.packets_in, self.packets_in);
        add(&counters.bytes_in, self.bytes_in);
        add(&counters.dummies_in, self.dummies_in);
        add(&counters.not_sent, self.not_sent);
    }

    #[inline]
    const fn take(&mut self, other: Self) {
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.dummies_in += other.dummies_in;
        self.not_sent += other.not_sent;
    }
}
