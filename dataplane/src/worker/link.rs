//! Messages between a worker and the cluster thread: bounded wait-free rings, buffers that circulate.
//!
//! Down: [`WorkerOrder`]s, obeyed in order between two bursts. Up: [`Notice`]s, kept by the worker while the ring is
//! full, and cluster frames, copied into buffers that the cluster thread gives back after reading, so that a flood of
//! frames costs a copy and a counter but never memory. Whoever puts something into a ring wakes the other side.
//!
//! Wait-free, because the two may have different priorities: of a ring whose reader waits for a write to be completed, a
//! reader of higher priority may wait for ever.

use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::routes::RouteError;
use crate::port::{PortIndex, RouteSpec};
use crate::steer::{Notice, Order};

/// Orders that may wait for a worker. A change of the table can bring a release for each of 1024 units; three such changes
/// and the keepalives of a second fit.
const ORDERS_MAX: usize = 8192;
/// Notices that may wait for the cluster thread: one per unit and some.
const NOTICES_MAX: usize = 2048;
/// Cluster frames that may wait for the cluster thread. A keepalive period brings one per member and port.
const FRAMES_MAX: usize = 256;
/// Refused routes that nobody has read of yet.
const ROUTE_ERRORS_MAX: usize = 4;
/// The longest cluster frame's content.
pub const CLUSTER_FRAME_LEN_MAX: usize = 1500;

/// What the cluster thread tells a worker.
#[derive(Clone, Debug)]
pub enum WorkerOrder {
    /// For the steering engine.
    Steer(Order),
    /// Send a cluster frame. The worker writes the Ethernet header (the port's own address, its tag, our EtherType).
    /// Give this to worker 0 only.
    Transmit {
        /// The ports to send on: bit n is port n.
        ports: u32,
        /// Who is to receive it.
        destination: [u8; 6],
        /// What follows the EtherType: the kind, then its content.
        payload: Box<[u8]>,
    },
    /// Announce our addresses on every port (gratuitous ARP, unsolicited ND): the unit addresses, and the cluster
    /// addresses if the view in force says that we answer for them. Once per order: pacing is the cluster core's.
    Announce,
    /// Replace the static routes; connected networks stay.
    Routes(Vec<RouteSpec>),
    /// Let go of everything and end [`super::Worker::run`].
    Stop,
}

/// A frame of the cluster's own EtherType on its way to the cluster thread.
#[derive(Clone, Debug)]
pub struct ClusterFrame {
    /// When the worker saw it.
    pub at_ns: u64,
    /// The port that it came in by.
    pub port: PortIndex,
    /// Who sent it: a member's port, or someone who claims to be.
    pub source: [u8; 6],
    /// How much of `bytes` counts.
    len: u16,
    bytes: Box<[u8; CLUSTER_FRAME_LEN_MAX]>,
}

impl ClusterFrame {
    fn empty() -> Self {
        Self { at_ns: 0, port: 0, source: [0; 6], len: 0, bytes: Box::new([0; CLUSTER_FRAME_LEN_MAX]) }
    }

    /// What follows the EtherType: the kind, then its content.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Takes over what came in. Its length has been looked at.
    fn fill(&mut self, at_ns: u64, port: PortIndex, source: [u8; 6], payload: &[u8]) {
        let Some(room) = self.bytes.get_mut(..payload.len()) else { return };
        room.copy_from_slice(payload);
        (self.at_ns, self.port, self.source, self.len) = (at_ns, port, source, payload.len() as u16);
    }
}

/// What wakes a thread. Called for every message; must be cheap and must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The cluster thread's end.
pub struct WorkerHandle {
    orders: Producer<WorkerOrder>,
    notices: Consumer<Notice>,
    frames: Consumer<ClusterFrame>,
    spare_frames: Producer<ClusterFrame>,
    route_errors: Consumer<RouteError>,
    wake_worker: Wake,
}

/// The worker's end.
pub struct WorkerLink {
    orders: Consumer<WorkerOrder>,
    notices: Producer<Notice>,
    frames: Producer<ClusterFrame>,
    spare_frames: Consumer<ClusterFrame>,
    route_errors: Producer<RouteError>,
    wake_cluster: Wake,
}

/// An order that the worker's ring had no room for: the worker is stuck.
#[derive(Debug, thiserror::Error)]
#[error("the worker has not obeyed for {ORDERS_MAX} orders: it is stuck; restart the member")]
pub struct Stuck(pub WorkerOrder);

