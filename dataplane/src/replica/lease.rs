//! Counter leases (DESIGN section 8): numbers that move with every packet, and of which none may ever be used twice.
//!
//! To replicate such a number with each packet would cost as much as the packet. So its owner replicates a *limit* ahead of
//! use: "I use no number from here on". Below the limit it uses numbers freely; at the limit it stops, until the backups
//! hold a higher one. A new owner cannot know how far the old one came, but knows the limit, and begins there: what lay
//! between is never used at all, which costs nothing but numbers.
//!
//! ```text
//!        used          free to use           asked for: not yet
//!  0 ──────────── next ──────────── limit ──────────────────── written
//!                                     └─ a new owner begins at the last of these that it holds
//! ```
//! The next limit is asked for while there is still enough left for the time that a commit takes ([`Extent::refill`]); so in
//! the steady state nothing ever waits, and one small record goes out for each [`Extent::length`] numbers.
//!
//! Numbers of our own (ESP and GRE sequence numbers, tickets) are drawn by [`Lease::take`]. Numbers that a *peer* chooses (its
//! sequence numbers, for a replay window) are let in by [`Lease::admit`]: none at or above the limit, so that a new owner,
//! which refuses all below it, accepts no replay.
//!
//! A lease is a part of an app's state. The app writes [`Lease::record`] into its session's Essential record whenever
//! [`Lease::due`] says so, tells the place in the log ([`Lease::written`]) and later how far the log is committed
//! ([`Lease::commit`]); whoever restores the session begins with [`Lease::restore`].

use std::collections::VecDeque;
use std::ops::Range;

use super::counters::counters;
use super::record::Position;

/// The version of the records written here.
const VERSION: u8 = 1;

/// Limits on their way to the backups at most. The second is for a lease that is used up faster than commits come.
const WRITTEN_MAX: usize = 2;

counters! {
    /// What leases have counted; to be kept by their app, one for all of its leases.
    LeaseStats {
        /// Numbers used.
        used,
        /// Limits that were asked for.
        refills,
        /// Numbers that were wanted while none was free: the backups were too slow, or the lease is too short.
        exhausted,
        /// Numbers that no one will use, left behind by previous owners.
        skipped,
    }
}

/// How long a lease is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Numbers that one limit adds: the more, the fewer records, and the more are skipped at a takeover.
    pub length: u64,
    /// With no more than so many left, the next limit is asked for: as many as are used during a commit. Below `length`.
    pub refill: u64,
}

impl Default for Extent {
    /// A million packets a second for a commit of 16 ms; a record of ten bytes every 65 ms.
    fn default() -> Self {
        Self { length: 1 << 16, refill: 1 << 14 }
    }
}

/// A limit as it is replicated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaseRecord {
    /// The first number that its owner does not use.
    pub limit: u64,
}

/// Why bytes are no lease's record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LeaseError {
    /// It ends too early.
    #[error("a lease's record ends too early")]
    Truncated,
    /// Another version.
    #[error("a lease's record has version {0}, which is not known here: run members of neighbouring versions only")]
    Version(u8),
}

impl LeaseRecord {
    /// Bytes that [`Self::encode`] writes: version, then the limit, big-endian.
    pub const ENCODED_LEN: usize = 9;

    /// Writes the record.
    pub fn encode(self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [VERSION; Self::ENCODED_LEN];
        if let Some(limit) = bytes.last_chunk_mut::<8>() {
            *limit = self.limit.to_be_bytes();
        }
        bytes
    }

    /// Reads a record; fields that a newer member appended are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeaseError> {
        let (version, rest) = bytes.split_first().ok_or(LeaseError::Truncated)?;
        if *version != VERSION {
            return Err(LeaseError::Version(*version));
        }
        let limit = rest.first_chunk::<8>().ok_or(LeaseError::Truncated)?;
        Ok(Self { limit: u64::from_be_bytes(*limit) })
    }
}

/// One counter's lease; see the module.
#[derive(Clone, Debug)]
pub struct Lease {
    extent: Extent,
    next: u64,
    /// The backups hold this one.
    limit: u64,
    /// Those that they will hold, lowest first.
    written: VecDeque<(u64, Position)>,
    /// When the limit rose last.
    since_ns: u64,
}

impl Lease {
    /// A lease that begins with number `first`. Nothing is free before its first limit is committed.
    pub fn new(extent: Extent, first: u64, now_ns: u64) -> Self {
        let written = VecDeque::with_capacity(WRITTEN_MAX);
        Self { extent, next: first, limit: first, written, since_ns: now_ns }
    }

    /// The lease of a new owner: begins at the old one's limit.
    pub fn restore(extent: Extent, record: LeaseRecord, now_ns: u64) -> Self {
        Self::new(extent, record.limit, now_ns)
    }

    /// The limit to be written now, if one is due.
    pub fn due(&self) -> Option<LeaseRecord> {
        let limit = self.record().limit;
        let left = limit.saturating_sub(self.next);
        let due = left <= self.extent.refill && self.written.len() < WRITTEN_MAX && limit < u64::MAX;
        due.then(|| LeaseRecord { limit: limit.saturating_add(self.extent.length.max(1)) })
    }

