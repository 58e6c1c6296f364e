//! IKEv2 (RFC 7296), without clock, socket, thread or randomness of its own.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`wire`] | messages and payloads as bytes |
//! | [`crypto`] | key exchange, PRFs, keys, the sealed payload, proofs of a shared key |
//! | [`pki`] | proofs of a name by certificate and signature |
//! | [`proposal`] | sets of algorithms: their names, what is offered, what is chosen |

pub mod crypto;
pub mod pki;
pub mod proposal;
pub mod wire;
