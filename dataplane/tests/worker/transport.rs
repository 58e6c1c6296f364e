//! The cluster's own traffic through tunnels: pings and apps at its addresses, from a peer in transport mode and from behind a tunnel.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::app::{App, Outgoing, Outlet, Returned, Trouble, UnitSet};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::ipsec::Keys;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::gateway::{
    Gateway, GatewayConfig, Half, Network, SaMode, Selectors, TunnelSpec, TunnelStats,
};
use phalanx_dataplane::parse::Summary;
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::replica::{Cursor, Source, Step, Update};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::wire::{proto, udp};

use crate::frames::{CLIENT, Ip, SERVER, echo_request_v4, summary};
use crate::stage::{INSIDE, OUTSIDE, Stage, member};
use crate::tunnel::{CLUSTER, HOST, PEER, ip, is_esp, opened, sealed, spec};

const BRANCH: &str = "10.9.0.7";
/// The cluster's address on the network behind it.
const WITHIN: &str = "10.3.0.10";

/// Character generator (RFC 864), each answer as long as may be.
#[derive(Default)]
struct Chargen {
    len: u16,
}

const PORT: u16 = 19;
/// What an Ethernet takes.
const LEN_MAX: u16 = 1472;

impl Chargen {
    fn say(&self, outlet: &mut dyn Outlet, source: std::net::IpAddr, destination: std::net::IpAddr, port: u16) {
        let len = self.len;
        let sent = outlet.send(Outgoing { source, destination, proto: proto::UDP }, &mut |room| {
            let repr = udp::Repr { source_port: PORT, destination_port: port, payload_len: len };
            let len = udp::HEADER_LEN + usize::from(len);
            room[..len].fill(b'x');
            repr.emit(&mut room[..len]).map_or(0, |_| len)
        });
        assert!(sent);
    }
}

impl Source for Chargen {
    fn digest(&mut self, _: Unit) -> u64 {
        0
    }
    fn put_next(&mut self, _: Unit, _: Cursor, _: &mut dyn FnMut(&Update<'_>)) -> Step {
        Step::End
    }
}

impl App for Chargen {
    fn name(&self) -> &'static str {
        "chargen"
    }
    fn claims(&self, summary: &Summary) -> bool {
        summary.proto == proto::UDP && summary.dst_port == PORT
    }
    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        _: &[u8],
    ) -> Result<(), DropReason> {
        assert!(outlet.owns(unit), "only packets of our units come here");
        self.say(outlet, summary.dst_ip(), summary.src_ip(), summary.src_port);
        Ok(())
    }
    fn handle_returned(&mut self, outlet: &mut dyn Outlet, _: Unit, returned: &Returned<'_>) -> bool {
        let Trouble::TooBig { mtu } = returned.trouble else { return false };
        assert!(mtu < self.len + 28, "{mtu} is no less");
        self.len = mtu - 28;
        let about = &returned.about;
        self.say(outlet, about.dst_ip(), about.src_ip(), about.src_port);
        true
    }
    fn handle_units(&mut self, _: &mut dyn Outlet, _: &UnitSet, _: &UnitSet) {}
    fn handle_commit(&mut self, _: &mut dyn Outlet) {}
    fn poll_timeout(&self) -> Option<u64> {
        None
    }
    fn handle_timeout(&mut self, _: &mut dyn Outlet) {}
}

/// Between the cluster's address and the peer's; its unit is another than the tunnel's.
fn transport() -> TunnelSpec {
    let spec = spec();
    let host = |text: &str| vec![Network::new(text.parse().expect("an address"), 32)];
    let transform = spec.protection.transform();
    let half = |spi, key| Half { spi, keys: Keys::new(transform, &[key; 36], &[]).expect("keys") };
    TunnelSpec {
        name: "host".to_owned(),
        mode: SaMode::Transport,
        selectors: Selectors { local: host(CLUSTER), remote: host(PEER) },
        inbound: half(0x3_0155, 3),
        outbound: half(0x4_0001, 4),
        ..spec
    }
}

pub(crate) fn scene(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Forward, 1500);
    let config = GatewayConfig::new(member(1), vec![spec(), transport()], [0; 16]);
    let gateway = Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(2));
    stage.data.workers[0].add_app(Box::new(Chargen { len: LEN_MAX }));
    stage.data.workers[0].add_app(Box::new(gateway));
    stage.data.shared.incarnation.store(3, Relaxed);
    for (port, address, mac) in [(OUTSIDE, PEER, CLIENT), (INSIDE, HOST, SERVER)] {
        stage.data.workers[0].introduce(port as u8, address.parse().expect("an address"), mac);
    }
    stage.set_all(Mode::Mine, true);
    let both = [(transport(), PEER, CLUSTER), (spec(), BRANCH, WITHIN)];
    for (tunnel, from, to) in &both {
        pings_are_answered(&mut stage, tunnel, from, to);
        what_nobody_wants_is_lost(&mut stage, tunnel, from, to);
    }
    for (tunnel, from, to) in &both {
        apps_answer(&mut stage, tunnel, from, to);
        nothing_goes_in_clear(&mut stage, from, to);
        anothers_tunnel_is_anothers(&mut stage, tunnel, from, to);
    }
    stage.assert_balance();
}

