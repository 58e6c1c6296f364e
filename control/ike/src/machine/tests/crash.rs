//! Peers that have lost an IKE SA (RFC 6290): what is given, what is believed, and what is never said.

use super::client::{SPI, child_request, esp_proposal, notify};
use super::peers::{Peers, THEM, US, configs, mirrored};
use super::*;
use crate::wire::{self, Body, Exchange, Header, Notify, Payload, notify as kinds};

const TOKEN: [u8; 32] = [0x7c; 32];

fn token(data: &[u8]) -> Payload {
    notify(kinds::QUICK_CRASH_DETECTION, data)
}

fn lost() -> Payload {
    notify(kinds::INVALID_IKE_SPI, &[])
}

fn tokens(payloads: &[Payload]) -> Vec<Vec<u8>> {
    let token = |payload: &Payload| match payload {
        Payload::Notify(Notify { kind: kinds::QUICK_CRASH_DETECTION, data, .. }) => Some(data.clone()),
        _ => None,
    };
    payloads.iter().filter_map(token).collect()
}

/// A client that has a child, and has given this token with its proof.
fn connected(given: &[u8]) -> (World, Client, Vec<Payload>) {
    let (mut world, mut client) = (World::new(config()), Client::new());
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    client.extra = vec![token(given)];
    let auth = client.auth(child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24"));
    let (answer, _) = world.ask(SPI, path(), &auth);
    let payloads = client.open(&[answer]).1;
    (world, client, payloads)
}

/// What is said in clear, and whether it ended the SA. Nothing is ever answered to it.
fn ends(world: &mut World, header: &Header, payloads: &[Payload]) -> bool {
    let bytes = wire::emit(header, payloads);
    let outcome = world.try_step(SPI, Event::Message { path: path(), bytes: &bytes });
    assert!(outcome.send.is_empty() && outcome.successor.is_none());
    let ended = matches!(outcome.next, Next::Ended);
    assert!(ended || matches!(outcome.next, Next::Same) && outcome.children.is_empty() && outcome.timeout_s.is_some());
    if header.exchange != Exchange::IKE_SA_INIT {
        assert_eq!(outcome.token, Some(ended));
    }
    if ended {
        assert!(matches!(outcome.children.as_slice(), [ChildEvent::Remove(_)]));
        assert!(outcome.reports[0].to_string().contains("has lost it"), "{}", outcome.reports[0]);
    }
    ended
}

#[test]
fn the_right_token_alone_ends_an_ike_sa() {
    let (mut world, mut client, _) = connected(&TOKEN);
    let header = Header { from_initiator: true, ..client.open_header(7) };
    let other = [TOKEN[0] ^ 1; 32];
    let spi = notify(kinds::INVALID_SPI, &[0, 0, 0, 1]);
    for (payloads, believed) in [
        (vec![lost(), token(&TOKEN)], true),
        (vec![token(&TOKEN), lost()], true),
        (vec![spi, token(&TOKEN)], true),
        (vec![lost(), token(&other), token(&other), token(&[]), token(&TOKEN)], true),
        (vec![lost(), token(&other), token(&other), token(&other), token(&other), token(&TOKEN)], false),
        (vec![lost(), token(&other)], false),
        (vec![lost(), token(&TOKEN[..31])], false),
        (vec![lost(), token(&[])], false),
        (vec![lost(), notify(kinds::COOKIE, &TOKEN)], false),
        (vec![lost()], false),
        (vec![token(&TOKEN)], false),
        (vec![notify(kinds::INVALID_SYNTAX, &[]), token(&TOKEN)], false),
        (vec![Payload::Delete { protocol: 1, spis: Vec::new() }, token(&TOKEN)], false),
        (vec![], false),
    ] {
        assert_eq!(ends(&mut world, &header, &payloads), believed, "{payloads:?}");
    }
    let right = [lost(), token(&TOKEN)];
    for (header, believed) in [
        (Header { response: false, message_id: 0, ..header }, true),
        (Header { exchange: Exchange::CREATE_CHILD_SA, ..header }, true),
        (Header { exchange: Exchange::IKE_SA_INIT, ..header }, false),
        (Header { from_initiator: false, ..header }, false),
        (Header { initiator_spi: header.initiator_spi ^ 1, ..header }, false),
        (Header { responder_spi: header.responder_spi ^ 1, ..header }, false),
    ] {
        assert_eq!(ends(&mut world, &header, &right), believed, "{header:?}");
    }
    // It goes on as if nothing had been.
    let probe = client.request(Exchange::INFORMATIONAL, &[]);
    world.ask(SPI, path(), &probe);
    let shown = world.step(SPI, Event::Message { path: path(), bytes: &wire::emit(&header, &right) });
    assert!(shown.changed && !world.records.contains_key(&SPI));
}

/// What is no token is not kept, and another one that comes sealed takes the first one's place, whatever it comes with.
#[test]
fn what_is_kept_is_the_last_that_came_sealed() {
    for len in [0, 15, 129, 4000] {
        assert!(connected(&vec![1; len]).0.sa(SPI).token.is_empty(), "{len}");
    }
    for len in [16, 128] {
        assert_eq!(connected(&vec![1; len]).0.sa(SPI).token.len(), len);
    }
    let (mut world, mut client, _) = connected(&TOKEN);
    let renewed = client.request(Exchange::INFORMATIONAL, &[notify(kinds::COOKIE2, &[1; 8]), token(&[9; 40])]);
    let (answer, _) = world.ask(SPI, path(), &renewed);
    assert!(tokens(&client.open(&[answer]).1).is_empty(), "it is not said again");
    let header = Header { from_initiator: true, ..client.open_header(7) };
    assert!(!ends(&mut world, &header, &[lost(), token(&TOKEN)]));
    // One in clear is not kept.
    assert!(!ends(&mut world, &header, &[token(&[3; 32])]));
    assert!(ends(&mut world, &header, &[lost(), token(&[9; 40])]));
}

/// Who has proved nothing yet has given nothing.
#[test]
fn before_the_proof_nothing_is_believed() {
    let (mut world, mut client) = (World::new(config()), Client::new());
    client.extra = vec![token(&TOKEN)];
    let first = client.first();
    let (answer, _) = world.ask(SPI, path(), &first);
    client.hear_first(&answer);
    let header = Header { from_initiator: true, ..client.open_header(0) };
    for data in [&TOKEN[..], &[]] {
        assert!(!ends(&mut world, &header, &[lost(), token(data)]));
    }
}

#[test]
fn it_stands_behind_the_proof_and_before_the_child() {
    let (world, client, payloads) = connected(&TOKEN);
    let at = |wanted: fn(&Payload) -> bool| payloads.iter().position(wanted).unwrap();
    let given = at(|it| matches!(it, Payload::Notify(it) if it.kind == kinds::QUICK_CRASH_DETECTION));
    assert!(at(|it| matches!(it, Payload::Auth { .. })) < given && given < at(|it| matches!(it, Payload::Sa(_))));
    let Payload::Notify(Notify { protocol, spi, data, .. }) = &payloads[given] else { unreachable!() };
    assert_eq!((*protocol, spi.len(), data.len()), (1, 0, 32));
    // Any member makes the same, of the message that asks for it alone; one with another secret does not.
    let asked = |world: &World| {
        let header = Header { from_initiator: true, response: false, message_id: 9, ..client.open_header(0) };
        Machine::new(&world.config).tell_lost(path(), &wire::emit(&header, &[])).unwrap()
    };
    let told = asked(&World::new(config()));
    assert_eq!((told.from, told.to), (path().ours, path().theirs));
    let message = wire::parse(&told.bytes).unwrap();
    assert_eq!(message.header, client.open_header(9));
    let Body::Plain(said) = message.body else { panic!("sealed") };
    assert_eq!((said[0].clone(), tokens(&said)), (lost(), vec![data.clone()]));
    let mut other = World::new(config());
    other.config.token_key = other.config.cookie_key.clone();
    assert_ne!(asked(&other).bytes, told.bytes);
    assert_eq!(world.sa(SPI).token, Secret::from(&TOKEN[..]));
}

#[test]
fn what_is_no_request_under_an_ike_sa_is_told_nothing() {
    let header = Header { from_initiator: true, response: false, ..Client::new().open_header(3) };
    let world = World::new(config());
    let told = |header: &Header| Machine::new(&world.config).tell_lost(path(), &wire::emit(header, &[]));
    assert!(told(&header).is_some() && told(&Header { exchange: Exchange(200), ..header }).is_some());
    for header in [
        Header { response: true, ..header },
        Header { exchange: Exchange::IKE_SA_INIT, ..header },
        Header { initiator_spi: 0, ..header },
        Header { responder_spi: 0, ..header },
    ] {
        assert_eq!(told(&header), None);
    }
    let bytes = wire::emit(&header, &[]);
    (0..bytes.len()).for_each(|len| assert_eq!(Machine::new(&world.config).tell_lost(path(), &bytes[..len]), None));
}

/// Two machines with secrets of their own; nothing that either says in clear has a token in it.
fn begun() -> Peers {
    let mut configs = configs();
    configs[THEM].token_key = Secret::from(&b"theirs"[..]);
    configs.iter_mut().for_each(|config| config.connections[0].children.truncate(1));
    let mut peers = Peers::new(configs);
    peers.way = |_, datagram| {
        if let Body::Plain(payloads) = wire::parse(&datagram.bytes).unwrap().body {
            assert!(tokens(&payloads).is_empty(), "shown to all");
        }
        datagram
    };
    peers.begin(US);
    peers.settle();
    peers
}

/// A side has lost all; it is asked about its SA. Whether the other side believes what it says.
fn believed(peers: &mut Peers, loser: usize) -> bool {
    let [sa] = &peers.up(1 - loser)[..] else { panic!("{:?}", peers.reports) };
    let request = wire::emit(&sa.header(Exchange::INFORMATIONAL, false, sa.next_own), &[]);
    let spi = sa.own_spi();
    peers.worlds[loser].records.clear();
    let told = Machine::new(&peers.worlds[loser].config).tell_lost(mirrored(sa.path), &request).unwrap();
    peers.hear(1 - loser, &told);
    !peers.worlds[1 - loser].records.contains_key(&spi)
}

#[test]
fn either_side_hears_that_the_other_has_lost_it() {
    for loser in [US, THEM] {
        let mut peers = begun();
        assert!(believed(&mut peers, loser), "{loser} {:?}", peers.reports);
        assert!(peers.tunnels[1 - loser].is_empty());
    }
}

/// New keys come with new SPIs, and so with another token, on both sides, whoever asked for them.
#[test]
fn new_keys_come_with_new_tokens() {
    for asks in [US, THEM] {
        for loser in [US, THEM] {
            let mut peers = begun();
            for _ in 0..2 {
                let before = [US, THEM].map(|side| peers.up(side)[0].token.clone());
                let spi = peers.up(asks)[0].own_spi();
                peers.step(asks, spi, Event::Rekey);
                peers.settle();
                let after = [US, THEM].map(|side| peers.up(side)[0].token.clone());
                assert!(after.iter().zip(&before).all(|(new, old)| new != old && new.len() == 32));
            }
            let pending = [US, THEM].map(|side| peers.up(side)[0].pending.is_some());
            assert_eq!(pending, [false; 2]);
            assert!(believed(&mut peers, loser), "{asks} {loser}");
        }
    }
}
