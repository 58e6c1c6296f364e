//! A worker: one thread that polls ports and does with each packet what DESIGN section 5 (patent Figure 9) says.
//!
//! | file | what |
//! | --- | --- |
//! | `run` | the loop: poll, obey, timers, send, sleep |
//! | `fast`, `tunnelled`, `receive` | a burst's first look, and a second one for tunnels; one packet's careful look |
//! | `path`, `forward`, `ask`, `cluster` | acting on packets: deliver, route, answer, the members' own frames |
//! | `outlet`, `holdings` | what the apps may do, and when they are called; whose sessions are held |
//! | `recent` | other members' packets, kept until it is clear that their owner has not died on them |
//! | `routes`, `addresses`, `transmit`, `fragment_ids` | tables, buffers and numbers of those |
//! | `link`, `shared`, `replica_shared`, `in_sync`, `counter`, `clock` | what other threads see and say |
//! | `handover`, `lane`, `news` | rings between the workers of a member: packets to be processed, packets to be sent, what was learned of neighbours (and [`crate::ipsec::gateway`]'s of tunnels that come and go) |
//! | `setup` | making all of it from plain descriptions |
//!
//! Nothing here allocates, locks or calls the system per packet. (A clock is read and a burst is sent once per burst; a
//! frame of the members' own wakes the cluster thread.)

mod addresses;
mod ask;
mod clock;
pub mod cluster;
mod commit_lag;
mod counter;
mod errands;
mod fast;
mod forward;
mod fragment_ids;
mod handover;
mod holdings;
mod in_sync;
mod lane;
mod link;
mod news;
mod outlet;
mod packet;
mod path;
mod receive;
mod recent;
mod replica_shared;
mod routes;
mod run;
mod setup;
mod shared;
mod transmit;
mod tunnelled;
mod verify;
mod wholes;

pub use addresses::{Address, Addresses, Owner};
pub use clock::Clock;
pub use counter::{Counter, Histogram};
pub use fast::{BURST, Gate, Look};
pub use handover::worker_of;
pub use holdings::Holdings;
pub use in_sync::InSyncShared;
pub use link::{CLUSTER_FRAME_LEN_MAX, ClusterFrame, Stuck, Wake, WorkerHandle, WorkerLink, WorkerOrder, link};
pub use packet::{Packet, digest};
pub use replica_shared::ReplicaShared;
pub use routes::{Hop, RouteError, Routes};
pub use setup::{Dataplane, DataplaneConfig, Idle, SetupError};
pub use shared::{DropCounters, Loads, PortCounters, PortShared, ProbationTimes, Shared, UnitLoad, WorkerShared};

use std::net::IpAddr;

use dpdk::RxQueue;
use dpdk::wait::WaitSet;

use crate::app::App;
use crate::filter::Filter;
use crate::icmp_error::TokenBucket;
use crate::port::PortIndex;
use crate::replica::{Snapshots, WorkerPort};
use crate::steer::Steering;
use crate::unit::MemberId;
use crate::wire::MacAddr;

/// A worker. Move it to its thread and call [`Worker::run`].
pub struct Worker {
    me: MemberId,
    index: usize,
    workers: usize,
    clock: clock::Ticker,
    rate: dpdk::clock::Rate,
    filter: Filter,
    steering: Steering<Packet>,
    look: Look,
    bound: tunnelled::Bound,
    path: path::Path,
    rx: Vec<Receive>,
    link: WorkerLink,
    handover: handover::Handover,
    cluster_frames: TokenBucket,
    probation: ProbationTimes,
    idle: Idle,
    /// The way to the other members' stores, if sessions are replicated.
    replica: Option<WorkerPort>,
    snapshots: Snapshots,
    wait: WaitSet,
    /// Whether the wait set hears of packets on every queue; if not, sleeps are short.
    hears_all: bool,
    /// When the cache of destinations is next to be forgotten.
    epoch_ns: u64,
    /// Rounds that orders have waited for queues to run dry.
    put_off: u32,
    stopping: bool,
}

/// A receive queue that this worker polls.
struct Receive {
    queue: RxQueue,
    port: PortIndex,
}

impl Worker {
    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Adds a protocol handler, before the worker runs. Packets are offered to handlers in the order of adding.
    pub fn add_app(&mut self, app: Box<dyn App>) {
        if app.bears_repeats() {
            self.path.recent.reserve();
        }
        if let Some(policies) = app.policies() {
            self.path.book.begin(policies);
            self.path.tunnels_app = self.path.apps.len();
        }
        (0..=u8::MAX).filter(|number| app.watches(*number)).for_each(|number| self.path.holdings.store.watch(number));
        self.path.apps.push(app);
    }

    /// Lets other members hold the sessions of the apps here. Before the worker runs.
    pub fn replicate(&mut self, port: WorkerPort) {
        self.replica = Some(port);
    }

    /// Tells of a neighbour before it was asked for: benchmarks have nobody who would answer. Believed for as long as
    /// any answer ([`crate::neighbour::Limits::reachable_ns`]), then asked after like all others.
    pub fn introduce(&mut self, port: PortIndex, address: IpAddr, mac: MacAddr) {
        let now_ns = self.clock.now_ns();
        self.path.introduce(port, address, mac, now_ns);
    }

    /// How many packets it holds for units on their way.
    pub fn held(&self) -> usize {
        self.steering.held()
    }
}
