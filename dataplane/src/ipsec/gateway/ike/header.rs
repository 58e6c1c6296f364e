//! What a worker reads of an IKE message (RFC 7296 section 3.1): whose it is.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::filter::hash;
use crate::parse::address_number;
use crate::unit::{MemberId, UNITS, Unit};
use crate::wire::bytes;

/// Length of the header.
pub(super) const HEADER_LEN: usize = 28;
const FROM_INITIATOR: u8 = 0x08;
const RESPONSE: u8 = 0x20;
/// The exchange that nothing is sealed in.
const IKE_SA_INIT: u8 = 34;
/// Payloads that seal all others, whole and in pieces (RFC 7296 section 3.14, RFC 7383).
const SEALED: [u8; 2] = [46, 53];

/// Which IKE SA a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum For {
    /// The one with this SPI of ours.
    Spi(u64),
    /// One that begins, whose initiator calls it this.
    New(u64),
}

impl For {
    /// None: it is no message of IKEv2, or not as long as it says.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let initiator = u64::from_be_bytes(bytes::array(message, 0)?);
        let responder = u64::from_be_bytes(bytes::array(message, 8)?);
        let (version, flags) = (bytes::u8_at(message, 17), bytes::u8_at(message, 19));
        let length = bytes::u32_at(message, 24) as usize;
        if message.len() < HEADER_LEN || length != message.len() || version >> 4 != 2 || initiator == 0 {
            return None;
        }
        Some(match (flags & FROM_INITIATOR != 0, responder) {
            (false, _) => Self::Spi(initiator),
            (true, 0) => Self::New(initiator),
            (true, responder) => Self::Spi(responder),
        })
    }
}

/// Whether a message's payloads are sealed, or are said to be.
pub(super) fn is_sealed(message: &[u8]) -> bool {
    SEALED.contains(&bytes::u8_at(message, 16))
}

/// Whether a message says in clear what should be sealed.
pub(super) fn is_in_clear(message: &[u8]) -> bool {
    !is_sealed(message) && bytes::u8_at(message, 18) != IKE_SA_INIT
}

/// The header of a sealed request, as a message of its own. None: it is no such request.
pub(super) fn head_of_request(message: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let (exchange, flags) = (bytes::u8_at(message, 18), bytes::u8_at(message, 19));
    if !is_sealed(message) || exchange == IKE_SA_INIT || flags & RESPONSE != 0 {
        return None;
    }
    let mut head: [u8; HEADER_LEN] = bytes::array(message, 0)?;
    head[16] = 0;
    head[24..].copy_from_slice(&(HEADER_LEN as u32).to_be_bytes());
    Some(head)
}

/// The cluster's clock is divided into these, for names.
const AGE_S: u64 = 64;
/// Where in a name the age stands that it is of: eight bits, below the highest one.
const AGE_SHIFT: u32 = 55;
/// Ages, before the present one and after it, whose names are looked for: a message may be repeated for half a minute, at a member whose
/// clock is a minute off.
const BEFORE: u64 = 2;
const AFTER: u64 = 1;
/// Ages before the present one under whose SPIs an IKE SA may still come about: our wish for new keys, which names the SPI of the IKE SA to
/// come, waits for its answer for a minute and a half, and the peer may believe that this one is there already.
const BORN_BEFORE: u64 = 3;

/// Where in a name it stands who has given it.
const GIVER_SHIFT: u32 = UNITS.trailing_zeros();
/// Six bits for the member, and the low ones of its incarnation.
const GIVER_BITS: u32 = 6 + INCARNATION_BITS;
const INCARNATION_BITS: u32 = 4;
/// Which members there may be, in which lives.
const GIVERS: u64 = ((1 << GIVER_BITS) - 1) << GIVER_SHIFT;

