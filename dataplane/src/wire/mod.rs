//! Headers on the wire, one a file: a private `field` module with offsets, a view `Packet<T>` over borrowed bytes,
//! and, where packets are built as well, an owned `Repr` with `parse`, `emit` and `buffer_len`.
//!
//! # No-panic contract
//!
//! Nothing in this module panics, whatever the bytes and however long the buffer:
//!
//! * `new_checked` proves that the header that it names is present (its variable part too), and refuses otherwise;
//! * accessors read through [`bytes`], which answers zero past the end, so even a view whose buffer later shrinks
//!   stays total; setters past the end write nothing;
//! * `emit` says [`WireError::Truncated`] if the buffer is shorter than `buffer_len`, and returns the length written.
//!
//! Walks (IPv6 extension headers, ND options) are bounded by a constant as well as by the buffer.
//!
//! Views do not judge content: whether a TTL may be zero or a checksum must match is the business of
//! [`crate::parse`] and of the protocol. All of it is inlineable: it runs once or more per packet.

pub mod arp;
pub mod bytes;
pub mod checksum;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_ext;
pub mod mac;
pub mod ndisc;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use ethernet::{ETHERTYPE_CLUSTER, EtherType};
pub use mac::MacAddr;
pub use vlan::VlanId;

/// Takes one off an IP packet's TTL or hop limit: it has made a hop. False: there was none left to take, or it is no IP packet.
pub fn age(packet: &mut [u8]) -> bool {
    match bytes::u8_at(packet, 0) >> 4 {
        4 => ipv4::Packet::new_header_checked(packet).is_ok_and(|mut packet| packet.decrement_ttl()),
        6 => ipv6::Packet::new_checked(packet).is_ok_and(|mut packet| packet.decrement_hop_limit()),
        _ => false,
    }
}

/// The same of an IPv4 header that is sound.
#[inline]
pub fn age_v4(header: &mut [u8; ipv4::HEADER_LEN]) -> bool {
    // One load: byte by byte, the compiler leaves four.
    let place = &mut header.as_chunks_mut::<4>().0[2];
    let word = u32::from_le_bytes(*place);
    let has_hops = word & 0xff > 1;
    if has_hops {
        *place = aged_v4(word).to_le_bytes();
    }
    has_hops
}

/// TTL, protocol and checksum of an IPv4 header that has a hop left, as loaded from the frame, one hop later. RFC 1141: the TTL's word
/// falls by 0x0100, so the checksum rises by as much, with end-around carry. The sum of exchanged bytes is the sum with its bytes
/// exchanged (RFC 1071): so what is added is 1 to the upper half, and what is taken is 1 from the lowest byte.
#[inline(always)]
pub const fn aged_v4(word: u32) -> u32 {
    let aged = word.wrapping_add(0x1_0000 - 1);
    let carry = (aged < word) as u32;
    aged.wrapping_add(carry << 16)
}

/// IP protocol numbers (IANA) that the data path knows by name.
pub mod proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// An IPv4 packet in another packet.
    pub const IPV4: u8 = 4;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// An IPv6 packet in another packet.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic Routing Encapsulation (PPTP's data channel among others).
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload.
    pub const ESP: u8 = 50;
    /// Authentication Header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6: nothing follows.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Why bytes are not the header that they were taken for, or do not fit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum WireError {
    /// The buffer ends before the header does.
    #[error("the buffer is shorter than the header")]
    Truncated,
    /// A length field contradicts the buffer or the header's own minimum.
    #[error("a length field contradicts the packet")]
    Length,
    /// The version field is not this protocol's.
    #[error("the version field is another protocol's")]
    Version,
    /// A type field names something that this header does not carry.
    #[error("a type field names an unsupported kind")]
    Kind,
}

#[cfg(test)]
mod tests;
