//! `restore(save(x))` behaves like `x`: before some of the packets that an owner processes, everything that it has of the
//! packet's unit is told to a twin, as it would be told to a backup; the twin restores it and gets the same packet. Afterwards
//! both must have the same state.
//!
//! Differences that are allowed, since a restored endpoint begins anew with what can be found out again (Figure 7, 703):
//! - bytes that came out of order are forgotten, and the window is the last one that was replicated: the twin may have *less* of
//!   a stream than its original, or not its end;
//! - the twin has all of a memory that the original shares with its neighbours: it may have room for a segment, and so have *more*
//!   of a stream, where the original has none; never other bytes;
//! - what is written waits for backups, and what is sent for a congestion window: an end of a stream that the one has sent may
//!   still be unsent at the other;
//! - where another owner was the last that hosts have heard of the unit (a split), a client may acknowledge a SYN of ours that the
//!   original has not sent itself, and refuses; the twin cannot know that, and goes on;
//! - a lease is begun anew behind the old one;
//! - a connection that was given up is over: the reset that it has yet to send is not restored.

use std::collections::BTreeMap;

use phalanx_dataplane::parse::Summary;
use phalanx_dataplane::replica::{Cursor, DigestKey, LeaseRecord, Record, SessionKey, Step, Store, StoreLimits};
use phalanx_dataplane::tcp::{EssentialState, State};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::desk::{Desk, REPLICA_KEY, Setup};
use super::ticket;

/// Packets in a thousand before which a twin is made.
pub(super) const SHARE: u64 = 60;

/// See the module.
pub(super) struct Twin {
    desk: Desk,
    scratch: Store,
}

/// A unit's sessions.
pub(super) type Picture = BTreeMap<SessionKey, Record>;

fn tell(from: &mut Desk, unit: Unit, to: &mut Store) -> Result<(), String> {
    from.with_sources(|source| {
        let (mut cursor, mut refused) = (Cursor::default(), None);
        while let Step::Next(next) = source.put_next(unit, cursor, &mut |update| {
            refused = refused.or(to.keep(update).err());
        }) {
            cursor = next;
        }
        refused.map_or(Ok(()), |refused| Err(format!("a store refuses what an owner tells: {refused}")))
    })
}

impl Twin {
    pub(super) fn new(me: MemberId, setup: &Setup) -> Self {
        let setup = Setup { relay_stats: phalanx_dataplane::relay::RelayStats::new(super::LINES), ..setup.clone() };
        let scratch = Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default());
        Self { desk: Desk::new(me, 0, 0, &setup), scratch }
    }

    /// Becomes the twin of what `desk` has of a unit, and takes the packet in.
    pub(super) fn mirror(
        &mut self,
        desk: &mut Desk,
        now_ns: u64,
        unit: Unit,
        summary: &Summary,
        payload: &[u8],
    ) -> Result<(), String> {
        tell(desk, unit, &mut self.desk.holdings.store)?;
        self.desk.gain(now_ns, unit);
        // What becomes of the packet shows in the state.
        let _ = self.desk.offer(now_ns, unit, summary, payload);
        Ok(())
    }

    /// Compares the two once the original has taken the packet in as well, and forgets all. `heard_others`: the last that hosts have heard
    /// of the unit came from another owner.
    pub(super) fn compare(
        &mut self,
        desk: &mut Desk,
        now_ns: u64,
        unit: Unit,
        heard_others: bool,
    ) -> Result<(), String> {
        let original = picture(desk, unit, &mut self.scratch)?;
        let copy = picture(&mut self.desk, unit, &mut self.scratch)?;
        self.desk.sent.clear();
        self.desk.forget(now_ns, unit);
        let keys = original.keys().chain(copy.keys());
        for key in keys {
            match (original.get(key), copy.get(key)) {
                (Some(original), Some(_)) if heard_others && is_beginning(original) => {}
                (Some(original), Some(copy)) => differ(original, copy).map_or(Ok(()), |how| {
                    Err(format!("restored, {key:?} of unit {unit} differs in {how}: {copy:?}, not {original:?}"))
                })?,
                (Some(original), None) if is_over(original) => {}
                // Where memory is scarce, a client gets a cookie; the copy has a memory for itself.
                (None, Some(copy)) if is_beginning(copy) => {}
                (original, copy) => {
                    return Err(format!(
                        "of {key:?} of unit {unit} there is {} and, restored, {}",
                        if original.is_some() { "one" } else { "none" },
                        if copy.is_some() { "one" } else { "none" }
                    ));
                }
            }
        }
        Ok(())
    }
}

