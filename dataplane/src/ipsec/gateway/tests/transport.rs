//! Transport mode: packets between the cluster's address and the peer's, with their own headers.

use super::*;
use crate::icmp_error::Complaint;

fn host(address: [u8; 4]) -> Vec<Network> {
    vec![Network::new(address.into(), 32)]
}

pub(super) fn transport() -> TunnelSpec {
    let selectors = Selectors { local: host(HERE), remote: host(PEER) };
    TunnelSpec { mode: SaMode::Transport, selectors, ..spec(Numbers::Extended) }
}

#[test]
fn packets_keep_their_own_headers_both_ways_whoever_owns_it() {
    let mut world = World::of(&transport());
    for round in 0..3 {
        let marks = 10 * round..10 * round + 10;
        for mark in marks.clone() {
            world.owner().send(&packet(HERE, PEER, mark, 100, 0)).expect("taken");
        }
        world.replicate();
        let frames = world.owner().desk.to_peer.clone();
        assert_eq!(frames.len(), 10);
        for frame in frames {
            let outside = ipv4::Packet::new_header_checked(&frame[..]).expect("a packet");
            assert_eq!((outside.ttl(), outside.protocol(), outside.header_len()), (9, proto::ESP, 20));
            assert_eq!(usize::from(outside.total_len()), frame.len());
            // ESP's header, the IV, the trailer, the ICV.
            assert_eq!(frame.len(), 20 + 8 + 8 + (100 + 2_usize).next_multiple_of(4) + 16);
        }
        world.peer_opens();
        for mark in marks.clone() {
            let frame = world.peer.seal(&packet(PEER, HERE, mark, 100, 0));
            let _ = world.owner().hear(&frame);
        }
        world.replicate();
        assert_eq!(world.delivered(), marks.collect::<Vec<_>>());
        world.turn();
        // What was on its way is lost with its owner, and no number comes twice.
        world.peer.sent += 1000;
    }
    assert_eq!(world.peer.got, (0..30).collect::<Vec<_>>());
}

#[test]
fn only_the_two_ends_speak_through_it() {
    let mut world = World::of(&transport());
    for (from, to) in [(PEER, INSIDE), (BRANCH, HERE)] {
        let frame = world.peer.seal(&packet(from, to, 7, 100, 0));
        // The header is outside: another destination is no SA's, another source is not allowed.
        let expected = if to == HERE { DropReason::PolicyMismatch } else { DropReason::EspNoSa };
        assert_eq!(world.owner().hear(&frame), Err(expected));
    }
    assert!(world.delivered().is_empty());
}

#[test]
fn there_is_more_room_than_in_a_tunnel() {
    let mut world = World::of(&transport());
    let whole = |len| packet(HERE, PEER, 1, len, ipv4::DONT_FRAGMENT);
    // 1500 less the header, ESP's, the IV, the ICV, the trailer: a multiple of four.
    let payload_max = (1500_u16 - 20 - 8 - 8 - 16) / 4 * 4 - 2;
    assert_eq!(world.owner().send(&whole(payload_max)), Ok(()));
    let told = Complaint::TooBig { mtu: payload_max + 20 };
    assert_eq!(world.owner().send(&whole(payload_max + 1)), Err(Hindrance::Complaint(told, DropReason::TooBig)));
    // The last hop is no hop of its own.
    let mut last = packet(HERE, PEER, 2, 100, 0);
    last[8] = 1;
    ipv4::Packet::new_header_checked(&mut last[..]).expect("a packet").fill_checksum();
    assert_eq!(world.owner().send(&last), Ok(()));
}
