//! Loss recovery: the SACK scoreboard (RFC 2018, 6675), and NewReno's counting of duplicate ACKs where the peer has no
//! SACK (RFC 5681, 6582).
//!
//! Without SACK each duplicate ACK is taken for one segment received somewhere behind the first hole. After a
//! retransmission timeout the scoreboard is forgotten (the peer may have reneged) and everything is sent again from
//! the first hole on, except what the peer's next ACKs report.

use super::ranges::Ranges;
use super::seq::Pos;

/// RFC 5681: the third duplicate ACK means loss.
pub(super) const DUP_THRESHOLD: u32 = 3;
const SACKED_MAX: usize = 16;

/// What is known of segments in flight. Rebuilt empty on restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Recovery {
    pub(super) sacked: Ranges<SACKED_MAX>,
    dup_acks: u32,
    dup_bytes: Pos,
    /// Recovery ends when this is acknowledged; another one does not begin before.
    point: Pos,
    active: bool,
    /// Up to here holes have been sent again in this recovery.
    high_rxt: Pos,
    /// The first hole goes out whatever the window says.
    resend_head: bool,
}

impl Recovery {
    pub(super) const fn new() -> Self {
        Self {
            sacked: Ranges::new(),
            dup_acks: 0,
            dup_bytes: 0,
            point: 0,
            active: false,
            high_rxt: 0,
            resend_head: false,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// An ACK for nothing new. True: a loss has come to light, recovery begins.
    pub(super) fn duplicate(&mut self, una: Pos, nxt: Pos, mss: u16) -> bool {
        self.dup_acks = self.dup_acks.saturating_add(1);
        self.dup_bytes = (self.dup_bytes + Pos::from(mss)).min(nxt - una);
        self.begins(una, nxt, mss)
    }

    /// New data was acknowledged: from `old` to `una`. True: a loss has come to light.
    pub(super) fn forward(&mut self, old: Pos, una: Pos, max: Pos, mss: u16) -> bool {
        self.sacked.trim_below(una);
        self.dup_acks = 0;
        if self.active && una >= self.point {
            self.active = false;
            self.resend_head = false;
        }
        if self.active {
            // The first segment of what was acknowledged is the one sent again; the others caused duplicate ACKs.
            self.dup_bytes = (self.dup_bytes - (una - old - Pos::from(mss)).max(0)).max(0);
            self.resend_head |= self.high_rxt <= una;
            return false;
        }
        self.dup_bytes = 0;
        self.begins(una, max, mss)
    }

    fn begins(&mut self, una: Pos, max: Pos, mss: u16) -> bool {
        let lost = self.dup_acks >= DUP_THRESHOLD || self.is_lost(0, mss);
        if self.active || !lost || una < self.point {
            return false;
        }
        self.active = true;
        self.point = max;
        self.high_rxt = una;
        self.resend_head = true;
        true
    }

    /// RFC 6675 IsLost, for the hole before the range with this index.
    fn is_lost(&self, index: usize, mss: u16) -> bool {
        let above = self.sacked.as_slice().get(index..).unwrap_or(&[]);
        let bytes: Pos = above.iter().map(|(start, end)| end - start).sum();
        above.len() >= DUP_THRESHOLD as usize || bytes > Pos::from(DUP_THRESHOLD as u16 - 1) * Pos::from(mss)
    }

    /// What went out and has neither arrived nor been lost, as far as is known (RFC 6675 SetPipe).
    pub(super) fn pipe(&self, una: Pos, nxt: Pos, mss: u16) -> Pos {
        let mut pipe = nxt - una;
        if self.sacked.is_empty() {
            pipe -= self.dup_bytes;
            pipe -= if self.active && self.resend_head { Pos::from(mss) } else { 0 };
        } else {
            pipe -= self.sacked.below(nxt);
            pipe -= if self.active { self.lost_not_resent(una, nxt, mss) } else { 0 };
        }
        pipe.max(0)
    }

    fn lost_not_resent(&self, una: Pos, nxt: Pos, mss: u16) -> Pos {
        let holes = self.holes(una).enumerate().filter(|(i, _)| self.is_lost(*i, mss));
        holes.map(|(_, (start, end))| (end.min(nxt) - start.max(self.high_rxt)).max(0)).sum()
    }

    /// The gaps before each range.
    fn holes(&self, una: Pos) -> impl Iterator<Item = (Pos, Pos)> {
        let mut start = una;
        self.sacked.as_slice().iter().map(move |&(left, right)| (std::mem::replace(&mut start, right), left))
    }

    /// What is to be sent again before anything new (RFC 6675 NextSeg rule 1), whatever the window: the flag.
    pub(super) fn lost_hole(&self, una: Pos, nxt: Pos, mss: u16) -> Option<(Pos, Pos, bool)> {
        if !self.active {
            return None;
        }
        if self.resend_head {
            let end = self.sacked.next_start(una).unwrap_or(nxt).min(una + Pos::from(mss));
            return (una < end).then_some((una, end, true));
        }
        let mut holes = self.holes(una).enumerate().filter(|(i, _)| self.is_lost(*i, mss));
        holes.find_map(|(_, hole)| self.unsent(hole, mss)).map(|(start, end)| (start, end, false))
    }

    /// What may be sent again where there is nothing new (rule 3).
    pub(super) fn any_hole(&self, una: Pos, mss: u16) -> Option<(Pos, Pos)> {
        if !self.active {
            return None;
        }
        self.holes(una).find_map(|hole| self.unsent(hole, mss))
    }

    fn unsent(&self, (start, end): (Pos, Pos), mss: u16) -> Option<(Pos, Pos)> {
        let start = start.max(self.high_rxt);
        (start < end).then_some((start, end.min(start + Pos::from(mss))))
    }

    /// A hole was sent again, up to here.
    pub(super) fn resent(&mut self, end: Pos) {
        self.high_rxt = self.high_rxt.max(end);
        self.resend_head = false;
    }

    /// The retransmission timer went off.
    pub(super) fn timed_out(&mut self, max: Pos) {
        *self = Self { point: max, ..Self::new() };
    }

    /// The peer reports a range that it holds.
    pub(super) fn report(&mut self, left: Pos, right: Pos) {
        self.sacked.insert(left, right);
    }
}
