//! Opened packets that wait for their commit when their unit leaves.
//!
//! In a planned move the next owner begins where this one's last words say, and these say that the packets' numbers were let in. So they
//! go on once the backups hold those words, if the unit is still ours by the table: until then nobody else serves it. If a table gives
//! it away before, an heir may not know of them, and would let them in again: then they are lost, as all is that was not committed.
//!
//! *If we die right here*: before the commit nobody has seen them, and their numbers are refused or let in, whichever the heir holds; after
//! it they may have gone on, and whoever is an heir refuses them.

use std::collections::VecDeque;

use super::Gateway;
use super::counters::TunnelCounters;
use super::tap::show;
use super::tunnel::Tunnel;
use super::waiting::{Spares, WAITING_MAX};
use crate::app::{Outlet, UnitSet, Way};
use crate::replica::Position;
use crate::tallies::add;
use crate::unit::Unit;

/// One of them.
pub(super) struct Leaving {
    unit: Unit,
    /// Of the tunnel that it came out of.
    spi: u32,
    /// Where that is counted.
    counters: usize,
    /// Where its owner's last words end in the log.
    said: Position,
    packet: Vec<u8>,
}

/// As many as may wait.
pub(super) fn none_leaving() -> VecDeque<Leaving> {
    VecDeque::with_capacity(WAITING_MAX)
}

impl Tunnel {
    /// Lets in all that waits, for the last words. Answers the highest number. What came twice is let go of.
    fn let_in_all(&mut self, spares: &mut Spares, counters: &TunnelCounters) -> Option<u64> {
        let mut highest = None;
        for _ in 0..self.to_admit.len() {
            let Some(opened) = self.to_admit.pop_front() else { break };
            if self.let_in(opened.sequence, opened.packet.len()).is_err() {
                add(&counters.late_refused, 1);
                spares.take_back(opened.packet);
                continue;
            }
            highest = highest.max(Some(opened.sequence));
            self.to_admit.push_back(opened);
        }
        highest
    }
}

impl Gateway {
    /// Tells how far the numbers came. In a planned move the next owner waits until it has heard it, and begins there. Whoever has another
    /// owner already does not listen to us.
    pub(super) fn say_last(&mut self, outlet: &mut dyn Outlet, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(tunnel) = slot.tunnel.as_deref_mut() else { return };
        let highest = tunnel.let_in_all(&mut self.spares, self.counters.of(slot.counters));
        let essential = tunnel.stop(highest);
        let said = tunnel.write(outlet.outbox(), self.digest_key, essential, None);
        let (unit, spi, counters) = (slot.spec.unit(), slot.spec.inbound.spi, slot.counters);
        let leaving = |packet| Leaving { unit, spi, counters, said, packet };
        self.leaving.extend(tunnel.to_admit.drain(..).map(|opened| leaving(opened.packet)));
    }

    /// Sends on what may leave by now.
    pub(super) fn let_leave(&mut self, outlet: &mut dyn Outlet) {
        while self.leaving.front().is_some_and(|it| it.said <= outlet.outbox().committed())
            && let Some(leaving) = self.leaving.pop_front()
        {
            let counters = self.counters.of(leaving.counters);
            if outlet.replicates(leaving.unit) {
                show(&mut self.tap, outlet, leaving.spi, Way::OutOf, &leaving.packet);
                super::inbound::deliver(outlet, leaving.unit, counters, &leaving.packet);
            } else {
                add(&counters.wait_lost, 1);
            }
            self.spares.take_back(leaving.packet);
        }
    }

    /// Units come: whose they were meanwhile is not known, so what was leaving with them is lost.
    pub(super) fn keep_none_leaving(&mut self, gained: &UnitSet) {
        let (counters, spares) = (&self.counters, &mut self.spares);
        self.leaving.retain_mut(|leaving| {
            let stays = !gained.contains(leaving.unit);
            if !stays {
                add(&counters.of(leaving.counters).wait_lost, 1);
                spares.take_back(std::mem::take(&mut leaving.packet));
            }
            stays
        });
    }
}
