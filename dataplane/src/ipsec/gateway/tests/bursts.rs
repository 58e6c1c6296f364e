//! Many packets at once: nothing comes of it that would not come of one after the other.

use super::exchange::{MSS_THAT_FITS, mss, syn};
use super::*;
use crate::app::{Fate, Parcel, Way};
use crate::ipsec::crypto::{EngineError, choice};
use crate::ipsec::transform::Transform;
use crate::wire::checksum::Sum;
use crate::wire::ipv6;

/// Room around a packet in its buffer.
const AROUND: usize = 128;

impl Member {
    /// Packets come in one burst; what is left untouched comes again by itself, as a worker has it. Answers what was refused.
    pub(super) fn take_burst(&mut self, way: Way, packets: &[Vec<u8>]) -> Vec<DropReason> {
        self.take_burst_of(SPI_IN, way, packets)
    }

    pub(super) fn take_burst_of(&mut self, spi: u32, way: Way, packets: &[Vec<u8>]) -> Vec<DropReason> {
        let packets: Vec<_> = packets.iter().map(|packet| (spi, packet.clone())).collect();
        self.take_mixed_burst(way, &packets)
    }

    /// Packets of several tunnels, by our SPIs.
    fn take_mixed_burst(&mut self, way: Way, packets: &[(u32, Vec<u8>)]) -> Vec<DropReason> {
        let around = |(_, packet): &(u32, Vec<u8>)| [&[0xee; AROUND], &packet[..], &[0xee; AROUND]].concat();
        let mut buffers: Vec<Vec<u8>> = packets.iter().map(around).collect();
        let parcel = |(room, (spi, packet)): (_, &(u32, Vec<u8>))| {
            let (start, len) = (AROUND as u16, packet.len() as u16);
            Parcel { room, start, len, spi: *spi, way, fate: Fate::Untouched }
        };
        let rooms = buffers.iter_mut().map(Vec::as_mut_slice);
        let mut parcels: Vec<Parcel<'_>> = rooms.zip(packets).map(parcel).collect();
        self.gateway.handle_parcels(&mut self.desk, &mut parcels);
        let fates: Vec<Fate> = parcels.iter().map(|parcel| parcel.fate).collect();
        let mut refused = Vec::new();
        for ((buffer, (spi, packet)), fate) in buffers.iter().zip(packets).zip(fates) {
            match (fate, way) {
                (Fate::Sent { start, len }, _) => {
                    let sent = buffer[usize::from(start)..][..usize::from(len)].to_vec();
                    let to = if way == Way::Into { &mut self.desk.to_peer } else { &mut self.desk.to_host };
                    to.push(sent);
                }
                (Fate::Dropped(reason), _) => refused.push(reason),
                (Fate::Taken, _) => {}
                (Fate::Untouched, Way::Into) => {
                    if let Err(Hindrance::Drop(reason)) = self.send_into(*spi, packet) {
                        refused.push(reason);
                    }
                }
                (Fate::Untouched, Way::OutOf) => refused.extend(self.hear(packet).err()),
            }
        }
        self.desk.now_ns += 1;
        refused
    }
}

fn from_inside(marks: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    marks.map(|mark| packet(INSIDE, BRANCH, mark, 100, 0)).collect()
}

fn sealed(world: &mut World, marks: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    marks.map(|mark| world.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0))).collect()
}

#[test]
fn a_burst_waits_for_its_numbers_and_keeps_its_order() {
    for numbers in [Numbers::Short, Numbers::Extended] {
        let mut world = World::new(numbers);
        world.owner().take_burst(Way::Into, &from_inside(0..32));
        world.peer_opens();
        assert!(world.peer.got.is_empty(), "nobody holds a lease of our numbers yet");
        world.owner().take_burst(Way::Into, &from_inside(32..40));
        world.replicate();
        world.peer_opens();
        world.owner().take_burst(Way::Into, &from_inside(40..72));
        assert_eq!(world.owner().desk.to_peer.len(), 32, "where they lie");
        world.peer_opens();
        assert_eq!(world.peer.got, (0..72).collect::<Vec<_>>());
        assert_eq!((world.owner().count("packets_out"), world.owner().count("bytes_out")), (72, 72 * 120));
    }
}

