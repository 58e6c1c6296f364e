//! A token bucket: so much work a second, no matter who asks for it.

/// Allows `rate` events a second on average and `burst` at once.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    interval_ns: u64,
    burst: u64,
    /// When the bucket would be full again. One number says it all (the "virtual scheduling" form).
    full_at_ns: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(rate: u64, burst: u64) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        Self { interval_ns: 1_000_000_000 / rate, burst, full_at_ns: 0 }
    }

    /// A full bucket of one event, which fills again in so many seconds.
    pub const fn one_in(seconds: u64) -> Self {
        Self { interval_ns: seconds.saturating_mul(1_000_000_000), burst: 1, full_at_ns: 0 }
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let start = self.full_at_ns.max(now_ns);
        let after = start.saturating_add(self.interval_ns);
        if after.saturating_sub(now_ns) > self.burst.saturating_mul(self.interval_ns) {
            return false;
        }
        self.full_at_ns = after;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 3);
        let taken = (0..10).filter(|_| bucket.take(5)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(99_000_000));
        assert!(bucket.take(100_000_005));
        assert!(!bucket.take(100_000_006));
        let later = (0..10).filter(|_| bucket.take(10_000_000_000)).count();
        assert_eq!(later, 3);
    }
}
