//! How much one pair of keys may carry (RFC 4301 section 4.4.2.1): lifetimes in packets and bytes, soft and hard.
//!
//! ```text
//!   0 ─────────────────────────── soft ───────────── hard
//!                                  │ IKE is asked      │ nothing goes through any more, either way, and IKE is
//!                                  │ for new keys      │ asked a few times more for new keys, then to end it
//! ```
//! *Why it is not ended at once*: a peer may have refused new keys for a moment only, for it gave the IKE SA new ones just then (RFC 7296
//! section 2.25); IKE waits for longer after that than there is left to carry. Whoever wants the new keys has to ask again: of a child that
//! just ends, many a peer makes no other one by itself, and then there is none for ever.
//!
//! *What is counted*: packets by their sequence numbers, which nobody has to count, and the bytes of what is inside them. Each direction is
//! an SA of its own; the one that has carried more decides for both. Numbers that are skipped count. Short numbers are such a limit, too.
//!
//! *Who takes over* knows how far the leases of the numbers go, which is no less than what was sent, and so a limit in packets costs no
//! record of its own. For bytes each record says how many there will be at most when its leases are used up; so there is no place in which
//! an owner can die and leave a lower count behind than what was carried. A takeover counts a little too much: less than a twelfth of a
//! life, because the leases of tunnels with short lives are short. That is less than lies between soft and hard.
//!
//! *IVs* are of a member and a unit, and there are 2^36 in one of its lives: a tunnel asks for new keys while it has a quarter of those left that
//! it found. That is no end, for its successor begins where this one did.
//!
//! *When it is looked at*: the soft limit when the tunnel is ([`super::pace::LOOK_NS`]), the hard one after each burst; numbers of ours beyond it
//! are never taken ([`Ends::take_numbers`]). What is asked of IKE is asked again while nothing comes of it, by an heir, too. For keys that were
//! set by hand nobody can be asked: their operator is told, of either limit once (by each owner).

use std::ops::Range;

use super::Gateway;
use super::desk::Wish;
use super::record::Carried;
use super::spec::{Life, TunnelSpec};
use super::tunnel::Tunnel;
use crate::app::Outlet;
use crate::ipsec::crypto::Numbers;
use crate::ipsec::nonce::Draw;
use crate::replica::{Extent, Lease, LeaseRecord, LeaseStats};
use crate::tallies::add;
use crate::unit::Unit;

/// No packet is longer: the largest MTU that a port can have.
const PACKET_BYTES: u64 = 9600;
/// The soft limit is so much of the hard one below it, at least; and up to twice as much, for not all tunnels are to come at once.
const MARGIN: u64 = 8;
/// A lease is no longer than this part of a life.
const LEASE_PART: u64 = 16;
/// How long is waited until IKE is asked again for new keys: it, too, tries again after a refusal.
const AGAIN_NS: u64 = 10_000_000_000;
/// And to end a tunnel, or for new keys for one through which nothing goes any more.
const END_AGAIN_NS: u64 = 2_000_000_000;
/// So often it is asked for these before it is asked to end it.
const LAST_TRIES: u8 = 3;
/// With fewer IVs than these to begin with, new keys are no help: they begin with no more.
const IVS_MIN: u64 = 1 << 24;

/// So much is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Amount {
    packets: u64,
    bytes: u64,
}

impl Amount {
    /// Whether numbers that begin with this one, and so many bytes, reach it.
    #[inline]
    const fn is_reached(self, next: u64, bytes: u64) -> bool {
        next > self.packets || bytes >= self.bytes
    }
}

/// The ends of a tunnel's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    soft: Amount,
    hard: Amount,
    /// With so few IVs left, new keys are wanted.
    ivs: u64,
}

impl Ends {
    pub(super) fn of(spec: &TunnelSpec, draw: &Draw) -> Self {
        let Life { packets, bytes } = spec.life;
        let or_any = |amount: u64| if amount == 0 { u64::MAX } else { amount };
        let numbers = match spec.numbers {
            Numbers::Short => u32::MAX.into(),
            Numbers::Extended => u64::MAX,
        };
        let hard = Amount { packets: or_any(packets).min(numbers), bytes: or_any(bytes) };
        let soft = Amount { packets: soft(hard.packets, spec.inbound.spi), bytes: soft(hard.bytes, spec.inbound.spi) };
        let ivs = Some(draw.left()).filter(|left| *left > IVS_MIN).map_or(0, |left| left / 4);
        Self { soft, hard, ivs }
    }

    /// As many of the next numbers of ours as are leased, and as the keys may carry, in a row, up to `count`.
    #[inline]
    pub(super) fn take_numbers(&self, outbound: &mut Lease, count: u64, stats: &mut LeaseStats) -> Range<u64> {
        let left = self.hard.packets.saturating_add(1).saturating_sub(outbound.next());
        outbound.take_many(count.min(left), stats)
    }

