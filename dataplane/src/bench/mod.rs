//! How fast one worker is: the production worker, fed by a device that never runs dry.
//!
//! Nothing here is a faster double of the packet path: [`Bench`] opens a real [`Dataplane`] with two ports and one
//! worker, gives it the view that makes every packet meet the fate under test, and calls [`Worker::poll_once`] as the
//! worker's own loop does. Only [`Work::Classify`], which ends where the steering would begin, has a loop of its own.
//!
//! | work | view | a packet's fate |
//! | --- | --- | --- |
//! | discard | no unit is ours, and we are not the master | dropped as somebody else's: the cluster's overhead |
//! | classify | – | its unit is found and counted |
//! | forward | all units are ours | routed to the other port, through a gateway |
//! | esp-encrypt | all units are ours | sealed, and routed to the other port |
//! | esp-decrypt | all units are ours | opened, its number new in the replay window, and routed to the other port |
//! | master-forward | we are the master, all units are another member's | passed on to that member |
//!
//! | file | what |
//! | --- | --- |
//! | `flows` | the packets, and a capture file of them |
//! | `tunnels`, `peer` | the tunnels that they go into, and their other ends |
//! | `classify` | the loop of its own |
//! | `figures` | from counts to rates |

mod classify;
mod figures;
pub mod flows;
mod peer;
mod tunnels;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::alloc_count::thread_allocations;
use dpdk::clock::{Rate, cycles};
use dpdk::{Burst, Eal, Mempool};

pub use figures::Figures;
pub use tunnels::{SAS_MAX, TunnelsPlan};

use crate::drop_reason::DropReason;
use crate::filter::Scheme;
use crate::ipsec::gateway::TunnelCounters;
use crate::port::{Delivery, Interface, PortIndex, PortSpec, Role, RouteSpec};
use crate::steer::{Mode, Order, View};
use crate::unit::{MemberId, UNITS};
use crate::wire::MacAddr;
use crate::worker::{Clock, Dataplane, DataplaneConfig, Idle, ProbationTimes, SetupError, Stuck, Worker, WorkerOrder};
use crate::{neighbour, steer};
use classify::Classifier;
use peer::Peers;

/// The port that packets come in by.
const FROM: PortIndex = 0;
/// The port that routed packets leave by.
const TO: PortIndex = 1;
/// Rounds between two looks at the time.
const ROUNDS: usize = 128;
/// The same where buffers must be filled anew: the few that go round and round lose one hop of 255 each time.
const PRIMED_ROUNDS: usize = 64;
/// Buffers of the pool: those that a capture file of 4096 packets stays in, and what is on its way.
const BUFFERS: u32 = 16_383;
/// The gateway of all routed packets.
const GATEWAY: [u8; 4] = [10, 3, 0, 254];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 3, 0xfe];
/// The cluster's address on the way to the tunnels' other ends.
const CLUSTER: [u8; 4] = [10, 3, 0, 10];
/// The other member's ports.
const PEER_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 2, 2]];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Work {
    /// Receive and drop packets that others own.
    Discard,
    /// Receive, find the unit, count, drop.
    Classify,
    /// Route packets that this member owns.
    Forward,
    /// Pass packets on to their owner, as the master does.
    MasterForward,
    /// Seal packets, and route them.
    EspEncrypt,
    /// Open packets, no two with one number, and route them.
    EspDecrypt,
}

impl Work {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Classify => "classify",
            Self::Forward => "forward",
            Self::MasterForward => "master-forward",
            Self::EspEncrypt => "esp-encrypt",
            Self::EspDecrypt => "esp-decrypt",
        }
    }

    const fn mode(self) -> Mode {
        match self {
            Self::Discard | Self::Classify => Mode::Drop,
            Self::Forward | Self::EspEncrypt | Self::EspDecrypt => Mode::Mine,
            Self::MasterForward => Mode::Relay(PEER),
        }
    }
}

const fn member(number: u8) -> MemberId {
    match MemberId::new(number) {
        Some(member) => member,
        None => panic!("a member's number"),
    }
}

const ME: MemberId = member(1);
const PEER: MemberId = member(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is measured.
    pub work: Work,
    /// The device that packets come from, as a DPDK device string.
    pub source: String,
    /// The device that routed packets go to.
    pub sink: String,
    /// The hardware address that the packets are for: it becomes the cluster's shared one.
    pub address: [u8; 6],
    /// How units are found.
    pub scheme: Scheme,
    /// What packets are sealed for, if they are.
    pub tunnels: Option<TunnelsPlan>,
    /// Frames to fill the buffers with, for a source that leaves their content as it finds it (`net_null`).
    pub priming: Vec<Vec<u8>>,
    /// Plain frames whose answers the tunnels' other ends seal into the buffers of such a source.
    pub answers: Vec<Vec<u8>>,
}

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Setting up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// DPDK.
    #[error("{0}")]
    Dpdk(#[from] dpdk::Error),
    /// A port.
    #[error(transparent)]
    Port(#[from] crate::port::OpenError),
    /// The worker takes no orders.
    #[error(transparent)]
    Stuck(#[from] Stuck),
    /// The source gave nothing for a second.
    #[error("no packet came from the source in a second: is the capture file empty?")]
    NoPackets,
    /// Packets met another fate than the one measured.
    #[error(
        "{count} of {of} packets were not ordinary ({reason}): the figures would not be those of the work asked for"
    )]
    OtherFate {
        /// How many.
        count: u64,
        /// Of how many.
        of: u64,
        /// What most of them were dropped for.
        reason: DropReason,
    },
}

