//! What the worker does for the apps, and when it calls them.
//!
//! The apps are taken out of the worker while one of them is called: they act on it through [`Outlet`], and nothing in
//! there calls them again.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::Mbuf;

use super::errands::Way;
use super::path::Path;
use super::transmit::Kind;
use crate::app::{App, Hindrance, Outgoing, Outlet, Passed, Returned, UnitSet, Wrappable};
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::{Contact, Passing, Selectors};
use crate::parse::{Family, Summary, address_number, summarise_l3};
use crate::replica::{Outbox, Snapshots, Sources, Store};
use crate::steer::View;
use crate::unit::Unit;
use crate::wire::ethernet::{EtherType, HEADER_LEN};
use crate::wire::{self, bytes, ipv4, ipv6};

/// The longest IP packet that an app sends, whatever the link takes: it must fit a buffer.
const LEN_MAX: u16 = 9000;
const TTL: u8 = 64;
/// Sessions that one round tells backups in snapshots: packets must not wait for long.
const SNAPSHOT_STEPS: usize = 32;

impl Path {
    /// Whether a packet's addresses are none that a host behind a tunnel could have, or speak to.
    fn is_strange(&self, summary: &Summary) -> bool {
        summary.is_link_local() || summary.is_to_group() || self.is_ours(summary, summary.src)
    }

    /// Whether one of a packet's addresses is the cluster's or a member's.
    fn is_ours(&self, summary: &Summary, address: u128) -> bool {
        self.addresses.find(summary.family, address).is_some()
    }

    /// Offers a packet to the cluster to the apps. False: none claims it.
    pub(super) fn offer(&mut self, unit: Unit, summary: &Summary, frame: &[u8]) -> Result<bool, DropReason> {
        let Some(at) = self.apps.iter().position(|app| app.claims(summary)) else { return Ok(false) };
        self.has_come(unit);
        let mut apps = std::mem::take(&mut self.apps);
        let done = apps[at].handle_packet(self, unit, summary, summary.l3(frame));
        self.apps = apps;
        self.run_errands();
        done.map(|()| true)
    }

    /// Gives a packet between hosts to the app that has a tunnel for it.
    pub(super) fn give_to_tunnel(&mut self, spi: u32, summary: &Summary, mbuf: &mut Mbuf) -> Result<Passed, Hindrance> {
        self.has_come(Unit::from_low_bits(spi));
        let mut apps = std::mem::take(&mut self.apps);
        let mut buffer = InPlace { mbuf, before: summary.l3_offset, len: summary.l3_len() };
        let done = match apps.get_mut(self.tunnels_app) {
            Some(app) => app.handle_passing(self, spi, summary, &mut buffer),
            None => Err(DropReason::NoApp.into()),
        };
        self.apps = apps;
        self.run_errands();
        done
    }

    /// Whether a packet of the cluster's own must not go in clear.
    pub(super) fn is_protected(&self, summary: &Summary) -> bool {
        let policies = self.book.policies();
        !policies.is_empty() && policies.protect(summary)
    }

    /// Offers an ICMP error about a packet of the cluster's to the apps. False: no app has sent such a packet.
    pub(super) fn give_back(&mut self, unit: Unit, returned: &Returned<'_>) -> bool {
        self.has_come(unit);
        let mut taken = false;
        self.each_app(|app, path| taken = taken || app.handle_returned(path, unit, returned));
        taken
    }

    /// What was kept for a unit that comes to us is released just before the view that says so.
    #[inline]
    pub(super) fn has_come(&mut self, unit: Unit) {
        if self.holdings.take_up(unit) {
            self.tell_of(unit);
        }
    }

    #[cold]
    fn tell_of(&mut self, unit: Unit) {
        let gained: UnitSet = std::iter::once(unit).collect();
        self.each_app(|app, path| app.handle_units(path, &gained, &UnitSet::EMPTY));
    }

