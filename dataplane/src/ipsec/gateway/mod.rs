//! The gateway: the app that ends ESP and AH at a cluster address. What comes out of a tunnel is routed on; what hosts send into one
//! is sealed.
//!
//! ```text
//!   host ──▶ policies ─▶ unit ─▶ its owner ─▶ TTL, size ─▶ number, IV ─▶ sealed ──▶ peer
//!   host ◀── routed ◀── policies ◀── number let in ◀── opened ◀── its owner ◀── unit ◀── SPI ◀── peer
//! ```
//! *Units*: a tunnel's traffic belongs to the unit in its inbound SPI, in clear too; so both directions meet, and meet their SAs.
//!
//! *Output commit*: no number of ours is sent, and none of the peer's let in, beyond what the backups hold as a lease
//! (`record`). What comes too early waits, opened or still clear, until they do (`waiting`); how far ahead the lease of the
//! peer's numbers goes is `pace`'s matter.
//!
//! *Sleep*: a tunnel wakes up at its first packet, from what is in the store; a takeover itself touches none of them. When its
//! unit leaves, what the backups have of it goes back into the store.
//!
//! Files: `spec` (what there is to be), `policies` (which packets), `tunnel` (one that is awake), `form` (ESP or AH), `inbound`, `outbound`,
//! `waiting`, `pace`, `record`, `counters`.

mod counters;
mod form;
mod inbound;
mod mix;
mod outbound;
mod pace;
mod policies;
mod record;
mod spec;
#[cfg(test)]
mod tests;
mod tunnel;
mod waiting;

pub use counters::{TunnelCounters, TunnelStats};
pub use policies::{Network, Passing, Policies, Selectors};
pub use spec::{GatewayConfig, Half, Protection, TunnelSpec};

use std::collections::VecDeque;
use std::sync::Arc;

use self::mix::Table;
use self::record::{APP, session_key};
use self::tunnel::{Beginning, Tunnel};
use self::waiting::Spares;
use super::crypto::Engine;
use super::nonce::Nonces;
use crate::app::{App, Hindrance, Outlet, Passed, UnitSet, Wrappable};
use crate::drop_reason::DropReason;
use crate::parse::Summary;
use crate::replica::{Cursor, DigestKey, LeaseStats, Position, Source, Step, Update};
use crate::tallies::add;
use crate::unit::{MemberId, UNITS, Unit};
use crate::wire::proto;

/// The longest packet that is opened or sealed.
const PACKET_MAX: usize = 9216;
/// The longest ICV.
const ICV_MAX: usize = 32;

/// One worker's half of the gateway.
pub struct Gateway {
    config: GatewayConfig,
    engine: Arc<dyn Engine>,
    counters: TunnelStats,
    digest_key: DigestKey,
    /// By inbound SPI: the tunnel's number.
    by_spi: Table<u32, usize>,
    /// By unit: the tunnels' numbers.
    by_unit: Vec<Vec<usize>>,
    /// By number: those that are awake.
    awake: Vec<Option<Box<Tunnel>>>,
    /// Those that are to be looked at.
    listed: Vec<usize>,
    look_at_ns: Option<u64>,
    ivs: Ivs,
    leases: LeaseStats,
    /// Records on their way to the backups: where they end in the log, whose they are.
    ledger: VecDeque<(Position, usize)>,
    spares: Spares,
    /// The packet in hand.
    scratch: Box<[u8]>,
    /// What is checked of a packet with AH.
    text: Box<[u8]>,
}

/// This member's IVs, in its present life.
struct Ivs {
    me: MemberId,
    incarnation: u64,
    nonces: Option<Nonces>,
}

impl Ivs {
    /// Those of the life that it is now; none if it has not joined, or lives for the four-millionth time.
    fn of(&mut self, incarnation: u64) -> Option<&mut Nonces> {
        if incarnation != self.incarnation {
            self.incarnation = incarnation;
            self.nonces = Nonces::new(self.me, incarnation);
        }
        self.nonces.as_mut().filter(|_| incarnation > 0)
    }
}

