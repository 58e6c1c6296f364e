//! Selectors with protocols and ports (RFC 7296 section 2.9): narrowed to what both want, and given to the data plane.

use super::client::{SPI, child_request, esp_proposal, notified, selectors};
use super::*;
use crate::machine::ChildSa;
use crate::wire::{Payload, notify as kinds};

const TCP: u8 = 6;
const UDP: u8 = 17;

fn only(text: &str, protocol: u8, ports: (u16, u16)) -> Selector {
    Selector { protocol, ports, ..network(text) }
}

/// A child for this traffic is asked for, where ours is limited to `local`.
fn ask(local: Selector, theirs: Vec<Selector>, ours: Vec<Selector>) -> (Vec<Payload>, Option<ChildSa>) {
    let mut config = config();
    config.connections[0].children.truncate(1);
    config.connections[0].children[0].local = vec![local];
    let (mut world, mut client) = (World::new(config), Client::new());
    let [sa, _, _] = child_request(esp_proposal(0xc001), "0.0.0.0/0", "0.0.0.0/0");
    let wanted = [sa, Payload::SelectorsInitiator(theirs), Payload::SelectorsResponder(ours)];
    let (payloads, shown) = client.connect_for(&mut world, wanted);
    let child = shown.children.into_iter().find_map(|event| match event {
        ChildEvent::Add(child) => Some(*child),
        _ => None,
    });
    assert_eq!(world.sa(SPI).children.len(), usize::from(child.is_some()));
    (payloads, child)
}

fn texts(parts: &[super::super::Part]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

#[test]
fn both_get_what_both_want() {
    let any = || vec![network("10.9.0.0/16")];
    // The configuration narrows.
    let (payloads, child) = ask(only("10.3.0.0/24", TCP, (80, 90)), any(), vec![network("10.0.0.0/8")]);
    assert_eq!(selectors(&payloads).1, [only("10.3.0.0/24", TCP, (80, 90))]);
    assert_eq!(texts(&child.unwrap().local), ["10.3.0.0/24[tcp/80-90]"]);
    // The peer does, on both sides.
    let theirs = vec![only("10.9.1.0/24", TCP, (1024, 65535))];
    let (payloads, child) = ask(network("10.3.0.0/24"), theirs.clone(), vec![only("10.3.0.10/32", TCP, (80, 80))]);
    assert_eq!(selectors(&payloads), (theirs, vec![only("10.3.0.10/32", TCP, (80, 80))]));
    let child = child.unwrap();
    assert_eq!(
        (texts(&child.local), texts(&child.remote)),
        (vec!["10.3.0.10/32[tcp/80]".to_owned()], vec!["10.9.1.0/24[tcp/1024-65535]".to_owned()])
    );
    // Both do.
    let (payloads, _) = ask(only("10.3.0.0/24", TCP, (80, 90)), any(), vec![only("10.3.0.0/16", TCP, (85, 443))]);
    assert_eq!(selectors(&payloads).1, [only("10.3.0.0/24", TCP, (85, 90))]);
}

#[test]
fn who_wants_other_ports_or_protocols_gets_nothing() {
    for ours in
        [only("10.3.0.0/24", TCP, (22, 22)), only("10.3.0.0/24", UDP, (80, 80)), only("10.3.0.0/24", 1, (0x800, 0x800))]
    {
        let local = if ours.protocol == 1 { network("10.3.0.0/24") } else { only("10.3.0.0/24", TCP, (80, 80)) };
        let (payloads, child) = ask(local, vec![network("10.9.0.0/16")], vec![ours]);
        assert!(child.is_none() && notified(&payloads).contains(&kinds::TS_UNACCEPTABLE), "{ours:?}");
    }
}

/// RFC 7296 section 2.9: the first selectors may be the packet that the peer begins for.
#[test]
fn the_packet_that_it_began_for_is_in_what_goes_beside_it() {
    let theirs = vec![only("10.9.1.7/32", TCP, (4000, 4000)), network("10.9.1.0/24")];
    let ours = vec![only("10.3.0.10/32", TCP, (80, 80)), network("10.3.0.0/24")];
    let (payloads, child) = ask(network("10.3.0.0/16"), theirs, ours);
    assert_eq!(selectors(&payloads), (vec![network("10.9.1.0/24")], vec![network("10.3.0.0/24")]));
    assert_eq!(texts(&child.unwrap().remote), ["10.9.1.0/24"]);
}
