//! What the method computes of challenges and a password: proofs (RFC 2759 section 8), the key (RFC 3079 section 3).
//!
//! MD4 and DES are what the method is; see the module's head for why that is bearable here.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::Md4;
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::mschapv2::{Authenticator, ChallengeBytes, NtResponse};
use super::{MSK_BYTES, Msk};

const DES_KEYS: usize = 3;
/// Of a DES key, without its parity.
const DES_KEY_BYTES: usize = 7;
const HASH_BYTES: usize = 16;
const KEY_BYTES: usize = 16;
const SHA1_BYTES: usize = 20;
const PAD_BYTES: usize = 40;

/// Both challenges and the name in eight bytes.
pub(super) type ChallengeHash = [u8; 8];

/// `name` is without its domain.
pub(super) fn challenge_hash(client: &ChallengeBytes, server: &ChallengeBytes, name: &[u8]) -> ChallengeHash {
    let digest: [u8; SHA1_BYTES] =
        Sha1::new().chain_update(client).chain_update(server).chain_update(name).finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// A password's MD4: as good as the password.
pub(super) struct PasswordHash(Zeroizing<[u8; HASH_BYTES]>);

impl PasswordHash {
    pub(super) fn of(password: &str) -> Self {
        // Twice as many bytes as in UTF-8 are always enough, so that no copy is left behind by growing.
        let mut utf16 = Zeroizing::new(Vec::with_capacity(2 * password.len()));
        utf16.extend(password.encode_utf16().flat_map(u16::to_le_bytes));
        Self(md4(&utf16))
    }

    /// The user's proof.
    pub(super) fn nt_response(&self, challenge: &ChallengeHash) -> NtResponse {
        let mut padded = Zeroizing::new([0; DES_KEYS * DES_KEY_BYTES]);
        padded.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        let mut response = NtResponse::default();
        for (block, key) in response.chunks_exact_mut(challenge.len()).zip(padded.chunks_exact(DES_KEY_BYTES)) {
            block.copy_from_slice(&des(key, challenge));
        }
        response
    }

    /// The gateway's proof.
    pub(super) fn authenticator(&self, nt_response: &NtResponse, challenge: &ChallengeHash) -> Authenticator {
        let inner = Sha1::new()
            .chain_update(*md4(&*self.0))
            .chain_update(nt_response)
            .chain_update(b"Magic server to client signing constant")
            .finalize();
        Sha1::new()
            .chain_update(inner)
            .chain_update(challenge)
            .chain_update(b"Pad to make it do more than one iteration")
            .finalize()
            .into()
    }

    /// The key: what protects the way from the client, what protects the way to it, and zeros. Microsoft's \[MS-CHAP\]
    /// (section 3.1.5.1) says so, from the server's point of view: its receive key comes first, on both sides.
    pub(super) fn msk(&self, nt_response: &NtResponse) -> Msk {
        let master = self.master_key(nt_response);
        let from_client =
            start_key(&master, b"On the client side, this is the send key; on the server side, it is the receive key.");
        let to_client =
            start_key(&master, b"On the client side, this is the receive key; on the server side, it is the send key.");
        let mut msk = Zeroizing::new([0; MSK_BYTES]);
        let keys = from_client.iter().chain(to_client.iter());
        msk.iter_mut().zip(keys).for_each(|(to, from)| *to = *from);
        msk
    }

    pub(super) fn master_key(&self, nt_response: &NtResponse) -> Zeroizing<[u8; KEY_BYTES]> {
        first_bytes(
            Sha1::new()
                .chain_update(*md4(&*self.0))
                .chain_update(nt_response)
                .chain_update(b"This is the MPPE Master Key"),
        )
    }
}

fn start_key(master: &[u8; KEY_BYTES], direction: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    first_bytes(
        Sha1::new()
            .chain_update(master)
            .chain_update([0; PAD_BYTES])
            .chain_update(direction)
            .chain_update([0xf2; PAD_BYTES]),
    )
}

fn first_bytes(hash: Sha1) -> Zeroizing<[u8; KEY_BYTES]> {
    let digest: Zeroizing<[u8; SHA1_BYTES]> = Zeroizing::new(hash.finalize().into());
    Zeroizing::new(digest.first_chunk().copied().unwrap_or_default())
}

fn md4(bytes: &[u8]) -> Zeroizing<[u8; HASH_BYTES]> {
    Zeroizing::new(Md4::digest(bytes).into())
}

/// `key` is without parity, which DES does not look at.
fn des(key: &[u8], block: &ChallengeHash) -> [u8; 8] {
    let bits = key.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    let mut spread = Zeroizing::new([0; 8]);
    for (byte, at) in spread.iter_mut().zip((0..8).rev()) {
        *byte = u8::try_from((bits >> (7 * at)) & 0x7f).unwrap_or_default() << 1;
    }
    let mut block = (*block).into();
    Des::new(&(*spread).into()).encrypt_block(&mut block);
    block.into()
}