    /// Tells the apps which units come and go with a view that is about to be obeyed, then takes over who holds what.
    pub(super) fn note_view(&mut self, view: &View) {
        let (mut gained, mut lost) = (UnitSet::EMPTY, UnitSet::EMPTY);
        if !self.apps.is_empty() {
            (gained, lost) = self.holdings.note_units(view);
        }
        if !gained.is_empty() || !lost.is_empty() {
            self.each_app(|app, path| app.handle_units(path, &gained, &lost));
        }
        self.holdings.obey(self.now_ns, view, &lost);
        if view.holders.is_some() {
            self.publish_replica();
        }
    }

    /// Tells backups what they lack, a little at a time. Says whether there was anything.
    pub(super) fn pump_snapshots(&mut self, snapshots: &mut Snapshots) -> bool {
        let mut all = Sources { store: &mut self.holdings.store, live: &mut self.apps };
        snapshots.pump(&mut self.holdings.outbox, &mut all, SNAPSHOT_STEPS)
    }

    /// Lets others see how replication stands.
    pub(super) fn publish_replica(&mut self) {
        let shared = &self.counters.replica;
        let store = &self.holdings.store;
        shared.publish(&self.holdings.outbox.stats(), store.stats());
        shared.lacking.set(self.holdings.lacking());
        shared.commit_ns.set(self.commit_lag.take());
        shared.sessions.set(store.session_count() as u64);
        shared.bytes.set(store.bytes() as u64);
    }

    /// Lets the apps do what is due.
    pub(super) fn poll_apps(&mut self) {
        let now_ns = self.now_ns;
        // Without a lease somebody else may do it.
        if self.lease_ok && self.app_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
            self.each_app(|app, path| {
                if app.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
                    app.handle_timeout(path);
                }
            });
        }
    }

    /// Tells the apps if the backups hold more than before.
    pub(super) fn poll_commits(&mut self) {
        let outbox = &mut self.holdings.outbox;
        self.commit_lag.look(self.now_ns, outbox.head(), outbox.committed());
        if self.holdings.has_new_commits() {
            self.each_app(|app, path| app.handle_commit(path));
        }
    }

    /// Tells the apps what has begun and ended of sessions that they watch.
    pub(super) fn tell_backups(&mut self) {
        while let Some((watched, unit, session)) = self.holdings.store.next_change() {
            self.each_app(|app, path| {
                if app.watches(watched) {
                    app.handle_backup(path, unit, session);
                }
            });
        }
    }

    /// Tells the cluster who is in sync with us.
    pub(super) fn tell_in_sync(&mut self) {
        let shared = &self.counters.replica;
        if self.holdings.tell_in_sync(self.now_ns, &shared.in_sync) {
            shared.unheard.add(1);
        }
    }

    /// When an app is due.
    pub(super) fn app_timeout(&self) -> Option<u64> {
        self.apps.iter().filter_map(|app| app.poll_timeout()).min()
    }

    fn each_app(&mut self, mut call: impl FnMut(&mut dyn App, &mut Self)) {
        let mut apps = std::mem::take(&mut self.apps);
        apps.iter_mut().for_each(|app| call(app.as_mut(), self));
        self.apps = apps;
        self.run_errands();
    }
}

impl Outlet for Path {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn owns(&self, unit: Unit) -> bool {
        self.holdings.owns(unit)
    }

    fn replicates(&self, unit: Unit) -> bool {
        self.holdings.replicates(unit)
    }

    fn source_towards(&self, destination: IpAddr) -> Option<IpAddr> {
        let (family, number) = address_number(destination);
        let hop = self.routes.lookup(family, number)?;
        let cluster = &self.addresses.port(hop.port)?.cluster_addresses;
        cluster.iter().map(|i| i.address).find(|address| address.is_ipv4() == destination.is_ipv4())
    }

    fn mtu_towards(&self, destination: IpAddr) -> Option<u16> {
        let (family, number) = address_number(destination);
        let hop = self.routes.lookup(family, number)?;
        self.ports.get(usize::from(hop.port)).map(|port| port.mtu)
    }

