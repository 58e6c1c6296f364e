//! What a peer says into its owner's death is answered by the heir: by an app that bears repeats, and only then.

use std::sync::Arc;

use dpdk::Eal;
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::replica::{MemberSet, TableVersion};
use phalanx_dataplane::steer::{Holders, Mode, Order, ReleaseTo};
use phalanx_dataplane::unit::{MemberId, UNITS, Unit};
use phalanx_dataplane::worker::WorkerOrder;

use crate::echo::{Echo, question};
use crate::stage::{OUTSIDE, Stage, member};

/// A view in which all units are `owner`'s, and member 2 is there or gone.
fn view(stage: &mut Stage, mode: Mode, owner: MemberId, two_is_there: bool) {
    let mut view = stage.view(vec![mode; UNITS], true);
    if !two_is_there {
        view.peers[1] = None;
    }
    let version = TableVersion { term: 1, generation: view.version };
    let (owners, backups) = (vec![Some(owner); UNITS], vec![MemberSet::EMPTY; UNITS]);
    view.holders = Some(Arc::new(Holders { version, owners, backups }));
    stage.order(WorkerOrder::Steer(Order::View(view)));
}

fn stage(eal: &Eal, delivery: Delivery, echo: Echo) -> Stage {
    let mut stage = Stage::new(eal, delivery, 1500);
    stage.data.workers[0].add_app(Box::new(echo));
    stage.set_all(Mode::Mine, true);
    crate::echo::introduce(&mut stage, "10.2.0.100");
    stage
}

const QUESTION: &[u8] = b"anybody?";

/// How often the app answered; what it says by itself some time later does not count.
fn answers(stage: &mut Stage) -> usize {
    crate::echo::echoes(&stage.collect()[OUTSIDE]).into_iter().filter(|said| *said == QUESTION).count()
}

fn ask(stage: &mut Stage) {
    let question = question(stage, "10.2.0.100", "10.2.0.10", 7, QUESTION);
    stage.send_only(OUTSIDE, &[question]);
    stage.work();
}

pub(crate) fn scene(eal: &Eal) {
    let (me, other) = (member(1), member(2));
    for (delivery, not_ours) in
        [(Delivery::Forward, Mode::Relay(other)), (Delivery::Unicast([2, 0, 0, 0, 0, 9]), Mode::Drop)]
    {
        let mut stage = stage(eal, delivery, Echo::bearing_repeats());
        view(&mut stage, not_ours, other, true);
        ask(&mut stage);
        assert_eq!(answers(&mut stage), 0, "it is another's");
        // It moves here by plan: nothing was lost, nothing is answered twice.
        view(&mut stage, Mode::Mine, me, true);
        assert_eq!(answers(&mut stage), 0);

        view(&mut stage, not_ours, other, true);
        ask(&mut stage);
        ask(&mut stage);
        assert_eq!(answers(&mut stage), 0);
        view(&mut stage, Mode::Mine, me, false);
        // What came before the planned move is kept, too, and not too old.
        assert_eq!(answers(&mut stage), 3, "the owner died: its heir answers");
        assert_eq!(stage.data.shared.workers[0].recalled.get(), 3);

        // A master that does not know the heir yet holds them for it.
        view(&mut stage, not_ours, other, true);
        ask(&mut stage);
        view(&mut stage, Mode::Hold, other, false);
        assert_eq!((answers(&mut stage), stage.data.workers[0].held()), (0, 1));
        for unit in Unit::all() {
            stage.order(WorkerOrder::Steer(Order::Release { unit, to: ReleaseTo::Here, except: Vec::new() }));
        }
        view(&mut stage, Mode::Mine, me, false);
        assert_eq!(answers(&mut stage), 1);
        stage.assert_balance();
    }
}

/// An heir that lives has what there was: whoever takes the unit over from it does not.
pub(crate) fn from_an_heir(eal: &Eal) {
    let (other, heir) = (member(2), member(3));
    for (master, held) in [(false, 0), (true, 1)] {
        let mut stage = stage(eal, Delivery::Unicast([2, 0, 0, 0, 0, 9]), Echo::bearing_repeats());
        view(&mut stage, Mode::Drop, other, true);
        ask(&mut stage);
        let mut view = stage.view(vec![Mode::Hold; UNITS], master);
        view.peers = vec![view.peers[0].take(), None, Some(Vec::new())];
        let version = TableVersion { term: 1, generation: view.version };
        let (owners, backups) = (vec![Some(heir); UNITS], vec![MemberSet::EMPTY; UNITS]);
        view.holders = Some(Arc::new(Holders { version, owners, backups }));
        stage.order(WorkerOrder::Steer(Order::View(view)));
        assert_eq!(stage.data.workers[0].held(), held, "a master keeps it for the heir");
        stage.set_all(Mode::Drop, false);
        stage.assert_balance();
    }
}

/// An app whose answers can be counted gets nothing twice.
pub(crate) fn not_asked_for(eal: &Eal) {
    let (me, other) = (member(1), member(2));
    let mut stage = stage(eal, Delivery::Forward, Echo::default());
    view(&mut stage, Mode::Relay(other), other, true);
    ask(&mut stage);
    view(&mut stage, Mode::Mine, me, false);
    assert_eq!(answers(&mut stage), 0);
    assert_eq!(stage.data.shared.workers[0].recalled.get(), 0);
    stage.assert_balance();
}
