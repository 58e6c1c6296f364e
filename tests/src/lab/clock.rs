//! The driver's only clock, and its only way to wait.
#![allow(clippy::disallowed_methods, reason = "this module watches real processes in real time")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::{Outcome, failure};

/// Now, for measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as captures stamp their frames: microseconds of the wall clock.
pub fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Now, as the traffic generator stamps its pieces: microseconds of CLOCK_MONOTONIC, the same in all processes.
pub fn machine_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap_or(0)
}

/// Lets so much time pass: a fault lasts as long as the plan says.
pub fn last(duration: Duration) {
    std::thread::sleep(duration);
}

/// Looks again and again until something is so; how long that took, or the last complaint.
pub fn until<T>(limit: Duration, every: Duration, mut look: impl FnMut() -> Outcome<T>) -> Outcome<(T, Duration)> {
    let began = now();
    loop {
        let problem = match look() {
            Ok(value) => return Ok((value, began.elapsed())),
            Err(problem) => problem,
        };
        if began.elapsed() >= limit {
            return Err(failure(format!("not within {} ms: {problem}", limit.as_millis())));
        }
        std::thread::sleep(every);
    }
}
