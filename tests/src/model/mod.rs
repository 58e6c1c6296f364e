//! A small cluster of production cores for exhaustive checking (DESIGN section 12, point 3).
//!
//! What is exact: the cores' code, their clocks (a tick is a quarter period; period 100 ms, so that every constant of
//! the core is a whole number of ticks), crashes, pauses (a paused member's messages wait and are taken in before its
//! timers), cuts, restarts of the membership afterwards, leases as workers see them.
//!
//! What is abstracted: messages arrive within the tick in which they are sent, in the order of sending, or never (a
//! cut member hears and reaches nobody); workers obey within the tick and never hold packets, so a log of a move is
//! empty; a packet of each unit arrives in every tick; apps say yes; clocks do not drift; a pause and a cut last [`SHORT`]
//! or [`LONG`] ticks; a crashed member does not come back. A converged cluster repeats itself every period, so the first
//! fault is placed within one period, and every other at any of the next [`WINDOW`] ticks.

use std::collections::VecDeque;

use phalanx_control::cluster::{Contact, Core, Message, Output, Path, Quorum, Settings, Span, Time, To};
use phalanx_dataplane::steer::{Mode, Notice, Order};
use phalanx_dataplane::unit::{MemberId, Unit};

use crate::sim::node::is_owners;

/// Ticks of a pause or cut after which nobody has been given up.
pub const SHORT: u8 = 8;
/// Ticks of a pause or cut after which others have taken over.
pub const LONG: u8 = 22;
/// How many ticks after the first fault the last one may come.
pub const WINDOW: u8 = 24;
/// How many ticks the cluster then has to become whole again.
pub const REST: u8 = 100;
/// How long a unit rests that two deaths in a row have met: it is over before [`REST`] is.
const QUARANTINE: Span = Span::from_ms(200);
const TICK: u64 = 25_000_000;
const UNITS: usize = 2;
const MEMBERS: usize = 3;

/// What may happen to a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trouble {
    /// It dies.
    Crash,
    /// It stands still for so many ticks.
    Pause(u8),
    /// It is cut off for so many ticks.
    Cut(u8),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Member {
    core: Option<Core>,
    lease: Time,
    paused: u8,
    cut: u8,
    inbox: VecDeque<(MemberId, Message)>,
}

/// The whole cluster at one tick.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cluster {
    members: Vec<Member>,
    tick: u64,
    wire: VecDeque<(usize, usize, Message)>,
    /// Members run in falling order of their numbers.
    reversed: bool,
    /// What a property found wrong.
    pub wrong: Option<String>,
}

impl Cluster {
    /// A cluster that has converged.
    pub fn converged(quorum: Quorum, reversed: bool) -> Self {
        let member = |number: u8| {
            let id = MemberId::new(number)?;
            let contact = Contact { address: ([10, 9, 0, number], 7400).into(), macs: vec![[2, 0, 0, 0, 0, number]] };
            let mut settings = Settings::new(id, contact);
            settings.period = Span(4 * TICK);
            settings.quorum = quorum;
            settings.units = UNITS;
            settings.quarantine = QUARANTINE;
            let core = Some(Core::new(settings, Time(0)));
            Some(Member { core, lease: Time(0), paused: 0, cut: 0, inbox: VecDeque::new() })
        };
        let members = (1..=MEMBERS as u8).filter_map(member).collect();
        let mut cluster = Self { members, tick: 0, wire: VecDeque::new(), reversed, wrong: None };
        for at in 0..MEMBERS {
            cluster.drain(at);
        }
        for _ in 0..400 {
            cluster.step();
        }
        cluster
    }

    /// Does something to a member, if it is still there to be hurt.
    pub fn hurt(&mut self, at: usize, trouble: Trouble) {
        let member = &mut self.members[at];
        match trouble {
            Trouble::Crash => member.core = None,
            Trouble::Pause(ticks) => member.paused = ticks,
            Trouble::Cut(ticks) => member.cut = ticks,
        }
    }

    /// Whether the member is well, so that something can happen to it.
    pub fn is_well(&self, at: usize) -> bool {
        let member = &self.members[at];
        member.core.is_some() && member.paused + member.cut == 0
    }

    fn now(&self) -> Time {
        Time(self.tick * TICK)
    }

    /// Lets a tick pass.
    pub fn step(&mut self) {
        self.tick += 1;
        let order: Vec<usize> = if self.reversed { (0..MEMBERS).rev().collect() } else { (0..MEMBERS).collect() };
        for at in order {
            let member = &mut self.members[at];
            member.cut = member.cut.saturating_sub(1);
            if member.paused > 0 {
                member.paused -= 1;
                if member.paused > 0 {
                    continue;
                }
                for (from, message) in std::mem::take(&mut self.members[at].inbox) {
                    self.take_in(at, from, message);
                }
            }
            let now = self.now();
            if let Some(core) = &mut self.members[at].core
                && core.poll_timeout().is_some_and(|(due, _)| due <= now)
            {
                core.handle_timeout(now);
                self.drain(at);
            }
            self.deliver();
        }
        self.send_packets();
        self.check_owners();
    }

