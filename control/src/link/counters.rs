//! What the link counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The link's counters at one moment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct LinkStats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl LinkStats {
            /// Name, description and value of each counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name)),+].into_iter()
            }
        }

        /// The counters themselves.
        #[derive(Default, Debug)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)+
        }

        impl Counters {
            pub(super) fn read(&self) -> LinkStats {
                LinkStats { $($name: self.$name.0.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

/// One counter: written by the link's thread and by senders, read by anyone.
#[derive(Default, Debug)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

counters! {
    /// Messages written to a connection.
    sent,
    /// Messages received and handed to the inbox.
    received,
    /// Messages refused because the queue to their member was full.
    queue_full,
    /// Messages given up because no connection could take them in time.
    expired,
    /// Connections made or accepted, with both certificates checked.
    connected,
    /// Attempts to reach a member that failed.
    dial_failed,
    /// Connections from others that failed in the handshake.
    accept_failed,
    /// Handshakes dropped because there were too many.
    limited,
    /// Connections closed because the certificate is no longer accepted.
    revoked,
    /// Connections closed because a member had too many.
    crowded,
    /// Connections closed because the peer sent what is no message.
    malformed,
    /// Connections closed because the inbox stayed full.
    inbox_stuck,
}
