//! The link's centre: accepts connections, keeps the list of them, closes those that may no longer be.

use std::net::UdpSocket;
use std::sync::Arc;

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::counters::Counters;
use super::dial::Dialer;
use super::limits::*;
use super::refusal::{News, Refusal, RefusalLog};
use super::writer::{Outgoing, Writer};
use super::{LinkError, LinkEvent, reader, tls};
use crate::envelope::TokenBucket;
use crate::pki::{Admission, AdmissionError, Identity};
use crate::replication::{self, Hub, Replication};

const LABEL_RESET: &[u8] = b"phalanx quic reset v1";
const LABEL_CONNECTION_ID: &[u8] = b"phalanx quic connection id v1";

/// What the peer reads when a connection is closed on purpose.
#[derive(Clone, Copy)]
pub(super) enum Farewell {
    Leaving = 0,
    NotAccepted = 1,
    Crowded = 2,
    Malformed = 3,
    Stuck = 4,
    Revoked = 5,
    OtherCluster = 6,
}

impl Farewell {
    /// To one whose certificate the present rules do not accept.
    pub(super) fn not_accepted(reason: &AdmissionError) -> Self {
        match Refusal::of(reason) {
            Refusal::Unknown => Self::NotAccepted,
            Refusal::Revoked => Self::Revoked,
            Refusal::OtherCluster => Self::OtherCluster,
        }
    }

    /// What such a farewell says to the one who hears it.
    pub(super) fn refusal(code: u64) -> Option<Refusal> {
        let says = |refusal, farewell| (code == farewell as u64).then_some(refusal);
        says(Refusal::Unknown, Self::NotAccepted)
            .or_else(|| says(Refusal::Revoked, Self::Revoked))
            .or_else(|| says(Refusal::OtherCluster, Self::OtherCluster))
    }
}

pub(super) fn close(connection: &Connection, why: Farewell) {
    let reason: &[u8] = match why {
        Farewell::Leaving => b"leaving",
        Farewell::NotAccepted => b"certificate not accepted",
        Farewell::Crowded => b"too many connections",
        Farewell::Malformed => b"not a message",
        Farewell::Stuck => b"inbox full",
        Farewell::Revoked => b"certificate revoked",
        Farewell::OtherCluster => b"certificate of another cluster",
    };
    connection.close(VarInt::from_u32(why as u32), reason);
}

/// What all tasks of the link share.
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) client: quinn::ClientConfig,
    pub(super) admission: watch::Receiver<Arc<Admission>>,
    pub(super) inbox: crossbeam::channel::Sender<LinkEvent>,
    pub(super) counters: Arc<Counters>,
    /// The way to the driver.
    pub(super) news: mpsc::Sender<News>,
}

/// The connections with one member, newest last.
struct Peer {
    connections: Vec<Connection>,
    /// Shows the newest one to the member's writer.
    newest: watch::Sender<Option<Connection>>,
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    news: mpsc::Receiver<News>,
    refusals: RefusalLog,
    peers: Vec<Peer>,
    hub: Option<Hub>,
    /// Where streams of replication go.
    arrivals: Option<replication::Arrivals>,
    handshakes: Arc<Semaphore>,
    rate: TokenBucket,
    started: Instant,
}

