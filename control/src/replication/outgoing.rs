//! Sending: one task for each worker and each possible backup.

use std::sync::Arc;

use phalanx_dataplane::replica::{PortHandle, ReplicaNews};
use phalanx_dataplane::unit::MemberId;
use quinn::Connection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::counters::Counters;
use super::limits::{GATHER_BYTES, GREETING_TIMEOUT, MESSAGE_BYTES_MAX, NEWS_RETRY, RETRY};
use super::message::{Message, Reason};
use super::{Addresses, FrameBuffer, ProtocolError, Sender, SenderEvent, address_of};

pub(super) struct Outgoing {
    pub(super) member: MemberId,
    pub(super) incarnation: u64,
    pub(super) worker: u16,
    pub(super) workers: u16,
    pub(super) port: PortHandle,
    pub(super) to_send: Arc<Notify>,
    pub(super) newest: watch::Receiver<Option<Connection>>,
    pub(super) backups: watch::Receiver<Addresses>,
    pub(super) counters: Arc<Counters>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it is not wanted any more")]
    Unwanted,
    #[error("the connection broke")]
    Broken,
    #[error("no answer came")]
    Silent,
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl From<super::message::MessageError> for End {
    fn from(error: super::message::MessageError) -> Self {
        Self::Protocol(error.into())
    }
}

impl Outgoing {
    /// Runs until replication ends.
    pub(super) async fn run(mut self) {
        let mut stream = 0_u32;
        loop {
            let member = self.member;
            if self.backups.wait_for(|all| address_of(all, member).is_some()).await.is_err() {
                return;
            }
            let living = |it: &Option<Connection>| it.as_ref().is_some_and(|it| it.close_reason().is_none());
            let Ok(connection) = self.newest.wait_for(living).await.map(|it| it.clone()) else { return };
            let Some(connection) = connection else { continue };
            stream = stream.wrapping_add(1);
            let end = self.serve(&connection, stream).await;
            self.tell(ReplicaNews::Gone { member: self.member, stream }).await;
            self.counters.streams_broken.add(1);
            if let End::Protocol(error) = &end {
                self.counters.protocol_errors.add(1);
                tracing::warn!(member = self.member.number(), worker = self.worker, %error, "replication to a backup ended");
            } else {
                tracing::debug!(member = self.member.number(), worker = self.worker, %end, "replication to a backup ended");
            }
            sleep(RETRY).await;
        }
    }

    async fn serve(&mut self, connection: &Connection, stream: u32) -> End {
        match self.exchange(connection, stream).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn exchange(&mut self, connection: &Connection, stream: u32) -> Result<std::convert::Infallible, End> {
        let (mut send, mut recv) = connection.open_bi().await.map_err(|_| End::Broken)?;
        let (mut out, mut written) = (Vec::new(), 0);
        let mut sender = Sender::new(self.incarnation, self.worker, self.workers, &mut out);
        let mut frames = FrameBuffer::default();
        let patience = Instant::now() + GREETING_TIMEOUT;
        let to_send = Arc::clone(&self.to_send);
        loop {
            let left = out.get(written..).unwrap_or(&[]);
            tokio::select! {
                biased;
                chunk = recv.read_chunk(MESSAGE_BYTES_MAX, true) => {
                    let Ok(Some(chunk)) = chunk else { return Err(End::Broken) };
                    frames.push(&chunk.bytes);
                    self.hear(&mut sender, &mut frames, stream).await?;
                }
                count = send.write(left), if !left.is_empty() => {
                    let count = count.map_err(|_| End::Broken)?;
                    self.counters.bytes_sent.add(count as u64);
                    written += count;
                }
                () = to_send.notified(), if left.is_empty() && sender.is_open() => {}
                () = sleep_until(patience), if !sender.is_open() => return Err(End::Silent),
                changed = self.backups.changed() => {
                    let wanted = address_of(&self.backups.borrow(), self.member).is_some();
                    if changed.is_err() || !wanted {
                        let mut farewell = Vec::new();
                        Message::Close(Reason::Done).encode(&mut farewell);
                        // Between two messages only; the end of the stream says it as well.
                        if written >= out.len() {
                            let _ = send.write(&farewell).await;
                        }
                        let _ = send.finish();
                        return Err(End::Unwanted);
                    }
                }
            }
            if written >= out.len() {
                out.clear();
                written = 0;
                self.gather(&mut sender, stream, &mut out);
            }
        }
    }

    /// Encodes what the worker has handed over.
    fn gather(&self, sender: &mut Sender, stream: u32, out: &mut Vec<u8>) {
        while sender.is_open() && out.len() < GATHER_BYTES {
            let Some(shipped) = self.port.poll_ship(self.member) else { break };
            if shipped.stream == stream {
                sender.write(self.member, &shipped.ship, out);
                self.counters.batches_sent.add(1);
            }
        }
    }

    async fn hear(&self, sender: &mut Sender, frames: &mut FrameBuffer, stream: u32) -> Result<(), End> {
        let member = self.member;
        let mut acked = None;
        while let Some(message) = frames.next_message()? {
            match sender.handle(&Message::decode(message)?)? {
                SenderEvent::Greeted { fenced, has } => {
                    self.counters.streams_opened.add(1);
                    // A refusal comes first: it must hold up commits before anything else lets them go on.
                    if let Some(version) = fenced {
                        self.tell(ReplicaNews::Fenced { version }).await;
                    }
                    self.tell(ReplicaNews::Greeted { member, stream, has }).await;
                }
                SenderEvent::Acked(position) => {
                    self.counters.acks_received.add(1);
                    acked = Some(position);
                }
                SenderEvent::Fenced(version) => self.tell(ReplicaNews::Fenced { version }).await,
                SenderEvent::Unsynced(unit) => self.tell(ReplicaNews::Unsynced { member, unit }).await,
            }
        }
        if let Some(position) = acked {
            self.port.acknowledge(member, position);
        }
        Ok(())
    }

    /// Tells the worker, however long it takes: nothing else may be told before.
    async fn tell(&self, mut news: ReplicaNews) {
        while let Err(back) = self.port.tell(news) {
            news = back;
            sleep(NEWS_RETRY).await;
        }
    }
}
