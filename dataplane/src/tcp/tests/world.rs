//! Two sides over a bad network, in virtual time, each with a backup that may take over at any moment.
//!
//! What a side does to its streams and records goes into a log; the backup acknowledges it a while later, and only
//! then is it committed. At a takeover the backup has anything from what it acknowledged to the whole log. Checked all
//! the time: what a peer sees is committed; what arrives is what was sent, in order; a window's right edge never moves left.

use crate::tcp::*;
use crate::wire::tcp::{FLAG_FIN, FLAG_SYN};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const MS: u64 = 1_000_000;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Faults that the checks must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Planted {
    AckBeforeCommit,
    SendBeforeCommit,
    /// A takeover forgets what TSval was.
    ClockForgotten,
}

/// What is tried.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) config: [Config; 2],
    pub(super) limit: u32,
    pub(super) bytes: [usize; 2],
    pub(super) loss: u64,
    pub(super) duplicates: u64,
    pub(super) delay_ns: u64,
    pub(super) jitter_ns: u64,
    pub(super) commit_ns: u64,
    /// A side is taken over this often on average; 0: never.
    pub(super) takeover_ns: u64,
    /// Readers stop now and then, so that windows shut.
    pub(super) slow_readers: bool,
    pub(super) both_open: bool,
    /// What is done wrong on purpose.
    pub(super) planted: Option<Planted>,
    /// The second side ends its stream only after the first one's end.
    pub(super) half_close: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let config = Config { time_wait_ns: 300_000 * MS, ..Config::default() };
        Self {
            seed,
            config: [config; 2],
            limit: config.receive_limit_bytes,
            bytes: [100_000, 100_000],
            loss: 0,
            duplicates: 0,
            delay_ns: 5 * MS,
            jitter_ns: 0,
            commit_ns: MS / 10,
            takeover_ns: 0,
            slow_readers: false,
            both_open: false,
            planted: None,
            half_close: false,
        }
    }

    /// Anything goes.
    pub(super) fn random(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let mut plan = Self::new(seed);
        plan.limit = [3000, 10_000, 65_535, 300_000][rng.below(4) as usize];
        for config in &mut plan.config {
            config.receive_limit_bytes = plan.limit;
            config.window_scaling = rng.chance(70);
            config.timestamps = rng.chance(70);
            config.sack = rng.chance(70);
            config.mss = [536, 1000, 1460, 8960][rng.below(4) as usize];
        }
        plan.bytes = [rng.below(60_000) as usize, rng.below(60_000) as usize];
        plan.loss = [0, 1, 5, 20][rng.below(4) as usize];
        plan.duplicates = [0, 5, 20][rng.below(3) as usize];
        plan.jitter_ns = [0, MS, 30 * MS][rng.below(3) as usize];
        plan.delay_ns = [MS / 10, 5 * MS, 80 * MS][rng.below(3) as usize];
        plan.commit_ns = [0, MS / 10, 20 * MS][rng.below(3) as usize];
        plan.slow_readers = rng.chance(30);
        plan.both_open = rng.chance(15);
        plan.half_close = rng.chance(50);
        plan
    }
}

#[derive(Clone, Debug)]
enum Update {
    Initial(InitialState),
    Essential(EssentialState, u64),
    /// Which stream (0: rx, 1: tx).
    Append(usize, Vec<u8>),
    Trim(usize, u64),
    End(usize),
}

/// A logged update, and what is committed once the backup has it.
#[derive(Clone, Debug)]
struct Entry {
    update: Update,
    due_ns: u64,
    targets: [u64; 2],
    version: u8,
}

#[derive(Clone, Debug, Default)]
struct Copy {
    start: u64,
    bytes: VecDeque<u8>,
    fin: bool,
}

#[derive(Clone, Debug, Default)]
struct Backup {
    initial: Option<InitialState>,
    essential: Option<(EssentialState, u64)>,
    streams: [Copy; 2],
}

