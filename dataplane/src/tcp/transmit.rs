//! What goes out, one segment at a time.
//!
//! In this order: a RST; a SYN; what was lost; what is new, with the FIN behind it; probes; an ACK by itself. Only what
//! is committed of `tx` is sent, and only what is committed of `rx` is acknowledged.

use super::endpoint::Endpoint;
use super::options::{Options, Timestamps};
use super::pool::ChunkPool;
use super::segment::Repr;
use super::seq::Pos;
use super::state::{Event, State};
use super::stream::Stream;
use super::timers::Timer;
use crate::wire::tcp::{FLAG_ACK, FLAG_FIN, FLAG_PSH, FLAG_SYN, HEADER_LEN};

/// Why these bytes go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// A hole that loss recovery fills.
    Hole,
    /// In order: new, or again after a timeout.
    Next,
    /// To learn whether the peer's window has opened.
    Probe,
}

/// A segment with text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    at: Pos,
    len: Pos,
    fin: bool,
    why: Why,
}

/// How far `tx` may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Text {
    /// Behind the last committed byte.
    end: Pos,
    /// Whether the FIN follows it.
    fin: bool,
    /// The largest payload now.
    most: Pos,
}

impl Text {
    /// What of `start..end` is there to be sent in one segment.
    fn plan(&self, start: Pos, end: Pos, why: Why) -> Option<Plan> {
        let len = (end.min(self.end) - start).clamp(0, self.most);
        let fin = self.fin && start + len == self.end && end > self.end;
        (len > 0 || fin).then_some(Plan { at: start, len, fin, why })
    }
}

impl Endpoint {
    /// Writes the next segment into `buffer` (TCP header and payload; the caller puts IP in front): its length, or
    /// `None` when there is nothing to send now, or a shorter buffer than a header.
    pub fn poll_transmit(
        &mut self,
        now_ns: u64,
        rx: &Stream,
        tx: &Stream,
        pool: &ChunkPool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        if let Some((seq, ack)) = self.calc.reset.take() {
            return Repr::reset(self.initial.flow, seq, ack).emit([&[], &[]], buffer).ok();
        }
        if self.essential.state == State::Closed || !self.is_confirmed() {
            return None;
        }
        if !self.essential.state.is_synchronized() {
            return self.transmit_syn(now_ns, rx, pool, buffer);
        }
        let options = self.options(now_ns);
        let room = buffer.len().saturating_sub(HEADER_LEN + options.buffer_len());
        if let Some(plan) = self.plan(now_ns, rx, tx, &options, room) {
            return self.transmit_text(now_ns, plan, options, rx, tx, pool, buffer);
        }
        self.transmit_ack(options, rx, pool, buffer)
    }

    fn transmit_syn(&mut self, now_ns: u64, rx: &Stream, pool: &ChunkPool, buffer: &mut [u8]) -> Option<usize> {
        self.calc.ack_now = false;
        if self.calc.snd_nxt > 0 {
            return None;
        }
        let answers = self.essential.state == State::SynReceived;
        let flags = if answers { FLAG_SYN | FLAG_ACK } else { FLAG_SYN };
        let mut options = self.syn_options();
        options.timestamps = self.timestamps(now_ns);
        let len = self.write(0, flags, options, None, rx, pool, buffer)?;
        if self.calc.snd_max == 0 {
            self.calc.timed = Some((1, now_ns));
        }
        self.calc.snd_nxt = 1;
        self.calc.snd_max = self.calc.snd_max.max(1);
        self.arm(Timer::Retransmit, now_ns.saturating_add(self.calc.rtt.timeout_ns()));
        self.arm(Timer::UserTimeout, now_ns.saturating_add(self.config.syn_timeout_ns));
        Some(len)
    }

    fn timestamps(&self, now_ns: u64) -> Option<Timestamps> {
        let echo = self.essential.ts_recent;
        self.initial.timestamps.then(|| Timestamps { value: self.tsval(now_ns), echo })
    }

    /// What goes with every segment after the handshake.
    fn options(&self, now_ns: u64) -> Options {
        let mut options = Options { timestamps: self.timestamps(now_ns), ..Options::default() };
        if self.initial.sack && !self.calc.islands.is_empty() {
            let islands = self.calc.islands.as_slice();
            // The block with the newest segment first (RFC 2018 section 4).
            let newest = islands.iter().position(|(a, b)| (*a..*b).contains(&self.calc.newest_island)).unwrap_or(0);
            for (start, end) in islands.iter().cycle().skip(newest).take(islands.len()) {
                options.sack.push(self.initial.irs.at(*start), self.initial.irs.at(*end));
            }
        }
        options
    }

    /// `room`: for text, in the buffer.
    fn text(&self, rx: &Stream, tx: &Stream, options: &Options, room: usize) -> Text {
        let timestamps = if self.initial.timestamps { super::options::TIMESTAMPS_LEN as Pos } else { 0 };
        let in_segment = Pos::from(self.calc.mss) + timestamps - options.buffer_len() as Pos;
        Text {
            end: self.initial.tx_pos(tx.committed()),
            // The peer's FIN is acknowledged with ours or before it, so that LAST-ACK means what it says.
            fin: tx.is_fin_committed() && self.ack_pos(rx) >= self.essential.rcv_nxt,
            most: in_segment.clamp(0, room as Pos),
        }
    }

