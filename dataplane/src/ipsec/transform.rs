//! What protects an SA's packets: the algorithms, and how long their keys, IVs and check values are.
//!
//! | name | RFC | key | IV on the wire | ICV |
//! | --- | --- | --- | --- | --- |
//! | `aes128gcm16`, `aes256gcm16` | 4106 | 16, 32, + 4 of salt | 8 | 16 |
//! | `aes128gmac`, `aes256gmac` (no secrecy) | 4543 | 16, 32, + 4 of salt | 8 | 16 |
//! | `chacha20poly1305` | 7634 | 32 + 4 of salt | 8 | 16 |
//! | `aes128`, `aes256` (CBC) | 3602 | 16, 32 | 16 | – |
//! | `aes128ctr`, `aes256ctr` | 3686 | 16, 32, + 4 of nonce | 8 | – |
//! | `null` | 2410 | 0 | 0 | – |
//! | `des`, `3des` (CBC; legacy) | 2405, 2451 | 8, 24 | 8 | – |
//! | `sha1` | 2404 | 20 | – | 12 |
//! | `sha256`, `sha384`, `sha512` | 4868 | 32, 48, 64 | – | 16, 24, 32 |
//! | `aesxcbc`, `aescmac` | 3566, 4494 | 16 | – | 12 |
//! | `md5` (legacy) | 2403 | 16 | – | 12 |
//!
//! The names are those that strongSwan's users know. A cipher that doesn't check anything goes with one that does, joined
//! by a hyphen: `aes256-sha256`. Lengths are in bytes.

use std::fmt;
use std::str::FromStr;

/// The length of an AES key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AesKey {
    /// 128 bits.
    Aes128,
    /// 256 bits.
    Aes256,
}

/// Secrecy and integrity in one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Aead {
    /// AES in Galois/counter mode, ICV of 16 bytes.
    AesGcm(AesKey),
    /// Its integrity alone: what is carried can be read by anybody.
    AesGmac(AesKey),
    /// ChaCha20 and Poly1305.
    ChaCha20Poly1305,
}

/// Secrecy alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cipher {
    /// None.
    Null,
    /// AES, each block chained to the one before.
    AesCbc(AesKey),
    /// AES as a stream of bits.
    AesCtr(AesKey),
    /// DES: broken for decades.
    DesCbc,
    /// DES three times: small blocks.
    TripleDesCbc,
}

/// Integrity alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Integrity {
    /// HMAC-SHA1-96.
    HmacSha1,
    /// HMAC-SHA2-256-128.
    HmacSha256,
    /// HMAC-SHA2-384-192.
    HmacSha384,
    /// HMAC-SHA2-512-256.
    HmacSha512,
    /// AES-XCBC-MAC-96.
    AesXcbc,
    /// AES-CMAC-96.
    AesCmac,
    /// HMAC-MD5-96: not to be chosen any more.
    HmacMd5,
}

/// What an SA does to its packets. There is no ESP without integrity here (RFC 8221 section 4 forbids it).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transform {
    /// Both in one.
    Aead(Aead),
    /// One of each.
    Pair(Cipher, Integrity),
}

/// A name that means no transform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no ESP transform: write one like `aes256gcm16`, `chacha20poly1305`, `aes256-sha256` or `null-sha256`"
)]
pub struct UnknownTransform(String);

/// Bytes of salt or nonce that counter modes take from the key material and never send.
pub const SALT_LEN: usize = 4;

impl AesKey {
    const fn len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

const AEADS: [(&str, Aead); 5] = [
    ("aes128gcm16", Aead::AesGcm(AesKey::Aes128)),
    ("aes256gcm16", Aead::AesGcm(AesKey::Aes256)),
    ("aes128gmac", Aead::AesGmac(AesKey::Aes128)),
    ("aes256gmac", Aead::AesGmac(AesKey::Aes256)),
    ("chacha20poly1305", Aead::ChaCha20Poly1305),
];

const CIPHERS: [(&str, Cipher); 7] = [
    ("null", Cipher::Null),
    ("aes128", Cipher::AesCbc(AesKey::Aes128)),
    ("aes256", Cipher::AesCbc(AesKey::Aes256)),
    ("aes128ctr", Cipher::AesCtr(AesKey::Aes128)),
    ("aes256ctr", Cipher::AesCtr(AesKey::Aes256)),
    ("des", Cipher::DesCbc),
    ("3des", Cipher::TripleDesCbc),
];

const INTEGRITIES: [(&str, Integrity); 7] = [
    ("sha1", Integrity::HmacSha1),
    ("sha256", Integrity::HmacSha256),
    ("sha384", Integrity::HmacSha384),
    ("sha512", Integrity::HmacSha512),
    ("aesxcbc", Integrity::AesXcbc),
    ("aescmac", Integrity::AesCmac),
    ("md5", Integrity::HmacMd5),
];

impl Integrity {
    /// Length of its key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
            Self::AesXcbc | Self::AesCmac | Self::HmacMd5 => 16,
        }
    }

    /// Length of its check value, as sent.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1 | Self::AesXcbc | Self::AesCmac | Self::HmacMd5 => 12,
            Self::HmacSha256 => 16,
            Self::HmacSha384 => 24,
            Self::HmacSha512 => 32,
        }
    }
}

