//! The first look at a burst: which packets are ordinary, and whose unit they are.
//!
//! Ordinary: IPv4 without options, untagged, addressed to this port (or to the cluster's shared address), intact, not
//! ICMP, between hosts that are none of ours. For those, everything that Figure 9 asks is in the addresses; they
//! are gathered into arrays, hashed together, and looked up in the table of codes. All others take the careful way,
//! one by one. Nothing here drops a packet: what is odd is merely not ordinary.

use dpdk::{Burst, Mbuf};

use super::addresses::Addresses;
use crate::filter::Filter;
use crate::steer::code;
use crate::unit::{UNITS, Unit};

/// How many packets are looked at together.
pub const BURST: usize = 32;

/// How far ahead of the packet in hand the next ones' headers are fetched into the cache.
const AHEAD: usize = 4;

const MAC_MASK: u64 = 0x0000_ffff_ffff_ffff;

/// What the first look needs to know of a port.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    own: u64,
    shared: u64,
    open: bool,
}

/// A hardware address as a number, for one comparison.
fn mac_number(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Gate {
    /// A port with this address, beside the cluster's shared one. A port with a VLAN has no ordinary packets.
    pub fn new(own: [u8; 6], shared: Option<[u8; 6]>, tagged: bool) -> Self {
        Self { own: mac_number(own), shared: mac_number(shared.unwrap_or(own)), open: !tagged }
    }
}

/// The arrays of one burst.
pub struct Look {
    src: [u32; BURST],
    /// Destinations of ordinary packets.
    pub dst: [u32; BURST],
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
            src: [0; BURST],
            dst: [0; BURST],
            units: [Unit::from_low_bits(0); BURST],
            codes: [code::SLOW; BURST],
            bytes: 0,
        }
    }
}

impl Look {
    /// Looks at a burst; answers how many packets of it are ordinary and not ours.
    #[inline]
    pub fn at(
        &mut self,
        burst: &Burst<BURST>,
        gate: &Gate,
        addresses: &Addresses,
        filter: &Filter,
        codes: &[u8; UNITS],
    ) -> usize {
        self.read(burst, gate, addresses);
        filter.units4(&self.src, &self.dst, &mut self.units);
        let mut drops = 0;
        for i in 0..burst.len().min(BURST) {
            if self.codes[i] != code::SLOW {
                self.codes[i] = codes[self.units[i].index()];
                drops += usize::from(self.codes[i] == code::DROP);
            }
        }
        drops
    }

    #[inline]
    fn read(&mut self, burst: &Burst<BURST>, gate: &Gate, addresses: &Addresses) {
        burst.iter().take(AHEAD).for_each(Mbuf::prefetch);
        self.bytes = 0;
        for (i, mbuf) in burst.iter().enumerate().take(BURST) {
            if let Some(next) = burst.get(i + AHEAD) {
                next.prefetch();
            }
            self.bytes += u64::from(mbuf.pkt_len());
            self.codes[i] = match ordinary(mbuf.data(), gate) {
                Some((src, dst)) if !(addresses.may_be_ours(dst.into()) | addresses.may_be_ours(src.into())) => {
                    (self.src[i], self.dst[i]) = (src, dst);
                    code::DROP
                }
                _ => code::SLOW,
            };
        }
    }
}

/// Source and destination of an ordinary frame.
#[inline(always)]
fn ordinary(frame: &[u8], gate: &Gate) -> Option<(u32, u32)> {
    let head: &[u8; 34] = frame.first_chunk()?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let to = u64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]]) & MAC_MASK;
    let for_us = (to == gate.own) | (to == gate.shared);
    let is_plain_ipv4 = (word(12) & 0xffff_ff00) == 0x0800_4500 && head[23] != crate::wire::proto::ICMP;
    let total_len = usize::from(u16::from_be_bytes([head[16], head[17]]));
    let fits = total_len >= 20 && total_len + 14 <= frame.len();
    let (src, dst) = (word(26), word(30));
    let sum = [14, 18, 22, 26, 30].iter().map(|at| u64::from(word(*at))).sum::<u64>();
    let folded = (sum >> 32) + (sum & 0xffff_ffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    let intact = folded == 0xffff;
    let all = gate.open & for_us & is_plain_ipv4 & fits & intact & is_plain_host(src) & is_plain_host(dst);
    all.then_some((src, dst))
}

/// Neither this-network, loopback, link-local, a group nor reserved.
#[inline(always)]
fn is_plain_host(address: u32) -> bool {
    let top = address >> 24;
    (top != 0) & (top != 127) & (top < 224) & (address >> 16 != 0xa9fe)
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
