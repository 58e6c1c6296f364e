//! What follows from each event of a session, in this order: the consequences of one end for the other, the ledger, what
//! may be sent, the next deadline.

use super::accept::outgoing;
use super::counters::add;
use super::ledger::Entry;
use super::session::{Session, is_over};
use super::{CLIENT, Relay, SERVER};
use crate::app::Outlet;
use crate::tcp::{Endpoint, Outcome, Segment, State};

/// Segments that one event lets go at most; the rest goes a moment later, so that other sessions are not kept waiting.
const SEGMENTS_MAX: usize = 64;
/// How soon a session is tried again that could not send.
const RETRY_NS: u64 = 200_000;

impl Relay {
    /// A segment of a connection.
    pub(super) fn handle_segment(&mut self, outlet: &mut dyn Outlet, slot: u32, end: usize, segment: &Segment<'_>) {
        let now_ns = outlet.now_ns();
        let Some(session) = self.table.get_mut(slot) else { return };
        let relay = session.relay;
        let before = session.streams.each_ref().map(|stream| stream.start());
        let Some((endpoint, rx, tx)) = session.split(end) else { return };
        let outcome = endpoint.handle_segment(now_ns, segment, rx, tx, &mut self.pool);
        if outcome.refused().is_some() {
            add(&self.counters.of(relay).segments_refused, 1);
        }
        // Keepalives and their answers are no use of a connection.
        if outcome.received() || outcome.acknowledged() || outcome.established() || outcome.fin_received() {
            session.used_ns = now_ns;
        }
        let [up, down] = [CLIENT, SERVER].map(|of| session.streams[of].start() - before[of]);
        if end == CLIENT && outcome.established() {
            add(&self.counters.of(relay).accepted, 1);
        }
        add(&self.counters.of(relay).bytes_up, up);
        add(&self.counters.of(relay).bytes_down, down);
        self.follow(outlet, slot, end, &outcome);
        self.settle(outlet, slot);
    }

