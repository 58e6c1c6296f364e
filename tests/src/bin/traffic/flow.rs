//! One probe flow: numbered requests, the answers to them, and when no answers came.

/// What is known of a flow. Times are microseconds since the run began.
#[derive(Default)]
pub(crate) struct Flow {
    /// Answers per request, by its number.
    answers: Vec<u32>,
    /// When requests were answered for the first time, in order of arrival.
    answered_us: Vec<u64>,
    duplicates: u64,
    send_errors: u64,
}

impl Flow {
    /// Numbers the next request.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.answers.push(0);
        self.answers.len() as u64 - 1
    }

    /// The system would not send the request.
    pub(crate) fn send_failed(&mut self) {
        self.send_errors += 1;
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, sequence: u64, now_us: u64) {
        let entry = usize::try_from(sequence).ok().and_then(|index| self.answers.get_mut(index));
        let Some(count) = entry else { return };
        *count += 1;
        if *count == 1 {
            self.answered_us.push(now_us);
        } else {
            self.duplicates += 1;
        }
    }

    /// Requests so far.
    pub(crate) fn sent(&self) -> usize {
        self.answers.len()
    }

    /// Requests with an answer.
    pub(crate) fn received(&self) -> usize {
        self.answered_us.len()
    }

    /// Answers beyond the first.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Requests that the system would not send.
    pub(crate) fn send_errors(&self) -> u64 {
        self.send_errors
    }

    /// When answers came.
    pub(crate) fn answered_us(&self) -> &[u64] {
        &self.answered_us
    }
}

/// The times without success that are longer than `least_us`: from one success to the next, or to the end.
pub(crate) fn gaps(successes_us: &[u64], end_us: u64, least_us: u64) -> Vec<(u64, u64)> {
    let nexts = successes_us.iter().skip(1).copied().chain(std::iter::once(end_us));
    successes_us.iter().copied().zip(nexts).filter(|&(from, to)| to.saturating_sub(from) > least_us).collect()
}

/// The longest time without success that overlaps the window; from the window's start if there never was a success.
pub(crate) fn blackout_us(successes_us: &[u64], end_us: u64, window: (u64, u64)) -> u64 {
    if successes_us.is_empty() {
        return window.1.min(end_us).saturating_sub(window.0);
    }
    let overlapping = gaps(successes_us, end_us, 0).into_iter().filter(|&(from, to)| from < window.1 && to > window.0);
    overlapping.map(|(from, to)| to - from).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_answers_are_duplicates_and_strangers_are_ignored() {
        let mut flow = Flow::default();
        assert_eq!((flow.next_sequence(), flow.next_sequence()), (0, 1));
        for sequence in [0, 0, 9] {
            flow.answered(sequence, 10);
        }
        assert_eq!((flow.sent(), flow.received(), flow.duplicates()), (2, 1, 1));
    }

    #[test]
    fn a_blackout_is_the_longest_gap_that_touches_the_window() {
        let successes = [0, 10, 200, 210, 900, 910];
        assert_eq!(gaps(&successes, 920, 100), vec![(10, 200), (210, 900)]);
        assert_eq!(blackout_us(&successes, 920, (100, 190)), 190);
        assert_eq!(blackout_us(&successes, 920, (100, 300)), 690);
        assert_eq!(blackout_us(&successes, 2000, (950, 1000)), 1090);
        assert_eq!(blackout_us(&[], 2000, (950, 1000)), 50);
    }
}
