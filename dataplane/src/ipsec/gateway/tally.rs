//! What a burst adds to a tunnel's counters, kept until another tunnel's turn comes: each touch of a shared counter is worth as much as a
//! header.

use super::counters::{TunnelCounters, TunnelStats};
use crate::tallies::{add, add_alone};

/// What was counted of one tunnel.
#[derive(Default)]
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
    part: usize,
    counts: Counts,
}

impl Tally {
    /// What is counted of this part from now on.
    #[inline]
    pub(super) fn of(&mut self, part: usize, stats: &TunnelStats) -> &mut Counts {
        if part != self.part {
            self.add_to(stats);
            self.part = part;
        }
        &mut self.counts
    }

    /// Adds what was counted to the counters.
    #[inline]
    pub(super) fn add_to(&mut self, stats: &TunnelStats) {
        let counters = stats.of(self.part);
        // A tunnel of the configuration's is one worker's, for its unit is.
        match stats.is_of_one(self.part) {
            true => self.counts.each(counters, add_alone),
            false => self.counts.each(counters, add),
        }
        self.counts = Counts::default();
    }
}

impl Counts {
    #[inline]
    fn each(&self, counters: &TunnelCounters, add: impl Fn(&std::sync::atomic::AtomicU64, u64)) {
        add(&counters.packets_out, self.packets_out);
        add(&counters.bytes_out, self.bytes_out);
        add(&counters.packets_in, self.packets_in);
        add(&counters.bytes_in, self.bytes_in);
        add(&counters.dummies_in, self.dummies_in);
        add(&counters.not_sent, self.not_sent);
    }
}
