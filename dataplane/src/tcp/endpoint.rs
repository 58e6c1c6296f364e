//! One end of a connection.
//!
//! Kinds of methods, and the order in which to call them:
//!
//! 1. *Beginnings*: [`Endpoint::listen_accept`], [`Endpoint::connect`], [`Endpoint::from_cookie`],
//!    [`Endpoint::restore`]. Replicate the Initial record ([`Endpoint::save`]), then [`Endpoint::confirm`]: nothing is
//!    sent before that.
//! 2. *Input*: [`Endpoint::handle_segment`], [`Endpoint::handle_timeout`], [`Endpoint::handle_too_big`],
//!    [`Endpoint::handle_refused`], [`Endpoint::abort`]; and changes of the streams: bytes appended to or committed in `tx`, bytes trimmed from or
//!    committed in `rx`.
//! 3. After any of these, [`Endpoint::poll_transmit`] until it says `None`, then [`Endpoint::poll_timeout`] and
//!    [`Endpoint::take_change`].
//!
//! The streams are arguments because two endpoints share them: one's `rx` is the other's `tx`.

use super::calculable::Calculable;
use super::config::Config;
use super::flow::Flow;
use super::outcome::{Change, Outcome};
use super::seq::{Pos, Seq};
use super::state::{Essential, Event, Initial, State};
use super::stream::Stream;
use super::timers::Timer;

/// Challenge ACKs, and answers to segments out of window, in one second.
const CHALLENGES_MAX: u8 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// One end of a connection; see the module.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(super) config: Config,
    pub(super) initial: Initial,
    pub(super) essential: Essential,
    pub(super) calc: Calculable,
    /// Rises with each change of the Initial record; `confirmed` is the one that the backups hold.
    pub(super) initial_version: u8,
    pub(super) confirmed: u8,
    pub(super) change: Change,
}

impl Endpoint {
    /// The state.
    pub fn state(&self) -> State {
        self.essential.state
    }

    /// Addresses and ports.
    pub fn flow(&self) -> &Flow {
        &self.initial.flow
    }

    /// Whether the connection is over and nothing is left to be sent: forget it.
    pub fn is_done(&self) -> bool {
        self.essential.state == State::Closed && self.calc.reset.is_none()
    }

