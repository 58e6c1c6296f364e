//! The built-in engine against published vectors, and against itself.

mod known;
mod rfc;
mod tried;
mod wycheproof;

use super::cipher::Hider;
use super::mac::Mac;
use super::*;
use crate::ipsec::crypto::Job;
use crate::ipsec::esp::{Fields, Layout, Shape};
use crate::ipsec::transform::{Cipher, Integrity};
use proptest::prelude::*;

/// Bytes as vectors write them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn keys(transform: Transform) -> Keys {
    let cipher: Vec<u8> = (1..).take(transform.cipher_key_len()).collect();
    let integrity: Vec<u8> = (101..).take(transform.integrity_key_len()).collect();
    Keys::new(transform, &cipher, &integrity).unwrap()
}

fn session(transform: Transform, numbers: Numbers, direction: Direction) -> Box<dyn Session> {
    BuiltIn.session(transform, &keys(transform), numbers, direction).unwrap()
}

/// Whether it was done.
fn process(session: &mut dyn Session, packet: &mut [u8], sequence_high: u32) -> bool {
    let mut jobs = [Job::new(packet, sequence_high)];
    session.process(&mut jobs);
    jobs[0].done
}

/// A packet to be sealed, with its payload.
fn packet(transform: Transform, payload: &[u8], nonce: u64) -> Vec<u8> {
    let shape = Shape::of(transform);
    let Layout { before, after } = shape.around(payload.len());
    let mut packet = vec![0; before];
    packet.extend(payload);
    packet.resize(packet.len() + after, 0);
    shape.write(&mut packet, payload.len(), Fields { spi: 0x1234_5678, sequence: 9, nonce, next_header: 4 });
    packet
}

#[test]
fn keys_of_another_transform_make_no_session() {
    let [gcm, cbc]: [Transform; 2] = ["aes256gcm16", "aes128-sha1"].map(|name| name.parse().unwrap());
    for (transform, keys) in [(gcm, keys(cbc)), (cbc, keys(gcm))] {
        let refused = BuiltIn.session(transform, &keys, Numbers::Short, Direction::Seal);
        assert_eq!(refused.err(), Some(EngineError::Keys(transform)));
    }
}

/// Two packets of one plaintext have nothing in common, not even CBC's first blocks, whose numbers differ in one bit.
#[test]
fn the_same_again_looks_different() {
    for transform in Transform::all().filter(|t| !t.to_string().contains("null") && !t.to_string().contains("gmac")) {
        let mut session = session(transform, Numbers::Short, Direction::Seal);
        let [one, other] = [2, 3].map(|nonce| {
            let mut packet = packet(transform, &[0; 64], nonce);
            assert!(process(&mut *session, &mut packet, 0));
            packet
        });
        let body_at = Shape::of(transform).body_at();
        let same = one[body_at..].iter().zip(&other[body_at..]).filter(|(a, b)| a == b).count();
        assert!(same < 8, "{transform}: {same} bytes are the same");
        if transform.to_string().starts_with("aes128-") {
            assert!(one[8..24] != packet(transform, &[0; 64], 2)[8..24], "the IV must not be the number itself");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does(payload in prop::collection::vec(any::<u8>(), 0..200), high: u32, extended: bool, at: prop::sample::Index, bit in 0..8u8) {
        let numbers = if extended { Numbers::Extended } else { Numbers::Short };
        for transform in Transform::all() {
            let clear = packet(transform, &payload, 77);
            let [mut sender, mut receiver] = [Direction::Seal, Direction::Open].map(|way| session(transform, numbers, way));
            let mut sealed = clear.clone();
            prop_assert!(process(&mut *sender, &mut sealed, high));
            let mut opened = sealed.clone();
            prop_assert!(process(&mut *receiver, &mut opened, high), "{}", transform);
            let carried = Shape::of(transform).carried(&opened).unwrap();
            prop_assert_eq!((&opened[carried.start..][..carried.len], carried.next_header), (&payload[..], 4));
            let mut damaged = sealed.clone();
            damaged[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(!process(&mut *receiver, &mut damaged, high), "{}: a bit was flipped", transform);
            prop_assert_eq!(process(&mut *receiver, &mut sealed.clone(), high ^ 1), !extended, "{}: another high half", transform);
        }
    }

    #[test]
    fn sessions_are_total(packet in prop::collection::vec(any::<u8>(), 0..60)) {
        for transform in Transform::all() {
            let [mut sender, mut receiver] =
                [Direction::Seal, Direction::Open].map(|way| session(transform, Numbers::Extended, way));
            let _ = process(&mut *sender, &mut packet.clone(), 0);
            prop_assert!(!process(&mut *receiver, &mut packet.clone(), 0));
        }
    }
}
