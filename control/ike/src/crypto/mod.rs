//! What IKE computes: key exchange, PRFs, keys, the sealed payload, proofs of a shared key.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `secret`, `random` | bytes that nobody else is to know, and where they come from |
//! | `group`, `key_pair` | groups; a pair of keys, and what it agrees on |
//! | `modp`, `ecp` | the arithmetic of the groups |
//! | `prf`, `mac`, `xcbc` | pseudo-random functions; the keyed hashes under them |
//! | `suite` | an IKE SA's algorithms: numbers and lengths |
//! | `keys` | what is derived: an IKE SA's keys, a child SA's |
//! | `sealed` | the encrypted payload |
//! | `proof`, `nat` | what a peer vouches for; hashes of addresses |
//!
//! Nothing here keeps state or asks the system for anything: entropy comes from the caller's [`Random`]. What a peer sends
//! never panics. Secrets are overwritten when they go ([`Secret`]); what libraries leave on the stack while they compute is
//! not in our hands.

mod ecp;
mod group;
mod key_pair;
mod keys;
mod mac;
mod modp;
mod nat;
mod prf;
mod proof;
mod random;
mod sealed;
mod secret;
mod suite;
mod xcbc;

#[cfg(test)]
mod tests;

pub use group::Group;
pub use key_pair::{BadPublic, KeyPair};
pub use keys::{IkeKeys, child_keymat};
pub use nat::nat_hash;
pub use prf::Prf;
pub use proof::{psk_auth, signed_octets};
pub use random::{Random, SystemRandom};
pub use sealed::{Unauthentic, open, seal, sealed_len};
pub use secret::Secret;
pub use suite::{Cipher, Integrity, Suite};
