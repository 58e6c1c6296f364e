//! Work units and member numbers: the two keys that every part of the system shares.

use std::fmt;
use std::num::NonZeroU8;

/// How many work units a cluster has (patent: "a number between 0 and 1023").
pub const UNITS: usize = 1024;

/// A work unit, `0..UNITS`: the key by which work is shared between members and between the cores of one member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(u16);

impl Unit {
    /// The unit with this number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < UNITS { Some(Self(number)) } else { None }
    }

    /// The unit that the low ten bits of `bits` name: how hashes are folded, never fails.
    pub const fn from_low_bits(bits: u32) -> Self {
        Self((bits & (UNITS as u32 - 1)) as u16)
    }

    /// This unit's number, `0..UNITS`.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// This unit's number as an index into a table of `UNITS` entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All units, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        (0..UNITS as u16).map(Self)
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The highest member number that a cluster may use, and so the most members that it may have.
pub const MEMBER_NUMBER_MAX: u8 = 32;

/// A member's number, `1..=MEMBER_NUMBER_MAX`, fixed by its certificate for as long as that lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(NonZeroU8);

impl MemberId {
    /// The member with this number, if the number is allowed.
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(n) if number <= MEMBER_NUMBER_MAX => Some(Self(n)),
            _ => None,
        }
    }

    /// This member's number.
    pub const fn number(self) -> u8 {
        self.0.get()
    }

    /// This member's place in a table of `MEMBER_NUMBER_MAX` entries.
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
