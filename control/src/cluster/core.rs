//! The cluster core: one member's view of the cluster as a state machine without clock, socket or thread.
//!
//! Drive it like this, and it does the same under the runtime, the simulator and the model checker:
//! 1. **in**: `handle_message`, `handle_heard`, `handle_notice`, `handle_verdict`, `handle_refused`, `handle_loads`,
//!    `handle_in_sync`, `handle_drain`, and `handle_timeout` when [`Core::poll_timeout`]'s moment has come;
//! 2. **out**: after each, drain [`Core::poll_output`] in order.
//!
//! State lives here and with nobody else: the shell keeps no copy of the table, the lease or the member list. What is
//! lost when a member dies at any line is exactly this value, and what the others do about it is in `follow`
//! (succession) and `lead` (giving units away).

use std::collections::{BTreeMap, VecDeque};

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::steer::Notice;
use phalanx_dataplane::unit::{MemberId, Unit};

use super::event::{ClusterEvent, RejoinReason};
use super::follow::Follow;
use super::handover::Side;
use super::in_sync::Knowledge;
use super::lead::Lead;
use super::message::{Message, NakReason, Reign};
use super::output::{Output, To};
use super::quarantine::Quarantine;
use super::search::Search;
use super::settings::{Contact, Settings};
use super::table::{Table, Version};
use super::time::{Span, Time};
use super::view::Views;

/// Data ports that a keepalive can report on: one bit each.
pub const PORTS_MAX: usize = 8;
/// One message lets the highest known term, or incarnation, grow by this much at most: a hostile member would need ages
/// to exhaust it.
pub(super) const STEP_MAX: u64 = 1 << 16;
/// How many of its own last keepalives a member remembers the sending of.
const SENT_MAX: usize = 64;

/// The path on which something was heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Path {
    /// The cluster link.
    Link,
    /// A data port, by its number in the configuration.
    Port(u8),
}

/// What this member is at the moment (patent Figure 6).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    Search(Search),
    Follow(Box<Follow>),
    Lead(Box<Lead>),
    Left,
}

/// What this member knows of another from hearing it directly.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Peer {
    pub(super) heard_at: Time,
    pub(super) ports: [Option<Time>; PORTS_MAX],
    pub(super) contact: Option<Contact>,
    /// Its last keepalive, whomever it follows: what a new master echoes first.
    pub(super) seq: u64,
}

/// A member of the cluster: who, and which life of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Who.
    pub id: MemberId,
    /// Which life.
    pub incarnation: u64,
}

/// One member's cluster state machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) role: Role,
    /// The highest term heard of, be it a reign's or a table's.
    pub(super) term_max: u64,
    pub(super) incarnation: u64,
    /// The members in order of succession; empty while in no cluster.
    pub(super) members: Vec<Member>,
    pub(super) table: Table,
    /// The table in force at the workers.
    pub(super) applied: Version,
    pub(super) peers: BTreeMap<MemberId, Peer>,
    /// Masters that are heard but do not hear us, and until when they are disregarded.
    pub(super) deaf: BTreeMap<MemberId, Time>,
    pub(super) seq: u64,
    pub(super) sent: VecDeque<(u64, Time)>,
    pub(super) lease_until: Option<Time>,
    pub(super) lease_valid: bool,
    pub(super) views: Views,
    pub(super) knowledge: Knowledge,
    pub(super) quarantine: Quarantine,
    /// This member's part in the planned move under way.
    pub(super) side: Option<Side>,
    /// When a former master under `forward` stops passing on what still arrives.
    pub(super) linger_until: Option<Time>,
    /// Units that went to heirs without their sessions, ever.
    pub(super) heirs_not_in_sync: u64,
    pub(super) draining: bool,
    pub(super) probation: bool,
    /// When this member last looked at its timers, and when it should look next.
    looked_at: Time,
    due_at: Option<Time>,
    pub(super) beacon_at: Time,
    pub(super) beacon_due: bool,
    loopback: VecDeque<Message>,
    pub(super) outputs: VecDeque<Output>,
}

impl Core {
    /// A member that starts now and looks for its cluster.
    pub fn new(settings: Settings, now: Time) -> Self {
        let mut core = Self {
            table: Table::unassigned(settings.units),
            views: Views::new(settings.units),
            knowledge: Knowledge::default(),
            quarantine: Quarantine::default(),
            incarnation: settings.incarnation,
            role: Role::Left,
            term_max: 0,
            members: Vec::new(),
            applied: Version::default(),
            peers: BTreeMap::new(),
            deaf: BTreeMap::new(),
            seq: 0,
            sent: VecDeque::new(),
            lease_until: None,
            lease_valid: false,
            side: None,
            linger_until: None,
            heirs_not_in_sync: 0,
            draining: false,
            probation: false,
            looked_at: now,
            due_at: None,
            beacon_at: now,
            beacon_due: false,
            loopback: VecDeque::new(),
            outputs: VecDeque::new(),
            settings,
        };
        core.start_search(now, None);
        core
    }

