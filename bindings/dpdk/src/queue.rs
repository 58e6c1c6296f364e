//! A port's queues: where packets enter and leave. One call into C a burst.
//!
//! A queue is taken once, from the port that was started, and belongs to one thread at a time: `Send`, not `Sync`.

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::burst::Burst;
use crate::device::Device;
use crate::error::{self, Result};

/// Makes a type `!Sync`, but leaves it `Send`.
type NotSync = PhantomData<Cell<()>>;

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
    siblings: Siblings,
    _not_sync: NotSync,
}

/// What finding a queue's packet socket takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Siblings {
    /// How many receive queues the port has.
    pub(crate) rx_queues: u16,
    /// The kernel interface behind the port.
    pub(crate) interface_index: Option<u32>,
}

impl RxQueue {
    pub(crate) fn new(device: &Arc<Device>, queue: u16, siblings: Siblings) -> Self {
        Self { device: Arc::clone(device), port: device.id(), queue, siblings, _not_sync: PhantomData }
    }

    pub(crate) fn siblings(&self) -> Siblings {
        self.siblings
    }

    /// Adds what was received to `burst`, as much as it has room for; says how much.
    #[inline]
    pub fn receive<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        let spare = burst.spare();
        let room = spare.len() as u16;
        // SAFETY: the port runs while `device` lives, `self` is the queue's only user, `spare` has `room` places.
        let count =
            unsafe { dpdk_sys::shim_eth_rx_burst(self.port, self.queue, crate::mempool::pointers(spare), room) };
        // SAFETY: the driver wrote `count` mbufs and gave them to us.
        unsafe { burst.grow(count.into()) };
        count.into()
    }

    /// The queue's number in its port.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// The port's number, as in [`crate::Mbuf::port`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file descriptor of the queue's receive interrupt, where the driver has one (`net_tap`, real network cards).
    /// Valid while this queue lives.
    pub fn interrupt_fd(&self) -> Result<RawFd> {
        // SAFETY: the port and queue exist.
        let answer = unsafe { dpdk_sys::rte_eth_dev_rx_intr_ctl_q_get_fd(self.port, self.queue) };
        if answer < 0 {
            return Err(error::Error::NotSupported { what: "rte_eth_dev_rx_intr_ctl_q_get_fd" });
        }
        Ok(answer)
    }

    /// Arms the receive interrupt; poll the queue once more before sleeping.
    pub fn enable_interrupt(&mut self) -> Result<()> {
        // SAFETY: the port and queue exist, and `self` is the queue's only user.
        let answer = unsafe { dpdk_sys::rte_eth_dev_rx_intr_enable(self.port, self.queue) };
        error::check("rte_eth_dev_rx_intr_enable", answer).map(drop)
    }

    /// Disarms the receive interrupt, before polling again.
    pub fn disable_interrupt(&mut self) -> Result<()> {
        // SAFETY: as above.
        let answer = unsafe { dpdk_sys::rte_eth_dev_rx_intr_disable(self.port, self.queue) };
        error::check("rte_eth_dev_rx_intr_disable", answer).map(drop)
    }

    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

/// A transmit queue.
#[derive(Debug)]
pub struct TxQueue {
    _device: Arc<Device>,
    port: u16,
    queue: u16,
    _not_sync: NotSync,
}

impl TxQueue {
    pub(crate) fn new(device: &Arc<Device>, queue: u16) -> Self {
        Self { _device: Arc::clone(device), port: device.id(), queue, _not_sync: PhantomData }
    }

    /// Sends from the front of `burst`; says how many the driver took. Those are the queue's, the others stay in
    /// `burst`, in order: send again, or drop and count them.
    #[inline]
    pub fn send<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        if burst.is_empty() {
            return 0;
        }
        let len = burst.len() as u16;
        // SAFETY: the port runs while `_device` lives, `self` is the queue's only user, the first `len` are owned mbufs.
        let count = unsafe { dpdk_sys::shim_eth_tx_burst(self.port, self.queue, burst.as_pointers(), len) };
        // SAFETY: the driver owns the first `count` now.
        unsafe { burst.shrink_front(count.into()) };
        count.into()
    }

    /// The queue's number in its port.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.port
    }
}
