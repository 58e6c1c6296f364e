//! IVs that no member ever uses twice under one key, whoever else believes to own the SA (DESIGN section 8).
//!
//! AES-GCM, GMAC, CTR and ChaCha20-Poly1305 tell everything to an eavesdropper who sees two packets under one key with one
//! nonce. The nonce is the salt of the key and the IV in the packet, so the IV is built from what cannot repeat:
//!
//! ```text
//!   63      58 57                36 35                                  0
//!  ┌──────────┬────────────────────┬─────────────────────────────────────┐
//!  │  member  │    incarnation     │               counter               │
//!  └──────────┴────────────────────┴─────────────────────────────────────┘
//! ```
//! Two owners at once are two members; one that comes back has another incarnation, which was on its disk before it was used.
//! What is left is one life of one member, which is all that the counter is for.
//!
//! Sequence numbers would not do as the counter. A unit can go and come back within one life, and what comes back with it
//! after a split may be older than what this member has sent: its sequence numbers could then begin below where they were. So
//! the counter is this member's own: [`Nonces`] remembers, for each unit, how far any SA's counter came while it was here,
//! and an SA that is restored goes on from there. What is remembered never goes down and never leaves.
//!
//! CBC's IV must be unforeseeable as well: there the number is encrypted first ([`super::crypto`]).

use std::ops::Range;

use crate::unit::{MemberId, UNITS, Unit};

const COUNTER_BITS: u32 = 36;
const INCARNATION_BITS: u32 = 22;

/// Incarnations from here on have no IVs: four million joins.
pub const INCARNATIONS: u64 = 1 << INCARNATION_BITS;
/// Packets that a unit's SAs can send in one life of a member under one key: two hours of ten million a second.
pub const COUNTERS: u64 = 1 << COUNTER_BITS;

/// One member's IVs, in one life.
#[derive(Debug)]
pub struct Nonces {
    prefix: u64,
    /// By unit: counters from here on were never used.
    unused: Box<[u64; UNITS]>,
}

/// Where the IVs of one SA are, while it is here. Not to be copied: two of one SA would draw the same numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Draw {
    unit: Unit,
    next: u64,
}

impl Nonces {
    /// None: this incarnation has no IVs. The cluster must be founded anew, with new keys.
    pub fn new(member: MemberId, incarnation: u64) -> Option<Self> {
        let prefix = u64::from(member.number()) << INCARNATION_BITS | incarnation;
        (incarnation < INCARNATIONS).then(|| Self { prefix: prefix << COUNTER_BITS, unused: Box::new([0; UNITS]) })
    }

    /// For an SA of the unit that begins, or begins anew, to be served here.
    pub fn begin(&self, unit: Unit) -> Draw {
        Draw { unit, next: self.unused[unit.index()] }
    }

    /// The next IV. None: there is none left, and the SA must be replaced.
    #[inline]
    pub fn take(&self, draw: &mut Draw) -> Option<u64> {
        let counter = draw.next;
        if counter >= COUNTERS {
            return None;
        }
        draw.next = counter + 1;
        Some(self.prefix | counter)
    }

    /// As many of the next IVs as there are, in a row, up to `count`: as if each were taken by itself.
    #[inline]
    pub fn take_many(&self, draw: &mut Draw, count: u64) -> Range<u64> {
        let (first, count) = (self.prefix | draw.next, count.min(draw.left()));
        draw.next += count;
        first..first + count
    }

    /// So many IVs in a row, for the SAs of a unit: a power of two, of which the first is a multiple. None: there are not so many left.
    pub fn reserve(&mut self, unit: Unit, count: u64) -> Option<u64> {
        let unused = &mut self.unused[unit.index()];
        let first = unused.checked_next_multiple_of(count).filter(|first| first.saturating_add(count) <= COUNTERS)?;
        *unused = first + count;
        Some(self.prefix | first)
    }

    /// An SA is no longer served here, or is gone.
    pub fn end(&mut self, draw: Draw) {
        let unused = &mut self.unused[draw.unit.index()];
        *unused = (*unused).max(draw.next);
    }
}

