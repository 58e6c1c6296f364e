//! AES-GCM (RFC 4106), AES-GMAC (RFC 4543), ChaCha20-Poly1305 (RFC 7634).
//!
//! Nonce: the salt, then the IV. Checked besides what is hidden: SPI and sequence number; by GMAC, which hides nothing, the
//! whole packet.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::EachWay;
use crate::ipsec::crypto::{Numbers, checked_number, first_block};
use crate::ipsec::esp::HEADER_LEN;
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Aead, AesKey, SALT_LEN};

const IV_LEN: usize = NONCE_LEN - SALT_LEN;
const TAG_LEN: usize = 16;

pub(super) struct Sealer {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_LEN]>,
    numbers: Numbers,
    hides: bool,
    /// What GMAC checks, where it does not stand in the packet as it is to be checked.
    checked: Vec<u8>,
}

/// A packet in its parts.
struct Parts<'p> {
    header: &'p mut [u8; HEADER_LEN],
    iv: &'p mut [u8; IV_LEN],
    body: &'p mut [u8],
    tag: &'p mut [u8; TAG_LEN],
}

impl<'p> Parts<'p> {
    fn of(packet: &'p mut [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_first_chunk_mut()?;
        let (body, tag) = rest.split_last_chunk_mut()?;
        Some(Self { header, iv, body, tag })
    }
}

impl Sealer {
    pub(super) fn new(aead: Aead, keys: &Keys, numbers: Numbers) -> Option<Self> {
        let algorithm = match aead {
            Aead::AesGcm(AesKey::Aes128) | Aead::AesGmac(AesKey::Aes128) => &AES_128_GCM,
            Aead::AesGcm(AesKey::Aes256) | Aead::AesGmac(AesKey::Aes256) => &AES_256_GCM,
            Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let (key, salt) = keys.cipher().split_last_chunk::<SALT_LEN>()?;
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?),
            salt: Zeroizing::new(*salt),
            numbers,
            hides: !matches!(aead, Aead::AesGmac(_)),
            checked: Vec::new(),
        })
    }

    fn nonce(&self, iv: &[u8; IV_LEN]) -> Nonce {
        let [nonce @ .., _, _, _, _] = first_block(&self.salt, iv);
        Nonce::assume_unique_for_key(nonce)
    }

    /// All of a packet that GMAC checks.
    fn gather(&mut self, parts: &Parts<'_>, sequence_high: u32) {
        let (number, len) = checked_number(parts.header, self.numbers, sequence_high);
        self.checked.clear();
        self.checked.extend(&number[..len]);
        self.checked.extend(&*parts.iv);
        self.checked.extend(&*parts.body);
    }
}

impl EachWay for Sealer {
    fn seal(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()> {
        let parts = Parts::of(packet)?;
        let nonce = self.nonce(parts.iv);
        let tag = if self.hides {
            let (number, len) = checked_number(parts.header, self.numbers, sequence_high);
            self.key.seal_in_place_separate_tag(nonce, Aad::from(&number[..len]), parts.body)
        } else {
            self.gather(&parts, sequence_high);
            self.key.seal_in_place_separate_tag(nonce, Aad::from(&self.checked), &mut [])
        };
        parts.tag.copy_from_slice(tag.ok()?.as_ref());
        Some(())
    }

    fn open(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()> {
        let parts = Parts::of(packet)?;
        let nonce = self.nonce(parts.iv);
        if self.hides {
            let (number, len) = checked_number(parts.header, self.numbers, sequence_high);
            let (_, sealed) = packet.split_at_mut_checked(HEADER_LEN + IV_LEN)?;
            self.key.open_in_place(nonce, Aad::from(&number[..len]), sealed).ok()?;
        } else {
            self.gather(&parts, sequence_high);
            let mut tag = *parts.tag;
            self.key.open_in_place(nonce, Aad::from(&self.checked), &mut tag).ok()?;
        }
        Some(())
    }
}
