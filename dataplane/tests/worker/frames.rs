//! Building frames and looking at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phalanx_dataplane::parse::{Summary, summarise};
use phalanx_dataplane::wire::{
    EtherType, MacAddr, arp, bytes, ethernet, icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, ndisc, proto,
};

pub(crate) const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 1, 0x64]);
pub(crate) const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 2, 0x64]);

pub(crate) fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

pub(crate) fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

/// A frame around an IP packet of `len` bytes of payload of this protocol.
pub(crate) struct Ip {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) ttl: u8,
    pub(crate) fragment: u16,
    pub(crate) id: u16,
    pub(crate) proto: u8,
    pub(crate) payload: Vec<u8>,
}

impl Ip {
    pub(crate) fn udp(to: MacAddr, from: MacAddr, len: usize) -> Self {
        let mut payload = vec![0xab; len.max(8)];
        payload[..8].copy_from_slice(&[0x10, 0x01, 0x10, 0x02, 0, len as u8, 0, 0]);
        Self { to, from, ttl: 64, fragment: 0, id: 1, proto: proto::UDP, payload }
    }

    pub(crate) fn frame(&self, source: &str, destination: &str) -> Vec<u8> {
        let (source, destination) = (source.parse().expect("an address"), destination.parse().expect("an address"));
        let payload_len = self.payload.len() as u16;
        let (ethertype, head) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (ttl, protocol, fragment, id) = (self.ttl, self.proto, self.fragment, self.id);
                let repr = ipv4::Repr { tos: 0, id, fragment, ttl, protocol, source, destination, payload_len };
                let mut head = vec![0; 20];
                repr.emit(&mut head).expect("room");
                (EtherType::IPV4, head)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (hop_limit, next_header) = (self.ttl, self.proto);
                let repr = ipv6::Repr { traffic_class: 0, next_header, hop_limit, source, destination, payload_len };
                let mut head = vec![0; 40];
                repr.emit(&mut head).expect("room");
                (EtherType::IPV6, head)
            }
            _ => panic!("one family"),
        };
        let mut frame = vec![0; 14];
        let header = ethernet::Repr { destination: self.to, source: self.from, vlan: None, ethertype };
        header.emit(&mut frame).expect("room");
        frame.extend(head);
        frame.extend(&self.payload);
        frame
    }
}

pub(crate) fn echo_request_v4(to: MacAddr, from: MacAddr, source: &str, destination: &str, len: usize) -> Vec<u8> {
    let mut payload = vec![0x55; 8 + len];
    payload[..8].copy_from_slice(&[8, 0, 0, 0, 0, 1, 0, 1]);
    icmpv4::Packet::new_checked(&mut payload[..]).expect("ICMP").fill_checksum();
    let ip = Ip { proto: proto::ICMP, payload, ..Ip::udp(to, from, 8) };
    ip.frame(source, destination)
}

/// "Nobody listens on that port", from `router`, about a UDP packet that `here` has sent to `there`, with these ports.
pub(crate) fn port_unreachable(
    to: MacAddr,
    from: MacAddr,
    router: &str,
    [here, there]: [&str; 2],
    ports: [u16; 2],
) -> Vec<u8> {
    let mut quoted = Ip::udp(to, from, 8);
    quoted.payload[..2].copy_from_slice(&ports[0].to_be_bytes());
    quoted.payload[2..4].copy_from_slice(&ports[1].to_be_bytes());
    let mut payload = vec![0; 8];
    payload.extend(&quoted.frame(here, there)[14..]);
    let six = here.contains(':');
    if six {
        let mut error = icmpv6::Packet::new_checked(&mut payload[..]).expect("ICMPv6");
        error.set_kind(icmpv6::UNREACHABLE);
        error.set_code(icmpv6::CODE_PORT);
        error.fill_checksum(v6(router), v6(here));
    } else {
        let mut error = icmpv4::Packet::new_checked(&mut payload[..]).expect("ICMP");
        error.set_kind(icmpv4::UNREACHABLE);
        error.set_code(icmpv4::CODE_PORT);
        error.fill_checksum();
    }
    let proto = if six { proto::ICMPV6 } else { proto::ICMP };
    Ip { proto, payload, ..Ip::udp(to, from, 8) }.frame(router, here)
}

