//! Hosts and a relay, and the rounds in which they talk.
//!
//! A round is a worker's: what backups have acknowledged, a burst of packets, timers, then what was written goes to the
//! backups. When nobody has anything to do, the thread sleeps until a backup answers, as a worker with `idle = "interrupt"`
//! does: on a machine with few cores the backups need this one.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use phalanx_dataplane::app::{App, Outgoing};
use phalanx_dataplane::filter::{Filter, Scheme};
use phalanx_dataplane::parse::{Summary, flag};
use phalanx_dataplane::relay::{Relay, RelayConfig, RelaySpec, RelayStats};
use phalanx_dataplane::replica::{Position, Snapshots, Sources};
use phalanx_dataplane::tcp::{ChunkPool, Config, Endpoint, Flow, Segment, Seq};
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::proto;
use phalanx_dataplane::worker::{BURST, Clock};

use super::RelayBenchError;
use super::desk::Desk;
use super::host::{Host, Side, Text};
use super::member::{KEY, Member};
use super::meter::{Meter, Waits};

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;
/// Where the relay listens.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 8080);
/// A unit has 32 local ports for each back end, some of them in TIME-WAIT: with so many back ends there are 512.
const BACKENDS: u8 = 16;
const BACKEND_PORT: u16 = 80;
/// The clients' first address, and the ports that each uses.
const FIRST_CLIENT: u32 = 0x0a40_0001;
const CLIENT_PORTS: u32 = 50_000;
const FIRST_CLIENT_PORT: u32 = 10_000;
/// The default of `buffer_kbytes`.
const BUFFER_BYTES: u32 = 64 << 10;
/// 256 MiB each for the relay's streams and the hosts'; what is not touched costs nothing.
const CHUNKS: usize = 64 << 10;
/// How often all hosts' timers are looked at.
const TICK_NS: u64 = MS;
/// How long the thread sleeps at most.
const NAP_NS: u64 = MS;
/// As a worker's.
const SNAPSHOT_STEPS: usize = 32;
const SEGMENT_ROOM: usize = 1600;

/// What has become of hosts since somebody looked.
#[derive(Default)]
pub(super) struct News {
    /// Hosts that heard something.
    pub(super) heard: VecDeque<usize>,
    /// Bytes that hosts received.
    pub(super) bytes: u64,
    pub(super) corrupt: bool,
    pub(super) broken: u64,
}

/// A segment of a host's.
pub(super) struct Packet {
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
}

/// See the module.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) desk: Desk,
    pub(super) relay: Box<Relay>,
    pub(super) stats: RelayStats,
    pub(super) text: Text,
    /// The hosts' memory.
    pub(super) pool: ChunkPool,
    pub(super) news: News,
    /// What the relay and its part of replication took.
    pub(super) meter: Meter,
    /// How long what was written waited until all backups had it.
    pub(super) commits: Waits,
    member: Option<Member>,
    snapshots: Snapshots,
    filter: Filter,
    pub(super) hosts: Vec<Option<Host>>,
    free: Vec<usize>,
    by_flow: HashMap<Flow, usize>,
    to_speak: VecDeque<usize>,
    /// Hosts whose timers may run.
    timed: Vec<usize>,
    /// Positions of the log that are not committed, and when they were written.
    written: VecDeque<(Position, u64)>,
    committed: Position,
    clients: u32,
    tick_ns: u64,
    room: Vec<u8>,
}

fn spec() -> RelaySpec {
    RelaySpec {
        name: "bench".into(),
        listen: LISTEN.into(),
        backends: (1..=BACKENDS).map(|host| (Ipv4Addr::new(10, 10, 1, host), BACKEND_PORT).into()).collect(),
        connections_max: 1_000_000,
        buffer_bytes: BUFFER_BYTES,
        idle_ns: 3600 * S,
        keepalive: None,
        connect_ns: 5 * S,
        health: None,
        proxy_protocol: false,
    }
}

