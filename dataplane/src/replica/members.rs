//! A set of members, as one word.

use std::fmt;

use crate::unit::{MEMBER_NUMBER_MAX, MemberId};

/// A set of members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MemberSet(u32);

const _: () = assert!(MEMBER_NUMBER_MAX as u32 <= u32::BITS);

impl MemberSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);

    /// This one alone.
    pub const fn of(member: MemberId) -> Self {
        Self(1 << member.index())
    }

    /// The set with these bits, member 1 lowest.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits, member 1 lowest.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether nobody is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the member is in it.
    pub const fn contains(self, member: MemberId) -> bool {
        self.0 >> member.index() & 1 == 1
    }

    /// Takes a member in.
    pub const fn insert(&mut self, member: MemberId) {
        self.0 |= 1 << member.index();
    }

    /// Puts a member out.
    pub const fn remove(&mut self, member: MemberId) {
        self.0 &= !(1 << member.index());
    }

    /// Who is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Who is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Who is in this one but not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The members, by number.
    pub fn iter(self) -> impl Iterator<Item = MemberId> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let index = bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
            MemberId::new(index as u8 + 1).filter(|_| index < u32::BITS)
        })
    }
}

impl FromIterator<MemberId> for MemberSet {
    fn from_iter<I: IntoIterator<Item = MemberId>>(members: I) -> Self {
        members.into_iter().fold(Self::EMPTY, |set, member| set.union(Self::of(member)))
    }
}

impl fmt::Debug for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
