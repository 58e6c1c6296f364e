//! Our IKEv2 and ESP with strongSwan's: proofs of names, algorithms, networks between and within, and what happens in a tunnel's life.
//! Needs root.
//!
//!     cargo test --release -p phalanx-tests --test ipsec_interop -- --test-threads=1 --nocapture
//!
//! The table is `target/interop/ipsec.md`, and README has it. `INTEROP_CASES=TEXT|TEXT` plays only those cases whose names contain
//! one of the texts, and leaves the table alone.

use phalanx_tests::lab::ike_interop::{Case, Stage, all, begun, judge, play_begun, write_table};
use phalanx_tests::lab::stage;

#[test]
fn strongswan_and_we_understand_one_another_in_every_way() {
    let wanted = std::env::var("INTEROP_CASES").unwrap_or_default();
    let table = match wanted.is_empty() {
        true => stage::target_dir().join("interop/ipsec.md"),
        false => stage::target_dir().join("interop/ipsec-some.md"),
    };
    let is_wanted = |case: &Case| wanted.split('|').any(|text| case.name.contains(text));
    let [cases, begun] = [all(), begun()].map(|cases| cases.into_iter().filter(is_wanted).collect::<Vec<_>>());
    assert!(!cases.is_empty() || !begun.is_empty(), "no case has {wanted:?} in its name");
    let mut rows = Vec::new();
    let mut left = Vec::new();
    for members in [1, 3] {
        let cases: Vec<_> = cases.iter().filter(|case| case.members == members).collect();
        if cases.is_empty() {
            continue;
        }
        let mut stage = Stage::up(members).unwrap();
        for case in cases {
            rows.push(stage.play(case));
            // What there is so far, for who waits.
            write_table(&table, &rows).unwrap();
        }
        left.extend(stage.left_over().err());
    }
    if !begun.is_empty() {
        rows.extend(play_begun(&begun).unwrap());
        write_table(&table, &rows).unwrap();
    }
    println!("{} cases: {}", rows.len(), table.display());
    assert_eq!(judge(&rows), Vec::<String>::new(), "see {}", table.display());
    assert!(left.is_empty(), "the cluster keeps what is over: {left:?}");
}