    fn mtu_least(&self) -> usize {
        self.ports.iter().map(|port| port.mtu.into()).min().unwrap_or(0)
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.holdings.outbox
    }

    fn store(&mut self) -> &mut Store {
        &mut self.holdings.store
    }

    fn cluster_clock_s(&self) -> u64 {
        self.shared.cluster_clock_s(self.now_ns)
    }

    fn send(&mut self, packet: Outgoing, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let (family, number) = address_number(packet.destination);
        let header = if family == Family::V4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        let built = self.write_mbuf(&mut |room| {
            let len = room.get_mut(header..).map_or(0, &mut *write);
            if len > 0 && write_header(&packet, len, room).is_some() { header + len } else { 0 }
        });
        let Some(mbuf) = built else { return false };
        match self.way_out(&mbuf) {
            Way::Nowhere => return false,
            Way::Into(spi) => return self.let_leave(spi, mbuf),
            Way::Clear => self.originate(mbuf, 0, family, number),
        }
        true
    }

    fn send_whole(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let Some(mbuf) = self.write_mbuf(write) else { return false };
        self.send_packet(mbuf);
        true
    }

    fn forward(&mut self, unit: Unit, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let Some(mut mbuf) = self.write_mbuf(write) else { return false };
        let Ok(summary) = summarise_l3(mbuf.data()) else { return false };
        if self.is_ours(&summary, summary.dst) && !self.is_strange(&summary) {
            // What begins with it would begin where nobody serves it.
            return self.holdings.owns(unit) && self.let_arrive(unit, mbuf);
        }
        if !self.lets_on(&summary, mbuf.data_mut()) {
            return false;
        }
        self.originate(mbuf, 0, summary.family, summary.dst);
        true
    }

    fn lets_on(&mut self, summary: &Summary, packet: &mut [u8]) -> bool {
        // Out of one tunnel into another needs the other's owner.
        !self.is_strange(summary)
            && !self.is_ours(summary, summary.dst)
            && self.judge(summary) == Passing::Bare
            && wire::age(packet)
    }

    fn lets_on_all(&mut self, hosts: &[(u32, u32)]) -> u32 {
        let lets_on = |(source, destination): (u32, u32)| {
            let ours = self.addresses.are_near(source, destination) && self.addresses.have_either(source, destination);
            !ours && self.book.judge_v4(source, destination) == Some(Passing::Bare)
        };
        let each = hosts.iter().copied().map(lets_on).zip(0..u32::BITS);
        each.fold(0, |all, (on, place)| all | u32::from(on) << place)
    }

    fn protect(&mut self, selectors: &Selectors, spi: u32) {
        self.book.insert(selectors, spi);
    }

    fn unprotect(&mut self, spi: u32) {
        self.book.remove(spi);
    }

    fn announce(&mut self, contact: Contact) {
        self.book.announce(contact);
    }

    fn sole_up_to_ns(&self) -> u64 {
        self.shared.sole_up_to_ns.load(Relaxed)
    }

    fn incarnation(&self) -> u64 {
        self.shared.incarnation.load(Relaxed)
    }
}

impl Path {
    /// Where a packet of an app's goes, which is all that the buffer holds.
    fn way_out(&self, mbuf: &Mbuf) -> Way {
        if self.book.policies().is_empty() {
            return Way::Clear;
        }
        summarise_l3(mbuf.data()).map_or(Way::Nowhere, |summary| self.way_of(&summary))
    }