    fn plan(&mut self, now_ns: u64, rx: &Stream, tx: &Stream, options: &Options, room: usize) -> Option<Plan> {
        let probe = std::mem::take(&mut self.calc.probe);
        if !self.essential.state.sends() {
            return None;
        }
        let text = self.text(rx, tx, options, room);
        let (una, mss) = (self.essential.snd_una, self.calc.mss);
        if self.calc.snd_nxt == una
            && now_ns.saturating_sub(self.calc.sent_ns) > self.calc.rtt.timeout_ns()
            && self.calc.snd_max == una
        {
            self.calc.congestion.rested();
        }
        let free = Pos::from(self.calc.congestion.window()) - self.calc.recovery.pipe(una, self.calc.snd_nxt, mss);
        if let Some((start, end, forced)) = self.calc.recovery.lost_hole(una, self.calc.snd_nxt, mss)
            && let Some(plan) = text.plan(start, end, Why::Hole)
        {
            return (forced || plan.len <= free).then_some(plan);
        }
        if let Some(plan) = self.plan_next(now_ns, text, free, probe) {
            return Some(plan);
        }
        let (start, end) = self.calc.recovery.any_hole(una, mss)?;
        text.plan(start, end, Why::Hole).filter(|plan| plan.len <= free)
    }

    fn plan_next(&mut self, now_ns: u64, text: Text, free: Pos, probe: bool) -> Option<Plan> {
        let una = self.essential.snd_una;
        if let Some(end) = self.calc.recovery.sacked.end_of(self.calc.snd_nxt) {
            self.calc.snd_nxt = end;
        }
        let nxt = self.calc.snd_nxt;
        let again = nxt < self.calc.snd_max;
        let gap = if again { self.calc.recovery.sacked.next_start(nxt).unwrap_or(Pos::MAX) } else { Pos::MAX };
        let edge = una + Pos::from(self.essential.snd_wnd);
        let all = text.plan(nxt, Pos::MAX, Why::Next)?;
        // A FIN takes no room at the peer, so a shut window does not keep it.
        let plan = text.plan(nxt, if all.len == 0 { Pos::MAX } else { gap.min(edge.max(nxt)) }, Why::Next);
        let plan = plan.map(|plan| Plan { fin: plan.fin || self.fin_follows(text, plan), ..plan });
        let worth = plan.filter(|plan| {
            // Silly windows are not filled (RFC 9293 section 3.8.6.2.1); Nagle's rule is off.
            let half = Pos::from(self.calc.max_window / 2).max(1);
            plan.len == all.len || plan.len >= half || again || plan.at + plan.len == gap
        });
        match worth {
            Some(plan) => (plan.len == 0 || plan.len <= free || nxt == una).then_some(plan),
            // The override timeout: a small window is used after all, a shut one is probed by one octet.
            None if probe && nxt == una => plan.or_else(|| text.plan(una, una + 1, Why::Probe)),
            None => {
                if nxt == una && !self.calc.timers.is_set(Timer::Retransmit) {
                    self.arm(Timer::Persist, self.probe_at(now_ns));
                }
                None
            }
        }
    }

    /// Whether the window cut off nothing but the FIN.
    fn fin_follows(&self, text: Text, plan: Plan) -> bool {
        text.fin && plan.at + plan.len == text.end
    }

    fn probe_at(&self, now_ns: u64) -> u64 {
        const MOST_NS: u64 = 60_000_000_000;
        now_ns.saturating_add((self.calc.rtt.timeout_ns() << self.calc.probe_shift).min(MOST_NS))
    }

