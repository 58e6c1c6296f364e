//! The algorithms of an IKE SA, and what they need: numbers, key lengths, IVs, check values.
//!
//! | cipher | number | RFC | key | IV on the wire | ICV |
//! | --- | --- | --- | --- | --- | --- |
//! | `aes128`, `aes256` (CBC) | 12 | 3602 | 16, 32 | 16 | – |
//! | `aes128ctr`, `aes256ctr` | 13 | 5930 | 16, 32, + 4 of nonce | 8 | – |
//! | `aes128gcm16`, `aes256gcm16` | 20 | 5282 | 16, 32, + 4 of salt | 8 | 16 |
//! | `chacha20poly1305` | 28 | 7634 | 32 + 4 of salt | 8 | 16 |
//!
//! | integrity | number | RFC | key | ICV |
//! | --- | --- | --- | --- | --- |
//! | `sha1` | 2 | 2404 | 20 | 12 |
//! | `aesxcbc` | 5 | 3566 | 16 | 12 |
//! | `aescmac` | 8 | 4494 | 16 | 12 |
//! | `sha256`, `sha384`, `sha512` | 12, 13, 14 | 4868 | 32, 48, 64 | 16, 24, 32 |

use super::group::Group;
use super::mac::{self, Hash};
use super::prf::Prf;
use super::secret::Secret;
use super::xcbc::BLOCK;

/// What hides the payloads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cipher {
    /// AES-CBC, key of 128 bits.
    AesCbc128,
    /// AES-CBC, key of 256 bits.
    AesCbc256,
    /// AES-CTR, key of 128 bits.
    AesCtr128,
    /// AES-CTR, key of 256 bits.
    AesCtr256,
    /// AES-GCM, ICV of 16 bytes, key of 128 bits.
    AesGcm16_128,
    /// AES-GCM, ICV of 16 bytes, key of 256 bits.
    AesGcm16_256,
    /// ChaCha20 and Poly1305.
    ChaCha20Poly1305,
}

/// What checks messages, if the cipher does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Integrity {
    /// AUTH_HMAC_SHA1_96.
    HmacSha1_96,
    /// AUTH_HMAC_SHA2_256_128.
    HmacSha256_128,
    /// AUTH_HMAC_SHA2_384_192.
    HmacSha384_192,
    /// AUTH_HMAC_SHA2_512_256.
    HmacSha512_256,
    /// AUTH_AES_XCBC_96.
    AesXcbc96,
    /// AUTH_AES_CMAC_96.
    AesCmac96,
}

/// An IKE SA's algorithms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Suite {
    /// It hides.
    pub cipher: Cipher,
    /// It checks; none, if the cipher does.
    pub integrity: Option<Integrity>,
    /// It derives keys.
    pub prf: Prf,
    /// It is where keys are exchanged.
    pub group: Group,
}

/// Bytes of salt or nonce at the end of a counter mode's key.
pub(super) const SALT_LEN: usize = 4;

impl Cipher {
    /// All that there are.
    pub const ALL: [Self; 7] = [
        Self::AesCbc128,
        Self::AesCbc256,
        Self::AesCtr128,
        Self::AesCtr256,
        Self::AesGcm16_128,
        Self::AesGcm16_256,
        Self::ChaCha20Poly1305,
    ];

    /// The one with IANA's number and the attribute "key length".
    pub fn from_id(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| (cipher.id(), cipher.key_bits()) == (id, key_bits))
    }

    /// IANA's number.
    pub const fn id(self) -> u16 {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => 12,
            Self::AesCtr128 | Self::AesCtr256 => 13,
            Self::AesGcm16_128 | Self::AesGcm16_256 => 20,
            Self::ChaCha20Poly1305 => 28,
        }
    }

    /// The attribute "key length", in bits without salt; none, where there is but one length.
    pub const fn key_bits(self) -> Option<u16> {
        match self {
            Self::AesCbc128 | Self::AesCtr128 | Self::AesGcm16_128 => Some(128),
            Self::AesCbc256 | Self::AesCtr256 | Self::AesGcm16_256 => Some(256),
            Self::ChaCha20Poly1305 => None,
        }
    }

    /// Length of the key, with its salt.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCbc128 => 16,
            Self::AesCbc256 => 32,
            Self::AesCtr128 | Self::AesGcm16_128 => 16 + SALT_LEN,
            Self::AesCtr256 | Self::AesGcm16_256 | Self::ChaCha20Poly1305 => 32 + SALT_LEN,
        }
    }

    /// Whether it checks what it hides.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16_128 | Self::AesGcm16_256 | Self::ChaCha20Poly1305)
    }

    /// Length of the IV before what is hidden.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => BLOCK,
            _ => 8,
        }
    }

    /// What is hidden is a multiple of this.
    pub(super) const fn alignment(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc256 => BLOCK,
            _ => 1,
        }
    }
}

impl Integrity {
    /// All that there are.
    pub const ALL: [Self; 6] = [
        Self::HmacSha1_96,
        Self::HmacSha256_128,
        Self::HmacSha384_192,
        Self::HmacSha512_256,
        Self::AesXcbc96,
        Self::AesCmac96,
    ];

    /// The one with IANA's number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|integrity| integrity.id() == id)
    }

    /// IANA's number.
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1_96 => 2,
            Self::AesXcbc96 => 5,
            Self::AesCmac96 => 8,
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    /// Length of its key.
    pub const fn key_len(self) -> usize {
        match self.hash() {
            Some(hash) => hash.len(),
            None => BLOCK,
        }
    }

    /// Length of its check value.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 | Self::AesXcbc96 | Self::AesCmac96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }

    /// The check value of the parts. None: the key has not its length.
    pub(super) fn compute(self, key: &[u8], parts: &[&[u8]]) -> Option<Secret> {
        (key.len() == self.key_len()).then_some(())?;
        let value = match (self, self.hash()) {
            (_, Some(hash)) => mac::hmac(hash, key, parts),
            (Self::AesXcbc96, _) => mac::xcbc(key.try_into().ok()?, parts),
            _ => mac::cmac(key.try_into().ok()?, parts),
        };
        Some(value.cut(self.icv_len()))
    }

    const fn hash(self) -> Option<Hash> {
        match self {
            Self::HmacSha1_96 => Some(Hash::Sha1),
            Self::HmacSha256_128 => Some(Hash::Sha256),
            Self::HmacSha384_192 => Some(Hash::Sha384),
            Self::HmacSha512_256 => Some(Hash::Sha512),
            Self::AesXcbc96 | Self::AesCmac96 => None,
        }
    }
}

impl Suite {
    /// Length of the key that checks; 0, if the cipher does.
    pub fn integrity_key_len(&self) -> usize {
        self.integrity.map_or(0, Integrity::key_len)
    }

    /// Length of the IV before what is hidden.
    pub fn iv_len(&self) -> usize {
        self.cipher.iv_len()
    }

    /// Length of the check value at the end.
    pub fn icv_len(&self) -> usize {
        self.integrity.map_or(AEAD_ICV_LEN, Integrity::icv_len)
    }
}

/// Length of the check values of all ciphers that check.
pub(super) const AEAD_ICV_LEN: usize = 16;
