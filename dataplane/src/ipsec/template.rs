//! The outer header of a tunnel over IPv4, all but what is different in each packet written once, and most of its checksum summed up
//! once: what [`super::outer`] writes, for packets that nothing is odd about.
//!
//! Headers are handled as numbers, as they are loaded from memory: the lowest byte is the first one.

use std::net::IpAddr;

use super::ecn;
use super::encap::Name;
use super::outer::{DontFragment, Outer};
use crate::wire::{self, ipv4, proto};

const LEN: usize = ipv4::HEADER_LEN;
/// "Don't fragment", in the first eight bytes.
const WHOLE: u64 = ((ipv4::DONT_FRAGMENT >> 8) as u64) << 48;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Template {
    /// Eight, eight and four bytes.
    header: (u64, u64, u32),
    sum: u32,
    /// What counts of an inner header's first eight bytes, and what is there in any case: TOS and "don't fragment".
    kept: u64,
    given: u64,
}

impl Template {
    /// None: it is over IPv6, or in UDP.
    pub(super) const fn of(outer: &Outer) -> Option<Self> {
        let (IpAddr::V4(source), IpAddr::V4(destination), None) = (outer.source, outer.destination, outer.udp) else {
            return None;
        };
        let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
        let header = (
            u64::from_le_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]),
            u64::from_le_bytes([outer.hop_limit, proto::ESP, 0, 0, a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        let sum = words(header.0) + words(header.1) + words(header.2 as u64);
        let (tos_kept, tos_given) = match outer.dscp {
            Some(dscp) => (ecn::MASK, dscp << 2),
            None => (u8::MAX, 0),
        };
        let (whole_kept, whole_given) = match outer.dont_fragment {
            DontFragment::Copy => (WHOLE, 0),
            DontFragment::Set => (0, WHOLE),
            DontFragment::Clear => (0, 0),
        };
        let (kept, given) = ((tos_kept as u64) << 8 | whole_kept, (tos_given as u64) << 8 | whole_given);
        Some(Self { header, sum, kept, given })
    }

    /// Writes the header of a packet of `len` bytes around this one, which has a sound IPv4 header, and makes that one a hop older.
    /// None: it has no hop left.
    #[inline]
    pub(super) fn write(&self, place: &mut [u8; LEN], len: u16, inner: &mut [u8; LEN], name: Name) -> Option<()> {
        let own = u64::from_le_bytes(inner.as_chunks().0[0]) & self.kept | self.given;
        wire::age_v4(inner).then_some(())?;
        let id = if own & WHOLE == 0 { name.id } else { name.unit };
        let (first, second, third) = self.header;
        let (len, id) = (u64::from(len.swap_bytes()), u64::from(id.swap_bytes()));
        // Of numbers as they lie in memory: the sum of exchanged bytes is the sum with its bytes exchanged (RFC 1071).
        let sum = u64::from(self.sum) + (own & 0xffff) + len + id + (own >> 48);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !(sum + (sum >> 16)) & 0xffff;
        let first = first | own | len << 16 | id << 32;
        let second = second | sum << 16;
        place[..8].copy_from_slice(&first.to_le_bytes());
        place[8..16].copy_from_slice(&second.to_le_bytes());
        place[16..].copy_from_slice(&third.to_le_bytes());
        Some(())
    }
}

/// Its four words, summed up.
const fn words(number: u64) -> u32 {
    (number as u16) as u32 + (number >> 16) as u16 as u32 + (number >> 32) as u16 as u32 + (number >> 48) as u16 as u32
}
