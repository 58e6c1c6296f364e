//! The plainest of packets, seen at a glance: IPv4 without options, whole and intact, between hosts. All others are for
//! [`super::summarise_l3`], which finds the same in these.

use crate::wire::checksum::Sum;
use crate::wire::ipv4;

/// What a fragment has in its second word, as loaded from memory: in its upper half.
const FRAGMENT: u32 = (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK).swap_bytes() as u32;

/// What a glance finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainV4 {
    /// Source.
    pub src: u32,
    /// Destination.
    pub dst: u32,
    /// Length of the packet, header included.
    pub len: u16,
    /// DSCP and ECN.
    pub tos: u8,
}

/// Glances at an IP packet, behind which the buffer may go on. None: it is to be looked at more closely.
#[inline]
pub fn plain_v4(packet: &[u8]) -> Option<PlainV4> {
    let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
    // As loaded from memory: a checksum does not ask for the order of bytes (RFC 1071).
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let words = [word(0), word(4), word(8), word(12), word(16)];
    let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
    let [src, dst] = [words[3], words[4]].map(u32::swap_bytes);
    let len = ((words[0] >> 16) as u16).swap_bytes();
    let fits = (ipv4::HEADER_LEN..=packet.len()).contains(&usize::from(len));
    let whole = words[1] >> 16 & FRAGMENT == 0;
    let hosts = is_plain_host(src) & is_plain_host(dst);
    let plain = (words[0] & 0xff == 0x45) & fits & whole & Sum::of(sum).is_valid() & hosts;
    plain.then_some(PlainV4 { src, dst, len, tos: (words[0] >> 8) as u8 })
}

/// Neither this-network, loopback, link-local, a group nor reserved.
#[inline(always)]
pub(crate) fn is_plain_host(address: u32) -> bool {
    let top = address >> 24;
    (top != 0) & (top != 127) & (top < 224) & (address >> 16 != 0xa9fe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise_l3;
    use proptest::prelude::*;

    proptest! {
        /// What is plain, the careful parser takes as well, and sees the same.
        #[test]
        fn a_glance_agrees_with_the_parser(
            src: u32, dst: u32, tos: u8, fragment: u16, fragments: bool, extra in 0..40_u16, behind in 0..8_usize,
            flips in prop::collection::vec((0..60_usize, 0..8_u8), 0..3),
        ) {
            let (source, destination) = (src.into(), dst.into());
            let repr = ipv4::Repr { tos, id: 1, fragment: if fragments { fragment } else { ipv4::DONT_FRAGMENT }, ttl: 64, protocol: 17, source, destination, payload_len: extra };
            let mut packet = vec![0; ipv4::HEADER_LEN + usize::from(extra) + behind];
            repr.emit(&mut packet).expect("room");
            let untouched = flips.is_empty();
            for (at, bit) in flips {
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            let parsed = summarise_l3(&packet);
            match plain_v4(&packet) {
                Some(plain) => {
                    let summary = parsed.expect("the parser takes it");
                    prop_assert_eq!((summary.src, summary.dst), (u128::from(plain.src), u128::from(plain.dst)));
                    prop_assert_eq!((summary.l3_end, summary.l4_offset), (plain.len, 20));
                    prop_assert!(!summary.is_link_local() && !summary.is_to_group());
                }
                None => prop_assert!(!untouched || fragments || !is_plain_host(src) || !is_plain_host(dst)),
            }
        }
    }
}
