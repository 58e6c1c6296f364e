//! What the transport counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The transport's counters at one moment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct ReplicationStats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl ReplicationStats {
            /// Name, description and value of each counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name)),+].into_iter()
            }
        }

        #[derive(Default, Debug)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)+
        }

        impl Counters {
            pub(super) fn read(&self) -> ReplicationStats {
                ReplicationStats { $($name: self.$name.0.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

/// One counter: written by the link's thread, read by anyone.
#[derive(Default, Debug)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

counters! {
    /// Batches written to backups.
    batches_sent,
    /// Bytes written to backups, heads included.
    bytes_sent,
    /// Batches received from owners.
    batches_received,
    /// Bytes of batches received from owners.
    bytes_received,
    /// Acknowledgements received from backups.
    acks_received,
    /// Streams to backups that were answered.
    streams_opened,
    /// Streams to backups that broke or were given up.
    streams_broken,
    /// Streams from owners that were taken up.
    streams_accepted,
    /// Streams whose other side said what is no message, or not at its place.
    protocol_errors,
    /// Streams from owners refused, because an older start of the member or an unknown version opened them.
    refused,
    /// Batches that were refused as a whole, because they hold what is no update.
    malformed,
    /// Times that a full worker made an owner wait.
    waits,
}