/// A relay as one worker of a member has it.
pub(super) fn relay(stats: &RelayStats) -> Box<Relay> {
    let (key, replica_key) = ([3; 16], KEY);
    let config =
        RelayConfig { relays: vec![spec()], chunks: CHUNKS, half_open_max: 1 << 16, key, replica_key, seed: 5 };
    Box::new(Relay::new(config, stats.clone()))
}

impl World {
    /// A relay that serves all units, and nobody who talks to it. `member`: its link, if it has backups.
    pub(super) fn new(mut desk: Desk, member: Option<Member>) -> Result<Self, RelayBenchError> {
        let (clock, stats) = (Clock::start(), RelayStats::new(1));
        desk.owned = Unit::all().collect();
        Ok(Self {
            clock,
            desk,
            relay: relay(&stats),
            stats,
            text: Text::new(),
            pool: ChunkPool::new(CHUNKS),
            news: News::default(),
            meter: Meter::new(clock),
            commits: Waits::new()?,
            member,
            snapshots: Snapshots::new(),
            filter: Filter::new(Scheme::Steered, KEY),
            hosts: Vec::new(),
            free: Vec::new(),
            by_flow: HashMap::new(),
            to_speak: VecDeque::new(),
            timed: Vec::new(),
            written: VecDeque::new(),
            committed: Position(0),
            clients: 0,
            tick_ns: 0,
            room: vec![0; SEGMENT_ROOM],
        })
    }

    /// Bytes that the link's streams took to the backups, all of them together.
    pub(super) fn bytes_to_backups(&self) -> u64 {
        self.member.as_ref().map_or(0, |member| member.replication.stats().bytes_sent)
    }

    /// Bytes of the log, which each backup gets.
    pub(super) fn bytes_of_log(&mut self) -> u64 {
        self.desk.outbox.stats().bytes
    }

    /// Whether every backup has everything.
    pub(super) fn is_replicated(&mut self) -> bool {
        let outbox = &mut self.desk.outbox;
        let synced = |unit| outbox.in_sync(unit) == outbox.backups(unit);
        Unit::all().all(synced) && outbox.committed() == outbox.head()
    }