    /// A packet arrives for each unit that a master sees without an owner (patent Figure 9, 937).
    fn send_packets(&mut self) {
        let now = self.now();
        for at in 0..MEMBERS {
            for unit in Unit::all().take(UNITS) {
                let member = &mut self.members[at];
                if member.paused == 0
                    && let Some(core) = &mut member.core
                    && core.modes().get(unit.index()) == Some(&Mode::Unassigned)
                {
                    core.handle_notice(now, Notice::Unassigned(unit));
                    self.drain(at);
                    self.deliver();
                }
            }
        }
    }

    fn deliver(&mut self) {
        let mut left = 10_000;
        while let Some((from, to, message)) = self.wire.pop_front() {
            left -= 1;
            if left == 0 {
                self.wrong.get_or_insert("messages without end".into());
                return self.wire.clear();
            }
            let Some(from_id) = MemberId::new(from as u8 + 1) else { continue };
            if self.members[to].paused > 0 {
                self.members[to].inbox.push_back((from_id, message));
            } else {
                self.take_in(to, from_id, message);
            }
        }
    }

    fn take_in(&mut self, at: usize, from: MemberId, message: Message) {
        let now = self.now();
        if let Some(core) = &mut self.members[at].core {
            core.handle_message(now, from, Path::Link, message);
            core.handle_heard(now, from, Path::Port(0));
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) {
        let now = self.now();
        loop {
            let Some(core) = &mut self.members[at].core else { return };
            let Some(output) = core.poll_output() else { return };
            match output {
                Output::Send(to, message) => {
                    let only = match to {
                        To::Member(member) | To::Reliably(member, _) => Some(member.index()),
                        To::All | To::Strangers => None,
                    };
                    for to in (0..MEMBERS).filter(|to| *to != at && only.is_none_or(|only| only == *to)) {
                        let cut = self.members[at].cut + self.members[to].cut > 0;
                        if !cut && self.members[to].core.is_some() {
                            self.wire.push_back((at, to, message.clone()));
                        }
                    }
                }
                Output::Order(Order::View(view)) => {
                    // The core takes what concerns a move under way; nothing was processed meanwhile.
                    let logs = Unit::all().take(UNITS).map(|unit| (unit, Some(Vec::new()))).collect();
                    core.handle_notice(now, Notice::Applied { version: view.version, logs });
                }
                Output::Lease(until) => self.members[at].lease = until,
                Output::AskApps(candidate, _) => core.handle_verdict(now, candidate, Ok(())),
                Output::Left => self.members[at].core = None,
                _ => {}
            }
        }
    }

    fn owns(&self, member: &Member, unit: Unit) -> bool {
        let Some(core) = &member.core else { return false };
        let mode = core.modes().get(unit.index()).copied().unwrap_or_default();
        member.paused == 0 && self.now() < member.lease && is_owners(mode, core.id())
    }

    fn check_owners(&mut self) {
        for unit in Unit::all().take(UNITS) {
            if self.members.iter().filter(|member| self.owns(member, unit)).count() > 1 {
                let who: Vec<_> = self.members.iter().filter(|member| self.owns(member, unit)).collect();
                let who: Vec<_> =
                    who.iter().filter_map(|m| m.core.as_ref().map(|c| (c.id(), c.reign(), m.cut))).collect();
                self.wrong.get_or_insert(format!("unit {unit} has valid owners {who:?} at tick {}", self.tick));
            }
        }
    }

    /// Nothing more happens: the cluster becomes whole again.
    pub fn rest(&mut self) {
        for _ in 0..REST {
            self.step();
        }
        if let Some(unrest) = self.unrest() {
            self.wrong.get_or_insert(unrest);
        }
    }

    /// Why the cluster is not whole, if it is not: one master, everyone with it, every unit owned.
    pub fn unrest(&self) -> Option<String> {
        let living: Vec<&Core> = self.members.iter().filter_map(|member| member.core.as_ref()).collect();
        let reign = living.first()?.reign();
        let together = reign.is_some_and(|reign| living.iter().any(|core| core.id() == reign.master))
            && living.iter().all(|core| core.reign() == reign);
        if !together {
            return Some(format!("they follow {:?}", living.iter().map(|core| core.reign()).collect::<Vec<_>>()));
        }
        // Alone out of three under `majority`: falls silent, rightly.
        if living.len() == 1 && living.iter().all(|core| core.settings().quorum == Quorum::Majority) {
            return None;
        }
        let unowned = |unit: &Unit| !self.members.iter().any(|member| self.owns(member, *unit));
        Unit::all().take(UNITS).find(unowned).map(|unit| format!("unit {unit} has no owner in the end"))
    }
}
