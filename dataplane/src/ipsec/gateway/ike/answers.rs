//! What is answered: looked at first, then written down, then, when the backups hold it, shown.

use std::collections::HashSet;

use super::association::Association;
use super::{Act, Flight, Name, Promise};
use crate::app::Outlet;
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::desk::{Answer, Asked, ChildChange, Kept, Order};
use crate::ipsec::gateway::record::{ike_key, session_key};
use crate::ipsec::gateway::saved::Saved;
use crate::ipsec::gateway::spec::TunnelSpec;
use crate::ipsec::gateway::tunnel::Initial;
use crate::ipsec::outer::Outer;
use crate::replica::STATE_BYTES_MAX;
use crate::tallies::add;
use crate::unit::Unit;

/// Orders that are obeyed in one round: packets must not wait for long.
const ORDERS_A_ROUND: usize = 16;
/// SPIs below are not ours to give (RFC 4303 section 2.1).
const SPI_MIN: u32 = 256;
/// The longest record of an IKE SA: a state, without when it is due.
const RECORD_MAX: usize = STATE_BYTES_MAX - 64;
/// What an update's head and a tunnel's leases take in the log, amply.
const UPDATE_BYTES: usize = 128;

impl Gateway {
    /// Takes the answers that have come, and what else is ordered.
    pub(super) fn obey_orders(&mut self, outlet: &mut dyn Outlet) {
        for _ in 0..ORDERS_A_ROUND {
            match self.ike.as_mut().and_then(|ike| ike.desk.next_order()) {
                Some(Order::Answer(answer)) => {
                    if let Some(answer) = self.obey_lost(outlet, answer)
                        && let Some(name) = self.close_flight(&answer)
                    {
                        self.obey(outlet, name, answer);
                        self.go_on(outlet, name);
                    }
                }
                Some(Order::Wish(spi, wish)) => self.pass_on_wish(outlet, spi, wish),
                Some(Order::Show) => self.begin_to_show(),
                None => return,
            }
        }
    }

    /// Whose answer it is. None: nobody's any more.
    fn close_flight(&mut self, answer: &Answer) -> Option<Name> {
        let ike = self.ike.as_mut()?;
        let name = ike.flights.remove(&answer.ticket).map(|Flight { name, .. }| name);
        let association = name.and_then(|name| ike.all.get_mut(&name));
        if let Some(association) = association {
            association.ticket = None;
            return name;
        }
        add(&ike.counters.stale, 1);
        None
    }

    fn obey(&mut self, outlet: &mut dyn Outlet, name: Name, answer: Answer) {
        let sound = self.is_sound(outlet, name, &answer);
        let Some(ike) = &mut self.ike else { return };
        if !sound {
            return add(&ike.counters.refused, 1);
        }
        add(&ike.counters.answers, 1);
        match answer.token {
            Some(true) => add(&ike.counters.lost_believed, 1),
            Some(false) => add(&ike.counters.lost_doubted, 1),
            None => {}
        }
        // In one piece of the log: a backup must not have the tunnel without the IKE SA that knows of it, or the other way round.
        let bytes = self.log_bytes(outlet, &answer);
        outlet.outbox().keep_together(bytes);
        let before = outlet.outbox().head();
        let Answer { record, timeout_s, children, successor, send, prompts, .. } = answer;
        self.change(outlet, name, record, timeout_s);
        if let Some((spi, bytes, timeout_s)) = successor {
            self.begin(outlet, (name.0, spi), &bytes, timeout_s);
        }
        let mut added = Vec::new();
        for child in children {
            match child {
                ChildChange::Add { tunnel, ike_spi, replaces } => {
                    let spi = tunnel.inbound.spi;
                    if self.add_child(outlet, *tunnel, ike_spi, replaces).is_ok() {
                        added.push(spi);
                    }
                }
                ChildChange::Remove { spi } => drop(self.remove(outlet, spi)),
                ChildChange::Move { spi, source, destination, udp } => {
                    let slot = self.find(outlet, spi).and_then(|number| Some((number, self.slots.get(number)?)));
                    if let Some((number, slot)) = slot {
                        let outer = Outer { source, destination, udp, ..slot.spec.outer };
                        self.redirect(outlet, number, outer);
                    }
                }
                ChildChange::Skip { spi, count } => self.skip(outlet, spi, count),
                ChildChange::Adopt { spi, ike_spi } => self.adopt(outlet, spi, ike_spi),
            }
        }
        let Some(ike) = &mut self.ike else { return };
        let head = outlet.outbox().head();
        let association = ike.all.get_mut(&name);
        let at = match association {
            Some(association) if head == before => association.at,
            Some(association) => {
                association.at = head;
                head
            }
            None => head,
        };
        let unit = name.0;
        let acts = added.into_iter().map(Act::Protect).chain((!send.is_empty()).then_some(Act::Send(send)));
        ike.promises.extend(acts.map(|act| Promise { at, unit, act }));
        // Without room it is asked when its time comes.
        prompts.map(|spi| self.prompt(outlet, (unit, spi), Asked::Timeout));
        self.settle(outlet);
    }

