//! Our certificates and keys, as files have them.

use phalanx_ike::pki::{Credential, CredentialError};
use rcgen::KeyPair;
use serde_json::json;

use super::authority::{Authority, fqdn, identity, leaf, pem};
use super::foreign::Foreign;

#[test]
fn keys_are_read_in_every_form() {
    let (mut foreign, root) = (Foreign::start(), Authority::root("root"));
    for kind in ["rsa", "p256", "p384", "ed25519"] {
        let made = foreign.ask(&json!({"op": "make", "kind": kind, "bits": 2048}));
        let key = KeyPair::from_pem(made["pkcs8"].as_str().unwrap()).unwrap();
        let certificate = pem(&root.issue(leaf(), &key));
        for form in ["pkcs8", "traditional"] {
            let Some(text) = made[form].as_str() else { continue };
            let credential = Credential::from_pem(&certificate, text).unwrap_or_else(|e| panic!("{kind} {form}: {e}"));
            assert_eq!(format!("{credential:?}"), "Credential { certificates: 1, .. }");
            let encrypted = made[format!("encrypted_{form}")].as_str().unwrap();
            let refused = Credential::from_pem(&certificate, encrypted).map(|_| ());
            assert_eq!(refused, Err(CredentialError::Encrypted), "{kind} {form}");
        }
    }
}

#[test]
fn short_keys_are_no_keys() {
    let (mut foreign, root) = (Foreign::start(), Authority::root("root"));
    let short = foreign.key("rsa", 1024);
    let certificate = pem(&root.issue_new(leaf()));
    assert_eq!(Credential::from_pem(&certificate, &short).map(|_| ()), Err(CredentialError::Key));
}

#[test]
fn a_key_and_a_certificate_belong_together() {
    let root = Authority::root("root");
    let (ours, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = pem(&root.issue(leaf(), &ours));
    let read = |certificates: &str, key: &str| Credential::from_pem(certificates, key).map(|_| ());
    let key = ours.serialize_pem();
    assert_eq!(read(&certificate, &key), Ok(()));
    assert_eq!(read(&certificate, &other.serialize_pem()), Err(CredentialError::NotAPair));
    assert_eq!(read(&(pem(&root.der) + &certificate), &key), Err(CredentialError::NotAPair), "ours is the first");
    assert_eq!(read("", &key), Err(CredentialError::Certificate));
    assert_eq!(read(&key, &key), Err(CredentialError::Certificate));
    assert_eq!(read(&certificate, &certificate), Err(CredentialError::Key));
    assert_eq!(read(&certificate, ""), Err(CredentialError::Key));
    assert_eq!(read(&certificate, &(certificate.clone() + &key)), Ok(()), "one file for both");
}

#[test]
fn it_knows_its_certificates_and_names() {
    let root = Authority::root("root");
    let key = KeyPair::generate().unwrap();
    let certificate = root.issue(leaf(), &key);
    let credential = Credential::from_pem(&(pem(&certificate) + &pem(&root.der)), &key.serialize_pem()).unwrap();
    assert_eq!(credential.certificates(), [certificate, root.der]);
    assert!(credential.says(&fqdn()));
    assert!(!credential.says(&identity(2, "other.example.org")));
}
