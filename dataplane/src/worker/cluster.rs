//! The members' own frames on the data ports: EtherType 0x88B5, then one byte that says which kind.
//!
//! Kinds 1 (sealed datagram) and 2 (signed beacon) are opaque here: they go up to the cluster thread, at a bounded
//! rate, for anybody on the LAN can send such a frame. Kind 3 is a marker, eight bytes of token and the sender's number:
//! it says that everything that this member passed on before has now been received.

use crate::unit::MemberId;

/// A sealed cluster datagram.
pub const KIND_DATAGRAM: u8 = 1;
/// A signed beacon.
pub const KIND_BEACON: u8 = 2;
/// A marker.
pub const KIND_MARKER: u8 = 3;

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
    },
}

/// Reads what follows the EtherType.
pub fn read(payload: &[u8]) -> Option<Content<'_>> {
    match *payload.first()? {
        KIND_DATAGRAM | KIND_BEACON => Some(Content::Up(payload)),
        KIND_MARKER => {
            let body: &[u8; 9] = payload.get(1..)?.first_chunk()?;
            let [token @ .., from] = *body;
            Some(Content::Marker { from: MemberId::new(from)?, token: u64::from_be_bytes(token) })
        }
        _ => None,
    }
}

/// Writes a marker.
pub fn marker(token: u64, from: MemberId) -> [u8; 10] {
    let mut payload = [0; 10];
    payload[0] = KIND_MARKER;
    payload[1..9].copy_from_slice(&token.to_be_bytes());
    payload[9] = from.number();
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markers_survive_padding_and_damage_is_refused() {
        let from = MemberId::new(7).expect("a number");
        let mut frame = marker(0x0102_0304_0506_0708, from).to_vec();
        frame.resize(46, 0);
        assert_eq!(read(&frame), Some(Content::Marker { from, token: 0x0102_0304_0506_0708 }));
        assert_eq!(read(&frame[..9]), None);
        frame[9] = 0;
        assert_eq!(read(&frame), None);
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
