//! Sealed and signed cluster datagrams (DESIGN section 9): what keepalives and the other short cluster messages travel in.
//!
//! Two layers, two purposes. The **seal** is an AEAD under a key that every member can derive from the cluster secret: it
//! keeps strangers out at the price of one symmetric operation, so that nobody outside can make a member do public-key
//! work. The **signature** inside is made with the sender's own certificate key: it keeps one member from speaking as
//! another, which the shared secret alone cannot do.
//!
//! ```text
//!  0        1        2               18               26
//!  +--------+--------+---------------+----------------+----------------------------------------------------+
//!  | version| sender | boot salt 16  | counter u64 BE | AEAD( incarnation u64 BE | body | signature 64 ) tag |
//!  +--------+--------+---------------+----------------+----------------------------------------------------+
//!  '------------ header: additional data -------------'
//! ```
//! - Key = HKDF-SHA256(salt = boot salt, secret = cluster secret, info = purpose, sender). The boot salt is drawn anew at each start, so a
//!   key belongs to one boot of one member and the nonce (the counter) never repeats under it.
//! - Copies that come by several paths are recognised by their counter *before* any cryptography is done.
//! - Replays of an earlier boot are refused by the **incarnation**: a number that the sender raises at each start, sealed and signed.
//!   See [`Opener`] for what a receiver that has itself just started can know, and [`Opener::vouch`] for how it learns more.
//!
//! A datagram names no receiver: a message meant for one member says so in its body.
//!
//! Pure: no clock, no socket, no entropy of its own.

pub mod beacon;
mod boots;
mod bucket;
mod keys;
mod opener;
mod sealer;
mod wire;

pub use boots::Position;
pub use bucket::TokenBucket;
pub use keys::{ike_key, ike_token_key, relay_key, replica_key, steered_key};
pub use opener::{KeyRefusal, OpenError, Opened, Opener, PublicKeys};
pub use sealer::{SealError, Sealer};
pub use wire::peek;
pub use wire::{BODY_MAX, FRAME_MAX, HEADER_BYTES, OVERHEAD_BYTES, SALT_BYTES};

#[cfg(test)]
mod tests;
