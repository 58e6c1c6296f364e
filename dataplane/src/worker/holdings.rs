//! What a worker holds of sessions, its own and others': the log of what it tells its backups, the store of what owners
//! tell it, and which units are whose. Obeys views as far as sessions are concerned.
//!
//! Kept apart from the packet path so that the simulator drives the very same decisions: which units came and went, who
//! is to be told, and when an order counts as obeyed.

use super::handover::worker_of;
use crate::app::UnitSet;
use crate::replica::{MemberSet, Outbox, Position, Store};
use crate::steer::{Holders, Mode, View};
use crate::unit::{MemberId, Unit};

/// See the module.
pub struct Holdings {
    me: MemberId,
    worker: usize,
    workers: usize,
    /// What the backups are to hold of the apps' sessions.
    pub outbox: Outbox,
    /// What this member holds of sessions of which it is not, or not yet, the owner.
    pub store: Store,
    /// Up to where the backups hold the log, as the apps know.
    committed: Position,
    /// Units that were ours by the last table.
    replicated: UnitSet,
    /// The units that this worker serves, as the apps know.
    owned: UnitSet,
    /// Where the log ended when units were last taken from us, and who is to hold them.
    stopped_at: Position,
    stopped_for: MemberSet,
    /// Units that are on their way to us.
    expected: UnitSet,
}

impl Holdings {
    /// Those of worker number `worker` of so many, of this member: no unit is its own yet.
    pub fn new(me: MemberId, worker: usize, workers: usize, outbox: Outbox, store: Store) -> Self {
        Self {
            me,
            worker,
            workers,
            outbox,
            store,
            committed: Position(0),
            replicated: UnitSet::EMPTY,
            owned: UnitSet::EMPTY,
            stopped_at: Position(0),
            stopped_for: MemberSet::EMPTY,
            expected: UnitSet::EMPTY,
        }
    }

    /// Whether this worker serves the unit.
    pub fn owns(&self, unit: Unit) -> bool {
        self.owned.contains(unit)
    }

    /// Whether this member tells backups of the unit: by the table it is ours.
    pub fn replicates(&self, unit: Unit) -> bool {
        self.replicated.contains(unit)
    }

    /// Takes a unit up because a packet of it is to be processed here: what was kept for a unit that comes to us is released
    /// just before the view that says so. Says whether it was not ours before: then the apps are to be told.
    pub fn take_up(&mut self, unit: Unit) -> bool {
        let new = !self.owned.contains(unit);
        self.owned.insert(unit);
        new
    }

    /// Which units come and go with a view that is about to be obeyed: the apps are to be told at once.
    pub fn note_units(&mut self, view: &View) -> (UnitSet, UnitSet) {
        let next: UnitSet = self.units(view, |mode| is_ours(mode, self.me));
        let (gained, lost) = (next.without(&self.owned), self.owned.without(&next));
        self.owned = next;
        (gained, lost)
    }

    /// Takes over who holds what from a view that is about to be obeyed, once the apps have let go of the units that they lost.
    pub fn obey(&mut self, view: &View, lost: &UnitSet) {
        if !lost.is_empty() {
            self.stopped_at = self.outbox.head();
            // Who does not follow the unit yet cannot be the one that it goes to, and would have to be connected first.
            let followers = lost.iter().map(|unit| self.outbox.followers(unit));
            self.stopped_for = followers.fold(self.stopped_for, MemberSet::union);
        }
        // The dead are not waited for.
        let is_here = |member: &MemberId| view.peers.get(member.index()).is_some_and(Option::is_some);
        self.stopped_for = self.stopped_for.iter().filter(is_here).collect();
        self.expected = UnitSet::EMPTY;
        if let Some(holders) = &view.holders {
            self.note_holders(holders);
            self.expected = self.units(view, |mode| is_expected(mode, self.me, view.answers));
        }
    }

    /// A unit that is ours by the table has its backups though it may rest at the moment; one that is not has none of ours.
    fn note_holders(&mut self, holders: &Holders) {
        let mut ours = UnitSet::EMPTY;
        for (unit, owner) in Unit::all().zip(&holders.owners) {
            if !self.serves(unit) {
                continue;
            }
            self.store.set_owner(unit, *owner, holders.version);
            if *owner == Some(self.me) {
                ours.insert(unit);
            } else if self.replicated.contains(unit) {
                self.outbox.set_backups(unit, MemberSet::EMPTY);
            }
        }
        self.store.set_version(holders.version);
        self.outbox.set_version(holders.version);
        for unit in ours.iter() {
            self.outbox.set_backups(unit, holders.backups[unit.index()]);
        }
        self.replicated = ours;
    }

    /// Whether orders count as obeyed. Who takes over what we stop doing must first hold all that we did; and before we say that we
    /// are ready for a unit we must hold all that its owner did.
    pub fn is_settled(&mut self) -> bool {
        let (outbox, stopped_at) = (&self.outbox, self.stopped_at);
        if self.stopped_for.iter().all(|member| outbox.has_reached(member, stopped_at)) {
            self.stopped_for = MemberSet::EMPTY;
        }
        self.stopped_for == MemberSet::EMPTY
            && (self.expected.is_empty() || self.expected.iter().all(|unit| self.store.is_synced(unit)))
    }

    /// Whether the backups hold more than when this was last asked: then the apps are to be told.
    pub fn has_new_commits(&mut self) -> bool {
        let committed = self.outbox.committed();
        std::mem::replace(&mut self.committed, committed) != committed
    }

    /// Pairs of a unit of ours and a backup that is to hold it and does not yet.
    pub fn lacking(&self) -> u64 {
        let lacks = |(unit, backups): (Unit, MemberSet)| {
            backups.iter().filter(|member| !self.outbox.is_synced(*member, unit)).count() as u64
        };
        self.replicated.iter().map(|unit| lacks((unit, self.outbox.backups(unit)))).sum()
    }

    /// The units of this worker that are in such a mode.
    fn units(&self, view: &View, wanted: impl Fn(Mode) -> bool) -> UnitSet {
        let units = Unit::all().zip(&view.modes).filter(|(unit, mode)| wanted(**mode) && self.serves(*unit));
        units.map(|(unit, _)| unit).collect()
    }

    fn serves(&self, unit: Unit) -> bool {
        self.workers == 1 || worker_of(unit, self.workers) == self.worker
    }
}

/// Whether the member serves a unit in this mode.
pub(super) fn is_ours(mode: Mode, me: MemberId) -> bool {
    match mode {
        Mode::Mine | Mode::MineLogged | Mode::HoldOwn => true,
        Mode::RelayBoth { from, .. } => from == me,
        Mode::Drop | Mode::Hold | Mode::Relay(_) | Mode::Unassigned | Mode::Quarantined => false,
    }
}

/// Whether a unit in this mode is on its way to the member. (A master under a shared address holds others' packets, too: there
/// nothing tells the two apart, but a master is not new.)
fn is_expected(mode: Mode, me: MemberId, answers: bool) -> bool {
    match mode {
        Mode::Hold => !answers,
        Mode::RelayBoth { to, .. } => to == me,
        _ => false,
    }
}
