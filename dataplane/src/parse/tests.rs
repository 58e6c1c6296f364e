//! Frames made by hand, and arbitrary bytes.

use super::*;
use crate::wire::{MacAddr, VlanId, ethernet, ipv4, ipv6, udp};
use proptest::prelude::*;

/// A UDP packet in a frame: 10.1.0.5:1000 -> 10.2.0.10:2000, four bytes of data, then padding.
fn udp_frame(vlan: Option<u16>, fragment: u16) -> Vec<u8> {
    let ether = ethernet::Repr {
        destination: MacAddr([2, 0, 0, 0, 0, 1]),
        source: MacAddr([2, 0, 0, 0, 0, 2]),
        vlan: vlan.and_then(VlanId::new),
        ethertype: EtherType::IPV4,
    };
    let ip = ipv4::Repr {
        tos: 0,
        id: 77,
        fragment,
        ttl: 64,
        protocol: proto::UDP,
        source: Ipv4Addr::new(10, 1, 0, 5),
        destination: Ipv4Addr::new(10, 2, 0, 10),
        payload_len: 12,
    };
    let mut frame = vec![0; 64];
    let l3 = ether.emit(&mut frame).unwrap();
    let l4 = l3 + ip.emit(&mut frame[l3..]).unwrap();
    udp::Repr { source_port: 1000, destination_port: 2000, payload_len: 4 }.emit(&mut frame[l4..]).unwrap();
    frame
}

fn fix_checksum(frame: &mut [u8]) {
    ipv4::Packet::new_header_checked(&mut frame[14..]).unwrap().fill_checksum();
}

#[test]
fn a_udp_frame_is_summarised() {
    for (vlan, l3) in [(None, 14), (Some(100), 18)] {
        let frame = udp_frame(vlan, ipv4::DONT_FRAGMENT);
        let summary = summarise(&frame, vlan).unwrap();
        assert_eq!(summary.src_ip(), "10.1.0.5".parse::<IpAddr>().unwrap());
        assert_eq!(summary.dst_ip(), "10.2.0.10".parse::<IpAddr>().unwrap());
        assert_eq!((summary.proto, summary.ttl, summary.id), (proto::UDP, 64, 77));
        assert_eq!((summary.src_port, summary.dst_port), (1000, 2000));
        assert_eq!(summary.flags, flag::PORTS | flag::DONT_FRAGMENT);
        assert_eq!((summary.l3_offset, summary.l4_offset, summary.l3_end), (l3, l3 + 20, l3 + 32));
        assert_eq!((summary.l4(&frame).len(), summary.l3_len()), (12, 32));
        assert_eq!(summarise_trusted(&frame, vlan), Ok(summary));
        assert_eq!(summarise_l3(summary.l3(&frame)).unwrap().src_port, 1000);
    }
}

#[test]
fn vlans_are_kept_apart() {
    assert_eq!(summarise(&udp_frame(Some(100), 0), None), Err(ParseDrop::WrongVlan));
    assert_eq!(summarise(&udp_frame(Some(100), 0), Some(101)), Err(ParseDrop::WrongVlan));
    assert_eq!(summarise(&udp_frame(None, 0), Some(100)), Err(ParseDrop::WrongVlan));
    // A priority tag is no VLAN.
    let mut frame = udp_frame(Some(1), 0);
    frame[14..16].copy_from_slice(&[0xa0, 0x00]);
    assert!(summarise(&frame, None).is_ok());
}

#[test]
fn each_refusal_has_its_name() {
    let good = udp_frame(None, 0);
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let fixed = |at: usize, bytes: &[u8]| {
        let mut frame = with(at, bytes);
        fix_checksum(&mut frame);
        frame
    };
    let cases: &[(Vec<u8>, ParseDrop)] = &[
        (good[..13].to_vec(), ParseDrop::FrameTruncated),
        (with(12, &[0x81, 0x00])[..17].to_vec(), ParseDrop::FrameTruncated),
        (good[..33].to_vec(), ParseDrop::IpTruncated),
        (good[..45].to_vec(), ParseDrop::IpTruncated),
        (with(14, &[0x65]), ParseDrop::IpVersion),
        (with(14, &[0x44]), ParseDrop::IpLength),
        (with(16, &[0, 19]), ParseDrop::IpLength),
        (with(22, &[63]), ParseDrop::IpChecksum),
        (fixed(26, &[127]), ParseDrop::Martian),
        (fixed(26, &[224]), ParseDrop::Martian),
        (fixed(30, &[127]), ParseDrop::Martian),
        (fixed(20, &[0x1f, 0xff]), ParseDrop::FragmentPastEnd),
        (with(12, &[0x08, 0x06]), ParseDrop::NotIp { ethertype: EtherType::ARP, offset: 14 }),
        (with(12, &[0x88, 0xb5]), ParseDrop::NotIp { ethertype: EtherType::CLUSTER, offset: 14 }),
    ];
    for (frame, drop) in cases {
        assert_eq!(summarise(frame, None), Err(*drop), "{}", drop.name());
    }
}

