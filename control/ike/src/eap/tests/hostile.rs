//! Bytes of all kinds: no panic, nobody gets in.

use proptest::prelude::*;

use super::super::mschapv2::Proof;
use super::super::packet;
use super::*;

/// The conversation and the client's right answer, at each of the three steps.
fn steps() -> Vec<(Conversation, Vec<u8>)> {
    let users = Only(USER, PASSWORD);
    let mut client = client(USER, PASSWORD);
    let (mut gateway, mut question) = Conversation::begin(3);
    let mut steps = Vec::new();
    loop {
        let answer = sent(client.hear(&question, &mut client_random));
        steps.push((gateway.clone(), answer.clone()));
        match gateway.hear(&answer, &users, &mut server_random) {
            Step::Ask(next) => question = next,
            _ => return steps,
        }
    }
}

/// From here on with right answers, were they ever asked for.
fn gets_in(mut gateway: Conversation, packet: &[u8]) -> bool {
    let users = Only(USER, PASSWORD);
    match gateway.hear(packet, &users, &mut server_random) {
        Step::Granted { .. } => true,
        Step::Ask(question) => {
            let answer = packet::response(question[1], packet::kind::MSCHAPV2, &[3]);
            matches!(gateway.hear(&answer, &users, &mut server_random), Step::Granted { .. })
        }
        Step::Refused { .. } | Step::Ignored => false,
    }
}

/// Bytes of a proof that are not looked at: the method's own id and length, the reserved ones, the flags.
const UNREAD: [std::ops::Range<usize>; 3] = [6..9, 26..34, 58..59];

#[test]
fn every_bit_of_a_proof_counts() {
    let (gateway, right) = steps().swap_remove(1);
    assert!(gets_in(gateway.clone(), &right));
    for at in (0..right.len()).filter(|at| !UNREAD.iter().any(|unread| unread.contains(at))) {
        for bit in 0..8 {
            let mut wrong = right.clone();
            wrong[at] ^= 1 << bit;
            assert!(!gets_in(gateway.clone(), &wrong), "bit {bit} of byte {at}");
        }
    }
    for len in 0..right.len() {
        assert!(!gets_in(gateway.clone(), &right[..len]), "{len} bytes of it");
    }
    let padded = [&right[..], b"padding"].concat();
    assert!(gets_in(gateway, &padded));
}

#[test]
fn a_name_too_long_is_refused() {
    let (mut gateway, _) = steps().swap_remove(1);
    let proof = Proof { challenge: [0; 16], nt_response: [0; 24], name: vec![b'n'; 257] };
    let packet = packet::response(4, packet::kind::MSCHAPV2, &proof.emit(4));
    let step = gateway.hear(&packet, &Only(USER, PASSWORD), &mut server_random);
    assert_eq!(step, Step::Refused { message: packet::failure(4), why: Refusal::Malformed });
}

#[test]
fn nothing_secret_is_shown() {
    let (gateway, right) = steps().swap_remove(2);
    let granted = gateway.clone().hear(&right, &Only(USER, PASSWORD), &mut server_random);
    assert!(matches!(granted, Step::Granted { .. }));
    // 213, 240, 233: how the key begins.
    let shown = format!("{gateway:?}{gateway:#?}{granted:?}{:?}", client(USER, PASSWORD));
    assert!(!shown.contains("213") && !shown.contains(PASSWORD), "{shown}");
}

proptest! {
    #[test]
    fn changed_proofs_let_nobody_in(at in 0_usize..63, value: u8, cut in 0_usize..64, more in any::<Vec<u8>>()) {
        let (gateway, right) = steps().swap_remove(1);
        let mut packet = right.clone();
        packet[at] = value;
        packet.truncate(cut);
        packet.extend_from_slice(&more);
        let unread = |at: usize| UNREAD.iter().any(|unread| unread.contains(&at));
        let same = packet.len() >= right.len() && (0..right.len()).all(|at| unread(at) || packet[at] == right[at]);
        prop_assert_eq!(gets_in(gateway, &packet), same);
    }

    #[test]
    fn nothing_but_a_proof_lets_in(packets in proptest::collection::vec(any::<Vec<u8>>(), 0..8), id: u8) {
        let (mut gateway, _) = Conversation::begin(id);
        for packet in packets {
            let step = gateway.hear(&packet, &Only(USER, PASSWORD), &mut server_random);
            let granted = matches!(step, Step::Granted { .. });
            prop_assert!(!granted);
        }
    }

    /// Well-formed packets with the right identifier, of every kind, opcode and length.
    #[test]
    fn well_addressed_nonsense_lets_nobody_in(
        kind in prop_oneof![Just(1_u8), Just(3), Just(26), any::<u8>()],
        opcode in 0_u8..9,
        data in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        for (gateway, _) in steps().into_iter().take(2) {
            let body = [&[opcode, gateway.id, 0, 0, 49], &data[..]].concat();
            prop_assert!(!gets_in(gateway.clone(), &packet::response(gateway.id, kind, &body)));
        }
    }

    /// Only the one acknowledgement ends in a grant, once the proof was right.
    #[test]
    fn the_last_step_takes_the_right_acknowledgement_only(at in 0_usize..6, value: u8) {
        let (gateway, right) = steps().swap_remove(2);
        let mut packet = right.clone();
        packet[at] = value;
        prop_assert_eq!(gets_in(gateway, &packet), packet == right);
    }

    #[test]
    fn a_client_takes_any_bytes(packets in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut client = client(USER, PASSWORD);
        for packet in packets {
            let answer = client.hear(&packet, &mut client_random);
            prop_assert!(!matches!(answer, Answer::Granted(_)));
        }
    }

    #[test]
    fn what_is_restored_is_what_was_saved(bytes in any::<Vec<u8>>(), state in 0_u8..6, step in 0_usize..3, cut: usize) {
        let forged = [&[1, state, 0], &bytes[..]].concat();
        for bytes in [bytes, forged] {
            if let Some(restored) = Conversation::restore(&bytes) {
                prop_assert_eq!(&*restored.save(), &bytes);
            }
        }
        let (gateway, _) = steps().swap_remove(step);
        let saved = gateway.save();
        prop_assert_eq!(Conversation::restore(&saved), Some(gateway));
        // A name cut short is another name: only what has no name can be seen to be cut.
        if step < 2 {
            prop_assert_eq!(Conversation::restore(&saved[..cut % saved.len()]), None);
        }
        let newer = [&[2], &saved[1..]].concat();
        prop_assert_eq!(Conversation::restore(&newer), None);
    }
}
