//! Patent Figures 8A to 8E: the master. It judges who is alive, and renews leases by echoing what it heard.
//!
//! A follower counts its lease from its own sending of the keepalive that was echoed to it; the master counts
//! [`Settings::give_away`] from having taken in the keepalive that it echoes. Nothing is taken in before it is sent, so
//! the lease lapses first, however late any message comes and however long the follower sleeps on an echo.
//!
//! Echoed are only keepalives that acknowledge something new, and that soon. So a member that speaks but does not hear,
//! or hears too late for a lease to be of use, is as good as dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use phalanx_dataplane::unit::{MemberId, Unit};

use super::announce::Announce;
use super::assign::Pending;
use super::balance::Loading;
use super::basis::Basis;
use super::core::{Core, Member, Role};
use super::event::{ClusterEvent, RejoinReason};
use super::handover::{ActiveMove, PlannedMove};
use super::loss::Loss;
use super::message::{Listed, MasterKeepalive, MemberKeepalive, Message, Reign};
use super::output::{Output, To};
use super::settings::{LOSSES_MAX, Quorum, Settings};
use super::table::Version;
use super::time::{Span, Time};

/// What the master knows of a follower.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follower {
    /// Its last keepalive.
    seq: u64,
    /// The last one that acknowledged something new: echoed, it renews the follower's lease.
    echo: u64,
    /// Whether it has spoken under this reign.
    pub(super) spoke: bool,
    /// The last of this master's keepalives that it acknowledged.
    pub(super) heard: u64,
    pub(super) loss: Loss,
    /// When this master took in what it echoes: it judges by this, moved along when it was late itself.
    pub(super) fresh_at: Time,
    /// When this master sent the last keepalive that the follower is known to have heard: its own lease under
    /// `majority` counts from it.
    pub(super) confirmed_at: Time,
    pub(super) applied: Version,
    pub(super) holds: Version,
    pub(super) draining: bool,
    pub(super) hears: Vec<(MemberId, u8)>,
    pub(super) joined_at: Time,
    /// Its last word, to be told after its death.
    pub(super) spoke_at: Time,
}

impl Follower {
    pub(super) fn new(seq: u64, now: Time) -> Self {
        Self {
            seq,
            echo: seq,
            spoke: false,
            heard: 0,
            loss: Loss::default(),
            fresh_at: now,
            confirmed_at: now,
            applied: Version::default(),
            holds: Version::default(),
            draining: false,
            hears: Vec::new(),
            joined_at: now,
            spoke_at: now,
        }
    }

    /// Whether it has acknowledged a keepalive of this reign.
    pub(super) fn hears_us(&self) -> bool {
        self.spoke && self.heard > 0
    }
}

/// The state of a master.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Lead {
    pub(super) reign: Reign,
    pub(super) followers: BTreeMap<MemberId, Follower>,
    pub(super) keepalive_at: Time,
    pub(super) last_sent: Time,
    /// The adaptive n, the one before, and when it changed: while members may still go by either, the judge goes by the
    /// larger and the master's own lease by the smaller.
    pub(super) losses: u8,
    losses_before: u8,
    losses_changed_at: Time,
    /// The last agreed membership, for `majority`.
    pub(super) basis: Basis,
    pub(super) quorate: bool,
    /// `majority`: whether it follows, and, if it came back after this master's lease had lapsed, until when another
    /// master and its followers may still serve that had it before.
    pub(super) majority: bool,
    pub(super) fenced_until: Time,
    /// A new master first hears from these what table they hold.
    pub(super) gather: Option<BTreeSet<MemberId>>,
    pub(super) gathered: BTreeMap<u8, Vec<super::table::Entry>>,
    pub(super) candidates: BTreeMap<MemberId, super::message::JoinRequest>,
    pub(super) pending: BTreeMap<Unit, Pending>,
    pub(super) table_said_at: Time,
    pub(super) active: Option<ActiveMove>,
    pub(super) plan: VecDeque<PlannedMove>,
    pub(super) moves: u64,
    /// The last move that was committed.
    pub(super) committed: u64,
    pub(super) loading: Loading,
    pub(super) unfit: BTreeSet<MemberId>,
    pub(super) abdicating: Option<MemberId>,
    pub(super) since: Time,
    pub(super) announce: Announce,
    pub(super) other_master_told: Option<Time>,
    /// The reign that was handed to this master, if it was.
    pub(super) handed_on_by: Option<Reign>,
}

