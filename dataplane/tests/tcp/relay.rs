//! A relay session: client, endpoint A, two streams, endpoint B, server.

use phalanx_dataplane::tcp::{ChunkPool, Config, Endpoint, Flow, Outcome, Segment, Seq, State, Stream};
use std::net::{IpAddr, Ipv4Addr};

const LINE: u64 = 50_000;

/// Bytes that travel, without an allocation each.
pub(crate) struct Wire {
    slots: Vec<([u8; 1500], usize)>,
    first: usize,
    len: usize,
}

impl Wire {
    fn new() -> Self {
        Self { slots: vec![([0; 1500], 0); 4096], first: 0, len: 0 }
    }

    fn next(&mut self) -> &mut ([u8; 1500], usize) {
        let at = (self.first + self.len) % self.slots.len();
        &mut self.slots[at]
    }
}

/// An endpoint with the wire that leads to it.
struct End {
    endpoint: Option<Endpoint>,
    flow: Flow,
    wire: Wire,
}

impl End {
    fn new(flow: Flow) -> Self {
        Self { endpoint: None, flow, wire: Wire::new() }
    }

    fn connect(&mut self, now_ns: u64) {
        self.endpoint = Some(Endpoint::connect(&Config::default(), self.flow, Seq(77), now_ns));
        self.confirm();
    }

    fn confirm(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            let version = endpoint.initial_version();
            endpoint.confirm(version);
        }
    }

    fn hear(&mut self, now_ns: u64, rx: &mut Stream, tx: &mut Stream, pool: &mut ChunkPool) {
        while self.wire.len > 0 {
            let slot = &self.wire.slots[self.wire.first];
            self.wire.first = (self.wire.first + 1) % self.wire.slots.len();
            self.wire.len -= 1;
            let segment = Segment::parse(&slot.0[..slot.1], self.flow.remote_ip, self.flow.local_ip).unwrap();
            match &mut self.endpoint {
                Some(endpoint) => {
                    let outcome: Outcome = endpoint.handle_segment(now_ns, &segment, rx, tx, pool);
                    assert!(!outcome.reset());
                }
                None => {
                    let config = Config::default();
                    self.endpoint = Some(Endpoint::listen_accept(&config, &segment, self.flow, Seq(9), now_ns));
                }
            }
            // What a relay does once its backups have the records; here there are none.
            self.confirm();
            rx.commit_to(u64::MAX);
        }
    }

    fn talk(&mut self, now_ns: u64, rx: &Stream, tx: &Stream, pool: &ChunkPool, to: &mut Wire) -> usize {
        let Some(endpoint) = &mut self.endpoint else { return 0 };
        endpoint.handle_timeout(now_ns);
        let before = to.len;
        while to.len < to.slots.len() {
            let slot = to.next();
            let Some(len) = endpoint.poll_transmit(now_ns, rx, tx, pool, &mut slot.0) else { break };
            slot.1 = len;
            to.len += 1;
        }
        to.len - before
    }

    fn state(&self) -> Option<State> {
        self.endpoint.as_ref().map(Endpoint::state)
    }
}

pub(crate) struct Session {
    pub(crate) now_ns: u64,
    ends: [End; 4],
    /// The client's and the server's own; and the relay's, one a direction.
    client: [Stream; 2],
    server: [Stream; 2],
    up: Stream,
    down: Stream,
    pool: ChunkPool,
    pub(crate) segments: usize,
    pub(crate) received: [u64; 2],
}

fn flow(local: (u8, u16), remote: (u8, u16)) -> Flow {
    let ip = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
    Flow { local_ip: ip(local.0), local_port: local.1, remote_ip: ip(remote.0), remote_port: remote.1 }
}

fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

impl Session {
    pub(crate) fn new() -> Self {
        let stream = || Stream::new(0, Config::default().receive_limit_bytes);
        let (client, front, back, server) = ((1, 1000), (9, 80), (8, 2000), (2, 80));
        let mut ends = [flow(client, front), flow(front, client), flow(back, server), flow(server, back)].map(End::new);
        ends[0].connect(0);
        ends[2].connect(0);
        Self {
            now_ns: 0,
            ends,
            client: [stream(), stream()],
            server: [stream(), stream()],
            up: stream(),
            down: stream(),
            pool: ChunkPool::new(1000),
            segments: 0,
            received: [0; 2],
        }
    }

    /// The applications at both ends: they send bytes that tell their place, and check those that come.
    pub(crate) fn applications(&mut self, total: [u64; 2]) {
        for (which, [rx, tx]) in [&mut self.client, &mut self.server].into_iter().enumerate() {
            let mut bytes = [0; 1024];
            while tx.room() >= 1024 && tx.end() < total[which] {
                let n = (total[which] - tx.end()).min(1024) as usize;
                bytes.iter_mut().zip(tx.end()..).for_each(|(byte_, at)| *byte_ = byte(at));
                assert_eq!(tx.append(&mut self.pool, &bytes[..n]), n);
            }
            // The server ends its half only after the client's.
            if tx.end() == total[which] && (which == 0 || rx.fin().is_some()) {
                tx.finish();
            }
            tx.commit_to(u64::MAX);
            loop {
                let at = rx.start();
                let n = rx.copy_to(&self.pool, at, &mut bytes);
                if n == 0 {
                    break;
                }
                assert!(bytes[..n].iter().zip(at..).all(|(got, at)| *got == byte(at)));
                rx.trim_to(&mut self.pool, at + n as u64);
                self.received[which] += n as u64;
            }
        }
    }

    /// One round: everybody hears what came, then everybody talks.
    pub(crate) fn round(&mut self) {
        self.now_ns += LINE;
        let now_ns = self.now_ns;
        let Self {
            ends: [client, a, b, server], client: [client_rx, client_tx], server: [server_rx, server_tx], ..
        } = self;
        let (up, down, pool) = (&mut self.up, &mut self.down, &mut self.pool);
        client.hear(now_ns, client_rx, client_tx, pool);
        a.hear(now_ns, up, down, pool);
        b.hear(now_ns, down, up, pool);
        server.hear(now_ns, server_rx, server_tx, pool);
        self.segments += client.talk(now_ns, client_rx, client_tx, pool, &mut a.wire);
        self.segments += a.talk(now_ns, up, down, pool, &mut client.wire);
        self.segments += b.talk(now_ns, down, up, pool, &mut server.wire);
        self.segments += server.talk(now_ns, server_rx, server_tx, pool, &mut b.wire);
    }
}

#[test]
fn bytes_and_ends_pass_through_a_relay_both_ways() {
    let total = [3_000_000, 5_000_000];
    let mut session = Session::new();
    for _ in 0..200_000 {
        session.applications(total);
        session.round();
        if session.ends.iter().all(|end| matches!(end.state(), Some(State::TimeWait | State::Closed))) {
            break;
        }
    }
    assert_eq!(session.received, [total[1], total[0]]);
    let states = session.ends.each_ref().map(End::state);
    assert_eq!(states, [Some(State::TimeWait), Some(State::Closed), Some(State::TimeWait), Some(State::Closed)]);
    assert_eq!(session.pool.free_chunks(), session.pool.capacity(), "what has passed takes no memory");
    assert!(session.now_ns < 200_000_000, "{} ns", session.now_ns);
}