/// All that a unit's owner has.
pub(super) fn picture(desk: &mut Desk, unit: Unit, scratch: &mut Store) -> Result<Picture, String> {
    tell(desk, unit, scratch)?;
    let picture = picture_of_store(scratch, unit);
    scratch.clear(unit);
    Ok(picture)
}

/// All that a store has of a unit.
pub(super) fn picture_of_store(store: &Store, unit: Unit) -> Picture {
    store.sessions(unit).map(|(key, record)| (key, record.clone())).collect()
}

/// The states of both ends of a relay's session, as its Essential record has them: four bytes about the back end, then both
/// ends' records.
fn states(record: &Record) -> Option<[Option<State>; 2]> {
    let bytes = &record.essential.as_ref()?.bytes;
    let of = |at: usize| EssentialState::decode(bytes.get(at..)?).ok().map(|it| it.state);
    let server = (*bytes.get(2)? != 0).then(|| of(4 + EssentialState::ENCODED_LEN)).flatten();
    Some([of(4), server])
}

/// Whether both ends are done.
fn is_over(record: &Record) -> bool {
    states(record).is_some_and(|states| states.into_iter().flatten().all(|state| state == State::Closed))
}

/// Whether all there is of a session is a client's SYN.
fn is_beginning(record: &Record) -> bool {
    states(record) == Some([Some(State::SynReceived), None])
}

/// The state without what depends on whether our end was sent.
fn received(state: State) -> State {
    match state {
        State::FinWait1 => State::Established,
        State::LastAck | State::Closing => State::CloseWait,
        other => other,
    }
}

/// How a copy differs from its original, if it may not.
fn differ(original: &Record, copy: &Record) -> Option<&'static str> {
    if (original.app, &original.initial) != (copy.app, &copy.initial) {
        return Some("its beginning");
    }
    if original.app == ticket::APP {
        let limit = |record: &Record| LeaseRecord::decode(&record.essential.as_ref()?.bytes).ok();
        return (limit(copy) < limit(original)).then_some("its lease");
    }
    let mut behind = false;
    let count = original.streams.len().max(copy.streams.len());
    for at in 0..count {
        let (a, b) = (original.streams.get(at).cloned().unwrap_or_default(), copy.streams.get(at).cloned());
        let b = b.unwrap_or_default();
        // The copy cannot know what was sent; the original refuses an acknowledgement of what it has not sent itself (in a split,
        // another owner has).
        if b.start < a.start && (a.fin, a.bytes.is_empty()) == (b.fin, b.bytes.is_empty()) {
            return Some("what is acknowledged of a stream");
        }
        let from = a.start.max(b.start);
        let part = |it: &phalanx_dataplane::replica::Stream| {
            it.bytes.iter().copied().skip((from - it.start) as usize).collect::<Vec<u8>>()
        };
        // The copy, which has a memory for itself, may have room for a segment for which the original has none.
        let (original, copy) = (part(&a), part(&b));
        if !original.starts_with(&copy) && !copy.starts_with(&original) {
            return Some("the bytes of a stream");
        }
        if b.fin.is_some() && a.fin.is_some() && a.fin != b.fin {
            return Some("the end of a stream");
        }
        behind |= b.end() != a.end() || a.fin != b.fin;
    }
    let (a, b) = (states(original)?, states(copy)?);
    let alike = |a: Option<State>, b: Option<State>| a.map(received) == b.map(received);
    let same = alike(a[0], b[0]) && alike(a[1], b[1]);
    (!behind && !same).then_some("the state of an end")
}
