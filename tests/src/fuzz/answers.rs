//! What a member says by itself in answer to any frame: ICMP errors, ARP and ND replies, echo replies. Whatever is
//! built is sound by our own reader, and no answer is longer than it may be.

use std::net::IpAddr;

use phalanx_dataplane::icmp_error::{self, Complaint, LEN_MAX_V4, LEN_MAX_V6};
use phalanx_dataplane::local::{self, Discovery, FRAME_LEN_MAX, Origin};
use phalanx_dataplane::parse::{Family, Summary, summarise, summarise_l3};
use phalanx_dataplane::wire::{MacAddr, VlanId, arp, bytes, ethernet, icmpv4, icmpv6, ipv4, ipv6};

use super::cursor::Cursor;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// See the module. The first three bytes pick VLAN, complaint and the room for an error.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let vlan = script.bool().then_some(100);
    let complaint = match script.u8() {
        0 => Complaint::TimeExceeded,
        1 => Complaint::NoRoute,
        2 => Complaint::HostUnreachable,
        mtu => Complaint::TooBig { mtu: 64 * u16::from(mtu) },
    };
    let room = 8 * usize::from(script.u8());
    let frame = script.0;
    let origin = Origin { mac: OWN, vlan: vlan.and_then(VlanId::new) };
    if let Ok((header, at)) = ethernet::Repr::parse(frame) {
        arp_reply(&origin, &header, bytes::tail(frame, at));
    }
    if let Ok(summary) = summarise(frame, vlan) {
        error(complaint, &summary, frame, room);
        discover(&origin, &summary, frame);
        echo(&origin, &summary, frame);
    }
}

fn arp_reply(origin: &Origin, header: &ethernet::Repr, payload: &[u8]) {
    let Ok(request) = arp::Repr::parse(payload) else { return };
    let mut buffer = [0; FRAME_LEN_MAX];
    let written = local::arp_reply(origin, &request, OWN, &mut buffer).expect("a buffer that is long enough");
    let (reply, at) = ethernet::Repr::parse(&buffer[..written]).expect("an Ethernet header");
    assert_eq!((reply.source, reply.ethertype), (OWN, ethernet::EtherType::ARP));
    let reply = arp::Repr::parse(&buffer[at..written]).expect("an ARP packet");
    assert_eq!((reply.sender_ip, reply.target_ip), (request.target_ip, request.sender_ip), "{header:?}");
}

fn error(complaint: Complaint, summary: &Summary, frame: &[u8], room: usize) {
    let from: IpAddr = match summary.family {
        Family::V4 => [10, 1, 0, 1].into(),
        Family::V6 => [0xfd00, 1, 0, 0, 0, 0, 0, 1].into(),
    };
    let mut out = vec![0; room];
    let Ok(written) = icmp_error::build(complaint, summary, summary.l3(frame), from, false, &mut out) else { return };
    assert!(written <= room && written <= if from.is_ipv4() { LEN_MAX_V4 } else { LEN_MAX_V6 });
    let built = summarise_l3(&out[..written]).expect("an error that a router would pass on");
    assert_eq!((built.src_ip(), built.dst_ip()), (from, summary.src_ip()));
    let packet = built.l4(&out);
    if from.is_ipv4() {
        assert!(icmpv4::Packet::new_checked(packet).is_ok_and(|p| p.verify_checksum() && icmpv4::is_error(p.kind())));
    } else {
        let (source, destination) = (built.src.into(), built.dst.into());
        let packet = icmpv6::Packet::new_checked(packet).expect("an ICMPv6 packet");
        assert!(packet.verify_checksum(source, destination) && icmpv6::is_error(packet.kind()));
    }
    let again = icmp_error::may_answer(complaint, &built, &out[..written], false);
    assert!(again.is_err(), "an error about an error: {built:?}");
}

fn discover(origin: &Origin, summary: &Summary, frame: &[u8]) {
    let Some(Ok(Discovery::Solicitation(asked))) = local::discovery(summary, frame) else { return };
    let mut buffer = [0; FRAME_LEN_MAX];
    let written = local::nd_reply(origin, &asked, OWN, &mut buffer).expect("a buffer that is long enough");
    let reply = &buffer[..written];
    let vlan = origin.vlan.map(VlanId::number);
    // What we say of ourselves is only read by others where the address asked for may stand in a packet at all.
    let Ok(summary) = summarise(reply, vlan) else { return };
    let Some(Ok(Discovery::Advertisement(told))) = local::discovery(&summary, reply) else {
        panic!("our own advertisement is not understood: {summary:?}")
    };
    assert_eq!((told.target, told.mac), (asked.target, OWN));
}

fn echo(origin: &Origin, summary: &Summary, frame: &[u8]) {
    let mut copy = frame.to_vec();
    if !local::echo_reply_in_place(origin, summary, &mut copy) {
        assert_eq!(copy, frame, "what is not answered is not changed");
        return;
    }
    let ip = summary.l3(&copy);
    match summary.family {
        Family::V4 => {
            let ip = ipv4::Packet::new_checked(ip).expect("an IPv4 packet");
            assert!(ip.verify_checksum());
            assert!(icmpv4::Packet::new_checked(ip.payload()).is_ok_and(|p| p.verify_checksum() && p.kind() == 0));
        }
        Family::V6 => {
            let ip = ipv6::Packet::new_checked(ip).expect("an IPv6 packet");
            let (source, destination) = (ip.source(), ip.destination());
            let message = icmpv6::Packet::new_checked(summary.l4(&copy)).expect("an ICMPv6 packet");
            assert!(message.verify_checksum(source, destination) && message.kind() == icmpv6::ECHO_REPLY);
        }
    }
}
