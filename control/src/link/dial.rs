//! A connection with a member: the newest that there is, whoever made it, or one that is made now, with growing pauses between
//! attempts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_dataplane::unit::MemberId;
use quinn::Connection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::driver::Shared;
use super::limits::{BACKOFF_MAX, BACKOFF_MIN, HANDSHAKE_TIMEOUT};
use super::refusal::{News, Refusal};
use super::tls;

/// Whoever needs a connection with one member.
pub(crate) struct Dialer {
    member: MemberId,
    shared: Arc<Shared>,
    newest: watch::Receiver<Option<Connection>>,
    backoff: Duration,
    next_dial: Instant,
}

impl Dialer {
    pub(super) fn new(member: MemberId, shared: Arc<Shared>, newest: watch::Receiver<Option<Connection>>) -> Self {
        Self { member, shared, newest, backoff: BACKOFF_MIN, next_dial: Instant::now() }
    }

    /// Whom it is for.
    pub(crate) fn member(&self) -> MemberId {
        self.member
    }

    /// Shows the newest connection, dead or alive.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<Connection>> {
        self.newest.clone()
    }

    /// A living connection, or nothing this time: ask again.
    pub(crate) async fn connection(&mut self, to: SocketAddr) -> Option<Connection> {
        let living = self.newest.borrow_and_update().clone().filter(|known| known.close_reason().is_none());
        match living {
            Some(connection) => Some(connection),
            None => self.dial(to).await,
        }
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
