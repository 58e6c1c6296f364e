//! A host's end of a connection: an endpoint of our TCP (its least timeout is the Linux kernel's, 200 ms), an application that
//! says a known sequence of bytes at its own pace and looks at each byte that it hears.

use phalanx_dataplane::tcp::{ChunkPool, Config, Endpoint, Flow, Segment, Seq, State, Stream};
use phalanx_dataplane::wire::proto;

use super::super::rng::Rng;
use super::super::world::MS;
use super::lan::Frame;

const BUFFER_BYTES: u32 = 16 << 10;
/// What two full buffers take, and a chunk at each end.
const CHUNKS: usize = 14;

/// How an application behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Names the bytes that it says.
    pub(super) says: u64,
    /// How many.
    pub(super) say_bytes: u64,
    /// And those that it is to hear.
    pub(super) hears: u64,
    pub(super) hear_bytes: u64,
    /// So many at a time, after such a pause.
    pub(super) piece: u64,
    pub(super) pause_ns: u64,
    /// It ends only after it has heard the end.
    pub(super) ends_last: bool,
    /// Ticks in a thousand in which it does not read.
    pub(super) deaf: u64,
}

/// One end.
pub(super) struct Host {
    endpoint: Endpoint,
    rx: Stream,
    tx: Stream,
    pool: ChunkPool,
    manner: Manner,
    said: u64,
    ended: bool,
    pub(super) heard: u64,
    pub(super) heard_end: bool,
    next_tick: u64,
    pub(super) is_reset: bool,
    timed_out: bool,
    /// When its next event is.
    pub(super) due: Option<u64>,
}

