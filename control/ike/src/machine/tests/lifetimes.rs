//! Peers that fall silent.

use super::client::{SPI, child_request, esp_proposal};
use super::*;
use crate::wire::{Exchange, Payload, notify};

#[test]
fn a_half_open_sa_is_dropped_after_a_while() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    world.ask(SPI, path(), &first);
    // The same again does not let it live for ever.
    assert_eq!(world.ask(SPI, path(), &first).1.timeout_s, Some(1030));
    world.now_s += 29;
    assert_eq!(world.step(SPI, Event::Timeout).timeout_s, Some(1030));
    world.now_s += 1;
    world.step(SPI, Event::Timeout);
    assert!(world.records.is_empty());
}

/// A message may come to it before the time does: the peer has begun anew by then.
#[test]
fn who_proves_its_name_too_late_gets_nothing() {
    for (late_s, proved) in [(29, true), (30, false)] {
        let (mut world, mut client) = (World::new(config()), Client::new());
        let first = client.first();
        let (answer, _) = world.ask(SPI, path(), &first);
        client.hear_first(&answer);
        let auth = client.auth(child_request(esp_proposal(0xc001), "0.0.0.0/0", "10.0.0.0/8"));
        world.now_s += late_s;
        let shown = world.step(SPI, Event::Message { path: path(), bytes: &auth });
        let there = (world.records.len(), shown.sent.len(), shown.children.len());
        assert_eq!(there, if proved { (1, 1, 1) } else { (0, 0, 0) }, "after {late_s} s");
    }
}

#[test]
fn a_silent_peer_is_asked_and_lives_on_if_it_answers() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    world.now_s += 29;
    assert!(world.step(SPI, Event::Timeout).sent.is_empty());
    world.now_s += 1;
    let shown = world.step(SPI, Event::Timeout);
    let (header, payloads) = client.open(&[shown.sent[0].bytes.clone()]);
    assert!(!header.response && header.message_id == 0 && payloads.is_empty());
    assert_eq!(shown.timeout_s, Some(world.now_s + 2));
    let yes = client.message(Exchange::INFORMATIONAL, 0, true, &[]);
    let shown = world.step(SPI, Event::Message { path: path(), bytes: &yes });
    assert_eq!((shown.sent.len(), shown.timeout_s), (0, Some(world.now_s + 30)));
    assert!(!world.step(SPI, Event::Message { path: path(), bytes: &yes }).changed, "nobody asked");
}

#[test]
fn one_that_never_answers_is_given_up_and_its_children_with_it() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let (mut asked, mut at_s) = (Vec::new(), world.now_s + 30);
    loop {
        world.now_s = at_s;
        let shown = world.step(SPI, Event::Timeout);
        let Some(next_s) = shown.timeout_s else {
            assert_eq!(shown.reports[0].to_string(), "IKE SA with alice@example.org is over: the peer answers no more");
            assert!(matches!(shown.children.as_slice(), [ChildEvent::Remove(_)]));
            break;
        };
        asked.push((at_s, shown.sent[0].bytes.clone()));
        at_s = next_s;
    }
    let times: Vec<u64> = asked.iter().map(|(at_s, _)| at_s - 1000).collect();
    assert_eq!(times, [30, 32, 36, 44, 60, 92]);
    assert!(asked.iter().all(|(_, bytes)| *bytes == asked[0].1), "the same request each time");
    assert_eq!(at_s - 1000, 124);
    assert!(world.records.is_empty());
}

#[test]
fn what_is_ended_here_is_told_to_the_peer() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let shown = world.step(SPI, Event::Close);
    assert_eq!(shown.children.len(), 1);
    let (header, payloads) = client.open(&[shown.sent[0].bytes.clone()]);
    assert_eq!(payloads, [crate::wire::Payload::Delete { protocol: 1, spis: Vec::new() }]);
    let yes = client.message(Exchange::INFORMATIONAL, header.message_id, true, &[]);
    let shown = world.step(SPI, Event::Message { path: path(), bytes: &yes });
    assert!(shown.reports[0].to_string().ends_with("ended here"));
    assert!(world.records.is_empty());
}

#[test]
fn one_whose_connection_is_configured_no_more_ends() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    world.config.connections.clear();
    let shown = world.step(SPI, Event::Timeout);
    assert!(shown.reports[0].to_string().ends_with("its connection is configured no more"));
    assert!(world.records.is_empty());
}

/// RFC 4478: it is told when to prove its name again. New keys do not put that off, and one that does not is ended.
#[test]
fn a_peer_is_to_prove_its_name_again() {
    let mut config = config();
    config.connections[0].reauth_s = 3600;
    config.connections[0].dpd_delay_s = 0;
    let (mut world, mut client) = (World::new(config), Client::new());
    let payloads = client.connect(&mut world);
    let told = payloads.iter().find_map(|payload| match payload {
        Payload::Notify(it) if it.kind == notify::AUTH_LIFETIME => Some(it.data.clone()),
        _ => None,
    });
    assert_eq!(told, Some(3600_u32.to_be_bytes().to_vec()));
    let sa = world.sa(SPI);
    assert_eq!(sa.peer().map(|peer| peer.proved_until_s), Some(4600));
    world.now_s = 4599;
    let shown = world.step(SPI, Event::Timeout);
    assert!(shown.sent.is_empty() && shown.timeout_s == Some(4600));
    world.now_s = 4600;
    let shown = world.step(SPI, Event::Timeout);
    let (_, payloads) = client.open(&[shown.sent[0].bytes.clone()]);
    assert_eq!(payloads, [Payload::Delete { protocol: 1, spis: Vec::new() }]);
    assert!(matches!(shown.children.as_slice(), [ChildEvent::Remove(_)]));
    assert!(shown.reports[0].to_string().ends_with("the peer has not proved its name again in time"));
}

#[test]
fn a_peer_of_a_connection_without_a_limit_is_told_none() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let payloads = client.connect(&mut world);
    assert!(!super::client::notified(&payloads).contains(&notify::AUTH_LIFETIME));
    assert_eq!(world.sa(SPI).peer().map(|peer| peer.proved_until_s), Some(0));
}
