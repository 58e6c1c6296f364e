//! The loop of a worker.
//!
//! One round: poll every queue and the rings of other workers, obey what was ordered *before* the polling began, do
//! what is due, send. Orders that came in during the round wait for the next one, and longer while a queue gives all that
//! a round takes: so an order overtakes no packet that was there when it was given. Members rely on that where each sees every
//! packet: one that begins to keep a unit's packets must not keep what its owner processed before it began to note them.
//!
//! The lease is looked at after each burst was received and again before packets are sent (DESIGN section 6, fencing).

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dpdk::clock::Rate;
use dpdk::{Burst, Eal};

use super::fast::BURST;
use super::holdings::is_ours;
use super::in_sync::LOOK_AGAIN_NS;
use super::{Idle, Worker, WorkerOrder};
use crate::app::UnitSet;
use crate::drop_reason::DropReason;
use crate::port::PortIndex;
use crate::replica::WorkerPort;
use crate::steer::{Order, View};
use crate::unit::Unit;

/// Rounds without a packet before an idle worker sleeps.
const EMPTY_ROUNDS: u32 = 8;
/// How long it sleeps at most: timers are looked at as often.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How long it sleeps when no descriptor would wake it for a packet.
const NAP: Duration = Duration::from_micros(100);
/// Rounds that orders wait for at most while queues do not run dry: more packets than a queue holds.
const PUT_OFF_MAX: u32 = 64;
/// How long a round works at most, even one of full bursts and slow ciphers. What is more was not work: the system had
/// something else to do meanwhile, and the one unit that the round is charged to must not pay for that.
const ROUND_MAX_NS: u64 = 1_000_000;
/// How long a destination is cached before its neighbour is asked for again.
const EPOCH_NS: u64 = 250_000_000;

impl Worker {
    /// Works until [`WorkerOrder::Stop`]. Registers the calling thread with DPDK; pinning and priority are the caller's.
    pub fn run(&mut self, eal: &Eal) -> dpdk::Result<()> {
        let _registration = eal.register_thread()?;
        let mut empty_rounds = 0;
        while !self.stopping {
            if self.poll_once() > 0 {
                empty_rounds = 0;
                continue;
            }
            empty_rounds += 1;
            if empty_rounds >= EMPTY_ROUNDS && self.idle != Idle::Spin {
                self.sleep()?;
                // After a sleep one look is enough to know whether there was a reason.
                empty_rounds = EMPTY_ROUNDS - 1;
            }
        }
        Ok(())
    }

    /// One round; answers how many packets came in.
    pub fn poll_once(&mut self) -> usize {
        let mut orders = self.link.orders();
        // Where the last round ended (or, if it was empty, looked at the lease), this one begins: one reading for both.
        let begin = self.clock.last_cycles();
        let (mut count, mut more) = (0, false);
        for queue in 0..self.rx.len() {
            let taken = self.poll_queue(queue);
            (count, more) = (count + taken, more || taken == BURST);
        }
        if count == 0 {
            self.look_at_lease(self.clock.now_ns());
        }
        let begin_ns = self.path.now_ns;
        count += self.poll_replica();
        for inlet in 0..self.handover.inlets() {
            let taken = self.poll_inlet(inlet);
            (count, more) = (count + taken, more || taken == BURST);
        }
        self.steer_wholes();
        if more && orders > 0 && self.put_off < PUT_OFF_MAX {
            (self.put_off, orders) = (self.put_off + 1, 0);
        } else {
            self.put_off = 0;
        }
        for _ in 0..orders {
            self.obey_next();
        }
        self.do_what_is_due();
        if self.path.shares_queues {
            count += self.share_queues();
        }
        self.flush_replica();
        self.send();
        let counters = &self.path.counters;
        counters.polls.add(1);
        counters.last_poll_ns.set(begin_ns);
        counters.held.set(self.steering.held() as u64);
        if count > 0 {
            let cycles = self.clock.read_cycles().saturating_sub(begin);
            self.path.charge(work_in(cycles, self.rate));
            self.path.counters.poll_ns.record(self.rate.to_ns(cycles));
        }
        count
    }

    /// Takes in what other members tell of sessions, and what they have of ours.
    fn poll_replica(&mut self) -> usize {
        let Some(port) = &mut self.replica else { return 0 };
        let heard = port.poll(&mut self.path.holdings.store, &mut self.path.holdings.outbox);
        self.path.tell_backups();
        self.path.poll_commits();
        usize::from(heard)
    }

