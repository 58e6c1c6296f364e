//! A tunnel that is awake: what both of its SAs are made of, and which packets wait.

use std::collections::VecDeque;

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use super::behind::Behind;
use super::form::Form;
use super::life::{Asked, Ends};
use super::pace::{Pace, STILL};
use super::path_mtu::PathMtu;
use super::policies::Plain;
use super::record::{APP, Carried, Essential, SAVED_VERSION, VERSION, session_key};
use super::saved::Saved;
use super::spec::{Half, Protection, TunnelSpec};
use super::written::Written;
use crate::ipsec::Refused;
use crate::ipsec::crypto::builtin::BuiltIn;
use crate::ipsec::crypto::{Direction, Engine, EngineError, Numbers, Session};
use crate::ipsec::nonce::Draw;
use crate::ipsec::replay::Window;
use crate::replica::{DigestKey, Lease, LeaseRecord, Outbox, Position, Record};

/// The number of an SA's first packet (RFC 4303 section 2.2).
const FIRST: u64 = 1;

/// A tunnel that this worker serves. What each packet needs comes first.
#[repr(C)]
pub(super) struct Tunnel {
    pub(super) sealer: Box<dyn Session>,
    pub(super) opener: Box<dyn Session>,
    pub(super) draw: Draw,
    /// Names outer packets that may be fragmented.
    pub(super) id: u16,
    pub(super) numbers: Numbers,
    /// Whether it had traffic since it was last looked at.
    pub(super) busy: bool,
    /// It has carried all that its keys may.
    pub(super) spent: bool,
    /// Whether it is to be looked at.
    pub(super) listed: bool,
    /// Our address, if it is one of IPv4.
    pub(super) source: Option<u32>,
    /// Our numbers.
    pub(super) outbound: Lease,
    /// The peer's: how far they may come, and which have come.
    pub(super) inbound: Lease,
    pub(super) window: Window,
    /// Whether the peer is behind what a takeover skipped.
    pub(super) behind: Behind,
    /// Bytes that went through; after a takeover, at most.
    pub(super) carried: Carried,
    pub(super) ends: Ends,
    pub(super) plain: Option<Plain>,
    /// Clear packets that wait for numbers of ours.
    pub(super) to_seal: VecDeque<Vec<u8>>,
    /// Opened packets that wait for their numbers to be let in.
    pub(super) to_admit: VecDeque<Opened>,
    pub(super) form: Form,
    pub(super) path_mtu: PathMtu,
    pub(super) pace: Pace,
    pub(super) written: Written,
    /// What IKE was last asked for.
    pub(super) asked: Option<Asked>,
    /// How far the records say that the numbers go.
    told: Essential,
}

/// The part of a [`Tunnel`] that each packet needs.
pub(super) const HOT: usize = std::mem::offset_of!(Tunnel, pace);

/// An opened packet that waits.
pub(super) struct Opened {
    pub(super) sequence: u64,
    /// Whence it came, if it was in UDP.
    pub(super) from: Option<SocketAddr>,
    pub(super) packet: Vec<u8>,
}

/// What a tunnel begins with.
pub(super) struct Beginning {
    pub(super) draw: Draw,
    pub(super) leases: Essential,
    pub(super) now_ns: u64,
}

/// A tunnel's Initial record.
pub(super) struct Initial {
    pub(super) version: u8,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Initial {
    /// That of a tunnel of the configuration's.
    pub(super) fn fingerprint(spec: &TunnelSpec, key: &[u8; 16]) -> Self {
        Self { version: VERSION, bytes: Zeroizing::new(spec.fingerprint(key).to_vec()) }
    }

    /// That of a tunnel of IKE's.
    pub(super) fn saved(spec: &TunnelSpec, ike_spi: u64, replaces: Option<u32>) -> Self {
        Self { version: SAVED_VERSION, bytes: Saved::encode(spec, ike_spi, replaces) }
    }

    /// Whether a record is of the same tunnel.
    pub(super) fn is_in(&self, record: &Record) -> bool {
        let is_it = |bytes: &[u8]| bytes.starts_with(&self.bytes);
        record.initial.as_ref().is_some_and(|state| state.version == self.version && is_it(&state.bytes))
    }
}

impl Beginning {
    /// The leases of a record; none if it has none.
    pub(super) fn leases(record: &Record) -> Option<Essential> {
        let essential = record.essential.as_ref()?;
        Essential::decode(essential.version, &essential.bytes)
    }

