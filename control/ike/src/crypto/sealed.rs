//! The encrypted payload's body (RFC 7296 section 3.14, RFC 5282, 5930, 7634; RFC 7383 section 2.5.3).
//!
//! ```text
//!   associated: message from its first byte       ┌──────── hidden ────────┐
//!   ┌────────┬──────────────────────────────┬────┬──────────┬─────────┬─────┬─────┐
//!   │ header │ head of the payload (SK/SKF) │ IV │ payloads │ padding │ len │ ICV │
//!   └────────┴──────────────────────────────┴────┴──────────┴─────────┴─────┴─────┘
//!                                           └───── what is made and opened here ─────┘
//! ```
//! What an AEAD checks besides what it hides, and what a check of its own begins with, is one and the same: all before the IV.
//! Counter modes must never see an IV twice under one key. Since two members may for a moment both have the key, which IV is
//! unique only the caller knows; CBC's IV must not be foreseeable and is random.

use aes::{Aes128, Aes256};
use cbc::cipher::consts::U16;
use cbc::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
    StreamCipher,
};
use ctr::{Ctr32BE, CtrCore};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::random::Random;
use super::secret::Secret;
use super::suite::{AEAD_ICV_LEN, Cipher, SALT_LEN, Suite};
use super::xcbc::BLOCK;

/// Bytes that were not sealed with these keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it was not sealed with these keys")]
pub struct Unauthentic;

/// How long payloads get when they are sealed.
pub fn sealed_len(suite: Suite, payloads_len: usize) -> usize {
    suite.iv_len() + hidden_len(suite.cipher, payloads_len) + suite.icv_len()
}

/// IV, hidden payloads and ICV. `iv` must never come again with this key; CBC takes a random one instead.
///
/// Keys of another suite give no bytes at all, which no peer takes for a message.
pub fn seal(
    suite: Suite,
    enc_key: &Secret,
    int_key: &Secret,
    associated: &[u8],
    payloads: &[u8],
    iv: [u8; 8],
    random: &mut dyn Random,
) -> Vec<u8> {
    let iv_len = suite.iv_len();
    let mut chained = [0; BLOCK];
    let iv = if iv_len == iv.len() {
        &iv[..]
    } else {
        random.fill(&mut chained);
        &chained
    };
    let body_len = hidden_len(suite.cipher, payloads.len());
    // Long enough from the start: what is not hidden yet must not be left behind somewhere else.
    let mut sealed = Zeroizing::new(Vec::with_capacity(sealed_len(suite, payloads.len())));
    sealed.extend_from_slice(iv);
    sealed.extend_from_slice(payloads);
    // At most a block of zeros; the last byte says how many others there are.
    sealed.resize(iv_len + body_len - 1, 0);
    sealed.push((body_len - payloads.len() - 1) as u8);
    let done = match Aead::new(suite.cipher, enc_key) {
        Some(aead) => aead.seal(associated, &mut sealed),
        None => seal_pair(suite, enc_key, int_key, associated, &mut sealed),
    };
    done.map_or_else(Vec::new, |()| std::mem::take(&mut *sealed))
}

/// The payloads, as they were before they were sealed.
///
/// # Errors
/// It was not sealed with these keys, or not after this.
pub fn open(
    suite: Suite,
    enc_key: &Secret,
    int_key: &Secret,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
    let opened = match Aead::new(suite.cipher, enc_key) {
        Some(aead) => aead.open(associated, sealed),
        None => open_pair(suite, enc_key, int_key, associated, sealed),
    };
    opened.and_then(without_padding).ok_or(Unauthentic)
}

/// Payloads, padding and the byte that says how long the padding is.
fn hidden_len(cipher: Cipher, payloads_len: usize) -> usize {
    (payloads_len + 1).next_multiple_of(cipher.alignment())
}

fn without_padding(mut opened: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let padding = usize::from(opened.pop()?);
    let len = opened.len().checked_sub(padding)?;
    opened.truncate(len);
    Some(opened)
}

/// Secrecy and integrity in one.
pub(super) struct Aead {
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Aead {
    /// None: the cipher is no AEAD, or the key not its.
    pub(super) fn new(cipher: Cipher, key: &Secret) -> Option<Self> {
        let algorithm = match cipher {
            Cipher::AesGcm16_128 => &AES_128_GCM,
            Cipher::AesGcm16_256 => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return None,
        };
        let (key, salt) = key.as_bytes().split_last_chunk()?;
        Some(Self { key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?), salt: *salt })
    }

