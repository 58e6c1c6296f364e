//! Any bytes give payloads or an error; and each error is given where it should be.

use proptest::collection::vec;
use proptest::prelude::*;

use super::payloads::chains;
use super::{HEADER, hex};
use crate::wire::limits::{ATTRIBUTES_MAX, MESSAGE_BYTES_MAX, PAYLOADS_MAX, PROPOSALS_MAX, SPIS_MAX, TRANSFORMS_MAX};
use crate::wire::{
    Attribute, Body, HEADER_BYTES, Malformed, Payload, Proposal, Transform, emit, emit_fragment_head, emit_payloads,
    emit_sealed_head, header, header_of_any_version, parse, payloads,
};

/// What is parsed can be emitted, is no longer then, and is the same again.
fn holds(bytes: &[u8]) {
    let Ok(parsed) = parse(bytes) else { return };
    if let Body::Plain(chain) = &parsed.body {
        let again = emit(&parsed.header, chain);
        assert!(again.len() <= bytes.len(), "{parsed:?}");
        assert_eq!(parse(&again).as_ref(), Ok(&parsed));
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400), first in any::<u8>()) {
        holds(&bytes);
        let _ = payloads(first, &bytes);
        let _ = header_of_any_version(&bytes);
    }

    /// Kinds that are known, so that the bodies are looked at.
    #[test]
    fn any_body(kind in 33u8..54, body in vec(any::<u8>(), 0..200)) {
        let mut bytes = emit_sealed_head(&HEADER, 0, body.len());
        bytes[16] = kind;
        bytes.extend(body);
        holds(&bytes);
    }

    #[test]
    fn changed_messages(chain in chains(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = emit(&HEADER, &chain);
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        holds(&bytes);
    }
}

fn refused(bytes: &[u8], why: Malformed) {
    assert_eq!(parse(bytes), Err(why), "{bytes:02x?}");
}

#[test]
fn a_header_says_its_length_and_version() {
    let message = emit(&HEADER, &[Payload::Nonce(vec![1; 16])]);
    let with = |at: usize, byte: u8| {
        let mut changed = message.clone();
        changed[at] = byte;
        changed
    };
    refused(&message[..HEADER_BYTES - 1], Malformed::Truncated);
    refused(&with(27, 49), Malformed::Truncated);
    refused(&with(27, 47), Malformed::Excess);
    refused(&with(17, 0x10), Malformed::Version(1));
    refused(&with(17, 0x30), Malformed::Version(3));
    assert_eq!(header_of_any_version(&with(17, 0x30)), Ok((3, HEADER)));
    assert_eq!(parse(&with(17, 0x2f)), parse(&message), "a minor version");
    assert_eq!(parse(&with(19, 0x08 | 0xd7)), parse(&message), "reserved flags, and that a newer version is spoken");
    assert_eq!(header(&with(16, 46)), Ok(HEADER), "what follows does not matter to the header");
    refused(&vec![0; MESSAGE_BYTES_MAX + 1], Malformed::TooMany("bytes"));
    assert_eq!(payloads(40, &vec![0; MESSAGE_BYTES_MAX + 1]), Err(Malformed::TooMany("bytes")));
}

#[test]
fn a_chain_ends_where_the_bytes_do() {
    assert_eq!(payloads(0, &[]), Ok(vec![]));
    assert_eq!(payloads(0, &hex("00000004")), Err(Malformed::Excess));
    assert_eq!(payloads(40, &[]), Err(Malformed::Truncated));
    assert_eq!(payloads(40, &hex("00000003")), Err(Malformed::Truncated), "shorter than its head");
    assert_eq!(payloads(40, &hex("00000005")), Err(Malformed::Truncated));
    assert_eq!(payloads(40, &hex("00000004 00")), Err(Malformed::Excess));
    assert_eq!(
        payloads(40, &hex("28000004 00000005 aa")),
        Ok(vec![Payload::Nonce(vec![]), Payload::Nonce(vec![0xaa])])
    );
}

#[test]
fn critical_counts_for_what_is_unknown() {
    assert_eq!(payloads(40, &hex("00800005 aa")), Ok(vec![Payload::Nonce(vec![0xaa])]));
    assert_eq!(payloads(200, &hex("00800006 aabb")), Ok(vec![Payload::Unknown { kind: 200, critical: true }]));
    assert_eq!(payloads(200, &hex("007f0004")), Ok(vec![Payload::Unknown { kind: 200, critical: false }]));
}

