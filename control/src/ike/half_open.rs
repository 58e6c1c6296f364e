//! IKE SAs whose peers have proved nothing yet: so many, and no more.
//!
//! Each has cost a key exchange, and keeps a few kilobytes for half a minute. From a first limit on, whoever comes must show that it
//! receives what is sent to it (a cookie); at a second one nobody is let in.

use std::collections::HashMap;

use phalanx_ike::machine::{Next, OPENING_S, Outcome};
use phalanx_ike::state::Phase;

/// From so many on, cookies are asked for.
const COOKIES_FROM: usize = 256;
/// So many there are at most.
const MOST: usize = 4096;

/// Those that this thread has begun.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    /// When each is forgotten, by our SPI.
    until_s: HashMap<u64, u64>,
}

impl HalfOpen {
    /// Whether newcomers are asked for a cookie.
    pub(super) fn is_many(&mut self, now_s: u64) -> bool {
        self.count(now_s) >= COOKIES_FROM
    }

    /// Whether there is no room for another.
    pub(super) fn is_full(&mut self, now_s: u64) -> bool {
        self.count(now_s) >= MOST
    }

    /// What has become of an SA.
    pub(super) fn note(&mut self, spi: u64, outcome: &Outcome, now_s: u64) {
        match &outcome.next {
            Next::Same => {}
            Next::Changed(sa) if matches!(sa.phase, Phase::Opening(_) | Phase::Asking(_)) => {
                self.until_s.insert(spi, now_s.saturating_add(OPENING_S));
            }
            Next::Changed(_) | Next::Ended => drop(self.until_s.remove(&spi)),
        }
    }

    /// Those whose time is over are looked for only when there are many: an outcome that came to nothing is not told here.
    fn count(&mut self, now_s: u64) -> usize {
        if self.until_s.len() >= COOKIES_FROM {
            self.until_s.retain(|_, until_s| *until_s > now_s);
        }
        self.until_s.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_asked_for_cookies_and_too_many_are_none() {
        let mut half_open = HalfOpen::default();
        for spi in 0..MOST as u64 {
            assert_eq!(half_open.is_many(0), spi >= COOKIES_FROM as u64);
            assert!(!half_open.is_full(0));
            half_open.until_s.insert(spi, 30);
        }
        assert!(half_open.is_full(29));
        let ended = Outcome { next: Next::Ended, ..Outcome::default() };
        half_open.note(7, &ended, 29);
        assert!(!half_open.is_full(29) && half_open.is_many(29));
        assert!(!half_open.is_many(30), "their time is over");
    }
}
