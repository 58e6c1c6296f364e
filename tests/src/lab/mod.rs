//! Drives `scripts/lab` from tests: real members, real hosts, real faults.
//!
//! The tool builds the networks and holds the processes; this module is its remote control and its eyes. Members are
//! asked directly on their control sockets, because measuring how fast a cluster heals takes answers every few
//! milliseconds, and starting an interpreter for each would cost the members' processors more than the faults do.
//!
//! | file | what |
//! | --- | --- |
//! | `stage` | one lab: up, down, members, cuts, splits, commands in hosts |
//! | `member` | one member's socket: status, metrics |
//! | `health` | whether the running members are one whole cluster |
//! | `traffic` | the traffic generator and its report |
//! | `foreign` | other people's programs, `curl`, `nc`, `ssh`, that hold connections through the cluster for as long as it takes |
//! | `charon` | other people's IKEv2: strongSwan in a namespace or a guest |
//! | `guest` | what a guest's kernel is given before it is a peer |
//! | `course` | which member is killed, or leaves, next |
//! | `delays` | what the streams' pieces say about each death: who had to wait, and for how long |
//! | `capture`, `pcap` | what a host saw: answers to a request, and who sent them |
//! | `scenario` | one fault under traffic, measured from the cut to the healing |
//! | `ike_interop` | strongSwan as IKEv2's and ESP's peer, in every way that both know |
//! | `interop` | a guest's kernel as TCP's peer, its settings and its network in all combinations |
//! | `chaos` | the soak: seeded faults, then the search for leaks |
//!
//! This is a shell: it owns a clock and waits, because what it watches are processes in real time.

pub mod capture;
pub mod chaos;
pub mod charon;
pub mod clock;
pub mod course;
pub mod delays;
pub mod foreign;
pub mod guest;
pub mod health;
pub mod ike_interop;
pub mod interop;
pub mod member;
pub mod pcap;
pub mod process;
pub mod scenario;
pub mod stage;
pub mod traffic;

pub use stage::{Lab, Plan};

/// What went wrong, for the reader of a test's output.
#[derive(Debug)]
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Something that can go wrong.
pub type Outcome<T> = Result<T, Failure>;

/// An error with the circumstances that it came about in.
pub fn failure(what: impl std::fmt::Display) -> Failure {
    Failure(what.to_string())
}
