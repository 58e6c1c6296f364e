//! Our private key, and signatures with it.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::algorithm::{Hash, IDENTITY_NUMBER, Scheme};
use super::method;

/// How an RSA key signs where the peer speaks RFC 7427.
///
/// RFC 8247 wants PSS, and libreswan long took nothing else. Android's own IKE knows nothing but PKCS #1 v1.5; strongSwan
/// takes both and signs with the latter. No peer says what it takes. So the default is what most take, and there is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RsaPadding {
    /// RSASSA-PKCS1-v1_5.
    #[default]
    Pkcs1,
    /// RSASSA-PSS.
    Pss,
}

/// A private key. ring keeps it, and does not wipe it when it goes.
pub(super) enum SigningKey {
    Rsa(RsaKeyPair),
    Ecdsa(Box<EcdsaPair>),
    Ed25519(Ed25519KeyPair),
}

/// The same key twice: ring fixes with the key how its signatures are written.
pub(super) struct EcdsaPair {
    on: &'static Ecdsa,
    der: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

/// What goes with a curve.
struct Ecdsa {
    der: &'static EcdsaSigningAlgorithm,
    fixed: &'static EcdsaSigningAlgorithm,
    hash: Hash,
    method: u8,
    /// SEQUENCE { id-ecPublicKey (1.2.840.10045.2.1), the curve }
    identifier: &'static [u8],
}

static CURVES: [Ecdsa; 2] = [
    Ecdsa {
        der: &ECDSA_P256_SHA256_ASN1_SIGNING,
        fixed: &ECDSA_P256_SHA256_FIXED_SIGNING,
        hash: Hash::Sha256,
        method: method::ECDSA_P256,
        // secp256r1, 1.2.840.10045.3.1.7
        identifier: b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    },
    Ecdsa {
        der: &ECDSA_P384_SHA384_ASN1_SIGNING,
        fixed: &ECDSA_P384_SHA384_FIXED_SIGNING,
        hash: Hash::Sha384,
        method: method::ECDSA_P384,
        // secp384r1, 1.3.132.0.34
        identifier: b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
    },
];

impl SigningKey {
    /// A key in PKCS #8.
    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let rsa = RsaKeyPair::from_pkcs8(der).ok().map(Self::Rsa);
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519);
        rsa.or_else(|| CURVES.iter().find_map(|on| Self::ecdsa(on, der))).or_else(ed25519)
    }

    /// An RSA key in PKCS #1.
    pub(super) fn from_pkcs1(der: &[u8]) -> Option<Self> {
        RsaKeyPair::from_der(der).ok().map(Self::Rsa)
    }

    /// An ECDSA key in SEC 1. ring reads it only within PKCS #8.
    pub(super) fn from_sec1(der: &[u8]) -> Option<Self> {
        CURVES.iter().find_map(|on| Self::ecdsa(on, &pkcs8(on.identifier, der)?))
    }

    fn ecdsa(on: &'static Ecdsa, pkcs8: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::from_pkcs8(on.der, pkcs8, &random).ok()?;
        let fixed = EcdsaKeyPair::from_pkcs8(on.fixed, pkcs8, &random).ok()?;
        Some(Self::Ecdsa(Box::new(EcdsaPair { on, der, fixed })))
    }

    /// The public key, as certificates have it in their bit string.
    pub(super) fn public(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::Ecdsa(pair) => pair.der.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
        }
    }

    /// An AUTH payload's method and data.
    pub(super) fn sign(&self, signed: &[u8], peer_hashes: &[u16], padding: RsaPadding) -> Option<(u8, Vec<u8>)> {
        let announced = |hash: &Hash| peer_hashes.contains(&hash.number());
        match self {
            Self::Rsa(key) => match Hash::ALL.into_iter().find(announced) {
                Some(hash) => digital_signature(padding.scheme(hash), &rsa(key, padding, hash, signed)?),
                None => Some((method::RSA, rsa(key, RsaPadding::Pkcs1, Hash::Sha256, signed)?)),
            },
            Self::Ecdsa(pair) if announced(&pair.on.hash) => {
                digital_signature(Scheme::Ecdsa(pair.on.hash), &ecdsa(&pair.der, signed)?)
            }
            Self::Ecdsa(pair) => Some((pair.on.method, ecdsa(&pair.fixed, signed)?)),
            Self::Ed25519(key) if peer_hashes.contains(&IDENTITY_NUMBER) => {
                digital_signature(Scheme::Ed25519, key.sign(signed).as_ref())
            }
            Self::Ed25519(_) => None,
        }
    }
}

impl RsaPadding {
    const fn scheme(self, hash: Hash) -> Scheme {
        match self {
            Self::Pkcs1 => Scheme::RsaPkcs1(hash),
            Self::Pss => Scheme::RsaPss(hash),
        }
    }

    fn encoding(self, hash: Hash) -> &'static dyn RsaEncoding {
        match (self, hash) {
            (Self::Pkcs1, Hash::Sha256) => &RSA_PKCS1_SHA256,
            (Self::Pkcs1, Hash::Sha384) => &RSA_PKCS1_SHA384,
            (Self::Pkcs1, Hash::Sha512) => &RSA_PKCS1_SHA512,
            (Self::Pss, Hash::Sha256) => &RSA_PSS_SHA256,
            (Self::Pss, Hash::Sha384) => &RSA_PSS_SHA384,
            (Self::Pss, Hash::Sha512) => &RSA_PSS_SHA512,
        }
    }
}

/// The data of method 14: how long the AlgorithmIdentifier is, it, the signature.
fn digital_signature(scheme: Scheme, signature: &[u8]) -> Option<(u8, Vec<u8>)> {
    let identifier = scheme.identifier()?;
    let len = u8::try_from(identifier.len()).ok()?;
    Some((method::DIGITAL_SIGNATURE, [&[len], identifier, signature].concat()))
}

fn rsa(key: &RsaKeyPair, padding: RsaPadding, hash: Hash, signed: &[u8]) -> Option<Vec<u8>> {
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(padding.encoding(hash), &SystemRandom::new(), signed, &mut signature).ok()?;
    Some(signature)
}

fn ecdsa(key: &EcdsaKeyPair, signed: &[u8]) -> Option<Vec<u8>> {
    key.sign(&SystemRandom::new(), signed).ok().map(|signature| signature.as_ref().to_vec())
}

/// SEQUENCE { INTEGER 0, `algorithm`, OCTET STRING `key` }. What is longer than a length of one byte says is no key of ours.
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const VERSION: [u8; 3] = [0x02, 0x01, 0x00];
    let (octets_head, octets_len) = head(0x04, key.len())?;
    let (whole_head, whole_len) = head(0x30, VERSION.len() + algorithm.len() + octets_len + key.len())?;
    // Made whole at once: a vector that grows leaves copies of secrets behind.
    let parts = [whole_head.get(..whole_len)?, &VERSION, algorithm, octets_head.get(..octets_len)?, key];
    Some(Zeroizing::new(parts.concat()))
}

/// A tag and a length in DER, and how many bytes they are.
fn head(tag: u8, len: usize) -> Option<([u8; 3], usize)> {
    let len = u8::try_from(len).ok()?;
    Some(if len < 0x80 { ([tag, len, 0], 2) } else { ([tag, 0x81, len], 3) })
}
