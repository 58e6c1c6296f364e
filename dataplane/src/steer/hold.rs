//! The hold buffer: packets that wait for an owner, oldest first, per unit.
//!
//! One pool of nodes, allocated once. A node sits in two lists at a time: its unit's queue (order of release) and the
//! queue of all held packets (order of expiry: every packet may wait equally long, so that is the order of arrival).
//! Both are doubly linked by index, so taking any packet out is a handful of stores.

use super::Source;
use crate::unit::Unit;

const NIL: u32 = u32::MAX;

/// One held packet with what is needed to let it go rightly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held<P> {
    pub(super) packet: P,
    pub(super) unit: Unit,
    pub(super) source: Source,
    pub(super) digest: u32,
    pub(super) deadline_ns: u64,
}

/// A unit's queue of held packets: where it begins and ends in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldQueue {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for HeldQueue {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }
}

impl HeldQueue {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node<P> {
    held: Option<Held<P>>,
    /// Next in the unit's queue, or in the free list.
    next: u32,
    older: u32,
    newer: u32,
}

/// The pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HoldPool<P> {
    nodes: Box<[Node<P>]>,
    free: u32,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl<P> HoldPool<P> {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(NIL as usize - 1);
        let nodes = (0..capacity)
            .map(|i| Node {
                held: None,
                next: if i + 1 < capacity { i as u32 + 1 } else { NIL },
                older: NIL,
                newer: NIL,
            })
            .collect();
        Self { nodes, free: if capacity > 0 { 0 } else { NIL }, oldest: NIL, newest: NIL, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// When the oldest packet's time is up.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let node = self.nodes.get(self.oldest as usize)?;
        node.held.as_ref().map(|h| h.deadline_ns)
    }

    /// The unit of the oldest packet, if its time is up.
    pub(super) fn expired_unit(&self, now_ns: u64) -> Option<Unit> {
        let held = self.nodes.get(self.oldest as usize)?.held.as_ref()?;
        (held.deadline_ns <= now_ns).then_some(held.unit)
    }

    /// Keeps a packet at the end of its unit's queue; gives it back when the pool is full.
    pub(super) fn push(&mut self, queue: &mut HeldQueue, held: Held<P>) -> Result<(), Held<P>> {
        let index = self.free;
        let Some(node) = self.nodes.get_mut(index as usize) else {
            return Err(held);
        };
        self.free = node.next;
        *node = Node { held: Some(held), next: NIL, older: self.newest, newer: NIL };
        match self.nodes.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        match self.nodes.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = index,
            None => queue.head = index,
        }
        queue.tail = index;
        queue.len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest packet of a unit. (Within a unit, the oldest is also the first to expire.)
    pub(super) fn pop(&mut self, queue: &mut HeldQueue) -> Option<Held<P>> {
        let index = queue.head;
        let node = self.nodes.get_mut(index as usize)?;
        let held = node.held.take();
        let (next, older, newer) = (node.next, node.older, node.newer);
        node.next = self.free;
        self.free = index;
        match self.nodes.get_mut(older as usize) {
            Some(n) => n.newer = newer,
            None => self.oldest = newer,
        }
        match self.nodes.get_mut(newer as usize) {
            Some(n) => n.older = older,
            None => self.newest = older,
        }
        queue.head = next;
        if next == NIL {
            queue.tail = NIL;
        }
        queue.len -= 1;
        self.len -= 1;
        held
    }
}
