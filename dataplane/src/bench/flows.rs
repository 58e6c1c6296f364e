//! The packets of a benchmark: 4096 flows of IPv4 UDP, no two between the same hosts, in no particular order, so that
//! neither the units nor the caches of destinations see a pattern. Addresses are those set aside for benchmarks
//! (RFC 2544: 198.18.0.0/15).

use crate::wire::{EtherType, ipv4, proto};

/// How many flows.
pub const FLOWS: u32 = 4096;
/// The shortest frame that carries the headers, without its checksum.
pub const SIZE_MIN: u16 = 42;
/// The longest frame of an ordinary link, without its checksum.
pub const SIZE_MAX: u16 = 1514;
/// The hardware address that the frames are for.
pub const ADDRESS: [u8; 6] = [0x02, 0x50, 0x48, 0, 0, 1];

const SENDER: [u8; 6] = [0x02, 0, 0, 0, 2, 0xfe];
const LINK_HEADER: usize = 14;
const UDP_HEADER: u16 = 8;

/// One frame of each flow, `size` bytes long (made to fit the bounds above).
pub fn frames(size: u16) -> Vec<Vec<u8>> {
    (0..FLOWS).map(|n| frame(n, size.clamp(SIZE_MIN, SIZE_MAX))).collect()
}

/// What a simple mix of the Internet's sizes has, of twelve frames (a "simple IMIX"); the longest are such as still fit an ordinary
/// link when they are sealed.
const MIX: [u16; 12] = [64, 570, 64, 64, 570, 64, 1418, 64, 570, 64, 64, 570];

/// How many flows the benchmarks of tunnels have: as many buffers as `dpdk-test-crypto-perf` is given there, for what these take of the
/// processor's cache is a good part of what long packets cost.
pub const TUNNEL_FLOWS: usize = 1024;

/// Frames for tunnels: all of one size, or a mix of sizes.
pub fn tunnel_frames(size: Option<u16>) -> Vec<Vec<u8>> {
    let size = |n: u32| size.map_or(MIX[n as usize % MIX.len()], |size| size.clamp(SIZE_MIN, SIZE_MAX));
    // Every fourth: they are spread over the tunnels as all of them are.
    (0..FLOWS).step_by(FLOWS as usize / TUNNEL_FLOWS).zip(0..).map(|(n, place)| frame(n, size(place))).collect()
}

/// The average size of a mix.
pub fn mix_size() -> u16 {
    MIX.iter().sum::<u16>() / MIX.len() as u16
}

/// A frame's answer: from whom it was to, to whom it was from. None: it is none of these.
pub fn turned(frame: &[u8]) -> Option<Vec<u8>> {
    let mut turned = frame.to_vec();
    let (source, destination) = turned.get_mut(26..34)?.split_at_mut_checked(4)?;
    // What is summed up stays the same.
    source.swap_with_slice(destination);
    Some(turned)
}

fn frame(number: u32, size: u16) -> Vec<u8> {
    // An odd multiplier makes a permutation of the low twelve bits, another one an unrelated permutation.
    let client = number.wrapping_mul(0x9e5) % FLOWS;
    let server = number.wrapping_mul(0x6a3).wrapping_add(77) % FLOWS;
    let mut frame = vec![0; usize::from(size)];
    let ip_len = size - LINK_HEADER as u16;
    let udp_len = ip_len - ipv4::HEADER_LEN as u16;
    let header = ipv4::Repr {
        tos: 0,
        id: number as u16,
        fragment: 0,
        ttl: 255,
        protocol: proto::UDP,
        source: (0xc612_0000 + 16 * client + 1).into(),
        destination: (0xc613_0000 + 16 * server + 1).into(),
        payload_len: udp_len,
    };
    debug_assert!(udp_len >= UDP_HEADER);
    if let Some((link, packet)) = frame.split_first_chunk_mut::<LINK_HEADER>() {
        link[..6].copy_from_slice(&ADDRESS);
        link[6..12].copy_from_slice(&SENDER);
        link[12..].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        // The buffer was made for it; a UDP checksum of zero is none (RFC 768).
        let _ = header.emit(packet);
        if let Some(udp) = packet.get_mut(ipv4::HEADER_LEN..ipv4::HEADER_LEN + 6) {
            udp[..2].copy_from_slice(&(1024 + number as u16).to_be_bytes());
            udp[2..4].copy_from_slice(&4433_u16.to_be_bytes());
            udp[4..].copy_from_slice(&udp_len.to_be_bytes());
        }
    }
    frame
}

/// A capture file (libpcap's classic format) of these frames.
pub fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut file = Vec::new();
    for word in [MAGIC, 4 << 16 | 2, 0, 0, 65_535, ETHERNET] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for frame in frames {
        let len = frame.len() as u32;
        for word in [0, 0, len, len] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

/// The first frame of a capture file: whom its packets are for, and how long they are.
pub fn first_of_pcap(file: &[u8]) -> Option<([u8; 6], u16)> {
    let magic: [u8; 4] = *file.first_chunk()?;
    let number = match u32::from_le_bytes(magic) {
        // Microseconds or nanoseconds, in either order of bytes.
        0xa1b2_c3d4 | 0xa1b2_3c4d => u32::from_le_bytes,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => u32::from_be_bytes,
        _ => return None,
    };
    let len = number(*file.get(32..)?.first_chunk()?);
    let address = *file.get(40..)?.first_chunk()?;
    Some((address, u16::try_from(len).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise;
    use std::collections::HashSet;

    #[test]
    fn flows_are_sound_and_distinct() {
        for size in [SIZE_MIN, 64, 512, SIZE_MAX] {
            let frames = frames(size);
            let pairs: HashSet<_> = frames
                .iter()
                .map(|frame| {
                    assert_eq!(frame.len(), usize::from(size));
                    let summary = summarise(frame, None).expect("a sound packet");
                    assert_eq!((summary.ttl, summary.dst_port), (255, 4433));
                    (summary.src, summary.dst)
                })
                .collect();
            assert_eq!(pairs.len(), FLOWS as usize);
        }
    }

    #[test]
    fn tunnels_have_their_share_of_all_sizes() {
        for size in [Some(64), Some(1434), None] {
            let frames = tunnel_frames(size);
            let sum: usize = frames.iter().map(Vec::len).sum();
            assert_eq!(frames.len(), TUNNEL_FLOWS);
            // The last dozen is not whole.
            assert!((sum / TUNNEL_FLOWS).abs_diff(size.unwrap_or(mix_size()).into()) <= 1);
            let there = summarise(&frames[5], None).expect("a sound packet");
            let back = summarise(&turned(&frames[5]).expect("a frame"), None).expect("a sound packet");
            assert_eq!((there.src, there.dst), (back.dst, back.src));
        }
    }

    #[test]
    fn capture_files_tell_whom_they_are_for() {
        let file = pcap(&frames(64));
        assert_eq!(file.len(), 24 + FLOWS as usize * (16 + 64));
        assert_eq!(first_of_pcap(&file), Some((ADDRESS, 64)));
        for len in 0..46 {
            assert_eq!(first_of_pcap(&file[..len]), None, "{len}");
        }
        assert_eq!(first_of_pcap(&[7; 100]), None);
    }
}
