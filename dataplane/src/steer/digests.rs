//! Digest logs: which packets were already processed, remembered by a 32-bit digest each.
//!
//! One pool, allocated once; a log is a list through it. A log is a multiset in order of arrival: two packets with
//! one digest are two entries, and each entry answers for one packet. Copies come in nearly the same order as their
//! originals, so a search from the oldest entry usually ends at the first.

const NIL: u32 = u32::MAX;

/// Which copies of a packet an entry answers for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Copies {
    /// Any copy.
    Any,
    /// Copies that this member saw itself.
    Direct,
    /// Copies that another member passed on.
    PassedOn,
}

/// A list of digests in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DigestLog {
    head: u32,
    tail: u32,
    len: u32,
    /// Some digest was not noted: the log does not name every packet.
    pub(super) overflowed: bool,
}

impl Default for DigestLog {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, len: 0, overflowed: false }
    }
}

impl DigestLog {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.overflowed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    digest: u32,
    next: u32,
    copies: Copies,
}

/// The pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DigestPool {
    nodes: Box<[Node]>,
    free: u32,
    per_log_max: u32,
}

impl DigestPool {
    pub(super) fn new(capacity: usize, per_log_max: usize) -> Self {
        let capacity = capacity.min(NIL as usize - 1);
        let next = |i: usize| if i + 1 < capacity { i as u32 + 1 } else { NIL };
        let nodes = (0..capacity).map(|i| Node { digest: 0, next: next(i), copies: Copies::Any }).collect();
        Self { nodes, free: if capacity > 0 { 0 } else { NIL }, per_log_max: per_log_max.min(capacity) as u32 }
    }

    /// Notes a packet; gives the log up when it or the pool is full.
    pub(super) fn push(&mut self, log: &mut DigestLog, digest: u32, copies: Copies) {
        let index = self.free;
        if log.len >= self.per_log_max {
            log.overflowed = true;
            return;
        }
        let Some(node) = self.nodes.get_mut(index as usize) else {
            log.overflowed = true;
            return;
        };
        self.free = node.next;
        *node = Node { digest, next: NIL, copies };
        match self.nodes.get_mut(log.tail as usize) {
            Some(tail) => tail.next = index,
            None => log.head = index,
        }
        log.tail = index;
        log.len += 1;
    }

    /// Removes the oldest entry for this digest that `wanted` accepts; says whether there was one.
    pub(super) fn take(&mut self, log: &mut DigestLog, digest: u32, wanted: impl Fn(Copies) -> bool) -> bool {
        let (mut before, mut index) = (NIL, log.head);
        while let Some(&node) = self.nodes.get(index as usize) {
            if node.digest == digest && wanted(node.copies) {
                self.unlink(log, before, index, node.next);
                return true;
            }
            (before, index) = (index, node.next);
        }
        false
    }

    fn unlink(&mut self, log: &mut DigestLog, before: u32, index: u32, next: u32) {
        match self.nodes.get_mut(before as usize) {
            Some(b) => b.next = next,
            None => log.head = next,
        }
        if log.tail == index {
            log.tail = before;
        }
        log.len -= 1;
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = self.free;
            self.free = index;
        }
    }

    /// Moves all entries of `from` behind those of `to`.
    pub(super) fn append(&mut self, to: &mut DigestLog, from: &mut DigestLog) {
        let from = std::mem::take(from);
        to.overflowed |= from.overflowed;
        if from.len == 0 {
            return;
        }
        match self.nodes.get_mut(to.tail as usize) {
            Some(tail) => tail.next = from.head,
            None => to.head = from.head,
        }
        to.tail = from.tail;
        to.len += from.len;
    }

    /// Forgets a log.
    pub(super) fn clear(&mut self, log: &mut DigestLog) {
        let log = std::mem::take(log);
        if let Some(tail) = self.nodes.get_mut(log.tail as usize) {
            tail.next = self.free;
            self.free = log.head;
        }
    }

    /// Empties a log into a list, oldest first; `None` if it did not note every packet.
    pub(super) fn drain(&mut self, log: &mut DigestLog) -> Option<Vec<u32>> {
        let complete = !log.overflowed;
        let mut digests = Vec::with_capacity(log.len as usize);
        let mut index = log.head;
        while let Some(node) = self.nodes.get(index as usize) {
            digests.push(node.digest);
            index = node.next;
        }
        self.clear(log);
        complete.then_some(digests)
    }
}
