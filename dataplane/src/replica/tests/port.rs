//! A worker and its transport meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::*;
use super::support::*;
use crate::unit::MEMBER_NUMBER_MAX;

struct Desk {
    handle: PortHandle,
    port: WorkerPort,
    store: Store,
    outbox: Outbox,
    woken: Arc<AtomicU32>,
}

fn desk() -> Desk {
    let nothing: Wake = Arc::new(|| {});
    let woken = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&woken);
    let wake: Wake = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (handle, port) = port(wake, vec![nothing.clone(); usize::from(MEMBER_NUMBER_MAX)], nothing);
    Desk { handle, port, store: store(StoreLimits::default()), outbox: Outbox::new(OutboxLimits::default()), woken }
}

fn batch(changes: &[Update<'_>]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    changes.iter().for_each(|update| update.encode(&mut bytes));
    bytes
}

fn incoming(ticket: u64, version: TableVersion, bytes: Vec<u8>) -> Incoming {
    Incoming { from: id(1), stream: 1, ticket, version, lost: None, bytes }
}

impl Desk {
    fn outcome(&mut self, batch: Incoming) -> Outcome {
        self.handle.deliver(batch).unwrap();
        assert!(self.port.is_waiting());
        assert!(self.port.poll(&mut self.store, &mut self.outbox));
        self.handle.poll_outcome().unwrap()
    }
}

#[test]
fn a_batch_is_applied_and_its_buffer_comes_back() {
    let mut desk = desk();
    let outcome = desk.outcome(incoming(4, table(3), batch(&[update(1, INITIAL)])));
    assert_eq!((outcome.ticket, outcome.fenced, outcome.malformed), (4, None, None));
    assert!(outcome.unsynced.is_empty() && outcome.buffer.capacity() > 0);
    assert_eq!((desk.store.session_count(), desk.woken.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_stale_batch_changes_nothing_and_is_answered_with_our_table() {
    let mut desk = desk();
    let outcome = desk.outcome(incoming(1, table(2), batch(&[update(1, INITIAL), update(2, INITIAL)])));
    assert_eq!((outcome.fenced, outcome.unsynced), (Some(table(3)), vec![unit(5)]));
    assert_eq!((desk.store.session_count(), desk.store.stats().older_generation), (0, 2));
}

#[test]
fn a_corrupt_batch_is_applied_no_further_than_it_is_sound() {
    let mut desk = desk();
    let mut bytes = batch(&[update(1, INITIAL), update(2, INITIAL)]);
    bytes.pop();
    assert!(desk.outcome(incoming(1, table(3), bytes)).malformed.is_some());
    assert!(desk.outcome(incoming(2, table(3), vec![77])).malformed.is_some());
    assert_eq!((desk.store.session_count(), desk.store.stats().malformed), (1, 2));
}

#[test]
fn a_batch_of_a_table_to_come_waits_and_holds_up_only_its_own_stream() {
    let mut desk = desk();
    let other = Update::new(unit(6), SessionKey(1), 1, INITIAL);
    let check = Update::of_unit(unit(6), Change::UnitCheck { digest: 0 });
    let early = batch(&[update(1, INITIAL), check, other]);
    desk.handle.deliver(incoming(1, table(4), early)).unwrap();
    desk.handle.deliver(incoming(2, table(4), batch(&[update(2, INITIAL)]))).unwrap();
    let elsewhere = Incoming { stream: 2, ..incoming(3, table(3), batch(&[update(3, INITIAL)])) };
    desk.handle.deliver(elsewhere).unwrap();
    desk.port.poll(&mut desk.store, &mut desk.outbox);
    assert_eq!(desk.handle.poll_outcome().map(|it| it.ticket), Some(3));
    assert!(desk.handle.poll_outcome().is_none());
    // What came before the update that waits is not applied twice.
    desk.store.set_owner(unit(6), Some(id(1)), table(4));
    desk.store.set_version(table(4));
    assert!(desk.port.poll(&mut desk.store, &mut desk.outbox));
    let tickets: Vec<_> = std::iter::from_fn(|| desk.handle.poll_outcome()).map(|it| it.ticket).collect();
    assert_eq!((tickets, desk.store.session_count(), desk.store.stats().snapshots), (vec![1, 2], 4, 0));
}

/// Issue 3: one that claims tables that nobody has must not make others wait.
#[test]
fn whoever_acts_under_tables_far_ahead_of_ours_holds_up_only_itself() {
    let mut desk = desk();
    let mut refused = 0;
    for ticket in 0..1000 {
        let hostile = incoming(ticket, table(1 << 40), batch(&[Update::new(unit(6), SessionKey(1), 1, INITIAL)]));
        let hostile = Incoming { from: id(3), stream: 1000 + ticket % 40, ..hostile };
        while desk.handle.deliver(Incoming { bytes: hostile.bytes.clone(), ..hostile }).is_err() {
            desk.port.poll(&mut desk.store, &mut desk.outbox);
        }
        desk.port.poll(&mut desk.store, &mut desk.outbox);
        while let Some(outcome) = desk.handle.poll_outcome() {
            assert_eq!(outcome.unsynced, [unit(6)]);
            refused += 1;
        }
    }
    assert!(refused > 900, "{refused}");
    let honest = desk.outcome(incoming(2000, table(3), batch(&[update(1, INITIAL)])));
    assert!(honest.unsynced.is_empty() && honest.fenced.is_none());
    assert_eq!(desk.store.session_count(), 1);
}

#[test]
fn a_full_worker_gives_batches_back() {
    let mut desk = desk();
    let mut taken = 0;
    while desk.handle.deliver(incoming(taken, table(3), batch(&[]))).is_ok() {
        taken += 1;
    }
    for _ in 0..taken {
        desk.port.poll(&mut desk.store, &mut desk.outbox);
    }
    assert!(desk.handle.deliver(incoming(taken, table(3), batch(&[]))).is_ok());
    // Nor does one that nobody takes outcomes from go on.
    for ticket in 0..10_000 {
        let _ = desk.handle.deliver(incoming(ticket, table(3), batch(&[])));
        desk.port.poll(&mut desk.store, &mut desk.outbox);
    }
    assert!(!desk.port.is_waiting() && desk.port.is_blocked(), "it sleeps for a while: another may need its processor");
    let outcomes = std::iter::from_fn(|| desk.handle.poll_outcome()).count();
    assert!(outcomes < 1000, "{outcomes}");
    assert!(desk.port.is_waiting() && !desk.port.is_blocked());
}

#[test]
fn bad_news_are_heeded_before_the_acknowledgement_behind_them() {
    let mut desk = desk();
    desk.outbox.set_backups(unit(5), MemberSet::of(id(2)));
    desk.handle.tell(ReplicaNews::Greeted { member: id(2), stream: 1, has: None }).unwrap();
    desk.port.poll(&mut desk.store, &mut desk.outbox);
    let mut empty = Store::new(KEY, StoreLimits::default());
    Snapshots::new().pump(&mut desk.outbox, &mut empty, 10);
    desk.port.flush(&mut desk.outbox);
    let mut end = Position(0);
    while let Some(shipped) = desk.handle.poll_ship(id(2)) {
        if let Ship::Segment(segment) = shipped.ship {
            end = segment.last();
        }
    }
    desk.handle.tell(ReplicaNews::Unsynced { member: id(2), unit: unit(5) }).unwrap();
    desk.handle.acknowledge(id(2), end);
    desk.port.poll(&mut desk.store, &mut desk.outbox);
    assert_eq!(desk.outbox.acked(id(2)), end);
    assert!(!desk.outbox.is_synced(id(2), unit(5)));
}
