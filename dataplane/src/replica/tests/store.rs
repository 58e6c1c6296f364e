//! What a store takes, what it refuses, and that it stays small.

use super::super::*;
use super::support::*;
use crate::unit::Unit;

fn apply(store: &mut Store, session: u128, change: Change<'_>) -> Result<(), Refused> {
    store.apply(id(1), table(3), &update(session, change))
}

fn synced_store() -> Store {
    store(StoreLimits::default())
}

#[test]
fn a_session_is_what_was_said_of_it() {
    let mut store = synced_store();
    for change in [
        INITIAL,
        append(0, 0, b"hello "),
        append(0, 6, b"world"),
        Change::Essential { version: 2, bytes: b"first" },
        Change::Essential { version: 3, bytes: b"second" },
        Change::Trim { stream: 0, to: 6 },
        Change::End { stream: 0, offset: 11 },
        Change::Unknown { kind: 99, bytes: b"new" },
    ] {
        apply(&mut store, 7, change).unwrap();
    }
    let record = store.take(unit(5), SessionKey(7)).unwrap();
    assert_eq!(record.essential.as_ref().unwrap().bytes, b"second");
    let stream = &record.streams[0];
    assert_eq!((stream.start, stream.end(), stream.fin, record.is_busy()), (6, 11, Some(11), true));
    assert_eq!(stream.bytes, b"world");
    assert_eq!(record.unknown, [(99, b"new".to_vec())]);
    assert_eq!((store.session_count(), store.bytes(), store.digest(unit(5))), (0, 0, 0));
}

/// Who watches an app's sessions hears of those that begin and end by others' word, and of no others.
#[test]
fn what_begins_and_ends_is_noted() {
    let mut store = synced_store();
    let app = update(7, INITIAL).app;
    apply(&mut store, 6, INITIAL).unwrap();
    assert_eq!(store.next_change(), None, "nobody watches");
    store.watch(app);
    store.watch(app + 1);
    apply(&mut store, 7, INITIAL).unwrap();
    apply(&mut store, 7, Change::Essential { version: 1, bytes: b"more" }).unwrap();
    assert_eq!((store.next_change(), store.next_change()), (Some((app, unit(5), SessionKey(7))), None));
    // It is told anew: it has not ended meanwhile.
    apply(&mut store, 7, Change::Reset).unwrap();
    assert_eq!(store.next_change(), None);
    apply(&mut store, 7, INITIAL).unwrap();
    assert_eq!(store.next_change(), Some((app, unit(5), SessionKey(7))));
    assert!(store.take(unit(5), SessionKey(7)).is_some() && store.next_change().is_none(), "it lives here now");
    // Of one that is not held, too: whoever acted on it may not have been told by this store.
    for session in [6, 99] {
        apply(&mut store, session, Change::Remove).unwrap();
        assert_eq!(store.next_change(), Some((app, unit(5), SessionKey(session))));
    }
    // Those that a snapshot does not name are gone.
    apply(&mut store, 8, INITIAL).unwrap();
    assert!(store.next_change().is_some());
    apply(&mut store, 0, Change::UnitBegin).unwrap();
    apply(&mut store, 0, Change::UnitComplete { digest: 0 }).unwrap();
    assert_eq!((store.next_change(), store.session_count()), (Some((app, unit(5), SessionKey(8))), 0));
    apply(&mut store, 9, INITIAL).unwrap();
    store.clear(unit(5));
    assert_eq!(std::iter::from_fn(|| store.next_change()).count(), 2);
}

#[test]
fn only_the_owner_is_heard_and_only_under_a_table_that_made_it_so() {
    let mut store = synced_store();
    let other = update(7, INITIAL);
    assert_eq!(store.apply(id(2), table(3), &other), Err(Refused::NotOwner));
    assert_eq!(store.apply(id(2), table(4), &other), Err(Refused::AheadOfTable));
    assert_eq!(store.apply(id(1), table(2), &other), Err(Refused::OlderGeneration));
    assert_eq!(store.session_count(), 0);
    assert!(store.is_synced(unit(5)), "a stranger's word puts nothing out of sync");
    store.apply(id(1), table(9), &other).unwrap();
    let stats = store.stats();
    assert_eq!((stats.not_owner, stats.ahead_of_table, stats.older_generation), (1, 1, 1));
}

