//! The cluster core (patent Figures 6 and 8A to 8I): membership, succession, leases, assignment, planned moves.
//!
//! Pure: no clock, socket, thread or randomness. `core` says how to drive it; the other files are its parts.

mod admit;
mod agree;
mod announce;
mod assign;
mod balance;
mod basis;
mod beacon;
mod core;
mod event;
mod farewell;
mod follow;
mod handover;
mod hear;
mod in_sync;
mod lead;
mod lease;
mod loss;
mod message;
mod output;
mod quarantine;
mod rivals;
mod search;
mod settings;
mod snapshot;
mod sole;
mod table;
mod time;
mod view;

pub use self::core::{Core, Member, PORTS_MAX, Path};
pub use event::{ClusterEvent, RejoinReason};
pub use loss::Loss;
pub use message::*;
pub use output::{Output, To};
#[cfg(feature = "planted-faults")]
pub use settings::Fault;
pub use settings::{Contact, Delivery, LOSSES_MAX, PROTOCOL_VERSION, Quorum, Replicas, Settings};
pub use snapshot::{Seen, Snapshot, Standing};
pub use sole::Sole;
pub use table::{Entry, Owner, Table, Version};
pub use time::{Span, Time};

#[cfg(test)]
mod tests;
