//! What a relay costs, and what it costs to replicate it: hosts, a relay and its backups in one process.
//!
//! Nothing here is a faster double: the relay is the worker's own app, its log goes through the real outbox, codec and
//! link (QUIC over the loopback, mutual certificates of a CA that lives as long as the benchmark) into real stores on
//! threads of their own. Only the packets' way is short: hosts are endpoints of our own TCP in the same thread, and a
//! segment goes from hand to hand. So what is measured is the relay and its replication, and no driver and no kernel but
//! that of the cluster link.
//!
//! ```text
//!   clients ──> relay ──> servers          this thread
//!                 │ outbox
//!            link ║ QUIC                   a thread
//!                 ║
//!            link ║ ──> store              two threads for each backup
//! ```
//!
//! IKE is measured in the same way, in `ike`.
//!
//! Files: `host` (one end of a connection), `desk` (what a worker is to the relay), `member` (link and backups), `world` (all of
//! them, and their rounds), `traffic` (what hosts do, and what that costs), `takeover` (a backup carries on), `meter` (time and
//! counts).

mod desk;
mod host;
mod ike;
mod member;
mod meter;
mod takeover;
mod traffic;
mod world;

pub(crate) use ike::{IkeBenchError, Way, measure_handshakes, measure_memory};
pub(crate) use takeover::{Takeover, TakeoverPlan, measure_takeover};
pub(crate) use traffic::{Traffic, TrafficFigures, Work, measure};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayBenchError {
    /// The cluster link did not start.
    #[error("the backups' link: {0}")]
    Link(String),
    /// Something did not come about in time.
    #[error("{0}: that took longer than {1} s")]
    Late(&'static str, u64),
    /// Bytes arrived that nobody had sent.
    #[error("a stream arrived with other bytes than were sent: these figures are worth nothing")]
    Corrupt,
    /// A connection ended that should not have.
    #[error("{0} connections were reset or timed out: these figures are worth nothing")]
    Broken(u64),
    /// A thread ended before its time.
    #[error("a backup's thread has ended early")]
    Ended,
    /// Not what it was to be measured on.
    #[error("{0}")]
    Odd(String),
}
