//! The session thread: where IKE is spoken (DESIGN section 2).
//!
//! ```text
//!   worker ──question: an IKE SA's record, a message──▶ session thread ──▶ phalanx_ike::Machine
//!   worker ◀──answer: the next record, tunnels, what is sent──┘                 (nothing is kept)
//! ```
//! The workers own the IKE SAs, as records that they replicate and cannot read. The thread restores one, lets the machine make another of
//! it, and gives it back; so public-key work delays no packet, and whatever the thread holds may be lost. What it does hold is the
//! book of addresses ([`phalanx_ike::pool`]), which it makes of what the workers tell it of tunnels, all members' ones.
//!
//! | file | what it does |
//! | --- | --- |
//! | `session` | the thread: takes questions |
//! | `speaker` | answers them |
//! | `half_open` | how many peers have proved nothing yet |
//! | `comers` | which IKE SAs a peer leaves behind that comes anew |
//! | `starts` | whether what we begin is there |
//! | `clerk` | what operators ask and want |
//! | `settings` | from the configuration's words to what the machine is told |
//! | `proofs`, `users` | the certificates, keys and passwords in files; `error` says what is wrong with which |
//! | `translate` | from the machine's child SAs to the workers' tunnels |

mod clerk;
mod comers;
mod error;
mod half_open;
mod proofs;
mod session;
mod settings;
mod speaker;
mod starts;
#[cfg(test)]
mod tests;
mod translate;
mod users;

pub(crate) use clerk::Clerk;
pub(crate) use error::IkeError;
pub(crate) use session::{Running, Sessions};
pub(crate) use settings::ike;
pub use speaker::Speaker;
