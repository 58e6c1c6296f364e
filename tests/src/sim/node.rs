//! A member: a machine with a disk and a clock, and, while it lives, a process with a production core and worker.

use std::collections::VecDeque;
use std::rc::Rc;

use phalanx_control::cluster::{Contact, Core, Fault, Message, Reign, Replicas, Settings, Span, Time};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::steer::{Limits, Mode, Notice, Order, Sink, Source, Steering, Verdict};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::clock::Clock;
use super::sessions::desk::Desk;
use super::world::Event;

/// A packet: which one, its unit, the data port (1 or 2) whose host sent it, and its digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Its number in the ledger.
    pub id: u32,
    /// Its unit.
    pub unit: Unit,
    /// Where it came from.
    pub port: u8,
    /// What names its content.
    pub digest: u32,
}

/// What is on a member's disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Its incarnation.
    pub incarnation: u64,
    /// The last membership.
    pub members: Vec<MemberId>,
}

/// Something that the worker let out.
pub enum Act {
    /// Processed here.
    Process(Packet),
    /// Passed on.
    PassOn(Packet, MemberId),
    /// Dropped.
    Drop(Packet, DropReason),
    /// A marker.
    Marker(MemberId, u64),
}

/// Where the worker puts what it lets out.
#[derive(Default)]
pub struct Acts(pub Vec<Act>);

impl Sink<Packet> for Acts {
    fn process(&mut self, _: Unit, packet: Packet) {
        self.0.push(Act::Process(packet));
    }

    fn pass_on(&mut self, _: Unit, packet: Packet, to: MemberId) {
        self.0.push(Act::PassOn(packet, to));
    }

    fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.0.push(Act::Drop(packet, reason));
    }

    fn marker(&mut self, to: MemberId, token: u64) {
        self.0.push(Act::Marker(to, token));
    }
}

/// The books of a worker: everything that came must end somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    /// Came, copies made here included.
    pub received: u64,
    /// Processed.
    pub processed: u64,
    /// Passed on.
    pub passed_on: u64,
    /// Dropped with a reason.
    pub dropped: u64,
}

/// A data port's silence, for probation.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    heard: u64,
    until: u64,
}

/// A running process.
pub struct Process {
    /// The production core.
    pub core: Core,
    /// The production steering engine.
    pub worker: Steering<Packet>,
    /// The half of the worker that serves apps, where sessions are simulated.
    pub desk: Option<Box<Desk>>,
    /// What the worker sees of the lease, by the member's clock.
    pub lease: u64,
    /// The worker does not look at it: forced dual ownership.
    pub blind: bool,
    /// Whether silent ports have to listen first.
    pub probation: bool,
    silence: [Silence; 2],
    /// Whether the worker answers ARP.
    pub answers: bool,
    /// Whose hardware addresses the worker knows.
    pub peers: u32,
    /// The books.
    pub books: Books,
    /// When the last order and the last notice arrive: rings keep their order.
    pub order_at: u64,
    /// The same for notices.
    pub notice_at: u64,
    /// When the core's timer is set for.
    pub timer_at: Option<u64>,
    /// When the worker's timer is set for.
    pub worker_timer_at: Option<u64>,
    /// How often in a row a timer was due again at once.
    pub restless: u32,
    /// The highest term and table version that it was seen under.
    pub version_seen: phalanx_control::cluster::Version,
    /// Whom it follows, and since when.
    pub reign: (Option<Reign>, u64),
    /// Whom it had before.
    pub reign_before: Option<Reign>,
    /// Set once it asked to leave.
    pub draining: bool,
}

/// A member's machine.
pub struct Node {
    /// Who.
    pub id: MemberId,
    /// Its clock.
    pub clock: Clock,
    /// Its disk.
    pub disk: Disk,
    /// Its process, while it lives.
    pub process: Option<Process>,
    /// How many processes it has had.
    pub life: u32,
    /// The highest incarnation that it used.
    pub incarnation_used: u64,
    /// Stopped as by SIGSTOP: how many faults say so.
    pub paused: u32,
    /// Only the cluster thread stands still.
    pub stalled: u32,
    /// What waits for the process to go on.
    pub inbox: VecDeque<Event>,
    /// What waits for the cluster thread alone.
    pub cluster_inbox: VecDeque<Event>,
}

/// What the settings of all members have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// As in the core's settings.
    pub period: Span,
    /// As in the core's settings.
    pub quorum: phalanx_control::cluster::Quorum,
    /// As in the core's settings.
    pub delivery: phalanx_control::cluster::Delivery,
    /// As in the core's settings.
    pub units: usize,
    /// As in the core's settings.
    pub balance_interval: Span,
    /// As in the core's settings.
    pub replicas: Option<Replicas>,
    /// A planted fault.
    pub fault: Option<Fault>,
}

impl Node {
    /// A machine that has never run.
    pub fn new(id: MemberId, clock: Clock) -> Self {
        Self {
            id,
            clock,
            disk: Disk::default(),
            process: None,
            life: 0,
            incarnation_used: 0,
            paused: 0,
            stalled: 0,
            inbox: VecDeque::new(),
            cluster_inbox: VecDeque::new(),
        }
    }

