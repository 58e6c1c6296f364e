//! What a simulated world is to be like.

use super::world::MS;
use crate::tcp::Config;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Faults that the checks must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Planted {
    AckBeforeCommit,
    SendBeforeCommit,
    /// A takeover forgets what TSval was.
    ClockForgotten,
}

/// What is tried.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) config: [Config; 2],
    pub(super) limit: u32,
    pub(super) bytes: [usize; 2],
    pub(super) loss: u64,
    pub(super) duplicates: u64,
    pub(super) delay_ns: u64,
    pub(super) jitter_ns: u64,
    pub(super) commit_ns: u64,
    /// A side is taken over this often on average; 0: never.
    pub(super) takeover_ns: u64,
    /// Readers stop now and then, so that windows shut.
    pub(super) slow_readers: bool,
    pub(super) both_open: bool,
    /// What is done wrong on purpose.
    pub(super) planted: Option<Planted>,
    /// The second side ends its stream only after the first one's end.
    pub(super) half_close: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let config = Config { time_wait_ns: 300_000 * MS, ..Config::default() };
        Self {
            seed,
            config: [config; 2],
            limit: config.receive_limit_bytes,
            bytes: [100_000, 100_000],
            loss: 0,
            duplicates: 0,
            delay_ns: 5 * MS,
            jitter_ns: 0,
            commit_ns: MS / 10,
            takeover_ns: 0,
            slow_readers: false,
            both_open: false,
            planted: None,
            half_close: false,
        }
    }

    /// Anything goes.
    pub(super) fn random(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let mut plan = Self::new(seed);
        plan.limit = [3000, 10_000, 65_535, 300_000][rng.below(4) as usize];
        for config in &mut plan.config {
            config.receive_limit_bytes = plan.limit;
            config.window_scaling = rng.chance(70);
            config.timestamps = rng.chance(70);
            config.sack = rng.chance(70);
            config.mss = [536, 1000, 1460, 8960][rng.below(4) as usize];
        }
        plan.bytes = [rng.below(60_000) as usize, rng.below(60_000) as usize];
        plan.loss = [0, 1, 5, 20][rng.below(4) as usize];
        plan.duplicates = [0, 5, 20][rng.below(3) as usize];
        plan.jitter_ns = [0, MS, 30 * MS][rng.below(3) as usize];
        plan.delay_ns = [MS / 10, 5 * MS, 80 * MS][rng.below(3) as usize];
        plan.commit_ns = [0, MS / 10, 20 * MS][rng.below(3) as usize];
        plan.slow_readers = rng.chance(30);
        plan.both_open = rng.chance(15);
        plan.half_close = rng.chance(50);
        plan
    }
}
