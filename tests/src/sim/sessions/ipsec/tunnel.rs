//! A peer's end of a tunnel, built of the library alone; and packets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job, Numbers, Session};
use phalanx_dataplane::ipsec::decap::{Decap, Found, locate};
use phalanx_dataplane::ipsec::encap::{Draws, Encap, Mode, Name};
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer};
use phalanx_dataplane::ipsec::{Keys, Transform, esp};
use phalanx_dataplane::wire::{ipv4, proto, udp};
use phalanx_ike::machine::{ChildSa, Half};

/// See the module.
pub(super) struct Tunnel {
    pub(super) inbound_spi: u32,
    pub(super) outbound_spi: u32,
    /// The gateway has it, as far as the peer knows.
    pub(super) usable: bool,
    encap: Encap,
    decap: Decap,
    sealer: Box<dyn Session>,
    opener: Box<dyn Session>,
    sent: u64,
    seen: BTreeSet<u32>,
}

impl Tunnel {
    pub(super) fn new(child: &ChildSa, usable: bool) -> Option<Self> {
        let transform: Transform = child.transform.parse().ok()?;
        let numbers = if child.extended { Numbers::Extended } else { Numbers::Short };
        let session = |half: &Half, direction| {
            let keys = Keys::new(transform, half.cipher_key.as_bytes(), half.integrity_key.as_bytes()).ok()?;
            BuiltIn.session(transform, &keys, numbers, direction).ok()
        };
        let mode = Mode::Tunnel(Outer {
            source: child.path.ours.ip(),
            destination: child.path.theirs.ip(),
            udp: None,
            dscp: None,
            dont_fragment: DontFragment::Copy,
            hop_limit: 64,
        });
        Some(Self {
            inbound_spi: child.inbound.spi,
            outbound_spi: child.outbound.spi,
            usable,
            encap: Encap::new(child.outbound.spi, mode, transform),
            decap: Decap::new(&mode, transform),
            sealer: session(&child.outbound, Direction::Seal)?,
            opener: session(&child.inbound, Direction::Open)?,
            sent: 0,
            seen: BTreeSet::new(),
        })
    }

    pub(super) fn seal(&mut self, inner: &[u8]) -> Option<Vec<u8>> {
        self.sent += 1;
        let layout = self.encap.room(inner)?;
        let mut buffer = [&vec![0; layout.before], inner, &vec![0; layout.after]].concat();
        let draws = Draws { sequence: self.sent, nonce: self.sent, name: Name::default() };
        let at = self.encap.build(&mut buffer, layout, draws)?;
        let mut jobs = [Job::new(&mut buffer[at..], 0)];
        self.sealer.process(&mut jobs);
        self.encap.finish(&mut buffer);
        Some(buffer)
    }

    /// The packet inside; none: it came before.
    pub(super) fn open(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut packet = packet.to_vec();
        let at = locate(&packet).map_err(|error| error.to_string())?;
        let (_, sequence) = esp::header(&packet[at..]).ok_or("no ESP")?;
        let mut jobs = [Job::new(&mut packet[at..], 0)];
        self.opener.process(&mut jobs);
        if !jobs[0].done {
            return Err("a wrong check value".into());
        }
        if !self.seen.insert(sequence) {
            return Ok(None);
        }
        self.usable = true;
        match self.decap.unwrap(&mut packet, at) {
            Ok(Found::Packet(place)) => Ok(Some(packet[place].to_vec())),
            other => Err(format!("{other:?}")),
        }
    }
}

/// An IPv4 packet.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, carried: &[u8]) -> Vec<u8> {
    let payload_len = carried.len() as u16;
    let repr = ipv4::Repr { tos: 0, id: 1, fragment: 0, ttl: 60, protocol, source, destination, payload_len };
    let mut packet = vec![0; ipv4::HEADER_LEN + carried.len()];
    let _ = repr.emit(&mut packet);
    packet[ipv4::HEADER_LEN..].copy_from_slice(carried);
    packet
}

/// What hosts on both sides of tunnels say: whose it is, of which of its lives, and the how-manieth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mark {
    pub(super) peer: usize,
    pub(super) epoch: u32,
    pub(super) number: u64,
    pub(super) is_answer: bool,
}

/// No protocol that anybody listens to.
const WORDS: u8 = 200;

impl Mark {
    /// The packet that says it, from one host to another.
    pub(super) fn packet(self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let words = [self.peer as u64, self.epoch.into(), self.number, self.is_answer.into()].map(u64::to_be_bytes);
        packet(source, destination, WORDS, &words.concat())
    }

    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let words = packet.get(ipv4::HEADER_LEN..)?.as_chunks::<8>().0;
        let [peer, epoch, number, is_answer] = words.iter().map(|it| u64::from_be_bytes(*it)).collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some(Self { peer: peer as usize, epoch: epoch as u32, number, is_answer: is_answer == 1 })
    }
}

/// An IKE message as a packet.
pub(super) fn datagram(from: SocketAddr, to: SocketAddr, message: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else { return Vec::new() };
    let mut carried = vec![0; udp::HEADER_LEN + message.len()];
    let (source_port, destination_port) = (from.port(), to.port());
    let _ = udp::Repr { source_port, destination_port, payload_len: message.len() as u16 }.emit(&mut carried);
    carried[udp::HEADER_LEN..].copy_from_slice(message);
    packet(source, destination, proto::UDP, &carried)
}

/// The IKE message of a packet, and the peer's port.
pub(super) fn message(packet: &[u8]) -> Option<(u16, &[u8])> {
    let carried = packet.get(ipv4::HEADER_LEN..)?;
    let port = u16::from_be_bytes([*carried.get(2)?, *carried.get(3)?]);
    Some((port, carried.get(udp::HEADER_LEN..)?))
}