impl Draw {
    /// How many packets can still be sent.
    pub const fn left(&self) -> u64 {
        COUNTERS.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::MEMBER_NUMBER_MAX;
    use std::collections::HashSet;

    fn nonces(member: u8, incarnation: u64) -> Nonces {
        Nonces::new(MemberId::new(member).unwrap(), incarnation).unwrap()
    }

    #[test]
    fn the_fields_fill_an_iv() {
        const { assert!((MEMBER_NUMBER_MAX as u32) < 1 << (u64::BITS - INCARNATION_BITS - COUNTER_BITS)) };
        let last = nonces(MEMBER_NUMBER_MAX, INCARNATIONS - 1);
        let mut draw = Draw { unit: Unit::from_low_bits(3), next: COUNTERS - 1 };
        assert_eq!(draw.left(), 1);
        assert_eq!(last.take(&mut draw), Some(u64::from(MEMBER_NUMBER_MAX) << 58 | ((1 << 58) - 1)));
        assert_eq!((draw.left(), last.take(&mut draw)), (0, None), "it does not begin again");
        assert!(Nonces::new(MemberId::new(1).unwrap(), INCARNATIONS).is_none());
    }

    /// Two owners of one SA, one of them twice restarted, the unit going to and fro between them.
    #[test]
    fn no_iv_comes_twice() {
        let unit = Unit::from_low_bits(77);
        let mut seen = HashSet::new();
        let mut send = |nonces: &mut Nonces, count: usize| {
            let mut draw = nonces.begin(unit);
            (0..count).for_each(|_| assert!(seen.insert(nonces.take(&mut draw).unwrap())));
            nonces.end(draw);
        };
        let (mut first, mut second) = (nonces(1, 1), nonces(2, 1));
        for _ in 0..3 {
            send(&mut first, 10);
            send(&mut second, 5);
        }
        send(&mut nonces(1, 2), 10);
        send(&mut nonces(1, 3), 10);
        assert_eq!(seen.len(), 65);
    }

    #[test]
    fn many_at_once_are_as_many_one_by_one() {
        let nonces = nonces(3, 5);
        let (mut draw, mut other) = (nonces.begin(Unit::from_low_bits(1)), nonces.begin(Unit::from_low_bits(1)));
        for count in [0, 1, 32, 7] {
            let singly: Vec<u64> = (0..count).map(|_| nonces.take(&mut other).unwrap()).collect();
            assert_eq!(nonces.take_many(&mut draw, count).collect::<Vec<_>>(), singly);
            assert_eq!(draw, other);
        }
        let mut last = Draw { unit: Unit::from_low_bits(1), next: COUNTERS - 2 };
        assert_eq!(nonces.take_many(&mut last, 3).count(), 2);
        assert_eq!(
            (nonces.take_many(&mut last, 3).count(), nonces.take(&mut last)),
            (0, None),
            "it does not begin again"
        );
    }

    #[test]
    fn rows_of_ivs_are_apart() {
        let mut nonces = nonces(1, 1);
        let unit = Unit::from_low_bits(1);
        let mut draw = nonces.begin(unit);
        let (first, second) = (nonces.reserve(unit, 64).unwrap(), nonces.reserve(unit, 64).unwrap());
        assert_eq!((second - first, first % 64), (64, 0));
        assert!(nonces.take(&mut draw).is_some());
        nonces.end(draw);
        let mut after = nonces.begin(unit);
        assert_eq!(nonces.take(&mut after), Some(second + 64));
        nonces.end(after);
        assert_eq!(nonces.reserve(unit, 64), Some(second + 128));
        nonces.end(Draw { unit, next: COUNTERS - 64 });
        assert!(nonces.reserve(unit, 64).is_some() && nonces.reserve(unit, 64).is_none());
    }

    /// An SA that ends after another one of its unit has begun takes nothing back.
    #[test]
    fn what_was_used_is_remembered_in_any_order() {
        let mut nonces = nonces(1, 1);
        let unit = Unit::from_low_bits(1);
        let (mut long, short) = (nonces.begin(unit), nonces.begin(unit));
        assert_eq!((0..9).filter_map(|_| nonces.take(&mut long)).count(), 9);
        nonces.end(long);
        nonces.end(short);
        assert_eq!(nonces.begin(unit).next, 9);
    }
}
