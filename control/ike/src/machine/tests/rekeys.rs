//! New keys from our side, before a peer that is such a machine, too.

use std::collections::{BTreeSet, VecDeque};

use super::client::{CLIENT_SPI, SPI, SUITE, child_request, esp_proposal};
use super::*;
use crate::state::{Abilities, Child, Nat, Peer, Phase, Pieces, Role};
use crate::wire::Payload;

/// A gateway (0) and its peer (1).
struct Pair {
    worlds: [World; 2],
    /// Messages on their way: to whom, what.
    wire: VecDeque<(usize, Vec<u8>)>,
    /// Children as the data planes have them: inbound SPI, outbound SPI.
    tunnels: [BTreeSet<(u32, u32)>; 2],
}

impl Pair {
    /// Both have an IKE SA and a child; the gateway's is to get new keys after these times, and the peer's.
    fn new(rekey_s: [(u64, u64); 2]) -> Self {
        let child = child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24");
        Self::with(&config(), &child, rekey_s)
    }

    /// Both have this configuration, each from its own side, and the child that is asked for.
    fn with(config: &Config, child: &[Payload], rekey_s: [(u64, u64); 2]) -> Self {
        let mut gateway = World::new(with_rekey(config.clone(), rekey_s[0]));
        let mut client = Client::new();
        client.connect_for(&mut gateway, child.iter().cloned());
        let sa = gateway.sa(SPI);
        let child = &sa.children[0];
        let tunnels = [
            BTreeSet::from([(child.inbound_spi, child.outbound_spi)]),
            BTreeSet::from([(child.outbound_spi, child.inbound_spi)]),
        ];
        let mut theirs = config.clone();
        theirs.connections[0].local_address = None;
        theirs.connections[0].remote_addresses.clear();
        let mut theirs = with_rekey(theirs, rekey_s[1]);
        for child in &mut theirs.connections[0].children {
            std::mem::swap(&mut child.local, &mut child.remote);
        }
        let mut peer = World::new(theirs);
        (peer.random, peer.draw) = (Counted(1234), 1 << 40);
        let after = |span_s: u64| if span_s == 0 { 0 } else { 1000 + span_s };
        let mirrored = IkeSa {
            role: Role::Initiator,
            initiator_spi: CLIENT_SPI,
            responder_spi: SPI,
            path: Path { ours: sa.path.theirs, theirs: sa.path.ours },
            nat: Nat::default(),
            suite: SUITE,
            keys: client.keys.clone().unwrap(),
            phase: Phase::Established(Peer {
                connection: "road".into(),
                identity: Identity::of_text(GATEWAY),
                addresses: Vec::new(),
                sole_since_s: 0,
                proved_until_s: 0,
            }),
            succeeded: false,
            abilities: Abilities { fragmentation: true, ..Abilities::default() },
            created_s: 1000,
            heard_s: 1000,
            rekey_at_s: after(rekey_s[1].0),
            next_request: 0,
            last_answer: Vec::new(),
            next_own: client.next,
            pending: None,
            pieces: Pieces::default(),
            children: vec![Child {
                inbound_spi: child.outbound_spi,
                outbound_spi: child.inbound_spi,
                local: child.remote.clone(),
                remote: child.local.clone(),
                rekey_at_s: after(rekey_s[1].1),
                ..child.clone()
            }],
            kept: None,
            synced: 0,
            token: Secret::default(),
            beyond: Vec::new(),
        };
        peer.keep(CLIENT_SPI, &mirrored);
        Self { worlds: [gateway, peer], wire: VecDeque::new(), tunnels }
    }

    fn note(&mut self, side: usize, shown: Shown) {
        for event in shown.children {
            match event {
                ChildEvent::Add(child) => {
                    self.tunnels[side].insert((child.inbound.spi, child.outbound.spi));
                }
                ChildEvent::Remove(spi) => self.tunnels[side].retain(|(inbound, _)| *inbound != spi),
                ChildEvent::Move { .. } | ChildEvent::Skip { .. } => {}
            }
        }
        self.wire.extend(shown.sent.into_iter().map(|datagram| (1 - side, datagram.bytes)));
    }

    /// The time comes for all SAs of a side.
    fn tick(&mut self, side: usize) {
        let spis: Vec<u64> = self.worlds[side].records.keys().copied().collect();
        for spi in spis {
            let shown = self.worlds[side].step(spi, Event::Timeout);
            self.note(side, shown);
        }
    }

