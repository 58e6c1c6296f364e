//! Sessions, as far as their owners matter: who holds what of each unit, and whether an heir has all that was shown.
//!
//! A unit's sessions are one number here, which rises with each update anywhere in the world, so that of two histories the
//! newer one has the higher number. An owner updates its units, backups in sync get each update, and what all of them
//! have is committed: from then on nobody may lose it. A backup that is new to a unit comes into sync after a while, at once
//! or slowly; now and then one falls out. What the production cores get to know of that is what their workers would tell.
//!
//! Where real sessions run ([`super::sessions`]), these numbers rest, and what the cores are told comes from the members' own logs.
//!
//! *The check.* In a calm, and after a lone kill, whoever becomes a unit's owner has all that was committed, if anyone alive has.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_control::cluster::Time;
use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::replica::MemberSet;
use phalanx_dataplane::steer::{Holders, Mode};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::node::is_owners;
use super::rng::Rng;
use super::world::{Event, MS, World};

/// How often owners write.
const TICK: u64 = 2 * MS;

/// What a process holds, and what its worker says of its backups.
#[derive(Default)]
struct Store {
    life: u32,
    /// How many ticks pass before it comes into sync with some more units.
    pace: u64,
    holders: Option<Arc<Holders>>,
    /// By unit: the last update that it has.
    has: Vec<u64>,
    owned: Option<UnitSet>,
    /// By unit of its own: who is in sync, and in which life.
    in_sync: Vec<BTreeMap<usize, u32>>,
    told: u64,
    heard: u64,
    /// Commits wait until the cluster knows this much.
    held_back: Option<u64>,
}

/// All of it.
pub struct Holdings {
    /// Whether a number stands for a unit's sessions; else nothing does, or the sessions themselves.
    is_modelled: bool,
    units: usize,
    stores: Vec<Store>,
    committed: Vec<u64>,
    updates: u64,
}

impl Holdings {
    pub(super) fn new(members: usize, units: usize, is_modelled: bool) -> Self {
        let stores = (0..members).map(|_| Store::default()).collect();
        Self { is_modelled, units, stores, committed: vec![0; units], updates: 0 }
    }

    /// A process begins: it holds nothing.
    pub(super) fn reborn(&mut self, rng: &mut Rng, at: usize, life: u32) {
        let units = self.units;
        self.stores[at] = Store {
            life,
            pace: *rng.pick(&[0, 0, 8]),
            has: vec![0; units],
            in_sync: vec![BTreeMap::new(); units],
            ..Store::default()
        };
    }
}

impl Store {
    fn owner(&self, unit: Unit) -> Option<MemberId> {
        self.holders.as_ref()?.owners.get(unit.index()).copied().flatten()
    }

    fn backups(&self, unit: Unit) -> MemberSet {
        self.holders.as_ref().and_then(|it| it.backups.get(unit.index())).copied().unwrap_or_default()
    }
}

impl World {
    fn units(&self) -> impl Iterator<Item = Unit> + use<> {
        Unit::all().take(self.common.units)
    }

    pub(super) fn begin_replicating(&mut self) {
        if self.holdings.is_modelled {
            self.at(TICK, Event::Replicate);
        }
    }

    /// A worker obeys a view: it stops telling of units that are not its own any more, and begins with those that are.
    pub(super) fn take_over_holders(&mut self, at: usize, holders: Option<&Arc<Holders>>) -> Result<(), String> {
        let (me, Some(holders)) = (self.nodes[at].id, holders.filter(|_| self.holdings.is_modelled)) else {
            return Ok(());
        };
        let store = &mut self.holdings.stores[at];
        store.holders = Some(Arc::clone(holders));
        for unit in Unit::all().take(self.common.units) {
            let wanted = if store.owner(unit) == Some(me) { store.backups(unit) } else { MemberSet::EMPTY };
            let in_sync = &mut store.in_sync[unit.index()];
            let before = in_sync.len();
            in_sync.retain(|backup, _| wanted.iter().any(|id| id.index() == *backup));
            store.told += u64::from(in_sync.len() != before);
        }
        self.check_modelled_heirs(at)
    }

    /// Whoever has become an owner has what was committed.
    fn check_modelled_heirs(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &self.nodes[at].process else { return Ok(()) };
        let me = self.nodes[at].id;
        let now: UnitSet = self.units().filter(|unit| is_owners(process.worker.mode(*unit), me)).collect();
        let before = self.holdings.stores[at].owned.replace(now).unwrap_or(UnitSet::EMPTY);
        for unit in now.without(&before).iter() {
            let (has, committed) = (self.holdings.stores[at].has[unit.index()], self.holdings.committed[unit.index()]);
            let others = (0..self.nodes.len()).filter(|it| self.nodes[*it].process.is_some());
            let holder = others.into_iter().find(|it| self.holdings.stores[*it].has[unit.index()] >= committed);
            if let Some(holder) = holder.filter(|_| has < committed && self.schedule.is_strict()) {
                return Err(format!(
                    "{me} takes over unit {unit} with update {has}, though {committed} is committed and member {} has it",
                    holder + 1
                ));
            }
            // What is lost is lost.
            self.holdings.committed[unit.index()] = has;
            self.report.takeovers += 1;
        }
        Ok(())
    }

