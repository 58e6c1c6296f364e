//! Ports that are not just one outside and one inside: tagged ones, and more than one on a side.

use dpdk::Eal;
use phalanx_dataplane::port::{Delivery, Role};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::wire::{EtherType, MacAddr, arp, ethernet, proto};

use crate::frames::*;
use crate::stage::*;

/// A host's frame with a tag.
fn tagged(vlan: u16, mut frame: Vec<u8>) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    frame.splice(12..12, [0x81, 0x00, high, low]);
    frame
}

/// A frame without the tag that it must have; untagged ones must have none.
fn stripped(vlan: Option<u16>, mut frame: Vec<u8>) -> Vec<u8> {
    let (header, _) = ethernet::Repr::parse(&frame).expect("a frame");
    assert_eq!(header.vlan.map(|tag| tag.number()), vlan);
    if vlan.is_some() {
        frame.drain(12..16);
    }
    frame
}

/// A stage of ports with these networks and tags, and a host on each that the member knows.
struct Town {
    stage: Stage,
    sides: Vec<Side>,
}

impl Town {
    fn new(eal: &Eal, sides: &[(Role, u8, Option<u16>)]) -> Self {
        let side = |&(role, net, vlan)| Side { role, net, mtu: 1500, vlan };
        let sides: Vec<_> = sides.iter().map(side).collect();
        let stage = Stage::with_sides(eal, Delivery::Forward, &sides, 1, 1);
        let mut town = Self { stage, sides };
        town.stage.set_all(Mode::Mine, true);
        for at in 0..town.sides.len() {
            town.introduce(at, 100);
        }
        town
    }

    fn host(&self, at: usize) -> MacAddr {
        MacAddr([2, 0, 0, 0, self.sides[at].net, 0x64])
    }

    /// A host asks for the member's address and, being asked in turn, answers.
    fn introduce(&mut self, at: usize, last: u8) {
        let (net, mac) = (self.sides[at].net, self.host(at));
        let [own, other] = [format!("10.{net}.0.{last}"), format!("10.{net}.0.1")];
        let out = self.exchange(at, vec![arp_request(mac, &own, &other)]);
        let reply = read_arp(&out[at][0]).expect("an ARP reply");
        assert_eq!((reply.operation, reply.sender_mac), (arp::Operation::Reply, self.stage.mac(at)));
        let told = arp_reply(self.stage.mac(at), mac, &own, &other);
        assert!(self.exchange(at, vec![told]).iter().all(Vec::is_empty));
    }

    /// Frames without their ports' tags, in and out.
    fn exchange(&mut self, at: usize, frames: Vec<Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
        let vlan = self.sides[at].vlan;
        let frames = frames.into_iter().map(|f| vlan.map_or(f.clone(), |vlan| tagged(vlan, f)));
        self.exchange_raw(at, &frames.collect::<Vec<_>>())
    }

    /// The same, but the host's frames are as they are.
    fn exchange_raw(&mut self, at: usize, frames: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        self.stage.send_only(at, frames);
        self.stage.work();
        let out = self.stage.collect_all().into_iter().zip(&self.sides);
        out.map(|(frames, side)| frames.into_iter().map(|f| stripped(side.vlan, f)).collect()).collect()
    }

    fn packet(&self, at: usize) -> Ip {
        Ip::udp(self.stage.mac(at), self.host(at), 30)
    }

    /// Routes a packet from one port's host and looks at it where it must come out.
    fn route(&mut self, from: usize, to: usize, destination: &str) {
        let source = format!("10.{}.0.100", self.sides[from].net);
        // Once by the careful way, once by the fast one if the ports have one.
        for _ in 0..2 {
            let frame = self.packet(from).frame(&source, destination);
            let mut out = self.exchange(from, vec![frame.clone()]);
            let forwarded = out[to].pop().expect("it comes out where the route says");
            assert!(out.iter().all(Vec::is_empty));
            assert_eq!(macs(&forwarded), (self.host(to), self.stage.mac(to)));
            let seen = summary(&forwarded);
            assert_eq!((seen.ttl, seen.dst_ip()), (63, v4(destination).into()));
            assert_eq!(seen.l4(&forwarded), &frame[34..]);
        }
        self.stage.assert_balance();
    }
}