    /// What a lease of our numbers is long.
    pub(super) fn extent(&self) -> Extent {
        let length = self.lease_max().min(Extent::default().length);
        Extent { length, refill: length / 4 }
    }

    /// A lease of the peer's numbers, if it is not too long.
    pub(super) fn within(&self, extent: Extent) -> Extent {
        let length = extent.length.min(self.lease_max());
        Extent { length, refill: extent.refill.min(length / 2) }
    }

    fn lease_max(&self) -> u64 {
        let Amount { packets, bytes } = self.hard;
        (packets / LEASE_PART).min(bytes / PACKET_BYTES / LEASE_PART).max(1)
    }

    /// What was carried at most by SAs whose leases went so far, if their record does not say it.
    fn guess(&self, limit: u64) -> u64 {
        if self.hard.bytes == u64::MAX { 0 } else { limit.saturating_sub(1).saturating_mul(PACKET_BYTES) }
    }

    /// What a tunnel has carried whose record says this.
    pub(super) fn carried(&self, told: Option<Carried>, outbound: LeaseRecord, inbound: LeaseRecord) -> Carried {
        told.unwrap_or(Carried { sent: self.guess(outbound.limit), received: self.guess(inbound.limit) })
    }
}

/// The soft limit: where is drawn from the SPI, which is random, so that an heir has the same one.
fn soft(hard: u64, spi: u32) -> u64 {
    if hard == u64::MAX {
        return hard;
    }
    let margin = hard / MARGIN;
    // The lowest ten bits are the unit; the one above may be set always.
    let share = u128::from(spi >> 11 & 0xffff);
    let more = (u128::from(margin) * share) >> u16::BITS;
    hard - margin - u64::try_from(more).unwrap_or(margin)
}

/// What IKE was asked for, and when; or of keys that were set by hand, the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    NewKeys(u64),
    /// Nothing goes through it any more: how often it was asked since then.
    LastKeys(u64, u8),
    End(u64),
}

impl Tunnel {
    /// Whether its keys have carried all that they may.
    #[inline]
    pub(super) const fn is_over(&self) -> bool {
        self.reaches(self.ends.hard)
    }

    /// Whether it is to have other keys: its own have carried much, or its peer cannot be heard under them.
    pub(super) fn needs_keys(&self) -> bool {
        self.is_worn() || self.is_behind()
    }

    /// Whether its keys, which were set by hand, have just become worn: that is to be said once.
    pub(super) fn wears_out(&mut self, now_ns: u64) -> bool {
        let wears_out = self.is_worn() && self.asked.is_none();
        if wears_out {
            self.asked = Some(Asked::NewKeys(now_ns));
        }
        wears_out
    }

    /// Whether they have carried so much that they are to be replaced.
    fn is_worn(&self) -> bool {
        self.reaches(self.ends.soft) || self.draw.left() < self.ends.ivs
    }

    #[inline]
    const fn reaches(&self, amount: Amount) -> bool {
        amount.is_reached(self.outbound.next(), self.carried.sent)
            || amount.is_reached(self.inbound.next(), self.carried.received)
    }

    /// What it has carried at most when its leases go so far and are used up. None: nobody wants to know.
    pub(super) fn will_have_carried(&self, outbound: LeaseRecord, inbound: LeaseRecord) -> Option<Carried> {
        let most = |so_far: u64, packets: u64| so_far.saturating_add(packets.saturating_mul(PACKET_BYTES));
        let left = outbound.limit.saturating_sub(self.outbound.next());
        let to_come = inbound.limit.saturating_sub(self.inbound.next()).saturating_add(self.window.size());
        let carried =
            || Carried { sent: most(self.carried.sent, left), received: most(self.carried.received, to_come) };
        (self.ends.hard.bytes < u64::MAX).then(carried)
    }

    /// What IKE is to be asked for at this time.
    fn wish(&self, spi: u32, is_replaced: bool, now_ns: u64) -> Option<Wish> {
        let is_due = |at_ns: u64, pause_ns: u64| now_ns >= at_ns.saturating_add(pause_ns);
        match self.asked {
            // Whoever takes its place has new keys; it ends when they are used.
            None if is_replaced && !self.spent => None,
            None if !is_replaced => Some(Wish::RekeyChild(spi)),
            None => Some(Wish::CloseChild(spi)),
            Some(Asked::NewKeys(_) | Asked::LastKeys(..)) if self.spent && is_replaced => Some(Wish::CloseChild(spi)),
            Some(Asked::NewKeys(at_ns) | Asked::LastKeys(at_ns, _)) if self.spent && !is_due(at_ns, END_AGAIN_NS) => {
                None
            }
            Some(Asked::LastKeys(_, tries)) if tries >= LAST_TRIES => Some(Wish::CloseChild(spi)),
            Some(Asked::LastKeys(..)) => Some(Wish::RekeyChild(spi)),
            Some(Asked::NewKeys(_)) if self.spent => Some(Wish::RekeyChild(spi)),
            Some(Asked::NewKeys(at_ns)) if is_replaced || !is_due(at_ns, AGAIN_NS) => None,
            Some(Asked::NewKeys(_)) => Some(Wish::RekeyChild(spi)),
            Some(Asked::End(at_ns)) => is_due(at_ns, END_AGAIN_NS).then_some(Wish::CloseChild(spi)),
        }
    }
}

