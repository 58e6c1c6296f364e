//! The transport's limits in one place, with what they add up to.

use std::time::Duration;

/// The longest batch: a segment of the log with the longest update at its end.
pub const BATCH_BYTES_MAX: usize = 128 << 10;
/// The longest message: a batch and its head.
pub(super) const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 64;
/// Workers that a member may have, and so streams that it may open on one connection.
pub const WORKERS_MAX: u16 = 64;
/// Unread bytes of one stream: 5 ms at 800 Mbit/s.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Unread bytes of one connection: 32 stuck streams, and still room for messages. With 31 members and, at worst, three
/// connections each, 1.5 GiB; in a cluster that works, next to nothing.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes written and not acknowledged by the peer's QUIC.
pub(crate) const SEND_WINDOW_BYTES: u64 = 4 << 20;
/// Bytes that a task gathers before it writes them.
pub(super) const GATHER_BYTES: usize = 256 << 10;
/// How long the other side may take to answer a new stream.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a stream that broke is opened again.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// Pause for as long as there is no room for news: the worker is stuck or asleep.
pub(super) const NEWS_RETRY: Duration = Duration::from_millis(1);
/// New streams that may wait to be taken up.
pub(super) const ARRIVALS_MAX: usize = 64;
/// Buffers that a stream keeps for its next batches.
pub(super) const SPARE_BUFFERS: usize = 64;
