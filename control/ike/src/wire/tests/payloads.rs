//! Any payloads that a message may have.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::wire::{Attribute, Exchange, Header, Identity, Notify, Payload, Proposal, Selector, Transform};

pub(super) fn headers() -> impl Strategy<Value = Header> {
    let flags = any::<(bool, bool)>();
    (any::<(u64, u64)>(), any::<u8>(), flags, any::<u32>()).prop_map(|(spis, exchange, flags, message_id)| Header {
        initiator_spi: spis.0,
        responder_spi: spis.1,
        exchange: Exchange(exchange),
        from_initiator: flags.0,
        response: flags.1,
        message_id,
    })
}

pub(super) fn chains() -> impl Strategy<Value = Vec<Payload>> {
    vec(payload(), 0..12)
}

fn payload() -> impl Strategy<Value = Payload> {
    let simple = prop_oneof![
        (any::<u16>(), data()).prop_map(|(group, public)| Payload::KeyExchange { group, public }),
        identity().prop_map(Payload::IdInitiator),
        identity().prop_map(Payload::IdResponder),
        (any::<u8>(), data()).prop_map(|(encoding, data)| Payload::Certificate { encoding, data }),
        (any::<u8>(), data()).prop_map(|(encoding, authorities)| Payload::CertificateRequest { encoding, authorities }),
        (any::<u8>(), data()).prop_map(|(method, data)| Payload::Auth { method, data }),
        data().prop_map(Payload::Nonce),
        data().prop_map(Payload::VendorId),
        data().prop_map(Payload::Eap),
        unknown(),
    ];
    prop_oneof![
        3 => simple,
        1 => vec(proposal(), 0..5).prop_map(Payload::Sa),
        1 => notify().prop_map(Payload::Notify),
        1 => (any::<u8>(), vec(any::<u32>(), 0..9)).prop_map(|(protocol, spis)| Payload::Delete { protocol, spis }),
        1 => vec(selector(), 0..9).prop_map(Payload::SelectorsInitiator),
        1 => vec(selector(), 0..9).prop_map(Payload::SelectorsResponder),
        1 => (any::<u8>(), vec(attribute(), 0..9))
            .prop_map(|(kind, attributes)| Payload::Configuration { kind, attributes }),
    ]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn unknown() -> impl Strategy<Value = Payload> {
    let kinds = prop_oneof![1u8..33, 49u8..53, 54u8..];
    (kinds, any::<bool>()).prop_map(|(kind, critical)| Payload::Unknown { kind, critical })
}

fn identity() -> impl Strategy<Value = Identity> {
    (any::<u8>(), data()).prop_map(|(kind, data)| Identity { kind, data })
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), vec(any::<u8>(), 0..9), any::<u16>(), data()).prop_map(|(protocol, spi, kind, data)| Notify {
        protocol,
        spi,
        kind,
        data,
    })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let protocol_and_spi = prop_oneof![
        (Just(1), vec(any::<u8>(), 0..=0)),
        (Just(1), vec(any::<u8>(), 8)),
        (2u8..=3, vec(any::<u8>(), 4)),
        (4u8.., vec(any::<u8>(), 0..20)),
    ];
    (any::<u8>(), protocol_and_spi, vec(transform(), 0..40))
        .prop_map(|(number, (protocol, spi), transforms)| Proposal { number, protocol, spi, transforms })
}

fn transform() -> impl Strategy<Value = Transform> {
    (any::<u8>(), any::<u16>(), option::of(any::<u16>()), any::<bool>())
        .prop_map(|(kind, id, key_bits, strange)| Transform { kind, id, key_bits, strange })
}

pub(super) fn selector() -> impl Strategy<Value = Selector> {
    let ports = prop_oneof![
        Just(Selector::ANY_PORTS),
        Just(Selector::OPAQUE_PORTS),
        any::<(u16, u16)>().prop_map(|(one, other)| (one.min(other), one.max(other))),
    ];
    // Few protocols, and addresses near each other, so that two selectors often share something.
    let v4 = (0u32..600, 0u32..600).prop_map(|(one, other)| (v4(one.min(other)), v4(one.max(other))));
    let v6 = (0u128..600, 0u128..600).prop_map(|(one, other)| (v6(one.min(other)), v6(one.max(other))));
    let wide = any::<(u32, u32)>().prop_map(|(one, other)| (v4_at(one.min(other)), v4_at(one.max(other))));
    (prop_oneof![Just(0), Just(6), Just(17)], ports, prop_oneof![v4, v6, wide])
        .prop_map(|(protocol, ports, addresses)| Selector { protocol, ports, addresses })
}

fn v4(offset: u32) -> IpAddr {
    v4_at(0x0a00_0000 + offset)
}

fn v4_at(bits: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(bits).into()
}

fn v6(offset: u128) -> IpAddr {
    std::net::Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + offset).into()
}

fn attribute() -> impl Strategy<Value = Attribute> {
    (0u16..0x8000, vec(any::<u8>(), 0..20)).prop_map(|(kind, value)| Attribute { kind, value })
}
