//! TCP's header (RFC 9293 section 3.1), as far as the packet path looks at it: ports, numbers, flags.

use super::{WireError, bytes};

mod field {
    pub(super) const SOURCE_PORT: usize = 0;
    pub(super) const DESTINATION_PORT: usize = 2;
    pub(super) const SEQUENCE: usize = 4;
    pub(super) const ACKNOWLEDGEMENT: usize = 8;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: usize = 14;
    pub(super) const CHECKSUM: usize = 16;
}

/// Length of the header without options.
pub const HEADER_LEN: usize = 20;

/// FIN.
pub const FLAG_FIN: u8 = 0x01;
/// SYN.
pub const FLAG_SYN: u8 = 0x02;
/// RST.
pub const FLAG_RST: u8 = 0x04;
/// PSH.
pub const FLAG_PSH: u8 = 0x08;
/// ACK.
pub const FLAG_ACK: u8 = 0x10;

/// A view of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses a buffer shorter than the header with its options.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self { buffer };
        let available = packet.buffer.as_ref().len();
        if available < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        match packet.header_len() {
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

    /// The sequence number.
    #[inline]
    pub fn sequence(&self) -> u32 {
        bytes::u32_at(self.buffer.as_ref(), field::SEQUENCE)
    }

    /// The acknowledgement number; means nothing without [`FLAG_ACK`].
    #[inline]
    pub fn acknowledgement(&self) -> u32 {
        bytes::u32_at(self.buffer.as_ref(), field::ACKNOWLEDGEMENT)
    }

    /// The header with its options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(bytes::u8_at(self.buffer.as_ref(), field::DATA_OFFSET) >> 4) * 4
    }

    /// The flags, `FLAG_*`.
    #[inline]
    pub fn flags(&self) -> u8 {
        bytes::u8_at(self.buffer.as_ref(), field::FLAGS)
    }

    /// The window, unscaled.
    #[inline]
    pub fn window(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::WINDOW)
    }

    /// The checksum.
    #[inline]
    pub fn checksum(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The bytes behind header and options.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::tail(self.buffer.as_ref(), self.header_len())
    }
}
