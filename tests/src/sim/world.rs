//! The simulated world: events in the order of time, one at a time, and what each of them sets off.
//!
//! Everything is a function of the seed: there is one source of randomness, one queue ordered by time and number, and
//! no map with an order of its own. So a seed replays, step by step.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use phalanx_control::cluster::{ClusterEvent, Delivery, Message, Output, Path, Quorum, Replicas, Span, Time, To};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::steer::{MarkerPart, Notice, Order, Source};
use phalanx_dataplane::unit::MemberId;

use super::check::Checks;
use super::clock::Clock;
use super::faults::{Deed, Schedule};
use super::net::{HOST, LINK, Net, PATHS};
use super::node::{Act, Acts, Common, Datagram, Node, Packet, Sent};
use super::options::{Options, Report, Violation};
use super::replicas::Holdings;
use super::rng::Rng;
use super::sessions::lan::FIRST_ID;
use super::sessions::{DeskEvent, Sessions};
use super::traffic::Traffic;

/// A microsecond.
pub const US: u64 = 1_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;

/// Something that happens. Members are given by place, processes by place and life.
#[derive(Debug)]
pub enum Event {
    /// A copy of a cluster datagram arrives.
    Datagram(usize, Path, Datagram),
    /// A message over mutual TLS arrives.
    Reliable(usize, Datagram),
    /// A data frame arrives at a port (1 or 2).
    Frame(usize, usize, Source, Packet),
    /// A marker arrives at a port.
    Marker(usize, usize, MemberId, u64),
    /// An order reaches the worker.
    Obey(usize, u32, Rc<Order>),
    /// A notice reaches the core.
    Tell(usize, u32, Notice),
    /// The apps' verdict.
    Verdict(usize, u32, MemberId),
    /// The core's timer.
    Timer(usize, u32),
    /// The worker's timer.
    WorkerTimer(usize, u32),
    /// Something for the apps' half of a worker, or its link.
    Desk(usize, u32, DeskEvent),
    /// The worker's load report.
    Loads(usize, u32),
    /// A host sends a packet.
    Inject,
    /// An ARP announcement or answer reaches the host of this port.
    Arp(usize, usize),
    /// The hosts look up the cluster address again.
    Ask,
    /// Owners write to their sessions.
    Replicate,
    /// Something is done to the cluster.
    Deed(Deed),
    /// The schedule goes on.
    Schedule,
    /// A line's next conversation begins.
    Begin(usize),
    /// An end of a conversation acts.
    Act(usize, usize),
    /// Somebody asks for a ticket.
    Ask4Ticket(usize),
    /// A peer's turn.
    Peer(usize),
    /// A host's frame reaches the LAN late.
    Lan(Packet),
    /// A frame reaches a host.
    ToHost(u32),
    /// A link between two members that was cut is tried again.
    Stalled(usize, usize),
    /// The sessions are looked at.
    LookAtSessions,
}

