//! How far ahead of a peer's numbers their lease goes.
//!
//! A new owner refuses all numbers below the lease's limit, for the old one may have let them in. So whatever the lease is ahead
//! of the numbers when an owner dies is lost to the peer: a long lease would cost a busy peer a moment, but a slow one hours. And
//! what comes above the limit waits for a commit. So the lease is as long as what comes in the time of a few commits, and a
//! tunnel that falls silent is drawn back to nothing: from then on each packet waits for its own commit, and none is lost.
//!
//! That is better for all that answers what it hears: TCP sends nothing for a while after it has lost something, and then one packet at a
//! time, each of which would be refused ([`super::behind`]). But each commit is a record. So a tunnel goes ahead when it is faster than
//! its share of the records that a worker may write: with few others, of thousands a second.

use crate::replica::Extent;

/// How often it is looked at.
pub(super) const LOOK_NS: u64 = 50_000_000;
/// What comes in this time may go ahead of the backups.
const AHEAD_NS: u64 = 20_000_000;
/// A lease that would be shorter than this is none, however many tunnels there are: so few packets can wait.
const LENGTH_MIN: u64 = 4;
/// And with few tunnels, one that would be shorter than this: what comes in the time of a few commits has room to wait.
const LENGTH_MIN_ALONE: u64 = 40;
const LENGTH_MAX: u64 = 1 << 16;
/// So many packets of a worker's may wait for a commit each in [`AHEAD_NS`]: 100,000 a second.
const COMMITS: u64 = 2000;

/// Nothing goes ahead.
pub(super) const STILL: Extent = Extent { length: 0, refill: 0 };

/// How long a lease must be for it to be one, with so many tunnels that have traffic.
pub(super) fn length_min(tunnels: usize) -> u64 {
    (COMMITS / tunnels.max(1) as u64).clamp(LENGTH_MIN, LENGTH_MIN_ALONE)
}

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

    /// The lease for numbers that have come this far by now. Shorter than `length_min`, it is none.
    pub(super) fn look(&mut self, next: u64, length_min: u64, now_ns: u64) -> Extent {
        let came = next.saturating_sub(self.from);
        let span_ns = now_ns.saturating_sub(self.at_ns).max(AHEAD_NS);
        *self = Self::new(next, now_ns);
        let length = u128::from(came) * u128::from(AHEAD_NS) / u128::from(span_ns);
        let length = u64::try_from(length).unwrap_or(LENGTH_MAX).min(LENGTH_MAX);
        if length < length_min { STILL } else { Extent { length, refill: length / 2 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_long_as_its_tunnel_is_fast() {
        let mut pace = Pace::new(1, 0);
        assert_eq!(pace.look(1_000_001, LENGTH_MIN, 50_000_000).length, LENGTH_MAX, "20 million a second");
        let extent = Extent { length: 200, refill: 100 };
        assert_eq!(pace.look(1_000_501, LENGTH_MIN, 100_000_000), extent, "10,000 a second");
        assert_eq!(pace.look(1_000_506, LENGTH_MIN, 150_000_000), STILL, "100 a second");
        assert_eq!(pace.look(1_000_516, LENGTH_MIN, 150_000_001).length, 10, "ten at once are no more than ten");
        assert_eq!(pace.look(1_000_516, LENGTH_MIN, 200_000_001), STILL);
    }

    #[test]
    fn where_few_tunnels_speak_only_the_fast_go_ahead() {
        assert_eq!([0, 1, 50, 100, 500, 100_000].map(length_min), [40, 40, 40, 20, 4, 4]);
        let (mut slow, mut fast) = (Pace::new(1, 0), Pace::new(1, 0));
        assert_eq!(slow.look(96, length_min(1), 50_000_000), STILL, "1900 a second");
        assert_eq!(fast.look(106, length_min(1), 50_000_000).length, 42, "2100 a second");
        assert_eq!(slow.look(191, length_min(500), 100_000_000).length, 38, "1900 a second, among many");
    }
}