impl Backup {
    fn apply(&mut self, update: Update) {
        match update {
            Update::Initial(initial) => self.initial = Some(initial),
            Update::Essential(essential, at_ns) => self.essential = Some((essential, at_ns)),
            Update::Append(stream, bytes) => self.streams[stream].bytes.extend(bytes),
            Update::Trim(stream, to) => {
                let copy = &mut self.streams[stream];
                while copy.start < to {
                    copy.bytes.pop_front().expect("nothing is trimmed that was not appended");
                    copy.start += 1;
                }
            }
            Update::End(stream) => self.streams[stream].fin = true,
        }
    }

    fn stream(&self, which: usize, limit: u32, pool: &mut ChunkPool) -> Stream {
        let copy = &self.streams[which];
        let mut stream = Stream::new(copy.start, limit);
        let bytes: Vec<u8> = copy.bytes.iter().copied().collect();
        assert_eq!(stream.append(pool, &bytes), bytes.len());
        if copy.fin {
            stream.finish();
        }
        stream
    }
}

pub(super) struct Side {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) streams: [Stream; 2],
    pub(super) pool: ChunkPool,
    config: Config,
    /// What the log holds of each stream already: start, end, fin.
    logged: [(u64, u64, bool); 2],
    log: VecDeque<Entry>,
    backup: Backup,
    /// The clock differs from the world's.
    skew_ns: u64,
    data: Vec<u8>,
    pub(super) received: Vec<u8>,
    pub(super) ended: bool,
    pub(super) established: bool,
    paused_until_ns: u64,
    told_edge: Option<u32>,
    pub(super) sent_segments: usize,
    pub(super) takeovers: usize,
    pub(super) fault: Option<&'static str>,
    takeover_at_ns: u64,
    told_tsval: Option<u32>,
}

impl Side {
    fn new(plan: &Plan, which: usize, rng: &mut Rng) -> Self {
        let data = (0..plan.bytes[which]).map(|_| rng.next() as u8).collect();
        Self {
            endpoint: None,
            streams: [Stream::new(0, plan.limit), Stream::new(0, plan.limit)],
            pool: ChunkPool::new(400),
            config: plan.config[which],
            logged: [(0, 0, false); 2],
            log: VecDeque::new(),
            backup: Backup::default(),
            skew_ns: rng.below(1 << 50),
            data,
            received: Vec::new(),
            ended: false,
            established: false,
            paused_until_ns: 0,
            told_edge: None,
            sent_segments: 0,
            takeovers: 0,
            fault: None,
            takeover_at_ns: 0,
            told_tsval: None,
        }
    }

    fn input(&mut self, now_ns: u64, f: impl FnOnce(&mut Endpoint, u64, &mut [Stream; 2], &mut ChunkPool) -> Outcome) {
        let now_ns = now_ns + self.skew_ns;
        let Some(endpoint) = &mut self.endpoint else { return };
        let outcome = f(endpoint, now_ns, &mut self.streams, &mut self.pool);
        self.established |= outcome.established();
        assert!(!outcome.reset(), "reset: {endpoint:?}");
        assert!(!outcome.timed_out(), "timed out: {endpoint:?}");
        if outcome.initial_changed() {
            let initial = endpoint.save_initial();
            self.push(now_ns, Update::Initial(initial));
        }
    }

    fn push(&mut self, now_ns: u64, update: Update) {
        let targets = [self.streams[0].commit_target(), self.streams[1].commit_target()];
        let version = self.endpoint.as_ref().map_or(0, Endpoint::initial_version);
        self.log.push_back(Entry { update, due_ns: now_ns, targets, version });
    }

