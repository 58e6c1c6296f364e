//! The first look at a burst: which packets are ordinary, and whose unit they are.
//!
//! Ordinary: IPv4 without options, untagged, addressed to this port (or to the cluster's shared address), intact, not
//! ICMP, between hosts that are none of ours. For those, everything that Figure 9 asks is in the addresses. All others
//! take the careful way, one by one. Nothing here drops a packet: what is odd is merely not ordinary.
//!
//! Three passes. The first gathers the words that matter into one array each, packet by packet. The second judges and
//! hashes all packets at once, on whole arrays and without a branch, compiled for the widest registers that the
//! processor has ([`dpdk::simd`]). The third looks up one byte per packet in the table of codes.

use dpdk::{Burst, Mbuf};

use super::addresses::{Addresses, filter_place};
use crate::filter::Filter;
use crate::parse::is_plain_host;
use crate::steer::code;
use crate::unit::{UNITS, Unit};
use crate::wire::{ipv4, proto};

/// How many packets are looked at together.
pub const BURST: usize = 32;

/// The places of all packets of a burst.
pub(super) const EACH: [u8; BURST] = {
    let mut places = [0; BURST];
    let mut i = 0;
    while i < BURST {
        places[i] = i as u8;
        i += 1;
    }
    places
};

/// How far ahead of the packet in hand the next ones' headers are fetched into the cache.
const AHEAD: usize = 4;

/// Ethernet and IPv4 header: what the look needs of a frame.
const HEAD: usize = 34;

/// What the first look needs to know of a port.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    own: (u32, u32),
    shared: (u32, u32),
    open: bool,
}

/// A hardware address as two numbers, as they are loaded from a frame.
fn mac_numbers([a, b, c, d, e, f]: [u8; 6]) -> (u32, u32) {
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]))
}

impl Gate {
    /// A port with this address, beside the cluster's shared one. A port with a VLAN has no ordinary packets.
    pub fn new(own: [u8; 6], shared: Option<[u8; 6]>, tagged: bool) -> Self {
        Self { own: mac_numbers(own), shared: mac_numbers(shared.unwrap_or(own)), open: !tagged }
    }
}

/// One number of each packet of a burst.
#[repr(align(64))]
struct Column([u32; BURST]);

impl Column {
    const ZERO: Self = Self([0; BURST]);
}

/// What is gathered from the frames, as it lies there: the names say which bytes.
struct Gathered {
    len: Column,
    bytes_0_4: Column,
    bytes_4_6: Column,
    bytes_12_14: Column,
    bytes_14_18: Column,
    bytes_18_22: Column,
    bytes_22_26: Column,
    bytes_26_30: Column,
    bytes_30_34: Column,
}

impl Gathered {
    const EMPTY: Self = Self {
        len: Column::ZERO,
        bytes_0_4: Column::ZERO,
        bytes_4_6: Column::ZERO,
        bytes_12_14: Column::ZERO,
        bytes_14_18: Column::ZERO,
        bytes_18_22: Column::ZERO,
        bytes_22_26: Column::ZERO,
        bytes_26_30: Column::ZERO,
        bytes_30_34: Column::ZERO,
    };

    /// Gathers one frame's words. One that is too short leaves the place as it was, with a length of nothing.
    #[inline(always)]
    fn put(&mut self, i: usize, frame: &[u8]) {
        let Some(head) = frame.first_chunk::<HEAD>() else {
            self.len.0[i] = 0;
            return;
        };
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let half = |at: usize| u32::from(u16::from_le_bytes([head[at], head[at + 1]]));
        self.len.0[i] = frame.len() as u32;
        self.bytes_0_4.0[i] = word(0);
        self.bytes_4_6.0[i] = half(4);
        self.bytes_12_14.0[i] = half(12);
        self.bytes_14_18.0[i] = word(14);
        self.bytes_18_22.0[i] = word(18);
        self.bytes_22_26.0[i] = word(22);
        self.bytes_26_30.0[i] = word(26);
        self.bytes_30_34.0[i] = word(30);
    }

    /// Source and destination.
    #[inline(always)]
    fn addresses(&self, i: usize) -> (u32, u32) {
        (self.bytes_26_30.0[i].swap_bytes(), self.bytes_30_34.0[i].swap_bytes())
    }

