//! Signatures of ours and of another implementation's, each verified by the other.

use std::slice;

use phalanx_ike::pki::{BadSignature, Credential, PeerKey, RsaPadding, Trust, hash_algorithms, method};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::authority::{Authority, NAME, NOW_S, fqdn, leaf, pem};
use super::foreign::{Foreign, bytes, hex};

const SIGNED: &[u8] = b"message, nonce and identity";
const ALL: [u16; 4] = [2, 3, 4, 5];

/// A key with its certificate, on both sides.
struct Side {
    pem: String,
    certificate: Vec<u8>,
    key: PeerKey,
}

impl Side {
    fn new(foreign: &mut Foreign, kind: &str) -> Self {
        let root = Authority::root("root");
        let pem = foreign.key(kind, 2048);
        let certificate = root.issue(leaf(), &KeyPair::from_pem(&pem).unwrap());
        let key = root.trust().verify(slice::from_ref(&certificate), &fqdn(), NOW_S).unwrap();
        Self { pem, certificate, key }
    }

    fn credential(&self) -> Credential {
        Credential::from_pem(&pem(&self.certificate), &self.pem).unwrap()
    }

    /// Theirs is accepted by us, and nothing like it.
    fn accepts(&self, foreign: &mut Foreign, how: &Value) {
        let method = u8::try_from(how["method"].as_u64().unwrap()).unwrap();
        let mut auth = foreign.sign(&self.pem, how, SIGNED);
        assert_eq!(self.key.verify(method, &auth, SIGNED), Ok(()), "{how}");
        assert_eq!(self.key.verify(method, &auth, b"something else"), Err(BadSignature::Wrong), "{how}");
        *auth.last_mut().unwrap() ^= 1;
        assert_eq!(self.key.verify(method, &auth, SIGNED), Err(BadSignature::Wrong), "{how}");
        auth.pop();
        assert_eq!(self.key.verify(method, &auth, SIGNED), Err(BadSignature::Wrong), "{how}");
        assert!(self.key.verify(method, &[], SIGNED).is_err());
    }

    fn refuses(&self, foreign: &mut Foreign, how: &Value, why: BadSignature) {
        let method = u8::try_from(how["method"].as_u64().unwrap()).unwrap();
        let auth = foreign.sign(&self.pem, how, SIGNED);
        assert_eq!(self.key.verify(method, &auth, SIGNED), Err(why), "{how}");
    }
}

/// Ours is accepted by them, and by us.
fn accepted(foreign: &mut Foreign, side: &Side, credential: &Credential, hashes: &[u16], how: &Value) {
    let (method, auth) = credential.sign(SIGNED, hashes).unwrap();
    assert_eq!(json!(method), how["method"], "{how}");
    assert_eq!(foreign.verify(&side.certificate, how, SIGNED, &auth), None, "{how}");
    assert!(foreign.verify(&side.certificate, how, b"something else", &auth).is_some(), "{how}");
    assert_eq!(side.key.verify(method, &auth, SIGNED), Ok(()), "{how}");
}

const HASHES: [(&str, u16, u8); 3] = [("sha256", 2, 32), ("sha384", 3, 48), ("sha512", 4, 64)];

#[test]
fn rsa_goes_both_ways() {
    let mut foreign = Foreign::start();
    let side = Side::new(&mut foreign, "rsa");
    for (hash, number, salt) in HASHES {
        for kind in ["pkcs1", "pss"] {
            for nulls in [true, false] {
                let how = json!({"method": 14, "kind": kind, "hash": hash, "salt": salt, "nulls": nulls});
                side.accepts(&mut foreign, &how);
            }
        }
        side.accepts(&mut foreign, &json!({"method": 1, "kind": "pkcs1", "hash": hash}));
        let how = |kind: &str| json!({"method": 14, "kind": kind, "hash": hash, "salt": salt});
        let numbers = [1, 77, number];
        accepted(&mut foreign, &side, &side.credential(), &numbers, &how("pkcs1"));
        let pss = side.credential().with_rsa_padding(RsaPadding::Pss);
        accepted(&mut foreign, &side, &pss, &numbers, &how("pss"));
    }
    let old = json!({"method": 1, "kind": "pkcs1", "hash": "sha256"});
    accepted(&mut foreign, &side, &side.credential(), &[], &old);
    accepted(&mut foreign, &side, &side.credential(), &[1], &old);
    let first = json!({"method": 14, "kind": "pkcs1", "hash": "sha256"});
    accepted(&mut foreign, &side, &side.credential(), &[4, 3, 2], &first);
}

#[test]
fn ecdsa_goes_both_ways() {
    let mut foreign = Foreign::start();
    for (kind, method, ours) in [("p256", 9, ("sha256", 2)), ("p384", 10, ("sha384", 3))] {
        let side = Side::new(&mut foreign, kind);
        for (hash, ..) in HASHES {
            side.accepts(&mut foreign, &json!({"method": 14, "kind": "ecdsa", "hash": hash}));
        }
        let own = json!({"method": method, "kind": "ecdsa"});
        side.accepts(&mut foreign, &own);
        let how = json!({"method": 14, "kind": "ecdsa", "hash": ours.0});
        accepted(&mut foreign, &side, &side.credential(), &ALL, &how);
        for hashes in [&[][..], &[1, 4], &[5]] {
            accepted(&mut foreign, &side, &side.credential(), hashes, &own);
        }
        let auth = foreign.sign(&side.pem, &own, SIGNED);
        for other in [9, 10, 11].into_iter().filter(|other| *other != method) {
            assert_eq!(side.key.verify(other, &auth, SIGNED), Err(BadSignature::OtherKey));
        }
    }
}

