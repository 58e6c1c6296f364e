//! IEEE 802.1Q: the tag between the source address and the EtherType.

use super::ethernet::EtherType;
use super::{WireError, bytes};

mod field {
    pub(super) const TCI: usize = 0;
    pub(super) const ETHERTYPE: usize = 2;
}

/// Bytes that a tag adds to a frame.
pub const TAG_LEN: usize = 4;

/// A VLAN's number, 1..=4094 (0 means "priority tag only", 4095 is reserved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN with this number, if the number is allowed.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 1 && number <= 4094 { Some(Self(number)) } else { None }
    }

    /// This VLAN's number.
    #[inline]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A view of what follows the EtherType 0x8100: tag control information, then the real EtherType.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses a buffer shorter than a tag.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        if buffer.as_ref().len() < TAG_LEN { Err(WireError::Truncated) } else { Ok(Self { buffer }) }
    }

    /// The VLAN's number as it stands in the frame, 0..=4095.
    #[inline]
    pub fn vlan(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::TCI) & 0x0fff
    }

    /// The priority code point, 0..=7.
    #[inline]
    pub fn priority(&self) -> u8 {
        (bytes::u16_at(self.buffer.as_ref(), field::TCI) >> 13) as u8
    }

    /// What follows the tag.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(bytes::u16_at(self.buffer.as_ref(), field::ETHERTYPE))
    }

    /// The bytes behind the tag.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::tail(self.buffer.as_ref(), TAG_LEN)
    }
}
