//! IPsec's data plane: ESP between the cluster and its peers, whichever member serves an SA.
//!
//! An SA (security association) is one direction of one tunnel: a key, a transform, a counter. The one that comes in is named
//! by an SPI that *we* chose, with the session's unit in its low bits ([`crate::filter::steered::embed`]), so its packets meet their owner
//! by themselves. Patent Figure 7 divides what an SA is, too:
//!
//! | state | kind | where it lives |
//! | --- | --- | --- |
//! | transform, keys, SPIs, addresses, selectors | initial | told to the backups once |
//! | how far its sequence numbers are used; how far the peer's have come | essential | a lease: a limit ahead of use ([`crate::replica::lease`]) |
//! | key schedules, hash states, the replay window's bits, header templates | calculable | rebuilt from the above by a new owner |
//! | the IV's counter | of this member and this life only | never told to anybody ([`nonce`]) |
//!
//! What is lost when an owner dies in the midst of a packet: that packet, and the numbers up to the lease's limit. Its heir
//! sends from the limit on, refuses what the dead one may have let in, and draws IVs of its own.
//!
//! ```text
//!   out:  selectors ─▶ sequence ─▶ IV (nonce) ─▶ headers, trailer (encap) ─▶ seal (crypto) ─▶ UDP checksum (encap)
//!   in:   SPI ─▶ whole number, looks new (replay) ─▶ open (crypto) ─▶ is new (replay) ─▶ packet (decap) ─▶ selectors
//! ```
//! All of this is sans-IO and works in place: it knows no mbufs, no clock and no SA table. [`gateway`] has those.

pub mod ah;
pub mod crypto;
pub mod decap;
pub mod ecn;
pub mod encap;
pub mod esp;
pub mod gateway;
pub mod keys;
pub mod nonce;
pub mod outer;
pub mod replay;
mod template;
pub mod transform;
pub mod transport;

#[cfg(test)]
mod tests;

pub use keys::{KeyLengths, Keys};
pub use transform::{Aead, AesKey, Cipher, Integrity, Transform, UnknownTransform};

/// Why a packet that came in is none of an SA's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// Too short for its transform, or no multiple of its block, or more padding than packet.
    #[error("malformed")]
    Malformed,
    /// Its check value is wrong: forged, damaged, or of other keys.
    #[error("wrong check value")]
    BadIcv,
    /// A packet with its number has been accepted.
    #[error("replayed")]
    Replayed,
    /// Its number lies below the replay window.
    #[error("below the replay window")]
    TooOld,
    /// What came out of a tunnel is no IP packet of the version that it says.
    #[error("no IP packet inside")]
    NotIp,
    /// A router marked the outer header, and the inner sender does not understand marks (RFC 6040).
    #[error("congestion that its sender does not understand")]
    Congested,
}
