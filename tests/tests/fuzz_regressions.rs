//! Replays through the fuzz targets every input that ever failed (`fuzz/regressions/TARGET`) and the corpus of valid
//! ones (`fuzz/corpus/TARGET`), without libFuzzer. And the corpus must be what it claims: inputs that get far.

use std::path::{Path, PathBuf};

use phalanx_tests::fuzz::{TARGETS, target};

fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(target);
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for (name, target) in TARGETS {
        for folder in ["regressions", "corpus"] {
            for file in inputs(folder, name) {
                println!("{}", file.display());
                target(&std::fs::read(&file).expect("a readable file"));
            }
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_takes_nothing() {
    for (name, target) in TARGETS {
        assert!(!inputs("corpus", name).is_empty(), "tests/fuzz/corpus/{name} is empty");
        target(&[]);
    }
}

#[test]
fn a_target_has_a_name_and_a_folder_has_a_target() {
    assert!(target("wire").is_some() && target("nothing").is_none());
    for folder in ["regressions", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let name = entry.file_name();
            assert!(name.to_str().and_then(target).is_some(), "no target of the name {name:?}");
        }
    }
}
