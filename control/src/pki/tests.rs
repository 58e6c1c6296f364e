//! A whole CA on disk, and what of it a stranger's tools say.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use phalanx_dataplane::unit::MemberId;

use super::*;
use crate::envelope::{KeyRefusal, PublicKeys};

const NOW: WallTime = WallTime::from_unix_seconds(1_900_000_000);

fn id(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

fn new_ca(dir: &Path, cluster: &str) -> Authority {
    Authority::init(dir, &cluster.parse().unwrap(), NOW).unwrap()
}

fn issue(ca: &mut Authority, name: &str, number: u8) -> Issued {
    ca.issue(&name.parse().unwrap(), id(number), 30, NOW).unwrap()
}

fn identity(issued: &Issued) -> Identity {
    Identity::parse(issued.bundle.as_bytes(), NOW).unwrap()
}

#[test]
fn an_issued_bundle_is_an_identity() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(&dir.path().join("ca"), "edge");
    let issued = issue(&mut ca, "m1", 1);
    let path = dir.path().join("m1.pem");
    write_secret(&path, issued.bundle.as_bytes()).unwrap();
    let me = Identity::load(&path, NOW).unwrap();
    assert_eq!((me.member(), me.name().as_str(), me.cluster().as_str()), (id(1), "m1", "edge"));
    assert_eq!(me.fingerprint().to_string(), issued.record.fingerprint);
    let shown = format!("{me:?}");
    assert!(shown.contains("ClusterSecret(..)") && shown.contains("SigningKey(.."), "{shown}");
}

#[test]
fn a_bundle_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(&dir.path().join("ca"), "edge");
    let path = dir.path().join("m1.pem");
    write_secret(&path, issue(&mut ca, "m1", 1).bundle.as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Identity::load(&path, NOW), Err(IdentityError::File(_))));
}

#[test]
fn no_block_of_a_bundle_can_be_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(&dir.path().join("ca"), "edge");
    let blocks = |bundle: &str| pem::parse_many(bundle).unwrap();
    let ours = blocks(&issue(&mut ca, "m1", 1).bundle);
    let theirs = blocks(&issue(&mut new_ca(&dir.path().join("other"), "edge"), "m1", 1).bundle);
    let sibling = blocks(&issue(&mut ca, "m2", 2).bundle);
    for place in 0..ours.len() {
        for foreign in [&theirs, &sibling] {
            if foreign[place] == ours[place] {
                continue; // siblings share the CA's certificate and the secret
            }
            let mut mixed = ours.clone();
            mixed[place] = foreign[place].clone();
            assert!(Identity::parse(pem::encode_many(&mixed).as_bytes(), NOW).is_err(), "block {place}");
        }
        let mut short = ours.clone();
        short.remove(place);
        assert!(matches!(Identity::parse(pem::encode_many(&short).as_bytes(), NOW), Err(IdentityError::Malformed)));
    }
    assert!(Identity::parse(pem::encode_many(&ours).as_bytes(), NOW).is_ok());
}

#[test]
fn names_and_numbers_are_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(dir.path(), "edge");
    issue(&mut ca, "m1", 1);
    let mut again = |name: &str, number| ca.issue(&name.parse().unwrap(), id(number), 30, NOW).err();
    assert!(matches!(again("m1", 2), Some(CaError::Taken(_))));
    assert!(matches!(again("m2", 1), Some(CaError::Taken(_))));
    assert!(matches!(again("ca", 3), Some(CaError::Reserved(_))));
    ca.revoke("m1", NOW).unwrap();
    assert!(matches!(ca.revoke("m1", NOW), Err(CaError::AlreadyRevoked(_))));
    assert!(matches!(ca.revoke("nobody", NOW), Err(CaError::Unknown(_))));
    let second = issue(&mut ca, "m1", 1);
    ca.revoke(&second.record.serial.to_uppercase(), NOW).unwrap();
    // One that has ended stands in nobody's way.
    issue(&mut ca, "m1", 1);
    ca.issue(&"m1".parse().unwrap(), id(1), 30, NOW.plus_days(31)).unwrap();
}

#[test]
fn a_ca_survives_being_closed_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(dir.path(), "edge");
    issue(&mut ca, "m1", 1);
    assert!(matches!(Authority::open(dir.path()), Err(CaError::File(_))), "locked while in use");
    drop(ca);
    assert!(matches!(Authority::init(dir.path(), &"edge".parse().unwrap(), NOW), Err(CaError::Exists(_))));
    let mut ca = Authority::open(dir.path()).unwrap();
    assert_eq!(ca.records().len(), 1);
    let second = identity(&issue(&mut ca, "m2", 2));
    assert_eq!(second.ca(), ca.certificate());
    let text = std::fs::read_to_string(dir.path().join("index.json")).unwrap();
    drop(ca);
    std::fs::write(dir.path().join("index.json"), &text[..text.len() / 2]).unwrap();
    assert!(matches!(Authority::open(dir.path()), Err(CaError::Damaged(_))));
}

