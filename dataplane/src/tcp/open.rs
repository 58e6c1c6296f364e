//! Opening: passive, active, simultaneous, and by cookie (RFC 9293 sections 3.5, 3.10.1, 3.10.7.3).

use super::calculable::{Calculable, millis, segment_len};
use super::config::Config;
use super::congestion::Congestion;
use super::cookie::Accepted;
use super::endpoint::Endpoint;
use super::flow::Flow;
use super::isn;
use super::options::Options;
use super::outcome::{Change, Outcome, Refused};
use super::segment::Segment;
use super::seq::{Pos, Seq};
use super::state::{Essential, Event, Initial, State};
use super::timers::Timer;

/// TSval may start anywhere (RFC 7323 section 7.1), but of one flow's connections each goes on where the one before it was:
/// else a peer that keeps the last one in TIME-WAIT takes the new SYN for an old one (RFC 6191). So it hangs on what the
/// initial sequence number has beside its clock, which is the same each time and a secret.
fn clock_offset(iss: Seq, flow: &Flow, now_ns: u64) -> u32 {
    let secret = iss.0.wrapping_sub(isn::ticks(now_ns));
    flow.words().iter().fold(secret, |sum, word| sum.rotate_left(7) ^ (*word as u32) ^ ((*word >> 32) as u32))
}

impl Endpoint {
    /// A peer's SYN for an address on which somebody listens: SYN-RECEIVED.
    pub fn listen_accept(config: &Config, syn: &Segment<'_>, flow: Flow, iss: Seq, now_ns: u64) -> Self {
        let mut endpoint = Self::begin(config, State::SynReceived, flow, iss, clock_offset(iss, &flow, now_ns), now_ns);
        endpoint.learn_peer(syn);
        endpoint
    }

    /// We ask for a connection: SYN-SENT.
    pub fn connect(config: &Config, flow: Flow, iss: Seq, now_ns: u64) -> Self {
        Self::begin(config, State::SynSent, flow, iss, clock_offset(iss, &flow, now_ns), now_ns)
    }

    /// The handshake's last ACK, whose cookie is sound: ESTABLISHED. Then give it the segment itself.
    pub fn from_cookie(config: &Config, flow: Flow, ack: &Segment<'_>, cookie: &Accepted, now_ns: u64) -> Self {
        let iss = ack.ack.plus(u32::MAX);
        // Beyond what the cookie's SYN-ACK, or one sent again since, may have said.
        let ts_offset = cookie.echo.wrapping_add(1000).wrapping_sub(millis(now_ns));
        let mut endpoint = Self::begin(config, State::Established, flow, iss, ts_offset, now_ns);
        let syn = Segment { seq: ack.seq.plus(u32::MAX), options: cookie.options, ..*ack };
        endpoint.learn_peer(&syn);
        endpoint.essential.snd_una = 1;
        endpoint.essential.snd_wnd = u32::from(ack.window) << endpoint.initial.snd_scale;
        // The window of the cookie's SYN-ACK, which never was larger.
        endpoint.essential.right_edge = 1 + Pos::from(config.receive_limit_bytes.min(0xffff));
        endpoint.calc.max_window = endpoint.essential.snd_wnd;
        (endpoint.calc.snd_nxt, endpoint.calc.snd_max) = (1, 1);
        endpoint.watch_silence();
        endpoint
    }

    /// Where in the streams this connection begins, if not at 0: something may have been put before the peer's first
    /// byte, or before ours. Before anything is sent or received.
    #[must_use]
    pub fn with_bases(mut self, rx_base: u64, tx_base: u64) -> Self {
        self.initial.rx_base = rx_base;
        self.initial.tx_base = tx_base;
        self
    }

    fn begin(config: &Config, state: State, flow: Flow, iss: Seq, ts_offset: u32, now_ns: u64) -> Self {
        let initial = Initial {
            flow,
            iss,
            irs: Seq(0),
            tx_base: 0,
            rx_base: 0,
            peer_mss: flow.default_mss(),
            snd_scale: 0,
            rcv_scale: if config.window_scaling { config.window_scale() } else { 0 },
            window_scaling: config.window_scaling,
            timestamps: config.timestamps,
            sack: config.sack,
        };
        let essential =
            Essential { state, snd_una: 0, snd_wnd: 0, wl1: 0, wl2: 0, rcv_nxt: 1, right_edge: 1, ts_recent: 0 };
        let calc = Calculable::new(config, &initial, &essential, ts_offset, now_ns);
        Self { config: *config, initial, essential, calc, initial_version: 1, confirmed: 0, change: Change::State }
    }