    /// The IKE SA becomes what the answer says.
    fn change(&mut self, outlet: &mut dyn Outlet, name: Name, record: Kept, timeout_s: Option<u64>) {
        let Some(ike) = &mut self.ike else { return };
        if record == Kept::Ended {
            // What waited for it waits for nothing.
            if let Some(written) = ike.take_out(name).and_then(|association| association.written) {
                written.remove(outlet.outbox());
            }
            return;
        }
        let Some(association) = ike.all.get_mut(&name) else { return };
        let due = association.timeout_s;
        let bytes = match record {
            Kept::Changed(bytes) => bytes,
            _ if due == timeout_s => return,
            _ => match association.record() {
                Some(bytes) => bytes.to_vec(),
                None => return,
            },
        };
        let bytes = zeroize::Zeroizing::new(bytes);
        association.timeout_s = timeout_s;
        association.write(outlet.outbox(), self.digest_key, (name.0, ike_key(name.1)), &bytes);
        due.map(|at_s| ike.timers.remove(&(at_s, name)));
        timeout_s.map(|at_s| ike.timers.insert((at_s, name)));
    }

    /// An IKE SA takes another's place.
    fn begin(&mut self, outlet: &mut dyn Outlet, name: Name, bytes: &[u8], timeout_s: Option<u64>) {
        let Some(ike) = &mut self.ike else { return };
        let mut association = Association { timeout_s, ..Association::default() };
        association.write(outlet.outbox(), self.digest_key, (name.0, ike_key(name.1)), bytes);
        association.at = outlet.outbox().head();
        ike.put_in(name, association);
    }

    fn add_child(
        &mut self,
        outlet: &mut dyn Outlet,
        spec: TunnelSpec,
        ike_spi: u64,
        replaces: Option<u32>,
    ) -> Result<(), DropReason> {
        let replaces = replaces.filter(|old| self.is_here(outlet, spec.unit(), *old));
        let number = self.take_in(spec, self.child(ike_spi, replaces));
        let done = self.wake(outlet, number);
        if done.is_err() {
            self.slots.remove(number);
            self.count_children();
        }
        done
    }

    /// A tunnel goes on under another IKE SA. One that sleeps wakes up for that: what its record says would be nobody's any more.
    fn adopt(&mut self, outlet: &mut dyn Outlet, spi: u32, ike_spi: u64) {
        let Some(number) = self.find(outlet, spi) else { return };
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(child) = &mut slot.child else { return };
        child.ike_spi = ike_spi;
        let initial = Initial::saved(&slot.spec, ike_spi, child.replaces);
        self.renew(outlet, number, Some(&initial));
    }

    /// A tunnel does not use its next numbers, and the backups know.
    fn skip(&mut self, outlet: &mut dyn Outlet, spi: u32, count: u64) {
        let Some(number) = self.find(outlet, spi) else { return };
        // One that has carried all that it may sends nothing more anyway.
        if self.wake(outlet, number).is_err() {
            return;
        }
        if let Some(tunnel) = self.slots.tunnel(number) {
            tunnel.outbound.skip(count, &mut self.leases);
        }
        self.renew(outlet, number, None);
    }

