//! Sets of algorithms: their names, what is offered, what is chosen (RFC 7296 sections 2.7, 3.3).
//!
//! A proposal is written as strongSwan's users know it: names joined by hyphens, of each kind one or more, those that are
//! liked best first.
//!
//! | what | names |
//! | --- | --- |
//! | ciphers of IKE | `aes128`, `aes256` (CBC), `aes128ctr`, `aes256ctr`, `aes128gcm16`, `aes256gcm16`, `chacha20poly1305` |
//! | ciphers of ESP | the same, and `null`, `aes128gmac`, `aes256gmac` |
//! | integrity | `sha1`, `sha256`, `sha384`, `sha512`, `aesxcbc`, `aescmac` |
//! | PRFs (IKE only) | `prfsha1`, `prfsha256`, `prfsha384`, `prfsha512`, `prfaesxcbc`, `prfaescmac` |
//! | groups | `modp2048`, `modp3072`, `modp4096`, `ecp256`, `ecp384`, `ecp521`, `x25519` |
//! | sequence numbers (ESP only) | `esn`, `noesn`; neither: both, the long ones first |
//!
//! IKE without a PRF takes those of its integrity. ESP with a group exchanges keys anew for each further SA.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `names` | all names, those that are refused, what was meant by others |
//! | `text` | a text as names of each kind |
//! | `ike`, `esp` | proposals: read, written, offered, chosen |
//! | `pick` | what of an offer suits a list |

mod esp;
mod ike;
mod names;
mod pick;
mod text;

#[cfg(test)]
mod tests;

pub use esp::{EspChoice, EspCipher, EspProposal, EspSuite, accepted_esp, choose_esp, offer_esp};
pub use ike::{IkeProposal, accepted_ike, choose_ike, offer_ike};
pub use text::ProposalError;
