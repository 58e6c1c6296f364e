//! A tunnel's traffic through a worker: whose it is, what comes out on which wire, who is told what.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job, Numbers};
use phalanx_dataplane::ipsec::decap::{Decap, Found, locate};
use phalanx_dataplane::ipsec::encap::{Draws, Encap, Mode as Wrapping, Name};
use phalanx_dataplane::ipsec::gateway::{
    Gateway, GatewayConfig, Half, Life, Network, Protection, SaMode, Selectors, TunnelSpec, TunnelStats,
};
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer};
use phalanx_dataplane::ipsec::{Keys, Transform};
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::UNITS;
use phalanx_dataplane::wire::{icmpv4, ipv4, proto};

use crate::frames::{CLIENT, Ip, SERVER, echo_request_v4, summary};
use crate::stage::{INSIDE, OUTSIDE, Stage, member};

pub(crate) const CLUSTER: &str = "10.2.0.10";
pub(crate) const PEER: &str = "10.2.0.100";
pub(crate) const HOST: &str = "10.3.0.100";
const BRANCH: &str = "10.9.0.7";
const SPI_IN: u32 = 0x1_0123;

pub(crate) fn outer(from: &str, to: &str) -> Outer {
    let address = |text: &str| text.parse().expect("an address");
    Outer {
        source: address(from),
        destination: address(to),
        udp: None,
        dscp: None,
        dont_fragment: DontFragment::Copy,
        hop_limit: 64,
    }
}

pub(crate) fn spec() -> TunnelSpec {
    let transform: Transform = "aes256gcm16".parse().expect("a transform");
    let half = |spi, key| Half { spi, keys: Keys::new(transform, &[key; 36], &[]).expect("keys") };
    let networks =
        |texts: [(&str, u8); 2]| texts.map(|(text, len)| Network::new(text.parse().expect("an address"), len)).to_vec();
    TunnelSpec {
        name: "branch".to_owned(),
        protection: Protection::Esp(transform),
        mode: SaMode::Tunnel,
        numbers: Numbers::Short,
        replay_window: 64,
        outer: outer(CLUSTER, PEER),
        selectors: Selectors {
            local: networks([("10.3.0.0", 24), ("fd00:3::", 64)]),
            remote: networks([("10.9.0.0", 24), ("fd00:9::", 64)]),
        },
        inbound: half(SPI_IN, 1),
        outbound: half(0x2_0001, 2),
        contact: None,
        life: Life::default(),
    }
}

/// What the peer makes of a frame of ours.
pub(crate) fn opened(spec: &TunnelSpec, frame: &[u8]) -> Vec<u8> {
    let mut packet = summary(frame).l3(frame).to_vec();
    let at = locate(&packet).expect("ESP");
    let mut session = BuiltIn
        .session(spec.protection.transform(), &spec.outbound.keys, spec.numbers, Direction::Open)
        .expect("a session");
    let mut jobs = [Job::new(&mut packet[at..], 0)];
    session.process(&mut jobs);
    assert!(jobs[0].done, "a wrong check value");
    let decap = Decap::new(&wrapping(spec), spec.protection.transform());
    let Ok(Found::Packet(place)) = decap.unwrap(&mut packet, at) else { panic!("no packet inside") };
    packet[place].to_vec()
}

/// What the peer's packets are wrapped in.
const fn wrapping(spec: &TunnelSpec) -> Wrapping {
    let Outer { source, destination, .. } = spec.outer;
    match spec.mode {
        SaMode::Tunnel => Wrapping::Tunnel(Outer { source: destination, destination: source, ..spec.outer }),
        SaMode::Transport => Wrapping::Transport { udp: None },
    }
}

/// A frame of the peer's around an IP packet.
pub(crate) fn sealed(stage: &Stage, spec: &TunnelSpec, packet: &[u8], sequence: u64) -> Vec<u8> {
    let encap = Encap::new(spec.inbound.spi, wrapping(spec), spec.protection.transform());
    let layout = encap.room(packet).expect("a packet");
    let mut buffer = [&vec![0; layout.before], packet, &vec![0; layout.after]].concat();
    let at =
        encap.build(&mut buffer, layout, Draws { sequence, nonce: sequence, name: Name::default() }).expect("a packet");
    let mut session = BuiltIn
        .session(spec.protection.transform(), &spec.inbound.keys, spec.numbers, Direction::Seal)
        .expect("a session");
    let mut jobs = [Job::new(&mut buffer[at..], 0)];
    session.process(&mut jobs);
    let mut frame = Ip::udp(stage.mac(OUTSIDE), CLIENT, 8).frame(PEER, CLUSTER)[..14].to_vec();
    frame.extend(buffer);
    frame
}