    /// Logs what has happened since.
    fn log_changes(&mut self, now_ns: u64) {
        let Some(endpoint) = &mut self.endpoint else { return };
        let local_ns = now_ns + self.skew_ns;
        let change = endpoint.take_change();
        let essential = endpoint.save_essential(local_ns);
        for which in 0..2 {
            let stream = &self.streams[which];
            let (start, end, fin) = self.logged[which];
            let mut bytes = vec![0; (stream.end() - end) as usize];
            stream.copy_to(&self.pool, end, &mut bytes);
            let now = (stream.start(), stream.end(), stream.fin().is_some());
            self.logged[which] = now;
            if now.1 > end {
                self.push(local_ns, Update::Append(which, bytes));
            }
            if now.2 && !fin {
                self.push(local_ns, Update::End(which));
            }
            if now.0 > start {
                self.push(local_ns, Update::Trim(which, now.0));
            }
        }
        // What only moved is replicated now and then.
        if change == Change::State || change == Change::Moved && self.sent_segments.is_multiple_of(5) {
            self.push(local_ns, Update::Essential(essential, now_ns));
        }
    }

    fn commit(&mut self, now_ns: u64, commit_ns: u64) {
        let local_ns = now_ns + self.skew_ns;
        while self.log.front().is_some_and(|entry| entry.due_ns + commit_ns <= local_ns) {
            let Some(entry) = self.log.pop_front() else { return };
            for (stream, target) in self.streams.iter_mut().zip(entry.targets) {
                stream.commit_to(target);
            }
            if let Some(endpoint) = &mut self.endpoint {
                endpoint.confirm(entry.version);
            }
            self.backup.apply(entry.update);
        }
    }

    /// The backup takes over, with anything between what it acknowledged and all that was logged.
    fn take_over(&mut self, now_ns: u64, planted: Option<Planted>, rng: &mut Rng) {
        if self.sent_segments == 0 {
            return;
        }
        let known = rng.below(self.log.len() as u64 + 1) as usize;
        for _ in 0..known {
            let Some(entry) = self.log.pop_front() else { break };
            self.backup.apply(entry.update);
        }
        self.log.clear();
        self.skew_ns = rng.below(1 << 50);
        let initial = self.backup.initial.expect("replicated before anything was sent");
        let (essential, saved_ns) = self.backup.essential.expect("replicated with it");
        self.takeovers += 1;
        let mut pool = ChunkPool::new(400);
        let limit = self.streams[0].limit();
        let mut rx = self.backup.stream(0, limit, &mut pool);
        let mut tx = self.backup.stream(1, limit, &mut pool);
        // Records go through their codecs.
        let mut saved = Saved {
            initial: InitialState::decode(&initial.encode()).unwrap(),
            essential: EssentialState::decode(&essential.encode()).unwrap(),
            age_ns: now_ns - saved_ns,
        };
        if planted == Some(Planted::ClockForgotten) {
            saved.essential.tsval = rng.next() as u32;
        }
        let local_ns = now_ns + self.skew_ns;
        let restored = Endpoint::restore(&self.config, &saved, &mut rx, &mut tx, &mut pool, local_ns);
        let endpoint = restored.unwrap_or_else(|error| panic!("{error}: {saved:?} {rx:?} {tx:?}"));
        assert!(rx.end() >= self.received.len() as u64, "bytes that went on to the other side are lost");
        self.logged = [(self.backup.streams[0].start, rx.end(), rx.fin().is_some()), {
            (self.backup.streams[1].start, tx.end(), tx.fin().is_some())
        }];
        self.streams = [rx, tx];
        self.pool = pool;
        self.endpoint = Some(endpoint);
        self.told_edge = None;
        // All that it has must be held by its own backup before it may act on it.
        if let Some(endpoint) = &self.endpoint {
            let essential = endpoint.save_essential(local_ns);
            self.push(local_ns, Update::Essential(essential, now_ns));
        }
        self.push(local_ns, Update::Initial(initial));
    }

    /// Sends on what came, and gives what is to be sent, as the other half of a relay session would.
    fn application(&mut self, now_ns: u64, plan: &Plan, may_end: bool, rng: &mut Rng) {
        let [rx, tx] = &mut self.streams;
        if plan.slow_readers && rng.chance(2) {
            self.paused_until_ns = now_ns + rng.below(3000) * MS;
        }
        if now_ns >= self.paused_until_ns {
            let have = self.received.len() as u64;
            if rx.committed() > have {
                let mut bytes = vec![0; (rx.committed() - have) as usize];
                let n = rx.copy_to(&self.pool, have, &mut bytes);
                assert_eq!(n, bytes.len());
                self.received.extend(bytes);
            }
            self.ended |= rx.is_fin_committed();
            if rng.chance(60) {
                rx.trim_to(&mut self.pool, self.received.len() as u64);
            }
        }
        let at = tx.end() as usize;
        let piece = (self.data.len() - at).min(1 + rng.below(20_000) as usize);
        tx.append(&mut self.pool, &self.data[at..at + piece]);
        if tx.end() as usize == self.data.len() && may_end {
            tx.finish();
        }
    }

