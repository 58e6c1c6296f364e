//! What the tests have around a relay: a worker, hosts with our TCP, a network that delivers.

use super::*;

pub(super) const HERE: &str = "198.51.100.1:8080";
pub(super) const INSIDE: &str = "10.10.0.1";
pub(super) const SERVERS: [&str; 2] = ["10.10.0.10:80", "10.10.0.11:80"];
pub(super) const MS: u64 = 1_000_000;

/// What a worker is to an app, with a wire of two queues.
pub(super) struct Worker {
    pub(super) now_ns: u64,
    pub(super) owned: UnitSet,
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    pub(super) sent: VecDeque<(Outgoing, Vec<u8>)>,
}

impl Outlet for Worker {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }
    fn owns(&self, unit: Unit) -> bool {
        self.owned.contains(unit)
    }
    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        INSIDE.parse().ok()
    }
    fn mtu_towards(&self, _: IpAddr) -> Option<u16> {
        Some(1500)
    }
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }
    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
    fn cluster_clock_s(&self) -> u64 {
        1000 + self.now_ns / 1_000_000_000
    }
    fn send(&mut self, packet: Outgoing, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut room = vec![0; 2000];
        let len = write(&mut room);
        room.truncate(len);
        if len > 0 {
            self.sent.push_back((packet, room));
        }
        len > 0
    }
    fn send_whole(&mut self, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }
    fn forward(&mut self, _: Unit, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }
    fn incarnation(&self) -> u64 {
        1
    }
}

/// A host's end of one connection.
pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
    pub(super) rx: Stream,
    pub(super) tx: Stream,
    pub(super) pool: ChunkPool,
    pub(super) got: Vec<u8>,
    pub(super) outcomes: Vec<crate::tcp::Outcome>,
}

impl Peer {
    pub(super) fn new(mut endpoint: Endpoint) -> Self {
        endpoint.confirm(endpoint.initial_version());
        let stream = || Stream::new(0, 64 << 10);
        Self { endpoint, rx: stream(), tx: stream(), pool: ChunkPool::new(256), got: Vec::new(), outcomes: Vec::new() }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) -> usize {
        let taken = self.tx.append(&mut self.pool, bytes);
        self.tx.commit_to(self.tx.commit_target());
        taken
    }

    pub(super) fn end(&mut self) {
        self.tx.finish();
        self.tx.commit_to(self.tx.commit_target());
    }

    pub(super) fn hear(&mut self, now_ns: u64, segment: &Segment<'_>) {
        let outcome = self.endpoint.handle_segment(now_ns, segment, &mut self.rx, &mut self.tx, &mut self.pool);
        self.outcomes.push(outcome);
        self.endpoint.confirm(self.endpoint.initial_version());
        self.rx.commit_to(self.rx.commit_target());
        let at = self.got.len();
        self.got.resize(self.rx.end() as usize, 0);
        self.rx.copy_to(&self.pool, at as u64, &mut self.got[at..]);
        self.rx.trim_to(&mut self.pool, self.rx.end());
    }

    pub(super) fn speak(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let mut room = vec![0; 2000];
        while let Some(len) = self.endpoint.poll_transmit(now_ns, &self.rx, &self.tx, &self.pool, &mut room) {
            said.push(room[..len].to_vec());
        }
        said
    }

    pub(super) fn is_over(&self) -> bool {
        self.endpoint.is_done() || self.endpoint.state() == State::TimeWait
    }

    pub(super) fn is_reset(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.reset())
    }
}

pub(super) struct World {
    pub(super) relay: Relay,
    pub(super) worker: Worker,
    pub(super) client: Option<Peer>,
    pub(super) servers: Vec<Peer>,
    /// Which servers answer.
    pub(super) up: [bool; 2],
    /// What the relay sent to those that do not.
    pub(super) lost: Vec<(Outgoing, Vec<u8>)>,
    pub(super) counters: RelayStats,
}

pub(super) fn spec() -> RelaySpec {
    RelaySpec {
        name: "web".into(),
        listen: HERE.parse().expect("an address"),
        backends: SERVERS.map(|s| s.parse().expect("an address")).to_vec(),
        connections_max: 100,
        buffer_bytes: 16 << 10,
        idle_ns: 10_000 * MS,
        connect_ns: 500 * MS,
        keepalive: None,
        health: None,
        proxy_protocol: false,
    }
}

impl World {
    pub(super) fn new(spec: RelaySpec, half_open_max: usize) -> Self {
        Self::with(vec![spec], half_open_max)
    }