impl Lead {
    pub(super) fn new(settings: &Settings, term: u64, basis: Basis, losses: u8, now: Time) -> Self {
        Self {
            reign: Reign { term, master: settings.id },
            followers: BTreeMap::new(),
            keepalive_at: now,
            last_sent: now,
            losses,
            losses_before: losses,
            losses_changed_at: now,
            basis,
            quorate: true,
            majority: false,
            fenced_until: now,
            gather: None,
            gathered: BTreeMap::new(),
            candidates: BTreeMap::new(),
            pending: BTreeMap::new(),
            table_said_at: now,
            active: None,
            plan: VecDeque::new(),
            moves: 0,
            committed: 0,
            loading: Loading::new(settings.units, now, settings.balance_interval),
            unfit: BTreeSet::new(),
            abdicating: None,
            since: now,
            announce: Announce { at: Some(now), pause: settings.period },
            other_master_told: None,
            handed_on_by: None,
        }
    }

    pub(super) fn gathering(&self) -> bool {
        self.gather.is_some()
    }

    pub(super) fn pending(&self, unit: Unit) -> bool {
        self.pending.contains_key(&unit)
    }

    pub(super) fn losses_low(&self) -> u8 {
        self.losses.min(self.losses_before)
    }

    pub(super) fn losses_high(&self) -> u8 {
        self.losses.max(self.losses_before)
    }

    /// Whether the member is the master, or a follower that confirmed hearing it within `watch`: nobody else can have
    /// won that one over by now.
    pub(super) fn is_with_us(&self, id: MemberId, now: Time, watch: Span) -> bool {
        let confirms = |follower: &Follower| follower.spoke && now.since(follower.confirmed_at) < watch;
        id == self.reign.master || self.followers.get(&id).is_some_and(confirms)
    }

    pub(super) fn deadlines(&self, settings: &Settings) -> Option<(Time, &'static str)> {
        let silence = settings.give_away(self.losses_high());
        [(self.keepalive_at, "keepalive"), (self.loading.balance_at, "balance")]
            .into_iter()
            .chain(self.followers.values().map(|follower| (follower.fresh_at + silence, "member watchdog")))
            .chain(self.announce.at.map(|at| (at, "announce")))
            .chain(self.active.as_ref().map(|active| (active.deadline(settings), "move unanswered")))
            .min()
    }
}

impl Core {
    /// Figure 6, 619 to 623: nobody answered the offer.
    pub(super) fn found_cluster(&mut self, now: Time) {
        self.live_as(self.incarnation.saturating_add(1));
        self.term_max = self.term_max.saturating_add(1);
        let me = Member { id: self.id(), incarnation: self.incarnation };
        let mut basis = self.settings.last_membership.clone();
        if !basis.contains(&me.id) {
            basis.push(me.id);
        }
        self.members = vec![me];
        self.persist(basis.clone());
        let lead = Lead::new(&self.settings, self.term_max, Basis::new(basis), self.settings.losses_min, now);
        let reign = lead.reign;
        self.role = Role::Lead(Box::new(lead));
        self.event(ClusterEvent::BecameMaster { reign, members: 1, succeeded: None });
        self.beacon_now(now);
        self.lead_timeout(now);
        let table = self.table.clone();
        self.publish(now, table);
    }

