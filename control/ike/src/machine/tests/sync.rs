//! A peer that is a cluster, and has failed over (RFC 6311): what is agreed on, and what old words do.

use super::client::{SPI, child_request, esp_proposal, notified, notify};
use super::peers::{Peers, THEM, US, configs};
use super::*;
use crate::state::Purpose;
use crate::wire::{Exchange, Header, Payload, notify as kinds};

fn sync(nonce: u32, sends: u32, expects: u32) -> Payload {
    notify(kinds::IKEV2_MESSAGE_ID_SYNC, &[nonce, sends, expects].map(u32::to_be_bytes).concat())
}

fn skip(count: &[u8]) -> Payload {
    notify(kinds::IPSEC_REPLAY_COUNTER_SYNC, count)
}

fn plain(kind: u16) -> Payload {
    notify(kind, &[])
}

/// A client that can do these, and has a child.
fn connected(abilities: &[u16]) -> (World, Client, Vec<Payload>) {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.extra = abilities.iter().map(|kind| plain(*kind)).collect();
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (answer, _) = world.ask(SPI, path(), &auth);
    let payloads = client.open(&[answer]).1;
    (world, client, payloads)
}

const BOTH: [u16; 2] = [kinds::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, kinds::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED];

/// What is said under message ID 0, and what comes of it.
fn said(world: &mut World, client: &mut Client, payloads: &[Payload]) -> (Vec<u8>, Shown) {
    let bytes = client.message(Exchange::INFORMATIONAL, 0, false, payloads);
    let shown = world.step(client.gateway_spi, Event::Message { path: path(), bytes: &bytes });
    (bytes, shown)
}

fn answered(client: &Client, shown: &Shown) -> (Header, Vec<Payload>) {
    client.open(&[shown.sent[0].bytes.clone()])
}

fn is_nothing(shown: &Shown) -> bool {
    shown.sent.is_empty() && shown.children.is_empty() && shown.reports.is_empty() && !shown.changed
}

#[test]
fn who_can_do_it_hears_that_we_can() {
    for (abilities, expected) in [(&BOTH[..], [true, true]), (&BOTH[..1], [true, false]), (&BOTH[1..], [false, true])] {
        let (world, _, payloads) = connected(abilities);
        let told = notified(&payloads);
        assert!(BOTH.iter().zip(expected).all(|(kind, says)| told.contains(kind) == says), "{told:?}");
        let known = world.sa(SPI).abilities;
        assert_eq!([known.message_id_sync, known.replay_sync], expected);
    }
    // Two of us.
    let mut peers = Peers::new(configs());
    peers.begin(US);
    peers.settle();
    for side in [US, THEM] {
        let known = peers.up(side)[0].abilities;
        assert!(known.message_id_sync && known.replay_sync);
    }
}

#[test]
fn message_ids_are_agreed_on_anew() {
    // The client's next request is 2; ours is 0.
    for (sends, expects, then_expects) in [(2, 0, 0), (2, 7, 7), (9, 0, 0), (200, 100, 100)] {
        let (mut world, mut client, _) = connected(&BOTH);
        let (_, shown) = said(&mut world, &mut client, &[sync(0x1234, sends, expects)]);
        let (header, payloads) = answered(&client, &shown);
        assert_eq!((header.message_id, header.response, header.exchange.0), (0, true, 37));
        assert_eq!(payloads, [sync(0x1234, then_expects, sends)]);
        assert!(shown.reports[0].to_string().contains("has failed over"), "{}", shown.reports[0]);
        let sa = world.sa(SPI);
        assert_eq!((sa.next_request, sa.next_own), (sends, then_expects));
        client.next = sends;
        let probe = client.request(Exchange::INFORMATIONAL, &[]);
        let (answer, _) = world.ask(SPI, path(), &probe);
        assert_eq!(client.open(std::slice::from_ref(&answer)).0.message_id, sends);
        assert_eq!(world.ask(SPI, path(), &probe).0, answer);
    }
}

/// A peer that fails over before it has asked anything under an IKE SA begins with 0; that is new once, too.
#[test]
fn who_has_asked_nothing_yet_may_begin_with_0() {
    let (mut world, mut client, _) = connected(&BOTH);
    let (successor, _) = client.rekey(&mut world);
    client.succeed(successor);
    let (first, shown) = said(&mut world, &mut client, &[sync(1, 0, 0), skip(&[0, 0, 0, 9])]);
    assert_eq!(answered(&client, &shown).1, [sync(1, 0, 0)]);
    assert_eq!(shown.children.len(), 1);
    let spi = client.gateway_spi;
    assert!(is_nothing(&world.step(spi, Event::Message { path: path(), bytes: &first })));
    assert!(is_nothing(&said(&mut world, &mut client, &[sync(2, 0, 0)]).1), "another nonce");
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    let (answer, _) = world.ask(spi, path(), &probe);
    assert_eq!(client.open(&[answer]).0.message_id, 0);
    assert!(!is_nothing(&said(&mut world, &mut client, &[sync(3, 1, 0)]).1));
    assert_eq!(world.sa(spi).next_request, 1);
}

