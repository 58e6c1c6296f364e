//! The link's limits in one place, with what they add up to.

use std::time::Duration;

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Messages waiting for one member. 32 members × 64 × 64 KiB = 128 MiB at the very worst; join messages have some kilobytes.
pub(super) const QUEUE_MESSAGES: usize = 64;
/// Connections kept with one member: one that each side made, and room for the one that replaces a dead one.
pub(super) const CONNECTIONS_OF_MEMBER: usize = 3;
/// Handshakes going on at a time.
pub(super) const HANDSHAKES_AT_ONCE: usize = 16;
/// Handshakes a second, from addresses that proved themselves; a cluster of 32 that starts at once needs 31.
pub(super) const HANDSHAKES_PER_SECOND: u64 = 50;
/// Handshakes in a burst.
pub(super) const HANDSHAKES_BURST: u64 = 64;
/// Longest time for a handshake: over a LAN it takes milliseconds, and a cut that heals must not be slept through.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection that is silent for so long is dead. Short, because loss recovery doubles its pauses: after a cut of
/// seconds the next try of an old connection may be seconds away, while a new one is made in milliseconds.
pub(super) const IDLE_TIMEOUT_MS: u32 = 1_000;
/// How often a quiet connection shows that it lives.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(250);
/// What loss recovery takes the round trip for until it has measured one.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(10);
/// First pause after a failed connection attempt; doubles up to the longest.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest pause between attempts.
pub(super) const BACKOFF_MAX: Duration = Duration::from_millis(100);
/// A message that could not be written for so long is given up: its sender asks again, and wiser.
pub(super) const MESSAGE_AGE_MAX: Duration = Duration::from_millis(500);
/// How long a reader waits for room in the inbox before it gives its connection up.
pub(super) const INBOX_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks for room.
pub(super) const INBOX_POLL: Duration = Duration::from_millis(1);
/// Unread bytes that a peer may have on the way, where there is no replication: two of the longest messages.
pub(super) const RECEIVE_WINDOW_BYTES: u32 = 2 * MESSAGE_BYTES_MAX as u32;
/// How long a closing link waits for its farewells to go out.
pub(super) const FAREWELL: Duration = Duration::from_millis(200);
