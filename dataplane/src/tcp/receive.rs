//! A segment arrives (RFC 9293 section 3.10.7.4): what it must pass before its acknowledgement and text count.
//!
//! In the RFC's order: timestamps (PAWS), sequence number, RST, SYN, ACK; each with RFC 5961's defence.

use super::endpoint::Endpoint;
use super::outcome::{Outcome, Refused};
use super::pool::ChunkPool;
use super::segment::Segment;
use super::seq::Pos;
use super::state::{Event, State};
use super::stream::Stream;
use super::timers::Timer;

/// A timestamp that was not renewed for so long says nothing about age (RFC 7323 section 5.5).
const PAWS_IDLE_NS: u64 = 24 * 24 * 3600 * 1_000_000_000;

/// How much of a segment counts, by its sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    Whole,
    Ack,
    Nothing,
}

impl Endpoint {
    /// A segment of this connection, checksum verified. `rx` receives, `tx` is what we send.
    pub fn handle_segment(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        rx: &mut Stream,
        tx: &mut Stream,
        pool: &mut ChunkPool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        match self.essential.state {
            State::Closed => outcome.refuse(Refused::Closed),
            State::SynSent => self.handle_in_syn_sent(now_ns, segment, &mut outcome),
            _ => self.arrives(now_ns, segment, rx, tx, pool, &mut outcome),
        }
        outcome
    }

    fn arrives(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        rx: &mut Stream,
        tx: &mut Stream,
        pool: &mut ChunkPool,
        outcome: &mut Outcome,
    ) {
        let mut segment = *segment;
        let mut seq = segment.seq.pos(self.initial.irs, self.essential.rcv_nxt);
        if segment.syn() && segment.has_ack() && seq == 0 && self.essential.state == State::SynReceived {
            // Both opened at once: this is the peer's SYN again, with its acknowledgement of ours.
            segment.flags &= !crate::wire::tcp::FLAG_SYN;
            seq = 1;
            self.calc.ack_now = true;
        }
        if !self.check_timestamp(now_ns, &segment, outcome) || !self.check_reset(now_ns, &segment, seq, rx, outcome) {
            return;
        }
        let taken = self.check_sequence(now_ns, &segment, seq, rx, outcome);
        if taken == Taken::Nothing || !self.check_syn(now_ns, &segment, outcome) {
            return;
        }
        if !segment.has_ack() {
            return outcome.refuse(Refused::NoAck);
        }
        self.calc.heard_ns = now_ns;
        self.note_timestamp(now_ns, &segment, seq);
        if self.handle_ack(now_ns, &segment, seq, tx, pool, outcome) && taken == Taken::Whole {
            self.handle_text(now_ns, &segment, seq, rx, pool, outcome);
        }
    }

    /// PAWS (RFC 7323 section 5.3 R1); a RST needs no timestamp.
    fn check_timestamp(&mut self, now_ns: u64, segment: &Segment<'_>, outcome: &mut Outcome) -> bool {
        if !self.initial.timestamps || segment.rst() {
            return true;
        }
        let Some(timestamps) = segment.options.timestamps else {
            outcome.refuse(Refused::NoTimestamp);
            return false;
        };
        let old = (timestamps.value.wrapping_sub(self.essential.ts_recent) as i32) < 0;
        if old && now_ns.saturating_sub(self.calc.ts_recent_at_ns) < PAWS_IDLE_NS {
            self.challenge(now_ns);
            outcome.refuse(Refused::OldTimestamp);
            return false;
        }
        true
    }

    /// RFC 7323 section 4.3: the timestamp of the segment that the next ACK answers.
    fn note_timestamp(&mut self, now_ns: u64, segment: &Segment<'_>, seq: Pos) {
        if self.initial.timestamps
            && let Some(timestamps) = segment.options.timestamps
            && seq <= self.calc.last_ack_sent
        {
            if self.essential.ts_recent != timestamps.value {
                self.essential.ts_recent = timestamps.value;
                self.moved();
            }
            self.calc.ts_recent_at_ns = now_ns;
        }
    }

    /// The right edge of what is taken: what was promised, or what there is room for (a predecessor may have promised it).
    pub(super) fn accepted_edge(&self, rx: &Stream) -> Pos {
        self.essential.right_edge.max(self.initial.rx_pos(rx.bound()))
    }

    /// Of an old segment, its acknowledgement counts (as in BSD, if it is not older than a window): two ends that were
    /// both restored bear old numbers, and would refuse one another for ever.
    fn check_sequence(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        seq: Pos,
        rx: &Stream,
        outcome: &mut Outcome,
    ) -> Taken {
        let len = Pos::from(segment.len());
        // What is not committed yet was received but not acknowledged: pure ACKs from then are no older than our ACK.
        let begins = if len == 0 { seq >= self.calc.last_ack_sent } else { seq + len > self.essential.rcv_nxt };
        if begins && seq <= self.accepted_edge(rx) {
            return Taken::Whole;
        }
        outcome.refuse(Refused::OutOfWindow);
        let state = self.essential.state;
        if state == State::SynReceived && segment.syn() && seq == 0 {
            // The SYN again: our answer was lost.
            self.calc.snd_nxt = 0;
            self.calc.timed = None;
            return Taken::Nothing;
        }
        if state == State::TimeWait && segment.fin() {
            self.calc.timers.set(Timer::TimeWait, now_ns.saturating_add(self.config.time_wait_ns));
        }
        if len > 0 {
            self.calc.ack_now = true;
        } else {
            // Limited, lest two ends that disagree answer one another for ever.
            self.challenge(now_ns);
        }
        let old = seq < self.essential.rcv_nxt && seq >= self.essential.rcv_nxt - Pos::from(rx.limit());
        if old && state.is_synchronized() && !segment.syn() { Taken::Ack } else { Taken::Nothing }
    }

    /// RFC 5961 section 3: only a RST that hits the next octet counts. (It does so, too, if it hits what we last said
    /// that we expect.)
    fn check_reset(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        seq: Pos,
        rx: &Stream,
        outcome: &mut Outcome,
    ) -> bool {
        if !segment.rst() {
            return true;
        }
        if seq == self.essential.rcv_nxt || seq == self.calc.last_ack_sent {
            self.step(Event::Aborted);
            outcome.set_reset();
            self.over(outcome);
        } else if seq > self.essential.rcv_nxt && seq <= self.accepted_edge(rx) {
            self.challenge(now_ns);
            outcome.refuse(Refused::ForgedReset);
        } else {
            outcome.refuse(Refused::OutOfWindow);
        }
        false
    }

    /// RFC 5961 section 4.
    fn check_syn(&mut self, now_ns: u64, segment: &Segment<'_>, outcome: &mut Outcome) -> bool {
        if segment.syn() {
            self.challenge(now_ns);
            outcome.refuse(Refused::StraySyn);
        }
        !segment.syn()
    }

    /// Whether a SYN for a connection in TIME-WAIT begins a new one (RFC 9293 MAY-2, RFC 6191): forget this endpoint, and
    /// accept it.
    pub fn yields_to(&self, syn: &Segment<'_>) -> bool {
        if self.essential.state != State::TimeWait || !syn.syn() || syn.has_ack() || syn.rst() {
            return false;
        }
        let newer = match syn.options.timestamps {
            Some(timestamps) if self.initial.timestamps => {
                timestamps.value.wrapping_sub(self.essential.ts_recent) as i32 > 0
            }
            _ => false,
        };
        newer || syn.seq.pos(self.initial.irs, self.essential.rcv_nxt) > self.essential.rcv_nxt
    }
}