    /// Ends replication: the link closes.
    pub(super) fn leave(&mut self) {
        self.member = None;
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (usize, &Host)> {
        self.hosts.iter().enumerate().filter_map(|(at, host)| host.as_ref().map(|host| (at, host)))
    }

    /// A new client asks for a connection.
    pub(super) fn open(&mut self) -> usize {
        let (host, port) = (self.clients / CLIENT_PORTS, self.clients % CLIENT_PORTS);
        self.clients = self.clients.wrapping_add(1);
        let flow = Flow {
            local_ip: Ipv4Addr::from_bits(FIRST_CLIENT + host).into(),
            local_port: (FIRST_CLIENT_PORT + port) as u16,
            remote_ip: LISTEN.0.into(),
            remote_port: LISTEN.1,
        };
        let endpoint = Endpoint::connect(&Config::default(), flow, Seq(self.clients), self.desk.now_ns);
        self.admit(flow, Host::new(Side::Client, endpoint))
    }

    fn admit(&mut self, flow: Flow, host: Host) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.hosts.push(None);
            self.hosts.len() - 1
        });
        self.hosts[at] = Some(host);
        self.by_flow.insert(flow, at);
        self.wants_to_speak(at);
        at
    }

    /// The host has said its last words, and is gone.
    pub(super) fn forget(&mut self, at: usize) {
        while let Some(packet) = self.words_of(at, 0) {
            self.give(&packet.flow, &packet.bytes);
        }
        if let Some(mut host) = self.hosts.get_mut(at).and_then(Option::take) {
            host.free(&mut self.pool);
            self.by_flow.remove(host.endpoint().flow());
            self.free.push(at);
        }
    }

    /// A host's next segment, once it has said so many bytes more.
    pub(super) fn words_of(&mut self, at: usize, bytes: u64) -> Option<Packet> {
        let now_ns = self.clock.now_ns();
        let host = self.hosts.get_mut(at)?.as_mut()?;
        host.say(&self.text, &mut self.pool, bytes);
        let mut room = vec![0; SEGMENT_ROOM];
        let len = host.speak(now_ns, &self.pool, &mut room)?;
        room.truncate(len);
        let flow = *host.endpoint().flow();
        self.wants_to_speak(at);
        Some(Packet { flow, bytes: room })
    }

    /// Whether nobody has anything to do, and every backup has everything.
    pub(super) fn is_quiet(&self) -> bool {
        self.to_speak.is_empty() && self.desk.sent() == 0 && self.desk.outbox.head() == self.committed
    }

    /// Something has changed with the host: it is asked for segments in the next round.
    pub(super) fn wants_to_speak(&mut self, at: usize) {
        let Some(host) = self.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        if !std::mem::replace(&mut host.listed, true) {
            self.to_speak.push_back(at);
        }
        if !std::mem::replace(&mut host.timed, true) {
            self.timed.push(at);
        }
    }

    /// One round. Whether anything happened.
    pub(super) fn round(&mut self) -> bool {
        self.desk.now_ns = self.clock.now_ns();
        let mut busy = self.hear_backups();
        busy |= self.hosts_speak() > 0;
        busy |= self.relay_speaks();
        self.pass_time();
        self.tell_backups();
        busy
    }

    /// The same; sleeps first if there is nothing to do. Say whether the last round was busy.
    pub(super) fn round_or_nap(&mut self, busy: bool) -> bool {
        if !busy
            && self.to_speak.is_empty()
            && self.desk.sent() == 0
            && let Some(member) = self.member.as_ref().filter(|member| !member.port.is_waiting())
        {
            // Woken or not: it looks again.
            let _ = member.woken.recv_timeout(Duration::from_nanos(self.nap_ns()));
        }
        self.round()
    }

    fn nap_ns(&self) -> u64 {
        let due = self.relay.poll_timeout().map_or(NAP_NS, |at_ns| at_ns.saturating_sub(self.desk.now_ns));
        due.min(NAP_NS)
    }

    /// Rounds until something is so.
    pub(super) fn until(
        &mut self,
        what: &'static str,
        seconds: u64,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), RelayBenchError> {
        let (until_ns, mut busy) = (self.clock.now_ns() + seconds * S, true);
        while !is_so(self) {
            busy = self.round_or_nap(busy);
            if self.desk.now_ns > until_ns {
                return Err(RelayBenchError::Late(what, seconds));
            }
        }
        Ok(())
    }

    fn hear_backups(&mut self) -> bool {
        let Some(member) = &mut self.member else { return false };
        let (desk, relay) = (&mut self.desk, &mut self.relay);
        if !member.port.is_waiting() {
            return false;
        }
        self.meter.time(|| {
            member.poll(&mut desk.store, &mut desk.outbox);
            if desk.outbox.committed() > self.committed {
                relay.handle_commit(desk);
            }
        });
        self.note_commits();
        true
    }

    /// Notes what is written and what is committed.
    fn note_commits(&mut self) {
        self.committed = self.desk.outbox.committed();
        while let Some((_, ns)) = self.written.front().filter(|(position, _)| *position <= self.committed) {
            self.commits.record(self.desk.now_ns.saturating_sub(*ns).max(1));
            self.written.pop_front();
        }
        let head = self.desk.outbox.head();
        if head > self.committed && self.written.back().is_none_or(|(position, _)| *position < head) {
            self.written.push_back((head, self.desk.now_ns));
        }
    }

    fn tell_backups(&mut self) {
        if self.member.is_none() {
            return;
        }
        self.note_commits();
        let Some(member) = &mut self.member else { return };
        let (desk, snapshots) = (&mut self.desk, &mut self.snapshots);
        let mut all = Sources { store: &mut desk.store, live: std::slice::from_mut(&mut self.relay) };
        snapshots.pump(&mut desk.outbox, &mut all, SNAPSHOT_STEPS);
        self.meter.time(|| member.port.flush(&mut desk.outbox));
    }

    /// A burst of the hosts' segments goes to the relay.
    fn hosts_speak(&mut self) -> usize {
        let mut count = 0;
        let mut room = std::mem::take(&mut self.room);
        while count < BURST
            && let Some(at) = self.to_speak.pop_front()
        {
            let Some(host) = self.hosts.get_mut(at).and_then(Option::as_mut) else { continue };
            host.listed = false;
            let flow = *host.endpoint().flow();
            let mut said = Some(0);
            while count < BURST && said.is_some() {
                let Some(host) = self.hosts.get_mut(at).and_then(Option::as_mut) else { break };
                said = host.speak(self.desk.now_ns, &self.pool, &mut room);
                if let Some(len) = said {
                    count += 1;
                    self.give(&flow, &room[..len]);
                }
            }
            if said.is_some() {
                self.wants_to_speak(at);
            }
        }
        self.room = room;
        count
    }

    /// Gives the relay a segment, as a worker does that has received it.
    pub(super) fn give(&mut self, from: &Flow, segment: &[u8]) {
        let mut summary = Summary::of_addresses(from.local_ip, from.remote_ip, proto::TCP);
        (summary.src_port, summary.dst_port) = (from.local_port, from.remote_port);
        summary.flags |= flag::PORTS;
        let unit = self.filter.unit(&summary, true, segment);
        self.desk.now_ns = self.clock.now_ns();
        let (relay, desk) = (&mut self.relay, &mut self.desk);
        // What it does not take was counted there.
        let _ = self.meter.time(|| relay.handle_packet(desk, unit, &summary, segment));
        if self.member.is_some() {
            self.note_commits();
        }
    }

    /// What the relay has sent goes to the hosts.
    fn relay_speaks(&mut self) -> bool {
        let mut any = false;
        while let Some((header, buffer)) = self.desk.next_sent() {
            any = true;
            self.deliver(header, buffer.bytes());
            self.desk.take_back(buffer);
        }
        any
    }

    /// Gives a host a segment of the relay's; a SYN to a server makes one.
    pub(super) fn deliver(&mut self, header: Outgoing, bytes: &[u8]) {
        let now_ns = self.desk.now_ns;
        let Ok(segment) = Segment::parse(bytes, header.source, header.destination) else {
            self.news.corrupt = true;
            return;
        };
        let flow = Flow {
            local_ip: header.destination,
            local_port: segment.destination_port,
            remote_ip: header.source,
            remote_port: segment.source_port,
        };
        // Whoever opens a connection anew has forgotten the old one.
        if segment.syn() && !segment.has_ack() {
            if let Some(at) = self.by_flow.get(&flow).copied() {
                self.forget(at);
            }
            let endpoint = Endpoint::listen_accept(&Config::default(), &segment, flow, Seq(77), now_ns);
            self.admit(flow, Host::new(Side::Server, endpoint));
            return;
        }
        let Some(at) = self.by_flow.get(&flow).copied() else { return };
        let Some(host) = self.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        let heard = host.hear(now_ns, &segment, &self.text, &mut self.pool);
        self.news.bytes += heard.bytes;
        self.news.corrupt |= heard.corrupt;
        self.news.broken += u64::from(heard.broken);
        self.news.heard.push_back(at);
        self.wants_to_speak(at);
    }

    fn pass_time(&mut self) {
        let now_ns = self.desk.now_ns;
        if self.relay.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
            let (relay, desk) = (&mut self.relay, &mut self.desk);
            self.meter.time(|| relay.handle_timeout(desk));
        }
        if now_ns < self.tick_ns {
            return;
        }
        self.tick_ns = now_ns + TICK_NS;
        for at in std::mem::take(&mut self.timed) {
            let Some(host) = self.hosts.get_mut(at).and_then(Option::as_mut) else { continue };
            let due = host.pass_time(now_ns);
            host.timed = host.endpoint().poll_timeout().is_some();
            if host.timed {
                self.timed.push(at);
            }
            if due {
                self.wants_to_speak(at);
            }
        }
    }
}
