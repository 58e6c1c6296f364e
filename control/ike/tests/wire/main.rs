//! Messages against another implementation: what scapy writes is read by us as it was meant, and what we write is read
//! by scapy as we meant it.

mod described;
mod scapy;

use phalanx_ike::wire::{
    Attribute, Body, Exchange, FragmentOf, Header, Identity, Notify, Parsed, Payload, Proposal, Sealed, Selector,
    Transform, attribute, emit, emit_fragment_head, emit_sealed_head, notify, parse, protocol,
};
use scapy::Scapy;
use serde_json::json;

fn header(exchange: Exchange, from_initiator: bool, response: bool) -> Header {
    let (initiator_spi, responder_spi) = (0x0102_0304_0506_0708, 0xf1f2_f3f4_f5f6_f7f8);
    Header { initiator_spi, responder_spi, exchange, from_initiator, response, message_id: 0x0a0b_0c0d }
}

fn transform(kind: u8, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { kind, id, key_bits, strange: false }
}

fn proposals() -> Vec<Proposal> {
    let gcm = vec![transform(1, 20, Some(256)), transform(2, 7, None), transform(4, 31, None)];
    let cbc = vec![transform(1, 12, Some(128)), transform(3, 12, None), transform(2, 5, None), transform(4, 19, None)];
    let esp = vec![transform(1, 20, Some(128)), transform(5, 0, None), transform(5, 1, None)];
    vec![
        Proposal { number: 1, protocol: protocol::IKE, spi: vec![], transforms: gcm },
        Proposal { number: 2, protocol: protocol::IKE, spi: (1..=8).collect(), transforms: cbc },
        Proposal { number: 3, protocol: protocol::ESP, spi: vec![0xca, 0xfe, 1, 2], transforms: esp },
    ]
}

fn selectors() -> Vec<Selector> {
    let all = |network: &str, len| Selector::of_network(network.parse().unwrap(), len);
    vec![
        all("0.0.0.0", 0),
        Selector { protocol: 17, ports: (53, 5353), ..all("10.1.0.0", 16) },
        Selector { protocol: 58, ports: Selector::OPAQUE_PORTS, ..all("2001:db8::", 32) },
        Selector { addresses: ("192.0.2.7".parse().unwrap(), "192.0.2.9".parse().unwrap()), ..all("0.0.0.0", 0) },
    ]
}

fn attributes(values: &[(u16, &[u8])]) -> Vec<Attribute> {
    values.iter().map(|(kind, value)| Attribute { kind: *kind, value: value.to_vec() }).collect()
}

fn fact(kind: u16, protocol: u8, spi: &[u8], data: &[u8]) -> Payload {
    Payload::Notify(Notify { protocol, spi: spi.to_vec(), kind, data: data.to_vec() })
}

fn name(kind: u8, data: &[u8]) -> Identity {
    Identity { kind, data: data.to_vec() }
}

