//! From a client's SYN to a session; and what becomes of segments that belong to none.

use super::counters::add;
use super::ledger::session_key;
use super::session::Session;
use super::{CLIENT, Relay, proxy};
use crate::app::{Outgoing, Outlet};
use crate::tcp::{self, Config, Endpoint, Flow, Segment, Stream};
use crate::unit::Unit;
use crate::wire::proto;

const S: u64 = 1_000_000_000;
/// TIME-WAIT, unless a new connection to a back end needs the port.
const TIME_WAIT_NS: u64 = 30 * S;

impl Relay {
    /// A segment of no connection that we know.
    pub(super) fn handle_stranger(&mut self, outlet: &mut dyn Outlet, unit: Unit, flow: Flow, segment: &Segment<'_>) {
        if self.check_answered(outlet, &flow, segment) {
            return;
        }
        match self.relay_at(&flow) {
            Some(relay) if segment.syn() && !segment.has_ack() && !segment.rst() => {
                self.accept(outlet, unit, relay, flow, segment);
            }
            Some(relay) if !segment.syn() && self.accept_cookie(outlet, unit, relay, flow, segment) => {}
            _ => self.refuse(outlet, &flow, segment),
        }
    }

    /// Whether a client's SYN begins a new connection in the place of one that is over (RFC 9293 section 3.10.7.4, TIME-WAIT).
    pub(super) fn gives_way(&self, slot: u32, segment: &Segment<'_>) -> bool {
        let client = self.table.get(slot).and_then(|session| session.ends[CLIENT].as_ref());
        segment.syn() && client.is_some_and(|client| client.yields_to(segment))
    }

    fn refuse(&mut self, outlet: &mut dyn Outlet, flow: &Flow, segment: &Segment<'_>) {
        if !segment.rst() && outlet.send(outgoing(flow), &mut |room| tcp::refuse(flow, segment, room).unwrap_or(0)) {
            let relay = self.relay_at(flow).unwrap_or(usize::MAX);
            add(&self.counters.of(relay).resets_sent, 1);
        }
    }

    fn accept(&mut self, outlet: &mut dyn Outlet, unit: Unit, relay: usize, flow: Flow, syn: &Segment<'_>) {
        if self.open[relay] >= self.specs[relay].connections_max {
            add(&self.counters.of(relay).refused_limit, 1);
            return self.refuse(outlet, &flow, syn);
        }
        let now_ns = outlet.now_ns();
        let config = self.config_of(outlet, relay, &flow);
        if self.half_open >= self.half_open_max || self.pool.is_tight() {
            let (cookies, clock_s) = (self.cookies, outlet.cluster_clock_s());
            let mut answer = |room: &mut [u8]| cookies.answer(&config, &flow, syn, clock_s, now_ns, room).unwrap_or(0);
            if outlet.send(outgoing(&flow), &mut answer) {
                add(&self.counters.of(relay).cookies_sent, 1);
            }
            return;
        }
        let endpoint = Endpoint::listen_accept(&config, syn, flow, self.isn.isn(&flow, now_ns), now_ns);
        let slot = self.begin(now_ns, unit, relay, flow, endpoint);
        self.settle(outlet, slot);
    }

    /// An ACK that brings back a cookie of ours opens its connection.
    fn accept_cookie(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        relay: usize,
        flow: Flow,
        ack: &Segment<'_>,
    ) -> bool {
        let Some(cookie) = self.cookies.check(&flow, ack, outlet.cluster_clock_s()) else { return false };
        if self.open[relay] >= self.specs[relay].connections_max {
            add(&self.counters.of(relay).refused_limit, 1);
            return false;
        }
        let now_ns = outlet.now_ns();
        let config = self.config_of(outlet, relay, &flow);
        let endpoint = Endpoint::from_cookie(&config, flow, ack, &cookie, now_ns);
        let slot = self.begin(now_ns, unit, relay, flow, endpoint);
        add(&self.counters.of(relay).cookies_accepted, 1);
        add(&self.counters.of(relay).accepted, 1);
        self.handle_segment(outlet, slot, CLIENT, ack);
        true
    }

    fn begin(&mut self, now_ns: u64, unit: Unit, relay: usize, flow: Flow, client: Endpoint) -> u32 {
        let limit = self.specs[relay].buffer_bytes;
        let mut streams = [Stream::new(0, limit), Stream::new(0, limit)];
        let mut base = 0;
        if self.specs[relay].proxy_protocol {
            let mut header = [0; proxy::LEN_MAX];
            let len = proxy::header(&flow, &mut header);
            base = streams[CLIENT].append(&mut self.pool, &header[..len]) as u64;
        }
        let key = session_key(&flow);
        let ends = [Some(client.with_bases(base, 0)), None];
        self.admit(Session::new(key, unit, relay, ends, streams, now_ns))
    }

    /// How an end of a relay's connections behaves.
    pub(super) fn config_of(&self, outlet: &dyn Outlet, relay: usize, flow: &Flow) -> Config {
        let header = flow.ip_header_len() + 20;
        let mtu = outlet.mtu_towards(flow.remote_ip).unwrap_or(flow.default_mss() + header);
        Config {
            mss: mtu.saturating_sub(header).max(64),
            keepalive: self.specs[relay].keepalive,
            receive_limit_bytes: self.specs[relay].buffer_bytes,
            time_wait_ns: TIME_WAIT_NS,
            ..Config::default()
        }
    }
}

/// The header of a connection's packets.
pub(super) fn outgoing(flow: &Flow) -> Outgoing {
    Outgoing { source: flow.local_ip, destination: flow.remote_ip, proto: proto::TCP }
}