    /// The master is dead, or (`asked`) handed its role to this member: take over with everyone else who is left.
    pub(super) fn take_over(&mut self, now: Time, asked: bool) {
        let Role::Follow(follow) = &self.role else { return };
        let (before, losses, silent) = (follow.reign, follow.losses(), now.since(follow.master_alive));
        let old = before.master;
        let basis = follow.basis.clone();
        let me = self.members.iter().copied().find(|member| member.id == self.id());
        let Some(me) = me else { return self.rejoin(now, RejoinReason::MasterLost, None) };
        let keeps = |member: &&Member| member.id != me.id && (asked || member.id != old);
        let others: Vec<Member> = self.members.iter().filter(keeps).copied().collect();
        let mut lead = Lead::new(&self.settings, self.term_max.saturating_add(1), basis, losses, now);
        lead.followers =
            others.iter().map(|member| (member.id, Follower::new(self.last_seq(member.id), now))).collect();
        lead.handed_on_by = asked.then_some(before);
        lead.gather = Some(others.iter().map(|member| member.id).collect());
        self.term_max = self.term_max.saturating_add(1);
        self.members = std::iter::once(me).chain(others).collect();
        if !asked {
            self.outputs.push_back(Output::TellApps(old, false));
        }
        let (reign, members) = (lead.reign, self.members.len());
        self.role = Role::Lead(Box::new(lead));
        self.linger_until = None;
        self.shorten_lease(now + self.settings.self_lease(losses));
        let succeeded = (!asked).then_some((old, silent));
        self.event(ClusterEvent::BecameMaster { reign, members, succeeded });
        self.set_probation(members == 1);
        self.lead_timeout(now);
    }

    /// Whether this master was silent for so long that others have taken over.
    pub(super) fn master_slept(&self, now: Time) -> bool {
        let Role::Lead(lead) = &self.role else { return false };
        !lead.followers.is_empty() && now.since(lead.last_sent) >= self.settings.watch(lead.losses_low())
    }

    pub(super) fn lead_timeout(&mut self, now: Time) {
        if !matches!(self.role, Role::Lead(_)) {
            return;
        }
        self.bury_the_dead(now);
        self.send_due_keepalive(now);
        self.finish_gathering(now);
        self.wake_rested(now);
        self.table_timeout(now);
        self.move_timeout(now);
        self.side_timeout(now);
        self.balance_timeout(now);
        self.announce_timeout(now);
    }

    fn last_seq(&self, id: MemberId) -> u64 {
        self.peers.get(&id).map_or(0, |peer| peer.seq)
    }

    /// Patent Figure 8C.
    fn send_due_keepalive(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        if now < lead.keepalive_at {
            return;
        }
        self.adapt(now);
        self.judge_fitness(now);
        self.send_master_keepalive(now);
        self.hand_on();
    }

    pub(super) fn send_master_keepalive(&mut self, now: Time) {
        let seq = self.next_seq(now);
        self.judge_quorum(now);
        let silence = self.settings.give_away(LOSSES_MAX).min(Span::from_ms(1000));
        let hears = self.hears(now, silence);
        let Role::Lead(lead) = &mut self.role else { return };
        lead.last_sent = now;
        lead.keepalive_at = now + self.settings.period;
        let echo = |member: &Member| Listed {
            id: member.id,
            incarnation: member.incarnation,
            echo: lead.followers.get(&member.id).map_or(0, |follower| follower.echo),
        };
        let keepalive = MasterKeepalive {
            reign: lead.reign,
            seq,
            version: self.table.version,
            digest: self.table.digest(),
            losses: lead.losses,
            quorate: lead.quorate,
            abdicating: lead.abdicating,
            members: self.members.iter().map(echo).collect(),
            agreed: lead.basis.agreed().to_vec(),
            joining: lead.basis.joining().to_vec(),
            list: lead.basis.version(),
            hears,
            contact: self.settings.contact.clone(),
        };
        self.send(To::All, Message::MasterKeepalive(keepalive));
        self.say_in_sync(now);
        self.renew_own_lease(now);
    }

