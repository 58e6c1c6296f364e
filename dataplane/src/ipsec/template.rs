//! The outer header of a tunnel over IPv4, all but what is different in each packet written once, and most of its checksum summed up
//! once: what [`super::outer`] writes, for packets that nothing is odd about.

use std::net::IpAddr;

use super::ecn;
use super::outer::{DontFragment, Outer};
use crate::wire::{checksum, ipv4, proto};

const LEN: usize = ipv4::HEADER_LEN;
const TOS_AT: usize = 1;
const FRAGMENT_AT: usize = 6;
const TTL_AT: usize = 8;
const CHECKSUM_AT: usize = 10;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Template {
    header: [u8; LEN],
    sum: u32,
    dscp: Option<u8>,
    dont_fragment: DontFragment,
}

impl Template {
    /// None: it is over IPv6, or in UDP.
    pub(super) const fn of(outer: &Outer) -> Option<Self> {
        let (IpAddr::V4(source), IpAddr::V4(destination), None) = (outer.source, outer.destination, outer.udp) else {
            return None;
        };
        let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
        let header = [0x45, 0, 0, 0, 0, 0, 0, 0, outer.hop_limit, proto::ESP, 0, 0, a, b, c, d, e, f, g, h];
        let (mut sum, mut at) = (0, 0);
        while at < LEN {
            sum += (header[at] as u32) << 8 | header[at + 1] as u32;
            at += 2;
        }
        Some(Self { header, sum, dscp: outer.dscp, dont_fragment: outer.dont_fragment })
    }

    /// Writes the header of a packet of `len` bytes around this one, which has a sound IPv4 header, and makes that one a hop older.
    /// None: it has no hop left.
    #[inline]
    pub(super) fn write(&self, place: &mut [u8; LEN], len: u16, inner: &mut [u8; LEN], id: u16) -> Option<()> {
        let hop = u16::from_be_bytes([inner[TTL_AT], inner[TTL_AT + 1]]);
        inner[TTL_AT] = inner[TTL_AT].checked_sub(1).filter(|left| *left > 0)?;
        let sum = u16::from_be_bytes([inner[CHECKSUM_AT], inner[CHECKSUM_AT + 1]]);
        let sum = checksum::update(sum, hop, hop.wrapping_sub(0x100));
        [inner[CHECKSUM_AT], inner[CHECKSUM_AT + 1]] = sum.to_be_bytes();
        let tos = self.dscp.map_or(inner[TOS_AT], |dscp| dscp << 2 | inner[TOS_AT] & ecn::MASK);
        let whole = match self.dont_fragment {
            DontFragment::Copy => inner[FRAGMENT_AT] & (ipv4::DONT_FRAGMENT >> 8) as u8 != 0,
            DontFragment::Set => true,
            DontFragment::Clear => false,
        };
        let (id, fragment) = if whole { (0, ipv4::DONT_FRAGMENT) } else { (id, 0) };
        let sum = self.sum + u32::from(tos) + u32::from(len) + u32::from(id) + u32::from(fragment);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        *place = self.header;
        place[TOS_AT] = tos;
        [place[2], place[3]] = len.to_be_bytes();
        [place[4], place[5]] = id.to_be_bytes();
        [place[6], place[7]] = fragment.to_be_bytes();
        [place[CHECKSUM_AT], place[CHECKSUM_AT + 1]] = sum.to_be_bytes();
        Some(())
    }
}
