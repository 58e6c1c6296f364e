//! How much a worker keeps back, and for how long.
//!
//! The sum that justifies the defaults: a failover is detected within a few keepalive periods, and the acknowledgement
//! that ends a hold follows within milliseconds; 300 ms is far more than either takes, and shorter than the first
//! retransmission that a TCP sender would have made anyway after 200 ms plus its round trip. 4096 packets held are
//! 8 MiB of buffers: half a second at 8 kpps, 4 ms at 1 Mpps. A unit may use an eighth of the pool, so that one flood
//! cannot push out the others.

use super::digests::DigestPool;

/// Bounds of the steering engine. Everything is allocated once, from these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Packets held at most, over all units.
    pub held_max: usize,
    /// Packets held at most for one unit.
    pub held_per_unit_max: usize,
    /// How long a packet is held at most.
    pub hold_ns: u64,
    /// How long [`super::Mode::HoldOwn`] waits for the master's marker at most.
    pub hold_own_ns: u64,
    /// How long after a release a late copy of a released packet is still recognised.
    pub grace_ns: u64,
    /// Digests kept at most, over all units.
    pub digests_max: usize,
    /// Digests logged at most for one unit; beyond that its log is given up.
    pub digests_per_unit_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held_max: 4096,
            held_per_unit_max: 512,
            hold_ns: 300_000_000,
            hold_own_ns: 100_000_000,
            grace_ns: 50_000_000,
            digests_max: 65_536,
            digests_per_unit_max: 2048,
        }
    }
}

const _: () = assert!(size_of::<DigestPool>() < 256, "pools keep their entries on the heap");