    /// Hands over what this round has written for others.
    fn flush_replica(&mut self) {
        let Some(port) = &mut self.replica else { return };
        self.path.pump_snapshots(&mut self.snapshots);
        self.path.verify_backups();
        self.path.tell_in_sync();
        port.flush(&mut self.path.holdings.outbox);
    }

    /// Takes over what workers without a transmit queue want sent.
    fn share_queues(&mut self) -> usize {
        self.path.settle();
        if !self.path.is_asked_to_send() {
            return 0;
        }
        let lease_ok = self.path.shared.lease_ok(self.clock.now_ns());
        self.path.send_for_others(lease_ok)
    }

    fn look_at_lease(&mut self, now_ns: u64) {
        self.path.now_ns = now_ns;
        self.path.lease_ok = self.path.shared.lease_ok(now_ns);
    }

    #[inline]
    fn poll_queue(&mut self, queue: usize) -> usize {
        let mut burst = Burst::<BURST>::new();
        let Some(receive) = self.rx.get_mut(queue) else { return 0 };
        let count = receive.queue.receive(&mut burst);
        if count == 0 {
            return 0;
        }
        let port = receive.port;
        self.look_at_lease(self.clock.now_ns());
        let shared = &self.path.shared;
        let probation = shared.probation.load(Relaxed);
        let ports = shared.ports.get(usize::from(port));
        let careful = ports.is_some_and(|p| p.heard(self.path.now_ns, probation, &self.probation));
        self.path.counters.received.add(count as u64);
        self.handle(&mut burst, port, careful);
        if let Some(counters) = self.path.counters.ports.get(usize::from(port)) {
            counters.rx_packets.add(count as u64);
            counters.rx_bytes.add(self.look.bytes);
        }
        count
    }

    fn poll_inlet(&mut self, inlet: usize) -> usize {
        let mut burst = Burst::<BURST>::new();
        let count = self.handover.take(inlet, &mut burst, &self.path.counters);
        for mbuf in burst.drain() {
            let port = mbuf.tag() as PortIndex;
            self.receive_one(mbuf, port, false);
        }
        count
    }

    fn obey_next(&mut self) {
        match self.link.next_order() {
            None => {}
            Some(WorkerOrder::Steer(order)) => self.obey(&order),
            Some(WorkerOrder::Transmit { ports, destination, payload }) => {
                for port in (0..self.path.ports.len()).filter(|port| ports >> port & 1 == 1) {
                    self.path.say_to_members(port as PortIndex, crate::wire::MacAddr(destination), &payload);
                }
            }
            Some(WorkerOrder::Announce) => self.path.announce(),
            Some(WorkerOrder::Routes(routes)) => {
                if let Err(error) = self.path.routes.replace(&routes) {
                    self.link.refuse_routes(error);
                }
                self.path.cache.forget();
            }
            Some(WorkerOrder::Stop) => self.stop(),
        }
    }

    fn obey(&mut self, order: &Order) {
        let mut orphans = UnitSet::EMPTY;
        if let Order::View(view) = order {
            orphans = self.path.orphans(view);
            if self.serves_anew(view) {
                self.path.ask_neighbours_again();
            }
            self.note_fresh(view);
            self.path.note_view(view);
            // Before anyone hears that the view is obeyed.
            self.path.tell_in_sync();
            self.path.set_view(view);
        }
        self.steering.obey(self.path.now_ns, self.path.lease_ok, order, &mut self.path);
        if !orphans.is_empty() {
            self.recall(&orphans);
        }
        self.path.counters.view_version.set(self.steering.version());
    }

    /// Whether this member, which owned nothing, now owns something: it may have been cut off before.
    fn serves_anew(&self, view: &View) -> bool {
        let owned_any = || Unit::all().any(|unit| is_ours(self.steering.mode(unit), self.me));
        view.modes.iter().any(|mode| is_ours(*mode, self.me)) && !owned_any()
    }

