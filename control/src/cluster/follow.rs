//! Patent Figures 8G, 8H, 8I: a member that is not master.
//!
//! Two clocks run here. The *watchdog* says when the master is dead: nobody of those that this member hears has heard
//! from it for n periods. The *lease* says how long this member may own units: counted from its own sending of the
//! keepalive that the master echoed last, so it lapses on time however long messages were under way.
//!
//! When the watchdog fires, the first successor in the list takes over at once, the next one a period later, and so on
//! (departure from Figure 8I, where everyone rejoins and the 100 ms auction of Figure 6 decides). Everyone keeps its
//! table and goes on processing under its lease meanwhile.

use std::collections::BTreeMap;

use phalanx_dataplane::steer::{Order, ReleaseTo};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::basis::Basis;
use super::core::{Core, Member, Peer, Role};
use super::event::{ClusterEvent, RejoinReason};
use super::message::{CHUNK_ENTRIES, Listed, MasterKeepalive, MemberKeepalive, Message, Reign, TableChunk};
use super::output::{Output, To};
use super::settings::{Delivery, Quorum, Settings};
use super::table::{Entry, Owner, Table, Version};
use super::time::{Span, Time};

/// The state of a member under a master.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follow {
    pub(super) reign: Reign,
    /// When anyone last showed that the master lives.
    pub(super) master_alive: Time,
    /// The highest of the master's sequence numbers that this member heard.
    heard: u64,
    /// The highest of those by which the master showed that it hears anyone: only these are acknowledged, and only these
    /// say that the master lives. The highest that others told of.
    hearing: u64,
    told: u64,
    /// The sum of the echoes in its last keepalive: it changes if the master hears anyone at all.
    echoes: u64,
    losses: u8,
    /// The membership that is agreed on, as the master told.
    pub(super) basis: Basis,
    /// When a newer master was heard that loyalty to this one forbade to follow yet.
    successor_heard: Option<Time>,
    /// The master of another cluster, and when it was heard.
    rival_heard: Option<(MemberId, Time)>,
    keepalive_at: Time,
    /// The table that is coming in, by chunk.
    incoming: Incoming,
    /// The table that the workers were told of: view version and table version.
    applying: Option<(u64, Version)>,
    /// Units just taken over whose earlier packets the master may still hold: until then their own packets wait.
    taken: BTreeMap<Unit, (Time, u64)>,
    /// The master gave its role to this one, or yielded to it after a split: no loyalty to it any more.
    abdicated_to: Option<MemberId>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Incoming {
    version: Version,
    chunks: BTreeMap<u8, Vec<Entry>>,
}

impl Incoming {
    /// Takes in a chunk; the whole table once it is complete.
    fn take(&mut self, chunk: TableChunk, units: usize) -> Option<Table> {
        if chunk.version < self.version {
            return None;
        }
        if chunk.version > self.version {
            *self = Self { version: chunk.version, chunks: BTreeMap::new() };
        }
        let start = usize::from(chunk.chunk) * CHUNK_ENTRIES;
        if chunk.entries.len() != CHUNK_ENTRIES.min(units.saturating_sub(start)) || chunk.entries.is_empty() {
            return None;
        }
        self.chunks.insert(chunk.chunk, chunk.entries);
        (self.chunks.values().map(Vec::len).sum::<usize>() == units)
            .then(|| Table::from_entries(self.version, self.chunks.values().flatten().copied().collect()))
    }
}

/// A table, cut to datagrams.
pub(super) fn chunks(table: &Table, reign: Reign, moved: u64) -> Vec<Message> {
    let chunk = |(number, entries): (usize, &[Entry])| {
        let chunk = TableChunk { reign, version: table.version, chunk: number as u8, moved, entries: entries.to_vec() };
        Message::TableChunk(chunk)
    };
    table.entries().chunks(CHUNK_ENTRIES).enumerate().map(chunk).collect()
}

impl Follow {
    fn new(reign: Reign, losses: u8, now: Time) -> Self {
        Self {
            reign,
            master_alive: now,
            heard: 0,
            hearing: 0,
            told: 0,
            echoes: 0,
            losses,
            basis: Basis::default(),
            successor_heard: None,
            rival_heard: None,
            keepalive_at: now,
            incoming: Incoming::default(),
            applying: None,
            taken: BTreeMap::new(),
            abdicated_to: None,
        }
    }