    /// This member.
    pub fn id(&self) -> MemberId {
        self.settings.id
    }

    /// What it was told at the start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes in an authenticated message.
    pub fn handle_message(&mut self, now: Time, from: MemberId, path: Path, message: Message) {
        if from == self.id() || matches!(self.role, Role::Left) {
            return;
        }
        self.wake(now);
        self.note_heard(now, from, path);
        self.dispatch(now, from, message);
        self.finish(now);
    }

    /// Notes that a copy of something already taken in arrived from a member by this path.
    pub fn handle_heard(&mut self, now: Time, from: MemberId, path: Path) {
        if from != self.id() {
            self.note_heard(now, from, path);
        }
    }

    /// Takes in what the workers say (with several workers: merged into one voice).
    pub fn handle_notice(&mut self, now: Time, notice: Notice) {
        self.wake(now);
        match notice {
            Notice::Applied { version, logs } => self.handle_applied(now, version, logs),
            Notice::Unassigned(unit) => self.assign_on_demand(now, unit),
            Notice::Marker { from, token, .. } => self.handle_marker(from, token),
        }
        self.finish(now);
    }

    /// Takes in the apps' verdict on a candidate (patent Figure 8F).
    pub fn handle_verdict(&mut self, now: Time, candidate: MemberId, verdict: Result<(), NakReason>) {
        self.wake(now);
        self.handle_app_verdict(now, candidate, verdict);
        self.finish(now);
    }

    /// Takes in that a master would not even speak to this member: what TLS says for "unknown or revoked certificate".
    pub fn handle_refused(&mut self, now: Time, by: MemberId, reason: NakReason) {
        if matches!(&self.role, Role::Search(search) if search.asks(by)) {
            self.wake(now);
            self.join_refused(now, reason);
            self.finish(now);
        }
    }

    /// Takes in what this member's own units cost lately.
    pub fn handle_loads(&mut self, now: Time, loads: &[(Unit, u32)]) {
        self.wake(now);
        self.take_own_loads(now, loads);
        self.finish(now);
    }

    /// Takes in which backups hold which units of this member's in sync, by the word of all its workers: all there is to say.
    /// `stamp` rises with every call.
    pub fn handle_in_sync(&mut self, now: Time, stamp: u64, holders: BTreeMap<MemberId, UnitSet>) {
        self.wake(now);
        self.take_in_sync(now, stamp, holders);
        self.finish(now);
    }

    /// Moves everything away, then leaves. `Output::Left` says when.
    pub fn handle_drain(&mut self, now: Time) {
        self.wake(now);
        if !self.draining {
            self.draining = true;
            self.event(ClusterEvent::Draining);
            match &mut self.role {
                Role::Search(_) => self.leave(),
                // A master plans its own relief at once; a member asks for it with its next keepalive.
                Role::Lead(lead) => lead.loading.balance_at = now,
                Role::Follow(_) | Role::Left => {}
            }
            self.relieve_backup(now, self.id());
        }
        self.finish(now);
    }

    /// Changes how often loads are compared, live.
    pub fn set_balance_interval(&mut self, interval: Span) {
        self.settings.balance_interval = interval;
    }

