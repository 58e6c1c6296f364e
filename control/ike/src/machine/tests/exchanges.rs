//! What a peer asks for, and gets.

use super::client::{
    CLIENT_SPI, SPI, SUITE, child_request, esp_proposal, esp_proposal_with_exchange, nonce_of, notified, notify,
    selectors,
};
use super::*;
use crate::crypto::{Group, KeyPair, child_keymat};
use crate::machine::{ChildSa, Failure};
use crate::wire::{Attribute, Exchange, Notify, Payload, Proposal, attribute, notify as kinds};

/// The one child that came.
fn added(shown: &Shown) -> ChildSa {
    let [ChildEvent::Add(child)] = shown.children.as_slice() else { panic!("{:?}", shown.children) };
    (**child).clone()
}

#[test]
fn two_messages_make_an_ike_sa_and_a_child_with_the_same_keys_on_both_sides() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let (answer, shown) = world.ask(SPI, path(), &first);
    assert!(shown.children.is_empty() && shown.timeout_s == Some(1030));
    client.hear_first(&answer);
    let auth = client.auth(child_request(esp_proposal(0xc001), "0.0.0.0/0", "10.0.0.0/8"));
    let (answer, shown) = world.ask(SPI, path(), &auth);
    let (header, payloads) = client.open(&[answer]);
    assert!(header.response && header.message_id == 1 && client.is_proved(&payloads));
    assert_eq!(selectors(&payloads), (vec![network("10.9.0.0/16")], vec![network("10.3.0.0/24")]), "narrowed");
    let child = added(&shown);
    assert_eq!((child.outbound.spi, child.inbound.spi & 0x3ff), (0xc001, 77), "our SPI carries the unit");
    assert_eq!((&*child.transform, child.extended, child.udp, child.replaces), ("aes128gcm16", true, false, None));
    assert_eq!(child.local, whole("10.3.0.0/24"));
    let keys = client.keys.as_ref().unwrap();
    let keymat = child_keymat(SUITE.prf, &keys.d, None, &client.nonce, &client.gateway_nonce, 40);
    assert_eq!(
        (child.inbound.cipher_key.as_bytes(), child.outbound.cipher_key.as_bytes()),
        keymat.as_bytes().split_at(20)
    );
    assert!(child.inbound.integrity_key.is_empty());
    let lines: Vec<String> = shown.reports.iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("IKE SA road established with alice@example.org at 192.0.2.9:500"), "{lines:?}");
    assert!(lines[1].contains("child SA road/lan established with alice@example.org: aes128gcm16"), "{lines:?}");
    assert_eq!(shown.timeout_s, Some(1030), "the next probe");
}

#[test]
fn a_peer_is_given_an_address_and_its_traffic_is_that_address() {
    let mut config = config();
    config.connections[0].pools = vec!["guests".into()];
    config.connections[0].children[0].remote.clear();
    let (mut world, mut client) = (World::new(config), Client::new());
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    let asked = [attribute::INTERNAL_IP4_ADDRESS, attribute::INTERNAL_IP4_DNS];
    let attributes = asked.map(|kind| Attribute { kind, value: Vec::new() }).into();
    client.extra.push(Payload::Configuration { kind: 1, attributes });
    let auth = client.auth(child_request(esp_proposal(0xc001), "0.0.0.0/0", "0.0.0.0/0"));
    let (answer, shown) = world.ask(SPI, path(), &auth);
    let (_, payloads) = client.open(&[answer]);
    let given = payloads.iter().find_map(|payload| match payload {
        Payload::Configuration { kind: 2, attributes } => Some(attributes.clone()),
        _ => None,
    });
    let given: Vec<_> = given.unwrap().into_iter().map(|it| (it.kind, it.value)).collect();
    assert_eq!(
        given,
        [(attribute::INTERNAL_IP4_ADDRESS, vec![10, 99, 0, 1]), (attribute::INTERNAL_IP4_DNS, vec![10, 3, 0, 53])]
    );
    assert_eq!(added(&shown).remote, whole("10.99.0.1/32"));
    // The address is taken as long as the SA lives.
    let alice = Identity::of_text(CLIENT);
    let mut lease = |wish: &str| {
        let ask = crate::pool::Ask {
            pool: "guests",
            v6: false,
            peer: &alice,
            wish: Some(wish.parse().unwrap()),
            spi: 5,
            now_s: u64::MAX / 2,
        };
        crate::pool::Pools::lease(&mut world.book, ask).unwrap().to_string()
    };
    assert_ne!(lease("10.99.0.1"), "10.99.0.1");
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 1, spis: Vec::new() }]);
    let (_, shown) = world.ask(SPI, path(), &bye);
    assert!(matches!(shown.children.as_slice(), [ChildEvent::Remove(_)]));
    let ask = crate::pool::Ask {
        pool: "guests",
        v6: false,
        peer: &alice,
        wish: Some("10.99.0.1".parse().unwrap()),
        spi: 5,
        now_s: 0,
    };
    assert_eq!(crate::pool::Pools::lease(&mut world.book, ask).unwrap().to_string(), "10.99.0.1");
}

