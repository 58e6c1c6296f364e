//! Golden vectors, symmetry, fragments, quoted packets, burst against single.

use super::*;
use crate::parse::{flag, summarise_l3};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, proto};
use proptest::prelude::*;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

const KEY: [u8; 16] = *b"0123456789abcdef";

fn classic() -> Filter {
    Filter::new(Scheme::Classic, KEY)
}

fn steered() -> Filter {
    Filter::new(Scheme::Steered, KEY)
}

fn summary(proto: u8, src: &str, dst: &str, ports: Option<(u16, u16)>) -> Summary {
    let mut summary = Summary::of_addresses(src.parse().unwrap(), dst.parse().unwrap(), proto);
    if let Some((src_port, dst_port)) = ports {
        summary.src_port = src_port;
        summary.dst_port = dst_port;
        summary.flags |= flag::PORTS;
    }
    summary
}

fn classic_unit(proto: &str, src: &str, dst: &str, forwarding: bool) -> u16 {
    classic().unit_of_flow(&Flow::parse(proto, src, dst).unwrap(), forwarding).number()
}

#[test]
fn classic_forwarded_golden() {
    // 10.1.0.5 = 0a010005, 10.2.0.10 = 0a02000a; k = 0003000f.
    // k & 3ff = 00f; k>>10 = 0000c0 -> 0c0; k>>20 = 0; k>>30 = 0; 00f ^ 0c0 = 0cf = 207.
    assert_eq!(classic_unit("udp", "10.1.0.5:7", "10.2.0.10:9", true), 207);
    assert_eq!(classic_unit("udp", "10.2.0.10:9", "10.1.0.5:7", true), 207);
    // 198.51.100.7 = c6336407, 192.0.2.1 = c0000201; k = 06336606.
    // k & 3ff = 206; k>>10 = 00018cd9 -> 0d9; k>>20 = 063; k>>30 = 0; 206 ^ 0d9 = 2df; ^ 063 = 2bc = 700.
    assert_eq!(classic_unit("47", "198.51.100.7", "192.0.2.1", true), 700);
    // 255.0.0.1 is no sender, but the top bits count: 192.168.1.1 = c0a80101, 10.0.0.1 = 0a000001; k = caa80100.
    // k & 3ff = 100; k>>10 = 0032aa00 -> 200; k>>20 = caa -> 0aa; k>>30 = 3; 100^200 = 300; ^0aa = 3aa; ^3 = 3a9 = 937.
    assert_eq!(classic_unit("tcp", "192.168.1.1", "10.0.0.1", true), 937);
}

#[test]
fn classic_to_cluster_golden() {
    // 10.1.0.5 = 0a010005, port 4321 = 10e1; k = 0a0110e4.
    // k & 3ff = 0e4; k>>10 = 00028044 -> 044; k>>20 = 0a0; k>>30 = 0; 0e4 ^ 044 = 0a0; ^ 0a0 = 000 = 0.
    assert_eq!(classic_unit("tcp", "10.1.0.5:4321", "10.2.0.10:80", false), 0);
    // The destination does not matter.
    assert_eq!(classic_unit("udp", "10.1.0.5:4321", "10.2.9.99:53", false), 0);
    // 198.51.100.7 = c6336407, port 50000 = c350; k = c633a757.
    // k & 3ff = 357; k>>10 = 00318ce9 -> 0e9; k>>20 = c63 -> 063; k>>30 = 3; 357^0e9 = 3be; ^063 = 3dd; ^3 = 3de = 990.
    assert_eq!(classic_unit("udp", "198.51.100.7:50000", "192.0.2.1:443", false), 990);
    // Neither TCP nor UDP: as forwarded (0cf above).
    assert_eq!(classic_unit("icmp", "10.1.0.5", "10.2.0.10", false), 207);
}

