//! Writing: one task for each possible member, with a bounded queue before it.
//!
//! A message goes out on the stream that is open. Without one, the newest connection with the member is used, whoever made it; without
//! that, one is made, with growing pauses between attempts. The stream is kept while its connection lives, so that messages do not
//! overtake one another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_dataplane::unit::MemberId;
use quinn::{Connection, SendStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::driver::Shared;
use super::limits::{BACKOFF_MAX, BACKOFF_MIN, HANDSHAKE_TIMEOUT, MESSAGE_AGE_MAX};
use super::refusal::{News, Refusal};
use super::tls;

/// A message on its way out.
pub(super) struct Outgoing {
    to: SocketAddr,
    bytes: Vec<u8>,
    deadline: Instant,
}

impl Outgoing {
    pub(super) fn new(to: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { to, bytes, deadline: Instant::now() + MESSAGE_AGE_MAX }
    }
}

pub(super) struct Writer {
    member: MemberId,
    shared: Arc<Shared>,
    newest: watch::Receiver<Option<Connection>>,
    open: Option<(Connection, SendStream)>,
    backoff: Duration,
    next_dial: Instant,
}

impl Writer {
    pub(super) fn new(member: MemberId, shared: Arc<Shared>, newest: watch::Receiver<Option<Connection>>) -> Self {
        Self { member, shared, newest, open: None, backoff: BACKOFF_MIN, next_dial: Instant::now() }
    }

    /// Writes what comes out of the queue until the link ends.
    pub(super) async fn run(mut self, mut outbox: mpsc::Receiver<Outgoing>) {
        while let Some(message) = outbox.recv().await {
            match timeout_at(message.deadline, self.write(&message)).await {
                Ok(()) => self.shared.counters.sent.add_one(),
                Err(_) => {
                    self.shared.counters.expired.add_one();
                    // It may be half written: what follows must not continue it.
                    self.open = None;
                }
            }
        }
    }

    /// Tries until the message is written; the caller sets the limit.
    async fn write(&mut self, message: &Outgoing) {
        let head = u32::try_from(message.bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        loop {
            let Some(stream) = self.stream(message.to).await else { continue };
            let written = match stream.write_all(&head).await {
                Ok(()) => stream.write_all(&message.bytes).await,
                Err(error) => Err(error),
            };
            match written {
                Ok(()) => return,
                // A message of which bytes are missing is never delivered, so it may be written again.
                Err(_) => self.open = None,
            }
        }
    }

    /// A stream to the member: the open one, or a new one on the newest connection, or on one made now.
    async fn stream(&mut self, to: SocketAddr) -> Option<&mut SendStream> {
        if self.open.as_ref().is_some_and(|(connection, _)| connection.close_reason().is_some()) {
            self.open = None;
        }
        if self.open.is_none() {
            let living = self.newest.borrow_and_update().clone().filter(|known| known.close_reason().is_none());
            let connection = match living {
                Some(connection) => connection,
                None => self.dial(to).await?,
            };
            let stream = connection.open_uni().await.ok()?;
            self.open = Some((connection, stream));
        }
        self.open.as_mut().map(|(_, stream)| stream)
    }

    /// Makes a connection, unless the member makes one itself during the pause.
    async fn dial(&mut self, to: SocketAddr) -> Option<Connection> {
        tokio::select! {
            () = sleep_until(self.next_dial) => {}
            _ = self.newest.changed() => return None,
        }
        let name = tls::server_name(self.member);
        let attempt = async {
            let connecting = self.shared.endpoint.connect_with(self.shared.client.clone(), to, &name);
            match connecting {
                Ok(connecting) => connecting.await.map_err(|error| (Refusal::heard(&error), error.to_string())),
                Err(error) => Err((None, error.to_string())),
            }
        };
        let made = timeout(HANDSHAKE_TIMEOUT, attempt).await.unwrap_or_else(|_| Err((None, "no answer".to_owned())));
        match made {
            Ok(connection) => {
                self.backoff = BACKOFF_MIN;
                self.next_dial = Instant::now() + BACKOFF_MIN;
                self.shared.news.send(News::Made(connection.clone())).await.ok()?;
                Some(connection)
            }
            Err((refusal, error)) => {
                self.shared.counters.dial_failed.add_one();
                tracing::debug!(member = self.member.number(), %to, error, "cannot reach a member");
                self.next_dial = Instant::now() + self.backoff;
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                if let Some(why) = refusal {
                    self.shared.news.send(News::RefusedBy(self.member, why)).await.ok()?;
                }
                None
            }
        }
    }
}
