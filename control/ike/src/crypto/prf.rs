//! Pseudo-random functions (RFC 7296 section 3.3.2, type 2): what keys are derived with.
//!
//! | name | number | RFC | key | output |
//! | --- | --- | --- | --- | --- |
//! | `prfsha1` | 2 | 2104 | 20 | 20 |
//! | `prfsha256`, `prfsha384`, `prfsha512` | 5, 6, 7 | 4868 | 32, 48, 64 | the same |
//! | `prfaesxcbc` | 4 | 4434 | 16 | 16 |
//! | `prfaescmac` | 8 | 4615 | 16 | 16 |
//!
//! All take keys of any length. HMAC does so by itself; the two of AES are made to by their RFCs, each in its own way.

use zeroize::Zeroizing;

use super::mac::{self, Hash};
use super::secret::Secret;
use super::xcbc::BLOCK;

/// A pseudo-random function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Prf {
    /// PRF_HMAC_SHA1.
    HmacSha1,
    /// PRF_HMAC_SHA2_256.
    HmacSha256,
    /// PRF_HMAC_SHA2_384.
    HmacSha384,
    /// PRF_HMAC_SHA2_512.
    HmacSha512,
    /// PRF_AES128_XCBC.
    AesXcbc,
    /// PRF_AES128_CMAC.
    AesCmac,
}

impl Prf {
    /// All that there are.
    pub const ALL: [Self; 6] =
        [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512, Self::AesXcbc, Self::AesCmac];

    /// The one with IANA's number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|prf| prf.id() == id)
    }

    /// IANA's number.
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::AesXcbc => 4,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
            Self::AesCmac => 8,
        }
    }

    /// Length of the keys that are derived for it: its output's (RFC 7296 section 2.13).
    pub const fn key_len(self) -> usize {
        self.output_len()
    }

    /// Length of what it gives.
    pub const fn output_len(self) -> usize {
        match self.hash() {
            Some(hash) => hash.len(),
            None => BLOCK,
        }
    }

    /// Whether RFC 7296 section 2.14 has only the first 64 bits of each nonce be the key of SKEYSEED: a kindness to old
    /// versions of these two, whose keys had one length.
    pub(super) const fn halves_nonces(self) -> bool {
        matches!(self, Self::AesXcbc | Self::AesCmac)
    }

    /// Its value for the parts, one behind the other.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        match (self, self.hash()) {
            (_, Some(hash)) => mac::hmac(hash, key, parts),
            (Self::AesXcbc, _) => mac::xcbc(&xcbc_key(key), parts),
            _ => mac::cmac(&cmac_key(key), parts),
        }
    }

    /// As many bytes as are wanted of prf+ (RFC 7296 section 2.13). None: more than its 255 blocks have.
    pub fn expand(self, key: &[u8], seed: &[&[u8]], len: usize) -> Option<Secret> {
        (len <= usize::from(u8::MAX) * self.output_len()).then_some(())?;
        // Room for whole blocks, so that the bytes never move and leave a copy behind.
        let mut stream = Vec::with_capacity(len.next_multiple_of(self.output_len()));
        let mut block = Secret::default();
        for number in 1..=u8::MAX {
            if stream.len() >= len {
                break;
            }
            let number = [number];
            let parts = [&[block.as_bytes()], seed, &[&number]].concat();
            block = self.compute(key, &parts);
            stream.extend_from_slice(block.as_bytes());
        }
        Some(Secret::new(stream).cut(len))
    }

    const fn hash(self) -> Option<Hash> {
        match self {
            Self::HmacSha1 => Some(Hash::Sha1),
            Self::HmacSha256 => Some(Hash::Sha256),
            Self::HmacSha384 => Some(Hash::Sha384),
            Self::HmacSha512 => Some(Hash::Sha512),
            Self::AesXcbc | Self::AesCmac => None,
        }
    }
}

/// RFC 4434 section 2: shorter keys are filled up with zeros, longer ones hashed.
fn xcbc_key(key: &[u8]) -> Zeroizing<[u8; BLOCK]> {
    if key.len() > BLOCK {
        return block(mac::xcbc(&[0; BLOCK], &[key]).as_bytes());
    }
    block(key)
}

/// RFC 4615 section 3: all keys but those of its own length are hashed.
fn cmac_key(key: &[u8]) -> Zeroizing<[u8; BLOCK]> {
    if key.len() != BLOCK {
        return block(mac::cmac(&[0; BLOCK], &[key]).as_bytes());
    }
    block(key)
}

fn block(bytes: &[u8]) -> Zeroizing<[u8; BLOCK]> {
    let mut block = Zeroizing::new([0; BLOCK]);
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    block
}
