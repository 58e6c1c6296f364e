//! Who owns what: the master makes tables, says them until everyone has acknowledged, and holds the packets of units
//! whose new owner has not acknowledged yet (patent Figure 9, 931 to 941).
//!
//! A new master starts with the newest table that any living member holds: the old master may have published one that
//! this member never saw. So it asks everyone first (one round trip; whoever stays silent is waited for until it is
//! given up), and only then gives the dead master's units to their backups.

use phalanx_dataplane::replica::MemberSet;
use phalanx_dataplane::steer::{Order, ReleaseTo};
use phalanx_dataplane::unit::{MemberId, Unit};
use std::collections::{BTreeMap, BTreeSet};

use super::core::{Core, Role};
use super::event::ClusterEvent;
use super::follow::chunks;
use super::message::{CHUNK_ENTRIES, Message, TableChunk};
use super::output::{Output, To};
use super::settings::Replicas;
use super::table::{Owner, Table, Version};
use super::time::Time;

/// A unit whose new owner has not acknowledged it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    owner: MemberId,
    version: Version,
    since: Time,
}

impl Core {
    /// Publishes a table: the next generation, backups chosen anew, sent to all; ends any planned move.
    pub(super) fn publish(&mut self, now: Time, table: Table) {
        if let Role::Lead(lead) = &mut self.role
            && let Some(active) = lead.active.take()
        {
            self.event(ClusterEvent::MoveAborted(active.id));
        }
        self.publish_move(now, table, &BTreeSet::new());
    }

    /// The same for a table that commits a move of these units: their new owner keeps their packets, we need not.
    pub(super) fn publish_move(&mut self, now: Time, mut table: Table, moved: &BTreeSet<Unit>) {
        let me = self.id();
        let members = self.member_ids();
        let Role::Lead(lead) = &mut self.role else { return };
        // As a rule our reign's term; higher, if a member came that knew a later reign.
        let term = lead.reign.term.max(self.table.version.term);
        let version = Version { term, generation: self.table.version.generation.saturating_add(1) };
        self.assign_the_unowned(now, &mut table);
        table.version = version;
        self.inherit(&table);
        self.choose_backups(&mut table, &members);
        let Role::Lead(lead) = &mut self.role else { return };
        let mut changed = 0;
        let mut mine = Vec::new();
        for (unit, entry) in table.iter() {
            let before = self.table.owner(unit);
            if before == entry.owner {
                continue;
            }
            changed += 1;
            let on_trial = match before {
                Owner::Member(before) => !members.contains(&before),
                Owner::Quarantined => true,
                Owner::Unassigned => false,
            };
            self.quarantine.owner_changed(unit, now, on_trial);
            match entry.owner {
                Owner::Member(owner) if owner != me && !moved.contains(&unit) => {
                    lead.pending.insert(unit, Pending { owner, version, since: now });
                }
                Owner::Member(owner) if owner == me => mine.push(unit),
                _ => {}
            }
        }
        // What was held for whoever should have owned it is ours now.
        let ours: Vec<Unit> = mine.into_iter().filter(|unit| !moved.contains(unit)).collect();
        for unit in &ours {
            lead.pending.remove(unit);
        }
        self.end_side(&table, true);
        for unit in ours {
            self.release(unit, ReleaseTo::Here, Vec::new());
        }
        self.table = table;
        self.applied = version;
        let view = self.refresh_view();
        self.note_table_view(view);
        self.event(ClusterEvent::TablePublished(version, changed));
        self.say_table(now);
    }

    /// Chooses first backups anew; where units have sessions, those who hold them already.
    fn choose_backups(&self, table: &mut Table, members: &[MemberId]) {
        let held = |unit| {
            let inherited = self.knowledge.inherited(unit, table.version);
            inherited.or_else(|| self.in_sync(unit)).unwrap_or_default()
        };
        // Whoever is about to leave is no backup, if there are others.
        let stay: Vec<MemberId> = members.iter().copied().filter(|id| self.may_own(*id)).collect();
        let those = if stay.len() < 2 { members } else { &stay };
        match self.settings.replicas {
            None => table.choose_backups(members),
            _ if self.settings.heirs_unasked() => table.choose_backups(members),
            Some(Replicas::All) => {
                let held: Vec<MemberSet> = Unit::all().take(self.settings.units).map(held).collect();
                table.keep_backups(those, |unit| held.get(unit.index()).copied().unwrap_or_default());
            }
            // Few hold a unit: newcomers would never be among them.
            Some(Replicas::Count(_)) => table.keep_backups(those, |_| MemberSet::EMPTY),
        }
    }

