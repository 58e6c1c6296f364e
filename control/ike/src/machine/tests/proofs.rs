//! Every way to prove a name, from the side that begins.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};

use super::peers::{Peers, THEM, US, configs};
use super::*;
use crate::pki::{Credential, Trust};
use crate::wire::{self, Body};

/// 2030-01-01.
const NOW_S: u64 = 1_893_456_000;
const NAMES: [&str; 2] = ["gw.example.org", "branch.example.org"];

struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Authority {
    fn new() -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, algorithm: &'static SignatureAlgorithm) -> OwnProof {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params(&[name]).signed_by(&key, &self.0).unwrap().pem();
        OwnProof::Certificate(Arc::new(Credential::from_pem(&certificate, &key.serialize_pem()).unwrap()))
    }

    fn trusted(&self) -> PeersProof {
        PeersProof::Certificate(Arc::new(Trust::new(&[self.0.pem().as_bytes()]).unwrap()))
    }
}

/// Begun by us, with these proofs on both sides.
fn begun(own: [OwnProof; 2], peers: [PeersProof; 2]) -> Peers {
    let mut configs = configs();
    for ((config, own), (peers, side)) in configs.iter_mut().zip(own).zip(peers.into_iter().zip([US, THEM])) {
        let connection = &mut config.connections[0];
        connection.children.truncate(1);
        (connection.own_proof, connection.peers_proof) = (own, peers);
        connection.local_id = Identity::of_text(NAMES[side]);
        connection.remote_id = Some(Identity::of_text(NAMES[1 - side]));
    }
    let mut peers = Peers::new(configs);
    peers.worlds.iter_mut().for_each(|world| world.now_s = NOW_S);
    peers.begin(US);
    peers.settle();
    peers
}

#[test]
fn each_side_proves_its_name_in_its_own_way() {
    let authority = Authority::new();
    let key = || Secret::from(KEY);
    let ways = |name: &str| {
        [
            (OwnProof::SharedKey(key()), PeersProof::SharedKey(key())),
            (authority.issue(name, &PKCS_ECDSA_P384_SHA384), authority.trusted()),
            (authority.issue(name, &PKCS_ED25519), authority.trusted()),
        ]
    };
    for (ours, as_theirs) in ways(NAMES[0]) {
        for (theirs, as_ours) in ways(NAMES[1]) {
            let peers = begun([ours.clone(), theirs.clone()], [as_ours, as_theirs.clone()]);
            peers.assert_tunnels(1);
        }
    }
}

#[test]
fn a_certificate_of_another_authority_or_for_another_name_is_none() {
    let (authority, other) = (Authority::new(), Authority::new());
    let issue = |name| authority.issue(name, &PKCS_ECDSA_P384_SHA384);
    let trusted = || [authority.trusted(), authority.trusted()];
    begun([issue(NAMES[0]), issue(NAMES[1])], trusted()).assert_tunnels(1);
    for theirs in [other.issue(NAMES[1], &PKCS_ECDSA_P384_SHA384), issue("another.example.org")] {
        let peers = begun([issue(NAMES[0]), theirs], trusted());
        assert!(peers.tunnels[US].is_empty() && peers.up(US).is_empty(), "{:?}", peers.reports);
        assert!(peers.up(THEM).is_empty() && peers.tunnels[THEM].is_empty(), "it was told");
    }
    let peers = begun([other.issue(NAMES[0], &PKCS_ED25519), issue(NAMES[1])], trusted());
    assert!(peers.reports[US][0].contains("AUTHENTICATION_FAILED"), "{:?}", peers.reports);
    assert!(peers.worlds[US].records.is_empty());
}

/// Who signs says which hashes it takes, at the first chance.
#[test]
fn the_first_message_says_which_hashes_we_take() {
    let said = |config: Config| {
        let mut peers = Peers::new([config, configs()[THEM].clone()]);
        peers.worlds.iter_mut().for_each(|world| world.now_s = NOW_S);
        peers.begin(US);
        let bytes = peers.wire[0].1.bytes.clone();
        let Body::Plain(payloads) = wire::parse(&bytes).unwrap().body else { panic!("it is in clear") };
        super::client::notified(&payloads).contains(&wire::notify::SIGNATURE_HASH_ALGORITHMS)
    };
    let [mut ours, _] = configs();
    assert!(!said(ours.clone()));
    ours.connections[0].peers_proof = Authority::new().trusted();
    assert!(said(ours));
}
