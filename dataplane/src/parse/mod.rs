//! One pass over a received frame: everything that filter, steering and routing ask about it, in one small value.
//!
//! [`summarise`] looks at Ethernet, 802.1Q, IPv4 or IPv6 with its extension headers, and the ports of TCP and UDP; it
//! refuses what a router must not act on (RFC 1812 section 5.2.2, RFC 8200), each refusal with its own name. Frames
//! that are not IP come out as [`ParseDrop::NotIp`] with their EtherType: ARP and cluster frames are rare, so they take
//! the error's way and the fast path has one branch less.

mod drops;
mod plain;
#[cfg(test)]
mod tests;

pub use drops::ParseDrop;
pub(crate) use plain::is_plain_host;
pub use plain::{PlainV4, plain_v4};

use crate::wire::bytes;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{EtherType, HEADER_LEN, TAGGED_HEADER_LEN};
use crate::wire::{ipv4, ipv6, ipv6_ext, proto};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which IP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What one pass found in a frame. Offsets count from the frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Summary {
    /// Source address as a number in host order; an IPv4 address stands in the low 32 bits.
    pub src: u128,
    /// Destination address, likewise.
    pub dst: u128,
    /// Which IP.
    pub family: Family,
    /// The payload's protocol, behind extension headers.
    pub proto: u8,
    /// TTL or hop limit, as received.
    pub ttl: u8,
    /// What else is known, [`flag`].
    pub flags: u8,
    /// Source port of TCP or UDP; zero without [`flag::PORTS`].
    pub src_port: u16,
    /// Destination port, likewise.
    pub dst_port: u16,
    /// Where the IP header starts.
    pub l3_offset: u16,
    /// Where the payload starts, behind options and extension headers.
    pub l4_offset: u16,
    /// Where the IP packet ends; the frame may go on with padding.
    pub l3_end: u16,
    /// A fragment's place in the whole payload, in bytes.
    pub fragment_offset: u16,
    /// What the fragments of one packet share (IPv4: the identification of any packet).
    pub id: u32,
}

/// Bits of [`Summary::flags`].
pub mod flag {
    /// Both ports were read.
    pub const PORTS: u8 = 1;
    /// Part of a larger packet.
    pub const FRAGMENT: u8 = 2;
    /// More fragments follow this one.
    pub const MORE_FRAGMENTS: u8 = 4;
    /// Must not be fragmented on the way (always so in IPv6).
    pub const DONT_FRAGMENT: u8 = 8;
    /// IPv4 options or IPv6 extension headers are present.
    pub const OPTIONS: u8 = 16;
}

impl Summary {
    /// A packet of which only addresses (of one family) and protocol are known.
    pub fn of_addresses(src: IpAddr, dst: IpAddr, proto: u8) -> Self {
        let ((family, src), (_, dst)) = (address_number(src), address_number(dst));
        Self {
            src,
            dst,
            family,
            proto,
            ttl: 0,
            flags: 0,
            src_port: 0,
            dst_port: 0,
            l3_offset: 0,
            l4_offset: 0,
            l3_end: 0,
            fragment_offset: 0,
            id: 0,
        }
    }

    /// The packet as if its receiver had sent it.
    #[must_use]
    pub const fn turned(&self) -> Self {
        let Self { src, dst, src_port, dst_port, .. } = *self;
        Self { src: dst, dst: src, src_port: dst_port, dst_port: src_port, ..*self }
    }

    /// Source address.
    #[inline]
    pub fn src_ip(&self) -> IpAddr {
        address(self.family, self.src)
    }

    /// Destination address.
    #[inline]
    pub fn dst_ip(&self) -> IpAddr {
        address(self.family, self.dst)
    }

    /// Whether all of these [`flag`] bits are set.
    #[inline]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Part of a larger packet.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.has(flag::FRAGMENT)
    }

    /// Length of the IP packet, header included.
    #[inline]
    pub const fn l3_len(&self) -> u16 {
        self.l3_end.saturating_sub(self.l3_offset)
    }

    /// The IP packet without the frame around it and its padding.
    #[inline]
    pub fn l3<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(usize::from(self.l3_offset)..usize::from(self.l3_end)).unwrap_or(&[])
    }

    /// What an IP packet carries, the packet itself being given. (Of a summary that was made without a packet: all that is given.)
    #[inline]
    pub fn carried<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(usize::from(self.l4_offset.saturating_sub(self.l3_offset))..).unwrap_or(&[])
    }

    /// What the IP packet carries: this is [`crate::filter::Filter::unit`]'s `payload`.
    #[inline]
    pub fn l4<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(usize::from(self.l4_offset)..usize::from(self.l3_end)).unwrap_or(&[])
    }

    /// Source or destination is valid on its own link only: such a packet is never forwarded.
    #[inline]
    pub const fn is_link_local(&self) -> bool {
        match self.family {
            Family::V4 => self.src >> 16 == 0xa9fe || self.dst >> 16 == 0xa9fe,
            Family::V6 => self.src >> 118 == 0x3fa || self.dst >> 118 == 0x3fa,
        }
    }

    /// Sent to a multicast group or to all hosts (255.255.255.255; a subnet's own broadcast address isn't known here).
    #[inline]
    pub const fn is_to_group(&self) -> bool {
        match self.family {
            Family::V4 => self.dst >> 28 == 0xe || self.dst == 0xffff_ffff,
            Family::V6 => self.dst >> 120 == 0xff,
        }
    }
}

