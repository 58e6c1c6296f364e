//! Our TCP with Linux's as its peer: a guest's kernel in every combination of settings and faults. Needs root.
//!
//!     cargo test --release -p phalanx-tests --test tcp_interop -- --test-threads=1
//!
//! The table is `target/tcp-interop/all.md`. The lab suite has the ordinary ones of these cases, and those that hold every pair of settings.

use phalanx_tests::lab::interop::{Stage, all, judge, write_table};
use phalanx_tests::lab::stage;

#[test]
fn linux_and_we_understand_one_another_in_every_way() {
    let stage = Stage::up().unwrap();
    let table = stage::target_dir().join("tcp-interop/all.md");
    let mut rows = Vec::new();
    for case in all() {
        rows.push(stage.play(&case).unwrap());
        // What there is so far, for who waits.
        write_table(&table, &rows).unwrap();
    }
    println!("{} cases: {}", rows.len(), table.display());
    assert_eq!(judge(&rows), Vec::<String>::new(), "see {}", table.display());
    assert_eq!(stage.lost_by_relays().unwrap(), 0.0);
}
