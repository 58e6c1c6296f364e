//! Congestion marks through a tunnel (RFC 6040), so that a router on the way may mark a packet instead of dropping it.
//!
//! Going in, the outer header gets the inner one's mark. Coming out, the two become one:
//!
//! | inner ╲ outer | Not-ECT | ECT(0) | ECT(1) | CE |
//! | --- | --- | --- | --- | --- |
//! | Not-ECT | Not-ECT | Not-ECT | Not-ECT | drop |
//! | ECT(0) | ECT(0) | ECT(0) | ECT(1) | CE |
//! | ECT(1) | ECT(1) | ECT(1) | ECT(1) | CE |
//! | CE | CE | CE | CE | CE |

use crate::wire::{bytes, checksum};

/// The mark's bits in TOS and traffic class.
pub const MASK: u8 = 3;

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const CE: u8 = 3;

/// The mark of a packet that comes out of a tunnel. None: a router had to drop it, could only mark the outer header, and the
/// inner sender does not know what that means: it is dropped here.
#[inline]
pub const fn combine(inner: u8, outer: u8) -> Option<u8> {
    match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (CE, _) | (_, CE) => Some(CE),
        (_, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

/// Changes the mark of an IP packet, and its checksum by as much.
#[inline]
pub fn set(packet: &mut [u8], mark: u8) {
    match bytes::u8_at(packet, 0) >> 4 {
        4 => {
            let old = bytes::u16_at(packet, 0);
            let new = old & !u16::from(MASK) | u16::from(mark & MASK);
            let sum = checksum::update(bytes::u16_at(packet, CHECKSUM_AT), old, new);
            bytes::put_u16(packet, 0, new);
            bytes::put_u16(packet, CHECKSUM_AT, sum);
        }
        6 => {
            // The traffic class stands between the version and the flow label, four bits off.
            let word = bytes::u16_at(packet, 0);
            bytes::put_u16(packet, 0, word & !(u16::from(MASK) << 4) | u16::from(mark & MASK) << 4);
        }
        _ => {}
    }
}

const CHECKSUM_AT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ipv4, ipv6};

    #[test]
    fn marks_are_combined_as_the_table_says() {
        let row = |inner: u8| [0, 2, 1, 3_u8].map(|outer| combine(inner | 0xb8, outer | 0x28));
        assert_eq!(row(0), [Some(0), Some(0), Some(0), None]);
        assert_eq!(row(2), [Some(2), Some(2), Some(1), Some(3)]);
        assert_eq!(row(1), [Some(1), Some(1), Some(1), Some(3)]);
        assert_eq!(row(3), [Some(3), Some(3), Some(3), Some(3)]);
    }

    #[test]
    fn setting_a_mark_leaves_the_rest_alone() {
        let repr = ipv4::Repr {
            tos: 0xb9,
            id: 7,
            fragment: 0,
            ttl: 9,
            protocol: 6,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            payload_len: 0,
        };
        let mut packet = [0; 20];
        repr.emit(&mut packet).unwrap();
        set(&mut packet, 3);
        assert!(ipv4::Packet::new_checked(&packet).unwrap().verify_checksum());
        assert_eq!(ipv4::Repr::parse(&packet), Ok(ipv4::Repr { tos: 0xbb, ..repr }));
        let repr = ipv6::Repr {
            traffic_class: 0xb9,
            next_header: 6,
            hop_limit: 9,
            source: [1; 16].into(),
            destination: [2; 16].into(),
            payload_len: 0,
        };
        let mut packet = [0; 40];
        repr.emit(&mut packet).unwrap();
        set(&mut packet, 2);
        assert_eq!(ipv6::Repr::parse(&packet), Ok(ipv6::Repr { traffic_class: 0xba, ..repr }));
    }
}
