//! Tunnels come, wake up, tell their backups, fall asleep and go.

use std::net::SocketAddr;

use dpdk::chain::Chains;

use super::Gateway;
use super::counters::OF_IKE;
use super::pace;
use super::record::{APP, SAVED_VERSION, session_key, spi_of};
use super::saved::Saved;
use super::slots::{Child, Slot};
use super::spec::TunnelSpec;
use super::tunnel::{Beginning, Initial, Tunnel};
use super::written::Written;
use crate::app::Outlet;
use crate::drop_reason::DropReason;
use crate::ipsec::outer::{Outer, Ports};
use crate::replica::{Change, Record, SessionKey, Update};
use crate::tallies::add;
use crate::unit::Unit;

/// How often a peer's address may change: each change is a record for the backups.
const MOVE_NS: u64 = 100_000_000;

impl Gateway {
    /// The tunnel with an inbound SPI: one of the configuration's, or one of IKE's, which may sleep in the store.
    #[inline]
    pub(super) fn find(&mut self, outlet: &mut dyn Outlet, spi: u32) -> Option<usize> {
        self.slots.find(spi).or_else(|| self.call(outlet, spi))
    }

    /// Has a tunnel of IKE's, whose number nobody has, wake up.
    #[cold]
    fn call(&mut self, outlet: &mut dyn Outlet, spi: u32) -> Option<usize> {
        self.ike.as_ref()?;
        let (unit, session) = (Unit::from_low_bits(spi), session_key(spi));
        if !outlet.owns(unit) {
            return None;
        }
        let Saved { spec, ike_spi, replaces } = saved_in(outlet.store().get(unit, session)?)?;
        let replaces = replaces.filter(|old| self.is_here(outlet, unit, *old));
        let number = self.take_in(spec, self.child(ike_spi, replaces));
        if self.restore(outlet, number).is_err() {
            self.slots.remove(number);
            self.count_children();
            return None;
        }
        if self.is_spent(spi) {
            self.call_successor(outlet, spi);
        }
        Some(number)
    }

    /// Has the tunnel wake up that takes the place of one through which nothing goes any more.
    fn call_successor(&mut self, outlet: &mut dyn Outlet, old: u32) {
        let unit = Unit::from_low_bits(old);
        let mut from = session_key(0);
        while let Some((session, record)) = outlet.store().next_session(unit, from)
            && let Some(spi) = spi_of(session)
        {
            if saved_in(record).is_some_and(|saved| saved.replaces == Some(old)) {
                self.find(outlet, spi);
                return;
            }
            from = SessionKey(session.0 + 1);
        }
    }

    pub(super) fn is_here(&self, outlet: &mut dyn Outlet, unit: Unit, spi: u32) -> bool {
        self.slots.find(spi).is_some() || outlet.store().get(unit, session_key(spi)).is_some()
    }

    /// What IKE says of a tunnel that comes or wakes up.
    pub(super) fn child(&self, ike_spi: u64, replaces: Option<u32>) -> Child {
        // Where nothing goes any more, nobody waits for the peer to show that it has the new one.
        let heard = replaces.is_some_and(|old| self.is_spent(old));
        Child { ike_spi, replaces, successor: None, heard, moved_ns: None }
    }

    /// Gives a tunnel of IKE's a number.
    pub(super) fn take_in(&mut self, spec: TunnelSpec, child: Child) -> usize {
        let slot = Slot { spec, child: Some(child), counters: OF_IKE, tunnel: None };
        let number = self.slots.insert(slot);
        self.count_children();
        number
    }

    /// Wakes a tunnel up, if it sleeps, and notes that it has traffic.
    pub(super) fn wake(&mut self, outlet: &mut dyn Outlet, number: usize) -> Result<(), DropReason> {
        if self.slots.tunnel(number).is_none() {
            self.restore(outlet, number)?;
        }
        let Some(tunnel) = self.slots.tunnel(number) else { return Ok(()) };
        tunnel.busy = true;
        let spent = tunnel.spent;
        if !std::mem::replace(&mut tunnel.listed, true) {
            self.listed.push(number);
            self.look_at_ns.get_or_insert(outlet.now_ns().saturating_add(pace::LOOK_NS));
        }
        if spent { Err(DropReason::SaExpired) } else { Ok(()) }
    }

