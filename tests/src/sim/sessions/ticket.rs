//! Tickets: the least app that has a counter. Whoever asks (UDP port 4000) is answered with its session's next number, and
//! none may come twice or go backwards, whoever owns the session. An app in the way that ARCHITECTURE describes, with a
//! [`Lease`] as its essential state.
//!
//! A session that nobody asks for stays in the store: it is restored by its first packet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use phalanx_dataplane::app::{App, Outgoing, Outlet, UnitSet};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::parse::Summary;
use phalanx_dataplane::replica::{
    Change, Cursor, DigestKey, Extent, Lease, LeaseRecord, LeaseStats, Position, SessionDigest, SessionKey, Source,
    Step, Update,
};
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::{proto, udp};

use super::super::world::{Event, MS, World};
use super::desk::{OUTSIDE, REPLICA_KEY};
use super::lan::Frame;
use super::{Sessions, check};

/// The app's number in updates.
pub(super) const APP: u8 = 200;
const VERSION: u8 = 1;
const PORT: u16 = 4000;
/// Short, so that it is always about to end.
const EXTENT: Extent = Extent { length: 16, refill: 6 };
const KEY: DigestKey = DigestKey::new(REPLICA_KEY);

struct Session {
    lease: Lease,
    digest: SessionDigest,
    /// The Initial record.
    asker: [u8; 6],
    /// The Essential record as it was written last.
    written: Option<LeaseRecord>,
}

/// See the module.
pub(super) struct Tickets {
    sessions: BTreeMap<(Unit, SessionKey), Session>,
    stats: LeaseStats,
    planted: bool,
}

fn key_of(summary: &Summary) -> SessionKey {
    SessionKey(summary.src << 16 | u128::from(summary.src_port))
}

impl Session {
    fn put(&self, unit: Unit, key: SessionKey, put: &mut dyn FnMut(&Update<'_>)) {
        let mut put = |change| put(&Update::new(unit, key, APP, change));
        put(Change::Reset);
        put(Change::Initial { version: VERSION, bytes: &self.asker });
        if let Some(record) = self.written {
            put(Change::Essential { version: VERSION, bytes: &record.encode() });
        }
    }
}

impl Tickets {
    pub(super) fn new(planted: bool) -> Self {
        Self { sessions: BTreeMap::new(), stats: LeaseStats::default(), planted }
    }

    /// The session is live afterwards: from the store, or new.
    fn wake(&mut self, outlet: &mut dyn Outlet, unit: Unit, key: SessionKey, summary: &Summary) {
        let now_ns = outlet.now_ns();
        if self.sessions.contains_key(&(unit, key)) {
            return;
        }
        let held = outlet.store().get(unit, key).is_some_and(|record| record.app == APP);
        if let Some(record) = held.then(|| outlet.store().take(unit, key)).flatten() {
            let lease = record.essential.as_ref().and_then(|state| LeaseRecord::decode(&state.bytes).ok());
            let asker = record.initial.as_ref().and_then(|state| state.bytes.first_chunk().copied());
            let digest = record.digest(KEY, key);
            let session = Session {
                lease: Lease::restore(EXTENT, lease.unwrap_or_default(), now_ns),
                digest,
                asker: asker.unwrap_or_default(),
                written: lease,
            };
            self.sessions.insert((unit, key), session);
            return;
        }
        let mut asker = [0; 6];
        asker[..4].copy_from_slice(&(summary.src as u32).to_be_bytes());
        asker[4..].copy_from_slice(&summary.src_port.to_be_bytes());
        let mut digest = SessionDigest::new(key, APP);
        digest.set_initial(KEY, VERSION, &asker, &[]);
        let initial = Change::Initial { version: VERSION, bytes: &asker };
        outlet.outbox().append(&Update::new(unit, key, APP, initial));
        let session = Session { lease: Lease::new(EXTENT, 0, now_ns), digest, asker, written: None };
        self.sessions.insert((unit, key), session);
    }