enum Kernel {
    Worker { worker: Box<Worker>, data: Dataplane },
    Classify(Box<Classifier>),
}

/// A benchmark, ready to run on the thread that made it (or any other that is registered with DPDK).
pub struct Bench {
    work: Work,
    kernel: Kernel,
    rate: Rate,
    pool: Mempool,
    /// The gateway's hardware address.
    gateway: [u8; 6],
    priming: Vec<Vec<u8>>,
    peers: Option<Peers>,
    next: usize,
}

impl Bench {
    /// Opens the devices and brings the worker into the state under test.
    pub fn open(eal: &Eal, plan: &Plan) -> Result<Self, BenchError> {
        let config = config(plan);
        // Buffers that come back as they left must still be for us.
        let returns = !plan.priming.is_empty();
        let gateway = if returns { plan.address } else { GATEWAY_MAC };
        let (kernel, pool) = if plan.work == Work::Classify {
            let classifier = Classifier::open(eal, &config, BUFFERS)?;
            let pool = classifier.pool;
            (Kernel::Classify(Box::new(classifier)), pool)
        } else {
            let mut data = Dataplane::open(eal, &config, Clock::start(), Arc::new(|| {}))?;
            data.shared.lease_until_ns.store(u64::MAX, Relaxed);
            data.shared.incarnation.store(1, Relaxed);
            let mode = plan.work.mode();
            let peers = vec![None, Some(if returns { vec![plan.address; 2] } else { PEER_MACS.to_vec() })];
            let answers = plan.work == Work::MasterForward;
            let view = View { version: 1, modes: vec![mode; UNITS], answers, peers, holders: None, heir: None };
            data.handles[0].order(WorkerOrder::Steer(Order::View(view)))?;
            let pool = data.pool;
            (Kernel::Worker { worker: Box::new(data.workers.remove(0)), data }, pool)
        };
        let (work, priming) = (plan.work, plan.priming.clone());
        let answering = plan.tunnels.filter(|_| !plan.answers.is_empty());
        let peers = answering.and_then(|tunnels| Peers::new(tunnels, CLUSTER, &plan.answers));
        let mut bench = Self { work, kernel, rate: Rate::of(eal), pool, gateway, priming, peers, next: 0 };
        bench.prime(BUFFERS as usize / 2);
        Ok(bench)
    }

    /// Runs for so many seconds; `live` hears the figures of each. A moment of warming up comes first and is not counted.
    pub fn run(&mut self, seconds: u32, live: &mut dyn FnMut(u32, &Figures)) -> Result<Figures, BenchError> {
        self.stretch(self.rate.hz() / 5);
        let before = self.kernel.fates();
        let mut total = Figures::new(self.rate);
        for second in 1..=seconds {
            let figures = self.stretch(self.rate.hz());
            if figures.packets == 0 {
                return Err(BenchError::NoPackets);
            }
            total.add(&figures);
            live(second, &figures);
        }
        let after = self.kernel.fates();
        self.check(total.packets, before, after)?;
        Ok(total)
    }

    /// Works for so many cycles.
    fn stretch(&mut self, for_cycles: u64) -> Figures {
        if let Kernel::Worker { worker, .. } = &mut self.kernel {
            worker.introduce(TO, GATEWAY.into(), MacAddr(self.gateway));
        }
        let mut figures = Figures::new(self.rate);
        let (rounds, buffers) = match (&self.peers, self.work, self.priming.is_empty()) {
            // What was sealed for one burst has been opened, and what was plain is sealed.
            (Some(_), ..) | (None, Work::EspEncrypt, false) => (1, crate::worker::BURST),
            (None, _, true) => (ROUNDS, 0),
            (None, _, false) => (PRIMED_ROUNDS, 2 * crate::worker::BURST),
        };
        while figures.cycles < for_cycles {
            let (allocations, begin) = (thread_allocations(), cycles());
            let mut packets = 0;
            for _ in 0..rounds {
                packets += self.kernel.poll();
            }
            figures.cycles += cycles().saturating_sub(begin);
            figures.packets += packets as u64;
            figures.allocations += thread_allocations() - allocations;
            // The same few buffers come round again, and what was forwarded has changed: not part of what is measured.
            self.prime(buffers);
        }
        figures
    }

