//! What we have begun, in a network that loses, repeats and translates; and what becomes of it later, with the roles swapped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::peers::{Peers, THEM, US, configs};
use super::*;
use crate::machine::Seen;

/// With new keys for the IKE SA and its children after so long, from either side.
fn with_rekey(mut configs: [Config; 2], rekey_s: [(u64, u64); 2]) -> [Config; 2] {
    for (config, (ike_s, child_s)) in configs.iter_mut().zip(rekey_s) {
        config.connections[0].rekey_s = ike_s;
        config.connections[0].children.iter_mut().for_each(|child| child.rekey_s = child_s);
    }
    configs
}

#[test]
fn a_silent_peer_hears_the_same_again_and_is_given_up() {
    for lost in [0, 2] {
        let mut peers = Peers::new(configs());
        let spi = peers.begin(US);
        (0..lost).for_each(|_| assert!(peers.deliver()));
        let mut said = Vec::new();
        while let Some(at_s) = peers.due[US].get(&spi).copied() {
            said.extend(std::mem::take(&mut peers.wire).into_iter().map(|(_, datagram)| datagram.bytes));
            peers.worlds[US].now_s = at_s;
            peers.step(US, spi, Event::Timeout);
        }
        assert!(said.len() == 6 && said.iter().all(|bytes| *bytes == said[0]), "{}", said.len());
        assert!(peers.worlds[US].records.is_empty() && peers.tunnels[US].is_empty());
        assert_eq!(peers.worlds[US].now_s, 1004 + 2 + 4 + 8 + 16 + 32 + 32);
        assert!(peers.reports[US].last().unwrap().contains("the peer answers no more"));
    }
}

/// Any message may be lost, come twice, or come late; any outcome may be lost with its member.
#[test]
fn whatever_is_lost_or_comes_twice() {
    for seed in 0..60 {
        let mut peers = Peers::new(configs());
        if seed % 3 == 0 {
            peers.worlds[THEM].under_load = true;
        }
        peers.begin(US);
        let mut random = Counted(seed);
        let mut chance = move |of: u8| {
            let mut byte = [0];
            crate::crypto::Random::fill(&mut random, &mut byte);
            byte[0] % of == 0
        };
        for at in 0..400 {
            let bad = at < 60;
            while let Some((side, datagram)) = peers.wire.pop_front() {
                match () {
                    () if bad && chance(4) => {}
                    () if bad && chance(4) => (0..2).for_each(|_| peers.hear(side, &datagram)),
                    () if bad && chance(8) && peers.wire.len() < 8 => peers.wire.push_back((side, datagram)),
                    () if bad && chance(8) => {
                        // The member dies before the backups hold what came of it.
                        let path = Path { ours: datagram.to, theirs: datagram.from };
                        let message = Event::Message { path, bytes: &datagram.bytes };
                        let _ = peers.worlds[side].try_step(Peers::spi_of(&datagram.bytes), message);
                    }
                    () => peers.hear(side, &datagram),
                }
            }
            let now_s = peers.worlds[US].now_s + 1;
            for side in [US, THEM] {
                peers.worlds[side].now_s = now_s;
                let due: Vec<u64> =
                    peers.due[side].iter().filter(|(_, at_s)| **at_s <= now_s).map(|(spi, _)| *spi).collect();
                due.into_iter().for_each(|spi| peers.step(side, spi, Event::Timeout));
            }
            let spi = peers.keepers[US].as_ref().unwrap().spi;
            let seen = match () {
                () if !peers.tunnels[US].is_empty() => Seen::Tunnel(None),
                () if peers.worlds[US].records.contains_key(&spi) => Seen::Alive(spi),
                () => Seen::Over(spi),
            };
            peers.look(US, seen);
        }
        peers.settle();
        assert_eq!(peers.up(US).len(), 1, "seed {seed}: {:?}", peers.reports);
        peers.assert_tunnels(2);
    }
}

/// As whom the translator shows us.
const SEEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