pub(crate) fn ip(frame: &[u8]) -> &[u8] {
    summary(frame).l3(frame)
}

pub(crate) fn is_esp(frame: &[u8]) -> bool {
    let outside = summary(frame);
    (outside.proto, outside.src_ip(), outside.dst_ip()) == (proto::ESP, spec().outer.source, spec().outer.destination)
}

pub(crate) fn scene(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Forward, 1500);
    let config = GatewayConfig::new(member(1), vec![spec()], [0; 16]);
    let gateway = Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(1));
    stage.data.workers[0].add_app(Box::new(gateway));
    stage.data.shared.incarnation.store(3, Relaxed);
    for (port, address, mac) in [(OUTSIDE, PEER, CLIENT), (INSIDE, HOST, SERVER), (INSIDE, "fd00:3::100", SERVER)] {
        stage.data.workers[0].introduce(port as u8, address.parse().expect("an address"), mac);
    }
    // The tunnel's unit is ours, no other: the inside traffic's own addresses do not count.
    let mut modes = vec![Mode::Drop; UNITS];
    modes[spec().unit().index()] = Mode::Mine;
    stage.set(modes, false);
    passes_outwards(&mut stage);
    passes_inwards(&mut stage);
    bursts_keep_their_order(&mut stage);
    senders_are_told(&mut stage);
    routers_are_heard(&mut stage);
    nothing_goes_in_clear(&mut stage);
    stage.assert_balance();
    others_units_are_others(&mut stage);
    stage.assert_balance();
}

fn passes_outwards(stage: &mut Stage) {
    for (host, branch) in [(HOST, BRANCH), ("fd00:3::100", "fd00:9::7")] {
        let sent = Ip::udp(stage.mac(INSIDE), SERVER, 200).frame(host, branch);
        let [outside, inside] = stage.exchange(INSIDE, &[sent.clone(), sent.clone()]);
        assert_eq!((outside.len(), inside.len()), (2, 0));
        for frame in outside {
            assert!(is_esp(&frame) && frame[..6] == CLIENT.0);
            let packet = opened(&spec(), &frame);
            let (got, had) = (&packet[..], ip(&sent));
            assert_eq!(got[20..], had[20..], "what a host sent is what the peer gets");
            assert_eq!(got.len(), had.len());
        }
    }
}

fn passes_inwards(stage: &mut Stage) {
    for (at, (branch, host)) in [(BRANCH, HOST), ("fd00:9::7", "fd00:3::100")].into_iter().enumerate() {
        let inner = Ip::udp(SERVER, CLIENT, 300).frame(branch, host);
        let frame = sealed(stage, &spec(), ip(&inner), at as u64 + 1);
        let [outside, inside] = stage.exchange(OUTSIDE, &[frame.clone(), frame]);
        assert_eq!((outside.len(), inside.len()), (0, 1), "once, though it came twice");
        assert_eq!(inside[0][..6], SERVER.0);
        let (got, had) = (summary(&inside[0]), summary(&inner));
        assert_eq!((got.src, got.dst, got.ttl), (had.src, had.dst, had.ttl - 1));
        assert_eq!(got.l4(&inside[0]), had.l4(&inner));
    }
    assert!(stage.drops().contains(&("esp_replayed", 2)));
}

/// Packets that are sealed together, and some among them that take the careful way.
fn bursts_keep_their_order(stage: &mut Stage) {
    let frames: Vec<Vec<u8>> = (0..20)
        .map(|n| {
            let (host, branch) = if n % 7 == 3 { ("fd00:3::100", "fd00:9::7") } else { (HOST, BRANCH) };
            Ip::udp(stage.mac(INSIDE), SERVER, 100 + n).frame(host, branch)
        })
        .collect();
    let [outside, inside] = stage.exchange(INSIDE, &frames);
    assert!(inside.is_empty() && outside.iter().all(|frame| is_esp(frame)));
    let got: Vec<usize> = outside.iter().map(|frame| opened(&spec(), frame).len()).collect();
    assert_eq!(got, frames.iter().map(|frame| ip(frame).len()).collect::<Vec<_>>());
    stage.assert_balance();
}

