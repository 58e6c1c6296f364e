//! What ties the streams' tasks to the workers' rings: hands new streams to their tasks, and what workers have done.

use std::collections::HashMap;
use std::sync::Arc;

use phalanx_dataplane::replica::Outcome;
use phalanx_dataplane::unit::MemberId;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::counters::Counters;
use super::incoming::Incoming;
use super::limits::{ARRIVALS_MAX, GREETING_TIMEOUT, MESSAGE_BYTES_MAX};
use super::message::{Hello, Message};
use super::outgoing::Outgoing;
use super::{FrameBuffer, Replication, keeper};
use crate::link::Dialer;

/// A stream that an owner's worker has opened, and said hello on.
pub(crate) struct Arrival {
    pub(super) member: MemberId,
    pub(super) hello: Hello,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    pub(super) frames: FrameBuffer,
}

/// Where such streams go.
#[derive(Clone)]
pub(crate) struct Arrivals {
    to: mpsc::Sender<Arrival>,
    counters: Arc<Counters>,
}

/// Takes up the streams of a connection until it ends.
pub(crate) async fn accept(connection: Connection, member: MemberId, arrivals: Arrivals) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            // Whoever opens a stream and says nothing, or what is no hello, has it closed.
            match timeout(GREETING_TIMEOUT, greeting(member, send, recv)).await {
                Ok(Some(arrival)) => drop(arrivals.to.send(arrival).await),
                Ok(None) | Err(_) => arrivals.counters.protocol_errors.add(1),
            }
        });
    }
}

async fn greeting(member: MemberId, send: SendStream, mut recv: RecvStream) -> Option<Arrival> {
    let mut frames = FrameBuffer::default();
    loop {
        let chunk = recv.read_chunk(MESSAGE_BYTES_MAX, true).await.ok()??;
        frames.push(&chunk.bytes);
        if let Some(message) = frames.next_message().ok()? {
            let Ok(Message::Hello(hello)) = Message::decode(message) else { return None };
            return Some(Arrival { member, hello, send, recv, frames });
        }
    }
}

/// The ways to the task for one worker of one owner.
struct Route {
    arrivals: mpsc::Sender<Arrival>,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

/// See the module.
pub(crate) struct Hub {
    replication: Replication,
    arrivals: mpsc::Receiver<Arrival>,
    routes: HashMap<u64, Route>,
    /// Workers may have room again.
    room: Arc<Notify>,
}

impl Hub {
    /// The hub, and where new streams go.
    pub(crate) fn new(replication: Replication) -> (Self, Arrivals) {
        let (to, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let counters = Arc::clone(&replication.counters);
        (Self { replication, arrivals, routes: HashMap::new(), room: Arc::default() }, Arrivals { to, counters })
    }

    /// Runs until the link ends.
    pub(crate) async fn run(mut self, dialers: Vec<Dialer>) {
        self.start_senders(dialers);
        let applied = Arc::clone(&self.replication.applied);
        loop {
            tokio::select! {
                () = applied.notified() => self.route_outcomes(),
                arrival = self.arrivals.recv() => match arrival {
                    Some(arrival) => self.route_arrival(arrival),
                    None => return,
                },
            }
        }
    }

    fn start_senders(&self, dialers: Vec<Dialer>) {
        let replication = &self.replication;
        let workers = replication.ports.len() as u16;
        for dialer in dialers {
            let member = dialer.member();
            for ((worker, port), to_send) in (0..).zip(replication.ports.iter()).zip(&replication.to_send) {
                let Some(to_send) = to_send.get(member.index()) else { continue };
                let outgoing = Outgoing {
                    member,
                    incarnation: replication.incarnation,
                    worker,
                    workers,
                    port: port.clone(),
                    to_send: Arc::clone(to_send),
                    newest: dialer.newest(),
                    backups: replication.backups.clone(),
                    counters: Arc::clone(&replication.counters),
                };
                tokio::spawn(outgoing.run());
            }
            tokio::spawn(keeper::run(dialer, replication.backups.clone()));
        }
    }

    fn route_arrival(&mut self, arrival: Arrival) {
        let stream = u64::from(arrival.member.number()) << 16 | u64::from(arrival.hello.worker);
        let route = self.routes.entry(stream).or_insert_with(|| {
            let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
            // Bounded by the batches that a stream may have on the way.
            let (outcomes, coming) = mpsc::unbounded_channel();
            let (ports, counters) = (Arc::clone(&self.replication.ports), Arc::clone(&self.replication.counters));
            let incoming = Incoming::new(arrival.member, stream, ports, Arc::clone(&self.room), counters);
            tokio::spawn(incoming.run(arriving, coming));
            Route { arrivals, outcomes }
        });
        // Where so many wait already, one more is not missed: its owner tries again.
        let _ = route.arrivals.try_send(arrival);
    }

    fn route_outcomes(&self) {
        for port in self.replication.ports.iter() {
            while let Some(outcome) = port.poll_outcome() {
                if let Some(route) = self.routes.get(&outcome.stream) {
                    let _ = route.outcomes.send(outcome);
                }
            }
        }
        self.room.notify_waiters();
    }
}
