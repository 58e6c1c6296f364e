//! Counters that an app's workers share: written by all of them, read by whoever reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares a struct of shared counters and an iterator over name, description and value.
macro_rules! tallies {
    ($(#[doc = $about:literal])+ $type:ident { $($name:ident, $help:literal;)* }) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub struct $type {
            $(#[doc = $help] pub $name: std::sync::atomic::AtomicU64,)*
        }

        impl $type {
            /// Name, description and value of each.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                use std::sync::atomic::Ordering::Relaxed;
                [$((stringify!($name), $help, self.$name.load(Relaxed)),)*].into_iter()
            }
        }
    };
}

pub(crate) use tallies;

/// A set of counters for each of an app's parts, and one more for what belongs to none.
#[derive(Debug)]
pub struct Stats<T>(Arc<[T]>);

impl<T> Clone for Stats<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Stats<T> {
    /// For this many parts.
    pub fn new(parts: usize) -> Self {
        Self((0..=parts).map(|_| T::default()).collect())
    }

    /// All sets.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// A part's; any other number: those of what belongs to no part.
    #[inline]
    pub fn of(&self, part: usize) -> &T {
        &self.0[part.min(self.0.len() - 1)]
    }

    /// Whether a number is a part's, and not that of what belongs to none.
    pub(crate) fn is_of_one(&self, part: usize) -> bool {
        part < self.0.len() - 1
    }
}

/// As [`add`], for a counter that only one thread writes: so it need not lock the line.
pub(crate) fn add_alone(counter: &AtomicU64, count: u64) {
    if count != 0 {
        counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
    }
}

/// Adds, wrapping: a gauge falls by adding `u64::MAX`. Workers share the counters, so nothing is not written: it would take
/// the line from another core.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    if count != 0 {
        counter.fetch_add(count, Relaxed);
    }
}