    /// Whether [`Self::due`] might say something.
    #[inline]
    pub const fn is_low(&self) -> bool {
        self.left() <= self.extent.refill
    }

    /// As [`Self::due`], for a number that has come at or above the limit and waits until the limit is above it. None: it will
    /// be, or too much is on its way already.
    pub fn due_above(&self, number: u64) -> Option<LeaseRecord> {
        let limit = number.saturating_add(1).saturating_add(self.extent.length);
        (number >= self.record().limit && self.written.len() < WRITTEN_MAX).then_some(LeaseRecord { limit })
    }

    /// How far limits are apart.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// From now on limits are this far apart.
    pub const fn set_extent(&mut self, extent: Extent) {
        self.extent = extent;
    }

    /// Gives back numbers that are not used: the limit falls to `limit`, here at once, for others with the record that is to be
    /// written then. (Those who have not heard of it hold a higher limit, which is as good.) None: there is nothing to give
    /// back, or something is on its way.
    pub fn draw_back(&mut self, limit: u64) -> Option<LeaseRecord> {
        if !self.written.is_empty() || limit < self.next || limit >= self.limit {
            return None;
        }
        self.limit = limit;
        Some(LeaseRecord { limit })
    }

    /// Its owner goes, and uses none from here on: the next one may begin here. For others the limit falls with the record that is to be
    /// written now, after all those that were written before. `highest`: of the numbers that are used once that is committed, if some
    /// wait for it.
    pub fn stop(&mut self, highest: Option<u64>) -> LeaseRecord {
        self.written.clear();
        self.next = self.next.max(highest.map_or(0, |number| number.saturating_add(1)));
        self.limit = self.next;
        self.record()
    }

    /// A limit that was due stands in the log, up to this position.
    pub fn written(&mut self, record: LeaseRecord, position: Position, stats: &mut LeaseStats) {
        if record > self.record() {
            self.written.push_back((record.limit, position));
            stats.refills += 1;
        }
    }

    /// The backups hold the log up to here.
    pub fn commit(&mut self, committed: Position, now_ns: u64) {
        while let Some((limit, _)) = self.written.front().copied().filter(|(_, at)| *at <= committed) {
            self.written.pop_front();
            // What was skipped meanwhile is used.
            (self.limit, self.since_ns) = (limit.max(self.next), now_ns);
        }
    }

    /// So many of the next numbers are not to be used. Beyond what is written none is free then before the next limit is committed, which
    /// is due at once: so whoever takes over skips them, too, once that is in the log.
    pub fn skip(&mut self, count: u64, stats: &mut LeaseStats) {
        stats.skipped += count.min(u64::MAX - self.next);
        self.next = self.next.saturating_add(count);
        if self.next > self.record().limit {
            self.written.clear();
        }
        self.limit = self.limit.max(self.next);
    }

    /// The record as it was written last: what snapshots tell, and what a session that goes to sleep leaves behind.
    pub fn record(&self) -> LeaseRecord {
        LeaseRecord { limit: self.written.back().map_or(self.limit, |(limit, _)| *limit) }
    }

    /// The next number of our own. None: all that is committed is used; ask again after the next commit.
    pub fn take(&mut self, stats: &mut LeaseStats) -> Option<u64> {
        self.take_many(1, stats).next()
    }

    /// As many of the next numbers as are free, in a row, up to `count`: as if each were taken by itself.
    #[inline]
    pub fn take_many(&mut self, count: u64, stats: &mut LeaseStats) -> Range<u64> {
        let (first, free) = (self.next, count.min(self.left()));
        self.next += free;
        stats.used += free;
        stats.exhausted += u64::from(free < count);
        first..self.next
    }

    /// Whether a number that a peer chose may be accepted. It counts as used, and so do those below it that have not come:
    /// which of *these* are new is for the app's window to know.
    pub fn admit(&mut self, number: u64, stats: &mut LeaseStats) -> bool {
        if !self.admits(number) {
            stats.exhausted += 1;
            return false;
        }
        self.admit_many(1, number, stats);
        true
    }

    /// Whether [`Self::admit`] would let a number in.
    #[inline]
    pub const fn admits(&self, number: u64) -> bool {
        number < self.limit
    }

    /// Lets so many numbers in of which [`Self::admits`] said yes, and the highest of which is this one.
    #[inline]
    pub fn admit_many(&mut self, count: u64, highest: u64, stats: &mut LeaseStats) {
        debug_assert!(count == 0 || self.admits(highest));
        if count > 0 {
            self.next = self.next.max(highest.saturating_add(1));
            stats.used += count;
        }
    }

    /// The session ends here, or goes elsewhere: numbers that are left will not be used.
    pub fn give_up(self, stats: &mut LeaseStats) {
        stats.skipped += self.record().limit - self.next;
    }

    /// The first number that was not used.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// How many numbers are free to use.
    pub const fn left(&self) -> u64 {
        self.limit - self.next
    }

    /// How old the limit in force is.
    pub const fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.since_ns)
    }
}
