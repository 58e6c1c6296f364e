//! A member with an outside and an inside port, and the two hosts' ends of their wires.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dpdk::mempool::MempoolConfig;
use dpdk::{Burst, Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};
use phalanx_dataplane::filter::Scheme;
use phalanx_dataplane::ipsec::gateway::GatewayConfig;
use phalanx_dataplane::port::{Delivery, Interface, PortSpec, Role, RouteSpec};
use phalanx_dataplane::steer::{Mode, Notice, Order, View};
use phalanx_dataplane::unit::{MemberId, UNITS};
use phalanx_dataplane::wire::MacAddr;
use phalanx_dataplane::worker::{Clock, Dataplane, DataplaneConfig, Idle, ProbationTimes, WorkerOrder};
use phalanx_dataplane::{neighbour, steer};

static STAGES: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The pools of all stages so far: pools outlive what took buffers from them.
    static POOLS: RefCell<Vec<Mempool>> = const { RefCell::new(Vec::new()) };
}

/// With a stage goes everything that held packets: workers, tables, queues, rings. Each buffer must have come back.
pub(crate) fn assert_no_buffer_is_out() {
    POOLS.with_borrow_mut(|pools| {
        for pool in pools.drain(..) {
            assert_eq!(pool.in_use(), 0, "buffers of {pool:?} are still out");
        }
    });
}

pub(crate) const OUTSIDE: usize = 0;
pub(crate) const INSIDE: usize = 1;
/// No scene waits for a timer, and none is to be late for one, however busy the machine is.
const LONG_NS: u64 = 1_000_000_000_000;
/// Another member's ports.
pub(crate) const PEER_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 2, 2]];

pub(crate) fn member(number: u8) -> MemberId {
    MemberId::new(number).expect("a number")
}

struct Wire {
    rx: Vec<RxQueue>,
    tx: TxQueue,
    port: Port,
}

pub(crate) struct Stage {
    pub(crate) data: Dataplane,
    wires: Vec<Wire>,
    pool: Mempool,
    version: u64,
}

fn interface(text: &str, prefix_len: u8) -> Interface {
    Interface { address: text.parse().expect("an address"), prefix_len }
}

/// What scenes choose of a port. Its networks are `10.NET.0.0/24` and `fd00:NET::/64`.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    pub(crate) role: Role,
    pub(crate) net: u8,
    pub(crate) mtu: u16,
    pub(crate) vlan: Option<u16>,
}

fn port(number: usize, device: String, side: Side, queues: u16) -> PortSpec {
    let Side { role, net, mtu, vlan } = side;
    PortSpec {
        name: format!("port{number}"),
        device,
        role,
        vlan,
        mtu,
        queues,
        cluster_addresses: vec![interface(&format!("10.{net}.0.10"), 24), interface(&format!("fd00:{net}::10"), 64)],
        unit_addresses: vec![interface(&format!("10.{net}.0.1"), 24), interface(&format!("fd00:{net}::1"), 64)],
    }
}

impl Stage {
    pub(crate) fn new(eal: &Eal, delivery: Delivery, inside_mtu: u16) -> Self {
        Self::with_workers(eal, delivery, inside_mtu, 1, 1)
    }

    pub(crate) fn with_workers(eal: &Eal, delivery: Delivery, inside_mtu: u16, workers: usize, queues: u16) -> Self {
        let outside = Side { role: Role::Outside, net: 2, mtu: 1500, vlan: None };
        let inside = Side { role: Role::Inside, net: 3, mtu: inside_mtu, vlan: None };
        Self::with_sides(eal, delivery, &[outside, inside], workers, queues)
    }

    /// A member with these ports, the first of which leads to all other networks.
    pub(crate) fn with_sides(eal: &Eal, delivery: Delivery, sides: &[Side], workers: usize, queues: u16) -> Self {
        Self::open(eal, delivery, sides, [workers, queues.into()], None)
    }

    /// With two workers, and IKE.
    pub(crate) fn with_gateway(eal: &Eal, gateway: GatewayConfig) -> Self {
        let outside = Side { role: Role::Outside, net: 2, mtu: 1500, vlan: None };
        let inside = Side { role: Role::Inside, net: 3, mtu: 1500, vlan: None };
        Self::open(eal, Delivery::Forward, &[outside, inside], [2, 2], Some(gateway))
    }

