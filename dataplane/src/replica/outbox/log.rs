//! The log itself: cut, handed out, let go of.

use std::sync::Arc;

use super::super::limits::{SMALL_SEGMENT_BYTES, SPARE_SEGMENTS};
use super::super::members::MemberSet;
use super::super::peer::{Peer, Standing};
use super::{Outbox, Ship};
use crate::unit::MemberId;

impl Outbox {
    /// What this backup is to be sent next, and on which stream. Cuts the log for it.
    pub fn poll_ship(&mut self, member: MemberId) -> Option<(u32, Ship)> {
        let peer = self.peers.get_mut(member.index())?;
        if peer.standing != Standing::Connected {
            return None;
        }
        if let Some(position) = peer.begin.take() {
            return Some((peer.stream, Ship::Begin(position)));
        }
        if peer.addressed <= peer.shipped {
            return None;
        }
        // What was let go of meanwhile was not for it, or it has it.
        let end = self.first + self.log.len() as u64;
        if peer.next.max(self.first) >= end && self.open.concerns(member) {
            self.close();
        }
        let peer = self.peers.get_mut(member.index())?;
        peer.next = peer.next.max(self.first);
        loop {
            let index = usize::try_from(peer.next.checked_sub(self.first)?).ok()?;
            let segment = self.log.get(index)?;
            peer.next += 1;
            if segment.concerns(member) {
                peer.shipped = segment.last;
                return Some((peer.stream, Ship::Segment(Arc::clone(segment))));
            }
        }
    }

    /// The members that may have something to be sent.
    pub fn shippable(&self) -> MemberSet {
        self.members(|peer| {
            peer.standing == Standing::Connected && (peer.begin.is_some() || peer.addressed > peer.shipped)
        })
    }

    /// Ends the open segment.
    pub(super) fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let busy = self.open.bytes.len() > SMALL_SEGMENT_BYTES;
        self.open.last = self.head;
        self.open.version = self.version;
        for (peer, index) in self.peers.iter_mut().zip(0_u32..) {
            if MemberId::new(index as u8 + 1).is_some_and(|member| self.open.concerns(member)) {
                peer.mark(self.head);
            }
        }
        // The next segment is likely to be like this one.
        let (liked, other) =
            if busy { (&mut self.spare, &mut self.spare_small) } else { (&mut self.spare_small, &mut self.spare) };
        let next = liked.pop().or_else(|| if busy { other.pop() } else { None });
        let mut shared = next.unwrap_or_default();
        match Arc::get_mut(&mut shared) {
            Some(segment) => std::mem::swap(segment, &mut self.open),
            // Cannot be: spares are not shared.
            None => shared = Arc::new(std::mem::take(&mut self.open)),
        }
        self.open.reset();
        self.log_bytes += shared.memory();
        self.log.push_back(shared);
        self.trim();
        while self.log_bytes > self.limits.log_bytes_max || self.log.len() > self.limits.log_segments_max {
            let followed = self.peers().filter(|(_, peer)| peer.is_followed());
            let slowest = followed.min_by_key(|(_, peer)| peer.reached(self.head)).map(|(member, _)| member);
            let Some(slowest) = slowest else { break };
            self.set_out_of_sync(slowest);
        }
    }

    /// Lets go of what nobody needs any more.
    pub(super) fn trim(&mut self) {
        let needed = self.reached_by(Peer::is_followed);
        while self.log.front().is_some_and(|segment| segment.last <= needed)
            && let Some(mut segment) = self.log.pop_front()
        {
            self.first += 1;
            self.log_bytes -= segment.memory();
            let Some(free) = Arc::get_mut(&mut segment) else { continue };
            free.reset();
            let small = free.bytes.capacity() <= SMALL_SEGMENT_BYTES;
            let spare = if small { &mut self.spare_small } else { &mut self.spare };
            if spare.len() < SPARE_SEGMENTS {
                spare.push(segment);
            }
        }
    }
}
