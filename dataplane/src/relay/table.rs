//! All sessions of a worker: by slot, and by the flow of either end.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use super::SERVER;
use super::session::Session;
use crate::tcp::{Flow, State};
use crate::unit::Unit;

/// Hashing that outsiders cannot aim at.
#[derive(Clone, Copy, Debug)]
struct Keyed(u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
    flows: HashMap<Flow, (u32, u8), Keyed>,
    /// Each session's unit and slot.
    units: BTreeSet<(Unit, u32)>,
    lives: u32,
}

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        let flows = HashMap::with_hasher(Keyed(seed));
        Self { slots: Vec::new(), free: Vec::new(), flows, units: BTreeSet::new(), lives: 0 }
    }

    /// How many sessions there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot and the end of a flow.
    pub(super) fn find(&self, flow: &Flow) -> Option<(u32, usize)> {
        self.flows.get(flow).map(|(slot, end)| (*slot, usize::from(*end)))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Takes in a session, whose life is given here, with the flows of its ends.
    pub(super) fn insert(&mut self, mut session: Session) -> u32 {
        self.lives = self.lives.wrapping_add(1);
        session.life = self.lives;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        for end in 0..session.ends.len() {
            // The port of a connection to a back end that is over may be another session's.
            let is_free = end == SERVER && session.state(SERVER) == Some(State::Closed);
            if let Some(flow) = session.flow(end).filter(|_| !is_free) {
                self.flows.insert(flow, (slot, end as u8));
            }
        }
        self.units.insert((session.unit, slot));
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(session);
        }
        slot
    }

    /// Packets of a flow are for this session's end from now on.
    pub(super) fn link(&mut self, flow: Flow, slot: u32, end: usize) {
        self.flows.insert(flow, (slot, end as u8));
    }

    /// The flow is nobody's any more.
    pub(super) fn unlink(&mut self, flow: &Flow) {
        self.flows.remove(flow);
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Session> {
        let session = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.units.remove(&(session.unit, slot));
        for end in 0..session.ends.len() {
            if let Some(flow) = session.flow(end)
                && self.find(&flow) == Some((slot, end))
            {
                self.flows.remove(&flow);
            }
        }
        Some(session)
    }

    /// The first session of a unit that is in this slot or a later one.
    pub(super) fn next_of(&self, unit: Unit, from: u32) -> Option<u32> {
        self.units.range((unit, from)..=(unit, u32::MAX)).next().map(|(_, slot)| *slot)
    }

    /// The sessions of a unit.
    pub(super) fn of(&self, unit: Unit) -> impl Iterator<Item = &Session> {
        let slots = self.units.range((unit, 0)..=(unit, u32::MAX));
        slots.filter_map(|(_, slot)| self.get(*slot))
    }
}
