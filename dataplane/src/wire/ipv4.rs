//! IPv4 (RFC 791), options skipped, never emitted.

use super::checksum::{self, Sum};
use super::{WireError, bytes};
use std::net::Ipv4Addr;

mod field {
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LENGTH: usize = 2;
    pub(super) const ID: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: usize = 10;
    pub(super) const SOURCE: usize = 12;
    pub(super) const DESTINATION: usize = 16;
}

/// Length of the header without options.
pub const HEADER_LEN: usize = 20;
/// Where flags and offset are.
pub const FRAGMENT_AT: usize = 6;
/// The fragment word's "don't fragment" bit.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The fragment word's "more fragments" bit.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment word's offset, in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// A view of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses another version, a buffer shorter than header or total length, and lengths that contradict each other.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self::new_header_checked(buffer)?;
        if packet.buffer.as_ref().len() < usize::from(packet.total_len()) {
            return Err(WireError::Truncated);
        }
        Ok(packet)
    }

    /// Like [`Self::new_checked`], but the payload may be cut off: a packet quoted by an ICMP error.
    #[inline]
    pub fn new_header_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self { buffer };
        let available = packet.buffer.as_ref().len();
        if available < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        if packet.version() != 4 {
            return Err(WireError::Version);
        }
        let header_len = packet.header_len();
        if header_len < HEADER_LEN || usize::from(packet.total_len()) < header_len {
            return Err(WireError::Length);
        }
        if available < header_len { Err(WireError::Truncated) } else { Ok(packet) }
    }

    #[inline]
    fn data(&self) -> &[u8] {
        self.buffer.as_ref()
    }

    /// The version, 4 in a checked view.
    #[inline]
    pub fn version(&self) -> u8 {
        bytes::u8_at(self.data(), field::VERSION_IHL) >> 4
    }

    /// The header with its options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(bytes::u8_at(self.data(), field::VERSION_IHL) & 0x0f) * 4
    }

    /// Type of service: DSCP and ECN.
    #[inline]
    pub fn tos(&self) -> u8 {
        bytes::u8_at(self.data(), field::TOS)
    }

    /// Header and payload, in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        bytes::u16_at(self.data(), field::TOTAL_LENGTH)
    }

    /// The identification that fragments of one packet share.
    #[inline]
    pub fn id(&self) -> u16 {
        bytes::u16_at(self.data(), field::ID)
    }

    /// Flags and offset as one word: [`DONT_FRAGMENT`], [`MORE_FRAGMENTS`], [`OFFSET_MASK`].
    #[inline]
    pub fn fragment_word(&self) -> u16 {
        bytes::u16_at(self.data(), field::FRAGMENT)
    }

    /// The sender forbids fragmentation.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment_word() & DONT_FRAGMENT != 0
    }

    /// Where this fragment belongs in the whole payload, in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (self.fragment_word() & OFFSET_MASK) << 3
    }

    /// Part of a larger packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_word() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        bytes::u8_at(self.data(), field::TTL)
    }

    /// The payload's protocol.
    #[inline]
    pub fn protocol(&self) -> u8 {
        bytes::u8_at(self.data(), field::PROTOCOL)
    }

    /// The header's checksum.
    #[inline]
    pub fn checksum(&self) -> u16 {
        bytes::u16_at(self.data(), field::CHECKSUM)
    }

    /// Whether the header is intact.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        self.data().get(..self.header_len()).is_some_and(|header| Sum::new().bytes(header).is_valid())
    }

    /// The source address.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        bytes::u32_at(self.data(), field::SOURCE).into()
    }

    /// The destination address.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        bytes::u32_at(self.data(), field::DESTINATION).into()
    }

    /// The payload, as far as total length and buffer go.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let data = self.data();
        let end = usize::from(self.total_len()).min(data.len());
        data.get(self.header_len()..end).unwrap_or(&[])
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Takes one hop off the TTL and repairs the checksum; false, and nothing changed, if no hop is left to take.
    #[inline]
    pub fn decrement_ttl(&mut self) -> bool {
        let ttl = self.ttl();
        if ttl <= 1 {
            return false;
        }
        let word = bytes::u16_at(self.data(), field::TTL);
        let fixed = checksum::update(self.checksum(), word, word.wrapping_sub(0x100));
        bytes::put(self.buffer.as_mut(), field::TTL, [ttl - 1]);
        bytes::put_u16(self.buffer.as_mut(), field::CHECKSUM, fixed);
        true
    }

    /// Sets the TTL; the checksum is not repaired.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        bytes::put(self.buffer.as_mut(), field::TTL, [ttl]);
    }

    /// Sets the total length; the checksum is not repaired.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::TOTAL_LENGTH, len);
    }

    /// Sets flags and offset; the checksum is not repaired.
    #[inline]
    pub fn set_fragment_word(&mut self, word: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::FRAGMENT, word);
    }

    /// Sets the source address; the checksum is not repaired.
    #[inline]
    pub fn set_source(&mut self, address: Ipv4Addr) {
        bytes::put(self.buffer.as_mut(), field::SOURCE, address.octets());
    }

    /// Sets the destination address; the checksum is not repaired.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        bytes::put(self.buffer.as_mut(), field::DESTINATION, address.octets());
    }

    /// Computes and writes the header's checksum.
    #[inline]
    pub fn fill_checksum(&mut self) {
        let len = self.header_len();
        let data = self.buffer.as_mut();
        bytes::put_u16(data, field::CHECKSUM, 0);
        let sum = data.get(..len).map_or(0, checksum::checksum);
        bytes::put_u16(data, field::CHECKSUM, sum);
    }
}

/// A header without options.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repr {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and offset: [`DONT_FRAGMENT`], [`MORE_FRAGMENTS`], [`OFFSET_MASK`].
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// The payload's protocol.
    pub protocol: u8,
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// Bytes behind the header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header; its options, if any, are skipped and not kept.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let packet = Packet::new_checked(data)?;
        Ok(Self {
            tos: packet.tos(),
            id: packet.id(),
            fragment: packet.fragment_word(),
            ttl: packet.ttl(),
            protocol: packet.protocol(),
            source: packet.source(),
            destination: packet.destination(),
            payload_len: packet.total_len().saturating_sub(packet.header_len() as u16),
        })
    }

    /// The bytes that [`Self::emit`] writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header with its checksum; returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let header = buffer.get_mut(..HEADER_LEN).ok_or(WireError::Truncated)?;
        let total = self.payload_len.checked_add(HEADER_LEN as u16).ok_or(WireError::Length)?;
        bytes::put(header, field::VERSION_IHL, [0x45, self.tos]);
        bytes::put_u16(header, field::TOTAL_LENGTH, total);
        bytes::put_u16(header, field::ID, self.id);
        bytes::put_u16(header, field::FRAGMENT, self.fragment);
        bytes::put(header, field::TTL, [self.ttl, self.protocol]);
        bytes::put(header, field::SOURCE, self.source.octets());
        bytes::put(header, field::DESTINATION, self.destination.octets());
        Packet { buffer: header }.fill_checksum();
        Ok(HEADER_LEN)
    }
}
