//! Records: any bytes are updates or are not; what is one is written again alike; and whatever a store is told, it stays within
//! its bounds, gives back what it holds by puts that make the same again, and its digest is that of its sessions.

use phalanx_control::replication::message::Message;
use phalanx_dataplane::replica::{
    Change, DigestKey, FORMAT, Refused, SessionKey, Store, StoreLimits, TableVersion, Update, updates,
};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::cursor::Cursor;

const LIMITS: StoreLimits =
    StoreLimits { sessions_max: 20, bytes_max: 40_000, stream_bytes_max: 3000, tombstones_max: 5 };
const VERSION: TableVersion = TableVersion { term: 1, generation: 1 };

fn key() -> DigestKey {
    DigestKey::new(*b"a digest key....")
}

fn owner() -> MemberId {
    super::cursor::member(1)
}

fn store() -> Store {
    let mut store = Store::new(key(), LIMITS);
    for unit in Unit::all().take(4) {
        store.set_owner(unit, Some(owner()), VERSION);
    }
    store.set_version(VERSION);
    store
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    codec(data);
    tell(&mut Cursor(data));
}

fn codec(data: &[u8]) {
    let _ = Message::decode(data);
    for update in updates(data).flatten() {
        let mut again = vec![FORMAT];
        update.encode(&mut again);
        assert_eq!(updates(&again).collect::<Vec<_>>(), [Ok(update)]);
    }
    let mut store = store();
    for update in updates(data).flatten() {
        let _ = store.apply(owner(), VERSION, &update);
        check(&store);
    }
}

/// A script of updates that make sense more often than any bytes do.
fn tell(script: &mut Cursor<'_>) {
    let mut store = store();
    for unit in Unit::all().take(4) {
        let check = Update::of_unit(unit, Change::UnitCheck { digest: 0 });
        store.apply(owner(), VERSION, &check).expect("an empty unit is in sync");
    }
    while !script.is_empty() {
        let unit = Unit::from_low_bits(u32::from(script.u8() % 4));
        let session = SessionKey((script.u8() % 24).into());
        let bytes = [script.u8(); 700];
        let length = usize::from(script.u16()) % bytes.len();
        let bytes = &bytes[..length];
        let (stream, number) = (script.u8() % 5, script.number());
        let change = match script.u8() % 16 {
            0..4 => Change::Initial { version: 1, bytes },
            4 | 5 => Change::Essential { version: 1, bytes },
            6..9 => {
                let record = store.get(unit, session);
                let end = record.and_then(|it| it.streams.get(usize::from(stream))).map_or(0, |stream| stream.end());
                let offset = if number == 200 { number } else { end };
                Change::Append { stream, offset, bytes }
            }
            9 => Change::Trim { stream, to: number },
            10 => Change::End { stream, offset: number },
            11 => Change::Remove,
            12 => Change::Reset,
            13 => Change::UnitBegin,
            14 => Change::UnitComplete { digest: store.digest(unit) },
            _ => Change::Unknown { kind: Change::FIRST_UNKNOWN.saturating_add(stream), bytes },
        };
        let told = store.apply(owner(), VERSION, &Update::new(unit, session, 1, change));
        if told.is_err() {
            assert!(!matches!(told, Err(Refused::NotOwner | Refused::OlderGeneration | Refused::AheadOfTable)));
            let check = Update::of_unit(unit, Change::UnitCheck { digest: store.digest(unit) });
            store.apply(owner(), VERSION, &check).expect("its own digest");
        }
        check(&store);
    }
    restore(&mut store);
}

fn check(store: &Store) {
    assert!(store.bytes() <= LIMITS.bytes_max && store.session_count() <= LIMITS.sessions_max);
    let held: usize = Unit::all().take(4).map(|unit| store.sessions(unit).count()).sum();
    assert_eq!(held, store.session_count());
}

fn restore(store: &mut Store) {
    for unit in Unit::all().take(4) {
        let busy: Vec<_> = store.sessions(unit).filter(|(_, it)| it.is_busy()).map(|(key, _)| key).collect();
        let mut found = Vec::new();
        let digest = store.digest(unit);
        let mut copy = Store::new(key(), StoreLimits::default());
        while let Some(session) = store.next_busy(unit).or_else(|| store.sessions(unit).next().map(|(key, _)| key)) {
            let record = store.take(unit, session).expect("it was found");
            if record.is_busy() {
                found.push(session);
            }
            record.put(|change, added| {
                let update = Update { unit, session, app: record.app, change, added };
                copy.keep(&update).expect("a put of what is held");
            });
        }
        found.sort_unstable();
        assert_eq!((found, copy.digest(unit), store.digest(unit)), (busy, digest, 0));
    }
    assert_eq!((store.bytes(), store.session_count()), (0, 0));
}
