//! The MSS of TCP through tunnels: what both ends say in their SYNs is made no more than what the tunnel takes, so that their segments
//! fit even where nobody hears of packets that are too big (RFC 4459 section 3.2).

use crate::parse::{Family, Summary};
use crate::wire::{bytes, checksum, ipv4, ipv6, proto, tcp};

/// Options that are one byte.
const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: usize = 4;
const FLAGS_AT: usize = 13;
const CHECKSUM_AT: usize = 16;

/// Whether an IP packet, which `summary` is of, is a SYN: the others have no MSS.
#[inline]
pub(super) fn is_syn(packet: &[u8], summary: &Summary) -> bool {
    summary.proto == proto::TCP
        && summary.fragment_offset == 0
        && bytes::u8_at(packet, segment_at(summary) + FLAGS_AT) & tcp::FLAG_SYN != 0
}

/// The same of an IPv4 packet that nobody has looked at.
#[inline]
pub(super) fn is_syn_v4(packet: &[u8]) -> bool {
    const FRAGMENT_AT: usize = 6;
    const PROTOCOL_AT: usize = 9;
    let header_len = || usize::from(bytes::u8_at(packet, 0) & 0xf) * 4;
    bytes::u8_at(packet, PROTOCOL_AT) == proto::TCP
        && bytes::u8_at(packet, header_len() + FLAGS_AT) & tcp::FLAG_SYN != 0
        && bytes::u16_at(packet, FRAGMENT_AT) & ipv4::OFFSET_MASK == 0
}

fn segment_at(summary: &Summary) -> usize {
    usize::from(summary.l4_offset.saturating_sub(summary.l3_offset))
}

/// Lowers the MSS of a SYN so that segments are packets of no more than `mtu`.
pub(super) fn clamp(packet: &mut [u8], summary: &Summary, mtu: usize) {
    if !is_syn(packet, summary) {
        return;
    }
    let Some(segment) = packet.get_mut(segment_at(summary)..) else { return };
    let Ok(header) = tcp::Packet::new_checked(&*segment) else { return };
    let Some(mss_at) = mss_at(segment.get(..header.header_len()).unwrap_or_default()) else { return };
    let ip_len = if summary.family == Family::V4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    let most = u16::try_from(mtu.saturating_sub(ip_len + tcp::HEADER_LEN)).unwrap_or(u16::MAX);
    if bytes::u16_at(segment, mss_at) > most {
        rewrite(segment, mss_at, most);
    }
}

/// Where the MSS stands in a TCP header.
fn mss_at(header: &[u8]) -> Option<usize> {
    let mut at = tcp::HEADER_LEN;
    loop {
        match *header.get(at)? {
            END => return None,
            NOTHING => at += 1,
            kind => {
                let len = usize::from(*header.get(at + 1)?);
                if kind == MSS && len == MSS_LEN && at + len <= header.len() {
                    return Some(at + 2);
                }
                // The length counts itself and the kind.
                at += len.max(2);
            }
        }
    }
}

