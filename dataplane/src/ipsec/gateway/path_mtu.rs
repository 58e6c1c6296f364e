//! What the way to a peer takes, as far as a router on it has complained (RFC 1191, RFC 8201; RFC 4301 section 8.2). Senders of longer
//! packets are told then, as they are of a first link that takes less.
//!
//! Anybody can send such a complaint, and nobody proves it. So it is believed only if it quotes one of the packets that the tunnel sent
//! lately: the peer's SPI and address, and a number among the last 65,536; it cannot push the size below what every way takes; and it is
//! forgotten after ten minutes, for the way may have become wider (RFC 1191 section 6.3). An heir does not know of it, and is told anew.

use std::net::IpAddr;

use super::Gateway;
use super::tunnel::Tunnel;
use crate::app::{Outlet, Returned, Trouble};
use crate::ipsec::{ah, esp};
use crate::parse::Family;
use crate::tallies::add;
use crate::unit::Unit;
use crate::wire::{ipv6, proto, udp};

/// How long a complaint counts.
const VALID_NS: u64 = 600_000_000_000;
/// No way over IPv4 in use takes less than this much.
const LEAST_V4: u16 = 552;
/// Numbers of packets whose complaints may still be on their way.
const LATELY: u32 = 1 << 16;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathMtu {
    mtu: u16,
    until_ns: u64,
}

impl PathMtu {
    /// Nobody has complained.
    pub(super) const UNKNOWN: Self = Self { mtu: u16::MAX, until_ns: u64::MAX };

    /// The size of an outer packet that the way takes as far as routers have said; the greatest number, if nobody has complained.
    #[inline]
    pub(super) const fn get(self) -> u16 {
        self.mtu
    }

    /// What the way to this address takes, its first link among it.
    pub(super) fn towards(self, outlet: &dyn Outlet, peer: IpAddr) -> u16 {
        outlet.mtu_towards(peer).unwrap_or(u16::MAX).min(self.mtu)
    }

    /// Forgets what is too old.
    pub(super) const fn age(&mut self, now_ns: u64) {
        if now_ns >= self.until_ns {
            *self = Self::UNKNOWN;
        }
    }

    /// A router says that it takes no more than this. Whether that is less than what was known.
    fn lower(&mut self, mtu: u16, family: Family, now_ns: u64) -> bool {
        let least = match family {
            Family::V4 => LEAST_V4,
            Family::V6 => ipv6::MTU_MIN as u16,
        };
        let mtu = mtu.max(least);
        let lower = mtu < self.mtu;
        if lower {
            *self = Self { mtu, until_ns: now_ns.saturating_add(VALID_NS) };
        }
        lower
    }
}

impl Tunnel {
    /// How long packets like this one may be that go through the tunnel.
    pub(super) fn mtu_of(&mut self, outlet: &dyn Outlet, peer: IpAddr, packet: &[u8]) -> usize {
        self.path_mtu.age(outlet.now_ns());
        let way = self.path_mtu.towards(outlet, peer);
        if way == u16::MAX { usize::from(way) } else { self.form.mtu(packet, way.into()) }
    }

    /// Whether it has lately sent a packet whose number ends like this.
    const fn has_sent(&self, low: u32) -> bool {
        let ago = (self.outbound.next() as u32).wrapping_sub(low);
        ago > 0 && ago <= LATELY && ago as u64 <= self.outbound.next()
    }
}

impl Gateway {
    /// A router complains of a packet of a tunnel's. False: it is none that was sent through a tunnel of this unit lately.
    pub(super) fn hear_returned(&mut self, outlet: &dyn Outlet, unit: Unit, returned: &Returned<'_>) -> bool {
        let (Trouble::TooBig { mtu }, Some((spi, low))) = (returned.trouble, label_of(returned)) else { return false };
        let peer = (returned.about.family, returned.about.src);
        let Some(number) = self.slots.sending(unit, spi, peer) else { return false };
        let Some(slot) = self.slots.get_mut(number) else { return false };
        let Some(tunnel) = slot.tunnel.as_deref_mut().filter(|tunnel| tunnel.has_sent(low)) else { return false };
        if tunnel.path_mtu.lower(mtu, returned.about.family, outlet.now_ns()) {
            add(&self.counters.of(slot.counters).path_mtu_lowered, 1);
        }
        true
    }
}

/// SPI and the low half of the number of a packet that was quoted.
fn label_of(returned: &Returned<'_>) -> Option<(u32, u32)> {
    let carried = returned.quoted;
    match returned.about.proto {
        proto::ESP => esp::header(carried),
        proto::UDP => carried.get(udp::HEADER_LEN..).and_then(esp::header),
        proto::AH => ah::header(carried),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_less_counts_and_not_for_ever() {
        let mut path = PathMtu::UNKNOWN;
        assert!(path.lower(1400, Family::V4, 10) && path.get() == 1400);
        assert!(!path.lower(1450, Family::V4, 20) && path.get() == 1400);
        assert!(path.lower(0, Family::V4, 30) && path.get() == 552, "an old router, or a liar");
        assert!(!path.lower(100, Family::V4, 30));
        path.age(30 + VALID_NS - 1);
        assert_eq!(path.get(), 552);
        path.age(30 + VALID_NS);
        assert_eq!(path.get(), u16::MAX);
        assert!(path.lower(100, Family::V6, 30) && path.get() == 1280);
    }
}
