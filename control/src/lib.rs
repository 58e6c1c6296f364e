//! See ARCHITECTURE.md.

mod bench;
pub mod cli;
pub mod cluster;
pub mod codec;
mod counters;
pub mod envelope;
pub mod ike;
mod limited;
pub mod link;
mod pcapng;
pub mod pki;
pub mod replication;
pub mod runtime;
pub mod status;
mod tunnels;
