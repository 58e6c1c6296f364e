//! Real members, real hosts, real faults: the suites that CI runs. They need root, for they make network namespaces;
//! without it every test fails and says so.
//!
//!     cargo test --release -p phalanx-tests --test lab -- --test-threads=1
//!
//! One at a time: labs share the machine's processors, and members that get none look dead. Under `lab_long` the same
//! scenarios run in all modes.

#[path = "lab/charon.rs"]
mod charon;
#[path = "lab/formation.rs"]
mod formation;
#[path = "lab/guests.rs"]
mod guests;
#[path = "lab/ike.rs"]
mod ike;
#[path = "lab/ike_begun.rs"]
mod ike_begun;
#[path = "lab/ike_fragments.rs"]
mod ike_fragments;
#[path = "lab/interop.rs"]
mod interop;
#[path = "lab/operation.rs"]
mod operation;
#[path = "lab/operator.rs"]
mod operator;
#[path = "lab/packets.rs"]
mod packets;
#[path = "lab/partitions.rs"]
mod partitions;
#[path = "lab/plans.rs"]
mod plans;
#[path = "lab/relay.rs"]
mod relay;
#[path = "lab/revocation.rs"]
mod revocation;
#[path = "lab/routes.rs"]
mod routes;
#[path = "lab/tool.rs"]
mod tool;
#[path = "lab/tunnels.rs"]
mod tunnels;
#[path = "lab/workers.rs"]
mod workers;
