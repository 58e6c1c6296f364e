//! Fuzz targets: one plain function for each parser, and for each state machine that strangers or hostile members feed.
//!
//! A target takes any bytes and panics if the code under test breaks a promise: no panic, bounded cost, what was read
//! can be written and read again. `scripts/fuzz` lets libFuzzer choose the bytes; `tests/fuzz_regressions.rs` replays
//! under plain `cargo test` every input that ever failed and the corpus of valid ones. State machines get their bytes
//! as a script of operations ([`cursor`]).

mod answers;
mod beacon;
mod cluster;
mod codec;
mod config;
mod cursor;
mod envelope;
mod http;
mod identities;
mod ike;
mod ike_wire;
mod ipsec;
mod neighbour;
mod parse;
mod pki;
mod record;
mod replication;
mod steer;
mod tcp;
mod wire;

/// Panics if the bytes make the code under test break a promise.
pub type Target = fn(&[u8]);

/// All targets by name. `scripts/fuzz` reads the names from these lines.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire", wire::target),
    ("parse", parse::target),
    ("answers", answers::target),
    ("neighbour", neighbour::target),
    ("steer", steer::target),
    ("tcp", tcp::target),
    ("ipsec", ipsec::target),
    ("ike_wire", ike_wire::target),
    ("ike", ike::target),
    ("codec", codec::target),
    ("envelope", envelope::target),
    ("beacon", beacon::target),
    ("pki", pki::target),
    ("record", record::target),
    ("replication", replication::target),
    ("config", config::target),
    ("http", http::target),
    ("cluster", cluster::target),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
