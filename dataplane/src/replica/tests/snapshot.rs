//! Walks over a unit's sessions.

use super::super::*;
use super::support::*;

fn filled(sessions: std::ops::Range<u128>) -> Store {
    let mut store = store(StoreLimits::default());
    for session in sessions {
        store.apply(id(1), table(3), &update(session, INITIAL)).unwrap();
    }
    store
}

fn walk(source: &mut dyn Source) -> Vec<u128> {
    let (mut told, mut cursor) = (Vec::new(), Cursor::default());
    loop {
        let step = source.put_next(unit(5), cursor, &mut |update| {
            if let Change::Reset = update.change {
                told.push(update.session.0);
            }
        });
        match step {
            Step::Next(next) => cursor = next,
            Step::End => return told,
        }
    }
}

#[test]
fn several_sources_are_walked_one_after_the_other() {
    let (mut stored, mut live, mut none) = (filled(10..13), filled(0..2), filled(0..0));
    let mut sources = [&mut stored as &mut dyn Source, &mut none, &mut live];
    let mut all = Sources(&mut sources);
    assert_eq!(walk(&mut all), [10, 11, 12, 0, 1]);
    let digest = all.digest(unit(5));
    assert_eq!(digest, stored.digest(unit(5)).wrapping_add(live.digest(unit(5))));
    assert_eq!(walk(&mut filled(u128::MAX - 1..u128::MAX)), [u128::MAX - 1]);
}

#[test]
fn a_snapshot_takes_no_more_steps_and_goes_no_further_ahead_than_allowed() {
    let mut source = filled(0..1000);
    let limits = OutboxLimits { snapshot_window_bytes: 2000, ..OutboxLimits::default() };
    let mut outbox = Outbox::new(limits);
    outbox.set_backups(unit(5), MemberSet::of(id(2)));
    outbox.greeted(id(2), 1, None);
    let mut snapshots = Snapshots::new();
    // The check, which the backup denies.
    assert!(snapshots.pump(&mut outbox, &mut source, 1));
    assert!(outbox.is_live(id(2), unit(5)) && !snapshots.pump(&mut outbox, &mut source, 1));
    outbox.unsynced(id(2), unit(5));
    let before = outbox.stats().updates;
    assert!(snapshots.pump(&mut outbox, &mut source, 3));
    assert_eq!(outbox.stats().updates - before, 5, "the beginning, and two sessions of two updates");
    while snapshots.pump(&mut outbox, &mut source, 100) {}
    let written = outbox.stats().bytes;
    assert!((2000..2200).contains(&written), "{written}");
}