    /// Lets time pass: does whatever is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.wake(now);
        match self.role {
            Role::Search(_) => self.search_timeout(now),
            Role::Follow(_) => self.follow_timeout(now),
            Role::Lead(_) => self.lead_timeout(now),
            Role::Left => {}
        }
        self.say_news_in_sync(now);
        self.note_lease(now);
        self.beacon(now);
        self.looked_at = now;
        self.finish(now);
    }

    /// The next moment at which something is due, and what.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let role = match &self.role {
            Role::Search(search) => search.deadlines(&self.settings),
            Role::Follow(follow) => follow.deadlines(&self.settings),
            Role::Lead(lead) => lead.deadlines(&self.settings),
            Role::Left => return None,
        };
        let lease = self.lease_until.filter(|_| self.lease_valid).map(|until| (until, "lease lapses"));
        let linger = self.linger_until.map(|until| (until, "former master stops passing on"));
        let beacon = Some((self.beacon_at, "beacon"));
        let side = self.side.as_ref().and_then(|side| side.deadline(&self.settings));
        let news = self.news_in_sync_due().map(|at| (at, "news of backups"));
        let (at, why) = [role, lease, linger, beacon, side, news].into_iter().flatten().min()?;
        // What is overdue and was left as it is (no majority, not our turn) is looked at again soon, not in a loop.
        let again = self.looked_at + self.settings.period.quarters(1);
        Some((if at <= self.looked_at { again } else { at }, why))
    }

    /// A judge that was itself late does not condemn others for it: all clocks on others move along.
    fn wake(&mut self, now: Time) {
        // Before anything else is taken in: what waited meanwhile must not renew what has lapsed.
        if self.master_slept(now) {
            return self.rejoin(now, RejoinReason::Slept, None);
        }
        let late = self.due_at.map_or(Span(0), |due| now.since(due));
        if late <= self.settings.period.quarters(1) {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.heard_at = (peer.heard_at + late).min(now);
        }
        match &mut self.role {
            Role::Follow(follow) => follow.master_alive = (follow.master_alive + late).min(now),
            Role::Lead(lead) => {
                for follower in lead.followers.values_mut() {
                    follower.fresh_at = (follower.fresh_at + late).min(now);
                }
            }
            Role::Search(_) | Role::Left => {}
        }
    }

    /// What a member says to itself is taken in last; then the workers get a new view if anything changed.
    fn finish(&mut self, now: Time) {
        while let Some(message) = self.loopback.pop_front() {
            self.dispatch(now, self.id(), message);
        }
        self.refresh_view();
        // At the earliest now: one lateness is counted once, however many messages are taken in before the timers.
        self.due_at = self.poll_timeout().map(|(at, _)| at.max(now));
    }

    pub(super) fn send(&mut self, to: To, message: Message) {
        match to {
            To::Member(member) if member == self.id() => self.loopback.push_back(message),
            to => self.outputs.push_back(Output::Send(to, message)),
        }
    }

    /// Keeps the incarnation and the membership, on disk and for founding a cluster later in this very process.
    pub(super) fn persist(&mut self, members: Vec<MemberId>) {
        self.settings.last_membership.clone_from(&members);
        self.outputs.push_back(Output::Persist { incarnation: self.incarnation, members });
    }

    pub(super) fn event(&mut self, event: ClusterEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Whom this member follows, itself if it is the master.
    pub fn reign(&self) -> Option<Reign> {
        match &self.role {
            Role::Follow(follow) => Some(follow.reign),
            Role::Lead(lead) => Some(lead.reign),
            Role::Search(_) | Role::Left => None,
        }
    }

    pub(super) fn is_member(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    pub(super) fn member_ids(&self) -> Vec<MemberId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// Begins another life. Its keepalives have higher numbers than those of an earlier one.
    pub(super) fn live_as(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.seq = self.seq.max((incarnation & 0x7fff_ffff) << 32);
    }

    /// The next keepalive's sequence number; its sending is remembered, since an echo of it renews a lease.
    pub(super) fn next_seq(&mut self, now: Time) -> u64 {
        self.seq += 1;
        self.sent.push_back((self.seq, now));
        if self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
        self.seq
    }

    /// When the keepalive with this number was sent, if it was ours and not long ago.
    pub(super) fn sent_at(&self, seq: u64) -> Option<Time> {
        self.sent.iter().rev().find(|(sent, _)| *sent == seq).map(|(_, at)| *at)
    }

    pub(super) fn set_probation(&mut self, probation: bool) {
        if self.probation != probation {
            self.probation = probation;
            self.outputs.push_back(Output::Probation(probation));
        }
    }

    /// Gives up the place in the cluster, stops all work, and looks for a master: `toward` this one if it is known.
    pub(super) fn rejoin(&mut self, now: Time, reason: RejoinReason, toward: Option<MemberId>) {
        self.event(ClusterEvent::Rejoining(reason));
        self.start_search(now, toward);
    }

    pub(super) fn stop_work(&mut self, now: Time) {
        self.end_lease(now);
        for member in std::mem::take(&mut self.members) {
            if member.id != self.id() {
                self.outputs.push_back(Output::TellApps(member.id, false));
            }
        }
        self.side = None;
        self.linger_until = None;
        self.forget_in_sync();
        self.table = Table::unassigned(self.settings.units);
        self.applied = Version::default();
        self.quarantine = Quarantine::default();
        self.set_probation(false);
    }

    pub(super) fn leave(&mut self) {
        self.role = Role::Left;
        self.members.clear();
        self.event(ClusterEvent::Left);
        self.refresh_view();
        self.outputs.push_back(Output::Left);
    }
}
