//! What a run is made of.

use phalanx_control::cluster::{Delivery, Fault, Quorum};

use super::sessions::{SessionOptions, SessionReport};

/// Choices that are fixed for all seeds; what is `None` is drawn from each seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How many members.
    pub members: Option<usize>,
    /// Which quorum rule.
    pub quorum: Option<Quorum>,
    /// How packets are delivered.
    pub delivery: Option<Delivery>,
    /// The keepalive period.
    pub period_ms: Option<u64>,
    /// A fault planted in every member's core.
    pub fault: Option<Fault>,
    /// Whether sessions run on the cluster, and how.
    pub sessions: Option<SessionOptions>,
    /// Whether to write every event down as text.
    pub trace: bool,
    /// Stop here, whatever comes later: for bisecting a long run.
    pub steps_max: Option<u64>,
}

/// What a run without violation tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// How many events.
    pub steps: u64,
    /// Folds every event in its order: the same seed gives the same hash.
    pub hash: u64,
    /// Virtual time at the end.
    pub end_ns: u64,
    /// Packets that hosts sent.
    pub packets: u64,
    /// Packets that a member processed.
    pub processed: u64,
    /// How often the cluster was found converged.
    pub converged: u64,
    /// Planned moves carried out.
    pub moves: u64,
    /// Units that came to an owner, where they have sessions.
    pub takeovers: u64,
    /// The longest failover blackout after a lone kill, and its bound.
    pub blackout_ns: u64,
    /// What became of sessions.
    pub sessions: SessionReport,
}

/// A checker's verdict.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which seed.
    pub seed: u64,
    /// At which event.
    pub step: u64,
    /// When.
    pub now_ns: u64,
    /// What is wrong.
    pub what: String,
    /// What happened before (with [`Options::trace`]).
    pub trace: Vec<String>,
}
