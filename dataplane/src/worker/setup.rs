//! Making the data path: pools, ports, rings, and one [`Worker`] per thread, from plain descriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use dpdk::mempool::{DATA_ROOM, HEADROOM, MempoolConfig};
use dpdk::reassembly::{Reassembler, ReassemblyConfig};
use dpdk::wait::WaitSet;
use dpdk::{Eal, Mempool, Port};

use super::commit_lag::CommitLag;
use super::errands::Errands;
use super::fast::Gate;
use super::fragment_ids::FragmentIds;
use super::handover::Handover;
use super::holdings::Holdings;
use super::news::NewsRings;
use super::path::{Fresh, Path, PortPath};
use super::recent::Recent;
use super::routes::{Cache, RouteError, Routes};
use super::transmit::Transmitter;
use super::verify::Verifier;
use super::wholes::Wholes;
use super::{Addresses, Clock, Look, ProbationTimes, Receive, Shared, Wake, Worker, WorkerHandle, WorkerLink, link};
use crate::filter::{Filter, Scheme};
use crate::icmp_error::TokenBucket;
use crate::ipsec::gateway::{Book, Gateway, GatewayConfig, SessionDesk, TapReader, desk, taps};
use crate::local::Origin;
use crate::neighbour;
use crate::port::{Delivery, OpenError, OpenPort, PortIndex, PortSpec, RouteSpec, open};
use crate::relay::{Relay, RelayConfig};
use crate::replica::{DigestKey, Outbox, OutboxLimits, Snapshots, Store, StoreLimits};
use crate::steer::{self, Steering};
use crate::unit::MemberId;
use crate::wire::{MacAddr, VlanId};

/// ICMP errors per second and at once, per worker.
const ERRORS_PER_S: u32 = 1000;
const ERRORS_BURST: u32 = 100;
/// Cluster frames per second and at once that one worker hands up: 32 members on 4 ports every millisecond are 128,000.
const CLUSTER_FRAMES_PER_S: u32 = 200_000;
const CLUSTER_FRAMES_BURST: u32 = 256;
/// Buffers for packets put together from fragments.
const LARGE_BUFFERS: u32 = 63;
/// Tunnels of IKE's that a crypto device has room for.
const IKE_TUNNELS_MAX: u32 = 8192;
/// How long a fragmented packet may take to come together.
const REASSEMBLY_S: u64 = 5;

/// What a worker does when no packets come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Idle {
    /// Polls on.
    Spin,
    /// Sleeps until the port's descriptor says that there is something.
    Interrupt,
    /// Sleeps for a short, fixed time.
    Sleep,
}

/// Everything that the data path needs to know.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// This member.
    pub me: MemberId,
    /// How packets come in.
    pub delivery: Delivery,
    /// How packets become units.
    pub scheme: Scheme,
    /// The steered scheme's key, from the cluster's secret.
    pub key: [u8; 16],
    /// The ports, in the configuration's order.
    pub ports: Vec<PortSpec>,
    /// Static routes.
    pub routes: Vec<RouteSpec>,
    /// How many workers.
    pub workers: usize,
    /// What they do when idle.
    pub idle: Idle,
    /// Packet buffers of the process.
    pub mbufs: u32,
    /// Whether the route tables may take 64 MiB each for speed.
    pub large_tables: bool,
    /// Static routes at most.
    pub routes_max: u32,
    /// Bounds of holding.
    pub steering: steer::Limits,
    /// How long a packet to another member's session is kept in case that its owner is dead: longer than it takes to notice.
    pub recent_ns: u64,
    /// Bounds of neighbours.
    pub neighbours: neighbour::Limits,
    /// Datagrams under reassembly at most, per worker.
    pub reassembly_max: u32,
    /// When a silent port is doubted.
    pub probation: ProbationTimes,
    /// The key of the digests by which members compare what they hold of sessions, from the cluster's secret.
    pub replica_key: [u8; 16],
    /// How long it takes to compare every unit's sessions with its backups' once; 0: never.
    pub verify_ns: u64,
    /// The relays; none: no app of that kind.
    pub relay: Option<RelayConfig>,
    /// The tunnels; none: no app of that kind.
    pub gateway: Option<GatewayConfig>,
    /// The wall clock, in seconds since 1970, when the common clock was at zero.
    pub epoch_s: u64,
    /// A secret that keeps outsiders from choosing addresses that collide in tables.
    pub seed: u64,
}

