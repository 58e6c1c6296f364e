//! From a client's open connection to one with a back end.

use super::counters::add;
use super::{Relay, SERVER};
use crate::app::Outlet;
use crate::filter::steered::{PORTS_PER_UNIT, port_of};
use crate::tcp::{Endpoint, Flow, State};

/// Back ends that are tried for one client.
const TRIES_MAX: usize = 3;

impl Relay {
    /// Begins (another) attempt to reach a back end. False: none is left to be tried.
    pub(super) fn connect(&mut self, outlet: &mut dyn Outlet, slot: u32) -> bool {
        let now_ns = outlet.now_ns();
        self.disconnect(slot);
        let Some(session) = self.table.get(slot) else { return false };
        let (relay, unit, tries, before) = (session.relay, session.unit, session.tries, session.backend);
        if tries >= TRIES_MAX {
            return false;
        }
        let avoid = (tries > 0).then_some(before);
        let Some(backend) = self.backends[relay].choose(now_ns, avoid) else { return false };
        let Some(flow) = self.free_flow(outlet, relay, backend, unit, now_ns) else { return false };
        let config = self.config_of(outlet, relay, &flow);
        let endpoint = Endpoint::connect(&config, flow, self.isn.isn(&flow, now_ns), now_ns);
        let connect_by_ns = now_ns.saturating_add(self.specs[relay].connect_ns);
        if let Some(session) = self.table.get_mut(slot) {
            session.ends[SERVER] = Some(endpoint);
            session.backend = backend;
            session.is_at_back_end = true;
            session.tries += 1;
            session.connect_by_ns = Some(connect_by_ns);
            self.table.link(flow, slot, SERVER);
            self.backends[relay].opened(backend);
        }
        true
    }

    /// A connection to the back end that nobody has, from a port of the session's unit; if need be from one whose last
    /// connection is in TIME-WAIT.
    pub(super) fn free_flow(
        &mut self,
        outlet: &mut dyn Outlet,
        relay: usize,
        backend: usize,
        unit: crate::unit::Unit,
        now_ns: u64,
    ) -> Option<Flow> {
        let remote = self.specs[relay].backends[backend];
        let local_ip = outlet.source_towards(remote.ip())?;
        let flow = |number| Flow {
            local_ip,
            local_port: port_of(unit, number),
            remote_ip: remote.ip(),
            remote_port: remote.port(),
        };
        // Not always the same first: its last connection may still be remembered over there.
        let first = (now_ns >> 10) as u16 % PORTS_PER_UNIT;
        let asleep = self.sleepers_ports(outlet, unit, &flow(0));
        let numbers = (0..PORTS_PER_UNIT).map(|number| (first + number) % PORTS_PER_UNIT);
        let mut free = numbers.filter(|number| asleep >> number & 1 == 0).map(flow);
        let found = free.find(|flow| self.table.find(flow).is_none());
        found.or_else(|| self.end_time_wait(outlet, (0..PORTS_PER_UNIT).map(flow)))
    }

    /// Ends the longest TIME-WAIT among these. A new connection from its port begins at a higher sequence number, which is what
    /// the other side goes by (RFC 6191).
    fn end_time_wait(&mut self, outlet: &mut dyn Outlet, flows: impl Iterator<Item = Flow>) -> Option<Flow> {
        let in_time_wait = |flow: Flow| {
            let (slot, end) = self.table.find(&flow)?;
            let server = self.table.get(slot)?.ends[SERVER].as_ref();
            let server = server.filter(|server| end == SERVER && server.state() == State::TimeWait)?;
            server.poll_timeout().map(|(at_ns, _)| (at_ns, slot, flow))
        };
        let (_, slot, flow) = flows.filter_map(in_time_wait).min_by_key(|(at_ns, ..)| *at_ns)?;
        if let Some(server) = self.table.get_mut(slot).and_then(|session| session.ends[SERVER].as_mut()) {
            server.abort();
        }
        self.settle(outlet, slot);
        Some(flow)
    }

    /// The present attempt has failed.
    pub(super) fn connect_failed(&mut self, outlet: &mut dyn Outlet, slot: u32) -> bool {
        if let Some(session) = self.table.get(slot) {
            add(&self.counters.of(session.relay).connect_failed, 1);
            self.backends[session.relay].failed(session.backend, outlet.now_ns());
        }
        self.connect(outlet, slot)
    }

    /// Forgets the end towards the back end.
    fn disconnect(&mut self, slot: u32) {
        self.leave_back_end(slot);
        self.free_port(slot);
        if let Some(session) = self.table.get_mut(slot) {
            session.connect_by_ns = None;
            session.ends[SERVER] = None;
        }
    }

    /// The connection to the back end is over, or in TIME-WAIT: it does not count there any longer.
    pub(super) fn leave_back_end(&mut self, slot: u32) {
        let Some(session) = self.table.get_mut(slot) else { return };
        if !std::mem::take(&mut session.is_at_back_end) {
            return;
        }
        let (relay, backend) = (session.relay, session.backend);
        self.backends[relay].closed(backend);
    }

    /// The port of the connection to the back end is free again, however long the client's goes on. A unit has few of them.
    pub(super) fn free_port(&mut self, slot: u32) {
        if let Some(flow) = self.table.get(slot).and_then(|session| session.flow(SERVER))
            && self.table.find(&flow) == Some((slot, SERVER))
        {
            self.table.unlink(&flow);
        }
    }
}
