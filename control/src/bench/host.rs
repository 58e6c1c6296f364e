//! A host's end of one connection: our own TCP, without backups, so that everything is committed as it is written.
//!
//! Everyone says the same text, so whoever listens can tell whether what arrives is what was sent.

use phalanx_dataplane::tcp::{ChunkPool, Endpoint, Segment, State, Stream};

/// A prime, so that it takes long until the same text lies at the same place of a chunk again.
const PERIOD: usize = 65_521;
/// Bytes of a host's stream on their way.
const BUFFER_BYTES: u32 = 256 << 10;

/// What hosts say.
pub(super) struct Text(Vec<u8>);

impl Text {
    pub(super) fn new() -> Self {
        let byte = |at: usize| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8;
        Self((0..2 * PERIOD).map(|at| byte(at % PERIOD)).collect())
    }

    /// What stands at an offset of any stream; shorter than asked where the text is.
    fn at(&self, offset: u64, len: usize) -> &[u8] {
        let from = (offset % PERIOD as u64) as usize;
        self.0.get(from..from + len.min(PERIOD)).unwrap_or(&[])
    }
}

/// Which end of the relay a host is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

/// See the module.
pub(super) struct Host {
    pub(super) side: Side,
    endpoint: Endpoint,
    rx: Stream,
    tx: Stream,
    /// It has something to do, and stands in the list of those.
    pub(super) listed: bool,
    /// It stands in the list of those whose timers may run.
    pub(super) timed: bool,
    /// When its present request began.
    pub(super) asked_ns: u64,
    /// Bytes that it waits for before it goes on.
    pub(super) expects: u64,
}

/// What a segment meant to a host.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Heard {
    /// New bytes.
    pub(super) bytes: u64,
    /// They were not what was sent.
    pub(super) corrupt: bool,
    /// The connection was reset, or given up.
    pub(super) broken: bool,
}

impl Host {
    pub(super) fn new(side: Side, mut endpoint: Endpoint) -> Self {
        endpoint.confirm(endpoint.initial_version());
        let stream = || Stream::new(0, BUFFER_BYTES);
        Self { side, endpoint, rx: stream(), tx: stream(), listed: false, timed: false, asked_ns: 0, expects: 0 }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Bytes received, ever.
    pub(super) fn got(&self) -> u64 {
        self.rx.end()
    }

    /// Says so many bytes more, or as many as there is room for.
    pub(super) fn say(&mut self, text: &Text, pool: &mut ChunkPool, mut bytes: u64) {
        while bytes > 0 {
            let piece = text.at(self.tx.end(), usize::try_from(bytes).unwrap_or(usize::MAX));
            let taken = self.tx.append(pool, piece);
            if taken == 0 {
                break;
            }
            bytes -= taken as u64;
        }
        self.tx.commit_to(self.tx.commit_target());
    }

    /// Says as much as there is room for, once that is worth it.
    pub(super) fn say_all(&mut self, text: &Text, pool: &mut ChunkPool) {
        if self.tx.room() >= u64::from(BUFFER_BYTES / 4) {
            self.say(text, pool, self.tx.room());
        }
    }

    /// Has no more to say.
    pub(super) fn end(&mut self) {
        self.tx.finish();
        self.tx.commit_to(self.tx.commit_target());
    }

    /// Whether the other end has no more to say.
    pub(super) fn is_ended(&self) -> bool {
        self.rx.fin().is_some()
    }

    /// Whether it has said that it has no more to say.
    pub(super) fn has_ended(&self) -> bool {
        self.tx.fin().is_some()
    }

    /// Whether nothing more is to be expected of the connection.
    pub(super) fn is_over(&self) -> bool {
        self.endpoint.is_done() || self.endpoint.state() == State::TimeWait
    }

    pub(super) fn hear(&mut self, now_ns: u64, segment: &Segment<'_>, text: &Text, pool: &mut ChunkPool) -> Heard {
        let outcome = self.endpoint.handle_segment(now_ns, segment, &mut self.rx, &mut self.tx, pool);
        self.endpoint.confirm(self.endpoint.initial_version());
        self.rx.commit_to(self.rx.commit_target());
        let mut heard = Heard { broken: outcome.reset() || outcome.timed_out(), ..Heard::default() };
        let mut at = self.rx.start();
        for slice in self.rx.slices(pool, at, usize::try_from(self.rx.len()).unwrap_or(usize::MAX)) {
            heard.corrupt |= text.at(at, slice.len()) != slice;
            at += slice.len() as u64;
        }
        heard.bytes = self.rx.len();
        self.rx.trim_to(pool, self.rx.end());
        heard
    }

    /// The next segment, if there is one.
    pub(super) fn speak(&mut self, now_ns: u64, pool: &ChunkPool, room: &mut [u8]) -> Option<usize> {
        self.endpoint.poll_transmit(now_ns, &self.rx, &self.tx, pool, room)
    }

    /// Does what its timers say. Whether there was anything.
    pub(super) fn pass_time(&mut self, now_ns: u64) -> bool {
        let due = self.endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= now_ns);
        if due {
            self.endpoint.handle_timeout(now_ns);
        }
        due
    }

    /// Gives its memory back.
    pub(super) fn free(&mut self, pool: &mut ChunkPool) {
        self.rx.free(pool);
        self.tx.free(pool);
    }
}
