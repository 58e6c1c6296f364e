//! Which back end gets the next connection: the one with the fewest, of those that take any.
//!
//! A back end that did not take a connection rests for a while; if all rest, the one whose rest ends first is tried. One that
//! failed its health checks ([`super::health`]) is the last choice, but a choice.

use super::health::Health;

/// How long a back end rests after a failure.
const REST_NS: u64 = 2_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Backend {
    connections: u32,
    rests_until_ns: u64,
    /// It failed its health checks.
    down: bool,
    /// Checks in a row that say otherwise.
    against: u8,
}

/// The back ends of one relay, as one worker sees them.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    all: Vec<Backend>,
    /// Where the search for the least begins, so that equals take turns.
    turn: usize,
}

impl Backends {
    pub(super) fn new(count: usize) -> Self {
        Self { all: vec![Backend::default(); count], turn: 0 }
    }

    /// Chooses one, but not `avoid` if there is another.
    pub(super) fn choose(&mut self, now_ns: u64, avoid: Option<usize>) -> Option<usize> {
        let count = self.all.len();
        self.turn = self.turn.wrapping_add(1);
        let order = (0..count).map(|at| (at + self.turn) % count);
        order.filter(|at| count == 1 || Some(*at) != avoid).min_by_key(|at| {
            let backend = &self.all[*at];
            (backend.down, backend.rests_until_ns.saturating_sub(now_ns), backend.connections)
        })
    }

    pub(super) fn opened(&mut self, at: usize) {
        if let Some(backend) = self.all.get_mut(at) {
            backend.connections += 1;
        }
    }

    pub(super) fn closed(&mut self, at: usize) {
        if let Some(backend) = self.all.get_mut(at) {
            backend.connections = backend.connections.saturating_sub(1);
        }
    }

    pub(super) fn failed(&mut self, at: usize, now_ns: u64) {
        if let Some(backend) = self.all.get_mut(at) {
            backend.rests_until_ns = now_ns.saturating_add(REST_NS);
        }
    }

    /// Takes in a check's result. Says so if the back end is up from now on, or down.
    pub(super) fn checked(&mut self, at: usize, well: bool, health: &Health) -> Option<bool> {
        let backend = self.all.get_mut(at)?;
        if well != backend.down {
            backend.against = 0;
            return None;
        }
        backend.against = backend.against.saturating_add(1);
        if backend.against < if well { health.rise } else { health.fall } {
            return None;
        }
        (backend.down, backend.against) = (!well, 0);
        Some(well)
    }

    pub(super) fn works(&mut self, at: usize) {
        if let Some(backend) = self.all.get_mut(at) {
            backend.rests_until_ns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_busy_is_chosen_and_equals_take_turns() {
        let mut backends = Backends::new(3);
        for _ in 0..300 {
            let at = backends.choose(0, None).expect("one");
            backends.opened(at);
        }
        assert!(backends.all.iter().all(|b| b.connections == 100), "{backends:?}");
        (0..50).for_each(|_| backends.closed(1));
        for _ in 0..50 {
            assert_eq!(backends.choose(0, None), Some(1));
            backends.opened(1);
        }
    }

    #[test]
    fn who_fails_rests_and_is_tried_again() {
        let mut backends = Backends::new(2);
        backends.failed(0, 100);
        assert!((0..10).all(|_| backends.choose(200, None) == Some(1)));
        assert_eq!(backends.choose(200, Some(1)), Some(0), "there is no other");
        backends.failed(1, 300);
        assert_eq!(backends.choose(400, None), Some(0), "it has rested for longer");
        let later = 400 + 2 * REST_NS;
        assert!((0..10).any(|_| backends.choose(later, None) == Some(1)));
    }

    #[test]
    fn a_few_checks_in_a_row_take_one_out_and_bring_it_back() {
        let health = Health { interval_ns: 1, timeout_ns: 1, fall: 3, rise: 2 };
        let mut backends = Backends::new(2);
        let mut told = |well| backends.checked(0, well, &health);
        assert_eq!([false, false, true, false, false].map(&mut told), [None; 5]);
        assert_eq!([told(false), told(true), told(false), told(true)], [Some(false), None, None, None]);
        assert!((0..10).all(|_| backends.choose(0, None) == Some(1)));
        assert_eq!(backends.checked(0, true, &health), Some(true));
        assert!((0..10).any(|_| backends.choose(0, None) == Some(0)));
    }

    #[test]
    fn an_only_one_is_tried_again_and_again() {
        let mut backends = Backends::new(1);
        backends.failed(0, 0);
        assert_eq!(backends.choose(1, Some(0)), Some(0));
        assert_eq!(Backends::new(0).choose(0, None), None);
    }
}
