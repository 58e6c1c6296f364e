//! Whole packets, in ways that other implementations seldom send them.

use super::decap::{Decap, Found, locate};
use super::encap::{Draws, Encap, Mode, Name};
use super::esp::{self, Fields, Layout, Shape};
use super::outer::{DontFragment, Outer, Ports};
use super::*;
use crate::wire::{ipv4, ipv6, proto};
use proptest::prelude::*;

const DRAWS: Draws = Draws { sequence: 1, nonce: 2, name: Name { id: 3, unit: 4 } };
const NAT: Ports = Ports { source: 4500, destination: 4500 };

fn tunnel() -> Mode {
    let [source, destination] = [1, 2].map(|host| [192, 0, 2, host].into());
    Mode::Tunnel(Outer { source, destination, udp: None, dscp: None, dont_fragment: DontFragment::Copy, hop_limit: 64 })
}

fn null() -> Transform {
    "null-sha256".parse().unwrap()
}

fn packet_v4(tos: u8, payload_len: u16) -> Vec<u8> {
    let [source, destination] = [1, 2].map(|host| [10, 0, 0, host].into());
    let repr = ipv4::Repr { tos, id: 0, fragment: 0, ttl: 9, protocol: 200, source, destination, payload_len };
    let mut packet = vec![0x11; ipv4::HEADER_LEN + usize::from(payload_len)];
    repr.emit(&mut packet).unwrap();
    packet
}

