//! Two sides over a bad network, in virtual time, each with a backup that may take over at any moment.
//!
//! What a side does to its streams and records goes into a log; the backup acknowledges it a while later, and only
//! then is it committed. At a takeover the backup has anything from what it acknowledged to the whole log. Checked all
//! the time: what a peer sees is committed; what arrives is what was sent, in order; a window's right edge never moves left.

use super::plan::{Plan, Planted, Rng};
use super::side::Side;
use crate::tcp::*;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const MS: u64 = 1_000_000;

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now_ns: u64,
    pub(super) sides: [Side; 2],
    /// (when, to, bytes)
    net: Vec<(u64, usize, Vec<u8>)>,
    rng: Rng,
    pub(super) lost: usize,
}

pub(super) fn flow(which: usize) -> Flow {
    let ip = |n: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
    let (local, remote) = if which == 0 { (1, 2) } else { (2, 1) };
    Flow {
        local_ip: ip(local),
        local_port: 1000 + u16::from(local),
        remote_ip: ip(remote),
        remote_port: 1000 + u16::from(remote),
    }
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut rng = Rng(plan.seed ^ 0x5eed);
        let mut sides = [Side::new(&plan, 0, &mut rng), Side::new(&plan, 1, &mut rng)];
        let openers = if plan.both_open { 2 } else { 1 };
        for (which, side) in sides.iter_mut().enumerate().take(openers) {
            let iss = Seq(rng.next() as u32);
            side.endpoint = Some(Endpoint::connect(&plan.config[which], flow(which), iss, side.skew_ns));
            side.begin(0);
        }
        Self { plan, now_ns: 0, sides, net: Vec::new(), rng, lost: 0 }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let flow = flow(to);
        let segment = Segment::parse(bytes, flow.remote_ip, flow.local_ip).expect("a sound segment");
        let now_ns = self.now_ns;
        let iss = Seq(self.rng.next() as u32);
        let side = &mut self.sides[to];
        if side.endpoint.is_none() && segment.syn() && !segment.has_ack() {
            let local_ns = now_ns + side.skew_ns;
            side.endpoint = Some(Endpoint::listen_accept(&side.config, &segment, flow, iss, local_ns));
            side.begin(now_ns);
            return;
        }
        side.input(now_ns, |endpoint, now_ns, [rx, tx], pool| endpoint.handle_segment(now_ns, &segment, rx, tx, pool));
    }

    fn send(&mut self, from: usize, segments: Vec<Vec<u8>>) {
        for bytes in segments {
            let copies = if self.rng.chance(self.plan.duplicates) { 2 } else { 1 };
            for _ in 0..copies {
                if self.rng.chance(self.plan.loss) {
                    self.lost += 1;
                    continue;
                }
                let at_ns = self.now_ns + self.plan.delay_ns + self.rng.below(self.plan.jitter_ns);
                self.net.push((at_ns, 1 - from, bytes.clone()));
            }
        }
    }

    /// One moment.
    pub(super) fn step(&mut self) {
        while let Some(i) = (0..self.net.len()).filter(|i| self.net[*i].0 <= self.now_ns).min_by_key(|i| self.net[*i].0)
        {
            let (_, to, bytes) = self.net.remove(i);
            self.deliver(to, &bytes);
            self.serve(to);
        }
        for which in 0..2 {
            if self.plan.takeover_ns > 0 && self.now_ns >= self.sides[which].takeover_at_ns {
                let now_ns = self.now_ns;
                self.sides[which].takeover_at_ns = now_ns + self.rng.below(2 * self.plan.takeover_ns);
                if self.sides[which].endpoint.is_some() && !self.sides[which].is_over() {
                    self.sides[which].take_over(now_ns, self.plan.planted, &mut self.rng);
                }
            }
            let may_end = which == 0 || !self.plan.half_close || self.sides[1].ended;
            let side = &mut self.sides[which];
            side.application(self.now_ns, &self.plan, may_end, &mut self.rng);
            side.input(self.now_ns, |endpoint, now_ns, _, _| endpoint.handle_timeout(now_ns));
            self.serve(which);
        }
    }

    fn serve(&mut self, which: usize) {
        let side = &mut self.sides[which];
        side.log_changes(self.now_ns);
        side.commit(self.now_ns, self.plan.commit_ns);
        match self.plan.planted {
            Some(Planted::AckBeforeCommit) => side.streams[0].commit_to(u64::MAX),
            Some(Planted::SendBeforeCommit) => side.streams[1].commit_to(u64::MAX),
            _ => {}
        }
        let mut out = Vec::new();
        side.transmit(self.now_ns, &mut out);
        side.log_changes(self.now_ns);
        self.send(which, out);
    }

    fn advance(&mut self) {
        let commit_ns = self.plan.commit_ns;
        let timers = self.sides.iter().filter_map(|side| side.next_ns(commit_ns));
        let net = self.net.iter().map(|(at_ns, _, _)| *at_ns);
        let next = timers.chain(net).min().unwrap_or(u64::MAX);
        // The applications look every 5 ms.
        self.now_ns = next.clamp(self.now_ns + 1000, self.now_ns + 5 * MS);
    }

    pub(super) fn done(&self) -> bool {
        self.sides.iter().all(|side| side.ended && side.is_over())
    }

    /// Runs until both streams have passed and the connection is over; panics if that does not come about.
    pub(super) fn run(&mut self) {
        let seed = self.plan.seed;
        for _ in 0..300_000 {
            self.step();
            self.check();
            if self.done() || self.sides.iter().any(|side| side.fault.is_some()) {
                return;
            }
            self.advance();
            assert!(self.now_ns < 4 * 3600 * 1000 * MS, "seed {seed}: no end in sight: {}", self.show());
        }
        panic!("seed {seed}: too many steps: {}", self.show());
    }

    fn check(&self) {
        let seed = self.plan.seed;
        for (to, from) in [(0, 1), (1, 0)] {
            let (got, sent) = (&self.sides[to].received, &self.sides[from].data);
            assert!(got.len() <= sent.len() && **got == sent[..got.len()], "seed {seed}: other bytes arrived");
            assert!(!self.sides[to].ended || got.len() == sent.len(), "seed {seed}: the end came early");
        }
    }

    pub(super) fn show(&self) -> String {
        let one = |side: &Side| format!("{:#?} {:?} received {}", side.endpoint, side.streams, side.received.len());
        format!("{:?}\n{}\n{}", self.plan, one(&self.sides[0]), one(&self.sides[1]))
    }
}