#[test]
fn the_peers_burst_waits_for_a_lease_and_is_let_in_once() {
    for numbers in [Numbers::Short, Numbers::Extended] {
        let mut world = World::new(numbers);
        let frames = sealed(&mut world, 0..32);
        assert_eq!(world.owner().take_burst(Way::OutOf, &frames), []);
        assert!(world.delivered().is_empty(), "nobody holds a lease of their numbers yet");
        world.replicate();
        assert_eq!(world.delivered(), (0..32).collect::<Vec<_>>());
        assert_eq!(world.owner().take_burst(Way::OutOf, &frames), [DropReason::EspReplayed; 32]);
        world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
        let [mut frame] = sealed(&mut world, 32..33).try_into().expect("one");
        let twice = [frame.clone(), frame.clone(), frame.clone()];
        assert_eq!(world.owner().take_burst(Way::OutOf, &twice), [DropReason::EspReplayed; 2]);
        assert_eq!(world.delivered(), [32]);
        *frame.last_mut().expect("bytes") ^= 1;
        frame[27] ^= 0x40;
        assert_eq!(world.owner().take_burst(Way::OutOf, &[frame]), [DropReason::EspBadIcv]);
    }
}

/// A busy peer's burst is let in without a copy; what is wrong in it is refused by itself.
#[test]
fn what_is_wrong_in_a_burst_spoils_nothing_else() {
    let mut world = World::new(Numbers::Extended);
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    for round in 0..20 {
        let frames = sealed(&mut world, round * 100..(round + 1) * 100);
        frames.chunks(20).for_each(|frames| drop(world.owner().take_burst(Way::OutOf, frames)));
        world.owner().wait(10 * MS);
    }
    assert_eq!(world.delivered(), (0..2000).collect::<Vec<_>>());
    let waited = world.owner().count("waited");
    let mut frames = sealed(&mut world, 2000..2008);
    frames[1][40] ^= 1;
    frames[2] = frames[0].clone();
    frames[3] = world.peer.seal(&packet(HERE, INSIDE, 0, 100, 0));
    frames[4].truncate(45);
    let refused = world.owner().take_burst(Way::OutOf, &frames);
    let (icv, again, strange) = (DropReason::EspBadIcv, DropReason::EspReplayed, DropReason::PolicyMismatch);
    assert_eq!(refused, [icv, again, strange, DropReason::EspMalformed]);
    assert_eq!(world.delivered(), [2000, 2005, 2006, 2007]);
    assert_eq!(world.owner().count("waited"), waited, "nothing waited");
}

#[test]
fn what_needs_care_is_left_untouched_with_what_follows() {
    let mut world = World::new(Numbers::Short);
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    world.inside_sends(0..1);
    let mut burst = from_inside(1..6);
    burst[2] = packet(INSIDE, BRANCH, 3, 1480, ipv4::DONT_FRAGMENT);
    world.owner().take_burst(Way::Into, &burst);
    world.peer_opens();
    assert_eq!(world.peer.got, [0, 1, 2, 4, 5], "the sender of the one is told, and the others keep their order");
    let elsewhere = Member::new(3, 0, &spec(Numbers::Short)).take_burst(Way::OutOf, &sealed(&mut world, 0..1));
    assert_eq!(elsewhere, [DropReason::SaUnusable], "one that has not joined");
}