    /// How long nothing was heard of the peer.
    pub fn idle_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.calc.heard_ns)
    }

    /// Which Initial record this is: to be given to [`Self::confirm`] once the backups hold it.
    pub fn initial_version(&self) -> u8 {
        self.initial_version
    }

    /// The backups hold the Initial record of this version. Nothing is sent before the newest is confirmed.
    pub fn confirm(&mut self, version: u8) {
        if version == self.initial_version {
            self.confirmed = version;
        }
    }

    /// Whether the newest Initial record is confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed == self.initial_version
    }

    /// How far the Essential record has moved since this was last asked.
    pub fn take_change(&mut self) -> Change {
        std::mem::take(&mut self.change)
    }

    /// When [`Self::handle_timeout`] is next needed, and why.
    pub fn poll_timeout(&self) -> Option<(u64, Timer)> {
        if self.essential.state == State::Closed { None } else { self.calc.timers.next() }
    }

    /// Gives the connection up: a RST goes to the peer, if there is one that would understand it.
    pub fn abort(&mut self) {
        if !matches!(self.essential.state, State::Closed | State::SynSent | State::TimeWait) {
            let seq = self.initial.iss.at(self.ack_seq_pos());
            self.calc.reset = Some((seq, Some(self.initial.irs.at(self.calc.last_ack_sent))));
        }
        self.step(Event::Aborted);
    }

    /// Whether a sequence number is one in flight. An ICMP error must quote such a one to be believed (RFC 5927 section 4.1),
    /// or anyone could send it.
    pub fn has_in_flight(&self, quoted: Seq) -> bool {
        let pos = quoted.pos(self.initial.iss, self.essential.snd_una);
        self.essential.snd_una <= pos && pos < self.calc.snd_max
    }

    /// A router says that a packet of ours, which began with this sequence number, was too big for the next link's MTU
    /// (RFC 8201, 1191). True if segments become smaller.
    pub fn handle_too_big(&mut self, quoted: Seq, mtu: u16) -> bool {
        // The least MTU that a router may have: RFC 791 (less would be an attack), RFC 8200.
        let floor = self.initial.flow.default_mss();
        let path_mss = mtu.saturating_sub(self.initial.flow.ip_header_len() + 20).max(floor);
        let mss = super::calculable::segment_len(path_mss.min(self.config.mss), &self.initial);
        if !self.has_in_flight(quoted) || !self.essential.state.is_synchronized() || mss >= self.calc.mss {
            return false;
        }
        self.calc.mss = mss;
        self.calc.congestion.set_mss(mss);
        // What was too big is lost, though not to congestion: it is sent again in smaller pieces.
        self.calc.snd_nxt = self.essential.snd_una;
        self.calc.timed = None;
        true
    }

    /// The peer's host says that it takes no segments of this connection at all (a hard error of RFC 1122 section 4.2.3.9).
    /// True if that ends the connection: it has not been opened yet. An open one has proved the contrary, and goes on
    /// (RFC 5927 section 5.2).
    pub fn handle_refused(&mut self, quoted: Seq) -> bool {
        let opening = matches!(self.essential.state, State::SynSent | State::SynReceived);
        let over = opening && self.has_in_flight(quoted);
        if over {
            self.step(Event::Aborted);
            self.calc.timers = super::timers::Timers::new();
        }
        over
    }

    /// What of `rx` the peer may be told that we have.
    pub(super) fn ack_pos(&self, rx: &Stream) -> Pos {
        let pos = self.initial.rx_pos(rx.committed()) + Pos::from(rx.is_fin_committed());
        pos.max(self.calc.last_ack_sent)
    }

    /// The position that a segment without data bears: behind all that was sent, and in the peer's window.
    pub(super) fn ack_seq_pos(&self) -> Pos {
        let edge = self.essential.snd_una + Pos::from(self.essential.snd_wnd);
        self.calc.snd_max.min(edge.max(self.calc.snd_nxt))
    }

    /// Our FIN's position, if the stream has an end.
    pub(super) fn fin_pos(&self, tx: &Stream) -> Option<Pos> {
        tx.fin().map(|offset| self.initial.tx_pos(offset))
    }

    pub(super) fn step(&mut self, event: Event) -> bool {
        let Some(state) = self.essential.state.after(event) else { return false };
        self.essential.state = state;
        self.change = Change::State;
        true
    }

    pub(super) fn moved(&mut self) {
        self.change = self.change.max(Change::Moved);
    }

    /// The connection ends here: it needs no timer any more.
    pub(super) fn over(&mut self, outcome: &mut Outcome) {
        outcome.set_closed();
        self.calc.timers = super::timers::Timers::new();
    }

    /// Whether a challenge may be sent now; if so, it will be.
    pub(super) fn challenge(&mut self, now_ns: u64) {
        let (left, since_ns) = &mut self.calc.challenges;
        if now_ns.saturating_sub(*since_ns) >= SECOND_NS || *since_ns == 0 {
            *left = CHALLENGES_MAX;
            *since_ns = now_ns.max(1);
        }
        if *left > 0 {
            *left -= 1;
            self.calc.ack_now = true;
        }
    }

    /// From here on the peer's silence is watched, if that is wanted.
    pub(super) fn watch_silence(&mut self) {
        if let Some(keepalive) = self.config.keepalive
            && self.essential.state.is_synchronized()
            && self.essential.state != State::TimeWait
        {
            self.calc.timers.set(Timer::Keepalive, self.calc.heard_ns.saturating_add(keepalive.idle_ns));
        }
    }
}

/// A hundred thousand sessions have two each.
const _: () = assert!(size_of::<Endpoint>() <= 1152, "an endpoint is to stay small");
