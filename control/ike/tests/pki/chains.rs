//! The way from a certificate to an authority.

use std::slice;

use phalanx_ike::pki::{CERTIFICATES_BYTES_MAX, CERTIFICATES_MAX, Distrust, Trust, TrustError};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SerialNumber, date_time_ymd,
};
use ring::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, NOW_S, authority, fqdn, leaf, pem};

fn verify(params: CertificateParams) -> Result<(), Distrust> {
    let root = Authority::root("root");
    root.trust().verify(&[root.issue_new(params)], &fqdn(), NOW_S).map(|_| ())
}

#[test]
fn intermediates_come_in_any_order() {
    let root = Authority::root("root");
    let first = root.between(authority("first"));
    let second = first.between(authority("second"));
    let leaf = second.issue_new(leaf());
    let trust = root.trust();
    let stray = Authority::root("stray").der;
    let [leaf, first, second, root] = [leaf, first.der, second.der, root.der].map(|der| vec![der]);
    let verify = |chain: &[Vec<Vec<u8>>]| trust.verify(&chain.concat(), &fqdn(), NOW_S).map(|_| ());
    assert_eq!(verify(&[leaf.clone(), second.clone(), first.clone()]), Ok(()));
    assert_eq!(verify(&[leaf.clone(), first.clone(), second.clone()]), Ok(()));
    assert_eq!(verify(&[leaf.clone(), root, vec![stray], vec![vec![1, 2]], first.clone(), second.clone()]), Ok(()));
    assert_eq!(verify(&[leaf.clone(), first.clone()]), Err(Distrust::UnknownIssuer));
    assert_eq!(verify(&[leaf.clone(), second.clone()]), Err(Distrust::UnknownIssuer));
    assert!(verify(&[second, leaf, first]).is_err(), "the leaf is the first");
}

#[test]
fn another_authority_of_the_same_name_is_another() {
    let (root, other) = (Authority::root("root"), Authority::root("root"));
    let certificate = other.issue_new(leaf());
    assert!(root.trust().verify(slice::from_ref(&certificate), &fqdn(), NOW_S).is_err());
    assert!(root.trust().verify(&[certificate.clone(), other.der.clone()], &fqdn(), NOW_S).is_err());
    assert!(other.trust().verify(slice::from_ref(&certificate), &fqdn(), NOW_S).is_ok());
    let both = Trust::new(&[pem(&root.der) + &pem(&other.der)]).unwrap();
    assert!(both.verify(&[certificate], &fqdn(), NOW_S).is_ok());
}

#[test]
fn a_certificate_that_signed_itself_proves_nothing() {
    let root = Authority::root("root");
    let key = rcgen::KeyPair::generate().unwrap();
    let own = leaf().self_signed(&key).unwrap().der().to_vec();
    assert_eq!(root.trust().verify(&[own], &fqdn(), NOW_S), Err(Distrust::UnknownIssuer));
}

#[test]
fn a_peer_is_no_authority_and_an_authority_no_peer() {
    let root = Authority::root("root");
    let peer = root.between(named_peer());
    let certificate = peer.issue_new(leaf());
    assert!(root.trust().verify(&[certificate, peer.der], &fqdn(), NOW_S).is_err());
    let mut params = leaf();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(verify(params).is_err());
}

fn named_peer() -> CertificateParams {
    let mut params = leaf();
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

#[test]
fn time_is_looked_at_everywhere() {
    let spans = [((2031, 2040), Distrust::NotYetValid), ((2020, 2029), Distrust::Expired)];
    for ((from, until), why) in spans {
        let limited = |mut params: CertificateParams| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
            params
        };
        assert_eq!(verify(limited(leaf())), Err(why.clone()));
        let root = Authority::root("root");
        let between = root.between(limited(authority("between")));
        let chain = [between.issue_new(leaf()), between.der.clone()];
        assert_eq!(root.trust().verify(&chain, &fqdn(), NOW_S), Err(why));
        let root = Authority::root_from(limited(authority("root")));
        assert_eq!(root.trust().verify(&[root.issue_new(leaf())], &fqdn(), NOW_S), Err(Distrust::UnknownIssuer));
    }
    assert_eq!(verify(leaf()), Ok(()));
    let root = Authority::root("root");
    let certificate = root.issue_new(leaf());
    for now_s in [0, u64::MAX] {
        assert!(root.trust().verify(slice::from_ref(&certificate), &fqdn(), now_s).is_err());
    }
}

