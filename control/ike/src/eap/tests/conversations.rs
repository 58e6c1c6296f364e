//! Whole conversations.

use super::super::mschapv2::{self, NAME_BYTES_MAX};
use super::super::packet;
use super::*;

const NO_CHANGE: fn(Conversation) -> Conversation = |gateway| gateway;

fn assert_in(end: End, name: &str) {
    match end {
        End::In { user, gateways, clients } => {
            assert_eq!(user, name);
            assert_eq!(gateways, clients);
            assert_ne!(gateways[..32], [0; 32]);
        }
        End::Out { why, client } => panic!("{why}; the client: {client:?}"),
    }
}

fn assert_not_proven(end: End) {
    match end {
        End::In { user, .. } => panic!("{user} is in"),
        End::Out { why, client } => assert_eq!((why, client), (Refusal::NotProven, Answer::Refused)),
    }
}

#[test]
fn the_right_password_lets_in() {
    // Every first identifier, as they wrap around.
    for id in 0..=255 {
        assert_in(talk(&Only(USER, PASSWORD), &mut client(USER, PASSWORD), id, NO_CHANGE), USER);
    }
}

#[test]
fn wrong_passwords_and_unknown_users_do_not_get_in_and_look_alike() {
    let questions = |users: Only| {
        let mut gateway = Conversation::begin(7).0;
        let mut client = client(USER, PASSWORD);
        let mut question = packet::request(7, packet::kind::IDENTITY, &[]);
        let mut all = Vec::new();
        loop {
            let answer = sent(client.hear(&question, &mut client_random));
            match gateway.hear(&answer, &users, &mut server_random) {
                Step::Ask(next) => question = next,
                Step::Refused { message, .. } => question = message,
                other => panic!("{other:?}"),
            }
            all.push(question.clone());
            if gateway.is_over() {
                return all;
            }
        }
    };
    assert_eq!(questions(Only(USER, "another")), questions(Only("another", PASSWORD)));
    for wrong in ["", "clientpass", "clientPass ", "nobody's"] {
        assert_not_proven(talk(&Only(USER, PASSWORD), &mut client(USER, wrong), 0, NO_CHANGE));
    }
    for unknown in ["", "user", "User2", "Domain/User", "User\\"] {
        assert_not_proven(talk(&Only(USER, PASSWORD), &mut client(unknown, PASSWORD), 0, NO_CHANGE));
    }
}

/// What stands in for the password of unknown users is none that they could use.
#[test]
fn nobody_is_nobody() {
    assert_not_proven(talk(&Only(USER, PASSWORD), &mut client("nobody", "nobody's"), 0, NO_CHANGE));
    assert_not_proven(talk(&Only("", PASSWORD), &mut client("", PASSWORD), 0, NO_CHANGE));
}

#[test]
fn a_domain_is_taken_off() {
    for name in ["DOMAIN\\User", "\\User"] {
        assert_in(talk(&Only(USER, PASSWORD), &mut client(name, PASSWORD), 0, NO_CHANGE), USER);
    }
    let users = Only("user@example.org", PASSWORD);
    assert_in(talk(&users, &mut client("user@example.org", PASSWORD), 0, NO_CHANGE), "user@example.org");
}

#[test]
fn names_and_passwords_of_all_kinds() {
    for password in ["pässwörd€😀", "", "密码"] {
        let users = Only("jürgen", password);
        assert_in(talk(&users, &mut client("jürgen", password), 0, NO_CHANGE), "jürgen");
    }
    let longest = "n".repeat(NAME_BYTES_MAX).leak();
    assert_in(talk(&Only(longest, PASSWORD), &mut client(longest, PASSWORD), 0, NO_CHANGE), longest);
}