#[test]
fn admission_refuses_what_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(&dir.path().join("a"), "edge");
    let me = identity(&issue(&mut ca, "m1", 1));
    let peer = identity(&issue(&mut ca, "m2", 2));
    let mut admission = Admission::new(me.ca().clone());
    let der = peer.certificate();
    assert_eq!(admission.check(der, NOW).unwrap().member, id(2));
    assert!(matches!(admission.check(der, NOW.plus_seconds(-301)), Err(AdmissionError::NotYetValid(_))));
    assert!(matches!(admission.check(der, NOW.plus_days(31)), Err(AdmissionError::Expired(_))));
    for at in 0..der.len() {
        let mut broken = der.to_vec();
        broken[at] ^= 4;
        assert!(admission.check(&broken, NOW).is_err(), "byte {at} of {der:02x?}");
        assert!(admission.check(&der[..at], NOW).is_err(), "cut at {at}");
    }
    assert!(admission.check(ca.certificate().der(), NOW).is_err(), "the CA is no member");
    let other = identity(&issue(&mut new_ca(&dir.path().join("b"), "edge"), "m2", 2));
    assert_eq!(
        admission.check(other.certificate(), NOW),
        Err(AdmissionError::Certificate(CertificateError::NotOurCa)),
        "same cluster name, other CA"
    );
    admission.set_listed(Some(BTreeSet::from([me.fingerprint()])));
    assert_eq!(admission.check(der, NOW), Err(AdmissionError::NotListed));
    assert!(admission.check(me.certificate(), NOW).is_ok());
}

#[test]
fn revocation_takes_effect_at_once_and_is_not_undone_by_an_older_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = new_ca(dir.path(), "edge");
    let crl = || std::fs::read(dir.path().join("crl.pem")).unwrap();
    let peer = identity(&issue(&mut ca, "m2", 2));
    let mut roster = Roster::new(Admission::new(peer.ca().clone()));
    assert_eq!(roster.public_key(id(2)), Err(KeyRefusal::Unknown));
    roster.admit(peer.certificate(), NOW).unwrap();
    assert_eq!(roster.public_key(id(2)), Ok(peer.signing_key().public_key()));
    let empty = crl();
    ca.revoke("m2", NOW).unwrap();
    let mut admission = roster.admission().clone();
    admission.load_crl(&crl()).unwrap();
    assert_eq!(admission.load_crl(&empty), Err(CrlError::Older));
    assert_eq!(admission.load_crl(b"-----BEGIN"), Err(CrlError::Malformed));
    let gone = roster.set_admission(admission, NOW);
    assert_eq!(gone.iter().map(|peer| peer.member).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(roster.public_key(id(2)), Err(KeyRefusal::Revoked));
    assert_eq!(roster.admit(peer.certificate(), NOW), Err(AdmissionError::Revoked));
}

/// A tool that knows nothing of us agrees about chain and revocation. `openssl` is a base package that scripts/setup installs, so
/// its absence fails the test.
#[test]
fn openssl_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let now = WallTime::read_clock();
    let mut ca = Authority::init(dir.path(), &"edge".parse().unwrap(), now).unwrap();
    for (name, number) in [("m1", 1), ("m2", 2)] {
        let issued = ca.issue(&name.parse().unwrap(), id(number), 30, now).unwrap();
        write_secret(&dir.path().join(format!("{name}.pem")), issued.bundle.as_bytes()).unwrap();
    }
    ca.revoke("m2", now).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(dir.path()).args(arguments).output();
        let output = output.expect("openssl must be installed: scripts/setup does that");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let verify = |bundle: &str| {
        openssl(&["verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", bundle])
    };
    let (good, text) = verify("m1.pem");
    assert!(good, "{text}");
    let (good, text) = verify("m2.pem");
    assert!(!good && text.contains("revoked"), "{text}");
    let (good, text) = openssl(&["x509", "-in", "m1.pem", "-noout", "-ext", "subjectAltName"]);
    assert!(good && text.contains("URI:phalanx://edge/1/m1"), "{text}");
    assert!(openssl(&["crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout"]).0);
}