#[test]
fn classic_ipv6_golden() {
    // fd00:2::10 = fd000002 ^ 0 ^ 0 ^ 00000010 = fd000012; fd00:1::5 = fd000001 ^ 5 = fd000004; k = 00000016 -> 022.
    assert_eq!(classic_unit("tcp", "[fd00:1::5]:1", "[fd00:2::10]:2", true), 22);
    // To the cluster: fd000004 ^ port 1 = fd000005.
    // & 3ff = 005; >>10 = 003f4000 -> 000; >>20 = fd0 -> 3d0; >>30 = 3; 005 ^ 3d0 = 3d5; ^ 3 = 3d6 = 982.
    assert_eq!(classic_unit("tcp", "[fd00:1::5]:1", "[fd00:2::10]:2", false), 982);
}

#[test]
fn hash_is_siphash_1_3() {
    let key = hash::Key::new(KEY);
    let independent = |words: &[u64]| {
        let mut hasher = SipHasher13::new_with_key(&KEY);
        for word in words {
            hasher.write(&word.to_le_bytes());
        }
        hasher.finish()
    };
    for seed in 0..200u64 {
        let word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert_eq!(key.hash64([word]), independent(&[word]));
        assert_eq!(key.hash64([word, !word]), independent(&[word, !word]));
        assert_eq!(key.hash64([1, 2, 3, word, 5]), independent(&[1, 2, 3, word, 5]));
    }
}

#[test]
fn steered_forwarded_is_the_hash_of_the_sorted_pair() {
    let mut hasher = SipHasher13::new_with_key(&KEY);
    hasher.write(&u64::from_le_bytes([5, 0, 1, 10, 10, 0, 2, 10]).to_le_bytes());
    let value = hasher.finish();
    let expected = ((value ^ value >> 32) & 1023) as u16;
    for (src, dst) in [("10.1.0.5", "10.2.0.10"), ("10.2.0.10", "10.1.0.5")] {
        let flow = Flow::parse("tcp", &format!("{src}:1"), &format!("{dst}:2")).unwrap();
        assert_eq!(steered().unit_of_flow(&flow, true).number(), expected);
    }
}

#[test]
fn the_key_decides() {
    let pairs: Vec<Summary> = (0..64).map(|i| summary(proto::UDP, &format!("10.1.0.{i}"), "10.2.0.10", None)).collect();
    let other = Filter::new(Scheme::Steered, [7; 16]);
    let same = pairs.iter().filter(|s| steered().unit(s, false, &[]) == other.unit(s, false, &[])).count();
    assert!(same < 8, "{same} of 64 units agree under different keys");
}

#[test]
fn units_are_spread_evenly() {
    let mut counts = [0u32; 1024];
    for i in 0..65536u32 {
        let mut s = summary(proto::UDP, "10.1.0.1", "10.2.0.10", None);
        s.src += u128::from(i);
        counts[steered().unit(&s, false, &[]).index()] += 1;
    }
    // Mean 64, standard deviation 8: six of them on either side.
    assert!(counts.iter().all(|&n| (16..=112).contains(&n)));
}

#[test]
fn identifiers_carry_the_unit() {
    let filter = steered();
    let unit = Unit::new(777).unwrap();
    let spi = steered::embed(unit, 0xdead_beef);
    assert_eq!((spi & 1023, spi >> 10), (777, 0xdead_beef >> 10));
    let esp = spi.to_be_bytes();
    assert_eq!(filter.unit(&summary(proto::ESP, "10.0.0.1", "10.0.0.2", None), true, &esp), unit);
    let ah = [&[6, 4, 0, 0][..], &esp].concat();
    assert_eq!(filter.unit(&summary(proto::AH, "10.0.0.1", "10.0.0.2", None), true, &ah), unit);
    // Whatever the port that a NAT gives it.
    for port in [4500, 61000] {
        let udp = [&[0; 8][..], &esp, &[0; 16]].concat();
        let s = summary(proto::UDP, "10.0.0.1", "10.0.0.2", Some((port, 4500)));
        assert_eq!(filter.unit(&s, true, &udp), unit);
    }
    // L2TP with and without a length field; tunnel ID 1801 = 1024 + 777.
    let s = summary(proto::UDP, "10.0.0.1", "10.0.0.2", Some((9999, 1701)));
    let with_length = [&[0; 8][..], &[0xc8, 0x02, 0, 12, 0x07, 0x09]].concat();
    let without = [&[0; 8][..], &[0x00, 0x02, 0x07, 0x09, 0, 0]].concat();
    assert_eq!(filter.unit(&s, true, &with_length), unit);
    assert_eq!(filter.unit(&s, true, &without), unit);
    // PPTP's GRE; another GRE goes by its addresses.
    let s = summary(proto::GRE, "10.0.0.1", "10.0.0.2", None);
    assert_eq!(filter.unit(&s, true, &[0x30, 0x81, 0x88, 0x0b, 0, 9, 0x07, 0x09]), unit);
    assert_eq!(filter.unit(&s, true, &[0; 8]), filter.unit(&s, false, &[]));
    // Forwarded, none of them means anything to us.
    let s = summary(proto::ESP, "10.0.0.1", "10.0.0.2", None);
    assert_eq!(filter.unit(&s, false, &esp), filter.unit(&s, false, &[]));
}

