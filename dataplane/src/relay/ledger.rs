//! What the backups are told of a session, and what waits until they know it.
//!
//! After each event the session is compared with what was written of it before, and the difference goes into the worker's
//! outbox: bytes appended to a stream, its end, what may be forgotten, and the records where they changed. The entry that
//! comes out says what may be committed once the backups hold all that.
//!
//! | record | holds | written |
//! | --- | --- | --- |
//! | Initial | relay, the client's connection | once, at its SYN |
//! | Essential | both ends' states, the connection to the back end | when a state changes; what merely moves, now and then |

use std::collections::VecDeque;

use super::session::Session;
use super::{CLIENT, Relay, SERVER};
use crate::app::Outlet;
use crate::parse::address_number;
use crate::replica::{Change, Position, SessionKey, Update};
use crate::tcp::{Change as Moved, EssentialState, Flow, InitialState};

/// The app's number in updates.
pub(super) const APP: u8 = 1;
/// The version of the records written here.
pub(super) const VERSION: u8 = 1;
/// How stale the Essential record may get where nothing but windows and timestamps move.
const MOVED_NS: u64 = 100_000_000;
/// Bytes of a stream in one update.
const APPEND_MAX: usize = 4096;
pub(super) const INITIAL_LEN: usize = 2 + InitialState::ENCODED_LEN;
pub(super) const ESSENTIAL_LEN: usize = 4 + 2 * EssentialState::ENCODED_LEN + InitialState::ENCODED_LEN;

/// What may be committed once the backups have acknowledged a position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) slot: u32,
    pub(super) life: u32,
    pub(super) ends: [u64; 2],
    pub(super) versions: [u8; 2],
}

/// Entries that wait, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Ledger(VecDeque<Entry>);

impl Ledger {
    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push_back(entry);
    }

    pub(super) fn pop_committed(&mut self, committed: Position) -> Option<Entry> {
        if self.0.front()?.position > committed {
            return None;
        }
        self.0.pop_front()
    }
}

/// A client's connection has one session at a time: its four numbers name it.
pub(super) fn session_key(flow: &Flow) -> SessionKey {
    // Distinct for IPv4 by construction; for IPv6 the addresses are folded, by multiplication with odd constants.
    let ports = u128::from(flow.remote_port) << 16 | u128::from(flow.local_port);
    if flow.remote_ip.is_ipv4() {
        return SessionKey(address_number(flow.remote_ip).1 << 64 | address_number(flow.local_ip).1 << 32 | ports);
    }
    let mixed = address_number(flow.remote_ip).1.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mixed = (mixed ^ address_number(flow.local_ip).1).wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15);
    SessionKey((mixed ^ ports).wrapping_mul(0x2545_f491_4f6c_dd1d_da94_2042_e4dd_58b5))
}

impl Relay {
    /// Writes down what has changed of a session since the last time. None: nothing.
    pub(super) fn write(&mut self, outlet: &mut dyn Outlet, slot: u32) -> Option<Entry> {
        let now_ns = outlet.now_ns();
        let session = self.table.get_mut(slot)?;
        let (unit, key) = (session.unit, session.key);
        let outbox = outlet.outbox();
        let before = session.written.position;
        let mut last = before;
        let mut put = |change: Change<'_>| {
            last = outbox.append(&Update::new(unit, key, APP, change));
        };
        if !session.written.initial {
            session.written.initial = true;
            let record = initial_record(session)?;
            session.written.digest.set_initial(self.digest_key, VERSION, &record, &[]);
            put(Change::Initial { version: VERSION, bytes: &record });
        }
        for stream in [CLIENT, SERVER] {
            write_stream(session, stream, &self.pool, &mut put);
        }
        let moved = [CLIENT, SERVER].map(|end| session.ends[end].as_mut().map_or(Moved::None, |e| e.take_change()));
        let versions = [CLIENT, SERVER].map(|end| session.ends[end].as_ref().map_or(0, |e| e.initial_version()));
        let stale = now_ns.saturating_sub(session.written.at_ns) >= MOVED_NS;
        let due = moved.contains(&Moved::State)
            || versions != session.written.versions
            || stale && moved.contains(&Moved::Moved);
        if due {
            let record = essential_record(session, now_ns)?;
            session.written.digest.set_essential(self.digest_key, VERSION, &record, &[]);
            put(Change::Essential { version: VERSION, bytes: &record });
            session.written.essential = record;
            session.written.versions = versions;
            session.written.at_ns = now_ns;
        }
        session.written.position = last;
        let ends = [CLIENT, SERVER].map(|stream| session.streams[stream].commit_target());
        (last != before).then_some(Entry { position: last, slot, life: session.life, ends, versions })
    }

    /// The backups may forget the session.
    pub(super) fn erase(&mut self, outlet: &mut dyn Outlet, session: &Session) {
        if session.written.initial && outlet.owns(session.unit) {
            outlet.outbox().append(&Update::new(session.unit, session.key, APP, Change::Remove));
        }
    }
}

