//! The network: what comes through from whom to whom on which path, and when.
//!
//! Every member has three lines: the cluster link and two data ports. Each line can be cut, lossy, slow or doubling,
//! sending and receiving apart, so that cuts can be asymmetric. The LAN of each path can also fall into two halves;
//! the hosts are always on side 0, so a member on side 1 reaches no host.

use super::rng::Rng;

/// Paths of a member: the cluster link, the port towards the outside, the port towards the inside.
pub const PATHS: usize = 3;
/// Path number of the cluster link.
pub const LINK: usize = 0;
/// The hosts' place in tables of stations.
pub const HOST: usize = 32;

const US: u64 = 1_000;

/// One direction of one member's line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Nothing passes.
    pub cut: bool,
    /// Lost, in a thousand.
    pub loss: u64,
    /// Cluster datagrams are late by up to this much, so that they overtake one another.
    pub delay_ns: u64,
    /// Cluster datagrams arrive twice, in a thousand.
    pub doubled: u64,
}

/// The lines of one member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// What it sends.
    pub tx: [Line; PATHS],
    /// What it receives.
    pub rx: [Line; PATHS],
    /// In which half of each path's LAN it is.
    pub side: [u8; PATHS],
}

/// All lines.
#[derive(Clone, Debug)]
pub struct Net {
    /// By member.
    pub lines: Vec<Lines>,
    /// When the last frame on this way arrives: a LAN keeps the order between two stations.
    fifo: Vec<u64>,
}

impl Net {
    /// A whole network.
    pub fn new(members: usize) -> Self {
        Self { lines: vec![Lines::default(); members], fifo: vec![0; (HOST + 1) * (HOST + 1) * PATHS] }
    }

    /// Everything is as new.
    pub fn heal(&mut self) {
        self.lines.fill(Lines::default());
    }

    /// Whether a frame could pass from one member to another, chance aside.
    pub fn connected(&self, from: usize, to: usize, path: usize) -> bool {
        let (a, b) = (&self.lines[from], &self.lines[to]);
        !a.tx[path].cut && !b.rx[path].cut && a.side[path] == b.side[path]
    }

    /// Whether what this member sends on a data port reaches the host there.
    pub fn reaches_host(&self, from: usize, path: usize) -> bool {
        !self.lines[from].tx[path].cut && self.lines[from].side[path] == 0
    }

    /// When a cluster datagram's copies arrive: none, one or two.
    pub fn datagram(&self, rng: &mut Rng, now: u64, from: usize, to: usize, path: usize) -> [Option<u64>; 2] {
        if !self.connected(from, to, path) {
            return [None; 2];
        }
        let (tx, rx) = (self.lines[from].tx[path], self.lines[to].rx[path]);
        let copy = |rng: &mut Rng| {
            if rng.permille(tx.loss) || rng.permille(rx.loss) {
                return None;
            }
            let late = if tx.delay_ns + rx.delay_ns > 0 { rng.below(tx.delay_ns + rx.delay_ns) } else { 0 };
            Some(now + rng.between(30 * US, 120 * US) + late)
        };
        let first = copy(rng);
        let second =
            if tx.doubled + rx.doubled > 0 && rng.permille(tx.doubled + rx.doubled) { copy(rng) } else { None };
        [first, second]
    }

    /// When a reliable message arrives: the cluster link must carry both ways.
    pub fn reliable(&self, rng: &mut Rng, now: u64, from: usize, to: usize) -> Option<u64> {
        let whole = self.connected(from, to, LINK) && self.connected(to, from, LINK);
        whole.then(|| now + rng.between(200 * US, 3_000 * US))
    }

    /// When a data frame arrives, in order behind all before it; [`HOST`] stands for the host of that port.
    ///
    /// A LAN brings a flooded frame to all its stations within tens of microseconds; that is kept under all faults,
    /// since copies that are late by more than a quarter of a period cannot be told from new packets.
    pub fn frame(&mut self, rng: &mut Rng, now: u64, from: usize, to: usize, path: usize) -> Option<u64> {
        let passes = match (from, to) {
            (HOST, to) => !self.lines[to].rx[path].cut && self.lines[to].side[path] == 0,
            (from, HOST) => self.reaches_host(from, path),
            (from, to) => self.connected(from, to, path),
        };
        let loss = |station: usize, tx: bool| match (station, tx) {
            (HOST, _) => 0,
            (member, true) => self.lines[member].tx[path].loss,
            (member, false) => self.lines[member].rx[path].loss,
        };
        let (lost_tx, lost_rx) = (loss(from, true), loss(to, false));
        if !passes || rng.permille(lost_tx) || rng.permille(lost_rx) {
            return None;
        }
        let last = &mut self.fifo[(from * (HOST + 1) + to) * PATHS + path];
        *last = (*last + 1).max(now + rng.between(15 * US, 40 * US));
        Some(*last)
    }
}
