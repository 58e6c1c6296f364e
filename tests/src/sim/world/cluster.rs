//! A member's cluster thread: what comes to its core, and what the core wants done.

use std::rc::Rc;

use phalanx_control::cluster::{ClusterEvent, Message, Output, Path, Time, To};
use phalanx_dataplane::unit::MemberId;

use super::super::net::{LINK, PATHS};
use super::super::node::{Disk, Sent};
use super::super::sessions::DeskEvent;
use super::brief::{brief, brief_message};
use super::{Event, MS, US, World};

impl World {
    /// Something for a cluster thread.
    pub(in crate::sim) fn cluster_event(&mut self, event: Event) -> Result<(), String> {
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
    pub(in crate::sim) fn after_cluster(&mut self, at: usize) -> Result<(), String> {
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
                self.nodes[at].disk = Disk { incarnation, members };
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
}
