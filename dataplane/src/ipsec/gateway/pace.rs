//! How far ahead of a peer's numbers their lease goes.
//!
//! A new owner refuses all numbers below the lease's limit, for the old one may have let them in. So whatever the lease is ahead
//! of the numbers when an owner dies is lost to the peer: a long lease would cost a busy peer a moment, but a slow one hours. And
//! what comes above the limit waits for a commit. So the lease is as long as what comes in the time of a few commits, and a
//! tunnel that falls silent is drawn back to nothing: from then on each packet waits for its own commit, and none is lost.

use crate::replica::Extent;

/// How often it is looked at.
pub(super) const LOOK_NS: u64 = 50_000_000;
/// What comes in this time may go ahead of the backups.
const AHEAD_NS: u64 = 20_000_000;
/// A lease that would be shorter than this is none: so few packets can wait.
const LENGTH_MIN: u64 = 4;
const LENGTH_MAX: u64 = 1 << 16;

/// Nothing goes ahead.
pub(super) const STILL: Extent = Extent { length: 0, refill: 0 };

/// A tunnel's pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Where the numbers were at the last look, and when that was.
    from: u64,
    at_ns: u64,
}

impl Pace {
    pub(super) const fn new(from: u64, now_ns: u64) -> Self {
        Self { from, at_ns: now_ns }
    }

    /// The lease for numbers that have come this far by now.
    pub(super) fn look(&mut self, next: u64, now_ns: u64) -> Extent {
        let came = next.saturating_sub(self.from);
        let span_ns = now_ns.saturating_sub(self.at_ns).max(AHEAD_NS);
        *self = Self::new(next, now_ns);
        let length = u128::from(came) * u128::from(AHEAD_NS) / u128::from(span_ns);
        let length = u64::try_from(length).unwrap_or(LENGTH_MAX).min(LENGTH_MAX);
        if length < LENGTH_MIN { STILL } else { Extent { length, refill: length / 2 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_long_as_its_tunnel_is_fast() {
        let mut pace = Pace::new(1, 0);
        assert_eq!(pace.look(1_000_001, 50_000_000).length, LENGTH_MAX, "20 million a second");
        assert_eq!(pace.look(1_000_501, 100_000_000), Extent { length: 200, refill: 100 }, "10,000 a second");
        assert_eq!(pace.look(1_000_506, 150_000_000), STILL, "100 a second");
        assert_eq!(pace.look(1_000_516, 150_000_001).length, 10, "ten at once are no more than ten");
        assert_eq!(pace.look(1_000_516, 200_000_001), STILL);
    }
}