fn ike(initiator: u64, responder: u64, flags: u8) -> Vec<u8> {
    let mut message = [initiator.to_be_bytes(), responder.to_be_bytes()].concat();
    message.extend([33, 0x20, 34, flags, 0, 0, 0, 0, 0, 0, 0, 28]);
    message
}

#[test]
fn ike_stays_with_the_spi_that_it_was_given() {
    let filter = steered();
    let at = |port: u16, message: &[u8]| {
        let marker: &[u8] = if port == 4500 { &[0; 4] } else { &[] };
        let s = summary(proto::UDP, "10.0.0.1", "10.0.0.2", Some((port.wrapping_mul(3), port)));
        filter.unit(&s, true, &[&[0; 8][..], marker, message].concat())
    };
    // The first message and its repetition, from any port; then whatever SPI we chose for that unit.
    let first = at(500, &ike(0x1122_3344_5566_7788, 0, 0x08));
    assert_eq!(at(4500, &ike(0x1122_3344_5566_7788, 0, 0x08)), first);
    assert_ne!(at(500, &ike(0x1122_3344_5566_7789, 0, 0x08)), first);
    let ours = u64::from(steered::embed(first, 0xabcd_ef01)) | 99 << 32;
    assert_eq!(at(500, &ike(1, ours, 0x08)), first);
    assert_eq!(at(4500, &ike(2, ours, 0x28)), first);
    // We asked first: the answer names our SPI as the initiator's.
    assert_eq!(at(500, &ike(ours, 5, 0x20)), first);
    // Too short to be IKE: as any UDP.
    assert_eq!(at(500, &[1, 2, 3]), at(500, &[]));
}

#[test]
fn fragments_to_the_cluster_meet() {
    for filter in [classic(), steered()] {
        let mut first = summary(proto::UDP, "10.0.0.1", "10.0.0.2", Some((1, 4500)));
        first.flags |= flag::FRAGMENT | flag::MORE_FRAGMENTS;
        first.id = 4711;
        let mut last = summary(proto::UDP, "10.0.0.1", "10.0.0.2", None);
        last.flags |= flag::FRAGMENT;
        last.fragment_offset = 1480;
        last.id = 4711;
        assert_eq!(filter.unit(&first, true, &[9; 64]), filter.unit(&last, true, &[7; 64]));
        assert_eq!(filter.unit(&first, false, &[9; 64]), filter.unit(&last, false, &[7; 64]));
    }
}

