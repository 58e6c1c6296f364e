//! The faults of the partition suites, and what each may do to traffic.

use std::time::Duration;

use phalanx_tests::lab::scenario::{Fault, Harm, SLACK_MS, Scenario, Victim};

const WHILE: Duration = Duration::from_millis(2500);
/// A member that the LAN does not reach is relieved when that is certain, and its units are handed over.
const RELIEF: Harm = Harm::AtMost(2500.0);
/// Whoever hears nothing but is heard needs a moment more: the others must first disregard it.
const DEAF: Harm = Harm::AtMost(3000.0);
const DEATH: Harm = Harm::Detection(SLACK_MS);

const fn cut(name: &'static str, victim: Victim, port: &'static str, direction: &'static str, harm: Harm) -> Scenario {
    Scenario { name, victim, fault: Fault::Cut(port, direction, 100), lasts: WHILE, harm }
}

const fn pause(name: &'static str, victim: Victim, lasts: Duration) -> Scenario {
    Scenario { name, victim, fault: Fault::Pause, lasts, harm: DEATH }
}

/// One port of a member, both directions.
pub(crate) fn ports() -> Vec<Scenario> {
    use Victim::{Master, Other};
    vec![
        cut("cluster link cut", Other, "cluster", "both", Harm::Nothing),
        cut("cluster link of the master cut", Master, "cluster", "both", Harm::Nothing),
        cut("outside cut", Other, "outside", "both", RELIEF),
        cut("outside of the master cut", Master, "outside", "both", RELIEF),
        cut("inside cut", Other, "inside", "both", RELIEF),
        cut("inside of the master cut", Master, "inside", "both", RELIEF),
    ]
}

/// All ports of a member at once, in both or one direction.
pub(crate) fn members() -> Vec<Scenario> {
    use Victim::{Master, Other};
    vec![
        cut("everything cut", Other, "all", "both", DEATH),
        cut("everything of the master cut", Master, "all", "both", DEATH),
        cut("nothing comes in", Other, "all", "rx", DEAF),
        cut("nothing comes in at the master", Master, "all", "rx", DEAF),
        cut("nothing goes out", Other, "all", "tx", DEATH),
        cut("nothing goes out of the master", Master, "all", "tx", DEATH),
        cut("outside: nothing goes out", Other, "outside", "tx", RELIEF),
        cut("inside: nothing comes in", Other, "inside", "rx", RELIEF),
    ]
}

/// Loss on every port of a member: keepalives travel three ways, so nobody may be condemned.
pub(crate) fn loss() -> Vec<Scenario> {
    vec![Scenario {
        name: "20 % loss",
        victim: Victim::Other,
        fault: Fault::Cut("all", "both", 20),
        lasts: Duration::from_secs(10),
        harm: Harm::NobodyLeaves,
    }]
}

/// Members that freeze and wake.
pub(crate) fn pauses() -> Vec<Scenario> {
    vec![
        pause("paused for 1 s", Victim::Other, Duration::from_secs(1)),
        pause("paused for 3 s", Victim::Other, Duration::from_secs(3)),
        pause("master paused for 1 s", Victim::Master, Duration::from_secs(1)),
        pause("master paused for 3 s", Victim::Master, Duration::from_secs(3)),
    ]
}

/// Members lose sight of one another, but hosts see them all: only a quorum can keep them apart.
pub(crate) fn isolation() -> Vec<Scenario> {
    let alone = |name, victim| Scenario { name, victim, fault: Fault::Isolation, lasts: WHILE, harm: DEATH };
    vec![
        alone("isolated, in sight of hosts", Victim::Other),
        alone("master isolated, in sight of hosts", Victim::Master),
    ]
}

/// All of it.
#[allow(dead_code, reason = "the long suites' plan")]
pub(crate) fn everything(quorum: &str) -> Vec<Scenario> {
    let mut all = [ports(), members(), pauses()].concat();
    if quorum == "majority" {
        all.extend(isolation());
    }
    // Last, for the cluster's n grows by it: a death that followed at once would be noticed late, and rightly so.
    all.extend(loss());
    all
}
