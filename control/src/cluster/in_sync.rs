//! Who holds which unit's sessions in sync with its owner: what makes one backup a better heir than another.
//!
//! Only an owner's workers know it. They tell their core ([`Core::handle_in_sync`]), the core tells everyone soon, and again with
//! its keepalives until those who count have acknowledged, and the master goes by it when it names heirs, when it chooses
//! backups, and before a member may leave.
//!
//! | what could be stale | why no session is lost by it |
//! | --- | --- |
//! | a backup fell out of sync and the master does not know | the owner commits nothing until the master has acknowledged that ([`Core::in_sync_known`]); for a master's own units, until all its followers have |
//! | the master died with that knowledge | reports go to everyone; what a new master has not acknowledged is said to it again |
//! | the unit has just changed hands, its new owner has not spoken | whoever held it with the old owner holds it still ([`Core::inherit`]) |
//! | an owner died and came back in another life before its heirs were named | those who held its units hold them still, and it does not ([`Core::note_life`]): it is as good as dead when heirs are named |
//! | a backup died and came back in another life | a report names the life, and counts for no other; a worker is told of the death even where the core only saw the change of lives |
//! | reports overtake each other | they are numbered, and each says all there is |
//!
//! What is left: an owner and a master that die within the same period, after a third one fell out of sync.

use std::collections::BTreeMap;

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::replica::MemberSet;
use phalanx_dataplane::unit::{MemberId, Unit};

use super::core::{Core, Role};
use super::event::ClusterEvent;
use super::message::{Holder, IN_SYNC_HOLDERS_MAX, InSync, InSyncKnown, Message};
use super::output::To;
use super::settings::Replicas;
use super::table::{Entry, Owner, Table, Version};
use super::time::{Span, Time};

/// A member that leaves waits no longer than this for others to hold what it holds.
const LEAVE_WAIT: Span = Span::from_ms(10_000);

/// One owner's word: who is in sync with it, under which table.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Report {
    number: u64,
    version: Version,
    /// By backup: which life of it, and the units.
    holders: BTreeMap<MemberId, (u64, UnitSet)>,
}

impl Report {
    fn holds(&self, member: MemberId, incarnation: u64, unit: Unit) -> bool {
        self.holders.get(&member).is_some_and(|(life, units)| *life == incarnation && units.contains(unit))
    }
}

/// A report of which parts are missing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Coming {
    number: u64,
    parts: BTreeMap<u8, Vec<Holder>>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Knowledge {
    /// What our own workers say, and the shell's count of it.
    mine: BTreeMap<MemberId, UnitSet>,
    stamp: u64,
    /// What was said of it last, up to which stamp.
    said: Report,
    said_stamp: u64,
    said_at: Time,
    /// Who has acknowledged which report of ours.
    acked: BTreeMap<MemberId, u64>,
    /// The stamp that all who count have acknowledged.
    known: u64,
    /// What other owners say.
    told: BTreeMap<MemberId, Report>,
    coming: BTreeMap<MemberId, Coming>,
    /// A member's present life: our workers' word counts for it once they obey a newer view than this.
    came: BTreeMap<MemberId, u64>,
    /// Who held units that have changed hands since, and with which table they did: at a master. And who held those in `bereft`.
    inherited: BTreeMap<Unit, (Version, MemberSet)>,
    /// Units whose owner, by this table, has come back in another life, in which it does not hold them.
    bereft: BTreeMap<Unit, Version>,
    /// The view that brings the present table into force.
    table_view: u64,
    /// Since when this member could leave but for what it holds.
    leaving_since: Option<Time>,
}

impl Knowledge {
    /// Who held a unit that changes hands with this table.
    pub(super) fn inherited(&self, unit: Unit, with: Version) -> Option<MemberSet> {
        self.inherited.get(&unit).filter(|(since, _)| *since == with).map(|(_, held)| *held)
    }
}

impl Core {
    fn keeps_sessions(&self) -> bool {
        self.settings.replicas.is_some()
    }

    pub(super) fn take_in_sync(&mut self, now: Time, stamp: u64, holders: BTreeMap<MemberId, UnitSet>) {
        if self.knowledge.stamp < stamp {
            (self.knowledge.stamp, self.knowledge.mine) = (stamp, holders);
            self.end_inheritance(self.id(), self.obeyed());
            self.begin_logging(now);
            self.say_news_in_sync(now);
        }
    }

    /// When there is news to be said that the next keepalive is too late for.
    pub(super) fn news_in_sync_due(&self) -> Option<Time> {
        let speaks = matches!(self.role, Role::Follow(_) | Role::Lead(_)) && self.keeps_sessions();
        let news = speaks && self.knowledge.said_stamp < self.knowledge.stamp;
        news.then(|| self.knowledge.said_at + self.settings.period.quarters(1))
    }