/// Each kind of payload, most in several shapes. Every message begins with another of them.
fn payloads() -> Vec<Payload> {
    let given = attributes(&[
        (attribute::INTERNAL_IP4_ADDRESS, &[10, 1, 0, 7]),
        (attribute::INTERNAL_IP4_DNS, &[10, 1, 0, 1]),
        (attribute::INTERNAL_IP6_DNS, &[0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (attribute::INTERNAL_IP4_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0]),
        (attribute::INTERNAL_DNS_DOMAIN, b"example.org"),
    ]);
    vec![
        Payload::Sa(proposals()),
        Payload::KeyExchange { group: 31, public: vec![0xb1; 32] },
        Payload::Nonce(vec![0xa5; 32]),
        fact(notify::NAT_DETECTION_SOURCE_IP, 0, &[], &[0x11; 20]),
        fact(notify::REKEY_SA, protocol::ESP, &[1, 2, 3, 4], &[]),
        fact(notify::CHILD_SA_NOT_FOUND, protocol::AH, &[5, 6, 7, 8], &[9, 10, 11]),
        Payload::VendorId(b"Phalanx".to_vec()),
        Payload::IdInitiator(name(2, b"carol.example.org")),
        Payload::IdInitiator(name(1, &[192, 0, 2, 1])),
        Payload::IdResponder(name(5, &[0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9])),
        Payload::IdResponder(name(11, &[0, 1, 2])),
        Payload::Certificate { encoding: 12, data: b"http://example.org/c".to_vec() },
        Payload::CertificateRequest { encoding: 4, authorities: vec![0x33; 40] },
        Payload::Auth { method: 2, data: vec![0xd0; 32] },
        Payload::Configuration { kind: 1, attributes: attributes(&[(attribute::INTERNAL_IP4_ADDRESS, &[])]) },
        Payload::Configuration { kind: 2, attributes: given },
        Payload::SelectorsInitiator(selectors()),
        Payload::SelectorsResponder(selectors()[1..3].to_vec()),
        Payload::Delete { protocol: protocol::IKE, spis: vec![] },
        Payload::Delete { protocol: protocol::ESP, spis: vec![0xc1c2_c3c4, 7] },
        Payload::Eap(vec![1, 2, 0, 6, 1, 0x61]),
        Payload::Unknown { kind: 200, critical: true },
        Payload::Unknown { kind: 51, critical: false },
    ]
}

/// Every payload first, all others behind it; each once alone; none at all.
fn messages() -> Vec<(Header, Vec<Payload>)> {
    let all = payloads();
    let turned = (0..all.len()).map(|at| [&all[at..], &all[..at]].concat());
    let alone = all.iter().map(|payload| vec![payload.clone()]);
    let exchanges = [Exchange::IKE_SA_INIT, Exchange::IKE_AUTH, Exchange::CREATE_CHILD_SA, Exchange::INFORMATIONAL];
    let directions = [(true, false), (false, true), (true, true), (false, false), (true, false)];
    let headers = exchanges.into_iter().cycle().zip(directions.into_iter().cycle());
    let headers = headers.map(|(exchange, (from_initiator, response))| header(exchange, from_initiator, response));
    headers.zip(turned.chain(alone).chain([vec![]])).collect()
}

#[test]
fn what_scapy_writes_is_read_as_meant() {
    let mut scapy = Scapy::start();
    for (header, payloads) in messages() {
        let bytes = scapy.build(&described::message(&header, &payloads));
        assert_eq!(parse(&bytes), Ok(Parsed { header, body: Body::Plain(payloads) }));
    }
}

#[test]
fn what_is_written_here_scapy_reads_as_meant() {
    let mut scapy = Scapy::start();
    for (header, payloads) in messages() {
        assert_eq!(scapy.read(&emit(&header, &payloads)), described::message(&header, &payloads));
    }
}

#[test]
fn sealed_messages_are_the_same() {
    let mut scapy = Scapy::start();
    let (header, sealed) = (header(Exchange::IKE_AUTH, true, false), [0x5e; 77]);
    for first in [0, 35, 46] {
        let description = json!([{ "is": "sealed", "first": first, "data": described::hex(&sealed) }]);
        let description = described::described(&header, description);
        let associated = emit_sealed_head(&header, first, sealed.len());
        let bytes = [&*associated, &sealed].concat();
        assert_eq!(scapy.read(&bytes), description);
        assert_eq!(scapy.build(&description), bytes);
        let body = Body::Sealed(Sealed { first, associated: &associated, sealed: &sealed });
        assert_eq!(parse(&bytes), Ok(Parsed { header, body }));
    }
}

#[test]
fn fragments_are_the_same() {
    let mut scapy = Scapy::start();
    let (header, sealed) = (header(Exchange::IKE_AUTH, false, true), [0x5f; 90]);
    for (first, number, total) in [(36, 1, 3), (0, 2, 3), (0, 0x0103, 0x0203)] {
        let data = described::hex(&sealed);
        let fragment = json!([{ "is": "fragment", "first": first, "number": number, "total": total, "data": data }]);
        let description = described::described(&header, fragment);
        let associated = emit_fragment_head(&header, 36, number, total, sealed.len());
        let bytes = [&*associated, &sealed].concat();
        assert_eq!(scapy.read(&bytes), description);
        assert_eq!(scapy.build(&description), bytes);
        let body = Body::Fragment(FragmentOf { first, number, total, associated: &associated, sealed: &sealed });
        assert_eq!(parse(&bytes), Ok(Parsed { header, body }));
    }
}