#[test]
fn ipv6_fragments_meet_whatever_header_the_first_one_shows() {
    // Both name destination options (60) behind the fragment header; only the first lets UDP be seen behind those.
    let packet = |offset: u16, more: bool, data: &[u8]| {
        let header = ipv6::Repr {
            traffic_class: 0,
            next_header: proto::FRAGMENT,
            hop_limit: 9,
            source: "fd00:1::5".parse().unwrap(),
            destination: "fd00:2::10".parse().unwrap(),
            payload_len: 8 + data.len() as u16,
        };
        let mut packet = vec![0; 48];
        header.emit(&mut packet).unwrap();
        ipv6_ext::Fragment { offset, more, id: 99 }.emit(proto::DESTINATION_OPTIONS, &mut packet[40..]).unwrap();
        packet.extend(data);
        packet
    };
    let first = packet(0, true, &[17, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0x11, 0x94, 0, 99, 0, 0]);
    let last = packet(16, false, &[7; 16]);
    let (one, other) = (summarise_l3(&first).unwrap(), summarise_l3(&last).unwrap());
    assert_ne!(one.proto, other.proto);
    for filter in [classic(), steered()] {
        assert_eq!(filter.unit_of_frame(&one, true, &first), filter.unit_of_frame(&other, true, &last));
        assert_eq!(filter.unit_of_frame(&one, false, &first), filter.unit_of_frame(&other, false, &last));
    }
}

/// An ICMP error from `router` about a packet of `proto` from `src` to `dst`, as a bare IP packet.
fn error_about(router: &str, src: &str, dst: &str, proto: u8, l4: &[u8]) -> Vec<u8> {
    let payload_len = l4.len() as u16;
    let mut error = vec![0; 200];
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    match (parse(router), parse(src), parse(dst)) {
        (IpAddr::V4(router), IpAddr::V4(source), IpAddr::V4(destination)) => {
            let quoted =
                ipv4::Repr { tos: 0, id: 1, fragment: 0, ttl: 1, protocol: proto, source, destination, payload_len };
            let outer = ipv4::Repr {
                source: router,
                destination: source,
                protocol: proto::ICMP,
                ttl: 60,
                payload_len: 28 + payload_len,
                ..quoted
            };
            outer.emit(&mut error).unwrap();
            error[20] = icmpv4::TIME_EXCEEDED;
            quoted.emit(&mut error[28..]).unwrap();
            error[48..48 + l4.len()].copy_from_slice(l4);
        }
        (IpAddr::V6(router), IpAddr::V6(source), IpAddr::V6(destination)) => {
            let quoted =
                ipv6::Repr { traffic_class: 0, next_header: proto, hop_limit: 1, source, destination, payload_len };
            let outer = ipv6::Repr {
                source: router,
                destination: source,
                next_header: proto::ICMPV6,
                hop_limit: 60,
                payload_len: 48 + payload_len,
                ..quoted
            };
            outer.emit(&mut error).unwrap();
            error[40] = icmpv6::TIME_EXCEEDED;
            quoted.emit(&mut error[48..]).unwrap();
            error[88..88 + l4.len()].copy_from_slice(l4);
        }
        _ => unreachable!("one family a packet"),
    }
    error
}

#[test]
fn icmp_errors_meet_the_flow_that_they_are_about() {
    let addresses = [("10.9.9.9", "10.1.0.5", "10.2.0.10"), ("fd00:9::9", "fd00:1::5", "fd00:2::10")];
    for filter in [classic(), steered()] {
        for (router, client, cluster) in addresses {
            // The cluster answered a client (cluster:443 -> client:5000); a router complains to the cluster.
            let l4 = [0x01, 0xbb, 0x13, 0x88, 0, 0, 0, 0];
            for proto in [proto::TCP, proto::UDP] {
                let error = error_about(router, cluster, client, proto, &l4);
                let parsed = summarise_l3(&error).unwrap();
                let flow = summary(proto, client, cluster, Some((5000, 443)));
                assert_eq!(filter.unit_of_frame(&parsed, true, &error), filter.unit(&flow, true, &[0; 32]));
                // Forwarded: the same, by the addresses of the flow.
                assert_eq!(filter.unit_of_frame(&parsed, false, &error), filter.unit(&flow, false, &[]));
            }
        }
    }
}

