//! ESP on the wire (RFC 4303 section 2).
//!
//! ```text
//!   0        4          8                                              len - icv
//!   ┌────────┬──────────┬──────┬───────────────────┬─────────┬─────┬──────┬─────┐
//!   │  SPI   │ sequence │  IV  │      payload      │ padding │ len │ next │ ICV │
//!   └────────┴──────────┴──────┴───────────────────┴─────────┴─────┴──────┴─────┘
//!                              └────────── what is hidden ──────────────┘
//!   └──────────────────── what is checked ─────────────────────────────┘
//! ```
//! The payload stays where it is: a packet is built by putting [`Layout::before`] bytes in front of it and
//! [`Layout::after`] behind. The high half of an extended sequence number is checked, too, but never sent.

use super::Refused;
use super::transform::Transform;
use crate::wire::bytes;

/// SPI and sequence number.
pub const HEADER_LEN: usize = 8;
/// Length of the padding, next header.
pub const TRAILER_LEN: usize = 2;
/// What makes an IV unique, in its last bytes.
const NUMBER_LEN: usize = 8;
/// Padding and its length, as a number whose lowest byte is the first one, by length: as far as four bytes' alignment asks for.
const TRAILERS: [u64; 4] = [0x00, 0x01_01, 0x02_02_01, 0x03_03_02_01];
/// What a dummy packet says that it carries (section 2.6): nothing.
pub const DUMMY: u8 = crate::wire::proto::NO_NEXT_HEADER;

/// The lengths that a transform gives its packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    iv_len: usize,
    icv_len: usize,
    alignment: usize,
}

/// What goes around a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Header and IV.
    pub before: usize,
    /// Padding, trailer and ICV.
    pub after: usize,
}

/// The fields of a packet to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields {
    /// The receiver's name for the SA.
    pub spi: u32,
    /// The low half is sent.
    pub sequence: u64,
    /// What makes the IV unique.
    pub nonce: u64,
    /// The payload's protocol.
    pub next_header: u8,
}

/// What was found in a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// Where the payload begins.
    pub start: usize,
    /// How long it is; padding for traffic-flow confidentiality included (section 2.7).
    pub len: usize,
    /// Its protocol.
    pub next_header: u8,
}

/// SPI and low half of the sequence number of a packet that came in.
#[inline]
pub fn header(packet: &[u8]) -> Option<(u32, u32)> {
    (packet.len() >= HEADER_LEN).then(|| (bytes::u32_at(packet, 0), bytes::u32_at(packet, 4)))
}

impl Shape {
    /// A transform's.
    pub const fn of(transform: Transform) -> Self {
        let alignment = transform.alignment();
        assert!(alignment.is_power_of_two());
        Self { iv_len: transform.iv_len(), icv_len: transform.icv_len(), alignment }
    }

    /// Where the payload begins: after header and IV.
    #[inline]
    pub const fn body_at(&self) -> usize {
        HEADER_LEN + self.iv_len
    }

    /// Length of the check value at the end.
    #[inline]
    pub const fn icv_len(&self) -> usize {
        self.icv_len
    }

    /// What goes around a payload of this length.
    #[inline]
    pub const fn around(&self, payload_len: usize) -> Layout {
        let body = self.rounded_down(payload_len + TRAILER_LEN + self.alignment - 1);
        Layout { before: self.body_at(), after: body - payload_len + self.icv_len }
    }

    /// Alignments are powers of two, and a division costs as much as a header.
    #[inline]
    const fn rounded_down(&self, len: usize) -> usize {
        len & !(self.alignment - 1)
    }

    /// The longest payload of packets that are to be no longer than this, header to ICV.
    #[inline]
    pub const fn payload_max(&self, packet_len: usize) -> usize {
        let body = packet_len.saturating_sub(self.body_at() + self.icv_len);
        self.rounded_down(body).saturating_sub(TRAILER_LEN)
    }

    /// Writes all but the ICV around a payload that is in its place. `packet` is as long as [`Self::around`] says; what lies where the
    /// ICV will be is nobody's.
    #[inline]
    pub fn write(&self, packet: &mut [u8], payload_len: usize, fields: Fields) {
        let head = u64::from(fields.spi) << 32 | u64::from(fields.sequence as u32);
        let body_at = self.body_at();
        let trailer_at = packet.len().saturating_sub(self.icv_len + TRAILER_LEN);
        let pad_len = trailer_at.saturating_sub(body_at + payload_len);
        // What lies side by side goes in one store.
        if self.iv_len == NUMBER_LEN
            && let Some((front, body)) = packet.split_first_chunk_mut()
            && let Some(back) = body.get_mut(payload_len..).and_then(<[u8]>::first_chunk_mut)
            && let Some(trailer) = TRAILERS.get(pad_len)
        {
            *front = (u128::from(head) << 64 | u128::from(fields.nonce)).to_be_bytes();
            let next_header = u64::from(fields.next_header) << (8 * (pad_len + 1));
            *back = (trailer | next_header).to_le_bytes();
            return;
        }
        bytes::put(packet, 0, head.to_be_bytes());
        packet.get_mut(HEADER_LEN..body_at).unwrap_or_default().fill(0);
        if self.iv_len >= NUMBER_LEN {
            bytes::put(packet, body_at - NUMBER_LEN, fields.nonce.to_be_bytes());
        }
        let padding = packet.get_mut(body_at + payload_len..trailer_at).unwrap_or_default();
        padding.iter_mut().zip(1..).for_each(|(byte, number)| *byte = number);
        bytes::put(packet, trailer_at, [pad_len as u8, fields.next_header]);
    }

