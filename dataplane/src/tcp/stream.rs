//! One direction of a relayed connection: the bytes between "received in order" and "acknowledged by the other side".
//!
//! Two endpoints share it. The one that receives appends; the one that sends reads from it and trims it. Offsets are
//! absolute and never wrap; the end of the stream is one more offset behind its last byte. What backups hold reaches
//! up to `committed`: neither endpoint lets its peer see anything beyond (the receiver does not acknowledge it, the
//! sender does not send it).
//!
//! Chunks lie at multiples of [`CHUNK_LEN`], so an offset says where in a chunk it is. Bytes that arrive ahead of a gap
//! are placed where they belong, behind `end`; [`Stream::advance_to`] takes them in once the gap is closed.

use super::pool::{CHUNK_LEN, ChunkPool, NIL};
use std::cell::Cell;

const CHUNK: u64 = CHUNK_LEN as u64;

/// A chunk and the offset of its first byte.
#[derive(Clone, Copy, Debug)]
struct Place {
    base: u64,
    chunk: u32,
}

const NOWHERE: Place = Place { base: 0, chunk: NIL };

/// See the module.
#[derive(Debug)]
pub struct Stream {
    head: u32,
    tail: u32,
    /// Chunks in the chain.
    chunks: u32,
    /// The offset of the head chunk's first byte.
    base: u64,
    limit: u32,
    finished: bool,
    start: u64,
    end: u64,
    /// Up to here bytes have been written, with gaps behind `end`.
    reach: u64,
    committed: u64,
    /// Where the last read and the last write were, so that the chain is not walked for each segment.
    reader: Cell<Place>,
    writer: Cell<Place>,
}

impl Stream {
    /// An empty stream that begins at `start` (0, or where the restored record begins) and holds `limit` bytes at most.
    pub fn new(start: u64, limit: u32) -> Self {
        Self {
            head: NIL,
            tail: NIL,
            chunks: 0,
            base: 0,
            limit,
            finished: false,
            start,
            end: start,
            reach: start,
            committed: start,
            reader: Cell::new(NOWHERE),
            writer: Cell::new(NOWHERE),
        }
    }

    /// The first byte that the other side has not acknowledged.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Behind the last byte received in order.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether no bytes are held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held at most.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Bytes that may still be appended.
    pub fn room(&self) -> u64 {
        if self.finished { 0 } else { self.bound().saturating_sub(self.end) }
    }

    /// The offset that appending never passes.
    pub fn bound(&self) -> u64 {
        self.start.saturating_add(u64::from(self.limit))
    }

    /// The offset of the stream's end, once it is known.
    pub fn fin(&self) -> Option<u64> {
        self.finished.then_some(self.end)
    }

    /// Whether the end is known and every byte has been acknowledged.
    pub fn is_finished(&self) -> bool {
        self.finished && self.is_empty()
    }

    /// Behind the last byte that is committed.
    pub fn committed(&self) -> u64 {
        self.committed.min(self.end)
    }

    /// Whether the end of the stream is committed.
    pub fn is_fin_committed(&self) -> bool {
        self.finished && self.committed > self.end
    }

    /// What [`Self::commit_to`] is to be told once all is committed: `end`, and one more for the end of the stream.
    pub fn commit_target(&self) -> u64 {
        self.end + u64::from(self.finished)
    }

    /// Everything before `offset` is held by the backups. The end of the stream is the offset behind its last byte, so
    /// it is committed by `fin + 1`. Never goes back.
    pub fn commit_to(&mut self, offset: u64) {
        self.committed = self.committed.max(offset.min(self.commit_target()));
    }

    /// Adds bytes at the end, as many as limit and pool allow; says how many.
    pub fn append(&mut self, pool: &mut ChunkPool, bytes: &[u8]) -> usize {
        let taken = self.place(pool, self.end, bytes);
        self.end += taken as u64;
        taken
    }

    /// Writes bytes at an offset at or behind `end`, as many as limit and pool allow; says how many.
    pub(super) fn place(&mut self, pool: &mut ChunkPool, offset: u64, bytes: &[u8]) -> usize {
        if self.finished || offset < self.end {
            return 0;
        }
        let room = self.bound().saturating_sub(offset).min(bytes.len() as u64) as usize;
        let mut rest = bytes.get(..room).unwrap_or(&[]);
        let mut at = offset;
        while !rest.is_empty() {
            let Some(place) = self.reach_chunk(pool, at) else { break };
            let inside = (at - place.base) as usize;
            let n = rest.len().min(CHUNK_LEN - inside);
            let (now, later) = rest.split_at(n);
            if let Some(target) = pool.chunk_mut(place.chunk).get_mut(inside..inside + n) {
                target.copy_from_slice(now);
            }
            self.writer.set(place);
            rest = later;
            at += n as u64;
        }
        self.reach = self.reach.max(at);
        room - rest.len()
    }

