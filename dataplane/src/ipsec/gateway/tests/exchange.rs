//! One owner: what goes through, what waits, what is refused.

use super::*;
use crate::icmp_error::Complaint;

#[test]
fn packets_pass_both_ways() {
    for numbers in [Numbers::Short, Numbers::Extended] {
        let mut world = World::new(numbers);
        world.inside_sends(0..3);
        assert!(world.peer.got.is_empty(), "nobody holds a lease of our numbers yet");
        world.replicate();
        world.peer_opens();
        assert_eq!(world.peer.got, [0, 1, 2]);
        world.inside_sends(3..200);
        assert_eq!(world.peer.got, (0..200).collect::<Vec<_>>());
        world.peer_sends(0..1);
        assert!(world.delivered().is_empty(), "nobody holds a lease of its number yet");
        world.replicate();
        assert_eq!(world.delivered(), [0]);
        let owner = world.owner();
        assert_eq!((owner.count("packets_out"), owner.count("packets_in")), (200, 1));
        assert_eq!(owner.count("bytes_in"), 120);
    }
}

/// Without backups nothing waits longer than the call.
#[test]
fn a_member_that_is_alone_waits_for_nobody() {
    let mut world = World::new(Numbers::Short);
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    world.inside_sends(0..100);
    assert_eq!(world.peer.got.len(), 100);
    world.peer_sends(0..100);
    assert_eq!(world.delivered(), (0..100).collect::<Vec<_>>());
}

/// A busy peer's packets go through at once, a record for many; when it falls silent, nothing is left ahead of it.
#[test]
fn the_lease_follows_the_pace() {
    let mut world = World::new(Numbers::Extended);
    let mut sent = 0;
    for _ in 0..20 {
        world.peer_sends(sent..sent + 100);
        sent += 100;
        world.replicate();
        world.owner().wait(10 * MS);
    }
    assert_eq!(world.delivered().len(), 2000);
    let before = world.owner().count("renewed");
    for _ in 0..20 {
        world.peer_sends(sent..sent + 100);
        sent += 100;
        world.replicate();
        world.owner().wait(10 * MS);
    }
    let renewed = world.owner().count("renewed") - before;
    assert!((10..60).contains(&renewed), "{renewed} records for 2000 packets");
    let left = |world: &mut World| world.owner().gateway.slots.tunnel(0).expect("awake").inbound.left();
    assert!(left(&mut world) > 50);
    world.owner().wait(300 * MS);
    assert_eq!(left(&mut world), 0);
    assert_eq!(world.owner().gateway.poll_timeout(), None, "a silent tunnel costs nothing");
}

#[test]
fn what_is_no_packet_of_the_tunnels_is_dropped_with_its_reason() {
    let mut world = World::new(Numbers::Short);
    world.peer_sends(0..10);
    world.replicate();
    let inner = packet(BRANCH, INSIDE, 7, 100, 0);
    let sound = world.peer.seal(&inner);
    let changed = |at: usize, value: u8| {
        let mut frame = sound.clone();
        frame[at] ^= value;
        frame
    };
    let short = packet(PEER, HERE, 0, 10, 0).into_iter().enumerate().map(|(at, byte)| if at == 9 { 50 } else { byte });
    let cases = [
        (changed(20, 1), DropReason::EspNoSa),
        (changed(24, 1), DropReason::EspBadIcv),
        (changed(60, 1), DropReason::EspBadIcv),
        (changed(sound.len() - 1, 1), DropReason::EspBadIcv),
        (world.peer.seal_as(&inner, 3), DropReason::EspReplayed),
        (world.peer.seal(&packet(INSIDE, INSIDE, 0, 100, 0)), DropReason::PolicyMismatch),
        (world.peer.seal(&packet(BRANCH, PEER, 0, 100, 0)), DropReason::PolicyMismatch),
        (world.peer.seal(&[0x45; 24]), DropReason::EspMalformed),
        (short.collect(), DropReason::EspNoSa),
    ];
    for (frame, reason) in cases {
        let owner = world.owner();
        let done = owner.gateway.handle_packet(&mut owner.desk, unit(), &of_esp(), &frame);
        assert_eq!(done, Err(reason));
    }
    let elsewhere = Summary { dst: 1, ..of_esp() };
    let owner = world.owner();
    let done = owner.gateway.handle_packet(&mut owner.desk, unit(), &elsewhere, &sound);
    assert_eq!(done, Err(DropReason::EspNoSa), "to another address");
    assert_eq!(world.owner().hear(&sound), Ok(()));
    world.replicate();
    assert_eq!(world.owner().hear(&sound), Err(DropReason::EspReplayed));
    assert_eq!(world.delivered().last(), Some(&7));
}

fn of_esp() -> Summary {
    Summary::of_addresses(PEER.into(), HERE.into(), 50)
}

/// The same packet twice, both before its number is let in: one of them is it.
#[test]
fn a_replay_while_the_first_one_waits_is_found_out() {
    let mut world = World::new(Numbers::Extended);
    let frame = world.peer.seal(&packet(BRANCH, INSIDE, 1, 100, 0));
    for _ in 0..3 {
        assert_eq!(world.owner().hear(&frame), Ok(()));
    }
    world.replicate();
    assert_eq!(world.delivered(), [1]);
    assert_eq!(world.owner().count("late_refused"), 2);
}

