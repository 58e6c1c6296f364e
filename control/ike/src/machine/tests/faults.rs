//! What goes wrong on the way, and what somebody means to go wrong.

use proptest::prelude::*;

use super::client::{SPI, child_request, esp_proposal, ike_proposal, notified, notify};
use super::*;
use crate::wire::{self, Body, Exchange, Payload, notify as kinds};

fn message(bytes: &[u8]) -> Event<'_> {
    Event::Message { path: path(), bytes }
}

#[test]
fn a_request_that_comes_again_gets_the_same_answer_and_changes_nothing() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    let again = world.step(SPI, message(&first));
    assert_eq!((&again.sent[0].bytes, again.changed), (&answer, false));
    client.hear_first(&answer);
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (answer, _) = world.ask(SPI, path(), &auth);
    let again = world.step(SPI, message(&auth));
    assert_eq!((&again.sent[0].bytes, again.changed, again.children.len()), (&answer, false, 0));
    let late = world.step(SPI, message(&first));
    assert!(late.sent.is_empty(), "that exchange is over");
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 1, spis: Vec::new() }]);
    let (answer, _) = world.ask(SPI, path(), &bye);
    assert_eq!(world.step(SPI, message(&bye)).sent[0].bytes, answer, "it is kept for a while");
    world.now_s += 10;
    world.step(SPI, Event::Timeout);
    assert!(world.records.is_empty());
}

#[test]
fn what_is_not_committed_has_not_happened() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    drop(world.try_step(SPI, message(&first)));
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let lost = world.try_step(SPI, message(&auth));
    let (answer, _) = world.ask(SPI, path(), &auth);
    assert_ne!(lost.send[0].bytes, answer, "another IV, another SPI");
    assert!(client.is_proved(&client.open(&[answer]).1));
}

#[test]
fn who_has_not_the_key_is_told_so_and_forgotten() {
    for change in [
        (|client: &mut Client| client.key = b"another key".to_vec()) as fn(&mut Client),
        // Known to the gateway under another name only.
        |client| client.extra.push(Payload::IdResponder(Identity::of_text("other.example.org"))),
    ] {
        let (mut world, mut client) = (World::new(config()), Client::new());
        let first = client.first();
        let (answer, _) = world.ask(SPI, path(), &first);
        client.hear_first(&answer);
        change(&mut client);
        let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
        let (answer, shown) = world.ask(SPI, path(), &auth);
        assert_eq!(client.open(&[answer]).1, [notify(kinds::AUTHENTICATION_FAILED, &[])]);
        assert!(shown.children.is_empty());
        assert!(shown.reports[0].to_string().contains("\"alice@example.org\" is not let in"), "{}", shown.reports[0]);
        let probe = client.request(Exchange::INFORMATIONAL, &[]);
        let shown = world.step(SPI, message(&probe));
        assert!(shown.sent.is_empty(), "it is over");
        world.now_s += 10;
        world.step(SPI, Event::Timeout);
        assert!(world.records.is_empty());
    }
}

#[test]
fn under_load_a_cookie_comes_before_any_work() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    world.under_load = true;
    let first = client.first();
    let (answer, shown) = world.ask(SPI, path(), &first);
    assert!(!shown.changed && world.records.is_empty());
    let Body::Plain(payloads) = wire::parse(&answer).unwrap().body else { panic!("sealed") };
    let [Payload::Notify(cookie)] = payloads.as_slice() else { panic!("{payloads:?}") };
    assert_eq!(cookie.kind, kinds::COOKIE);
    client.extra.push(notify(kinds::COOKIE, &cookie.data));
    let with_cookie = client.first();
    let elsewhere = Path { theirs: socket("192.0.2.10:500"), ..path() };
    let refused = world.step(SPI, Event::Message { path: elsewhere, bytes: &with_cookie });
    assert!(!refused.changed, "it is another's cookie");
    let (answer, shown) = world.ask(SPI, path(), &with_cookie);
    assert!(shown.changed);
    client.hear_first(&answer);
}