fn senders_are_told(stage: &mut Stage) {
    let last = Ip { ttl: 1, ..Ip::udp(stage.mac(INSIDE), SERVER, 200) }.frame(HOST, BRANCH);
    let whole = Ip { fragment: ipv4::DONT_FRAGMENT, ..Ip::udp(stage.mac(INSIDE), SERVER, 1480) }.frame(HOST, BRANCH);
    let [outside, inside] = stage.exchange(INSIDE, &[last, whole]);
    assert!(outside.is_empty());
    let told: Vec<(u8, u8, u16)> = inside
        .iter()
        .map(|frame| {
            let icmp = summary(frame).l4(frame);
            (icmp[0], icmp[1], u16::from_be_bytes([icmp[6], icmp[7]]))
        })
        .collect();
    // 1500 less the outer header, ESP's, the IV, the ICV, and what the padding leaves.
    assert_eq!(told, [(11, 0, 0), (3, 4, 1446)]);
    // What may be cut is cut on the outside, and comes out whole.
    let long = Ip::udp(stage.mac(INSIDE), SERVER, 1480).frame(HOST, BRANCH);
    let [outside, _] = stage.exchange(INSIDE, &[long]);
    assert_eq!(outside.len(), 2);
    assert!(outside.iter().all(|frame| is_esp(frame) && summary(frame).is_fragment()));
}

/// A router on the way to the peer says that it takes no more than this, of a packet that began like that.
fn too_big(stage: &Stage, quoted: &[u8], mtu: u16) -> Vec<u8> {
    let mut payload = vec![0; 8];
    payload.extend(quoted);
    let mut error = icmpv4::Packet::new_checked(&mut payload[..]).expect("ICMP");
    error.set_kind(icmpv4::UNREACHABLE);
    error.set_code(icmpv4::CODE_FRAGMENTATION_NEEDED);
    error.set_rest(mtu.into());
    error.fill_checksum();
    Ip { proto: proto::ICMP, payload, ..Ip::udp(stage.mac(OUTSIDE), CLIENT, 8) }.frame("10.2.0.254", CLUSTER)
}

/// A router on the way to the peer takes less than our link: it says so, quoting what it got, and is believed if it can have got that.
fn routers_are_heard(stage: &mut Stage) {
    let whole = |stage: &Stage, len| Ip { fragment: ipv4::DONT_FRAGMENT, ..Ip::udp(stage.mac(INSIDE), SERVER, len) };
    let send = |stage: &mut Stage, len| {
        let frame = whole(stage, len).frame(HOST, BRANCH);
        stage.exchange(INSIDE, &[frame])
    };
    let [outside, _] = send(stage, 1300);
    let sent = &outside[0];
    assert_eq!(u16::from_be_bytes([sent[18], sent[19]]) % 1024, spec().unit().number(), "its name says whose it is");
    // Forged: another SPI, a number that is still to come.
    for at in [37, 41] {
        let mut forged = sent[14..42].to_vec();
        forged[at - 14] ^= 0x80;
        let frame = too_big(stage, &forged, 1200);
        stage.exchange(OUTSIDE, &[frame]);
    }
    assert_eq!(send(stage, 1300).map(|frames| frames.len()), [1, 0]);
    // Of another unit's, as it seems: not for us.
    let mut others = sent[14..42].to_vec();
    others[4..6].copy_from_slice(&(spec().unit().number() + 1).to_be_bytes());
    let frames = [too_big(stage, &others, 1200), too_big(stage, &sent[14..42], 1200)];
    stage.exchange(OUTSIDE, &frames[..1]);
    assert_eq!(send(stage, 1300).map(|frames| frames.len()), [1, 0]);
    stage.exchange(OUTSIDE, &frames[1..]);
    let [outside, inside] = send(stage, 1300);
    assert!(outside.is_empty());
    let icmp = summary(&inside[0]).l4(&inside[0]);
    assert_eq!((icmp[0], icmp[1], u16::from_be_bytes([icmp[6], icmp[7]])), (3, 4, 1146));
    assert_eq!(send(stage, 1118).map(|frames| frames.len()), [1, 0]);
    let [outside, _] = send(stage, 60);
    assert!(is_esp(&outside[0]));
    // What may be cut is cut by whoever cannot take it.
    let long = Ip::udp(stage.mac(INSIDE), SERVER, 1300).frame(HOST, BRANCH);
    assert_eq!(stage.exchange(INSIDE, &[long]).map(|frames| frames.len()), [1, 0]);
}