    /// Whether a packet can be one of these: to be asked before it is opened.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    #[inline]
    pub const fn check(&self, packet_len: usize) -> Result<(), Refused> {
        let around = self.body_at() + self.icv_len;
        if packet_len < around + self.alignment || self.rounded_down(packet_len - around) != packet_len - around {
            return Err(Refused::Malformed);
        }
        Ok(())
    }

    /// Reads the trailer of a packet that is opened. What the padding says is not looked at: the ICV vouches for its sender.
    ///
    /// # Errors
    /// [`Refused::Malformed`]: more padding than packet.
    #[inline]
    pub fn carried(&self, packet: &[u8]) -> Result<Carried, Refused> {
        let start = self.body_at();
        let body = packet.len().checked_sub(self.icv_len).and_then(|end| packet.get(start..end));
        let [content @ .., pad_len, next_header] = body.ok_or(Refused::Malformed)? else {
            return Err(Refused::Malformed);
        };
        let len = content.len().checked_sub(usize::from(*pad_len)).ok_or(Refused::Malformed)?;
        Ok(Carried { start, len, next_header: *next_header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(name: &str) -> Shape {
        Shape::of(name.parse().unwrap())
    }

    #[test]
    fn a_packet_by_hand() {
        let shape = shape("aes128-sha1");
        let Layout { before, after } = shape.around(5);
        assert_eq!((before, after), (24, 9 + 2 + 12));
        let mut packet = [0xee; 24 + 5 + 23];
        let fields =
            Fields { spi: 0x0102_0304, sequence: 0x99_0000_0007, nonce: 0x1122_3344_5566_7788, next_header: 4 };
        shape.write(&mut packet, 5, fields);
        assert_eq!(packet[..8], [1, 2, 3, 4, 0, 0, 0, 7]);
        assert_eq!(packet[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        assert_eq!(packet[29..40], [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 4]);
        assert_eq!((packet[24..29].to_vec(), packet[40..].to_vec()), (vec![0xee; 5], vec![0xee; 12]));
        assert_eq!(header(&packet), Some((0x0102_0304, 7)));
        assert_eq!(shape.carried(&packet), Ok(Carried { start: 24, len: 5, next_header: 4 }));
        packet[38] = 15;
        assert_eq!(shape.carried(&packet), Err(Refused::Malformed), "more padding than there is room");
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(which in 0..54usize, payload in prop::collection::vec(any::<u8>(), 0..300), next_header: u8) {
            let shape = Shape::of(Transform::all().nth(which).unwrap());
            let Layout { before, after } = shape.around(payload.len());
            let mut packet = vec![0; before];
            packet.extend(&payload);
            packet.resize(before + payload.len() + after, 0);
            shape.write(&mut packet, payload.len(), Fields { spi: 256, sequence: 1, nonce: 2, next_header });
            prop_assert_eq!(shape.check(packet.len()), Ok(()));
            prop_assert_eq!(shape.carried(&packet), Ok(Carried { start: before, len: payload.len(), next_header }));
            prop_assert_eq!(&packet[before..before + payload.len()], &payload[..]);
            let trailer = &packet[before + payload.len()..packet.len() - shape.icv_len];
            let pad_len = trailer.len() - TRAILER_LEN;
            prop_assert_eq!(trailer, [(1..=pad_len as u8).collect(), vec![pad_len as u8, next_header]].concat());
            prop_assert!(shape.payload_max(packet.len()) >= payload.len());
            prop_assert!(shape.payload_max(packet.len()) < payload.len() + shape.alignment);
        }

        #[test]
        fn parsers_are_total(which in 0..54usize, packet in prop::collection::vec(any::<u8>(), 0..100)) {
            let shape = Shape::of(Transform::all().nth(which).unwrap());
            let _ = (header(&packet), shape.check(packet.len()));
            if let Ok(carried) = shape.carried(&packet) {
                prop_assert!(carried.start + carried.len + TRAILER_LEN <= packet.len());
            }
        }
    }
}