/// A translator between us and the peer: we are seen as somebody else.
#[test]
fn through_a_translator_it_goes_on_at_port_4500() {
    fn translate(side: usize, datagram: Datagram) -> Datagram {
        let Datagram { from, to, bytes } = datagram;
        if side == THEM {
            return Datagram { from: SocketAddr::new(SEEN, from.port() + 20_000), to, bytes };
        }
        assert_eq!(to.ip(), SEEN);
        Datagram { from, to: SocketAddr::new(path().ours.ip(), to.port() - 20_000), bytes }
    }
    let mut both = configs();
    both[THEM].connections[0].remote_addresses = vec![network("192.0.2.77/32")];
    let mut peers = Peers::new(both);
    peers.begin(US);
    peers.way = translate;
    peers.go(1040);
    peers.assert_tunnels(2);
    let sa = &peers.up(US)[0];
    assert_eq!((sa.path, sa.nat.ours, sa.nat.theirs), (nat_path(), true, false));
    assert!(peers.tunnels[US].values().all(|child| child.udp && child.path == nat_path()));
    assert_eq!(peers.up(THEM)[0].path.theirs, SocketAddr::new(SEEN, 24_500));
}

#[test]
fn keys_are_renewed_from_either_side_and_by_both() {
    for rekey_s in [[(300, 100), (0, 0)], [(0, 0), (300, 100)], [(300, 100), (300, 100)]] {
        let mut peers = Peers::new(with_rekey(configs(), rekey_s));
        let first = peers.begin(US);
        peers.go(1010);
        let before: Vec<u32> = peers.tunnels[US].keys().copied().collect();
        for at in 1..40 {
            peers.go(1010 + 50 * at);
            assert_eq!(peers.up(US).len(), 1, "{rekey_s:?}: {:?}", peers.reports);
            assert_ne!(peers.look(US, Seen::Tunnel(None)), None);
        }
        // Old ones beside new ones have gone by then.
        let children = peers.up(US)[0].children.len();
        assert!((2..=4).contains(&children), "{children}");
        peers.assert_tunnels(children);
        assert!(peers.tunnels[US].keys().all(|spi| !before.contains(spi)), "all are new");
        let sa = &peers.up(US)[0];
        assert!(sa.own_spi() != first && sa.kept.is_some() && sa.own_spi() & 0x3ff == 77);
    }
}

#[test]
fn either_side_finds_out_that_the_other_is_gone() {
    for gone in [THEM, US] {
        let mut peers = Peers::new(configs());
        peers.begin(US);
        peers.go(1010);
        peers.assert_tunnels(2);
        peers.worlds[gone].records.clear();
        peers.due[gone].clear();
        peers.go(1400);
        assert!(peers.worlds[1 - gone].records.is_empty() && peers.tunnels[1 - gone].is_empty());
    }
}

#[test]
fn either_side_ends_it() {
    for ends in [US, THEM] {
        let mut peers = Peers::new(configs());
        peers.begin(US);
        peers.go(1010);
        let spi = peers.up(ends)[0].own_spi();
        peers.step(ends, spi, Event::Close);
        peers.go(1060);
        peers.assert_tunnels(0);
        assert!(peers.worlds.iter().all(|world| world.records.is_empty()));
    }
}

/// New keys are granted, and the answer is lost; the old IKE SA is old enough to be ended by who granted them before we ask again.
#[test]
fn who_ends_the_old_one_may_have_granted_the_new_one() {
    let mut peers = Peers::new(configs());
    peers.begin(US);
    peers.settle();
    peers.go(1010);
    peers.assert_tunnels(2);
    let (ours, theirs) = (peers.up(US)[0].own_spi(), peers.up(THEM)[0].own_spi());
    peers.step(US, ours, Event::Rekey);
    assert!(peers.deliver());
    peers.wire.clear();
    peers.worlds[THEM].now_s += 31;
    peers.step(THEM, theirs, Event::Timeout);
    peers.settle();
    peers.assert_tunnels(2);
    assert_eq!([peers.up(US).len(), peers.up(THEM).len()], [1, 1], "{:?}", peers.reports);
    peers.go(1100);
    peers.assert_tunnels(2);
}