    /// Says them: until others know who holds our units, they may name the wrong heirs. Units come into sync one by one, so not
    /// each time.
    pub(super) fn say_news_in_sync(&mut self, now: Time) {
        if self.news_in_sync_due().is_some_and(|at| at <= now) {
            self.say_in_sync(now);
        }
    }

    /// The last stamp of [`Self::handle_in_sync`] that whoever names heirs goes by.
    pub fn in_sync_known(&self) -> u64 {
        self.knowledge.known
    }

    /// Who holds a unit as its owner does, by the last word about it; none: there was none.
    pub(super) fn in_sync(&self, unit: Unit) -> Option<MemberSet> {
        let knowledge = &self.knowledge;
        let Owner::Member(owner) = self.table.owner(unit) else {
            // It rests; whoever held it still does.
            return knowledge.inherited.get(&unit).map(|(_, held)| *held);
        };
        let version =
            if owner == self.id() { Some(self.obeyed()) } else { knowledge.told.get(&owner).map(|it| it.version) };
        let told = version.map(|_| self.told_of(owner, unit));
        match knowledge.inherited.get(&unit) {
            // One that has nobody in sync yet has not had the time; its predecessor's word is better than none.
            Some((since, held)) if version < Some(*since) || told.is_none_or(MemberSet::is_empty) => Some(*held),
            _ => told,
        }
    }

    fn told_of(&self, owner: MemberId, unit: Unit) -> MemberSet {
        let report = self.knowledge.told.get(&owner);
        let holds = |id: MemberId, incarnation| match report {
            _ if owner == self.id() => self.holds_ours(id, unit),
            report => report.is_some_and(|report| report.holds(id, incarnation, unit)),
        };
        self.members.iter().filter(|member| holds(member.id, member.incarnation)).map(|member| member.id).collect()
    }

    /// Whether a backup holds a unit of ours.
    pub(super) fn holds_ours(&self, backup: MemberId, unit: Unit) -> bool {
        self.is_the_one_meant(backup) && self.knowledge.mine.get(&backup).is_some_and(|units| units.contains(unit))
    }

    /// Whether our workers' word is about the member's present life.
    fn is_the_one_meant(&self, backup: MemberId) -> bool {
        self.knowledge.came.get(&backup).is_none_or(|view| *view <= self.views.applied())
    }

    /// Whether everyone who counts knows that all of these hold a unit of ours.
    pub(super) fn known_to_hold(&self, backups: MemberSet, unit: Unit) -> bool {
        let said = &self.knowledge.said;
        let holds = |id: MemberId| {
            let life = self.members.iter().find(|member| member.id == id).map(|member| member.incarnation);
            life.is_some_and(|life| said.holds(id, life, unit)) && self.holds_ours(id, unit)
        };
        self.is_known() && backups.iter().all(holds)
    }

    /// The table that our workers are known to obey.
    fn obeyed(&self) -> Version {
        if self.views.applied() >= self.knowledge.table_view { self.table.version } else { self.knowledge.said.version }
    }

    /// A new table is in force with this view.
    pub(super) fn note_table_view(&mut self, view: u64) {
        if self.keeps_sessions() {
            self.knowledge.table_view = view;
        }
    }

    /// A member has come, in whatever life: nothing that was said of an earlier one counts for it.
    pub(super) fn note_life(&mut self, id: MemberId) {
        if self.keeps_sessions() {
            self.bereave(id);
            let view = self.views.told().version;
            let knowledge = &mut self.knowledge;
            knowledge.told.remove(&id);
            knowledge.coming.remove(&id);
            knowledge.acked.remove(&id);
            knowledge.came.insert(id, view);
            knowledge.inherited.values_mut().for_each(|(_, held)| held.remove(id));
        }
    }

    /// The table gives units to a member that has just come: it had them in another life. Whoever held them with that one holds
    /// them.
    fn bereave(&mut self, id: MemberId) {
        let since = self.table.version;
        for unit in self.table.units_of(id).collect::<Vec<_>>() {
            let mut held = self.in_sync(unit).unwrap_or_default();
            held.remove(id);
            self.knowledge.inherited.insert(unit, (since, held));
            self.knowledge.bereft.insert(unit, since);
        }
    }

    /// Whether a unit's owner does not hold it, for it had it in another life.
    pub(super) fn is_bereft(&self, unit: Unit) -> bool {
        self.knowledge.bereft.contains_key(&unit)
    }

    /// A master has named heirs, as far as there are any: who still has a unit is its owner.
    pub(super) fn end_mourning(&mut self) {
        self.knowledge.bereft.clear();
    }