    pub(super) fn holds_own(&self, unit: Unit) -> bool {
        self.taken.contains_key(&unit)
    }

    pub(super) fn losses(&self) -> u8 {
        self.losses
    }

    pub(super) fn deadlines(&self, settings: &Settings) -> Option<(Time, &'static str)> {
        let watch = (self.master_alive + settings.watch(self.losses), "master watchdog");
        let taken = self.taken.values().map(|(until, _)| (*until, "hold after takeover")).min();
        [Some((self.keepalive_at, "keepalive")), Some(watch), taken].into_iter().flatten().min()
    }
}

impl Core {
    /// Let in: a member from now on, owning nothing.
    pub(super) fn start_follow(&mut self, now: Time, reign: Reign, incarnation: u64) {
        self.stop_work(now);
        self.term_max = self.term_max.max(reign.term);
        self.live_as(incarnation);
        self.members = vec![Member { id: self.id(), incarnation }];
        self.persist(self.settings.last_membership.clone());
        self.role = Role::Follow(Box::new(Follow::new(reign, self.settings.losses_min, now)));
        self.event(ClusterEvent::Joined { reign, incarnation });
        self.beacon_now(now);
        self.send_member_keepalive(now);
    }

    pub(super) fn follow_timeout(&mut self, now: Time) {
        let Role::Follow(follow) = &mut self.role else { return };
        let (silent, watch) = (now.since(follow.master_alive), self.settings.watch(follow.losses));
        let released: Vec<Unit> =
            follow.taken.iter().filter(|(_, (until, _))| *until <= now).map(|(unit, _)| *unit).collect();
        let due = follow.keepalive_at <= now;
        // Somebody has taken over already: its next keepalive is followed.
        let succeeded = follow.successor_heard.is_some_and(|at| now.since(at) <= self.settings.period.quarters(5));
        if silent >= watch && !succeeded {
            let rank = self.rank_in_succession(now, watch);
            if silent >= Span(watch.0 + rank * self.settings.period.0) {
                return self.succeed(now);
            }
        }
        self.release_taken(&released);
        if due {
            self.send_member_keepalive(now);
        }
        self.side_timeout(now);
        if self.linger_until.is_some_and(|until| until <= now) {
            self.linger_until = None;
        }
        self.leave_if_drained(now);
    }

    /// Takes over; a member that never heard its master knows too little of the cluster for that, and one that would be alone
    /// joins another cluster that it hears, rather than serve beside it.
    fn succeed(&mut self, now: Time) {
        let Role::Follow(follow) = &self.role else { return };
        let (old, watch) = (follow.reign.master, self.settings.watch(follow.losses));
        let rival = follow.rival_heard.filter(|(rival, at)| *rival != old && now.since(*at) < watch);
        let alone = self.members.iter().all(|member| member.id == self.id() || member.id == old);
        match follow.heard {
            0 => self.rejoin(now, RejoinReason::MasterLost, None),
            _ if alone && rival.is_some() => self.rejoin(now, RejoinReason::MasterLost, rival.map(|(rival, _)| rival)),
            _ => self.take_over(now, false),
        }
    }

    /// A member that was relieved of everything says so and is gone.
    fn leave_if_drained(&mut self, now: Time) {
        let busy =
            self.linger_until.is_some() || self.side.is_some() || self.table.units_of(self.id()).next().is_some();
        if self.draining
            && !busy
            && self.may_leave(now)
            && let Some(reign) = self.reign()
        {
            self.send(To::All, Message::Exit(reign));
            self.leave();
        }
    }

    /// How many members before this one in the order of succession seem alive.
    fn rank_in_succession(&self, now: Time, watch: Span) -> u64 {
        let Some(master) = self.reign().map(|reign| reign.master) else { return 0 };
        let heard = |id: MemberId| self.peers.get(&id).is_some_and(|peer| now.since(peer.heard_at) < watch);
        let before = self.members.iter().take_while(|member| member.id != self.id());
        before.filter(|member| member.id != master && heard(member.id)).count() as u64
    }