    /// Asks what has waited for the answer.
    fn go_on(&mut self, outlet: &mut dyn Outlet, name: Name) {
        let Some(ike) = &mut self.ike else { return };
        let next = ike.all.get_mut(&name).and_then(|association| association.waiting.pop_front());
        // What there is no room for the peer says again.
        if let (Some(asked), Some(nonces)) = (next, self.ivs.of(outlet.incarnation()))
            && ike.has_room()
        {
            ike.ask(outlet, nonces, name, asked);
        }
        ike.forget_if_none(name);
    }

    /// Whether all of an answer can be obeyed: if not, none of it is.
    fn is_sound(&mut self, outlet: &mut dyn Outlet, (unit, _): Name, answer: &Answer) -> bool {
        let Some(ike) = &self.ike else { return false };
        if let Kept::Changed(bytes) = &answer.record
            && bytes.len() > RECORD_MAX
        {
            return false;
        }
        if let Some((spi, bytes, _)) = &answer.successor {
            let is_taken = ike.all.contains_key(&(unit, *spi)) || outlet.store().get(unit, ike_key(*spi)).is_some();
            if is_taken || Unit::from_low_bits(*spi as u32) != unit || bytes.len() > RECORD_MAX {
                return false;
            }
        }
        if answer.prompts.is_some_and(|spi| Unit::from_low_bits(spi as u32) != unit) {
            return false;
        }
        let mut new = HashSet::new();
        answer.children.iter().all(|child| match child {
            ChildChange::Add { tunnel, ike_spi, replaces } => {
                let spi = tunnel.inbound.spi;
                is_tunnel(tunnel, unit)
                    && Saved::encode(tunnel, *ike_spi, *replaces).len() <= RECORD_MAX
                    && !self.is_here(outlet, unit, spi)
                    && new.insert(spi)
            }
            ChildChange::Remove { spi } | ChildChange::Skip { spi, .. } => Unit::from_low_bits(*spi) == unit,
            ChildChange::Move { spi, source, destination, .. } => {
                Unit::from_low_bits(*spi) == unit && source.is_ipv4() == destination.is_ipv4()
            }
            ChildChange::Adopt { spi, ike_spi } => {
                [*spi, *ike_spi as u32].into_iter().all(|spi| Unit::from_low_bits(spi) == unit)
            }
        })
    }

    /// What an answer takes in the log, about.
    fn log_bytes(&self, outlet: &mut dyn Outlet, answer: &Answer) -> usize {
        let record = if let Kept::Changed(bytes) = &answer.record { bytes.len() } else { 0 };
        let successor = answer.successor.as_ref().map_or(0, |(_, bytes, _)| bytes.len());
        let mut child = |child: &ChildChange| match child {
            ChildChange::Add { tunnel, ike_spi, replaces } => Saved::encode(tunnel, *ike_spi, *replaces).len(),
            ChildChange::Remove { .. } => 0,
            ChildChange::Move { spi, .. } | ChildChange::Skip { spi, .. } | ChildChange::Adopt { spi, .. } => {
                self.saved_len(outlet, *spi)
            }
        };
        // One that wakes up for its change says twice what it is.
        let children: usize = answer.children.iter().map(|it| 2 * (child(it) + UPDATE_BYTES)).sum();
        record + successor + children + 4 * UPDATE_BYTES
    }

    /// How long the record of what a tunnel is, is.
    fn saved_len(&self, outlet: &mut dyn Outlet, spi: u32) -> usize {
        if let Some(slot) = self.slots.find(spi).and_then(|number| self.slots.get(number)) {
            return Saved::encode(&slot.spec, 0, None).len();
        }
        let record = outlet.store().get(Unit::from_low_bits(spi), session_key(spi));
        record.and_then(|record| record.initial.as_ref()).map_or(0, |initial| initial.bytes.len())
    }
}

fn is_tunnel(tunnel: &TunnelSpec, unit: Unit) -> bool {
    let transform = tunnel.protection.transform();
    tunnel.unit() == unit
        && tunnel.inbound.spi >= SPI_MIN
        && [&tunnel.inbound, &tunnel.outbound].iter().all(|half| half.keys.are_for(transform))
        && is_of_one_family(&tunnel.outer)
}

const fn is_of_one_family(outer: &Outer) -> bool {
    outer.source.is_ipv4() == outer.destination.is_ipv4()
}
