//! Round trips, known packets, and the no-panic contract over arbitrary bytes.

use super::checksum::{Sum, checksum, update, update_u32};
use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

#[test]
fn checksum_of_the_rfc_1071_example() {
    // RFC 1071 section 3: 0001 + f203 + f4f5 + f6f7 = 2ddf0 -> ddf2.
    let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::new().bytes(&data).fold(), 0xddf2);
    assert_eq!(checksum(&data), !0xddf2);
}

#[test]
fn update_of_the_rfc_1624_example() {
    // RFC 1624 section 4: HC = dd2f, m = 5555, m' = 3285, HC' = 0000.
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn mac_addresses_are_read_and_shown() {
    let mac: MacAddr = "02:50:48:00:00:0a".parse().unwrap();
    assert_eq!(mac, MacAddr([2, 0x50, 0x48, 0, 0, 10]));
    assert_eq!(mac.to_string(), "02:50:48:00:00:0a");
    for bad in ["", "02:50:48:00:00", "02:50:48:00:00:0a:0b", "2:50:48:0:0:a", "+2:50:48:00:00:0a", "gg:50:48:00:00:0a"]
    {
        assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
    }
    assert!(mac.is_host() && !MacAddr::ZERO.is_host() && !MacAddr::BROADCAST.is_host());
}

#[test]
fn ttl_goes_down_and_the_checksum_follows() {
    let repr = ipv4::Repr {
        tos: 0,
        id: 7,
        fragment: 0,
        ttl: 2,
        protocol: proto::UDP,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
        payload_len: 0,
    };
    let mut buffer = [0; 20];
    repr.emit(&mut buffer).unwrap();
    let mut packet = ipv4::Packet::new_checked(&mut buffer[..]).unwrap();
    assert!(packet.decrement_ttl() && packet.verify_checksum());
    assert_eq!(packet.ttl(), 1);
    assert!(!packet.decrement_ttl());
    assert_eq!(packet.ttl(), 1);
}

#[test]
fn extension_headers_are_walked_within_bounds() {
    // Hop-by-hop (8 bytes), fragment (first, more), then UDP.
    let chain = [44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9, 0xaa];
    let walk = ipv6_ext::walk(proto::HOP_BY_HOP, &chain).unwrap();
    assert_eq!((walk.proto, walk.offset, walk.fragment_at), (proto::UDP, 16, 8));
    assert_eq!(walk.fragment, Some(ipv6_ext::Fragment { offset: 0, more: true, id: 9 }));
    // A later fragment ends the walk although its next header is named as another extension header.
    let later = [60, 0, 0, 8, 0, 0, 0, 9];
    let walk = ipv6_ext::walk(proto::FRAGMENT, &later).unwrap();
    assert_eq!((walk.proto, walk.offset), (60, 8));
    // As many headers as allowed, then one more.
    let options = |n: usize| -> Vec<u8> {
        (0..n).flat_map(|i| [if i + 1 == n { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]).collect()
    };
    let most = options(ipv6_ext::HEADERS_MAX);
    assert_eq!(ipv6_ext::walk(60, &most).unwrap().proto, proto::UDP);
    let over = options(ipv6_ext::HEADERS_MAX + 1);
    assert_eq!(ipv6_ext::walk(60, &over), Err(WireError::Length));
    assert_eq!(ipv6_ext::walk(60, &most[..60]), Err(WireError::Truncated));
}

#[test]
fn solicited_node_group_takes_the_low_24_bits() {
    let target: Ipv6Addr = "fd00:2::12:3456:789a".parse().unwrap();
    let group = ndisc::solicited_node(target);
    assert_eq!(group, "ff02::1:ff56:789a".parse::<Ipv6Addr>().unwrap());
    assert_eq!(MacAddr::of_ipv6_multicast(group), MacAddr([0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]));
}

#[test]
fn an_option_of_no_length_invalidates() {
    let mut message = [0u8; 32];
    message[0] = icmpv6::NEIGHBOR_SOLICITATION;
    assert_eq!(ndisc::Repr::parse(&message), Err(WireError::Length));
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn nd() -> impl Strategy<Value = ndisc::Repr> {
    let target = || any::<u128>().prop_map(|a| Ipv6Addr::from(a & !(0xff << 120)));
    prop_oneof![
        (target(), proptest::option::of(mac()))
            .prop_map(|(target, source_mac)| ndisc::Repr::Solicitation { target, source_mac }),
        (target(), any::<[bool; 3]>(), proptest::option::of(mac())).prop_map(
            |(target, [router, solicited, override_known], target_mac)| ndisc::Repr::Advertisement {
                target,
                router,
                solicited,
                override_known,
                target_mac
            }
        ),
    ]
}

proptest! {
    #[test]
    fn incremental_checksum_is_the_full_checksum(mut data in proptest::collection::vec(any::<u8>(), 4..64),
                                                 at in 0usize..30, new: u16, wide: u32) {
        data.resize(data.len() & !3, 0);
        data[0] |= 1; // an all-zero sum has two representations, and no real header has it
        let at = 2 + (at * 2) % (data.len() - 2);
        let before = checksum(&data);
        let old = bytes::u16_at(&data, at);
        bytes::put_u16(&mut data, at, new);
        prop_assert_eq!(update(before, old, new), checksum(&data));
        if data.len() >= 8 {
            let before = checksum(&data);
            let old = bytes::u32_at(&data, 4);
            bytes::put_u32(&mut data, 4, wide);
            prop_assert_eq!(update_u32(before, old, wide), checksum(&data));
        }
    }

    #[test]
    fn checksum_is_the_plain_sum(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        prop_assert_eq!(checksum(&data), !(sum as u16));
    }

    #[test]
    fn no_view_panics(data in proptest::collection::vec(any::<u8>(), 0..96), first: u8) {
        let mut data = data;
        let _ = format!("{:?}", (ethernet::Repr::parse(&data), arp::Repr::parse(&data), udp::Repr::parse(&data)));
        let _ = format!("{:?}", (ndisc::Repr::parse(&data), ipv6_ext::walk(first, &data)));
        if let Ok(packet) = tcp::Packet::new_checked(&data) {
            let _ = (packet.payload(), packet.flags(), packet.window());
        }
        for version in [0x40, 0x60] {
            if let Some(byte) = data.first_mut() {
                *byte = version | *byte & 0x0f;
            }
            let _ = format!("{:?}", (ipv4::Repr::parse(&data), ipv6::Repr::parse(&data)));
            if let Ok(mut packet) = ipv4::Packet::new_header_checked(&mut data[..]) {
                let _ = (packet.payload().len(), packet.decrement_ttl(), packet.verify_checksum());
            }
            if let Ok(packet) = ipv6::Packet::new_header_checked(&data) {
                let _ = ipv6_ext::walk(packet.next_header(), packet.payload());
            }
        }
    }

    #[test]
    fn ethernet_round_trips(destination in mac(), source in mac(), vlan in proptest::option::of(1u16..4095), kind: u16) {
        prop_assume!(kind != EtherType::VLAN.0);
        let repr = ethernet::Repr { destination, source, vlan: vlan.and_then(VlanId::new), ethertype: EtherType(kind) };
        let mut buffer = [0; 18];
        let len = repr.emit(&mut buffer).unwrap();
        prop_assert_eq!(ethernet::Repr::parse(&buffer[..len]), Ok((repr, len)));
        prop_assert_eq!(repr.emit(&mut buffer[..len - 1]), Err(WireError::Truncated));
    }

    #[test]
    fn arp_round_trips(sender_mac in mac(), target_mac in mac(), a: u32, b: u32, reply: bool) {
        let operation = if reply { arp::Operation::Reply } else { arp::Operation::Request };
        let repr = arp::Repr { operation, sender_mac, sender_ip: a.into(), target_mac, target_ip: b.into() };
        let mut buffer = [0; arp::PACKET_LEN];
        repr.emit(&mut buffer).unwrap();
        prop_assert_eq!(arp::Repr::parse(&buffer), Ok(repr));
    }

    #[test]
    fn ipv4_round_trips(tos: u8, id: u16, fragment: u16, ttl: u8, protocol: u8, a: u32, b: u32, payload_len in 0u16..64) {
        let repr = ipv4::Repr { tos, id, fragment, ttl, protocol, source: a.into(), destination: b.into(), payload_len };
        let mut buffer = [0; 84];
        repr.emit(&mut buffer).unwrap();
        prop_assert_eq!(ipv4::Repr::parse(&buffer), Ok(repr));
        prop_assert!(ipv4::Packet::new_checked(&buffer).unwrap().verify_checksum());
    }

    #[test]
    fn ipv6_round_trips(traffic_class: u8, next_header: u8, hop_limit: u8, a: u128, b: u128, payload_len in 0u16..24) {
        let repr =
            ipv6::Repr { traffic_class, next_header, hop_limit, source: a.into(), destination: b.into(), payload_len };
        let mut buffer = [0; 64];
        repr.emit(&mut buffer).unwrap();
        prop_assert_eq!(ipv6::Repr::parse(&buffer), Ok(repr));
    }

    #[test]
    fn udp_round_trips(source_port: u16, destination_port: u16, payload_len in 0u16..24) {
        let repr = udp::Repr { source_port, destination_port, payload_len };
        let mut buffer = [0; 32];
        repr.emit(&mut buffer).unwrap();
        prop_assert_eq!(udp::Repr::parse(&buffer), Ok(repr));
    }

    #[test]
    fn nd_round_trips(repr in nd(), a: u128, b: u128) {
        let mut buffer = [0; 32];
        let len = repr.emit(a.into(), b.into(), &mut buffer).unwrap();
        prop_assert_eq!(ndisc::Repr::parse(&buffer[..len]), Ok(repr));
        prop_assert!(icmpv6::Packet::new_checked(&buffer[..len]).unwrap().verify_checksum(a.into(), b.into()));
    }
}

/// Whatever the checksum says, right or wrong, it says the same of the aged header (RFC 1141).
#[test]
fn every_checksum_ages() {
    for checksum in 0..=u16::MAX {
        let sum = u32::from(checksum) + 0x0100;
        let sum = (sum + (sum >> 16)) as u16;
        for (ttl, protocol) in [(1, 0), (2, 6), (64, 17), (255, 255)] {
            let word = |ttl: u8, [high, low]: [u8; 2]| u32::from_le_bytes([ttl, protocol, high, low]);
            assert_eq!(super::aged_v4(word(ttl, checksum.to_be_bytes())), word(ttl - 1, sum.to_be_bytes()));
        }
    }
}
