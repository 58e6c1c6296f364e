//! UDP (RFC 768).

use super::{WireError, bytes};

mod field {
    pub(super) const SOURCE_PORT: usize = 0;
    pub(super) const DESTINATION_PORT: usize = 2;
    pub(super) const LENGTH: usize = 4;
    pub(super) const CHECKSUM: usize = 6;
}

/// Length of the header.
pub const HEADER_LEN: usize = 8;

/// A view of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses a buffer shorter than the header or than the length field says, or a length below the header's own.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self { buffer };
        let available = packet.buffer.as_ref().len();
        if available < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        match usize::from(packet.length()) {
            len if len < HEADER_LEN => Err(WireError::Length),
            len if len > available => Err(WireError::Truncated),
            _ => Ok(packet),
        }
    }

    /// The source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::SOURCE_PORT)
    }

    /// The destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::DESTINATION_PORT)
    }

    /// Header and payload, in bytes.
    #[inline]
    pub fn length(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::LENGTH)
    }

    /// The checksum; zero means none (IPv4 only).
    #[inline]
    pub fn checksum(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The payload, as long as the length field says.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_ref().get(HEADER_LEN..usize::from(self.length())).unwrap_or(&[])
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the source port.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::SOURCE_PORT, port);
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::DESTINATION_PORT, port);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::CHECKSUM, checksum);
    }
}

/// A header. The checksum is left zero by `emit`: whoever knows the addresses fills it in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repr {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// Bytes behind the header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header whose length field is sound.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let packet = Packet::new_checked(data)?;
        Ok(Self {
            source_port: packet.source_port(),
            destination_port: packet.destination_port(),
            payload_len: packet.length().saturating_sub(HEADER_LEN as u16),
        })
    }

    /// The bytes that [`Self::emit`] writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header, checksum zero; returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        if buffer.len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        let length = self.payload_len.checked_add(HEADER_LEN as u16).ok_or(WireError::Length)?;
        bytes::put_u16(buffer, field::SOURCE_PORT, self.source_port);
        bytes::put_u16(buffer, field::DESTINATION_PORT, self.destination_port);
        bytes::put_u16(buffer, field::LENGTH, length);
        bytes::put_u16(buffer, field::CHECKSUM, 0);
        Ok(HEADER_LEN)
    }
}