    /// Remembers which units become ours, for the failover's timeline.
    fn note_fresh(&mut self, view: &View) {
        let me = self.me;
        for (unit, mode) in Unit::all().zip(&view.modes) {
            if is_ours(*mode, me) && !is_ours(self.steering.mode(unit), me) {
                self.path.fresh.add(unit);
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let (now_ns, lease_ok) = (self.path.now_ns, self.path.lease_ok);
        self.steering.poll_deadlines(now_ns, lease_ok, &mut self.path);
        if self.path.neighbours.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
            let actions = &mut self.path.actions;
            self.path.neighbours.poll(now_ns, &mut |action| actions.push(action));
            self.path.act();
            self.path.cache.forget();
        }
        self.path.poll_apps();
        if now_ns >= self.epoch_ns {
            self.epoch_ns = now_ns.saturating_add(EPOCH_NS);
            self.path.cache.forget();
            self.path.expire_fragments();
            if self.replica.is_some() {
                self.path.publish_replica();
            }
        }
        self.path.hear_news();
        self.path.book.turn();
        self.watch_links();
        if self.replica.is_some() {
            // What the cluster hears next may go by it.
            self.path.tell_in_sync();
        }
        while self.link.has_room() && self.is_settled() {
            let Some(notice) = self.steering.poll_notice() else { break };
            // What a marker came behind must be on its way to the worker that serves it before anyone hears of the marker.
            self.handover.flush(&self.path.counters);
            self.link.tell(notice);
        }
    }

    /// Whether what was ordered counts as obeyed.
    fn is_settled(&mut self) -> bool {
        self.replica.is_none() || self.path.holdings.is_settled(self.path.now_ns)
    }

    fn watch_links(&mut self) {
        for (path, shared) in self.path.ports.iter_mut().zip(&self.path.shared.ports) {
            let up = shared.link_up.load(Relaxed);
            if path.link_up != up {
                path.link_up = up;
                self.path.cache.forget();
            }
        }
    }

    fn send(&mut self) {
        self.handover.flush(&self.path.counters);
        if !self.path.is_sending() {
            return;
        }
        let received_ns = self.path.now_ns;
        self.look_at_lease(self.clock.now_ns());
        self.path.flush(self.path.lease_ok);
        self.path.counters.latency_ns.record(self.path.now_ns.saturating_sub(received_ns));
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.send();
        self.steering.discard_all(DropReason::Stopping, &mut self.path);
        self.path.discard_fragments(DropReason::Stopping);
    }

    /// Sleeps until a packet, an order or a deadline comes.
    fn sleep(&mut self) -> dpdk::Result<()> {
        let interrupts = self.idle == Idle::Interrupt;
        let longest = if interrupts && self.hears_all { SLEEP_MAX } else { NAP };
        if interrupts {
            for receive in &mut self.rx {
                // Drivers without a receive interrupt are heard through their sockets, or not at all (`hears_all`).
                let _ = receive.queue.enable_interrupt();
            }
        }
        // Whatever came since the last round makes the sleep end at once: orders and handed-over packets by the waker,
        // frames by their level-triggered descriptors.
        let told = self.replica.as_ref().is_some_and(WorkerPort::is_waiting);
        let told = told || self.path.book.is_told();
        if !told && !self.link.has_orders() && !self.handover.is_waiting() && !self.path.is_asked_to_send() {
            self.wait.wait(Some(self.until_due().min(longest)))?;
        }
        // Sleep is no work: the next round begins now.
        self.clock.read_cycles();
        if interrupts {
            for receive in &mut self.rx {
                let _ = receive.queue.disable_interrupt();
            }
        }
        Ok(())
    }

    fn until_due(&self) -> Duration {
        // Without a lease the apps' timers wait.
        let apps = if self.path.lease_ok { self.path.app_timeout() } else { None };
        let due = [self.steering.poll_timeout(), self.path.neighbours.poll_timeout(), apps];
        let now_ns = self.clock.now_ns();
        let blocked = self.replica.as_ref().is_some_and(WorkerPort::is_blocked);
        let looks_again = blocked || self.path.holdings.looks_again();
        let again = looks_again.then(|| now_ns.saturating_add(LOOK_AGAIN_NS));
        let due = due.into_iter().chain([again]).flatten().min();
        due.map_or(SLEEP_MAX, |due_ns| Duration::from_nanos(due_ns.saturating_sub(now_ns)))
    }
}

/// Of the cycles that a round took, those that count as work.
#[inline]
fn work_in(cycles: u64, rate: Rate) -> u64 {
    if rate.to_ns(cycles) > ROUND_MAX_NS { rate.to_cycles(ROUND_MAX_NS) } else { cycles }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_interrupted_weighs_no_more_than_the_longest_one() {
        let rate = Rate::from_hz(2_000_000_000);
        assert_eq!(work_in(1_999_999, rate), 1_999_999);
        assert_eq!(work_in(100_000_000, rate), 2_000_000);
    }
}
