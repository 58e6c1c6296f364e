//! EAP (RFC 3748) inside of IKE (RFC 7296 section 2.16): a user proves a password instead of a peer its key.
//!
//! The one method is MSCHAPv2 (draft-kamath-pppext-eap-mschapv2, RFC 2759), which clients have built in. Both sides prove
//! to know the password, and both get a key, the MSK, with which they then authenticate IKE's first exchange. The method is
//! old and its DES can be broken by whoever sees it; inside of IKE only the gateway sees it, which the client has
//! authenticated by certificate before. Nothing here is to be spoken outside of IKE.
//!
//! ```text
//!   Identity ──who it says it is──> Challenged ──right──> Proven ──"it is you"──> Over (granted)
//!                                     │     └───wrong───> Failing ──anything────> Over (refused)
//!                                     └──another method, unreadable─────────────> Over (refused)
//! ```
//!
//! A [`Conversation`] is a value, and between any two messages it can be saved, and another member of the cluster can go on
//! with it. Who is let in is the name that came with the proof; the identity said first proves nothing and is not kept.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `packet`, `mschapv2` | EAP's packets; the method's messages in them |
//! | `proof` | what the method computes of challenges and a password |
//! | `users` | where passwords come from; names with a domain |
//! | `server`, `client` | the gateway's side, [`Conversation`]; the user's side, [`Client`] |
//! | `persist` | a conversation as bytes |

mod client;
mod mschapv2;
mod packet;
mod persist;
mod proof;
mod server;
#[cfg(test)]
mod tests;
mod users;

pub use client::{Answer, Client};
pub use server::{Conversation, Refusal, Step};
pub use users::Users;

use zeroize::Zeroizing;

/// Bytes of the key that both sides have in the end.
pub const MSK_BYTES: usize = 64;

/// The key that both sides have in the end (RFC 3748 section 7.10). IKE takes all of it for the shared key.
pub type Msk = Zeroizing<[u8; MSK_BYTES]>;

/// Fills bytes with what nobody can foresee.
pub type Random<'r> = &'r mut dyn FnMut(&mut [u8]);
