//! What a worker reads of an IKE message (RFC 7296 section 3.1): whose it is.

use std::net::IpAddr;

use crate::filter::hash;
use crate::parse::address_number;
use crate::unit::{UNITS, Unit};
use crate::wire::bytes;

/// Length of the header.
const HEADER_LEN: usize = 28;
const FROM_INITIATOR: u8 = 0x08;

/// Which IKE SA a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum For {
    /// The one with this SPI of ours.
    Spi(u64),
    /// One that begins, whose initiator calls it this.
    New(u64),
}

impl For {
    /// None: it is no message of IKEv2, or not as long as it says.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let initiator = u64::from_be_bytes(bytes::array(message, 0)?);
        let responder = u64::from_be_bytes(bytes::array(message, 8)?);
        let (version, flags) = (bytes::u8_at(message, 17), bytes::u8_at(message, 19));
        let length = bytes::u32_at(message, 24) as usize;
        if message.len() < HEADER_LEN || length != message.len() || version >> 4 != 2 || initiator == 0 {
            return None;
        }
        Some(match (flags & FROM_INITIATOR != 0, responder) {
            (false, _) => Self::Spi(initiator),
            (true, 0) => Self::New(initiator),
            (true, responder) => Self::Spi(responder),
        })
    }
}

/// Our SPI of an IKE SA that somebody begins: the same whenever the same message comes, and nothing that anybody could foresee.
pub(super) fn name(key: hash::Key, unit: Unit, source: IpAddr, initiator: u64) -> u64 {
    let (_, source) = address_number(source);
    let hash = key.hash64([source as u64, (source >> 64) as u64, initiator]);
    // Zero says that there is none.
    let hash = hash & !(UNITS as u64 - 1) | 1 << 63;
    hash | u64::from(unit.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(initiator: u64, responder: u64, flags: u8) -> Vec<u8> {
        let [a, b] = [initiator, responder].map(u64::to_be_bytes);
        [&a[..], &b, &[33, 0x20, 34, flags, 0, 0, 0, 0, 0, 0, 0, 28]].concat()
    }

    #[test]
    fn whose_a_message_is() {
        for (initiator, responder, flags, expected) in [
            (7, 0, 0x08, Some(For::New(7))),
            (7, 9, 0x08, Some(For::Spi(9))),
            (7, 9, 0x28, Some(For::Spi(9))),
            (7, 9, 0x20, Some(For::Spi(7))),
            (7, 0, 0x00, Some(For::Spi(7))),
            (0, 9, 0x08, None),
        ] {
            assert_eq!(For::read(&message(initiator, responder, flags)), expected);
        }
        let sound = message(7, 0, 8);
        (0..28).for_each(|len| assert_eq!(For::read(&sound[..len]), None));
        assert_eq!(For::read(&[&sound[..], &[0]].concat()), None, "longer than it says");
        let old = [&sound[..17], &[0x10], &sound[18..]].concat();
        assert_eq!(For::read(&old), None, "IKEv1");
    }

    #[test]
    fn a_name_has_its_unit_and_is_the_same_again() {
        let (unit, source) = (Unit::from_low_bits(77), "192.0.2.9".parse().unwrap());
        let key = |byte| hash::Key::new([byte; 16]);
        let spi = name(key(1), unit, source, 5);
        assert_eq!((spi, spi % 1024), (name(key(1), unit, source, 5), 77));
        let others = [(key(2), source, 5), (key(1), source, 6), (key(1), "192.0.2.8".parse().unwrap(), 5)];
        for (key, source, initiator) in others {
            assert_ne!(name(key, unit, source, initiator), spi);
        }
    }
}