/// Our SPIs of an IKE SA that somebody begins:
///
/// ```text
///   63  62    55 54           20 19    14 13         10 9      0
///  ┌───┬────────┬───────────────┬────────┬─────────────┬────────┐
///  │ 1 │  age   │     hash      │ member │ incarnation │  unit  │
///  └───┴────────┴───────────────┴────────┴─────────────┴────────┘
/// ```
/// The first names are for a new one, then come those that it may have got already. The same hash whenever the same message comes within
/// a minute or two, and never again: who has been shown the token of an SPI (`lost`) shall not see an IKE SA come about under it. And
/// nothing that anybody could foresee.
///
/// The hash alone finds it, whoever gave it. Two members that both believe to be the owner, on two sides of a split, answer one
/// message with two nonces and two keys: these are two IKE SAs, and the peer must be able to tell which one it has.
pub(super) fn names(key: hash::Key, unit: Unit, source: IpAddr, initiator: u64, clock_s: u64) -> [Names; 4] {
    let (_, source) = address_number(source);
    let now = clock_s / AGE_S;
    [now, now.wrapping_sub(1), now.wrapping_sub(BEFORE), now + AFTER].map(|age| {
        let hash = key.hash64([source as u64, (source >> 64) as u64, initiator, age]);
        let hash = hash & !(UNITS as u64 - 1) & !GIVERS & !(0xff << AGE_SHIFT);
        // Zero says that there is none.
        Names(hash | 1 << 63 | (age & 0xff) << AGE_SHIFT | u64::from(unit.number()))
    })
}

/// What members may call one IKE SA, in one age.
#[derive(Clone, Copy)]
pub(super) struct Names(u64);

impl Names {
    /// Whoever has given it. Of its unit there is nobody else's between these.
    pub(super) const fn all(self) -> RangeInclusive<u64> {
        self.0..=self.0 | GIVERS
    }

    /// What this member calls it in this life.
    pub(super) const fn given_by(self, member: MemberId, incarnation: u64) -> u64 {
        let life = incarnation & ((1 << INCARNATION_BITS) - 1);
        self.0 | ((member.number() as u64) << INCARNATION_BITS | life) << GIVER_SHIFT
    }
}

