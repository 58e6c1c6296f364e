//! What a worker holds of sessions, its own and others': the log of what it tells its backups, the store of what owners
//! tell it, and which units are whose. Obeys views as far as sessions are concerned.
//!
//! Kept apart from the packet path so that the simulator drives the very same decisions: which units came and went, who
//! is to be told, and when an order counts as obeyed.

use super::handover::worker_of;
use super::in_sync::HeldBack;
use crate::app::UnitSet;
use crate::replica::{MemberSet, Outbox, Position, Store};
use crate::steer::{Holders, Mode, View};
use crate::unit::{MemberId, Unit};

/// How long the other backups are waited for when units are handed over: so much spares them a snapshot by the new owner.
const OTHERS_WAIT_NS: u64 = 10_000_000;

/// What must be elsewhere before orders by which we stopped serving units count as obeyed.
#[derive(Clone, Copy, Debug)]
struct Stopped {
    units: UnitSet,
    /// Where the log ended.
    at: Position,
    /// Those who may take the units over, and are to have all of it.
    takers: MemberSet,
    /// The other backups, and until when they are waited for.
    others: MemberSet,
    others_until_ns: u64,
}

impl Stopped {
    const NOTHING: Self = Self {
        units: UnitSet::EMPTY,
        at: Position(0),
        takers: MemberSet::EMPTY,
        others: MemberSet::EMPTY,
        others_until_ns: 0,
    };
}

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
    /// Units that we serve no longer.
    stopped: Stopped,
    /// Units that are on their way to us.
    expected: UnitSet,
    /// Commits wait for the cluster to know who fell out of sync.
    pub(super) held_back: Option<HeldBack>,
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
            stopped: Stopped::NOTHING,
            expected: UnitSet::EMPTY,
            held_back: None,
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
    #[inline]
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
    pub fn obey(&mut self, now_ns: u64, view: &View, lost: &UnitSet) {
        self.note_stopped(now_ns, view, lost);
        self.expected = UnitSet::EMPTY;
        if let Some(holders) = &view.holders {
            self.note_holders(holders);
            // What is ours by the table and kept is on its way to another.
            let coming = self.units(view, |mode| is_expected(mode, self.me, view.answers));
            self.expected = coming.without(&self.replicated);
        }
    }

    fn note_stopped(&mut self, now_ns: u64, view: &View, lost: &UnitSet) {
        let mut stopped = self.stopped;
        for unit in lost.iter() {
            // Who does not follow the unit yet cannot be the one that it goes to, and would have to be connected first.
            let followers = self.outbox.followers(unit);
            let takers = takers(view, unit, self.me, followers);
            stopped.takers = stopped.takers.union(takers);
            stopped.others = stopped.others.union(followers.without(takers));
            stopped.units.insert(unit);
        }
        if !lost.is_empty() {
            (stopped.at, stopped.others_until_ns) = (self.outbox.head(), now_ns.saturating_add(OTHERS_WAIT_NS));
        }
        stopped.units = stopped.units.without(&self.owned);
        // What we serve again nobody takes over. And the dead are not waited for.
        let is_here = |member: &MemberId| view.peers.get(member.index()).is_some_and(Option::is_some);
        let counts = |members: MemberSet| members.iter().filter(is_here).collect();
        self.stopped = if stopped.units.is_empty() {
            Stopped::NOTHING
        } else {
            Stopped { takers: counts(stopped.takers), others: counts(stopped.others), ..stopped }
        };
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
    pub fn is_settled(&mut self, now_ns: u64) -> bool {
        let Stopped { at, takers, others, others_until_ns, .. } = self.stopped;
        let have_it = |members: MemberSet| members.iter().all(|member| self.outbox.has_reached(member, at));
        if have_it(takers) && (now_ns >= others_until_ns || have_it(others)) {
            self.stopped = Stopped::NOTHING;
        }
        self.stopped.units.is_empty()
            && (self.expected.is_empty() || self.expected.iter().all(|unit| self.store.is_synced(unit)))
    }

    /// Whether something is waited for that no message need bring: it is to be looked for every now and then.
    pub fn looks_again(&self) -> bool {
        self.held_back.is_some() || !self.stopped.others.is_empty()
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

/// Those among a unit's followers who may take it over, now that we stop serving it.
fn takers(view: &View, unit: Unit, me: MemberId, followers: MemberSet) -> MemberSet {
    let owner = view.holders.as_ref().and_then(|holders| holders.owners.get(unit.index()).copied().flatten());
    let taker = if owner == Some(me) { view.heir } else { owner };
    taker.map_or(followers, |taker| followers.intersection(MemberSet::of(taker)))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::replica::{Change, DigestKey, OutboxLimits, SessionKey, Snapshots, StoreLimits, TableVersion, Update};
    use crate::unit::{MEMBER_NUMBER_MAX, UNITS};

    fn member(number: u8) -> MemberId {
        MemberId::new(number).expect("a number")
    }

    /// All units are ours by the table, and held by two others.
    fn view(version: u64, mode: Mode, heir: Option<MemberId>) -> View {
        let backups: MemberSet = [member(2), member(3)].into_iter().collect();
        let holders = Holders {
            version: TableVersion { term: 1, generation: 1 },
            owners: vec![Some(member(1)); UNITS],
            backups: vec![backups; UNITS],
        };
        let peers = vec![Some(Vec::new()); usize::from(MEMBER_NUMBER_MAX)];
        View { version, modes: vec![mode; UNITS], answers: false, peers, holders: Some(Arc::new(holders)), heir }
    }

    /// Units that two backups follow, and that are served no longer, for they go to the first of these.
    fn stopped(now_ns: u64) -> Holdings {
        let store = Store::new(DigestKey::new([1; 16]), StoreLimits::default());
        let mut it = Holdings::new(member(1), 0, 1, Outbox::new(OutboxLimits::default()), store);
        let first = view(1, Mode::Mine, None);
        let (gained, lost) = it.note_units(&first);
        assert_eq!((gained.iter().count(), lost.is_empty()), (UNITS, true));
        it.obey(now_ns, &first, &lost);
        for backup in [2, 3] {
            it.outbox.greeted(member(backup), 1, None);
        }
        let mut snapshots = Snapshots::new();
        while snapshots.pump(&mut it.outbox, &mut it.store, 1000) {}
        let unit = Unit::all().next().expect("a unit");
        let change = Change::Initial { version: 1, bytes: b"state" };
        it.outbox.append(&Update::new(unit, SessionKey(1), 1, change));
        for backup in [2, 3] {
            while it.outbox.poll_ship(member(backup)).is_some() {}
        }
        let then = view(2, Mode::Drop, Some(member(2)));
        let (_, lost) = it.note_units(&then);
        it.obey(now_ns, &then, &lost);
        it
    }

    #[test]
    fn units_are_handed_over_when_the_new_owner_has_all_and_the_other_backups_had_their_time() {
        let (now_ns, late_ns) = (7, 7 + OTHERS_WAIT_NS);
        let mut it = stopped(now_ns);
        let head = it.outbox.head();
        assert!(!it.is_settled(now_ns) && !it.is_settled(late_ns), "nobody has anything");
        it.outbox.acknowledged(member(2), head);
        assert!(!it.is_settled(now_ns) && it.looks_again(), "the other may have it soon");
        assert!(it.is_settled(late_ns) && !it.looks_again());

        let mut it = stopped(now_ns);
        it.outbox.acknowledged(member(3), head);
        assert!(!it.is_settled(late_ns), "the new owner lacks something");
        it.outbox.acknowledged(member(2), head);
        assert!(it.is_settled(now_ns), "both have all");
    }

    #[test]
    fn what_is_served_again_is_waited_for_no_longer() {
        let mut it = stopped(0);
        let again = view(3, Mode::Mine, None);
        let (_, lost) = it.note_units(&again);
        it.obey(0, &again, &lost);
        assert!(it.is_settled(0));
    }
}