    /// Asks for a limit, if one is due.
    fn refill(&mut self, outlet: &mut dyn Outlet, unit: Unit, key: SessionKey) {
        let (planted, now_ns) = (self.planted, outlet.now_ns());
        let Self { sessions, stats, .. } = self;
        let Some(session) = sessions.get_mut(&(unit, key)) else { return };
        while let Some(record) = session.lease.due() {
            if planted {
                session.lease.written(record, Position(0), stats);
                session.lease.commit(Position(0), now_ns);
                continue;
            }
            let bytes = record.encode();
            let essential = Change::Essential { version: VERSION, bytes: &bytes };
            let position = outlet.outbox().append(&Update::new(unit, key, APP, essential));
            session.digest.set_essential(KEY, VERSION, &bytes, &[]);
            session.written = Some(record);
            session.lease.written(record, position, stats);
            // Without backups all that is written is committed.
            session.lease.commit(outlet.outbox().committed(), now_ns);
        }
    }
}

impl Source for Tickets {
    fn digest(&mut self, unit: Unit) -> u64 {
        let of = self.sessions.range((unit, SessionKey(0))..=(unit, SessionKey(u128::MAX)));
        of.map(|(_, session)| session.digest.value(KEY, std::iter::empty())).fold(0, u64::wrapping_add)
    }

    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        let mut of = self.sessions.range((unit, SessionKey(cursor.at))..=(unit, SessionKey(u128::MAX)));
        let Some(((_, key), session)) = of.next() else { return Step::End };
        session.put(unit, *key, put);
        Step::Next(Cursor { part: cursor.part, at: key.0 + 1 })
    }
}

impl App for Tickets {
    fn name(&self) -> &'static str {
        "tickets"
    }

    fn claims(&self, summary: &Summary) -> bool {
        summary.proto == proto::UDP && summary.dst_port == PORT
    }

    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let id: [u8; 8] =
            summary.carried(packet).get(8..16).and_then(|id| id.try_into().ok()).ok_or(DropReason::Malformed)?;
        let key = key_of(summary);
        self.wake(outlet, unit, key, summary);
        let stats = &mut self.stats;
        let number = self.sessions.get_mut(&(unit, key)).and_then(|session| session.lease.take(stats));
        self.refill(outlet, unit, key);
        // Who asks too early asks again.
        let Some(number) = number else { return Ok(()) };
        let packet = Outgoing { source: summary.dst_ip(), destination: summary.src_ip(), proto: proto::UDP };
        outlet.send(packet, &mut |room| answer(room, summary.src_port, id, number));
        Ok(())
    }

    fn handle_units(&mut self, outlet: &mut dyn Outlet, _: &UnitSet, lost: &UnitSet) {
        let leaving: Vec<_> = self.sessions.keys().copied().filter(|(unit, _)| lost.contains(*unit)).collect();
        for (unit, key) in leaving {
            let Some(session) = self.sessions.remove(&(unit, key)) else { continue };
            session.put(unit, key, &mut |update| {
                let _ = outlet.store().keep(update);
            });
            session.lease.give_up(&mut self.stats);
        }
    }

    fn handle_commit(&mut self, outlet: &mut dyn Outlet) {
        let (committed, now_ns) = (outlet.outbox().committed(), outlet.now_ns());
        self.sessions.values_mut().for_each(|session| session.lease.commit(committed, now_ns));
    }

    fn poll_timeout(&self) -> Option<u64> {
        None
    }

    fn handle_timeout(&mut self, _: &mut dyn Outlet) {}
}

fn answer(room: &mut [u8], to: u16, id: [u8; 8], number: u64) -> usize {
    let repr = udp::Repr { source_port: PORT, destination_port: to, payload_len: 16 };
    let _ = repr.emit(room);
    room[8..16].copy_from_slice(&id);
    room[16..24].copy_from_slice(&number.to_be_bytes());
    24
}

