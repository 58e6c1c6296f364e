//! Receiving: one task for each worker of each owner, over all the streams that it opens one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use phalanx_dataplane::replica::{
    self, Frames, Malformed, Outcome, PortHandle, TableVersion, batch_format, frame_unit,
};
use phalanx_dataplane::unit::MemberId;
use phalanx_dataplane::worker::worker_of;
use quinn::{Chunk, ReadError, RecvStream, SendStream, WriteError};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, timeout};

use super::counters::Counters;
use super::hub::Arrival;
use super::limits::{MESSAGE_BYTES_MAX, SPARE_BUFFERS};
use super::message::{Hello, Message};
use super::{Accepted, FrameBuffer, ProtocolError, Receiver};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(50);

/// The stream that is in use.
struct Live {
    send: SendStream,
    recv: RecvStream,
    frames: FrameBuffer,
    /// Not answered yet.
    hello: Option<Hello>,
}

pub(super) struct Incoming {
    member: MemberId,
    stream: u64,
    ports: Arc<[PortHandle]>,
    room: Arc<Notify>,
    counters: Arc<Counters>,
    machine: Receiver,
    incarnation: u64,
    /// Parts that their workers have no room for, each with its worker.
    waiting: VecDeque<(usize, replica::Incoming)>,
    /// By worker: the part in the making.
    parts: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    out: Vec<u8>,
    written: usize,
}

impl Incoming {
    pub(super) fn new(
        member: MemberId,
        stream: u64,
        ports: Arc<[PortHandle]>,
        room: Arc<Notify>,
        counters: Arc<Counters>,
    ) -> Self {
        let parts = ports.iter().map(|_| Vec::new()).collect();
        Self {
            member,
            stream,
            ports,
            room,
            counters,
            machine: Receiver::new(),
            incarnation: 0,
            waiting: VecDeque::new(),
            parts,
            spare: Vec::new(),
            out: Vec::new(),
            written: 0,
        }
    }