/// Both ends of a worker's rings.
pub fn link(wake_worker: Wake, wake_cluster: Wake) -> (WorkerHandle, WorkerLink) {
    let (orders, orders_out) = RingBuffer::new(ORDERS_MAX);
    let (notices_in, notices) = RingBuffer::new(NOTICES_MAX);
    let (frames_in, frames) = RingBuffer::new(FRAMES_MAX);
    let (mut spare_frames, spares_out) = RingBuffer::new(FRAMES_MAX);
    let (errors_in, route_errors) = RingBuffer::new(ROUTE_ERRORS_MAX);
    for _ in 0..FRAMES_MAX {
        // Cannot fail: the ring has this many places.
        let _ = spare_frames.push(ClusterFrame::empty());
    }
    let handle = WorkerHandle { orders, notices, frames, spare_frames, route_errors, wake_worker };
    let link = WorkerLink {
        orders: orders_out,
        notices: notices_in,
        frames: frames_in,
        spare_frames: spares_out,
        route_errors: errors_in,
        wake_cluster,
    };
    (handle, link)
}

impl WorkerHandle {
    /// What wakes the worker.
    pub fn wake(&self) -> Wake {
        self.wake_worker.clone()
    }

    /// Gives an order and wakes the worker.
    pub fn order(&mut self, order: WorkerOrder) -> Result<(), Stuck> {
        self.orders.push(order).map_err(|PushError::Full(order)| Stuck(order))?;
        (self.wake_worker)();
        Ok(())
    }

    /// The next notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop().ok()
    }

    /// Reads the next cluster frame; its buffer goes back to the worker.
    pub fn poll_frame<T>(&mut self, read: impl FnOnce(&ClusterFrame) -> T) -> Option<T> {
        let frame = self.frames.pop().ok()?;
        let result = read(&frame);
        // Cannot fail: there are no more buffers than places.
        let _ = self.spare_frames.push(frame);
        Some(result)
    }

    /// Why [`WorkerOrder::Routes`] was refused, if it was.
    pub fn poll_route_error(&mut self) -> Option<RouteError> {
        self.route_errors.pop().ok()
    }
}

impl WorkerLink {
    /// How many orders wait.
    #[inline]
    pub(super) fn orders(&self) -> usize {
        self.orders.slots()
    }

    #[inline]
    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    pub(super) fn next_order(&mut self) -> Option<WorkerOrder> {
        self.orders.pop().ok()
    }

    /// Whether a notice fits.
    pub(super) fn has_room(&self) -> bool {
        !self.notices.is_full()
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        // The worker is the only one that pushes, and has asked for room.
        let _ = self.notices.push(notice);
        (self.wake_cluster)();
    }

    pub(super) fn refuse_routes(&mut self, error: RouteError) {
        // If nobody has read the earlier ones yet, the operator hears of those first and asks again.
        let _ = self.route_errors.push(error);
        (self.wake_cluster)();
    }

    /// Copies a frame's content to the cluster thread; false if no buffer is free or it is too long.
    pub(super) fn hand_up(&mut self, at_ns: u64, port: PortIndex, source: [u8; 6], payload: &[u8]) -> bool {
        if payload.len() > CLUSTER_FRAME_LEN_MAX {
            return false;
        }
        let Ok(mut frame) = self.spare_frames.pop() else { return false };
        frame.fill(at_ns, port, source, payload);
        // Cannot fail: there are no more buffers than places.
        let _ = self.frames.push(frame);
        (self.wake_cluster)();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_buffers_circulate_and_run_out() {
        let (mut handle, mut link) = link(Arc::new(|| {}), Arc::new(|| {}));
        for round in 0..3u8 {
            for _ in 0..FRAMES_MAX {
                assert!(link.hand_up(1, 2, [3; 6], &[1, round]));
            }
            assert!(!link.hand_up(1, 2, [3; 6], &[1]));
            while let Some(kind) = handle.poll_frame(|frame| frame.payload().to_vec()) {
                assert_eq!(kind, [1, round]);
            }
        }
        assert!(!link.hand_up(1, 2, [3; 6], &[0; CLUSTER_FRAME_LEN_MAX + 1]));
    }

    #[test]
    fn a_stuck_worker_is_noticed() {
        let (mut handle, link) = link(Arc::new(|| {}), Arc::new(|| {}));
        for _ in 0..ORDERS_MAX {
            handle.order(WorkerOrder::Announce).expect("room");
        }
        assert!(matches!(handle.order(WorkerOrder::Stop), Err(Stuck(WorkerOrder::Stop))));
        assert_eq!(link.orders(), ORDERS_MAX);
    }
}