    /// Whether a packet is odd (1) or ordinary (0), but for addresses of ours.
    #[inline(always)]
    fn is_odd(&self, i: usize, gate: &Gate) -> u32 {
        let to = (self.bytes_0_4.0[i], self.bytes_4_6.0[i]);
        let for_us =
            ((to.0 == gate.own.0) & (to.1 == gate.own.1)) | ((to.0 == gate.shared.0) & (to.1 == gate.shared.1));
        // EtherType 0x0800; version 4 and five words of header; not ICMP.
        let words = [self.bytes_14_18.0[i], self.bytes_18_22.0[i], self.bytes_22_26.0[i]];
        let plain = (self.bytes_12_14.0[i] == 0x0008) & (words[0] & 0xff == 0x45);
        let plain = plain & (words[2] >> 8 & 0xff != u32::from(proto::ICMP));
        let total_len = ip_len(words[0]);
        let fits = (total_len >= 20) & (total_len + 14 <= self.len.0[i]);
        let (src, dst) = (self.bytes_26_30.0[i], self.bytes_30_34.0[i]);
        let sum: u32 = words.into_iter().chain([src, dst]).map(|w| (w & 0xffff) + (w >> 16)).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let intact = (folded & 0xffff) + (folded >> 16) == 0xffff;
        let hosts = is_plain_host(src.swap_bytes()) & is_plain_host(dst.swap_bytes());
        u32::from(!(gate.open & for_us & plain & fits & intact & hosts))
    }
}

/// The total length in the first word of an IPv4 header.
#[inline(always)]
fn ip_len(word: u32) -> u32 {
    word >> 8 & 0xff00 | word >> 24
}

/// The arrays of one burst.
pub struct Look {
    gathered: Gathered,
    odd: Column,
    src: Column,
    dst: Column,
    src_place: Column,
    dst_place: Column,
    /// Units of ordinary packets.
    pub units: [Unit; BURST],
    /// What to do: a [`code`]; [`code::SLOW`] for what is not ordinary as well.
    pub codes: [u8; BURST],
    /// Bytes of the whole burst.
    pub bytes: u64,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            gathered: Gathered::EMPTY,
            odd: Column::ZERO,
            src: Column::ZERO,
            dst: Column::ZERO,
            src_place: Column::ZERO,
            dst_place: Column::ZERO,
            units: [Unit::from_low_bits(0); BURST],
            codes: [code::SLOW; BURST],
            bytes: 0,
        }
    }
}

impl Look {
    /// The destinations of ordinary packets.
    #[inline(always)]
    pub fn destinations(&self) -> &[u32; BURST] {
        &self.dst.0
    }

    /// The word of TTL, protocol and checksum as it lies in the frame, and the length of the IP packet.
    #[inline(always)]
    pub(super) fn ttl_word(&self, i: usize) -> (u32, u32) {
        (self.gathered.bytes_22_26.0[i], ip_len(self.gathered.bytes_14_18.0[i]))
    }

    /// How long a frame is.
    #[inline(always)]
    pub(super) fn frame_len(&self, i: usize) -> u32 {
        self.gathered.len.0[i]
    }

    /// Whether a packet is not ordinary, for what its frame says.
    #[inline(always)]
    pub(super) fn is_odd(&self, i: usize) -> bool {
        self.odd.0[i] != 0
    }

    /// Source and destination.
    #[inline(always)]
    pub(super) fn hosts(&self, i: usize) -> Option<(u32, u32)> {
        Some((*self.src.0.get(i)?, *self.dst.0.get(i)?))
    }

    /// Whether an address of a packet might be one of ours.
    #[inline(always)]
    pub(super) fn is_near(&self, i: usize, addresses: &Addresses) -> bool {
        addresses.filter_at(self.src_place.0[i]) | addresses.filter_at(self.dst_place.0[i]) != 0
    }

    /// Whether an ordinary packet is ESP, and no fragment of some.
    #[inline(always)]
    pub(super) fn is_whole_esp(&self, i: usize) -> bool {
        let fragment = ((self.gathered.bytes_18_22.0[i] >> 16) as u16).swap_bytes();
        let proto = self.gathered.bytes_22_26.0[i] >> 8 & 0xff;
        proto == u32::from(proto::ESP) && fragment & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) == 0
    }

    /// Whether an ordinary packet may go one hop further.
    #[inline(always)]
    pub(super) fn has_hops(&self, i: usize) -> bool {
        self.gathered.bytes_22_26.0[i] & 0xff > 1
    }

    /// Looks at a burst; answers the code that all its packets have, if they have one.
    #[inline]
    pub fn at(
        &mut self,
        burst: &Burst<BURST>,
        gate: &Gate,
        addresses: &Addresses,
        filter: &Filter,
        codes: &[u8; UNITS],
    ) -> Option<u8> {
        self.see(burst, gate, filter);
        let (mut any, mut all) = (0, !0);
        for i in 0..burst.len().min(BURST) {
            let near = addresses.filter_at(self.src_place.0[i]) | addresses.filter_at(self.dst_place.0[i]);
            let ours = near != 0 && addresses.have_either(self.src.0[i], self.dst.0[i]);
            let code = if self.odd.0[i] == 0 && !ours { codes[self.units[i].index() % UNITS] } else { code::SLOW };
            self.codes[i] = code;
            any |= code;
            all &= code;
        }
        (any == all).then_some(any)
    }

    /// Looks at a burst; what to do is for somebody else to say.
    #[inline]
    pub(super) fn see(&mut self, burst: &Burst<BURST>, gate: &Gate, filter: &Filter) {
        self.gather(burst);
        dpdk::simd::widest(Judge { look: self, gate, filter });
    }

    #[inline]
    fn gather(&mut self, burst: &Burst<BURST>) {
        burst.iter().take(AHEAD).for_each(Mbuf::prefetch);
        // In a register: a sum in memory would make each packet wait for the one before it.
        let mut bytes = 0;
        for (i, mbuf) in burst.iter().enumerate().take(BURST) {
            if let Some(next) = burst.get(i + AHEAD) {
                next.prefetch();
            }
            bytes += u64::from(mbuf.pkt_len());
            self.gathered.put(i, mbuf.data());
        }
        self.bytes = bytes;
    }
}

