//! What comes in: datagrams, frames and notices from the workers, reliable messages, commands.
//!
//! Every source is emptied only up to a bound in one round, so that a flood on one of them delays the clock by a known
//! time; what is left over wakes the thread again at once (sockets) or is looked at in the next round (rings).

use std::sync::atomic::Ordering::Relaxed;

use phalanx_dataplane::unit::MemberId;
use phalanx_dataplane::worker::WorkerOrder;

use super::{ClusterThread, Command, DRAIN_MAX, End};
use crate::cluster::{ClusterEvent, NakReason, Path, Span};
use crate::link::{LinkEvent, Refusal};
use crate::pki::WallTime;
use crate::runtime::post::Arrival;
use crate::runtime::settings::span;

/// Datagrams of one round: about what 32 members send in a few periods.
const DATAGRAMS_MAX: usize = 256;
/// Frames of one worker and round: its ring's size.
const FRAMES_MAX: usize = 256;
/// Notices of one worker and round: its ring's size.
const NOTICES_MAX: usize = 2048;
/// Reliable messages of one round.
const RELIABLE_MAX: usize = 64;

impl ClusterThread {
    /// Takes in everything that waits.
    pub(super) fn take_in(&mut self) {
        self.take_datagrams();
        for worker in 0..self.parts.workers.len() {
            self.take_frames(worker);
            self.take_notices(worker);
        }
        for _ in 0..RELIABLE_MAX {
            let Ok(event) = self.parts.inbox.try_recv() else { break };
            self.take_link_event(event);
        }
        while let Ok(command) = self.parts.commands.try_recv() {
            self.obey(command);
        }
    }

    fn take_link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message(message) => {
                let arrival = self.parts.post.disclose(&message.peer, &message.bytes);
                self.take_arrival(arrival, Path::Link);
            }
            LinkEvent::Refused { by, why } => {
                let now = self.now();
                self.parts.core.handle_refused(now, by, nak_of(why));
                self.carry_out();
            }
        }
    }

    fn take_datagrams(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            let now_ns = self.parts.clock.now_ns();
            let Some(frame) = self.parts.sockets.receive(self.buffer.as_mut_slice()) else { return };
            let arrival = self.parts.post.open(frame, Path::Link, now_ns);
            self.take_arrival(arrival, Path::Link);
        }
    }

    fn take_frames(&mut self, worker: usize) {
        for _ in 0..FRAMES_MAX {
            let now_ns = self.parts.clock.now_ns();
            let Some(handle) = self.parts.workers.get_mut(worker) else { return };
            let post = &mut self.parts.post;
            let read = handle.poll_frame(|frame| {
                let path = Path::Port(frame.port);
                (post.open(frame.payload(), path, now_ns), path)
            });
            let Some((arrival, path)) = read else { return };
            self.take_arrival(arrival, path);
        }
    }

    fn take_arrival(&mut self, arrival: Arrival, path: Path) {
        let now = self.now();
        match arrival {
            Arrival::Message(from, message) => {
                self.parts.core.handle_message(now, from, path, *message);
                self.carry_out();
            }
            Arrival::Copy(from) => self.parts.core.handle_heard(now, from, path),
            Arrival::Nothing => {}
        }
    }

    fn take_notices(&mut self, worker: usize) {
        for _ in 0..NOTICES_MAX {
            let Some(notice) = self.parts.workers.get_mut(worker).and_then(|handle| handle.poll_notice()) else {
                break;
            };
            let Some(notice) = self.merge.take(worker, notice) else { continue };
            self.take_in_sync();
            let now = self.now();
            if matches!(notice, phalanx_dataplane::steer::Notice::Applied { .. }) && self.owns_units() {
                self.timeline.note_takeover(now);
            }
            self.parts.core.handle_notice(now, notice);
            self.carry_out();
        }
        if let Some(error) = self.parts.workers.get_mut(worker).and_then(|handle| handle.poll_route_error()) {
            tracing::error!(worker, "new routes refused, the old ones stay: {error}");
        }
    }

    fn owns_units(&self) -> bool {
        self.parts.core.modes().contains(&phalanx_dataplane::steer::Mode::Mine)
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Drain { hurry } => {
                if hurry {
                    self.drain_until.get_or_insert(now + DRAIN_MAX);
                }
                self.parts.core.handle_drain(now);
                self.carry_out();
            }
            Command::Stop => self.end = Some(End::Left),
            Command::BalanceInterval(interval) => self.parts.core.set_balance_interval(span(interval)),
            Command::Routes(routes) => {
                for worker in 0..self.parts.workers.len() {
                    self.order(worker, WorkerOrder::Routes(routes.clone()));
                }
            }
            Command::Admission(admission) => {
                self.parts.link.set_admission((*admission).clone());
                for peer in self.parts.post.roster.set_admission(*admission, WallTime::read_clock()) {
                    self.say("revoked", format!("member {}'s certificate is no longer accepted", peer.member));
                }
            }
            Command::WorkerEnded(worker) => {
                self.end.get_or_insert(End::Failed(format!("worker {worker} ended; others take over")));
            }
        }
    }

    /// What an event means for this shell beside being told.
    pub(super) fn note_event(&mut self, event: &ClusterEvent) {
        let now = self.now();
        let stamp = self.parts.shared.first_packet_ns.load(Relaxed);
        let begins = match event {
            ClusterEvent::Following(reign) => match self.succeeded(reign.master) {
                Some((dead, silent)) => self.timeline.take(now, &ClusterEvent::MemberDead(dead, silent), stamp),
                None => false,
            },
            event => self.timeline.take(now, event, stamp),
        };
        if begins {
            self.parts.shared.first_packet_ns.store(0, Relaxed);
        }
        self.master = self.parts.core.reign().map(|reign| reign.master);
    }

    /// The master that the new one succeeded because it was silent, as this member heard it (a master that handed its
    /// role on was heard a moment ago).
    fn succeeded(&self, new: MemberId) -> Option<(MemberId, Span)> {
        let old = self.master.filter(|old| *old != new)?;
        let silent = self.now().since(self.parts.core.heard_at(old)?);
        let core = self.parts.core.settings();
        (silent >= core.watch(core.losses_min.saturating_sub(1))).then_some((old, silent))
    }
}

/// What the patent's NAK would have said: TLS refuses before a NAK could be written.
fn nak_of(why: Refusal) -> NakReason {
    match why {
        Refusal::Unknown => NakReason::CertificateUnknown,
        Refusal::Revoked => NakReason::CertificateRevoked,
        Refusal::OtherCluster => NakReason::ClusterName,
    }
}
