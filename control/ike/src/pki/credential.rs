//! Our own proof: certificates, and the key that the first of them names.

use std::fmt;

use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::signing::{RsaPadding, SigningKey};
use super::{files, name};
use crate::wire::Identity;

/// Our certificates and private key.
pub struct Credential {
    chain: Vec<Vec<u8>>,
    key: SigningKey,
    padding: RsaPadding,
}

/// Why certificates and a key are no credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialError {
    /// The certificates cannot be read, or there are none.
    #[error("there is no certificate in PEM that can be read")]
    Certificate,
    /// There is no key, or it cannot be read.
    #[error(
        "there is no private key in PEM that can be used: RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, Ed25519"
    )]
    Key,
    /// The key is encrypted.
    #[error("the private key is encrypted: decrypt it first, for instance with `openssl pkey`")]
    Encrypted,
    /// They do not belong together.
    #[error("the private key is not that of the first certificate")]
    NotAPair,
}

impl Credential {
    /// Reads certificates in PEM, ours first, then those that lead to an authority; and the private key in PEM: PKCS #8, or
    /// PKCS #1 for RSA and SEC 1 for ECDSA.
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self, CredentialError> {
        let chain = files::ders(certificates.as_bytes(), files::CERTIFICATE).ok_or(CredentialError::Certificate)?;
        let public = chain.iter().map(|der| public_key(der).ok_or(CredentialError::Certificate));
        let public = public.collect::<Result<Vec<_>, _>>()?;
        let key = read_key(key)?;
        if public.first().is_none_or(|public| public != key.public()) {
            return Err(CredentialError::NotAPair);
        }
        Ok(Self { chain, key, padding: RsaPadding::default() })
    }

    /// The same, with an RSA key that signs so. Other keys do not care.
    pub fn with_rsa_padding(self, padding: RsaPadding) -> Self {
        Self { padding, ..self }
    }

    /// The certificates in DER, ours first: one for each CERT payload.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Whether our certificate says this name: if not, no peer will believe it.
    pub fn says(&self, identity: &Identity) -> bool {
        let certificate = self.chain.first().and_then(|der| X509Certificate::from_der(der).ok());
        certificate.is_some_and(|(_, certificate)| name::says(&certificate, identity))
    }

    /// The method and data of an AUTH payload over `signed`, the octets of RFC 7296 section 2.15. `peer_hashes` are the
    /// numbers of the peer's SIGNATURE_HASH_ALGORITHMS, none if it sent none.
    ///
    /// With a hash that the peer knows it is method 14: RSA with the first of SHA-256, SHA-384 and SHA-512, see
    /// [`RsaPadding`]; ECDSA with the hash that is as long as the curve; Ed25519. Else it is ECDSA's own method; or RSA's with
    /// SHA-256, where many a peer expects SHA-1 and will refuse it. `None` if the peer can have no proof from this key:
    /// Ed25519 has no method of its own.
    pub fn sign(&self, signed: &[u8], peer_hashes: &[u16]) -> Option<(u8, Vec<u8>)> {
        self.key.sign(signed, peer_hashes, self.padding)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], certificate)) => Some(certificate.public_key().subject_public_key.data.to_vec()),
        _ => None,
    }
}

fn read_key(text: &str) -> Result<SigningKey, CredentialError> {
    let blocks = pem::parse_many(text).map_err(|_| CredentialError::Key)?;
    let blocks: Vec<_> = blocks
        .into_iter()
        .map(|block| (block.tag().to_owned(), block.headers().get("DEK-Info").is_some(), block.into_contents()))
        .map(|(tag, encrypted, content)| (tag, encrypted, Zeroizing::new(content)))
        .collect();
    let mut found = CredentialError::Key;
    for (tag, encrypted, content) in &blocks {
        let key = match tag.as_str() {
            _ if *encrypted => None,
            "PRIVATE KEY" => SigningKey::from_pkcs8(content),
            "RSA PRIVATE KEY" => SigningKey::from_pkcs1(content),
            "EC PRIVATE KEY" => SigningKey::from_sec1(content),
            _ => None,
        };
        if let Some(key) = key {
            return Ok(key);
        }
        if *encrypted || tag == "ENCRYPTED PRIVATE KEY" {
            found = CredentialError::Encrypted;
        }
    }
    Err(found)
}
