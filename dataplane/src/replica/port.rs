//! Where a worker meets the transport: bounded wait-free rings, buffers that circulate.
//!
//! *Out, as owner*: pieces of the log, one ring for each backup, so that a full one holds up nobody else.
//! *In, as owner*: acknowledgements, one word for each backup, of which only the last counts; and news, in a ring.
//! *In, as backup*: batches (the part of them that is about units of this worker), one ring; what became of each goes back
//! with its buffer.
//!
//! A worker calls [`WorkerPort::poll`] at the beginning of a round and [`WorkerPort::flush`] at its end, before it sleeps.
//! An acknowledgement never overtakes news that were told before it: news are read after acknowledgements are fetched,
//! and heeded before them.
//!
//! The transport's end is shared by its tasks, which take turns by a lock; the worker's end knows of no lock. Wait-free rings,
//! because the worker may have the higher priority: one that waited for a write to be completed might wait for ever.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::limits::BATCHES_OF_STREAM_MAX;
use super::members::MemberSet;
use super::outbox::{Outbox, Ship};
use super::record::{Frames, Malformed, Position, TableVersion, Update, batch_format};
use super::store::{Consequence, Refused, Store};
use crate::unit::{MEMBER_NUMBER_MAX, MemberId, Unit};
use crate::worker::worker_of;

/// What wakes a thread. Called often; must be cheap and must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Pieces of the log on their way to one backup. What does not fit stays in the outbox and grows together.
const SHIPS_MAX: usize = 16;
/// News that may wait. A backup can find every unit different, once.
const NEWS_MAX: usize = 4096;
/// Batches that may wait for a worker.
const BATCHES_MAX: usize = 64;
/// Outcomes that may wait for the transport.
const OUTCOMES_MAX: usize = 4 * BATCHES_MAX;
/// Batches that a worker may have set aside until it has the table that they were made under: all streams' together.
const ASIDE_MAX: usize = 4 * BATCHES_OF_STREAM_MAX;
/// And one owner's of those. Each owner has this much at least, whatever tables others claim to act under.
const ASIDE_OF_OWNER_MAX: usize = ASIDE_MAX / 4;
/// Batches applied in one round: packets must not wait for long.
const BATCHES_A_ROUND: usize = 8;

/// What goes to a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shipped {
    /// The stream that it is meant for. If that is not the present one, it is void.
    pub stream: u32,
    /// What.
    pub ship: Ship,
}

/// What the transport tells an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaNews {
    /// See [`Outbox::greeted`].
    Greeted {
        /// The backup.
        member: MemberId,
        /// The new stream's number.
        stream: u32,
        /// The end of what it has.
        has: Option<Position>,
    },
    /// See [`Outbox::gone`].
    Gone {
        /// The backup.
        member: MemberId,
        /// The stream that broke.
        stream: u32,
    },
    /// See [`Outbox::unsynced`].
    Unsynced {
        /// The backup.
        member: MemberId,
        /// What it lacks.
        unit: Unit,
    },
    /// See [`Outbox::fenced`].
    Fenced {
        /// The backup's table.
        version: TableVersion,
    },
}

/// A batch's part for one worker.
#[derive(Debug)]
pub struct Incoming {
    /// The owner.
    pub from: MemberId,
    /// Names the stream; batches of one stream stay in order.
    pub stream: u64,
    /// Names the batch, for the outcome.
    pub ticket: u64,
    /// The table that the owner acted under.
    pub version: TableVersion,
    /// What this worker of the owner (its number, and how many there are) told before is not complete, and its units are
    /// out of sync ([`Store::lost`]).
    pub lost: Option<(u16, u16)>,
    /// The format byte and updates; nothing, where something was lost.
    pub bytes: Vec<u8>,
}

/// What became of a batch's part.
#[derive(Debug)]
pub struct Outcome {
    /// As it came.
    pub stream: u64,
    /// As it came.
    pub ticket: u64,
    /// Units that are out of sync because of it.
    pub unsynced: Vec<Unit>,
    /// Something was refused because by this table its sender does not own the unit.
    pub fenced: Option<TableVersion>,
    /// It holds what is no update.
    pub malformed: Option<Malformed>,
    /// The buffer, for another batch.
    pub buffer: Vec<u8>,
}

