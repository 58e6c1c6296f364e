//! The half of a member's worker that serves apps: production holdings, apps, log, store and snapshots, driven in the
//! order in which `worker::run` drives them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use phalanx_control::replication::FrameBuffer;
use phalanx_dataplane::app::{App, Hindrance, Outgoing, Outlet, Passed, UnitSet};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::ipsec::gateway::{Gateway, Passing, Selectors};
use phalanx_dataplane::parse::Summary;
use phalanx_dataplane::relay::{Relay, RelayConfig, RelayStats};
use phalanx_dataplane::replica::{
    DigestKey, Outbox, OutboxLimits, PortHandle, Snapshots, Source, Sources, Store, StoreLimits, Wake, WorkerPort, port,
};
use phalanx_dataplane::steer::{Order, View};
use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId, Unit};
use phalanx_dataplane::worker::{Holdings, InSyncShared};

use super::ipsec::thread::{Half, Roomy};
use super::link::Links;
use super::ticket::Tickets;

/// Digests' key, the cluster's.
pub(super) const REPLICA_KEY: [u8; 16] = [7; 16];
/// As the worker has it.
const SNAPSHOT_STEPS: usize = 32;
/// The cluster's address towards servers.
pub(super) const INSIDE: &str = "10.10.0.1";
/// The cluster's address towards clients.
pub(super) const OUTSIDE: &str = "198.51.100.1";

/// A packet that an app sends.
pub(super) type Sent = (Outgoing, Vec<u8>);

/// See the module.
pub struct Desk {
    pub(super) me: MemberId,
    pub(in crate::sim) holdings: Holdings,
    apps: Vec<Box<dyn App>>,
    pub(super) port: WorkerPort,
    pub(super) handle: PortHandle,
    snapshots: Snapshots,
    /// What the cluster is told of backups, and how much of it the core was told last.
    pub(in crate::sim) in_sync: InSyncShared,
    heard: u64,
    pub(super) links: Links,
    /// What waits to be sent at the end of the round.
    pub(super) sent: Vec<Sent>,
    /// When its next round is.
    pub(super) round_at: Option<u64>,
    mtu: u16,
    /// If IPsec is spoken.
    pub(in crate::sim) ipsec: Option<Box<Half>>,
}

/// What all desks have in common.
#[derive(Clone)]
pub struct Setup {
    pub(super) relay: RelayConfig,
    pub(super) relay_stats: RelayStats,
    pub(super) tickets_unreplicated: bool,
    pub(super) mtu: u16,
    pub(super) outbox: OutboxLimits,
}

impl Setup {
    /// All apps of a worker.
    pub(super) fn apps(&self) -> Vec<Box<dyn App>> {
        let relay = Relay::new(self.relay.clone(), self.relay_stats.clone());
        vec![Box::new(relay), Box::new(Tickets::new(self.tickets_unreplicated))]
    }
}

/// What an app may do, for the time of a call.
pub(super) struct Room<'a> {
    pub(super) now_ns: u64,
    pub(super) holdings: &'a mut Holdings,
    pub(super) sent: &'a mut Vec<Sent>,
    pub(super) mtu: u16,
    pub(super) ipsec: Option<&'a mut Half>,
}

impl Outlet for Room<'_> {
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
        if super::lan::is_inside(destination) { INSIDE.parse().ok() } else { OUTSIDE.parse().ok() }
    }

    fn mtu_towards(&self, _: IpAddr) -> Option<u16> {
        Some(self.mtu)
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.holdings.outbox
    }

    fn store(&mut self) -> &mut Store {
        &mut self.holdings.store
    }

    fn cluster_clock_s(&self) -> u64 {
        // The members' clocks differ by hours; cookies ask for one that they share.
        self.ipsec.as_ref().map_or(1000, |half| half.clock_s(self.now_ns))
    }

    fn send(&mut self, packet: Outgoing, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut room = [0; 1600];
        let len = write(&mut room);
        if len > 0 {
            self.sent.push((packet, room[..len].to_vec()));
        }
        len > 0
    }

    fn send_whole(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.ipsec.as_mut().is_some_and(|half| written(write, &mut half.whole))
    }

    fn forward(&mut self, _: Unit, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.ipsec.as_mut().is_some_and(|half| written(write, &mut half.forwarded))
    }

    fn protect(&mut self, selectors: &Selectors, spi: u32) {
        if let Some(half) = &mut self.ipsec {
            half.policies.insert(selectors, spi);
        }
    }

    fn unprotect(&mut self, spi: u32) {
        if let Some(half) = &mut self.ipsec {
            half.policies.remove(spi);
        }
    }

    fn incarnation(&self) -> u64 {
        self.ipsec.as_ref().map_or(1, |half| half.incarnation)
    }
}