#[test]
fn a_second_child_may_have_a_key_exchange_of_its_own() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let mut random = Counted(5);
    let pair = KeyPair::generate(Group::X25519, &mut random);
    let mut request = child_request(esp_proposal_with_exchange(0xc002), "10.9.0.0/16", "10.4.0.0/16").to_vec();
    request.push(Payload::Nonce(vec![8; 32]));
    request.push(Payload::KeyExchange { group: 31, public: pair.public().to_vec() });
    let request = client.request(Exchange::CREATE_CHILD_SA, &request);
    let (answer, shown) = world.ask(SPI, path(), &request);
    let (_, payloads) = client.open(&[answer]);
    let public = payloads.iter().find_map(|payload| match payload {
        Payload::KeyExchange { public, .. } => Some(public.clone()),
        _ => None,
    });
    let shared = pair.agree(&public.expect("a key")).unwrap();
    let keys = client.keys.as_ref().unwrap();
    let keymat = child_keymat(SUITE.prf, &keys.d, Some(&shared), &[8; 32], &nonce_of(&payloads), 128);
    let child = added(&shown);
    assert_eq!((&*child.name, &*child.transform, child.extended), ("road/more", "aes256-sha256", false));
    let halves = [&child.inbound, &child.outbound];
    let all: Vec<u8> =
        halves.iter().flat_map(|it| [it.cipher_key.as_bytes(), it.integrity_key.as_bytes()].concat()).collect();
    assert_eq!(all, keymat.as_bytes());
    assert_eq!(world.sa(SPI).children.len(), 2);
}

#[test]
fn a_child_gets_new_keys_and_the_old_one_goes_when_the_peer_says_so() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let old = world.sa(SPI).children[0].inbound_spi;
    let rekey = |client: &mut Client, named: u32| {
        let mut request = child_request(esp_proposal(0xc002), "10.9.1.0/24", "10.3.0.0/24").to_vec();
        request.push(Payload::Nonce(vec![8; 32]));
        request.push(Payload::Notify(Notify {
            protocol: 3,
            spi: named.to_be_bytes().into(),
            kind: kinds::REKEY_SA,
            data: Vec::new(),
        }));
        client.request(Exchange::CREATE_CHILD_SA, &request)
    };
    let request = rekey(&mut client, 0xdead);
    let (answer, shown) = world.ask(SPI, path(), &request);
    assert_eq!(notified(&client.open(&[answer]).1), [kinds::CHILD_SA_NOT_FOUND]);
    assert!(shown.children.is_empty());
    let request = rekey(&mut client, 0xc001);
    let (_, shown) = world.ask(SPI, path(), &request);
    let new = added(&shown);
    assert_eq!((new.replaces, new.outbound.spi), (Some(old), 0xc002));
    assert!(shown.reports[0].to_string().contains("rekeyed"));
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 3, spis: vec![0xc001] }]);
    let (answer, shown) = world.ask(SPI, path(), &bye);
    assert_eq!(client.open(&[answer]).1, [Payload::Delete { protocol: 3, spis: vec![old] }]);
    assert!(matches!(shown.children.as_slice(), [ChildEvent::Remove(spi)] if *spi == old));
    let left: Vec<u32> = world.sa(SPI).children.iter().map(|child| child.inbound_spi).collect();
    assert_eq!(left, [new.inbound.spi]);
}

