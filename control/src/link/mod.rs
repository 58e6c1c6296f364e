//! The cluster link's reliable side: QUIC with mutual certificates, for the join exchange and for replication (DESIGN section 8, 9).
//!
//! Lives on a thread of its own with a single-threaded async runtime: whatever goes on here (handshakes, floods, a stuck
//! peer), the cluster thread's keepalives do not wait for it. The cluster thread hands messages in with [`LinkHandle::send`],
//! which never blocks, and gets them out of a bounded inbox.
//!
//! What is promised: messages of one connection arrive whole and in order, each at most once, from a peer whose certificate was
//! accepted at the time of arrival. What is *not*: that they arrive. A broken connection loses what was on the way; whoever needs an
//! answer asks again. (Replication acknowledges its records anyway.)
//!
//! A connection is made when the first message needs it, and used by both sides. A member that was killed and started again
//! answers its old connections with QUIC's stateless reset (the reset key follows from the cluster secret, so it survives the
//! restart), which its peers see at their next packet.
//!
//! Beside messages a connection carries replication, on streams of its own ([`crate::replication`]).
//!
//! Parts: `tls` (who is accepted), `refusal` (what those hear who are not), `driver` (accepts, limits, revokes), `dial` (makes
//! connections), `writer` (one task a member), `reader` (one a connection).

mod counters;
mod dial;
mod driver;
mod limits;
mod reader;
mod refusal;
mod tls;
mod writer;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};
use tokio::sync::{mpsc, watch};

use crate::pki::{Admission, Identity, PeerIdentity};
use crate::replication::Replication;
use counters::Counters;
use driver::Driver;
use writer::Outgoing;

pub(crate) use dial::Dialer;

pub use counters::LinkStats;
pub use limits::MESSAGE_BYTES_MAX;
pub use refusal::Refusal;

/// What comes out of the link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// A message arrived.
    Message(LinkMessage),
    /// A member does not accept this member's certificate; nothing reaches it. Told at each attempt.
    Refused {
        /// Who.
        by: MemberId,
        /// Why.
        why: Refusal,
    },
}

/// A message that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkMessage {
    /// Who sent it: proved by its certificate.
    pub peer: PeerIdentity,
    /// From where.
    pub addr: SocketAddr,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Why the link did not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The TLS library refused its configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The operating system refused.
    #[error("cannot start the cluster link: {0}")]
    Io(#[from] std::io::Error),
    /// The key for stateless resets could not be derived.
    #[error("cannot derive the link's keys")]
    Keys,
}

/// Why a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Too many messages wait for this member already.
    #[error("the queue to the member is full")]
    Full,
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("the message is longer than 64 KiB")]
    TooLong,
    /// The link has stopped.
    #[error("the cluster link has stopped")]
    Stopped,
}

/// Starts the link.
pub struct Link;

impl Link {
    /// Starts the link's thread on `socket` (bound by the caller, to a device where that matters: one port above the
    /// datagrams'). What arrives goes to `inbox`; while that is full, peers are made to wait.
    pub fn start(
        identity: &Identity,
        admission: Admission,
        socket: UdpSocket,
        inbox: crossbeam::channel::Sender<LinkEvent>,
    ) -> Result<LinkHandle, LinkError> {
        Self::start_with(identity, admission, socket, inbox, None)
    }

    /// The same, for a member that replicates.
    pub fn start_with(
        identity: &Identity,
        admission: Admission,
        socket: UdpSocket,
        inbox: crossbeam::channel::Sender<LinkEvent>,
        replication: Option<Replication>,
    ) -> Result<LinkHandle, LinkError> {
        let counters = Arc::new(Counters::default());
        let (admission, admission_seen) = watch::channel(Arc::new(admission));
        let (queues, outboxes): (Vec<_>, Vec<_>) =
            (0..MEMBER_NUMBER_MAX).map(|_| mpsc::channel(limits::QUEUE_MESSAGES)).unzip();
        let addr = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let driver = {
            let _inside = runtime.enter();
            Driver::new(identity, admission_seen, socket, inbox, Arc::clone(&counters), replication)?
        };
        let thread = std::thread::Builder::new()
            .name("phalanx-link".to_owned())
            .spawn(move || runtime.block_on(driver.run(outboxes)))?;
        Ok(LinkHandle { queues, admission: Some(admission), counters, addr, thread: Some(thread) })
    }
}

/// The running link. Dropping it closes all connections and ends the thread.
pub struct LinkHandle {
    queues: Vec<mpsc::Sender<Outgoing>>,
    /// The driver takes the end of this channel as the order to stop.
    admission: Option<watch::Sender<Arc<Admission>>>,
    counters: Arc<Counters>,
    addr: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl LinkHandle {
    /// Hands in a message for member `expect`, who is reached at `to` if there is no connection with it yet. Never blocks. Whoever
    /// answers at `to` without being that member gets nothing.
    pub fn send(&self, to: SocketAddr, expect: MemberId, bytes: Vec<u8>) -> Result<(), SendError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong);
        }
        let queue = self.queues.get(expect.index()).ok_or(SendError::Stopped)?;
        queue.try_send(Outgoing::new(to, bytes)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                self.counters.queue_full.add_one();
                SendError::Full
            }
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped,
        })
    }

    /// Puts new rules of admission in force: for coming handshakes, and at once for the connections that there are.
    pub fn set_admission(&self, admission: Admission) {
        if let Some(sender) = &self.admission {
            sender.send_replace(Arc::new(admission));
        }
    }

    /// The address that the link listens at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The counters at this moment.
    pub fn stats(&self) -> LinkStats {
        self.counters.read()
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.admission = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the cluster link's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
