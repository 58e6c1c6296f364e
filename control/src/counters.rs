//! Counters of events: written by the cluster thread's tasks and by senders, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Default, Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares `Counters`, for its module and the one above, and a public struct with their values at one moment.
macro_rules! counters {
    ($(#[doc = $about:literal])+ $stats:ident { $($(#[doc = $doc:literal])+ $name:ident,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl $stats {
            /// Name, description and value of each counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name)),+].into_iter()
            }
        }

        /// The counters themselves.
        #[derive(Default, Debug)]
        pub(super) struct Counters {
            $(pub(super) $name: $crate::counters::Counter,)+
        }

        impl Counters {
            pub(super) fn read(&self) -> $stats {
                $stats { $($name: self.$name.read(),)+ }
            }
        }
    };
}

pub(crate) use counters;
