//! The secrets of a member: the cluster secret that all share, and the key that is its own.
//!
//! Both are wiped when dropped, neither can be printed, and neither leaves this module except through the operation that
//! needs it (derive, sign). A type that cannot show its content cannot end in a log line.

use std::fmt;

use ring::hkdf;
use ring::signature::{self, Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// Length of the cluster secret in bytes.
pub const SECRET_BYTES: usize = 32;
/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// The 32 random bytes that every member of a cluster holds and nobody else: strangers without them cannot make a member
/// do public-key work, nor aim traffic at a unit.
#[derive(Clone)]
pub struct ClusterSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl ClusterSecret {
    /// The secret with these bytes.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret in `bytes`, if the length is right.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut copy = Zeroizing::new([0; SECRET_BYTES]);
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        copy.copy_from_slice(bytes);
        Some(Self(copy))
    }

    /// HKDF-SHA256 (RFC 5869) with this secret as input keying material.
    pub(crate) fn extract(&self, salt: &[u8]) -> hkdf::Prk {
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&*self.0)
    }

    /// The raw bytes, for the bundle and the CA's directory only.
    pub(super) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes (checked when it is used).
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key in `bytes`, if the length is right.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signed` is this key's signature over `message`.
    pub fn verifies(&self, message: &[u8], signed: &[u8]) -> bool {
        signature::UnparsedPublicKey::new(&signature::ED25519, &self.0).verify(message, signed).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

/// An Ed25519 private key, with the PKCS#8 form that TLS wants.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    /// The key in this PKCS#8 document, if it is one for Ed25519.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
        Some(Self { pair, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    /// A new key from the operating system's entropy.
    pub fn generate() -> Option<Self> {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).ok()?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut out = [0; SIGNATURE_BYTES];
        let made = self.pair.sign(message);
        for (to, from) in out.iter_mut().zip(made.as_ref()) {
            *to = *from;
        }
        out
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// The public half's bytes, where a reference is wanted.
    pub(super) fn public_key_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The PKCS#8 document.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(.., {:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_ever_printed() {
        let secret = ClusterSecret::new([0xa5; 32]);
        assert_eq!(format!("{secret:?}"), "ClusterSecret(..)");
        let key = SigningKey::generate().unwrap();
        assert!(format!("{key:?}").len() < 50, "the start of the public key and nothing else");
    }

    #[test]
    fn a_signature_verifies_for_its_message_only() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(b"one");
        assert!(key.public_key().verifies(b"one", &signature));
        assert!(!key.public_key().verifies(b"two", &signature));
        assert!(!key.public_key().verifies(b"one", &signature[..63]));
    }
}
