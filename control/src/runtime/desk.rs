//! What the management thread has at hand: the configuration, the notice board, the workers' counters, and the line to
//! the cluster thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam::channel::Sender;
use phalanx_config::Config;
use phalanx_dataplane::filter::Filter;
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::worker::{Clock, Shared};

use super::board::Board;
use super::capture::Window;
use super::lives::{Age, Lives};
use super::logging::Logging;
use super::member::Command;
use super::report::{Device, Sources};
use super::wake::Waker;
use crate::cluster::Time;
use crate::ike::Clerk;

/// One worker's share of busy time, sampled.
#[derive(Debug, Default)]
struct Busy {
    cycles: AtomicU64,
    permille: AtomicU64,
}

/// The desk.
pub(super) struct Desk {
    pub(super) on_it: Furniture,
    busy: Vec<Busy>,
    sampled_ns: AtomicU64,
    lives: Lives,
}

/// What a desk is made of.
pub(super) struct Furniture {
    pub(super) config: Config,
    pub(super) clock: Clock,
    /// What the workers find units with.
    pub(super) filter: Filter,
    pub(super) board: Arc<Board>,
    pub(super) shared: Arc<Shared>,
    pub(super) ports: Vec<dpdk::Port>,
    pub(super) macs: Vec<[u8; 6]>,
    pub(super) pool: dpdk::Mempool,
    pub(super) commands: Sender<Command>,
    pub(super) waker: Waker,
    pub(super) logging: Logging,
    pub(super) rate: dpdk::clock::Rate,
    /// Who is asked about IKE SAs; none: nobody speaks IKE here.
    pub(super) clerk: Option<Clerk>,
    /// Where what passes through tunnels can be seen; none: there are none.
    pub(super) window: Option<Window>,
}

impl Desk {
    pub(super) fn new(furniture: Furniture) -> Self {
        let busy = furniture.shared.workers.iter().map(|_| Busy::default()).collect();
        let sampled_ns = AtomicU64::new(furniture.clock.now_ns());
        let lives = Lives::new(furniture.config.static_sas.len());
        Self { on_it: furniture, busy, sampled_ns, lives }
    }

    /// Answers a question from the present state; none before the cluster thread's first round.
    pub(super) fn look<T>(&self, answer: impl FnOnce(&Sources<'_>) -> T) -> Option<T> {
        let posted = self.on_it.board.read()?;
        let devices: Vec<Device> =
            self.on_it.ports.iter().zip(&self.on_it.macs).map(|(port, mac)| device(port, *mac)).collect();
        let busy: Vec<f64> = self.busy.iter().map(|busy| busy.permille.load(Relaxed) as f64 / 1000.0).collect();
        let sources = Sources {
            config: &self.on_it.config,
            posted: &posted,
            shared: &self.on_it.shared,
            devices: &devices,
            busy: &busy,
            log_left_out: self.on_it.logging.left_out(),
            buffers_in_use: self.on_it.pool.in_use(),
            now: Time(self.on_it.clock.now_ns()),
        };
        Some(answer(&sources))
    }

    /// Gives the cluster thread a command; false if it takes none.
    #[must_use = "an order that is not taken has to be reported"]
    pub(super) fn command(&self, command: Command) -> bool {
        let taken = self.on_it.commands.try_send(command).is_ok();
        self.on_it.waker.wake();
        taken
    }

    /// Once a second: how busy each worker was since the last time, and what the operator is to know of tunnels.
    pub(super) fn sample(&self) {
        let now_ns = self.on_it.clock.now_ns();
        let passed_ns = now_ns.saturating_sub(self.sampled_ns.swap(now_ns, Relaxed)).max(1);
        for (busy, worker) in self.busy.iter().zip(self.on_it.shared.workers.iter()) {
            let cycles = Unit::all().map(|unit| worker.loads.cycles(unit).get()).fold(0, u64::wrapping_add);
            let spent_ns = self.on_it.rate.to_ns(cycles.wrapping_sub(busy.cycles.swap(cycles, Relaxed)));
            busy.permille.store((spent_ns.saturating_mul(1000) / passed_ns).min(1000), Relaxed);
        }
        for (at, age) in self.lives.news(&self.on_it.shared.tunnels) {
            let tunnel = self.on_it.config.static_sas.get(at).map_or("", |sa| sa.name.as_str());
            match age {
                Age::Worn => {
                    tracing::warn!(tunnel, "its keys have carried most of what they may: it needs others soon")
                }
                Age::Over => {
                    tracing::error!(
                        tunnel,
                        "its keys have carried all that they may: nothing goes through it any more"
                    );
                }
            }
        }
    }

    /// Says whether a port has a link.
    pub(super) fn set_link(&self, port: usize, up: bool) {
        let (Some(shared), Some(config)) = (self.on_it.shared.ports.get(port), self.on_it.config.ports.get(port))
        else {
            return;
        };
        if shared.link_up.swap(up, Relaxed) != up {
            let name = &config.name;
            if up { tracing::info!("port {name} has a link") } else { tracing::warn!("port {name} has lost its link") }
        }
    }

    /// What the driver says about a port's link.
    pub(super) fn driver_link(&self, port: usize) -> Option<bool> {
        self.on_it.ports.get(port)?.link().ok().map(|link| link.up)
    }
}

fn device(port: &dpdk::Port, mac: [u8; 6]) -> Device {
    let stats = port.stats().unwrap_or_default();
    Device { mac, missed: stats.rx_missed, errors: stats.rx_errors + stats.tx_errors + stats.rx_no_mbuf }
}
