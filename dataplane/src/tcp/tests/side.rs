//! One side of the world: an endpoint, its streams, its log, and the backup that may take over.

use super::plan::{Plan, Planted, Rng};
use super::world::MS;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_FIN, FLAG_SYN};
use std::collections::VecDeque;

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
    pub(super) config: Config,
    /// What the log holds of each stream already: start, end, fin.
    logged: [(u64, u64, bool); 2],
    log: VecDeque<Entry>,
    backup: Backup,
    /// The clock differs from the world's.
    pub(super) skew_ns: u64,
    pub(super) data: Vec<u8>,
    pub(super) received: Vec<u8>,
    pub(super) ended: bool,
    pub(super) established: bool,
    paused_until_ns: u64,
    told_edge: Option<u32>,
    pub(super) sent_segments: usize,
    pub(super) takeovers: usize,
    pub(super) fault: Option<&'static str>,
    pub(super) takeover_at_ns: u64,
    told_tsval: Option<u32>,
}

impl Side {
    pub(super) fn new(plan: &Plan, which: usize, rng: &mut Rng) -> Self {
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

    pub(super) fn input(
        &mut self,
        now_ns: u64,
        f: impl FnOnce(&mut Endpoint, u64, &mut [Stream; 2], &mut ChunkPool) -> Outcome,
    ) {
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
    pub(super) fn log_changes(&mut self, now_ns: u64) {
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

    pub(super) fn commit(&mut self, now_ns: u64, commit_ns: u64) {
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
    pub(super) fn take_over(&mut self, now_ns: u64, planted: Option<Planted>, rng: &mut Rng) {
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
    pub(super) fn application(&mut self, now_ns: u64, plan: &Plan, may_end: bool, rng: &mut Rng) {
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
    pub(super) fn transmit(&mut self, now_ns: u64, out: &mut Vec<Vec<u8>>) {
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

    pub(super) fn next_ns(&self, commit_ns: u64) -> Option<u64> {
        let timer = self.endpoint.as_ref().and_then(Endpoint::poll_timeout).map(|(at_ns, _)| at_ns);
        let commit = self.log.front().map(|entry| entry.due_ns + commit_ns);
        let next = timer.into_iter().chain(commit).min()?;
        Some(next.saturating_sub(self.skew_ns))
    }

    pub(super) fn is_over(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| matches!(endpoint.state(), State::Closed | State::TimeWait))
    }
}

impl Side {
    /// A new endpoint's records go into the log.
    pub(super) fn begin(&mut self, now_ns: u64) {
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