    /// Makes a tunnel of what is in the store, or anew, and tells the backups.
    pub(super) fn restore(&mut self, outlet: &mut dyn Outlet, number: usize) -> Result<(), DropReason> {
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable) };
        let (unit, spi) = (slot.spec.unit(), slot.spec.inbound.spi);
        let nonces = self.ivs.of(outlet.incarnation()).ok_or(DropReason::SaUnusable)?;
        let initial = match &slot.child {
            None => Initial::fingerprint(&slot.spec, &self.config.replica_key),
            Some(child) => Initial::saved(&slot.spec, child.ike_spi, child.replaces),
        };
        let record = outlet.store().get(unit, session_key(spi)).filter(|it| it.app == APP);
        let is_same = |record: &Record| slot.child.is_some() || initial.is_in(record);
        let held = record.map(|record| Beginning::leases(record).filter(|_| is_same(record)));
        let leases = held.flatten().unwrap_or(Beginning::first());
        let beginning = Beginning { draw: nonces.begin(unit), leases, now_ns: outlet.now_ns() };
        let tunnel = Tunnel::new(&slot.spec, self.engine.as_ref(), beginning).map_err(|_| DropReason::SaUnusable)?;
        drop(outlet.store().take(unit, session_key(spi)));
        let counters = self.counters.of(slot.counters);
        match held {
            Some(Some(_)) => add(&counters.restored, 1),
            Some(None) => add(&counters.not_restored, 1),
            None => {}
        }
        if let Some(child) = &mut slot.child {
            child.heard |= leases.inbound > Beginning::first().inbound;
        }
        self.likes_many |= tunnel.sealer.likes_many() || tunnel.opener.likes_many();
        if self.chains.is_none() && tunnel.sealer.chained().or(tunnel.opener.chained()).is_some() {
            // Without memory for it, packets go one after another.
            self.chains = Chains::new().ok();
        }
        slot.tunnel = Some(Box::new(tunnel));
        self.renew(outlet, number, Some(&initial));
        Ok(())
    }

    /// Tells the backups how far the numbers may go, if that is due; and what it is, if that is new.
    pub(super) fn renew(&mut self, outlet: &mut dyn Outlet, number: usize, initial: Option<&Initial>) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(tunnel) = &mut slot.tunnel else { return };
        if tunnel.is_over() && !tunnel.spent {
            self.expire(number);
            return self.renew(outlet, number, initial);
        }
        let Some(essential) = tunnel.due().or_else(|| initial.map(|_| tunnel.told())) else { return };
        let position = tunnel.write(outlet.outbox(), self.digest_key, essential, initial);
        tunnel.outbound.written(essential.outbound, position, &mut self.leases);
        tunnel.inbound.written(essential.inbound, position, &mut self.leases);
        self.ledger.push_back((position, number));
        add(&self.counters.of(slot.counters).renewed, 1);
    }

    /// Looks at the tunnels that had traffic: how far ahead the peer's numbers may go from now on, and whether their keys are worn.
    pub(super) fn look(&mut self, outlet: &mut dyn Outlet) {
        let now_ns = outlet.now_ns();
        let mut listed = std::mem::take(&mut self.listed);
        let length_min = pace::length_min(listed.len());
        listed.retain(|number| {
            let Some(slot) = self.slots.get_mut(*number) else { return false };
            let Some(tunnel) = &mut slot.tunnel else { return false };
            let had_traffic = std::mem::replace(&mut tunnel.busy, false);
            if let Some(essential) = tunnel.look(length_min, now_ns) {
                // Nobody waits for this one: what it gives back is not used until a later one is committed.
                tunnel.write(outlet.outbox(), self.digest_key, essential, None);
                add(&self.counters.of(slot.counters).renewed, 1);
            }
            if slot.child.is_none() && tunnel.wears_out(now_ns) {
                add(&self.counters.of(slot.counters).keys_worn, 1);
            }
            // One that has fallen silent is looked at until nothing is ahead of it, and one that needs other keys until it has them.
            let waits = slot.child.is_some() && tunnel.needs_keys();
            tunnel.listed = had_traffic || tunnel.inbound.left() > 0 || waits;
            tunnel.listed
        });
        for number in &listed {
            if self.needs_keys(*number) {
                self.renew_keys(outlet, *number);
            }
        }
        self.look_at_ns = (!listed.is_empty()).then(|| now_ns.saturating_add(pace::LOOK_NS));
        self.listed = listed;
    }

    /// A unit leaves: its tunnels go to sleep. Those of IKE's keep nothing here but their policies.
    pub(super) fn put_to_sleep(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        for number in self.slots.of_unit(unit) {
            self.say_last(outlet, number);
            if let Some(written) = self.lay_down(number) {
                let store = outlet.store();
                written.put(&mut |update| {
                    // What it has no room for is lost here, and counted there.
                    let _ = store.keep(update);
                });
            }
            if self.slots.get(number).is_some_and(|slot| slot.child.is_some()) {
                self.slots.remove(number);
                self.count_children();
            }
        }
    }

    /// Takes a tunnel out of use, with all that waits in it. Answers what the backups have of it.
    fn lay_down(&mut self, number: usize) -> Option<Written> {
        let slot = self.slots.get_mut(number)?;
        let mut tunnel = slot.tunnel.take()?;
        self.listed.retain(|listed| *listed != number);
        let waited = self.spares.take_back_all(&mut tunnel);
        add(&self.counters.of(slot.counters).wait_lost, waited);
        let Tunnel { draw, written, .. } = *tunnel;
        if let Some(nonces) = &mut self.ivs.nonces {
            nonces.end(draw);
        }
        Some(written)
    }

    /// A tunnel of IKE's is no more, awake or asleep. Answers whether there was one.
    pub(super) fn remove(&mut self, outlet: &mut dyn Outlet, spi: u32) -> bool {
        let unit = Unit::from_low_bits(spi);
        let known = self.slots.find(spi);
        if known.is_some_and(|number| self.slots.get(number).is_none_or(|slot| slot.child.is_none())) {
            return false;
        }
        let asleep = outlet.store().take(unit, session_key(spi)).is_some();
        if let Some(number) = known {
            drop(self.lay_down(number));
            self.slots.remove(number);
            self.count_children();
        }
        if known.is_none() && !asleep {
            return false;
        }
        outlet.outbox().append(&Update::new(unit, session_key(spi), APP, Change::Remove));
        self.slots.forget(unit, spi);
        outlet.unprotect(spi);
        true
    }

    /// A packet that was let in came from here. What we send goes there from now on, if a NAT may have moved the peer (RFC 3948
    /// section 4, RFC 7296 section 2.23).
    pub(super) fn follow(&mut self, outlet: &mut dyn Outlet, number: usize, from: SocketAddr) {
        let now_ns = outlet.now_ns();
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(ports) = slot.spec.outer.udp else { return };
        let outer = slot.spec.outer;
        if (outer.destination, ports.destination) == (from.ip(), from.port()) {
            return;
        }
        if let Some(child) = &mut slot.child {
            if child.moved_ns.is_some_and(|at_ns| now_ns < at_ns.saturating_add(MOVE_NS)) {
                return;
            }
            child.moved_ns = Some(now_ns);
        }
        let udp = Some(Ports { destination: from.port(), ..ports });
        self.redirect(outlet, number, Outer { destination: from.ip(), udp, ..outer });
    }

    /// A tunnel's packets go to another address, and the backups are told.
    pub(super) fn redirect(&mut self, outlet: &mut dyn Outlet, number: usize, outer: Outer) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.spec.outer = outer;
        let Some(tunnel) = &mut slot.tunnel else { return };
        tunnel.redirect(&slot.spec);
        add(&self.counters.of(slot.counters).moved, 1);
        if let Some(child) = &slot.child {
            let initial = Initial::saved(&slot.spec, child.ike_spi, child.replaces);
            self.renew(outlet, number, Some(&initial));
        }
    }

    /// What another member tells of its tunnels, or has told of those that are ours now: its traffic goes to its unit's owner.
    pub(super) fn note_backup(&mut self, outlet: &mut dyn Outlet, unit: Unit, session: SessionKey) {
        let Some(spi) = spi_of(session) else { return };
        match outlet.store().get(unit, session) {
            Some(record) => {
                if let Some(saved) = saved_in(record) {
                    outlet.protect(&saved.spec.selectors, spi);
                    saved.spec.contact.into_iter().for_each(|contact| outlet.announce(contact));
                }
            }
            // Of the configuration's there is nothing to be taken back, and what lives here is not gone.
            None if self.slots.find(spi).is_none() => outlet.unprotect(spi),
            None => {}
        }
    }
}

/// The tunnel of IKE's that a record is of.
fn saved_in(record: &Record) -> Option<Saved> {
    let initial = record.initial.as_ref().filter(|it| record.app == APP && it.version == SAVED_VERSION)?;
    Saved::decode(&initial.bytes)
}
