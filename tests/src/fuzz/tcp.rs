//! Two TCP endpoints, a network that loses, doubles, reorders and changes segments, a stranger who makes his own, and
//! takeovers from records as old as the script likes: no panic, no endless talk, bounded memory, and no byte taken that
//! was not the next one and in the window.

use std::net::{IpAddr, Ipv4Addr};

use phalanx_dataplane::tcp::{
    ChunkPool, Config, Endpoint, EssentialState, Flow, InitialState, Keepalive, Options, Repr, Saved, Segment, Seq,
    State, Stream, Timestamps,
};

use super::cursor::Cursor;

const LIMIT: u32 = 20_000;
const CHUNKS: usize = 24;
const WAITING_MAX: usize = 64;

struct Side {
    endpoint: Option<Endpoint>,
    config: Config,
    rx: Stream,
    tx: Stream,
    pool: ChunkPool,
    /// Segments on their way to this side.
    waiting: Vec<Vec<u8>>,
}

fn flow(which: usize) -> Flow {
    let ip = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
    let (local, remote) = if which == 0 { (1, 2) } else { (2, 1) };
    Flow { local_ip: ip(local), local_port: 1, remote_ip: ip(remote), remote_port: 1 }
}

impl Side {
    fn new(script: &mut Cursor<'_>) -> Self {
        let choice = script.u8();
        let keepalive = Keepalive { idle_ns: 1_000_000_000, interval_ns: 500_000_000, probes_max: 2 };
        let config = Config {
            mss: [1460, 536, 8960, 100][usize::from(choice & 3)],
            receive_limit_bytes: LIMIT,
            window_scaling: choice & 4 == 0,
            timestamps: choice & 8 == 0,
            sack: choice & 16 == 0,
            keepalive: (choice & 32 != 0).then_some(keepalive),
            ..Config::default()
        };
        Self {
            endpoint: None,
            config,
            rx: Stream::new(0, LIMIT),
            tx: Stream::new(0, LIMIT),
            pool: ChunkPool::new(CHUNKS),
            waiting: Vec::new(),
        }
    }

    fn hear(&mut self, now_ns: u64, which: usize, bytes: &[u8]) {
        let flow = flow(which);
        let Ok(segment) = Segment::parse(bytes, flow.remote_ip, flow.local_ip) else { return };
        let Some(endpoint) = &mut self.endpoint else {
            if segment.syn() && !segment.has_ack() {
                self.endpoint = Some(Endpoint::listen_accept(&self.config, &segment, flow, Seq(9), now_ns));
            }
            return;
        };
        let before = endpoint.save_essential(now_ns);
        let (end, edge) = (self.rx.end(), u64::from(LIMIT).max(edge(before)));
        let outcome = endpoint.handle_segment(now_ns, &segment, &mut self.rx, &mut self.tx, &mut self.pool);
        let irs = endpoint.save_initial().irs;
        if self.rx.end() > end {
            assert!(outcome.received() && before.state != State::SynSent);
            let next = irs.plus(before.rcv_nxt as u32);
            let ahead = next.since(segment.seq);
            let from = if segment.syn() { ahead - 1 } else { ahead };
            assert!(from >= 0 && (from as usize) < segment.payload.len(), "not the next byte: {segment:?} {before:?}");
            let mut first = [0];
            assert_eq!(self.rx.copy_to(&self.pool, end, &mut first), 1);
            assert_eq!(first[0], segment.payload[from as usize], "another byte");
        }
        assert!(self.rx.len() <= u64::from(LIMIT) && self.rx.end() <= self.rx.start() + edge);
    }