#[inline]
fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// An address as [`Summary`] keeps it.
#[inline]
pub fn address_number(ip: IpAddr) -> (Family, u128) {
    match ip {
        IpAddr::V4(ip) => (Family::V4, u128::from(u32::from(ip))),
        IpAddr::V6(ip) => (Family::V6, u128::from(ip)),
    }
}

/// What a frame carries and where that starts, if it belongs to this port's VLAN: `None` takes untagged frames (and
/// priority tags), `Some` only frames with that tag.
#[inline]
pub fn ethertype(frame: &[u8], vlan: Option<u16>) -> Result<(EtherType, usize), ParseDrop> {
    if frame.len() < HEADER_LEN {
        return Err(ParseDrop::FrameTruncated);
    }
    let outer = EtherType(bytes::u16_at(frame, 12));
    if outer != EtherType::VLAN {
        return if vlan.is_none() { Ok((outer, HEADER_LEN)) } else { Err(ParseDrop::WrongVlan) };
    }
    if frame.len() < TAGGED_HEADER_LEN {
        return Err(ParseDrop::FrameTruncated);
    }
    let tag = bytes::u16_at(frame, 14) & 0x0fff;
    if tag != vlan.unwrap_or(0) {
        return Err(ParseDrop::WrongVlan);
    }
    Ok((EtherType(bytes::u16_at(frame, 16)), TAGGED_HEADER_LEN))
}

/// Reads a frame in one pass, IPv4 header checksum included.
#[inline]
pub fn summarise(frame: &[u8], vlan: Option<u16>) -> Result<Summary, ParseDrop> {
    match ethertype(frame, vlan)? {
        (EtherType::IPV4, offset) => summarise_v4::<true>(frame, offset),
        (EtherType::IPV6, offset) => summarise_v6(frame, offset),
        (ethertype, offset) => Err(ParseDrop::NotIp { ethertype, offset: offset as u16 }),
    }
}

/// Like [`summarise`], for frames whose IPv4 header checksum the NIC has found good.
#[inline]
pub fn summarise_trusted(frame: &[u8], vlan: Option<u16>) -> Result<Summary, ParseDrop> {
    match ethertype(frame, vlan)? {
        (EtherType::IPV4, offset) => summarise_v4::<false>(frame, offset),
        (EtherType::IPV6, offset) => summarise_v6(frame, offset),
        (ethertype, offset) => Err(ParseDrop::NotIp { ethertype, offset: offset as u16 }),
    }
}

/// Reads a bare IP packet (a reassembled one, say); offsets count from its first byte.
#[inline]
pub fn summarise_l3(packet: &[u8]) -> Result<Summary, ParseDrop> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => summarise_v4::<true>(packet, 0),
        Some(6) => summarise_v6(packet, 0),
        Some(_) => Err(ParseDrop::IpVersion),
        None => Err(ParseDrop::IpTruncated),
    }
}

#[inline]
fn summarise_v4<const VERIFY: bool>(frame: &[u8], l3: usize) -> Result<Summary, ParseDrop> {
    let packet = bytes::tail(frame, l3);
    let Some(header) = packet.first_chunk::<{ ipv4::HEADER_LEN }>() else { return Err(ParseDrop::IpTruncated) };
    let version_ihl = header[0];
    if version_ihl >> 4 != 4 {
        return Err(ParseDrop::IpVersion);
    }
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < ipv4::HEADER_LEN || total_len < header_len {
        return Err(ParseDrop::IpLength);
    }
    let Some(packet) = packet.get(..total_len) else { return Err(ParseDrop::IpTruncated) };
    let l3_end = u16::try_from(l3 + total_len).map_err(|_| ParseDrop::IpLength)?;
    if VERIFY {
        let sum = Sum::new().bytes(header).bytes(packet.get(ipv4::HEADER_LEN..header_len).unwrap_or(&[]));
        if !sum.is_valid() {
            return Err(ParseDrop::IpChecksum);
        }
    }
    let src = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    let dst = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    if is_martian_v4(src) || dst >> 24 == 127 || dst >> 24 == 0 {
        return Err(ParseDrop::Martian);
    }
    let word = u16::from_be_bytes([header[6], header[7]]);
    let fragment_offset = (word & ipv4::OFFSET_MASK) << 3;
    let mut flags = 0;
    if word & (ipv4::OFFSET_MASK | ipv4::MORE_FRAGMENTS | ipv4::DONT_FRAGMENT) != 0 {
        flags = flags_v4(word);
        // A fragment that would end past 65535 attacks reassembly ("ping of death"); no honest stack sends it.
        if usize::from(fragment_offset) + (total_len - header_len) + header_len > 65535 {
            return Err(ParseDrop::FragmentPastEnd);
        }
    }
    if header_len != ipv4::HEADER_LEN {
        flags |= flag::OPTIONS;
    }
    let mut summary = Summary {
        src: u128::from(src),
        dst: u128::from(dst),
        family: Family::V4,
        proto: header[9],
        ttl: header[8],
        flags,
        src_port: 0,
        dst_port: 0,
        l3_offset: l3 as u16,
        l4_offset: (l3 + header_len) as u16,
        l3_end,
        fragment_offset,
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
    };
    read_ports(&mut summary, bytes::tail(packet, header_len));
    Ok(summary)
}

