//! IKEv2 (RFC 7296), without clock, socket, thread or randomness of its own.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`wire`] | messages and payloads as bytes |
//! | [`crypto`] | key exchange, PRFs, keys, the sealed payload, proofs of a shared key |
//! | [`eap`] | users who prove a password: EAP-MSCHAPv2 |
//! | [`pki`] | proofs of a name by certificate and signature |
//! | [`proposal`] | sets of algorithms: their names, what is offered, what is chosen |
//! | [`state`], [`record`] | an IKE SA, which is a value; as bytes |
//! | [`machine`] | what a message makes of it |
//! | [`config`], [`pool`] | what the machine is told, and whom it asks for addresses |

pub mod config;
pub mod crypto;
pub mod eap;
mod fields;
pub mod machine;
pub mod pki;
pub mod pool;
pub mod proposal;
pub mod record;
pub mod state;
pub mod wire;
