//! Packets that wait for a commit: clear ones for numbers of ours, opened ones for theirs to be let in.
//!
//! Their buffers are made once, for all of a worker's tunnels; when all are in use, what comes is dropped.

use super::Gateway;
use super::outbound::{Packet, Sent};
use super::tap::show;
use super::tunnel::Tunnel;
use crate::app::{Outlet, Way};
use crate::tallies::add;

/// Packets of one worker that wait: a millisecond of a million a second, or ten of what may wait for a commit each ([`super::pace`]).
pub(super) const WAITING_MAX: usize = 1024;

/// Buffers that are not in use.
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    pub(super) fn new() -> Self {
        Self((0..WAITING_MAX).map(|_| Vec::new()).collect())
    }

    /// A packet's copy; none: too many wait.
    pub(super) fn keep(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = self.0.pop()?;
        buffer.clear();
        buffer.extend_from_slice(packet);
        Some(buffer)
    }

    pub(super) fn take_back(&mut self, buffer: Vec<u8>) {
        self.0.push(buffer);
    }

    /// Lets go of all that waits in a tunnel, and answers how much that was.
    pub(super) fn take_back_all(&mut self, tunnel: &mut Tunnel) -> u64 {
        let before = self.0.len();
        self.0.extend(tunnel.to_seal.drain(..));
        self.0.extend(tunnel.to_admit.drain(..).map(|opened| opened.packet));
        (self.0.len() - before) as u64
    }
}

impl Gateway {
    /// Sends what a tunnel has waiting, as far as it may go by now.
    pub(super) fn release(&mut self, outlet: &mut dyn Outlet, number: usize) {
        self.release_inwards(outlet, number);
        loop {
            let Some(tunnel) = self.slots.tunnel(number) else { return };
            let Some(packet) = tunnel.to_seal.pop_front() else { return };
            let sent = self.seal_now(outlet, number, Packet::Kept(&packet));
            let (Sent::NoNumber, Some(tunnel)) = (sent, self.slots.tunnel(number)) else {
                self.spares.take_back(packet);
                continue;
            };
            return tunnel.to_seal.push_front(packet);
        }
    }

    fn release_inwards(&mut self, outlet: &mut dyn Outlet, number: usize) {
        let waiting = self.slots.tunnel(number).map_or(0, |tunnel| tunnel.to_admit.len());
        for _ in 0..waiting {
            let Some(slot) = self.slots.get_mut(number) else { return };
            let Some(tunnel) = &mut slot.tunnel else { return };
            let Some(opened) = tunnel.to_admit.pop_front() else { return };
            if !tunnel.inbound.admit(opened.sequence, &mut self.leases) {
                tunnel.to_admit.push_back(opened);
                continue;
            }
            let (unit, counters) = (slot.spec.unit(), self.counters.of(slot.counters));
            let newest = opened.sequence >= tunnel.window.next();
            if tunnel.let_in(opened.sequence, opened.packet.len()).is_err() {
                add(&counters.late_refused, 1);
            } else {
                show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, &opened.packet);
                super::inbound::deliver(outlet, unit, counters, &opened.packet);
                self.note(outlet, number, opened.from.filter(|_| newest));
            }
            self.spares.take_back(opened.packet);
        }
    }
}
