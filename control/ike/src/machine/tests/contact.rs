//! Peers that come anew (RFC 7296 section 2.4): what the cluster is told, and what becomes of their IKE SAs from before.

use super::client::{SPI, child_request, esp_proposal, notify};
use super::peers::{Peers, THEM, US, configs};
use super::*;
use crate::machine::{Closure, Contact};
use crate::wire::{Payload, notify as kinds};

const SECOND_SPI: u64 = SPI ^ 1 << 40;

fn child() -> [Payload; 3] {
    child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24")
}

/// A client connects, and says that it has no other IKE SA, or does not. What the cluster is told.
fn contact(world: &mut World, id: &str, spi: u64, says: bool) -> Option<Contact> {
    let mut client = Client::new();
    client.id = Identity::of_text(id);
    client.gateway_spi = spi;
    let mut wants = child().to_vec();
    wants.extend(says.then(|| notify(kinds::INITIAL_CONTACT, &[])));
    let (_, shown) = client.connect_for(world, wants);
    let [ChildEvent::Add(child)] = shown.children.as_slice() else { panic!("{:?}", shown.children) };
    child.contact
}

#[test]
fn who_says_so_has_come_anew_as_the_configuration_allows() {
    for (unique, said, told) in [
        (Unique::IfSaid, true, true),
        (Unique::IfSaid, false, false),
        (Unique::Never, true, false),
        (Unique::Always, false, true),
    ] {
        let mut config = config();
        config.connections[0].unique = unique;
        let mut world = World::new(config);
        let contact = contact(&mut world, CLIENT, SPI, said);
        assert_eq!(contact.map(|contact| contact.since_s), told.then_some(1000), "{unique:?}, {said}");
    }
}

#[test]
fn the_same_names_are_called_the_same() {
    let mut world = World::new(config());
    let first = contact(&mut world, CLIENT, SPI, true).unwrap();
    world.now_s += 100;
    let second = contact(&mut world, CLIENT, SECOND_SPI, true).unwrap();
    assert_eq!((first.names, second.since_s), (second.names, 1100));
    // An IKE SA never ends itself.
    assert!(world.sa(SECOND_SPI).created_s >= second.since_s && world.sa(SPI).created_s < second.since_s);
    let other = contact(&mut world, "bob@example.org", SPI ^ 1 << 41, true).unwrap();
    assert_ne!(other.names, first.names);
    let mut config = config();
    config.connections[0].local_id = Identity::of_text("other.example.org");
    assert_ne!(contact(&mut World::new(config), CLIENT, SPI, true).unwrap().names, first.names);
}

#[test]
fn the_one_from_before_ends_without_a_word() {
    let mut world = World::new(config());
    contact(&mut world, CLIENT, SPI, false);
    let spi = world.sa(SPI).children[0].inbound_spi;
    let shown = world.step(SPI, Event::Replaced);
    assert!(shown.sent.is_empty() && !world.records.contains_key(&SPI));
    assert!(matches!(shown.children.as_slice(), [ChildEvent::Remove(gone)] if *gone == spi), "{:?}", shown.children);
    assert!(matches!(shown.reports.as_slice(), [Report::Closed { why: Closure::Replaced, .. }]), "{:?}", shown.reports);
}

/// Whoever has proved no name yet is nobody's past.
#[test]
fn one_that_begins_goes_on() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    world.ask(SPI, path(), &first);
    let shown = world.step(SPI, Event::Replaced);
    assert!(!shown.changed && world.records.contains_key(&SPI));
}

/// That an IKE SA is the only one of two names, only who knows all of theirs can say.
#[test]
fn we_say_so_if_no_other_connection_is_between_the_same_names() {
    type Change = fn(&mut Connection);
    let cases: [(Change, bool); 5] = [
        (|it| it.local_id = Identity::of_text("another name of ours"), true),
        (|it| it.remote_id = Some(Identity::of_text("bob@example.org")), true),
        (|it| it.remote_addresses = vec![network("192.0.2.10/32")], false),
        (|it| (it.remote_id, it.remote_addresses) = (None, Vec::new()), false),
        (|it| (it.remote_id, it.remote_addresses) = (None, vec![network("192.0.2.10/32")]), true),
    ];
    for (at, (change, says)) in cases.into_iter().enumerate() {
        let [mut ours, theirs] = configs();
        let mut other = ours.connections[0].clone();
        (other.name, other.start) = ("other".into(), None);
        change(&mut other);
        ours.connections.push(other);
        let mut peers = Peers::new([ours, theirs]);
        peers.begin(US);
        while peers.deliver() {}
        let told = peers.tunnels[THEM].values().any(|child| child.contact.is_some());
        assert_eq!((peers.tunnels[THEM].len(), told), (1, says), "case {at}");
    }
}
