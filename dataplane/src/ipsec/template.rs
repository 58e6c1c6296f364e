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
        let first = u64::from_le_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]);
        let second = u64::from_le_bytes([outer.hop_limit, proto::ESP, 0, 0, a, b, c, d]);
        let words = [0x4500, (outer.hop_limit as u16) << 8 | proto::ESP as u16];
        let words = [words[0], words[1], pair(a, b), pair(c, d), pair(e, f), pair(g, h)];
        let (mut sum, mut at) = (0, 0);
        while at < words.len() {
            sum += words[at] as u32;
            at += 1;
        }
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
        Some(Self { header: (first, second, u32::from_le_bytes([e, f, g, h])), sum, kept, given })
    }

    /// Writes the header of a packet of `len` bytes around this one, which has a sound IPv4 header, and makes that one a hop older.
    /// None: it has no hop left.
    #[inline]
    pub(super) fn write(&self, place: &mut [u8; LEN], len: u16, inner: &mut [u8; LEN], name: Name) -> Option<()> {
        let [a, b, c, d, e, f, g, h, ..] = *inner;
        let own = u64::from_le_bytes([a, b, c, d, e, f, g, h]) & self.kept | self.given;
        wire::age_v4(inner).then_some(())?;
        let id = if own & WHOLE == 0 { name.id } else { name.unit };
        let sum = self.sum + (own >> 8 & 0xff) as u32 + u32::from(len) + u32::from(id) + (own >> 40 & 0xff00) as u32;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        let (first, second, third) = self.header;
        let first = first | own | u64::from(len.swap_bytes()) << 16 | u64::from(id.swap_bytes()) << 32;
        let second = second | u64::from(sum.swap_bytes()) << 16;
        place[..8].copy_from_slice(&first.to_le_bytes());
        place[8..16].copy_from_slice(&second.to_le_bytes());
        place[16..].copy_from_slice(&third.to_le_bytes());
        Some(())
    }
}

const fn pair(high: u8, low: u8) -> u16 {
    (high as u16) << 8 | low as u16
}