/// The second pass. It always covers all places: those beyond the burst hold what an earlier one left.
struct Judge<'a> {
    look: &'a mut Look,
    gate: &'a Gate,
    filter: &'a Filter,
}

impl dpdk::simd::Work for Judge<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Look { gathered, odd, src, dst, src_place, dst_place, units, .. } = self.look;
        let gate = *self.gate;
        for i in 0..BURST {
            odd.0[i] = gathered.is_odd(i, &gate);
        }
        for i in 0..BURST {
            (src.0[i], dst.0[i]) = gathered.addresses(i);
            src_place.0[i] = filter_place(src.0[i]);
            dst_place.0[i] = filter_place(dst.0[i]);
        }
        self.filter.units4(&src.0, &dst.0, units);
    }
}

/// Source and destination of an ordinary frame.
#[cfg(test)]
fn ordinary(frame: &[u8], gate: &Gate) -> Option<(u32, u32)> {
    let mut gathered = Gathered::EMPTY;
    gathered.put(0, frame);
    (gathered.is_odd(0, gate) == 0).then_some(gathered.addresses(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise;
    use proptest::prelude::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(src: u32, dst: u32, extra: usize) -> Vec<u8> {
        let repr = crate::wire::ipv4::Repr {
            tos: 0,
            id: 1,
            fragment: 0,
            ttl: 64,
            protocol: 17,
            source: src.into(),
            destination: dst.into(),
            payload_len: extra as u16,
        };
        let mut frame = vec![0; 34 + extra];
        frame[..6].copy_from_slice(&OWN);
        frame[12..14].copy_from_slice(&[8, 0]);
        repr.emit(&mut frame[14..]).expect("room");
        frame
    }

    proptest! {
        /// What is ordinary, the careful parser takes as well, and sees the same.
        #[test]
        fn ordinary_agrees_with_the_parser(src: u32, dst: u32, extra in 0..40usize, flips in prop::collection::vec((0..40usize, 0..8u8), 0..3)) {
            let mut frame = frame(src, dst, extra);
            for (at, bit) in flips {
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            if let Some((src, dst)) = ordinary(&frame, &Gate::new(OWN, None, false)) {
                let summary = summarise(&frame, None).expect("the parser takes it");
                prop_assert_eq!((summary.src, summary.dst), (u128::from(src), u128::from(dst)));
                prop_assert!(!summary.is_link_local() && !summary.is_to_group());
                prop_assert_eq!(usize::from(summary.l4_offset), 34);
            }
        }
    }

    #[test]
    fn plain_packets_are_ordinary_and_others_are_not() {
        let gate = Gate::new(OWN, Some([2, 0x50, 0x48, 0, 0, 1]), false);
        let plain = frame(0x0a02_0064, 0x0a03_0064, 10);
        assert_eq!(ordinary(&plain, &gate), Some((0x0a02_0064, 0x0a03_0064)));
        assert_eq!(ordinary(&plain, &Gate::new(OWN, None, true)), None);
        let mut shared = plain.clone();
        shared[..6].copy_from_slice(&[2, 0x50, 0x48, 0, 0, 1]);
        assert!(ordinary(&shared, &gate).is_some());
        shared[5] = 2;
        assert!(ordinary(&shared, &gate).is_none());
        for dst in [0x7f00_0001, 0xe000_0001, 0xffff_ffff, 0xa9fe_0001, 0] {
            assert_eq!(ordinary(&frame(0x0a02_0064, dst, 10), &gate), None, "{dst:x}");
        }
        assert_eq!(ordinary(&plain[..30], &gate), None);
        assert_eq!(ordinary(&plain[..40], &gate), None);
    }
}