/// An IPv6 packet with these extension headers, each with what it calls itself.
fn packet_v6(headers: &[(u8, Vec<u8>)], last: u8, payload: &[u8]) -> Vec<u8> {
    let [source, destination] = [1, 2].map(|host| [0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into());
    let mut behind = Vec::new();
    for (place, (_, header)) in headers.iter().enumerate() {
        let next = headers.get(place + 1).map_or(last, |(kind, _)| *kind);
        behind.push(next);
        behind.extend(&header[1..]);
    }
    behind.extend(payload);
    let next_header = headers.first().map_or(last, |(kind, _)| *kind);
    let payload_len = behind.len() as u16;
    let repr = ipv6::Repr { traffic_class: 0, next_header, hop_limit: 9, source, destination, payload_len };
    let mut packet = vec![0; ipv6::HEADER_LEN];
    repr.emit(&mut packet).unwrap();
    packet.extend(behind);
    packet
}

/// Everything but the sealing, which these packets don't need.
fn wrapped(mode: Mode, packet: &[u8]) -> (Vec<u8>, usize) {
    let encap = Encap::new(300, mode, null());
    let room = encap.room(packet).unwrap();
    let mut buffer = [&vec![0; room.before], packet, &vec![0; room.after]].concat();
    let esp_at = encap.build(&mut buffer, room, DRAWS).unwrap();
    assert_eq!(locate(&buffer), Ok(esp_at));
    (buffer, esp_at)
}

fn unwrapped(mode: Mode, buffer: &mut [u8], esp_at: usize) -> Result<Option<Vec<u8>>, Refused> {
    Ok(match Decap::new(&mode, null()).unwrap(buffer, esp_at)? {
        Found::Packet(place) => Some(buffer[place].to_vec()),
        Found::Dummy => None,
    })
}

/// What an IPv4 tunnel carries, whatever it is.
fn carrying(payload: &[u8], next_header: u8) -> (Vec<u8>, usize) {
    let shape = Shape::of(null());
    let Layout { before, after } = shape.around(payload.len());
    let mut packet = [&vec![0; before], payload, &vec![0; after]].concat();
    shape.write(&mut packet, payload.len(), Fields { spi: 300, sequence: 1, nonce: 2, next_header });
    let Mode::Tunnel(outer) = tunnel() else { unreachable!() };
    let mut buffer = [&vec![0; outer.buffer_len()], &packet[..]].concat();
    let inner = super::outer::Inner { next_header, tos: 0, dont_fragment: true };
    outer.write(&mut buffer, packet.len(), &inner, Name::default()).unwrap();
    (buffer, outer.buffer_len())
}

#[test]
fn padding_behind_the_packet_stays_in_the_tunnel() {
    let inner = packet_v4(0, 10);
    let (mut buffer, esp_at) = carrying(&[&inner[..], &[0; 700]].concat(), proto::IPV4);
    assert_eq!(unwrapped(tunnel(), &mut buffer, esp_at), Ok(Some(inner)));
}

#[test]
fn dummies_are_nothing() {
    let (mut buffer, esp_at) = carrying(&[9; 77], esp::DUMMY);
    assert_eq!(unwrapped(tunnel(), &mut buffer, esp_at), Ok(None));
}

#[test]
fn a_tunnel_carries_the_packets_that_it_says() {
    let inner = packet_v4(0, 10);
    let cut = &inner[..inner.len() - 1];
    let (mut loose, damaged) = (inner.clone(), inner.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    loose[0] = 0x44;
    for (payload, next_header) in [
        (&inner[..], proto::IPV6),
        (&inner, proto::TCP),
        (cut, proto::IPV4),
        (&loose, proto::IPV4),
        (&damaged, proto::IPV4),
        (&[], proto::IPV4),
    ] {
        let (mut buffer, esp_at) = carrying(payload, next_header);
        assert_eq!(unwrapped(tunnel(), &mut buffer, esp_at), Err(Refused::NotIp));
    }
}

#[test]
fn marks_of_the_way_come_out() {
    let marked = |inner_tos: u8, outer_mark: u8| {
        let (mut buffer, esp_at) = wrapped(tunnel(), &packet_v4(inner_tos, 10));
        ecn::set(&mut buffer, outer_mark);
        unwrapped(tunnel(), &mut buffer, esp_at)
    };
    assert_eq!(marked(0xb8, 3), Err(Refused::Congested));
    assert_eq!(marked(0xb8, 0), Ok(Some(packet_v4(0xb8, 10))));
    assert_eq!(marked(0xba, 3), Ok(Some(packet_v4(0xbb, 10))));
    assert_eq!(marked(0xba, 1), Ok(Some(packet_v4(0xb9, 10))));
}

#[test]
fn headers_for_the_way_stay_outside() {
    let hop_by_hop = (proto::HOP_BY_HOP, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let routing = (proto::ROUTING, [vec![0, 2, 0, 1, 0, 0, 0, 0], vec![7; 16]].concat());
    let packet = packet_v6(&[hop_by_hop, routing], proto::TCP, b"what is carried");
    for udp in [None, Some(NAT)] {
        let mode = Mode::Transport { udp };
        let (mut buffer, esp_at) = wrapped(mode, &packet);
        assert_eq!(esp_at, 40 + 8 + 24 + if udp.is_some() { 8 } else { 0 });
        assert_eq!(buffer[48], if udp.is_some() { proto::UDP } else { proto::ESP }, "the last of them says so");
        assert_eq!(unwrapped(mode, &mut buffer, esp_at), Ok(Some(packet.clone())));
    }
}

#[test]
fn headers_without_end_are_refused() {
    let chain = vec![(proto::HOP_BY_HOP, vec![0; 8]); 9];
    let packet = packet_v6(&chain, proto::TCP, b"");
    assert_eq!(Encap::new(300, Mode::Transport { udp: None }, null()).room(&packet), None);
    let cut = packet_v6(&[(proto::ROUTING, vec![0, 9, 0, 0, 0, 0, 0, 0])], proto::TCP, b"");
    assert_eq!(locate(&cut), Err(Refused::Malformed));
    assert_eq!(locate(&packet_v4(0, 10)), Err(Refused::Malformed), "no ESP inside");
}

#[test]
fn what_does_not_fit_is_not_built() {
    let encap = Encap::new(300, tunnel(), null());
    let packet = packet_v4(0, 10);
    let room = encap.room(&packet).unwrap();
    assert_eq!(encap.build(&mut [0; 10], room, DRAWS), None, "no room");
    let long = packet_v4(0, 65_500);
    let room = encap.room(&long).unwrap();
    let mut buffer = [&vec![0; room.before], &long[..], &vec![0; room.after]].concat();
    assert_eq!(encap.build(&mut buffer, room, DRAWS), None, "longer than IP allows");
    assert_eq!(encap.build(&mut vec![0; room.before + 12 + room.after], room, DRAWS), None, "no IP packet");
}

proptest! {
    /// One byte more would be too long.
    #[test]
    fn the_mtu_is_exact(which in 0..54usize, outer_mtu in 300..1600usize, udp: bool, tunnels: bool) {
        let transform = Transform::all().nth(which).unwrap();
        let udp = udp.then_some(NAT);
        let mode = match tunnel() {
            Mode::Tunnel(outer) if tunnels => Mode::Tunnel(Outer { udp, ..outer }),
            _ => Mode::Transport { udp },
        };
        let encap = Encap::new(300, mode, transform);
        let outer_len = |len: usize| {
            let Layout { before, after } = encap.room(&packet_v4(0, len as u16 - 20)).unwrap();
            before + len + after
        };
        let mtu = encap.mtu(outer_mtu, ipv4::HEADER_LEN);
        prop_assert!(outer_len(mtu) <= outer_mtu && outer_len(mtu + 1) > outer_mtu);
    }
}
