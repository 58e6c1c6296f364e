//! How long updates wait for their commit: measured at one of them at a time, which costs a comparison a round.

use crate::replica::Position;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CommitLag {
    /// The update that is watched, and since when.
    watched: Option<(Position, u64)>,
    longest_ns: u64,
}

impl CommitLag {
    /// Looks how far the log and its commit are.
    pub(super) fn look(&mut self, now_ns: u64, head: Position, committed: Position) {
        if let Some((position, since_ns)) = self.watched {
            self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(since_ns));
            if committed < position {
                return;
            }
        }
        self.watched = (committed < head).then_some((head, now_ns));
    }

    /// The longest wait since this was asked last.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.longest_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_told_once_and_one_that_lasts_grows() {
        let mut lag = CommitLag::default();
        lag.look(10, Position(5), Position(5));
        lag.look(20, Position(6), Position(5));
        lag.look(25, Position(9), Position(5));
        assert_eq!(lag.take(), 5);
        lag.look(30, Position(9), Position(6));
        assert_eq!((lag.take(), lag.take()), (10, 0));
        lag.look(31, Position(9), Position(9));
        assert_eq!(lag.take(), 1);
        lag.look(40, Position(9), Position(9));
        assert_eq!(lag.take(), 0);
    }
}