    /// A master may own units while those who would take over from it have heard from it, or (`none`) should have.
    fn renew_own_lease(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        let lease = self.settings.self_lease(lead.losses_low());
        let anchor = match self.settings.quorum {
            Quorum::None => Some(lead.last_sent),
            Quorum::Majority if now < lead.fenced_until => None,
            Quorum::Majority => {
                let heard = |id: MemberId| {
                    let follower = lead.followers.get(&id).filter(|follower| follower.spoke);
                    if id == lead.reign.master { Some(lead.last_sent) } else { follower.map(|f| f.confirmed_at) }
                };
                lead.basis.heard_by_majority(heard)
            }
        };
        if let Some(anchor) = anchor {
            self.renew_lease(now, anchor + lease);
        }
    }

    /// Patent Figure 8B.
    pub(super) fn lead_hears_member(&mut self, now: Time, from: MemberId, keepalive: &MemberKeepalive) {
        let Role::Lead(lead) = &mut self.role else { return };
        if keepalive.reign != lead.reign {
            return;
        }
        let reign = lead.reign;
        if !lead.followers.contains_key(&from) {
            return self.send(To::Member(from), Message::ExitRequest(reign));
        }
        let heard_at = self.sent_at(keepalive.heard).unwrap_or_default();
        let Role::Lead(lead) = &mut self.role else { return };
        let watch = self.settings.watch(lead.losses_low());
        let Some(follower) = lead.followers.get_mut(&from) else { return };
        if keepalive.seq <= follower.seq {
            return;
        }
        if follower.spoke {
            follower.loss.take(keepalive.seq - follower.seq - 1);
        }
        follower.spoke = true;
        follower.seq = keepalive.seq;
        follower.spoke_at = now;
        if keepalive.heard > follower.heard && now.since(heard_at) < watch {
            follower.echo = keepalive.seq;
            follower.fresh_at = now;
        }
        follower.confirmed_at = follower.confirmed_at.max(heard_at);
        follower.heard = keepalive.heard;
        follower.applied = keepalive.applied;
        follower.holds = keepalive.holds;
        follower.hears.clone_from(&keepalive.hears);
        let asks_to_leave = keepalive.draining && !std::mem::replace(&mut follower.draining, keepalive.draining);
        if asks_to_leave {
            self.relieve_backup(now, from);
            self.plan_moves(now);
        }
        self.agree();
        self.gather_from(now, from);
        self.takeover_acknowledged(now, from);
        if self.judge_quorum(now) {
            // Followers wait for this to renew their leases.
            self.send_master_keepalive(now);
        } else if !self.quorum_is_none() {
            self.renew_own_lease(now);
        }
    }

    /// Chooses n for the member whose keepalives are lost most.
    fn adapt(&mut self, now: Time) {
        let (period, false_alarm) = (self.settings.period, self.settings.false_alarm);
        let least = self.settings.losses_min;
        let Role::Lead(lead) = &mut self.role else { return };
        // Until nobody can go by the number before any more, it stays.
        if now.since(lead.losses_changed_at) < period.quarters(4 * (u64::from(LOSSES_MAX) + 2)) {
            return;
        }
        let needed = lead.followers.values().map(|f| f.loss.losses_allowed(least, period, false_alarm)).max();
        let needed = needed.unwrap_or(least);
        let next = if needed < lead.losses { lead.losses - 1 } else { needed };
        lead.losses_before = std::mem::replace(&mut lead.losses, next);
        if lead.losses_before != next {
            lead.losses_changed_at = now;
            self.event(ClusterEvent::LossesAllowed(next));
        }
    }

    /// Whether members have been heard long enough for a verdict on their ports.
    pub(super) fn settled(&self, now: Time, id: MemberId) -> bool {
        let Role::Lead(lead) = &self.role else { return false };
        let since = lead.followers.get(&id).map_or(lead.since, |follower| follower.joined_at.max(lead.since));
        now.since(since) >= Span(2 * self.settings.give_away(lead.losses_high()).0)
    }
}