/// The cluster has opened a connection from a port that carries its unit; a router on the way complains.
#[test]
fn icmp_errors_meet_the_connection_that_the_cluster_opened() {
    for (router, server, cluster) in [("10.9.9.9", "10.1.0.5", "10.2.0.10"), ("fd00:9::9", "fd00:1::5", "fd00:2::10")] {
        for number in [0, 1, 77, 1023] {
            let unit = Unit::new(number).unwrap();
            let port = steered::port_of(unit, 5).to_be_bytes();
            let error = error_about(router, cluster, server, proto::TCP, &[port[0], port[1], 0, 80, 0, 0, 0, 0]);
            let parsed = summarise_l3(&error).unwrap();
            assert_eq!(steered().unit_of_frame(&parsed, true, &error), unit);
        }
    }
}

/// A packet that left a tunnel of ours has the tunnel's unit for a name, if it must not be cut: then a router's complaint finds it.
#[test]
fn icmp_errors_meet_the_tunnel_that_they_are_about() {
    const DONT_FRAGMENT_AT: usize = 34;
    let (router, peer, cluster) = ("10.9.9.9", "10.1.0.5", "10.2.0.10");
    let nat: [u8; 8] = [0x11, 0x94, 0xee, 0x48, 0, 99, 0, 0];
    for (proto, l4) in [(proto::ESP, [0xaa; 8]), (proto::AH, [0xbb; 8]), (proto::UDP, nat)] {
        let mut error = error_about(router, cluster, peer, proto, &l4);
        let unit = |error: &[u8]| steered().unit_of_frame(&summarise_l3(error).unwrap(), true, error);
        let by_addresses = unit(&error);
        error[32..34].copy_from_slice(&(5_u16 << 10 | 321).to_be_bytes());
        assert_eq!(unit(&error), by_addresses, "it may be cut: a number that says nothing");
        error[DONT_FRAGMENT_AT] |= 0x40;
        assert_eq!(unit(&error).number(), 321);
        let mut error = error_about("fd00:9::9", "fd00:2::10", "fd00:1::5", proto, &l4);
        error[50..52].copy_from_slice(&321_u16.to_be_bytes());
        assert_eq!(unit(&error).number(), 321);
    }
    // Others' packets have names of their own.
    let mut error = error_about(router, cluster, peer, proto::TCP, &[0x01, 0xbb, 0x13, 0x88, 0, 0, 0, 0]);
    error[DONT_FRAGMENT_AT] |= 0x40;
    let flow = summary(proto::TCP, peer, cluster, Some((5000, 443)));
    let parsed = summarise_l3(&error).unwrap();
    assert_eq!(steered().unit_of_frame(&parsed, true, &error), steered().unit(&flow, true, &[0; 32]));
}

#[test]
fn icmp_that_quotes_nothing_goes_by_its_addresses() {
    let filter = steered();
    let s = summary(proto::ICMP, "10.0.0.1", "10.0.0.2", None);
    let expected = filter.unit(&summary(proto::TCP, "10.0.0.1", "10.0.0.2", None), false, &[]);
    let echo = [8, 0, 0, 0, 0, 1, 0, 1];
    assert_eq!(filter.unit(&s, true, &echo), expected);
    assert_eq!(filter.unit(&s, false, &echo), expected);
    assert_eq!(filter.unit(&s, false, &[icmpv4::TIME_EXCEEDED, 0, 0, 0]), expected);
}

