//! Addresses that peers are given.
//!
//! Which addresses are taken is known by those that have them: the book hears of IKE SAs that pass by ([`Book::hear`]), and of all tunnels
//! that the cluster has, other members' too ([`Book::hear_tunnel`]). What is given out and not yet heard of is reserved for a while.
//!
//! *Two halves of a split cluster never give the same address*: each member gives only from its own share of a pool. An SA whose peer fell
//! silent may live on in the other half: so its address rests before somebody else gets it. One that its peer has ended is free
//! at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::state::IkeSa;
use crate::wire::{Identity, IkeSpi};

/// So long an address is kept for the SA that asked for it.
const RESERVED_S: u64 = 60;
/// So long it is kept for an IKE SA that was seen with it, though it has no tunnel; it is seen again each time that its peer is asked
/// whether it lives.
const SEEN_S: u64 = 900;
/// So long the address of a peer that fell silent is nobody else's.
const REST_S: u64 = 3600;
/// So many addresses of a pool are used: of an IPv6 network there is no end.
const ADDRESSES_MAX: u32 = 1 << 22;

/// Who gives addresses out.
pub trait Pools {
    /// An address of a pool that nobody has; the one that the peer wishes for, or had before, if that can be.
    fn lease(&mut self, ask: Ask<'_>) -> Option<IpAddr>;
}

/// For whom an address is.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The pool.
    pub pool: &'a str,
    /// The address's family.
    pub v6: bool,
    /// Who asks.
    pub peer: &'a Identity,
    /// What it wishes for.
    pub wish: Option<IpAddr>,
    /// For which IKE SA.
    pub spi: IkeSpi,
    /// When that is, on the cluster's clock.
    pub now_s: u64,
}

/// A network whose addresses are given out.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    first: IpAddr,
    /// How many addresses it has, the network's own among them.
    len: u32,
    /// Ours are each so many-th, from this one on.
    shares: u32,
    share: u32,
    next: u32,
}

/// All pools, and who has what.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pools: Vec<Pool>,
    holders: HashMap<IpAddr, Holder>,
    /// The addresses of each tunnel, by our SPI.
    tunnels: HashMap<u32, Vec<IpAddr>>,
}

/// What is known of an address that was given out.
#[derive(Clone, Debug, Default)]
struct Holder {
    /// Whose it is, if an IKE SA has said that.
    peer: Option<Identity>,
    /// How many tunnels have it: one, and the one with new keys for it.
    tunnels: u32,
    /// Until when it is nobody else's, tunnels or not.
    kept_until_s: u64,
    /// Its last tunnel went without a word of its peer's.
    rests: bool,
    /// Its peer wants it no more.
    ended: bool,
}

impl Pool {
    /// A network's addresses, as far as they are this member's: it has share number `share` of `shares`, from 0.
    pub fn new(name: String, network: IpAddr, prefix_len: u8, share: u32, shares: u32) -> Self {
        let width = if network.is_ipv4() { 32 } else { 128 };
        let len = 1_u32.checked_shl(width - u32::from(prefix_len).min(width)).unwrap_or(ADDRESSES_MAX);
        Self { name, first: network, len: len.min(ADDRESSES_MAX), shares: shares.max(1), share, next: 0 }
    }

    fn at(&self, index: u32) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).wrapping_add(index)).into(),
            IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).wrapping_add(index.into())).into(),
        }
    }

    fn index_of(&self, address: IpAddr) -> Option<u32> {
        let index = match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => u32::from(address).checked_sub(u32::from(first))?,
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                u32::try_from(u128::from(address).checked_sub(u128::from(first))?).ok()?
            }
            _ => return None,
        };
        (index < self.len).then_some(index)
    }

    /// Whether this member may give it out: neither the network's own nor, of IPv4, the one that means all.
    fn is_ours(&self, index: u32) -> bool {
        let of_all = self.first.is_ipv4() && index + 1 == self.len;
        let usable = self.len == 1 || (index > 0 && !of_all);
        usable && index % self.shares == self.share % self.shares
    }
}

impl Book {
    /// With nothing given out.
    pub fn new(pools: Vec<Pool>) -> Self {
        Self { pools, ..Self::default() }
    }

    /// An IKE SA was seen that has this value now.
    pub fn hear(&mut self, sa: &IkeSa, now_s: u64) {
        let Some(peer) = sa.peer() else { return };
        for address in &peer.addresses {
            if !self.is_of_a_pool(*address) {
                continue;
            }
            let holder = self.holders.entry(*address).or_default();
            holder.peer = Some(peer.identity.clone());
            holder.kept_until_s = now_s.saturating_add(SEEN_S);
            (holder.rests, holder.ended) = (false, false);
        }
    }

    /// An IKE SA that had this value has been ended by its peer, or with its knowledge.
    pub fn hear_end(&mut self, sa: &IkeSa) {
        // One that another has taken the place of had nothing any more.
        for address in sa.peer().filter(|_| !sa.succeeded).iter().flat_map(|peer| &peer.addresses) {
            if let Some(holder) = self.holders.get_mut(address) {
                (holder.kept_until_s, holder.ended) = (0, true);
            }
        }
    }

    /// There is a tunnel, somewhere in the cluster, to these addresses.
    pub fn hear_tunnel(&mut self, spi: u32, addresses: impl Iterator<Item = IpAddr>) {
        let addresses: Vec<IpAddr> = addresses.filter(|address| self.is_of_a_pool(*address)).collect();
        if addresses.is_empty() || self.tunnels.contains_key(&spi) {
            return;
        }
        for address in &addresses {
            let holder = self.holders.entry(*address).or_default();
            holder.tunnels += 1;
            (holder.rests, holder.ended) = (false, false);
        }
        self.tunnels.insert(spi, addresses);
    }