    /// At a follower: a new table comes into force, and what changes hands with it is its new owner's business.
    pub(super) fn bury(&mut self, table: &Table) {
        let Knowledge { bereft, inherited, .. } = &mut self.knowledge;
        let before = &self.table;
        bereft.retain(|unit, _| {
            let stays = before.owner(*unit) == table.owner(*unit);
            if !stays {
                inherited.remove(unit);
            }
            stays
        });
    }

    /// Out of the cluster, nobody's word counts any more.
    pub(super) fn forget_in_sync(&mut self) {
        let knowledge = &mut self.knowledge;
        knowledge.told.clear();
        knowledge.coming.clear();
        knowledge.acked.clear();
        knowledge.inherited.clear();
        knowledge.bereft.clear();
        knowledge.leaving_since = None;
    }

    // ---- saying it ---------------------------------------------------------------------------------------------

    /// Says what is in sync with us, to whoever may not know: with each keepalive, until it is acknowledged.
    pub(super) fn say_in_sync(&mut self, now: Time) {
        if !self.keeps_sessions() {
            return;
        }
        let version = self.obeyed();
        let counts = |id: MemberId, units: &UnitSet| {
            let life = self.members.iter().find(|member| member.id == id)?.incarnation;
            self.is_the_one_meant(id).then_some((id, (life, *units)))
        };
        let holders: BTreeMap<_, _> = self.knowledge.mine.iter().filter_map(|(id, units)| counts(*id, units)).collect();
        let said = &mut self.knowledge.said;
        if said.version != version || said.holders != holders {
            *said = Report { number: said.number + 1, version, holders };
        }
        (self.knowledge.said_stamp, self.knowledge.said_at) = (self.knowledge.stamp, now);
        self.note_known();
        if !self.is_known() {
            for part in parts(&self.knowledge.said) {
                self.send(To::All, Message::InSync(part));
            }
        }
    }

    /// Whether everyone who would name our heirs has our last report: the master; of a master, whoever may succeed it.
    fn is_known(&self) -> bool {
        let knowledge = &self.knowledge;
        let knows = |id: &MemberId| knowledge.acked.get(id).is_some_and(|number| *number >= knowledge.said.number);
        match &self.role {
            Role::Follow(follow) => knows(&follow.reign.master),
            Role::Lead(lead) => lead.followers.iter().filter(|(_, f)| f.hears_us()).all(|(id, _)| knows(id)),
            Role::Search(_) | Role::Left => false,
        }
    }

    fn note_known(&mut self) {
        if self.is_known() {
            self.knowledge.known = self.knowledge.said_stamp;
        }
    }

    pub(super) fn handle_in_sync_known(&mut self, from: MemberId, known: InSyncKnown) {
        if self.reign() == Some(known.reign) && known.number <= self.knowledge.said.number {
            let acked = self.knowledge.acked.entry(from).or_default();
            *acked = known.number.max(*acked);
            self.note_known();
        }
    }

    // ---- hearing it --------------------------------------------------------------------------------------------

    pub(super) fn hear_in_sync(&mut self, from: MemberId, report: InSync) {
        let Some(reign) = self.reign().filter(|_| self.keeps_sessions() && self.is_member(from)) else { return };
        let number = report.number;
        if self.knowledge.told.get(&from).is_none_or(|told| told.number < number) {
            self.take_part(from, report);
        }
        let counts = reign.master == self.id() || reign.master == from;
        if let Some(told) = self.knowledge.told.get(&from).filter(|told| counts && told.number >= number) {
            let known = InSyncKnown { reign, number: told.number };
            self.send(To::Member(from), Message::InSyncKnown(known));
        }
    }

    fn take_part(&mut self, from: MemberId, report: InSync) {
        let coming = self.knowledge.coming.entry(from).or_default();
        if coming.number > report.number {
            return;
        }
        if coming.number < report.number {
            *coming = Coming { number: report.number, parts: BTreeMap::new() };
        }
        coming.parts.insert(report.part, report.holders);
        if coming.parts.len() < usize::from(report.parts) {
            return;
        }
        let parts = self.knowledge.coming.remove(&from).map(|coming| coming.parts).unwrap_or_default();
        let holders = parts.into_values().flatten().map(|it| (it.member, (it.incarnation, it.units))).collect();
        let (number, version) = (report.number, report.version);
        self.knowledge.told.insert(from, Report { number, version, holders });
        self.end_inheritance(from, version);
    }

    // ---- going by it -------------------------------------------------------------------------------------------

