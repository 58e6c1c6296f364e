//! The members' own frames on the data ports: EtherType 0x88B5, then one byte that says which kind.
//!
//! Kinds 1 (sealed datagram) and 2 (signed beacon) are opaque here: they go up to the cluster thread, at a bounded
//! rate, for anybody on the LAN can send such a frame. Kind 3 is a marker: eight bytes of token, the sender's number, and
//! which part it is of how many (two bytes each). It says that everything that one worker of this member passed on
//! before by this port has now been received; all parts together say so of the member. Kind 4 is a piece of a packet that was put
//! together ([`super::wholes`]): the sender's number, how often the packet was passed on, a byte of nothing, and an IP fragment.

use crate::steer::MarkerPart;
use crate::unit::MemberId;

/// A sealed cluster datagram.
pub const KIND_DATAGRAM: u8 = 1;
/// A signed beacon.
pub const KIND_BEACON: u8 = 2;
/// A marker.
pub const KIND_MARKER: u8 = 3;
/// A piece of a packet.
pub const KIND_PIECE: u8 = 4;

/// A cluster frame's content, as far as a worker looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// For the cluster thread, kind and all.
    Up(&'a [u8]),
    /// A marker.
    Marker {
        /// Who sent it.
        from: MemberId,
        /// Its token.
        token: u64,
        /// Which part of it this is.
        part: MarkerPart,
    },
    /// A piece: what comes after its first [`PIECE_LEN`] bytes is an IP fragment.
    Piece {
        /// Who sent it.
        from: MemberId,
        /// How often its packet was passed on.
        hops: u8,
    },
}

/// What comes before a piece's fragment, kind and all.
pub const PIECE_LEN: usize = 4;

/// A marker's length, kind and all.
const MARKER_LEN: usize = 14;

/// Reads what follows the EtherType.
pub fn read(payload: &[u8]) -> Option<Content<'_>> {
    match *payload.first()? {
        KIND_DATAGRAM | KIND_BEACON => Some(Content::Up(payload)),
        KIND_MARKER => {
            let &[_, t0, t1, t2, t3, t4, t5, t6, t7, from, i0, i1, o0, o1] = payload.first_chunk::<MARKER_LEN>()?;
            let token = u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
            let part = MarkerPart::new(u16::from_be_bytes([i0, i1]), u16::from_be_bytes([o0, o1]))?;
            Some(Content::Marker { from: MemberId::new(from)?, token, part })
        }
        KIND_PIECE => {
            let &[_, from, hops, _] = payload.first_chunk::<PIECE_LEN>()?;
            Some(Content::Piece { from: MemberId::new(from)?, hops })
        }
        _ => None,
    }
}

/// Writes what comes before a piece's fragment.
pub const fn piece(from: MemberId, hops: u8) -> [u8; PIECE_LEN] {
    [KIND_PIECE, from.number(), hops, 0]
}

/// Writes a marker.
pub fn marker(token: u64, from: MemberId, part: MarkerPart) -> [u8; MARKER_LEN] {
    let mut payload = [0; MARKER_LEN];
    payload[0] = KIND_MARKER;
    payload[1..9].copy_from_slice(&token.to_be_bytes());
    payload[9] = from.number();
    payload[10..12].copy_from_slice(&part.index().to_be_bytes());
    payload[12..].copy_from_slice(&part.of().to_be_bytes());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markers_survive_padding_and_damage_is_refused() {
        let from = MemberId::new(7).expect("a number");
        let part = MarkerPart::new(2, 0x104).expect("a part");
        let mut frame = marker(0x0102_0304_0506_0708, from, part).to_vec();
        frame.resize(46, 0);
        assert_eq!(read(&frame), Some(Content::Marker { from, token: 0x0102_0304_0506_0708, part }));
        assert_eq!(read(&frame[..13]), None);
        for (at, byte) in [(9, 0), (10, 2)] {
            let mut frame = frame.clone();
            frame[at] = byte;
            assert_eq!(read(&frame), None);
        }
        assert_eq!(read(&piece(from, 2)), Some(Content::Piece { from, hops: 2 }));
        assert_eq!(read(&piece(from, 2)[..3]), None);
        assert_eq!(read(&[KIND_PIECE, 0, 1, 0]), None);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[9, 1, 2]), None);
        assert_eq!(read(&[2]), Some(Content::Up(&[2])));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&payload);
        }
    }
}
