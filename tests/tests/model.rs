//! Exhaustive checking of the cluster core: three members, two units, every pair of faults at every moment.
//! `phalanx_tests::model` says what is exact and what is abstracted.

use phalanx_control::cluster::Quorum;
use phalanx_tests::model::{Cluster, LONG, SHORT, Trouble, WINDOW};
use stateright::{Checker, Model, Property};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    cluster: Cluster,
    faults: u8,
    /// Ticks in which a fault may still come.
    left: u8,
    rested: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Action {
    Tick,
    Hurt(usize, Trouble),
    /// No more faults: run to the end.
    Rest,
}

struct Faults {
    quorum: Quorum,
    reversed: bool,
    troubles: Vec<Trouble>,
}

impl Model for Faults {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let cluster = Cluster::converged(self.quorum, self.reversed);
        assert_eq!(cluster.unrest(), None);
        vec![State { cluster, faults: 2, left: 4, rested: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.rested || state.cluster.wrong.is_some() {
            return;
        }
        if state.faults < 2 {
            actions.push(Action::Rest);
        }
        if state.faults == 0 || state.left == 0 {
            return;
        }
        actions.push(Action::Tick);
        for at in (0..3).filter(|at| state.cluster.is_well(*at)) {
            actions.extend(self.troubles.iter().map(|trouble| Action::Hurt(at, *trouble)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Tick => {
                next.left -= 1;
                next.cluster.step();
            }
            Action::Hurt(at, trouble) => {
                next.cluster.hurt(at, trouble);
                next.faults -= 1;
                next.left = WINDOW;
            }
            Action::Rest => {
                next.rested = true;
                next.cluster.rest();
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one valid owner, and whole in the end", |_, state: &State| state.cluster.wrong.is_none()),
            Property::sometimes("two faults were survived", |_, state: &State| state.rested && state.faults == 0),
        ]
    }
}

fn check(quorum: Quorum, reversed: bool, troubles: &[Trouble]) {
    let model = Faults { quorum, reversed, troubles: troubles.to_vec() };
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{quorum:?}, reversed {reversed}: {} states", checker.unique_state_count());
    if let Some(path) = checker.discovery("one valid owner, and whole in the end") {
        let wrong = path.last_state().cluster.wrong.clone();
        let story: Vec<_> = path.into_actions();
        panic!("{wrong:?} after {story:?}");
    }
    checker.assert_properties();
}

const PAUSES: [Trouble; 3] = [Trouble::Crash, Trouble::Pause(SHORT), Trouble::Pause(LONG)];
const ALL: [Trouble; 5] =
    [Trouble::Crash, Trouble::Pause(SHORT), Trouble::Pause(LONG), Trouble::Cut(SHORT), Trouble::Cut(LONG)];

/// Under `none` a member that is cut off may serve those that it still reaches: there the faults are crashes and pauses.
#[test]
fn no_pair_of_crashes_and_pauses_makes_two_owners() {
    check(Quorum::None, false, &PAUSES);
    check(Quorum::None, true, &PAUSES);
}

#[test]
fn under_majority_no_pair_of_faults_makes_two_owners() {
    check(Quorum::Majority, false, &ALL);
    check(Quorum::Majority, true, &ALL);
}
