//! The encrypted payload: Python opens it, the wrong keys do not, and nothing panics.

use proptest::prelude::*;

use super::other::Other;
use super::*;

const ASSOCIATED: &[u8] = b"header and head of the payload";
const IV: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn sealed_by(suite: Suite, keys: &IkeKeys, payloads: &[u8]) -> Vec<u8> {
    seal(suite, &keys.ei, &keys.ai, ASSOCIATED, payloads, IV, &mut Counting(40))
}

/// One of each cipher and integrity: the PRF makes other keys, no other message.
fn shapes() -> impl Iterator<Item = Suite> {
    suites().filter(|suite| suite.prf == Prf::HmacSha256)
}

#[test]
fn python_opens_what_is_sealed() {
    let mut other = Other::start();
    for suite in shapes() {
        let keys = keys(suite);
        let [cipher, integrity] =
            [format!("{:?}", suite.cipher), suite.integrity.map_or("None".into(), |i| format!("{i:?}"))];
        for len in [0, 1, 14, 15, 16, 17, 100, 1500] {
            let payloads: Vec<u8> = (0..=255).cycle().take(len).collect();
            let sealed = sealed_by(suite, &keys, &payloads);
            assert_eq!(sealed.len(), sealed_len(suite, len), "{suite:?}");
            let (enc_key, int_key) = (keys.ei.as_bytes(), keys.ai.as_bytes());
            let opened = other.ask("open", &[&cipher, &integrity], &[enc_key, int_key, ASSOCIATED, &sealed]);
            assert_eq!(opened, payloads, "{suite:?}, {len} bytes");
        }
    }
}

#[test]
fn ivs_are_the_callers_but_random_where_they_must_not_be_foreseen() {
    for suite in shapes() {
        let sealed = sealed_by(suite, &keys(suite), b"payloads");
        let mut random = [0; 16];
        Counting(40).fill(&mut random);
        let iv = if suite.iv_len() == 16 { &random[..] } else { &IV };
        assert_eq!(&sealed[..suite.iv_len()], iv, "{suite:?}");
    }
}

#[test]
fn other_keys_open_nothing() {
    for suite in shapes() {
        let keys = keys(suite);
        let sealed = sealed_by(suite, &keys, b"payloads");
        let opened = open(suite, &keys.ei, &keys.ai, ASSOCIATED, &sealed);
        assert_eq!(opened.as_deref().map(Vec::as_slice), Ok(&b"payloads"[..]), "{suite:?}");
        let refused = |enc_key, int_key, associated| open(suite, enc_key, int_key, associated, &sealed).is_err();
        assert!(refused(&keys.er, &keys.ar, ASSOCIATED), "{suite:?}: the other direction's");
        assert!(refused(&keys.ei, &keys.ai, &ASSOCIATED[1..]), "{suite:?}: another header");
        assert_eq!(refused(&keys.ei, &keys.ar, ASSOCIATED), suite.integrity.is_some(), "{suite:?}: the other check");
        assert!(refused(&Secret::default(), &keys.ai, ASSOCIATED), "{suite:?}: no key");
    }
}

/// Members restore keys from what others wrote: if that was wrong, nothing must go out in clear.
#[test]
fn keys_of_another_suite_seal_nothing() {
    for suite in shapes() {
        let keys = keys(suite);
        let short = Secret::from(&keys.ei.as_bytes()[1..]);
        let seal = |enc_key: &Secret, int_key: &Secret| {
            seal(suite, enc_key, int_key, ASSOCIATED, b"payloads", IV, &mut Counting(1))
        };
        assert!(seal(&short, &keys.ai).is_empty() && seal(&Secret::default(), &keys.ai).is_empty(), "{suite:?}");
        assert_eq!(seal(&keys.ei, &short).is_empty(), suite.integrity.is_some(), "{suite:?}");
        let other = IkeKeys { ei: short, ..keys.clone() };
        assert!(keys.are_for(suite) && !other.are_for(suite));
    }
}

/// Somebody who has the keys says that there is more padding than payload.
#[test]
fn more_padding_than_payload_is_refused() {
    let suite = Suite { cipher: Cipher::AesGcm16_128, integrity: None, prf: Prf::HmacSha256, group: Group::X25519 };
    let keys = keys(suite);
    let key = ring::aead::UnboundKey::new(&ring::aead::AES_128_GCM, &keys.ei.as_bytes()[..16]).unwrap();
    let key = ring::aead::LessSafeKey::new(key);
    let nonce: [u8; 12] = [&keys.ei.as_bytes()[16..], &IV].concat().try_into().unwrap();
    for (body, padded) in [(&[][..], false), (&[1], false), (&[7, 7, 3], false), (&[7, 7, 2], true), (&[0], true)] {
        let mut hidden = body.to_vec();
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, ring::aead::Aad::from(ASSOCIATED), &mut hidden).unwrap();
        let opened = open(suite, &keys.ei, &keys.ai, ASSOCIATED, &[&IV[..], &hidden].concat());
        assert_eq!(opened.is_ok_and(|payloads| payloads.is_empty()), padded, "{body:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_bit_flipped_is_noticed(
        payloads in prop::collection::vec(any::<u8>(), 0..100),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        for suite in shapes() {
            let keys = keys(suite);
            let mut sealed = sealed_by(suite, &keys, &payloads);
            let opened = open(suite, &keys.ei, &keys.ai, ASSOCIATED, &sealed);
            prop_assert_eq!(opened.as_deref(), Ok(&payloads));
            sealed[at.index(payloads.len() + 1)] ^= 1 << bit;
            prop_assert_eq!(open(suite, &keys.ei, &keys.ai, ASSOCIATED, &sealed), Err(Unauthentic));
        }
    }

    #[test]
    fn opening_is_total(sealed in prop::collection::vec(any::<u8>(), 0..80), key in prop::collection::vec(any::<u8>(), 0..70)) {
        let key = Secret::new(key);
        for suite in shapes() {
            let keys = keys(suite);
            prop_assert_eq!(open(suite, &keys.ei, &keys.ai, ASSOCIATED, &sealed), Err(Unauthentic));
            prop_assert_eq!(open(suite, &key, &key, ASSOCIATED, &sealed), Err(Unauthentic));
        }
    }

    #[test]
    fn agreeing_is_total(public in prop::collection::vec(any::<u8>(), 0..140)) {
        for group in [Group::Ecp256, Group::X25519] {
            let pair = KeyPair::generate(group, &mut Counting(1));
            let _ = pair.agree(&public);
            let _ = KeyPair::restore(group, &public);
        }
    }
}
