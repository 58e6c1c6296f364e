//! The cluster thread: the one shell around the cluster core.
//!
//! One round: take in everything that waits (datagrams, frames from the workers, their notices, the link, commands), let
//! time pass if something is due, do what the core wants done, sleep until the next deadline or the next arrival. After
//! a sleep the inputs always come *before* the clock: a keepalive that waited while this thread slept too long is
//! heard before anyone is judged for its absence.
//!
//! Nothing here may take long. The one exception is a new life's number, which must be on disk before it is used.

mod in_sync;
mod input;
mod output;
mod refusals;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam::channel::Receiver;
use phalanx_dataplane::port::RouteSpec;
use phalanx_dataplane::unit::MemberId;
use phalanx_dataplane::worker::{Clock, Shared, WorkerHandle};

use super::apps::Apps;
use super::board::{Board, EVENTS_MAX, Posted};
use super::loads::LoadMeter;
use super::merge::Merge;
use super::post::Post;
use super::state::StateDir;
use super::timeline::Timeline;
use super::udp::LinkSockets;
use super::wake::Sleeper;
use crate::cluster::{ClusterEvent, Core, Sole, Span, Standing, Time};
use crate::limited::Limited;
use crate::link::{LinkEvent, LinkHandle};
use crate::pki::Admission;
use crate::replication::ReplicationHandle;
use crate::status::Event;
use in_sync::InSyncReader;
use refusals::Refusals;

/// How often the board is renewed at least.
const POST_EVERY: Span = Span::from_ms(50);
/// How long a drain that a signal asked for may take.
const DRAIN_MAX: Span = Span::from_ms(5000);
/// How long this thread sleeps at most.
const SLEEP_MAX: Span = Span::from_ms(100);

/// What other threads ask of this one.
pub(super) enum Command {
    /// Give all units away, then leave; `hurry`: within five seconds.
    Drain {
        /// Whether there is a limit.
        hurry: bool,
    },
    /// Leave at once.
    Stop,
    /// Compare loads this often from now on.
    BalanceInterval(Duration),
    /// New static routes.
    Routes(Vec<RouteSpec>),
    /// New rules of admission.
    Admission(Box<Admission>),
    /// A worker ended that should not have.
    WorkerEnded(usize),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Left,
    /// This process can no longer do its work; others take over.
    Failed(String),
}

/// What the thread is made of. All of it belongs to it alone, but for what is shared by design.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) post: Post,
    pub(super) sockets: LinkSockets,
    pub(super) sleeper: Sleeper,
    pub(super) link: LinkHandle,
    /// Carries sessions to the other members, if there are any to carry.
    pub(super) replicas: Option<ReplicationHandle>,
    pub(super) inbox: Receiver<LinkEvent>,
    pub(super) commands: Receiver<Command>,
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) shared: Arc<Shared>,
    pub(super) meter: LoadMeter,
    pub(super) apps: Apps,
    pub(super) state: StateDir,
    /// Gets the membership, to be written when there is time.
    pub(super) memberships: tokio::sync::watch::Sender<Vec<MemberId>>,
    pub(super) board: Arc<Board>,
}

/// The running thread.
pub(super) struct ClusterThread {
    parts: Parts,
    merge: Merge,
    in_sync: InSyncReader,
    sole: Sole,
    timeline: Timeline,
    /// Whom this member followed at the last event.
    master: Option<MemberId>,
    events: VecDeque<Event>,
    /// The same, as it was last posted; none: changed since.
    events_posted: Option<Arc<Vec<Event>>>,
    posted_at: Time,
    loads_at: Time,
    loads_taken: Time,
    drain_until: Option<Time>,
    /// The last incarnation that is on disk.
    durable: u64,
    was_member: bool,
    rounds: u64,
    late_max_ns: u64,
    send_log: Limited,
    link_log: Limited,
    refusals: Refusals,
    end: Option<End>,
    buffer: Box<[u8; 2048]>,
}

