//! ARP for IPv4 over Ethernet (RFC 826), the only kind there is.

use super::{MacAddr, WireError, bytes};
use std::net::Ipv4Addr;

mod field {
    pub(super) const HTYPE: usize = 0;
    pub(super) const PTYPE: usize = 2;
    pub(super) const HLEN: usize = 4;
    pub(super) const PLEN: usize = 5;
    pub(super) const OPERATION: usize = 6;
    pub(super) const SENDER_MAC: usize = 8;
    pub(super) const SENDER_IP: usize = 14;
    pub(super) const TARGET_MAC: usize = 18;
    pub(super) const TARGET_IP: usize = 24;
    pub(super) const END: usize = 28;
}

/// Length of an ARP packet for IPv4 over Ethernet.
pub const PACKET_LEN: usize = field::END;

/// What is asked or told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender address is at the sender's hardware address.
    Reply,
}

/// A view of an ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses anything but IPv4 over Ethernet.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let data = buffer.as_ref();
        if data.len() < PACKET_LEN {
            return Err(WireError::Truncated);
        }
        let kinds = bytes::u16_at(data, field::HTYPE) == 1 && bytes::u16_at(data, field::PTYPE) == 0x0800;
        if !kinds || bytes::u8_at(data, field::HLEN) != 6 || bytes::u8_at(data, field::PLEN) != 4 {
            return Err(WireError::Kind);
        }
        Ok(Self { buffer })
    }

    /// The operation's number.
    #[inline]
    pub fn operation(&self) -> u16 {
        bytes::u16_at(self.buffer.as_ref(), field::OPERATION)
    }

    /// The sender's hardware address.
    #[inline]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(bytes::array(self.buffer.as_ref(), field::SENDER_MAC).unwrap_or_default())
    }

    /// The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    #[inline]
    pub fn sender_ip(&self) -> Ipv4Addr {
        bytes::u32_at(self.buffer.as_ref(), field::SENDER_IP).into()
    }

    /// The target's hardware address; means nothing in a request.
    #[inline]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(bytes::array(self.buffer.as_ref(), field::TARGET_MAC).unwrap_or_default())
    }

    /// The target's IPv4 address.
    #[inline]
    pub fn target_ip(&self) -> Ipv4Addr {
        bytes::u32_at(self.buffer.as_ref(), field::TARGET_IP).into()
    }
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repr {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address.
    pub sender_ip: Ipv4Addr,
    /// The target's hardware address; zero in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Repr {
    /// The bytes that [`Self::emit`] writes.
    pub const BUFFER_LEN: usize = PACKET_LEN;

    /// Reads a request or a reply; other operations are refused.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let packet = Packet::new_checked(data)?;
        let operation = match packet.operation() {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(WireError::Kind),
        };
        Ok(Self {
            operation,
            sender_mac: packet.sender_mac(),
            sender_ip: packet.sender_ip(),
            target_mac: packet.target_mac(),
            target_ip: packet.target_ip(),
        })
    }

    /// The bytes that [`Self::emit`] writes.
    pub const fn buffer_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet; returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        if buffer.len() < PACKET_LEN {
            return Err(WireError::Truncated);
        }
        bytes::put_u16(buffer, field::HTYPE, 1);
        bytes::put_u16(buffer, field::PTYPE, 0x0800);
        bytes::put(buffer, field::HLEN, [6]);
        bytes::put(buffer, field::PLEN, [4]);
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes::put_u16(buffer, field::OPERATION, operation);
        bytes::put(buffer, field::SENDER_MAC, self.sender_mac.0);
        bytes::put(buffer, field::SENDER_IP, self.sender_ip.octets());
        bytes::put(buffer, field::TARGET_MAC, self.target_mac.0);
        bytes::put(buffer, field::TARGET_IP, self.target_ip.octets());
        Ok(PACKET_LEN)
    }
}
