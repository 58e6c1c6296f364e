//! What the relays are to be: plain values.

use std::net::SocketAddr;

use super::health::Health;
use crate::tcp::Keepalive;

/// One relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelaySpec {
    /// For logs and metrics.
    pub name: String,
    /// A cluster address and a port below [`crate::filter::steered::OPENED_PORTS_MIN`].
    pub listen: SocketAddr,
    /// The servers.
    pub backends: Vec<SocketAddr>,
    /// Connections of this worker at most.
    pub connections_max: usize,
    /// Bytes on their way in one direction of a connection at most.
    pub buffer_bytes: u32,
    /// A connection on which no byte passed for so long is ended.
    pub idle_ns: u64,
    /// How long a back end may take to accept a connection.
    pub connect_ns: u64,
    /// Whether a silent client or back end is asked if it is still there, and when.
    pub keepalive: Option<Keepalive>,
    /// How the health of its back ends is checked, if it is.
    pub health: Option<Health>,
    /// Whether the back end is told who the client is (PROXY protocol, version 2).
    pub proxy_protocol: bool,
}

/// All relays of a worker.
#[derive(Clone)]
pub struct RelayConfig {
    /// The relays; the same on all members, in the same order.
    pub relays: Vec<RelaySpec>,
    /// Memory for bytes on their way, in chunks of [`crate::tcp::CHUNK_LEN`].
    pub chunks: usize,
    /// Connections in the making at most: beyond that, SYN cookies stand for them.
    pub half_open_max: usize,
    /// The cluster's secret, for sequence numbers and cookies.
    pub key: [u8; 16],
    /// The key of replication's digests.
    pub replica_key: [u8; 16],
    /// A secret of this process, against colliding table entries.
    pub seed: u64,
}

impl std::fmt::Debug for RelayConfig {
    /// The key is a secret: never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayConfig")
            .field("relays", &self.relays)
            .field("chunks", &self.chunks)
            .finish_non_exhaustive()
    }
}