impl Transform {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs =
            CIPHERS.iter().flat_map(|(_, cipher)| INTEGRITIES.iter().map(|(_, check)| Self::Pair(*cipher, *check)));
        AEADS.iter().map(|(_, aead)| Self::Aead(*aead)).chain(pairs)
    }

    /// Length of the key that hides, with its salt.
    pub const fn cipher_key_len(self) -> usize {
        match self {
            Self::Aead(Aead::AesGcm(key) | Aead::AesGmac(key)) | Self::Pair(Cipher::AesCtr(key), _) => {
                key.len() + SALT_LEN
            }
            Self::Aead(Aead::ChaCha20Poly1305) => 32 + SALT_LEN,
            Self::Pair(Cipher::AesCbc(key), _) => key.len(),
            Self::Pair(Cipher::Null, _) => 0,
            Self::Pair(Cipher::DesCbc, _) => 8,
            Self::Pair(Cipher::TripleDesCbc, _) => 24,
        }
    }

    /// Length of the key that checks, where that is another one.
    pub const fn integrity_key_len(self) -> usize {
        match self {
            Self::Aead(_) => 0,
            Self::Pair(_, integrity) => integrity.key_len(),
        }
    }

    /// Length of the IV that goes before what is hidden.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Aead(_) | Self::Pair(Cipher::AesCtr(_) | Cipher::DesCbc | Cipher::TripleDesCbc, _) => 8,
            Self::Pair(Cipher::AesCbc(_), _) => 16,
            Self::Pair(Cipher::Null, _) => 0,
        }
    }

    /// Length of the check value at the end.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::Aead(_) => 16,
            Self::Pair(_, integrity) => integrity.icv_len(),
        }
    }

    /// What is hidden is a multiple of this: the cipher's block, and four at least (RFC 4303 section 2.4).
    pub const fn alignment(self) -> usize {
        match self {
            Self::Pair(Cipher::AesCbc(_), _) => 16,
            Self::Pair(Cipher::DesCbc | Cipher::TripleDesCbc, _) => 8,
            _ => 4,
        }
    }

    /// Whether it is for old peers only, and not to be had without saying so.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::Pair(Cipher::DesCbc | Cipher::TripleDesCbc, _) | Self::Pair(_, Integrity::HmacMd5))
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], what: &T) -> &'static str {
    table.iter().find(|(_, known)| known == what).map_or("?", |(name, _)| name)
}

impl FromStr for Transform {
    type Err = UnknownTransform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = match text.split_once('-') {
            None => named(&AEADS, text).map(Self::Aead),
            Some((cipher, check)) => {
                named(&CIPHERS, cipher).zip(named(&INTEGRITIES, check)).map(|(cipher, check)| Self::Pair(cipher, check))
            }
        };
        found.ok_or_else(|| UnknownTransform(text.to_owned()))
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aead(aead) => f.write_str(name_of(&AEADS, aead)),
            Self::Pair(cipher, check) => write!(f, "{}-{}", name_of(&CIPHERS, cipher), name_of(&INTEGRITIES, check)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Transform::all().count(), 5 + 7 * 7);
        for transform in Transform::all() {
            assert_eq!(transform.to_string().parse(), Ok(transform));
        }
        for wrong in ["", "aes128", "sha256", "aes128gcm16-sha256", "aes128-", "-sha1", "aes192-sha1", "AES128-SHA1"] {
            assert!(wrong.parse::<Transform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn legacy_is_what_the_patent_knew() {
        let legacy = |name: &str| name.parse::<Transform>().unwrap().is_legacy();
        assert!(legacy("des-sha1") && legacy("3des-sha256") && legacy("aes128-md5") && legacy("des-md5"));
        assert!(!legacy("aes128-sha1") && !legacy("null-sha256") && !legacy("aes256gcm16"));
    }
}
