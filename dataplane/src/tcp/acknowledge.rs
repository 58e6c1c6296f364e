//! The fifth check: ACK (RFC 9293 section 3.10.7.4), with windows, round trips (RFC 6298, 7323), SACK and congestion.

use super::calculable::millis;
use super::endpoint::Endpoint;
use super::outcome::{Outcome, Refused};
use super::pool::ChunkPool;
use super::segment::Segment;
use super::seq::Pos;
use super::state::{Event, State};
use super::stream::Stream;
use super::timers::Timer;

impl Endpoint {
    /// False: the segment ends here.
    pub(super) fn handle_ack(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        seq: Pos,
        tx: &mut Stream,
        pool: &mut ChunkPool,
        outcome: &mut Outcome,
    ) -> bool {
        let ack = segment.ack.pos(self.initial.iss, self.essential.snd_una);
        if self.essential.state == State::SynReceived {
            if ack < 1 || ack > self.calc.snd_max {
                self.calc.reset = Some((segment.ack, None));
                outcome.refuse(Refused::BadAck);
                return false;
            }
            (self.essential.wl1, self.essential.wl2) = (seq.max(0), ack);
            self.set_window(segment, outcome);
            self.syn_acked(now_ns, segment, outcome);
        }
        // RFC 5961 section 5.
        if ack > self.calc.snd_max || ack < self.essential.snd_una - Pos::from(self.calc.max_window) {
            self.challenge(now_ns);
            outcome.refuse(Refused::BadAck);
            return false;
        }
        self.note_sack(segment);
        let window_before = self.essential.snd_wnd;
        self.update_window(segment, seq, ack, outcome);
        if ack > self.essential.snd_una {
            self.forward(now_ns, segment, ack, tx, pool, outcome);
        } else if ack == self.essential.snd_una && seq >= self.calc.last_ack_sent {
            let changed = window_before != self.essential.snd_wnd;
            self.duplicate(segment, changed);
        }
        if self.calc.timers.is_set(Timer::Persist) && self.calc.timers.is_set(Timer::UserTimeout) {
            // A peer that answers probes keeps the connection, however long its window is shut (MUST-37).
            self.calc.timers.set(Timer::UserTimeout, now_ns.saturating_add(self.config.user_timeout_ns));
        }
        self.essential.state != State::Closed
    }

    fn update_window(&mut self, segment: &Segment<'_>, seq: Pos, ack: Pos, outcome: &mut Outcome) {
        let essential = &mut self.essential;
        let newer = essential.wl1 < seq || essential.wl1 == seq && essential.wl2 <= ack;
        if ack >= essential.snd_una && newer {
            // An overlap may begin before the SYN, but no record does.
            (essential.wl1, essential.wl2) = (seq.max(0), ack);
            self.set_window(segment, outcome);
        }
    }

    fn set_window(&mut self, segment: &Segment<'_>, outcome: &mut Outcome) {
        let window = u32::from(segment.window) << self.initial.snd_scale;
        if window > 0 && self.essential.snd_wnd == 0 {
            outcome.set_window_opened();
        }
        if window != self.essential.snd_wnd {
            self.moved();
        }
        self.essential.snd_wnd = window;
        self.calc.max_window = self.calc.max_window.max(window);
        if window > 0 {
            self.calc.probe_shift = 0;
        }
    }

    fn note_sack(&mut self, segment: &Segment<'_>) {
        if !self.initial.sack {
            return;
        }
        let una = self.essential.snd_una;
        for (left, right) in segment.options.sack.as_slice() {
            let (left, right) = (left.pos(self.initial.iss, una), right.pos(self.initial.iss, una));
            if una < left && left < right && right <= self.calc.snd_max {
                self.calc.recovery.report(left, right);
            }
        }
    }

