//! Transport mode (RFC 7296 section 1.3.1): who asks for it gets it where it is configured, and a tunnel otherwise.

use super::client::{SPI, child_request, esp_proposal, notified, notify, selectors};
use super::*;
use crate::machine::ChildSa;
use crate::wire::{Exchange, Payload, notify as kinds};

/// A child in transport mode comes first, then tunnels.
pub(super) fn config() -> Config {
    let mut config = super::config();
    let children = &mut config.connections[0].children;
    let host =
        ChildConfig { name: "host".into(), transport: true, local: vec![], remote: vec![], ..children[0].clone() };
    children.insert(0, host);
    config
}

/// The peer asks for transport mode between these hosts.
pub(super) fn request(spi: u32, hosts: &[&str; 2]) -> Vec<Payload> {
    let [theirs, ours] = hosts.map(|host| format!("{host}/32"));
    let mut request = child_request(esp_proposal(spi), &theirs, &ours).to_vec();
    request.push(notify(kinds::USE_TRANSPORT_MODE, &[]));
    request
}

const HOSTS: [&str; 2] = ["192.0.2.9", "198.51.100.1"];

/// The child that came of it, if one did.
fn child(shown: &Shown) -> Option<&ChildSa> {
    match shown.children.as_slice() {
        [] => None,
        [ChildEvent::Add(child)] => Some(child),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_asks_for_it_gets_it_between_the_two_hosts() {
    for asked in [HOSTS.map(|host| format!("{host}/32")), ["0.0.0.0/0", "0.0.0.0/0"].map(str::to_owned)] {
        let (mut world, mut client) = (World::new(config()), Client::new());
        let mut request = child_request(esp_proposal(0xc001), &asked[0], &asked[1]).to_vec();
        request.push(notify(kinds::USE_TRANSPORT_MODE, &[]));
        let (payloads, shown) = client.connect_for(&mut world, request);
        assert!(notified(&payloads).contains(&kinds::USE_TRANSPORT_MODE));
        assert_eq!(selectors(&payloads), (vec![network("192.0.2.9/32")], vec![network("198.51.100.1/32")]));
        let child = child(&shown).expect("a child");
        assert!(child.transport && !child.udp && child.name == "road/host");
        assert_eq!(child.local, [("198.51.100.1".parse().unwrap(), 32)]);
        assert_eq!(child.remote, [("192.0.2.9".parse().unwrap(), 32)]);
        assert!(world.sa(SPI).children[0].transport);
        assert!(shown.reports.iter().any(|it| it.to_string().contains("established in transport mode with alice")));
    }
}

#[test]
fn a_peer_with_an_address_from_a_pool_speaks_in_its_own_name() {
    let mut config = config();
    config.connections[0].pools = vec!["guests".into()];
    let (mut world, mut client) = (World::new(config), Client::new());
    let attributes = vec![crate::wire::Attribute { kind: crate::wire::attribute::INTERNAL_IP4_ADDRESS, value: vec![] }];
    client.extra.push(Payload::Configuration { kind: 1, attributes });
    let (_, shown) = client.connect_for(&mut world, request(0xc001, &HOSTS));
    assert_eq!(child(&shown).expect("a child").remote, [("192.0.2.9".parse().unwrap(), 32)]);
}

#[test]
fn who_does_not_ask_for_it_gets_a_tunnel_or_nothing() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let (payloads, shown) =
        client.connect_for(&mut world, child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    assert!(!notified(&payloads).contains(&kinds::USE_TRANSPORT_MODE));
    assert!(child(&shown).is_some_and(|child| !child.transport && child.name == "road/lan"));
    let (mut world, mut client) = (World::new(config()), Client::new());
    let (payloads, shown) =
        client.connect_for(&mut world, child_request(esp_proposal(0xc001), "192.0.2.9/32", "198.51.100.1/32"));
    assert!(child(&shown).is_none() && notified(&payloads).contains(&kinds::TS_UNACCEPTABLE));
}

#[test]
fn where_it_is_not_configured_the_answer_is_a_tunnel() {
    let (mut world, mut client) = (World::new(super::config()), Client::new());
    let mut request = child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24").to_vec();
    request.push(notify(kinds::USE_TRANSPORT_MODE, &[]));
    let (payloads, shown) = client.connect_for(&mut world, request);
    assert!(!notified(&payloads).contains(&kinds::USE_TRANSPORT_MODE));
    assert!(child(&shown).is_some_and(|child| !child.transport));
}

#[test]
fn through_a_translator_there_is_none() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.extra.extend([
        notify(kinds::NAT_DETECTION_SOURCE_IP, &[1; 20]),
        notify(kinds::NAT_DETECTION_DESTINATION_IP, &[2; 20]),
    ]);
    let (payloads, shown) = client.connect_for(&mut world, request(0xc001, &HOSTS));
    assert!(child(&shown).is_none() && notified(&payloads).contains(&kinds::TS_UNACCEPTABLE));
    assert!(shown.reports.iter().any(|it| it.to_string().contains("addresses are translated on the way")));
}

/// Its traffic is between two addresses: another one is another child's.
#[test]
fn a_peer_in_transport_mode_stays_where_it_is() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.extra.push(notify(kinds::MOBIKE_SUPPORTED, &[]));
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.extra.push(notify(kinds::MOBIKE_SUPPORTED, &[]));
    let auth = client.auth(request(0xc001, &HOSTS));
    world.ask(SPI, path(), &auth);
    let mut moved = |to: Path| {
        let update = client.request(Exchange::INFORMATIONAL, &[notify(kinds::UPDATE_SA_ADDRESSES, &[])]);
        let (answer, shown) = world.ask(SPI, to, &update);
        (
            notified(&client.open(&[answer]).1).contains(&kinds::UNACCEPTABLE_ADDRESSES),
            shown.children.len(),
            world.sa(SPI),
        )
    };
    let elsewhere = Path { theirs: socket("192.0.2.77:4500"), ..nat_path() };
    let (refused, children, sa) = moved(elsewhere);
    assert!(refused && children == 0 && sa.path == path(), "{sa:?}");
    // Another port of the same host is no move.
    let (refused, children, sa) = moved(nat_path());
    assert!(!refused && children == 1 && sa.path == nat_path());
}
