//! One endpoint at the test's hands: segments are made by hand, and what it says is looked at.

use super::segments::blank;
use super::world::{MS, flow};
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_SYN};

pub(super) const OUR_ISS: Seq = Seq(0xffff_ff00);
pub(super) const PEER_ISS: Seq = Seq(0xffff_fff0);

/// What it said, as plain values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    /// Relative to its initial number.
    pub(super) seq: i32,
    /// Relative to the peer's.
    pub(super) ack: i32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: Options,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Bench {
    pub(super) now_ns: u64,
    pub(super) endpoint: Endpoint,
    pub(super) rx: Stream,
    pub(super) tx: Stream,
    pub(super) pool: ChunkPool,
    pub(super) commits: bool,
}

impl Bench {
    /// Options of a peer that has none.
    pub(super) fn plain() -> Config {
        Config {
            timestamps: false,
            sack: false,
            window_scaling: false,
            receive_limit_bytes: 10_000,
            ..Config::default()
        }
    }

    pub(super) fn of(config: &Config, endpoint: Endpoint) -> Self {
        let limit = config.receive_limit_bytes;
        Self {
            now_ns: 1000 * MS,
            endpoint,
            rx: Stream::new(0, limit),
            tx: Stream::new(0, 1 << 20),
            pool: ChunkPool::new(1000),
            commits: true,
        }
    }

    /// The peer has sent a SYN.
    pub(super) fn accepted(config: &Config, options: Options) -> Self {
        let syn = Segment { seq: PEER_ISS, flags: FLAG_SYN, window: 10_000, options, ..blank() };
        let mut bench = Self::of(config, Endpoint::listen_accept(config, &syn, flow(0), OUR_ISS, 1000 * MS));
        bench.confirm();
        bench
    }

    pub(super) fn connecting(config: &Config) -> Self {
        let mut bench = Self::of(config, Endpoint::connect(config, flow(0), OUR_ISS, 1000 * MS));
        bench.confirm();
        bench
    }

    /// After the handshake, nothing on the way.
    pub(super) fn established_with(config: &Config, options: Options) -> Self {
        let mut bench = Self::accepted(config, options);
        bench.said();
        bench.hear(1, 1, FLAG_ACK, &[]);
        assert_eq!((bench.endpoint.state(), bench.said()), (State::Established, vec![]));
        bench
    }

    pub(super) fn established() -> Self {
        let options = Options { mss: Some(1000), ..Options::default() };
        Self::established_with(&Self::plain(), options)
    }

    pub(super) fn confirm(&mut self) {
        let version = self.endpoint.initial_version();
        self.endpoint.confirm(version);
    }

    pub(super) fn segment(seq: i64, ack: i64, flags: u8, payload: &[u8]) -> Segment<'_> {
        Segment { seq: PEER_ISS.at(seq), ack: OUR_ISS.at(ack), flags, window: 10_000, payload, ..blank() }
    }

    /// The peer says this; positions are relative to the initial numbers.
    pub(super) fn hear(&mut self, seq: i64, ack: i64, flags: u8, payload: &[u8]) -> Outcome {
        self.hear_segment(&Self::segment(seq, ack, flags, payload))
    }

    pub(super) fn hear_segment(&mut self, segment: &Segment<'_>) -> Outcome {
        let Self { endpoint, rx, tx, pool, .. } = self;
        let outcome = endpoint.handle_segment(self.now_ns, segment, rx, tx, pool);
        if self.commits {
            self.rx.commit_to(u64::MAX);
        }
        outcome
    }

    /// All that it has to say now.
    pub(super) fn said(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut buffer = [0; 2000];
        let Self { endpoint, rx, tx, pool, .. } = self;
        while let Some(len) = endpoint.poll_transmit(self.now_ns, rx, tx, pool, &mut buffer) {
            let segment = Segment::parse(&buffer[..len], flow(0).local_ip, flow(0).remote_ip).unwrap();
            said.push(Said {
                seq: segment.seq.since(OUR_ISS),
                ack: if segment.has_ack() { segment.ack.since(PEER_ISS) } else { 0 },
                flags: segment.flags,
                window: segment.window,
                options: segment.options,
                payload: segment.payload.to_vec(),
            });
            assert!(said.len() < 1000, "no end: {endpoint:?}");
        }
        said
    }

    pub(super) fn said_one(&mut self) -> Said {
        let mut said = self.said();
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }

    /// Bytes to send, committed.
    pub(super) fn give(&mut self, len: usize) {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!(self.tx.append(&mut self.pool, &bytes), len);
        self.tx.commit_to(u64::MAX);
    }

    pub(super) fn finish(&mut self) {
        self.tx.finish();
        self.tx.commit_to(u64::MAX);
    }

    /// Time passes until the next timer, which must be this one; how long that was.
    pub(super) fn wait_for(&mut self, timer: Timer) -> u64 {
        let (at_ns, next) = self.endpoint.poll_timeout().expect("a timer");
        assert_eq!(next, timer, "{:?}", self.endpoint);
        let waited_ns = at_ns - self.now_ns;
        self.now_ns = at_ns;
        self.endpoint.handle_timeout(at_ns);
        waited_ns
    }

    pub(super) fn received(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.rx.len() as usize];
        let n = self.rx.copy_to(&self.pool, self.rx.start(), &mut bytes);
        bytes.truncate(n);
        bytes
    }

    /// As a backup would restore it from what is saved and committed now.
    pub(super) fn restore(&mut self, age_ns: u64) {
        let (initial, essential) = self.endpoint.save(self.now_ns);
        let saved = Saved { initial, essential, age_ns };
        let config = Config { receive_limit_bytes: self.rx.limit(), ..Config::default() };
        let Self { rx, tx, pool, .. } = self;
        self.endpoint = Endpoint::restore(&config, &saved, rx, tx, pool, self.now_ns).unwrap();
        assert_eq!(self.said(), [], "its records are not replicated again yet");
        self.confirm();
    }
}