    /// Patent Figure 8G.
    pub(super) fn follow_hears_master(&mut self, now: Time, keepalive: &MasterKeepalive) {
        let me = self.id();
        let Role::Follow(follow) = &mut self.role else { return };
        let listed = keepalive.members.iter().find(|member| member.id == me && member.incarnation == self.incarnation);
        if keepalive.reign != follow.reign {
            let yielded = follow.abdicated_to == Some(keepalive.reign.master) && keepalive.reign < follow.reign;
            if yielded {
                return self.rejoin(now, RejoinReason::MasterYielded, Some(keepalive.reign.master));
            }
            let loyal = follow.abdicated_to.is_none()
                // As long as the master may count on our having heard it.
                && now.since(follow.master_alive) < self.settings.self_lease(follow.losses);
            if keepalive.reign <= follow.reign {
                follow.rival_heard = Some((keepalive.reign.master, now));
                return;
            }
            if loyal {
                follow.successor_heard = Some(now);
                return;
            }
            if listed.is_none() {
                return self.rejoin(now, RejoinReason::MasterLost, Some(keepalive.reign.master));
            }
            // It does not know how the membership has changed since: its majority may be none.
            if self.settings.quorum == Quorum::Majority && keepalive.list < follow.basis.version() {
                return;
            }
            self.change_master(now, keepalive.reign);
        } else if keepalive.seq <= follow.heard {
            return;
        }
        let Some(listed) = listed.copied() else {
            return self.rejoin(now, RejoinReason::NotListed, Some(keepalive.reign.master));
        };
        let Role::Follow(follow) = &mut self.role else { return };
        // A master that hears none of several members is as good as dead, however loudly it speaks. With a single one,
        // that one cannot know which of the two is at fault.
        let echoes = keepalive.members.iter().fold(0_u64, |sum, member| sum.wrapping_add(member.echo));
        let hears_anyone = std::mem::replace(&mut follow.echoes, echoes) != echoes || keepalive.members.len() < 3;
        follow.heard = keepalive.seq;
        // Who rules on has given up to abdicate: its word is to be waited out again before any other's counts.
        follow.abdicated_to = keepalive.abdicating;
        follow.losses = keepalive.losses;
        let basis = Basis::told(keepalive.list, keepalive.agreed.clone(), keepalive.joining.clone());
        if std::mem::replace(&mut follow.basis, basis.clone()) != basis {
            self.persist(keepalive.agreed.clone());
        }
        if keepalive.version == self.table.version && keepalive.digest != self.table.digest() {
            return self.rejoin(now, RejoinReason::TableDiffers, Some(keepalive.reign.master));
        }
        let Role::Follow(follow) = &mut self.role else { return };
        if hears_anyone || follow.hearing == 0 {
            follow.master_alive = now;
            follow.hearing = keepalive.seq;
            follow.told = follow.told.max(keepalive.seq);
        }
        self.update_members(&keepalive.members);
        if keepalive.quorate
            && let Some(sent_at) = self.sent_at(listed.echo)
        {
            self.renew_lease(now, sent_at + self.settings.lease(keepalive.losses));
        }
        self.send_member_keepalive(now);
    }

    /// Goes over to a new master, with table, units and lease as they are.
    fn change_master(&mut self, now: Time, reign: Reign) {
        let Role::Follow(follow) = &mut self.role else { return };
        let mut next = Follow::new(reign, follow.losses, now);
        next.taken = std::mem::take(&mut follow.taken);
        next.applying = follow.applying.take();
        self.role = Role::Follow(Box::new(next));
        self.event(ClusterEvent::Following(reign));
    }