/// Writes the number, and repairs the checksum. It may stand at an odd place.
fn rewrite(segment: &mut [u8], at: usize, mss: u16) {
    let even = at & !1;
    let words = |segment: &[u8]| [bytes::u16_at(segment, even), bytes::u16_at(segment, even + 2)];
    let before = words(segment);
    bytes::put(segment, at, mss.to_be_bytes());
    let mut sum = bytes::u16_at(segment, CHECKSUM_AT);
    for (old, new) in before.into_iter().zip(words(segment)) {
        sum = checksum::update(sum, old, new);
    }
    bytes::put(segment, CHECKSUM_AT, sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise_l3;
    use crate::wire::checksum::Sum;
    use proptest::prelude::*;

    /// A TCP packet with these flags and options.
    fn packet(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let len = (tcp::HEADER_LEN + options.len()).next_multiple_of(4);
        let mut segment = vec![0; len];
        segment[..4].copy_from_slice(&[0x10, 0, 0, 80]);
        segment[12] = (len as u8 / 4) << 4;
        segment[13] = flags;
        segment[20..20 + options.len()].copy_from_slice(options);
        let payload_len = len as u16;
        let mut packet = vec![0; if v6 { 40 } else { 20 }];
        if v6 {
            let [source, destination] = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
            let repr = ipv6::Repr { traffic_class: 0, next_header: 6, hop_limit: 9, source, destination, payload_len };
            repr.emit(&mut packet).unwrap();
        } else {
            let [source, destination] = ["10.3.0.1", "10.9.0.1"].map(|text| text.parse().unwrap());
            let repr = ipv4::Repr { tos: 0, id: 0, fragment: 0, ttl: 9, protocol: 6, source, destination, payload_len };
            repr.emit(&mut packet).unwrap();
        }
        packet.extend(segment);
        let summary = summarise_l3(&packet).unwrap();
        let sum = pseudo(&summary).bytes(summary.l4(&packet)).checksum();
        let at = usize::from(summary.l4_offset) + CHECKSUM_AT;
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn pseudo(it: &Summary) -> Sum {
        let len = usize::from(it.l3_end - it.l4_offset);
        match it.family {
            Family::V4 => Sum::new().pseudo_v4(it.src as u32, it.dst as u32, 6, len),
            Family::V6 => Sum::new().pseudo_v6(it.src, it.dst, 6, len),
        }
    }

    /// The packet with its MSS clamped, which is sound.
    fn clamped(mut packet: Vec<u8>, mtu: usize) -> Vec<u8> {
        let summary = summarise_l3(&packet).unwrap();
        assert!(summary.family == Family::V6 || is_syn(&packet, &summary) == is_syn_v4(&packet));
        clamp(&mut packet, &summary, mtu);
        assert!(pseudo(&summary).bytes(summary.l4(&packet)).is_valid());
        packet
    }

    #[test]
    fn both_ends_say_no_more_than_the_tunnel_takes() {
        for (v6, most) in [(false, 1400_u16 - 40), (true, 1400 - 60)] {
            for flags in [tcp::FLAG_SYN, tcp::FLAG_SYN | tcp::FLAG_ACK] {
                for before in [&[][..], &[NOTHING], &[4, 2], &[3, 3, 7]] {
                    let option =
                        |mss: u16| [before, &[MSS, 4], &mss.to_be_bytes(), &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
                    assert_eq!(clamped(packet(v6, flags, &option(1460)), 1400), packet(v6, flags, &option(most)));
                    for less in [most, 536] {
                        let sent = packet(v6, flags, &option(less));
                        assert_eq!(clamped(sent.clone(), 1400), sent);
                    }
                }
            }
        }
    }

    #[test]
    fn what_says_none_stays() {
        let mss = [MSS, 4, 0xff, 0xff];
        let without = [packet(false, tcp::FLAG_ACK, &mss), packet(false, tcp::FLAG_SYN, &[])];
        let wrong = [&[END, MSS, 4, 0xff, 0xff][..], &[MSS, 3, 0xff], &[7, 0], &[7, 200], &[NOTHING, MSS, 4, 9]];
        for sent in without.into_iter().chain(wrong.map(|options| packet(false, tcp::FLAG_SYN, options))) {
            assert_eq!(clamped(sent.clone(), 500), sent);
        }
        let mut other = packet(false, tcp::FLAG_SYN, &mss);
        let summary = Summary { proto: proto::UDP, ..summarise_l3(&other).unwrap() };
        clamp(&mut other, &summary, 500);
        assert_eq!(other, packet(false, tcp::FLAG_SYN, &mss));
    }

    proptest! {
        #[test]
        fn any_options_do(options in prop::collection::vec(any::<u8>(), 0..40), mtu in 0_usize..2000, cut in 0_usize..80) {
            let packet = clamped(packet(false, tcp::FLAG_SYN, &options), mtu);
            // A packet that ends early.
            let mut short = packet[..packet.len() - cut.min(packet.len())].to_vec();
            clamp(&mut short, &summarise_l3(&packet).unwrap(), mtu);
        }
    }
}