    /// Bytes up to `offset` have all been placed: they belong to the stream now.
    pub(super) fn advance_to(&mut self, offset: u64) {
        if !self.finished {
            self.end = offset.clamp(self.end, self.reach);
        }
    }

    /// No bytes follow.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Lets go of everything before `offset`.
    pub fn trim_to(&mut self, pool: &mut ChunkPool, offset: u64) {
        self.start = offset.clamp(self.start, self.end);
        self.committed = self.committed.max(self.start);
        if self.start == self.reach {
            self.give_all(pool);
        }
        while self.chunks > 0 && self.base.saturating_add(CHUNK) <= self.start {
            self.give_head(pool);
        }
    }

    /// Copies bytes from `offset` on into `target`; says how many there were.
    pub fn copy_to(&self, pool: &ChunkPool, offset: u64, target: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in self.slices(pool, offset, target.len()) {
            if let Some(place) = target.get_mut(done..done + slice.len()) {
                place.copy_from_slice(slice);
            }
            done += slice.len();
        }
        done
    }

    /// The bytes from `offset` on, at most `len`, chunk by chunk.
    pub fn slices<'a>(&'a self, pool: &'a ChunkPool, offset: u64, len: usize) -> impl Iterator<Item = &'a [u8]> {
        let stop = offset.saturating_add(len as u64).min(self.end);
        let mut at = offset;
        std::iter::from_fn(move || {
            if at < self.start || at >= stop {
                return None;
            }
            let place = self.find(pool, at, self.reader.get())?;
            self.reader.set(place);
            let inside = (at - place.base) as usize;
            let n = (stop - at).min((CHUNK_LEN - inside) as u64) as usize;
            at += n as u64;
            pool.chunk(place.chunk).get(inside..inside + n)
        })
    }

    /// Gives all memory back. The stream is as new, at its old start.
    pub fn free(&mut self, pool: &mut ChunkPool) {
        self.give_all(pool);
        *self = Self::new(self.start, self.limit);
    }
}

/// The chain of chunks.
impl Stream {
    /// The chunk that holds `offset`, if the chain reaches there. `hint` is a place that was right once: it still is,
    /// unless its chunk has been given back.
    fn find(&self, pool: &ChunkPool, offset: u64, hint: Place) -> Option<Place> {
        if self.chunks == 0 || offset < self.base || offset - self.base >= u64::from(self.chunks) * CHUNK {
            return None;
        }
        let known = hint.chunk != NIL && hint.base >= self.base && hint.base <= offset;
        let mut place = if known { hint } else { Place { base: self.base, chunk: self.head } };
        while offset - place.base >= CHUNK {
            place = Place { base: place.base + CHUNK, chunk: pool.next(place.chunk) };
        }
        (place.chunk != NIL).then_some(place)
    }

    /// The same, and the chain is made to reach there.
    fn reach_chunk(&mut self, pool: &mut ChunkPool, offset: u64) -> Option<Place> {
        if self.chunks == 0 {
            self.base = self.start - self.start % CHUNK;
        }
        while offset.checked_sub(self.base)? >= u64::from(self.chunks) * CHUNK {
            let index = pool.take()?;
            if self.chunks == 0 {
                self.head = index;
            } else {
                pool.link(self.tail, index);
            }
            self.tail = index;
            self.chunks += 1;
        }
        self.find(pool, offset, self.writer.get())
    }

    fn give_head(&mut self, pool: &mut ChunkPool) {
        let next = pool.next(self.head);
        pool.give(self.head);
        self.head = next;
        self.base += CHUNK;
        self.chunks -= 1;
    }

    fn give_all(&mut self, pool: &mut ChunkPool) {
        while self.chunks > 0 {
            self.give_head(pool);
        }
        self.head = NIL;
        self.tail = NIL;
        // A chunk that comes back into the chain may be another one.
        self.reader.set(NOWHERE);
        self.writer.set(NOWHERE);
    }
}
