//! The gateway: the app that ends ESP and AH at a cluster address. What comes out of a tunnel is routed on; what hosts send into one
//! is sealed.
//!
//! ```text
//!   host ──▶ policies ─▶ unit ─▶ its owner ─▶ TTL, size ─▶ number, IV ─▶ sealed ──▶ peer
//!   host ◀── routed ◀── policies ◀── number let in ◀── opened ◀── its owner ◀── unit ◀── SPI ◀── peer
//! ```
//! *Units*: a tunnel's traffic belongs to the unit in its inbound SPI, in clear too; so both directions meet, and meet their SAs.
//!
//! *Output commit*: no number of ours is sent, and none of the peer's let in, beyond what the backups hold as a lease
//! (`record`). What comes too early waits, opened or still clear, until they do (`waiting`, `leaving`); how far ahead the lease of the
//! peer's numbers goes is `pace`'s matter.
//!
//! *Sleep*: a tunnel wakes up at its first packet, from what is in the store; a takeover itself touches none of them. When its
//! unit leaves, what the backups have of it goes back into the store.
//!
//! *IKE* makes tunnels while packets pass. Who speaks it sits behind a desk (`desk`); the worker owns what it knows, and replicates
//! it as it does the tunnels (`ike`).
//!
//! Files: `spec` (what there is to be), `policies` (which packets), `judged` (what they said), `book` (which workers know), `slots` (the
//! tunnels), `lifecycle` (they come, wake up, fall asleep, go), `life` (how much they may carry), `tunnel` (one that is awake), `form` (ESP or AH), `inbound`, `outbound`,
//! `burst` (the same for many at once), `waiting`, `leaving` (when its unit leaves), `pace`, `path_mtu` (what routers on the way take), `clamp` (TCP's MSS), `record`, `saved`, `written` (what the backups are told),
//! `tap` (for whoever looks for a fault), `desk`, `ike`, `counters`, `tally`.

mod behind;
mod book;
mod burst;
mod clamp;
mod counters;
mod desk;
mod form;
mod ike;
mod inbound;
mod judged;
mod leaving;
mod life;
mod lifecycle;
mod mix;
mod outbound;
mod pace;
mod path_mtu;
mod policies;
mod record;
mod saved;
mod slots;
mod spec;
mod tally;
mod tap;
#[cfg(test)]
mod tests;
mod tunnel;
mod waiting;
mod written;

pub(crate) use book::Book;
pub use book::Word;
pub use counters::{IkeCounters, TunnelCounters, TunnelStats};
pub use desk::{
    Answer, Asked, ChildChange, DRAWS, Datagram, Kept, QUESTIONS_MAX, Question, SessionDesk, Wish, WorkerDesk, desk,
};
pub use ike::may_come_about;
pub use policies::{Limits, Network, Passing, Policies, Rule, Selectors};
pub use spec::{Contact, GatewayConfig, Half, Life, Protection, SaMode, TunnelSpec};
pub use tap::{Tap, TapReader, Tapped, taps};

use std::collections::VecDeque;
use std::sync::Arc;

use dpdk::chain::Chains;

use self::ike::Ike;
use self::leaving::{Leaving, none_leaving};
use self::record::{IKE_APP, ike_spi_of, session_key, spi_of};
use self::slots::{Slot, Slots};
use self::waiting::Spares;
use super::crypto::Engine;
use super::nonce::Nonces;
use crate::app::{App, Hindrance, Outlet, Parcel, Passed, Returned, UnitSet, Wrappable};
use crate::drop_reason::DropReason;
use crate::parse::Summary;
use crate::replica::{Cursor, DigestKey, LeaseStats, Position, SessionKey, Source, Step, Update};
use crate::unit::{MemberId, Unit};
use crate::wire::proto;

/// The longest packet that is opened or sealed.
const PACKET_MAX: usize = 9216;
/// The longest ICV.
const ICV_MAX: usize = 32;

