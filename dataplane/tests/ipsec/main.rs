//! Whole ESP packets (AH: `ah`) against another implementation: every transform, in tunnel and transport mode, over and in IPv4 and IPv6,
//! with short and extended numbers, with and without UDP around; sealed by one and opened by the other, both ways.

mod ah;
mod devices;
mod scapy;
mod vectors;

use std::net::IpAddr;

use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job, Numbers};
use phalanx_dataplane::ipsec::decap::{Decap, Found, locate};
use phalanx_dataplane::ipsec::encap::{Draws, Encap, Mode, Name};
use phalanx_dataplane::ipsec::esp;
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer, Ports};
use phalanx_dataplane::ipsec::{Keys, Transform};
use phalanx_dataplane::wire::checksum::Sum;
use phalanx_dataplane::wire::{ipv4, ipv6, proto};
use scapy::{Scapy, Task};

const SPI: u32 = 0xcafe_0155;
const HIGH: u32 = 0x1234_5678;
const LOW: u32 = 0x9abc_def0;
const NAT: Ports = Ports { source: 4500, destination: 4500 };

/// One way to send packets.
#[derive(Clone, Copy, Debug)]
struct Case {
    transform: Transform,
    /// Whether there is an outer header, and which.
    outer_v6: Option<bool>,
    inner_v6: bool,
    extended: bool,
    nat: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let flags = || [false, true].into_iter();
        let outers = || [None, Some(false), Some(true)].into_iter();
        let ways = move || flags().flat_map(move |extended| flags().map(move |nat| (extended, nat)));
        let shapes = move || outers().flat_map(move |outer| flags().map(move |inner| (outer, inner)));
        Transform::all().flat_map(move |transform| {
            shapes().flat_map(move |(outer_v6, inner_v6)| {
                ways().map(move |(extended, nat)| Self { transform, outer_v6, inner_v6, extended, nat })
            })
        })
    }

    fn mode(&self) -> Mode {
        let udp = self.nat.then_some(NAT);
        let Some(v6) = self.outer_v6 else { return Mode::Transport { udp } };
        let [source, destination] = addresses(v6, 1);
        Mode::Tunnel(Outer { source, destination, udp, dscp: None, dont_fragment: DontFragment::Copy, hop_limit: 64 })
    }

    fn keys(&self) -> Keys {
        let cipher: Vec<u8> = (11..).take(self.transform.cipher_key_len()).collect();
        let integrity: Vec<u8> = (71..).take(self.transform.integrity_key_len()).collect();
        Keys::new(self.transform, &cipher, &integrity).unwrap()
    }

    fn numbers(&self) -> Numbers {
        if self.extended { Numbers::Extended } else { Numbers::Short }
    }

    /// Whether it was done.
    fn process(&self, direction: Direction, packet: &mut [u8]) -> bool {
        let mut session = BuiltIn.session(self.transform, &self.keys(), self.numbers(), direction).unwrap();
        let mut jobs = [Job::new(packet, HIGH)];
        session.process(&mut jobs);
        jobs[0].done
    }

    fn seal(&self, packet: &[u8], nonce: u64) -> Vec<u8> {
        let encap = Encap::new(SPI, self.mode(), self.transform);
        let room = encap.room(packet).unwrap();
        let mut buffer = [&vec![0xee; room.before], packet, &vec![0xee; room.after]].concat();
        let sequence = u64::from(HIGH) << 32 | u64::from(LOW);
        let esp_at = encap.build(&mut buffer, room, Draws { sequence, nonce, name: Name { id: 1, unit: 6 } }).unwrap();
        assert!(self.process(Direction::Seal, &mut buffer[esp_at..]));
        encap.finish(&mut buffer);
        buffer
    }

    fn open(&self, mut buffer: Vec<u8>) -> Vec<u8> {
        let decap = Decap::new(&self.mode(), self.transform);
        let esp_at = locate(&buffer).unwrap();
        assert_eq!(esp::header(&buffer[esp_at..]), Some((SPI, LOW)));
        decap.shape().check(buffer.len() - esp_at).unwrap();
        assert!(self.process(Direction::Open, &mut buffer[esp_at..]), "{self:?}: the ICV is wrong");
        match decap.unwrap(&mut buffer, esp_at) {
            Ok(Found::Packet(place)) => buffer[place].to_vec(),
            other => panic!("{self:?}: {other:?}"),
        }
    }

    fn task(&self, op: &'static str, packet: Vec<u8>) -> Task {
        let outer = match self.mode() {
            Mode::Tunnel(outer) if op == "seal" => Some([outer.destination, outer.source]),
            Mode::Tunnel(outer) => Some([outer.source, outer.destination]),
            Mode::Transport { .. } => None,
        };
        let esn = self.extended.then_some(HIGH);
        let keys = self.keys();
        Task { op, transform: self.transform, keys, spi: SPI, seq: LOW, esn, outer, nat: self.nat, ah: false, packet }
    }
}