    /// It is no more.
    pub fn lose_tunnel(&mut self, spi: u32, now_s: u64) {
        for address in self.tunnels.remove(&spi).unwrap_or_default() {
            let Some(holder) = self.holders.get_mut(&address) else { continue };
            holder.tunnels = holder.tunnels.saturating_sub(1);
            if holder.tunnels == 0 && !holder.ended {
                holder.rests = true;
                holder.kept_until_s = holder.kept_until_s.max(now_s.saturating_add(REST_S));
            }
        }
    }

    fn is_of_a_pool(&self, address: IpAddr) -> bool {
        self.pools.iter().any(|pool| pool.index_of(address).is_some())
    }

    /// Whether this peer may have it.
    fn is_free(&self, address: IpAddr, peer: &Identity, now_s: u64) -> bool {
        self.holders.get(&address).is_none_or(|holder| {
            let own_again = holder.rests && holder.peer.as_ref() == Some(peer);
            holder.tunnels == 0 && (holder.kept_until_s <= now_s || own_again)
        })
    }
}

impl Pools for Book {
    fn lease(&mut self, ask: Ask<'_>) -> Option<IpAddr> {
        let at = self.pools.iter().position(|pool| pool.name == ask.pool && pool.first.is_ipv6() == ask.v6)?;
        let pool = &self.pools[at];
        let free = |address| self.is_free(address, ask.peer, ask.now_s);
        let wish = ask.wish.and_then(|wish| pool.index_of(wish)).filter(|it| pool.is_ours(*it) && free(pool.at(*it)));
        let turn = |step: u32| (u64::from(pool.next) + u64::from(step)) % u64::from(pool.len);
        let mut others = (0..pool.len).map(|step| turn(step) as u32);
        let index = wish.or_else(|| others.find(|index| pool.is_ours(*index) && free(pool.at(*index))))?;
        let address = pool.at(index);
        self.pools[at].next = index + 1;
        let kept_until_s = ask.now_s.saturating_add(RESERVED_S);
        self.holders.insert(address, Holder { peer: Some(ask.peer.clone()), kept_until_s, ..Holder::default() });
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Identity {
        Identity::of_text(name)
    }

    fn ask<'a>(peer: &'a Identity, wish: Option<&str>, now_s: u64) -> Ask<'a> {
        Ask { pool: "p", v6: false, peer, wish: wish.map(|text| text.parse().unwrap()), spi: 1, now_s }
    }

    fn book(network: &str, len: u8, share: u32, shares: u32) -> Book {
        Book::new(vec![Pool::new("p".into(), network.parse().unwrap(), len, share, shares)])
    }

    #[test]
    fn shares_are_disjoint_and_together_all_but_the_networks_own() {
        let mut all = Vec::new();
        for share in 0..3 {
            let mut book = book("10.99.0.0", 28, share, 3);
            let given = std::iter::from_fn(|| book.lease(ask(&peer("a"), None, 0)));
            all.extend(given.take(100));
        }
        all.sort_unstable();
        let expected: Vec<IpAddr> = (1..15).map(|low| IpAddr::from([10, 99, 0, low])).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_wish_is_granted_if_it_is_ours_and_free() {
        let mut book = book("10.99.0.0", 24, 1, 4);
        assert_eq!(book.lease(ask(&peer("a"), Some("10.99.0.9"), 0)), Some("10.99.0.9".parse().unwrap()));
        for refused in ["10.99.0.9", "10.99.0.8", "10.98.0.9", "2001:db8::1"] {
            let given = book.lease(ask(&peer("b"), Some(refused), 0)).unwrap();
            assert_ne!(given.to_string(), refused);
        }
        let again = book.lease(ask(&peer("c"), Some("10.99.0.9"), RESERVED_S));
        assert_eq!(again, Some("10.99.0.9".parse().unwrap()), "its SA never came");
        assert_eq!(Book::default().lease(ask(&peer("a"), None, 0)), None);
    }

    #[test]
    fn an_address_is_taken_as_long_as_a_tunnel_leads_to_it_and_rests_afterwards() {
        let given: IpAddr = "10.99.0.1".parse().unwrap();
        let wish = Some("10.99.0.1");
        let mut book = book("10.99.0.0", 24, 0, 1);
        let (alice, bob) = (peer("alice"), peer("bob"));
        assert_eq!(book.lease(ask(&alice, None, 0)), Some(given));
        book.hear_tunnel(7, [given].into_iter());
        book.hear_tunnel(8, [given].into_iter());
        book.lose_tunnel(7, 100);
        let late_s = 100 + 2 * REST_S;
        assert_ne!(book.lease(ask(&bob, wish, late_s)), Some(given), "the one with new keys has it");
        book.lose_tunnel(8, late_s);
        assert_ne!(book.lease(ask(&bob, wish, late_s + REST_S - 1)), Some(given), "it rests");
        assert_eq!(book.lease(ask(&alice, wish, late_s + 1)), Some(given), "but for whom it was");
        book.hear_tunnel(9, [given].into_iter());
        book.lose_tunnel(9, late_s);
        assert_eq!(book.lease(ask(&bob, wish, late_s + REST_S)), Some(given));
        // What is no pool's, and what was not there, is no matter.
        book.hear_tunnel(10, ["10.9.0.1".parse().unwrap()].into_iter());
        book.lose_tunnel(10, 0);
        book.lose_tunnel(11, 0);
    }

    #[test]
    fn an_ipv6_network_gives_addresses_too() {
        let mut book = book("2001:db8::", 64, 0, 1);
        let given = book.lease(Ask { v6: true, ..ask(&peer("a"), None, 0) });
        assert_eq!(given, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(book.lease(ask(&peer("a"), None, 0)), None, "not of this family");
    }
}
