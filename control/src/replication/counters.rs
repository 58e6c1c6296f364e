//! What the transport counts.

crate::counters::counters! {
    /// The transport's counters at one moment.
    ReplicationStats {
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
}
