//! A takeover: how long after the table that makes a backup the owner the first packet of a session is answered, and what the
//! rest of the sessions cost meanwhile.
//!
//! The sessions are real: opened by clients through a relay, and replicated to the backup over the link. Then the owner is
//! gone, and the backup's relay gets the table. After that the same units are given up (the relay puts them into the
//! store, as a backup would have them) and taken over again, as often as is asked for, for the figures to be worth
//! something. Sizes take turns, and each takeover begins with cold caches: in production, a member's have been full of its
//! own sessions.

use std::sync::atomic::Ordering::Relaxed;

use phalanx_dataplane::app::{App, UnitSet};
use phalanx_dataplane::relay::RelayStats;
use phalanx_dataplane::replica::{MemberSet, TableVersion};
use phalanx_dataplane::unit::Unit;

use super::RelayBenchError;
use super::desk::Desk;
use super::host::Side;
use super::member::{Backups, FIRST, id};
use super::meter::Waits;
use super::world::{Packet, World, relay};

const PATIENCE_S: u64 = 60;
/// Connections in the making at the same time.
const BATCH: usize = 256;
/// What a client says after a takeover.
const SAID_BYTES: u64 = 100;
/// First packets of other sessions that come in while the rest is restored, one a round.
const OTHERS_MAX: usize = 100;
/// For how long hosts go on talking after a takeover: longer than an ACK is delayed.
const SETTLE_NS: u64 = 60_000_000;
/// More than any cache of one core's.
const CACHE_BYTES: usize = 64 << 20;
const CACHE_LINE: usize = 64;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct TakeoverPlan {
    /// Idle sessions that the dead member leaves behind; each number is measured.
    pub(crate) sessions: Vec<usize>,
    /// Takeovers of each.
    pub(crate) rounds: usize,
}

/// What takeovers of so many sessions came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Takeover {
    /// How many.
    pub(crate) sessions: usize,
    /// From the table to the answer to the first packet: median, worst.
    pub(crate) first_us: [f64; 2],
    /// What an answer to a first packet took from its arrival on, of sessions whose turn came meanwhile: median, 99th percentile.
    pub(crate) other_us: [f64; 2],
    /// A round of restoring, of all takeovers: 99th percentile, worst. Packets wait for as long.
    pub(crate) round_us: [f64; 2],
    /// From the table until every session was restored, in the median.
    pub(crate) all_ms: f64,
}

/// Measures; one answer for each number of sessions.
pub(crate) fn measure_takeover(plan: &TakeoverPlan) -> Result<Vec<Takeover>, RelayBenchError> {
    let mut stages = Vec::new();
    for sessions in &plan.sessions {
        stages.push(Stage::new(*sessions)?);
    }
    let mut cache = vec![0_u8; CACHE_BYTES];
    for _ in 0..plan.rounds {
        for stage in &mut stages {
            // What was written last is in the caches, and nothing else.
            cache.iter_mut().step_by(CACHE_LINE).for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&cache);
            stage.take_over()?;
        }
    }
    Ok(stages.iter().map(Stage::figures).collect())
}

struct Stage {
    world: World,
    sessions: usize,
    clients: Vec<usize>,
    next_client: usize,
    table: TableVersion,
    first: Waits,
    others: Waits,
    rounds: Waits,
    all: Waits,
}

impl Stage {
    fn new(sessions: usize) -> Result<Self, RelayBenchError> {
        let mut desk = Desk::new();
        let (member, backups) = Backups::start(1, &mut desk)?;
        let mut world = World::new(desk, member)?;
        world.until("the backup came into sync", PATIENCE_S, World::is_replicated)?;
        let mut open = 0;
        while open < sessions {
            let batch = BATCH.min(sessions - open);
            for _ in 0..batch {
                world.open();
            }
            open += batch;
            world.until("the connections were opened", PATIENCE_S, |world| has_opened(world, open))?;
        }
        world.until("the backup held all sessions", PATIENCE_S, World::is_replicated)?;
        // The owner is gone.
        world.leave();
        let held = backups.stop()?.pop().ok_or(RelayBenchError::Ended)?;
        if held.store.session_count() != sessions {
            let odd = format!("the backup holds {} sessions, not {sessions}", held.store.session_count());
            return Err(RelayBenchError::Odd(odd));
        }
        world.desk = held;
        world.stats = RelayStats::new(1);
        world.relay = relay(&world.stats);
        let clients = world.hosts().filter(|(_, host)| host.side == Side::Client).map(|(at, _)| at).collect();
        let [first, others, rounds, all] = [Waits::new()?, Waits::new()?, Waits::new()?, Waits::new()?];
        Ok(Self { world, sessions, clients, next_client: 0, table: FIRST, first, others, rounds, all })
    }