#[test]
fn senders_are_told_what_does_not_go_through() {
    let mut world = World::new(Numbers::Short);
    world.replicate();
    let expired = {
        let mut packet = packet(INSIDE, BRANCH, 0, 100, 0);
        packet[8] = 1;
        packet
    };
    let summary = Summary { ttl: 1, ..summarise_l3(&packet(INSIDE, BRANCH, 0, 100, 0)).expect("a packet") };
    let owner = world.owner();
    assert_eq!(
        owner.gateway.handle_passing(&mut owner.desk, SPI_IN, &summary, &mut Buffer { bytes: expired, room: 100 }),
        Err(Hindrance::Complaint(Complaint::TimeExceeded, DropReason::TtlExceeded))
    );
    // 1500 less the outer header, ESP's, the IV, the ICV, and what the padding leaves.
    let mtu = 1500 - 20 - 8 - 8 - 16 - 2;
    let whole = |len: u16| packet(INSIDE, BRANCH, 0, len - 20, ipv4::DONT_FRAGMENT);
    assert_eq!(
        world.owner().send(&whole(mtu + 1)),
        Err(Hindrance::Complaint(Complaint::TooBig { mtu }, DropReason::TooBig))
    );
    world.owner().send(&whole(mtu)).expect("it fits");
    world.replicate();
    assert!(world.owner().desk.to_peer.iter().any(|frame| frame.len() <= 1500 && frame.len() > 1490));
}

/// Whoever waits too long in too great numbers is dropped, and the rest comes in order.
#[test]
fn what_waits_is_bounded() {
    let mut world = World::new(Numbers::Short);
    let mut refused = 0;
    for mark in 0..2000 {
        match world.owner().send(&packet(INSIDE, BRANCH, mark, 100, 0)) {
            Ok(()) => assert_eq!(refused, 0),
            Err(Hindrance::Drop(DropReason::SaPending)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 2000 - 1024);
    assert_eq!(world.owner().count("wait_full"), refused);
    world.replicate();
    world.peer_opens();
    assert_eq!(world.peer.got, (0..1024).collect::<Vec<_>>());
    world.inside_sends(0..300);
    assert_eq!(world.peer.got.len(), 1324, "the buffers are back");
}

#[test]
fn nothing_is_sealed_before_the_member_has_joined() {
    let mut world = World::new(Numbers::Short);
    world.owner().desk.incarnation = 0;
    let refused = world.owner().send(&packet(INSIDE, BRANCH, 1, 100, 0));
    assert_eq!(refused, Err(Hindrance::Drop(DropReason::SaUnusable)));
}

/// The last number of 32 bits is the last.
#[test]
fn short_numbers_end() {
    let mut world = World::new(Numbers::Short);
    world.inside_sends(0..1);
    world.replicate();
    let owner = world.owner();
    let tunnel = owner.gateway.slots.tunnel(0).expect("awake");
    let limit = crate::replica::LeaseRecord { limit: u64::from(u32::MAX) };
    tunnel.outbound = crate::replica::Lease::restore(crate::replica::Extent::default(), limit, 0);
    let _ = owner.send(&packet(INSIDE, BRANCH, 1, 100, 0));
    world.replicate();
    world.peer_opens();
    assert_eq!(world.peer.highest, u64::from(u32::MAX));
    let refused = world.owner().send(&packet(INSIDE, BRANCH, 2, 100, 0));
    assert_eq!(refused, Err(Hindrance::Drop(DropReason::SaExpired)));
}

/// A SYN that offers 1460.
pub(super) fn syn(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let (source, destination) = (from.into(), to.into());
    let mut packet = vec![0; 44];
    let repr = ipv4::Repr { tos: 0, id: 1, fragment: 0, ttl: 9, protocol: 6, source, destination, payload_len: 24 };
    repr.emit(&mut packet).expect("room");
    packet[32..34].copy_from_slice(&[0x60, 2]);
    packet[40..].copy_from_slice(&[2, 4, 1460_u16.to_be_bytes()[0], 1460_u16.to_be_bytes()[1]]);
    packet
}

/// What it offers.
pub(super) fn mss(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[42], packet[43]])
}

/// 1500 less the outer header, ESP's, the IV, the ICV and what the padding leaves, and the inner headers.
pub(super) const MSS_THAT_FITS: u16 = 1446 - 40;

/// Both ends of a connection through the tunnel hear of its size, whichever of them begins.
#[test]
fn connections_are_told_how_much_fits() {
    let mut world = World::new(Numbers::Short);
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    let frame = world.peer.seal(&syn(BRANCH, INSIDE));
    world.owner().hear(&frame).expect("taken");
    let inside = world.owner().desk.to_host.pop().expect("a packet");
    assert_eq!(mss(&inside), MSS_THAT_FITS);
    let mut buffer = Buffer { bytes: syn(INSIDE, BRANCH), room: 100 };
    let summary = summarise_l3(&buffer.bytes).expect("a packet");
    let mut member = Member::new(1, 5, &spec(Numbers::Short));
    member.desk.owned = true;
    member.gateway.handle_passing(&mut member.desk, SPI_IN, &summary, &mut buffer).expect("taken");
    let sealed = member.desk.to_peer.pop().unwrap_or(buffer.bytes);
    let mut peer = Peer::new(&spec(Numbers::Short));
    assert_eq!(mss(&peer.opened(&sealed)), MSS_THAT_FITS);
    // Not where it is not wanted.
    world.owner().gateway.config.clamp_mss = false;
    let frame = world.peer.seal(&syn(BRANCH, INSIDE));
    world.owner().hear(&frame).expect("taken");
    assert_eq!(mss(&world.owner().desk.to_host.pop().expect("a packet")), 1460);
}