    fn talk(&mut self, now_ns: u64, which: usize) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let Some(endpoint) = &mut self.endpoint else { return said };
        let mut buffer = [0; 9100];
        while let Some(len) = endpoint.poll_transmit(now_ns, &self.rx, &self.tx, &self.pool, &mut buffer) {
            let flow = flow(which);
            let segment = Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).expect("sound");
            if !segment.payload.is_empty() {
                let initial = endpoint.save_initial();
                let last = segment.seq.plus(segment.payload.len() as u32);
                let committed = initial.iss.plus(1 + self.tx.committed() as u32);
                assert!(last.since(committed) <= 0, "sent before it was committed");
            }
            said.push(buffer[..len].to_vec());
            assert!(said.len() < 1000, "no end: {endpoint:?}");
        }
        said
    }

    fn restore(&mut self, script: &mut Cursor<'_>, now_ns: u64) {
        let Some(endpoint) = &self.endpoint else { return };
        let (initial, mut essential) = endpoint.save(now_ns);
        let choice = script.u8();
        // A record may be older than the streams, or nonsense.
        if choice & 1 != 0 {
            essential.snd_una = i64::from(script.u8());
        }
        if choice & 2 != 0 {
            essential.state = State::ALL[usize::from(script.u8()) % State::ALL.len()];
        }
        if choice & 4 != 0 {
            essential.snd_wnd = script.u32();
            essential.right_edge = i64::from(script.u32());
        }
        let saved = Saved {
            initial: InitialState::decode(&initial.encode()).expect("its own record"),
            essential: EssentialState::decode(&essential.encode())
                .unwrap_or_else(|error| panic!("{error}: {essential:?}")),
            age_ns: script.number(),
        };
        // What was ahead of a gap is not in the records.
        let mut rx = copy(&self.rx, &mut self.pool);
        let mut tx = copy(&self.tx, &mut self.pool);
        if let (Some(new_rx), Some(new_tx)) = (&mut rx, &mut tx)
            && let Ok(mut endpoint) = Endpoint::restore(&self.config, &saved, new_rx, new_tx, &mut self.pool, now_ns)
        {
            let version = endpoint.initial_version();
            endpoint.confirm(version);
            self.endpoint = Some(endpoint);
            std::mem::swap(&mut self.rx, new_rx);
            std::mem::swap(&mut self.tx, new_tx);
        }
        for stream in [rx, tx].iter_mut().flatten() {
            stream.free(&mut self.pool);
        }
    }
}

fn edge(essential: EssentialState) -> u64 {
    u64::try_from(essential.right_edge - essential.rcv_nxt).unwrap_or(0)
}

/// The stream as a backup has it, if there is memory for two.
fn copy(stream: &Stream, pool: &mut ChunkPool) -> Option<Stream> {
    let mut bytes = vec![0; stream.len() as usize];
    let len = stream.copy_to(pool, stream.start(), &mut bytes);
    assert_eq!(len, bytes.len());
    let mut copy = Stream::new(stream.start(), LIMIT);
    if copy.append(pool, &bytes) < len {
        copy.free(pool);
        return None;
    }
    if stream.fin().is_some() {
        copy.finish();
    }
    copy.commit_to(u64::MAX);
    Some(copy)
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let mut now_ns = 1_000_000_000;
    let mut sides = [Side::new(&mut script), Side::new(&mut script)];
    let iss = Seq(script.u32());
    sides[0].endpoint = Some(Endpoint::connect(&sides[0].config, flow(0), iss, now_ns));
    while !script.is_empty() {
        let operation = script.u8();
        let which = usize::from(operation >> 7);
        let side = &mut sides[which];
        match operation & 15 {
            0..=4 => deliver(&mut script, side, which, now_ns),
            5 => drop(pick(&mut script, &mut side.waiting)),
            6 => {
                if let Some(bytes) = pick(&mut script, &mut side.waiting) {
                    side.waiting.extend([bytes.clone(), bytes]);
                }
            }
            7 => stranger(&mut script, side, which, now_ns),
            8 => {
                let len = 40 * usize::from(script.u8());
                side.tx.append(&mut side.pool, &vec![operation; len]);
            }
            9 => side.rx.trim_to(&mut side.pool, u64::from(script.u16())),
            10 => {
                side.rx.commit_to(side.rx.start() + u64::from(script.u16()));
                side.tx.commit_to(side.tx.start() + u64::from(script.u16()));
            }
            11 => side.tx.finish(),
            12 => now_ns += u64::from(script.u8()) * 20_000_000,
            13 => side.restore(&mut script, now_ns),
            14 => {
                let (quoted, mtu) = (Seq(script.u32()), script.u16());
                side.endpoint.as_mut().map(|endpoint| endpoint.handle_too_big(quoted, mtu));
            }
            _ => {
                if script.u8() == 0
                    && let Some(endpoint) = &mut side.endpoint
                {
                    endpoint.abort();
                }
            }
        }
        settle(&mut sides, now_ns);
    }
    for side in &mut sides {
        side.rx.free(&mut side.pool);
        side.tx.free(&mut side.pool);
        assert_eq!(side.pool.free_chunks(), CHUNKS, "chunks are lost");
    }
}

