//! AES-CBC with an HMAC for packets of many tunnels at once ([`dpdk::chain`]). Each block waits for the one before it, so what a processor
//! can do side by side is packets, and of many tunnels there are few of each: what takes packets of one key at a time
//! (`devices`) leaves most of the processor idle there.
//!
//! A worker collects a burst's work of all its sessions that have a [`Chained`], and has it done in one call. A packet that comes alone is
//! the built-in engine's, as anybody's is who has no [`dpdk::chain::Chains`] at hand.

use dpdk::chain::{BLOCK_LEN, ChainKey, Work};
use dpdk::crypto::Auth;

use super::{Direction, Job, Numbers, Session};
use crate::ipsec::esp::{HEADER_LEN, Shape};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Cipher, Integrity, Transform};

/// The keys of one direction.
#[derive(Debug)]
pub struct Chained {
    key: ChainKey,
    shape: Shape,
    numbers: Numbers,
}

impl Chained {
    /// None: it is another transform, or these are another one's keys.
    pub fn new(transform: Transform, keys: &Keys, numbers: Numbers, direction: Direction) -> Option<Self> {
        let Transform::Pair(Cipher::AesCbc(_), check) = transform else { return None };
        let auth = match check {
            Integrity::HmacSha1 => Auth::HmacSha1,
            Integrity::HmacSha256 => Auth::HmacSha256,
            Integrity::HmacSha384 => Auth::HmacSha384,
            Integrity::HmacSha512 => Auth::HmacSha512,
            Integrity::HmacMd5 | Integrity::AesXcbc | Integrity::AesCmac => return None,
        };
        let shape = Shape::of(transform);
        let fit = keys.are_for(transform);
        let key = fit.then(|| ChainKey::new(keys.cipher(), (auth, keys.integrity()), shape.icv_len(), direction));
        Some(Self { key: key?.ok()?, shape, numbers })
    }

    /// What is to be done with a packet. None: it is none.
    #[inline]
    pub fn work<'p>(&'p self, packet: &'p mut [u8], sequence_high: u32) -> Option<Work<'p>> {
        self.shape.check(packet.len()).ok()?;
        let end = packet.len() - self.shape.icv_len();
        let iv = *packet.get(HEADER_LEN..)?.first_chunk::<BLOCK_LEN>()?;
        let (iv, hidden) = match self.key.direction() {
            // The number becomes the IV by being encrypted under an IV of zeros.
            Direction::Seal => ([0; BLOCK_LEN], HEADER_LEN..end),
            Direction::Open => (iv, self.shape.body_at()..end),
        };
        let last = (self.numbers == Numbers::Extended).then(|| sequence_high.to_be_bytes());
        Some(Work { key: &self.key, packet, iv, hidden, last })
    }
}

/// A [`Chained`] for many packets, another session for few.
pub(super) struct ManyChained {
    pub(super) few: Box<dyn Session>,
    pub(super) many: Chained,
}

impl Session for ManyChained {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        self.few.process(jobs);
    }

    fn prefetch(&self) {
        self.many.key.prefetch();
    }

    fn chained(&self) -> Option<&Chained> {
        Some(&self.many)
    }
}