/// An ICMPv6 echo request, cut into fragments of at most `each` bytes of it.
pub(crate) fn echo_request_v6(
    to: MacAddr,
    from: MacAddr,
    addresses: [&str; 2],
    len: usize,
    each: usize,
    id: u32,
) -> Vec<Vec<u8>> {
    let mut message = vec![0; 8];
    message[..8].copy_from_slice(&[128, 0, 0, 0, 0, 1, 0, 1]);
    message.extend((0..len).map(|n| (n % 253) as u8));
    let [source, destination] = addresses;
    icmpv6::Packet::new_checked(&mut message[..]).expect("ICMPv6").fill_checksum(v6(source), v6(destination));
    let piece = |(index, part): (usize, &[u8])| {
        let more = (index + 1) * each < message.len();
        let mut payload = vec![0; 8];
        let header = ipv6_ext::Fragment { offset: (index * each) as u16, more, id };
        header.emit(proto::ICMPV6, &mut payload).expect("room");
        payload.extend(part);
        Ip { proto: proto::FRAGMENT, payload, ..Ip::udp(to, from, 8) }.frame(source, destination)
    };
    message.chunks(each).enumerate().map(piece).collect()
}

pub(crate) fn arp_request(from: MacAddr, sender: &str, target: &str) -> Vec<u8> {
    let repr = arp::Repr {
        operation: arp::Operation::Request,
        sender_mac: from,
        sender_ip: v4(sender),
        target_mac: MacAddr::ZERO,
        target_ip: v4(target),
    };
    arp_frame(MacAddr::BROADCAST, from, &repr)
}

pub(crate) fn arp_reply(to: MacAddr, from: MacAddr, sender: &str, target: &str) -> Vec<u8> {
    let repr = arp::Repr {
        operation: arp::Operation::Reply,
        sender_mac: from,
        sender_ip: v4(sender),
        target_mac: to,
        target_ip: v4(target),
    };
    arp_frame(to, from, &repr)
}

fn arp_frame(destination: MacAddr, source: MacAddr, repr: &arp::Repr) -> Vec<u8> {
    let mut frame = vec![0; 60];
    let header = ethernet::Repr { destination, source, vlan: None, ethertype: EtherType::ARP };
    let at = header.emit(&mut frame).expect("room");
    repr.emit(&mut frame[at..]).expect("room");
    frame
}

/// The ARP packet in a frame, if it is one.
pub(crate) fn read_arp(frame: &[u8]) -> Option<arp::Repr> {
    let (header, at) = ethernet::Repr::parse(frame).ok()?;
    (header.ethertype == EtherType::ARP).then(|| arp::Repr::parse(&frame[at..]).ok())?
}

/// The neighbor advertisement by which a host answers a solicitation.
pub(crate) fn advertisement(to: MacAddr, from: MacAddr, source: &str, destination: &str) -> Vec<u8> {
    let (source_ip, destination_ip) = (v6(source), v6(destination));
    let told = ndisc::Repr::Advertisement {
        target: source_ip,
        router: false,
        solicited: true,
        override_known: true,
        target_mac: Some(from),
    };
    let mut payload = vec![0; told.buffer_len()];
    told.emit(source_ip, destination_ip, &mut payload).expect("room");
    let ip = Ip { proto: proto::ICMPV6, ttl: 255, payload, ..Ip::udp(to, from, 8) };
    ip.frame(source, destination)
}

/// A frame of the members' own.
pub(crate) fn cluster_frame(to: MacAddr, from: MacAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14];
    let header = ethernet::Repr { destination: to, source: from, vlan: None, ethertype: EtherType::CLUSTER };
    header.emit(&mut frame).expect("room");
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

pub(crate) fn summary(frame: &[u8]) -> Summary {
    summarise(frame, None).expect("an IP packet")
}

pub(crate) fn macs(frame: &[u8]) -> (MacAddr, MacAddr) {
    let at = |offset| MacAddr(bytes::array(frame, offset).expect("a frame"));
    (at(0), at(6))
}