    /// Delivers the next message.
    fn deliver(&mut self) -> bool {
        let Some((side, bytes)) = self.wire.pop_front() else { return false };
        let header = crate::wire::header(&bytes).unwrap();
        let spi = if header.from_initiator { header.responder_spi } else { header.initiator_spi };
        let path = if side == 0 { path() } else { Path { ours: path().theirs, theirs: path().ours } };
        let shown = self.worlds[side].step(spi, Event::Message { path, bytes: &bytes });
        self.note(side, shown);
        true
    }

    fn go(&mut self, to_s: u64) {
        self.worlds.iter_mut().for_each(|world| world.now_s = to_s);
    }

    /// Both have the same SAs.
    fn check(&self, children: usize) {
        let turned = self.tunnels[1].iter().map(|(inbound, outbound)| (*outbound, *inbound)).collect();
        assert_eq!(self.tunnels[0], turned);
        assert_eq!(self.tunnels[0].len(), children, "{:?}", self.tunnels);
        for (side, world) in self.worlds.iter().enumerate() {
            let sas = world.records.values().map(|record| IkeSa::restore(record).unwrap());
            let known: BTreeSet<(u32, u32)> = sas
                .filter(|sa| matches!(sa.phase, Phase::Established(_)))
                .flat_map(|sa| sa.children)
                .map(|child| (child.inbound_spi, child.outbound_spi))
                .collect();
            assert_eq!(known, self.tunnels[side], "what IKE knows and what there is");
        }
    }

    fn living(&self) -> [usize; 2] {
        let living = |world: &World| {
            let sas = world.records.values().map(|record| IkeSa::restore(record).unwrap());
            sas.filter(|sa| matches!(sa.phase, Phase::Established(_)) && !sa.succeeded).count()
        };
        [living(&self.worlds[0]), living(&self.worlds[1])]
    }
}

fn with_rekey(mut config: Config, (ike_s, child_s): (u64, u64)) -> Config {
    config.connections[0].rekey_s = ike_s;
    config.connections[0].dpd_delay_s = 0;
    config.connections[0].children.iter_mut().for_each(|child| child.rekey_s = child_s);
    config
}

#[test]
fn a_child_gets_new_keys_from_us() {
    let mut pair = Pair::new([(0, 600), (0, 0)]);
    let before = pair.tunnels[0].clone();
    pair.go(1540);
    pair.tick(0);
    assert!(pair.wire.is_empty() || pair.worlds[0].sa(SPI).children[0].rekey_at_s <= 1540);
    pair.go(1600);
    pair.tick(0);
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[0].is_disjoint(&before));
    let next = pair.worlds[0].sa(SPI).children[0].rekey_at_s;
    assert!((2140..=2200).contains(&next), "{next}");
}

#[test]
fn an_ike_sa_gets_new_keys_from_us_again_and_again() {
    let mut pair = Pair::new([(600, 0), (0, 0)]);
    let before = pair.tunnels[0].clone();
    for round in 1..4 {
        pair.go(1000 + round * 600);
        pair.tick(0);
        while pair.deliver() {}
        assert_eq!(pair.living(), [1, 1], "round {round}");
        pair.check(1);
        assert!(!pair.worlds[0].records.contains_key(&SPI));
        pair.go(1010 + round * 600);
        pair.tick(1);
        assert_eq!(pair.worlds[1].records.len(), 1, "the old one is forgotten");
    }
    assert_eq!(pair.tunnels[0], before, "the child stays");
}

#[test]
fn somebody_wants_new_keys() {
    let mut pair = Pair::new([(0, 0), (0, 0)]);
    let shown = pair.worlds[0].step(SPI, Event::Rekey);
    pair.note(0, shown);
    while pair.deliver() {}
    assert_eq!(pair.living(), [1, 1]);
    pair.check(1);
    assert!(!pair.worlds[0].records.contains_key(&SPI));
}

