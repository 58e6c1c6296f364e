//! An owner's side, in a worker: one ordered log of updates, and what of it each backup has.
//!
//! Methods come in five kinds. The worker's packet path calls [`Outbox::append`] and [`Outbox::committed`]. The table's news
//! are [`Outbox::set_backups`] and [`Outbox::set_version`]. The transport's news are [`Outbox::greeted`],
//! [`Outbox::acknowledged`], [`Outbox::unsynced`], [`Outbox::fenced`], [`Outbox::gone`]; what is to be sent comes out of
//! [`Outbox::poll_ship`]. What the cluster must know is [`Outbox::take_changed`] and [`Outbox::take_shrunk`].
//! [`super::Snapshots`] uses the rest.
//!
//! The log is cut where a backup is ready for more, or where a segment is full. So one that is quick gets every update
//! at once, and behind one that is not they gather into large segments by themselves.

mod log;
mod sync;

use std::collections::VecDeque;
use std::sync::Arc;

use super::counters::counters;
use super::limits::{APPEND_BYTES_MAX, OutboxLimits, SEGMENT_BYTES, STATE_BYTES_MAX};
use super::members::MemberSet;
use super::peer::{Peer, Standing};
use super::record::{Change, Position, TableVersion, Update};
use super::segment::Segment;
use crate::app::UnitSet;
use crate::unit::{MEMBER_NUMBER_MAX, MemberId, UNITS, Unit};

counters! {
    /// What an outbox has counted, and how it stands.
    OutboxStats {
        /// Updates appended.
        updates,
        /// Bytes of updates appended, once for all backups.
        bytes,
        /// Updates refused because a state in them is too long.
        oversize,
        /// Backups declared out of sync because they fell too far behind.
        dropped,
        /// Backups that resumed the log after their connection broke.
        resumed,
        /// Backups that had to begin anew after their connection broke, or for the first time.
        begun,
        /// Units whose backup reported a difference.
        unsynced,
        /// Units that a backup confirmed to hold.
        confirmed,
        /// Refusals because of a table that was not known here yet.
        fenced,
        /// Updates not committed yet.
        uncommitted,
        /// Bytes of log kept for backups, buffers at their full size.
        log_bytes,
        /// Updates that the slowest backup in sync has not acknowledged.
        lag_updates,
        /// Bytes that the slowest backup in sync has not acknowledged.
        lag_bytes,
    }
}

/// What is to be sent to a backup next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ship {
    /// Nothing before this position that it does not have will come; all units are out of sync until they are checked.
    Begin(Position),
    /// A piece of the log.
    Segment(Arc<Segment>),
}

#[derive(Clone, Copy, Default)]
struct Targets {
    /// The unit's backups.
    wanted: MemberSet,
    /// Those that get its updates.
    live: MemberSet,
    /// Those that have confirmed to hold it.
    synced: MemberSet,
    /// Those that are known to hold something else: no check, but a snapshot.
    differ: MemberSet,
}

/// See the module.
pub struct Outbox {
    limits: OutboxLimits,
    version: TableVersion,
    head: Position,
    committed: Position,
    fence: Option<TableVersion>,
    units: Vec<Targets>,
    peers: Vec<Peer>,
    /// The members that ever mattered: only they are looked at, round after round.
    known: MemberSet,
    /// Closed segments that some backup has not acknowledged.
    log: VecDeque<Arc<Segment>>,
    /// The number of the first of them.
    first: u64,
    log_bytes: usize,
    open: Segment,
    spare: Vec<Arc<Segment>>,
    spare_small: Vec<Arc<Segment>>,
    /// Units of which other backups are in sync than when somebody asked last.
    changed: UnitSet,
    /// Somebody is not in sync any more that the cluster still takes for an heir.
    held_back: bool,
    /// The same, and nobody has asked yet.
    shrunk: bool,
    stats: OutboxStats,
}