/// One of the transport's ends, which its tasks use in turn. They all run on one thread: nobody ever waits for this lock.
#[allow(clippy::disallowed_types)]
struct InTurn<T>(std::sync::Mutex<T>);

impl<T> InTurn<T> {
    fn new(end: T) -> Self {
        #[allow(clippy::disallowed_types)]
        Self(std::sync::Mutex::new(end))
    }

    /// A ring's end is whole between any two calls, whatever became of the task that made the last one.
    fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far each backup has the log.
struct Acknowledged {
    positions: Vec<AtomicU64>,
    /// Whose word in `positions` has changed.
    fresh: AtomicU32,
}

/// The transport's ends of the rings.
struct Ends {
    ships: Vec<InTurn<Consumer<Shipped>>>,
    news: InTurn<Producer<ReplicaNews>>,
    batches: InTurn<Producer<Incoming>>,
    outcomes: InTurn<Consumer<Outcome>>,
}

/// The transport's end.
#[derive(Clone)]
pub struct PortHandle {
    ends: Arc<Ends>,
    acked: Arc<Acknowledged>,
    wake_worker: Wake,
}

/// The worker's end.
pub struct WorkerPort {
    ships: Vec<Producer<Shipped>>,
    acked: Arc<Acknowledged>,
    news: Consumer<ReplicaNews>,
    batches: Consumer<Incoming>,
    outcomes: Producer<Outcome>,
    /// By member: wakes whoever sends to it.
    wake_sender: Vec<Wake>,
    wake_receiver: Wake,
    aside: VecDeque<(Incoming, Progress)>,
    budget: usize,
}

#[derive(Debug, Default)]
struct Progress {
    /// Bytes that are done with; 0: the format byte is not read yet.
    done: usize,
    unsynced: Vec<Unit>,
    fenced: Option<TableVersion>,
}

/// Both ends. `wake_sender` has an entry for each possible member.
pub fn port(wake_worker: Wake, wake_sender: Vec<Wake>, wake_receiver: Wake) -> (PortHandle, WorkerPort) {
    let (ships, ships_out): (Vec<_>, Vec<_>) = (0..MEMBER_NUMBER_MAX).map(|_| RingBuffer::new(SHIPS_MAX)).unzip();
    let (news_in, news) = RingBuffer::new(NEWS_MAX);
    let (batches_in, batches) = RingBuffer::new(BATCHES_MAX);
    // While it is full, no batch is taken up.
    let (outcomes, outcomes_out) = RingBuffer::new(OUTCOMES_MAX);
    let acked = Arc::new(Acknowledged {
        positions: (0..MEMBER_NUMBER_MAX).map(|_| AtomicU64::new(0)).collect(),
        fresh: AtomicU32::new(0),
    });
    let ends = Ends {
        ships: ships_out.into_iter().map(InTurn::new).collect(),
        news: InTurn::new(news_in),
        batches: InTurn::new(batches_in),
        outcomes: InTurn::new(outcomes_out),
    };
    let handle = PortHandle { ends: Arc::new(ends), acked: Arc::clone(&acked), wake_worker };
    let worker = WorkerPort {
        ships,
        acked,
        news,
        batches,
        outcomes,
        wake_sender,
        wake_receiver,
        aside: VecDeque::new(),
        budget: BATCHES_A_ROUND,
    };
    (handle, worker)
}

impl PortHandle {
    /// The next piece of the log for a backup.
    pub fn poll_ship(&self, member: MemberId) -> Option<Shipped> {
        self.ends.ships.get(member.index())?.with(|ring| ring.pop().ok())
    }

    /// Tells how far a backup has the log.
    pub fn acknowledge(&self, member: MemberId, position: Position) {
        if let Some(word) = self.acked.positions.get(member.index()) {
            word.store(position.0, Ordering::Release);
            self.acked.fresh.fetch_or(MemberSet::of(member).bits(), Ordering::AcqRel);
            (self.wake_worker)();
        }
    }

    /// Tells news; gives them back if there is no room: to be tried again, before anything else is told.
    pub fn tell(&self, news: ReplicaNews) -> Result<(), ReplicaNews> {
        self.ends.news.with(|ring| ring.push(news)).map_err(|PushError::Full(news)| news)?;
        (self.wake_worker)();
        Ok(())
    }