    /// Fills the buffers that the source will use next.
    fn prime(&mut self, count: usize) {
        if let Some(peers) = &mut self.peers {
            return peers.fill(self.pool);
        }
        if self.priming.is_empty() {
            return;
        }
        let mut bursts = Vec::new();
        for _ in 0..count.div_ceil(crate::worker::BURST) {
            let mut burst = Burst::<{ crate::worker::BURST }>::new();
            self.pool.fill(&mut burst);
            for mbuf in burst.iter_mut() {
                self.next = (self.next + 1) % self.priming.len();
                let Some(frame) = self.priming.get(self.next) else { return };
                if let Some(place) = mbuf.append(frame.len() as u16) {
                    place.copy_from_slice(frame);
                }
            }
            bursts.push(burst);
        }
    }

    /// Refuses figures of packets that met another fate. A hundredth may differ: an address may look like one of ours
    /// at first sight, and the first packets find an empty cache.
    fn check(&self, packets: u64, before: Fates, after: Fates) -> Result<(), BenchError> {
        let fit = match self.work {
            Work::Discard => after.not_owner - before.not_owner,
            Work::Classify => after.classified - before.classified,
            Work::Forward => after.forwarded - before.forwarded,
            Work::MasterForward => after.passed_on - before.passed_on,
            Work::EspEncrypt => after.sealed - before.sealed,
            Work::EspDecrypt => after.opened - before.opened,
        };
        let others = packets.saturating_sub(fit);
        if others > packets / 100 {
            return Err(BenchError::OtherFate { count: others, of: packets, reason: after.most });
        }
        Ok(())
    }
}

/// What became of packets, as far as it is asked.
#[derive(Clone, Copy)]
struct Fates {
    not_owner: u64,
    classified: u64,
    forwarded: u64,
    passed_on: u64,
    sealed: u64,
    opened: u64,
    /// The most frequent reason of drops that are not what is measured.
    most: DropReason,
}

impl Kernel {
    #[inline]
    fn poll(&mut self) -> usize {
        match self {
            Self::Worker { worker, .. } => worker.poll_once(),
            Self::Classify(classifier) => classifier.poll_once(),
        }
    }

    fn fates(&self) -> Fates {
        match self {
            Self::Classify(classifier) => Fates {
                not_owner: 0,
                classified: classifier.classified(),
                forwarded: 0,
                passed_on: 0,
                sealed: 0,
                opened: 0,
                most: DropReason::Malformed,
            },
            Self::Worker { data, .. } => {
                let worker = &data.shared.workers[0];
                let others = DropReason::ALL.iter().copied().filter(|r| *r != DropReason::NotOwner);
                let most = others.max_by_key(|r| worker.drops.get(*r)).unwrap_or(DropReason::Malformed);
                Fates {
                    not_owner: worker.drops.get(DropReason::NotOwner),
                    classified: 0,
                    forwarded: worker.forwarded.get(),
                    passed_on: worker.passed_on.get(),
                    sealed: data.shared.tunnels.iter().map(|tunnel| tunnel.packets_out.load(Relaxed)).sum(),
                    opened: data.shared.tunnels.iter().map(opened).sum(),
                    most,
                }
            }
        }
    }
}

/// Packets that came out of a tunnel and went on.
fn opened(tunnel: &TunnelCounters) -> u64 {
    tunnel.packets_in.load(Relaxed).saturating_sub(tunnel.not_sent.load(Relaxed))
}

fn port(name: &str, device: &str, role: Role, net: u8) -> PortSpec {
    let on = |host: u8| Interface { address: [10, net, 0, host].into(), prefix_len: 24 };
    PortSpec {
        name: name.into(),
        device: device.into(),
        role,
        vlan: None,
        mtu: 1500,
        queues: 1,
        cluster_addresses: vec![on(10)],
        unit_addresses: vec![on(1)],
    }
}

fn config(plan: &Plan) -> DataplaneConfig {
    let everywhere = Interface { address: [0, 0, 0, 0].into(), prefix_len: 0 };
    let shared = plan.address;
    let group = shared[0] & 1 == 1;
    DataplaneConfig {
        me: ME,
        delivery: if group { Delivery::Multicast(shared) } else { Delivery::Unicast(shared) },
        scheme: plan.scheme,
        key: *b"a key for tests.",
        ports: vec![port("from", &plan.source, Role::Outside, 2), port("to", &plan.sink, Role::Inside, 3)],
        routes: vec![RouteSpec { to: everywhere, via: Some(GATEWAY.into()), port: TO }],
        workers: 1,
        idle: Idle::Spin,
        mbufs: BUFFERS,
        large_tables: false,
        routes_max: 64,
        steering: steer::Limits::default(),
        recent_ns: 0,
        neighbours: neighbour::Limits::default(),
        reassembly_max: 64,
        probation: ProbationTimes { quiet_ns: u64::MAX, probation_ns: 0 },
        replica_key: [0; 16],
        verify_ns: 0,
        relay: None,
        gateway: plan.tunnels.map(|tunnels| tunnels.gateway(ME, CLUSTER)),
        epoch_s: 0,
        seed: 1,
    }
}