    /// A member is to leave that is the first backup of units: where few hold a unit, another one is to hold it first.
    pub(super) fn relieve_backup(&mut self, now: Time, leaving: MemberId) {
        let leans = self.table.entries().iter().any(|entry| entry.backup == Some(leaving));
        let gathers = matches!(&self.role, Role::Lead(lead) if lead.gathering());
        if leans && !gathers && matches!(self.settings.replicas, Some(Replicas::Count(_))) {
            let table = self.table.clone();
            self.publish(now, table);
        }
    }

    /// Gives units that nobody owns to the member with the least load.
    fn assign_the_unowned(&self, now: Time, table: &mut Table) {
        let Role::Lead(lead) = &self.role else { return };
        let members = self.member_ids();
        let fit: Vec<MemberId> = members.iter().copied().filter(|id| self.may_own(*id)).collect();
        let owners = if fit.is_empty() { members } else { fit };
        let weights = lead.loading.weights(now);
        let mut sums: BTreeMap<MemberId, u64> =
            owners.iter().map(|id| (*id, weights.of_all(table.units_of(*id)))).collect();
        let units: Vec<Unit> =
            table.iter().filter(|(_, entry)| entry.owner == Owner::Unassigned).map(|(u, _)| u).collect();
        for unit in units {
            let load = |id: &MemberId| (sums.get(id).copied().unwrap_or(0), *id);
            let Some(owner) = self.holders_among(unit, &owners).into_iter().min_by_key(load) else { return };
            table.set_owner(unit, Owner::Member(owner));
            *sums.entry(owner).or_default() += weights.of(unit);
        }
    }

    /// Departure 5: failed units are reassigned at once, to their first backup that is left.
    pub(super) fn reassign_orphans(&mut self, now: Time, dead: bool) {
        let members = self.member_ids();
        let mut table = self.table.clone();
        let Role::Lead(lead) = &self.role else { return };
        let detection = self.settings.give_away(lead.losses_high());
        let (mut quarantined, mut unheld) = (0, 0);
        for (unit, entry) in self.table.iter() {
            let Owner::Member(owner) = entry.owner else { continue };
            let (is_there, bereft) = (members.contains(&owner), self.is_bereft(unit));
            if is_there && !bereft {
                continue;
            }
            let (next, lost) = self.heir(unit, entry, &members);
            if is_there && lost {
                // Nobody is better off than one that has lost what it held.
                continue;
            }
            unheld += usize::from(lost);
            // Who never took the unit on was not killed by it.
            let heir = if dead && !lead.pending(unit) && self.quarantine.killed_two(unit, now, detection) {
                quarantined += 1;
                Owner::Quarantined
            } else {
                next.map_or(Owner::Unassigned, Owner::Member)
            };
            table.set_owner(unit, heir);
        }
        self.quarantine.rest(&table, now + self.settings.quarantine);
        if quarantined > 0 {
            self.event(ClusterEvent::Quarantined(quarantined));
        }
        if unheld > 0 {
            self.heirs_not_in_sync += unheld as u64;
            self.event(ClusterEvent::HeirsNotInSync(unheld));
        }
        self.publish(now, table);
        self.end_mourning();
        self.plan_moves(now);
    }

    /// Units that have rested in quarantine are given away again.
    pub(super) fn wake_rested(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        if lead.gathering() {
            return;
        }
        let rested = self.quarantine.rested(now);
        if rested.is_empty() {
            return;
        }
        let mut table = self.table.clone();
        for unit in rested {
            if table.owner(unit) == Owner::Quarantined {
                table.set_owner(unit, Owner::Unassigned);
            }
        }
        self.publish(now, table);
    }

    /// A packet came for a unit that nobody owns (patent Figure 9, 937).
    pub(super) fn assign_on_demand(&mut self, now: Time, unit: Unit) {
        let Role::Lead(lead) = &self.role else { return };
        if lead.gathering() || self.table.owner(unit) != Owner::Unassigned {
            return;
        }
        let table = self.table.clone();
        self.publish(now, table);
    }