/// Neither the same words, nor older ones, nor such with something else in them.
#[test]
fn what_is_old_or_odd_does_nothing() {
    let (mut world, mut client, _) = connected(&BOTH);
    let odd = [
        vec![sync(1, 5, 0), plain(kinds::COOKIE2)],
        vec![sync(1, 5, 0), sync(1, 6, 0)],
        vec![sync(1, 5, 0), skip(&[1, 2, 3])],
        vec![sync(1, 5, 0), Payload::Delete { protocol: 1, spis: Vec::new() }],
        vec![notify(kinds::IKEV2_MESSAGE_ID_SYNC, &[0; 11])],
        vec![notify(kinds::IKEV2_MESSAGE_ID_SYNC, &[0; 16])],
        vec![notify(kinds::IKEV2_MESSAGE_ID_SYNC, &[])],
        vec![sync(1, 1, 0)],
        vec![sync(1, 0, 0)],
        vec![sync(1, u32::MAX, 0)],
        vec![sync(1, 5, u32::MAX)],
    ];
    for payloads in &odd {
        assert!(is_nothing(&said(&mut world, &mut client, payloads).1), "{payloads:?}");
    }
    let (first, shown) = said(&mut world, &mut client, &[skip(&[0, 0, 0, 9]), sync(1, 5, 3)]);
    assert_eq!((shown.sent.len(), shown.children.len()), (1, 1));
    let repeat = |world: &mut World| world.step(SPI, Event::Message { path: path(), bytes: &first });
    assert!(is_nothing(&repeat(&mut world)));
    assert!(is_nothing(&said(&mut world, &mut client, &[sync(2, 5, 3)]).1), "another nonce");
    // Ordinary requests go on from there; the next failover is above them.
    client.next = 5;
    for _ in 0..3 {
        let probe = client.request(Exchange::INFORMATIONAL, &[]);
        world.ask(SPI, path(), &probe);
        assert!(is_nothing(&repeat(&mut world)));
    }
    assert!(is_nothing(&said(&mut world, &mut client, &[sync(3, 7, 3)]).1));
    assert!(!is_nothing(&said(&mut world, &mut client, &[sync(3, 8, 3)]).1));
    // In clear, or as an answer, it is nothing, either.
    let header = Header { from_initiator: true, response: false, ..client.open_header(0) };
    let bytes = crate::wire::emit(&header, &[sync(4, 50, 50)]);
    assert!(is_nothing(&world.step(SPI, Event::Message { path: path(), bytes: &bytes })));
    let bytes = client.message(Exchange::INFORMATIONAL, 0, true, &[sync(4, 50, 50)]);
    assert!(is_nothing(&world.step(SPI, Event::Message { path: path(), bytes: &bytes })));
    assert_eq!((world.sa(SPI).next_request, world.sa(SPI).next_own), (8, 3));
}

#[test]
fn who_cannot_do_it_does_not_do_it() {
    let (mut world, mut client, payloads) = connected(&[]);
    assert!(BOTH.iter().all(|kind| !notified(&payloads).contains(kind)));
    assert!(is_nothing(&said(&mut world, &mut client, &[sync(1, 5, 3)]).1));
    let ordinary = client.request(Exchange::INFORMATIONAL, &[skip(&[0, 0, 0, 9]), sync(1, 50, 30)]);
    assert!(world.ask(SPI, path(), &ordinary).1.children.is_empty());
    assert_eq!((world.sa(SPI).next_request, world.sa(SPI).next_own), (3, 0));
}

