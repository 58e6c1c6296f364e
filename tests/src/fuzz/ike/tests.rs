//! The corpus: whole handshakes and what comes after, so that whoever varies them begins deep.
//!
//! The files of `fuzz/corpus/ike` are these scripts; `PHALANX_WRITE_CORPUS=1 cargo test` writes them.

use std::path::Path;

use super::{Reached, run};

const PSK: u8 = 0;
const EAP: u8 = 1;
const POOL: u8 = 2;
const REKEYS: u8 = 4;
const PROBES: u8 = 8;
const LOAD: u8 = 16;
const NAT: u8 = 32;
const OURS: u8 = 64;

const BEGIN: &[u8] = &[1, 0];
/// By us; the peer answers, and proves its name.
const BEGIN_OURS: &[u8] = &[1, 64];
const ANSWER_FIRST: &[u8] = &[8, 0, 0];
const PROVE: &[u8] = &[2, 0, 0, 0];
const EAP_ANSWER: &[u8] = &[2, 0, 0];
/// A child of its own; new keys for the first one; new keys for the IKE SA.
const CHILD: &[u8] = &[7, 0, 0, 0, 9, 0, 0];
const CHILD_WITH_EXCHANGE: &[u8] = &[7, 0, 4, 0, 10, 0, 0];
const REKEY_CHILD: &[u8] = &[7, 0, 1, 0, 11, 0, 0];
const REKEY_IKE: &[u8] = &[7, 0, 3, 0, 12, 0];
const DELETE_CHILD: &[u8] = &[3, 0, 0, 1, 11, 1, 0];
const DELETE_IKE: &[u8] = &[3, 0, 0, 1, 10];
const AGAIN: &[u8] = &[9, 255];
const LATER: &[u8] = &[10, 100];
/// To our wish for new keys; to our word that the old ones are over, or whether it lives.
const ANSWER: &[u8] = &[8, 0, 0, 0, 0, 0xd0, 1];
const DONE: &[u8] = &[8, 0, 0];
/// A token, sealed; that and another one in clear, from a peer that says that it has lost the IKE SA (RFC 6290).
const TOKEN: &[u8] = &[3, 0, 0, 1, 9, 14, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const CRASH: &[u8] = &[3, 0, 0xe0, 2, 9, 15, 0, 9, 14, 1];
const NO_CRASH: &[u8] = &[3, 0, 0xe0, 2, 9, 15, 0, 9, 14, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17];
/// Who we are, and that message IDs can be agreed on anew, and numbers of packets (RFC 6311); that; the same again.
const PROVE_CLUSTER: &[u8] = &[2, 0, 32, 0, 2, 9, 19, 0, 9, 20, 0];
const SYNC: &[u8] = &[3, 0, 0x18, 0, 0, 0, 0, 2, 9, 17, 12, 1, 2, 3, 4, 0, 0, 0, 9, 0, 0, 0, 5, 9, 18, 4, 0, 0, 1, 0];
const LOSE: &[u8] = &[13];
const CLOSE: &[u8] = &[12, 0];

fn scripts() -> Vec<(&'static str, Vec<u8>, Reached)> {
    let none = Reached::default();
    let one = Reached { established: 1, children: 1, ..none };
    let script = |kind: u8, parts: &[&[u8]]| [&[kind], parts.concat().as_slice()].concat();
    vec![
        ("psk", script(PSK, &[BEGIN, PROVE, AGAIN, DELETE_CHILD, DELETE_IKE, LATER]), Reached { ended: 1, ..one }),
        ("crash", script(PSK, &[BEGIN, PROVE, CRASH, TOKEN, NO_CRASH, CRASH, CRASH]), Reached { ended: 1, ..one }),
        (
            "no-crash",
            script(PSK, &[BEGIN, PROVE, TOKEN, NO_CRASH, REKEY_IKE, CRASH]),
            Reached { successors: 1, ended: 1, ..one },
        ),
        ("failover", script(PSK, &[BEGIN, PROVE_CLUSTER, SYNC, AGAIN, SYNC, CHILD]), Reached { children: 2, ..one }),
        ("psk-pool-nat", script(PSK | POOL | NAT, &[&[1, 8], &[2, 0, 6, 1, 2, 2], CLOSE]), one),
        ("psk-lost", script(PSK, &[LOSE, BEGIN, BEGIN, LOSE, PROVE, PROVE, LOSE, CHILD, CHILD]), {
            Reached { children: 2, ..one }
        }),
        ("psk-pieces", script(PSK, &[BEGIN, &[2, 0, 64, 0, 2, 0, 0], &[7, 0, 8, 0, 9, 0, 0, 1, 0, 0]]), {
            Reached { children: 2, ..one }
        }),
        ("eap", script(EAP, &[BEGIN, &[2, 0, 1, 0], EAP_ANSWER, EAP_ANSWER, EAP_ANSWER, EAP_ANSWER, CHILD]), {
            Reached { established: 1, children: 2, asked: 4, ..none }
        }),
        ("rekeys-theirs", script(PSK, &[BEGIN, PROVE, CHILD_WITH_EXCHANGE, REKEY_CHILD, DELETE_CHILD, REKEY_IKE]), {
            Reached { children: 3, successors: 1, ..one }
        }),
        ("rekeys-ours", script(PSK | REKEYS, &[BEGIN, PROVE, LATER, ANSWER, DONE, LATER, ANSWER, DONE]), {
            Reached { children: 3, ..one }
        }),
        ("probes", script(PSK | PROBES, &[BEGIN, PROVE, LATER, DONE, LATER, LATER, LATER]), one),
        ("ours", script(PSK | OURS, &[BEGIN_OURS, ANSWER_FIRST, ANSWER, LATER, ANSWER, REKEY_IKE, DELETE_IKE]), {
            Reached { children: 2, successors: 2, ended: 0, ..one }
        }),
        (
            "ours-again",
            script(PSK | OURS, &[BEGIN_OURS, &[8, 0, 4], &[8, 0, 8, 31], LATER, LOSE, ANSWER_FIRST, ANSWER_FIRST]),
            Reached { successors: 1, ended: 1, ..none },
        ),
        ("load", script(PSK | LOAD, &[BEGIN, &[15, 0], BEGIN, PROVE]), one),
    ]
}

#[test]
fn the_corpus_begins_deep() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/ike");
    for (name, script, expected) in scripts() {
        if std::env::var_os("PHALANX_WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(name), &script).expect("a file");
        }
        assert_eq!(std::fs::read(folder.join(name)).expect("in the corpus"), script, "{name}");
        assert_eq!(run(&script), expected, "{name}");
    }
}

/// What would libFuzzer do? Less well, but everywhere: the scripts, changed here and there.
#[test]
fn changed_scripts_break_no_promise() {
    let scripts = scripts();
    let mut state = 1_u64;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sides
    };
    for _ in 0..3000 {
        let mut script = scripts[roll(scripts.len())].1.clone();
        let other = &scripts[roll(scripts.len())].1;
        script.extend_from_slice(&other[roll(other.len())..]);
        for _ in 0..1 + roll(8) {
            let at = roll(script.len());
            match roll(4) {
                0 => script.insert(at, roll(256) as u8),
                1 => drop(script.remove(at)),
                2 => script[at] ^= 1 << roll(8),
                _ => script[at] = [0, 1, 2, 7, 8, 200, 241, 247, 255][roll(9)],
            }
        }
        if std::panic::catch_unwind(|| run(&script)).is_err() {
            panic!("{script:?}");
        }
    }
}
