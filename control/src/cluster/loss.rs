//! Adaptive detection: how many keepalives in a row must be missing before silence means death.
//!
//! The patent smooths the loss seen in a member's sequence numbers (127/128 old, 1/128 new) and takes the least n
//! whose run of losses is rare enough. Its `K = 3600` is not the week that it says (DESIGN section 10, departure 2);
//! here "rare enough" is derived: with loss P, a run of n losses begins once in `1 / P^n` keepalives, so n is the least
//! number with `period / P^n > false_alarm`.

use super::settings::LOSSES_MAX;
use super::time::Span;

/// Smoothed loss of one member's keepalives, in parts per billion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Loss {
    ppb: u64,
}

const BILLION: u64 = 1_000_000_000;

impl Loss {
    /// Takes in that `lost` keepalives are missing between the last two that came.
    pub fn take(&mut self, lost: u64) {
        let lost = lost.min(u64::from(LOSSES_MAX));
        self.ppb = ((self.ppb * 127 + lost * BILLION) / 128).min(BILLION);
    }

    /// The loss in parts per thousand.
    pub fn permille(self) -> u32 {
        (self.ppb / 1_000_000) as u32
    }

    /// The least n within `least..=LOSSES_MAX` that false alarms allow.
    pub fn losses_allowed(self, least: u8, period: Span, false_alarm: Span) -> u8 {
        let loss = self.ppb as f64 / BILLION as f64;
        let rare = period.0 as f64 / false_alarm.0.max(1) as f64;
        let mut run = loss.powi(i32::from(least));
        let mut n = least;
        while run >= rare && n < LOSSES_MAX {
            run *= loss;
            n += 1;
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Span = Span::from_ms(7 * 24 * 3600 * 1000);

    #[test]
    fn no_loss_needs_the_least_n_and_heavy_loss_the_most() {
        let period = Span::from_ms(10);
        assert_eq!(Loss::default().losses_allowed(3, period, WEEK), 3);
        assert_eq!(Loss { ppb: BILLION }.losses_allowed(3, period, WEEK), LOSSES_MAX);
    }

    #[test]
    fn one_percent_at_ten_milliseconds_needs_four() {
        // 0.01^n < 0.01 s / 604800 s = 1.65e-8: n = 3 gives 1e-6, n = 4 gives 1e-8.
        let loss = Loss { ppb: BILLION / 100 };
        assert_eq!(loss.losses_allowed(3, Span::from_ms(10), WEEK), 4);
    }

    #[test]
    fn smoothing_follows_the_patent() {
        let mut loss = Loss::default();
        loss.take(1);
        assert_eq!(loss.ppb, BILLION / 128);
        loss.take(0);
        assert_eq!(loss.ppb, BILLION / 128 * 127 / 128);
    }
}