    /// Runs until the hub ends.
    pub(super) async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
    ) {
        let mut live: Option<Live> = None;
        let room = Arc::clone(&self.room);
        loop {
            let may_read = self.waiting.is_empty() && self.machine.has_room();
            let left = self.out.get(self.written..).unwrap_or(&[]);
            let (recv, send) = match &mut live {
                Some(live) => (Some(&mut live.recv).filter(|_| live.hello.is_none()), Some(&mut live.send)),
                None => (None, None),
            };
            let mut end = Ok(());
            tokio::select! {
                biased;
                outcome = outcomes.recv() => {
                    let Some(outcome) = outcome else { return };
                    end = self.take_back(outcome);
                    while let (Ok(()), Ok(outcome)) = (&end, outcomes.try_recv()) {
                        end = self.take_back(outcome);
                    }
                }
                arrival = arrivals.recv() => {
                    let Some(arrival) = arrival else { return };
                    self.arrive(arrival, &mut live).await;
                }
                () = room.notified(), if !self.waiting.is_empty() => {}
                count = write(send, left) => match count {
                    Ok(count) => self.written += count,
                    Err(_) => live = None,
                },
                chunk = read(recv), if may_read => match chunk {
                    Ok(Some(chunk)) => {
                        if let Some(live) = &mut live {
                            live.frames.push(&chunk.bytes);
                        }
                    }
                    Ok(None) | Err(_) => live = None,
                },
            }
            let end = end.and_then(|()| self.progress(&mut live));
            if let Err(error) = end {
                self.refuse(live.take(), &error).await;
            }
            if self.written >= self.out.len() {
                self.forget_output();
            }
            self.machine.poll_transmit(&mut self.out);
            // What an earlier stream brought is not acknowledged on this one, but named in its answer.
            if live.as_ref().is_none_or(|live| live.hello.is_some()) {
                self.forget_output();
            }
        }
    }

    fn forget_output(&mut self) {
        self.out.clear();
        self.written = 0;
    }

    /// A new stream takes the place of the old one, unless a process that is gone opened it.
    async fn arrive(&mut self, arrival: Arrival, live: &mut Option<Live>) {
        let Arrival { hello, send, recv, frames, .. } = arrival;
        let new = Live { send, recv, frames, hello: Some(hello) };
        if hello.incarnation < self.incarnation {
            return self.refuse(Some(new), &ProtocolError::Superseded).await;
        }
        self.incarnation = hello.incarnation;
        *live = Some(new);
        self.forget_output();
    }

    /// Does what can be done now: answers, deals out what was read.
    fn progress(&mut self, live: &mut Option<Live>) -> Result<(), ProtocolError> {
        self.push_waiting();
        let Some(live) = live else { return Ok(()) };
        if let Some(hello) = live.hello {
            if self.waiting.is_empty() && self.machine.is_idle() {
                self.machine.greet(&hello, &mut self.out)?;
                live.hello = None;
                self.counters.streams_accepted.add(1);
            }
            return Ok(());
        }
        while self.waiting.is_empty()
            && self.machine.has_room()
            && let Some(message) = live.frames.next_message()?
        {
            match self.machine.accept(&Message::decode(message)?)? {
                Accepted::Lost { ticket } => self.spread_loss(ticket),
                Accepted::Batch { ticket, version, bytes } => self.deal(ticket, version, bytes)?,
            }
        }
        Ok(())
    }

    fn spread_loss(&mut self, ticket: u64) {
        let lost = Some(self.machine.owner_worker());
        self.machine.dealt(ticket, self.ports.len());
        let (from, stream, version) = (self.member, self.stream, TableVersion::default());
        for worker in 0..self.ports.len() {
            self.waiting
                .push_back((worker, replica::Incoming { from, stream, ticket, version, lost, bytes: Vec::new() }));
        }
        self.push_waiting();
    }

    fn deal(&mut self, ticket: u64, version: TableVersion, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.counters.batches_received.add(1);
        self.counters.bytes_received.add(bytes.len() as u64);
        if split(bytes, &mut self.parts).is_err() {
            self.counters.malformed.add(1);
            return Err(self.machine.malformed());
        }
        let mut count = 0;
        for (worker, part) in self.parts.iter_mut().enumerate().filter(|(_, part)| !part.is_empty()) {
            let bytes = std::mem::replace(part, self.spare.pop().unwrap_or_default());
            let (from, stream) = (self.member, self.stream);
            self.waiting.push_back((worker, replica::Incoming { from, stream, ticket, version, lost: None, bytes }));
            count += 1;
        }
        self.machine.dealt(ticket, count);
        self.push_waiting();
        if !self.waiting.is_empty() {
            self.counters.waits.add(1);
        }
        Ok(())
    }

    fn push_waiting(&mut self) {
        while let Some((worker, part)) = self.waiting.pop_front() {
            let Some(port) = self.ports.get(worker) else { continue };
            if let Err(back) = port.deliver(part) {
                self.waiting.push_front((worker, back));
                return;
            }
        }
    }

    fn take_back(&mut self, outcome: Outcome) -> Result<(), ProtocolError> {
        let Outcome { ticket, unsynced, fenced, malformed, buffer, .. } = outcome;
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() > 0 {
            self.spare.push(buffer);
        }
        self.machine.outcome(ticket, &unsynced, fenced);
        match malformed {
            Some(_) => {
                self.counters.malformed.add(1);
                Err(self.machine.malformed())
            }
            None => Ok(()),
        }
    }

    /// Ends a stream, and says why.
    async fn refuse(&self, live: Option<Live>, error: &ProtocolError) {
        match error {
            ProtocolError::Closed(_) => {}
            ProtocolError::Version | ProtocolError::Superseded => self.counters.refused.add(1),
            _ => self.counters.protocol_errors.add(1),
        }
        let Some(mut live) = live else { return };
        tracing::debug!(member = self.member.number(), %error, "replication from an owner ends");
        let mut farewell = Vec::new();
        Message::Close(error.reason()).encode(&mut farewell);
        let _ = timeout(FAREWELL, live.send.write_all(&farewell)).await;
        let _ = live.send.finish();
    }
}

async fn write(send: Option<&mut SendStream>, bytes: &[u8]) -> Result<usize, WriteError> {
    match send {
        Some(send) if !bytes.is_empty() => send.write(bytes).await,
        _ => std::future::pending().await,
    }
}

async fn read(recv: Option<&mut RecvStream>) -> Result<Option<Chunk>, ReadError> {
    match recv {
        Some(recv) => recv.read_chunk(MESSAGE_BYTES_MAX, true).await,
        None => std::future::pending().await,
    }
}

/// Deals a batch's updates out to the workers that serve their units.
fn split(batch: &[u8], parts: &mut [Vec<u8>]) -> Result<(), Malformed> {
    parts.iter_mut().for_each(Vec::clear);
    let workers = parts.len();
    if let [only] = parts {
        only.extend_from_slice(batch);
        return Ok(());
    }
    let (format, frames) = batch_format(batch)?;
    for frame in Frames::new(frames) {
        let frame = frame?;
        let Some(part) = parts.get_mut(worker_of(frame_unit(frame.content)?, workers)) else { continue };
        if part.is_empty() {
            part.push(format);
        }
        part.extend_from_slice(frame.whole);
    }
    Ok(())
}