/// The data plane says that a child has carried much.
#[test]
fn a_child_that_is_worn_gets_new_keys() {
    let mut pair = Pair::new([(0, 0), (0, 0)]);
    let (spi, _) = *pair.tunnels[0].first().unwrap();
    let before = pair.tunnels[0].clone();
    for _ in 0..2 {
        let shown = pair.worlds[0].step(SPI, Event::ChildWorn(spi));
        pair.note(0, shown);
        assert_eq!(pair.wire.len(), 1, "it is asked for once");
    }
    // It is about to end: that is all that there is to be done.
    let shown = pair.worlds[0].step(SPI, Event::ChildSpent(spi));
    assert!(shown.sent.is_empty() && !shown.changed && shown.timeout_s.is_some());
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[0].is_disjoint(&before));
    // What is said too late is said of nobody.
    for event in [Event::ChildWorn(spi), Event::ChildSpent(spi)] {
        let shown = pair.worlds[0].step(SPI, event);
        assert!(shown.sent.is_empty() && !shown.changed);
    }
}

/// While something else is asked of the peer it waits, and is not forgotten.
#[test]
fn what_is_worn_in_the_middle_of_something_gets_new_keys_after_that() {
    let mut pair = Pair::new([(0, 0), (0, 0)]);
    let (spi, _) = *pair.tunnels[0].first().unwrap();
    let before = pair.tunnels[0].clone();
    let shown = pair.worlds[0].step(SPI, Event::Rekey);
    pair.note(0, shown);
    let shown = pair.worlds[0].step(SPI, Event::ChildWorn(spi));
    assert!(shown.sent.is_empty() && shown.changed);
    while pair.deliver() {}
    assert!(!pair.worlds[0].records.contains_key(&SPI), "the IKE SA is another one");
    assert_eq!(pair.tunnels[0], before);
    pair.go(1001);
    pair.tick(0);
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[0].is_disjoint(&before));
}

/// The peer does not grant it; so it ends.
#[test]
fn a_child_that_is_spent_ends() {
    let mut pair = Pair::new([(0, 0), (0, 0)]);
    let (spi, _) = *pair.tunnels[0].first().unwrap();
    pair.worlds[1].config.connections[0].children.clear();
    let shown = pair.worlds[0].step(SPI, Event::ChildWorn(spi));
    pair.note(0, shown);
    while pair.deliver() {}
    assert_eq!(pair.tunnels[0].len(), 1);
    let shown = pair.worlds[0].step(SPI, Event::ChildSpent(spi));
    assert!(matches!(&shown.reports[..], [Report::Spent { inbound_spi, .. }] if *inbound_spi == spi));
    pair.note(0, shown);
    while pair.deliver() {}
    pair.check(0);
    assert_eq!(pair.living(), [1, 1]);
}

/// An IKE SA that has a successor still ends in time, whatever is wished of it.
#[test]
fn who_wants_too_late_changes_nothing() {
    let mut pair = Pair::new([(0, 0), (0, 0)]);
    let (spi, _) = *pair.tunnels[1].first().unwrap();
    let shown = pair.worlds[0].step(SPI, Event::Rekey);
    pair.note(0, shown);
    pair.deliver();
    for event in [Event::Rekey, Event::ChildWorn(spi), Event::ChildSpent(spi)] {
        let shown = pair.worlds[1].step(CLIENT_SPI, event);
        assert!(!shown.changed && shown.timeout_s.is_some(), "{event:?}");
    }
}

#[test]
fn if_both_want_new_keys_at_once_one_child_is_left() {
    for turns in 0..16 {
        let mut pair = Pair::new([(0, 600), (0, 600)]);
        pair.worlds[0].random = Counted(turns * 77 + 3);
        pair.go(1600);
        pair.tick(0);
        pair.tick(1);
        assert_eq!(pair.wire.len(), 2);
        // In any order.
        for turn in 0..3 {
            if turns >> turn & 1 == 1 {
                pair.wire.rotate_left(1);
            }
            pair.deliver();
        }
        while pair.deliver() {}
        pair.check(1);
    }
}

/// The peer grants new keys and ends the old child, which has carried all that it may; the answer with the new keys was lost, and comes
/// when it is asked for once more.
#[test]
fn new_keys_that_are_heard_of_after_the_old_childs_end_are_used() {
    let mut pair = Pair::new([(0, 600), (0, 0)]);
    let before = pair.tunnels[0].clone();
    let (old, _) = *pair.tunnels[1].first().unwrap();
    pair.go(1600);
    pair.tick(0);
    pair.deliver();
    pair.wire.clear();
    assert_eq!((pair.tunnels[0].len(), pair.tunnels[1].len()), (1, 2));
    let shown = pair.worlds[1].step(CLIENT_SPI, Event::ChildSpent(old));
    pair.note(1, shown);
    while pair.deliver() {}
    assert_eq!((pair.tunnels[0].len(), pair.tunnels[1].len()), (0, 1));
    pair.go(1610);
    pair.tick(0);
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[0].is_disjoint(&before));
    assert_eq!(pair.living(), [1, 1]);
}