#[test]
fn what_is_sealed_is_alone() {
    let place = Err(Malformed::Value("sealed payload's place"));
    assert_eq!(payloads(46, &hex("00000006 aabb")), place);
    assert_eq!(payloads(53, &hex("0000000a 00010001 aabb")), place);
    let mut behind_another = emit(&HEADER, &[Payload::Nonce(vec![]), Payload::Nonce(vec![])]);
    behind_another[HEADER_BYTES] = 46;
    assert_eq!(parse(&behind_another).map(|_| ()), place.map(|_| ()));
    let mut followed = [&emit_sealed_head(&HEADER, 40, 3)[..], &[0; 3], &hex("00000004")].concat();
    followed[27] += 4;
    refused(&followed, Malformed::Excess);
}

#[test]
fn fragments_are_numbered() {
    let wrong = Malformed::Value("fragment number");
    for (number, total, why) in [(0, 0, Some(wrong)), (0, 3, Some(wrong)), (4, 3, Some(wrong)), (3, 3, None)] {
        let message = emit_fragment_head(&HEADER, 35, number, total, 0);
        assert_eq!(parse(&message).err(), why, "{number} of {total}");
    }
    let mut second = emit_fragment_head(&HEADER, 35, 2, 3, 0);
    second[HEADER_BYTES] = 35;
    refused(&second, Malformed::Value("fragment's next payload"));
    let mut short = emit_sealed_head(&HEADER, 35, 3);
    short[16] = 53;
    refused(&[&*short, &[0; 3]].concat(), Malformed::Truncated);
}

/// One payload of this kind with this body.
fn body(kind: u8, body: &str) -> Result<Payload, Malformed> {
    let body = hex(body);
    let len = 4 + body.len() as u8;
    payloads(kind, &[&[0, 0, 0, len], &*body].concat()).map(|mut payloads| payloads.remove(0))
}

#[test]
fn proposals_say_how_many_there_are() {
    let mark = Err(Malformed::Value("mark of the last"));
    assert_eq!(body(33, ""), Ok(Payload::Sa(vec![])));
    assert_eq!(body(33, "02000008 01010000"), mark, "a last one that is not the last");
    assert_eq!(body(33, "00000008 01010000 00000008 02010000"), mark, "two last ones");
    assert_eq!(body(33, "03000008 01010000 00000008 02010000"), mark);
    let transform = "03000008 01000014";
    assert_eq!(body(33, &format!("00000010 01010001 {transform}")), mark);
    assert_eq!(body(33, &format!("00000010 01010000 {transform}")), Err(Malformed::Excess));
    assert_eq!(body(33, "00000010 01010002 00000008 01000014"), mark);
    assert_eq!(body(33, "00000010 01010002 03000008 01000014"), Err(Malformed::Truncated));
    assert_eq!(body(33, "00000010 01010001 00000009 01000014"), Err(Malformed::Truncated));
    assert_eq!(body(33, "00000007 010100"), Err(Malformed::Truncated));
    for (protocol, spi_len) in [(1, 4), (2, 0), (3, 8), (3, 0)] {
        let proposal = format!("000000{:02x} 01 {protocol:02x} {spi_len:02x} 00 {}", 8 + spi_len, "aa".repeat(spi_len));
        assert_eq!(body(33, &proposal), Err(Malformed::Value("SPI length")), "{proposal}");
    }
    assert!(body(33, "0000000a 01090200 aabb").is_ok(), "a protocol that is not known");
}