#[test]
fn connections_in_a_burst_are_told_how_much_fits() {
    let mut world = World::new(Numbers::Short);
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    world.inside_sends(0..1);
    let mut burst = from_inside(1..4);
    burst[1] = syn(INSIDE, BRANCH);
    world.owner().take_burst(Way::Into, &burst);
    let sent = std::mem::take(&mut world.owner().desk.to_peer);
    let opened: Vec<_> = sent.iter().map(|frame| world.peer.opened(frame)).collect();
    let [first, connecting, last] = &opened[..] else { panic!("{} packets", opened.len()) };
    assert_eq!((mark(first), mss(connecting), mark(last)), (1, MSS_THAT_FITS, 3), "in their order");
    let frames = [world.peer.seal(&burst[0]), world.peer.seal(&syn(BRANCH, INSIDE))];
    let refused = world.owner().take_burst(Way::OutOf, &frames);
    assert_eq!(refused, [DropReason::PolicyMismatch], "the first comes from the wrong side");
    assert_eq!(mss(&world.owner().desk.to_host.pop().expect("the second")), MSS_THAT_FITS);
}

/// Transport mode is for the careful way, one by one.
#[test]
fn transport_mode_in_a_burst_is_what_it_is_alone() {
    let mut world = World::of(&super::transport::transport());
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    let burst: Vec<_> = (0..4).map(|mark| packet(HERE, PEER, mark, 100, 0)).collect();
    world.owner().take_burst(Way::Into, &burst);
    world.peer_opens();
    assert_eq!(world.peer.got, [0, 1, 2, 3]);
    let frames: Vec<_> = (0..4).map(|mark| world.peer.seal(&packet(PEER, HERE, mark, 100, 0))).collect();
    assert_eq!(world.owner().take_burst(Way::OutOf, &frames), []);
    assert_eq!(world.owner().desk.to_host.len(), 4);
}

/// Over IPv6, UDP has a checksum, which depends on the sealed bytes.
#[test]
fn what_depends_on_sealed_bytes_is_written_after_them() {
    let [here, peer] = ["2001:db8::1", "2001:db8::9"].map(|ip| ip.parse::<std::net::Ipv6Addr>().expect("an address"));
    let udp = Some(Ports { source: 4500, destination: 4500 });
    let outer = Outer { source: here.into(), destination: peer.into(), udp, ..outer(HERE, PEER) };
    let mut world = World::of(&TunnelSpec { outer, ..spec(Numbers::Short) });
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    // The first one wakes it up, and goes by itself.
    world.owner().take_burst(Way::Into, &from_inside(0..1));
    world.owner().take_burst(Way::Into, &from_inside(1..5));
    let sent = std::mem::take(&mut world.owner().desk.to_peer);
    assert_eq!(sent.len(), 5);
    for packet in sent {
        let datagram = &packet[ipv6::HEADER_LEN..];
        let pseudo = Sum::new().pseudo_v6(here.into(), peer.into(), proto::UDP, datagram.len());
        assert_eq!(pseudo.bytes(datagram).checksum(), 0);
    }
}

/// An engine that does not do each third packet.
struct Stubborn;

struct Refusing(Box<dyn Session>, usize);

impl Engine for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(Refusing(BuiltIn.session(transform, keys, numbers, direction)?, 0)))
    }
}

impl Session for Refusing {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            self.1 += 1;
            if !self.1.is_multiple_of(3) {
                self.0.process(std::slice::from_mut(job));
            }
        }
    }
}

#[test]
fn what_is_not_sealed_goes_nowhere_and_is_counted_as_that() {
    let (mut world, stats) = (World::new(Numbers::Short), TunnelStats::new(1));
    let config = GatewayConfig::new(member(2), vec![spec(Numbers::Short)], REPLICA_KEY);
    let heir = 1 - world.owner;
    *world.members[heir].gateway = Gateway::new(config, Arc::new(Stubborn), stats.clone());
    world.turn();
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    // The first one wakes it up, and goes by itself.
    world.owner().take_burst(Way::Into, &from_inside(90..91));
    world.owner().take_burst(Way::Into, &from_inside(0..7));
    world.peer_opens();
    assert_eq!(world.peer.got, [90, 0, 2, 3, 5, 6]);
    let counted = |name: &str| stats.of(0).iter().find(|it| it.0 == name).map(|it| it.2);
    let (packets, bytes) = (counted("packets_out"), counted("bytes_out"));
    assert_eq!((packets, bytes, counted("not_sent")), (Some(6), Some(6 * 120), Some(2)));
}

