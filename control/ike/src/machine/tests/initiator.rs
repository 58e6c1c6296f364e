//! What we begin: IKE_SA_INIT, IKE_AUTH, the children.

use super::peers::{Peers, THEM, US, configs};
use super::*;
use crate::machine::Seen;
use crate::state::Role;
use crate::wire::header;

/// Begun by us, and settled.
fn begun(configs: [Config; 2]) -> Peers {
    let mut peers = Peers::new(configs);
    peers.begin(US);
    peers.settle();
    peers
}

fn one_child(mut configs: [Config; 2]) -> [Config; 2] {
    configs.iter_mut().for_each(|config| config.connections[0].children.truncate(1));
    configs
}

fn proposals(config: &mut Config, text: &str) {
    config.connections[0].proposals = vec![text.parse().unwrap()];
}

#[test]
fn a_tunnel_that_we_begin() {
    let mut peers = Peers::new(configs());
    let spi = peers.begin(US);
    assert_eq!(spi & 0x3ff, 77, "its unit");
    peers.settle();
    peers.assert_tunnels(1);
    let [ours] = &peers.up(US)[..] else { panic!("{:?}", peers.reports) };
    assert_eq!((ours.role, ours.initiator_spi, ours.path), (Role::Initiator, spi, path()));
    assert_eq!(ours.peer().unwrap().identity, Identity::of_text(CLIENT));
    let [theirs] = &peers.up(THEM)[..] else { panic!("{:?}", peers.reports) };
    assert_eq!(theirs.peer().unwrap().identity, Identity::of_text(GATEWAY));
    assert!(theirs.peer().unwrap().sole_since_s > 0 && ours.peer().unwrap().sole_since_s == 0, "we have no other");
    // The second child comes by itself.
    peers.go(1010);
    peers.assert_tunnels(2);
    assert_eq!(peers.look(US, Seen::Tunnel(None)), Some(1015));
}

#[test]
fn a_peer_may_want_a_cookie_and_another_group() {
    let mut configs = one_child(configs());
    proposals(&mut configs[US], "aes128gcm16-prfsha256-ecp256-x25519");
    proposals(&mut configs[THEM], "aes128gcm16-prfsha256-x25519");
    for under_load in [false, true] {
        let mut peers = Peers::new(configs.clone());
        peers.worlds[THEM].under_load = under_load;
        peers.begin(US);
        peers.settle();
        peers.assert_tunnels(1);
        assert_eq!(peers.up(US)[0].suite.group.id(), 31);
    }
}

#[test]
fn a_peer_that_takes_nothing_of_ours_is_asked_again_with_new_keys() {
    let mut configs = configs();
    proposals(&mut configs[THEM], "aes128gcm16-prfsha256-ecp384");
    let mut peers = Peers::new(configs);
    let spi = peers.begin(US);
    let first = peers.wire[0].1.bytes.clone();
    peers.settle();
    assert!(peers.worlds.iter().all(|world| world.records.is_empty()));
    assert!(peers.reports[US][0].contains("refuses an IKE SA: NO_PROPOSAL_CHOSEN"), "{:?}", peers.reports[US]);
    // Not at once, and ever more rarely.
    let mut pauses = Vec::new();
    let mut at_s = peers.worlds[US].now_s;
    let mut begun = (spi, first);
    while pauses.len() < 10 {
        let since_s = at_s;
        while peers.keepers[US].as_ref().unwrap().spi == begun.0 {
            at_s = peers.look(US, Seen::Over(begun.0)).unwrap();
            peers.worlds[US].now_s = at_s;
        }
        let again = peers.wire.pop_front().unwrap().1.bytes;
        assert!(again[..8] != begun.1[..8] && again[40..] != begun.1[40..], "nothing is used twice");
        begun = (peers.keepers[US].as_ref().unwrap().spi, again);
        pauses.push(at_s - since_s);
    }
    assert!(pauses[0] < 15 && pauses[9] >= 300 && pauses[9] <= 460, "{pauses:?}");
}

