//! Frames that nobody asked for: requests for next hops, and announcements of an address.

use super::Origin;
use crate::wire::ethernet::{self, EtherType};
use crate::wire::{MacAddr, WireError, arp, ipv6, ndisc, proto};
use std::net::{Ipv4Addr, Ipv6Addr};

/// All nodes of a link.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Writes an ARP request for `target` from the member's own unit address: to all, or to `unicast_to` to confirm it.
pub fn arp_request(
    origin: &Origin,
    own_ip: Ipv4Addr,
    target: Ipv4Addr,
    unicast_to: Option<MacAddr>,
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let request = arp::Repr {
        operation: arp::Operation::Request,
        sender_mac: origin.mac,
        sender_ip: own_ip,
        target_mac: MacAddr::ZERO,
        target_ip: target,
    };
    arp_frame(origin, unicast_to.unwrap_or(MacAddr::BROADCAST), &request, buffer)
}

/// Writes a gratuitous ARP that says that `ip` is at `tell`: a request (what RFC 5227 section 3 wants) or a reply
/// (what some hosts listen to only); send both.
pub fn arp_announcement(
    origin: &Origin,
    operation: arp::Operation,
    ip: Ipv4Addr,
    tell: MacAddr,
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let target_mac = match operation {
        arp::Operation::Request => MacAddr::ZERO,
        arp::Operation::Reply => MacAddr::BROADCAST,
    };
    let announcement = arp::Repr { operation, sender_mac: tell, sender_ip: ip, target_mac, target_ip: ip };
    arp_frame(origin, MacAddr::BROADCAST, &announcement, buffer)
}

/// Writes a neighbor solicitation for `target` from the member's own unit address: to its solicited-node group, or to
/// `unicast_to` to confirm it.
pub fn nd_request(
    origin: &Origin,
    own_ip: Ipv6Addr,
    target: Ipv6Addr,
    unicast_to: Option<MacAddr>,
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let (mac, destination) = match unicast_to {
        Some(mac) => (mac, target),
        None => {
            let group = ndisc::solicited_node(target);
            (MacAddr::of_ipv6_multicast(group), group)
        }
    };
    let message = ndisc::Repr::Solicitation { target, source_mac: Some(origin.mac) };
    nd_frame(origin, mac, own_ip, destination, &message, buffer)
}

/// Writes an unsolicited advertisement to all nodes that says that `ip` is at `tell` (RFC 4861 section 7.2.6).
pub fn nd_announcement(origin: &Origin, ip: Ipv6Addr, tell: MacAddr, buffer: &mut [u8]) -> Result<usize, WireError> {
    let message = ndisc::Repr::Advertisement {
        target: ip,
        router: true,
        solicited: false,
        override_known: true,
        target_mac: Some(tell),
    };
    nd_frame(origin, MacAddr::of_ipv6_multicast(ALL_NODES), ip, ALL_NODES, &message, buffer)
}

/// ARP frames are short: the rest up to Ethernet's least length is zeroed, so that nothing old leaks.
pub(super) fn arp_frame(
    origin: &Origin,
    destination: MacAddr,
    packet: &arp::Repr,
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let frame = buffer.get_mut(..ethernet::FRAME_LEN_MIN).ok_or(WireError::Truncated)?;
    let at = origin.header(destination, EtherType::ARP).emit(frame)?;
    let body = frame.get_mut(at..).ok_or(WireError::Truncated)?;
    let len = packet.emit(body)?;
    body.get_mut(len..).ok_or(WireError::Truncated)?.fill(0);
    Ok(ethernet::FRAME_LEN_MIN)
}

pub(super) fn nd_frame(
    origin: &Origin,
    mac: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: &ndisc::Repr,
    buffer: &mut [u8],
) -> Result<usize, WireError> {
    let header = ipv6::Repr {
        traffic_class: 0,
        next_header: proto::ICMPV6,
        hop_limit: ndisc::HOP_LIMIT,
        source,
        destination,
        payload_len: message.buffer_len() as u16,
    };
    let l3 = origin.header(mac, EtherType::IPV6).emit(buffer)?;
    let l4 = l3 + header.emit(buffer.get_mut(l3..).ok_or(WireError::Truncated)?)?;
    let len = message.emit(source, destination, buffer.get_mut(l4..).ok_or(WireError::Truncated)?)?;
    Ok(l4 + len)
}