    /// Starts a process.
    pub fn start(&mut self, now: u64, common: &Common) {
        let number = self.id.number();
        let contact = Contact {
            address: ([10, 9, 0, number], 7400).into(),
            macs: vec![[2, 0, 0, 0, 0, number], [2, 0, 0, 0, 1, number]],
        };
        let mut settings = Settings::new(self.id, contact);
        settings.period = common.period;
        settings.quorum = common.quorum;
        settings.delivery = common.delivery;
        settings.units = common.units;
        settings.balance_interval = common.balance_interval;
        // Short, so that units come back before a calm begins.
        settings.quarantine = Span::from_ms(200);
        settings.replicas = common.replicas;
        settings.fault = common.fault;
        settings.incarnation = self.disk.incarnation;
        settings.last_membership.clone_from(&self.disk.members);
        let limits = Limits { held_max: 1024, held_per_unit_max: 256, digests_max: 8192, ..Limits::default() };
        self.life += 1;
        self.process = Some(Process {
            core: Core::new(settings, Time(self.clock.local(now))),
            worker: Steering::new(self.id, limits),
            desk: None,
            lease: 0,
            blind: false,
            probation: false,
            silence: [Silence::default(); 2],
            answers: false,
            peers: 0,
            books: Books::default(),
            order_at: 0,
            notice_at: 0,
            timer_at: None,
            worker_timer_at: None,
            restless: 0,
            version_seen: Default::default(),
            reign: (None, now),
            reign_before: None,
            draining: false,
        });
    }

    /// Whether the process may act on a unit at this moment.
    pub fn owns(&self, now: u64, unit: Unit) -> bool {
        let Some(process) = &self.process else { return false };
        self.paused == 0 && self.clock.local(now) < process.lease && is_owners(process.worker.mode(unit), self.id)
    }

    /// Whether it lives and nothing holds it up.
    pub fn is_well(&self) -> bool {
        self.process.is_some() && self.paused == 0 && self.stalled == 0
    }
}

/// Whether a member in this mode processes packets.
pub fn is_owners(mode: Mode, me: MemberId) -> bool {
    match mode {
        Mode::Mine | Mode::MineLogged | Mode::HoldOwn => true,
        Mode::Relay(to) => to == me,
        Mode::RelayBoth { from, .. } => from == me,
        _ => false,
    }
}

impl Process {
    /// Whether the worker acts as an owner at this moment of the member's clock.
    pub const fn may_act(&self, local: u64) -> bool {
        self.blind || local < self.lease
    }

    /// Whether it does so without a lease.
    pub const fn usurps(&self, local: u64) -> bool {
        self.blind && local >= self.lease
    }

    /// A frame comes in by a data port: is the port still on probation?
    pub fn on_probation(&mut self, local: u64, port: usize, period: Span) -> bool {
        let silence = &mut self.silence[port - 1];
        let silent = local.saturating_sub(silence.heard) > 3 * period.0;
        silence.heard = local;
        if self.probation && silent {
            silence.until = local + 4 * period.0;
        }
        self.probation && local < silence.until
    }

    /// A packet comes in.
    pub fn receive(&mut self, local: u64, source: Source, packet: Packet, acts: &mut Acts) {
        self.books.received += 1;
        let lease_ok = self.may_act(local);
        self.worker.poll_deadlines(local, lease_ok, acts);
        let verdict = self.worker.steer(local, lease_ok, packet.unit, source, || packet.digest, packet);
        self.settle(local, source, verdict, acts);
    }

    fn settle(&mut self, local: u64, source: Source, verdict: Verdict<Packet>, acts: &mut Acts) {
        let me = self.core.id();
        match verdict {
            Verdict::Process(packet) => acts.0.push(Act::Process(packet)),
            Verdict::PassOn(packet, to) => acts.0.push(Act::PassOn(packet, to)),
            Verdict::Drop(packet, reason) => acts.0.push(Act::Drop(packet, reason)),
            Verdict::Held => {}
            Verdict::Copy { packet, from, to, digest } => {
                self.books.received += 1;
                acts.0.push(if from == me { Act::Process(packet) } else { Act::PassOn(packet, from) });
                if to == me {
                    let verdict = self.worker.keep(local, packet.unit, source, digest, packet);
                    self.settle(local, source, verdict, acts);
                } else {
                    acts.0.push(Act::PassOn(packet, to));
                }
            }
        }
    }

    /// Obeys an order.
    pub fn obey(&mut self, local: u64, order: &Order, acts: &mut Acts) {
        if let Order::View(view) = order {
            self.answers = view.answers;
            self.peers =
                view.peers.iter().enumerate().filter(|(_, peer)| peer.is_some()).fold(0, |m, (i, _)| m | 1 << i);
        }
        self.worker.obey(local, self.may_act(local), order, acts);
    }

    /// Whether the books balance.
    pub fn balances(&self) -> bool {
        let books = &self.books;
        books.received == books.processed + books.passed_on + books.dropped + self.worker.held() as u64
    }

    /// The worker's next notice.
    pub fn notice(&mut self) -> Option<Notice> {
        self.worker.poll_notice()
    }
}

/// A cluster datagram under way: several copies, of which each receiver takes in one.
#[derive(Debug)]
pub struct Sent {
    /// Who sent it.
    pub from: usize,
    /// When.
    pub at: u64,
    /// What it says.
    pub message: Message,
    /// Which members have taken it in.
    pub taken: std::cell::Cell<u32>,
}

/// A datagram, shared by its copies.
pub type Datagram = Rc<Sent>;