/// Whether an IKE SA may still come about under an SPI: that of who begins, or one that who speaks IKE has chosen. Those have their age in
/// them, too ([`crate::ipsec::gateway::Answer::successor`]).
pub const fn may_come_about(spi: u64, clock_s: u64) -> bool {
    let first = (clock_s / AGE_S).wrapping_sub(BORN_BEFORE) & 0xff;
    spi >> 63 == 1 && (spi >> AGE_SHIFT & 0xff).wrapping_sub(first) & 0xff <= BORN_BEFORE + AFTER
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::unit::MEMBER_NUMBER_MAX;

    fn message(initiator: u64, responder: u64, flags: u8) -> Vec<u8> {
        let [a, b] = [initiator, responder].map(u64::to_be_bytes);
        [&a[..], &b, &[33, 0x20, 34, flags, 0, 0, 0, 0, 0, 0, 0, 28]].concat()
    }

    #[test]
    fn whose_a_message_is() {
        for (initiator, responder, flags, expected) in [
            (7, 0, 0x08, Some(For::New(7))),
            (7, 9, 0x08, Some(For::Spi(9))),
            (7, 9, 0x28, Some(For::Spi(9))),
            (7, 9, 0x20, Some(For::Spi(7))),
            (7, 0, 0x00, Some(For::Spi(7))),
            (0, 9, 0x08, None),
        ] {
            assert_eq!(For::read(&message(initiator, responder, flags)), expected);
        }
        let sound = message(7, 0, 8);
        (0..28).for_each(|len| assert_eq!(For::read(&sound[..len]), None));
        assert_eq!(For::read(&[&sound[..], &[0]].concat()), None, "longer than it says");
        let old = [&sound[..17], &[0x10], &sound[18..]].concat();
        assert_eq!(For::read(&old), None, "IKEv1");
    }

    fn member(number: u8) -> MemberId {
        MemberId::new(number).unwrap()
    }

    #[test]
    fn a_name_has_its_unit_and_is_the_same_again() {
        let (unit, source) = (Unit::from_low_bits(77), "192.0.2.9".parse().unwrap());
        let key = |byte| hash::Key::new([byte; 16]);
        let given = |key, source, initiator| {
            names(key, unit, source, initiator, 1000).map(|names| names.given_by(member(3), 7))
        };
        let spi = given(key(1), source, 5)[0];
        assert_eq!((spi, spi % 1024), (given(key(1), source, 5)[0], 77));
        let others = [(key(2), source, 5), (key(1), source, 6), (key(1), "192.0.2.8".parse().unwrap(), 5)];
        for (key, source, initiator) in others {
            assert!(!given(key, source, initiator).contains(&spi));
        }
    }

    #[test]
    fn every_member_gives_another_name_and_all_are_found() {
        const { assert!((MEMBER_NUMBER_MAX as u32) < 1 << (GIVER_BITS - INCARNATION_BITS)) };
        let unit = Unit::from_low_bits(77);
        let names = names(hash::Key::new([1; 16]), unit, "192.0.2.9".parse().unwrap(), 5, 1000)[0];
        let lives = (1..=MEMBER_NUMBER_MAX).flat_map(|number| (20..36).map(move |life| (member(number), life)));
        let given: HashSet<u64> = lives.map(|(member, life)| names.given_by(member, life)).collect();
        assert_eq!(given.len(), usize::from(MEMBER_NUMBER_MAX) * 16);
        for spi in given {
            assert!(names.all().contains(&spi) && Unit::from_low_bits(spi as u32) == unit && may_come_about(spi, 1000));
        }
    }

    /// As long as a message may be repeated, by clocks that are a minute apart, its name is found; later it is never given again.
    #[test]
    fn a_name_is_given_for_a_while() {
        let (unit, source) = (Unit::from_low_bits(77), "192.0.2.9".parse().unwrap());
        let at = |clock_s| names(hash::Key::new([1; 16]), unit, source, 5, clock_s);
        let finds = |clock_s, spi| at(clock_s).iter().any(|names| names.all().contains(&spi));
        for begun_s in (1_000_000..1_000_128).chain(0..200).chain(16_384 - 100..16_384 + 100) {
            let spi = at(begun_s)[0].given_by(member(32), 9);
            for clock_s in begun_s.saturating_sub(60)..=begun_s + 90 {
                assert!(finds(clock_s, spi) && may_come_about(spi, clock_s), "{begun_s} {clock_s}");
            }
            for later_s in [begun_s + 4 * AGE_S, begun_s + 16_000, begun_s + 256 * AGE_S] {
                assert!(!finds(later_s, spi));
            }
            assert!(may_come_about(spi, begun_s + 160) && !may_come_about(spi, begun_s + 5 * AGE_S));
            assert!(!may_come_about(spi & !(1 << 63), begun_s));
        }
    }

    #[test]
    fn what_is_sealed_and_what_asks() {
        let of = |first, exchange, flags| {
            let mut it = [message(7, 9, flags), vec![1; 4]].concat();
            (it[16], it[18], it[27]) = (first, exchange, 32);
            it
        };
        for (first, exchange, flags, in_clear, asks) in [
            (46, 37, 0x08, false, true),
            (53, 35, 0x00, false, true),
            (46, 37, 0x28, false, false),
            (41, 37, 0x28, true, false),
            (0, 36, 0x08, true, false),
            (33, 34, 0x08, false, false),
            (46, 34, 0x08, false, false),
        ] {
            let it = of(first, exchange, flags);
            assert_eq!((is_in_clear(&it), head_of_request(&it).is_some()), (in_clear, asks), "{it:x?}");
        }
        let it = of(46, 37, 0x08);
        let head = head_of_request(&it).unwrap();
        assert_eq!((head[..16].to_vec(), head[16], head[17..24].to_vec()), (it[..16].to_vec(), 0, it[17..24].to_vec()));
        assert_eq!(head[24..], [0, 0, 0, 28]);
        (0..HEADER_LEN).for_each(|len| assert_eq!(head_of_request(&it[..len]), None));
    }
}