    pub(super) fn say_table(&mut self, now: Time) {
        let Role::Lead(lead) = &mut self.role else { return };
        lead.table_said_at = now;
        let (reign, moved) = (lead.reign, lead.committed);
        if lead.followers.is_empty() || lead.gathering() {
            return;
        }
        for chunk in chunks(&self.table, reign, moved) {
            self.send(To::All, chunk);
        }
    }

    /// Says the table again to whoever has not acknowledged it.
    pub(super) fn table_timeout(&mut self, now: Time) {
        let version = self.table.version;
        let Role::Lead(lead) = &mut self.role else { return };
        let behind = lead.followers.values().any(|follower| follower.holds < version);
        if behind && now.since(lead.table_said_at) >= self.settings.retry() {
            self.say_table(now);
        }
    }

    /// Patent Figure 9, 943: the new owner has acknowledged; it gets what was held for it, in order, before anything
    /// that comes later.
    pub(super) fn takeover_acknowledged(&mut self, now: Time, from: MemberId) {
        let shared = !self.forwards();
        let Role::Lead(lead) = &mut self.role else { return };
        let Some(follower) = lead.followers.get(&from) else { return };
        let applied = follower.applied;
        let done: Vec<(Unit, Pending)> = lead
            .pending
            .iter()
            .filter(|(_, pending)| pending.owner == from && pending.version <= applied)
            .map(|(unit, pending)| (*unit, *pending))
            .collect();
        let Some(since) = done.iter().map(|(_, pending)| pending.since).min() else { return };
        for (unit, _) in &done {
            lead.pending.remove(unit);
        }
        for (unit, _) in &done {
            self.release(*unit, ReleaseTo::Member(from), Vec::new());
        }
        if shared {
            let order = Order::Marker { to: from, token: applied.generation };
            self.outputs.push_back(Output::Order(order));
        }
        self.event(ClusterEvent::TakeoverAcknowledged(from, done.len(), now.since(since)));
    }

    // ---- a new master asks what its members hold ---------------------------------------------------------------

    /// A member has spoken under our reign: what does it hold?
    pub(super) fn gather_from(&mut self, now: Time, from: MemberId) {
        let ours = self.table.version;
        let Role::Lead(lead) = &mut self.role else { return };
        let Some(gather) = &mut lead.gather else { return };
        if lead.followers.get(&from).is_some_and(|follower| follower.holds > ours) {
            let reign = lead.reign;
            self.send(To::Member(from), Message::TableRequest(reign));
        } else {
            gather.remove(&from);
            self.finish_gathering(now);
        }
    }

    pub(super) fn gather_chunk(&mut self, now: Time, from: MemberId, chunk: TableChunk) {
        let units = self.settings.units;
        let Role::Lead(lead) = &mut self.role else { return };
        let expected = lead.followers.get(&from).map(|follower| follower.holds);
        let start = usize::from(chunk.chunk) * CHUNK_ENTRIES;
        let fits = !chunk.entries.is_empty() && chunk.entries.len() == CHUNK_ENTRIES.min(units.saturating_sub(start));
        if !lead.gathering() || chunk.reign != lead.reign || Some(chunk.version) != expected || !fits {
            return;
        }
        lead.gathered.insert(chunk.chunk, chunk.entries);
        if lead.gathered.values().map(Vec::len).sum::<usize>() == units {
            let entries = std::mem::take(&mut lead.gathered).into_values().flatten().collect();
            let table = Table::from_entries(chunk.version, entries);
            if table.version > self.table.version {
                self.end_side(&table, true);
                self.table = table;
                // The view with it comes at the end of gathering at the latest.
                self.note_table_view(self.views.told().version + 1);
            }
            self.gather_from(now, from);
        }
    }

    /// Everyone has been heard: the new master rules.
    pub(super) fn finish_gathering(&mut self, now: Time) {
        let Role::Lead(lead) = &mut self.role else { return };
        if lead.gather.as_ref().is_none_or(|gather| !gather.is_empty()) {
            return;
        }
        let seq = self.seq + 1;
        let spoke = |id: MemberId| id == lead.reign.master || lead.followers.get(&id).is_some_and(|f| f.spoke);
        let majority = lead.basis.is_majority(spoke);
        if !self.quorum_is_none() && !majority {
            return;
        }
        let Role::Lead(lead) = &mut self.role else { return };
        lead.gather = None;
        lead.basis.renew(lead.reign.term, seq);
        self.reassign_orphans(now, true);
    }
}