fn write_stream(session: &mut Session, number: usize, pool: &crate::tcp::ChunkPool, put: &mut impl FnMut(Change<'_>)) {
    let stream = &session.streams[number];
    let written = &mut session.written;
    let mut at = written.ends[number].min(stream.end()).max(written.starts[number]);
    while at < stream.end() {
        // What the other side has acknowledged already is not written at all.
        at = at.max(stream.start());
        let left = usize::try_from(stream.end() - at).unwrap_or(usize::MAX).min(APPEND_MAX);
        let Some(bytes) = stream.slices(pool, at, left).next() else { break };
        put(Change::Append { stream: number as u8, offset: at, bytes });
        at += bytes.len() as u64;
    }
    if let Some(end) = stream.fin()
        && written.ends[number] <= end
    {
        put(Change::End { stream: number as u8, offset: end });
    }
    written.ends[number] = stream.commit_target();
    let start = stream.start();
    if start > written.starts[number] {
        put(Change::Trim { stream: number as u8, to: start });
        written.starts[number] = start;
    }
}

/// Relay, then the client's end.
pub(super) fn initial_record(session: &Session) -> Option<[u8; INITIAL_LEN]> {
    let mut record = [0; INITIAL_LEN];
    let (relay, client) = record.split_first_chunk_mut::<2>()?;
    *relay = (session.relay as u16).to_be_bytes();
    client.copy_from_slice(&session.ends[CLIENT].as_ref()?.save_initial().encode());
    Some(record)
}

/// Which back end, whether there is an end towards it, tries; then the client's Essential record, the other end's, and
/// the other end's Initial record, which changes with every attempt.
fn essential_record(session: &Session, now_ns: u64) -> Option<[u8; ESSENTIAL_LEN]> {
    const E: usize = EssentialState::ENCODED_LEN;
    let mut record = [0; ESSENTIAL_LEN];
    let server = session.ends[SERVER].as_ref();
    record[..2].copy_from_slice(&(session.backend as u16).to_be_bytes());
    record[2] = u8::from(server.is_some());
    record[3] = session.tries as u8;
    record[4..4 + E].copy_from_slice(&session.ends[CLIENT].as_ref()?.save_essential(now_ns).encode());
    if let Some(server) = server {
        record[4 + E..4 + 2 * E].copy_from_slice(&server.save_essential(now_ns).encode());
        record[4 + 2 * E..].copy_from_slice(&server.save_initial().encode());
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_key_of_its_own() {
        let mut keys = std::collections::HashSet::new();
        for local in ["198.51.100.1", "198.51.100.2"] {
            for host in 0..40u8 {
                for remote_port in 1000..1050 {
                    let flow = Flow {
                        local_ip: local.parse().expect("an address"),
                        local_port: 8080,
                        remote_ip: [192, 0, 2, host].into(),
                        remote_port,
                    };
                    assert!(keys.insert(session_key(&flow)), "{flow:?}");
                    let (IpAddr::V4(a), IpAddr::V4(b)) = (flow.local_ip, flow.remote_ip) else { panic!() };
                    let six =
                        Flow { local_ip: a.to_ipv6_mapped().into(), remote_ip: b.to_ipv6_mapped().into(), ..flow };
                    assert!(keys.insert(session_key(&six)), "{six:?}");
                }
            }
        }
    }

    use std::net::IpAddr;
}
