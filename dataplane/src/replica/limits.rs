//! Replication's limits in one place, with the sums that justify them.

/// The longest record of initial or essential state, and the longest body of an unknown kind.
pub const STATE_BYTES_MAX: usize = 32 << 10;
/// The most bytes of a stream in one update; longer appends are written as several.
pub(super) const APPEND_BYTES_MAX: usize = 16 << 10;
/// The longest update on the wire: its head, a state, and what a newer version may add to it.
pub const UPDATE_BYTES_MAX: usize = 2 * STATE_BYTES_MAX + 256;
/// Streams that a session may have. A relay has two; numbers are `0..STREAMS_MAX`.
pub const STREAMS_MAX: usize = 4;
/// Change kinds of newer versions kept for one session.
pub(super) const UNKNOWN_KINDS_MAX: usize = 8;
/// A segment of the log is closed when it has this many bytes (or when a backup is ready for it). With the longest
/// update on top it stays below 128 KiB.
pub(super) const SEGMENT_BYTES: usize = 32 << 10;
/// Segments of the log kept for reuse.
pub(super) const SPARE_SEGMENTS: usize = 64;
/// A spare segment with more room than this is for busy times, when segments fill.
pub(super) const SMALL_SEGMENT_BYTES: usize = 4 << 10;
/// Batches of one stream that its receiver has not acknowledged yet: 64 of 32 KiB are 2 MiB a stream, 20 ms at 800 Mbit/s.
pub const BATCHES_OF_STREAM_MAX: usize = 64;
/// Stream buffers kept for reuse by a store; each at most [`SPARE_BUFFER_BYTES`].
pub(super) const SPARE_BUFFERS: usize = 256;
/// A larger stream buffer is given back.
pub(super) const SPARE_BUFFER_BYTES: usize = 64 << 10;

/// Bounds of an outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxLimits {
    /// Bytes of log that may wait for acknowledgements. 32 MiB are a quarter of a second at 1 Gbit/s: longer than a
    /// member's death takes to be noticed, so that it is the cluster that judges the slow, and memory only the last resort.
    pub log_bytes_max: usize,
    /// Segments of log that may wait: what bounds the memory when each holds but one update.
    pub log_segments_max: usize,
    /// Bytes that a snapshot puts ahead of live updates at most: its price in latency. 256 KiB are 2 ms at 1 Gbit/s.
    pub snapshot_window_bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { log_bytes_max: 32 << 20, log_segments_max: 16 << 10, snapshot_window_bytes: 256 << 10 }
    }
}

/// Bounds of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreLimits {
    /// Sessions in all units together.
    pub sessions_max: usize,
    /// Bytes in all units together, buffers at their full size and 512 bytes a session for its place included.
    pub bytes_max: usize,
    /// Bytes of one stream.
    pub stream_bytes_max: usize,
    /// Removed sessions that are remembered.
    pub tombstones_max: usize,
}

impl Default for StoreLimits {
    /// A million idle sessions of half a kilobyte, or 8,000 with full buffers of 64 KiB in both directions.
    fn default() -> Self {
        Self { sessions_max: 1 << 20, bytes_max: 1 << 30, stream_bytes_max: 4 << 20, tombstones_max: 4096 }
    }
}

const _: () = assert!(APPEND_BYTES_MAX < STATE_BYTES_MAX && SEGMENT_BYTES + UPDATE_BYTES_MAX <= 128 << 10);
