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
    let (mut stored, mut live) = (filled(10..13), [filled(0..0), filled(0..2)].map(Box::new));
    let mut all = Sources { store: &mut stored, live: &mut live };
    assert_eq!(walk(&mut all), [10, 11, 12, 0, 1]);
    let digest = all.digest(unit(5));
    assert_eq!(digest, stored.digest(unit(5)).wrapping_add(live[1].digest(unit(5))));
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

/// Carries all that waits to the backup and its complaints back.
fn carry(outbox: &mut Outbox, backup: &mut Store) {
    while let Some((_, ship)) = outbox.poll_ship(id(2)) {
        let Ship::Segment(segment) = ship else { continue };
        let mut batch = Vec::new();
        segment.write_for(id(2), &mut batch);
        for update in updates(&batch).map(Result::unwrap) {
            if backup.apply(id(1), table(3), &update).is_err() {
                outbox.unsynced(id(2), update.unit);
            }
        }
        outbox.acknowledged(id(2), segment.last());
    }
}

#[test]
fn silent_divergence_is_found_and_repaired() {
    let (mut owner, mut backup) = (filled(0..50), filled(0..0));
    let mut outbox = Outbox::new(OutboxLimits::default());
    outbox.set_version(table(3));
    outbox.set_backups(unit(5), MemberSet::of(id(2)));
    outbox.greeted(id(2), 1, None);
    let mut snapshots = Snapshots::new();
    let mut settle = |outbox: &mut Outbox, owner: &mut Store, backup: &mut Store| {
        while snapshots.pump(outbox, owner, 7) {
            carry(outbox, backup);
        }
        carry(outbox, backup);
    };
    settle(&mut outbox, &mut owner, &mut backup);
    assert!(outbox.in_sync(unit(5)).contains(id(2)) && backup.digest(unit(5)) == owner.digest(unit(5)));
    assert_eq!(backup.session_count(), 50);

    Snapshots::verify(&mut outbox, &mut owner, unit(5));
    carry(&mut outbox, &mut backup);
    assert!(outbox.is_synced(id(2), unit(5)), "nothing is wrong");

    let diverged = backup.stats().diverged;
    backup.keep(&update(9, Change::Essential { version: 1, bytes: b"nobody said this" })).unwrap();
    assert!(outbox.is_synced(id(2), unit(5)), "nobody knows");
    Snapshots::verify(&mut outbox, &mut owner, unit(5));
    carry(&mut outbox, &mut backup);
    assert!(outbox.in_sync(unit(5)).is_empty());
    settle(&mut outbox, &mut owner, &mut backup);
    assert!(outbox.is_synced(id(2), unit(5)) && backup.get(unit(5), SessionKey(9)).unwrap().essential.is_none());
    assert_eq!(backup.stats().digest_mismatch, 2, "at the first check, and now");
    assert_eq!(backup.stats().diverged, diverged + 1);
}

/// A member that has the unit already, from its owner before, is in sync without a snapshot.
#[test]
fn a_backup_that_holds_the_same_is_only_asked() {
    let (mut owner, mut backup) = (filled(0..50), filled(0..50));
    let mut outbox = Outbox::new(OutboxLimits::default());
    outbox.set_version(table(3));
    outbox.set_backups(unit(5), MemberSet::of(id(2)));
    outbox.greeted(id(2), 1, None);
    Snapshots::new().pump(&mut outbox, &mut owner, 10);
    carry(&mut outbox, &mut backup);
    assert!(outbox.is_synced(id(2), unit(5)));
    assert_eq!((backup.stats().snapshots, outbox.stats().updates), (0, 1));
}