fn written(write: &mut dyn FnMut(&mut [u8]) -> usize, packets: &mut Vec<Vec<u8>>) -> bool {
    let mut room = vec![0; 2000];
    let len = write(&mut room);
    room.truncate(len);
    if len > 0 {
        packets.push(room);
    }
    len > 0
}

impl Desk {
    pub(super) fn new(me: MemberId, life: u32, members: usize, setup: &Setup) -> Self {
        let nothing: Wake = Arc::new(|| {});
        let (handle, port) =
            port(nothing.clone(), vec![nothing.clone(); usize::from(MEMBER_NUMBER_MAX)], nothing.clone());
        let outbox = Outbox::new(setup.outbox);
        let store = Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default());
        Self {
            me,
            holdings: Holdings::new(me, 0, 1, outbox, store),
            apps: setup.apps(),
            port,
            handle,
            snapshots: Snapshots::new(),
            in_sync: InSyncShared::default(),
            heard: 0,
            links: Links::new(life, members),
            sent: Vec::new(),
            round_at: None,
            mtu: setup.mtu,
            ipsec: None,
        }
    }

    /// Speaks IPsec, and nothing else.
    pub(super) fn speak(&mut self, gateway: Gateway, half: Half) {
        (0..=u8::MAX).filter(|app| gateway.watches(*app)).for_each(|app| self.holdings.store.watch(app));
        self.apps = vec![Box::new(gateway)];
        self.ipsec = Some(Box::new(half));
        self.mtu = 1500;
    }

    /// What the gateway sends, and what it has let in.
    pub(super) fn take_whole(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let half = self.ipsec.as_deref_mut();
        half.map(|half| (std::mem::take(&mut half.whole), std::mem::take(&mut half.forwarded))).unwrap_or_default()
    }

    fn each_app(&mut self, now_ns: u64, mut call: impl FnMut(&mut dyn App, &mut Room<'_>)) {
        let Self { apps, holdings, sent, mtu, ipsec, .. } = self;
        for app in apps {
            call(app.as_mut(), &mut Room { now_ns, holdings, sent, mtu: *mtu, ipsec: ipsec.as_deref_mut() });
        }
    }

    /// A packet to the cluster, of a unit of ours. Says whether the unit was not known to be.
    pub(super) fn offer(
        &mut self,
        now_ns: u64,
        unit: Unit,
        summary: &Summary,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let Self { apps, holdings, sent, mtu, ipsec, .. } = self;
        let Some(at) = apps.iter().position(|app| app.claims(summary)) else {
            return self.pass(now_ns, unit, summary, payload);
        };
        let mut room = Room { now_ns, holdings, sent, mtu: *mtu, ipsec: ipsec.as_deref_mut() };
        apps[at].handle_packet(&mut room, unit, summary, payload)
    }

    /// A packet between hosts goes into the tunnel that the policies name.
    fn pass(&mut self, now_ns: u64, unit: Unit, summary: &Summary, packet: &[u8]) -> Result<(), DropReason> {
        let Self { apps, holdings, sent, mtu, ipsec, .. } = self;
        let passing = ipsec.as_ref().map(|half| half.policies.judge(summary));
        let Some(Passing::Into(spi)) = passing else { return Err(DropReason::NoApp) };
        if Unit::from_low_bits(spi) != unit {
            return Err(DropReason::NoApp);
        }
        let mut buffer = Roomy(packet.to_vec());
        let mut room = Room { now_ns, holdings, sent, mtu: *mtu, ipsec: ipsec.as_deref_mut() };
        match apps[0].handle_passing(&mut room, spi, summary, &mut buffer) {
            Ok(Passed::Wrapped) => ipsec.iter_mut().for_each(|half| half.whole.push(buffer.0.clone())),
            Ok(Passed::Taken) => {}
            Err(Hindrance::Drop(reason) | Hindrance::Complaint(_, reason)) => return Err(reason),
            Err(Hindrance::Cut { .. }) => return Err(DropReason::FragmentFailed),
        }
        Ok(())
    }

    /// Takes up a unit that a packet is of. True: it was not ours before.
    pub(super) fn take_up(&mut self, now_ns: u64, unit: Unit) -> bool {
        let new = self.holdings.take_up(unit);
        if new {
            self.wind_back(&std::iter::once(unit).collect());
            let gained: UnitSet = std::iter::once(unit).collect();
            self.each_app(now_ns, |app, room| app.handle_units(room, &gained, &UnitSet::EMPTY));
        }
        new
    }

    /// Takes a unit over without any table, for a twin, which does so again and again.
    pub(super) fn gain(&mut self, now_ns: u64, unit: Unit) {
        self.holdings.take_up(unit);
        let gained: UnitSet = std::iter::once(unit).collect();
        self.each_app(now_ns, |app, room| app.handle_units(room, &gained, &UnitSet::EMPTY));
    }

    /// Forgets all that was gained of a unit.
    pub(super) fn forget(&mut self, now_ns: u64, unit: Unit) {
        let lost: UnitSet = std::iter::once(unit).collect();
        self.each_app(now_ns, |app, room| app.handle_units(room, &UnitSet::EMPTY, &lost));
        self.holdings.store.clear(unit);
    }

    /// An order is about to be obeyed; says which units come with it.
    pub(super) fn note_order(&mut self, now_ns: u64, order: &Order) -> UnitSet {
        match order {
            Order::View(view) => self.note_view(now_ns, view),
            _ => UnitSet::EMPTY,
        }
    }

    fn note_view(&mut self, now_ns: u64, view: &View) -> UnitSet {
        let (gained, lost) = self.holdings.note_units(view);
        if !gained.is_empty() || !lost.is_empty() {
            self.wind_back(&gained);
            self.each_app(now_ns, |app, room| app.handle_units(room, &gained, &lost));
        }
        self.holdings.obey(now_ns, view, &lost);
        self.holdings.tell_in_sync(now_ns, &self.in_sync);
        gained
    }

    fn wind_back(&mut self, gained: &UnitSet) {
        if let Some(half) = &mut self.ipsec {
            gained.iter().for_each(|unit| half.wind_back(&mut self.holdings.store, unit));
        }
    }

    /// What a round does besides packets and orders. Says whether there was anything to do.
    pub(super) fn round(&mut self, now_ns: u64, lease_ok: bool) -> bool {
        let mut busy = self.port.poll(&mut self.holdings.store, &mut self.holdings.outbox);
        if let Some(half) = &mut self.ipsec {
            half.look(&self.holdings.store);
        }
        while let Some((_, unit, session)) = self.holdings.store.next_change() {
            self.each_app(now_ns, |app, room| app.handle_backup(room, unit, session));
        }
        if self.holdings.has_new_commits() {
            busy = true;
            self.each_app(now_ns, |app, room| app.handle_commit(room));
        }
        // Without a lease somebody else may do it.
        if lease_ok && self.timeout().is_some_and(|at_ns| at_ns <= now_ns) {
            self.each_app(now_ns, |app, room| {
                if app.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
                    app.handle_timeout(room);
                }
            });
        }
        let mut all = Sources { store: &mut self.holdings.store, live: &mut self.apps };
        busy |= self.snapshots.pump(&mut self.holdings.outbox, &mut all, SNAPSHOT_STEPS);
        self.holdings.tell_in_sync(now_ns, &self.in_sync);
        self.port.flush(&mut self.holdings.outbox);
        busy
    }

    /// What the cluster core is to hear of backups, if that has changed: who holds which of our units.
    pub(in crate::sim) fn news_of_backups(&mut self) -> Option<(u64, BTreeMap<MemberId, UnitSet>)> {
        let told = self.in_sync.told();
        if std::mem::replace(&mut self.heard, told) == told {
            return None;
        }
        let mut holders: BTreeMap<MemberId, UnitSet> = BTreeMap::new();
        for unit in Unit::all() {
            for member in self.in_sync.members(unit).iter() {
                holders.entry(member).or_insert(UnitSet::EMPTY).insert(unit);
            }
        }
        Some((told, holders))
    }

    /// Which backups lack what, for a violation's story.
    pub(in crate::sim) fn lacking(&self) -> String {
        let outbox = &self.holdings.outbox;
        let lacks = |unit: Unit| outbox.backups(unit).without(outbox.in_sync(unit)).iter().map(move |it| (unit, it));
        let shown = Unit::all().filter(|unit| self.holdings.replicates(*unit)).flat_map(lacks);
        shown.map(|(unit, it)| format!("{it} {unit} (live: {}) ", outbox.is_live(it, unit))).collect()
    }

    /// When an app is due.
    pub(super) fn timeout(&self) -> Option<u64> {
        self.apps.iter().filter_map(|app| app.poll_timeout()).min()
    }

    /// All that this member has of a unit.
    pub(super) fn with_sources<T>(&mut self, look: impl FnOnce(&mut dyn Source) -> T) -> T {
        look(&mut Sources { store: &mut self.holdings.store, live: &mut self.apps })
    }

    /// The processes that hold a unit of ours as it was shown to peers, the first of them our own.
    pub(super) fn holders(&self, unit: Unit, life: u32) -> impl Iterator<Item = (usize, u32)> {
        let life_of = move |at| if at == self.me.index() { life } else { self.links.life_of(at) };
        self.in_sync(unit).map(move |member| (member.index(), life_of(member.index())))
    }

    /// The members that do.
    pub(super) fn in_sync(&self, unit: Unit) -> impl Iterator<Item = MemberId> {
        let me = std::iter::once(self.me);
        me.chain(self.holdings.outbox.in_sync(unit).iter().collect::<Vec<_>>())
    }
}

/// A store for the time of a look.
pub(super) fn scratch() -> Store {
    Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default())
}

/// Both ends' buffers are alike.
pub(super) fn frames() -> FrameBuffer {
    FrameBuffer::default()
}
