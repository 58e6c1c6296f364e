//! The packet that an ICMP error quotes, turned round: as if the flow's other side had sent it.

use crate::parse::{Family, Summary, flag};
use crate::wire::{bytes, icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, proto};
use std::net::IpAddr;

/// Of an IPv6 header's first four bytes.
const FLOW_LABEL: u32 = 0xf_ffff;

/// The quoted packet with source and destination exchanged, and the start of what it carried, if `payload` is an ICMP error
/// that quotes at least a whole IP header. A fragment of an error quotes nothing: all fragments of a packet must have one
/// unit. What it says of the quoted packet's identification and of "don't fragment" is that packet's; IPv6's flow label counts as the first.
#[cold]
pub(crate) fn reversed<'a>(summary: &Summary, payload: &'a [u8]) -> Option<(Summary, &'a [u8])> {
    if summary.is_fragment() {
        return None;
    }
    match (summary.family, summary.proto) {
        (Family::V4, proto::ICMP) => {
            let packet = icmpv4::Packet::new_checked(payload).ok()?;
            if icmpv4::is_error(packet.kind()) { quoted_v4(bytes::tail(payload, icmpv4::HEADER_LEN)) } else { None }
        }
        (Family::V6, proto::ICMPV6) => {
            let packet = icmpv6::Packet::new_checked(payload).ok()?;
            if icmpv6::is_error(packet.kind()) { quoted_v6(bytes::tail(payload, icmpv6::HEADER_LEN)) } else { None }
        }
        _ => None,
    }
}

fn quoted_v4(data: &[u8]) -> Option<(Summary, &[u8])> {
    let packet = ipv4::Packet::new_header_checked(data).ok()?;
    let l4 = if packet.fragment_offset() == 0 { bytes::tail(data, packet.header_len()) } else { &[] };
    let (mut turned, l4) = turn(packet.source().into(), packet.destination().into(), packet.protocol(), l4);
    turned.id = packet.id().into();
    if packet.dont_fragment() {
        turned.flags |= flag::DONT_FRAGMENT;
    }
    Some((turned, l4))
}

fn quoted_v6(data: &[u8]) -> Option<(Summary, &[u8])> {
    let packet = ipv6::Packet::new_header_checked(data).ok()?;
    let (src, dst) = (packet.source().into(), packet.destination().into());
    // A quotation cut off inside its extension headers still has its addresses.
    let rest = bytes::tail(data, ipv6::HEADER_LEN);
    let payload = rest.get(..usize::from(packet.payload_len())).unwrap_or(rest);
    let Ok(walk) = ipv6_ext::walk(packet.next_header(), payload) else {
        return Some(turn(src, dst, proto::NO_NEXT_HEADER, &[]));
    };
    let first = walk.fragment.is_none_or(|fragment| fragment.offset == 0);
    let (mut turned, l4) = turn(src, dst, walk.proto, if first { bytes::tail(payload, walk.offset) } else { &[] });
    turned.id = bytes::u32_at(data, 0) & FLOW_LABEL;
    turned.flags |= flag::DONT_FRAGMENT;
    Some((turned, l4))
}

fn turn(quoted_src: IpAddr, quoted_dst: IpAddr, proto: u8, l4: &[u8]) -> (Summary, &[u8]) {
    let mut turned = Summary::of_addresses(quoted_dst, quoted_src, proto);
    if matches!(proto, proto::TCP | proto::UDP) && l4.len() >= 4 {
        turned.src_port = bytes::u16_at(l4, 2);
        turned.dst_port = bytes::u16_at(l4, 0);
        turned.flags |= flag::PORTS;
    }
    (turned, l4)
}