#[test]
fn each_refusal_puts_the_unit_out_of_sync_until_a_check() {
    let limits = StoreLimits { stream_bytes_max: 10, ..StoreLimits::default() };
    let cases = [
        (append(0, 5, b"x"), Refused::Gap),
        (Change::Trim { stream: 1, to: 4 }, Refused::Gap),
        (Change::End { stream: 1, offset: 9 }, Refused::Gap),
        (append(1, 3, b"more than ten bytes"), Refused::OverLimits),
        (append(2, 1, b"behind the end"), Refused::Contradiction),
        (Change::End { stream: 2, offset: 5 }, Refused::Contradiction),
        (append(9, 0, b"x"), Refused::Contradiction),
    ];
    for (change, refused) in cases {
        let mut store = store(limits);
        for change in [INITIAL, append(1, 0, b"abc"), append(2, 0, b"a"), Change::End { stream: 2, offset: 1 }] {
            apply(&mut store, 7, change).unwrap();
        }
        let digest = store.digest(unit(5));
        assert_eq!(apply(&mut store, 7, change), Err(refused), "{change:?}");
        assert!(!store.is_synced(unit(5)));
        // Nothing changes until it is known what is right.
        apply(&mut store, 7, Change::Remove).unwrap();
        assert_eq!((store.session_count(), store.stats().skipped), (1, 1));
        store.apply(id(1), table(3), &Update::of_unit(unit(5), Change::UnitCheck { digest })).unwrap();
        assert!(store.is_synced(unit(5)), "{change:?} must not have left a trace");
    }
    let mut store = synced_store();
    assert_eq!(apply(&mut store, 8, append(0, 0, b"x")), Err(Refused::UnknownSession));
}

#[test]
fn a_session_that_was_removed_does_not_rise_again() {
    let mut store = synced_store();
    apply(&mut store, 7, INITIAL).unwrap();
    apply(&mut store, 7, Change::Remove).unwrap();
    apply(&mut store, 7, append(0, 0, b"late")).unwrap();
    assert_eq!((store.session_count(), store.stats().late), (0, 1));
    assert!(store.is_synced(unit(5)));
    // Another one with its key is another one.
    apply(&mut store, 7, INITIAL).unwrap();
    apply(&mut store, 7, append(0, 0, b"new")).unwrap();
    assert_eq!(store.session_count(), 1);
}

#[test]
fn tombstones_are_few() {
    let mut store = store(StoreLimits { tombstones_max: 10, ..StoreLimits::default() });
    for session in 0..100 {
        apply(&mut store, session, INITIAL).unwrap();
        apply(&mut store, session, Change::Remove).unwrap();
    }
    apply(&mut store, 95, append(0, 0, b"x")).unwrap();
    assert_eq!(apply(&mut store, 3, append(0, 0, b"x")), Err(Refused::UnknownSession));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let limits = StoreLimits { bytes_max: 100_000, sessions_max: 50, ..StoreLimits::default() };
    let mut store = store(limits);
    let mut refused = 0;
    for session in 0..60 {
        let mut offset = 0;
        // A refusal puts the unit out of sync; the check lets it go on.
        let check = Update::of_unit(unit(5), Change::UnitCheck { digest: store.digest(unit(5)) });
        store.apply(id(1), table(3), &check).unwrap();
        refused += u64::from(apply(&mut store, session, INITIAL) == Err(Refused::OverLimits));
        while store.is_synced(unit(5)) && offset < 5000 {
            match apply(&mut store, session, append(0, offset, &[0; 500])) {
                Ok(()) => offset += 500,
                Err(error) => assert!(matches!(error, Refused::OverLimits), "{error}"),
            }
            assert!(store.bytes() <= limits.bytes_max, "{}", store.bytes());
        }
    }
    assert!(store.stats().over_limits > refused && refused > 0, "both limits were met");
    for session in 0..60 {
        store.take(unit(5), SessionKey(session));
    }
    assert_eq!((store.bytes(), store.session_count(), store.digest(unit(5))), (0, 0, 0));
}