#[test]
fn p521_is_verified() {
    let (mut foreign, root) = (Foreign::start(), Authority::root("root"));
    let pem = foreign.key("p521", 0);
    let task = json!({
        "op": "certify", "key": &pem, "issuer_key": &root.key_pem, "issuer": hex(&root.der), "name": NAME, "hash": "sha256",
    });
    let certificate = bytes(foreign.ask(&task)["certificate"].as_str().unwrap());
    let key = root.trust().verify(slice::from_ref(&certificate), &fqdn(), NOW_S).unwrap();
    let side = Side { pem, certificate, key };
    for (hash, ..) in HASHES {
        side.accepts(&mut foreign, &json!({"method": 14, "kind": "ecdsa", "hash": hash}));
    }
    side.accepts(&mut foreign, &json!({"method": 11, "kind": "ecdsa"}));
}

#[test]
fn ed25519_goes_both_ways() {
    let mut foreign = Foreign::start();
    let side = Side::new(&mut foreign, "ed25519");
    let how = json!({"method": 14, "kind": "ed25519"});
    side.accepts(&mut foreign, &how);
    accepted(&mut foreign, &side, &side.credential(), &ALL, &how);
    for hashes in [&[][..], &[2, 3, 4]] {
        assert_eq!(side.credential().sign(SIGNED, hashes), None, "it has no method of its own");
    }
}

#[test]
fn sha1_is_refused_everywhere() {
    let mut foreign = Foreign::start();
    let side = Side::new(&mut foreign, "rsa");
    side.refuses(&mut foreign, &json!({"method": 1, "kind": "pkcs1", "hash": "sha1"}), BadSignature::Wrong);
    for kind in ["pkcs1", "pss"] {
        let how = json!({"method": 14, "kind": kind, "hash": "sha1", "salt": 20});
        side.refuses(&mut foreign, &how, BadSignature::Algorithm);
    }
    let side = Side::new(&mut foreign, "p256");
    side.refuses(&mut foreign, &json!({"method": 14, "kind": "ecdsa", "hash": "sha1"}), BadSignature::Algorithm);

    let root = Authority::root("root");
    for (hash, good) in [("sha256", true), ("sha1", false)] {
        let task = json!({
            "op": "certify", "key": &side.pem, "issuer_key": &root.key_pem, "issuer": hex(&root.der), "name": NAME,
            "hash": hash,
        });
        let certificate = bytes(foreign.ask(&task)["certificate"].as_str().unwrap());
        assert_eq!(root.trust().verify(&[certificate], &fqdn(), NOW_S).is_ok(), good, "a certificate with {hash}");
    }
}

#[test]
fn an_algorithm_is_what_it_says() {
    let mut foreign = Foreign::start();
    let side = Side::new(&mut foreign, "rsa");
    let short_salt = json!({"method": 14, "kind": "pss", "hash": "sha256", "salt": 20});
    side.refuses(&mut foreign, &short_salt, BadSignature::Algorithm);
    let how = |hash: &str| json!({"method": 14, "kind": "pkcs1", "hash": hash});
    let [auth, other] = ["sha256", "sha512"].map(|hash| foreign.sign(&side.pem, &how(hash), SIGNED));
    let mixed = [&auth[..16], &other[16..]].concat();
    assert_eq!(side.key.verify(14, &mixed, SIGNED), Err(BadSignature::Wrong), "the other hash");
    let longer = [&[auth[0] + 1], &auth[1..]].concat();
    assert_eq!(side.key.verify(14, &longer, SIGNED), Err(BadSignature::Algorithm));
    assert_eq!(side.key.verify(14, &[255, 0x30], SIGNED), Err(BadSignature::Algorithm));
    for method in [0, 2, 3, 12, 13, 15, 255] {
        assert_eq!(side.key.verify(method, &auth, SIGNED), Err(BadSignature::Method(method)));
    }
    let curve = Side::new(&mut foreign, "p256");
    assert_eq!(curve.key.verify(14, &auth, SIGNED), Err(BadSignature::OtherKey));
    assert_eq!(curve.key.verify(method::RSA, &auth, SIGNED), Err(BadSignature::OtherKey));
    assert_eq!(side.key.verify(method::ECDSA_P256, &auth, SIGNED), Err(BadSignature::OtherKey));
}

#[test]
fn anothers_signature_is_not_the_peers() {
    let mut foreign = Foreign::start();
    for kind in ["rsa", "p256", "ed25519"] {
        let (one, two) = (Side::new(&mut foreign, kind), Side::new(&mut foreign, kind));
        let (method, auth) = one.credential().sign(SIGNED, &ALL).unwrap();
        assert_eq!(one.key.verify(method, &auth, SIGNED), Ok(()));
        assert_eq!(two.key.verify(method, &auth, SIGNED), Err(BadSignature::Wrong), "{kind}");
    }
}

#[test]
fn a_peers_short_rsa_key_is_refused() {
    let (mut foreign, root) = (Foreign::start(), Authority::root("root"));
    let certify = |foreign: &mut Foreign, bits: u32, trust: &Trust| {
        let key = foreign.key("rsa", bits);
        let task = json!({
            "op": "certify", "key": key, "issuer_key": &root.key_pem, "issuer": hex(&root.der), "name": NAME,
            "hash": "sha256",
        });
        let certificate = bytes(foreign.ask(&task)["certificate"].as_str().unwrap());
        trust.verify(&[certificate], &fqdn(), NOW_S).map(|_| ())
    };
    assert_eq!(certify(&mut foreign, 1024, &root.trust()), Err(phalanx_ike::pki::Distrust::Key));
    assert_eq!(certify(&mut foreign, 2048, &root.trust()), Ok(()));
}

#[test]
fn what_we_announce_is_sha2_and_identity() {
    assert_eq!(hash_algorithms(), [0, 2, 0, 3, 0, 4, 0, 5]);
}
