//! The deterministic simulator (DESIGN section 12, point 2): whole clusters of production cores and production
//! steering engines in virtual time, under faults drawn from a seed, with checkers after every step.
//!
//! What is real: `control`'s `Core` and `dataplane`'s `Steering`, one of each per member, driven as the runtime drives
//! them. What is modelled: clocks that drift, rings with a delay, lines that lose, delay, double and cut ([`net`]),
//! processes that die, stop and stall ([`faults`]), and hosts that number their packets ([`traffic`]). What is left out:
//! what sessions are (a unit's are one number, [`replicas`]), sealing (every datagram is authentic, copies are recognised), several workers per member, apps that refuse.
//!
//! Sessions (apps, replication, TCP, and hosts that talk through it) run on top where they are asked for: [`sessions`].
//!
//! A seed is a whole run. If a checker objects, [`World::run`] returns a [`Violation`]; the same seed with
//! [`Options::trace`] tells the story.

pub mod check;
pub mod clock;
pub mod faults;
pub mod net;
pub mod node;
pub mod options;
pub mod replicas;
pub mod rng;
pub mod sessions;
pub mod traffic;
pub mod world;

pub use options::{Options, Report, Violation};
pub use sessions::{SessionFault, SessionOptions, SessionReport};
pub use world::World;

/// Runs a seed; if a checker objects, runs it again to write the story down.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Violation>> {
    match World::run(seed, options) {
        Err(_) if !options.trace => World::run(seed, &Options { trace: true, ..*options }),
        result => result,
    }
}