#[test]
fn flows_are_read() {
    let flow = Flow::parse("TCP", "[2001:db8::1]:80", "[2001:db8::2]:81").unwrap();
    assert_eq!((flow.proto(), flow.src().1, flow.dst().1), (6, Some(80), Some(81)));
    assert_eq!(Flow::parse("icmp", "::1", "::2").unwrap().proto(), proto::ICMPV6);
    assert_eq!(Flow::parse("89", "10.0.0.1", "10.0.0.2").unwrap().proto(), 89);
    assert!(Flow::parse("esp", "10.0.0.1", "10.0.0.2").unwrap().carries_unit());
    let error = |proto: &str, src: &str, dst: &str| Flow::parse(proto, src, dst).unwrap_err();
    assert!(matches!(error("256", "10.0.0.1", "10.0.0.2"), FlowError::Protocol(_)));
    assert!(matches!(error("tcp", "10.0.0", "10.0.0.2"), FlowError::Address(_)));
    assert!(matches!(error("tcp", "[::1", "::2"), FlowError::Address(_)));
    assert!(matches!(error("tcp", "[::1]x", "::2"), FlowError::Address(_)));
    assert!(matches!(error("tcp", "10.0.0.1:65536", "10.0.0.2:1"), FlowError::Port(_)));
    assert!(matches!(error("tcp", "10.0.0.1:+1", "10.0.0.2:1"), FlowError::Port(_)));
    assert!(matches!(error("icmp", "10.0.0.1:1", "10.0.0.2"), FlowError::NoPorts(..)));
    assert_eq!(error("tcp", "10.0.0.1:1", "10.0.0.2"), FlowError::OnePort);
    assert_eq!(error("tcp", "10.0.0.1", "::2"), FlowError::Families);
}

proptest! {
    #[test]
    fn both_directions_meet(a: u128, b: u128, v4: bool, key: [u8; 16], classic: bool) {
        let filter = Filter::new(if classic { Scheme::Classic } else { Scheme::Steered }, key);
        let address = |n: u128| if v4 { IpAddr::V4((n as u32).into()) } else { IpAddr::V6(n.into()) };
        let there = Summary::of_addresses(address(a), address(b), proto::TCP);
        let back = Summary::of_addresses(address(b), address(a), proto::TCP);
        prop_assert_eq!(filter.unit(&there, false, &[]), filter.unit(&back, false, &[]));
    }

    #[test]
    fn a_burst_is_as_its_packets(src: [u32; 16], dst: [u32; 16], key: [u8; 16], classic: bool) {
        let filter = Filter::new(if classic { Scheme::Classic } else { Scheme::Steered }, key);
        let mut out = [Unit::from_low_bits(0); 16];
        filter.units4(&src, &dst, &mut out);
        for i in 0..16 {
            let single = Summary::of_addresses(IpAddr::V4(src[i].into()), IpAddr::V4(dst[i].into()), proto::UDP);
            prop_assert_eq!(out[i], filter.unit(&single, false, &[]));
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic(proto: u8, port in prop_oneof![Just(500u16), Just(4500), Just(1701), any::<u16>()],
                                      payload in proptest::collection::vec(any::<u8>(), 0..96), v6: bool, flags: u8) {
        let (src, dst) = if v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
        let mut s = summary(proto, src, dst, Some((1, port)));
        s.flags = flags;
        for filter in [classic(), steered()] {
            let _ = (filter.unit(&s, true, &payload), filter.unit(&s, false, &payload));
        }
    }

    #[test]
    fn arbitrary_flow_text_never_panics(proto in ".{0,6}", src in "[0-9a-f:.\\[\\]]{0,24}", dst in ".{0,24}") {
        let _ = Flow::parse(&proto, &src, &dst);
    }
}

#[test]
fn a_port_of_ours_carries_the_unit_of_its_connection() {
    for unit in [0, 1, 700, 1023].map(|number| Unit::new(number).unwrap()) {
        let ports: std::collections::HashSet<u16> =
            (0..steered::PORTS_PER_UNIT).map(|number| steered::port_of(unit, number)).collect();
        assert_eq!(ports.len(), 32);
        for port in ports {
            let answer = summary(proto::TCP, "10.10.0.10", "10.3.0.10", Some((80, port)));
            assert_eq!(steered().unit(&answer, true, &[]), unit);
        }
    }
    // Below that range, and for UDP, ports are anybody's.
    let hashed = |proto, port| steered().unit(&summary(proto, "10.10.0.10", "10.3.0.10", Some((80, port))), true, &[]);
    assert!((0..64).any(|n| hashed(proto::TCP, 1024 + n).number() != (1024 + n) & 1023));
    assert!((0..64).any(|n| hashed(proto::UDP, 40_000 + n).number() != (40_000 + n) & 1023));
}
