//! The segment's text and FIN (RFC 9293 section 3.10.7.4, seventh and eighth step), in order or not.

use super::endpoint::Endpoint;
use super::outcome::{Outcome, Refused};
use super::pool::ChunkPool;
use super::segment::Segment;
use super::seq::Pos;
use super::state::{Event, State};
use super::stream::Stream;
use super::timers::Timer;

impl Endpoint {
    pub(super) fn handle_text(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        seq: Pos,
        rx: &mut Stream,
        pool: &mut ChunkPool,
        outcome: &mut Outcome,
    ) {
        if segment.is_empty() {
            return;
        }
        if !self.essential.state.receives() {
            self.calc.ack_now = true;
            return outcome.refuse(Refused::AfterFin);
        }
        self.count_segment(now_ns);
        let end = seq + segment.payload.len() as Pos;
        if segment.fin() && end <= self.accepted_edge(rx) {
            self.calc.fin_at.get_or_insert(end);
        }
        self.take_payload(segment.payload, seq, rx, pool, outcome);
        if self.calc.fin_at == Some(self.essential.rcv_nxt) {
            self.take_fin(now_ns, rx, outcome);
        }
    }

    /// Every second segment is acknowledged as soon as its bytes are committed, a single one after a while
    /// (RFC 5681 section 4.2).
    fn count_segment(&mut self, now_ns: u64) {
        self.calc.unacked_segments = self.calc.unacked_segments.saturating_add(1);
        self.calc.ack_due |= self.calc.unacked_segments >= 2;
        if !self.calc.ack_due && !self.calc.timers.is_set(Timer::DelayedAck) {
            self.calc.timers.set(Timer::DelayedAck, now_ns.saturating_add(self.config.delayed_ack_ns));
        }
    }

    fn take_payload(&mut self, payload: &[u8], seq: Pos, rx: &mut Stream, pool: &mut ChunkPool, outcome: &mut Outcome) {
        let rcv_nxt = self.essential.rcv_nxt;
        let stop = self.accepted_edge(rx).min(self.calc.fin_at.unwrap_or(Pos::MAX));
        let from = (rcv_nxt - seq).clamp(0, payload.len() as Pos) as usize;
        let until = (stop - seq).clamp(0, payload.len() as Pos) as usize;
        let start = seq + from as Pos;
        let fresh = payload.get(from..until).unwrap_or(&[]);
        if fresh.is_empty() {
            // Nothing of it fits the window, or nothing is new (a probe, or sent again): the peer is to know where we are.
            self.calc.ack_now |= !payload.is_empty();
            return;
        }
        let taken = if start == rcv_nxt {
            rx.append(pool, fresh)
        } else {
            // RFC 5681 section 4.2: a gap is reported at once.
            self.calc.ack_now = true;
            self.take_island(start, fresh, rx, pool)
        };
        if taken < fresh.len() {
            outcome.refuse(Refused::NoMemory);
            self.calc.ack_now = true;
        }
        if start == rcv_nxt && taken > 0 {
            outcome.set_received();
            self.essential.rcv_nxt = start + taken as Pos;
            self.close_gap(rx);
        }
    }

    /// Bytes behind a gap wait where they belong, if there is memory to spare.
    fn take_island(&mut self, start: Pos, fresh: &[u8], rx: &mut Stream, pool: &mut ChunkPool) -> usize {
        let end = start + fresh.len() as Pos;
        if pool.is_tight() || !self.calc.islands.takes(start, end) {
            return 0;
        }
        let taken = rx.place(pool, self.initial.rx_offset(start), fresh);
        self.calc.islands.insert(start, start + taken as Pos);
        self.calc.newest_island = start;
        taken
    }

    fn close_gap(&mut self, rx: &mut Stream) {
        if self.calc.islands.is_empty() {
            return;
        }
        if let Some(end) = self.calc.islands.end_of(self.essential.rcv_nxt) {
            rx.advance_to(self.initial.rx_offset(end));
            self.essential.rcv_nxt = self.initial.rx_pos(rx.end());
        }
        self.calc.islands.trim_below(self.essential.rcv_nxt);
        // RFC 5681 section 4.2: what fills a gap, wholly or in part, is acknowledged at once.
        self.calc.ack_due = true;
    }

    fn take_fin(&mut self, now_ns: u64, rx: &mut Stream, outcome: &mut Outcome) {
        rx.finish();
        self.essential.rcv_nxt += 1;
        self.calc.ack_due = true;
        self.step(Event::FinReceived);
        outcome.set_fin_received();
        if self.essential.state == State::TimeWait {
            self.begin_time_wait(now_ns);
        }
    }
}
