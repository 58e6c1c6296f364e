//! Keyed hashes, as PRFs and integrity checks use them: HMAC (RFC 2104), AES-CMAC (RFC 4493), AES-XCBC-MAC (RFC 3566).

use aes::Aes128;
use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroize;

use super::secret::Secret;
use super::xcbc::{BLOCK, Xcbc};

/// A hash under HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Length of its values, and of keys as long as they are worth.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// HMAC of the parts, one behind the other.
pub(super) fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Secret {
    let value = match hash {
        Hash::Sha1 => of::<Hmac<Sha1>>(key, parts),
        Hash::Sha256 => of::<Hmac<Sha256>>(key, parts),
        Hash::Sha384 => of::<Hmac<Sha384>>(key, parts),
        Hash::Sha512 => of::<Hmac<Sha512>>(key, parts),
    };
    value.expect("HMAC takes keys of any length")
}

/// AES-CMAC of the parts.
pub(super) fn cmac(key: &[u8; BLOCK], parts: &[&[u8]]) -> Secret {
    of::<Cmac<Aes128>>(key, parts).expect("the key has the cipher's length")
}

/// AES-XCBC-MAC of the parts.
pub(super) fn xcbc(key: &[u8; BLOCK], parts: &[&[u8]]) -> Secret {
    Secret::from(&Xcbc::new(key).of(parts)[..])
}

fn of<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Option<Secret> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    let mut value = mac.finalize().into_bytes();
    let secret = Secret::from(&value[..]);
    value.as_mut_slice().zeroize();
    Some(secret)
}
