//! Numbers under a lease: never twice, never backwards, whoever dies when.

use std::path::PathBuf;

use proptest::prelude::*;

use super::super::*;

const EXTENT: Extent = Extent { length: 10, refill: 3 };

/// Writes what is due, at this position.
fn refill(lease: &mut Lease, at: u64, stats: &mut LeaseStats) -> bool {
    let due = lease.due();
    if let Some(record) = due {
        lease.written(record, Position(at), stats);
    }
    due.is_some()
}

#[test]
fn nothing_is_free_before_a_limit_is_committed_and_nothing_beyond_it() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, 0, 0), LeaseStats::default());
    assert_eq!(lease.take(&mut stats), None);
    assert!(refill(&mut lease, 1, &mut stats));
    assert_eq!((lease.take(&mut stats), lease.left()), (None, 0), "it is written, but not committed");
    lease.commit(Position(0), 5);
    assert_eq!(lease.left(), 0);
    lease.commit(Position(1), 7);
    assert_eq!((lease.left(), lease.age_ns(10)), (10, 3));
    let taken: Vec<_> = std::iter::from_fn(|| lease.take(&mut stats)).collect();
    assert_eq!(taken, (0..10).collect::<Vec<_>>());
    assert_eq!(stats, LeaseStats { used: 10, refills: 1, exhausted: 3, skipped: 0 });
}

#[test]
fn the_next_limit_is_asked_for_ahead_of_need_and_once() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, 0, 0), LeaseStats::default());
    refill(&mut lease, 1, &mut stats);
    lease.commit(Position(1), 0);
    let mut asked = Vec::new();
    for number in 0..60 {
        assert_eq!(lease.take(&mut stats), Some(number), "it never waits");
        if refill(&mut lease, number + 2, &mut stats) {
            asked.push(number);
        }
        // A commit takes three numbers' time.
        lease.commit(Position(number.saturating_sub(1)), 0);
    }
    assert_eq!(asked, [6, 16, 26, 36, 46, 56]);
    assert_eq!((stats.used, stats.exhausted), (60, 0));
}

#[test]
fn a_new_owner_begins_at_the_limit() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, 0, 0), LeaseStats::default());
    refill(&mut lease, 1, &mut stats);
    lease.commit(Position(1), 0);
    assert_eq!(lease.take(&mut stats), Some(0));
    let mut next = Lease::restore(EXTENT, LeaseRecord::decode(&lease.record().encode()).unwrap(), 0);
    lease.give_up(&mut stats);
    assert_eq!(stats.skipped, 9);
    assert_eq!((next.next(), next.take(&mut stats)), (10, None));
    refill(&mut next, 1, &mut stats);
    next.commit(Position(1), 0);
    assert_eq!(next.take(&mut stats), Some(10));
}

/// What is skipped is skipped for all owners to come, once the next limit is in the log; that is due at once.
#[test]
fn numbers_can_be_skipped() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, 0, 0), LeaseStats::default());
    refill(&mut lease, 1, &mut stats);
    lease.commit(Position(1), 0);
    lease.skip(4, &mut stats);
    assert_eq!((lease.take(&mut stats), lease.left()), (Some(4), 5));
    // Beyond all limits, with two on their way.
    lease.skip(3, &mut stats);
    assert!(refill(&mut lease, 2, &mut stats));
    lease.skip(10, &mut stats);
    assert!(refill(&mut lease, 3, &mut stats) && !refill(&mut lease, 4, &mut stats));
    lease.skip(1000, &mut stats);
    assert_eq!((lease.take(&mut stats), lease.left()), (None, 0));
    assert!(refill(&mut lease, 4, &mut stats), "it is due at once");
    assert_eq!(lease.record().limit, 1018 + 10);
    lease.commit(Position(3), 0);
    assert_eq!(lease.take(&mut stats), None, "what was on its way says nothing of these");
    lease.commit(Position(4), 0);
    assert_eq!((lease.take(&mut stats), stats.skipped), (Some(1018), 1017));
    lease.skip(u64::MAX, &mut stats);
    assert_eq!((lease.take(&mut stats), lease.due()), (None, None));
}

#[test]
fn what_a_peer_chose_is_let_in_below_the_limit_only() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, 0, 0), LeaseStats::default());
    refill(&mut lease, 1, &mut stats);
    lease.commit(Position(1), 0);
    assert!(lease.admit(8, &mut stats) && lease.admit(2, &mut stats), "late ones are for the window to judge");
    assert!(!lease.admit(10, &mut stats));
    assert_eq!((lease.next(), lease.left()), (9, 1));
}

#[test]
fn a_counter_that_is_used_up_stops() {
    let (mut lease, mut stats) = (Lease::new(EXTENT, u64::MAX - 2, 0), LeaseStats::default());
    assert!(refill(&mut lease, 1, &mut stats));
    lease.commit(Position(1), 0);
    assert_eq!(std::iter::from_fn(|| lease.take(&mut stats)).collect::<Vec<_>>(), [u64::MAX - 2, u64::MAX - 1]);
    assert_eq!(lease.due(), None);
}

/// What version 1 wrote. Never written anew; a new version adds a file.
#[test]
fn version_1_is_what_it_was() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lease-v1");
    let record = LeaseRecord { limit: 0x0102_0304_0506_0708 };
    if std::env::var_os("PHALANX_WRITE_GOLDEN").is_some() && !file.exists() {
        std::fs::write(&file, record.encode()).unwrap();
    }
    let golden = std::fs::read(&file).unwrap();
    assert_eq!(golden, record.encode());
    assert_eq!(LeaseRecord::decode(&golden), Ok(record));
    let mut newer = golden.clone();
    newer.push(9);
    assert_eq!(LeaseRecord::decode(&newer), Ok(record), "what a newer member appended is skipped");
    for length in 0..golden.len() {
        assert_eq!(LeaseRecord::decode(&golden[..length]), Err(LeaseError::Truncated), "{length}");
    }
    newer[0] = 2;
    assert_eq!(LeaseRecord::decode(&newer), Err(LeaseError::Version(2)));
}

