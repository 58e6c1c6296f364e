//! Time and counts. The relay's time is taken from the cycle counter, which costs a tenth of reading a clock; how fast it
//! counts is found by comparing both over the whole run.

use dpdk::clock::{Rate, cycles};
use hdrhistogram::Histogram;
use phalanx_dataplane::worker::Clock;

use super::RelayBenchError;

/// The longest wait that is told apart.
const LONGEST_NS: u64 = 60_000_000_000;

/// How long something took, many times.
pub(super) struct Waits(Histogram<u64>);

impl Waits {
    pub(super) fn new() -> Result<Self, RelayBenchError> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        histogram.map(Self).map_err(|error| RelayBenchError::Odd(format!("the histogram: {error}")))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that this share of them took at most.
    pub(super) fn quantile_us(&self, share: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(share) as f64 / 1e3 }
    }
}

/// Cycles that were spent on something, since the last start.
#[derive(Clone, Copy)]
pub(super) struct Meter {
    clock: Clock,
    began_cycles: u64,
    began_ns: u64,
    spent: u64,
}

impl Meter {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, began_cycles: cycles(), began_ns: clock.now_ns(), spent: 0 }
    }

    pub(super) fn start(&mut self) {
        *self = Self::new(self.clock);
    }

    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = cycles();
        let done = work();
        self.spent += cycles().saturating_sub(before);
        done
    }

    /// Nanoseconds since the start, and those of them that were spent.
    pub(super) fn read_ns(&self) -> (u64, u64) {
        let wall_ns = self.clock.now_ns().saturating_sub(self.began_ns).max(1);
        let passed = cycles().saturating_sub(self.began_cycles).max(1);
        let hz = u128::from(passed) * 1_000_000_000 / u128::from(wall_ns);
        let rate = Rate::from_hz(u64::try_from(hz).unwrap_or(u64::MAX));
        (wall_ns, rate.to_ns(self.spent))
    }
}
