//! One session: two endpoints, two streams, and what the ledger has written of them.

use super::ledger::{APP, ESSENTIAL_LEN};
use super::{CLIENT, SERVER};
use crate::replica::{Position, SessionDigest, SessionKey, StreamShape};
use crate::tcp::{Endpoint, Flow, State, Stream};
use crate::unit::Unit;

/// How far the ledger has come with a session: what the backups know of it, or will.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// The Initial record was written.
    pub(super) initial: bool,
    /// The Essential record that was written last.
    pub(super) essential: [u8; ESSENTIAL_LEN],
    pub(super) digest: SessionDigest,
    /// The versions of the ends' Initial records that were written.
    pub(super) versions: [u8; 2],
    pub(super) starts: [u64; 2],
    /// As [`Stream::commit_target`] says: one more than the end, if the end of the stream is known.
    pub(super) ends: [u64; 2],
    /// When the Essential record was written last.
    pub(super) at_ns: u64,
    /// Behind the last update.
    pub(super) position: Position,
}

impl Written {
    /// Nothing yet.
    pub(super) fn new(key: SessionKey) -> Self {
        Self {
            initial: false,
            essential: [0; ESSENTIAL_LEN],
            digest: SessionDigest::new(key, APP),
            versions: [0; 2],
            starts: [0; 2],
            ends: [0; 2],
            at_ns: 0,
            position: Position(0),
        }
    }
}

/// A client's connection and the one that carries its bytes on.
#[derive(Debug)]
pub(super) struct Session {
    /// Which use of its slot this is.
    pub(super) life: u32,
    pub(super) key: SessionKey,
    pub(super) unit: Unit,
    /// Which relay.
    pub(super) relay: usize,
    pub(super) ends: [Option<Endpoint>; 2],
    /// By the end that appends to it.
    pub(super) streams: [Stream; 2],
    /// Its connection to the back end counts there.
    pub(super) is_at_back_end: bool,
    /// Which of the relay's back ends.
    pub(super) backend: usize,
    /// Attempts to reach one.
    pub(super) tries: usize,
    /// When the present attempt is over.
    pub(super) connect_by_ns: Option<u64>,
    /// When a byte last came from one side, or reached the other.
    pub(super) used_ns: u64,
    /// It is one of the connections in the making.
    pub(super) counts_as_half_open: bool,
    /// It is one of those that the relay's limit is about.
    pub(super) counts_as_open: bool,
    /// It could not send all it wanted: to be tried again soon.
    pub(super) stuck: bool,
    /// When it stands in the deadlines; `u64::MAX`: not at all.
    pub(super) due_ns: u64,
    pub(super) written: Written,
}

impl Session {
    /// As it is at first: nothing tried, nothing written.
    pub(super) fn new(
        key: SessionKey,
        unit: Unit,
        relay: usize,
        ends: [Option<Endpoint>; 2],
        streams: [Stream; 2],
        now_ns: u64,
    ) -> Self {
        let mut session = Self {
            life: 0,
            key,
            unit,
            relay,
            ends,
            streams,
            is_at_back_end: false,
            backend: 0,
            tries: 0,
            connect_by_ns: None,
            used_ns: now_ns,
            counts_as_half_open: false,
            counts_as_open: false,
            stuck: false,
            due_ns: u64::MAX,
            written: Written::new(key),
        };
        session.counts_as_half_open = session.is_half_open();
        session.counts_as_open = !session.only_waits();
        session
    }

    /// An end, the stream that it appends to, and the one that it sends.
    pub(super) fn split(&mut self, end: usize) -> Option<(&mut Endpoint, &mut Stream, &mut Stream)> {
        let [up, down] = &mut self.streams;
        let (rx, tx) = if end == CLIENT { (up, down) } else { (down, up) };
        Some((self.ends.get_mut(end)?.as_mut()?, rx, tx))
    }

    pub(super) fn flow(&self, end: usize) -> Option<Flow> {
        self.ends.get(end)?.as_ref().map(|endpoint| *endpoint.flow())
    }

    pub(super) fn state(&self, end: usize) -> Option<State> {
        self.ends.get(end)?.as_ref().map(Endpoint::state)
    }

    /// Whether the client has not opened its connection yet.
    pub(super) fn is_half_open(&self) -> bool {
        self.state(CLIENT) == Some(State::SynReceived)
    }

    /// Whether the client has opened its connection, and nothing has been done yet to find it a back end.
    pub(super) fn wants_back_end(&self) -> bool {
        self.ends[SERVER].is_none() && matches!(self.state(CLIENT), Some(State::Established | State::CloseWait))
    }

    /// Whether the back end has not taken its connection yet.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state(SERVER), Some(State::SynSent | State::SynReceived))
    }

    /// A stream as it was written.
    pub(super) fn shape(&self, stream: usize) -> StreamShape {
        let written = self.written.ends[stream];
        let fin = self.streams[stream].fin().filter(|fin| written > *fin);
        StreamShape { start: self.written.starts[stream], end: fin.unwrap_or(written), fin }
    }

    /// Whether all is said and done, but for what may come late.
    pub(super) fn only_waits(&self) -> bool {
        self.ends.iter().flatten().all(|end| is_over(end.state()))
    }

    /// Whether neither end has anything left to do.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().flatten().all(Endpoint::is_done)
    }
}

/// Whether a connection in this state is over, but for what may come late.
pub(super) fn is_over(state: State) -> bool {
    matches!(state, State::TimeWait | State::Closed)
}
