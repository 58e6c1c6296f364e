//! The hosts: packets from an outside host to an inside one and back, over all units, each with a number of its own.
//!
//! The ledger knows of every packet when it was sent, who processed it, and whether it *must* be processed: those that
//! are sent while the cluster is calm (converged, nothing broken, nothing about to break) may neither be lost nor
//! overtake one another, whatever moves between members meanwhile.

use phalanx_control::cluster::{Quorum, Reign};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::net::HOST;
use super::node::{Packet, Process, is_owners};
use super::rng::Rng;
use super::world::{Event, MS, US, World};

/// One packet's line in the ledger.
#[derive(Clone, Copy, Debug)]
struct Line {
    sent_at: u64,
    /// Its place among the packets of its unit and direction.
    order: u32,
    must: bool,
    unit: Unit,
    port: u8,
    by: Option<(usize, Option<Reign>)>,
    answered: bool,
}

/// The hosts' side.
pub struct Traffic {
    gap_ns: u64,
    hot: Unit,
    ledger: Vec<Line>,
    /// By unit and port: how many were sent, and the last calm one that was processed.
    sent: Vec<[u32; 3]>,
    last: Vec<[u32; 3]>,
    /// By port: whose hardware address the host there uses.
    pub(super) arp: [Option<usize>; 3],
    arp_changed_at: u64,
    /// The first packet of the present calm.
    calm_from: usize,
}

impl Traffic {
    /// `sparse`: there is other traffic too.
    pub(super) fn new(rng: &mut Rng, units: usize, sparse: bool) -> Self {
        let gap_ns = *rng.pick(&[150 * US, 400 * US, 1000 * US]);
        Self {
            gap_ns: if sparse { 20 * gap_ns } else { gap_ns },
            hot: Unit::from_low_bits(rng.below(units as u64) as u32),
            ledger: Vec::new(),
            sent: vec![[0; 3]; units],
            last: vec![[0; 3]; units],
            arp: [None; 3],
            arp_changed_at: 0,
            calm_from: 0,
        }
    }

    /// A calm begins: nothing sent before it counts.
    pub(super) fn begin_calm(&mut self) {
        self.calm_from = self.ledger.len();
        self.last.fill([0; 3]);
    }

    /// Nobody serves this packet's unit, on purpose.
    pub(super) fn excuse(&mut self, packet: Packet) {
        self.ledger[packet.id as usize].must = false;
    }

    /// What the worker reports of its units.
    pub(super) fn loads(&self, process: &Process, me: MemberId, units: usize) -> Vec<(Unit, u32)> {
        let load = |unit: Unit| if unit == self.hot { 900 } else { 10 + u32::from(unit.number() % 7) * 5 };
        let owned = Unit::all().take(units).filter(|unit| is_owners(process.worker.mode(*unit), me));
        owned.map(|unit| (unit, load(unit))).collect()
    }
}

impl World {
    /// A host sends its next packet.
    pub(super) fn inject(&mut self) {
        let units = self.common.units as u64;
        let hot = self.rng.permille(200);
        let unit = if hot { self.traffic.hot } else { Unit::from_low_bits(self.rng.below(units) as u32) };
        if self.rng.permille(2) {
            self.traffic.hot = Unit::from_low_bits(self.rng.below(units) as u32);
        }
        let port = 1 + self.rng.below(2) as u8;
        let id = self.traffic.ledger.len() as u32;
        let packet = Packet { id, unit, port, digest: id };
        let order = &mut self.traffic.sent[unit.index()][usize::from(port)];
        *order += 1;
        let must = self.schedule.must(self.now);
        let line = Line { sent_at: self.now, order: *order, must, unit, port, by: None, answered: false };
        self.traffic.ledger.push(line);
        self.report.packets += 1;
        self.flood(packet);
        // Bursts now and then: packets of one unit right behind one another.
        let gap = if self.rng.permille(300) { 5 * US } else { self.rng.between(1, 2 * self.traffic.gap_ns) };
        self.at(self.now + gap, Event::Inject);
    }

    /// A host's frame is on the LAN.
    pub(super) fn flood(&mut self, packet: Packet) {
        if self.delivers_to_all() {
            for at in 0..self.nodes.len() {
                self.send_to_member(at, packet);
            }
        } else if let Some(at) = self.traffic.arp[usize::from(packet.port)] {
            self.send_to_member(at, packet);
        }
    }

    /// A member has processed a packet: nobody else may have, and nothing may have overtaken it.
    pub(super) fn processed(&mut self, at: usize, packet: Packet) -> Result<(), String> {
        self.report.processed += 1;
        let reign = self.nodes[at].process.as_ref().and_then(|process| process.core.reign());
        let answered = self.net.reaches_host(at, 3 - usize::from(packet.port));
        let line = self.traffic.ledger[packet.id as usize];
        if let Some((before, earlier_reign)) = line.by {
            let first = self.nodes[before].id;
            let same = before == at || (reign.is_some() && reign == earlier_reign && self.has_settled(at));
            let split = self.common.quorum == Quorum::None && !same && !self.know_each_other(before, at);
            if line.answered && answered && !split {
                let second = self.nodes[at].id;
                return Err(format!(
                    "{packet:?}, sent at {} us, is processed by {second} ({reign:?}) after {first} ({earlier_reign:?})",
                    line.sent_at / US
                ));
            }
        }
        let line = &mut self.traffic.ledger[packet.id as usize];
        line.by = Some((at, reign));
        line.answered |= answered;
        let last = &mut self.traffic.last[packet.unit.index()][usize::from(packet.port)];
        // When the role of master has just changed hands, old and new way to the owner differ in length.
        let settled = self.now > self.traffic.arp_changed_at + 5 * MS;
        if line.must && settled && line.order < *last {
            return Err(format!("{packet:?} was overtaken within its unit ({} after {last})", line.order));
        }
        if line.must {
            *last = (*last).max(line.order);
        }
        Ok(())
    }

    /// A calm ends: everything sent in it has been processed.
    pub(super) fn end_calm(&mut self) -> Result<(), String> {
        let lost = self.traffic.ledger[self.traffic.calm_from..].iter().find(|line| line.must && !line.answered);
        match lost {
            None => Ok(()),
            Some(line) => Err(format!(
                "a packet of unit {} from port {}, sent at {} us in a calm, was not answered",
                line.unit,
                line.port,
                line.sent_at / US
            )),
        }
    }

    /// A member announces the cluster addresses.
    pub(super) fn announce(&mut self, at: usize) {
        for port in 1..3 {
            if let Some(then) = self.net.frame(&mut self.rng, self.now, at, HOST, port) {
                self.at(then, Event::Arp(port, at));
            }
        }
    }

    pub(super) fn arp(&mut self, port: usize, member: usize) {
        if self.traffic.arp[port].replace(member) != Some(member) {
            self.traffic.arp_changed_at = self.now;
        }
    }

    /// Hosts refresh what they know, as they do every few seconds (here: more often).
    pub(super) fn ask_arp(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.paused == 0 && node.process.as_ref().is_some_and(|process| process.answers) {
                for port in 1..3 {
                    let heard = self.net.frame(&mut self.rng, self.now, HOST, at, port);
                    if let Some(then) = heard.and_then(|heard| self.net.frame(&mut self.rng, heard, at, HOST, port)) {
                        self.at(then, Event::Arp(port, at));
                    }
                }
            }
        }
        self.at(self.now + 150 * MS, Event::Ask);
    }
}