    /// Delivers a batch; gives it back if there is no room: to be tried again when the receiver was woken.
    pub fn deliver(&self, batch: Incoming) -> Result<(), Incoming> {
        self.ends.batches.with(|ring| ring.push(batch)).map_err(|PushError::Full(batch)| batch)?;
        (self.wake_worker)();
        Ok(())
    }

    /// What became of a batch.
    pub fn poll_outcome(&self) -> Option<Outcome> {
        self.ends.outcomes.with(|ring| ring.pop().ok())
    }
}

impl WorkerPort {
    /// Takes in what came: acknowledgements and news for the outbox, batches for the store. Says whether there was
    /// anything.
    pub fn poll(&mut self, store: &mut Store, outbox: &mut Outbox) -> bool {
        // Looked at first: in most rounds there is nothing, and a swap would take the line from whoever writes it.
        let fresh = match self.acked.fresh.load(Ordering::Acquire) {
            0 => MemberSet::EMPTY,
            _ => MemberSet::from_bits(self.acked.fresh.swap(0, Ordering::AcqRel)),
        };
        let mut acked = [0; MEMBER_NUMBER_MAX as usize];
        for member in fresh.iter() {
            if let (Some(to), Some(word)) = (acked.get_mut(member.index()), self.acked.positions.get(member.index())) {
                *to = word.load(Ordering::Acquire);
            }
        }
        let mut busy = !fresh.is_empty();
        while let Ok(news) = self.news.pop() {
            busy = true;
            heed(news, outbox);
        }
        for member in fresh.iter() {
            outbox.acknowledged(member, Position(acked.get(member.index()).copied().unwrap_or(0)));
        }
        self.poll_batches(store) || busy
    }

    /// Hands over what was appended. No more than a look where nothing was.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        for member in outbox.shippable().iter() {
            let Some(ring) = self.ships.get_mut(member.index()) else { continue };
            let mut told = false;
            while !ring.is_full()
                && let Some((stream, ship)) = outbox.poll_ship(member)
            {
                // The worker is the only one that pushes, and has asked for room.
                let _ = ring.push(Shipped { stream, ship });
                told = true;
            }
            if told && let Some(wake) = self.wake_sender.get(member.index()) {
                wake();
            }
        }
    }

    /// Whether [`Self::poll`] would do something: to be asked before a sleep. What waits for a table is not looked at.
    pub fn is_waiting(&self) -> bool {
        let told = self.acked.fresh.load(Ordering::Acquire) != 0 || !self.news.is_empty();
        told || !self.batches.is_empty() && self.has_room()
    }

    /// Whether batches wait for nothing but room: nobody says when there is some again, so a sleep is to be short. (Not to sleep
    /// at all could keep the transport from its processor, and the room from coming.)
    pub fn is_blocked(&self) -> bool {
        !self.batches.is_empty() && !self.has_room()
    }

    /// Two outcomes may come of one batch.
    fn has_room(&self) -> bool {
        self.aside.len() < ASIDE_MAX && self.outcomes.slots() >= 2
    }

    fn poll_batches(&mut self, store: &mut Store) -> bool {
        self.budget = BATCHES_A_ROUND;
        let mut busy = self.retry_aside(store);
        while self.budget > 0 && self.has_room() {
            let Ok(batch) = self.batches.pop() else { break };
            self.budget -= 1;
            busy = true;
            let behind = self.aside.iter().any(|(waiting, _)| waiting.stream == batch.stream);
            let mut progress = Progress::default();
            if behind || !progress.apply(&batch, store) {
                self.make_room(batch.from, store);
                self.aside.push_back((batch, progress));
            } else {
                self.finish(batch, progress);
            }
        }
        if busy {
            (self.wake_receiver)();
        }
        busy
    }

    /// Where an owner has had its share, its oldest batch is refused: the units in it are out of sync, and are synchronised when
    /// the tables agree.
    fn make_room(&mut self, owner: MemberId, store: &mut Store) {
        let mut of_owner = self.aside.iter().enumerate().filter(|(_, (batch, _))| batch.from == owner);
        let Some((oldest, _)) = of_owner.next() else { return };
        if of_owner.count() + 1 >= ASIDE_OF_OWNER_MAX
            && let Some((batch, mut progress)) = self.aside.remove(oldest)
        {
            progress.refuse(&batch, store);
            self.finish(batch, progress);
        }
    }

    /// What waits for a table: tried again, in order for each stream.
    fn retry_aside(&mut self, store: &mut Store) -> bool {
        let (mut index, mut busy) = (0, false);
        while !self.outcomes.is_full()
            && let Some((batch, _)) = self.aside.get(index)
        {
            let stream = batch.stream;
            let blocked = batch.version > store.version()
                || self.aside.iter().take(index).any(|(earlier, _)| earlier.stream == stream);
            if blocked {
                index += 1;
                continue;
            }
            let Some((batch, mut progress)) = self.aside.remove(index) else { break };
            if progress.apply(&batch, store) {
                self.finish(batch, progress);
                busy = true;
            } else {
                self.aside.insert(index, (batch, progress));
                index += 1;
            }
        }
        busy
    }

    fn finish(&mut self, batch: Incoming, progress: Progress) {
        let Incoming { stream, ticket, bytes: mut buffer, .. } = batch;
        let Progress { unsynced, fenced, done } = progress;
        let malformed = (done == usize::MAX).then_some(Malformed::Truncated);
        buffer.clear();
        let outcome = Outcome { stream, ticket, unsynced, fenced, malformed, buffer };
        // The worker is the only one that pushes, and has asked for room.
        let _ = self.outcomes.push(outcome);
    }
}