    fn arm(&mut self, timer: Timer, at_ns: u64) {
        if !self.calc.timers.is_set(timer) {
            self.calc.timers.set(timer, at_ns);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn transmit_text(
        &mut self,
        now_ns: u64,
        plan: Plan,
        options: Options,
        rx: &Stream,
        tx: &Stream,
        pool: &ChunkPool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let fin = if plan.fin { FLAG_FIN } else { 0 };
        let last = plan.at + plan.len >= self.initial.tx_pos(tx.committed());
        let push = if plan.len > 0 && last { FLAG_PSH } else { 0 };
        let text = Some((tx, self.initial.tx_offset(plan.at), plan.len as usize));
        let len = self.write(plan.at, FLAG_ACK | fin | push, options, text, rx, pool, buffer)?;
        let end = plan.at + plan.len + Pos::from(plan.fin);
        let again = plan.at < self.calc.snd_max;
        match plan.why {
            Why::Hole => {
                self.calc.recovery.resent(end);
                self.calc.timers.clear(Timer::Retransmit);
                self.calc.timed = None;
            }
            Why::Next => {
                self.calc.snd_nxt = end;
                if !again && self.calc.timed.is_none() {
                    self.calc.timed = Some((end, now_ns));
                }
            }
            Why::Probe => {}
        }
        self.calc.snd_max = self.calc.snd_max.max(end);
        self.calc.sent_ns = now_ns;
        if plan.why == Why::Probe {
            self.calc.probe_shift = (self.calc.probe_shift + 1).min(12);
            self.calc.timers.set(Timer::Persist, self.probe_at(now_ns));
        } else {
            self.calc.timers.clear(Timer::Persist);
            self.arm(Timer::Retransmit, now_ns.saturating_add(self.calc.rtt.timeout_ns()));
        }
        self.arm(Timer::UserTimeout, now_ns.saturating_add(self.config.user_timeout_ns));
        if plan.fin {
            self.step(Event::FinSent);
        }
        Some(len)
    }

    fn transmit_ack(&mut self, options: Options, rx: &Stream, pool: &ChunkPool, buffer: &mut [u8]) -> Option<usize> {
        if std::mem::take(&mut self.calc.keepalive_probe) {
            let at = self.essential.snd_una - 1;
            return self.write(at, FLAG_ACK, options, None, rx, pool, buffer);
        }
        let fresh = self.ack_pos(rx) > self.calc.last_ack_sent;
        let due = self.calc.ack_now || fresh && (self.calc.ack_due || rx.is_fin_committed());
        if !due && !self.owes_window(rx, pool) {
            return None;
        }
        self.write(self.ack_seq_pos(), FLAG_ACK, options, None, rx, pool, buffer)
    }

    /// Whether the peer should hear that there is more room (RFC 9293 section 3.8.6.2.2).
    fn owes_window(&self, rx: &Stream, pool: &ChunkPool) -> bool {
        if !self.essential.state.receives() || pool.is_tight() {
            return false;
        }
        let little = 2 * Pos::from(self.config.mss);
        let left = self.essential.right_edge - self.essential.rcv_nxt;
        let worth = if left < little { 0 } else { Pos::from(rx.limit()) / 4 };
        let edge = self.nameable_edge(self.ack_pos(rx), self.initial.rcv_scale, rx);
        edge - self.essential.right_edge >= worth.max(self.step_of_window(rx))
    }

    /// The right edge moves by no less (RFC 9293 section 3.8.6.2.2).
    fn step_of_window(&self, rx: &Stream) -> Pos {
        Pos::from(self.config.mss).min(Pos::from(rx.limit()) / 2).max(1)
    }

    /// The right edge up to which there is room, and which a window field can name.
    fn nameable_edge(&self, ack: Pos, shift: u8, rx: &Stream) -> Pos {
        let room = (self.initial.rx_pos(rx.bound()) - ack).max(0);
        ack + ((room >> shift).min(0xffff) << shift)
    }

    /// The window field; the right edge that it names never moves left (RFC 9293 section 3.8.6.2.1, SHLD-14).
    fn window(&mut self, ack: Pos, syn: bool, rx: &Stream, pool: &ChunkPool) -> u16 {
        let shift = if syn { 0 } else { self.initial.rcv_scale };
        let room = self.nameable_edge(ack, shift, rx);
        let old = self.essential.right_edge;
        let gain = room - old;
        let worth = gain >= self.step_of_window(rx);
        let edge = if worth && !pool.is_tight() { room } else { old };
        let mut field = ((edge - ack).max(0) >> shift).min(0xffff);
        if ack + (field << shift) < old {
            field = (field + 1).min(0xffff);
        }
        let told = ack + (field << shift);
        if told > old {
            self.essential.right_edge = told;
            self.moved();
        }
        field as u16
    }

    /// Writes a segment and notes what it tells the peer.
    #[allow(clippy::too_many_arguments)]
    fn write(
        &mut self,
        at: Pos,
        flags: u8,
        options: Options,
        text: Option<(&Stream, u64, usize)>,
        rx: &Stream,
        pool: &ChunkPool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let text_len = text.map_or(0, |(_, _, len)| len);
        if buffer.len() < HEADER_LEN + options.buffer_len() + text_len {
            return None;
        }
        let ack = self.ack_pos(rx);
        let window = self.window(ack, flags & FLAG_SYN != 0, rx, pool);
        let repr = Repr {
            flow: self.initial.flow,
            seq: self.initial.iss.at(at),
            ack: self.initial.irs.at(ack),
            flags,
            window,
            options,
        };
        let header_len = repr.emit_header(buffer).ok()?;
        if let Some((tx, offset, len)) = text {
            let target = buffer.get_mut(header_len..header_len + len)?;
            if tx.copy_to(pool, offset, target) != len {
                return None;
            }
        }
        repr.fill_checksum(buffer, header_len + text_len).ok()?;
        if flags & FLAG_ACK != 0 {
            self.acknowledged_up_to(ack);
        }
        Some(header_len + text_len)
    }

    fn acknowledged_up_to(&mut self, ack: Pos) {
        self.calc.last_ack_sent = ack;
        self.calc.ack_now = false;
        if ack == self.essential.rcv_nxt {
            self.calc.ack_due = false;
            self.calc.unacked_segments = 0;
            self.calc.timers.clear(Timer::DelayedAck);
        }
    }
}