#[inline]
const fn flags_v4(word: u16) -> u8 {
    let mut flags = 0;
    if word & (ipv4::OFFSET_MASK | ipv4::MORE_FRAGMENTS) != 0 {
        flags |= flag::FRAGMENT;
    }
    if word & ipv4::MORE_FRAGMENTS != 0 {
        flags |= flag::MORE_FRAGMENTS;
    }
    if word & ipv4::DONT_FRAGMENT != 0 {
        flags |= flag::DONT_FRAGMENT;
    }
    flags
}

/// Sources that no packet on a wire may have (RFC 1812 section 5.3.7): this-network, loopback, groups, class E.
#[inline]
const fn is_martian_v4(src: u32) -> bool {
    src >> 24 == 0 || src >> 24 == 127 || src >= 0xe000_0000
}

#[inline]
fn summarise_v6(frame: &[u8], l3: usize) -> Result<Summary, ParseDrop> {
    let packet = bytes::tail(frame, l3);
    let Some(header) = packet.first_chunk::<{ ipv6::HEADER_LEN }>() else { return Err(ParseDrop::IpTruncated) };
    if header[0] >> 4 != 6 {
        return Err(ParseDrop::IpVersion);
    }
    let end = ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let Some(payload) = packet.get(ipv6::HEADER_LEN..end) else { return Err(ParseDrop::IpTruncated) };
    let l3_end = u16::try_from(l3 + end).map_err(|_| ParseDrop::IpLength)?;
    let (src, dst) = (bytes::u128_at(header, 8), bytes::u128_at(header, 24));
    if src >> 120 == 0xff || src == 1 || dst <= 1 {
        return Err(ParseDrop::Martian);
    }
    let mut summary = Summary {
        src,
        dst,
        family: Family::V6,
        proto: header[6],
        ttl: header[7],
        flags: flag::DONT_FRAGMENT,
        src_port: 0,
        dst_port: 0,
        l3_offset: l3 as u16,
        l4_offset: (l3 + ipv6::HEADER_LEN) as u16,
        l3_end,
        fragment_offset: 0,
        id: 0,
    };
    if matches!(header[6], proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::DESTINATION_OPTIONS) {
        walk_extensions(&mut summary, payload)?;
    }
    let l4 = usize::from(summary.l4_offset) - l3 - ipv6::HEADER_LEN;
    read_ports(&mut summary, bytes::tail(payload, l4));
    Ok(summary)
}

/// The rare half of an IPv6 packet: kept out of the fast path's code.
#[cold]
fn walk_extensions(summary: &mut Summary, payload: &[u8]) -> Result<(), ParseDrop> {
    let walk = ipv6_ext::walk(summary.proto, payload).map_err(|_| ParseDrop::ExtensionHeaders)?;
    summary.proto = walk.proto;
    summary.l4_offset += walk.offset as u16;
    summary.flags |= flag::OPTIONS;
    if let Some(fragment) = walk.fragment {
        let end =
            usize::from(fragment.offset) + payload.len().saturating_sub(walk.fragment_at + ipv6_ext::FRAGMENT_LEN);
        if end + walk.fragment_at > 65535 {
            return Err(ParseDrop::FragmentPastEnd);
        }
        summary.id = fragment.id;
        summary.fragment_offset = fragment.offset;
        // An atomic fragment (offset 0, nothing more: RFC 6946) is a whole packet.
        if fragment.offset > 0 || fragment.more {
            summary.flags |= flag::FRAGMENT;
        }
        if fragment.more {
            summary.flags |= flag::MORE_FRAGMENTS;
        }
    }
    Ok(())
}

#[inline]
fn read_ports(summary: &mut Summary, payload: &[u8]) {
    if matches!(summary.proto, proto::TCP | proto::UDP)
        && summary.fragment_offset == 0
        && let Some(&[a, b, c, d]) = payload.first_chunk::<4>()
    {
        summary.src_port = u16::from_be_bytes([a, b]);
        summary.dst_port = u16::from_be_bytes([c, d]);
        summary.flags |= flag::PORTS;
    }
}