/// One step of an owner's life.
#[derive(Clone, Debug)]
enum Deed {
    Take,
    /// So many at once.
    TakeMany(u64),
    /// A peer's numbers, so far ahead, at once.
    AdmitMany(Vec<u64>),
    /// So many are not to be used.
    Skip(u64),
    /// A peer's number, so far ahead.
    Admit(u64),
    Write,
    /// The backups have so many more of the log's updates.
    Commit(u64),
    /// Another takes over, who has so many updates beyond those that were acknowledged.
    TakeOver(u64),
    /// Another takes over, who waits for all that this one has to say; a number so far ahead is used once that is committed.
    HandOver(Option<u64>),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Take),
        2 => (0..30_u64).prop_map(Deed::TakeMany),
        1 => prop::collection::vec(0..30_u64, 0..5).prop_map(Deed::AdmitMany),
        1 => (0..30_u64).prop_map(Deed::Skip),
        1 => (0..30_u64).prop_map(Deed::Admit),
        4 => Just(Deed::Write),
        3 => (0..3_u64).prop_map(Deed::Commit),
        1 => (0..4_u64).prop_map(Deed::TakeOver),
        1 => proptest::option::of(0..30_u64).prop_map(Deed::HandOver),
    ]
}

proptest! {
    #[test]
    fn no_number_comes_twice_or_backwards_however_owners_change(
        deeds in proptest::collection::vec(deed(), 1..300), length in 1..20_u64, refill in 0..10_u64,
    ) {
        let extent = Extent { length, refill };
        let (mut lease, mut stats) = (Lease::new(extent, 0, 0), LeaseStats::default());
        // The log: what it says of the limit, and how much of it the backups have acknowledged.
        let (mut log, mut acknowledged) = (vec![LeaseRecord::default()], 0_usize);
        let mut last = None;
        for deed in deeds {
            match deed {
                Deed::Take | Deed::Admit(_) => {
                    let number = match deed {
                        Deed::Admit(ahead) => Some(lease.next() + ahead).filter(|it| lease.admit(*it, &mut stats)),
                        _ => lease.take(&mut stats),
                    };
                    if let Some(number) = number {
                        prop_assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
                        prop_assert!(number < log[acknowledged].limit, "{number} is beyond what backups hold");
                        last = Some(number);
                    }
                }
                Deed::TakeMany(count) => {
                    let mut other = lease.clone();
                    let singly = (0..count).map_while(|_| other.take(&mut LeaseStats::default()));
                    let numbers: Vec<u64> = lease.take_many(count, &mut stats).collect();
                    prop_assert_eq!(&numbers, &singly.collect::<Vec<_>>());
                    prop_assert_eq!(lease.next(), other.next());
                    if let (Some(first), Some(highest)) = (numbers.first(), numbers.last()) {
                        prop_assert!(last.is_none_or(|last| *first > last), "{first} after {last:?}");
                        prop_assert!(*highest < log[acknowledged].limit, "{highest} is beyond what backups hold");
                        last = Some(*highest);
                    }
                }
                Deed::AdmitMany(ahead) => {
                    let mut other = lease.clone();
                    let numbers = ahead.iter().map(|ahead| lease.next() + ahead).filter(|it| lease.admits(*it));
                    let numbers: Vec<u64> = numbers.collect();
                    prop_assert!(numbers.iter().all(|it| other.admit(*it, &mut LeaseStats::default())));
                    let highest = numbers.iter().copied().max();
                    lease.admit_many(numbers.len() as u64, highest.unwrap_or(0), &mut stats);
                    prop_assert_eq!(lease.next(), other.next());
                    if let Some(highest) = highest {
                        prop_assert!(highest < log[acknowledged].limit, "{highest} is beyond what backups hold");
                        last = Some(highest);
                    }
                }
                Deed::Skip(count) => {
                    let next = lease.next() + count;
                    lease.skip(count, &mut stats);
                    prop_assert_eq!(lease.next(), next);
                    prop_assert!(lease.left() <= lease.record().limit - next);
                }
                Deed::Write => {
                    if let Some(record) = lease.due() {
                        log.push(record);
                        lease.written(record, Position(log.len() as u64 - 1), &mut stats);
                    }
                }
                Deed::Commit(more) => {
                    acknowledged = (acknowledged + more as usize).min(log.len() - 1);
                    lease.commit(Position(acknowledged as u64), 0);
                }
                Deed::TakeOver(more) => {
                    let held = (acknowledged + more as usize).min(log.len() - 1);
                    lease = Lease::restore(extent, log[held], 0);
                    log.truncate(held + 1);
                    acknowledged = held;
                }
                Deed::HandOver(ahead) => {
                    let highest = ahead.map(|ahead| lease.next() + ahead);
                    let next = highest.map_or(lease.next(), |number| number + 1);
                    let record = lease.stop(highest);
                    prop_assert_eq!((record.limit, lease.left(), lease.take(&mut stats)), (next, 0, None));
                    last = highest.or(last);
                    log.push(record);
                    acknowledged = log.len() - 1;
                    lease = Lease::restore(extent, record, 0);
                }
            }
        }
    }
}
