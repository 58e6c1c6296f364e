//! Writing: one task for each possible member, with a bounded queue before it.
//!
//! A message goes out on the stream that is open. Without one, the newest connection with the member is used, whoever made it; without
//! that, one is made, with growing pauses between attempts. The stream is kept while its connection lives, so that messages do not
//! overtake one another.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, SendStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::driver::Shared;
use super::limits::MESSAGE_AGE_MAX;

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
    shared: Arc<Shared>,
    dialer: Dialer,
    open: Option<(Connection, SendStream)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, dialer: Dialer) -> Self {
        Self { shared, dialer, open: None }
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
            let connection = self.dialer.connection(to).await?;
            let stream = connection.open_uni().await.ok()?;
            self.open = Some((connection, stream));
        }
        self.open.as_mut().map(|(_, stream)| stream)
    }
}