impl Gateway {
    /// One worker's. `counters` are shared by all workers, for as many tunnels as there are.
    pub fn new(config: GatewayConfig, engine: Arc<dyn Engine>, counters: TunnelStats) -> Self {
        let mut by_unit = vec![Vec::new(); UNITS];
        for (number, tunnel) in config.tunnels.iter().enumerate() {
            by_unit[tunnel.unit().index()].push(number);
        }
        Self {
            engine,
            counters,
            digest_key: DigestKey::new(config.replica_key),
            by_spi: config.tunnels.iter().enumerate().map(|(number, tunnel)| (tunnel.inbound.spi, number)).collect(),
            by_unit,
            awake: config.tunnels.iter().map(|_| None).collect(),
            listed: Vec::new(),
            look_at_ns: None,
            ivs: Ivs { me: config.me, incarnation: 0, nonces: None },
            leases: LeaseStats::default(),
            ledger: VecDeque::new(),
            spares: Spares::new(),
            scratch: vec![0; PACKET_MAX].into(),
            text: vec![0; PACKET_MAX + ICV_MAX].into(),
            config,
        }
    }

    /// Wakes a tunnel up, if it sleeps, and notes that it has traffic.
    fn wake(&mut self, outlet: &mut dyn Outlet, number: usize) -> Result<(), DropReason> {
        if self.awake[number].is_none() {
            self.restore(outlet, number)?;
        }
        let Some(tunnel) = &mut self.awake[number] else { return Ok(()) };
        tunnel.busy = true;
        if !std::mem::replace(&mut tunnel.listed, true) {
            self.listed.push(number);
            self.look_at_ns.get_or_insert(outlet.now_ns().saturating_add(pace::LOOK_NS));
        }
        Ok(())
    }

    fn restore(&mut self, outlet: &mut dyn Outlet, number: usize) -> Result<(), DropReason> {
        let spec = &self.config.tunnels[number];
        let nonces = self.ivs.of(outlet.incarnation()).ok_or(DropReason::SaUnusable)?;
        let fingerprint = spec.fingerprint(&self.config.replica_key);
        let record = outlet.store().take(spec.unit(), session_key(spec.inbound.spi)).filter(|it| it.app == APP);
        let held = record.as_ref().map(|record| Beginning::leases(record, &fingerprint));
        let counters = self.counters.of(number);
        match held {
            Some(Some(_)) => add(&counters.restored, 1),
            Some(None) => add(&counters.not_restored, 1),
            None => {}
        }
        let leases = held.flatten().unwrap_or(Beginning::first());
        let beginning = Beginning { fingerprint, draw: nonces.begin(spec.unit()), leases, now_ns: outlet.now_ns() };
        let tunnel = Tunnel::new(spec, self.engine.as_ref(), beginning).map_err(|_| DropReason::SaUnusable)?;
        self.awake[number] = Some(Box::new(tunnel));
        self.renew(outlet, number, true);
        Ok(())
    }

    /// Tells the backups how far the numbers may go, if that is due.
    fn renew(&mut self, outlet: &mut dyn Outlet, number: usize, anew: bool) {
        let Some(tunnel) = &mut self.awake[number] else { return };
        let Some(essential) = tunnel.due() else { return };
        let position = tunnel.write(essential, anew, self.digest_key, |update| outlet.outbox().append(update));
        tunnel.outbound.written(essential.outbound, position, &mut self.leases);
        tunnel.inbound.written(essential.inbound, position, &mut self.leases);
        self.ledger.push_back((position, number));
        add(&self.counters.of(number).renewed, 1);
    }

    /// What the backups hold by now goes on. To be called after whatever may have written a record: without backups, all is held
    /// at once.
    fn settle(&mut self, outlet: &mut dyn Outlet) {
        while let Some((position, number)) = self.ledger.front().copied()
            && position <= outlet.outbox().committed()
        {
            self.ledger.pop_front();
            if let Some(tunnel) = &mut self.awake[number] {
                tunnel.outbound.commit(position, outlet.now_ns());
                tunnel.inbound.commit(position, outlet.now_ns());
            }
            self.release(outlet, number);
            self.renew(outlet, number, false);
        }
    }

