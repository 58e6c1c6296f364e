//! Messages written out by hand.

use super::hex;
use crate::wire::{
    Attribute, Body, Exchange, Header, Identity, Notify, Parsed, Payload, Proposal, Selector, Transform, attribute,
    emit, emit_payloads, notify, parse, payloads,
};

/// The first message of a connection of strongSwan's, with `proposals = aes128-sha256-x25519, aes256gcm16-prfsha256-…`.
const SA_INIT: &str = "
    0a0b0c0d0e0f1011 0000000000000000 21 20 22 08 00000000 00000124
    22 00 0064
       02 00 002c 01 01 00 04
          03 00 000c 01 00 000c 800e 0080
          03 00 0008 03 00 000c
          03 00 0008 02 00 0005
          00 00 0008 04 00 001f
       00 00 0034 02 01 00 05
          03 00 000c 01 00 0014 800e 0100
          03 00 0008 02 00 0005
          03 00 0008 02 00 0007
          03 00 0008 04 00 0013
          00 00 0008 04 00 001f
    28 00 0028 001f 0000
       b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1
    29 00 0024
       a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5
    29 00 001c 00 00 4004 1111111111111111111111111111111111111111
    29 00 001c 00 00 4005 2222222222222222222222222222222222222222
    29 00 0008 00 00 402e
    29 00 0010 00 00 402f 0002 0003 0004 0005
    00 00 0008 00 00 4016";

fn transform(kind: u8, id: u16, key_bits: impl Into<Option<u16>>) -> Transform {
    Transform { kind, id, key_bits: key_bits.into(), strange: false }
}

fn fact(kind: u16, data: &[u8]) -> Payload {
    Payload::Notify(Notify { protocol: 0, spi: vec![], kind, data: data.to_vec() })
}

fn checked(header: Header, payloads: Vec<Payload>, bytes: &[u8]) {
    assert_eq!(emit(&header, &payloads), bytes);
    assert_eq!(parse(bytes), Ok(Parsed { header, body: Body::Plain(payloads) }));
}

#[test]
fn a_first_message_of_strongswans() {
    const REDIRECT_SUPPORTED: u16 = 16406;
    let cbc = [transform(1, 12, 128), transform(3, 12, None), transform(2, 5, None), transform(4, 31, None)];
    let [prfs, groups] = [[5, 7], [19, 31]];
    let gcm = [transform(1, 20, 256)].into_iter();
    let gcm = gcm.chain(prfs.map(|id| transform(2, id, None))).chain(groups.map(|id| transform(4, id, None)));
    let proposal = |number, transforms| Proposal { number, protocol: 1, spi: vec![], transforms };
    let header = Header {
        initiator_spi: 0x0a0b_0c0d_0e0f_1011,
        responder_spi: 0,
        exchange: Exchange::IKE_SA_INIT,
        from_initiator: true,
        response: false,
        message_id: 0,
    };
    let payloads = vec![
        Payload::Sa(vec![proposal(1, cbc.to_vec()), proposal(2, gcm.collect())]),
        Payload::KeyExchange { group: 31, public: vec![0xb1; 32] },
        Payload::Nonce(vec![0xa5; 32]),
        fact(notify::NAT_DETECTION_SOURCE_IP, &[0x11; 20]),
        fact(notify::NAT_DETECTION_DESTINATION_IP, &[0x22; 20]),
        fact(notify::IKEV2_FRAGMENTATION_SUPPORTED, &[]),
        fact(notify::SIGNATURE_HASH_ALGORITHMS, &[0, 2, 0, 3, 0, 4, 0, 5]),
        fact(REDIRECT_SUPPORTED, &[]),
    ];
    checked(header, payloads, &hex(SA_INIT));
}

/// What the second message of a road warrior's seals: names, a shared key's proof, a wish for an address, a child SA.
const AUTH: &str = "
    29 00 000f 02 000000 63 61 72 6f 6c 2e 65
    24 00 0008 00 00 4000
    27 00 000c 01 000000 c6 33 64 01
    2f 00 0010 02 000000 d0d1d2d3d4d5d6d7
    21 00 0014 01 000000 0001 0000 0008 0000 0003 0000
    2c 00 0024
       00 00 0020 01 03 04 02 c1c2c3c4
          03 00 000c 01 00 0014 800e 0100
          00 00 0008 05 00 0000
    2d 00 0018 01 000000 07 00 0010 0000 ffff 00000000 ffffffff
    2b 00 0040 02 000000
       07 11 0010 0035 0035 0a010000 0a01ffff
       08 3a 0028 ffff 0000 20010db8000000000000000000000000 20010db8ffffffffffffffffffffffff
    26 00 0008 c0ffee00
    2a 00 0019 04 0000000000000000000000000000000000000000
    30 00 000c 03 04 0001 c1c2c3c4
    00 00 0009 01 01 0005 01";

#[test]
fn what_a_road_warrior_seals() {
    let name = |kind, data: &[u8]| Identity { kind, data: data.to_vec() };
    let gcm = vec![transform(1, 20, 256), transform(5, 0, None)];
    let open = |kind| Attribute { kind, value: vec![] };
    let wanted = vec![
        open(attribute::INTERNAL_IP4_ADDRESS),
        open(attribute::INTERNAL_IP6_ADDRESS),
        open(attribute::INTERNAL_IP4_DNS),
    ];
    let v6 = ("2001:db8::".parse().unwrap(), "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
    let dns = Selector { protocol: 17, ports: (53, 53), ..Selector::of_network("10.1.0.0".parse().unwrap(), 16) };
    let icmp = Selector { protocol: 58, ports: Selector::OPAQUE_PORTS, addresses: v6 };
    let expected = vec![
        Payload::IdInitiator(name(2, b"carol.e")),
        fact(notify::INITIAL_CONTACT, &[]),
        Payload::IdResponder(name(1, &[198, 51, 100, 1])),
        Payload::Auth { method: 2, data: (0xd0..0xd8).collect() },
        Payload::Configuration { kind: 1, attributes: wanted },
        Payload::Sa(vec![Proposal { number: 1, protocol: 3, spi: vec![0xc1, 0xc2, 0xc3, 0xc4], transforms: gcm }]),
        Payload::SelectorsInitiator(vec![Selector::of_network("0.0.0.0".parse().unwrap(), 0)]),
        Payload::SelectorsResponder(vec![dns, icmp]),
        Payload::VendorId(vec![0xc0, 0xff, 0xee, 0]),
        Payload::CertificateRequest { encoding: 4, authorities: vec![0; 20] },
        Payload::Delete { protocol: 3, spis: vec![0xc1c2_c3c4] },
        Payload::Eap(vec![1, 1, 0, 5, 1]),
    ];
    let bytes = hex(AUTH);
    assert_eq!(payloads(35, &bytes), Ok(expected.clone()));
    assert_eq!(emit_payloads(&expected), (35, bytes));
}

#[test]
fn a_refusal() {
    let header = Header {
        initiator_spi: 1,
        responder_spi: 2,
        exchange: Exchange::IKE_SA_INIT,
        from_initiator: false,
        response: true,
        message_id: 0,
    };
    let bytes = hex("0000000000000001 0000000000000002 29 20 22 20 00000000 00000026 00 00 000a 00 00 0011 0013");
    checked(header, vec![fact(notify::INVALID_KE_PAYLOAD, &[0, 19])], &bytes);
}