    fn figures(&self) -> Takeover {
        Takeover {
            sessions: self.sessions,
            first_us: [0.5, 1.0].map(|share| self.first.quantile_us(share)),
            other_us: [0.5, 0.99].map(|share| self.others.quantile_us(share)),
            round_us: [0.99, 1.0].map(|share| self.rounds.quantile_us(share)),
            all_ms: self.all.quantile_us(0.5) / 1e3,
        }
    }

    fn take_over(&mut self) -> Result<(), RelayBenchError> {
        let (me, everything) = (id(2)?, Unit::all().collect::<UnitSet>());
        let restored = self.restored();
        self.table.generation += 1;
        // Not the same clients again.
        self.next_client += 1;
        let first = self.next_packet()?;
        let others = (1..self.sessions.min(OTHERS_MAX)).map(|_| self.next_packet());
        let others: Vec<Packet> = others.collect::<Result<_, _>>()?;
        let world = &mut self.world;
        world.desk.now_ns = world.clock.now_ns();
        let began_ns = world.clock.now_ns();
        world.desk.set_table(me, me, MemberSet::EMPTY, self.table);
        world.desk.owned = everything;
        world.relay.handle_units(&mut world.desk, &everything, &UnitSet::EMPTY);
        answer(world, &first)?;
        self.first.record(world.clock.now_ns() - began_ns);
        let mut others = others.into_iter();
        while is_waking(world) || others.len() > 0 {
            world.desk.now_ns = world.clock.now_ns();
            world.relay.handle_timeout(&mut world.desk);
            let done_ns = world.clock.now_ns();
            self.rounds.record(done_ns - world.desk.now_ns);
            if !is_waking(world) && self.all.count() < self.first.count() {
                self.all.record(done_ns - began_ns);
            }
            if let Some(packet) = others.next() {
                answer(world, &packet)?;
                self.others.record(world.clock.now_ns() - done_ns);
            }
        }
        let restored = self.restored() - restored;
        if restored != self.sessions as u64 {
            return Err(RelayBenchError::Odd(format!("{restored} sessions were restored, not {}", self.sessions)));
        }
        self.rest(&everything)
    }

    fn restored(&self) -> u64 {
        self.world.stats.of(0).restored.load(Relaxed)
    }

    /// Hosts and relay come to rest; then the units go.
    fn rest(&mut self, units: &UnitSet) -> Result<(), RelayBenchError> {
        let world = &mut self.world;
        let until_ns = world.clock.now_ns() + SETTLE_NS;
        while world.round() || world.desk.now_ns < until_ns {}
        if world.news.corrupt {
            return Err(RelayBenchError::Corrupt);
        }
        if world.news.broken > 0 {
            return Err(RelayBenchError::Broken(world.news.broken));
        }
        world.news.heard.clear();
        world.relay.handle_units(&mut world.desk, &UnitSet::EMPTY, units);
        world.desk.owned = UnitSet::EMPTY;
        let left = world.desk.store.session_count();
        if left != self.sessions {
            return Err(RelayBenchError::Odd(format!("{left} sessions are left of {}", self.sessions)));
        }
        Ok(())
    }

    /// What the next client says, as a segment.
    fn next_packet(&mut self) -> Result<Packet, RelayBenchError> {
        // Far from one another: neighbours in time are neighbours in memory.
        let stride = (self.clients.len() / OTHERS_MAX).max(1);
        self.next_client = (self.next_client + stride) % self.clients.len().max(1);
        let client = self.clients.get(self.next_client);
        let packet = client.and_then(|at| self.world.words_of(*at, SAID_BYTES));
        packet.ok_or_else(|| RelayBenchError::Odd("a client had nothing to say".into()))
    }
}

/// Whether every connection that was asked for is there, with its back end, and nobody has anything to do.
fn has_opened(world: &World, connections: usize) -> bool {
    world.stats.of(0).accepted.load(Relaxed) == connections as u64 && world.is_quiet()
}

/// Whether there are sessions left to be restored: then the relay asks to be called at once.
fn is_waking(world: &World) -> bool {
    world.relay.poll_timeout() == Some(0)
}

/// Gives the relay a packet, which it is to answer or to pass on at once.
fn answer(world: &mut World, packet: &Packet) -> Result<(), RelayBenchError> {
    let before = world.desk.sent();
    world.give(&packet.flow, &packet.bytes);
    if world.desk.sent() > before {
        return Ok(());
    }
    Err(RelayBenchError::Odd("a first packet after a takeover was not answered".into()))
}
