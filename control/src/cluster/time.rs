//! Time as the cluster core sees it: an opaque, comparable argument.
//!
//! The core never reads a clock. The runtime passes nanoseconds of a monotonic clock, the simulator passes virtual
//! ones, the model checker a step count; the core only adds, subtracts and compares.

use std::ops::Add;

/// A moment, in nanoseconds since an arbitrary origin of this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

/// A length of time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub u64);

impl Time {
    /// How long ago `earlier` was; zero if it is later than this.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// A length given in milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// This length in whole milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// `quarters` quarters of this length.
    pub const fn quarters(self, quarters: u64) -> Self {
        Self(self.0.saturating_mul(quarters) / 4)
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