/// The one packet inside what went to the peer.
fn answer(stage: &mut Stage, tunnel: &TunnelSpec, frame: Vec<u8>) -> Vec<u8> {
    let [outside, inside] = stage.exchange(OUTSIDE, &[frame]);
    assert_eq!((outside.len(), inside.len()), (1, 0), "{:?}", stage.drops());
    assert!(is_esp(&outside[0]));
    opened(tunnel, &outside[0])
}

fn pings_are_answered(stage: &mut Stage, tunnel: &TunnelSpec, from: &str, to: &str) {
    let ping = echo_request_v4(stage.mac(OUTSIDE), CLIENT, from, to, 100);
    let sent = sealed(stage, tunnel, ip(&ping), 1);
    let pong = answer(stage, tunnel, sent);
    let reply = phalanx_dataplane::parse::summarise_l3(&pong).expect("a packet");
    assert_eq!((reply.src_ip().to_string(), reply.dst_ip().to_string()), (to.to_owned(), from.to_owned()));
    assert_eq!(reply.l4(&pong)[0], 0, "an echo reply");
    assert_eq!(reply.l4(&pong)[4..], summary(&ping).l4(&ping)[4..]);
}

/// No app is there for it, or it is a fragment.
fn what_nobody_wants_is_lost(stage: &mut Stage, tunnel: &TunnelSpec, from: &str, to: &str) {
    let stray = Ip::udp(stage.mac(OUTSIDE), CLIENT, 50);
    let piece =
        Ip { fragment: phalanx_dataplane::wire::ipv4::MORE_FRAGMENTS, ..Ip::udp(stage.mac(OUTSIDE), CLIENT, 48) };
    for (at, packet) in [stray, piece].iter().enumerate() {
        let frame = sealed(stage, tunnel, ip(&packet.frame(from, to)), 2 + at as u64);
        assert_eq!(stage.exchange(OUTSIDE, &[frame]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    }
}

/// What does not fit comes back to the app, as from a router on the way, and it answers with less.
fn apps_answer(stage: &mut Stage, tunnel: &TunnelSpec, from: &str, to: &str) {
    let mut lens = Vec::new();
    for round in 0..2 {
        let mut ask = Ip::udp(stage.mac(OUTSIDE), CLIENT, 20);
        ask.payload[2..4].copy_from_slice(&PORT.to_be_bytes());
        let frame = sealed(stage, tunnel, ip(&ask.frame(from, to)), 10 + round);
        let said = answer(stage, tunnel, frame);
        let it = phalanx_dataplane::parse::summarise_l3(&said).expect("a packet");
        assert_eq!((it.src_ip().to_string(), it.dst_ip().to_string()), (to.to_owned(), from.to_owned()));
        assert_eq!(it.src_port, PORT);
        lens.push(it.l3_len());
    }
    // 1500 less ESP's header, the IV, the ICV and what the padding leaves; in a tunnel, which comes after, its header, too.
    let fits = if tunnel.mode == SaMode::Transport { 1466 } else { 1446 };
    assert_eq!(lens, [fits, fits]);
}

fn nothing_goes_in_clear(stage: &mut Stage, from: &str, to: &str) {
    let mismatches = |stage: &Stage| {
        let found = stage.drops().into_iter().find(|(name, _)| *name == "policy_mismatch");
        found.map_or(0, |(_, count)| count)
    };
    let before = mismatches(stage);
    let ping = echo_request_v4(stage.mac(OUTSIDE), CLIENT, from, to, 100);
    let mut ask = Ip::udp(stage.mac(OUTSIDE), CLIENT, 20);
    ask.payload[2..4].copy_from_slice(&PORT.to_be_bytes());
    let ask = ask.frame(from, to);
    assert_eq!(stage.exchange(OUTSIDE, &[ping, ask]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(mismatches(stage), before + 2);
}

/// Its packets come to its owner, not here.
fn anothers_tunnel_is_anothers(stage: &mut Stage, tunnel: &TunnelSpec, from: &str, to: &str) {
    let mut modes = vec![Mode::Mine; UNITS];
    modes[tunnel.unit().index()] = Mode::Drop;
    stage.set(modes, true);
    let ping = echo_request_v4(stage.mac(OUTSIDE), CLIENT, from, to, 100);
    let frame = sealed(stage, tunnel, ip(&ping), 20);
    assert_eq!(stage.exchange(OUTSIDE, &[frame]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    stage.set_all(Mode::Mine, true);
}