#[test]
fn a_group_that_is_not_ours_is_not_tried() {
    let mut peers = Peers::new(configs());
    let spi = peers.begin(US);
    let (_, first) = peers.wire.pop_front().unwrap();
    let header = header(&first.bytes).unwrap();
    let answer = crate::wire::Header { from_initiator: false, response: true, ..header };
    let wants = |group: u16| {
        let notify = crate::wire::Notify::new(crate::wire::notify::INVALID_KE_PAYLOAD, group.to_be_bytes().into());
        crate::wire::emit(&answer, &[crate::wire::Payload::Notify(notify)])
    };
    // One of ours as often as is sensible; then it is over.
    for group in [19, 31, 19, 31, 19] {
        let bytes = wants(group);
        peers.hear(US, &Datagram { from: first.to, to: first.from, bytes });
        assert!(peers.wire.pop_front().is_some());
    }
    peers.hear(US, &Datagram { from: first.to, to: first.from, bytes: wants(31) });
    assert!(peers.wire.is_empty() && peers.worlds[US].records.is_empty());
    peers.worlds[US].now_s += 10;
    peers.look(US, Seen::Over(spi));
    let (_, first) = peers.wire.pop_front().unwrap();
    let mut bytes = wants(14);
    bytes[..8].copy_from_slice(&first.bytes[..8]);
    peers.hear(US, &Datagram { from: first.to, to: first.from, bytes });
    assert!(peers.wire.is_empty() && peers.worlds[US].records.is_empty());
}

/// Nobody vouches for what comes in clear.
#[test]
fn strangers_do_not_disturb() {
    let mut peers = Peers::new(one_child(configs()));
    let spi = peers.begin(US);
    let (_, first) = peers.wire[0].clone();
    for at in 8..28 {
        let mut bytes = first.bytes.clone();
        bytes[19] = 0x20;
        bytes[at] ^= 0x41;
        peers.step(US, spi, Event::Message { path: path(), bytes: &bytes });
    }
    let timeout = peers.due[US][&spi];
    assert_eq!((timeout, peers.wire.len()), (peers.worlds[US].now_s + 2, 1), "it waits as before");
    peers.settle();
    peers.assert_tunnels(1);
    // A first answer that comes late, or again.
    let header = header(&first.bytes).unwrap();
    let answer = crate::wire::Header { from_initiator: false, response: true, responder_spi: 5, ..header };
    let bytes = crate::wire::emit(&answer, &[]);
    peers.hear(US, &Datagram { from: first.to, to: first.from, bytes });
    assert!(peers.wire.is_empty() && peers.up(US).len() == 1);
}

#[test]
fn who_has_another_key_is_not_believed() {
    let other = || Secret::from(&b"another key"[..]);
    let mut configs = one_child(configs());
    configs[US].connections[0].own_proof = OwnProof::SharedKey(other());
    let peers = begun(configs.clone());
    assert!(peers.reports[US][0].contains("AUTHENTICATION_FAILED") && peers.worlds[US].records.is_empty());
    configs[US].connections[0].own_proof = OwnProof::SharedKey(Secret::from(KEY));
    configs[US].connections[0].peers_proof = PeersProof::SharedKey(other());
    let mut peers = begun(configs.clone());
    assert!(peers.reports[US][0].contains("it has another key"), "{:?}", peers.reports[US]);
    peers.go(1060);
    peers.assert_tunnels(0);
    assert!(peers.worlds.iter().all(|world| world.records.is_empty()), "the peer was told");
    configs[US].connections[0].peers_proof = PeersProof::SharedKey(Secret::from(KEY));
    configs[US].connections[0].remote_id = Some(Identity::of_text("mallory.example.org"));
    let peers = begun(configs);
    assert!(peers.tunnels[US].is_empty(), "{:?}", peers.reports);
}

#[test]
fn the_peer_may_narrow_what_we_ask_for() {
    let mut configs = one_child(configs());
    configs[THEM].connections[0].children[0].local = vec![network("10.9.5.0/24")];
    let peers = begun(configs);
    peers.assert_tunnels(1);
    let child = peers.tunnels[US].values().next().unwrap();
    assert_eq!(child.remote, whole("10.9.5.0/24"));
}

