//! What is committed, what is sent to whom, and what becomes of those who are slow.

use super::super::*;
use super::support::*;
use crate::unit::MemberId;

const LIMITS: OutboxLimits =
    OutboxLimits { log_bytes_max: 200 << 10, log_segments_max: 1000, snapshot_window_bytes: 64 << 10 };

/// An outbox whose backups of unit 5 are in sync.
fn outbox(backups: &[u8]) -> Outbox {
    let mut outbox = Outbox::new(LIMITS);
    outbox.set_version(table(3));
    outbox.set_backups(unit(5), backups.iter().copied().map(id).collect());
    let (mut snapshots, mut empty) = (Snapshots::new(), Store::new(KEY, StoreLimits::default()));
    for backup in backups.iter().copied().map(id) {
        outbox.greeted(backup, 1, None);
        snapshots.pump(&mut outbox, &mut empty, 100);
        let position = drain(&mut outbox, backup);
        outbox.acknowledged(backup, position);
        assert!(outbox.is_synced(backup, unit(5)));
    }
    outbox
}

/// Takes all that there is for a backup; answers its end.
fn drain(outbox: &mut Outbox, backup: MemberId) -> Position {
    let mut end = outbox.acked(backup);
    while let Some((_, ship)) = outbox.poll_ship(backup) {
        end = match ship {
            Ship::Begin(position) => position,
            Ship::Segment(segment) => segment.last(),
        };
    }
    end
}

fn append_bytes(outbox: &mut Outbox, count: usize) -> Position {
    outbox.append(&update(7, append(0, 0, &vec![1; count])))
}

#[test]
fn without_backups_everything_is_committed_at_once() {
    let mut outbox = outbox(&[]);
    let position = append_bytes(&mut outbox, 10);
    assert_eq!((outbox.committed(), outbox.stats().log_bytes < 1000), (position, true));
}

/// What is to be had together is in one piece, however full the piece before it was.
#[test]
fn what_is_kept_together_is_in_one_piece() {
    for fill in (30_000..33_000).step_by(100) {
        let mut outbox = outbox(&[2]);
        append_bytes(&mut outbox, fill);
        let before = outbox.head();
        outbox.keep_together(3000);
        (0..10).for_each(|_| assert!(append_bytes(&mut outbox, 200) > before));
        let mut ends = Vec::new();
        while let Some((_, Ship::Segment(segment))) = outbox.poll_ship(id(2)) {
            ends.push(segment.last());
        }
        assert_eq!(ends.last(), Some(&outbox.head()));
        assert!(ends.iter().all(|end| *end <= before || *end == outbox.head()), "{fill}: {ends:?} after {before:?}");
    }
}

#[test]
fn the_slowest_backup_in_sync_decides_what_is_committed() {
    let mut outbox = outbox(&[2, 3]);
    let before = outbox.committed();
    let position = append_bytes(&mut outbox, 10);
    assert_eq!(outbox.committed(), before);
    drain(&mut outbox, id(2));
    outbox.acknowledged(id(2), position);
    assert_eq!(outbox.committed(), before);
    assert_eq!(outbox.stats().uncommitted, position.0 - before.0);
    // What it was not sent it cannot have.
    outbox.acknowledged(id(3), position);
    assert_eq!(outbox.committed(), before);
    drain(&mut outbox, id(3));
    outbox.acknowledged(id(3), position);
    assert_eq!((outbox.committed(), outbox.stats().lag_bytes), (position, 0));
}

#[test]
fn one_that_is_no_backup_of_any_unit_is_not_waited_for() {
    let mut outbox = outbox(&[2]);
    let position = append_bytes(&mut outbox, 10);
    outbox.set_backups(unit(5), MemberSet::EMPTY);
    assert_eq!(outbox.committed(), position);
}