    /// Writes what is to be sent, and checks that all of it is committed.
    fn transmit(&mut self, now_ns: u64, out: &mut Vec<Vec<u8>>) {
        let local_ns = now_ns + self.skew_ns;
        let Some(endpoint) = &mut self.endpoint else { return };
        let mut buffer = [0; 9100];
        let mut count = 0;
        while let Some(len) = {
            let [rx, tx] = &self.streams;
            endpoint.poll_transmit(local_ns, rx, tx, &self.pool, &mut buffer)
        } {
            count += 1;
            assert!(count < 5000, "no end: {endpoint:?}");
            self.sent_segments += 1;
            let flow = endpoint.flow();
            let segment = Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).expect("a sound segment");
            assert!(!segment.rst(), "a RST");
            let (initial, held) = (self.backup.initial.expect("the Initial record first"), &self.backup.streams);
            let end = |copy: &Copy| 1 + copy.start + copy.bytes.len() as u64 + u64::from(copy.fin);
            if segment.has_ack() && segment.ack.since(initial.irs.plus(end(&held[0]) as u32)) > 0 {
                self.fault = Some("acknowledged before it was committed");
            }
            let last = segment.seq.plus(segment.len());
            if segment.flags & FLAG_SYN == 0
                && !segment.is_empty()
                && last.since(initial.iss.plus(end(&held[1]) as u32)) > 0
            {
                self.fault = Some("sent before it was committed");
            }
            assert!(segment.flags & FLAG_FIN == 0 || held[1].fin, "FIN before it was committed");
            check_edge(&mut self.told_edge, &segment, &initial);
            if let Some(timestamps) = segment.options.timestamps {
                let told = self.told_tsval.replace(timestamps.value);
                if told.is_some_and(|told| (timestamps.value.wrapping_sub(told) as i32) < 0) {
                    self.fault = Some("TSval went back");
                }
            }
            out.push(buffer[..len].to_vec());
        }
    }

    fn next_ns(&self, commit_ns: u64) -> Option<u64> {
        let timer = self.endpoint.as_ref().and_then(Endpoint::poll_timeout).map(|(at_ns, _)| at_ns);
        let commit = self.log.front().map(|entry| entry.due_ns + commit_ns);
        let next = timer.into_iter().chain(commit).min()?;
        Some(next.saturating_sub(self.skew_ns))
    }

    fn is_over(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| matches!(endpoint.state(), State::Closed | State::TimeWait))
    }
}

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

impl Side {
    /// A new endpoint's records go into the log.
    fn begin(&mut self, now_ns: u64) {
        let Some(endpoint) = &mut self.endpoint else { return };
        let local_ns = now_ns + self.skew_ns;
        let (initial, essential) = endpoint.save(local_ns);
        endpoint.take_change();
        self.push(local_ns, Update::Initial(initial));
        self.push(local_ns, Update::Essential(essential, now_ns));
    }
}

fn check_edge(told_edge: &mut Option<u32>, segment: &Segment<'_>, initial: &InitialState) {
    if !segment.has_ack() || segment.syn() {
        return;
    }
    let edge = segment.ack.plus(u32::from(segment.window) << initial.rcv_scale).0;
    // A FIN that is acknowledged moves the acknowledgement beyond what is in the window.
    if let Some(told) = *told_edge {
        assert!(edge.wrapping_sub(told) as i32 >= 0, "the right edge moved left: {told} to {edge}");
    }
    *told_edge = Some(edge);
}