    /// Looks at the tunnels that had traffic: how far ahead the peer's numbers may go from now on.
    fn look(&mut self, outlet: &mut dyn Outlet) {
        let now_ns = outlet.now_ns();
        let mut listed = std::mem::take(&mut self.listed);
        listed.retain(|number| {
            let Some(tunnel) = &mut self.awake[*number] else { return false };
            let had_traffic = std::mem::replace(&mut tunnel.busy, false);
            if let Some(essential) = tunnel.look(now_ns) {
                // Nobody waits for this one: what it gives back is not used until a later one is committed.
                tunnel.write(essential, false, self.digest_key, |update| outlet.outbox().append(update));
                add(&self.counters.of(*number).renewed, 1);
            }
            // One that has fallen silent is looked at until nothing is ahead of it.
            tunnel.listed = had_traffic || tunnel.inbound.left() > 0;
            tunnel.listed
        });
        self.look_at_ns = (!listed.is_empty()).then(|| now_ns.saturating_add(pace::LOOK_NS));
        self.listed = listed;
    }

    /// A unit leaves: its tunnels go to sleep.
    fn put_to_sleep(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        for number in &self.by_unit[unit.index()] {
            let Some(mut tunnel) = self.awake[*number].take() else { continue };
            self.listed.retain(|listed| listed != number);
            let waited = self.spares.take_back_all(&mut tunnel);
            add(&self.counters.of(*number).wait_lost, waited);
            let store = outlet.store();
            tunnel.put(&mut |update| {
                // What it has no room for is lost here, and counted there.
                let _ = store.keep(update);
            });
            if let Some(nonces) = &mut self.ivs.nonces {
                nonces.end(tunnel.draw);
            }
        }
    }
}

impl Source for Gateway {
    fn digest(&mut self, unit: Unit) -> u64 {
        let awake = self.by_unit[unit.index()].iter().filter_map(|number| self.awake[*number].as_ref());
        awake.map(|tunnel| tunnel.digest(self.digest_key)).fold(0, u64::wrapping_add)
    }

    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        let from = usize::try_from(cursor.at).unwrap_or(usize::MAX);
        let tunnels = self.by_unit[unit.index()].iter().enumerate().skip(from);
        let mut awake = tunnels.filter_map(|(at, number)| Some((at, self.awake[*number].as_ref()?)));
        let Some((at, tunnel)) = awake.next() else { return Step::End };
        tunnel.put(put);
        Step::Next(Cursor { part: cursor.part, at: at as u128 + 1 })
    }
}

impl App for Gateway {
    fn name(&self) -> &'static str {
        "ipsec"
    }

    fn claims(&self, summary: &Summary) -> bool {
        matches!(summary.proto, proto::ESP | proto::AH)
    }

    fn policies(&self) -> Option<Arc<Policies>> {
        Some(Arc::clone(&self.config.policies))
    }

    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        _: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let done = self.open(outlet, summary, packet);
        self.settle(outlet);
        done
    }

    fn handle_passing(
        &mut self,
        outlet: &mut dyn Outlet,
        tunnel: usize,
        summary: &Summary,
        buffer: &mut dyn Wrappable,
    ) -> Result<Passed, Hindrance> {
        let done = self.seal(outlet, tunnel, summary, buffer);
        self.settle(outlet);
        done
    }

    fn handle_units(&mut self, outlet: &mut dyn Outlet, _: &UnitSet, lost: &UnitSet) {
        lost.iter().for_each(|unit| self.put_to_sleep(outlet, unit));
    }

    fn handle_commit(&mut self, outlet: &mut dyn Outlet) {
        self.settle(outlet);
    }

    fn poll_timeout(&self) -> Option<u64> {
        self.look_at_ns
    }

    fn handle_timeout(&mut self, outlet: &mut dyn Outlet) {
        if self.look_at_ns.is_some_and(|at_ns| at_ns <= outlet.now_ns()) {
            self.look(outlet);
        }
    }
}