    /// A calm begins: what owners have now is what counts. Amid faults two sides of a split may have had a history each; and
    /// of a unit that rests in quarantine a new master does not know who held it.
    pub(super) fn begin_history(&mut self) {
        for unit in self.units() {
            let owner = (0..self.nodes.len()).find(|at| self.nodes[*at].owns(self.now, unit));
            let has = owner.map_or(0, |at| self.holdings.stores[at].has[unit.index()]);
            let committed = &mut self.holdings.committed[unit.index()];
            *committed = has.min(*committed);
        }
    }

    /// Owners write, backups come into sync or fall out of it.
    pub(super) fn replicate(&mut self) {
        self.at(self.now + TICK, Event::Replicate);
        let ticks = self.now / TICK;
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_well() {
                continue;
            }
            let mut budget: Vec<usize> = (0..self.nodes.len())
                .map(|backup| match self.holdings.stores[backup].pace {
                    0 => self.common.units,
                    pace if ticks.is_multiple_of(pace) => self.common.units / 64,
                    _ => 0,
                })
                .collect();
            self.maybe_drop(at);
            for unit in self.units() {
                if self.nodes[at].owns(self.now, unit) {
                    self.replicate_unit(at, unit, &mut budget);
                }
            }
        }
    }

    /// Whether a backup takes in what the owner says of a unit.
    fn listens(&self, owner: usize, backup: usize, unit: Unit) -> bool {
        let agrees = self.holdings.stores[backup].owner(unit) == Some(self.nodes[owner].id);
        agrees && self.nodes[backup].is_well() && self.know_each_other(owner, backup)
    }

    fn replicate_unit(&mut self, at: usize, unit: Unit, budget: &mut [usize]) {
        let index = unit.index();
        for backup in self.holdings.stores[at].backups(unit).iter().map(MemberId::index) {
            let known = self.holdings.stores[at].in_sync[index].contains_key(&backup);
            if backup != at && !known && budget[backup] > 0 && self.listens(at, backup, unit) {
                budget[backup] -= 1;
                self.holdings.stores[backup].has[index] = self.holdings.stores[at].has[index];
                let life = self.holdings.stores[backup].life;
                let store = &mut self.holdings.stores[at];
                store.in_sync[index].insert(backup, life);
                store.told += 1;
            }
        }
        if !self.rng.permille(300) {
            return;
        }
        self.holdings.updates += 1;
        let update = self.holdings.updates;
        self.holdings.stores[at].has[index] = update;
        let mut all = self.holdings.stores[at].held_back.is_none();
        for (backup, life) in self.holdings.stores[at].in_sync[index].clone() {
            let listens = self.listens(at, backup, unit) && self.holdings.stores[backup].life == life;
            if listens {
                self.holdings.stores[backup].has[index] = update;
            }
            all &= listens;
        }
        if all {
            self.holdings.committed[index] = update;
        }
    }

    /// A backup that fell behind is in sync with nothing any more. Not amid a move: production then gives the move up.
    fn maybe_drop(&mut self, at: usize) {
        if !self.rng.permille(1) {
            return;
        }
        let (me, backup) = (self.nodes[at].id, self.rng.below(self.nodes.len() as u64) as usize);
        let Some(process) = &self.nodes[at].process else { return };
        let moves =
            |unit: &Unit| self.holdings.stores[at].owner(*unit) == Some(me) && process.worker.mode(*unit) != Mode::Mine;
        if self.units().any(|unit| moves(&unit)) || self.nodes.iter().any(|it| it.process.is_none() && it.life == 0) {
            return;
        }
        let store = &mut self.holdings.stores[at];
        let before: usize = store.in_sync.iter().map(BTreeMap::len).sum();
        store.in_sync.iter_mut().for_each(|in_sync| in_sync.retain(|it, _| *it != backup));
        if store.in_sync.iter().map(BTreeMap::len).sum::<usize>() != before {
            store.told += 1;
            store.held_back = Some(store.told);
            self.note(|| format!("{me} drops backup {}", backup + 1));
        }
    }

    /// The cluster thread looks what its worker has told. Before anything else: so does production's.
    pub(super) fn tell_in_sync(&mut self, at: usize, local: Time) {
        if let Some(process) = &mut self.nodes[at].process
            && let Some((told, holders)) = process.desk.as_mut().and_then(|desk| desk.news_of_backups())
        {
            process.core.handle_in_sync(local, told, holders);
        }
        let store = &mut self.holdings.stores[at];
        let Some(process) = self.nodes[at].process.as_mut().filter(|_| store.told != store.heard) else { return };
        store.heard = store.told;
        let mut holders: BTreeMap<MemberId, UnitSet> = BTreeMap::new();
        for (unit, in_sync) in Unit::all().zip(&store.in_sync) {
            for id in in_sync.keys().filter_map(|backup| MemberId::new(*backup as u8 + 1)) {
                holders.entry(id).or_insert(UnitSet::EMPTY).insert(unit);
            }
        }
        process.core.handle_in_sync(local, store.told, holders);
    }

    /// Commits go on when the cluster knows.
    pub(super) fn take_known(&mut self, at: usize) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let known = process.core.in_sync_known();
        if let Some(desk) = &mut process.desk {
            desk.in_sync.know(known);
        }
        let store = &mut self.holdings.stores[at];
        store.held_back = store.held_back.filter(|told| known < *told);
    }
}