    /// Tells apps who came and who went.
    fn update_members(&mut self, listed: &[Listed]) {
        let next: Vec<Member> =
            listed.iter().map(|member| Member { id: member.id, incarnation: member.incarnation }).collect();
        if next == self.members {
            return;
        }
        let before = std::mem::take(&mut self.members);
        let stayed: Vec<Member> = before.iter().filter(|member| next.contains(member)).copied().collect();
        if next.iter().any(|now| before.iter().any(|member| member.id == now.id && member != now)) {
            // It died and came back between two words of the master. Whoever replicates has to hear of the death.
            self.members = stayed;
            self.refresh_view();
        }
        self.members.clone_from(&next);
        let me = self.id();
        // A member that has lost its disk may count its keepalives from the beginning again.
        for member in next.iter().filter(|member| !before.contains(member)) {
            if let Some(peer) = self.peers.get_mut(&member.id) {
                peer.seq = 0;
            }
            self.note_life(member.id);
        }
        let went = before.iter().filter(|member| !next.contains(member) && member.id != me).map(|m| (m.id, false));
        let came = next.iter().filter(|member| !before.contains(member) && member.id != me).map(|m| (m.id, true));
        self.outputs.extend(went.chain(came).map(|(id, came)| Output::TellApps(id, came)));
    }

    /// Another member's word that the master lives counts for the watchdog, never for the lease.
    pub(super) fn follow_hears_member(&mut self, now: Time, from: MemberId, keepalive: &MemberKeepalive) {
        let Role::Follow(follow) = &mut self.role else { return };
        if keepalive.reign == follow.reign && keepalive.heard > follow.told {
            follow.told = keepalive.heard;
            follow.master_alive = now;
        } else if from == follow.reign.master && follow.heard > 0 && keepalive.seq > follow.heard {
            self.follow_hears_own_master_follow(now, keepalive.reign);
        }
    }

    /// Patent Figure 8H.
    pub(super) fn send_member_keepalive(&mut self, now: Time) {
        let seq = self.next_seq(now);
        let Role::Follow(follow) = &mut self.role else { return };
        // The master's keepalive is answered at once; without it, speak a quarter period late.
        follow.keepalive_at = now + self.settings.period.quarters(5);
        let (reign, heard, losses) = (follow.reign, follow.hearing, follow.losses);
        let keepalive = MemberKeepalive {
            reign,
            seq,
            heard,
            applied: self.applied,
            holds: self.table.version,
            draining: self.draining,
            hears: self.hears(now, self.settings.give_away(losses)),
            contact: self.settings.contact.clone(),
        };
        self.send(To::All, Message::MemberKeepalive(keepalive));
        self.say_in_sync(now);
    }

    pub(super) fn handle_chunk(&mut self, now: Time, from: MemberId, chunk: TableChunk) {
        let units = self.settings.units;
        match &mut self.role {
            Role::Follow(follow) if chunk.reign == follow.reign && from == follow.reign.master => {
                let moved = chunk.moved;
                if chunk.version > self.table.version
                    && let Some(table) = follow.incoming.take(chunk, units)
                {
                    self.adopt_table(now, table, moved);
                }
            }
            Role::Lead(_) => self.gather_chunk(now, from, chunk),
            _ => {}
        }
    }

    /// A new table comes into force: units that moved here are released as their move says, units of a dead owner
    /// wait for what the master holds. `committed`: the last move that the master has committed.
    fn adopt_table(&mut self, now: Time, table: Table, committed: u64) {
        let me = self.id();
        let (generation, until) = (table.version.generation, now + self.settings.period.quarters(8));
        let gained: Vec<Unit> = table.units_of(me).filter(|unit| !self.table.owns(me, *unit)).collect();
        let brings = self.reign().is_some_and(|reign| self.move_brings(reign, committed));
        let moved = self.side.as_ref().filter(|_| brings).map(|side| side.units.clone()).unwrap_or_default();
        let Role::Follow(follow) = &mut self.role else { return };
        follow.taken.retain(|unit, _| table.owns(me, *unit));
        if self.settings.delivery == Delivery::Shared {
            let taken = gained.iter().filter(|unit| !moved.contains(unit));
            follow.taken.extend(taken.map(|unit| (*unit, (until, generation))));
        }
        let version = table.version;
        self.note_orphans(now, &table);
        self.bury(&table);
        self.end_side(&table, brings);
        self.table = table;
        let view = self.refresh_view();
        self.note_table_view(view);
        let Role::Follow(follow) = &mut self.role else { return };
        follow.applying = Some((view, version));
        if view <= self.views.applied() {
            self.table_applied(now);
        }
    }