/// A peer has granted new keys, and wants others for the child that it made, of which we have not heard.
#[test]
fn a_child_that_we_have_not_heard_of_yet_is_not_thrown_away() {
    let mut pair = Pair::new([(0, 600), (0, 0)]);
    let before = pair.tunnels[1].clone();
    pair.go(1600);
    pair.tick(0);
    pair.deliver();
    pair.wire.clear();
    let (new, _) = *pair.tunnels[1].difference(&before).next().unwrap();
    let shown = pair.worlds[1].step(CLIENT_SPI, Event::ChildWorn(new));
    pair.note(1, shown);
    while pair.deliver() {}
    pair.go(1610);
    pair.tick(0);
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[1].is_disjoint(&before));
}

#[test]
fn if_both_want_a_new_ike_sa_at_once_one_is_left_in_the_end() {
    let mut pair = Pair::new([(600, 0), (600, 0)]);
    let mut now_s = 1600;
    pair.go(now_s);
    pair.tick(0);
    pair.tick(1);
    while pair.deliver() {}
    assert_eq!(pair.living(), [1, 1]);
    for _ in 0..30 {
        now_s += 1;
        pair.go(now_s);
        pair.tick(0);
        while pair.deliver() {}
        pair.tick(1);
        while pair.deliver() {}
    }
    assert_eq!(pair.living(), [1, 1]);
    pair.check(1);
    assert!(!pair.worlds[0].records.contains_key(&SPI), "it came about");
}

#[test]
fn what_the_peer_does_not_grant_ends_when_its_time_is_over() {
    let mut pair = Pair::new([(0, 600), (0, 0)]);
    // The peer has forgotten what the child is about.
    pair.worlds[1].config.connections[0].children.clear();
    let mut now_s = 1600;
    while !pair.tunnels[0].is_empty() {
        assert!(now_s < 1000 + 600 + 120 + 30, "it lives too long");
        pair.go(now_s);
        pair.tick(0);
        while pair.deliver() {}
        now_s += 1;
    }
    assert!(now_s >= 1000 + 600 + 120);
    pair.check(0);
}

#[test]
fn a_group_that_the_peer_wants_is_taken() {
    let mut pair = Pair::new([(600, 600), (0, 0)]);
    let all = ["aes128gcm16-prfsha256-x25519-ecp256", "aes128gcm16-x25519-ecp256"];
    let one = ["aes128gcm16-prfsha256-ecp256", "aes128gcm16-ecp256"];
    for (world, [ike, esp]) in pair.worlds.iter_mut().zip([all, one]) {
        world.config.connections[0].proposals = vec![ike.parse().unwrap()];
        for child in &mut world.config.connections[0].children {
            child.proposals = vec![esp.parse().unwrap()];
        }
    }
    pair.go(1600);
    for _ in 0..3 {
        pair.tick(0);
        while pair.deliver() {}
    }
    pair.check(1);
    assert!(!pair.worlds[0].records.contains_key(&SPI), "the IKE SA is a new one");
    let sa = pair.worlds[0].records.values().map(|record| IkeSa::restore(record).unwrap()).next().unwrap();
    assert_eq!(sa.suite.group, crate::crypto::Group::Ecp256);
}

/// Whoever wants them, the child stays what it is.
#[test]
fn new_keys_for_transport_mode_are_for_transport_mode() {
    let (config, child) =
        (super::transport::config(), super::transport::request(0xc001, &["192.0.2.9", "198.51.100.1"]));
    let mut pair = Pair::with(&config, &child, [(0, 600), (0, 0)]);
    let before = pair.tunnels[0].clone();
    pair.go(1600);
    pair.tick(0);
    while pair.deliver() {}
    pair.check(1);
    assert!(pair.tunnels[0].is_disjoint(&before));
    for (world, spi) in pair.worlds.iter().zip([SPI, CLIENT_SPI]) {
        let children = world.sa(spi).children;
        assert!(children.len() == 1 && children[0].transport && children[0].created_s == 1600, "{children:?}");
    }
}
