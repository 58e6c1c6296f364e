//! The session thread: where IKE is spoken (DESIGN section 2).
//!
//! ```text
//!   worker ──question: an IKE SA's record, a message──▶ session thread ──▶ phalanx_ike::Machine
//!   worker ◀──answer: the next record, tunnels, what is sent──┘                 (nothing is kept)
//! ```
//! The workers own the IKE SAs, as records that they replicate and cannot read. The thread restores one, lets the machine make another of
//! it, and gives it back; so public-key work delays no packet, and whatever the thread holds may be lost. What it does hold is the
//! book of addresses ([`phalanx_ike::pool`]), which it makes of the records that the workers hold, of all members.
//!
//! | file | what it does |
//! | --- | --- |
//! | `session` | the thread: takes questions |
//! | `speaker` | answers them |
//! | `settings` | from the configuration's words to what the machine is told |
//! | `translate` | from the machine's child SAs to the workers' tunnels |

mod session;
mod settings;
mod speaker;
mod translate;

pub(crate) use session::{Running, Sessions};
pub use settings::ConnectionError;
pub(crate) use settings::ike;
pub use speaker::Speaker;
