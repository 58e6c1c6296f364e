//! A peer that has proved its name and means harm: what is kept of it is bounded, and it gets no traffic but its own.

use super::client::{SPI, child_request, esp_proposal, notified};
use super::*;
use crate::wire::{Exchange, Payload, notify as kinds};

/// What the data plane takes.
const RECORD_MAX: usize = (32 << 10) - 64;

#[test]
fn children_are_counted() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let mut refused = 0;
    for number in 0..40_u8 {
        let theirs = format!("10.9.1.{number}/32");
        let mut wish = child_request(esp_proposal(0xd000 + u32::from(number)), &theirs, "10.3.0.0/24").to_vec();
        wish.push(Payload::Nonce(vec![number; 32]));
        let wish = client.request(Exchange::CREATE_CHILD_SA, &wish);
        let (answer, _) = world.ask(SPI, path(), &wish);
        refused += usize::from(notified(&client.open(&[answer]).1) == [kinds::NO_ADDITIONAL_SAS]);
    }
    assert_eq!((world.sa(SPI).children.len(), refused), (16, 25));
}

#[test]
fn selectors_and_pieces_are_bounded() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let hosts = |net: &str| (0..200).map(|low| network(&format!("{net}.{low}/32"))).collect::<Vec<_>>();
    for number in 0..20_u8 {
        let wish = [
            Payload::Sa(vec![esp_proposal(0xd000 + u32::from(number))]),
            Payload::Nonce(vec![number; 32]),
            Payload::SelectorsInitiator(hosts("10.9.1")),
            Payload::SelectorsResponder(hosts("10.3.0")),
        ];
        for piece in client.pieces(Exchange::CREATE_CHILD_SA, &wish, 1000) {
            world.step(SPI, Event::Message { path: path(), bytes: &piece });
        }
    }
    let children = world.sa(SPI).children;
    assert!(children.iter().all(|child| child.local.len() <= 32 && child.remote.len() <= 32));
    assert!(children.len() > 1, "a few of them are granted");
    // All pieces but the last one.
    let pieces = client.pieces(Exchange::INFORMATIONAL, &[Payload::VendorId(vec![7; 60_000])], 1000);
    for piece in pieces.iter().take(pieces.len() - 1) {
        world.step(SPI, Event::Message { path: path(), bytes: piece });
        assert!(world.records[&SPI].len() <= RECORD_MAX, "{}", world.records[&SPI].len());
    }
}

/// Who grants us new keys for a child grants no other traffic with them.
#[test]
fn new_keys_are_for_the_same_traffic() {
    let mut config = config();
    config.connections[0].children[0].rekey_s = 100;
    config.connections[0].dpd_delay_s = 0;
    let (mut world, mut client) = (World::new(config), Client::new());
    client.connect(&mut world);
    world.now_s += 100;
    let asked = world.step(SPI, Event::Timeout);
    let (header, _) = client.open(&asked.sent.iter().map(|it| it.bytes.clone()).collect::<Vec<_>>());
    let mut proposal = esp_proposal(0xd001);
    proposal.transforms.truncate(2);
    let everything = || vec![network("0.0.0.0/0")];
    let answer = [
        Payload::Sa(vec![proposal]),
        Payload::Nonce(vec![9; 32]),
        Payload::SelectorsInitiator(everything()),
        Payload::SelectorsResponder(everything()),
    ];
    let answer = client.message(Exchange::CREATE_CHILD_SA, header.message_id, true, &answer);
    let shown = world.step(SPI, Event::Message { path: path(), bytes: &answer });
    let Some(ChildEvent::Add(child)) = shown.children.first() else { panic!("{:?}", shown.reports) };
    assert_eq!(
        (child.local.as_slice(), child.remote.as_slice()),
        (&whole("10.3.0.0/24")[..], &whole("10.9.1.0/24")[..])
    );
}