impl Outbox {
    /// An outbox without backups: everything is committed as it is appended.
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            version: TableVersion::default(),
            head: Position(0),
            committed: Position(0),
            fence: None,
            units: vec![Targets::default(); UNITS],
            peers: (0..MEMBER_NUMBER_MAX).map(|_| Peer::new()).collect(),
            known: MemberSet::EMPTY,
            log: VecDeque::new(),
            first: 0,
            log_bytes: 0,
            open: Segment::default(),
            spare: Vec::new(),
            spare_small: Vec::new(),
            changed: UnitSet::EMPTY,
            held_back: false,
            shrunk: false,
            stats: OutboxStats::default(),
        }
    }

    /// Writes an update for its unit's backups. What depends on it may be shown when [`Self::committed`] has reached the
    /// answer.
    pub fn append(&mut self, update: &Update<'_>) -> Position {
        let to = self.units.get(update.unit.index()).map_or(MemberSet::EMPTY, |it| it.live);
        self.append_to(to, update)
    }

    pub(in crate::replica) fn append_to(&mut self, to: MemberSet, update: &Update<'_>) -> Position {
        match update.change {
            Change::Append { stream, mut offset, bytes } if bytes.len() > APPEND_BYTES_MAX => {
                for bytes in bytes.chunks(APPEND_BYTES_MAX) {
                    self.write(to, &Update { change: Change::Append { stream, offset, bytes }, ..*update });
                    offset += bytes.len() as u64;
                }
            }
            Change::Initial { bytes, .. } | Change::Essential { bytes, .. } | Change::Unknown { bytes, .. }
                if bytes.len() > STATE_BYTES_MAX =>
            {
                self.stats.oversize += 1;
            }
            _ => self.write(to, update),
        }
        self.head
    }

    /// Makes room for so many bytes of updates of one unit: a backup will have all of them or none, if they are appended in one
    /// round and are no more than a segment holds.
    pub fn keep_together(&mut self, bytes: usize) {
        if self.open.bytes.len().saturating_add(bytes) >= SEGMENT_BYTES {
            self.close();
        }
    }

    fn write(&mut self, to: MemberSet, update: &Update<'_>) {
        self.head.0 += 1;
        self.stats.updates += 1;
        if to.is_empty() {
            return;
        }
        let bytes = self.open.append(to, |out| update.encode(out));
        self.stats.bytes += bytes as u64;
        for member in to.iter() {
            if let Some(peer) = self.peers.get_mut(member.index()) {
                peer.note_bytes(self.head, bytes);
            }
        }
        if self.open.bytes.len() >= SEGMENT_BYTES {
            self.close();
        }
    }

    /// The position up to which all backups in sync have the log; with none of them, the log's end. It stands still while the
    /// cluster has yet to hear that somebody is in sync no longer: that one might take over without what is committed now.
    pub fn committed(&mut self) -> Position {
        if self.fence.is_none() && !self.held_back {
            let reached = self.reached_by(|peer| peer.waited);
            // It never goes back: a backup that comes into sync behind it is not counted as such until it is there.
            self.committed = self.committed.max(reached);
        }
        self.committed
    }

    /// The log's end.
    pub const fn head(&self) -> Position {
        self.head
    }

    /// The counters and the present state.
    pub fn stats(&mut self) -> OutboxStats {
        let committed = self.committed();
        let slowest = self.reached_by(|peer| peer.waited);
        let lag_bytes = self.peers().filter(|(_, peer)| peer.waited).map(|(_, peer)| peer.lag_bytes()).max();
        self.stats.uncommitted = self.head.0 - committed.0;
        self.stats.log_bytes = (self.log_bytes + self.open.memory()) as u64;
        self.stats.lag_updates = self.head.0 - slowest.0;
        self.stats.lag_bytes = lag_bytes.unwrap_or(0);
        self.stats
    }

    /// The members that matter, and how they stand.
    fn peers(&self) -> impl Iterator<Item = (MemberId, &Peer)> {
        self.known.iter().filter_map(|member| self.peers.get(member.index()).map(|peer| (member, peer)))
    }

    fn members(&self, wanted: impl Fn(&Peer) -> bool) -> MemberSet {
        self.peers().filter(|(_, peer)| wanted(peer)).map(|(member, _)| member).collect()
    }

    /// How far the slowest of those for whom it matters has the log.
    fn reached_by(&self, wanted: impl Fn(&Peer) -> bool) -> Position {
        let those = self.peers().filter(|(_, peer)| wanted(peer));
        those.map(|(_, peer)| peer.reached(self.head)).min().unwrap_or(self.head)
    }

    // ---- The table's news.

    /// The table that this worker acts under from now on. Call it after the units that the table took from us have been given up
    /// ([`Self::set_backups`] with nobody) and what was to be shown for them is discarded.
    pub fn set_version(&mut self, version: TableVersion) {
        if version != self.version {
            self.close();
            self.version = version;
        }
        if self.fence.is_some_and(|fence| fence <= version) {
            self.fence = None;
        }
    }

    /// Who is to hold a unit that this worker serves; nobody, when it no longer does.
    pub fn set_backups(&mut self, unit: Unit, members: MemberSet) {
        let Some(targets) = self.units.get_mut(unit.index()) else { return };
        let (new, old) = (members.without(targets.wanted), targets.wanted.without(members));
        targets.wanted = members;
        targets.differ = targets.differ.intersection(members);
        self.known = self.known.union(new);
        for member in new.iter() {
            if let Some(peer) = self.peers.get_mut(member.index()) {
                peer.wanted += 1;
            }
        }
        for member in old.iter() {
            self.forget(member, unit);
            if let Some(peer) = self.peers.get_mut(member.index()) {
                peer.wanted -= 1;
            }
        }
        if !old.is_empty() {
            self.trim();
        }
    }

    /// The unit is not in sync with the member any more.
    fn forget(&mut self, member: MemberId, unit: Unit) {
        let (Some(targets), Some(peer)) = (self.units.get_mut(unit.index()), self.peers.get_mut(member.index())) else {
            return;
        };
        if targets.synced.contains(member) {
            self.changed.insert(unit);
        }
        peer.live -= u32::from(targets.live.contains(member));
        peer.synced -= u32::from(targets.synced.contains(member));
        targets.live.remove(member);
        targets.synced.remove(member);
        if let Some(place) = peer.confirming.iter().position(|(it, _)| *it == unit) {
            peer.confirming.remove(place);
        }
        (peer.waited, peer.caught_up) = (peer.synced > 0, peer.caught_up && peer.synced > 0);
    }

    fn forget_all(&mut self, member: MemberId) {
        Unit::all().for_each(|unit| self.forget(member, unit));
    }

    // ---- The transport's news.

    /// A backup has answered on a new stream, and named the end of what it has of this outbox's log, if it has anything.
    pub fn greeted(&mut self, member: MemberId, stream: u32, has: Option<Position>) {
        self.close();
        self.known.insert(member);
        let Some(peer) = self.peers.get_mut(member.index()) else { return };
        peer.stream = stream;
        let resumes = has.filter(|has| peer.is_followed() && (peer.acked..=peer.shipped).contains(has));
        peer.standing = Standing::Connected;
        match resumes {
            Some(has) => {
                self.stats.resumed += 1;
                peer.begin = None;
                peer.shipped = has;
                let behind = self.log.iter().take_while(|segment| segment.last <= has).count();
                peer.next = self.first + behind as u64;
                self.acknowledged(member, has);
            }
            None => {
                self.stats.begun += 1;
                self.begin_anew(member);
            }
        }
    }

    /// A stream broke.
    pub fn gone(&mut self, member: MemberId, stream: u32) {
        if let Some(peer) = self.peers.get_mut(member.index())
            && peer.stream == stream
            && peer.standing == Standing::Connected
        {
            peer.standing = Standing::Unconnected;
        }
    }

    /// Somebody is about to be waited for no longer, though it stays a backup.
    fn hold_back(&mut self, shrinks: bool) {
        if shrinks {
            self.committed();
            self.held_back = true;
            self.shrunk = true;
        }
    }

    fn begin_anew(&mut self, member: MemberId) {
        self.close();
        self.hold_back(self.is_waited_for(member));
        self.forget_all(member);
        let (head, end) = (self.head, self.first + self.log.len() as u64);
        if let Some(peer) = self.peers.get_mut(member.index()) {
            peer.restart(head);
            peer.next = end;
        }
        self.trim();
    }

    /// A backup has the log up to here.
    pub fn acknowledged(&mut self, member: MemberId, position: Position) {
        let Some(peer) = self.peers.get_mut(member.index()) else { return };
        if position > peer.shipped || position < peer.acked {
            return;
        }
        peer.acknowledge(position);
        while let Some((unit, _)) = peer.confirming.front().copied().filter(|(_, at)| *at <= position) {
            peer.confirming.pop_front();
            if let Some(targets) = self.units.get_mut(unit.index()) {
                targets.synced.insert(member);
            }
            self.changed.insert(unit);
            peer.synced += 1;
            peer.waited = true;
            self.stats.confirmed += 1;
        }
        if !peer.caught_up && peer.waited && peer.reached(self.head) >= self.committed {
            peer.caught_up = true;
            let counts = |(_, it): &(Unit, &Targets)| it.synced.contains(member);
            Unit::all().zip(&self.units).filter(counts).for_each(|(unit, _)| self.changed.insert(unit));
        }
        if peer.standing == Standing::Dropped && peer.acked >= peer.shipped {
            peer.standing = Standing::Connected;
            self.begin_anew(member);
        }
        self.trim();
    }

    /// A backup does not have this unit as it should.
    pub fn unsynced(&mut self, member: MemberId, unit: Unit) {
        let Some(targets) = self.units.get_mut(unit.index()) else { return };
        if !targets.live.contains(member) {
            return;
        }
        targets.differ.insert(member);
        let was_synced = targets.synced.contains(member);
        self.stats.unsynced += 1;
        self.hold_back(was_synced);
        self.forget(member, unit);
    }

    /// A backup refused an update because its table, this one, gives the unit to another. Nothing is committed until we have that
    /// table too: what was refused must not be shown. This outlives our joining another cluster, for refusals of what we told before may
    /// come after that; its tables are to be later than any whose term we have heard of.
    pub fn fenced(&mut self, version: TableVersion) {
        self.stats.fenced += 1;
        if version > self.version {
            self.committed();
            self.fence = self.fence.max(Some(version));
        }
    }

    /// The table that must be here before anything is committed again, if a backup has refused something by one.
    pub const fn fence(&self) -> Option<TableVersion> {
        self.fence
    }

    /// Waits for this backup no longer: it is out of sync until it has caught up and was checked. The way to get rid of one that
    /// delays commits but is no full log away.
    pub fn set_out_of_sync(&mut self, member: MemberId) {
        let Some(peer) = self.peers.get_mut(member.index()) else { return };
        if !peer.is_followed() {
            return;
        }
        self.stats.dropped += 1;
        let caught_up = peer.acked >= peer.shipped;
        let connected = peer.standing == Standing::Connected;
        if connected && !caught_up {
            peer.standing = Standing::Dropped;
        }
        self.hold_back(self.is_waited_for(member));
        self.forget_all(member);
        if connected && caught_up {
            self.begin_anew(member);
        }
        self.trim();
    }
}
