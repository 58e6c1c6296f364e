//! Bringing backups into sync, a bounded number of steps at a time.
//!
//! A backup that lacks a unit is checked first, and gets the unit's sessions only if it has them not. What it is sent goes
//! into the outbox's log, addressed to it alone, between the live updates; so each put tells the session's state at
//! its place in the log, and the updates behind it continue from there. How far a snapshot may run ahead of what the backup
//! has acknowledged is bounded ([`super::OutboxLimits::snapshot_window_bytes`]): live updates wait behind no more than that.
//!
//! No state is kept but a cursor for each backup. A walk whose unit was lost in between (another owner, a difference, a
//! broken connection) is dropped, and the unit comes round again.

use super::outbox::Outbox;
use super::record::{SessionKey, Update};
use super::store::Store;
use crate::unit::{MEMBER_NUMBER_MAX, MemberId, UNITS, Unit};

/// How a walk over a unit's sessions goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// From here.
    Next(Cursor),
    /// There are no more.
    End,
}

/// A place in a walk; the beginning by default. Only its [`Source`] knows what it means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// Which of several sources.
    pub part: u8,
    /// Where in it: a key, or an index.
    pub at: u128,
}

/// Who has a unit's sessions: live ones in an app's tables, or those in a store that nobody has asked for yet.
pub trait Source {
    /// The digest of the unit's sessions here.
    fn digest(&mut self, unit: Unit) -> u64;

    /// Tells the changes that make the next session, if there is one, and how to go on. Sessions that come during the walk may be told or
    /// not (the log tells them); those that stay all the while must be told.
    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step;
}

impl Source for Store {
    fn digest(&mut self, unit: Unit) -> u64 {
        Self::digest(self, unit)
    }

    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        let Some((session, record)) = self.next_session(unit, SessionKey(cursor.at)) else { return Step::End };
        record.put(|change, added| put(&Update { unit, session, app: record.app, change, added }));
        session.0.checked_add(1).map_or(Step::End, |at| Step::Next(Cursor { part: cursor.part, at }))
    }
}

/// All that somebody has of a unit: what waits in the store, and what lives elsewhere. The store comes first: a session that is
/// restored during the walk moves to where the walk has not been yet.
pub struct Sources<'a, S: ?Sized> {
    /// What nobody has asked for yet.
    pub store: &'a mut Store,
    /// Where sessions live.
    pub live: &'a mut [Box<S>],
}

impl<S: Source + ?Sized> Source for Sources<'_, S> {
    fn digest(&mut self, unit: Unit) -> u64 {
        let live = self.live.iter_mut().map(|source| source.digest(unit));
        live.fold(self.store.digest(unit), u64::wrapping_add)
    }

    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        let step = match cursor.part.checked_sub(1).map(usize::from) {
            None => self.store.put_next(unit, cursor, put),
            Some(live) => match self.live.get_mut(live) {
                Some(source) => source.put_next(unit, cursor, put),
                None => return Step::End,
            },
        };
        match step {
            Step::Next(next) => Step::Next(Cursor { part: cursor.part, at: next.at }),
            Step::End => Step::Next(Cursor { part: cursor.part.saturating_add(1), at: 0 }),
        }
    }
}

#[derive(Clone, Copy)]
struct Walk {
    unit: Unit,
    cursor: Cursor,
}

#[derive(Clone, Copy, Default)]
struct Course {
    walk: Option<Walk>,
    /// Where the search for the next unit begins.
    unit: u16,
}

/// See the module.
pub struct Snapshots {
    courses: Vec<Course>,
    /// Who is served first: another one each time.
    turn: usize,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshots {
    /// Nothing under way.
    pub fn new() -> Self {
        Self { courses: vec![Course::default(); usize::from(MEMBER_NUMBER_MAX)], turn: 0 }
    }

    /// Takes up to `steps` steps (a session, or a unit's check, each) for all backups that need any. Costs a look at each
    /// backup where there is nothing to do. Says whether something was done.
    pub fn pump(&mut self, outbox: &mut Outbox, source: &mut dyn Source, steps: usize) -> bool {
        let mut left = steps;
        let needy = outbox.lacking();
        let count = self.courses.len();
        self.turn = (self.turn + 1) % count;
        for index in (0..count).map(|it| (it + self.turn) % count) {
            let Some(member) = MemberId::new(index as u8 + 1) else { continue };
            let Some(course) = self.courses.get_mut(index) else { continue };
            if course.walk.is_none() && !needy.contains(member) {
                continue;
            }
            while left > 0 && outbox.has_window(member) && course.step(member, outbox, source) {
                left -= 1;
            }
        }
        left < steps
    }

    /// Asks all backups of a unit whether they still have the owner's state: what finds silent divergence. A worker
    /// does so for one unit after another, all the time.
    pub fn verify(outbox: &mut Outbox, source: &mut dyn Source, unit: Unit) {
        let digest = source.digest(unit);
        outbox.verify(unit, digest);
    }
}

impl Course {
    fn step(&mut self, member: MemberId, outbox: &mut Outbox, source: &mut dyn Source) -> bool {
        let Some(walk) = self.walk.take().filter(|walk| outbox.is_live(member, walk.unit)) else {
            return self.turn_to_next(member, outbox, source);
        };
        let Walk { unit, cursor } = walk;
        let step = source.put_next(unit, cursor, &mut |update| {
            outbox.append_to(super::MemberSet::of(member), update);
        });
        match step {
            Step::Next(cursor) => self.walk = Some(Walk { unit, cursor }),
            Step::End => outbox.complete(member, unit, source.digest(unit)),
        }
        true
    }

    fn turn_to_next(&mut self, member: MemberId, outbox: &mut Outbox, source: &mut dyn Source) -> bool {
        for unit in (0..UNITS as u32).map(|it| Unit::from_low_bits(it + u32::from(self.unit))) {
            let Some(differs) = outbox.lacks(member, unit) else { continue };
            self.unit = unit.number();
            if differs {
                outbox.begin(member, unit);
                self.walk = Some(Walk { unit, cursor: Cursor::default() });
            } else {
                outbox.check(member, unit, source.digest(unit));
            }
            return true;
        }
        false
    }
}