impl Gateway {
    /// Whether a tunnel of IKE's is to have other keys.
    pub(super) fn needs_keys(&self, number: usize) -> bool {
        let slot = self.slots.get(number).filter(|slot| slot.child.is_some());
        slot.and_then(|slot| slot.tunnel.as_ref()).is_some_and(|tunnel| tunnel.needs_keys())
    }

    /// Has IKE do what is to be done for it.
    pub(super) fn renew_keys(&mut self, outlet: &mut dyn Outlet, number: usize) {
        let now_ns = outlet.now_ns();
        if self.slots.tunnel(number).is_some_and(|tunnel| tunnel.is_over() && !tunnel.spent) {
            self.expire(number);
        }
        let Some(slot) = self.slots.get(number) else { return };
        let (Some(child), Some(tunnel)) = (&slot.child, &slot.tunnel) else { return };
        let spi = slot.spec.inbound.spi;
        let Some(wish) = tunnel.wish(spi, child.successor.is_some(), now_ns) else { return };
        let name = (Unit::from_low_bits(spi), child.ike_spi);
        if !self.want(outlet, name, wish) {
            return;
        }
        let Some(tunnel) = self.slots.tunnel(number) else { return };
        if let (Wish::RekeyChild(_), Some(ike)) = (wish, &self.ike) {
            let why = if tunnel.is_worn() { &ike.counters.keys_worn } else { &ike.counters.keys_behind };
            add(why, 1);
        }
        tunnel.asked = Some(match (wish, tunnel.asked) {
            (Wish::RekeyChild(_), Some(Asked::LastKeys(_, tries))) => Asked::LastKeys(now_ns, tries.saturating_add(1)),
            (Wish::RekeyChild(_), _) if tunnel.spent => Asked::LastKeys(now_ns, 1),
            (Wish::RekeyChild(_), _) => Asked::NewKeys(now_ns),
            _ => Asked::End(now_ns),
        });
    }

    /// A tunnel has carried all that its keys may: nothing goes through it any more, and what waits in it goes nowhere. Whatever takes its place
    /// is used from now on.
    #[cold]
    pub(super) fn expire(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(tunnel) = &mut slot.tunnel else { return };
        tunnel.spent = true;
        let waited = self.spares.take_back_all(tunnel);
        add(&self.counters.of(slot.counters).wait_lost, waited);
        let successor = slot.child.and_then(|child| child.successor);
        let over = match &self.ike {
            Some(ike) if slot.child.is_some() => &ike.counters.lives_over,
            _ => &self.counters.of(slot.counters).lives_over,
        };
        add(over, 1);
        let successor = successor.and_then(|spi| self.slots.find(spi)).and_then(|number| self.slots.get_mut(number));
        if let Some(child) = successor.and_then(|slot| slot.child.as_mut()) {
            child.heard = true;
        }
    }

    /// Whether nothing goes through a tunnel any more.
    pub(super) fn is_spent(&self, spi: u32) -> bool {
        let slot = self.slots.find(spi).and_then(|number| self.slots.get(number));
        slot.and_then(|slot| slot.tunnel.as_ref()).is_some_and(|tunnel| tunnel.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limits_are_apart_and_below_the_hard_one() {
        let limits: Vec<u64> = (0..64).map(|number| soft(800_000, number << 21 | 77)).collect();
        assert!(limits.iter().all(|limit| (600_000..=700_000).contains(limit)), "{limits:?}");
        assert!(limits.iter().max() > limits.iter().min().map(|least| least + 80_000).as_ref());
        assert_eq!((soft(u64::MAX, 77), soft(0, 77), soft(u64::MAX - 1, u32::MAX) > u64::MAX / 2), (u64::MAX, 0, true));
    }

    #[test]
    fn all_numbers_are_used_and_no_more() {
        let amount = Amount { packets: 10, bytes: 100 };
        assert!(!amount.is_reached(10, 99), "nine were sent");
        assert!(amount.is_reached(11, 0) && amount.is_reached(1, 100));
    }

    /// One who dies in the middle of all costs less than what lies between soft and hard.
    #[test]
    fn a_takeover_does_not_skip_the_soft_limit() {
        const { assert!(LEASE_PART * 4 / 5 > MARGIN) };
        const { assert!(IVS_MIN < crate::ipsec::nonce::COUNTERS) };
    }
}
