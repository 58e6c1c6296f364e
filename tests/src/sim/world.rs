//! The simulated world: events in the order of time, one at a time, and what each of them sets off.
//!
//! Everything is a function of the seed: there is one source of randomness, one queue ordered by time and number, and
//! no map with an order of its own. So a seed replays, step by step.
//!
//! Files: `event` (what can happen), `worker` and `cluster` (what that sets off in a member's two halves), `process` (members begin and
//! end), `brief` (how it is told).

mod brief;
mod cluster;
mod event;
mod process;
mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use phalanx_control::cluster::{Delivery, Quorum, Replicas, Span};
use phalanx_dataplane::steer::Source;
use phalanx_dataplane::unit::MemberId;

use self::event::Due;
pub use self::event::Event;
use super::check::Checks;
use super::clock::Clock;
use super::faults::Schedule;
use super::net::{HOST, Net};
use super::node::{Common, Node, Packet};
use super::options::{Options, Report, Violation};
use super::replicas::Holdings;
use super::rng::Rng;
use super::sessions::Sessions;
use super::traffic::Traffic;

/// A microsecond.
pub const US: u64 = 1_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;
/// No seed takes so many events.
const STEPS_MAX: u64 = 20_000_000;

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
        let steps_max = options.steps_max.unwrap_or(STEPS_MAX);
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

    /// All that happens in a seed, to its end or its violation.
    pub fn story(seed: u64, options: &Options) -> Vec<String> {
        let mut world = Self::new(seed, &Options { trace: true, ..*options });
        let steps_max = options.steps_max.unwrap_or(STEPS_MAX);
        while !world.done && world.report.steps < steps_max && world.step().is_ok() {}
        world.trace.unwrap_or_default()
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