/// A tunnel like all others, but for its transform, its keys and its numbers.
fn numbered(number: u8, transform: &str, numbers: Numbers) -> TunnelSpec {
    let transform: Transform = transform.parse().expect("a transform");
    let half = |spi, key: u8| {
        let (cipher, check) = (vec![key; transform.cipher_key_len()], vec![key ^ 0x5a; transform.integrity_key_len()]);
        Half { spi, keys: Keys::new(transform, &cipher, &check).expect("keys") }
    };
    let spis = u32::from(number) << 10;
    TunnelSpec {
        name: format!("branch {number}"),
        protection: Protection::Esp(transform),
        inbound: half(SPI_IN + spis, 2 * number),
        outbound: half(SPI_OUT + spis, 2 * number + 1),
        ..spec(numbers)
    }
}

/// Some are done with others of other tunnels, some by themselves: each is what it would be alone, and in its order.
#[test]
fn a_burst_of_many_tunnels_is_what_each_makes_alone() {
    let transforms =
        ["aes128-sha1", "aes128gcm16", "aes256-sha256", "aes128-sha1", "aes256-sha512", "aes128ctr-sha256"];
    let with_numbers = transforms.iter().zip([Numbers::Short, Numbers::Short, Numbers::Extended].into_iter().cycle());
    let specs: Vec<TunnelSpec> =
        (1..).zip(with_numbers).map(|(number, (transform, numbers))| numbered(number, transform, numbers)).collect();
    let mut peers: Vec<Peer> = specs.iter().map(Peer::new).collect();
    let mut world = World::new(Numbers::Short);
    let config = GatewayConfig::new(member(2), specs.clone(), REPLICA_KEY);
    let heir = 1 - world.owner;
    let stats = TunnelStats::new(specs.len());
    *world.members[heir].gateway = Gateway::new(config, choice::without_devices(), stats);
    world.turn();
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    let mut expected = vec![Vec::new(); specs.len()];
    let (mut delivered, mut damaged) = (Vec::new(), 0);
    for round in 0..60_u32 {
        let places: Vec<usize> = (0..1 + round % 32).map(|at| ((at * at + round) / 3) as usize % specs.len()).collect();
        let out: Vec<(u32, Vec<u8>)> = (0..)
            .zip(&places)
            .map(|(at, place): (u32, _)| {
                let mark = round * 32 + at;
                expected[*place].push(mark);
                (specs[*place].inbound.spi, packet(INSIDE, BRANCH, mark, 20 + (mark * 37 % 1300) as u16, 0))
            })
            .collect();
        assert_eq!(world.owner().take_mixed_burst(Way::Into, &out), []);
        for frame in std::mem::take(&mut world.owner().desk.to_peer) {
            let (spi, _) = esp::header(&frame[20..]).expect("a header");
            peers.iter_mut().find(|peer| peer.spi == spi).expect("one of them").open(&frame);
        }
        let mut wrong = Vec::new();
        let back: Vec<(u32, Vec<u8>)> = (0..)
            .zip(&places)
            .map(|(at, place): (u32, _)| {
                let mark = round * 32 + at;
                let mut frame = peers[*place].seal(&packet(BRANCH, INSIDE, mark, 20 + (mark * 41 % 1300) as u16, 0));
                if (round + at) % 11 == 10 {
                    let at = 20 + 8 + (mark as usize * 29 % (frame.len() - 28));
                    frame[at] ^= 1;
                    wrong.push(DropReason::EspBadIcv);
                } else {
                    delivered.push(mark);
                }
                (specs[*place].inbound.spi, frame)
            })
            .collect();
        damaged += wrong.len();
        assert_eq!(world.owner().take_mixed_burst(Way::OutOf, &back), wrong, "round {round}");
    }
    let got: Vec<_> = peers.iter().map(|peer| peer.got.clone()).collect();
    assert_eq!(got, expected);
    delivered.sort_unstable();
    let mut came = world.delivered();
    came.sort_unstable();
    assert_eq!((came, damaged > 50), (delivered, true));
}