fn nothing_goes_in_clear(stage: &mut Stage) {
    let drops = |stage: &Stage| {
        let mismatch = stage.drops().into_iter().find(|(name, _)| *name == "policy_mismatch");
        mismatch.map_or(0, |(_, count)| count)
    };
    // All units, so that whatever is dropped is dropped for its own sake.
    stage.set(vec![Mode::Mine; UNITS], true);
    let bare = Ip::udp(stage.mac(OUTSIDE), CLIENT, 200).frame(BRANCH, HOST);
    assert_eq!(stage.exchange(OUTSIDE, &[bare]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(drops(stage), 1);
    // An answer to the branch would have to go through the tunnel.
    let echo = echo_request_v4(stage.mac(OUTSIDE), CLIENT, BRANCH, "10.3.0.10", 50);
    assert_eq!(stage.exchange(OUTSIDE, &[echo]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(drops(stage), 2);
    // From a network that is none of the tunnel's.
    let stray = Ip::udp(SERVER, CLIENT, 100).frame("10.8.0.1", HOST);
    let stray = sealed(stage, &spec(), ip(&stray), 100);
    assert_eq!(stage.exchange(OUTSIDE, &[stray]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(drops(stage), 3);
    // What no tunnel wants is routed as ever.
    let plain = Ip::udp(stage.mac(INSIDE), SERVER, 100).frame(HOST, PEER);
    let [outside, _] = stage.exchange(INSIDE, &[plain]);
    assert_eq!((outside.len(), summary(&outside[0]).proto), (1, proto::UDP));
}

fn others_units_are_others(stage: &mut Stage) {
    let mut modes = vec![Mode::Mine; UNITS];
    modes[spec().unit().index()] = Mode::Drop;
    stage.set(modes, true);
    let sent = Ip::udp(stage.mac(INSIDE), SERVER, 200).frame(HOST, BRANCH);
    assert_eq!(stage.exchange(INSIDE, &[sent]), [Vec::<Vec<u8>>::new(), Vec::new()]);
}

/// A tunnel whose packets are never cut: what goes in and may be cut is cut before.
pub(crate) fn never_cut(eal: &Eal) {
    let mut spec = spec();
    spec.outer.dont_fragment = DontFragment::Set;
    let mut stage = Stage::new(eal, Delivery::Forward, 1500);
    let config = GatewayConfig::new(member(1), vec![spec.clone()], [0; 16]);
    stage.data.workers[0].add_app(Box::new(Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(1))));
    stage.data.shared.incarnation.store(3, Relaxed);
    for (port, address, mac) in [(OUTSIDE, PEER, CLIENT), (INSIDE, HOST, SERVER)] {
        stage.data.workers[0].introduce(port as u8, address.parse().expect("an address"), mac);
    }
    stage.set_all(Mode::Mine, false);
    let long = Ip::udp(stage.mac(INSIDE), SERVER, 1480).frame(HOST, BRANCH);
    let [outside, inside] = stage.exchange(INSIDE, std::slice::from_ref(&long));
    assert!(inside.is_empty());
    assert_eq!(outside.len(), 2, "{:?}", stage.drops());
    let mut carried = Vec::new();
    for frame in &outside {
        assert!(is_esp(frame) && !summary(frame).is_fragment() && frame.len() <= 1514);
        let packet = opened(&spec, frame);
        carried.extend_from_slice(&packet[20..]);
    }
    assert_eq!(carried, ip(&long)[20..]);
    // And so is what the cluster itself sends: the way has become narrower since the request came.
    let narrow = too_big(&stage, &outside[0][14..42], 1200);
    stage.exchange(OUTSIDE, &[narrow]);
    let echo = echo_request_v4(stage.mac(OUTSIDE), CLIENT, BRANCH, "10.3.0.10", 1300);
    let echo = sealed(&stage, &spec, ip(&echo), 1);
    let [outside, _] = stage.exchange(OUTSIDE, &[echo]);
    assert_eq!(outside.len(), 2, "{:?}", stage.drops());
    assert!(outside.iter().all(|frame| is_esp(frame) && frame.len() <= 1214));
    let answer: Vec<u8> = outside.iter().flat_map(|frame| opened(&spec, frame)[20..].to_vec()).collect();
    assert_eq!((answer[0], answer.len()), (0, 8 + 1300));
    stage.assert_balance();
}
