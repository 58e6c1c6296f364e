//! The one clock of the data path: nanoseconds since the process began, monotonic. The cluster thread and all workers
//! hold copies of one [`Clock`], so a lease's end means the same moment to each of them.

use std::cell::Cell;
use std::time::Instant;

use dpdk::clock::{Rate, cycles};

/// A clock that counts from when it was made. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins to count.
    #[allow(clippy::disallowed_methods, reason = "the shell's clock: read once per burst, passed on as an argument")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start. Never zero: zero means "never" in shared state.
    #[inline]
    #[allow(clippy::disallowed_methods, reason = "the shell's clock: read once per burst, passed on as an argument")]
    pub fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.start).as_nanos() as u64 + 1
    }

    /// The moment that `ns` names, for timers of the async runtime.
    pub fn instant(&self, ns: u64) -> Instant {
        self.start + std::time::Duration::from_nanos(ns.saturating_sub(1))
    }
}

/// For how long a [`Ticker`] trusts the cycle counter: a wrong rate of 100 ppm makes 10 ns of it.
const TRUST_NS: u64 = 100_000;

/// One worker's view of the common clock. Between two readings of it the time stamp counter is added, which takes a
/// tenth as long; a longer pause (the process was stopped, the worker slept) is never guessed at but read.
#[derive(Debug)]
pub(super) struct Ticker {
    clock: Clock,
    rate: Rate,
    trust_cycles: u64,
    read_at_cycles: Cell<u64>,
    read_ns: Cell<u64>,
    /// The last answer: a counter that is a little fast makes time stand still for a moment, never run backwards.
    last_ns: Cell<u64>,
    last_cycles: Cell<u64>,
}

impl Ticker {
    pub(super) fn new(clock: Clock, rate: Rate) -> Self {
        let (read_at_cycles, read_ns) = (Cell::new(cycles()), Cell::new(clock.now_ns()));
        let (last_ns, last_cycles) = (Cell::new(0), read_at_cycles.clone());
        Self { clock, rate, trust_cycles: rate.to_cycles(TRUST_NS), read_at_cycles, read_ns, last_ns, last_cycles }
    }

    /// As [`Clock::now_ns`]; never runs backwards.
    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        let passed = self.read_cycles().wrapping_sub(self.read_at_cycles.get());
        let now_ns =
            if passed > self.trust_cycles { self.read() } else { self.read_ns.get() + self.rate.to_ns(passed) };
        let now_ns = now_ns.max(self.last_ns.get());
        self.last_ns.set(now_ns);
        now_ns
    }

    /// Reads the counter.
    #[inline]
    pub(super) fn read_cycles(&self) -> u64 {
        self.last_cycles.set(cycles());
        self.last_cycles.get()
    }

    /// What the counter said when the time, or it, was last read.
    #[inline]
    pub(super) fn last_cycles(&self) -> u64 {
        self.last_cycles.get()
    }

    #[cold]
    fn read(&self) -> u64 {
        self.read_at_cycles.set(cycles());
        self.read_ns.set(self.clock.now_ns());
        self.read_ns.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticker_keeps_to_its_clock() {
        let clock = Clock::start();
        // Any rate near the true one, which is DPDK's to measure, will do here.
        let ticker = Ticker::new(clock, Rate::from_hz(2_000_000_000));
        let mut last_ns = 0;
        for _ in 0..100_000 {
            let now_ns = ticker.now_ns();
            assert!(now_ns >= last_ns);
            last_ns = now_ns;
        }
        let before_ns = clock.now_ns();
        let ticker_ns = ticker.now_ns();
        let after_ns = clock.now_ns();
        let far_ns = TRUST_NS;
        assert!((before_ns.saturating_sub(far_ns)..=after_ns + far_ns).contains(&ticker_ns), "{ticker_ns} {after_ns}");
    }
}
