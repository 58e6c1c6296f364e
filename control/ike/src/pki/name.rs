//! Whether a certificate says a name (RFC 4945 section 3.1).
//!
//! Names are equal or they are not: there are no patterns in certificates, nor is the common name looked at. Case does not
//! matter in host names, and in what is behind an e-mail address's `@`.

use rustls_pki_types::DnsName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::wire::Identity;

const IPV4: u8 = 1;
const FQDN: u8 = 2;
const EMAIL: u8 = 3;
const IPV6: u8 = 5;
const DISTINGUISHED_NAME: u8 = 9;

/// A distinguished name that names nothing: an empty SEQUENCE. Certificates may have it as their subject.
const EMPTY_NAME: [u8; 2] = [0x30, 0x00];

/// Whether names of this identity's kind can be in a certificate.
pub(super) const fn can_be_certified(identity: &Identity) -> bool {
    matches!(identity.kind, IPV4 | FQDN | EMAIL | IPV6 | DISTINGUISHED_NAME)
}

/// Whether `certificate` says `identity`.
pub(super) fn says(certificate: &X509Certificate<'_>, identity: &Identity) -> bool {
    let name = identity.data.as_slice();
    match identity.kind {
        FQDN => {
            let sane = DnsName::try_from(name).is_ok();
            sane && any_name(certificate, |known| matches!(known, GeneralName::DNSName(dns) if same(dns, name)))
        }
        EMAIL => {
            any_name(certificate, |known| matches!(known, GeneralName::RFC822Name(email) if same_email(email, name)))
        }
        IPV4 => name.len() == 4 && has_address(certificate, name),
        IPV6 => name.len() == 16 && has_address(certificate, name),
        DISTINGUISHED_NAME => name != EMPTY_NAME && certificate.subject().as_raw() == name,
        _ => false,
    }
}

fn any_name(certificate: &X509Certificate<'_>, is_it: impl Fn(&GeneralName<'_>) -> bool) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(is_it)
}

fn has_address(certificate: &X509Certificate<'_>, address: &[u8]) -> bool {
    any_name(certificate, |known| matches!(known, GeneralName::IPAddress(bytes) if *bytes == address))
}

fn same(known: &str, name: &[u8]) -> bool {
    known.as_bytes().eq_ignore_ascii_case(name)
}

fn same_email(known: &str, name: &[u8]) -> bool {
    let parts = (known.rsplit_once('@'), std::str::from_utf8(name).ok().and_then(|name| name.rsplit_once('@')));
    let (Some((known_user, known_host)), Some((user, host))) = parts else { return false };
    !user.is_empty() && user == known_user && !host.is_empty() && host.eq_ignore_ascii_case(known_host)
}