    /// Those of SAs that nobody has used.
    pub(super) const fn first() -> Essential {
        Essential { outbound: LeaseRecord { limit: FIRST }, inbound: LeaseRecord { limit: FIRST }, carried: None }
    }
}

/// Our address, if it is one of IPv4.
const fn source_of(spec: &TunnelSpec) -> Option<u32> {
    match spec.outer.source {
        IpAddr::V4(source) => Some(source.to_bits()),
        IpAddr::V6(_) => None,
    }
}

impl Tunnel {
    pub(super) fn new(spec: &TunnelSpec, engine: &dyn Engine, beginning: Beginning) -> Result<Self, EngineError> {
        let Beginning { draw, leases, now_ns } = beginning;
        // What is checked with AH is of any length, which devices do not take.
        let engine = if matches!(spec.protection, Protection::Ah(_)) { &BuiltIn } else { engine };
        let session =
            |half: &Half, direction| engine.session(spec.protection.transform(), &half.keys, spec.numbers, direction);
        let ends = Ends::of(spec, &draw);
        Ok(Self {
            numbers: spec.numbers,
            source: source_of(spec),
            plain: spec.selectors.plain(),
            form: Form::new(spec),
            sealer: session(&spec.outbound, Direction::Seal)?,
            opener: session(&spec.inbound, Direction::Open)?,
            outbound: Lease::restore(ends.extent(), leases.outbound, now_ns),
            inbound: Lease::restore(STILL, leases.inbound, now_ns),
            window: Window::beginning_at(spec.replay_window, leases.inbound.limit),
            behind: Behind::default(),
            carried: ends.carried(leases.carried, leases.outbound, leases.inbound),
            ends,
            draw,
            path_mtu: PathMtu::UNKNOWN,
            pace: Pace::new(leases.inbound.limit, now_ns),
            id: 0,
            to_seal: VecDeque::new(),
            to_admit: VecDeque::new(),
            busy: false,
            listed: false,
            spent: false,
            asked: None,
            written: Written::new(spec.unit(), session_key(spec.inbound.spi), APP),
            told: Essential::default(),
        })
    }

    /// What it sends goes elsewhere from now on.
    pub(super) const fn redirect(&mut self, spec: &TunnelSpec) {
        self.source = source_of(spec);
        self.form = Form::new(spec);
        self.path_mtu = PathMtu::UNKNOWN;
    }

    /// The whole number of a packet of the peer's. None: there is none.
    pub(super) fn whole(&self, low: u32) -> Option<u64> {
        match self.numbers {
            Numbers::Short => (low > 0).then_some(u64::from(low)),
            Numbers::Extended => self.window.whole(low),
        }
    }

    /// A packet of the peer's is let in, of so many bytes.
    ///
    /// # Errors
    /// Its number came before.
    #[inline]
    pub(super) fn let_in(&mut self, sequence: u64, len: usize) -> Result<(), Refused> {
        self.window.accept(sequence)?;
        self.carried.received = self.carried.received.saturating_add(len as u64);
        Ok(())
    }

    /// Whether there may be something to be said, or to be done: to be asked after each burst, so it looks only at what is at hand.
    #[inline]
    pub(super) fn may_be_due(&self) -> bool {
        let inbound = !self.to_admit.is_empty() || self.inbound.is_low() && self.inbound.extent() != STILL;
        inbound || self.outbound.is_low() || self.is_over()
    }

    /// The record that says all that is to be said now; none, if nothing is.
    pub(super) fn due(&mut self) -> Option<Essential> {
        let highest = self.to_admit.iter().map(|opened| opened.sequence).max();
        let inbound = highest.and_then(|number| self.inbound.due_above(number)).or_else(|| self.inbound_due());
        let outbound = self.outbound.due();
        if inbound.is_none() && outbound.is_none() {
            return None;
        }
        let (outbound, inbound) =
            (outbound.unwrap_or(self.outbound.record()), inbound.unwrap_or(self.inbound.record()));
        Some(self.essential(outbound, inbound))
    }

    /// The record that says these leases.
    fn essential(&self, outbound: LeaseRecord, inbound: LeaseRecord) -> Essential {
        Essential { outbound, inbound, carried: self.will_have_carried(outbound, inbound) }
    }

    /// A still lease is never due by itself: each packet asks for its own.
    fn inbound_due(&self) -> Option<LeaseRecord> {
        self.inbound.due().filter(|_| self.inbound.extent() != STILL)
    }

    /// Looks how fast the peer is. A record, if the lease is drawn back.
    pub(super) fn look(&mut self, length_min: u64, now_ns: u64) -> Option<Essential> {
        let extent = self.ends.within(self.pace.look(self.inbound.next(), length_min, now_ns));
        self.inbound.set_extent(extent);
        let inbound = self.inbound.draw_back(self.inbound.next().saturating_add(extent.length))?;
        Some(self.essential(self.outbound.record(), inbound))
    }

    /// This owner goes: the record by which the next one begins where it stopped, and skips nothing. `highest`: of the peer's numbers that
    /// this record lets in.
    pub(super) fn stop(&mut self, highest: Option<u64>) -> Essential {
        let (outbound, inbound) = (self.outbound.stop(None), self.inbound.stop(highest));
        self.essential(outbound, inbound)
    }

    /// Tells the backups. `initial`: what it is, too, for it has just woken up, or has changed.
    pub(super) fn write(
        &mut self,
        outbox: &mut Outbox,
        key: DigestKey,
        essential: Essential,
        initial: Option<&Initial>,
    ) -> Position {
        if let Some(Initial { version, bytes }) = initial {
            self.written.write_initial(outbox, key, *version, bytes);
        }
        self.told = essential;
        self.written.write_essential(outbox, key, VERSION, essential.encode().bytes())
    }

    /// How far the records say that the numbers go.
    pub(super) const fn told(&self) -> Essential {
        self.told
    }
}