    /// Which units change hands since their owner died, should this member be the next to judge that.
    fn note_orphans(&mut self, now: Time, table: &Table) {
        let Role::Follow(follow) = &self.role else { return };
        // The master waited longer than this; but a member that hands a unit over speaks all the time.
        let silence = self.settings.watch(follow.losses.saturating_sub(1).max(2));
        for (unit, entry) in table.iter() {
            let before = self.table.owner(unit);
            if before == entry.owner {
                continue;
            }
            let silent = |peer: &Peer| now.since(peer.heard_at) >= silence;
            let on_trial = match before {
                Owner::Member(owner) => owner != self.id() && self.peers.get(&owner).is_some_and(silent),
                Owner::Quarantined => true,
                Owner::Unassigned => false,
            };
            self.quarantine.owner_changed(unit, now, on_trial);
        }
    }

    /// The workers obey: acknowledge (the master releases what it holds), at once.
    pub(super) fn table_applied(&mut self, now: Time) {
        let applied = self.views.applied();
        let Role::Follow(follow) = &mut self.role else { return };
        if let Some((_, version)) = follow.applying.take_if(|(view, _)| *view <= applied) {
            self.applied = version;
            self.send_member_keepalive(now);
        }
    }

    /// The master's marker: what it held for this member is all here.
    pub(super) fn handle_marker(&mut self, from: MemberId, token: u64) {
        let Role::Follow(follow) = &self.role else { return };
        if from == follow.reign.master {
            let released: Vec<Unit> = follow
                .taken
                .iter()
                .filter(|(_, (_, generation))| *generation <= token)
                .map(|(unit, _)| *unit)
                .collect();
            self.release_taken(&released);
        }
    }

    fn release_taken(&mut self, units: &[Unit]) {
        for unit in units {
            if let Role::Follow(follow) = &mut self.role {
                follow.taken.remove(unit);
            }
            self.release(*unit, ReleaseTo::Here, Vec::new());
        }
    }

    pub(super) fn release(&mut self, unit: Unit, to: ReleaseTo, except: Vec<u32>) {
        let to = if self.settings.hold_dropped() { ReleaseTo::Nowhere } else { to };
        self.outputs.push_back(Output::Order(Order::Release { unit, to, except }));
    }

    pub(super) fn answer_table_request(&mut self, from: MemberId, reign: Reign) {
        if self.reign() == Some(reign) && reign.master == from {
            for chunk in chunks(&self.table, reign, 0) {
                self.send(To::Member(from), chunk);
            }
        }
    }

    pub(super) fn handle_abdication(&mut self, now: Time, from: MemberId, reign: Reign, to: MemberId) {
        let me = self.id();
        if to == me && from == reign.master {
            self.yielded_to(now);
        }
        // Who slept on this word may be the last to hear it: somebody else may rule by now.
        let timely = self.lease_is_valid(now);
        let Role::Follow(follow) = &mut self.role else { return };
        if reign != follow.reign || from != reign.master {
            return;
        }
        follow.abdicated_to = Some(to);
        if to == me && follow.heard != 0 {
            if timely {
                self.take_over(now, true);
            }
        } else if !self.is_member(to) {
            // The units that this member owns belong to members of that cluster now.
            self.rejoin(now, RejoinReason::MasterYielded, Some(to));
        }
    }

    /// Our master follows another: it has abdicated, should that message be lost.
    pub(super) fn follow_hears_own_master_follow(&mut self, now: Time, to: Reign) {
        let Role::Follow(follow) = &self.role else { return };
        let reign = follow.reign;
        if to != reign && to.master != self.id() {
            self.handle_abdication(now, reign.master, reign, to.master);
        }
    }

    /// Becomes a follower of the member that it handed its role to.
    pub(super) fn follow_successor(&mut self, now: Time, reign: Reign, losses: u8) {
        self.role = Role::Follow(Box::new(Follow::new(reign, losses, now)));
        self.linger_until = Some(now + self.settings.period.quarters(4 * 10));
        self.event(ClusterEvent::Following(reign));
    }

    /// Whether this member may take over under its quorum rule at all: `none` always, `majority` finds out by asking.
    pub(super) fn quorum_is_none(&self) -> bool {
        self.settings.quorum == Quorum::None
    }
}