/// Why the data path could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A port.
    #[error(transparent)]
    Port(#[from] OpenError),
    /// A route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// DPDK.
    #[error("setting up the data path: {0}")]
    Dpdk(#[from] dpdk::Error),
    /// No ports, or more than there may be.
    #[error("{0} data ports: there must be at least one, and at most {max}", max = crate::port::PORTS_MAX)]
    Ports(usize),
}

/// The data path, ready to run: move each worker to a thread of its own.
pub struct Dataplane {
    /// The workers.
    pub workers: Vec<Worker>,
    /// The cluster thread's ends of their rings, in the same order.
    pub handles: Vec<WorkerHandle>,
    /// Counters and deadlines.
    pub shared: Arc<Shared>,
    /// The ports, for statistics and link state.
    pub ports: Vec<Port>,
    /// The ports' own hardware addresses, in order: what the other members must know.
    pub macs: Vec<[u8; 6]>,
    /// The pool of packet buffers, for checks of leaks.
    pub pool: Mempool,
    /// The desks at which the workers ask who speaks IKE, in the workers' order; none, if nobody does ([`GatewayConfig::ike`]).
    pub desks: Vec<SessionDesk>,
    /// Where what passes through tunnels can be looked at; none without tunnels.
    pub tap: Option<TapReader>,
    /// What an operator should know: what the devices do otherwise than the configuration says.
    pub warnings: Vec<String>,
}

impl Dataplane {
    /// Opens the ports and makes the workers. `wake_cluster` is called whenever a worker has something to tell.
    pub fn open(eal: &Eal, config: &DataplaneConfig, clock: Clock, wake_cluster: Wake) -> Result<Self, SetupError> {
        if config.ports.is_empty() || config.ports.len() > crate::port::PORTS_MAX {
            return Err(SetupError::Ports(config.ports.len()));
        }
        let workers = config.workers.max(1);
        let pools = Pools::create(eal, config)?;
        let mut ports = Vec::new();
        for spec in &config.ports {
            let interrupts = config.idle == Idle::Interrupt;
            ports.push(open(eal, spec, config.delivery, workers as u16, interrupts, pools.ordinary)?);
        }
        let macs: Vec<[u8; 6]> = ports.iter().map(|p| p.mac).collect();
        let relays = config.relay.as_ref().map_or(0, |relay| relay.relays.len());
        let tunnels = config.gateway.as_ref().map_or(0, |gateway| gateway.tunnels.len());
        let shared = Arc::new(Shared::new(workers, ports.len(), relays, tunnels));
        shared.epoch_s.store(config.epoch_s, Relaxed);
        let waits = (0..workers).map(|_| WaitSet::new()).collect::<dpdk::Result<Vec<_>>>()?;
        let wakes: Vec<Wake> = waits.iter().map(wake_of).collect();
        let handovers = Handover::mesh(eal, &wakes)?;
        let mut news = NewsRings::mesh(&wakes);
        let mut ways = Vec::new();
        for (port, open) in ports.iter_mut().enumerate() {
            ways.push(Transmitter::deal(eal, std::mem::take(&mut open.queues.tx), &wakes, port)?.into_iter());
        }
        let mut books = Book::mesh(&wakes);
        let sas = |gateway: &GatewayConfig| tunnels as u32 + if gateway.ike.is_some() { IKE_TUNNELS_MAX } else { 0 };
        let engine = config.gateway.as_ref().map(|gateway| gateway.engine.open(eal, sas(gateway))).transpose()?;
        let mut desks = Vec::new();
        let (taps, tap) = config.gateway.as_ref().map(|_| taps(workers)).unzip();
        let mut taps = taps.unwrap_or_default().into_iter();
        let mut made = Vec::new();
        let mut handles = Vec::new();
        for (index, (wait, handover)) in waits.into_iter().zip(handovers).enumerate() {
            let (handle, link) = link(wakes[index].clone(), wake_cluster.clone());
            let parts = Parts { eal, config, clock, index, pools: &pools, shared: &shared };
            let ways = ways.iter_mut().filter_map(Iterator::next).collect();
            let mut worker = parts.worker(wait, handover, link, &mut ports, ways)?;
            worker.path.news = std::mem::take(&mut news[index]);
            worker.path.book = std::mem::take(&mut books[index]);
            if let Some(relay) = &config.relay {
                worker.add_app(Box::new(Relay::new(relay.clone(), shared.relays.clone())));
            }
            if let Some((gateway, engine)) = config.gateway.as_ref().zip(engine.as_ref()) {
                let mut app = Gateway::new(gateway.clone(), Arc::clone(engine), shared.tunnels.clone());
                if let Some(wake) = &gateway.ike {
                    let (desk, session) = desk(wakes[index].clone(), wake.clone());
                    app = app.with_desk(desk, Arc::clone(&shared.ike));
                    desks.push(session.listen(worker.path.book.tell_too(wake.clone())));
                }
                if let Some(tap) = taps.next() {
                    app = app.with_tap(tap);
                }
                worker.add_app(Box::new(app));
            }
            made.push(worker);
            handles.push(handle);
        }
        let warnings = ports.iter_mut().flat_map(|p| std::mem::take(&mut p.warnings)).collect();
        let ports = ports.into_iter().map(|p| p.port).collect();
        Ok(Self { workers: made, handles, shared, ports, macs, pool: pools.ordinary, desks, tap, warnings })
    }
}

fn wake_of(wait: &WaitSet) -> Wake {
    let waker = wait.waker();
    Arc::new(move || waker.wake())
}

struct Pools {
    ordinary: Mempool,
    large: Mempool,
}

impl Pools {
    fn create(eal: &Eal, config: &DataplaneConfig) -> dpdk::Result<Self> {
        let longest = config.ports.iter().map(|p| p.mtu).max().unwrap_or(1500);
        // An Ethernet header with a tag, and room for a driver that rounds up.
        let room = HEADROOM.saturating_add(longest).saturating_add(64).max(DATA_ROOM);
        // Pools live as long as the process, and their names with them.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        let ordinary = MempoolConfig::new(format!("packets{number}"), config.mbufs);
        let ordinary = MempoolConfig { data_room: room, ..ordinary };
        let large = MempoolConfig::new(format!("large{number}"), LARGE_BUFFERS);
        let large = MempoolConfig { data_room: u16::MAX, cache: 0, ..large };
        Ok(Self { ordinary: Mempool::create(eal, &ordinary)?, large: Mempool::create(eal, &large)? })
    }
}

/// What one worker is made of.
struct Parts<'a> {
    eal: &'a Eal,
    config: &'a DataplaneConfig,
    clock: Clock,
    index: usize,
    pools: &'a Pools,
    shared: &'a Arc<Shared>,
}

