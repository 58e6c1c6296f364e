//! Orders and deadlines: how a unit goes from one mode to the next without losing, doubling or reordering a packet.
//!
//! The rule for every change of mode: what is held either stays held (the new mode holds too), or the queue is emptied
//! the way the new mode treats packets, before the next packet of the unit is looked at. The cluster core sends a
//! [`Order::Release`] *before* the view that ends a hold, because only the release knows what must be left out.

use super::digests::Copies;
use super::{Mode, Notice, Order, ReleaseTo, Source, Steering, View};
use crate::drop_reason::DropReason;
use crate::unit::{MemberId, Unit};

/// Where packets go that are let go outside [`Steering::steer`]: on an order or at a deadline.
pub trait Sink<P> {
    /// Process a packet here, as its owner.
    fn process(&mut self, unit: Unit, packet: P);
    /// Pass a packet on to a member.
    fn pass_on(&mut self, unit: Unit, packet: P, to: MemberId);
    /// Drop a packet that was held.
    fn drop(&mut self, packet: P, reason: DropReason);
    /// Send a marker to a member on every data port, behind all that was passed on to it.
    fn marker(&mut self, to: MemberId, token: u64);
}

impl<P> Steering<P> {
    /// Obeys an order of the cluster core. Without a valid lease, nothing is processed or passed on.
    pub fn obey(&mut self, now_ns: u64, lease_ok: bool, order: &Order, sink: &mut impl Sink<P>) {
        match order {
            Order::View(view) => self.apply(now_ns, lease_ok, view, sink),
            Order::Release { unit, to, except } => self.release(now_ns, lease_ok, *unit, *to, except, sink),
            Order::Marker { to, token } => sink.marker(*to, *token),
        }
    }

    /// Does what is due at `now_ns`: drops packets that were held too long, ends holds whose marker did not come.
    #[inline]
    pub fn poll_deadlines(&mut self, now_ns: u64, lease_ok: bool, sink: &mut impl Sink<P>) {
        if self.next_timer_ns <= now_ns {
            self.run_timers(now_ns, lease_ok, sink);
        }
        while let Some(unit) = self.pool.expired_unit(now_ns) {
            match self.pool.pop(&mut self.units[unit.index()].held) {
                Some(held) => sink.drop(held.packet, DropReason::HoldExpired),
                None => break,
            }
        }
    }