#[test]
fn lists_revoke_peers_and_authorities_between() {
    let root = Authority::root("root");
    let mut params = authority("between");
    params.serial_number = Some(SerialNumber::from_slice(&[7]));
    let between = root.between(params);
    let mut params = leaf();
    params.serial_number = Some(SerialNumber::from_slice(&[9]));
    let chain = [between.issue_new(params), between.der.clone()];
    let verify = |crls: &[Vec<u8>]| root.trust().with_crls(crls).unwrap().verify(&chain, &fqdn(), NOW_S).map(|_| ());
    assert_eq!(verify(&[]), Ok(()));
    assert_eq!(verify(&[between.revoke(&[8], 2029), root.revoke(&[9], 2029)]), Ok(()), "others' numbers");
    assert_eq!(verify(&[between.revoke(&[9], 2029)]), Err(Distrust::Revoked));
    assert_eq!(verify(&[root.revoke(&[7], 2029)]), Err(Distrust::Revoked));
    let text = pem::encode(&pem::Pem::new("X509 CRL", between.revoke(&[9], 2029)));
    assert_eq!(verify(&[text.into_bytes()]), Err(Distrust::Revoked), "as PEM");
    let (old, new) = (between.revoke(&[], 2025), between.revoke(&[9], 2026));
    assert_eq!(verify(&[old.clone(), new.clone()]), Err(Distrust::Revoked), "the newest counts");
    assert_eq!(verify(&[new, old]), Err(Distrust::Revoked));
    let (old, new) = (between.revoke(&[9], 2025), between.revoke(&[], 2026));
    assert_eq!(verify(&[old, new]), Ok(()), "taken off it again");
    let mut forged = between.revoke(&[], 2029);
    *forged.last_mut().unwrap() ^= 1;
    assert!(verify(&[forged]).is_err());
}

#[test]
fn a_certificate_is_for_what_it_says() {
    let with = |purposes: &[ExtendedKeyUsagePurpose], usages: &[KeyUsagePurpose]| {
        let mut params = leaf();
        params.extended_key_usages = purposes.to_vec();
        params.key_usages = usages.to_vec();
        verify(params)
    };
    use ExtendedKeyUsagePurpose as Purpose;
    let ike = Purpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    let intermediate = Purpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2]);
    for good in [Purpose::ServerAuth, Purpose::ClientAuth, Purpose::Any, ike, intermediate] {
        assert_eq!(with(slice::from_ref(&good), &[]), Ok(()), "{good:?}");
        assert_eq!(with(&[Purpose::CodeSigning, good], &[]), Ok(()));
    }
    assert_eq!(with(&[Purpose::CodeSigning, Purpose::EmailProtection], &[]), Err(Distrust::Usage));
    assert_eq!(with(&[], &[KeyUsagePurpose::DigitalSignature]), Ok(()));
    assert_eq!(with(&[], &[KeyUsagePurpose::ContentCommitment]), Ok(()));
    assert_eq!(with(&[], &[KeyUsagePurpose::KeyEncipherment]), Err(Distrust::Usage));
}

#[test]
fn constraints_of_authorities_hold() {
    let permitted = |host: &str| {
        let root = Authority::root("root");
        let mut params = authority("between");
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(host.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let between = root.between(params);
        let chain = [between.issue_new(leaf()), between.der];
        root.trust().verify(&chain, &fqdn(), NOW_S).is_ok()
    };
    assert!(permitted("example.org"));
    assert!(!permitted("example.com"));

    let root = Authority::root("root");
    let mut params = authority("between");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let between = root.between(params);
    let last = between.between(authority("last"));
    let chain = [last.issue_new(leaf()), last.der, between.der];
    assert!(root.trust().verify(&chain, &fqdn(), NOW_S).is_err());
}

#[test]
fn what_is_looked_at_is_bounded() {
    let root = Authority::root("root");
    let trust = root.trust();
    let leaf = root.issue_new(leaf());
    assert_eq!(trust.verify(&[], &fqdn(), NOW_S), Err(Distrust::NoCertificate));
    let mut chain = vec![leaf.clone(); CERTIFICATES_MAX];
    assert!(trust.verify(&chain, &fqdn(), NOW_S).is_ok());
    chain.push(leaf.clone());
    assert_eq!(trust.verify(&chain, &fqdn(), NOW_S), Err(Distrust::TooMuch));
    let fill = CERTIFICATES_BYTES_MAX - leaf.len();
    assert!(trust.verify(&[leaf.clone(), vec![0; fill]], &fqdn(), NOW_S).is_ok());
    assert_eq!(trust.verify(&[leaf, vec![0; fill + 1]], &fqdn(), NOW_S), Err(Distrust::TooMuch));
}

#[test]
fn authorities_are_read_whole_or_not() {
    let root = Authority::root("root");
    let peer = root.issue_new(leaf());
    let new = |files: &[&[u8]]| Trust::new(files).map(|_| ());
    assert_eq!(new(&[]), Err(TrustError::NoRoots));
    assert_eq!(new(&[b""]), Err(TrustError::NoCertificate(0)));
    assert_eq!(new(&[&root.der, b"\x30\x00"]), Err(TrustError::NoCertificate(1)));
    assert_eq!(new(&[&root.der, &peer]), Err(TrustError::NoAuthority(1)));
    assert_eq!(new(&[(pem(&root.der) + &pem(&peer)).as_bytes()]), Err(TrustError::NoAuthority(0)));
    assert_eq!(root.trust().with_crls(&[b"x"]).map(|_| ()), Err(TrustError::NoRevocationList(0)));
    assert_eq!(root.trust().with_crls(&[&root.der]).map(|_| ()), Err(TrustError::NoRevocationList(0)));
}

#[test]
fn authorities_are_named_by_their_keys() {
    let roots = [Authority::root("one"), Authority::root("two")];
    let hash = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.public_key().raw).as_ref().to_vec()
    };
    let trust = Trust::new(&[&roots[0].der, &roots[1].der]).unwrap();
    assert_eq!(trust.authorities(), [hash(&roots[0].der), hash(&roots[1].der)].concat());
    assert_eq!(trust.authorities().len(), 40);
}