#[test]
fn an_ike_sa_gets_new_keys_and_takes_its_children_along() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.connect(&mut world);
    let (successor, shown) = client.rekey(&mut world);
    assert!(shown.children.is_empty());
    let gateway_spi = successor.gateway_spi;
    assert_eq!(gateway_spi & 0x3ff, 77);
    // The old one goes, and nothing with it.
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 1, spis: Vec::new() }]);
    let (_, shown) = world.ask(SPI, path(), &bye);
    assert!(shown.children.is_empty());
    client.succeed(successor);
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    let (answer, _) = world.ask(gateway_spi, path(), &probe);
    assert_eq!(client.open(&[answer]), (client.open_header(0), Vec::new()));
    assert_eq!(world.sa(gateway_spi).children.len(), 1);
    let bye = client.request(Exchange::INFORMATIONAL, &[Payload::Delete { protocol: 1, spis: Vec::new() }]);
    let (_, shown) = world.ask(gateway_spi, path(), &bye);
    assert_eq!(shown.children.len(), 1);
}

#[test]
fn long_messages_go_and_come_in_pieces() {
    let mut config = config();
    let child = &mut config.connections[0].children[0];
    (child.local, child.remote) = (vec![network("fd00:3::/64")], vec![network("fd00:9::/64")]);
    let (mut world, mut client) = (World::new(config), Client::new());
    client.connect(&mut world);
    let hosts = |net: &str| (1..=32).map(|low| network(&format!("{net}::{low:x}/128"))).collect::<Vec<_>>();
    let wish = [
        Payload::Sa(vec![esp_proposal(0xc002)]),
        Payload::Nonce(vec![8; 32]),
        Payload::SelectorsInitiator(hosts("fd00:9")),
        Payload::SelectorsResponder(hosts("fd00:3")),
    ];
    let pieces = client.pieces(Exchange::CREATE_CHILD_SA, &wish, 400);
    assert_eq!(pieces.len(), 7);
    let mut answers = Vec::new();
    // Some come twice, and not in order.
    for at in [3, 3, 0, 6, 5, 1, 4, 0, 2] {
        assert!(answers.is_empty());
        let shown = world.step(SPI, Event::Message { path: path(), bytes: &pieces[at] });
        answers = shown.sent.into_iter().map(|datagram| datagram.bytes).collect();
    }
    assert!(answers.len() > 1 && answers.iter().all(|bytes| bytes.len() <= 1200), "{}", answers.len());
    let (_, payloads) = client.open(&answers);
    assert_eq!(selectors(&payloads), (hosts("fd00:9"), hosts("fd00:3")));
    // Asked again, the first piece alone is answered.
    for (at, count) in [(1, 0), (0, answers.len()), (6, 0)] {
        let shown = world.step(SPI, Event::Message { path: path(), bytes: &pieces[at] });
        assert_eq!((shown.sent.len(), shown.changed), (count, false), "piece {at}");
    }
}

