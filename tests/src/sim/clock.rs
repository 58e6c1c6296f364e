//! A member's own monotonic clock: another origin, and a little fast or slow.

/// A drifting clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows at the beginning of the simulation.
    pub origin_ns: u64,
    /// How much it is fast (slow if negative), in parts per million.
    pub drift_ppm: i64,
}

impl Clock {
    /// What it shows at a moment of the simulation.
    pub fn local(self, now: u64) -> u64 {
        self.origin_ns + now.saturating_add_signed(now as i64 * self.drift_ppm / 1_000_000)
    }

    /// The first moment of the simulation at which it shows this or more.
    pub fn moment(self, local: u64) -> u64 {
        let local = local.saturating_sub(self.origin_ns).min(1 << 60);
        let mut now = (i128::from(local) * 1_000_000 / i128::from(1_000_000 + self.drift_ppm)) as u64;
        now = now.saturating_sub(2);
        while self.local(now) < self.origin_ns + local && now < (1 << 50) {
            now += 1;
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_first_to_show_a_time() {
        for drift_ppm in [-200, 0, 137] {
            let clock = Clock { origin_ns: 5_000, drift_ppm };
            for local in [5_000, 123_456_789, 9_876_543_210] {
                let moment = clock.moment(local);
                assert!(clock.local(moment) >= local);
                assert!(moment == 0 || clock.local(moment - 1) < local);
            }
        }
    }
}
