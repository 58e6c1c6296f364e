//! Reading certificates: the CA's own, and the members' that it signed (X.509, RFC 5280; Ed25519, RFC 8410).

use std::fmt;

use phalanx_dataplane::unit::MemberId;
use ring::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::{ClusterName, MemberName};
use super::secret::PublicKey;
use super::time::WallTime;

/// The longest certificate that is looked at; ours have some 450 bytes.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 768;
/// The start of the URI that says who a certificate belongs to.
pub(super) const URI_SCHEME: &str = "phalanx://";

/// Why a certificate is not one of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or of a form that our CA never issues.
    #[error("not a certificate that a phalanx CA issues: {0}")]
    Malformed(&'static str),
    /// Another CA signed it, or it was tampered with.
    #[error("the certificate was not signed by this cluster's CA")]
    NotOurCa,
}

/// SHA-256 over a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of this certificate.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The fingerprint with these bytes, as heard from the master.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The CA's certificate: the anchor of all trust in the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaCertificate {
    der: Vec<u8>,
    subject: Vec<u8>,
    public_key: PublicKey,
    cluster: ClusterName,
    not_after: WallTime,
}

impl CaCertificate {
    /// Reads a CA certificate; checks that it is one for a cluster and that it signed itself.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse_whole(der)?;
        let public_key = public_key(&certificate)?;
        if !certificate.is_ca() || certificate.issuer() != certificate.subject() {
            return Err(CertificateError::Malformed("not a CA certificate"));
        }
        check_signature(der, &certificate, &public_key)?;
        let uri = only_uri(&certificate)?;
        let cluster = uri.strip_prefix(URI_SCHEME).and_then(|name| name.parse().ok());
        Ok(Self {
            der: der.to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
            public_key,
            cluster: cluster.ok_or(CertificateError::Malformed("no cluster name in it"))?,
            not_after: WallTime::from_unix_seconds(certificate.validity().not_after.timestamp()),
        })
    }

    /// The DER form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The cluster that it was made for.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Its public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// When it ends.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// The subject in DER form: what a certificate that it signed names as issuer.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// A member's certificate, known to be signed by our CA. Whether it is accepted *now* is for [`super::Admission`] to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberCertificate {
    /// The member's number.
    pub member: MemberId,
    /// The member's name.
    pub name: MemberName,
    /// The cluster that it belongs to.
    pub cluster: ClusterName,
    /// The serial number that the CA gave it.
    pub serial: Vec<u8>,
    /// Its public key.
    pub public_key: PublicKey,
    /// From when it is valid.
    pub not_before: WallTime,
    /// Until when it is valid.
    pub not_after: WallTime,
    /// SHA-256 over the whole certificate.
    pub fingerprint: Fingerprint,
}

impl MemberCertificate {
    /// Reads a member's certificate and checks that `ca` signed it.
    pub fn verify(der: &[u8], ca: &CaCertificate) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed("too long"));
        }
        let certificate = parse_whole(der)?;
        if certificate.issuer().as_raw() != ca.subject {
            return Err(CertificateError::NotOurCa);
        }
        check_signature(der, &certificate, &ca.public_key)?;
        check_use(&certificate)?;
        let (cluster, member, name) =
            parse_uri(only_uri(&certificate)?).ok_or(CertificateError::Malformed("no member in its URI"))?;
        Ok(Self {
            member,
            name,
            cluster,
            serial: certificate.raw_serial().to_vec(),
            public_key: public_key(&certificate)?,
            not_before: WallTime::from_unix_seconds(certificate.validity().not_before.timestamp()),
            not_after: WallTime::from_unix_seconds(certificate.validity().not_after.timestamp()),
            fingerprint: Fingerprint::of(der),
        })
    }
}

/// Who a certificate says it is for, whoever signed it: for messages to people, and never for a decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The cluster.
    pub cluster: ClusterName,
    /// The member's number.
    pub member: MemberId,
    /// The member's name.
    pub name: MemberName,
}

