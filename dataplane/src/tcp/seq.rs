//! Sequence numbers as they stand on the wire, and positions: the same without wrapping.
//!
//! A *position* counts a direction's sequence space from its SYN: 0 is the SYN, 1 the first byte, then every byte, at
//! last the FIN. Endpoints reckon with positions only, so nothing but [`Seq::since`] knows that 32 bits wrap (RFC 9293
//! section 3.4).

use std::fmt;

/// A sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

/// A place in a direction's sequence space; the SYN is 0. Negative ones are before the connection.
pub type Pos = i64;

impl Seq {
    /// The sequence number of a position, if this one is the SYN's.
    #[inline]
    pub const fn at(self, pos: Pos) -> Self {
        Self(self.0.wrapping_add(pos as u32))
    }

    /// This number plus `n`.
    #[inline]
    pub const fn plus(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// How far this number is past `other`; negative if it is before it.
    #[inline]
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// Whether this number comes before `other`.
    #[inline]
    pub const fn is_before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// The position that this number means near the position `near`, if the SYN has the number `first`.
    #[inline]
    pub const fn pos(self, first: Self, near: Pos) -> Pos {
        near.saturating_add(self.since(first.at(near)) as Pos)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
