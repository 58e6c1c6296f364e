//! Whatever comes, an answer comes; and what was changed on the way proves nothing.

use phalanx_ike::pki::{Credential, PeerKey, Trust, method};
use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::KeyPair;

use super::authority::{Authority, NOW_S, authority, fqdn, identity, leaf, pem};

const SIGNED: &[u8] = b"octets";

struct Scene {
    trust: Trust,
    chain: Vec<Vec<u8>>,
    key: PeerKey,
    auth: Vec<u8>,
}

thread_local! {
    static SCENE: Scene = Scene::new();
}

impl Scene {
    fn new() -> Self {
        let root = Authority::root("root");
        let between = root.between(authority("between"));
        let key = KeyPair::generate().unwrap();
        let chain = vec![between.issue(leaf(), &key), between.der.clone()];
        let trust = root.trust().with_crls(&[between.revoke(&[1], 2029)]).unwrap();
        let peer = trust.verify(&chain, &fqdn(), NOW_S).unwrap();
        let credential = Credential::from_pem(&pem(&chain[0]), &key.serialize_pem()).unwrap();
        let (method, auth) = credential.sign(SIGNED, &[2]).unwrap();
        assert_eq!((method, peer.verify(method, &auth, SIGNED)), (method::DIGITAL_SIGNATURE, Ok(())));
        Self { trust, chain, key: peer, auth }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(file in vec(any::<u8>(), 0..200), der in any::<bool>()) {
        let file = if der { [&[0x30, 0x82][..], &file].concat() } else { file };
        let text = String::from_utf8_lossy(&file);
        prop_assert!(Trust::new(&[&file]).is_err());
        prop_assert!(Credential::from_pem(&text, &text).is_err());
        SCENE.with(|scene| {
            assert!(scene.trust.verify(&[file.clone(), file.clone()], &identity(2, &file), NOW_S).is_err());
            assert!(scene.trust.verify(&[scene.chain[0].clone(), file.clone()], &fqdn(), NOW_S).is_err());
        });
    }

    #[test]
    fn a_changed_certificate_proves_nothing(of in 0..2_usize, at: prop::sample::Index, flip in 1..=255_u8) {
        SCENE.with(|scene| {
            let mut chain = scene.chain.clone();
            let at = at.index(chain[of].len());
            chain[of][at] ^= flip;
            assert_ne!(scene.trust.verify(&chain, &fqdn(), NOW_S).as_ref(), Ok(&scene.key), "byte {at} of {of}");
        });
    }

    #[test]
    fn a_cut_certificate_proves_nothing(of in 0..2_usize, len: prop::sample::Index) {
        SCENE.with(|scene| {
            let mut chain = scene.chain.clone();
            let len = len.index(chain[of].len());
            chain[of].truncate(len);
            assert!(scene.trust.verify(&chain, &fqdn(), NOW_S).is_err());
        });
    }

    #[test]
    fn any_auth_is_read(method: u8, auth in vec(any::<u8>(), 0..200)) {
        SCENE.with(|scene| assert!(scene.key.verify(method, &auth, SIGNED).is_err()));
    }

    #[test]
    fn a_changed_auth_proves_nothing(at: prop::sample::Index, flip in 1..=255_u8) {
        SCENE.with(|scene| {
            let mut auth = scene.auth.clone();
            let at = at.index(auth.len());
            auth[at] ^= flip;
            assert!(scene.key.verify(method::DIGITAL_SIGNATURE, &auth, SIGNED).is_err());
        });
    }
}
