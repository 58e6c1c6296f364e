//! Certificates for the peers of a test: an authority that lasts as long as the test, and what it issues.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::lab::{Outcome, failure};

/// Issues certificates (ECDSA P-256).
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What an authority has issued; all PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its key (PKCS#8).
    pub key: String,
    /// The authority's own certificate.
    pub issuer: String,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Outcome<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failure)?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(failure)
    }

    /// A certificate for whoever goes by this name.
    pub fn issue(&self, name: &str) -> Outcome<Leaf> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failure)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failure)?;
        let certificate = params.signed_by(&key, &self.0).map_err(failure)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem(), issuer: self.0.pem() })
    }
}
