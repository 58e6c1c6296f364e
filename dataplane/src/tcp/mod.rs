//! TCP (RFC 9293), so that a connection outlives the machine that it ends on.
//!
//! A connection is an [`Endpoint`] and two [`Stream`]s. The endpoint is sans-IO: segments and time go in, segments come
//! out, one at a time, into the caller's buffer. Its record falls into the three parts of the patent's Figure 7
//! (`state.rs`, `calculable.rs`); [`Endpoint::save`] and [`Endpoint::restore`] carry the first two to another member
//! (`persist.rs`). Received bytes lie in a stream, from which the other endpoint of a relay session sends them on.
//!
//! *Output commit without queues*: a stream knows how much of it the backups hold. Only that is acknowledged to the one
//! peer and sent to the other, so whatever a peer has seen, a successor has too.
//!
//! Nothing allocates after construction, and nothing panics, whatever a peer sends or a record says.
//!
//! | RFC | where |
//! | --- | --- |
//! | 9293 3.1 header, 3.2 options | `segment.rs`, `options.rs` |
//! | 9293 3.3.2 states | `state.rs` |
//! | 9293 3.4 numbers; 6528 initial ones; 4987 cookies | `seq.rs`; `isn.rs`; `cookie.rs` |
//! | 9293 3.5 opening | `open.rs` |
//! | 9293 3.10.7 segment arrives; 5961; PAWS of 7323 | `receive.rs`, `acknowledge.rs`, `text.rs` |
//! | 9293 3.8 sending, windows, probes | `transmit.rs`, `timeout.rs` |
//! | 6298 timeout; 5681, 6928, 9438 congestion; 2018, 6582, 6675 recovery | `rtt.rs`; `congestion.rs`; `recovery.rs` |
//!
//! `CONFORMANCE.md` has RFC 9293's requirements one by one.

mod acknowledge;
mod calculable;
mod config;
mod congestion;
mod cookie;
mod endpoint;
mod flow;
mod isn;
mod open;
mod options;
mod outcome;
mod persist;
mod pool;
mod ranges;
mod receive;
mod recovery;
mod rtt;
mod segment;
mod seq;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod timeout;
mod timers;
mod transmit;

pub use config::{Config, Keepalive};
pub use cookie::{Accepted, CookieJar};
pub use endpoint::Endpoint;
pub use flow::Flow;
pub use isn::IsnSource;
pub use options::{Options, SackBlocks, Timestamps};
pub use outcome::{Change, Outcome, Refused};
pub use persist::{EssentialState, InitialState, RECORD_VERSION, RecordError, Saved};
pub use pool::{CHUNK_LEN, ChunkPool};
pub use segment::{Repr, Segment, SegmentError, refuse};
pub use seq::{Pos, Seq};
pub use state::{Event, State};
pub use stream::Stream;
pub use timers::Timer;
