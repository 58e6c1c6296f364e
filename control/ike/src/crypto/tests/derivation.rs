//! PRFs, keys and proofs against `other.py`.

use super::other::Other;
use super::*;

const SPIS: [u64; 2] = [0x0102_0304_0506_0708, 0x1112_1314_1516_1718];

fn nonces() -> [Vec<u8>; 2] {
    // Of unequal lengths, the least being 16 bytes (RFC 7296 section 2.10).
    [(0..16).collect(), (100..156).collect()]
}

#[test]
fn prfs_take_keys_and_messages_of_any_length() {
    let mut other = Other::start();
    for prf in Prf::ALL {
        let name = format!("{prf:?}");
        for len in [0, 1, 15, 16, 17, 20, 31, 32, 33, 48, 63, 64, 65, 128, 129, 200] {
            let key: Vec<u8> = (1..).take(len).collect();
            let message: Vec<u8> = (50..=255).take(200 - len).collect();
            let value =
                prf.compute(&key, &[&message[..len.min(message.len()) / 2], &message[len.min(message.len()) / 2..]]);
            assert_eq!(value.as_bytes(), other.ask("prf", &[&name], &[&key, &message]), "{name}, {len}");
        }
    }
}

#[test]
fn expansion_has_255_blocks_and_no_more() {
    let mut other = Other::start();
    for prf in Prf::ALL {
        let name = format!("{prf:?}");
        let most = 255 * prf.output_len();
        for len in [0, 1, prf.output_len(), prf.output_len() + 1, 300, most] {
            let stream = prf.expand(b"key", &[b"se", b"ed"], len).unwrap();
            let length = (len as u32).to_be_bytes();
            assert_eq!(stream.as_bytes(), other.ask("expand", &[&name], &[b"key", b"seed", &length]), "{name}, {len}");
        }
        assert_eq!(prf.expand(b"key", &[b"seed"], most + 1), None, "{name}");
        assert_eq!(prf.expand(b"key", &[b"seed"], usize::MAX), None, "{name}");
    }
}

/// All keys, in the order in which they are derived.
fn concatenated(keys: &IkeKeys) -> Vec<u8> {
    [&keys.d, &keys.ai, &keys.ar, &keys.ei, &keys.er, &keys.pi, &keys.pr].map(Secret::as_bytes).concat()
}

#[test]
fn keys_of_an_ike_sa_are_pythons() {
    let mut other = Other::start();
    let [ni, nr] = nonces();
    let shared = Secret::new((7..39).collect());
    let seed = [&ni[..], &nr, &SPIS[0].to_be_bytes(), &SPIS[1].to_be_bytes()].concat();
    for suite in suites() {
        let keys = IkeKeys::derive(suite, &shared, &ni, &nr, SPIS[0], SPIS[1]);
        assert!(keys.are_for(suite), "{suite:?}");
        let name = format!("{:?}", suite.prf);
        let skeyseed = other.ask("skeyseed", &[&name], &[shared.as_bytes(), &ni, &nr]);
        let all = concatenated(&keys);
        let len = (all.len() as u32).to_be_bytes();
        assert_eq!(all, other.ask("expand", &[&name], &[&skeyseed, &seed, &len]), "{suite:?}");
    }
}

/// The old IKE SA's PRF makes the seed, the new one's expands it.
#[test]
fn keys_of_an_ike_sa_that_takes_over_are_pythons() {
    let mut other = Other::start();
    let [ni, nr] = nonces();
    let shared = Secret::new((7..39).collect());
    let old_d = Secret::new((60..80).collect());
    let seed = [&ni[..], &nr, &SPIS[0].to_be_bytes(), &SPIS[1].to_be_bytes()].concat();
    let suite = |prf| Suite {
        cipher: Cipher::AesCbc256,
        integrity: Some(Integrity::HmacSha384_192),
        prf,
        group: Group::Ecp384,
    };
    for (old, new) in Prf::ALL.into_iter().flat_map(|old| Prf::ALL.map(|new| (old, new))) {
        let keys = IkeKeys::derive_rekeyed(suite(new), old, &old_d, &shared, &ni, &nr, SPIS[0], SPIS[1]);
        let message = [shared.as_bytes(), &ni, &nr].concat();
        let skeyseed = other.ask("prf", &[&format!("{old:?}")], &[old_d.as_bytes(), &message]);
        let all = concatenated(&keys);
        let len = (all.len() as u32).to_be_bytes();
        assert_eq!(all, other.ask("expand", &[&format!("{new:?}")], &[&skeyseed, &seed, &len]), "{old:?}, {new:?}");
    }
}

#[test]
fn keys_of_child_sas_are_pythons() {
    let mut other = Other::start();
    let [ni, nr] = nonces();
    let d = Secret::new((60..80).collect());
    let exchanged = Secret::new((7..39).collect());
    for (prf, shared) in Prf::ALL.into_iter().flat_map(|prf| [(prf, None), (prf, Some(&exchanged))]) {
        let keys = child_keymat(prf, &d, shared, &ni, &nr, 200);
        let seed = [shared.map_or(&[][..], Secret::as_bytes), &ni, &nr].concat();
        let right = other.ask("expand", &[&format!("{prf:?}")], &[d.as_bytes(), &seed, &200_u32.to_be_bytes()]);
        assert_eq!(keys.as_bytes(), right, "{prf:?}");
    }
}

#[test]
fn proofs_with_a_shared_key_are_pythons() {
    let mut other = Other::start();
    let [message, nonce, identity] = [&b"the first message"[..], &[5; 32], b"\x02\0\0\0gateway.example"];
    for prf in Prf::ALL {
        let sk_p = Secret::new(vec![8; prf.key_len()]);
        let name = format!("{prf:?}");
        let proof = psk_auth(prf, b"secret", message, nonce, &sk_p, identity);
        let right = other.ask("psk", &[&name], &[b"secret", message, nonce, sk_p.as_bytes(), identity]);
        assert_eq!(proof.as_bytes(), right, "{name}");
        let named = other.ask("prf", &[&name], &[sk_p.as_bytes(), identity]);
        assert_eq!(signed_octets(prf, message, nonce, &sk_p, identity), [message, nonce, &named].concat());
        assert_ne!(proof, psk_auth(prf, b"Secret", message, nonce, &sk_p, identity));
    }
}

#[test]
fn hashes_of_addresses_are_pythons() {
    let mut other = Other::start();
    let v4 = [&SPIS[0].to_be_bytes()[..], &SPIS[1].to_be_bytes(), &[192, 0, 2, 1], &500_u16.to_be_bytes()].concat();
    assert_eq!(nat_hash(SPIS[0], SPIS[1], "192.0.2.1".parse().unwrap(), 500)[..], other.ask("sha1", &[], &[&v4]));
    let address: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let v6 = [&SPIS[0].to_be_bytes()[..], &[0; 8], &address.octets(), &4500_u16.to_be_bytes()].concat();
    assert_eq!(nat_hash(SPIS[0], 0, address.into(), 4500)[..], other.ask("sha1", &[], &[&v6]));
}