/// Somebody who wants tickets.
pub(super) struct Asker {
    pub(super) unit: Unit,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    asked: u64,
    pub(super) answered_at: u64,
    pub(super) gap_ns: u64,
    /// The last number that was shown to it.
    pub(super) last: Option<u64>,
    /// Its numbers were lost with all who knew them.
    pub(super) excused: bool,
}

impl Asker {
    /// An asker whose unit is `units` at most.
    pub(super) fn draw(
        rng: &mut super::super::rng::Rng,
        filter: &phalanx_dataplane::filter::Filter,
        units: usize,
        number: u8,
    ) -> Self {
        let (address, to) = (IpAddr::from([192, 0, 2, 250 + number]), OUTSIDE.parse().unwrap_or(IpAddr::from([0; 4])));
        let (port, unit) = loop {
            let port = rng.between(1024, 65_536) as u16;
            let frame =
                Frame { source: address, destination: to, proto: proto::UDP, bytes: request(port, 0), is_whole: false };
            let unit = filter.unit(&frame.summary(), true, &frame.bytes);
            if unit.index() < units {
                break (port, unit);
            }
        };
        let gap_ns = *rng.pick(&[3 * MS, 15 * MS, 80 * MS]);
        Self { unit, address, port, asked: 0, answered_at: 0, gap_ns, last: None, excused: false }
    }

    /// Whether a member's answer is for this one.
    fn hears(&self, answer: &Frame) -> bool {
        (self.address, self.port) == (answer.destination, answer.ports().1)
    }
}

fn request(port: u16, id: u64) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    let _ = udp::Repr { source_port: port, destination_port: PORT, payload_len: 8 }.emit(&mut bytes);
    bytes[8..].copy_from_slice(&id.to_be_bytes());
    bytes
}

impl World {
    /// An asker asks.
    pub(super) fn ask_ticket(&mut self, sessions: &mut Sessions, number: usize) {
        let asker = &mut sessions.askers[number];
        asker.asked += 1;
        let bytes = request(asker.port, asker.asked);
        let (source, gap) = (asker.address, asker.gap_ns);
        let destination = OUTSIDE.parse().unwrap_or(source);
        self.host_sends(sessions, Frame { source, destination, proto: proto::UDP, bytes, is_whole: false });
        let gap = self.rng.between(gap / 2, 2 * gap);
        self.at(self.now + gap, Event::Ask4Ticket(number));
    }

    /// An answer comes.
    pub(super) fn asker_hears(&mut self, sessions: &mut Sessions, frame: &Frame) -> Result<(), String> {
        let now = self.now;
        if let Some(asker) = sessions.askers.iter_mut().find(|asker| asker.hears(frame)) {
            asker.answered_at = now;
            sessions.report.tickets += 1;
        }
        Ok(())
    }
}

/// A number is shown: it was never shown before, nor a later one.
pub(super) fn check_number(sessions: &mut Sessions, frame: &Frame) -> Result<(), String> {
    let Some(asker) = sessions.askers.iter_mut().find(|asker| asker.hears(frame)) else { return Ok(()) };
    let number = frame.bytes.get(16..24).and_then(|it| it.try_into().ok()).map(u64::from_be_bytes);
    let Some(number) = number else { return Err("a ticket without a number".into()) };
    if asker.last.is_some_and(|last| number <= last) && !asker.excused {
        return Err(format!("ticket {number} of unit {} comes after {:?}", asker.unit, asker.last));
    }
    asker.last = Some(number);
    Ok(())
}

/// Silence after everything healed.
pub(super) fn check_askers(sessions: &Sessions, now: u64, healed_at: u64) -> Result<(), String> {
    for asker in &sessions.askers {
        if now > asker.answered_at.max(healed_at) + check::PATIENCE && !asker.excused {
            return Err(format!("no ticket of unit {} for {} ms", asker.unit, (now - asker.answered_at) / MS));
        }
    }
    Ok(())
}
