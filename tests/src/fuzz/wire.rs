//! Every header view over any bytes: all accessors answer, and what `Repr` reads it writes back the same.

use std::hint::black_box;
use std::net::Ipv6Addr;

use phalanx_dataplane::wire::{
    EtherType, WireError, arp, ethernet, icmpv4, icmpv6, ipv4, ipv6, ipv6_ext, ndisc, tcp, udp, vlan,
};

/// See the module.
pub(super) fn target(data: &[u8]) {
    views(data);
    setters(data);
    round_trips(data);
    extensions(data);
}

fn views(data: &[u8]) {
    if let Ok(p) = ethernet::Packet::new_checked(data) {
        black_box((p.destination(), p.source(), p.ethertype(), p.payload()));
    }
    if let Ok(p) = vlan::Packet::new_checked(data) {
        black_box((p.vlan(), p.priority(), p.ethertype(), p.payload()));
    }
    if let Ok(p) = arp::Packet::new_checked(data) {
        black_box((p.operation(), p.sender_mac(), p.sender_ip(), p.target_mac(), p.target_ip()));
    }
    if let Ok(p) = ipv4::Packet::new_checked(data).or_else(|_| ipv4::Packet::new_header_checked(data)) {
        black_box((p.version(), p.tos(), p.id(), p.fragment_word(), p.dont_fragment(), p.fragment_offset()));
        black_box((p.is_fragment(), p.ttl(), p.protocol(), p.checksum(), p.verify_checksum()));
        assert!(p.header_len() <= data.len());
        assert!(p.header_len() + p.payload().len() <= data.len().max(usize::from(p.total_len())));
        black_box((p.source(), p.destination()));
    }
    if let Ok(p) = ipv6::Packet::new_checked(data).or_else(|_| ipv6::Packet::new_header_checked(data)) {
        black_box((p.version(), p.traffic_class(), p.flow_label(), p.payload_len(), p.next_header(), p.hop_limit()));
        black_box((p.source(), p.destination(), p.payload()));
    }
    if let Ok(p) = icmpv4::Packet::new_checked(data) {
        black_box((p.kind(), p.code(), p.checksum(), p.verify_checksum(), p.echo_id(), p.echo_sequence()));
        black_box((p.mtu(), p.payload()));
    }
    if let Ok(p) = icmpv6::Packet::new_checked(data) {
        let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        black_box((p.kind(), p.code(), p.checksum(), p.verify_checksum(a, b), p.echo_id(), p.echo_sequence()));
        black_box((p.mtu(), p.payload()));
    }
    if let Ok(p) = tcp::Packet::new_checked(data) {
        black_box((p.source_port(), p.destination_port(), p.sequence(), p.acknowledgement(), p.flags()));
        black_box((p.window(), p.checksum(), p.payload()));
        assert!(p.header_len() + p.payload().len() == data.len());
    }
    if let Ok(p) = udp::Packet::new_checked(data) {
        black_box((p.source_port(), p.destination_port(), p.length(), p.checksum(), p.payload()));
    }
}

/// Changing a header in place keeps it sound.
fn setters(data: &[u8]) {
    let mut copy = data.to_vec();
    if let Ok(mut p) = ipv4::Packet::new_checked(&mut copy[..]) {
        let (sound, ttl) = (p.verify_checksum(), p.ttl());
        assert_eq!(p.decrement_ttl(), p.ttl() != ttl);
        assert!(!sound || p.verify_checksum(), "the repair of the checksum");
        p.fill_checksum();
        assert!(p.verify_checksum());
    }
    let mut copy = data.to_vec();
    if let Ok(mut p) = ipv6::Packet::new_checked(&mut copy[..]) {
        let limit = p.hop_limit();
        assert_eq!(p.decrement_hop_limit(), p.hop_limit() != limit);
    }
    let mut copy = data.to_vec();
    if let Ok(mut p) = icmpv4::Packet::new_checked(&mut copy[..]) {
        p.set_rest(7);
        p.fill_checksum();
        assert!(p.verify_checksum());
    }
}

fn round_trips(data: &[u8]) {
    // An inner tag (QinQ) is payload to us: such a header is not written as it was read.
    if let Ok((repr, at)) = ethernet::Repr::parse(data)
        && repr.ethertype != EtherType::VLAN
    {
        assert!(at <= data.len());
        same(repr, repr.buffer_len(), |buffer| repr.emit(buffer), |b| ethernet::Repr::parse(b).map(|(repr, _)| repr));
    }
    if let Ok(repr) = arp::Repr::parse(data) {
        same(repr, repr.buffer_len(), |buffer| repr.emit(buffer), arp::Repr::parse);
    }
    if let Ok(repr) = ipv4::Repr::parse(data) {
        let whole = repr.buffer_len() + usize::from(repr.payload_len);
        same(repr, whole, |buffer| repr.emit(buffer), ipv4::Repr::parse);
    }
    if let Ok(repr) = ipv6::Repr::parse(data) {
        let whole = repr.buffer_len() + usize::from(repr.payload_len);
        same(repr, whole, |buffer| repr.emit(buffer), ipv6::Repr::parse);
    }
    if let Ok(repr) = udp::Repr::parse(data) {
        let whole = repr.buffer_len() + usize::from(repr.payload_len);
        same(repr, whole, |buffer| repr.emit(buffer), udp::Repr::parse);
    }
    if let Ok(repr) = ndisc::Repr::parse(data) {
        let emit = |buffer: &mut [u8]| repr.emit(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, buffer);
        same(repr, repr.buffer_len(), emit, ndisc::Repr::parse);
    }
}

/// Writes into a buffer of `whole` bytes and reads that again; any shorter buffer than the header's is refused.
fn same<R: PartialEq + std::fmt::Debug>(
    repr: R,
    whole: usize,
    emit: impl Fn(&mut [u8]) -> Result<usize, WireError>,
    parse: impl Fn(&[u8]) -> Result<R, WireError>,
) {
    let mut buffer = vec![0xee; whole];
    let written = emit(&mut buffer).expect("a buffer that is long enough");
    assert_eq!(parse(&buffer).as_ref(), Ok(&repr));
    assert_eq!(emit(&mut buffer[..written.saturating_sub(1)]), Err(WireError::Truncated));
}

fn extensions(data: &[u8]) {
    let Some((&next_header, payload)) = data.split_first() else { return };
    let Ok(walk) = ipv6_ext::walk(next_header, payload) else { return };
    assert!(walk.offset <= payload.len());
    if let Some(fragment) = walk.fragment {
        let mut buffer = [0; ipv6_ext::FRAGMENT_LEN];
        fragment.emit(walk.proto, &mut buffer).expect("a buffer that is long enough");
        let again = ipv6_ext::walk(44, &[&buffer[..], &[0; 8]].concat()).map(|walk| walk.fragment);
        // Behind the header of a first fragment the walk goes on, into our zeros.
        assert!(again.is_err() || again == Ok(Some(fragment)));
    }
}