fn pick(script: &mut Cursor<'_>, waiting: &mut Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let len = waiting.len();
    (len > 0).then(|| waiting.remove(usize::from(script.u8()) % len))
}

fn deliver(script: &mut Cursor<'_>, side: &mut Side, which: usize, now_ns: u64) {
    if let Some(bytes) = pick(script, &mut side.waiting) {
        side.hear(now_ns, which, &bytes);
    }
}

/// A segment near to what the endpoint expects.
fn stranger(script: &mut Cursor<'_>, side: &mut Side, which: usize, now_ns: u64) {
    let ours = flow(which);
    let theirs = flow(1 - which);
    let (initial, essential) = match &side.endpoint {
        Some(endpoint) => endpoint.save(now_ns),
        None => return,
    };
    let near = |script: &mut Cursor<'_>, base: Seq| match script.u8() {
        0 => Seq(script.u32()),
        by => base.plus(i32::from(i16::from_be_bytes([by, script.u8()])) as u32 / 16),
    };
    let mut options = Options::default();
    let choice = script.u8();
    if choice & 1 != 0 {
        let value = essential.ts_recent.wrapping_add(u32::from(choice >> 4));
        options.timestamps = Some(Timestamps { value, echo: script.u32() });
    }
    if choice & 2 != 0 {
        let left = near(script, initial.iss.plus(essential.snd_una as u32));
        options.sack.push(left, left.plus(u32::from(script.u16())));
    }
    if choice & 4 != 0 {
        options = Options { mss: Some(script.u16()), window_scale: Some(choice), ..options };
    }
    let repr = Repr {
        flow: theirs,
        seq: near(script, initial.irs.plus(essential.rcv_nxt as u32)),
        ack: near(script, initial.iss.plus(essential.snd_una as u32)),
        flags: script.u8(),
        window: script.u16(),
        options,
    };
    let len = usize::from(script.u8()) * 8;
    let payload: Vec<u8> = (0..len).map(|i| i as u8 ^ choice).collect();
    let mut buffer = [0; 2300];
    let written = repr.emit([&payload, &[]], &mut buffer).expect("it fits");
    assert_eq!((theirs.local_ip, theirs.remote_ip), (ours.remote_ip, ours.local_ip));
    side.hear(now_ns, which, &buffer[..written]);
}

/// Timers, confirmations, and what both have to say.
fn settle(sides: &mut [Side; 2], now_ns: u64) {
    for which in 0..2 {
        if let Some(endpoint) = &mut sides[which].endpoint {
            endpoint.handle_timeout(now_ns);
            let version = endpoint.initial_version();
            endpoint.confirm(version);
            let due = endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= now_ns);
            assert!(!due, "a deadline that is not met: {endpoint:?}");
        }
        let said = sides[which].talk(now_ns, which);
        let waiting = &mut sides[1 - which].waiting;
        waiting.extend(said);
        waiting.truncate(WAITING_MAX);
    }
}