#[test]
fn a_first_message_that_does_not_suit_is_answered_without_memory() {
    let mut other = ike_proposal(&[]);
    other.transforms[0].id = 3; // 3DES
    let mut both = ike_proposal(&[]);
    both.transforms[2].id = 19;
    for (proposal, expected, data) in
        [(other, kinds::NO_PROPOSAL_CHOSEN, vec![]), (both, kinds::INVALID_KE_PAYLOAD, vec![0, 19])]
    {
        let mut config = config();
        config.connections[0].proposals.push("aes128gcm16-prfsha256-ecp256".parse().unwrap());
        let (mut world, mut client) = (World::new(config), Client::new());
        let first = client.first();
        let message_of = wire::parse(&first).unwrap();
        let Body::Plain(mut payloads) = message_of.body else { panic!("sealed") };
        payloads[0] = Payload::Sa(vec![proposal]);
        let (answer, shown) = world.ask(SPI, path(), &wire::emit(&message_of.header, &payloads));
        assert!(!shown.changed);
        let Body::Plain(payloads) = wire::parse(&answer).unwrap().body else { panic!("sealed") };
        assert_eq!(payloads, [notify(expected, &data)]);
    }
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let stranger = Path { theirs: socket("203.0.113.1:500"), ..path() };
    let (_, shown) = world.ask(SPI, stranger, &first);
    assert_eq!(shown.reports[0].to_string(), "with 203.0.113.1:500: no connection is for this address");
}

#[test]
fn a_critical_payload_that_nobody_knows_is_refused() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    // The kind 200, critical, empty; before it a message's head.
    let probe = client.raw(Exchange::INFORMATIONAL, 200, &[0, 0x80, 0, 4]);
    let (answer, _) = world.ask(SPI, path(), &probe);
    assert_eq!(client.open(&[answer]).1, [notify(kinds::UNSUPPORTED_CRITICAL_PAYLOAD, &[200])]);
    let nonsense = client.raw(Exchange::INFORMATIONAL, 41, &[0, 0, 0, 3]);
    let (answer, _) = world.ask(SPI, path(), &nonsense);
    assert_eq!(notified(&client.open(&[answer]).1), [kinds::INVALID_SYNTAX]);
}

#[test]
fn messages_out_of_turn_are_not_looked_at() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let before = world.records[&SPI].clone();
    for (id, response) in [(0, false), (3, false), (u32::MAX, false), (0, true), (2, true)] {
        let bytes = client.message(Exchange::INFORMATIONAL, id, response, &[]);
        let shown = world.step(SPI, message(&bytes));
        assert!(shown.sent.is_empty() && !shown.changed, "{id} {response}");
    }
    assert_eq!(world.records[&SPI], before);
    // Its own words, sent back.
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    let (answer, _) = world.ask(SPI, path(), &probe);
    assert!(world.step(SPI, message(&answer)).sent.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that is not the peer's changes an SA, and nothing ends in a panic.
    #[test]
    fn what_others_say_is_not_heard(at in any::<prop::sample::Index>(), flip in 1_u8.., noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut world, mut client) = (World::new(config()), Client::new());
        let first = client.first();
        let mut changed = first.clone();
        changed[at.index(first.len())] ^= flip;
        world.step(SPI, message(&changed));
        world.records.clear();
        client.connect(&mut world);
        let before = world.records[&SPI].clone();
        let mut probe = client.request(Exchange::INFORMATIONAL, &[notify(kinds::COOKIE2, b"12345678")]);
        let at = at.index(probe.len());
        probe[at] ^= flip;
        // The reserved bits of flags, and the minor version, are sealed as well; all is.
        for bytes in [&probe, &noise] {
            let shown = world.step(SPI, message(bytes));
            prop_assert!(shown.sent.is_empty() && !shown.changed);
        }
        prop_assert_eq!(&world.records[&SPI], &before);
    }
}