/// One worker's half of the gateway.
pub struct Gateway {
    config: GatewayConfig,
    engine: Arc<dyn Engine>,
    counters: TunnelStats,
    digest_key: DigestKey,
    slots: Slots,
    /// Those that are to be looked at.
    listed: Vec<usize>,
    look_at_ns: Option<u64>,
    ivs: Ivs,
    leases: LeaseStats,
    /// Records on their way to the backups: where they end in the log, whose they are.
    ledger: VecDeque<(Position, usize)>,
    spares: Spares,
    /// What waited when its unit left.
    leaving: VecDeque<Leaving>,
    /// The packet in hand.
    scratch: Box<[u8]>,
    /// What is checked of a packet with AH.
    text: Box<[u8]>,
    /// If somebody speaks it.
    ike: Option<Ike>,
    /// If somebody may look at what passes.
    tap: Option<Tap>,
    /// Whether ESP in UDP is to be looked for.
    takes_udp: bool,
    /// Whether there was a tunnel whose engine does several packets at once faster.
    likes_many: bool,
    /// For packets of several tunnels at once, if there was a tunnel that knows how.
    chains: Option<Chains>,
}

/// This member's IVs, in its present life.
struct Ivs {
    me: MemberId,
    incarnation: u64,
    nonces: Option<Nonces>,
}

impl Ivs {
    /// Those of the life that it is now; none if it has not joined, or lives for the four-millionth time.
    fn of(&mut self, incarnation: u64) -> Option<&mut Nonces> {
        if incarnation != self.incarnation {
            self.incarnation = incarnation;
            self.nonces = Nonces::new(self.me, incarnation);
        }
        self.nonces.as_mut().filter(|_| incarnation > 0)
    }
}

impl Gateway {
    /// One worker's. `counters` are shared by all workers, for as many tunnels as the configuration has; what belongs to none of
    /// those is IKE's.
    pub fn new(config: GatewayConfig, engine: Arc<dyn Engine>, counters: TunnelStats) -> Self {
        let mut slots = Slots::new();
        for (counters, spec) in config.tunnels.iter().enumerate() {
            slots.insert(Slot { spec: spec.clone(), child: None, counters, tunnel: None });
        }
        Self {
            engine,
            counters,
            digest_key: DigestKey::new(config.replica_key),
            slots,
            listed: Vec::new(),
            look_at_ns: None,
            ivs: Ivs { me: config.me, incarnation: 0, nonces: None },
            leases: LeaseStats::default(),
            ledger: VecDeque::new(),
            spares: Spares::new(),
            leaving: none_leaving(),
            scratch: vec![0; PACKET_MAX].into(),
            text: vec![0; PACKET_MAX + ICV_MAX].into(),
            ike: None,
            tap: None,
            takes_udp: config.tunnels.iter().any(|tunnel| tunnel.outer.udp.is_some()),
            likes_many: false,
            chains: None,
            config,
        }
    }

    /// Lets somebody speak IKE. `counters` are shared by all workers.
    #[must_use]
    pub fn with_desk(mut self, desk: WorkerDesk, counters: Arc<IkeCounters>) -> Self {
        self.ike = Some(Ike::new(desk, counters, (self.config.spi_key, self.config.keepers.clone())));
        self.takes_udp = true;
        self
    }

    /// Lets somebody look at what passes through tunnels.
    #[must_use]
    pub fn with_tap(mut self, tap: Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// What the backups hold by now goes on. To be called after whatever may have written a record: without backups, all is held
    /// at once.
    fn settle(&mut self, outlet: &mut dyn Outlet) {
        // What comes out of a tunnel goes on only where policies know of the tunnel.
        self.keep_promises(outlet);
        while let Some((position, number)) = self.ledger.front().copied()
            && position <= outlet.outbox().committed()
        {
            self.ledger.pop_front();
            if let Some(tunnel) = self.slots.tunnel(number) {
                tunnel.outbound.commit(position, outlet.now_ns());
                tunnel.inbound.commit(position, outlet.now_ns());
            }
            self.release(outlet, number);
            self.renew(outlet, number, None);
        }
        self.let_leave(outlet);
    }
}

impl Source for Gateway {
    fn digest(&mut self, unit: Unit) -> u64 {
        let tunnels = self.slots.awake(unit, 0).map(|(_, tunnel)| tunnel.written.digest(self.digest_key));
        let tunnels = tunnels.fold(0, u64::wrapping_add);
        self.ike.as_ref().map_or(tunnels, |ike| ike.digest(unit, self.digest_key).wrapping_add(tunnels))
    }

