//! Answers and announcements, read back with the parser.

use super::*;
use crate::parse::{ParseDrop, summarise};
use proptest::prelude::*;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SHARED: MacAddr = MacAddr([3, 0x50, 0x48, 0, 0, 1]);

fn origin(vlan: Option<u16>) -> Origin {
    Origin { mac: OWN, vlan: vlan.and_then(VlanId::new) }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Reads an ARP frame back.
fn read_arp(frame: &[u8], vlan: Option<u16>) -> (ethernet::Repr, arp::Repr) {
    let Err(ParseDrop::NotIp { ethertype: EtherType::ARP, offset }) = summarise(frame, vlan) else {
        panic!("not an ARP frame")
    };
    (ethernet::Repr::parse(frame).unwrap().0, arp::Repr::parse(&frame[usize::from(offset)..]).unwrap())
}

#[test]
fn arp_is_answered_from_the_ports_own_address() {
    for vlan in [None, Some(100)] {
        let request = arp::Repr {
            operation: arp::Operation::Request,
            sender_mac: PEER,
            sender_ip: Ipv4Addr::new(10, 2, 0, 77),
            target_mac: MacAddr::ZERO,
            target_ip: Ipv4Addr::new(10, 2, 0, 10),
        };
        let mut buffer = [0xee; FRAME_LEN_MAX];
        let len = arp_reply(&origin(vlan), &request, SHARED, &mut buffer).unwrap();
        assert_eq!(len, 60);
        let (header, reply) = read_arp(&buffer[..len], vlan);
        assert_eq!((header.source, header.destination), (OWN, PEER));
        assert_eq!((reply.sender_mac, reply.sender_ip), (SHARED, request.target_ip));
        assert_eq!((reply.target_mac, reply.target_ip), (PEER, request.sender_ip));
        assert!(buffer[14 + 4 * usize::from(vlan.is_some()) + 28..60].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn requests_carry_the_members_own_address() {
    let mut buffer = [0; FRAME_LEN_MAX];
    let (own, target) = (Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(10, 2, 0, 254));
    let len = arp_request(&origin(None), own, target, None, &mut buffer).unwrap();
    let (header, request) = read_arp(&buffer[..len], None);
    assert_eq!((header.destination, request.sender_ip, request.sender_mac), (MacAddr::BROADCAST, own, OWN));
    let len = arp_request(&origin(None), own, target, Some(PEER), &mut buffer).unwrap();
    assert_eq!(read_arp(&buffer[..len], None).0.destination, PEER);

    let (own, target) = (v6("fd00:2::1"), v6("fd00:2::ab:cdef"));
    for (unicast_to, mac, ip) in
        [(None, MacAddr([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]), v6("ff02::1:ffab:cdef")), (Some(PEER), PEER, target)]
    {
        let len = nd_request(&origin(Some(7)), own, target, unicast_to, &mut buffer).unwrap();
        let summary = summarise(&buffer[..len], Some(7)).unwrap();
        assert_eq!((Ipv6Addr::from(summary.src), Ipv6Addr::from(summary.dst)), (own, ip));
        assert_eq!(ethernet::Packet::new_checked(&buffer).unwrap().destination(), mac);
        let asked = Solicitation { source: own, source_mac: OWN, target };
        assert_eq!(discovery(&summary, &buffer[..len]), Some(Ok(Discovery::Solicitation(asked))));
    }
}

#[test]
fn solicitations_are_answered() {
    let mut buffer = [0; FRAME_LEN_MAX];
    let asked = Solicitation { source: v6("fd00:2::77"), source_mac: PEER, target: v6("fd00:2::10") };
    let len = nd_reply(&origin(None), &asked, SHARED, &mut buffer).unwrap();
    let summary = summarise(&buffer[..len], None).unwrap();
    assert_eq!((Ipv6Addr::from(summary.src), Ipv6Addr::from(summary.dst)), (asked.target, asked.source));
    let header = ethernet::Packet::new_checked(&buffer).unwrap();
    assert_eq!((header.source(), header.destination()), (OWN, PEER));
    let told = Advertisement { target: asked.target, mac: SHARED, solicited: true, override_known: true };
    assert_eq!(discovery(&summary, &buffer[..len]), Some(Ok(Discovery::Advertisement(told))));
    // To a prober: everybody hears it.
    let probe = Solicitation { source: Ipv6Addr::UNSPECIFIED, ..asked };
    let len = nd_reply(&origin(None), &probe, SHARED, &mut buffer).unwrap();
    let summary = summarise(&buffer[..len], None).unwrap();
    assert_eq!(Ipv6Addr::from(summary.dst), v6("ff02::1"));
    let told = Advertisement { solicited: false, ..told };
    assert_eq!(discovery(&summary, &buffer[..len]), Some(Ok(Discovery::Advertisement(told))));
}

#[test]
fn announcements_name_the_told_address() {
    let mut buffer = [0; FRAME_LEN_MAX];
    let ip = Ipv4Addr::new(10, 2, 0, 10);
    for operation in [arp::Operation::Request, arp::Operation::Reply] {
        let len = arp_announcement(&origin(None), operation, ip, SHARED, &mut buffer).unwrap();
        let (header, told) = read_arp(&buffer[..len], None);
        assert_eq!((header.source, header.destination), (OWN, MacAddr::BROADCAST));
        assert_eq!((told.operation, told.sender_mac, told.sender_ip, told.target_ip), (operation, SHARED, ip, ip));
    }
    let len = nd_announcement(&origin(None), v6("fd00:2::10"), SHARED, &mut buffer).unwrap();
    let summary = summarise(&buffer[..len], None).unwrap();
    let told = Advertisement { target: v6("fd00:2::10"), mac: SHARED, solicited: false, override_known: true };
    assert_eq!(discovery(&summary, &buffer[..len]), Some(Ok(Discovery::Advertisement(told))));
}

#[test]
fn discovery_from_behind_a_router_is_refused() {
    let mut buffer = [0; FRAME_LEN_MAX];
    let len = nd_announcement(&origin(None), v6("fd00:2::10"), SHARED, &mut buffer).unwrap();
    let mut summary = summarise(&buffer[..len], None).unwrap();
    summary.ttl = 254;
    assert_eq!(discovery(&summary, &buffer[..len]), Some(Err(WireError::Kind)));
    summary.ttl = 255;
    buffer[len - 1] ^= 1;
    assert_eq!(discovery(&summary, &buffer[..len]), Some(Err(WireError::Kind)));
}

#[test]
fn advertisements_weigh_by_their_flags() {
    let evidence = |solicited, override_known| {
        Advertisement { target: v6("fd00:2::10"), mac: PEER, solicited, override_known }.evidence()
    };
    assert_eq!(evidence(true, true), Some(Evidence::Reply));
    assert_eq!(evidence(true, false), Some(Evidence::WeakReply));
    assert_eq!(evidence(false, true), Some(Evidence::Gratuitous));
    assert_eq!(evidence(false, false), None);
}

/// An echo request in a frame.
fn echo_request(v6_frame: bool, data: &[u8]) -> Vec<u8> {
    let ethertype = if v6_frame { EtherType::IPV6 } else { EtherType::IPV4 };
    let mut frame = vec![0; 54];
    ethernet::Repr { destination: OWN, source: PEER, vlan: None, ethertype }.emit(&mut frame).unwrap();
    let payload_len = 8 + data.len() as u16;
    let message = [&[if v6_frame { 128 } else { 8 }, 0, 0, 0, 0x12, 0x34, 0, 1][..], data].concat();
    if v6_frame {
        let (source, destination) = (v6("fd00:2::77"), v6("fd00:2::1"));
        let next_header = proto::ICMPV6;
        let repr = ipv6::Repr { traffic_class: 0, next_header, hop_limit: 3, source, destination, payload_len };
        repr.emit(&mut frame[14..]).unwrap();
        frame.extend(message);
        icmpv6::Packet::new_checked(&mut frame[54..]).unwrap().fill_checksum(source, destination);
    } else {
        let (source, destination) = (Ipv4Addr::new(10, 2, 0, 77), Ipv4Addr::new(10, 2, 0, 1));
        let protocol = proto::ICMP;
        let repr = ipv4::Repr { tos: 0, id: 1, fragment: 0, ttl: 3, protocol, source, destination, payload_len };
        repr.emit(&mut frame[14..]).unwrap();
        frame.truncate(34);
        frame.extend(message);
        icmpv4::Packet::new_checked(&mut frame[34..]).unwrap().fill_checksum();
    }
    frame
}

#[test]
fn an_error_or_a_damaged_echo_is_left_alone() {
    for v6_frame in [false, true] {
        let frame = echo_request(v6_frame, &[1, 2, 3]);
        let summary = summarise(&frame, None).unwrap();
        let at = usize::from(summary.l4_offset);
        for (offset, value) in [(at, 3), (at + 8, 99), (at + 1, 1)] {
            let mut bad = frame.clone();
            bad[offset] = value;
            let before = bad.clone();
            assert!(!echo_reply_in_place(&origin(None), &summary, &mut bad));
            assert_eq!(bad, before);
        }
    }
}

proptest! {
    #[test]
    fn echo_requests_are_turned_round(v6_frame: bool, data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut frame = echo_request(v6_frame, &data);
        let asked = summarise(&frame, None).unwrap();
        prop_assert!(echo_reply_in_place(&origin(None), &asked, &mut frame));
        let reply = summarise(&frame, None).unwrap();
        prop_assert_eq!((reply.src, reply.dst, reply.ttl), (asked.dst, asked.src, 64));
        let header = ethernet::Packet::new_checked(&frame).unwrap();
        prop_assert_eq!((header.source(), header.destination()), (OWN, PEER));
        let message = reply.l4(&frame);
        let intact = if v6_frame {
            icmpv6::Packet::new_checked(message).unwrap().verify_checksum(reply.src.into(), reply.dst.into())
        } else {
            icmpv4::Packet::new_checked(message).unwrap().verify_checksum()
        };
        prop_assert!(intact);
        prop_assert_eq!(&message[4..8], &[0x12, 0x34, 0, 1]);
        prop_assert_eq!(&message[8..], &data[..]);
        prop_assert_eq!(message[0], if v6_frame { 129 } else { 0 });
    }

    #[test]
    fn short_buffers_and_odd_frames_never_panic(len in 0usize..90, data in proptest::collection::vec(any::<u8>(), 0..90)) {
        let mut buffer = vec![0; len];
        let _ = nd_announcement(&origin(Some(3)), v6("fd00:2::10"), SHARED, &mut buffer);
        let _ = arp_request(&origin(None), Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, None, &mut buffer);
        for v6_frame in [false, true] {
            let summary = summarise(&echo_request(v6_frame, &[0; 8]), None).unwrap();
            let mut odd = data.clone();
            let _ = (discovery(&summary, &odd), echo_reply_in_place(&origin(None), &summary, &mut odd));
        }
    }
}