#[test]
fn behind_a_translator_esp_goes_in_udp_and_follows_the_peer() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.extra.extend([
        notify(kinds::NAT_DETECTION_SOURCE_IP, &[1; 20]),
        notify(kinds::NAT_DETECTION_DESTINATION_IP, &crate::crypto::nat_hash(CLIENT_SPI, 0, path().ours.ip(), 500)),
    ]);
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.path = nat_path();
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (_, shown) = world.ask(SPI, nat_path(), &auth);
    let child = added(&shown);
    assert!(child.udp && child.path == nat_path());
    let elsewhere = Path { theirs: socket("192.0.2.9:61000"), ..nat_path() };
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    let (_, shown) = world.ask(SPI, elsewhere, &probe);
    let [ChildEvent::Move { inbound_spi, path, udp: true }] = shown.children.as_slice() else { panic!() };
    assert_eq!((*inbound_spi, *path), (child.inbound.spi, elsewhere));
    assert_eq!(shown.sent[0].to, elsewhere.theirs);
}

#[test]
fn a_peer_that_can_move_says_so_and_is_followed_then_only() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.extra.push(notify(kinds::IKEV2_FRAGMENTATION_SUPPORTED, &[]));
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.extra.push(notify(kinds::MOBIKE_SUPPORTED, &[]));
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (answer, _) = world.ask(SPI, path(), &auth);
    assert!(notified(&client.open(&[answer]).1).contains(&kinds::MOBIKE_SUPPORTED));
    let elsewhere = Path { theirs: socket("203.0.113.5:4500"), ours: nat_path().ours };
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    let (_, shown) = world.ask(SPI, elsewhere, &probe);
    assert!(shown.children.is_empty() && world.sa(SPI).path == path());
    let gateway = client.gateway_spi;
    let source = crate::crypto::nat_hash(CLIENT_SPI, gateway, elsewhere.theirs.ip(), 4500);
    let moved = client.request(
        Exchange::INFORMATIONAL,
        &[
            notify(kinds::UPDATE_SA_ADDRESSES, &[]),
            notify(kinds::NAT_DETECTION_SOURCE_IP, &source),
            notify(kinds::COOKIE2, b"12345678"),
        ],
    );
    let (answer, shown) = world.ask(SPI, elsewhere, &moved);
    assert!(matches!(shown.children.as_slice(), [ChildEvent::Move { path, udp: false, .. }] if *path == elsewhere));
    assert!(shown.reports[0].to_string().ends_with("speaks from 203.0.113.5:4500 now"));
    let told = notified(&client.open(&[answer]).1);
    assert_eq!(told, [kinds::NAT_DETECTION_SOURCE_IP, kinds::NAT_DETECTION_DESTINATION_IP, kinds::COOKIE2]);
}

#[test]
fn what_cannot_be_had_is_refused_and_the_ike_sa_stays() {
    let ah = Proposal { protocol: 2, ..esp_proposal(0xc009) };
    for (request, expected) in [
        (child_request(esp_proposal(0xc009), "10.8.0.0/16", "10.3.0.0/24"), kinds::TS_UNACCEPTABLE),
        (child_request(esp_proposal(0xc009), "10.9.0.0/16", "172.16.0.0/12"), kinds::TS_UNACCEPTABLE),
        (child_request(ah, "10.9.0.0/16", "10.3.0.0/24"), kinds::NO_PROPOSAL_CHOSEN),
    ] {
        let (mut world, mut client) = (World::new(config()), Client::new());
        let first = client.first();
        let (answer, _) = world.ask(SPI, path(), &first);
        client.hear_first(&answer);
        let auth = client.auth(request.clone());
        let (answer, shown) = world.ask(SPI, path(), &auth);
        let (_, payloads) = client.open(&[answer]);
        assert!(client.is_proved(&payloads) && shown.children.is_empty());
        assert_eq!(notified(&payloads), [kinds::QUICK_CRASH_DETECTION, expected]);
        let mut request = request.to_vec();
        request.push(Payload::Nonce(vec![8; 32]));
        let request = client.request(Exchange::CREATE_CHILD_SA, &request);
        let (answer, shown) = world.ask(SPI, path(), &request);
        assert_eq!(notified(&client.open(&[answer]).1), [expected]);
        let why = &shown.reports[0];
        assert!(matches!(why, Report::Failed { why: Failure::NoTraffic(_) | Failure::NoProposal(_), .. }), "{why}");
    }
}