/// Tagged ports, and a tagged one beside an untagged one, in both directions.
pub(crate) fn vlans(eal: &Eal) {
    let pairs = [(Some(100), Some(300)), (Some(100), None), (None, Some(300))];
    for (outside, inside) in pairs {
        let mut town = Town::new(eal, &[(Role::Outside, 2, outside), (Role::Inside, 3, inside)]);
        town.route(OUTSIDE, INSIDE, "10.3.0.100");
        town.route(INSIDE, OUTSIDE, "10.2.0.100");
        // What the member says itself: an error, an echo, and IPv6's questions.
        let dying = Ip { ttl: 1, ..town.packet(OUTSIDE) }.frame("10.2.0.100", "10.3.0.100");
        let echo = echo_request_v4(town.stage.mac(OUTSIDE), town.host(OUTSIDE), "10.2.0.100", "10.2.0.10", 56);
        let out = town.exchange(OUTSIDE, vec![dying, echo]);
        let kinds: Vec<u8> = out[OUTSIDE].iter().map(|f| summary(f).l4(f)[0]).collect();
        assert_eq!(kinds, [11, 0]);
        let six = town.packet(OUTSIDE).frame("fd00:2::100", "fd00:3::100");
        let out = town.exchange(OUTSIDE, vec![six.clone()]);
        assert_eq!(summary(&out[INSIDE][0]).proto, proto::ICMPV6, "a solicitation");
        let told = advertisement(town.stage.mac(INSIDE), town.host(INSIDE), "fd00:3::100", "fd00:3::1");
        let out = town.exchange(INSIDE, vec![told]);
        assert_eq!(summary(&out[INSIDE][0]).l4(&out[INSIDE][0]), &six[54..]);
        // Passed on as it is, tag and all.
        town.stage.set_all(Mode::Relay(member(2)), true);
        let frame = town.packet(OUTSIDE).frame("10.2.0.100", "10.3.0.100");
        let out = town.exchange(OUTSIDE, vec![frame.clone()]);
        assert_eq!(macs(&out[OUTSIDE][0]), (MacAddr(PEER_MACS[OUTSIDE]), town.stage.mac(OUTSIDE)));
        assert_eq!(out[OUTSIDE][0][12..], frame[12..]);
        town.stage.set_all(Mode::Mine, true);
        other_tags(&mut town, outside, &frame);
        town.stage.assert_balance();
    }
}

/// A port for longer frames than its driver can be told of works, and says so; frames of the usual length pass.
pub(crate) fn long_frames(eal: &Eal) {
    let side = |role, net| Side { role, net, mtu: 9000, vlan: None };
    let sides = [side(Role::Outside, 2), side(Role::Inside, 3)];
    let stage = Stage::with_sides(eal, Delivery::Forward, &sides, 1, 1);
    assert_eq!(stage.data.warnings.len(), 2);
    assert!(stage.data.warnings.iter().all(|told| told.contains("cannot be told of an MTU of 9000")));
    let mut town = Town { stage, sides: sides.to_vec() };
    town.stage.set_all(Mode::Mine, true);
    (0..2).for_each(|at| town.introduce(at, 100));
    town.route(OUTSIDE, INSIDE, "10.3.0.100");
}

/// A frame with another tag than its port's, with none, or with one where there must be none, is nobody's.
fn other_tags(town: &mut Town, vlan: Option<u16>, frame: &[u8]) {
    let mut strange = vec![tagged(101, frame.to_vec())];
    if vlan.is_some() {
        strange.push(frame.to_vec());
    }
    assert!(town.exchange_raw(OUTSIDE, &strange).iter().all(Vec::is_empty));
    assert!(town.stage.drops().contains(&("other_vlan", strange.len() as u64)), "{:?}", town.stage.drops());
}

/// Two ways out, one of them tagged, and one inside: routes choose, between the outside ports too.
pub(crate) fn three_ports(eal: &Eal) {
    const OTHER: usize = 2;
    let sides = [(Role::Outside, 2, None), (Role::Inside, 3, None), (Role::Outside, 4, Some(200))];
    let mut town = Town::new(eal, &sides);
    // The default route's gateway is on the first port.
    town.introduce(OUTSIDE, 254);
    town.route(INSIDE, OUTSIDE, "10.2.0.100");
    town.route(INSIDE, OTHER, "10.4.0.100");
    town.route(INSIDE, OUTSIDE, "192.0.2.1");
    town.route(OUTSIDE, INSIDE, "10.3.0.100");
    town.route(OTHER, INSIDE, "10.3.0.100");
    town.route(OUTSIDE, OTHER, "10.4.0.100");
    town.route(OTHER, OUTSIDE, "192.0.2.1");
    // Each port answers for its own addresses only.
    let asked = arp_request(town.host(OTHER), "10.4.0.100", "10.2.0.10");
    assert!(town.exchange(OTHER, vec![asked]).iter().all(Vec::is_empty));
    // One burst whose packets part.
    let to = |town: &Town, destination: &str| town.packet(INSIDE).frame("10.3.0.100", destination);
    let frames = ["10.2.0.100", "10.4.0.100", "192.0.2.1", "10.4.0.100"].map(|destination| to(&town, destination));
    let out = town.exchange(INSIDE, frames.to_vec());
    assert_eq!([OUTSIDE, INSIDE, OTHER].map(|port| out[port].len()), [2, 0, 2]);
    let header = ethernet::Repr::parse(&out[OTHER][0]).expect("a frame").0;
    assert_eq!(header.ethertype, EtherType::IPV4);
    town.stage.assert_balance();
}
