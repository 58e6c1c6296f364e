//! What owners say, and what sessions come of it: as simply as it can be put, apart from production code.

use std::collections::BTreeMap;

use phalanx_dataplane::replica::{Change, Position, Record, State, Store};
use phalanx_dataplane::unit::Unit;

/// A change that owns its bytes.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Initial(Vec<u8>),
    Essential(Vec<u8>),
    Append(u8, u64, Vec<u8>),
    Trim(u8, u64),
    End(u8, u64),
    Unknown(u8, Vec<u8>),
    Remove,
}

impl Said {
    pub(super) fn change(&self) -> Change<'_> {
        match self {
            Self::Initial(bytes) => Change::Initial { version: 1, bytes },
            Self::Essential(bytes) => Change::Essential { version: 2, bytes },
            Self::Append(stream, offset, bytes) => Change::Append { stream: *stream, offset: *offset, bytes },
            Self::Trim(stream, to) => Change::Trim { stream: *stream, to: *to },
            Self::End(stream, offset) => Change::End { stream: *stream, offset: *offset },
            Self::Unknown(kind, bytes) => Change::Unknown { kind: *kind, bytes },
            Self::Remove => Change::Remove,
        }
    }
}

/// A session as simply as it can be said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Plain {
    initial: Option<Vec<u8>>,
    essential: Option<Vec<u8>>,
    unknown: BTreeMap<u8, Vec<u8>>,
    /// Start, bytes, end.
    streams: BTreeMap<u8, (u64, Vec<u8>, Option<u64>)>,
}

pub(super) type Sessions = BTreeMap<u128, Plain>;

fn plain(record: &Record) -> Plain {
    let bytes = |state: &Option<State>| state.as_ref().map(|state| state.bytes.clone());
    let streams = record
        .streams
        .iter()
        .zip(0_u8..)
        .map(|(it, number)| (number, (it.start, it.bytes.iter().copied().collect::<Vec<u8>>(), it.fin)));
    Plain {
        initial: bytes(&record.initial),
        essential: bytes(&record.essential),
        unknown: record.unknown.iter().cloned().collect(),
        streams: streams.filter(|(_, it)| *it != (0, Vec::new(), None)).collect(),
    }
}

pub(super) fn held(store: &Store, unit: Unit) -> Sessions {
    store.sessions(unit).map(|(key, record)| (key.0, plain(record))).collect()
}

pub(super) fn apply(sessions: &mut Sessions, session: u128, said: &Said) {
    if let Said::Remove = said {
        sessions.remove(&session);
        return;
    }
    let it = sessions.entry(session).or_default();
    match said {
        Said::Initial(bytes) => it.initial = Some(bytes.clone()),
        Said::Essential(bytes) => it.essential = Some(bytes.clone()),
        Said::Unknown(kind, bytes) => drop(it.unknown.insert(*kind, bytes.clone())),
        Said::Append(stream, _, bytes) => it.streams.entry(*stream).or_default().1.extend(bytes),
        Said::End(stream, offset) => it.streams.entry(*stream).or_default().2 = Some(*offset),
        Said::Trim(stream, to) => {
            let (start, bytes, _) = it.streams.entry(*stream).or_default();
            bytes.drain(..((*to - *start) as usize).min(bytes.len()));
            *start = *to;
        }
        Said::Remove => {}
    }
}

/// What an owner has said of a unit since it owns it.
#[derive(Default)]
pub(super) struct History {
    pub(super) base: Sessions,
    pub(super) said: Vec<(Position, u128, Said)>,
}

impl History {
    pub(super) fn at(&self, position: Position) -> Sessions {
        let mut sessions = self.base.clone();
        self.said.iter().filter(|(at, ..)| *at <= position).for_each(|(_, session, said)| {
            apply(&mut sessions, *session, said);
        });
        sessions
    }
}
