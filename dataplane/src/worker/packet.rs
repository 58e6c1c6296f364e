//! A packet between two stages: the buffer, and the port that it came in by.

use dpdk::Mbuf;

use crate::port::PortIndex;

/// A received packet.
#[derive(Debug)]
pub struct Packet {
    /// The frame, as it came in.
    pub mbuf: Mbuf,
    /// The port that it came in by.
    pub port: PortIndex,
}

/// How much of an IP packet its digest looks at: the headers, and with them the transport checksum, which speaks for
/// the rest.
const DIGEST_LEN: usize = 96;

/// Names an IP packet's content in 32 bits. Members compute the same for copies of one packet, whatever Ethernet header
/// they came under. A collision costs one packet during a move; it is not worth a keyed hash.
pub fn digest(packet: &[u8]) -> u32 {
    let head = packet.get(..DIGEST_LEN).unwrap_or(packet);
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ packet.len() as u64;
    for chunk in head.chunks(8) {
        let mut word = [0; 8];
        if let Some(place) = word.get_mut(..chunk.len()) {
            place.copy_from_slice(chunk);
        }
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_see_content_and_length() {
        let packet: Vec<u8> = (0..100).collect();
        assert_eq!(digest(&packet), digest(&packet.clone()));
        for at in [0, 9, 95] {
            let mut other = packet.clone();
            other[at] ^= 1;
            assert_ne!(digest(&packet), digest(&other), "byte {at}");
        }
        assert_ne!(digest(&packet), digest(&packet[..99]));
        assert_ne!(digest(&[]), digest(&[0]));
    }
}