    /// A session's deadline has come.
    pub(super) fn handle_deadline(&mut self, outlet: &mut dyn Outlet, slot: u32, life: u32) {
        let now_ns = outlet.now_ns();
        let Some(session) = self.table.get_mut(slot).filter(|session| session.life == life) else { return };
        session.due_ns = u64::MAX;
        session.stuck = false;
        let relay = session.relay;
        let idle_ns = self.specs[relay].idle_ns;
        if now_ns.saturating_sub(session.used_ns) >= idle_ns {
            add(&self.counters.of(relay).idle_closed, 1);
            session.ends.iter_mut().flatten().for_each(Endpoint::abort);
        }
        let late = session.connect_by_ns.is_some_and(|by_ns| by_ns <= now_ns) && session.is_connecting();
        for end in [CLIENT, SERVER] {
            let Some(session) = self.table.get_mut(slot) else { return };
            let Some(endpoint) = session.ends[end].as_mut() else { continue };
            if endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= now_ns) {
                let outcome = endpoint.handle_timeout(now_ns);
                self.follow(outlet, slot, end, &outcome);
            }
        }
        if late && !self.connect_failed(outlet, slot) {
            self.give_up(slot);
        }
        self.settle(outlet, slot);
    }

    /// What one end's fate means for the other.
    fn follow(&mut self, outlet: &mut dyn Outlet, slot: u32, end: usize, outcome: &Outcome) {
        let Some(relay) = self.table.get(slot).map(|session| session.relay) else { return };
        if outcome.reset() {
            add(&self.counters.of(relay).resets_received, 1);
        }
        if outcome.timed_out() {
            add(&self.counters.of(relay).timed_out, 1);
        }
        let Some(session) = self.table.get_mut(slot) else { return };
        if session.wants_back_end() && !self.connect(outlet, slot) {
            return self.give_up(slot);
        }
        let Some(session) = self.table.get_mut(slot) else { return };
        if end == SERVER && outcome.established() {
            session.connect_by_ns = None;
            let backend = session.backend;
            self.backends[relay].works(backend);
            return;
        }
        if !(outcome.reset() || outcome.timed_out()) {
            return;
        }
        if end == SERVER && session.connect_by_ns.is_some() {
            if !self.connect_failed(outlet, slot) {
                self.give_up(slot);
            }
        } else if let Some(other) = session.ends[1 - end].as_mut() {
            other.abort();
        }
    }

    /// No back end takes the client's connection.
    pub(super) fn give_up(&mut self, slot: u32) {
        if let Some(session) = self.table.get_mut(slot) {
            add(&self.counters.of(session.relay).refused_no_backend, 1);
            session.connect_by_ns = None;
            session.ends.iter_mut().flatten().for_each(Endpoint::abort);
        }
    }

    /// The backups hold what this entry of the ledger says.
    pub(super) fn commit(&mut self, outlet: &mut dyn Outlet, entry: &Entry) {
        let Some(session) = self.table.get_mut(entry.slot).filter(|session| session.life == entry.life) else { return };
        for (stream, end) in session.streams.iter_mut().zip(entry.ends) {
            stream.commit_to(end);
        }
        for (endpoint, version) in session.ends.iter_mut().zip(entry.versions) {
            if let Some(endpoint) = endpoint {
                endpoint.confirm(version);
            }
        }
        self.pump(outlet, entry.slot);
    }

    /// Writes down what has changed, and sends what may be sent; forgets the session if it is over.
    pub(super) fn settle(&mut self, outlet: &mut dyn Outlet, slot: u32) {
        if let Some(session) = self.table.get_mut(slot) {
            if session.counts_as_half_open && !session.is_half_open() {
                session.counts_as_half_open = false;
                self.half_open -= 1;
            }
            if session.counts_as_open && session.only_waits() {
                session.counts_as_open = false;
                self.open[session.relay] -= 1;
            }
        }
        if let Some(entry) = self.write(outlet, slot) {
            if outlet.outbox().committed() >= entry.position {
                return self.commit(outlet, &entry);
            }
            self.ledger.push(entry);
        }
        self.pump(outlet, slot);
    }

    /// Sends what may be sent now.
    fn pump(&mut self, outlet: &mut dyn Outlet, slot: u32) {
        let now_ns = outlet.now_ns();
        for end in [CLIENT, SERVER] {
            let mut stuck = true;
            for _ in 0..SEGMENTS_MAX {
                let Some(session) = self.table.get_mut(slot) else { return };
                let Some((endpoint, rx, tx)) = session.split(end) else {
                    stuck = false;
                    break;
                };
                let (header, pool) = (outgoing(endpoint.flow()), &self.pool);
                let mut asked = false;
                let sent = outlet.send(header, &mut |room| {
                    asked = true;
                    endpoint.poll_transmit(now_ns, rx, tx, pool, room).unwrap_or(0)
                });
                if !sent {
                    // Nothing to be sent; or no buffer, and nobody was asked.
                    stuck = !asked;
                    break;
                }
            }
            if let Some(session) = self.table.get_mut(slot) {
                session.stuck |= stuck;
            }
        }
        let Some(session) = self.table.get(slot) else { return };
        if session.is_over() {
            return self.forget(outlet, slot);
        }
        let server = session.state(SERVER);
        if server.is_some_and(is_over) {
            self.leave_back_end(slot);
        }
        if server == Some(State::Closed) {
            self.free_port(slot);
        }
        self.schedule(slot, now_ns);
    }

    fn schedule(&mut self, slot: u32, now_ns: u64) {
        let Some(session) = self.table.get_mut(slot) else { return };
        let idle = session.used_ns.saturating_add(self.specs[session.relay].idle_ns);
        let ends = session.ends.iter().flatten().filter_map(|end| end.poll_timeout().map(|(at_ns, _)| at_ns));
        let retry = session.stuck.then(|| now_ns.saturating_add(RETRY_NS));
        let due = ends.chain(session.connect_by_ns).chain(retry).fold(idle, u64::min);
        if due < session.due_ns {
            session.due_ns = due;
            let life = session.life;
            self.deadlines.push(due, slot, life);
        }
    }

    /// The session is over.
    pub(super) fn forget(&mut self, outlet: &mut dyn Outlet, slot: u32) {
        if let Some(session) = self.release(slot) {
            self.erase(outlet, &session);
            add(&self.counters.of(session.relay).closed, 1);
        }
    }

    /// Takes a session up in everything here.
    pub(super) fn admit(&mut self, mut session: Session) -> u32 {
        self.half_open += usize::from(session.counts_as_half_open);
        self.open[session.relay] += usize::from(session.counts_as_open);
        session.is_at_back_end = session.state(SERVER).is_some_and(|state| !is_over(state));
        if session.is_at_back_end {
            self.backends[session.relay].opened(session.backend);
        }
        add(&self.counters.of(session.relay).open, 1);
        self.table.insert(session)
    }

    /// Takes a session out of everything here: undoes [`Self::admit`], and what has come since.
    pub(super) fn release(&mut self, slot: u32) -> Option<Session> {
        self.leave_back_end(slot);
        let mut session = self.table.remove(slot)?;
        self.half_open -= usize::from(session.counts_as_half_open);
        self.open[session.relay] -= usize::from(session.counts_as_open);
        session.streams.iter_mut().for_each(|stream| stream.free(&mut self.pool));
        add(&self.counters.of(session.relay).open, u64::MAX);
        Some(session)
    }
}
