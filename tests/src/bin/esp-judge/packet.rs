//! What a frame is, as far as anyone can see from outside. Total: what is cut off is no packet.

use std::net::IpAddr;
use std::str::FromStr;

use phalanx_tests::lab::pcap::Frame;

const UDP: u8 = 17;
const ESP: u8 = 50;
const IKE_PORT: u16 = 500;
const NAT_PORT: u16 = 4500;
/// Of an IKE message.
const REPLY: u8 = 0x20;

/// What is in a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// A packet of a tunnel. All ciphers that the tests use begin it with eight bytes of IV.
    Esp { spi: u32, number: u32, iv: [u8; 8] },
    /// An IKE message: the exchange, both SPIs, and whether it answers.
    Ike { exchange: u8, spis: [u64; 2], reply: bool },
    /// For whoever translates addresses.
    Keepalive,
    /// A later fragment: it shows nothing.
    Fragment,
    /// Any other packet, by its protocol.
    Other(u8),
}

/// An IP packet: from, to, and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) content: Content,
}

impl Packet {
    /// None: it is not IP, or cut off.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let (protocol, from, to, payload) = frame.ip()?;
        let content = match protocol {
            _ if is_later_fragment(frame) => Content::Fragment,
            ESP => esp(payload)?,
            UDP => inside_udp(payload)?,
            other => Content::Other(other),
        };
        Some(Self { from, to, content })
    }
}

fn is_later_fragment(frame: &Frame) -> bool {
    frame.ethertype() == 0x0800 && word16(&frame.bytes, 14 + 6).is_some_and(|word| word & 0x1fff != 0)
}

fn inside_udp(datagram: &[u8]) -> Option<Content> {
    let ports = [word16(datagram, 0)?, word16(datagram, 2)?];
    let payload = datagram.get(8..)?;
    if ports.contains(&IKE_PORT) {
        return ike(payload);
    }
    if !ports.contains(&NAT_PORT) {
        return Some(Content::Other(UDP));
    }
    match payload {
        [0, 0, 0, 0, message @ ..] => ike(message),
        [0xff] => Some(Content::Keepalive),
        packet => esp(packet),
    }
}

fn esp(packet: &[u8]) -> Option<Content> {
    let (spi, number, iv) = (array(packet, 0)?, array(packet, 4)?, array(packet, 8)?);
    Some(Content::Esp { spi: u32::from_be_bytes(spi), number: u32::from_be_bytes(number), iv })
}

fn ike(message: &[u8]) -> Option<Content> {
    let spi = |at| array(message, at).map(u64::from_be_bytes);
    let (exchange, flags) = (*message.get(18)?, *message.get(19)?);
    Some(Content::Ike { exchange, spis: [spi(0)?, spi(8)?], reply: flags & REPLY != 0 })
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Addresses with the same beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(crate) fn has(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let rest = 32 - u32::from(self.bits.min(32));
                u64::from(ours.to_bits() ^ other.to_bits()) >> rest == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let rest = 128 - u32::from(self.bits.min(128));
                (ours.to_bits() ^ other.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(address, bits)| Some((address.parse().ok()?, bits.parse().ok()?)));
        let (address, bits) = parts.ok_or_else(|| format!("{text} is no network like 10.60.0.0/16"))?;
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_what_begins_like_it() {
        let network: Network = "10.60.0.0/16".parse().unwrap();
        let has = |text: &str| network.has(text.parse().unwrap());
        assert_eq!([has("10.60.9.1"), has("10.61.0.0"), has("fd00::1")], [true, false, false]);
        let v6: Network = "fd00:3::/64".parse().unwrap();
        assert!(v6.has("fd00:3::100".parse().unwrap()) && !v6.has("fd00:3:0:1::".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.has("ff02::1".parse().unwrap()));
        assert!("10.60.0.0".parse::<Network>().is_err());
    }
}
