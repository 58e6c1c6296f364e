//! What each timer does when it goes off.

use super::acknowledge::clamp;
use super::endpoint::Endpoint;
use super::outcome::Outcome;
use super::state::{Event, State};
use super::timers::Timer;

impl Endpoint {
    /// Does what is due at `now_ns`.
    pub fn handle_timeout(&mut self, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        for timer in Timer::ALL {
            if self.essential.state != State::Closed && self.calc.timers.take_due(timer, now_ns) {
                self.goes_off(timer, now_ns, &mut outcome);
            }
        }
        outcome
    }

    fn goes_off(&mut self, timer: Timer, now_ns: u64, outcome: &mut Outcome) {
        match timer {
            Timer::Retransmit => self.retransmit(),
            Timer::Persist => self.calc.probe = true,
            Timer::DelayedAck => self.calc.ack_due = true,
            Timer::Keepalive => self.keepalive(now_ns, outcome),
            Timer::TimeWait => {
                self.step(Event::Expired);
                self.over(outcome);
            }
            Timer::UserTimeout => self.give_up(outcome),
        }
    }

    /// RFC 6298 rules 5.4 to 5.6, RFC 5681 section 3.1: everything again from the first hole on, one segment at first.
    fn retransmit(&mut self) {
        let una = self.essential.snd_una;
        let flight = clamp(self.calc.snd_nxt - una);
        if flight == 0 {
            return;
        }
        if self.essential.state.is_synchronized() {
            self.calc.congestion.timed_out(flight, !self.calc.rtt.is_backed_off());
        }
        self.calc.rtt.back_off();
        self.calc.recovery.timed_out(self.calc.snd_max);
        self.calc.snd_nxt = una;
        self.calc.timed = None;
    }

    /// RFC 9293 section 3.8.4. The timer is not moved by each segment that comes: when it goes off, Figure 7's inactivity
    /// time says whether the peer was silent.
    fn keepalive(&mut self, now_ns: u64, outcome: &mut Outcome) {
        let Some(keepalive) = self.config.keepalive else { return };
        let waits = self.calc.snd_max > self.essential.snd_una;
        if waits || self.idle_ns(now_ns) < keepalive.idle_ns {
            // What is on its way is sent again until it is answered: no probe is needed then, nor allowed (MUST-26).
            let since_ns = if waits { now_ns } else { self.calc.heard_ns };
            self.calc.keepalive_probes = 0;
            return self.calc.timers.set(Timer::Keepalive, since_ns.saturating_add(keepalive.idle_ns));
        }
        if self.calc.keepalive_probes >= keepalive.probes_max {
            return self.give_up(outcome);
        }
        self.calc.keepalive_probes += 1;
        self.calc.keepalive_probe = true;
        self.calc.timers.set(Timer::Keepalive, now_ns.saturating_add(keepalive.interval_ns));
    }

    fn give_up(&mut self, outcome: &mut Outcome) {
        outcome.set_timed_out();
        self.abort();
        self.over(outcome);
    }
}