#[test]
fn a_broken_connection_alone_commits_nothing() {
    let mut outbox = outbox(&[2]);
    let position = append_bytes(&mut outbox, 10);
    let shipped = drain(&mut outbox, id(2));
    outbox.gone(id(2), 1);
    assert!(outbox.committed() < position);
    // It comes back and has it: only the acknowledgement was lost.
    outbox.greeted(id(2), 2, Some(shipped));
    assert_eq!((outbox.committed(), outbox.stats().resumed), (position, 1));
}

#[test]
fn what_was_lost_on_the_way_is_sent_again() {
    let mut outbox = outbox(&[2]);
    let had = outbox.acked(id(2));
    append_bytes(&mut outbox, 10);
    drain(&mut outbox, id(2));
    append_bytes(&mut outbox, 10);
    outbox.gone(id(2), 1);
    outbox.greeted(id(2), 2, Some(had));
    let segments: Vec<_> = std::iter::from_fn(|| outbox.poll_ship(id(2))).collect();
    assert!(segments.iter().all(|(stream, ship)| *stream == 2 && matches!(ship, Ship::Segment(_))));
    assert_eq!(segments.len(), 2);
    assert!(outbox.is_synced(id(2), unit(5)));
}

#[test]
fn one_that_lies_about_what_it_has_begins_anew() {
    for has in [None, Some(Position(0)), Some(Position(1 << 40))] {
        let mut outbox = outbox(&[2]);
        append_bytes(&mut outbox, 10);
        outbox.greeted(id(2), 2, has);
        assert!(!outbox.is_synced(id(2), unit(5)) && !outbox.is_waited_for(id(2)));
        assert_eq!(outbox.poll_ship(id(2)), Some((2, Ship::Begin(outbox.head()))));
    }
}

#[test]
fn a_backup_that_falls_behind_is_let_go_and_taken_up_again() {
    let mut outbox = outbox(&[2, 3]);
    let mut shipped = Position(0);
    for _ in 0..100 {
        append_bytes(&mut outbox, 10_000);
        shipped = drain(&mut outbox, id(2)).max(shipped);
        let quick = drain(&mut outbox, id(3));
        outbox.acknowledged(id(3), quick);
        assert!(outbox.stats().log_bytes < 400 << 10, "{}", outbox.stats().log_bytes);
    }
    assert!(outbox.take_shrunk() && outbox.is_held_back() && outbox.take_changed().contains(unit(5)));
    assert!(outbox.committed() < outbox.head(), "the cluster may still take the slow one for an heir");
    outbox.release();
    assert_eq!(outbox.committed(), outbox.head(), "nothing waits for the slow one");
    assert_eq!(outbox.stats().dropped, 1);
    assert!(outbox.is_synced(id(3), unit(5)) && !outbox.is_synced(id(2), unit(5)));
    assert_eq!(outbox.poll_ship(id(2)), None, "it has enough to do");
    outbox.acknowledged(id(2), shipped);
    assert!(matches!(outbox.poll_ship(id(2)), Some((1, Ship::Begin(_)))));
}

/// Of whom the cluster is told is exactly who holds a unit; what shrinks by the table's word holds nothing back.
#[test]
fn whoever_comes_into_sync_or_falls_out_of_it_is_told_of() {
    let mut outbox = outbox(&[2, 3]);
    assert!(outbox.take_changed().contains(unit(5)));
    assert!(outbox.take_changed().is_empty() && !outbox.take_shrunk());
    outbox.unsynced(id(2), unit(5));
    assert!(outbox.take_shrunk() && outbox.is_held_back());
    assert_eq!(outbox.take_changed().iter().collect::<Vec<_>>(), [unit(5)]);
    assert_eq!(outbox.in_sync(unit(5)), MemberSet::of(id(3)));
    let before = outbox.committed();
    let position = append_bytes(&mut outbox, 10);
    drain(&mut outbox, id(3));
    outbox.acknowledged(id(3), position);
    assert_eq!(outbox.committed(), before, "member 2 might take over");
    outbox.release();
    assert_eq!(outbox.committed(), position);
    outbox.set_backups(unit(5), MemberSet::EMPTY);
    assert!(outbox.take_changed().contains(unit(5)) && !outbox.take_shrunk() && !outbox.is_held_back());
}