struct Due {
    at: u64,
    number: u64,
    /// Boxed: the queue moves its entries about a lot.
    event: Box<Event>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The whole of it.
pub struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) net: Net,
    pub(super) common: Common,
    pub(super) traffic: Traffic,
    pub(super) sessions: Option<Box<Sessions>>,
    pub(super) checks: Checks,
    pub(super) holdings: Holdings,
    pub(super) schedule: Schedule,
    pub(super) report: Report,
    /// The n that the last master's keepalive named.
    pub(super) losses: u8,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
    trace: Option<Vec<String>>,
    pub(super) done: bool,
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let members = options.members.unwrap_or_else(|| *rng.pick(&[2, 3, 3, 3, 4, 5]));
        let quorum = *rng.pick(&[Quorum::None, Quorum::Majority]);
        let delivery = *rng.pick(&[Delivery::Forward, Delivery::Shared]);
        let period_ms = *rng.pick(&[10, 10, 3]);
        let units = if options.sessions.is_none() && rng.permille(30) { 1024 } else { 64 };
        let balance_interval = Span::from_ms(rng.between(100, 1000));
        let replicas = *rng.pick(&[
            None,
            None,
            Some(Replicas::All),
            Some(Replicas::All),
            Some(Replicas::Count(1)),
            Some(Replicas::Count(2)),
        ]);
        let common = Common {
            period: Span::from_ms(options.period_ms.unwrap_or(period_ms)),
            quorum: options.quorum.unwrap_or(quorum),
            delivery: options.delivery.unwrap_or(delivery),
            units,
            balance_interval,
            replicas: if options.sessions.is_some() { Some(Replicas::All) } else { replicas },
            fault: options.fault,
        };
        let clocks: Vec<Clock> = (0..members)
            .map(|_| Clock {
                origin_ns: if rng.permille(100) { 0 } else { rng.below(1 << 43) },
                drift_ppm: rng.below(401) as i64 - 200,
            })
            .collect();
        let nodes: Vec<Node> =
            (1..=members as u8).filter_map(MemberId::new).zip(clocks).map(|(id, clock)| Node::new(id, clock)).collect();
        let traffic = Traffic::new(&mut rng, common.units, options.sessions.is_some());
        let sessions = options
            .sessions
            .map(|options| Box::new(Sessions::new(&mut rng, options, nodes[0].id, members, common.units)));
        let mut world = Self {
            schedule: Schedule::new(&mut rng, sessions.is_some()),
            rng,
            now: 0,
            net: Net::new(members),
            checks: Checks::new(members, common.units, common.period),
            holdings: Holdings::new(members, common.units, options.sessions.is_none() && common.replicas.is_some()),
            nodes,
            common,
            traffic,
            sessions,
            report: Report::default(),
            losses: 3,
            queue: BinaryHeap::new(),
            number: 0,
            trace: options.trace.then(Vec::new),
            done: false,
        };
        let trouble = format!("{members} members, {:?}", world.common);
        world.note(|| trouble);
        world.begin();
        let sessions = world.sessions.take();
        if let Some(sessions) = &sessions {
            world.begin_sessions(sessions);
        }
        world.sessions = sessions;
        world
    }

    /// Runs a seed to its end.
    pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Violation>> {
        let mut world = Self::new(seed, options);
        let steps_max = options.steps_max.unwrap_or(20_000_000);
        while !world.done && world.report.steps < steps_max {
            if let Err(what) = world.step() {
                let trace = world.trace.take().unwrap_or_default();
                let (step, now_ns) = (world.report.steps, world.now);
                return Err(Box::new(Violation { seed, step, now_ns, what, trace }));
            }
        }
        world.report.end_ns = world.now;
        world.report.sessions = world.sessions.as_ref().map(|sessions| sessions.report()).unwrap_or_default();
        Ok(world.report)
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), number: self.number, event: Box::new(event) }));
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.6} {:>6} {}", self.now as f64 / 1e9, self.report.steps, line()));
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(Reverse(due)) = self.queue.pop() else { return Err("nothing will ever happen again".into()) };
        self.now = due.at;
        self.report.steps += 1;
        let kind = match due.event.as_ref() {
            Event::Datagram(at, ..) | Event::Frame(at, ..) | Event::Obey(at, ..) | Event::Timer(at, ..) => *at as u64,
            _ => 40,
        };
        self.report.hash =
            (self.report.hash ^ due.at ^ (kind << 56)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(9);
        self.happen(*due.event)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Inject => self.inject(),
            Event::Arp(port, member) => self.arp(port, member),
            Event::Ask => self.ask_arp(),
            Event::Replicate => self.replicate(),
            Event::Deed(deed) => self.done_to(deed)?,
            Event::Schedule => self.go_on()?,
            Event::Begin(..)
            | Event::Act(..)
            | Event::Ask4Ticket(..)
            | Event::Peer(..)
            | Event::Lan(..)
            | Event::ToHost(..)
            | Event::Stalled(..)
            | Event::LookAtSessions => self.with_sessions(|world, sessions| world.host_event(sessions, event))?,
            Event::Frame(at, ..)
            | Event::Marker(at, ..)
            | Event::Obey(at, ..)
            | Event::WorkerTimer(at, ..)
            | Event::Desk(at, ..) => {
                if self.nodes[at].paused > 0 {
                    self.nodes[at].inbox.push_back(event);
                } else {
                    self.worker_event(event)?;
                }
            }
            Event::Datagram(at, ..)
            | Event::Reliable(at, ..)
            | Event::Tell(at, ..)
            | Event::Verdict(at, ..)
            | Event::Timer(at, ..)
            | Event::Loads(at, ..) => {
                let node = &mut self.nodes[at];
                if node.paused + node.stalled > 0 {
                    node.cluster_inbox.push_back(event);
                } else {
                    self.cluster_event(event)?;
                }
            }
        }
        Ok(())
    }

    fn lives(&self, at: usize, life: u32) -> bool {
        self.nodes[at].life == life && self.nodes[at].process.is_some()
    }

    /// Something for a worker.
    pub(super) fn worker_event(&mut self, event: Event) -> Result<(), String> {
        let mut acts = Acts::default();
        let now = self.now;
        let at = match event {
            Event::Frame(at, port, source, packet) => {
                let period = self.common.period;
                let node = &mut self.nodes[at];
                let local = node.clock.local(now);
                let Some(process) = &mut node.process else { return Ok(()) };
                // A frame of a member counts as a sign of life, and is not itself subject to probation.
                if process.on_probation(local, port, period) && source == Source::Direct {
                    return Ok(());
                }
                process.receive(local, source, packet, &mut acts);
                at
            }
            Event::Marker(at, _, from, token) => {
                let Some(process) = &mut self.nodes[at].process else { return Ok(()) };
                process.worker.marker_arrived(from, token, MarkerPart::WHOLE);
                at
            }
            Event::Obey(at, life, order) => {
                if !self.lives(at, life) {
                    return Ok(());
                }
                self.desk_obeys(at, &order)?;
                let local = self.nodes[at].clock.local(now);
                if let Some(process) = &mut self.nodes[at].process {
                    process.obey(local, &order, &mut acts);
                }
                if let Order::View(view) = order.as_ref() {
                    self.take_over_holders(at, view.holders.as_ref())?;
                }
                at
            }
            Event::WorkerTimer(at, life) => {
                if !self.lives(at, life) {
                    return Ok(());
                }
                let local = self.nodes[at].clock.local(now);
                if let Some(process) = &mut self.nodes[at].process {
                    // One that was set earlier for a later time; without sessions it costs nothing.
                    if process.desk.is_some() && process.worker_timer_at.is_none_or(|set| set > now) {
                        return Ok(());
                    }
                    process.worker_timer_at = None;
                    process.worker.poll_deadlines(local, process.may_act(local), &mut acts);
                }
                at
            }
            Event::Desk(at, life, event) => {
                if !self.lives(at, life) {
                    return Ok(());
                }
                self.desk_event(at, &event)?;
                at
            }
            _ => return Ok(()),
        };
        self.carry_out(at, acts)?;
        self.desk_round(at)?;
        self.after_worker(at)
    }

    fn carry_out(&mut self, at: usize, acts: Acts) -> Result<(), String> {
        let me = self.nodes[at].id;
        for act in acts.0 {
            let Some(process) = &mut self.nodes[at].process else { return Ok(()) };
            match act {
                Act::Process(packet) => {
                    process.books.processed += 1;
                    self.note(|| format!("{me} processes {packet:?}"));
                    if packet.id >= FIRST_ID {
                        self.session_packet(at, packet)?;
                    } else if !self.usurps(at) {
                        self.processed(at, packet)?;
                    }
                }
                Act::PassOn(packet, to) => {
                    if process.peers & (1 << to.index()) == 0 {
                        process.books.dropped += 1;
                        continue;
                    }
                    process.books.passed_on += 1;
                    let port = usize::from(packet.port);
                    self.note(|| format!("{me} passes {packet:?} on to {to}"));
                    if let Some(then) = self.net.frame(&mut self.rng, self.now, at, to.index(), port) {
                        self.at(then, Event::Frame(to.index(), port, Source::Member(me), packet));
                    }
                }
                Act::Drop(packet, reason) => {
                    process.books.dropped += 1;
                    self.note(|| format!("{me} drops {packet:?}: {reason}"));
                    if reason == DropReason::Quarantined && packet.id < FIRST_ID {
                        self.traffic.excuse(packet);
                    }
                }
                Act::Marker(to, token) => {
                    for port in 1..PATHS {
                        if let Some(then) = self.net.frame(&mut self.rng, self.now, at, to.index(), port) {
                            self.at(then, Event::Marker(to.index(), port, me, token));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Collects what the worker has to tell, sets its timer, checks its books.
    fn after_worker(&mut self, at: usize) -> Result<(), String> {
        let (now, life) = (self.now, self.nodes[at].life);
        let mut viewed = false;
        loop {
            let local = self.nodes[at].clock.local(now);
            let Some(process) = &mut self.nodes[at].process else { return Ok(()) };
            if !process.desk.as_mut().is_none_or(|desk| desk.holdings.is_settled(local)) {
                break;
            }
            let Some(notice) = process.notice() else { break };
            viewed |= matches!(notice, Notice::Applied { .. });
            let then = (now + self.rng.between(US, 100 * US)).max(process.notice_at);
            process.notice_at = then;
            self.at(then, Event::Tell(at, life, notice));
        }
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return Ok(()) };
        if !process.balances() {
            return Err(format!(
                "the books of {} do not balance: {:?}, held {}",
                node.id,
                process.books,
                process.worker.held()
            ));
        }
        if let Some(due) = process.worker.poll_timeout() {
            let due = node.clock.moment(due).max(now);
            if process.worker_timer_at.is_none_or(|set| due < set) {
                process.worker_timer_at = Some(due);
                self.at(due, Event::WorkerTimer(at, life));
            }
        }
        if viewed { self.check_owners() } else { Ok(()) }
    }

    /// Something for a cluster thread.
    pub(super) fn cluster_event(&mut self, event: Event) -> Result<(), String> {
        let now = self.now;
        let at = match &event {
            Event::Datagram(at, ..) | Event::Reliable(at, ..) => *at,
            Event::Tell(at, life, _)
            | Event::Verdict(at, life, _)
            | Event::Timer(at, life)
            | Event::Loads(at, life) => {
                if !self.lives(*at, *life) {
                    return Ok(());
                }
                *at
            }
            _ => return Ok(()),
        };
        if self.nodes[at].process.is_some() && !matches!(event, Event::Timer(..) | Event::Loads(..)) {
            let id = self.nodes[at].id;
            self.note(|| format!("{id} < {}", brief(&event)));
        }
        let local = Time(self.nodes[at].clock.local(now));
        self.tell_in_sync(at, local);
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return Ok(()) };
        match event {
            Event::Datagram(_, path, sent) => {
                let (bit, from) = (1 << at, sent.from);
                self.checks.heard(sent.at, from, at);
                let Some(from_id) = MemberId::new(from as u8 + 1) else { return Ok(()) };
                if sent.taken.get() & bit != 0 {
                    process.core.handle_heard(local, from_id, path);
                } else {
                    sent.taken.set(sent.taken.get() | bit);
                    process.core.handle_message(local, from_id, path, sent.message.clone());
                }
            }
            Event::Reliable(_, sent) => {
                let Some(from) = MemberId::new(sent.from as u8 + 1) else { return Ok(()) };
                process.core.handle_message(local, from, Path::Link, sent.message.clone());
            }
            Event::Tell(_, _, notice) => process.core.handle_notice(local, notice),
            Event::Verdict(_, _, candidate) => process.core.handle_verdict(local, candidate, Ok(())),
            // One that was set earlier for a later time.
            Event::Timer(..) if process.desk.is_some() && process.timer_at.is_none_or(|set| set > now) => return Ok(()),
            Event::Timer(..) => {
                process.timer_at = None;
                if process.core.poll_timeout().is_some_and(|(due, _)| due <= local) {
                    process.core.handle_timeout(local);
                    let due = process.core.poll_timeout().filter(|(due, _)| *due <= local);
                    process.restless = if due.is_some() { process.restless + 1 } else { 0 };
                    if let Some((_, why)) = due.filter(|_| process.restless > 50) {
                        return Err(format!("{} is due again and again: {why}", node.id));
                    }
                }
            }
            Event::Loads(..) => {
                let loads = self.traffic.loads(process, node.id, self.common.units);
                process.core.handle_loads(local, &loads);
                self.at(now + 250 * MS, event);
            }
            _ => {}
        }
        self.after_cluster(at)
    }

    /// Does what the core wants done, sets its timer, checks what must never go back.
    pub(super) fn after_cluster(&mut self, at: usize) -> Result<(), String> {
        let mut check = false;
        loop {
            let Some(process) = &mut self.nodes[at].process else { return Ok(()) };
            let Some(output) = process.core.poll_output() else { break };
            check |= self.put_out(at, output)?;
        }
        self.check_progress(at)?;
        self.take_known(at);
        let (now, life, late) = (self.now, self.nodes[at].life, self.rng.below(80 * US));
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return Ok(()) };
        if let Some((due, _)) = process.core.poll_timeout() {
            let due = node.clock.moment(due.0).max(now) + late;
            if process.timer_at.is_none_or(|set| due < set) {
                process.timer_at = Some(due);
                self.at(due, Event::Timer(at, life));
            }
        }
        if check { self.check_owners() } else { Ok(()) }
    }

    /// Returns whether owners may have changed.
    fn put_out(&mut self, at: usize, output: Output) -> Result<bool, String> {
        let (now, life, id) = (self.now, self.nodes[at].life, self.nodes[at].id);
        let Some(process) = &mut self.nodes[at].process else { return Ok(false) };
        match output {
            Output::Send(to, message) => self.send(at, to, message),
            Output::Order(order) => {
                self.keep_streams(at);
                let Some(process) = &mut self.nodes[at].process else { return Ok(false) };
                let then = (now + self.rng.between(US, 150 * US)).max(process.order_at);
                process.order_at = then;
                self.at(then, Event::Obey(at, life, Rc::new(order)));
            }
            Output::Lease(until) => {
                let lapsed = self.nodes[at].clock.local(now);
                let Some(process) = &mut self.nodes[at].process else { return Ok(false) };
                let lapsed = process.lease <= lapsed;
                process.lease = until.0;
                if lapsed && process.desk.is_some() {
                    self.at(now, Event::Desk(at, life, DeskEvent::Round));
                }
                return Ok(lapsed);
            }
            Output::Announce => {
                self.note(|| format!("{id} announces"));
                self.announce(at);
            }
            Output::Probation(on) => process.probation = on,
            Output::AskApps(candidate, _) => {
                let then = now + self.rng.below(3 * MS);
                self.at(then, Event::Verdict(at, life, candidate));
            }
            Output::TellApps(..) => {}
            Output::Persist { incarnation, members } => {
                if incarnation < self.nodes[at].disk.incarnation {
                    return Err(format!("{id} keeps incarnation {incarnation} after a higher one"));
                }
                self.nodes[at].disk = super::node::Disk { incarnation, members };
                self.live_as(at, incarnation);
            }
            Output::Event(event) => {
                self.note(|| format!("{id}: {event}"));
                self.take_note(at, &event)?;
            }
            Output::Left => {
                self.note(|| format!("{id} has left"));
                self.stop(at);
                self.left(at);
            }
        }
        Ok(false)
    }

    fn take_note(&mut self, at: usize, event: &ClusterEvent) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let begun = match event {
            ClusterEvent::Joined { incarnation, .. } => Some(*incarnation),
            ClusterEvent::BecameMaster { succeeded: None, members: 1, .. } => Some(node.disk.incarnation),
            _ => None,
        };
        if let Some(incarnation) = begun {
            // A master that was asked to take over goes on with the life it has.
            let goes_on = matches!(event, ClusterEvent::BecameMaster { .. }) && incarnation == node.incarnation_used;
            if incarnation <= node.incarnation_used && !goes_on {
                return Err(format!("{} begins incarnation {incarnation} after {}", node.id, node.incarnation_used));
            }
            node.incarnation_used = incarnation;
        }
        if matches!(event, ClusterEvent::Moved { .. }) {
            self.report.moves += 1;
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: To, message: Message) {
        let id = self.nodes[from].id;
        if let Message::MasterKeepalive(keepalive) = &message {
            self.losses = keepalive.losses;
        }
        let only = match &to {
            To::Member(member) | To::Reliably(member, _) => Some(member.index()),
            To::All | To::Strangers => None,
        };
        self.note(|| {
            format!("{id} > {}: {}", only.map_or("all".into(), |m| (m + 1).to_string()), brief_message(&message))
        });
        let sent = Rc::new(Sent { from, at: self.now, message, taken: Default::default() });
        if let (To::Reliably(..), Some(receiver)) = (&to, only) {
            if receiver < self.nodes.len()
                && let Some(then) = self.net.reliable(&mut self.rng, self.now, from, receiver)
            {
                self.at(then, Event::Reliable(receiver, sent));
            }
            return;
        }
        for receiver in 0..self.nodes.len() {
            if receiver == from || only.is_some_and(|only| only != receiver) {
                continue;
            }
            let mut arrives = None;
            for path in 0..PATHS {
                for then in self.net.datagram(&mut self.rng, self.now, from, receiver, path).into_iter().flatten() {
                    arrives = Some(arrives.map_or(then, |first: u64| first.min(then)));
                    let path = if path == LINK { Path::Link } else { Path::Port(path as u8 - 1) };
                    self.at(then, Event::Datagram(receiver, path, sent.clone()));
                }
            }
            self.checks.sent(self.now, from, receiver, arrives);
        }
    }

    /// Starts a member's process.
    pub(super) fn start(&mut self, at: usize) -> Result<(), String> {
        if self.nodes[at].process.is_some() {
            return Ok(());
        }
        let (now, common) = (self.now, self.common);
        self.nodes[at].inbox.clear();
        self.nodes[at].cluster_inbox.clear();
        self.nodes[at].start(now, &common);
        self.furnish(at);
        self.checks.reborn(now, at);
        let life = self.nodes[at].life;
        self.holdings.reborn(&mut self.rng, at, life);
        self.at(now + 100 * MS, Event::Loads(at, life));
        self.after_cluster(at)
    }

    /// Ends a member's process, as `kill -9` does.
    pub(super) fn stop(&mut self, at: usize) {
        self.break_streams_to(at);
        let node = &mut self.nodes[at];
        node.process = None;
        node.inbox.clear();
        node.cluster_inbox.clear();
    }

    /// A stopped process goes on: workers take what waits in their queues, then the cluster thread its messages, then
    /// timers fire.
    pub(super) fn resume(&mut self, at: usize) -> Result<(), String> {
        while self.nodes[at].paused == 0
            && let Some(event) = self.nodes[at].inbox.pop_front()
        {
            self.worker_event(event)?;
        }
        let node = &mut self.nodes[at];
        if node.paused + node.stalled > 0 {
            return Ok(());
        }
        let (timers, others): (Vec<_>, Vec<_>) = std::mem::take(&mut node.cluster_inbox)
            .into_iter()
            .partition(|event| matches!(event, Event::Timer(..) | Event::Loads(..)));
        for event in others.into_iter().chain(timers) {
            self.cluster_event(event)?;
        }
        self.check_owners()
    }

    pub(super) fn delivers_to_all(&self) -> bool {
        self.common.delivery == Delivery::Shared
    }

    /// A host's frame is under way to a member.
    pub(super) fn send_to_member(&mut self, at: usize, packet: Packet) -> bool {
        let port = usize::from(packet.port);
        let then = self.net.frame(&mut self.rng, self.now, HOST, at, port);
        if let Some(then) = then {
            self.at(then, Event::Frame(at, port, Source::Direct, packet));
        }
        then.is_some()
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Datagram(_, path, sent) => format!("{} by {path:?}: {}", sent.from + 1, brief_message(&sent.message)),
        Event::Reliable(_, sent) => format!("{} reliably: {}", sent.from + 1, brief_message(&sent.message)),
        Event::Tell(_, _, Notice::Applied { version, logs }) => format!("applied {version}, {} logs", logs.len()),
        other => format!("{other:?}"),
    }
}

fn brief_message(message: &Message) -> String {
    match message {
        Message::MasterKeepalive(k) => format!(
            "master t{} seq {} table {}.{} n {} quorate {} list {}.{} agreed {:?} {:?}",
            k.reign.term,
            k.seq,
            k.version.term,
            k.version.generation,
            k.losses,
            k.quorate,
            k.list.term,
            k.list.generation,
            k.agreed,
            k.members.iter().map(|m| (m.id, m.incarnation, m.echo)).collect::<Vec<_>>()
        ),
        Message::MemberKeepalive(k) => format!(
            "member of {} t{} seq {} heard {} applied {}.{} holds {}.{}",
            k.reign.master,
            k.reign.term,
            k.seq,
            k.heard,
            k.applied.term,
            k.applied.generation,
            k.holds.term,
            k.holds.generation
        ),
        Message::TableChunk(c) => format!("table {}.{} chunk {}", c.version.term, c.version.generation, c.chunk),
        Message::Beacon(b) => format!("beacon {:?} t{}", b.kind, b.term),
        Message::JoinRequest(r) => format!("join request, incarnation {}", r.incarnation),
        Message::Loads(_) => "loads".into(),
        other => format!("{other:?}"),
    }
}