    /// Which unit is whose after a death: the first backup that holds it, one that may own units before one that may not; if
    /// nobody is known to hold it, the first backup, who may have come to hold it just before the owner died. Says whether it
    /// is that.
    pub(super) fn heir(&self, unit: Unit, entry: &Entry, members: &[MemberId]) -> (Option<MemberId>, bool) {
        if !self.keeps_sessions() || self.settings.heirs_unasked() {
            return (entry.backup.filter(|backup| members.contains(backup)), false);
        }
        let held = self.in_sync(unit).unwrap_or_default();
        let order = self.table.backups(unit, members);
        let holders = || order.iter().copied().filter(|id| held.contains(*id));
        let heir = holders().find(|id| self.may_own(*id)).or_else(|| holders().next());
        (heir.or_else(|| order.first().copied()), heir.is_none())
    }

    /// Units change hands with this table. Until their new owner has spoken, those who held them with the old one hold them;
    /// so does the old one itself, if it lives, and in the same life.
    pub(super) fn inherit(&mut self, table: &Table) {
        if !self.keeps_sessions() {
            return;
        }
        let changes = |(unit, entry): &(Unit, &Entry)| self.table.owner(*unit) != entry.owner;
        let changed: Vec<Unit> = table.iter().filter(changes).map(|(unit, _)| unit).collect();
        for unit in changed {
            let mut held = self.in_sync(unit).unwrap_or_default();
            let bereft = self.knowledge.bereft.remove(&unit).is_some();
            if let Owner::Member(old) = self.table.owner(unit)
                && self.is_member(old)
                && !bereft
            {
                held.insert(old);
            }
            if let Owner::Member(new) = table.owner(unit) {
                held.remove(new);
            }
            self.knowledge.inherited.insert(unit, (table.version, held));
        }
    }

    /// An owner has spoken: where it has somebody in sync, its word replaces that of the owner before it.
    fn end_inheritance(&mut self, owner: MemberId, version: Version) {
        let mut inherited = std::mem::take(&mut self.knowledge.inherited);
        inherited.retain(|unit, (since, _)| {
            let spoke = self.table.owns(owner, *unit) && version >= *since;
            !spoke || self.told_of(owner, *unit).is_empty()
        });
        self.knowledge.inherited = inherited;
        // It obeys a later table that gives it the unit: nobody was there to be its heir.
        let table = &self.table;
        self.knowledge.bereft.retain(|unit, since| !table.owns(owner, *unit) || version <= *since);
    }

    /// Whether a planned move may begin with this unit. Where all hold all, the new owner comes to hold it without a move's
    /// doing, and nothing else has to wait for that; where few do, the move makes it a holder.
    pub(super) fn may_move(&self, unit: Unit, to: MemberId) -> bool {
        self.settings.replicas != Some(Replicas::All) || self.in_sync(unit).is_some_and(|held| held.contains(to))
    }

    /// Of those who may own the unit, those who hold its sessions; all of them, if none of them does.
    pub(super) fn holders_among(&self, unit: Unit, fit: &[MemberId]) -> Vec<MemberId> {
        let held = self.in_sync(unit).unwrap_or_default();
        let holders: Vec<MemberId> = fit.iter().copied().filter(|id| held.contains(*id)).collect();
        if holders.is_empty() { fit.to_vec() } else { holders }
    }

    /// Whether nobody's sessions are lost by this member's leaving: each unit is held by somebody else, or there is nobody who
    /// could. It waits for that, but not for ever.
    pub(super) fn may_leave(&mut self, now: Time) -> bool {
        if !self.keeps_sessions() || self.members.len() < 3 {
            return true;
        }
        let me = self.id();
        let since = *self.knowledge.leaving_since.get_or_insert(now);
        let lacks = |unit: &Unit| {
            let held = self.in_sync(*unit).unwrap_or_default();
            matches!(self.table.owner(*unit), Owner::Member(owner) if owner != me) && !held.iter().any(|id| id != me)
        };
        let lacking = Unit::all().take(self.settings.units).filter(lacks).count();
        if lacking > 0 && now.since(since) < LEAVE_WAIT {
            return false;
        }
        if lacking > 0 {
            self.event(ClusterEvent::LeavesUnheld(lacking));
        }
        true
    }
}

/// A report, cut to datagrams.
fn parts(report: &Report) -> Vec<InSync> {
    let holders: Vec<Holder> = report
        .holders
        .iter()
        .map(|(member, (incarnation, units))| Holder { member: *member, incarnation: *incarnation, units: *units })
        .collect();
    // One that names nobody is one part, too: it says that nobody is in sync.
    let pieces: Vec<&[Holder]> =
        if holders.is_empty() { vec![&[]] } else { holders.chunks(IN_SYNC_HOLDERS_MAX).collect() };
    let count = pieces.len() as u8;
    let part = |(part, holders): (u8, &[Holder])| InSync {
        number: report.number,
        version: report.version,
        part,
        parts: count,
        holders: holders.to_vec(),
    };
    (0..).zip(pieces).map(part).collect()
}
