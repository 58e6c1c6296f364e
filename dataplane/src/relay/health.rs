//! Whether back ends take connections: asked now and then by opening one, and dropping it as soon as it is open.
//!
//! Each worker asks for itself, from a port of a unit of its own, and keeps the answers to itself: nothing of this is worth
//! replicating. So many failures in a row take a back end out, so many successes bring it back; one that is out gets no
//! new connections while another is in.

use super::Relay;
use super::accept::outgoing;
use super::counters::add;
use crate::app::{Outlet, UnitSet};
use crate::filter::steered::OPENED_PORTS_MIN;
use crate::tcp::{Endpoint, Flow, Segment, Stream};
use crate::unit::Unit;

/// How health is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// From one check of a back end to the next.
    pub interval_ns: u64,
    /// How long it may take to answer; not above the interval.
    pub timeout_ns: u64,
    /// Failures in a row that take it out.
    pub fall: u8,
    /// Successes in a row that bring it back.
    pub rise: u8,
}

/// A check under way.
#[derive(Debug)]
struct Check {
    unit: Unit,
    relay: usize,
    backend: usize,
    endpoint: Endpoint,
    streams: [Stream; 2],
    until_ns: u64,
}

/// When each back end is to be checked, and the checks under way: a few, so a list will do.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// By relay and back end; none where health is not checked.
    due: Vec<(usize, usize, u64)>,
    open: Vec<Check>,
}

impl Checks {
    pub(super) fn new(relays: &[super::RelaySpec]) -> Self {
        let checked = relays.iter().enumerate().filter(|(_, spec)| spec.health.is_some());
        let due = checked.flat_map(|(relay, spec)| (0..spec.backends.len()).map(move |backend| (relay, backend, 0)));
        Self { due: due.collect(), open: Vec::new() }
    }

    /// When something is next to be done.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.iter().map(|(.., at_ns)| *at_ns).chain(self.open.iter().map(|check| check.until_ns)).min()
    }

    /// Units have left: so have the answers to what was asked from them.
    pub(super) fn lose(&mut self, lost: &UnitSet) {
        self.open.retain(|check| !lost.contains(check.unit));
    }

    fn find(&self, flow: &Flow) -> Option<usize> {
        self.open.iter().position(|check| check.endpoint.flow() == flow)
    }
}

impl Relay {
    /// Begins the checks that are due, and gives up those whose time is over.
    pub(super) fn check_health(&mut self, outlet: &mut dyn Outlet) {
        let now_ns = outlet.now_ns();
        while let Some(at) = self.checks.open.iter().position(|check| check.until_ns <= now_ns) {
            let check = self.checks.open.swap_remove(at);
            self.judge(&check, false);
        }
        for at in 0..self.checks.due.len() {
            let (relay, backend, due_ns) = self.checks.due[at];
            if due_ns > now_ns {
                continue;
            }
            let Some(health) = self.specs[relay].health else { continue };
            self.checks.due[at].2 = now_ns.saturating_add(health.interval_ns);
            self.begin_check(outlet, relay, backend, health);
        }
    }

    fn begin_check(&mut self, outlet: &mut dyn Outlet, relay: usize, backend: usize, health: Health) {
        let now_ns = outlet.now_ns();
        // A worker that serves nothing at the moment cannot be answered, and has nobody to connect.
        let Some(unit) = Unit::all().find(|unit| outlet.owns(*unit)) else { return };
        let Some(flow) = self.free_flow(outlet, relay, backend, unit, now_ns) else { return };
        let config = self.config_of(outlet, relay, &flow);
        let mut endpoint = Endpoint::connect(&config, flow, self.isn.isn(&flow, now_ns), now_ns);
        endpoint.confirm(endpoint.initial_version());
        let streams = [Stream::new(0, 0), Stream::new(0, 0)];
        let until_ns = now_ns.saturating_add(health.timeout_ns);
        self.checks.open.push(Check { unit, relay, backend, endpoint, streams, until_ns });
        self.send_check(outlet, self.checks.open.len() - 1);
    }

    fn send_check(&mut self, outlet: &mut dyn Outlet, at: usize) {
        let now_ns = outlet.now_ns();
        let Some(Check { endpoint, streams: [rx, tx], .. }) = self.checks.open.get_mut(at) else { return };
        let (header, pool) = (outgoing(endpoint.flow()), &self.pool);
        outlet.send(header, &mut |room| endpoint.poll_transmit(now_ns, rx, tx, pool, room).unwrap_or(0));
    }

    /// Takes in a segment that may answer a check. False: it does not.
    pub(super) fn check_answered(&mut self, outlet: &mut dyn Outlet, flow: &Flow, segment: &Segment<'_>) -> bool {
        if flow.local_port < OPENED_PORTS_MIN {
            return false;
        }
        let Some(at) = self.checks.find(flow) else { return false };
        let now_ns = outlet.now_ns();
        let Some(Check { endpoint, streams: [rx, tx], .. }) = self.checks.open.get_mut(at) else { return false };
        let outcome = endpoint.handle_segment(now_ns, segment, rx, tx, &mut self.pool);
        if !outcome.established() && !outcome.reset() {
            return true;
        }
        endpoint.abort();
        self.send_check(outlet, at);
        let check = self.checks.open.swap_remove(at);
        self.judge(&check, outcome.established());
        true
    }

    fn judge(&mut self, check: &Check, well: bool) {
        let Some(health) = self.specs[check.relay].health else { return };
        let counters = self.counters.of(check.relay);
        if !well {
            add(&counters.checks_failed, 1);
        }
        match self.backends[check.relay].checked(check.backend, well, &health) {
            Some(true) => add(&counters.back_end_up, 1),
            Some(false) => add(&counters.back_end_down, 1),
            None => {}
        }
    }
}
