//! ICMP for IPv4 (RFC 792), the path MTU of RFC 1191.

use super::checksum::{self, Sum};
use super::{WireError, bytes};

mod field {
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: usize = 2;
    pub(super) const REST: usize = 4;
}

/// Length of the header; in an error the quoted packet follows.
pub const HEADER_LEN: usize = 8;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (obsolete, still an error).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect (counts as an error: quotes a packet).
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Unreachable: no route.
pub const CODE_NET: u8 = 0;
/// Unreachable: the last hop's neighbour does not answer.
pub const CODE_HOST: u8 = 1;
/// Unreachable: the host does not speak the protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Unreachable: nobody listens on the port.
pub const CODE_PORT: u8 = 3;
/// Unreachable: too long, and fragmentation is forbidden.
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;

/// Whether messages of this kind quote the packet that they complain of.
#[inline]
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

/// A view of a message.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses a buffer shorter than the header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        if buffer.as_ref().len() < HEADER_LEN { Err(WireError::Truncated) } else { Ok(Self { buffer }) }
    }

    /// The message's type.
    #[inline]
    pub fn kind(&self) -> u8 {
        bytes::u8_at(self.buffer.as_ref(), field::KIND)
    }

    /// The message's code.
    #[inline]
    pub fn code(&self) -> u8 {
        bytes::u8_at(self.buffer.as_ref(), field::CODE)
    }

    /// The checksum.
    #[inline]
    pub fn checksum(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// Whether the message is intact.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        Sum::new().bytes(self.buffer.as_ref()).is_valid()
    }

    /// An echo's identifier.
    #[inline]
    pub fn echo_id(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::REST)
    }

    /// An echo's sequence number.
    #[inline]
    pub fn echo_sequence(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::REST + 2)
    }

    /// The next hop's MTU of a "fragmentation needed"; zero from routers older than RFC 1191.
    #[inline]
    pub fn mtu(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::REST + 2)
    }

    /// What follows the header: an echo's data, an error's quoted packet.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::tail(self.buffer.as_ref(), HEADER_LEN)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the type; the checksum is not repaired.
    #[inline]
    pub fn set_kind(&mut self, kind: u8) {
        bytes::put(self.buffer.as_mut(), field::KIND, [kind]);
    }

    /// Sets the code; the checksum is not repaired.
    #[inline]
    pub fn set_code(&mut self, code: u8) {
        bytes::put(self.buffer.as_mut(), field::CODE, [code]);
    }

    /// Sets the second header word (echo identifier and sequence, MTU, …); the checksum is not repaired.
    #[inline]
    pub fn set_rest(&mut self, rest: u32) {
        bytes::put_u32(self.buffer.as_mut(), field::REST, rest);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::CHECKSUM, checksum);
    }

    /// Computes and writes the checksum over the whole buffer.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let sum = checksum::checksum(self.buffer.as_ref());
        self.set_checksum(sum);
    }
}
