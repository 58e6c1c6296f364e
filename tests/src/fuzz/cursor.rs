//! Reads a script of operations out of any bytes: past the end everything is zero, and [`Cursor::is_empty`] ends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phalanx_dataplane::unit::MemberId;

pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many bytes as there are, at most this many.
    pub(super) fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(super) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Mostly a small number; now and then one at the upper end, where sums overflow.
    pub(super) fn number(&mut self) -> u64 {
        match self.u8() {
            small @ 0..240 => u64::from(small),
            high => u64::MAX - u64::from(255 - high),
        }
    }

    /// One of the first `most` members.
    pub(super) fn member(&mut self, most: u8) -> MemberId {
        member(1 + self.u8() % most)
    }

    /// One of a few addresses.
    pub(super) fn ip(&mut self) -> IpAddr {
        let choice = self.u8();
        let host = u16::from(choice >> 1);
        if choice & 1 == 0 {
            Ipv4Addr::new(10, 1, 0, host as u8).into()
        } else {
            Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, host).into()
        }
    }
}

/// The member with this number; the caller knows that it is one.
pub(super) fn member(number: u8) -> MemberId {
    MemberId::new(number).expect("a member number")
}
