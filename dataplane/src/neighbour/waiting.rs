//! Packets that wait for a hardware address: one pool of places, allocated once, and a queue through it for each neighbour
//! that is being asked for.

const NIL: u32 = u32::MAX;

/// The packets that wait for one neighbour, oldest first: where they are in the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL, len: 0 };

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

struct Place<P> {
    packet: Option<P>,
    /// Next in its queue, or in the list of free places.
    next: u32,
}

pub(super) struct Pool<P> {
    places: Box<[Place<P>]>,
    free: u32,
    len: usize,
}

impl<P> Pool<P> {
    pub(super) fn new(capacity: usize) -> Self {
        let last = capacity.min(NIL as usize - 1);
        let place = |at: usize| Place { packet: None, next: if at + 1 < last { at as u32 + 1 } else { NIL } };
        Self { places: (0..last).map(place).collect(), free: if last > 0 { 0 } else { NIL }, len: 0 }
    }

    /// How many packets wait, over all queues.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a packet to a queue; gives it back if all places are taken.
    pub(super) fn push(&mut self, queue: &mut Queue, packet: P) -> Result<(), P> {
        let at = self.free;
        let Some(place) = self.places.get_mut(at as usize) else { return Err(packet) };
        self.free = place.next;
        *place = Place { packet: Some(packet), next: NIL };
        match self.places.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = at,
            None => queue.head = at,
        }
        queue.tail = at;
        queue.len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes a queue's oldest packet.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<P> {
        let at = queue.head;
        let place = self.places.get_mut(at as usize)?;
        let packet = place.packet.take();
        queue.head = std::mem::replace(&mut place.next, self.free);
        self.free = at;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        queue.len -= 1;
        self.len -= 1;
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Queues through one pool are queues.
        #[test]
        fn behaves_like_queues_of_one_room(steps in prop::collection::vec((0..3_usize, any::<bool>()), 0..200)) {
            let mut pool = Pool::new(8);
            let mut queues = [Queue::EMPTY; 3];
            let mut model = [const { VecDeque::new() }; 3];
            for (number, (at, push)) in steps.into_iter().enumerate() {
                if push {
                    let fits = model.iter().map(VecDeque::len).sum::<usize>() < 8;
                    prop_assert_eq!(pool.push(&mut queues[at], number), if fits { Ok(()) } else { Err(number) });
                    if fits {
                        model[at].push_back(number);
                    }
                } else {
                    prop_assert_eq!(pool.pop(&mut queues[at]), model[at].pop_front());
                }
                prop_assert_eq!(queues[at].len(), model[at].len());
                prop_assert_eq!(pool.len(), model.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
