//! Frames between hosts and members: through the simulated LAN of all other packets, and on the way to it over a stretch
//! that loses, doubles and reorders.
//!
//! A host's frame is mangled before it reaches the LAN, so that all members see the same of it; a member's after it has left it.

use std::net::IpAddr;
use std::rc::Rc;

use phalanx_dataplane::parse::{Summary, flag, summarise_l3};
use phalanx_dataplane::tcp::Segment;
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::proto;

use super::super::net::HOST;
use super::super::node::Packet;
use super::super::rng::Rng;
use super::super::world::{Event, MS, US, World};
use super::Sessions;
use super::desk::Sent;

/// Ids of packets from here on are frames of sessions.
pub const FIRST_ID: u32 = 1 << 31;

/// What a frame carries: an IP packet without its header, or a whole one.
pub struct Frame {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) proto: u8,
    pub(super) bytes: Vec<u8>,
    pub(super) is_whole: bool,
}

impl Frame {
    /// A whole packet, which somebody has made who can.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        let summary = summarise_l3(&bytes).expect("a packet");
        Self { source: summary.src_ip(), destination: summary.dst_ip(), proto: summary.proto, bytes, is_whole: true }
    }

    /// Ports, of TCP or UDP.
    pub(super) fn ports(&self) -> (u16, u16) {
        let port = |at: usize| self.bytes.get(at..at + 2).map_or(0, |it| u16::from_be_bytes([it[0], it[1]]));
        (port(0), port(2))
    }

    pub(super) fn summary(&self) -> Summary {
        if self.is_whole
            && let Ok(summary) = summarise_l3(&self.bytes)
        {
            return summary;
        }
        let mut summary = Summary::of_addresses(self.source, self.destination, self.proto);
        (summary.src_port, summary.dst_port) = self.ports();
        summary.flags |= flag::PORTS;
        summary
    }

    /// For a violation's story.
    pub(super) fn show(&self) -> String {
        if self.is_whole {
            let head = self.bytes.get(20..).unwrap_or_default();
            let head: String = head.iter().take(56).map(|byte| format!("{byte:02x}")).collect();
            return format!("{} > {} protocol {} {head}", self.source, self.destination, self.proto);
        }
        let (from, to) = self.ports();
        match Segment::parse(&self.bytes, self.source, self.destination) {
            Ok(it) if self.proto == proto::TCP => {
                let flags = [(it.syn(), 'S'), (it.fin(), 'F'), (it.rst(), 'R')];
                let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
                let (seq, ack, window) = (it.seq.0, it.ack.0, it.window);
                format!("{from} > {to} {flags} seq {seq} len {} ack {ack} window {window}", it.payload.len())
            }
            _ => format!("{from} > {to}"),
        }
    }

    /// As the worker's, this names the content: a frame that is sent again alike has the same.
    fn digest(&self) -> u32 {
        self.bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }
}

/// The servers' network.
pub(super) fn is_inside(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(four) if four.octets()[0] == 10)
}

/// The stretch between the hosts and the LAN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    loss: u64,
    doubled: u64,
    reordered: u64,
    late_ns: u64,
}

impl Stretch {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self {
            loss: *rng.pick(&[0, 0, 2, 10, 40]),
            doubled: *rng.pick(&[0, 0, 10, 60]),
            reordered: *rng.pick(&[0, 0, 20, 150]),
            late_ns: *rng.pick(&[100 * US, MS, 8 * MS]),
        }
    }

    /// Whether what is sent again may be lost again.
    pub(super) fn loses(&self) -> bool {
        self.loss > 0
    }

    /// How late each copy is.
    pub(super) fn copies(&self, rng: &mut Rng) -> [Option<u64>; 2] {
        let copy = |rng: &mut Rng| {
            let late = if rng.permille(self.reordered) { rng.below(self.late_ns) } else { 0 };
            (!rng.permille(self.loss)).then_some(late)
        };
        [copy(rng), if rng.permille(self.doubled) { copy(rng) } else { None }]
    }
}

impl World {
    /// A host sends a packet to the cluster.
    pub(super) fn host_sends(&mut self, sessions: &mut Sessions, frame: Frame) {
        let unit = sessions.unit_of(&frame);
        self.host_sends_of(sessions, frame, unit);
    }

    /// A host sends a packet that members take for this unit's.
    pub(super) fn host_sends_of(&mut self, sessions: &mut Sessions, frame: Frame, unit: Unit) {
        let port = if is_inside(frame.source) { 2 } else { 1 };
        let digest = frame.digest();
        self.note(|| format!("a host sends for unit {unit}: {}", frame.show()));
        let packet = Packet { id: sessions.keep(frame), unit, port, digest };
        for late in sessions.stretch.copies(&mut self.rng).into_iter().flatten() {
            if late == 0 {
                self.flood(packet);
            } else {
                self.at(self.now + late, Event::Lan(packet));
            }
        }
    }

    /// A member sends a packet to a host.
    pub(super) fn member_sends(&mut self, sessions: &mut Sessions, at: usize, sent: Sent) -> Result<(), String> {
        let (header, bytes) = sent;
        let frame = Frame {
            source: header.source,
            destination: header.destination,
            proto: header.proto,
            bytes,
            is_whole: false,
        };
        let port = if is_inside(frame.destination) { 2 } else { 1 };
        let Some(then) = self.net.frame(&mut self.rng, self.now, at, HOST, port) else { return Ok(()) };
        let id = self.nodes[at].id;
        self.note(|| format!("{id} sends to a host: {}", frame.show()));
        self.shown(sessions, at, &frame)?;
        let id = sessions.keep(frame);
        for late in sessions.stretch.copies(&mut self.rng).into_iter().flatten() {
            self.at(then + late, Event::ToHost(id));
        }
        Ok(())
    }
}

impl Sessions {
    /// Keeps a frame for as long as the run lasts; its id.
    pub(super) fn keep(&mut self, frame: Frame) -> u32 {
        self.frames.push(Rc::new(frame));
        FIRST_ID + self.frames.len() as u32 - 1
    }

    /// The unit of what a host sends to the cluster.
    pub(super) fn unit_of(&self, frame: &Frame) -> Unit {
        let summary = frame.summary();
        let carried = if frame.is_whole { summary.carried(&frame.bytes) } else { &frame.bytes };
        self.filter.unit(&summary, true, carried)
    }

    pub(super) fn frame(&self, id: u32) -> Rc<Frame> {
        self.frames[(id - FIRST_ID) as usize].clone()
    }

    /// The unit of what a member sends to a host: that of the answer.
    pub(super) fn unit_of_answer(&self, frame: &Frame) -> Unit {
        let mut summary = Summary::of_addresses(frame.destination, frame.source, frame.proto);
        let (source, destination) = frame.ports();
        (summary.src_port, summary.dst_port) = (destination, source);
        summary.flags |= flag::PORTS;
        self.filter.unit(&summary, true, &[])
    }
}