impl ClusterThread {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Time(parts.clock.now_ns());
        Self {
            merge: Merge::new(parts.workers.len()),
            in_sync: InSyncReader::default(),
            sole: Sole::default(),
            timeline: Timeline::default(),
            master: None,
            events: VecDeque::with_capacity(EVENTS_MAX),
            events_posted: None,
            posted_at: Time(0),
            loads_at: now,
            loads_taken: now,
            drain_until: None,
            durable: parts.core.settings().incarnation,
            was_member: false,
            rounds: 0,
            late_max_ns: 0,
            send_log: Limited::new(),
            link_log: Limited::new(),
            refusals: Refusals::default(),
            end: None,
            buffer: Box::new([0; 2048]),
            parts,
        }
    }

    /// Runs until the member has left or cannot go on.
    pub(super) fn run(mut self) -> End {
        self.carry_out();
        loop {
            self.take_in();
            self.take_in_sync();
            self.let_time_pass();
            self.pass_on_known();
            self.tell_sole();
            self.publish();
            if let Some(end) = self.end.take() {
                self.stop_workers();
                return end;
            }
            self.rounds += 1;
            let limit = Duration::from_nanos(self.next_deadline().since(self.now()).0);
            if let Err(error) = self.parts.sleeper.sleep(self.parts.sockets.fds(), Some(limit)) {
                self.end = Some(End::Failed(format!("the cluster thread cannot wait: {error}")));
            }
        }
    }

    fn now(&self) -> Time {
        Time(self.parts.clock.now_ns())
    }

    fn next_deadline(&self) -> Time {
        let now = self.now();
        // The first packet after a failover is looked for, not announced: its moment is the workers' stamp anyway.
        let idle = if self.timeline.is_active() { Span::from_ms(10) } else { SLEEP_MAX };
        let core = self.parts.core.poll_timeout().map(|(at, _)| at);
        [core, Some(self.loads_at), self.drain_until, Some(now + idle)].into_iter().flatten().min().unwrap_or(now)
    }

    fn let_time_pass(&mut self) {
        let now = self.now();
        if let Some((due, _)) = self.parts.core.poll_timeout()
            && due <= now
        {
            self.late_max_ns = self.late_max_ns.max(now.since(due).0);
            self.parts.core.handle_timeout(now);
            self.carry_out();
        }
        if self.loads_at <= now {
            self.loads_at = now + Span(self.parts.core.settings().balance_interval.0 / 2);
            let span = now.since(std::mem::replace(&mut self.loads_taken, now));
            let loads = self.parts.meter.take(&self.parts.shared, span);
            self.parts.core.handle_loads(now, &loads);
            self.carry_out();
        }
        if self.drain_until.is_some_and(|until| until <= now) {
            tracing::warn!("the drain took too long: leaving with units still here");
            self.end = Some(End::Left);
        }
        let first = self.parts.shared.first_packet_ns.load(std::sync::atomic::Ordering::Relaxed);
        while let Some(line) = self.timeline.poll(now, first) {
            self.say("failover", line);
        }
    }

    /// Renews the board: at most every [`POST_EVERY`] unless something happened.
    /// Lets the workers see up to when it is certain that nobody else owned what is ours.
    fn tell_sole(&mut self) {
        let up_to = self.sole.look(self.now(), &self.parts.core);
        self.parts.shared.sole_up_to_ns.store(up_to.map_or(0, |at| at.0), Relaxed);
    }

    fn publish(&mut self) {
        let now = self.now();
        let news = self.events_posted.is_none() || self.end.is_some();
        if !news && now.since(self.posted_at) < POST_EVERY {
            return;
        }
        self.posted_at = now;
        let events = self.events_posted.get_or_insert_with(|| Arc::new(self.events.iter().cloned().collect()));
        let core = self.parts.core.snapshot(now);
        self.was_member |= matches!(core.standing, Standing::Following | Standing::Leading);
        self.parts.board.post(Posted {
            at: now,
            core,
            names: self.parts.post.names(),
            refused: self.parts.post.refused,
            link: self.parts.link.stats(),
            replication: self.parts.replicas.as_ref().map(ReplicationHandle::stats).unwrap_or_default(),
            events: Arc::clone(events),
            was_member: self.was_member,
            rounds: self.rounds,
            late_max_ns: self.late_max_ns,
        });
    }

    /// Writes an event to the log and remembers it.
    fn say(&mut self, kind: &str, what: String) {
        match kind {
            "member_dead" | "lease_lapsed" | "rejoining" | "join_refused" | "refused_join" | "quarantined"
            | "failover" | "heirs_not_in_sync" | "leaves_unheld" => {
                tracing::warn!(event = kind, "{what}");
            }
            _ => tracing::info!(event = kind, "{what}"),
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        let t_ms = self.parts.clock.now_ns() as f64 / 1e6;
        self.events.push_back(Event { t_ms, kind: kind.to_owned(), what });
        self.events_posted = None;
    }
}

/// The event's sort in one word.
pub(super) fn kind_of(event: &ClusterEvent) -> &'static str {
    match event {
        ClusterEvent::Searching => "searching",
        ClusterEvent::Offering => "offering",
        ClusterEvent::BecameMaster { .. } => "became_master",
        ClusterEvent::Following(_) => "following",
        ClusterEvent::Joined { .. } => "joined",
        ClusterEvent::JoinRefused(_) => "join_refused",
        ClusterEvent::RefusedJoin(..) => "refused_join",
        ClusterEvent::MemberJoined(_) => "member_joined",
        ClusterEvent::MemberLeft(_) => "member_left",
        ClusterEvent::MemberDead(..) => "member_dead",
        ClusterEvent::TablePublished(..) => "table_published",
        ClusterEvent::TakeoverAcknowledged(..) => "takeover",
        ClusterEvent::Moved { .. } => "moved",
        ClusterEvent::MoveAborted(_) => "move_aborted",
        ClusterEvent::Quarantined(_) => "quarantined",
        ClusterEvent::HeirsNotInSync(_) => "heirs_not_in_sync",
        ClusterEvent::LeavesUnheld(_) => "leaves_unheld",
        ClusterEvent::Rejoining(_) => "rejoining",
        ClusterEvent::LeaseLapsed => "lease_lapsed",
        ClusterEvent::LeaseRegained => "lease_regained",
        ClusterEvent::Fitness(..) => "fitness",
        ClusterEvent::Quorate(_) => "quorate",
        ClusterEvent::LossesAllowed(_) => "losses_allowed",
        ClusterEvent::Abdicated(_) => "abdicated",
        ClusterEvent::Draining => "draining",
        ClusterEvent::Left => "left",
    }
}