impl Parts<'_> {
    fn worker(
        &self,
        mut wait: WaitSet,
        handover: Handover,
        link: WorkerLink,
        ports: &mut [OpenPort],
        ways: Vec<Transmitter>,
    ) -> Result<Worker, SetupError> {
        let config = self.config;
        let mut rx = Vec::new();
        let mut hears_all = true;
        for (port, open) in ports.iter_mut().enumerate() {
            for queue in self.take_queues(open) {
                let heard = wait.add_queue(&queue);
                hears_all &= heard.is_ok();
                rx.push(Receive { queue, port: port as PortIndex });
            }
        }
        Ok(Worker {
            me: config.me,
            index: self.index,
            workers: config.workers.max(1),
            clock: super::clock::Ticker::new(self.clock, dpdk::clock::Rate::of(self.eal)),
            rate: dpdk::clock::Rate::of(self.eal),
            filter: Filter::new(config.scheme, config.key),
            steering: Steering::new(config.me, config.steering),
            look: Look::default(),
            bound: super::tunnelled::Bound::default(),
            path: self.path(ports, ways)?,
            rx,
            link,
            handover,
            cluster_frames: TokenBucket::new(CLUSTER_FRAMES_PER_S, CLUSTER_FRAMES_BURST, 0),
            probation: config.probation,
            idle: config.idle,
            replica: None,
            snapshots: Snapshots::new(),
            wait,
            hears_all,
            epoch_ns: 0,
            put_off: 0,
            stopping: false,
        })
    }

    /// A port's queues are dealt out to the workers in turn.
    fn take_queues(&self, open: &mut OpenPort) -> Vec<dpdk::RxQueue> {
        let workers = self.config.workers.max(1);
        let all = std::mem::take(&mut open.queues.rx);
        let (mine, others) = all.into_iter().partition(|q| usize::from(q.index()) % workers == self.index);
        open.queues.rx = others;
        mine
    }

    fn path(&self, ports: &[OpenPort], ways: Vec<Transmitter>) -> Result<Path, SetupError> {
        let config = self.config;
        let layout = match config.large_tables {
            true => dpdk::fib::Layout::Direct { groups: config.routes_max.clamp(256, 32_768) },
            false => dpdk::fib::Layout::Tree,
        };
        let name = format!("worker{}", self.index);
        let mut routes = Routes::new(self.eal, &name, config.routes_max, layout, &config.ports)?;
        routes.replace(&config.routes)?;
        let reassembly = ReassemblyConfig {
            packets_max: config.reassembly_max,
            timeout_cycles: dpdk::clock::Rate::of(self.eal).to_cycles(REASSEMBLY_S * 1_000_000_000),
            socket: None,
        };
        let shares_queues = ways.iter().any(Transmitter::is_shared);
        let paths = ports.iter().zip(ways).enumerate();
        let paths = paths.map(|(port, (open, way))| self.port_path(port, open, way)).collect();
        Ok(Path {
            me: config.me,
            worker: self.index,
            now_ns: 0,
            lease_ok: false,
            delivery: config.delivery,
            shared: self.shared.clone(),
            counters: self.shared.workers[self.index].clone(),
            pool: self.pools.ordinary,
            large: self.pools.large,
            errands: Errands::new(),
            addresses: Addresses::new(&config.ports),
            ports: paths,
            shares_queues,
            routes,
            cache: Cache::default(),
            neighbours: neighbour::Table::new(config.neighbours, config.seed ^ self.index as u64),
            news: NewsRings::default(),
            actions: Vec::with_capacity(config.neighbours.queue_max + config.neighbours.own_max + 64),
            reassembler: Reassembler::create(self.eal, &reassembly)?,
            fragment_ids: FragmentIds::default(),
            wholes: Wholes::new(),
            holders: None,
            errors: TokenBucket::new(ERRORS_PER_S, ERRORS_BURST, 0),
            apps: Vec::new(),
            book: Book::default(),
            tunnels_app: 0,
            holdings: Holdings::new(
                config.me,
                self.index,
                self.shared.workers.len(),
                Outbox::new(OutboxLimits::default()),
                Store::new(DigestKey::new(config.replica_key), StoreLimits::default()),
            ),
            recent: Recent::new(config.steering.held_max, config.recent_ns),
            commit_lag: CommitLag::default(),
            verifier: Verifier::new(config.verify_ns),
            answers: false,
            peers: Vec::new(),
            fresh: Fresh::NONE,
            sampled: None,
            member_filter: 0,
        })
    }

    fn port_path(&self, port: usize, open: &OpenPort, tx: Transmitter) -> PortPath {
        let spec = &self.config.ports[port];
        let mac = open.mac;
        PortPath {
            origin: Origin { mac: MacAddr(mac), vlan: spec.vlan.and_then(VlanId::new) },
            vlan: spec.vlan,
            mtu: spec.mtu,
            gate: Gate::new(mac, self.config.delivery.shared_mac(), spec.vlan.is_some()),
            tx,
            link_up: true,
        }
    }
}
