//! `CONFORMANCE.md` is complete, and the tests that it names exist.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

const TABLE: &str = include_str!("../CONFORMANCE.md");
/// RFC 9293 numbers its requirements from 1 to these.
const NUMBERED: [(&str, u32); 2] = [("MUST", 69), ("SHLD", 31)];

/// Number, verdict, tests.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    let lines = TABLE.lines().filter(|line| NUMBERED.iter().any(|(kind, _)| line.starts_with(&format!("| {kind}-"))));
    lines.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, what, verdict, _, tests] = cells[..] else { panic!("not five columns: {line}") };
        assert!(!what.is_empty(), "{line}");
        (number, verdict, tests.split(", ").filter_map(|test| test.strip_prefix('`')?.strip_suffix('`')).collect())
    })
}

/// The names of all tests below a directory of sources.
fn tests_in(dir: &Path, names: &mut HashSet<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if marked && let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                    names.insert(name.to_owned());
                }
                marked = line == "#[test]" || marked && line.starts_with("#[");
            }
        }
    }
}

#[test]
fn every_requirement_has_its_row_and_every_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests = HashSet::new();
    for dir in ["dataplane", "config", "tests/tests", "tests/src"] {
        tests_in(&root.join(dir), &mut tests);
    }
    let mut numbers = BTreeSet::new();
    for (number, verdict, named) in rows() {
        assert!(numbers.insert(number), "{number} is there twice");
        assert!(["met", "by type", "n/a", "departs"].contains(&verdict), "{number}: {verdict}?");
        assert!(verdict != "met" || !named.is_empty(), "{number} is met, and no test says so");
        for test in named {
            assert!(tests.contains(test), "{number} names {test}, and there is none");
        }
    }
    let wanted = NUMBERED.iter().flat_map(|(kind, most)| (1..=*most).map(move |number| format!("{kind}-{number}")));
    let wanted: Vec<String> = wanted.collect();
    let missing: Vec<&String> = wanted.iter().filter(|number| !numbers.contains(number.as_str())).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    assert_eq!(numbers.len(), wanted.len(), "the RFC has no such requirements as the others");
    assert!(
        TABLE.lines().filter_map(|line| line.strip_suffix("`.")?.rsplit('`').next()).all(|test| tests.contains(test))
    );
}
