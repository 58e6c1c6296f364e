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

/// Source and destination; and what was said of them: epoch, kind of answer, SPI. No pair is there twice. The newest comes first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set {
    pairs: [u64; WAYS],
    answers: [u64; WAYS],
}

/// See the module. Without places (the default) it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Judged {
    sets: Box<[Set]>,
    epoch: u64,
}

impl Judged {
    pub(super) fn new() -> Self {
        Self { sets: vec![Set::default(); PLACES / WAYS].into(), epoch: 1 }
    }

    /// The answer to this question, if it was asked before.
    #[inline]
    pub(super) fn find(&self, source: u32, destination: u32) -> Option<Passing> {
        let pair = pair(source, destination);
        let known = self.sets.get(self.at(pair)).and_then(|set| set.answer(pair));
        known.filter(|answer| answer >> EPOCH_SHIFT == self.epoch).map(read)
    }

    /// Remembers an answer.
    pub(super) fn note(&mut self, source: u32, destination: u32, passing: Passing) {
        let pair = pair(source, destination);
        let at = self.at(pair);
        if let Some(set) = self.sets.get_mut(at) {
            set.note(pair, self.epoch << EPOCH_SHIFT | written(passing));
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

impl Set {
    /// Without branches: which of them it is, nobody can foresee.
    #[inline]
    fn answer(&self, pair: u64) -> Option<u64> {
        let ways = self.pairs.iter().zip(0..).map(|(it, way)| way * usize::from(*it == pair));
        let way = ways.sum::<usize>() % WAYS;
        (self.pairs[way] == pair).then_some(self.answers[way])
    }

    fn note(&mut self, pair: u64, answer: u64) {
        let old = self.pairs.iter().position(|it| *it == pair).unwrap_or(WAYS - 1);
        self.pairs[..=old].rotate_right(1);
        self.answers[..=old].rotate_right(1);
        (self.pairs[0], self.answers[0]) = (pair, answer);
    }
}

#[inline]
fn pair(source: u32, destination: u32) -> u64 {
    u64::from(source) << 32 | u64::from(destination)
}

const CLEAR: u64 = 0;
const INTO: u64 = 1;
const BARE: u64 = 2;
const GUARDED: u64 = 3;

const fn written(passing: Passing) -> u64 {
    let (kind, spi) = match passing {
        Passing::Clear => (CLEAR, 0),
        Passing::Into(spi) => (INTO, spi),
        Passing::Bare => (BARE, 0),
        Passing::Guarded => (GUARDED, 0),
    };
    kind << 32 | spi as u64
}

/// What is mostly read comes first: a table of where to go on would cost more than all the rest.
#[inline]
fn read(answer: u64) -> Passing {
    match answer >> 32 & 3 {
        INTO => Passing::Into(answer as u32),
        BARE => Passing::Bare,
        other => read_other(other),
    }
}

#[inline(never)]
fn read_other(kind: u64) -> Passing {
    if kind == CLEAR { Passing::Clear } else { Passing::Guarded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_said_again_until_it_is_forgotten() {
        let mut judged = Judged::new();
        let all = [Passing::Clear, Passing::Into(u32::MAX), Passing::Bare, Passing::Guarded];
        for (host, passing) in (0..).zip(all) {
            assert_eq!(judged.find(host, 7), None);
            judged.note(host, 7, passing);
            assert_eq!((judged.find(host, 7), judged.find(7, host)), (Some(passing), None), "not the other way round");
        }
        judged.forget();
        assert_eq!(judged.find(1, 7), None);
        judged.note(1, 7, Passing::Guarded);
        assert_eq!(judged.find(1, 7), Some(Passing::Guarded), "in the place of the old one");
        judged.epoch = EPOCHS - 1;
        judged.note(1, 7, Passing::Bare);
        judged.forget();
        assert_eq!((judged.epoch, judged.find(1, 7)), (1, None));
        let mut nobody = Judged::default();
        nobody.note(1, 7, Passing::Bare);
        assert_eq!(nobody.find(1, 7), None);
    }

    /// A set keeps the last ones of it that were asked for, whatever their order and epochs.
    #[test]
    fn a_set_holds_the_newest() {
        let mut judged = Judged::new();
        let place = judged.at(pair(1, 0));
        let alike: Vec<u32> = (0..).filter(|host| judged.at(pair(1, *host)) == place).take(3 * WAYS).collect();
        for round in 0..20_usize {
            let asked: Vec<u32> = (0..alike.len()).map(|at| alike[(at * 5 + round * 3) % alike.len()]).collect();
            for (at, host) in asked.iter().enumerate() {
                judged.note(1, *host, Passing::Into(at as u32));
                let newest = asked[..=at].iter().rev().zip((0..=at).rev()).take(WAYS);
                newest.for_each(|(host, at)| assert_eq!(judged.find(1, *host), Some(Passing::Into(at as u32))));
                let older = asked[..=at].iter().rev().skip(WAYS);
                older.for_each(|host| assert_eq!(judged.find(1, *host), None));
            }
            judged.forget();
            assert!(alike.iter().all(|host| judged.find(1, *host).is_none()));
        }
    }
}