impl Driver {
    /// Opens the endpoint; must be called inside the runtime.
    pub(super) fn new(
        identity: &Identity,
        admission: watch::Receiver<Arc<Admission>>,
        socket: UdpSocket,
        inbox: crossbeam::channel::Sender<LinkEvent>,
        counters: Arc<Counters>,
        replication: Option<Replication>,
    ) -> Result<Self, LinkError> {
        let (news_to, news) = mpsc::channel(HANDSHAKES_AT_ONCE);
        let tls = tls::configure(identity, admission.clone(), news_to.clone())?;
        let transport = Arc::new(transport(replication.is_some()));
        let mut server = ServerConfig::with_crypto(tls.server);
        server.transport_config(Arc::clone(&transport)).migration(false);
        let mut client = quinn::ClientConfig::new(tls.client);
        client.transport_config(transport);
        let config = endpoint_config(identity).ok_or(LinkError::Keys)?;
        let endpoint = Endpoint::new(config, Some(server), socket, Arc::new(quinn::TokioRuntime))?;
        let shared = Shared { endpoint, client, admission, inbox, counters, news: news_to };
        let peers = (0..MEMBER_NUMBER_MAX)
            .map(|_| Peer { connections: Vec::with_capacity(CONNECTIONS_OF_MEMBER), newest: watch::channel(None).0 })
            .collect();
        let (hub, arrivals) = replication.map(Hub::new).unzip();
        Ok(Self {
            hub,
            arrivals,
            shared: Arc::new(shared),
            news,
            refusals: RefusalLog::new(),
            peers,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE)),
            rate: TokenBucket::new(HANDSHAKES_PER_SECOND, HANDSHAKES_BURST),
            started: Instant::now(),
        })
    }

    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self, outboxes: Vec<mpsc::Receiver<Outgoing>>) {
        let dialer =
            |(member, peer): (MemberId, &Peer)| Dialer::new(member, Arc::clone(&self.shared), peer.newest.subscribe());
        for (dialer, outbox) in members().zip(&self.peers).map(dialer).zip(outboxes) {
            tokio::spawn(Writer::new(Arc::clone(&self.shared), dialer).run(outbox));
        }
        if let Some(hub) = self.hub.take() {
            tokio::spawn(hub.run(members().zip(&self.peers).map(dialer).collect()));
        }
        let mut admission = self.shared.admission.clone();
        loop {
            tokio::select! {
                changed = admission.changed() => match changed {
                    Ok(()) => self.judge_all(),
                    Err(_) => break,
                },
                Some(news) = self.news.recv() => self.hear(news),
                incoming = self.shared.endpoint.accept() => match incoming {
                    Some(incoming) => self.greet(incoming),
                    None => break,
                },
            }
        }
        self.shared.endpoint.close(VarInt::from_u32(Farewell::Leaving as u32), b"leaving");
        // Peers that do not hear the farewell find out by themselves.
        let _ = timeout(FAREWELL, self.shared.endpoint.wait_idle()).await;
    }

    /// A stranger knocks. First it must show that it receives at its address (a stateless retry: a forged source address
    /// costs us one packet), then it needs a place and a token; only then is any public-key work done.
    fn greet(&mut self, incoming: Incoming) {
        if !incoming.remote_address_validated() && incoming.may_retry() {
            if let Err(error) = incoming.retry() {
                tracing::debug!(%error, "cannot ask a peer to prove its address");
            }
            return;
        }
        let now_ns = self.now_ns();
        let place = Arc::clone(&self.handshakes).try_acquire_owned().ok().filter(|_| self.rate.take(now_ns));
        let Some(place) = place else {
            self.shared.counters.limited.add_one();
            incoming.ignore();
            return;
        };
        let shared = Arc::clone(&self.shared);
        let from = incoming.remote_address();
        tokio::spawn(async move {
            let connecting = async { incoming.accept()?.await };
            match timeout(HANDSHAKE_TIMEOUT, connecting).await {
                // An error here means that the link is closing.
                Ok(Ok(connection)) => drop(shared.news.send(News::Made(connection)).await),
                Ok(Err(error)) => {
                    shared.counters.accept_failed.add_one();
                    tracing::debug!(%error, "a peer's connection failed");
                    if let Some(why) = Refusal::heard(&error) {
                        drop(shared.news.send(News::RefusedFrom(from, why)).await);
                    }
                }
                Err(_) => shared.counters.accept_failed.add_one(),
            }
            drop(place);
        });
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes in what a task tells.
    fn hear(&mut self, news: News) {
        let now_ns = self.now_ns();
        match news {
            News::Made(connection) => self.register(connection),
            News::RefusedBy(by, why) => {
                self.refusals.refused_by(by, why, now_ns);
                // Where there is no room this time, there is at the next attempt.
                let _ = self.shared.inbox.try_send(LinkEvent::Refused { by, why });
            }
            News::RefusedFrom(from, why) => self.refusals.refused_from(from, why, now_ns),
            News::NotAccepted(who, reason) => self.refusals.not_accepted(who.as_ref(), &reason, now_ns),
        }
    }

    /// Takes a new connection into the list and starts reading from it.
    fn register(&mut self, connection: Connection) {
        // Judged again: the rules may have changed since the handshake began.
        let admission = Arc::clone(&self.shared.admission.borrow());
        let identity = match tls::peer_of(&connection, &admission) {
            Ok(identity) => identity,
            Err(reason) => {
                self.shared.counters.revoked.add_one();
                return close(&connection, Farewell::not_accepted(&reason));
            }
        };
        let Some(peer) = self.peers.get_mut(identity.member.index()) else { return };
        peer.connections.retain(|old| old.close_reason().is_none());
        while peer.connections.len() >= CONNECTIONS_OF_MEMBER {
            // The oldest goes: a member that was restarted has no use for it.
            close(&peer.connections.remove(0), Farewell::Crowded);
            self.shared.counters.crowded.add_one();
        }
        self.shared.counters.connected.add_one();
        peer.connections.push(connection.clone());
        peer.newest.send_replace(Some(connection.clone()));
        if let Some(arrivals) = &self.arrivals {
            tokio::spawn(replication::accept(connection.clone(), identity.member, arrivals.clone()));
        }
        tokio::spawn(reader::run(Arc::clone(&self.shared), connection, identity));
    }

    /// Closes what the present rules do not accept.
    fn judge_all(&mut self) {
        let admission = Arc::clone(&self.shared.admission.borrow());
        for peer in &mut self.peers {
            peer.connections.retain(|connection| {
                if connection.close_reason().is_some() {
                    return false;
                }
                let judged = tls::peer_of(connection, &admission);
                if let Err(reason) = &judged {
                    self.shared.counters.revoked.add_one();
                    close(connection, Farewell::not_accepted(reason));
                }
                judged.is_ok()
            });
        }
    }
}

fn members() -> impl Iterator<Item = MemberId> {
    (1..=MEMBER_NUMBER_MAX).filter_map(MemberId::new)
}

/// The same keys after a restart: the new process recognises the connection IDs of the old one (else it would ignore their
/// packets) and can tell its peers that those connections are gone.
fn endpoint_config(identity: &Identity) -> Option<EndpointConfig> {
    let number = [identity.member().number()];
    let prk = identity.secret().extract(&[]);
    let key = |label| {
        let info: [&[u8]; 2] = [label, &number];
        prk.expand(&info, hmac::HMAC_SHA256).ok().map(hmac::Key::from)
    };
    let reset_key = key(LABEL_RESET)?;
    let tag = hmac::sign(&key(LABEL_CONNECTION_ID)?, &[]);
    let id_key = u64::from_be_bytes(*tag.as_ref().first_chunk()?);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    Some(config)
}

fn transport(replicates: bool) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(KEEPALIVE));
    if replicates {
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(replication::WORKERS_MAX.into()))
            .stream_receive_window(VarInt::from_u32(replication::STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(replication::CONNECTION_WINDOW_BYTES))
            .send_window(replication::SEND_WINDOW_BYTES);
    }
    transport
}