/// Two hosts' addresses.
fn addresses(v6: bool, net: u8) -> [IpAddr; 2] {
    [1, 2].map(|host| match v6 {
        true => format!("2001:db8:{net}::{host}").parse().unwrap(),
        false => format!("192.0.{net}.{host}").parse().unwrap(),
    })
}

/// A UDP datagram from one host to the other, in an IP packet.
fn datagram(v6: bool, content_len: usize) -> Vec<u8> {
    let [source, destination] = addresses(v6, 2);
    let len = (8 + content_len) as u16;
    let mut udp = [4711_u16.to_be_bytes(), 4712_u16.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    udp.extend((0..content_len).map(|byte| byte as u8));
    let (mut header, sum) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let repr = ipv4::Repr {
                tos: 0,
                id: 7,
                fragment: 0,
                ttl: 63,
                protocol: proto::UDP,
                source,
                destination,
                payload_len: len,
            };
            let mut header = vec![0; ipv4::HEADER_LEN];
            repr.emit(&mut header).unwrap();
            (header, Sum::new().pseudo_v4(source.into(), destination.into(), proto::UDP, udp.len()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let next_header = proto::UDP;
            let repr =
                ipv6::Repr { traffic_class: 0, next_header, hop_limit: 63, source, destination, payload_len: len };
            let mut header = vec![0; ipv6::HEADER_LEN];
            repr.emit(&mut header).unwrap();
            (header, Sum::new().pseudo_v6(source.into(), destination.into(), proto::UDP, udp.len()))
        }
        _ => unreachable!(),
    };
    let sum = sum.bytes(&udp).checksum();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    header.extend(udp);
    header
}

#[test]
fn another_implementation_opens_what_we_seal_and_we_what_it_seals() {
    let mut scapy = Scapy::start();
    let mut tried = 0;
    for (case, nonce) in Case::all().zip(1..) {
        for content_len in [nonce as usize % 50, 900 + nonce as usize % 17] {
            let packet = datagram(case.inner_v6, content_len);
            let sealed = case.seal(&packet, nonce);
            assert_eq!(case.open(sealed.clone()), packet, "{case:?}");
            assert_eq!(scapy.ask(&case.task("open", sealed)), Ok(packet.clone()), "{case:?}: it does not open ours");
            let sealed = scapy.ask(&case.task("seal", packet.clone())).unwrap();
            assert_eq!(case.open(sealed), packet, "{case:?}: we do not open its");
            tried += 1;
        }
    }
    assert_eq!(tried, 54 * 6 * 4 * 2);
}

/// Both sides refuse what was damaged on its way: the check above is one.
#[test]
fn another_implementation_refuses_what_was_damaged() {
    let mut scapy = Scapy::start();
    for case in Case::all().filter(|case| case.outer_v6 == Some(false) && !case.inner_v6 && !case.nat) {
        let mut sealed = case.seal(&datagram(false, 40), 5);
        let place = sealed.len() - 30;
        sealed[place] ^= 0x10;
        let answer = scapy.ask(&case.task("open", sealed)).unwrap_err();
        assert!(answer.contains("Integrity"), "{case:?}: {answer}");
    }
}