    /// When [`Self::poll_deadlines`] is next needed, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<u64> {
        let timer_ns = (self.next_timer_ns != u64::MAX).then_some(self.next_timer_ns);
        timer_ns.into_iter().chain(self.pool.next_deadline_ns()).min()
    }

    /// Lets go of everything that is held: the worker stops.
    pub fn discard_all(&mut self, reason: DropReason, sink: &mut impl Sink<P>) {
        for state in &mut self.units {
            while let Some(held) = self.pool.pop(&mut state.held) {
                sink.drop(held.packet, reason);
            }
        }
    }

    fn apply(&mut self, now_ns: u64, lease_ok: bool, view: &View, sink: &mut impl Sink<P>) {
        self.version = view.version;
        self.forget_told();
        let mut logs = Vec::new();
        for unit in Unit::all() {
            let ordered = self.plain(view.modes.get(unit.index()).copied().unwrap_or_default());
            let state = &mut self.units[unit.index()];
            if state.ordered == ordered {
                continue;
            }
            state.ordered = ordered;
            let before = state.mode;
            if before == Mode::HoldOwn {
                self.leave_hold_own(now_ns, lease_ok, unit, ordered, sink);
            } else if self.logs(before) && !self.logs(ordered) {
                logs.push((unit, self.digests.drain(&mut self.units[unit.index()].log)));
            }
            self.enter(now_ns, lease_ok, unit, ordered, sink);
        }
        self.notices.push_back(Notice::Applied { version: view.version, logs });
    }

    /// Modes that say something roundabout about this very member, said plainly.
    fn plain(&self, mode: Mode) -> Mode {
        match mode {
            Mode::Relay(to) if to == self.me => Mode::Mine,
            Mode::RelayBoth { from, to } if from == to => self.plain(Mode::Relay(to)),
            other => other,
        }
    }

    fn logs(&self, mode: Mode) -> bool {
        match mode {
            Mode::MineLogged => true,
            Mode::RelayBoth { from, .. } => from == self.me,
            _ => false,
        }
    }

    fn enter(&mut self, now_ns: u64, lease_ok: bool, unit: Unit, mode: Mode, sink: &mut impl Sink<P>) {
        self.units[unit.index()].mode = mode;
        match mode {
            Mode::Hold | Mode::Unassigned => {}
            Mode::HoldOwn => self.set_timer(unit, now_ns.saturating_add(self.limits.hold_own_ns)),
            Mode::RelayBoth { to, .. } if to == self.me => {}
            Mode::Mine | Mode::MineLogged => self.empty(lease_ok, unit, ReleaseTo::Here, false, sink),
            // It had stopped, and goes on: the new owner has not seen what was kept.
            Mode::RelayBoth { from, .. } if from == self.me => {
                self.empty(lease_ok, unit, ReleaseTo::Here, false, sink);
            }
            Mode::Relay(to) => self.empty(lease_ok, unit, ReleaseTo::Member(to), false, sink),
            Mode::RelayBoth { from, .. } => self.empty(lease_ok, unit, ReleaseTo::Member(from), false, sink),
            Mode::Drop | Mode::Quarantined => self.empty(lease_ok, unit, ReleaseTo::Nowhere, false, sink),
        }
        self.recode(unit);
    }

    fn leave_hold_own(&mut self, now_ns: u64, lease_ok: bool, unit: Unit, next: Mode, sink: &mut impl Sink<P>) {
        if matches!(next, Mode::Mine | Mode::MineLogged) || self.logs(next) {
            self.end_hold_own(now_ns, lease_ok, unit, sink);
        } else {
            self.remember_log(now_ns, unit);
        }
    }

    /// The master has passed on all that it held (or did not say so in time): what was seen here goes out now, except
    /// what came through the master already; the master's copies of what goes out now are duplicates from here on.
    fn end_hold_own(&mut self, now_ns: u64, lease_ok: bool, unit: Unit, sink: &mut impl Sink<P>) {
        self.units[unit.index()].mode = Mode::Mine;
        self.remember_log(now_ns, unit);
        let to = if self.units[unit.index()].seen.overflowed { ReleaseTo::Nowhere } else { ReleaseTo::Here };
        self.empty(lease_ok, unit, to, true, sink);
        // From now on a copy that the log does not name is rather a stray duplicate than a lost packet.
        self.units[unit.index()].seen.overflowed = false;
        self.recode(unit);
    }

    /// What was processed from the master's hands has its direct copies still coming: they are known from here on.
    fn remember_log(&mut self, now_ns: u64, unit: Unit) {
        let state = &mut self.units[unit.index()];
        self.digests.append(&mut state.seen, &mut state.log);
        self.set_timer(unit, now_ns.saturating_add(self.limits.grace_ns));
    }

    fn release(
        &mut self,
        now_ns: u64,
        lease_ok: bool,
        unit: Unit,
        to: ReleaseTo,
        except: &[u32],
        sink: &mut impl Sink<P>,
    ) {
        let to = if to == ReleaseTo::Member(self.me) { ReleaseTo::Here } else { to };
        let state = &mut self.units[unit.index()];
        for &digest in except {
            self.digests.push(&mut state.seen, digest, Copies::Any);
        }
        if state.mode == Mode::HoldOwn && to == ReleaseTo::Here {
            self.end_hold_own(now_ns, lease_ok, unit, sink);
            return;
        }
        if !except.is_empty() {
            self.set_timer(unit, now_ns.saturating_add(self.limits.grace_ns));
        }
        let complete = !std::mem::take(&mut self.units[unit.index()].seen.overflowed);
        self.empty(lease_ok, unit, if complete { to } else { ReleaseTo::Nowhere }, false, sink);
        self.recode(unit);
    }

    /// Empties a unit's queue, oldest first. `copies_come`: a member may yet pass on copies of what is processed now.
    fn empty(&mut self, lease_ok: bool, unit: Unit, to: ReleaseTo, copies_come: bool, sink: &mut impl Sink<P>) {
        while let Some(held) = self.pool.pop(&mut self.units[unit.index()].held) {
            match to {
                ReleaseTo::Nowhere => sink.drop(held.packet, DropReason::HeldDiscarded),
                _ if !lease_ok => sink.drop(held.packet, DropReason::NoLease),
                ReleaseTo::Here if !self.process_once(unit, held.source, held.digest) => {
                    sink.drop(held.packet, DropReason::Duplicate);
                }
                ReleaseTo::Here => {
                    if copies_come && held.source == Source::Direct {
                        let seen = &mut self.units[unit.index()].seen;
                        self.digests.push(seen, held.digest, Copies::PassedOn);
                    }
                    sink.process(unit, held.packet);
                }
                ReleaseTo::Member(_) if self.take_seen(unit, held.source, held.digest) => {
                    sink.drop(held.packet, DropReason::Duplicate);
                }
                ReleaseTo::Member(to) => sink.pass_on(unit, held.packet, to),
            }
        }
    }

    fn set_timer(&mut self, unit: Unit, at_ns: u64) {
        let timer_ns = &mut self.units[unit.index()].timer_ns;
        if timer_ns.is_none() {
            self.timed.push(unit);
        }
        *timer_ns = Some(at_ns);
        self.next_timer_ns = self.next_timer_ns.min(at_ns);
    }

    fn run_timers(&mut self, now_ns: u64, lease_ok: bool, sink: &mut impl Sink<P>) {
        let mut at = 0;
        while let Some(&unit) = self.timed.get(at) {
            let state = &mut self.units[unit.index()];
            if state.timer_ns.is_some_and(|timer_ns| timer_ns > now_ns) {
                at += 1;
            } else if state.mode == Mode::HoldOwn {
                // Sets the timer anew, for the copies that may come late.
                self.end_hold_own(now_ns, lease_ok, unit, sink);
                at += 1;
            } else {
                state.timer_ns = None;
                self.digests.clear(&mut state.seen);
                self.timed.swap_remove(at);
                self.recode(unit);
            }
        }
        let times = self.timed.iter().filter_map(|unit| self.units[unit.index()].timer_ns);
        self.next_timer_ns = times.min().unwrap_or(u64::MAX);
    }
}