    /// A buffer with the IP packet that `write` writes.
    fn write_mbuf(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> Option<Mbuf> {
        let mut mbuf = self.pool.alloc()?;
        let room = mbuf.append(mbuf.tailroom().min(LEN_MAX))?;
        let len = write(room);
        let excess = room.len().checked_sub(len).filter(|_| len > 0)?;
        mbuf.trim(u16::try_from(excess).ok()?)?;
        Some(mbuf)
    }

    /// Sends an IP packet of the cluster's, which is all that the buffer holds.
    pub(super) fn send_packet(&mut self, mbuf: Mbuf) {
        let Err(mbuf) = self.send_known(mbuf) else { return };
        match summarise_l3(mbuf.data()) {
            Ok(summary) => self.originate(mbuf, 0, summary.family, summary.dst),
            Err(_) => {
                self.counters.originated.add(1);
                self.counters.originated_lost.add(1);
            }
        }
    }

    /// Sends an IPv4 packet to where one has gone lately. It comes back if nobody has, or if it is too long.
    fn send_known(&mut self, mut mbuf: Mbuf) -> Result<(), Mbuf> {
        const DESTINATION_AT: usize = 16;
        let packet = mbuf.data();
        if bytes::u8_at(packet, 0) >> 4 != 4 {
            return Err(mbuf);
        }
        let Some(next) = self.cache.get(bytes::u32_at(packet, DESTINATION_AT)).copied() else { return Err(mbuf) };
        let Some(path) = self.ports.get_mut(usize::from(next.port)) else { return Err(mbuf) };
        if mbuf.pkt_len() > u32::from(next.mtu) || !path.link_up {
            return Err(mbuf);
        }
        let Some(head) = mbuf.prepend(HEADER_LEN as u16).and_then(|head| head.first_chunk_mut::<HEADER_LEN>()) else {
            return Err(mbuf);
        };
        head[..12].copy_from_slice(&next.header);
        head[12..].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        mbuf.set_tag(Kind::Originated as u32);
        self.counters.originated.add(1);
        if path.tx.is_full() {
            path.tx.flush(self.lease_ok, &self.counters);
        }
        path.tx.push(mbuf, Kind::Originated);
        Ok(())
    }
}

/// A packet where it came in: `before` it lies the link's header, and behind it may be padding.
struct InPlace<'m> {
    mbuf: &'m mut Mbuf,
    before: u16,
    len: u16,
}

impl Wrappable for InPlace<'_> {
    fn packet(&self) -> &[u8] {
        let (at, len) = (usize::from(self.before), usize::from(self.len));
        self.mbuf.data().get(at..at + len).unwrap_or_default()
    }

    fn packet_mut(&mut self) -> &mut [u8] {
        let (at, len) = (usize::from(self.before), usize::from(self.len));
        self.mbuf.data_mut().get_mut(at..at + len).unwrap_or_default()
    }

    fn grow(&mut self, before: usize, after: usize) -> Option<&mut [u8]> {
        let (wanted, behind) = (u16::try_from(before).ok()?, u16::try_from(after).ok()?);
        let padding = self.mbuf.data_len().checked_sub(self.before + self.len)?;
        let fits = self.mbuf.is_contiguous()
            && wanted <= self.before.saturating_add(self.mbuf.headroom())
            && behind <= padding.saturating_add(self.mbuf.tailroom());
        if !fits {
            return None;
        }
        match wanted.checked_sub(self.before) {
            Some(more) => drop(self.mbuf.prepend(more)?),
            None => self.mbuf.adj(self.before - wanted)?,
        }
        match behind.checked_sub(padding) {
            Some(more) => drop(self.mbuf.append(more)?),
            None => self.mbuf.trim(padding - behind)?,
        }
        self.before = wanted;
        Some(self.mbuf.data_mut())
    }
}

/// Writes the IP header before a payload of this length.
fn write_header(packet: &Outgoing, payload_len: usize, room: &mut [u8]) -> Option<()> {
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            // Not to be fragmented, so it needs no identification (RFC 6864).
            let repr = ipv4::Repr {
                tos: 0,
                id: 0,
                fragment: ipv4::DONT_FRAGMENT,
                ttl: TTL,
                protocol: packet.proto,
                source,
                destination,
                payload_len: u16::try_from(payload_len).ok()?,
            };
            repr.emit(room).ok().map(drop)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let repr = ipv6::Repr {
                traffic_class: 0,
                next_header: packet.proto,
                hop_limit: TTL,
                source,
                destination,
                payload_len: u16::try_from(payload_len).ok()?,
            };
            repr.emit(room).ok().map(drop)
        }
        _ => None,
    }
}