/// Numbers of packets are skipped once, in either kind of message.
#[test]
fn numbers_of_packets_are_skipped() {
    let (mut world, mut client, _) = connected(&BOTH);
    let inbound = world.sa(SPI).children[0].inbound_spi;
    for (data, expected) in [
        (&[0, 1, 0, 0][..], Some(65_536)),
        (&[0, 0, 0, 1, 0, 0, 0, 2], Some((1 << 32) + 2)),
        (&[0; 4], None),
        (&[1; 5], None),
        (&[], None),
    ] {
        let bytes = client.request(Exchange::INFORMATIONAL, &[skip(data)]);
        let (_, shown) = world.ask(SPI, path(), &bytes);
        let skips: Vec<(u32, u64)> = shown.children.iter().map(skipped).collect();
        assert_eq!(skips, expected.map(|count| (inbound, count)).into_iter().collect::<Vec<_>>(), "{data:?}");
        // The same again has the same answer, and skips no more.
        assert!(world.ask(SPI, path(), &bytes).1.children.is_empty());
    }
}

fn skipped(event: &ChildEvent) -> (u32, u64) {
    let ChildEvent::Skip { inbound_spi, count } = event else { panic!("{event:?}") };
    (*inbound_spi, *count)
}

/// The number 0 is that of an ordinary request as well, after new keys.
#[test]
fn an_ordinary_first_request_is_not_taken_for_it() {
    let mut peers = Peers::new(configs());
    peers.begin(US);
    peers.settle();
    let spi = peers.up(THEM)[0].own_spi();
    peers.step(THEM, spi, Event::Rekey);
    peers.settle();
    assert!([US, THEM].iter().all(|side| peers.up(*side).len() == 1));
    let spi = peers.up(US)[0].own_spi();
    assert_eq!(peers.worlds[US].sa(spi).next_request, 1, "the token was told");
    peers.go(1100);
    peers.assert_tunnels(2);
}

/// What we had asked, and the new member does not know of, is asked under a new number.
#[test]
fn what_was_asked_is_asked_anew() {
    let (mut world, mut client, _) = connected(&BOTH);
    let child = world.sa(SPI).children[0].inbound_spi;
    let wishes = [Event::ChildWorn(child), Event::Rekey, Event::ChildSpent(child), Event::Close];
    let purposes = wishes.map(|event| {
        let before = world.records.clone();
        let asked = world.step(SPI, event);
        let pending = world.sa(SPI).pending.expect("a question");
        let (_, shown) = said(&mut world, &mut client, &[sync(1, 9, 0)]);
        assert_eq!((asked.sent.len(), shown.sent.len()), (1, 2), "the answer, and the question");
        assert_eq!(answered(&client, &shown).1, [sync(1, 1, 9)]);
        assert_eq!(client.open(&[shown.sent[1].bytes.clone()]).0.message_id, 1);
        let anew = world.sa(SPI).pending.expect("the question");
        assert_eq!(std::mem::discriminant(&anew.purpose), std::mem::discriminant(&pending.purpose));
        world.records = before;
        anew.purpose
    });
    assert!(matches!(purposes[0], Purpose::RekeyChild(..)) && matches!(purposes[3], Purpose::Close));
    // Whether it lives needs not be asked of one that speaks.
    world.now_s += 30;
    world.step(SPI, Event::Timeout);
    assert!(matches!(world.sa(SPI).pending.expect("a question").purpose, Purpose::Probe));
    assert_eq!(said(&mut world, &mut client, &[sync(1, 9, 0)]).1.sent.len(), 1);
    assert!(world.sa(SPI).pending.is_none());
}

/// A peer that fails over before it has heard our token for new keys is given it once more.
#[test]
fn a_token_that_may_be_lost_is_given_again() {
    let mut peers = Peers::new(configs());
    peers.begin(US);
    peers.settle();
    let spi = peers.up(US)[0].own_spi();
    peers.step(US, spi, Event::Rekey);
    assert!(peers.deliver() && peers.deliver());
    peers.wire.clear();
    let mut theirs = peers.up(THEM).into_iter().find(|sa| sa.next_request == 0).expect("the new one");
    assert!(theirs.token.is_empty());
    // The new member has lost count of what we have said.
    theirs.next_request = 1;
    peers.worlds[THEM].records.insert(theirs.own_spi(), theirs.save());
    let (machine, mut given) = peers.worlds[THEM].turn();
    let mut turn =
        crate::machine::Turn { config: machine.config, given: &mut given, drawn: 0, out: Outcome::default() };
    let header = theirs.header(Exchange::INFORMATIONAL, false, 0);
    let [bytes] = &turn.seal(&theirs, &header, &[sync(1, 0, 1)])[..] else { panic!("in pieces") };
    peers.hear(US, &Datagram { from: theirs.path.ours, to: theirs.path.theirs, bytes: bytes.clone() });
    peers.settle();
    let heard = peers.worlds[THEM].sa(theirs.own_spi());
    assert_eq!((heard.token.len(), heard.next_request), (32, 2), "{:?}", peers.reports);
}
