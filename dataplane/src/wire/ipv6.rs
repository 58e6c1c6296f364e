//! IPv6's fixed header (RFC 8200 section 3). What follows it is walked by [`super::ipv6_ext`].

use super::{WireError, bytes};
use std::net::Ipv6Addr;

mod field {
    pub(super) const VERSION_CLASS_LABEL: usize = 0;
    pub(super) const PAYLOAD_LENGTH: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: usize = 8;
    pub(super) const DESTINATION: usize = 24;
}

/// Length of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Every IPv6 link carries packets of this length (RFC 8200 section 5).
pub const MTU_MIN: usize = 1280;

/// A view of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses another version and a buffer shorter than header and payload length. (Jumbograms count as empty.)
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self::new_header_checked(buffer)?;
        if packet.data().len() < HEADER_LEN + usize::from(packet.payload_len()) {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// Like [`Self::new_checked`], but the payload may be cut off: a packet quoted by an ICMPv6 error.
    #[inline]
    pub fn new_header_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self { buffer };
        if packet.data().len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        if packet.version() != 6 { Err(WireError::Version) } else { Ok(packet) }
    }

    #[inline]
    fn data(&self) -> &[u8] {
        self.buffer.as_ref()
    }

    /// The version, 6 in a checked view.
    #[inline]
    pub fn version(&self) -> u8 {
        bytes::u8_at(self.data(), field::VERSION_CLASS_LABEL) >> 4
    }

    /// DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (bytes::u32_at(self.data(), field::VERSION_CLASS_LABEL) >> 20) as u8
    }

    /// The flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        bytes::u32_at(self.data(), field::VERSION_CLASS_LABEL) & 0xf_ffff
    }

    /// Bytes behind the fixed header.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        bytes::u16_at(self.data(), field::PAYLOAD_LENGTH)
    }

    /// What follows the fixed header.
    #[inline]
    pub fn next_header(&self) -> u8 {
        bytes::u8_at(self.data(), field::NEXT_HEADER)
    }

    /// The hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        bytes::u8_at(self.data(), field::HOP_LIMIT)
    }

    /// The source address.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        bytes::u128_at(self.data(), field::SOURCE).into()
    }

    /// The destination address.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        bytes::u128_at(self.data(), field::DESTINATION).into()
    }

    /// The payload, extension headers first, as far as payload length and buffer go.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let data = self.data();
        let end = (HEADER_LEN + usize::from(self.payload_len())).min(data.len());
        data.get(HEADER_LEN..end).unwrap_or(&[])
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Takes one hop off the limit; false, and nothing changed, if no hop is left to take.
    #[inline]
    pub fn decrement_hop_limit(&mut self) -> bool {
        let limit = self.hop_limit();
        if limit <= 1 {
            return false;
        }
        bytes::put(self.buffer.as_mut(), field::HOP_LIMIT, [limit - 1]);
        true
    }

    /// Sets the hop limit.
    #[inline]
    pub fn set_hop_limit(&mut self, limit: u8) {
        bytes::put(self.buffer.as_mut(), field::HOP_LIMIT, [limit]);
    }

    /// Sets the payload length.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::PAYLOAD_LENGTH, len);
    }

    /// Sets the source address.
    #[inline]
    pub fn set_source(&mut self, address: Ipv6Addr) {
        bytes::put(self.buffer.as_mut(), field::SOURCE, address.octets());
    }

    /// Sets the destination address.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv6Addr) {
        bytes::put(self.buffer.as_mut(), field::DESTINATION, address.octets());
    }
}

/// The fixed header; the flow label is emitted as zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repr {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What follows.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// Bytes behind the header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads the fixed header.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let packet = Packet::new_checked(data)?;
        Ok(Self {
            traffic_class: packet.traffic_class(),
            next_header: packet.next_header(),
            hop_limit: packet.hop_limit(),
            source: packet.source(),
            destination: packet.destination(),
            payload_len: packet.payload_len(),
        })
    }

    /// The bytes that [`Self::emit`] writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header; returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        if buffer.len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        bytes::put_u32(buffer, field::VERSION_CLASS_LABEL, 6 << 28 | u32::from(self.traffic_class) << 20);
        bytes::put_u16(buffer, field::PAYLOAD_LENGTH, self.payload_len);
        bytes::put(buffer, field::NEXT_HEADER, [self.next_header, self.hop_limit]);
        bytes::put(buffer, field::SOURCE, self.source.octets());
        bytes::put(buffer, field::DESTINATION, self.destination.octets());
        Ok(HEADER_LEN)
    }
}