#[test]
fn a_child_that_is_refused_is_asked_for_again() {
    let mut both = configs();
    both[THEM].connections[0].children.remove(0);
    let mut peers = begun(both.clone());
    peers.assert_tunnels(0);
    assert!(peers.reports[US][1].contains("TS_UNACCEPTABLE"), "{:?}", peers.reports[US]);
    peers.go(1008);
    peers.assert_tunnels(1);
    // Its name is there now.
    peers.worlds[THEM].config = configs()[THEM].clone();
    peers.go(1040);
    peers.assert_tunnels(2);
    assert_eq!(peers.up(US).len(), 1);
    // One that grants nothing is left alone after a while.
    both[THEM].connections[0].children.clear();
    let mut peers = begun(both);
    peers.go(1200);
    assert!(peers.worlds.iter().all(|world| world.records.is_empty()), "{:?}", peers.reports[US]);
    assert!(peers.reports[US].iter().any(|report| report.contains("grants no child SA")));
}

#[test]
fn a_child_that_the_peer_ends_comes_again() {
    let mut peers = begun(one_child(configs()));
    let child = peers.up(THEM)[0].children[0].inbound_spi;
    let spi = peers.up(THEM)[0].own_spi();
    // Its time is over there.
    let mut sa = peers.worlds[THEM].sa(spi);
    sa.children[0].created_s = 0;
    peers.worlds[THEM].config.connections[0].children[0].rekey_s = 1;
    peers.worlds[THEM].keep(spi, &sa);
    peers.step(THEM, spi, Event::Timeout);
    peers.settle();
    peers.assert_tunnels(0);
    peers.worlds[THEM].config.connections[0].children[0].rekey_s = 0;
    peers.go(1010);
    peers.assert_tunnels(1);
    assert!(!peers.tunnels[THEM].contains_key(&child));
}

#[test]
fn one_that_the_peer_ends_is_begun_anew() {
    let mut peers = begun(one_child(configs()));
    let ours = peers.up(US)[0].own_spi();
    let theirs = peers.up(THEM)[0].own_spi();
    peers.step(THEM, theirs, Event::Rekey);
    peers.settle();
    let renewed = &peers.up(US)[0];
    assert!(renewed.own_spi() != ours && renewed.kept.as_ref().unwrap().begun == ours);
    let theirs = peers.up(THEM)[0].own_spi();
    peers.step(THEM, theirs, Event::Close);
    peers.settle();
    peers.assert_tunnels(0);
    peers.go(1030);
    peers.look(US, Seen::Over(ours));
    peers.settle();
    peers.assert_tunnels(1);
    assert_ne!(peers.up(US)[0].own_spi(), ours);
}

#[test]
fn both_may_begin_at_once() {
    let mut both = one_child(configs());
    both[THEM].connections[0].start = Some(super::peers::mirrored(path()));
    let mut peers = Peers::new(both);
    peers.begin(US);
    peers.begin(THEM);
    peers.settle();
    peers.assert_tunnels(2);
    assert_eq!((peers.up(US).len(), peers.up(THEM).len()), (2, 2));
}

/// Its unit goes to a member that has seen nothing of the attempt, or that has seen it when it was under way.
#[test]
fn an_heir_knows_that_an_attempt_is_over() {
    for (owners, is_over) in
        [(Seen::Over as fn(_) -> _, true), (|spi| Seen::Tunnel(Some(spi)), true), (Seen::Alive, false)]
    {
        for heirs in [Seen::Alive as fn(_) -> _, |_| Seen::Nothing] {
            let mut peers = Peers::new(configs());
            let spi = peers.begin(US);
            peers.worlds[US].now_s += 1;
            peers.look(US, owners(spi));
            peers.worlds[US].now_s += 30;
            peers.look(US, heirs(spi));
            let keeper = peers.keepers[US].as_ref().unwrap();
            assert_eq!(keeper.spi != spi, is_over);
            assert!(!keeper.over, "another one is under way, or the same one still");
        }
    }
}

#[test]
fn a_keeper_leaves_alone_what_is_there() {
    let mut peers = Peers::new(configs());
    let spi = peers.begin(US);
    for seen in [Seen::Tunnel(None), Seen::Alive(spi), Seen::Alive(5), Seen::Nothing, Seen::Over(5)] {
        peers.look(US, seen);
        assert_eq!(peers.keepers[US].as_ref().unwrap().spi, spi, "{seen:?}");
        peers.worlds[US].now_s += 60;
    }
    // Nobody knows what became of it, but it is long ago.
    peers.look(US, Seen::Nothing);
    assert_ne!(peers.keepers[US].as_ref().unwrap().spi, spi);
}
