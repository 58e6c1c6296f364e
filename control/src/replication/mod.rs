//! Replication between members: what carries an owner's log to its backups (DESIGN section 8).
//!
//! Each worker of an owner has a stream of its own to each backup, on the cluster link's QUIC connection with that member:
//! a slow backup holds up nobody but itself, and a slow worker of a backup nothing but the streams that bring it batches.
//! A stream is opened by the owner and used in both directions:
//!
//! ```text
//! owner                                   backup
//!   │ Hello (who, which start, worker)       │
//!   │ ──────────────────────────────────────>│ waits until what an earlier stream brought is applied
//!   │<────────────────────────────────────── │ HelloAck (has the log up to … | nothing)
//!   │ Begin (log begins anew here)           │      or, where the log still has what follows: no Begin
//!   │ Batch (from, to, table, updates)       │
//!   │ ──────────────────────────────────────>│ dealt out to the workers by unit, applied by them
//!   │<────────────────────────────────────── │ Fenced, Unsynced (what was not applied), then Ack (up to)
//! ```
//! Snapshots and digests are updates in the log, not messages: so they stand at exact places among the live updates.
//!
//! Nothing here waits for a timer: a worker's flush wakes the task that writes, and an applied batch the one that
//! acknowledges. Backpressure has one way: a worker that is slow leaves its ring full, the task stops reading, QUIC's flow
//! control stops the owner's task, that leaves *its* ring full, and the outbox keeps the log, up to its limit.
//!
//! Files: `message` (the wire), `sender` and `receiver` (both ends of a stream, without a socket), `frame` (messages out of
//! a stream of bytes), `outgoing` (a task for each worker and backup), `incoming` (one for each worker of each owner), `keeper`
//! (keeps a connection with each backup), `hub` (what ties them together), `counters`, `limits`.

mod counters;
mod frame;
mod hub;
mod incoming;
mod keeper;
mod limits;
pub mod message;
mod outgoing;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use phalanx_dataplane::replica::{PortHandle, Wake, WorkerPort, port};
use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};
use tokio::sync::{Notify, watch};

use counters::Counters;

pub use counters::ReplicationStats;
pub use frame::FrameBuffer;
pub use limits::{BATCH_BYTES_MAX, WORKERS_MAX};
pub use receiver::{Accepted, Receiver};
pub use sender::{ProtocolError, Sender, SenderEvent};

pub(crate) use hub::{Arrivals, Hub, accept};
pub(crate) use limits::{CONNECTION_WINDOW_BYTES, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES};

/// Where backups are reached: by `MemberId::index`.
pub(crate) type Addresses = Vec<Option<SocketAddr>>;

/// Where a member is reached, if it is a backup.
fn address_of(backups: &Addresses, member: MemberId) -> Option<SocketAddr> {
    backups.get(member.index()).copied().flatten()
}

/// What the link needs to carry replication: to be given to [`crate::link::Link::start_with`].
pub struct Replication {
    incarnation: u64,
    ports: Arc<[PortHandle]>,
    /// By worker, by member: something is to be sent.
    to_send: Vec<Vec<Arc<Notify>>>,
    /// Some worker has applied something.
    applied: Arc<Notify>,
    backups: watch::Receiver<Addresses>,
    counters: Arc<Counters>,
}

/// The runtime's hold on replication.
pub struct ReplicationHandle {
    backups: watch::Sender<Addresses>,
    counters: Arc<Counters>,
}

impl Replication {
    /// Replication for as many workers as there are wakes; and for each worker its port, in order. `incarnation` names this
    /// start of the member: each must have a higher one.
    pub fn new(incarnation: u64, wakes: Vec<Wake>) -> (Self, ReplicationHandle, Vec<WorkerPort>) {
        let applied = Arc::new(Notify::new());
        let mut to_send = Vec::with_capacity(wakes.len());
        let (ports, workers): (Vec<_>, Vec<_>) = wakes
            .into_iter()
            .map(|wake| {
                let notifies: Vec<_> = (0..MEMBER_NUMBER_MAX).map(|_| Arc::new(Notify::new())).collect();
                let senders = notifies.iter().map(|notify| waking(notify)).collect();
                to_send.push(notifies);
                port(wake, senders, waking(&applied))
            })
            .unzip();
        let (addresses, backups) = watch::channel(vec![None; usize::from(MEMBER_NUMBER_MAX)]);
        let counters = Arc::new(Counters::default());
        let handle = ReplicationHandle { backups: addresses, counters: Arc::clone(&counters) };
        (Self { incarnation, ports: ports.into(), to_send, applied, backups, counters }, handle, workers)
    }
}

impl ReplicationHandle {
    /// The members to keep streams with, and where their links are reached. Who is no longer among them is let go.
    pub fn set_backups(&self, backups: impl IntoIterator<Item = (MemberId, SocketAddr)>) {
        let mut addresses = vec![None; usize::from(MEMBER_NUMBER_MAX)];
        for (member, address) in backups {
            if let Some(place) = addresses.get_mut(member.index()) {
                *place = Some(address);
            }
        }
        self.backups.send_if_modified(|old| {
            let changes = *old != addresses;
            *old = addresses;
            changes
        });
    }

    /// The counters at this moment.
    pub fn stats(&self) -> ReplicationStats {
        self.counters.read()
    }
}

fn waking(notify: &Arc<Notify>) -> Wake {
    let notify = Arc::clone(notify);
    Arc::new(move || notify.notify_one())
}
