//! Sessions that go to sleep in the store, and wake up from it.
//!
//! A unit that leaves puts its sessions into this member's own store, as a backup would have them; a unit that comes finds
//! them there, written by whoever owned it before. They wake up together, at the unit's first packet or a moment later, so
//! that a takeover itself costs the same however many sessions there are; those with something on their way are first.

use super::counters::add;
use super::ledger::{APP, ESSENTIAL_LEN, VERSION, initial_record};
use super::session::{Session, Written};
use super::{CLIENT, Relay, SERVER};
use crate::app::Outlet;
use crate::replica::{Change, Cursor, Record, SessionKey, Step, Update};
use crate::tcp::{Endpoint, EssentialState, InitialState, Saved, Stream};
use crate::unit::Unit;

/// Units that wake up in one round, for no packet's sake.
const UNITS_A_ROUND: usize = 4;
/// How old a record counts as: our clock goes on from far beyond whatever its owner may have shown to a peer since it wrote
/// the record. Peers only ask that it does not go back (RFC 7323 section 5.3).
const AGE_NS: u64 = 3600 * 1_000_000_000;

impl Relay {
    /// A unit has left us: what backups have of its sessions is what we keep of them.
    pub(super) fn put_to_sleep(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        self.asleep.remove(unit);
        while let Some(slot) = self.table.next_of(unit, 0) {
            if let Some(session) = self.table.get(slot) {
                let store = outlet.store();
                put(session, &self.pool, &mut |update| {
                    // What it has no room for is lost here, and counted there.
                    let _ = store.keep(update);
                });
            }
            self.release(slot);
        }
    }

    /// Wakes a unit up, if it sleeps.
    pub(super) fn wake(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        if !self.asleep.contains(unit) {
            return;
        }
        self.asleep.remove(unit);
        let mut next = SessionKey::default();
        while let Some(key) = outlet.store().next_session(unit, next).map(|(key, _)| key) {
            if let Some(record) = outlet.store().take(unit, key) {
                self.restore(outlet, unit, key, &record);
            }
            let Some(after) = key.0.checked_add(1) else { break };
            next = SessionKey(after);
        }
    }

    /// Wakes a few units up, those with something on its way first.
    pub(super) fn wake_some(&mut self, outlet: &mut dyn Outlet) {
        for _ in 0..UNITS_A_ROUND {
            let asleep = self.asleep;
            let busy = asleep.iter().find(|unit| outlet.store().next_busy(*unit).is_some());
            let Some(unit) = busy.or_else(|| asleep.iter().next()) else { return };
            self.wake(outlet, unit);
        }
    }

    fn restore(&mut self, outlet: &mut dyn Outlet, unit: Unit, key: SessionKey, record: &Record) {
        let Some(session) = self.rebuild(outlet, unit, key, record) else {
            add(&self.counters.of(usize::MAX).not_restored, 1);
            return;
        };
        add(&self.counters.of(session.relay).restored, 1);
        let slot = self.admit(session);
        self.settle(outlet, slot);
    }

    /// The session that a record describes; none if it is of no relay of ours, or contradicts itself.
    fn rebuild(&mut self, outlet: &dyn Outlet, unit: Unit, key: SessionKey, record: &Record) -> Option<Session> {
        let (initial, essential) = (record.initial.as_ref()?, record.essential.as_ref()?);
        let (relay, client) = initial.bytes.split_first_chunk::<2>()?;
        let relay = usize::from(u16::from_be_bytes(*relay));
        let limit = self.specs.get(relay)?.buffer_bytes;
        let essential: &[u8; ESSENTIAL_LEN] = essential.bytes.first_chunk()?;
        let backend = usize::from(u16::from_be_bytes([essential[0], essential[1]]));
        let client = InitialState::decode(client).ok()?;
        let mut streams = [CLIENT, SERVER].map(|at| {
            let stored = record.streams.get(at);
            Stream::new(stored.map_or(0, |stream| stream.fin.map_or(stream.start, |fin| stream.start.min(fin))), limit)
        });
        let mut written = Written::new(key);
        for (at, stored) in record.streams.iter().enumerate().take(2) {
            let [front, back] = <[&[u8]; 2]>::from(stored.bytes.as_slices());
            for bytes in [front, back] {
                if streams[at].append(&mut self.pool, bytes) < bytes.len() {
                    streams.iter_mut().for_each(|stream| stream.free(&mut self.pool));
                    return None;
                }
            }
            if stored.fin.is_some() {
                streams[at].finish();
            }
            // It was shown to peers, or may have been.
            streams[at].commit_to(streams[at].commit_target());
            written.starts[at] = streams[at].start();
            written.ends[at] = streams[at].commit_target();
        }
        let ends = self.rebuild_ends(outlet, relay, client, essential, &mut streams);
        let Some(ends) = ends else {
            streams.iter_mut().for_each(|stream| stream.free(&mut self.pool));
            return None;
        };
        written.initial = true;
        written.essential = *essential;
        written.digest = record.digest(self.digest_key, key);
        let now_ns = outlet.now_ns();
        let spec = &self.specs[relay];
        let mut session = Session::new(key, unit, relay, ends, streams, now_ns);
        session.backend = backend.min(spec.backends.len().saturating_sub(1));
        session.tries = usize::from(essential[3]);
        session.connect_by_ns = session.is_connecting().then(|| now_ns.saturating_add(spec.connect_ns));
        session.written = written;
        Some(session)
    }

