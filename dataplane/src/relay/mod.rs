//! The relay: an app that ends TCP at a cluster address and passes the bytes on to a server inside, over a TCP connection
//! of its own. No kernel socket is involved.
//!
//! A session is two endpoints and two streams, one a direction:
//!
//! ```text
//! client ──> ends[CLIENT] ──> streams[CLIENT] ──> ends[SERVER] ──> back end
//!        <──              <── streams[SERVER] <──              <──
//! ```
//!
//! The endpoint that receives appends to a stream, the one that sends trims it: bounded buffers, backpressure and the
//! half-close pass through it without any code of their own.
//!
//! *Output commit*: each change of a session goes into the worker's outbox (`ledger`). Only what the backups hold is
//! acknowledged to one side or sent to the other.
//!
//! *Units*: a client's connection belongs to the unit of its four numbers; the local port of the connection to the back
//! end is chosen so that its answers belong to the same unit.
//!
//! Files: `session` (one), `table` (all, by flow and by slot), `deadlines`, `accept` (from a SYN to a session), `connect`
//! (to a back end), `returned` (ICMP errors), `asleep` (those in the store, until somebody asks for them), `restore` (to and from a
//! record), `drive` (what follows from each event), `ledger` (records and commits), `backends`, `health`, `proxy` (PROXY protocol),
//! `spec`, `counters`.

mod accept;
mod asleep;
mod backends;
mod connect;
mod counters;
mod deadlines;
mod drive;
mod health;
mod ledger;
mod proxy;
mod restore;
mod returned;
mod session;
mod spec;
mod table;

pub use counters::{RelayCounters, RelayStats};
pub use health::Health;
pub use spec::{RelayConfig, RelaySpec};

use self::asleep::Asleep;
use self::backends::Backends;
use self::deadlines::Deadlines;
use self::health::Checks;
use self::ledger::Ledger;
use self::table::Table;
use crate::app::{App, Outlet, Returned, UnitSet};
use crate::drop_reason::DropReason;
use crate::filter::steered::OPENED_PORTS_MIN;
use crate::parse::Summary;
use crate::replica::{Cursor, DigestKey, Source, Step, Update};
use crate::tcp::{ChunkPool, CookieJar, Flow, IsnSource, Segment, SegmentError};
use crate::unit::Unit;
use crate::wire::proto;

/// The end towards the client; also the number of the stream of its bytes.
const CLIENT: usize = 0;
/// The end towards the back end.
const SERVER: usize = 1;
/// How much is done for timers in one round: packets must not wait for long.
const TIMERS_A_ROUND: usize = 64;

/// One worker's half of all relays.
pub struct Relay {
    specs: Vec<RelaySpec>,
    backends: Vec<Backends>,
    counters: RelayStats,
    table: Table,
    pool: ChunkPool,
    deadlines: Deadlines,
    ledger: Ledger,
    checks: Checks,
    isn: IsnSource,
    cookies: CookieJar,
    digest_key: DigestKey,
    /// Whose sessions are still in the store.
    asleep: Asleep,
    /// Connections that have not been opened yet.
    half_open: usize,
    /// By relay: sessions that its limit is about.
    open: Vec<usize>,
    half_open_max: usize,
}

impl Relay {
    /// A relay as configured; one for each worker. `counters` are shared by all workers.
    pub fn new(config: RelayConfig, counters: RelayStats) -> Self {
        Self {
            backends: config.relays.iter().map(|spec| Backends::new(spec.backends.len())).collect(),
            table: Table::new(config.seed),
            pool: ChunkPool::new(config.chunks),
            deadlines: Deadlines::default(),
            ledger: Ledger::default(),
            checks: Checks::new(&config.relays),
            digest_key: DigestKey::new(config.replica_key),
            asleep: Asleep::NONE,
            isn: IsnSource::new(config.key),
            cookies: CookieJar::new(config.key),
            half_open: 0,
            open: vec![0; config.relays.len()],
            half_open_max: config.half_open_max,
            specs: config.relays,
            counters,
        }
    }

    fn relay_at(&self, flow: &Flow) -> Option<usize> {
        let listens = |spec: &RelaySpec| spec.listen.port() == flow.local_port && spec.listen.ip() == flow.local_ip;
        self.specs.iter().position(listens)
    }
}

/// The connection of a packet to us.
fn flow_of(summary: &Summary) -> Flow {
    Flow {
        local_ip: summary.dst_ip(),
        local_port: summary.dst_port,
        remote_ip: summary.src_ip(),
        remote_port: summary.src_port,
    }
}

impl Source for Relay {
    fn digest(&mut self, unit: Unit) -> u64 {
        self.digest_of(unit)
    }

    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        self.put_after(unit, cursor, put)
    }
}

impl App for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn claims(&self, summary: &Summary) -> bool {
        summary.proto == proto::TCP
            && (summary.dst_port >= OPENED_PORTS_MIN || self.relay_at(&flow_of(summary)).is_some())
    }

    /// TCP knows what it has.
    fn bears_repeats(&self) -> bool {
        true
    }

    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let flow = flow_of(summary);
        if flow.remote_ip.is_unspecified() {
            return Err(DropReason::BadSource);
        }
        let segment =
            Segment::parse(summary.carried(packet), flow.remote_ip, flow.local_ip).map_err(|error| match error {
                SegmentError::Header(_) => DropReason::Malformed,
                SegmentError::Checksum => DropReason::TcpChecksum,
            })?;
        self.wake_for(outlet, unit, &flow);
        match self.table.find(&flow) {
            Some((slot, CLIENT)) if self.gives_way(slot, &segment) => {
                self.forget(outlet, slot);
                self.handle_stranger(outlet, unit, flow, &segment);
            }
            Some((slot, end)) => self.handle_segment(outlet, slot, end, &segment),
            None => self.handle_stranger(outlet, unit, flow, &segment),
        }
        Ok(())
    }

    fn handle_returned(&mut self, outlet: &mut dyn Outlet, unit: Unit, returned: &Returned<'_>) -> bool {
        self.wake_for(outlet, unit, &flow_of(&returned.about));
        self.hear_returned(outlet, returned)
    }

    fn handle_units(&mut self, outlet: &mut dyn Outlet, gained: &UnitSet, lost: &UnitSet) {
        self.checks.lose(lost);
        for unit in lost.iter() {
            self.put_to_sleep(outlet, unit);
        }
        gained.iter().for_each(|unit| self.asleep.add(unit));
    }

    fn poll_timeout(&self) -> Option<u64> {
        let due = [self.deadlines.next(), self.checks.next()].into_iter().flatten().min();
        if self.asleep.is_empty() { due } else { Some(0) }
    }

    fn handle_timeout(&mut self, outlet: &mut dyn Outlet) {
        self.wake_some(outlet);
        self.check_health(outlet);
        for _ in 0..TIMERS_A_ROUND {
            let Some((slot, life)) = self.deadlines.pop_due(outlet.now_ns()) else { return };
            self.handle_deadline(outlet, slot, life);
        }
    }

    fn handle_commit(&mut self, outlet: &mut dyn Outlet) {
        let committed = outlet.outbox().committed();
        while let Some(entry) = self.ledger.pop_committed(committed) {
            self.commit(outlet, &entry);
        }
    }
}

#[cfg(test)]
mod tests;