    pub(super) fn with(relays: Vec<RelaySpec>, half_open_max: usize) -> Self {
        let counters = RelayStats::new(relays.len());
        let config = RelayConfig { relays, chunks: 64, half_open_max, key: [3; 16], replica_key: [7; 16], seed: 5 };
        let worker = Worker {
            now_ns: 1_000 * MS,
            owned: Unit::all().collect(),
            outbox: Outbox::new(OutboxLimits::default()),
            store: Store::new(DigestKey::new([7; 16]), StoreLimits::default()),
            sent: VecDeque::new(),
        };
        let relay = Relay::new(config, counters.clone());
        Self { relay, worker, client: None, servers: Vec::new(), up: [true; 2], lost: Vec::new(), counters }
    }

    pub(super) fn unit() -> Unit {
        Unit::new(77).expect("a unit")
    }

    pub(super) fn connect(&mut self) {
        self.connect_from(40_000);
    }

    pub(super) fn connect_from(&mut self, port: u16) {
        let here: SocketAddr = HERE.parse().expect("an address");
        let flow = Flow {
            local_ip: "192.0.2.7".parse().expect("an address"),
            local_port: port,
            remote_ip: here.ip(),
            remote_port: here.port(),
        };
        let now_ns = self.worker.now_ns;
        let isn = IsnSource::new([9; 16]).isn(&flow, now_ns);
        self.client = Some(Peer::new(Endpoint::connect(&Config::default(), flow, isn, now_ns)));
    }

    pub(super) fn give(&mut self, from: IpAddr, to: IpAddr, bytes: &[u8]) {
        let mut summary = Summary::of_addresses(from, to, proto::TCP);
        summary.src_port = u16::from_be_bytes([bytes[0], bytes[1]]);
        summary.dst_port = u16::from_be_bytes([bytes[2], bytes[3]]);
        assert!(self.relay.claims(&summary));
        if summary.dst_port >= OPENED_PORTS_MIN {
            assert_eq!(summary.dst_port % UNITS as u16, Self::unit().number(), "answers come to the session's unit");
        }
        self.relay.handle_packet(&mut self.worker, Self::unit(), &summary, bytes).expect("taken");
    }

    /// Lets everyone speak until nobody has anything to say.
    pub(super) fn run(&mut self) {
        loop {
            let mut quiet = true;
            let now_ns = self.worker.now_ns;
            let mut said = Vec::new();
            for peer in self.client.iter_mut().chain(&mut self.servers) {
                let flow = *peer.endpoint.flow();
                said.extend(peer.speak(now_ns).into_iter().map(|bytes| (flow, bytes)));
            }
            for (flow, bytes) in said {
                quiet = false;
                self.give(flow.local_ip, flow.remote_ip, &bytes);
            }
            while let Some((packet, bytes)) = self.worker.sent.pop_front() {
                quiet = false;
                self.deliver(packet, &bytes);
            }
            if quiet {
                return;
            }
        }
    }

    pub(super) fn deliver(&mut self, packet: Outgoing, bytes: &[u8]) {
        let now_ns = self.worker.now_ns;
        let segment = Segment::parse(bytes, packet.source, packet.destination).expect("a sound segment");
        let to = SocketAddr::new(packet.destination, segment.destination_port);
        let Some(at) = SERVERS.iter().position(|s| *s == to.to_string()) else {
            // Without a client it is lost.
            return self.client.iter_mut().for_each(|client| client.hear(now_ns, &segment));
        };
        if !self.up[at] {
            return self.lost.push((packet, bytes.to_vec()));
        }
        let flow = Flow {
            local_ip: packet.destination,
            local_port: segment.destination_port,
            remote_ip: packet.source,
            remote_port: segment.source_port,
        };
        match self.servers.iter_mut().find(|server| *server.endpoint.flow() == flow) {
            Some(server) => server.hear(now_ns, &segment),
            None if segment.syn() => {
                let config = Config::default();
                let endpoint = Endpoint::listen_accept(&config, &segment, flow, crate::tcp::Seq(77), now_ns);
                self.servers.push(Peer::new(endpoint));
            }
            None => panic!("a segment for nobody: {segment:?}"),
        }
    }

    /// Lets time pass, in steps.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.worker.now_ns + ms * MS;
        while self.worker.now_ns < until {
            self.worker.now_ns += MS;
            let now_ns = self.worker.now_ns;
            for peer in self.client.iter_mut().chain(&mut self.servers) {
                if peer.endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= now_ns) {
                    peer.endpoint.handle_timeout(now_ns);
                }
            }
            while self.relay.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
                self.relay.handle_timeout(&mut self.worker);
            }
            self.run();
        }
    }

    pub(super) fn client(&mut self) -> &mut Peer {
        self.client.as_mut().expect("a client")
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        self.counters.of(0).iter().find(|(known, ..)| *known == name).expect("a counter").2
    }
}

pub(super) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) ^ (at >> 8) as u8).collect()
}
