//! An SA's secrets.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::transform::Transform;

/// The keys of one direction; overwritten when they go.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    cipher: Box<[u8]>,
    integrity: Box<[u8]>,
}

/// Keys of the wrong length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{transform} takes {} bytes of cipher key (salt included) and {} of integrity key, not {cipher} and {integrity}",
    transform.cipher_key_len(), transform.integrity_key_len())]
pub struct KeyLengths {
    transform: Transform,
    cipher: usize,
    integrity: usize,
}

impl Keys {
    /// Keys for a transform. `cipher` ends with the salt of modes that have one, as IKE derives it (RFC 5282 section 7.1).
    ///
    /// # Errors
    /// A length is not the transform's.
    pub fn new(transform: Transform, cipher: &[u8], integrity: &[u8]) -> Result<Self, KeyLengths> {
        let keys = Self { cipher: cipher.into(), integrity: integrity.into() };
        let refused = KeyLengths { transform, cipher: cipher.len(), integrity: integrity.len() };
        if keys.are_for(transform) { Ok(keys) } else { Err(refused) }
    }

    /// Whether their lengths are this transform's.
    pub fn are_for(&self, transform: Transform) -> bool {
        (self.cipher.len(), self.integrity.len()) == (transform.cipher_key_len(), transform.integrity_key_len())
    }

    /// What hides, with its salt.
    pub fn cipher(&self) -> &[u8] {
        &self.cipher
    }

    /// What checks.
    pub fn integrity(&self) -> &[u8] {
        &self.integrity
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_transforms_lengths_and_are_not_shown() {
        let gcm: Transform = "aes128gcm16".parse().unwrap();
        assert_eq!(format!("{:?}", Keys::new(gcm, &[7; 20], &[]).unwrap()), "Keys(..)");
        let wrong = Keys::new(gcm, &[7; 16], &[]).unwrap_err().to_string();
        assert!(wrong.contains("takes 20 bytes of cipher key") && wrong.contains("not 16 and 0"), "{wrong}");
        assert!(Keys::new(gcm, &[7; 20], &[7]).is_err());
    }
}
