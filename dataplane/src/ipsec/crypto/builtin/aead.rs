//! AES-GCM (RFC 4106), AES-GMAC (RFC 4543), ChaCha20-Poly1305 (RFC 7634).
//!
//! Nonce: the salt, then the IV. Checked besides what is hidden: SPI and sequence number; by GMAC, which hides nothing, the
//! whole packet.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{EachWay, high_half};
use crate::ipsec::crypto::Numbers;
use crate::ipsec::esp::HEADER_LEN;
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Aead, AesKey, SALT_LEN};

const IV_LEN: usize = NONCE_LEN - SALT_LEN;
const BODY_AT: usize = HEADER_LEN + IV_LEN;
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
    head: &'p mut [u8; BODY_AT],
    body: &'p mut [u8],
    tag: &'p mut [u8; TAG_LEN],
}

impl<'p> Parts<'p> {
    fn of(packet: &'p mut [u8]) -> Option<Self> {
        let (head, rest) = packet.split_first_chunk_mut()?;
        let (body, tag) = rest.split_last_chunk_mut()?;
        Some(Self { head, body, tag })
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

    fn nonce(&self, head: &[u8; BODY_AT]) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..SALT_LEN].copy_from_slice(&*self.salt);
        nonce[SALT_LEN..].copy_from_slice(&head[HEADER_LEN..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// SPI and sequence number, and how many bytes they are.
    fn number(&self, head: &[u8; BODY_AT], sequence_high: u32) -> ([u8; 12], usize) {
        let mut checked = [0; 12];
        match high_half(self.numbers, sequence_high) {
            None => {
                checked[..8].copy_from_slice(&head[..8]);
                (checked, 8)
            }
            Some(high) => {
                checked[..4].copy_from_slice(&head[..4]);
                checked[4..8].copy_from_slice(&high);
                checked[8..].copy_from_slice(&head[4..8]);
                (checked, 12)
            }
        }
    }

    /// All of a packet that GMAC checks.
    fn gather(&mut self, parts: &Parts<'_>, sequence_high: u32) {
        let (number, len) = self.number(parts.head, sequence_high);
        self.checked.clear();
        self.checked.extend(&number[..len]);
        self.checked.extend(&parts.head[HEADER_LEN..]);
        self.checked.extend(&*parts.body);
    }
}

impl EachWay for Sealer {
    fn seal(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()> {
        let parts = Parts::of(packet)?;
        let nonce = self.nonce(parts.head);
        let tag = if self.hides {
            let (number, len) = self.number(parts.head, sequence_high);
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
        let nonce = self.nonce(parts.head);
        if self.hides {
            let (number, len) = self.number(parts.head, sequence_high);
            let (_, sealed) = packet.split_at_mut_checked(BODY_AT)?;
            self.key.open_in_place(nonce, Aad::from(&number[..len]), sealed).ok()?;
        } else {
            self.gather(&parts, sequence_high);
            let mut tag = *parts.tag;
            self.key.open_in_place(nonce, Aad::from(&self.checked), &mut tag).ok()?;
        }
        Some(())
    }
}
