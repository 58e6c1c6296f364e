//! A member's worker: what comes to it, and what it lets out.

use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::steer::{MarkerPart, Notice, Order, Source};

use super::super::net::PATHS;
use super::super::node::{Act, Acts};
use super::super::sessions::lan::FIRST_ID;
use super::{Event, US, World};

impl World {
    /// Something for a worker.
    pub(in crate::sim) fn worker_event(&mut self, event: Event) -> Result<(), String> {
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
}
