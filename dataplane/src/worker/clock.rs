//! The one clock of the data path: nanoseconds since the process began, monotonic. The cluster thread and all workers
//! hold copies of one [`Clock`], so a lease's end means the same moment to each of them.

use std::time::Instant;

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