    fn rebuild_ends(
        &mut self,
        outlet: &dyn Outlet,
        relay: usize,
        client: InitialState,
        essential: &[u8; ESSENTIAL_LEN],
        streams: &mut [Stream; 2],
    ) -> Option<[Option<Endpoint>; 2]> {
        const E: usize = EssentialState::ENCODED_LEN;
        let [up, down] = streams;
        let saved =
            Saved { initial: client, essential: EssentialState::decode(&essential[4..4 + E]).ok()?, age_ns: AGE_NS };
        let now_ns = outlet.now_ns();
        let config = self.config_of(outlet, relay, &client.flow, CLIENT);
        let first = Endpoint::restore(&config, &saved, up, down, &mut self.pool, now_ns).ok()?;
        if essential[2] == 0 {
            return Some([Some(first), None]);
        }
        let initial = InitialState::decode(&essential[4 + 2 * E..]).ok()?;
        let saved =
            Saved { initial, essential: EssentialState::decode(&essential[4 + E..4 + 2 * E]).ok()?, age_ns: AGE_NS };
        let config = self.config_of(outlet, relay, &initial.flow, SERVER);
        let second = Endpoint::restore(&config, &saved, down, up, &mut self.pool, now_ns).ok()?;
        Some([Some(first), Some(second)])
    }

    /// The digest of a unit's live sessions, as they were written.
    pub(super) fn digest_of(&self, unit: Unit) -> u64 {
        let written = self.table.of(unit).filter(|session| session.written.initial);
        let value = |session: &Session| {
            let shapes = [CLIENT, SERVER].map(|stream| session.shape(stream));
            session.written.digest.value(self.digest_key, shapes.into_iter())
        };
        written.map(value).fold(0, u64::wrapping_add)
    }

    /// Tells the changes that make the next session of a unit's, as it was written.
    pub(super) fn put_after(&self, unit: Unit, cursor: Cursor, tell: &mut dyn FnMut(&Update<'_>)) -> Step {
        let from = u32::try_from(cursor.at).unwrap_or(u32::MAX);
        let Some(slot) = self.table.next_of(unit, from) else { return Step::End };
        if let Some(session) = self.table.get(slot) {
            put(session, &self.pool, tell);
        }
        slot.checked_add(1).map_or(Step::End, |at| Step::Next(Cursor { part: cursor.part, at: at.into() }))
    }
}

/// Tells a session as it was written.
fn put(session: &Session, pool: &crate::tcp::ChunkPool, tell: &mut dyn FnMut(&Update<'_>)) {
    let Some(initial) = initial_record(session).filter(|_| session.written.initial) else { return };
    let (unit, key) = (session.unit, session.key);
    let mut tell = |change| tell(&Update::new(unit, key, APP, change));
    tell(Change::Reset);
    tell(Change::Initial { version: VERSION, bytes: &initial });
    tell(Change::Essential { version: VERSION, bytes: &session.written.essential });
    for number in [CLIENT, SERVER] {
        let (shape, stream) = (session.shape(number), number as u8);
        if shape.start > 0 {
            tell(Change::Trim { stream, to: shape.start });
        }
        let mut at = shape.start;
        for bytes in session.streams[number].slices(pool, at, usize::try_from(shape.end - at).unwrap_or(0)) {
            tell(Change::Append { stream, offset: at, bytes });
            at += bytes.len() as u64;
        }
        if let Some(offset) = shape.fin {
            tell(Change::End { stream, offset });
        }
    }
}
