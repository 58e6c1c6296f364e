//! From a session to a record in the store, and back: what a backup has of a session is enough to carry it on.

use super::counters::add;
use super::ledger::{APP, ESSENTIAL_LEN, VERSION, initial_record};
use super::session::{Session, Written};
use super::{CLIENT, Relay, SERVER};
use crate::app::Outlet;
use crate::replica::{Change, Cursor, Record, SessionKey, Step, Update};
use crate::tcp::{Endpoint, EssentialState, Flow, InitialState, Saved, State, Stream};
use crate::unit::Unit;

/// How old a record counts as: our clock goes on from far beyond whatever its owner may have shown to a peer since it wrote
/// the record. Peers only ask that it does not go back (RFC 7323 section 5.3).
const AGE_NS: u64 = 3600 * 1_000_000_000;

impl Relay {
    /// Carries on the session of a record.
    pub(super) fn restore(&mut self, outlet: &mut dyn Outlet, unit: Unit, key: SessionKey, record: &Record) {
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
        let config = self.config_of(outlet, relay, &client.flow);
        let first = Endpoint::restore(&config, &saved, up, down, &mut self.pool, now_ns).ok()?;
        if essential[2] == 0 {
            return Some([Some(first), None]);
        }
        let initial = InitialState::decode(&essential[4 + 2 * E..]).ok()?;
        let saved =
            Saved { initial, essential: EssentialState::decode(&essential[4 + E..4 + 2 * E]).ok()?, age_ns: AGE_NS };
        let config = self.config_of(outlet, relay, &initial.flow);
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

/// The connection to the back end in a record; none, if it has none that is not over.
pub(super) fn flow_inside(record: &Record) -> Option<Flow> {
    let essential: &[u8; ESSENTIAL_LEN] = record.essential.as_ref()?.bytes.first_chunk()?;
    const E: usize = EssentialState::ENCODED_LEN;
    let state = EssentialState::decode(&essential[4 + E..4 + 2 * E]).ok().map(|essential| essential.state);
    if essential[2] == 0 || state.is_none_or(|state| state == State::Closed) {
        return None;
    }
    InitialState::decode(&essential[4 + 2 * E..]).ok().map(|initial| initial.flow)
}

/// Tells a session as it was written.
pub(super) fn put(session: &Session, pool: &crate::tcp::ChunkPool, tell: &mut dyn FnMut(&Update<'_>)) {
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