    fn nonce(&self, iv: &[u8]) -> Option<Nonce> {
        let nonce: [u8; NONCE_LEN] = [&self.salt, iv].concat().try_into().ok()?;
        Some(Nonce::assume_unique_for_key(nonce))
    }

    pub(super) fn seal(&self, associated: &[u8], sealed: &mut Vec<u8>) -> Option<()> {
        let (iv, body) = sealed.split_at_mut_checked(NONCE_LEN - SALT_LEN)?;
        let tag = self.key.seal_in_place_separate_tag(self.nonce(iv)?, Aad::from(associated), body).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(())
    }

    pub(super) fn open(&self, associated: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (iv, body) = sealed.split_at_checked(NONCE_LEN - SALT_LEN)?;
        let mut body = Zeroizing::new(body.to_vec());
        self.key.open_in_place(self.nonce(iv)?, Aad::from(associated), &mut body).ok()?;
        let len = body.len().checked_sub(AEAD_ICV_LEN)?;
        body.truncate(len);
        Some(body)
    }
}

/// First hidden, then checked.
fn seal_pair(suite: Suite, enc_key: &Secret, int_key: &Secret, associated: &[u8], sealed: &mut Vec<u8>) -> Option<()> {
    let (iv, body) = sealed.split_at_mut_checked(suite.iv_len())?;
    crypt(suite.cipher, enc_key, iv, body, Way::Hide)?;
    let icv = suite.integrity?.compute(int_key.as_bytes(), &[associated, sealed])?;
    sealed.extend_from_slice(icv.as_bytes());
    Some(())
}

/// First checked, then shown.
fn open_pair(
    suite: Suite,
    enc_key: &Secret,
    int_key: &Secret,
    associated: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (checked, icv) = sealed.split_at_checked(sealed.len().checked_sub(suite.icv_len())?)?;
    let right = suite.integrity?.compute(int_key.as_bytes(), &[associated, checked])?;
    bool::from(right.as_bytes().ct_eq(icv)).then_some(())?;
    let (iv, body) = checked.split_at_checked(suite.iv_len())?;
    let mut body = Zeroizing::new(body.to_vec());
    crypt(suite.cipher, enc_key, iv, &mut body, Way::Show)?;
    Some(body)
}

#[derive(Clone, Copy)]
enum Way {
    Hide,
    Show,
}

/// None: it is an AEAD's, the key is not its, or there are no whole blocks.
fn crypt(cipher: Cipher, key: &Secret, iv: &[u8], body: &mut [u8], way: Way) -> Option<()> {
    let key = key.as_bytes();
    match cipher {
        Cipher::AesCbc128 => chain::<Aes128>(key, iv, body, way),
        Cipher::AesCbc256 => chain::<Aes256>(key, iv, body, way),
        Cipher::AesCtr128 => stream::<Aes128>(key, iv, body),
        Cipher::AesCtr256 => stream::<Aes256>(key, iv, body),
        Cipher::AesGcm16_128 | Cipher::AesGcm16_256 | Cipher::ChaCha20Poly1305 => None,
    }
}

fn chain<C>(key: &[u8], iv: &[u8], body: &mut [u8], way: Way) -> Option<()>
where
    C: KeyInit + BlockCipherEncrypt<BlockSize = U16> + BlockCipherDecrypt<BlockSize = U16>,
{
    let cipher = C::new_from_slice(key).ok()?;
    let iv = Array(iv.try_into().ok()?);
    let (blocks, rest) = Array::slice_as_chunks_mut(body);
    rest.is_empty().then_some(())?;
    match way {
        Way::Hide => cbc::Encryptor::inner_iv_init(cipher, &iv).encrypt_blocks(blocks),
        Way::Show => cbc::Decryptor::inner_iv_init(cipher, &iv).decrypt_blocks(blocks),
    }
    Some(())
}

/// The counter block is nonce, IV and a counter from 1 (RFC 5930 section 2.3); hiding twice shows again.
fn stream<C: KeyInit + BlockCipherEncrypt<BlockSize = U16>>(key: &[u8], iv: &[u8], body: &mut [u8]) -> Option<()> {
    let (key, salt) = key.split_last_chunk::<SALT_LEN>()?;
    let first: [u8; BLOCK] = [salt, iv, &1_u32.to_be_bytes()].concat().try_into().ok()?;
    let core = CtrCore::inner_iv_init(C::new_from_slice(key).ok()?, &first.into());
    Ctr32BE::from_core(core).try_apply_keystream(body).ok()
}
