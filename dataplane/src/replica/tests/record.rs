//! Updates survive the wire, in this version and as earlier ones wrote them; no bytes do harm.

use std::path::PathBuf;

use proptest::prelude::*;

use super::super::*;
use super::support::*;

/// One of each kind.
fn one_of_each() -> Vec<(&'static str, Update<'static>)> {
    let of = |change| update(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, change);
    let all = [
        ("initial", Change::Initial { version: 3, bytes: b"initial" }),
        ("essential", Change::Essential { version: 4, bytes: b"essential" }),
        ("append", append(1, 0x1_0000_0001, b"bytes")),
        ("trim", Change::Trim { stream: 2, to: 77 }),
        ("end", Change::End { stream: 3, offset: 78 }),
        ("remove", Change::Remove),
        ("reset", Change::Reset),
        ("unit_check", Change::UnitCheck { digest: 0xdead_beef }),
        ("unit_begin", Change::UnitBegin),
        ("unit_complete", Change::UnitComplete { digest: u64::MAX }),
        ("unknown", Change::Unknown { kind: 200, bytes: b"of a newer version" }),
    ];
    all.into_iter().map(|(name, change)| (name, of(change))).collect()
}

fn batch(update: &Update<'_>) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    update.encode(&mut bytes);
    bytes
}

/// The files under `tests/golden` are what version 1 wrote. They are never written anew; a new version adds a folder.
#[test]
fn what_version_1_wrote_is_read_and_written_alike() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/record-v1");
    for (name, update) in one_of_each() {
        let file = folder.join(name);
        if std::env::var_os("PHALANX_WRITE_GOLDEN").is_some() && !file.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, batch(&update)).unwrap();
        }
        let golden = std::fs::read(&file).unwrap();
        assert_eq!(updates(&golden).collect::<Vec<_>>(), [Ok(update)], "{name}");
        assert_eq!(batch(&update), golden, "{name}");
    }
}

#[test]
fn an_update_cut_short_anywhere_is_refused_or_is_another_that_is_kept_whole() {
    for (name, update) in one_of_each() {
        let bytes = batch(&update);
        for length in 1..bytes.len() {
            let read: Vec<_> = updates(&bytes[..length]).collect();
            assert!(if length == 1 { read.is_empty() } else { read == [Err(Malformed::Truncated)] }, "{name} {length}");
        }
    }
}

#[test]
fn fields_that_a_newer_version_added_are_kept() {
    for (name, update) in one_of_each().into_iter().filter(|(name, _)| *name != "unknown") {
        let update = Update { added: b"more", ..update };
        assert_eq!(updates(&batch(&update)).collect::<Vec<_>>(), [Ok(update)], "{name}");
    }
}

#[test]
fn another_format_and_values_that_cannot_be_are_refused() {
    assert_eq!(updates(&[9]).collect::<Vec<_>>(), [Err(Malformed::Format(9))]);
    assert_eq!(updates(&[]).collect::<Vec<_>>(), [Err(Malformed::Truncated)]);
    let spoilt = |at: usize, value: u8| {
        let mut bytes = batch(&update(1, append(1, 5, b"x")));
        bytes[at] = value;
        updates(&bytes).next().unwrap().map(drop)
    };
    assert_eq!(spoilt(1, 0xff), Err(Malformed::TooLong));
    assert_eq!(spoilt(5, 0), Err(Malformed::Value("kind")));
    assert_eq!(spoilt(7, 0xff), Err(Malformed::Value("unit")));
    assert_eq!(spoilt(25, STREAMS_MAX as u8), Err(Malformed::Value("stream")));
    assert_eq!(spoilt(34, 0xff), Err(Malformed::TooLong));
    let far = batch(&update(1, append(0, u64::MAX - 1, b"xy")));
    assert_eq!(updates(&far).next().unwrap(), Err(Malformed::Value("offset")));
}

proptest! {
    #[test]
    fn no_bytes_do_harm_and_what_is_understood_is_said_again_alike(
        mut bytes in proptest::collection::vec(any::<u8>(), 25..200), kind in 0_u8..14, length in 20_u8..190,
    ) {
        bytes[0] = FORMAT;
        bytes[1..6].copy_from_slice(&[0, 0, 0, length, kind]);
        for update in updates(&bytes).flatten() {
            let again = batch(&update);
            prop_assert_eq!(updates(&again).collect::<Vec<_>>(), [Ok(update)]);
        }
    }
}
