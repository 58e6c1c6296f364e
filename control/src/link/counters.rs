//! What the link counts.

crate::counters::counters! {
    /// The link's counters at one moment.
    LinkStats {
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
}
