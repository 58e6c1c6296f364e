//! Which name a certificate says.

use std::net::IpAddr;
use std::slice;

use phalanx_ike::pki::{Distrust, PeerKey};
use rcgen::SanType;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, NOW_S, identity, named};

fn verify(names: &[SanType], kind: u8, name: impl AsRef<[u8]>) -> Result<PeerKey, Distrust> {
    let root = Authority::root("root");
    let certificate = root.issue_new(named("gw.example.org", names));
    root.trust().verify(&[certificate], &identity(kind, name), NOW_S)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn email(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

#[test]
fn host_names_are_equal_or_not() {
    let names = [dns("other.example.org"), dns("Gw.Example.org"), dns("*.wild.example.org")];
    for good in ["gw.example.org", "GW.EXAMPLE.ORG", "other.example.org"] {
        assert!(verify(&names, 2, good).is_ok(), "{good}");
    }
    for bad in
        ["", "example.org", "a.gw.example.org", "gw.example.org.evil", "a.wild.example.org", "*.wild.example.org"]
    {
        assert_eq!(verify(&names, 2, bad), Err(Distrust::OtherName), "{bad}");
    }
    assert_eq!(verify(&names, 2, b"gw.example.org\0"), Err(Distrust::OtherName));
}

#[test]
fn the_common_name_is_no_host_name() {
    assert_eq!(verify(&[], 2, "gw.example.org"), Err(Distrust::OtherName));
    assert_eq!(verify(&[email("gw.example.org")], 2, "gw.example.org"), Err(Distrust::OtherName));
}

#[test]
fn an_email_address_has_a_case_before_its_host() {
    let names = [dns("anna@example.org"), email("Anna@Example.org")];
    assert!(verify(&names, 3, "Anna@example.ORG").is_ok());
    for bad in ["anna@example.org", "Anna@example.com", "Anna", "@example.org", "Anna@", "@", ""] {
        assert_eq!(verify(&names, 3, bad), Err(Distrust::OtherName), "{bad}");
    }
    assert_eq!(verify(&[email("@")], 3, "@"), Err(Distrust::OtherName));
}

#[test]
fn addresses_are_those_of_their_family() {
    let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let names = addresses.map(SanType::IpAddress);
    let six = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert!(verify(&names, 1, [192, 0, 2, 1]).is_ok());
    assert!(verify(&names, 5, six).is_ok());
    assert_eq!(verify(&names, 1, [192, 0, 2, 2]), Err(Distrust::OtherName));
    assert_eq!(verify(&names, 1, six), Err(Distrust::OtherName));
    assert_eq!(verify(&names, 5, [192, 0, 2, 1]), Err(Distrust::OtherName));
    assert_eq!(verify(&names, 1, []), Err(Distrust::OtherName));
    assert_eq!(verify(&[dns("192.0.2.1")], 1, [192, 0, 2, 1]), Err(Distrust::OtherName));
}

#[test]
fn a_distinguished_name_is_the_subject_to_the_byte() {
    let root = Authority::root("root");
    let certificate = root.issue_new(named("peer", &[]));
    let other = root.issue_new(named("other", &[]));
    let subject = |der: &[u8]| X509Certificate::from_der(der).unwrap().1.subject().as_raw().to_vec();
    let trust = root.trust();
    assert!(trust.verify(slice::from_ref(&certificate), &identity(9, subject(&certificate)), NOW_S).is_ok());
    for bad in [subject(&other), Vec::new(), subject(&certificate)[1..].to_vec()] {
        assert_eq!(trust.verify(slice::from_ref(&certificate), &identity(9, bad), NOW_S), Err(Distrust::OtherName));
    }
}

#[test]
fn an_empty_distinguished_name_names_nobody() {
    let root = Authority::root("root");
    let mut params = named("", &[dns("gw.example.org")]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let certificate = root.issue_new(params);
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    assert_eq!(parsed.subject().as_raw(), [0x30, 0]);
    let refused = root.trust().verify(slice::from_ref(&certificate), &identity(9, [0x30, 0]), NOW_S);
    assert_eq!(refused, Err(Distrust::OtherName));
}

#[test]
fn other_names_cannot_be_proved() {
    for kind in [0, 4, 10, 11, 12, 255] {
        assert_eq!(verify(&[dns("gw.example.org")], kind, "gw.example.org"), Err(Distrust::NameKind(kind)));
    }
}