    /// The cursor is a session's key: tunnels come first, then IKE SAs.
    fn put_next(&mut self, unit: Unit, cursor: Cursor, put: &mut dyn FnMut(&Update<'_>)) -> Step {
        let next = |session: SessionKey| Step::Next(Cursor { part: cursor.part, at: session.0 + 1 });
        if let Some((spi, tunnel)) = spi_of(SessionKey(cursor.at)).and_then(|from| self.slots.awake(unit, from).next())
        {
            tunnel.written.put(put);
            return next(session_key(spi));
        }
        let Some(ike) = &self.ike else { return Step::End };
        match ike.put_next(unit, ike_spi_of(SessionKey(cursor.at)).unwrap_or(0), put) {
            Some(session) => next(session),
            None => Step::End,
        }
    }
}

impl App for Gateway {
    fn name(&self) -> &'static str {
        "ipsec"
    }

    fn claims(&self, summary: &Summary) -> bool {
        match summary.proto {
            proto::ESP | proto::AH => true,
            proto::UDP => self.takes_udp && ike::is_port_of(summary, self.ike.is_some()),
            _ => false,
        }
    }

    fn handle_returned(&mut self, outlet: &mut dyn Outlet, unit: Unit, returned: &Returned<'_>) -> bool {
        self.hear_returned(outlet, unit, returned)
    }

    fn policies(&self) -> Option<Policies> {
        Some(self.config.policies())
    }

    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let done = match summary.proto {
            proto::UDP => self.take_datagram(outlet, unit, summary, packet),
            _ => self.open(outlet, summary, packet),
        };
        self.settle(outlet);
        done
    }

    fn handle_passing(
        &mut self,
        outlet: &mut dyn Outlet,
        spi: u32,
        summary: &Summary,
        buffer: &mut dyn Wrappable,
    ) -> Result<Passed, Hindrance> {
        let done = self.seal(outlet, spi, summary, buffer);
        self.settle(outlet);
        done
    }

    fn handle_parcels(&mut self, outlet: &mut dyn Outlet, parcels: &mut [Parcel<'_>]) {
        self.take_parcels(outlet, parcels);
    }

    fn wants_side_by_side(&self) -> bool {
        self.likes_many
    }

    fn watches(&self, app: u8) -> bool {
        app == record::APP && self.ike.is_some()
    }

    fn handle_backup(&mut self, outlet: &mut dyn Outlet, unit: Unit, session: SessionKey) {
        self.note_backup(outlet, unit, session);
    }

    fn handle_units(&mut self, outlet: &mut dyn Outlet, gained: &UnitSet, lost: &UnitSet) {
        self.keep_none_leaving(gained);
        lost.iter().for_each(|unit| self.put_to_sleep(outlet, unit));
        if let Some(ike) = &mut self.ike {
            ike.hand_over(outlet, gained, lost);
        }
    }

    fn handle_commit(&mut self, outlet: &mut dyn Outlet) {
        self.settle(outlet);
    }

    fn poll_timeout(&self) -> Option<u64> {
        let ike = self.ike.as_ref().and_then(Ike::poll_timeout);
        self.look_at_ns.into_iter().chain(ike).min()
    }

    fn handle_timeout(&mut self, outlet: &mut dyn Outlet) {
        if self.look_at_ns.is_some_and(|at_ns| at_ns <= outlet.now_ns()) {
            self.look(outlet);
        }
        if self.ike.is_some() {
            self.attend(outlet);
            self.settle(outlet);
        }
    }
}

/// Whether a session is an IKE SA's.
fn is_ike(app: u8, session: SessionKey) -> bool {
    app == IKE_APP && ike_spi_of(session).is_some()
}
