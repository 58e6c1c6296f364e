//! What a member says for itself: answers for its unit addresses and, as the master, for the cluster address; requests
//! for next hops; announcements. Pure functions that write whole frames into the caller's buffer, or turn the received
//! frame into its answer in place.
//!
//! Two rules of DESIGN.md section 4 show here. The *answered* hardware address (`tell`) may be the cluster's shared
//! one, but the frame's source is always the port's own: nobody ever sources frames from the shared address. And
//! requests for next hops carry the member's own unit address as sender, never the cluster's.

mod announce;
#[cfg(test)]
mod tests;

pub use announce::{arp_announcement, arp_request, nd_announcement, nd_request};

use crate::neighbour::Evidence;
use crate::parse::{Family, Summary};
use crate::wire::checksum;
use crate::wire::ethernet::{self, EtherType};
use crate::wire::{MacAddr, VlanId, WireError, arp, bytes, icmpv4, icmpv6, ipv4, ipv6, ndisc, proto};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Where frames leave: the port's own address, and its VLAN if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The port's own hardware address.
    pub mac: MacAddr,
    /// Its VLAN.
    pub vlan: Option<VlanId>,
}

impl Origin {
    pub(super) fn header(&self, destination: MacAddr, ethertype: EtherType) -> ethernet::Repr {
        ethernet::Repr { destination, source: self.mac, vlan: self.vlan, ethertype }
    }
}

/// A buffer of this length holds every frame built here (answers to echo requests are made in place).
pub const FRAME_LEN_MAX: usize = ethernet::TAGGED_HEADER_LEN + ipv6::HEADER_LEN + ndisc::HEADER_LEN + ndisc::OPTION_LEN;

/// Writes the ARP reply to `request`: the target address is at `tell`. A probe (sender 0.0.0.0, RFC 5227) is answered
/// like any other request.
pub fn arp_reply(origin: &Origin, request: &arp::Repr, tell: MacAddr, buffer: &mut [u8]) -> Result<usize, WireError> {
    let reply = arp::Repr {
        operation: arp::Operation::Reply,
        sender_mac: tell,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    announce::arp_frame(origin, request.sender_mac, &reply, buffer)
}

/// A solicitation that deserves an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Solicitation {
    /// Who asks; unspecified while it checks for duplicates.
    pub source: Ipv6Addr,
    /// Its hardware address, as it says, else that of the frame.
    pub source_mac: MacAddr,
    /// The address asked for.
    pub target: Ipv6Addr,
}

/// A neighbor advertisement that was received.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Advertisement {
    /// The address told of.
    pub target: Ipv6Addr,
    /// Where it is.
    pub mac: MacAddr,
    /// It answers a solicitation of ours.
    pub solicited: bool,
    /// It may replace what is known.
    pub override_known: bool,
}

impl Advertisement {
    /// What it is worth to the neighbour table; nothing, if it is neither asked for nor meant to replace anything.
    pub fn evidence(&self) -> Option<Evidence> {
        match (self.solicited, self.override_known) {
            (true, true) => Some(Evidence::Reply),
            (true, false) => Some(Evidence::WeakReply),
            (false, true) => Some(Evidence::Gratuitous),
            (false, false) => None,
        }
    }
}

/// A Neighbor Discovery message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Discovery {
    /// Somebody asks.
    Solicitation(Solicitation),
    /// Somebody tells.
    Advertisement(Advertisement),
    /// A router message or redirect: recognised, ignored (routes are configured).
    Router,
}

/// Reads a frame as Neighbor Discovery, with all checks of RFC 4861 sections 7.1.1 and 7.1.2 (hop limit 255,
/// checksum, code, lengths). `None`: some other ICMPv6, to be treated as such.
pub fn discovery(summary: &Summary, frame: &[u8]) -> Option<Result<Discovery, WireError>> {
    if summary.family != Family::V6 || summary.proto != proto::ICMPV6 || summary.is_fragment() {
        return None;
    }
    let message = summary.l4(frame);
    match bytes::u8_at(message, 0) {
        icmpv6::ROUTER_SOLICITATION | icmpv6::ROUTER_ADVERTISEMENT | icmpv6::REDIRECT => Some(Ok(Discovery::Router)),
        icmpv6::NEIGHBOR_SOLICITATION | icmpv6::NEIGHBOR_ADVERTISEMENT => Some(checked(summary, frame, message)),
        _ => None,
    }
}

fn checked(summary: &Summary, frame: &[u8], message: &[u8]) -> Result<Discovery, WireError> {
    let (source, destination) = (Ipv6Addr::from(summary.src), Ipv6Addr::from(summary.dst));
    let intact = icmpv6::Packet::new_checked(message)?.verify_checksum(source, destination);
    if summary.ttl != ndisc::HOP_LIMIT || !intact {
        return Err(WireError::Kind);
    }
    let frame_source = ethernet::Packet::new_checked(frame)?.source();
    match ndisc::Repr::parse(message)? {
        ndisc::Repr::Solicitation { target, source_mac } => {
            // While checking for duplicates nobody has an address to give, and asks the group only.
            let probing = source.is_unspecified();
            if probing && (source_mac.is_some() || destination != ndisc::solicited_node(target)) {
                return Err(WireError::Kind);
            }
            let source_mac = source_mac.unwrap_or(frame_source);
            Ok(Discovery::Solicitation(Solicitation { source, source_mac, target }))
        }
        ndisc::Repr::Advertisement { target, solicited, override_known, target_mac, .. } => {
            if solicited && destination.is_multicast() {
                return Err(WireError::Kind);
            }
            let mac = target_mac.unwrap_or(frame_source);
            Ok(Discovery::Advertisement(Advertisement { target, mac, solicited, override_known }))
        }
    }
}