#[test]
fn segments_to_and_from_groups_come_nowhere() {
    let with = |source: [u8; 4], destination: [u8; 4]| {
        let mut frame = udp_frame(None, 0);
        frame[23] = proto::TCP;
        frame[26..30].copy_from_slice(&source);
        frame[30..34].copy_from_slice(&destination);
        fix_checksum(&mut frame);
        summarise(&frame, None)
    };
    for source in [[224, 0, 0, 1], [255; 4], [0; 4], [127, 0, 0, 1], [240, 0, 0, 1]] {
        assert_eq!(with(source, [10, 2, 0, 10]), Err(ParseDrop::Martian), "{source:?}");
    }
    for group in [[224, 0, 0, 9], [239, 1, 2, 3], [255; 4]] {
        // Such are dropped, unless they are ours to hear; no address of the cluster is one.
        assert!(with([10, 1, 0, 5], group).unwrap().is_to_group(), "{group:?}");
    }
}

#[test]
fn tcp_is_found_behind_ip_options() {
    // No operation, record route with room for one address; then TCP's ports.
    let mut frame = udp_frame(None, 0);
    frame[14] = 0x47;
    frame[23] = proto::TCP;
    frame[17] += 8;
    frame.splice(34..34, [1, 7, 7, 4, 0, 0, 0, 0]);
    fix_checksum(&mut frame);
    let summary = summarise(&frame, None).unwrap();
    assert_eq!((summary.src_port, summary.dst_port, summary.l4_offset), (1000, 2000, 42));
    assert!(summary.has(flag::OPTIONS | flag::PORTS));
}

#[test]
fn only_first_fragments_have_ports() {
    let first = summarise(&udp_frame(None, ipv4::MORE_FRAGMENTS), None).unwrap();
    assert!(first.has(flag::FRAGMENT | flag::MORE_FRAGMENTS | flag::PORTS));
    let last = summarise(&udp_frame(None, 3), None).unwrap();
    assert_eq!((last.flags, last.fragment_offset), (flag::FRAGMENT, 24));
}

#[test]
fn ipv6_extension_headers_are_crossed() {
    let mut packet = vec![0; 40];
    packet.extend([44, 0, 1, 4, 0, 0, 0, 0]); // hop-by-hop
    packet.extend([17, 0, 0, 1, 0, 0, 0, 9]); // fragment: first, more follow
    packet.extend([0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0]); // UDP 1000 -> 2000
    let repr = ipv6::Repr {
        traffic_class: 0,
        next_header: proto::HOP_BY_HOP,
        hop_limit: 9,
        source: "fd00::1".parse().unwrap(),
        destination: "fd00::2".parse().unwrap(),
        payload_len: 24,
    };
    repr.emit(&mut packet).unwrap();
    let summary = summarise_l3(&packet).unwrap();
    assert_eq!((summary.proto, summary.l4_offset, summary.id, summary.ttl), (proto::UDP, 56, 9, 9));
    assert_eq!((summary.src_port, summary.dst_port), (1000, 2000));
    assert!(summary.has(flag::FRAGMENT | flag::MORE_FRAGMENTS | flag::DONT_FRAGMENT | flag::OPTIONS));
    // Nothing more, offset 0: an atomic fragment is no fragment.
    packet[51] = 0;
    assert!(!summarise_l3(&packet).unwrap().is_fragment());
    packet[40] = proto::HOP_BY_HOP; // hop-by-hop is allowed first only
    assert_eq!(summarise_l3(&packet), Err(ParseDrop::ExtensionHeaders));
}

#[test]
fn scopes_are_recognised() {
    let of = |src: &str, dst: &str| Summary::of_addresses(src.parse().unwrap(), dst.parse().unwrap(), 17);
    assert!(of("fe80::1", "fd00::1").is_link_local() && of("10.0.0.1", "169.254.3.4").is_link_local());
    assert!(!of("fd00::1", "fec0::1").is_link_local() && !of("10.0.0.1", "10.0.0.2").is_link_local());
    assert!(of("fd00::1", "ff02::1").is_to_group() && of("10.0.0.1", "239.1.2.3").is_to_group());
    assert!(of("10.0.0.1", "255.255.255.255").is_to_group() && !of("10.0.0.1", "10.0.0.255").is_to_group());
}

#[test]
fn names_stand_at_their_index() {
    let mut names = ParseDrop::NAMES;
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(ParseDrop::FragmentPastEnd.index(), ParseDrop::COUNT - 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut frame in proptest::collection::vec(any::<u8>(), 0..160), kind in 0usize..4,
                                   vlan in proptest::option::of(0u16..4)) {
        const KINDS: [[u8; 2]; 4] = [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x08, 0x06]];
        if frame.len() > 16 {
            frame[12..14].copy_from_slice(&KINDS[kind]);
            frame[14] = if kind == 0 { 0x40 | frame[14] & 0x0f } else { 0x60 };
            frame[16] = 0;
        }
        let results = [summarise(&frame, vlan), summarise_trusted(&frame, vlan), summarise_l3(&frame)];
        for summary in results.into_iter().flatten() {
            prop_assert!(summary.l3_offset <= summary.l4_offset && summary.l4_offset <= summary.l3_end);
            prop_assert!(usize::from(summary.l3_end) <= frame.len());
            let _ = (summary.l3(&frame), summary.l4(&frame), summary.src_ip());
        }
    }
}