#[test]
fn another_member_goes_on_at_any_step() {
    let elsewhere = |gateway: Conversation| {
        let restored = Conversation::restore(&gateway.save()).expect("what was saved");
        assert_eq!(restored, gateway);
        restored
    };
    let users = Only(USER, PASSWORD);
    assert_in(talk(&users, &mut client(USER, PASSWORD), 9, elsewhere), USER);
    assert_not_proven(talk(&users, &mut client(USER, "another"), 9, elsewhere));
    assert!(
        talk(&users, &mut client(USER, PASSWORD), 9, elsewhere)
            == talk(&users, &mut client(USER, PASSWORD), 9, NO_CHANGE)
    );
}

#[test]
fn an_answer_that_comes_again_changes_nothing() {
    let users = Only(USER, PASSWORD);
    let mut client = client(USER, PASSWORD);
    let (mut gateway, mut question) = Conversation::begin(0);
    let mut answers = Vec::new();
    loop {
        answers.push(sent(client.hear(&question, &mut client_random)));
        let step = gateway.hear(answers.last().unwrap(), &users, &mut server_random);
        for again in &answers {
            let before = gateway.clone();
            assert_eq!(gateway.hear(again, &users, &mut server_random), Step::Ignored);
            assert_eq!(gateway, before);
        }
        match step {
            Step::Ask(next) => question = next,
            Step::Granted { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answers.len(), 3);
}

/// A conversation of the gateway's that waits for a proof, and the question.
fn challenged() -> (Conversation, Vec<u8>) {
    let mut gateway = Conversation::begin(0).0;
    let answer = packet::response(0, packet::kind::IDENTITY, b"User");
    let question = asked(gateway.hear(&answer, &Only(USER, PASSWORD), &mut server_random));
    (gateway, question)
}

#[test]
fn who_wants_another_method_is_refused() {
    let users = Only(USER, PASSWORD);
    let (mut gateway, _) = challenged();
    let step = gateway.hear(&packet::response(1, packet::kind::NAK, &[13]), &users, &mut server_random);
    assert_eq!(step, Step::Refused { message: packet::failure(1), why: Refusal::OtherMethod });
    assert!(gateway.is_over());
    // Who we are is no method: RFC 3748 section 5.3.1 allows no Nak to it.
    let (mut gateway, _) = Conversation::begin(0);
    let step = gateway.hear(&packet::response(0, packet::kind::NAK, &[26]), &users, &mut server_random);
    assert_eq!(step, Step::Ignored);
}

#[test]
fn a_client_that_breaks_off_is_refused() {
    let users = Only(USER, PASSWORD);
    let (mut gateway, question) = challenged();
    let proof = sent(client(USER, PASSWORD).hear(&question, &mut client_random));
    asked(gateway.hear(&proof, &users, &mut server_random));
    for (opcode, why) in [(4, Refusal::BrokenOff), (2, Refusal::Malformed), (7, Refusal::Malformed)] {
        let answer = packet::response(2, packet::kind::MSCHAPV2, &[opcode]);
        let step = gateway.clone().hear(&answer, &users, &mut server_random);
        assert_eq!(step, Step::Refused { message: packet::failure(2), why });
    }
}

#[test]
fn a_client_takes_no_grant_without_a_proof() {
    let mut client = client(USER, PASSWORD);
    assert_eq!(client.hear(&packet::success(0), &mut client_random), Answer::Ignored);
    let (_, question) = challenged();
    sent(client.hear(&question, &mut client_random));
    assert_eq!(client.hear(&packet::success(1), &mut client_random), Answer::Ignored);
    let forged = packet::request(2, packet::kind::MSCHAPV2, &mschapv2::success(1, &[7; 20]));
    assert_eq!(client.hear(&forged, &mut client_random), Answer::Refused);
    assert_eq!(client.hear(&packet::success(2), &mut client_random), Answer::Ignored);
}

#[test]
fn a_client_says_which_method_it_has() {
    let question = packet::request(5, 13, &[0x20]);
    let answer = sent(client(USER, PASSWORD).hear(&question, &mut client_random));
    assert_eq!(answer, packet::response(5, packet::kind::NAK, &[packet::kind::MSCHAPV2]));
}
