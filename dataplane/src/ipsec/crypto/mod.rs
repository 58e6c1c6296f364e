//! The engines that seal and open packets, behind one interface that takes a burst at a time.
//!
//! A [`Session`] is what an engine makes of the keys of one direction. It is used by one worker, in place. One that seals gets
//! packets as [`super::esp::Shape::write`] leaves them: header, IV, padding and trailer are there, the payload is clear, the
//! ICV's bytes are nobody's. One that opens gets a whole packet and leaves it clear if its ICV is right, in pieces if not.
//!
//! The IV field of a packet to be sealed holds a number that is unique under the key ([`super::nonce`]). For counter modes that *is* the
//! IV. CBC's must be unforeseeable too (RFC 3602 section 3), so there the number's block is encrypted before it is used
//! (NIST SP 800-38A, appendix C, the first method): in other words, the IV field is the first block of what is encrypted, under an IV of zeros.
//!
//! With extended sequence numbers the high half is checked though it is not in the packet: between SPI and low half by
//! AEADs (RFC 4106 section 5), after all else by the others (RFC 4303 section 2.2.1).

pub mod builtin;
pub mod chained;
pub mod choice;
pub mod devices;
pub mod direct;

pub use dpdk::crypto::Direction;

use self::chained::Chained;
use super::keys::Keys;
use super::transform::{SALT_LEN, Transform};

/// One packet's work.
#[derive(Debug)]
pub struct Job<'p> {
    /// From the ESP header to the end of the ICV.
    pub packet: &'p mut [u8],
    /// The high half of its number; looked at only by sessions with extended numbers.
    pub sequence_high: u32,
    /// Whether it was done: a packet to be opened had the right ICV. False if the packet is shorter than its transform allows.
    pub done: bool,
}

impl<'p> Job<'p> {
    /// To be done.
    pub fn new(packet: &'p mut [u8], sequence_high: u32) -> Self {
        Self { packet, sequence_high, done: false }
    }
}

/// How sequence numbers are counted (RFC 4303 section 2.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Numbers {
    /// 32 bits, all of them in the packet.
    Short,
    /// 64 bits, of which the packet shows the lower half.
    Extended,
}

/// What can make sessions.
pub trait Engine: Send + Sync {
    /// What it is called in the configuration and in logs.
    fn name(&self) -> &'static str;

    /// Makes a session.
    ///
    /// # Errors
    /// The engine doesn't know the transform, or the keys are of another one.
    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError>;
}

/// Seals or opens the packets of one direction of one tunnel.
pub trait Session: Send {
    /// Does what is to be done with these packets.
    fn process(&mut self, jobs: &mut [Job<'_>]);

    /// Fetches what the next packet needs into the cache.
    fn prefetch(&self) {}

    /// Whether it does several packets at once faster than one after another.
    fn likes_many(&self) -> bool {
        true
    }

    /// What it has for packets of many sessions at once.
    fn chained(&self) -> Option<&Chained> {
        None
    }
}

/// Why there is no session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum EngineError {
    /// Another engine may know it.
    #[error("the {0} engine does not know {1}")]
    Unsupported(&'static str, Transform),
    /// See [`Keys::new`].
    #[error("these are not the keys of {0}")]
    Keys(Transform),
}

/// SPI and sequence number as an AEAD checks them, and how many bytes they are. `header` is the packet's beginning.
#[inline]
fn checked_number(header: &[u8; 8], numbers: Numbers, sequence_high: u32) -> ([u8; 16], usize) {
    // As it is loaded from memory: the lowest byte is the first one.
    let header = u64::from_le_bytes(*header);
    let (spi, low) = (u128::from(header as u32), u128::from(header >> u32::BITS));
    let (number, len) = match numbers {
        Numbers::Short => (spi | low << 32, 8),
        Numbers::Extended => (spi | u128::from(sequence_high.swap_bytes()) << 32 | low << 64, 12),
    };
    (number.to_le_bytes(), len)
}

/// Salt, IV, and the number 1: what AES-CTR begins with (RFC 3686 section 4). Without the number it is an AEAD's nonce.
fn first_block(salt: &[u8; SALT_LEN], iv: &[u8; 8]) -> [u8; 16] {
    let mut block = [0; 16];
    block[..SALT_LEN].copy_from_slice(salt);
    block[SALT_LEN..12].copy_from_slice(iv);
    block[15] = 1;
    block
}