/// Issue 3: an old owner must not show what a backup refused to hold.
#[test]
fn a_refusal_by_a_newer_table_stops_commits_until_it_is_known() {
    let mut outbox = outbox(&[2]);
    let before = outbox.committed();
    let position = append_bytes(&mut outbox, 10);
    drain(&mut outbox, id(2));
    outbox.fenced(table(4));
    outbox.acknowledged(id(2), position);
    assert_eq!(outbox.committed(), before);
    outbox.set_version(table(4));
    assert_eq!(outbox.committed(), position);
    // One of a table that we had already says nothing new.
    outbox.fenced(table(4));
    let position = append_bytes(&mut outbox, 10);
    drain(&mut outbox, id(2));
    outbox.acknowledged(id(2), position);
    assert_eq!((outbox.committed(), outbox.stats().fenced), (position, 2));
}

#[test]
fn updates_gather_behind_one_that_is_not_ready() {
    let mut outbox = outbox(&[2]);
    for _ in 0..100 {
        append_bytes(&mut outbox, 10);
    }
    let Some((_, Ship::Segment(segment))) = outbox.poll_ship(id(2)) else { panic!() };
    let mut batch = Vec::new();
    segment.write_for(id(2), &mut batch);
    assert_eq!(updates(&batch).count(), 100);
    assert_eq!(outbox.poll_ship(id(2)), None);
}

#[test]
fn each_backup_gets_what_is_for_it() {
    let mut outbox = outbox(&[2]);
    outbox.set_backups(unit(6), MemberSet::of(id(3)));
    outbox.greeted(id(3), 1, None);
    let mut empty = Store::new(KEY, StoreLimits::default());
    Snapshots::new().pump(&mut outbox, &mut empty, 10);
    for number in [5, 6, 5, 7, 6] {
        outbox.append(&Update::new(unit(number), SessionKey(1), 1, INITIAL));
    }
    let mut got = |backup| {
        let mut units = Vec::new();
        while let Some((_, ship)) = outbox.poll_ship(backup) {
            let Ship::Segment(segment) = ship else { continue };
            let mut batch = Vec::new();
            segment.write_for(backup, &mut batch);
            units.extend(updates(&batch).map(|update| update.unwrap().unit.number()));
        }
        units
    };
    assert_eq!(got(id(2)), [5, 5]);
    assert_eq!(got(id(3)), [6, 6, 6], "the check, and two updates");
}

#[test]
fn what_is_too_long_is_split_or_refused() {
    let mut outbox = outbox(&[2]);
    let bytes: Vec<u8> = (0..100_000_u32).map(|it| it as u8).collect();
    let before = outbox.head();
    outbox.append(&update(7, append(0, 5, &bytes)));
    let mut got = Vec::new();
    while let Some((_, Ship::Segment(segment))) = outbox.poll_ship(id(2)) {
        let mut batch = Vec::new();
        segment.write_for(id(2), &mut batch);
        for update in updates(&batch) {
            let Change::Append { offset, bytes, .. } = update.unwrap().change else { panic!() };
            assert_eq!(offset, 5 + got.len() as u64);
            got.extend_from_slice(bytes);
        }
    }
    assert!(got == bytes && outbox.head() > before);
    let head = outbox.append(&update(7, Change::Essential { version: 1, bytes: &bytes }));
    assert_eq!((head, outbox.stats().oversize), (outbox.head(), 1));
}

#[test]
fn every_counter_has_a_description() {
    let store = StoreStats::default();
    for (name, description, _) in OutboxStats::default().iter().chain(store.iter()) {
        assert!(description.trim().ends_with('.'), "{name}");
    }
}