/// Writes the advertisement that answers a solicitation: its target is at `tell`. To a member that checks for
/// duplicates the answer goes to all nodes, unsolicited (RFC 4861 section 7.2.4).
pub fn nd_reply(origin: &Origin, asked: &Solicitation, tell: MacAddr, buffer: &mut [u8]) -> Result<usize, WireError> {
    let probing = asked.source.is_unspecified();
    let destination = if probing { announce::ALL_NODES } else { asked.source };
    let mac = if probing { MacAddr::of_ipv6_multicast(announce::ALL_NODES) } else { asked.source_mac };
    let message = ndisc::Repr::Advertisement {
        target: asked.target,
        router: true,
        solicited: !probing,
        override_known: true,
        target_mac: Some(tell),
    };
    announce::nd_frame(origin, mac, asked.target, destination, &message, buffer)
}

/// Turns an ICMP or ICMPv6 echo request into its reply, in place: addresses exchanged, TTL renewed, checksums repaired;
/// the Ethernet header goes back where it came from, with the port's own address as source. False, and nothing
/// changed, if the frame isn't an intact echo request to one host.
pub fn echo_reply_in_place(origin: &Origin, summary: &Summary, frame: &mut [u8]) -> bool {
    let Ok(source_mac) = ethernet::Packet::new_checked(&frame[..]).map(|packet| packet.source()) else { return false };
    let done = echo_reply(summary, frame);
    if done && let Ok(mut header) = ethernet::Packet::new_checked(frame) {
        header.set_destination(source_mac);
        header.set_source(origin.mac);
    }
    done
}

/// The same, where there is no Ethernet header, or none that counts.
pub fn echo_reply(summary: &Summary, packet: &mut [u8]) -> bool {
    if summary.is_fragment() || summary.is_to_group() || summary.src == 0 {
        return false;
    }
    match (summary.family, summary.proto) {
        (Family::V4, proto::ICMP) => echo_v4(summary, packet),
        (Family::V6, proto::ICMPV6) => echo_v6(summary, packet),
        _ => false,
    }
}

const TTL: u8 = 64;

fn echo_v4(summary: &Summary, frame: &mut [u8]) -> bool {
    let (l3, l4, end) = offsets(summary);
    let Some(message) = frame.get_mut(l4..end) else { return false };
    let Ok(mut icmp) = icmpv4::Packet::new_checked(message) else { return false };
    if icmp.kind() != icmpv4::ECHO_REQUEST || icmp.code() != 0 || !icmp.verify_checksum() {
        return false;
    }
    let repaired = checksum::update(icmp.checksum(), u16::from(icmpv4::ECHO_REQUEST) << 8, 0);
    icmp.set_kind(icmpv4::ECHO_REPLY);
    icmp.set_checksum(repaired);
    let Some(header) = frame.get_mut(l3..end) else { return false };
    let Ok(mut ip) = ipv4::Packet::new_checked(header) else { return false };
    ip.set_source(Ipv4Addr::from(summary.dst as u32));
    ip.set_destination(Ipv4Addr::from(summary.src as u32));
    ip.set_ttl(TTL);
    ip.fill_checksum();
    true
}

fn echo_v6(summary: &Summary, frame: &mut [u8]) -> bool {
    let (l3, l4, end) = offsets(summary);
    let (source, destination) = (Ipv6Addr::from(summary.src), Ipv6Addr::from(summary.dst));
    let Some(message) = frame.get_mut(l4..end) else { return false };
    let Ok(mut icmp) = icmpv6::Packet::new_checked(message) else { return false };
    if icmp.kind() != icmpv6::ECHO_REQUEST || icmp.code() != 0 || !icmp.verify_checksum(source, destination) {
        return false;
    }
    let (old, new) = (u16::from(icmpv6::ECHO_REQUEST) << 8, u16::from(icmpv6::ECHO_REPLY) << 8);
    // Exchanging the addresses leaves the pseudo header's sum as it was.
    let repaired = checksum::update(icmp.checksum(), old, new);
    icmp.set_kind(icmpv6::ECHO_REPLY);
    icmp.set_checksum(repaired);
    let Some(header) = frame.get_mut(l3..end) else { return false };
    let Ok(mut ip) = ipv6::Packet::new_checked(header) else { return false };
    ip.set_source(destination);
    ip.set_destination(source);
    ip.set_hop_limit(TTL);
    true
}

fn offsets(summary: &Summary) -> (usize, usize, usize) {
    (usize::from(summary.l3_offset), usize::from(summary.l4_offset), usize::from(summary.l3_end))
}
