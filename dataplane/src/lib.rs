//! The packet path: headers, the filter, Figure 9, routes and neighbours, the workers.
//!
//! Knows no files, no sockets, no async. Time comes in as an argument.

pub mod app;
pub mod bench;
pub mod drop_reason;
pub mod filter;
pub mod icmp_error;
pub mod ipsec;
pub mod local;
pub mod neighbour;
pub mod parse;
pub mod port;
pub mod relay;
pub mod replica;
pub mod steer;
mod tallies;
pub mod tcp;
pub mod unit;
pub mod wire;
pub mod worker;
