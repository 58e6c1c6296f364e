//! Log lines that traffic can cause: so many a second, and how many were left out.

use crate::envelope::TokenBucket;

/// One kind of line.
#[derive(Clone, Debug)]
pub(crate) struct Limited {
    bucket: TokenBucket,
    left_out: u64,
}

impl Limited {
    /// At most five lines at once and one a second.
    pub(crate) const fn new() -> Self {
        Self { bucket: TokenBucket::new(1, 5), left_out: 0 }
    }

    /// At most one line a minute: for what repeats itself until an operator does something about it.
    pub(crate) const fn rare() -> Self {
        Self { bucket: TokenBucket::one_in(60), left_out: 0 }
    }

    /// Whether the line may be written; if so, how many were left out since the last one.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<u64> {
        if self.bucket.take(now_ns) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let mut limited = Limited::new();
        let written = (0..100).filter(|_| limited.take(1).is_some()).count();
        assert_eq!(written, 5);
        assert_eq!(limited.take(2_000_000_000), Some(95));
        assert_eq!(limited.take(4_000_000_000), Some(0));
    }
}