    /// What the peer's SYN says: its numbers, and what is agreed on (an option counts if both sides name it).
    fn learn_peer(&mut self, syn: &Segment<'_>) {
        let options = &syn.options;
        let initial = &mut self.initial;
        initial.irs = syn.seq;
        initial.peer_mss = options.mss.unwrap_or(initial.flow.default_mss());
        initial.window_scaling &= options.window_scale.is_some();
        initial.timestamps &= options.timestamps.is_some();
        initial.sack &= options.sack_permitted;
        (initial.snd_scale, initial.rcv_scale) = match (initial.window_scaling, options.window_scale) {
            (true, Some(shift)) => (shift, initial.rcv_scale),
            _ => (0, 0),
        };
        self.calc.mss = segment_len(self.config.mss, initial);
        self.calc.congestion = Congestion::new(self.calc.mss);
        self.essential.ts_recent = options.timestamps.map_or(0, |timestamps| timestamps.value);
        // A SYN's window is never scaled (RFC 7323 section 2.2).
        self.essential.snd_wnd = u32::from(syn.window);
        self.calc.max_window = self.calc.max_window.max(self.essential.snd_wnd);
    }

    /// What our own SYN says.
    pub(super) fn syn_options(&self) -> Options {
        Options {
            mss: Some(self.config.mss),
            window_scale: self.initial.window_scaling.then_some(self.initial.rcv_scale),
            sack_permitted: self.initial.sack,
            ..Options::default()
        }
    }

    /// A segment in SYN-SENT (RFC 9293 section 3.10.7.3).
    pub(super) fn handle_in_syn_sent(&mut self, now_ns: u64, segment: &Segment<'_>, outcome: &mut Outcome) {
        let acked = segment.ack.pos(self.initial.iss, 0);
        if segment.has_ack() && acked != 1 {
            if !segment.rst() {
                self.calc.reset = Some((segment.ack, None));
            }
            return outcome.refuse(Refused::BadAck);
        }
        if segment.rst() {
            if !segment.has_ack() {
                return outcome.refuse(Refused::ForgedReset);
            }
            self.step(Event::Aborted);
            outcome.set_reset();
            return self.over(outcome);
        }
        if !segment.syn() {
            return outcome.refuse(Refused::NoAck);
        }
        self.calc.heard_ns = now_ns;
        self.learn_peer(segment);
        // The window that our SYN named.
        self.essential.right_edge = 1 + Pos::from(self.config.receive_limit_bytes.min(0xffff));
        self.essential.wl1 = 0;
        self.initial_version = self.initial_version.wrapping_add(1);
        outcome.set_initial_changed();
        if segment.has_ack() {
            self.essential.wl2 = 1;
            self.syn_acked(now_ns, segment, outcome);
            self.calc.ack_now = true;
        } else {
            self.step(Event::Syn);
            self.calc.snd_nxt = 0;
            self.calc.timed = None;
        }
    }

    /// Our SYN is acknowledged.
    pub(super) fn syn_acked(&mut self, now_ns: u64, segment: &Segment<'_>, outcome: &mut Outcome) {
        let again = self.calc.rtt.is_backed_off();
        self.calc.rtt.begin_data();
        if again {
            // RFC 5681 section 3.1: a lost SYN leaves one segment to begin with.
            self.calc.congestion.begin_small();
        } else {
            // A SYN that was sent again measures nothing: the peer may echo the first one's timestamp, seconds old.
            self.measure(now_ns, segment, 1);
        }
        self.essential.snd_una = 1;
        self.calc.snd_nxt = self.calc.snd_nxt.max(1);
        self.calc.snd_max = self.calc.snd_max.max(1);
        self.calc.timers.clear(Timer::Retransmit);
        self.calc.timers.clear(Timer::UserTimeout);
        self.step(Event::SynAcked);
        self.watch_silence();
        outcome.set_established();
    }
}
