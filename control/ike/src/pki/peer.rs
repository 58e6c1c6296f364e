//! The peer's key, out of its certificate, and its signatures.

use ring::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Hash, Scheme};
use super::ecdsa::{self, Curve, Form};
use super::method;

const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// A public key that an authority of ours says is the peer's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerKey(Kind);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// RSAPublicKey in DER.
    Rsa(Vec<u8>),
    /// A point (SEC 1).
    Ecdsa(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why an AUTH payload proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSignature {
    /// It is no signature, or of a kind that is not known here.
    #[error("authentication method {0} is no signature that is known here")]
    Method(u8),
    /// Its algorithm cannot be read, is not known, or not accepted.
    #[error("its algorithm is not accepted here; SHA-1 never is: let the peer sign with SHA-256 or better")]
    Algorithm,
    /// Its algorithm is for other keys than the certificate's.
    #[error("its algorithm does not go with the certificate's key")]
    OtherKey,
    /// It is not this key's, not over this, or with another hash.
    #[error("the certificate's key did not sign this")]
    Wrong,
}

impl PeerKey {
    /// The key of a certificate, if it is one that can be used here.
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let algorithm = &info.algorithm.algorithm;
        let bytes = info.subject_public_key.data.to_vec();
        let kind = if *algorithm == OID_PKCS1_RSAENCRYPTION {
            let PublicKey::RSA(key) = info.parsed().ok()? else { return None };
            (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.key_size()).then_some(Kind::Rsa(bytes))
        } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let known = [(OID_EC_P256, Curve::P256), (OID_NIST_EC_P384, Curve::P384), (OID_NIST_EC_P521, Curve::P521)];
            known.into_iter().find(|(oid, _)| *oid == curve).map(|(_, curve)| Kind::Ecdsa(curve, bytes))
        } else if *algorithm == OID_SIG_ED25519 {
            Some(Kind::Ed25519(bytes))
        } else {
            None
        };
        kind.map(Self)
    }

    /// Whether this key signed `signed`, the octets of RFC 7296 section 2.15, as an AUTH payload says. What the peer may use
    /// is what [`super::hash_algorithms`] tells it, and all of that is accepted.
    pub fn verify(&self, method: u8, auth_data: &[u8], signed: &[u8]) -> Result<(), BadSignature> {
        match method {
            method::DIGITAL_SIGNATURE => {
                let (scheme, signature) = split(auth_data).ok_or(BadSignature::Algorithm)?;
                self.verify_scheme(scheme, signed, signature)
            }
            method::RSA => {
                // The signature knows its hash, but only ring can see it.
                let mut tries =
                    Hash::ALL.iter().map(|hash| self.verify_scheme(Scheme::RsaPkcs1(*hash), signed, auth_data));
                let wrong = Err(BadSignature::Wrong);
                tries.find(|verified| *verified != wrong).unwrap_or(wrong)
            }
            method::ECDSA_P256 => self.verify_fixed(Curve::P256, Hash::Sha256, signed, auth_data),
            method::ECDSA_P384 => self.verify_fixed(Curve::P384, Hash::Sha384, signed, auth_data),
            method::ECDSA_P521 => self.verify_fixed(Curve::P521, Hash::Sha512, signed, auth_data),
            _ => Err(BadSignature::Method(method)),
        }
    }

    fn verify_scheme(&self, scheme: Scheme, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verified = match (scheme, &self.0) {
            (Scheme::RsaPkcs1(hash), Kind::Rsa(key)) => ring_verifies(pkcs1(hash), key, signed, signature),
            (Scheme::RsaPss(hash), Kind::Rsa(key)) => ring_verifies(pss(hash), key, signed, signature),
            (Scheme::Ed25519, Kind::Ed25519(key)) => ring_verifies(&ED25519, key, signed, signature),
            (Scheme::Ecdsa(hash), Kind::Ecdsa(curve, point)) => {
                ecdsa::verifies(*curve, point, hash, Form::Der, signed, signature)
            }
            _ => return Err(BadSignature::OtherKey),
        };
        verified.ok_or(BadSignature::Wrong)
    }

    fn verify_fixed(&self, curve: Curve, hash: Hash, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.0 {
            Kind::Ecdsa(ours, point) if *ours == curve => {
                ecdsa::verifies(curve, point, hash, Form::Fixed, signed, signature).ok_or(BadSignature::Wrong)
            }
            _ => Err(BadSignature::OtherKey),
        }
    }
}

/// The data of method 14: how long the AlgorithmIdentifier is, it, the signature (RFC 7427 section 3).
fn split(auth_data: &[u8]) -> Option<(Scheme, &[u8])> {
    let (len, rest) = auth_data.split_first()?;
    let (identifier, signature) = rest.split_at_checked(usize::from(*len))?;
    Some((Scheme::of(identifier)?, signature))
}

fn ring_verifies(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Option<()> {
    UnparsedPublicKey::new(algorithm, key).verify(signed, signature).ok()
}

fn pkcs1(hash: Hash) -> &'static dyn VerificationAlgorithm {
    match hash {
        Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    }
}

fn pss(hash: Hash) -> &'static dyn VerificationAlgorithm {
    match hash {
        Hash::Sha256 => &RSA_PSS_2048_8192_SHA256,
        Hash::Sha384 => &RSA_PSS_2048_8192_SHA384,
        Hash::Sha512 => &RSA_PSS_2048_8192_SHA512,
    }
}
