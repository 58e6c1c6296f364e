//! Tunnels whose keys were set by hand: that these are worn, or have carried all that they may, nobody but the operator can mend.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use phalanx_dataplane::ipsec::gateway::TunnelStats;

/// What has become of a tunnel's keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Age {
    /// They are to be replaced soon.
    Worn,
    /// Nothing goes through any more.
    Over,
}

/// How often each tunnel's keys had come to that when the operator was last told.
pub(super) struct Lives(Box<[(AtomicU64, AtomicU64)]>);

impl Lives {
    /// Of so many tunnels of the configuration's.
    pub(super) fn new(tunnels: usize) -> Self {
        Self((0..tunnels).map(|_| Default::default()).collect())
    }

    /// What the operator has not been told yet, by the tunnel's place in the configuration.
    pub(super) fn news<'s>(&'s self, stats: &'s TunnelStats) -> impl Iterator<Item = (usize, Age)> + 's {
        self.0.iter().enumerate().flat_map(|(at, (worn, over))| {
            let rises = |told: &AtomicU64, counter: &AtomicU64| {
                let count = counter.load(Relaxed);
                told.swap(count, Relaxed) < count
            };
            let counters = stats.of(at);
            let worn = rises(worn, &counters.keys_worn).then_some((at, Age::Worn));
            worn.into_iter().chain(rises(over, &counters.lives_over).then_some((at, Age::Over)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once() {
        let (lives, stats) = (Lives::new(3), TunnelStats::new(3));
        let news = || lives.news(&stats).collect::<Vec<_>>();
        assert_eq!(news(), []);
        stats.of(1).keys_worn.fetch_add(1, Relaxed);
        assert_eq!(news(), [(1, Age::Worn)]);
        assert_eq!(news(), []);
        // One is over before it was seen to be worn; another comes back here.
        stats.of(0).lives_over.fetch_add(1, Relaxed);
        stats.of(0).keys_worn.fetch_add(1, Relaxed);
        stats.of(1).keys_worn.fetch_add(1, Relaxed);
        assert_eq!(news(), [(0, Age::Worn), (0, Age::Over), (1, Age::Worn)]);
        // What IKE's tunnels come to is IKE's business.
        stats.of(3).lives_over.fetch_add(1, Relaxed);
        assert_eq!(news(), []);
    }
}
