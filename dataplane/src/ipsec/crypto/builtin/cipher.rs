//! Ciphers that check nothing: AES-CBC (RFC 3602), AES-CTR (RFC 3686), and the patent's DES-CBC and 3DES-CBC (RFC 2405, 2451).

use aes::{Aes128, Aes256};
use cbc::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
    StreamCipher,
};
use ctr::Ctr32BE;
use des::{Des, TdesEde3};
use zeroize::Zeroizing;

use crate::ipsec::crypto::first_block;
use crate::ipsec::esp::HEADER_LEN;
use crate::ipsec::transform::{AesKey, Cipher, SALT_LEN};

/// A cipher with its key. Packets are given without their ICV.
pub(super) enum Hider {
    Null,
    AesCbc128(Box<Aes128>),
    AesCbc256(Box<Aes256>),
    AesCtr128(Box<Aes128>, Salt),
    AesCtr256(Box<Aes256>, Salt),
    DesCbc(Box<Des>),
    TripleDesCbc(Box<TdesEde3>),
}

type Salt = Zeroizing<[u8; SALT_LEN]>;

impl Hider {
    pub(super) fn new(cipher: Cipher, key: &[u8]) -> Option<Self> {
        Some(match cipher {
            Cipher::Null => Self::Null,
            Cipher::AesCbc(AesKey::Aes128) => Self::AesCbc128(keyed(key)?),
            Cipher::AesCbc(AesKey::Aes256) => Self::AesCbc256(keyed(key)?),
            Cipher::AesCtr(len) => {
                let (key, salt) = key.split_last_chunk()?;
                let salt = Zeroizing::new(*salt);
                match len {
                    AesKey::Aes128 => Self::AesCtr128(keyed(key)?, salt),
                    AesKey::Aes256 => Self::AesCtr256(keyed(key)?, salt),
                }
            }
            Cipher::DesCbc => Self::DesCbc(keyed(key)?),
            Cipher::TripleDesCbc => Self::TripleDesCbc(keyed(key)?),
        })
    }

    /// Encrypts what follows the IV; makes of the number in the IV field the IV.
    pub(super) fn hide(&self, packet: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::AesCbc128(aes) => chain(&**aes, packet),
            Self::AesCbc256(aes) => chain(&**aes, packet),
            Self::AesCtr128(aes, salt) => stream(&**aes, salt, packet),
            Self::AesCtr256(aes, salt) => stream(&**aes, salt, packet),
            Self::DesCbc(des) => chain(&**des, packet),
            Self::TripleDesCbc(des) => chain(&**des, packet),
        }
    }

    /// Decrypts what follows the IV.
    pub(super) fn show(&self, packet: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::AesCbc128(aes) => unchain(&**aes, packet),
            Self::AesCbc256(aes) => unchain(&**aes, packet),
            Self::AesCtr128(aes, salt) => stream(&**aes, salt, packet),
            Self::AesCtr256(aes, salt) => stream(&**aes, salt, packet),
            Self::DesCbc(des) => unchain(&**des, packet),
            Self::TripleDesCbc(des) => unchain(&**des, packet),
        }
    }
}

fn keyed<C: KeyInit>(key: &[u8]) -> Option<Box<C>> {
    C::new_from_slice(key).ok().map(Box::new)
}

/// IV field and body, which are whole blocks.
fn blocks<N: cbc::cipher::array::ArraySize>(packet: &mut [u8]) -> Option<&mut [Array<u8, N>]> {
    let (blocks, rest) = Array::slice_as_chunks_mut(packet.get_mut(HEADER_LEN..)?);
    rest.is_empty().then_some(blocks)
}

fn chain<C: BlockCipherEncrypt>(cipher: &C, packet: &mut [u8]) -> Option<()> {
    cbc::Encryptor::inner_iv_init(cipher, &Array::default()).encrypt_blocks(blocks(packet)?);
    Some(())
}

fn unchain<C: BlockCipherDecrypt>(cipher: &C, packet: &mut [u8]) -> Option<()> {
    let (iv, body) = blocks(packet)?.split_first_mut()?;
    cbc::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(body);
    Some(())
}

fn stream<C: BlockCipherEncrypt<BlockSize = cbc::cipher::consts::U16>>(
    cipher: &C,
    salt: &Salt,
    packet: &mut [u8],
) -> Option<()> {
    let (iv, body) = packet.get_mut(HEADER_LEN..)?.split_first_chunk_mut()?;
    let core = ctr::CtrCore::inner_iv_init(cipher, &first_block(salt, iv).into());
    Ctr32BE::from_core(core).try_apply_keystream(body).ok()
}