/// The bytes that somebody says, from an offset on.
fn fill(name: u64, offset: u64, bytes: &mut [u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        let word = (name ^ (at >> 3)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = ((word ^ word >> 29) >> (8 * (at & 7))) as u8;
    }
}

/// What a host's TCP offers.
pub(super) fn config(rng: &mut Rng, mtu: u16) -> Config {
    Config {
        mss: mtu - 40,
        receive_limit_bytes: BUFFER_BYTES,
        window_scaling: !rng.permille(200),
        timestamps: !rng.permille(250),
        sack: !rng.permille(250),
        time_wait_ns: 2000 * MS,
        ..Config::default()
    }
}

impl Host {
    pub(super) fn connect(config: &Config, flow: Flow, iss: Seq, manner: Manner, now: u64) -> Self {
        Self::new(Endpoint::connect(config, flow, iss, now), manner, now)
    }

    pub(super) fn accept(config: &Config, syn: &Segment<'_>, flow: Flow, iss: Seq, manner: Manner, now: u64) -> Self {
        Self::new(Endpoint::listen_accept(config, syn, flow, iss, now), manner, now)
    }

    fn new(mut endpoint: Endpoint, manner: Manner, now: u64) -> Self {
        endpoint.confirm(endpoint.initial_version());
        let stream = || Stream::new(0, BUFFER_BYTES);
        Self {
            endpoint,
            rx: stream(),
            tx: stream(),
            pool: ChunkPool::new(CHUNKS),
            manner,
            said: 0,
            ended: false,
            heard: 0,
            heard_end: false,
            next_tick: now,
            is_reset: false,
            timed_out: false,
            due: None,
        }
    }

    pub(super) fn flow(&self) -> &Flow {
        self.endpoint.flow()
    }

    pub(super) fn state(&self) -> State {
        self.endpoint.state()
    }

    /// A segment arrives.
    pub(super) fn handle(&mut self, now: u64, segment: &Segment<'_>) -> Result<(), String> {
        let was_over = self.is_over();
        let outcome = self.endpoint.handle_segment(now, segment, &mut self.rx, &mut self.tx, &mut self.pool);
        self.endpoint.confirm(self.endpoint.initial_version());
        self.is_reset |= outcome.reset() && !was_over;
        if outcome.window_opened() || outcome.acknowledged() {
            self.next_tick = self.next_tick.min(now + self.manner.pause_ns);
        }
        Ok(())
    }

    /// Reads what has come, and compares it with what was said.
    fn read(&mut self) -> Result<(), String> {
        self.rx.commit_to(self.rx.commit_target());
        let mut bytes = vec![0; (self.rx.end() - self.heard) as usize];
        self.rx.copy_to(&self.pool, self.heard, &mut bytes);
        let mut expected = vec![0; bytes.len()];
        fill(self.manner.hears, self.heard, &mut expected);
        if let Some(at) = bytes.iter().zip(&expected).position(|(a, b)| a != b) {
            return Err(format!("{:?} hears a wrong byte at {}", self.flow(), self.heard + at as u64));
        }
        self.heard = self.rx.end();
        self.rx.trim_to(&mut self.pool, self.heard);
        self.heard_end |= self.rx.fin().is_some();
        if self.heard > self.manner.hear_bytes || self.heard_end && self.heard != self.manner.hear_bytes {
            return Err(format!(
                "{:?} heard {} bytes of {}, end: {}",
                self.flow(),
                self.heard,
                self.manner.hear_bytes,
                self.heard_end
            ));
        }
        Ok(())
    }

    /// The application acts, timers fire.
    pub(super) fn tick(&mut self, now: u64, rng: &mut Rng) -> Result<(), String> {
        if !rng.permille(self.manner.deaf) {
            self.read()?;
        }
        if self.endpoint.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.timed_out |= self.endpoint.handle_timeout(now).timed_out();
        }
        if now >= self.next_tick && self.state().is_synchronized() {
            self.say();
            self.next_tick = now + rng.between(self.manner.pause_ns / 2, self.manner.pause_ns * 3 / 2 + 1);
        }
        Ok(())
    }

    fn say(&mut self) {
        let len = (self.manner.say_bytes - self.said).min(self.manner.piece);
        let mut bytes = vec![0; len as usize];
        fill(self.manner.says, self.said, &mut bytes);
        self.said += self.tx.append(&mut self.pool, &bytes) as u64;
        if self.said == self.manner.say_bytes && !self.ended && (self.heard_end || !self.manner.ends_last) {
            self.tx.finish();
            self.ended = true;
        }
        self.tx.commit_to(self.tx.commit_target());
    }

    /// What it sends now.
    pub(super) fn speak(&mut self, now: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut room = [0; 1600];
        let flow = *self.flow();
        while let Some(len) = self.endpoint.poll_transmit(now, &self.rx, &self.tx, &self.pool, &mut room) {
            let (source, destination) = (flow.local_ip, flow.remote_ip);
            frames.push(Frame { source, destination, proto: proto::TCP, bytes: room[..len].to_vec(), is_whole: false });
        }
        frames
    }

    /// When it acts again by itself.
    pub(super) fn next(&self) -> Option<u64> {
        if self.state() == State::Closed {
            return None;
        }
        let wants = self.state().is_synchronized() && (!self.ended || !self.heard_end);
        let tick = wants.then_some(self.next_tick);
        self.endpoint.poll_timeout().map(|(at, _)| at).into_iter().chain(tick).min()
    }

    /// Whether all is said and heard, as far as this end knows.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.heard_end && self.tx.is_empty() && matches!(self.state(), State::TimeWait | State::Closed)
    }

    pub(super) fn yields_to(&self, syn: &Segment<'_>) -> bool {
        self.endpoint.yields_to(syn)
    }

    /// Why the connection ended before its time, if it did.
    pub(super) fn failure(&self) -> Option<&'static str> {
        match (self.is_reset, self.timed_out) {
            (true, _) => Some("was reset"),
            (_, true) => Some("was given up after too long a silence"),
            _ => None,
        }
    }

    /// Folds everything that shows progress.
    pub(super) fn progress(&self) -> (u64, u64, u64, State) {
        (self.heard, self.tx.start(), u64::from(self.heard_end), self.state())
    }

    /// Whether the application has nothing on its way: silence is its own choice.
    pub(super) fn rests(&self) -> bool {
        self.state().is_synchronized() && self.tx.is_empty() && !self.ended
    }

    /// For a violation's story.
    pub(super) fn show(&self) -> String {
        format!(
            "{:?} {:?}: said {} of {}, acknowledged {}, heard {} of {}, end {}, next timer {:?}",
            self.flow(),
            self.state(),
            self.said,
            self.manner.say_bytes,
            self.tx.start(),
            self.heard,
            self.manner.hear_bytes,
            self.heard_end,
            self.endpoint.poll_timeout()
        )
    }
}