impl Claim {
    /// Reads it out of a certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        let der = Some(der).filter(|der| der.len() <= CERTIFICATE_BYTES_MAX)?;
        let certificate = parse_whole(der).ok()?;
        let (cluster, member, name) = parse_uri(only_uri(&certificate).ok()?)?;
        Some(Self { cluster, member, name })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} ({}) of cluster {}", self.member, self.name, self.cluster)
    }
}

/// The URI that names a member in its certificate.
pub(super) fn member_uri(cluster: &ClusterName, member: MemberId, name: &MemberName) -> String {
    format!("{URI_SCHEME}{cluster}/{}/{name}", member.number())
}

fn parse_uri(uri: &str) -> Option<(ClusterName, MemberId, MemberName)> {
    let mut parts = uri.strip_prefix(URI_SCHEME)?.split('/');
    let found = (parts.next()?.parse().ok()?, MemberId::new(parts.next()?.parse().ok()?)?, parts.next()?.parse().ok()?);
    // "01" and "+1" parse as numbers too: one member, one spelling.
    let spelled = member_uri(&found.0, found.1, &found.2) == uri;
    (parts.next().is_none() && spelled).then_some(found)
}

fn parse_whole(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("bytes after its end")),
        Err(_) => Err(CertificateError::Malformed("not X.509")),
    }
}

fn public_key(certificate: &X509Certificate<'_>) -> Result<PublicKey, CertificateError> {
    let info = certificate.public_key();
    if info.algorithm.algorithm != OID_SIG_ED25519 {
        return Err(CertificateError::Malformed("its key is not Ed25519"));
    }
    PublicKey::from_slice(&info.subject_public_key.data)
        .ok_or(CertificateError::Malformed("its key has a wrong length"))
}

/// What stands between the signed part and the signature: the algorithm, Ed25519, and the bit string's head (RFC 8410).
const SIGNATURE_HEAD: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];

/// Checks the signature, and that what stands outside the signed part has its one form: the parser is lenient there, and one
/// certificate must not have many fingerprints.
fn check_signature(der: &[u8], certificate: &X509Certificate<'_>, key: &PublicKey) -> Result<(), CertificateError> {
    let signed = certificate.tbs_certificate.as_ref();
    let signature: &[u8] = &certificate.signature_value.data;
    let length = signed.len() + SIGNATURE_HEAD.len() + signature.len();
    let [high, low] = u16::try_from(length).unwrap_or(0).to_be_bytes();
    let one_form = [&[0x30, 0x82, high, low], signed, &SIGNATURE_HEAD, signature].concat();
    if certificate.tbs_certificate.signature.algorithm == OID_SIG_ED25519
        && der == one_form
        && key.verifies(signed, signature)
    {
        Ok(())
    } else {
        Err(CertificateError::NotOurCa)
    }
}

/// A member's certificate signs, and is no CA's.
fn check_use(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let signs = matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.digital_signature());
    let critical_unknown = certificate.extensions().iter().any(|extension| {
        extension.critical
            && (extension.parsed_extension().unsupported() || extension.parsed_extension().error().is_some())
    });
    if certificate.is_ca() || !signs {
        return Err(CertificateError::Malformed("not made for a member"));
    }
    if critical_unknown {
        return Err(CertificateError::Malformed("it has a critical extension that is not known here"));
    }
    Ok(())
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, CertificateError> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Err(CertificateError::Malformed("no subject alternative name"));
    };
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => Ok(uri),
        _ => Err(CertificateError::Malformed("its alternative names are not exactly one URI")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_one_spelling() {
        let (cluster, member, name) = parse_uri("phalanx://edge/7/m7").unwrap();
        assert_eq!((cluster.as_str(), member.number(), name.as_str()), ("edge", 7, "m7"));
        for bad in [
            "phalanx://edge/07/m7",
            "phalanx://edge/+7/m7",
            "phalanx://edge/0/m7",
            "phalanx://edge/33/m7",
            "phalanx://edge/7/m7/",
            "phalanx://edge/7",
            "http://edge/7/m7",
            "",
        ] {
            assert!(parse_uri(bad).is_none(), "{bad}");
        }
    }
}
