//! Our TCP with Linux's as its peer, in as few cases as hold every pair of settings; `tcp_interop` has all of them.

use phalanx_tests::lab::interop::{Stage, judge, pairwise, write_table};
use phalanx_tests::lab::stage;

#[test]
fn linux_and_we_understand_one_another() {
    let stage = Stage::up().unwrap();
    let rows: Vec<_> = pairwise().iter().map(|case| stage.play(case).unwrap()).collect();
    let table = stage::target_dir().join("tcp-interop/pairwise.md");
    write_table(&table, &rows).unwrap();
    println!("{} cases: {}", rows.len(), table.display());
    assert_eq!(judge(&rows), Vec::<String>::new(), "see {}", table.display());
    assert_eq!(stage.lost_by_relays().unwrap(), 0.0);
}