    fn forward(
        &mut self,
        now_ns: u64,
        segment: &Segment<'_>,
        ack: Pos,
        tx: &mut Stream,
        pool: &mut ChunkPool,
        outcome: &mut Outcome,
    ) {
        let old = self.essential.snd_una;
        let flight = self.calc.snd_nxt - old;
        self.measure(now_ns, segment, ack);
        self.essential.snd_una = ack;
        self.moved();
        self.calc.snd_nxt = self.calc.snd_nxt.max(ack);
        self.calc.rtt.forward();
        self.calc.probe_shift = 0;
        tx.trim_to(pool, self.initial.tx_offset(ack));
        outcome.set_acknowledged();
        if self.calc.recovery.forward(old, ack, self.calc.snd_nxt, self.calc.mss) {
            self.calc.congestion.lost(clamp(self.calc.snd_nxt - ack));
        } else if !self.calc.recovery.is_active() && flight * 2 >= Pos::from(self.calc.congestion.window()) {
            // A window that was not in use has proved nothing (RFC 7661).
            let srtt_ns = self.calc.rtt.smoothed_ns().unwrap_or(0);
            self.calc.congestion.acknowledged(now_ns, clamp(ack - old), srtt_ns);
        }
        self.rearm_after_ack(now_ns);
        if self.fin_pos(tx).is_some_and(|fin| ack > fin) {
            self.fin_acked(now_ns, outcome);
        }
    }

    fn rearm_after_ack(&mut self, now_ns: u64) {
        let (una, timers) = (self.essential.snd_una, &mut self.calc.timers);
        if self.calc.snd_nxt > una {
            timers.set(Timer::Retransmit, now_ns.saturating_add(self.calc.rtt.timeout_ns()));
        } else {
            timers.clear(Timer::Retransmit);
            timers.clear(Timer::Persist);
        }
        timers.clear(Timer::UserTimeout);
        if self.calc.snd_nxt > una {
            timers.set(Timer::UserTimeout, now_ns.saturating_add(self.config.user_timeout_ns));
        }
    }

    fn fin_acked(&mut self, now_ns: u64, outcome: &mut Outcome) {
        // A successor may not know that its predecessor sent the FIN.
        self.step(Event::FinSent);
        if !self.step(Event::FinAcked) {
            return;
        }
        outcome.set_fin_acknowledged();
        match self.essential.state {
            State::TimeWait => self.begin_time_wait(now_ns),
            State::Closed => self.over(outcome),
            _ => {}
        }
    }

    pub(super) fn begin_time_wait(&mut self, now_ns: u64) {
        let timers = &mut self.calc.timers;
        for timer in [Timer::Retransmit, Timer::Persist, Timer::Keepalive, Timer::UserTimeout] {
            timers.clear(timer);
        }
        timers.set(Timer::TimeWait, now_ns.saturating_add(self.config.time_wait_ns));
    }

    /// RFC 5681 section 2: a duplicate acknowledges nothing new while something is in flight, brings no data and no
    /// other window; with SACK (RFC 6675) the scoreboard alone tells of losses, and the count is as good.
    fn duplicate(&mut self, segment: &Segment<'_>, window_changed: bool) {
        let (una, nxt) = (self.essential.snd_una, self.calc.snd_nxt);
        let sacks = self.initial.sack && !segment.options.sack.as_slice().is_empty();
        if nxt == una || !segment.is_empty() || window_changed && !sacks {
            return;
        }
        if self.calc.recovery.duplicate(una, nxt, self.calc.mss) {
            self.calc.congestion.lost(clamp(nxt - una));
            self.calc.timed = None;
        }
    }

    /// A round trip, if this ACK measures one: of the segment that is timed (never one sent twice, Karn), else by its
    /// echoed timestamp, unless that is a predecessor's.
    pub(super) fn measure(&mut self, now_ns: u64, segment: &Segment<'_>, ack: Pos) {
        let timed = self.calc.timed.filter(|(pos, _)| *pos <= ack);
        if let Some((_, sent_ns)) = timed {
            self.calc.timed = None;
            return self.calc.rtt.sample(now_ns.saturating_sub(sent_ns));
        }
        if self.calc.timed.is_some() || !self.initial.timestamps {
            return;
        }
        let Some(timestamps) = segment.options.timestamps else { return };
        let own = (timestamps.echo.wrapping_sub(self.calc.ts_first) as i32) >= 0;
        let age_ms = self.tsval(now_ns).wrapping_sub(timestamps.echo);
        if own && (age_ms as i32) >= 0 {
            self.calc.rtt.sample(u64::from(age_ms).max(1) * 1_000_000);
        }
    }

    /// Our clock, as the peer sees it.
    pub(super) fn tsval(&self, now_ns: u64) -> u32 {
        self.calc.ts_offset.wrapping_add(millis(now_ns))
    }
}

/// As congestion control counts.
pub(super) fn clamp(bytes: Pos) -> u32 {
    bytes.clamp(0, Pos::from(u32::MAX)) as u32
}
