//! A backup's side, in a worker: what owners have replicated, by unit and session.
//!
//! Sessions lie in a tree for each unit: found in a handful of steps, walked in order (a snapshot resumes behind a key),
//! the same on every run. Which of them have something on their way is noted apart, so that a takeover can restore those at
//! once and leave the rest where they are until somebody asks for them.
//!
//! A unit that is out of sync keeps what it has (after a crash in mid-snapshot old state is better than none), but takes
//! no changes until a check or a snapshot begins.

mod held;
mod refusal;
mod watch;

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use super::counters::counters;
use super::digest::{DigestKey, SessionDigest};
use super::limits::StoreLimits;
use super::record::{Change, SessionKey, TableVersion, Update};
use super::session::{Buffers, Record, Stream};
use crate::unit::{MemberId, UNITS, Unit};
use held::{Context, Held};
use watch::Watch;

pub use refusal::{Consequence, Refused};

/// What a session's place in the store costs beside its bytes.
const SESSION_BYTES: usize = 512;

counters! {
    /// What a store has counted.
    StoreStats {
        /// Updates applied.
        applied,
        /// Bytes of streams appended.
        appended_bytes,
        /// Updates refused because their sender does not own the unit.
        not_owner,
        /// Updates refused because they were made before their sender became the unit's owner.
        older_generation,
        /// Updates put off because they were made under a table that is not known here yet.
        ahead_of_table,
        /// Updates refused because bytes of a stream were missing before them.
        gap,
        /// Updates refused because their session is unknown.
        unknown_session,
        /// Updates refused because there was no room.
        over_limits,
        /// Updates refused because they contradict what is known of their session.
        contradiction,
        /// Updates refused because their unit was not checked since it became their sender's.
        unchecked,
        /// Units whose digest was not the owner's.
        digest_mismatch,
        /// Those among them that were in sync: something has changed here, or there, that nobody said.
        diverged,
        /// Batches refused because they hold what is no update.
        malformed,
        /// Changes of sessions that were removed already: late, and ignored.
        late,
        /// Changes ignored because their unit, or their session in a snapshot, was not in sync yet.
        skipped,
        /// Units that came into sync.
        synced,
        /// Snapshots of units that began.
        snapshots,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sync {
    /// It has not been checked since it became its owner's, who may think that it was: the table may have gone to another and
    /// back while that one was cut off.
    Unchecked,
    /// Its owner knows that it is not in sync. Changes are skipped.
    Lost,
    /// A snapshot is coming in: only what was put since has a say.
    Coming,
    Synced,
}

struct Units {
    sessions: BTreeMap<SessionKey, Box<Held>>,
    digest: u64,
    owner: Option<MemberId>,
    /// The table that made it so.
    since: TableVersion,
    sync: Sync,
    epoch: u32,
    /// Sessions that were busy when they were listed; those that are no more are left out when the list is read.
    busy: Vec<SessionKey>,
}

/// See the module.
pub struct Store {
    units: Vec<Units>,
    key: DigestKey,
    limits: StoreLimits,
    version: TableVersion,
    sessions: usize,
    bytes: usize,
    buffers: Buffers,
    tombs: VecDeque<(Unit, SessionKey)>,
    buried: BTreeSet<(Unit, SessionKey)>,
    watch: Watch,
    stats: StoreStats,
}

impl Store {
    /// An empty store. The key is the cluster's.
    pub fn new(key: DigestKey, limits: StoreLimits) -> Self {
        let unit = || Units {
            sessions: BTreeMap::new(),
            digest: 0,
            owner: None,
            since: TableVersion::default(),
            sync: Sync::Unchecked,
            epoch: 0,
            busy: Vec::new(),
        };
        Self {
            units: (0..UNITS).map(|_| unit()).collect(),
            key,
            limits,
            version: TableVersion::default(),
            sessions: 0,
            bytes: 0,
            buffers: Buffers::default(),
            tombs: VecDeque::new(),
            buried: BTreeSet::new(),
            watch: Watch::default(),
            stats: StoreStats::default(),
        }
    }

    /// From now on sessions of this app are listed when they begin or end, by anybody's word but [`Self::take`]'s.
    pub fn watch(&mut self, app: u8) {
        self.watch.watch(app);
    }

    /// A session that has begun or ended since it was last asked, with its app; which of the two, what is held of it now says. To be
    /// drained in every round that changes the store.
    pub fn next_change(&mut self) -> Option<(u8, Unit, SessionKey)> {
        self.watch.next()
    }

    /// The counters.
    pub const fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Sessions held.
    pub const fn session_count(&self) -> usize {
        self.sessions
    }

    /// Bytes held, buffers at their full size.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The table in force here. Call it after [`Self::set_owner`] for the units that it changed.
    pub fn set_version(&mut self, version: TableVersion) {
        self.version = version;
    }

    /// The table in force here.
    pub const fn version(&self) -> TableVersion {
        self.version
    }

    /// Who owns a unit from this table on. Under a new owner the unit is out of sync until that one has checked it; says
    /// whether it was in sync with the old one.
    pub fn set_owner(&mut self, unit: Unit, owner: Option<MemberId>, version: TableVersion) -> bool {
        let Some(it) = self.units.get_mut(unit.index()) else { return false };
        let was_synced = it.sync == Sync::Synced;
        if it.owner != owner {
            (it.owner, it.since, it.sync) = (owner, version, Sync::Unchecked);
        }
        was_synced
    }

    /// The unit's owner by the last table.
    pub fn owner(&self, unit: Unit) -> Option<MemberId> {
        self.units.get(unit.index())?.owner
    }

    /// Puts units of `from` out of sync: changes of them were lost on the way.
    pub fn lost(&mut self, from: MemberId, lost: impl Fn(Unit) -> bool) {
        for (unit, it) in Unit::all().zip(&mut self.units) {
            if it.owner == Some(from) && lost(unit) {
                it.sync = Sync::Lost;
            }
        }
    }

    /// Whether the unit holds what its owner has told so far, all of it. As far as is known here: who slept through a table in
    /// which the unit was another's learns by the owner's next check that it does not. The owner's word
    /// ([`super::Outbox::in_sync`]) is the one to go by.
    pub fn is_synced(&self, unit: Unit) -> bool {
        self.units.get(unit.index()).is_some_and(|it| it.sync == Sync::Synced)
    }

    /// Applies an update of `from`, made under table `version`.
    pub fn apply(&mut self, from: MemberId, version: TableVersion, update: &Update<'_>) -> Result<(), Refused> {
        let done = self.judge(from, version, update.unit).and_then(|()| self.change(update));
        if let Err(refused) = &done {
            self.count(refused);
            if refused.consequence() == Consequence::Unsync
                && let Some(it) = self.units.get_mut(update.unit.index())
            {
                it.sync = Sync::Lost;
            }
        }
        done
    }

    /// Puts a change of a unit that we own, or give up, into the store: what is left of our own sessions.
    pub fn keep(&mut self, update: &Update<'_>) -> Result<(), Refused> {
        let current = self.units.get(update.unit.index()).map_or(0, |it| it.epoch);
        let done = self.session_change(update, current);
        if let Err(refused) = &done {
            self.count(refused);
        }
        done
    }

    /// Counts a batch that is none.
    pub fn count(&mut self, refused: &Refused) {
        let stats = &mut self.stats;
        let counter = match refused {
            Refused::NotOwner => &mut stats.not_owner,
            Refused::OlderGeneration => &mut stats.older_generation,
            Refused::AheadOfTable => &mut stats.ahead_of_table,
            Refused::Gap => &mut stats.gap,
            Refused::UnknownSession => &mut stats.unknown_session,
            Refused::OverLimits => &mut stats.over_limits,
            Refused::Contradiction => &mut stats.contradiction,
            Refused::Unchecked => &mut stats.unchecked,
            Refused::DigestMismatch => &mut stats.digest_mismatch,
            Refused::Malformed(_) => &mut stats.malformed,
        };
        *counter += 1;
    }

    fn judge(&self, from: MemberId, version: TableVersion, unit: Unit) -> Result<(), Refused> {
        let it = self.units.get(unit.index()).ok_or(Refused::NotOwner)?;
        if it.owner == Some(from) {
            return if version < it.since { Err(Refused::OlderGeneration) } else { Ok(()) };
        }
        Err(if version > self.version { Refused::AheadOfTable } else { Refused::NotOwner })
    }

    fn change(&mut self, update: &Update<'_>) -> Result<(), Refused> {
        let Some(it) = self.units.get_mut(update.unit.index()) else { return Err(Refused::NotOwner) };
        match update.change {
            Change::UnitCheck { digest } => {
                if it.digest != digest {
                    self.stats.diverged += u64::from(it.sync == Sync::Synced);
                    return Err(Refused::DigestMismatch);
                }
                // An owner asks all the time.
                self.stats.synced += u64::from(it.sync != Sync::Synced);
                it.sync = Sync::Synced;
            }
            Change::UnitBegin => {
                it.epoch = it.epoch.wrapping_add(1);
                it.sync = Sync::Coming;
                self.stats.snapshots += 1;
            }
            Change::UnitComplete { digest } => return self.complete(update.unit, digest),
            _ => {
                let (sync, epoch) = (it.sync, it.epoch);
                if sync == Sync::Unchecked {
                    return Err(Refused::Unchecked);
                }
                if sync == Sync::Lost {
                    self.stats.skipped += 1;
                    return Ok(());
                }
                let begins = matches!(update.change, Change::Initial { .. } | Change::Reset | Change::Remove);
                let known = it.sessions.get(&update.session);
                if sync == Sync::Coming && !begins && known.is_none_or(|held| held.epoch != epoch) {
                    self.stats.skipped += 1;
                    return Ok(());
                }
                self.session_change(update, epoch)?;
            }
        }
        self.stats.applied += 1;
        Ok(())
    }

    /// A snapshot ends: what was not in it is gone.
    fn complete(&mut self, unit: Unit, digest: u64) -> Result<(), Refused> {
        let Some(it) = self.units.get_mut(unit.index()) else { return Ok(()) };
        if it.sync != Sync::Coming {
            // Its owner was told already.
            self.stats.skipped += 1;
            return Ok(());
        }
        let epoch = it.epoch;
        let (mut sum, mut count, mut bytes) = (0_u64, 0, 0);
        let watch = &mut self.watch;
        it.sessions.retain(|session, held| {
            let stays = held.epoch == epoch;
            if !stays {
                watch.note(held.record.app, unit, *session);
                sum = sum.wrapping_add(held.value);
                count += 1;
                bytes += held.record.bytes() + SESSION_BYTES;
            }
            stays
        });
        it.digest = it.digest.wrapping_sub(sum);
        self.sessions -= count;
        self.bytes -= bytes;
        if it.digest != digest {
            return Err(Refused::DigestMismatch);
        }
        it.sync = Sync::Synced;
        self.stats.synced += 1;
        self.stats.applied += 1;
        Ok(())
    }

    fn session_change(&mut self, update: &Update<'_>, epoch: u32) -> Result<(), Refused> {
        match update.change {
            Change::Remove => {
                self.drop_session(update.unit, update.session);
                self.bury(update.unit, update.session);
                self.watch.note(update.app, update.unit, update.session);
                return Ok(());
            }
            Change::Reset => self.drop_session(update.unit, update.session),
            _ => {}
        }
        let Some(it) = self.units.get_mut(update.unit.index()) else { return Err(Refused::NotOwner) };
        let begins = matches!(update.change, Change::Initial { .. } | Change::Reset);
        let full = self.sessions >= self.limits.sessions_max || self.bytes + SESSION_BYTES > self.limits.bytes_max;
        let held = match it.sessions.entry(update.session) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(_) if begins && full => return Err(Refused::OverLimits),
            Entry::Vacant(place) if begins => {
                if self.buried.remove(&(update.unit, update.session)) {
                    self.tombs.retain(|tomb| *tomb != (update.unit, update.session));
                }
                let digest = SessionDigest::new(update.session, update.app);
                self.sessions += 1;
                self.bytes += SESSION_BYTES;
                let record = Record { app: update.app, ..Record::default() };
                // Counted into the unit's digest below, as every change is.
                place.insert(Box::new(Held { record, digest, value: 0, epoch, listed: false }))
            }
            Entry::Vacant(_) if self.buried.contains(&(update.unit, update.session)) => {
                self.stats.late += 1;
                return Ok(());
            }
            Entry::Vacant(_) => return Err(Refused::UnknownSession),
        };
        if held.record.app != update.app {
            return Err(Refused::Contradiction);
        }
        held.epoch = epoch;
        let before = held.record.bytes();
        let room = self.limits.bytes_max.saturating_sub(self.bytes);
        let context = Context { key: self.key, stream_bytes_max: self.limits.stream_bytes_max, room };
        let done = held.change(update, &context, &mut self.buffers);
        self.bytes = self.bytes - before + held.record.bytes();
        let value = held.digest.value(self.key, held.record.streams.iter().map(Stream::shape));
        it.digest = it.digest.wrapping_sub(held.value).wrapping_add(value);
        held.value = value;
        if !held.listed && held.record.is_busy() {
            held.listed = true;
            it.list(update.session);
        }
        match (&done, update.change) {
            (Ok(()), Change::Append { bytes, .. }) => self.stats.appended_bytes += bytes.len() as u64,
            (Ok(()), Change::Initial { .. }) => self.watch.note(update.app, update.unit, update.session),
            _ => {}
        }
        done
    }

    fn drop_session(&mut self, unit: Unit, session: SessionKey) {
        if let Some(mut record) = self.take(unit, session) {
            record.streams.drain(..).for_each(|stream| self.buffers.give(stream.bytes));
        }
    }

    /// Remembers a session that was removed, and forgets the one that was removed longest ago.
    fn bury(&mut self, unit: Unit, session: SessionKey) {
        if self.limits.tombstones_max == 0 || !self.buried.insert((unit, session)) {
            return;
        }
        self.tombs.push_back((unit, session));
        if self.tombs.len() > self.limits.tombstones_max
            && let Some(oldest) = self.tombs.pop_front()
        {
            self.buried.remove(&oldest);
        }
    }

    /// Takes a session out, to restore it. Costs the same however many there are in other units.
    pub fn take(&mut self, unit: Unit, session: SessionKey) -> Option<Record> {
        let it = self.units.get_mut(unit.index())?;
        let held = it.sessions.remove(&session)?;
        it.digest = it.digest.wrapping_sub(held.value);
        self.sessions -= 1;
        self.bytes -= held.record.bytes() + SESSION_BYTES;
        Some(held.record)
    }

    /// A session, left where it is.
    pub fn get(&self, unit: Unit, session: SessionKey) -> Option<&Record> {
        self.units.get(unit.index())?.sessions.get(&session).map(|held| &held.record)
    }

    /// A unit's sessions, by key.
    pub fn sessions(&self, unit: Unit) -> impl Iterator<Item = (SessionKey, &Record)> {
        let sessions = self.units.get(unit.index()).map(|it| it.sessions.iter());
        sessions.into_iter().flatten().map(|(key, held)| (*key, &held.record))
    }

    /// The first session of a unit that is not before `from`: how a walk resumes.
    pub fn next_session(&self, unit: Unit, from: SessionKey) -> Option<(SessionKey, &Record)> {
        let sessions = &self.units.get(unit.index())?.sessions;
        let (key, held) = sessions.range((Bound::Included(from), Bound::Unbounded)).next()?;
        Some((*key, &held.record))
    }

    /// A session of the unit that has something on its way, if there is one: take it, restore it, ask again. Costs nothing where
    /// there is none.
    pub fn next_busy(&mut self, unit: Unit) -> Option<SessionKey> {
        let it = self.units.get_mut(unit.index())?;
        while let Some(session) = it.busy.last().copied() {
            match it.sessions.get_mut(&session) {
                Some(held) if held.record.is_busy() => return Some(session),
                Some(held) => held.listed = false,
                None => {}
            }
            it.busy.pop();
        }
        None
    }

    /// Forgets a unit's sessions.
    pub fn clear(&mut self, unit: Unit) {
        let Some(it) = self.units.get_mut(unit.index()) else { return };
        let sessions = std::mem::take(&mut it.sessions);
        self.sessions -= sessions.len();
        self.bytes -= sessions.values().map(|held| held.record.bytes() + SESSION_BYTES).sum::<usize>();
        sessions.iter().for_each(|(session, held)| self.watch.note(held.record.app, unit, *session));
        (it.digest, it.sync) = (0, Sync::Unchecked);
        it.busy.clear();
    }

    /// The digest of what the unit holds. For an owner: of what it has not yet restored.
    pub fn digest(&self, unit: Unit) -> u64 {
        self.units.get(unit.index()).map_or(0, |it| it.digest)
    }
}

impl Units {
    /// Notes a busy session. Before the list grows, those that are busy no more go.
    fn list(&mut self, session: SessionKey) {
        if self.busy.len() == self.busy.capacity() {
            let sessions = &mut self.sessions;
            // The flag of a session that stays is down until all are seen, so that one listed twice stays once.
            self.busy.retain(|key| match sessions.get_mut(key) {
                Some(held) if *key != session => std::mem::take(&mut held.listed) && held.record.is_busy(),
                _ => false,
            });
            for key in &self.busy {
                if let Some(held) = sessions.get_mut(key) {
                    held.listed = true;
                }
            }
            // Half full at most after a tidying: else it would be tidied again at every call.
            if self.busy.len() * 2 > self.busy.capacity() {
                self.busy.reserve(self.busy.len().max(8));
            }
        }
        self.busy.push(session);
    }
}
