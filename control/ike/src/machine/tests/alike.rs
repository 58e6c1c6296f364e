//! Several children for the same traffic (RFC 9611): a peer has one for each of its CPUs, say.

use std::collections::HashSet;

use super::client::{SPI, child_request, esp_proposal, notified, notify, selectors};
use super::*;
use crate::wire::{self, Exchange, Notify, Payload, notify as kinds};

/// So many there are.
const MOST: usize = 8;

/// The notification, with what the peer calls the CPU.
fn of_several() -> Payload {
    notify(kinds::SA_RESOURCE_INFO, b"cpu 3")
}

/// What the gateway says of it: nothing but that.
fn so_it_says() -> Payload {
    notify(kinds::SA_RESOURCE_INFO, &[])
}

fn wish(spi: u32, theirs: &str, extra: &[Payload]) -> Vec<Payload> {
    let nonce = Payload::Nonce(spi.to_be_bytes().repeat(8));
    [&child_request(esp_proposal(spi), theirs, "10.3.0.0/24")[..], &[nonce], extra].concat()
}

/// Asks for a child for the traffic that there is one for.
fn ask(world: &mut World, client: &mut Client, spi: u32, extra: &[Payload]) -> (Vec<Payload>, Shown) {
    let request = client.request(Exchange::CREATE_CHILD_SA, &wish(spi, "10.9.1.0/24", extra));
    let (answer, shown) = world.ask(SPI, path(), &request);
    (client.open(&[answer]).1, shown)
}

fn connected() -> (World, Client) {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    (world, client)
}

#[test]
fn each_has_its_own_keys_and_the_same_traffic() {
    let (mut world, mut client) = connected();
    let mut keys = HashSet::new();
    for (spi, extra) in [(0xd001, vec![of_several()]), (0xd002, vec![]), (0xd003, vec![so_it_says()])] {
        let (payloads, shown) = ask(&mut world, &mut client, spi, &extra);
        let [ChildEvent::Add(child)] = shown.children.as_slice() else { panic!("{:?}", shown.children) };
        assert_eq!((&*child.name, child.outbound.spi, child.replaces), ("road/lan", spi, None));
        assert_eq!(selectors(&payloads), (vec![network("10.9.1.0/24")], vec![network("10.3.0.0/24")]));
        let halves = [&child.inbound, &child.outbound];
        assert!(halves.iter().all(|half| keys.insert((half.spi, half.cipher_key.as_bytes().to_vec()))));
        // Who has not asked whether there may be several hears nothing of it.
        assert_eq!(payloads.contains(&so_it_says()), !extra.is_empty());
    }
    assert_eq!(world.sa(SPI).children.len(), 4);
    // Any of them can go.
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 3, spis: vec![0xd002, 0xc001] }]);
    let (_, shown) = world.ask(SPI, path(), &bye);
    assert_eq!(shown.children.len(), 2);
    let left: Vec<u32> = world.sa(SPI).children.iter().map(|child| child.outbound_spi).collect();
    assert_eq!(left, [0xd001, 0xd003]);
}

#[test]
fn it_may_come_with_the_ike_sa_and_be_marked_critical() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.extra = vec![of_several()];
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (answer, _) = world.ask(SPI, path(), &auth);
    assert!(client.open(&[answer]).1.contains(&so_it_says()));
    // The mark that says that a payload must be understood is nothing on one of a kind that is.
    let (kind, mut inside) = wire::emit_payloads(&[&[of_several()][..], &wish(0xd001, "10.9.1.0/24", &[])].concat());
    inside[1] |= 0x80;
    let request = client.raw(Exchange::CREATE_CHILD_SA, kind, &inside);
    let (answer, shown) = world.ask(SPI, path(), &request);
    assert!(client.open(&[answer]).1.contains(&so_it_says()) && shown.children.len() == 1);
}

#[test]
fn there_are_so_many_and_no_more() {
    for extra in [vec![of_several()], vec![]] {
        let (mut world, mut client) = connected();
        for number in 1..MOST as u32 {
            assert_eq!(ask(&mut world, &mut client, 0xd000 + number, &extra).1.children.len(), 1);
        }
        for _ in 0..3 {
            let (payloads, shown) = ask(&mut world, &mut client, 0xe001, &extra);
            assert_eq!(payloads, [notify(kinds::TS_MAX_QUEUE, &[])]);
            assert!(shown.children.is_empty() && world.sa(SPI).children.len() == MOST);
        }
        // Other traffic is not meant.
        let request = client.request(Exchange::CREATE_CHILD_SA, &wish(0xe002, "10.9.2.0/24", &extra));
        assert_eq!(world.ask(SPI, path(), &request).1.children.len(), 1);
        // New keys for one make no further one: it takes the old one's place.
        let named = |spi: u32| {
            let spi = spi.to_be_bytes().into();
            Payload::Notify(Notify { protocol: 3, spi, kind: kinds::REKEY_SA, data: Vec::new() })
        };
        let old = world.sa(SPI).children[3].inbound_spi;
        let (payloads, shown) = ask(&mut world, &mut client, 0xe003, &[&extra[..], &[named(0xd003)]].concat());
        assert_eq!(notified(&payloads).contains(&kinds::SA_RESOURCE_INFO), !extra.is_empty());
        assert!(matches!(&shown.children[..], [ChildEvent::Add(child)] if child.replaces == Some(old)));
        let bye = |spi: u32| [Payload::Delete { protocol: 3, spis: vec![spi] }];
        let gone = client.request(Exchange::INFORMATIONAL, &bye(0xd003));
        world.ask(SPI, path(), &gone);
        assert_eq!(ask(&mut world, &mut client, 0xe004, &extra).0, [notify(kinds::TS_MAX_QUEUE, &[])]);
        // When one has gone there is room.
        let gone = client.request(Exchange::INFORMATIONAL, &bye(0xe003));
        world.ask(SPI, path(), &gone);
        assert_eq!(ask(&mut world, &mut client, 0xe005, &extra).1.children.len(), 1);
    }
}
