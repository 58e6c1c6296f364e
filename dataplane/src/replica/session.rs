//! One session as a backup holds it: opaque states, streams, and what newer versions said.

use std::collections::VecDeque;

use super::digest::{DigestKey, SessionDigest, StreamShape};
use super::limits::{SPARE_BUFFER_BYTES, SPARE_BUFFERS};
use super::record::{Change, SessionKey};

/// A state as its app wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The record's version.
    pub version: u8,
    /// The record.
    pub bytes: Vec<u8>,
    /// What a newer replication layer added.
    pub added: Vec<u8>,
}

impl State {
    pub(super) fn set(&mut self, version: u8, bytes: &[u8], added: &[u8]) {
        self.version = version;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.added.clear();
        self.added.extend_from_slice(added);
    }
}

/// A stream's bytes and where they stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stream {
    /// The first byte that is still needed.
    pub start: u64,
    /// Where the stream ends, if that is known.
    pub fin: Option<u64>,
    /// The bytes from `start` on.
    pub bytes: VecDeque<u8>,
}

impl Stream {
    /// Behind the last byte that is there.
    pub fn end(&self) -> u64 {
        // Bytes that are trimmed together with the stream's end leave `start` one behind it.
        self.start + self.bytes.len() as u64
    }

    /// What counts in a digest.
    pub fn shape(&self) -> StreamShape {
        StreamShape { start: self.start, end: self.end(), fin: self.fin }
    }

    /// Whether something is on its way: bytes, or an end that its receiver has not confirmed.
    pub fn is_busy(&self) -> bool {
        !self.bytes.is_empty() || self.fin.is_some_and(|fin| self.start <= fin)
    }
}

/// A session as it was replicated.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Its app.
    pub app: u8,
    /// What was sent once.
    pub initial: Option<State>,
    /// What was sent last.
    pub essential: Option<State>,
    /// The streams, by number; those that were never used may be missing.
    pub streams: Vec<Stream>,
    /// Changes of kinds that this version does not know, the latest of each, by kind. To be put again as they are.
    pub unknown: Vec<(u8, Vec<u8>)>,
}

impl Record {
    /// Whether a stream has something on its way: such a session is restored at once at a takeover.
    pub fn is_busy(&self) -> bool {
        self.streams.iter().any(Stream::is_busy)
    }

    /// Calls `put` with the changes that make this session out of nothing.
    pub fn put(&self, mut put: impl FnMut(Change<'_>, &[u8])) {
        put(Change::Reset, &[]);
        if let Some(state) = &self.initial {
            put(Change::Initial { version: state.version, bytes: &state.bytes }, &state.added);
        }
        if let Some(state) = &self.essential {
            put(Change::Essential { version: state.version, bytes: &state.bytes }, &state.added);
        }
        for (kind, bytes) in &self.unknown {
            put(Change::Unknown { kind: *kind, bytes }, &[]);
        }
        for (number, stream) in self.streams.iter().enumerate() {
            put_stream(number as u8, stream, &mut put);
        }
    }

    /// The digest that it has without its streams: whoever restores it goes on from there.
    pub fn digest(&self, key: DigestKey, session: SessionKey) -> SessionDigest {
        let mut digest = SessionDigest::new(session, self.app);
        if let Some(state) = &self.initial {
            digest.set_initial(key, state.version, &state.bytes, &state.added);
        }
        if let Some(state) = &self.essential {
            digest.set_essential(key, state.version, &state.bytes, &state.added);
        }
        digest.set_unknown(key, self.unknown.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())));
        digest
    }

    /// Bytes that it takes, buffers at their full size.
    pub(super) fn bytes(&self) -> usize {
        let state = |state: &Option<State>| state.as_ref().map_or(0, |it| it.bytes.capacity() + it.added.capacity());
        let streams = self.streams.iter().map(|it| it.bytes.capacity()).sum::<usize>();
        let unknown = self.unknown.iter().map(|(_, bytes)| bytes.capacity()).sum::<usize>();
        state(&self.initial) + state(&self.essential) + streams + unknown
    }
}

/// A stream that has moved is told with its place first; then its bytes, then its end.
fn put_stream(number: u8, stream: &Stream, put: &mut impl FnMut(Change<'_>, &[u8])) {
    let past_fin = stream.fin.is_some_and(|fin| stream.start > fin);
    let begin = if past_fin { stream.start - 1 } else { stream.start };
    if begin > 0 {
        put(Change::Trim { stream: number, to: begin }, &[]);
    }
    let (front, back) = stream.bytes.as_slices();
    let mut offset = begin;
    for bytes in [front, back] {
        if !bytes.is_empty() {
            put(Change::Append { stream: number, offset, bytes }, &[]);
            offset += bytes.len() as u64;
        }
    }
    if let Some(fin) = stream.fin {
        put(Change::End { stream: number, offset: fin }, &[]);
        if past_fin {
            put(Change::Trim { stream: number, to: stream.start }, &[]);
        }
    }
}

/// Empty stream buffers, kept for the next stream that needs one.
#[derive(Default)]
pub(super) struct Buffers(Vec<VecDeque<u8>>);

impl Buffers {
    pub(super) fn take(&mut self) -> VecDeque<u8> {
        self.0.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut buffer: VecDeque<u8>) {
        if self.0.len() < SPARE_BUFFERS && (1..=SPARE_BUFFER_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
