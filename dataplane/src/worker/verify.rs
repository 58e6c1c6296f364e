//! Comparing what backups hold with what is here, unasked: each unit in turn, slowly.
//!
//! A backup in sync holds the same as its owner, as long as neither has a fault and no bit of memory has turned over. Who
//! relied on that would learn of an exception by a lost connection. So each unit's digest goes into the log once in a
//! while; a backup that does not find the same says so, counts it, and is sent the unit anew.

use super::path::Path;
use crate::replica::{Snapshots, Sources};
use crate::unit::{UNITS, Unit};

/// Units that one round compares: packets must not wait for long.
const UNITS_A_ROUND: u64 = 16;

/// Where the walk over the units is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verifier {
    /// How long a walk takes; 0: nothing is compared.
    walk_ns: u64,
    next: u16,
    /// When the units up to `next` were due.
    at_ns: u64,
}

impl Verifier {
    /// One that comes by every unit once in so long.
    pub(super) const fn new(walk_ns: u64) -> Self {
        Self { walk_ns, next: 0, at_ns: 0 }
    }

    /// How many units are due. Whoever slept for long does not catch up on all at once.
    fn due(&mut self, now_ns: u64) -> u64 {
        let each_ns = self.walk_ns / UNITS as u64;
        let Some(due) = now_ns.saturating_sub(self.at_ns).checked_div(each_ns) else { return 0 };
        self.at_ns = if due > UNITS_A_ROUND { now_ns } else { self.at_ns + due * each_ns };
        due.min(UNITS_A_ROUND)
    }

    fn take_next(&mut self) -> Unit {
        let unit = Unit::from_low_bits(self.next.into());
        self.next = (unit.number() + 1) % UNITS as u16;
        unit
    }
}

impl Path {
    /// Asks the backups of the units that are due whether they hold what we do.
    pub(super) fn verify_backups(&mut self) {
        for _ in 0..self.verifier.due(self.now_ns) {
            let unit = self.verifier.take_next();
            if self.holdings.replicates(unit) {
                let mut all = Sources { store: &mut self.holdings.store, live: &mut self.apps };
                Snapshots::verify(&mut self.holdings.outbox, &mut all, unit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_comes_round_once_in_a_walk_and_nobody_catches_up_at_once() {
        let mut verifier = Verifier::new(UNITS as u64 * 1000);
        let mut seen = vec![0; UNITS];
        for now_ns in (0..=UNITS as u64 * 1000).step_by(500) {
            (0..verifier.due(now_ns)).for_each(|_| seen[verifier.take_next().index()] += 1);
        }
        assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        assert_eq!(verifier.due(1 << 40), UNITS_A_ROUND);
        assert_eq!(verifier.due((1 << 40) + 1000), 1);
        assert_eq!(Verifier::new(0).due(1 << 40), 0);
    }
}
