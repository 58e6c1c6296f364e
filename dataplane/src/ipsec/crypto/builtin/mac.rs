//! Check values: HMAC (RFC 2104, with SHA-1, SHA-2, MD5), AES-CMAC (RFC 4494), AES-XCBC-MAC (RFC 3566).

use aes::Aes128;
use cbc::cipher::{Array, BlockCipherEncrypt, KeyInit};
use cmac::Cmac;
use hmac::{Hmac, Mac as Keyed};
use md5::Md5;
use ring::hmac::{Context, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key};
use sha1::Sha1;

use crate::ipsec::transform::Integrity;

/// The longest check value, before it is cut to what is sent.
const TAG_MAX: usize = 64;

/// A check with its key.
pub(super) enum Mac {
    Hmac(Key),
    /// `ring` does not use what processors have for it: three times as slow.
    Sha1(Box<Hmac<Sha1>>),
    Md5(Box<Hmac<Md5>>),
    Cmac(Box<Cmac<Aes128>>),
    Xcbc(Box<Xcbc>),
}

impl Mac {
    pub(super) fn new(integrity: Integrity, key: &[u8]) -> Option<Self> {
        let hmac = |algorithm| Self::Hmac(Key::new(algorithm, key));
        Some(match integrity {
            Integrity::HmacSha1 => Self::Sha1(Box::new(Hmac::new_from_slice(key).ok()?)),
            Integrity::HmacSha256 => hmac(HMAC_SHA256),
            Integrity::HmacSha384 => hmac(HMAC_SHA384),
            Integrity::HmacSha512 => hmac(HMAC_SHA512),
            Integrity::HmacMd5 => Self::Md5(Box::new(Hmac::new_from_slice(key).ok()?)),
            Integrity::AesCmac => Self::Cmac(Box::new(Cmac::new_from_slice(key).ok()?)),
            Integrity::AesXcbc => Self::Xcbc(Box::new(Xcbc::new(key)?)),
        })
    }

    /// The check value of a packet and what is checked after it, in its first bytes.
    pub(super) fn of(&self, packet: &[u8], after: Option<[u8; 4]>) -> [u8; TAG_MAX] {
        let after = after.as_ref().map_or(&[][..], |after| after);
        match self {
            Self::Hmac(key) => {
                let mut context = Context::with_key(key);
                context.update(packet);
                context.update(after);
                padded(context.sign().as_ref())
            }
            Self::Sha1(mac) => tag(&**mac, packet, after),
            Self::Md5(mac) => tag(&**mac, packet, after),
            Self::Cmac(mac) => tag(&**mac, packet, after),
            Self::Xcbc(mac) => padded(&mac.of(packet, after)),
        }
    }
}

fn tag<M: Keyed + Clone>(keyed: &M, packet: &[u8], after: &[u8]) -> [u8; TAG_MAX] {
    padded(&keyed.clone().chain_update(packet).chain_update(after).finalize().into_bytes())
}

fn padded(tag: &[u8]) -> [u8; TAG_MAX] {
    let mut padded = [0; TAG_MAX];
    padded.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
    padded
}

type Block = Array<u8, cbc::cipher::consts::U16>;

/// AES-XCBC-MAC: CBC's last block under the first of three keys, with one of the others mixed into the last block. No
/// maintained crate has it.
pub(super) struct Xcbc {
    cipher: Aes128,
    /// For messages that are whole blocks, and for others.
    last: [Block; 2],
}

impl Xcbc {
    const BLOCK: usize = 16;

    fn new(key: &[u8]) -> Option<Self> {
        let outer = Aes128::new_from_slice(key).ok()?;
        let derived = |number: u8| {
            let mut block = Block::from([number; Self::BLOCK]);
            outer.encrypt_block(&mut block);
            block
        };
        Some(Self { cipher: Aes128::new(&derived(1)), last: [derived(2), derived(3)] })
    }

    fn of(&self, packet: &[u8], after: &[u8]) -> Block {
        let mut state = Block::default();
        let mut filled = 0;
        for byte in packet.iter().chain(after) {
            // A full block is encrypted only when another byte shows that it is not the last.
            if filled == Self::BLOCK {
                self.cipher.encrypt_block(&mut state);
                filled = 0;
            }
            state[filled] ^= byte;
            filled += 1;
        }
        let [whole, short] = &self.last;
        let last = if filled == Self::BLOCK {
            whole
        } else {
            state[filled] ^= 0x80;
            short
        };
        state.iter_mut().zip(last).for_each(|(byte, key)| *byte ^= key);
        self.cipher.encrypt_block(&mut state);
        state
    }
}

impl Drop for Xcbc {
    fn drop(&mut self) {
        // The cipher overwrites itself.
        self.last.iter_mut().for_each(|key| zeroize::Zeroize::zeroize(key.as_mut_slice()));
    }
}