    fn open(
        eal: &Eal,
        delivery: Delivery,
        sides: &[Side],
        [workers, queues]: [usize; 2],
        gateway: Option<GatewayConfig>,
    ) -> Self {
        let queues = queues as u16;
        let number = STAGES.fetch_add(1, Relaxed);
        let socket = |port| format!("phalanx-test-{}-{number}-{port}", std::process::id());
        let device = |end: &str, role: &str, port: usize| {
            let id = number * 4 + port as u32;
            format!("net_memif_{end}{id},role={role},id={id},socket={},socket-abstract=yes", socket(port))
        };
        let ports = sides.iter().enumerate();
        let ports = ports.map(|(at, side)| port(at, device("m", "server", at), *side, queues)).collect();
        let config = DataplaneConfig {
            me: member(1),
            delivery,
            scheme: Scheme::Steered,
            key: [7; 16],
            ports,
            routes: vec![RouteSpec {
                to: interface("0.0.0.0", 0),
                via: Some("10.2.0.254".parse().expect("an address")),
                port: OUTSIDE as u8,
            }],
            workers,
            idle: Idle::Spin,
            mbufs: 1023,
            large_tables: false,
            routes_max: 64,
            steering: steer::Limits { hold_ns: LONG_NS, hold_own_ns: LONG_NS, ..steer::Limits::default() },
            recent_ns: LONG_NS,
            neighbours: neighbour::Limits {
                request_interval_ns: LONG_NS,
                reachable_ns: LONG_NS,
                ..neighbour::Limits::default()
            },
            reassembly_max: 64,
            probation: ProbationTimes { quiet_ns: LONG_NS, probation_ns: LONG_NS },
            replica_key: [0; 16],
            verify_ns: 0,
            relay: None,
            gateway,
            epoch_s: 0,
            seed: 1,
        };
        let data = Dataplane::open(eal, &config, Clock::start(), Arc::new(|| {})).expect("a data path");
        let hosts = MempoolConfig::new(format!("hosts{number}"), 511);
        let pool = Mempool::create(eal, &hosts).expect("a pool");
        POOLS.with_borrow_mut(|pools| pools.extend([data.pool, pool]));
        let wires = (0..sides.len()).map(|at| Wire::open(eal, &device("h", "client", at), pool, queues)).collect();
        let mut stage = Self { data, wires, pool, version: 0 };
        stage.wait_for_links();
        // The client's end offers buffers to the server's when it first looks for frames.
        stage.collect_all();
        stage.data.shared.lease_until_ns.store(u64::MAX, Relaxed);
        stage
    }

    /// The two ends of a shared-memory wire find each other in the background, the host's end last.
    fn wait_for_links(&self) {
        let ends = self.data.ports.iter().chain(self.wires.iter().map(|wire| &wire.port));
        wait_until("the wires are up", || ends.clone().all(|port| port.link().is_ok_and(|link| link.up)));
    }

    /// Works until something is so.
    pub(crate) fn work_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        wait_until(what, || {
            self.work();
            is_so(self)
        });
    }

    pub(crate) fn mac(&self, port: usize) -> MacAddr {
        MacAddr(self.data.macs[port])
    }

    /// Sends frames from a host, lets the worker work, and returns what the two hosts then receive.
    pub(crate) fn exchange(&mut self, port: usize, frames: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
        self.send_only(port, frames);
        self.work();
        self.collect()
    }

    /// Sends frames from a host.
    pub(crate) fn send_only(&mut self, port: usize, frames: &[Vec<u8>]) {
        for frame in frames {
            let mut burst = Burst::<32>::new();
            burst.push(self.pool.alloc_from(frame).expect("a buffer")).expect("room");
            assert_eq!(self.wires[port].tx.send(&mut burst), 1, "the wire takes a frame");
        }
    }

    pub(crate) fn work(&mut self) {
        let mut empty = 0;
        while empty < 3 {
            let count: usize = self.data.workers.iter_mut().map(|w| w.poll_once()).sum();
            empty = if count == 0 { empty + 1 } else { 0 };
        }
    }

    pub(crate) fn collect(&mut self) -> [Vec<Vec<u8>>; 2] {
        self.collect_all().try_into().expect("two ports")
    }

    /// What came out of each port.
    pub(crate) fn collect_all(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut all = vec![Vec::new(); self.wires.len()];
        for (frames, wire) in all.iter_mut().zip(&mut self.wires) {
            let mut burst = Burst::<32>::new();
            for queue in &mut wire.rx {
                while queue.receive(&mut burst) > 0 {
                    frames.extend(burst.drain().map(|m| m.data().to_vec()));
                }
            }
        }
        all
    }

    pub(crate) fn order(&mut self, order: WorkerOrder) {
        for handle in &mut self.data.handles {
            handle.order(order.clone()).expect("the worker obeys");
        }
        self.work();
    }

    /// Puts all units into one mode.
    pub(crate) fn set_all(&mut self, mode: Mode, answers: bool) {
        self.set(vec![mode; UNITS], answers);
    }

    /// The next view.
    pub(crate) fn view(&mut self, modes: Vec<Mode>, answers: bool) -> View {
        self.version += 1;
        let peers = vec![Some(self.data.macs.clone()), Some(PEER_MACS.to_vec())];
        View { version: self.version, modes, answers, peers, holders: None, heir: None }
    }

    pub(crate) fn set(&mut self, modes: Vec<Mode>, answers: bool) {
        let view = self.view(modes, answers);
        self.order(WorkerOrder::Steer(Order::View(view)));
        let applied = std::iter::from_fn(|| self.data.handles[0].poll_notice());
        let wanted = self.version;
        assert!(applied.last().is_some_and(|n| matches!(n, Notice::Applied { version, .. } if version == wanted)));
    }

    /// Every packet that came in is accounted for.
    pub(crate) fn assert_balance(&self) {
        let (came, went) = self.data.shared.balance();
        assert_eq!(came, went, "{:?}", self.drops());
    }

    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        use phalanx_dataplane::drop_reason::DropReason;
        let counted = DropReason::ALL.iter().map(|r| (r.name(), self.data.shared.dropped(*r)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    #[allow(clippy::disallowed_methods, reason = "a test that waits for real time or a background thread")]
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute, but not yet: {what}");
        std::thread::yield_now();
    }
}

impl Wire {
    fn open(eal: &Eal, device: &str, pool: Mempool, queues: u16) -> Self {
        let mut port = Port::open(eal, device).expect("a wire");
        let (rx_queues, tx_queues) = (queues, queues);
        let config =
            PortConfig { rx_queues, tx_queues, rx_checksums: false, tx_checksums: false, ..PortConfig::default() };
        let mut queues = port.start(&config, pool).expect("a started wire");
        Self { rx: queues.rx, tx: queues.tx.remove(0), port }
    }
}