fn heed(news: ReplicaNews, outbox: &mut Outbox) {
    match news {
        ReplicaNews::Greeted { member, stream, has } => outbox.greeted(member, stream, has),
        ReplicaNews::Gone { member, stream } => outbox.gone(member, stream),
        ReplicaNews::Unsynced { member, unit } => outbox.unsynced(member, unit),
        ReplicaNews::Fenced { version } => outbox.fenced(version),
    }
}

impl Progress {
    /// Applies what is not done yet; false: the rest waits for a table.
    fn apply(&mut self, batch: &Incoming, store: &mut Store) -> bool {
        if let Some((worker, workers)) = batch.lost {
            store.lost(batch.from, |unit| worker_of(unit, usize::from(workers)) == usize::from(worker));
            return true;
        }
        if self.done == 0 {
            match batch_format(&batch.bytes) {
                Ok(_) => self.done = 1,
                Err(error) => return self.give_up(error, store),
            }
        }
        let mut frames = Frames::new(batch.bytes.get(self.done..).unwrap_or(&[]));
        while let Some(frame) = frames.next() {
            let update = match frame.and_then(|frame| Update::decode(frame.content)) {
                Ok(update) => update,
                Err(error) => return self.give_up(error, store),
            };
            if let Err(refused) = store.apply(batch.from, batch.version, &update) {
                match refused.consequence() {
                    Consequence::Wait => return false,
                    Consequence::Fence => {
                        self.fenced = Some(store.version());
                        // What was refused may have been the unit's check: silence would confirm it.
                        self.complain(update.unit);
                    }
                    Consequence::Unsync => self.complain(update.unit),
                    Consequence::Close => return self.give_up(Malformed::Truncated, store),
                }
            }
            self.done = batch.bytes.len() - frames.rest().len();
        }
        true
    }

    /// Applies nothing more of the batch; its units are out of sync.
    fn refuse(&mut self, batch: &Incoming, store: &mut Store) {
        let rest = batch.bytes.get(self.done.max(1)..).unwrap_or(&[]);
        for update in Frames::new(rest).flatten().filter_map(|frame| Update::decode(frame.content).ok()) {
            store.lost(batch.from, |unit| unit == update.unit);
            self.complain(update.unit);
        }
    }

    fn complain(&mut self, unit: Unit) {
        if !self.unsynced.contains(&unit) {
            self.unsynced.push(unit);
        }
    }

    fn give_up(&mut self, error: Malformed, store: &mut Store) -> bool {
        store.count(&Refused::Malformed(error));
        self.done = usize::MAX;
        true
    }
}