#[test]
fn the_digest_depends_on_all_that_counts_and_on_nothing_else() {
    let build = |order: &[u128], change: Option<Change<'_>>| {
        let mut store = synced_store();
        for session in order {
            apply(&mut store, *session, INITIAL).unwrap();
            apply(&mut store, *session, append(0, 0, b"abcdef")).unwrap();
        }
        if let Some(change) = change {
            apply(&mut store, order[0], change).unwrap();
        }
        store.digest(unit(5))
    };
    assert_eq!(build(&[1, 2, 3], None), build(&[3, 1, 2], None));
    let mut digests = vec![build(&[1, 2], None), build(&[2, 1], Some(Change::Remove)), build(&[2, 3], None)];
    for change in [
        Change::Essential { version: 1, bytes: b"" },
        Change::Essential { version: 2, bytes: b"" },
        Change::Essential { version: 1, bytes: b"x" },
        Change::Trim { stream: 0, to: 1 },
        Change::End { stream: 0, offset: 6 },
        append(0, 6, b"g"),
        append(1, 0, b"g"),
        Change::Unknown { kind: 100, bytes: b"x" },
        Change::Unknown { kind: 101, bytes: b"x" },
    ] {
        digests.push(build(&[1, 2], Some(change)));
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

/// What an owner computes over a live session is what its backup has.
#[test]
fn an_owner_computes_the_same_digest() {
    let mut store = synced_store();
    apply(&mut store, 7, INITIAL).unwrap();
    apply(&mut store, 7, Change::Essential { version: 2, bytes: b"now" }).unwrap();
    apply(&mut store, 7, append(1, 0, b"abc")).unwrap();
    apply(&mut store, 7, Change::End { stream: 1, offset: 3 }).unwrap();
    apply(&mut store, 7, Change::Trim { stream: 1, to: 4 }).unwrap();
    let mut digest = SessionDigest::new(SessionKey(7), 1);
    digest.set_initial(KEY, 1, b"initial", &[]);
    digest.set_essential(KEY, 2, b"now", &[]);
    // However it says where an ended stream ends.
    for end in [3, 4] {
        let streams = [StreamShape::default(), StreamShape { start: 4, end, fin: Some(3) }];
        assert_eq!(digest.value(KEY, streams.into_iter()), store.digest(unit(5)));
    }
}

#[test]
fn busy_sessions_are_found_without_looking_at_the_others() {
    let mut store = synced_store();
    for session in 0..1000 {
        apply(&mut store, session, INITIAL).unwrap();
        apply(&mut store, session, append(0, 0, b"abc")).unwrap();
        apply(&mut store, session, Change::Trim { stream: 0, to: 3 }).unwrap();
    }
    // An end that its receiver has not confirmed counts; one that it has does not.
    apply(&mut store, 500, Change::End { stream: 0, offset: 3 }).unwrap();
    apply(&mut store, 501, Change::End { stream: 0, offset: 3 }).unwrap();
    apply(&mut store, 501, Change::Trim { stream: 0, to: 4 }).unwrap();
    apply(&mut store, 700, append(1, 0, b"x")).unwrap();
    let mut busy = Vec::new();
    while let Some(session) = store.next_busy(unit(5)) {
        busy.push(session.0);
        store.take(unit(5), session).unwrap();
    }
    busy.sort_unstable();
    assert_eq!(busy, [500, 700]);
    assert_eq!(store.session_count(), 998);
}

#[test]
fn a_put_makes_the_same_session() {
    let mut store = synced_store();
    let changes = [
        INITIAL,
        append(0, 0, b"abcdef"),
        Change::Trim { stream: 0, to: 2 },
        append(1, 0, b"xyz"),
        Change::End { stream: 1, offset: 3 },
        Change::Trim { stream: 1, to: 4 },
        Change::Unknown { kind: 77, bytes: b"kept" },
        Change::End { stream: 2, offset: 0 },
    ];
    for change in changes {
        apply(&mut store, 7, change).unwrap();
    }
    let with_added = Update { added: b"added", ..update(7, Change::Essential { version: 1, bytes: b"e" }) };
    store.apply(id(1), table(3), &with_added).unwrap();
    let digest = store.digest(unit(5));
    let record = store.take(unit(5), SessionKey(7)).unwrap();
    record.put(|change, added| {
        store.apply(id(1), table(3), &Update { added, ..update(7, change) }).unwrap();
    });
    assert_eq!(store.digest(unit(5)), digest);
    assert_eq!(store.get(unit(5), SessionKey(7)), Some(&record));
}

#[test]
fn a_snapshot_replaces_what_was_there() {
    let mut store = synced_store();
    for session in 1..4 {
        apply(&mut store, session, INITIAL).unwrap();
    }
    let of_unit = |change| Update::of_unit(unit(5), change);
    store.apply(id(1), table(3), &of_unit(Change::UnitBegin)).unwrap();
    // Old state stays until the end, but has no say.
    apply(&mut store, 1, append(0, 100, b"live, behind a gap")).unwrap();
    apply(&mut store, 9, append(0, 100, b"live, unknown")).unwrap();
    apply(&mut store, 2, Change::Reset).unwrap();
    apply(&mut store, 2, INITIAL).unwrap();
    apply(&mut store, 2, append(0, 0, b"live")).unwrap();
    assert_eq!((store.session_count(), store.is_synced(unit(5))), (3, false));
    let mut expected = synced_store();
    apply(&mut expected, 2, INITIAL).unwrap();
    apply(&mut expected, 2, append(0, 0, b"live")).unwrap();
    let digest = expected.digest(unit(5));
    store.apply(id(1), table(3), &of_unit(Change::UnitComplete { digest })).unwrap();
    assert_eq!((store.session_count(), store.is_synced(unit(5))), (1, true));
    store.apply(id(1), table(3), &of_unit(Change::UnitBegin)).unwrap();
    let wrong = store.apply(id(1), table(3), &of_unit(Change::UnitComplete { digest }));
    assert_eq!(wrong, Err(Refused::DigestMismatch), "nothing was put");
}

#[test]
fn a_new_owner_has_to_check_first() {
    let mut store = synced_store();
    apply(&mut store, 1, INITIAL).unwrap();
    assert!(store.set_owner(unit(5), Some(id(2)), table(4)));
    store.set_version(table(4));
    assert!(!store.is_synced(unit(5)) && store.session_count() == 1);
    assert_eq!(apply(&mut store, 1, Change::Remove), Err(Refused::NotOwner));
    store.lost(id(1), |_| true);
    let digest = store.digest(unit(5));
    store.apply(id(2), table(4), &Update::of_unit(unit(5), Change::UnitCheck { digest })).unwrap();
    assert!(store.is_synced(unit(5)));
    store.lost(id(2), |unit: Unit| unit.number() == 5);
    assert!(!store.is_synced(unit(5)));
}

/// An owner that was cut off while the unit was another's takes us to be in sync as before.
#[test]
fn an_owner_that_does_not_know_that_it_has_to_check_is_told() {
    let mut store = synced_store();
    apply(&mut store, 1, INITIAL).unwrap();
    store.set_owner(unit(5), Some(id(2)), table(4));
    store.set_owner(unit(5), Some(id(1)), table(5));
    store.set_version(table(5));
    let change = update(1, Change::Essential { version: 1, bytes: b"more" });
    assert_eq!(store.apply(id(1), table(5), &change), Err(Refused::Unchecked));
    assert_eq!(Refused::Unchecked.consequence(), Consequence::Unsync);
    assert_eq!(store.apply(id(1), table(5), &change), Ok(()), "told once; what was on its way is skipped");
    assert_eq!((store.stats().unchecked, store.stats().skipped, store.is_synced(unit(5))), (1, 1, false));
}
