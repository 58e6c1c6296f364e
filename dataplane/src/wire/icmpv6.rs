//! ICMP for IPv6 (RFC 4443). Neighbor Discovery's messages are in [`super::ndisc`].

use super::checksum::Sum;
use super::{WireError, bytes, proto};
use std::net::Ipv6Addr;

mod field {
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: usize = 2;
    pub(super) const REST: usize = 4;
}

/// Length of the header; in an error the quoted packet follows.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbor solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Neighbor advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Redirect.
pub const REDIRECT: u8 = 137;

/// Unreachable: no route.
pub const CODE_NO_ROUTE: u8 = 0;
/// Unreachable: the last hop's neighbour does not answer.
pub const CODE_ADDRESS: u8 = 3;
/// Unreachable: nobody listens on the port.
pub const CODE_PORT: u8 = 4;
/// Parameter problem: the host does not speak the protocol.
pub const CODE_NEXT_HEADER: u8 = 1;

/// Whether messages of this kind quote the packet that they complain of (all types below 128 do).
#[inline]
pub const fn is_error(kind: u8) -> bool {
    kind < 128
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

    /// Whether the message is intact, as sent between these addresses.
    #[inline]
    pub fn verify_checksum(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        let data = self.buffer.as_ref();
        let (source, destination) = (u128::from(source), u128::from(destination));
        Sum::new().pseudo_v6(source, destination, proto::ICMPV6, data.len()).bytes(data).is_valid()
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

    /// The MTU of a "packet too big".
    #[inline]
    pub fn mtu(&self) -> u32 {
        bytes::u32_at(self.buffer.as_ref(), field::REST)
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

    /// Sets the second header word (MTU, ND flags, …); the checksum is not repaired.
    #[inline]
    pub fn set_rest(&mut self, rest: u32) {
        bytes::put_u32(self.buffer.as_mut(), field::REST, rest);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        bytes::put_u16(self.buffer.as_mut(), field::CHECKSUM, checksum);
    }

    /// Computes and writes the checksum over the whole buffer, as sent between these addresses.
    #[inline]
    pub fn fill_checksum(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.set_checksum(0);
        let data = self.buffer.as_ref();
        let (source, destination) = (u128::from(source), u128::from(destination));
        let sum = Sum::new().pseudo_v6(source, destination, proto::ICMPV6, data.len()).bytes(data);
        self.set_checksum(sum.checksum());
    }
}
