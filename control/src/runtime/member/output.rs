//! What goes out: the core's wishes, carried out in their order.

use std::sync::atomic::Ordering::Relaxed;

use phalanx_dataplane::unit::MemberId;
use phalanx_dataplane::worker::WorkerOrder;

use super::{ClusterThread, End, kind_of};
use crate::cluster::{ClusterEvent, Contact, Message, NakReason, Output, To};
use crate::runtime::apps::AppRefusal;
use crate::runtime::udp::reliable;

/// Every data port.
const ALL_PORTS: u32 = u32::MAX;
const BROADCAST: [u8; 6] = [0xff; 6];
/// The worker that sends the members' own frames and announcements.
const SPEAKER: usize = 0;

impl ClusterThread {
    /// Does what the core wants done.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.parts.core.poll_output() {
            self.carry_out_one(output);
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Send(to, message) => self.send(to, &message),
            Output::Order(order) => {
                if let Some(replicas) = &self.parts.replicas {
                    replicas.set_backups(self.parts.core.others().map(|(id, address)| (id, reliable(address))));
                }
                for worker in 0..self.parts.workers.len() {
                    self.order(worker, WorkerOrder::Steer(order.clone()));
                }
            }
            Output::Lease(until) => self.parts.shared.lease_until_ns.store(until.0, Relaxed),
            Output::Announce => {
                self.order(SPEAKER, WorkerOrder::Announce);
                let now = self.now();
                self.timeline.note_announced(now);
            }
            Output::Probation(on) => self.parts.shared.probation.store(on, Relaxed),
            Output::AskApps(candidate, request) => {
                let verdict = self.parts.apps.judge(candidate, &request);
                let now = self.now();
                if let Err(refusal) = &verdict
                    && let Some(left_out) = self.refusals.app(candidate, now.0)
                {
                    let AppRefusal { app, why } = refusal;
                    tracing::warn!(left_out, app, "member {candidate} does not suit: {why}");
                }
                self.parts.core.handle_verdict(now, candidate, verdict.map_err(|_| NakReason::AppRefusal));
            }
            Output::TellApps(member, came) => self.parts.apps.tell(member, came),
            Output::Persist { incarnation, members } => self.persist(incarnation, members),
            Output::Event(event) => {
                self.note_event(&event);
                self.tell(&event);
            }
            Output::Left => self.end = Some(End::Left),
        }
    }

    /// Says an event; a refusal that repeats itself only now and then.
    fn tell(&mut self, event: &ClusterEvent) {
        let mut what = event.to_string();
        if let ClusterEvent::RefusedJoin(candidate, reason) = event {
            match self.refusals.join(*candidate, *reason, self.now().0) {
                None => return,
                Some(0) => {}
                Some(left_out) => what += &format!(" ({left_out} times more since this was said last)"),
            }
        }
        self.say(kind_of(event), what);
    }

    pub(super) fn order(&mut self, worker: usize, order: WorkerOrder) {
        let Some(handle) = self.parts.workers.get_mut(worker) else { return };
        if let Err(stuck) = handle.order(order) {
            self.end.get_or_insert(End::Failed(stuck.to_string()));
        }
    }

    /// The last order. A worker that is stuck does not get it, and ends with the process.
    pub(super) fn stop_workers(&mut self) {
        self.parts.shared.lease_until_ns.store(0, Relaxed);
        for handle in &mut self.parts.workers {
            let _ = handle.order(WorkerOrder::Stop);
        }
    }

    fn persist(&mut self, incarnation: u64, members: Vec<MemberId>) {
        // Nobody minds if it is written twice, so a receiver that is gone is no error.
        let _ = self.parts.memberships.send(members);
        if incarnation == self.durable {
            return;
        }
        match self.parts.state.save_incarnation(incarnation) {
            Ok(()) => {
                self.durable = incarnation;
                self.parts.shared.incarnation.store(incarnation, Relaxed);
            }
            // Going on would risk living the same life twice, and with it repeated numbers.
            Err(error) => self.end = Some(End::Failed(error.to_string())),
        }
    }

    fn send(&mut self, to: To, message: &Message) {
        let sealed = match &to {
            To::Reliably(member, contact) => return self.send_reliably(*member, contact, message),
            To::Strangers => self.parts.post.seal_beacon(message),
            To::All => self.parts.post.seal(message, None),
            To::Member(member) => self.parts.post.seal(message, Some(*member)),
        };
        let frame = match sealed {
            Ok(frame) => frame,
            Err(error) => {
                if let Some(left_out) = self.send_log.take(self.parts.clock.now_ns()) {
                    tracing::error!(left_out, "message not sent: {error}");
                }
                return;
            }
        };
        let contact = match to {
            To::Member(member) => self.parts.core.contact(member).cloned(),
            _ => None,
        };
        self.send_on_link(contact.as_ref(), &frame);
        self.send_on_ports(contact.as_ref(), &frame);
    }

    fn send_on_link(&mut self, contact: Option<&Contact>, frame: &[u8]) {
        let sent = match contact {
            Some(contact) => self.parts.sockets.send_to(contact.address, frame),
            None => self.parts.sockets.send_to_all(frame),
        };
        // The link may be down while the data ports work: no reason to stop, and no surprise either.
        if let Err(error) = sent
            && let Some(left_out) = self.send_log.take(self.parts.clock.now_ns())
        {
            tracing::warn!(left_out, "cluster link: {error}");
        }
    }

    fn send_on_ports(&mut self, contact: Option<&Contact>, frame: &[u8]) {
        let Some(contact) = contact.filter(|contact| !contact.macs.is_empty()) else {
            let payload = frame.into();
            return self.order(SPEAKER, WorkerOrder::Transmit { ports: ALL_PORTS, destination: BROADCAST, payload });
        };
        for (port, mac) in contact.macs.iter().enumerate().take(32) {
            let payload = frame.into();
            self.order(SPEAKER, WorkerOrder::Transmit { ports: 1 << port, destination: *mac, payload });
        }
    }

    fn send_reliably(&mut self, member: MemberId, contact: &Contact, message: &Message) {
        let bytes = self.parts.post.enclose(message);
        if let Err(error) = self.parts.link.send(reliable(contact.address), member, bytes)
            && let Some(left_out) = self.link_log.take(self.parts.clock.now_ns())
        {
            tracing::warn!(left_out, member = member.number(), "not sent: {error}");
        }
    }
}
