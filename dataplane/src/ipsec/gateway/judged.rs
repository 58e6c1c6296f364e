//! What policies have said lately of IPv4 hosts: one look instead of one for each length that networks have, twice where a
//! packet comes out of a tunnel. Whoever changes the policies makes it forget everything.

use super::policies::Passing;

/// Pairs of hosts that have one hash, and are remembered side by side: a line of the processor's cache.
const WAYS: usize = 4;
/// Pairs of hosts that are remembered: 256 KiB, which a second-level cache holds.
const PLACES: usize = 16_384;
/// Below it, which answer; above, in which epoch it was given.
const EPOCH_SHIFT: u32 = 34;
const EPOCHS: u64 = 1 << (u64::BITS - EPOCH_SHIFT);

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set([(u64, u64); WAYS]);

/// See the module. Without places (the default) it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Source and destination; epoch, kind of answer, SPI. The newest comes first.
    sets: Box<[Set]>,
    epoch: u64,
}

impl Judged {
    pub(super) fn new() -> Self {
        Self { sets: vec![Set::default(); PLACES / WAYS].into(), epoch: 1 }
    }

    /// The answer to this question, from memory or from whoever knows.
    #[inline]
    pub(super) fn of(&mut self, source: u32, destination: u32, judge: impl FnOnce() -> Passing) -> Passing {
        let pair = pair(source, destination);
        let at = self.at(pair);
        let Some(Set(places)) = self.sets.get_mut(at) else { return judge() };
        let known = places.iter().find(|place| place.0 == pair && place.1 >> EPOCH_SHIFT == self.epoch);
        if let Some((_, answer)) = known {
            return read(*answer);
        }
        let passing = judge();
        places.copy_within(..WAYS - 1, 1);
        places[0] = (pair, self.epoch << EPOCH_SHIFT | written(passing));
        passing
    }

    /// Fetches what was said of hosts into the cache.
    #[inline]
    pub(super) fn prefetch(&self, source: u32, destination: u32) {
        if let Some(set) = self.sets.get(self.at(pair(source, destination))) {
            dpdk::prefetch::prefetch(set);
        }
    }

    #[inline]
    fn at(&self, pair: u64) -> usize {
        (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & self.sets.len().saturating_sub(1)
    }

    pub(super) fn forget(&mut self) {
        self.epoch += 1;
        if self.epoch == EPOCHS {
            self.sets.fill(Set::default());
            self.epoch = 1;
        }
    }
}

#[inline]
fn pair(source: u32, destination: u32) -> u64 {
    u64::from(source) << 32 | u64::from(destination)
}

const fn written(passing: Passing) -> u64 {
    let (kind, spi) = match passing {
        Passing::Clear => (0, 0),
        Passing::Into(spi) => (1, spi),
        Passing::Bare => (2, 0),
        Passing::Guarded => (3, 0),
    };
    kind << 32 | spi as u64
}

const fn read(answer: u64) -> Passing {
    match answer >> 32 & 3 {
        0 => Passing::Clear,
        1 => Passing::Into(answer as u32),
        2 => Passing::Bare,
        _ => Passing::Guarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_said_again_until_it_is_forgotten() {
        let mut judged = Judged::new();
        let all = [Passing::Clear, Passing::Into(u32::MAX), Passing::Bare, Passing::Guarded];
        for (host, passing) in (0..).zip(all) {
            assert_eq!(judged.of(host, 7, || passing), passing);
            assert_eq!(judged.of(host, 7, || panic!("asked twice")), passing);
            assert_eq!(judged.of(7, host + 100, || Passing::Bare), Passing::Bare, "not the other way round");
        }
        judged.forget();
        assert_eq!(judged.of(1, 7, || Passing::Guarded), Passing::Guarded);
        judged.epoch = EPOCHS - 1;
        judged.of(1, 7, || Passing::Bare);
        judged.forget();
        assert_eq!((judged.epoch, judged.of(1, 7, || Passing::Clear)), (1, Passing::Clear));
        assert_eq!(Judged::default().of(1, 7, || Passing::Bare), Passing::Bare);
        assert_eq!(Judged::default().of(1, 7, || Passing::Clear), Passing::Clear);
    }
}
