//! What is done to a member, and how that ends.

use std::time::Duration;

use phalanx_tests::lab::course::Action;
use phalanx_tests::lab::{Lab, Outcome, clock, process};

/// Half of what happens are deaths.
const ACTIONS: [Action; 4] = [Action::Kill, Action::Pause, Action::Kill, Action::Cut];
/// Four and three have no common divisor: everything meets everything.
const CIRCUMSTANCES: [Circumstance; 3] = [Circumstance::Rekeyings, Circumstance::Handshakes, Circumstance::Calm];
/// After a death the others have this long until the member comes back.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// How long a member is frozen, or without its cables: longer than its lease.
const AWAY: Duration = Duration::from_secs(2);
const HEALED: Duration = Duration::from_secs(30);
/// The tool takes about so long until a cable is cut.
const TOOL: Duration = Duration::from_millis(150);

/// What else goes on when a member is hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Circumstance {
    Calm,
    /// Peers connect.
    Handshakes,
    /// Peers rekey.
    Rekeyings,
}

impl Circumstance {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Handshakes => "handshakes",
            Self::Rekeyings => "rekeyings",
        }
    }
}

/// What happens in a step, and during what.
pub(crate) fn plan(step: u32) -> (Action, Circumstance) {
    let step = step as usize;
    (ACTIONS[step % ACTIONS.len()], CIRCUMSTANCES[step % CIRCUMSTANCES.len()])
}

/// How much later the member feels it than it is done.
pub(crate) fn delay(action: Action) -> Duration {
    if action == Action::Cut { TOOL } else { Duration::ZERO }
}

/// Does it.
pub(crate) fn strike(lab: &mut Lab, action: Action, victim: u8, pid: u32) -> Outcome<()> {
    match action {
        Action::Kill => lab.kill_at(victim, pid).map(drop),
        Action::Pause => {
            lab.forget(victim);
            process::signal(pid, "STOP")
        }
        Action::Cut => {
            lab.forget(victim);
            lab.cut(victim, "all", "both", 100)
        }
        Action::Drain => lab.drain(victim),
        Action::Stop => lab.act("stop", victim),
    }
}

/// How long the member stays away.
pub(crate) fn absence(action: Action) -> Duration {
    if action == Action::Kill { AFTERMATH } else { AWAY }
}

/// Undoes it.
pub(crate) fn relieve(lab: &mut Lab, action: Action, victim: u8) -> Outcome<()> {
    match action {
        // Whoever was killed from outside is not always reaped yet.
        Action::Kill => clock::until(HEALED, Duration::from_millis(200), || lab.act("start", victim)).map(drop),
        Action::Drain | Action::Stop => lab.act("start", victim),
        Action::Pause => lab.act("resume", victim),
        Action::Cut => {
            lab.heal(victim, "all")?;
            lab.remember(victim);
            Ok(())
        }
    }
}
