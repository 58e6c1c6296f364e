//! State replication (DESIGN section 8, patent Figure 5 items 517 and 519): an owner's sessions, held by its backups.
//!
//! An owner's worker writes each change of a session's state into its [`Outbox`]: one ordered log, whose [`Position`]s
//! count updates. Each backup gets the part of the log that concerns it, in order, and acknowledges positions; what a
//! peer could observe waits until [`Outbox::committed`] has passed the position behind it (output commit). A backup's
//! worker keeps what arrives in its [`Store`], by unit and session, without knowing what the bytes mean.
//!
//! **In sync is a matter of units.** A backup that is new to a unit is first asked whether it holds it already: a
//! [`Change::UnitCheck`] in the log names the owner's digest at that point. Empty units, and units that it kept from the
//! owner before, need no more than that. Otherwise the unit is sent as a snapshot ([`Snapshots`]): `UnitBegin`, a put
//! for each session, `UnitComplete` with the digest, all in the same log as the live updates, addressed to this backup
//! only. It counts as in sync when it acknowledged that point without complaint. A complaint about one update, or a
//! backup that fell too far behind, leads back to the same start.
//!
//! **What a slow backup can do.** Nothing to the packet path: a log that grows too long loses its slowest reader, which
//! is told, no longer waited for, and synchronised again when it has caught its breath.
//!
//! **What an old owner can do.** Nothing to a store: each batch names the table that its sender acted under, and a unit
//! that is another's by the receiver's table is not touched. The refusal stops the sender's commits ([`Outbox::fenced`])
//! until it knows that table itself.
//!
//! All of this is pure: no clock, no socket, no thread; `port` has the rings by which a worker meets the transport.
//!
//! Files: `record` (updates as bytes), `digest` (what "the same state" means), `segment` (a piece of the log), `outbox`,
//! `peer` (one backup of an outbox), `snapshot`, `store`, `session` (one session in a store), `lease` (counters that move with
//! every packet), `port`, `limits`.

mod counters;
mod digest;
mod lease;
mod limits;
mod members;
mod outbox;
mod peer;
mod port;
mod record;
mod segment;
mod session;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

pub use digest::{DigestKey, SessionDigest, StreamShape};
pub use lease::{Extent, Lease, LeaseError, LeaseRecord, LeaseStats};
pub use limits::{BATCHES_OF_STREAM_MAX, OutboxLimits, STATE_BYTES_MAX, STREAMS_MAX, StoreLimits, UPDATE_BYTES_MAX};
pub use members::MemberSet;
pub use outbox::{Outbox, OutboxStats, Ship};
pub use port::{Incoming, Outcome, PortHandle, ReplicaNews, Shipped, Wake, WorkerPort, port};
pub use record::{
    Change, FORMAT, Frames, Malformed, Position, SessionKey, TableVersion, Update, batch_format, frame_unit, updates,
};
pub use segment::Segment;
pub use session::{Record, State, Stream};
pub use snapshot::{Cursor, Snapshots, Source, Sources, Step};
pub use store::{Consequence, Refused, Store, StoreStats};
