//! The one place of this program that reads a clock.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since the run began, and as the machine counts them: the machine's count is the same in all processes and
/// namespaces, so what one process stamps another can measure.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start_us: u64,
}

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self { start_us: machine_us() }
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        machine_us().saturating_sub(self.start_us)
    }
}

/// CLOCK_MONOTONIC, in microseconds.
pub(crate) fn machine_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}