#[test]
fn attributes_that_are_not_known_are_strange() {
    let of = |attributes: &str| {
        let len = 8 + hex(attributes).len();
        let found = body(33, &format!("0000{:04x} 01010001 0000{len:04x} 0100000c {attributes}", 8 + len));
        found.map(|payload| match payload {
            Payload::Sa(proposals) => (proposals[0].transforms[0].key_bits, proposals[0].transforms[0].strange),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(of(""), Ok((None, false)));
    assert_eq!(of("800e0100"), Ok((Some(256), false)));
    assert_eq!(of("800e0100 800e0080"), Ok((Some(256), true)), "twice");
    assert_eq!(of("80ff0100"), Ok((None, true)));
    assert_eq!(of("000e0002 0100"), Ok((None, true)), "the long form");
    assert_eq!(of("40000003 010203 800e0100"), Ok((Some(256), true)));
    assert_eq!(of("40000003 0102"), Err(Malformed::Truncated));
    assert_eq!(of("800e01"), Err(Malformed::Truncated));
}

#[test]
fn bodies_of_other_payloads() {
    for (kind, too_short) in
        [(34, "001f00"), (35, "020000"), (37, ""), (38, ""), (39, "020000"), (41, "010040"), (47, "01")]
    {
        assert_eq!(body(kind, too_short), Err(Malformed::Truncated), "{kind}");
    }
    assert_eq!(body(41, "03044000 aabbcc"), Err(Malformed::Truncated), "an SPI that is cut");
    assert_eq!(body(42, "01000001"), Ok(Payload::Delete { protocol: 1, spis: vec![] }));
    assert_eq!(body(42, "01000000 00"), Err(Malformed::Excess));
    assert_eq!(body(42, "03040002 00000001"), Err(Malformed::Truncated));
    assert_eq!(body(42, "03040001 00000001 00000002"), Err(Malformed::Excess));
    assert_eq!(body(42, "01080001 00000001 00000002"), Err(Malformed::Value("SPI length")));
    assert_eq!(body(47, "01000000 0001"), Err(Malformed::Truncated));
    assert_eq!(body(47, "01000000 00010001"), Err(Malformed::Truncated));
    let attributes = vec![Attribute { kind: 1, value: vec![7] }];
    assert_eq!(body(47, "01000000 80010001 07"), Ok(Payload::Configuration { kind: 1, attributes }));
}

#[test]
fn selectors_are_ranges() {
    let v4 = |ends: &str| body(44, &format!("01000000 07060010 {ends}"));
    assert!(v4("00000050 0a000001 0a000001").is_ok());
    assert!(v4("ffff0000 0a000001 0a000001").is_ok(), "ports that cannot be seen");
    assert_eq!(v4("00510050 0a000001 0a000001"), Err(Malformed::Value("range of ports")));
    assert_eq!(v4("00000050 0a000002 0a000001"), Err(Malformed::Value("range of addresses")));
    assert_eq!(v4("00000050 0a000002 0a0000"), Err(Malformed::Truncated));
    assert_eq!(v4("00000050 0a000002 0a000002 00"), Err(Malformed::Excess));
    assert_eq!(
        body(44, "01000000 07060011 00000050 0a000001 0a000001 00"),
        Err(Malformed::Excess),
        "a length of its own"
    );
    assert_eq!(body(44, "01000000 08060010 00000050 0a000001 0a000001"), Err(Malformed::Truncated));
    assert_eq!(body(44, "02000000 07060010 00000050 0a000001 0a000001"), Err(Malformed::Truncated));
    assert_eq!(body(45, "01000000 09000006 aabb"), Ok(Payload::SelectorsResponder(vec![])), "of Fibre Channel");
    assert_eq!(body(45, "00000000"), Ok(Payload::SelectorsResponder(vec![])));
}

/// As many as allowed are read, one more is refused.
fn bounded(max: usize, what: &'static str, build: impl Fn(usize) -> Vec<Payload>) {
    let read = |count: usize| {
        let (first, bytes) = emit_payloads(&build(count));
        payloads(first, &bytes)
    };
    assert_eq!(read(max), Ok(build(max)));
    assert_eq!(read(max + 1), Err(Malformed::TooMany(what)));
}

#[test]
fn there_is_a_limit_to_everything() {
    let transform = Transform { kind: 1, id: 20, key_bits: Some(256), strange: false };
    let proposal = |transforms| Proposal { number: 1, protocol: 1, spi: vec![], transforms };
    bounded(PAYLOADS_MAX, "payloads", |count| vec![Payload::Nonce(vec![]); count]);
    bounded(PROPOSALS_MAX, "proposals", |count| vec![Payload::Sa(vec![proposal(vec![transform]); count])]);
    bounded(TRANSFORMS_MAX, "transforms", |count| vec![Payload::Sa(vec![proposal(vec![transform; count])])]);
    bounded(SPIS_MAX, "SPIs", |count| vec![Payload::Delete { protocol: 3, spis: vec![9; count] }]);
    let attribute = Attribute { kind: 13, value: vec![0; 8] };
    bounded(ATTRIBUTES_MAX, "attributes", |count| {
        vec![Payload::Configuration { kind: 2, attributes: vec![attribute.clone(); count] }]
    });
}
