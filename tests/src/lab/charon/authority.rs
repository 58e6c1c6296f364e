//! Certificates for the peers of a test: an authority that lasts as long as the test, and what it issues.

use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

use crate::lab::{Outcome, failure};

/// What keys an authority has, and all that it issues for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// ECDSA with P-256.
    P256,
    /// ECDSA with P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 bits.
    Rsa,
}

/// Issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    keys: Keys,
}

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
    /// A new one, with ECDSA P-256.
    pub fn new(name: &str) -> Outcome<Self> {
        Self::with(name, Keys::P256)
    }

    /// A new one.
    pub fn with(name: &str, keys: Keys) -> Outcome<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, keys.generate()?).map_err(failure)?;
        Ok(Self { issuer, keys })
    }

    /// A certificate for whoever goes by this name.
    pub fn issue(&self, name: &str) -> Outcome<Leaf> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failure)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = self.keys.generate()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failure)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem(), issuer: self.issuer.pem() })
    }
}

impl Keys {
    fn generate(self) -> Outcome<KeyPair> {
        match self {
            Self::P256 => KeyPair::generate().map_err(failure),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failure),
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519).map_err(failure),
            // Ring makes no RSA keys.
            Self::Rsa => {
                let words = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
                let done = Command::new("openssl").args(words).output().map_err(failure)?;
                KeyPair::from_pem(&String::from_utf8_lossy(&done.stdout)).map_err(failure)
            }
        }
    }
}
