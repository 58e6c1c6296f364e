//! Reading: one task for each connection. A message is its length (u32, big endian) and its bytes.

use std::sync::Arc;

use crossbeam::channel::TrySendError;
use quinn::{Connection, RecvStream};
use tokio::time::{Instant, sleep};

use super::driver::{Farewell, Shared, close};
use super::limits::{INBOX_PATIENCE, INBOX_POLL, MESSAGE_BYTES_MAX};
use super::refusal::{News, Refusal};
use super::{LinkEvent, LinkMessage};
use crate::pki::PeerIdentity;

/// Why reading from a stream ended.
enum End {
    /// The peer ended the stream, or the connection broke: another stream may come.
    Stream,
    /// What came is no message.
    Malformed,
    /// Nobody takes messages out of the inbox.
    Stuck,
}

/// Reads stream after stream (there is one at a time) until the connection ends.
pub(super) async fn run(shared: Arc<Shared>, connection: Connection, peer: PeerIdentity) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let why = loop {
            let bytes = match read_message(&mut stream).await {
                Ok(bytes) => bytes,
                Err(end) => break end,
            };
            let message = LinkMessage { peer: peer.clone(), addr: connection.remote_address(), bytes };
            match deliver(&shared, &connection, LinkEvent::Message(message)).await {
                Ok(()) => shared.counters.received.add_one(),
                Err(end) => break end,
            }
        };
        match why {
            End::Stream => {}
            End::Malformed => {
                shared.counters.malformed.add_one();
                close(&connection, Farewell::Malformed);
            }
            End::Stuck => {
                shared.counters.inbox_stuck.add_one();
                close(&connection, Farewell::Stuck);
            }
        }
    }
    // In TLS 1.3 whoever dials is connected before its own certificate is looked at: a refusal comes as the end.
    if let Some(why) = connection.close_reason().as_ref().and_then(Refusal::heard) {
        drop(shared.news.send(News::RefusedBy(peer.member, why)).await);
    }
}

/// One whole message. The length is checked before a byte is reserved for it.
async fn read_message(stream: &mut RecvStream) -> Result<Vec<u8>, End> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|_| End::Stream)?;
    let length = usize::try_from(u32::from_be_bytes(head)).map_err(|_| End::Malformed)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(End::Malformed);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|_| End::Stream)?;
    Ok(bytes)
}

/// Puts a message into the inbox. While that is full nothing more is read, so that the peer's flow control makes it wait.
/// A message of a connection that was closed meanwhile (its member was revoked) is not delivered any more.
async fn deliver(shared: &Shared, connection: &Connection, mut event: LinkEvent) -> Result<(), End> {
    let deadline = Instant::now() + INBOX_PATIENCE;
    loop {
        if connection.close_reason().is_some_and(|reason| reason == quinn::ConnectionError::LocallyClosed) {
            return Err(End::Stream);
        }
        event = match shared.inbox.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(event)) => event,
            Err(TrySendError::Disconnected(_)) => return Err(End::Stuck),
        };
        if Instant::now() >= deadline {
            return Err(End::Stuck);
        }
        sleep(INBOX_POLL).await;
    }
}
