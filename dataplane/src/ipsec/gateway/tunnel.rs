//! A tunnel that is awake: what both of its SAs are made of, and which packets wait.

use std::collections::VecDeque;

use super::form::Form;
use super::pace::{Pace, STILL};
use super::record::{APP, Essential, VERSION, session_key};
use super::spec::{Half, Protection, TunnelSpec};
use crate::ipsec::crypto::builtin::BuiltIn;
use crate::ipsec::crypto::{Direction, Engine, EngineError, Numbers, Session};
use crate::ipsec::nonce::Draw;
use crate::ipsec::replay::Window;
use crate::replica::{Change, DigestKey, Extent, Lease, LeaseRecord, Position, Record, SessionDigest, Update};
use crate::unit::Unit;

/// The number of an SA's first packet (RFC 4303 section 2.2).
const FIRST: u64 = 1;

/// A tunnel that this worker serves.
pub(super) struct Tunnel {
    pub(super) unit: Unit,
    pub(super) spi: u32,
    pub(super) numbers: Numbers,
    pub(super) form: Form,
    pub(super) sealer: Box<dyn Session>,
    pub(super) opener: Box<dyn Session>,
    /// Our numbers.
    pub(super) outbound: Lease,
    /// The peer's: how far they may come, and which have come.
    pub(super) inbound: Lease,
    pub(super) window: Window,
    pub(super) draw: Draw,
    pub(super) pace: Pace,
    /// Names outer packets that may be fragmented.
    pub(super) id: u16,
    /// Clear packets that wait for numbers of ours.
    pub(super) to_seal: VecDeque<Vec<u8>>,
    /// Opened packets that wait for their numbers to be let in.
    pub(super) to_admit: VecDeque<(u64, Vec<u8>)>,
    /// Whether it had traffic since it was last looked at.
    pub(super) busy: bool,
    /// Whether it is to be looked at.
    pub(super) listed: bool,
    written: Written,
}

/// What the backups were told last.
struct Written {
    fingerprint: [u8; 16],
    essential: Essential,
    digest: SessionDigest,
}

/// What a tunnel begins with.
pub(super) struct Beginning {
    pub(super) fingerprint: [u8; 16],
    pub(super) draw: Draw,
    pub(super) leases: Essential,
    pub(super) now_ns: u64,
}

impl Beginning {
    /// The leases of a record; none if there is no record, or it is of other keys.
    pub(super) fn leases(record: &Record, fingerprint: &[u8; 16]) -> Option<Essential> {
        let (initial, essential) = (record.initial.as_ref()?, record.essential.as_ref()?);
        let same = initial.version == VERSION && initial.bytes.first_chunk() == Some(fingerprint);
        same.then(|| Essential::decode(essential.version, &essential.bytes)).flatten()
    }

    /// Those of SAs that nobody has used.
    pub(super) const fn first() -> Essential {
        Essential { outbound: LeaseRecord { limit: FIRST }, inbound: LeaseRecord { limit: FIRST } }
    }
}

impl Tunnel {
    pub(super) fn new(spec: &TunnelSpec, engine: &dyn Engine, beginning: Beginning) -> Result<Self, EngineError> {
        let Beginning { fingerprint, draw, leases, now_ns } = beginning;
        // What is checked with AH is of any length, which devices do not take.
        let engine = if matches!(spec.protection, Protection::Ah(_)) { &BuiltIn } else { engine };
        let session =
            |half: &Half, direction| engine.session(spec.protection.transform(), &half.keys, spec.numbers, direction);
        Ok(Self {
            unit: spec.unit(),
            spi: spec.inbound.spi,
            numbers: spec.numbers,
            form: Form::new(spec.protection, spec.outbound.spi, spec.outer),
            sealer: session(&spec.outbound, Direction::Seal)?,
            opener: session(&spec.inbound, Direction::Open)?,
            outbound: Lease::restore(Extent::default(), leases.outbound, now_ns),
            inbound: Lease::restore(STILL, leases.inbound, now_ns),
            window: Window::beginning_at(spec.replay_window, leases.inbound.limit),
            draw,
            pace: Pace::new(leases.inbound.limit, now_ns),
            id: 0,
            to_seal: VecDeque::new(),
            to_admit: VecDeque::new(),
            busy: false,
            listed: false,
            written: Written {
                fingerprint,
                essential: Essential::default(),
                digest: SessionDigest::new(session_key(spec.inbound.spi), APP),
            },
        })
    }

    /// The whole number of a packet of the peer's. None: there is none.
    pub(super) fn whole(&self, low: u32) -> Option<u64> {
        match self.numbers {
            Numbers::Short => (low > 0).then_some(u64::from(low)),
            Numbers::Extended => self.window.whole(low),
        }
    }

    /// The record that says all that is to be said now; none, if nothing is.
    pub(super) fn due(&mut self) -> Option<Essential> {
        let highest = self.to_admit.iter().map(|(number, _)| *number).max();
        let inbound = highest.and_then(|number| self.inbound.due_above(number)).or_else(|| self.inbound_due());
        let outbound = self.outbound.due();
        if inbound.is_none() && outbound.is_none() {
            return None;
        }
        let kept = Essential { outbound: self.outbound.record(), inbound: self.inbound.record() };
        Some(Essential { outbound: outbound.unwrap_or(kept.outbound), inbound: inbound.unwrap_or(kept.inbound) })
    }

    /// A still lease is never due by itself: each packet asks for its own.
    fn inbound_due(&self) -> Option<LeaseRecord> {
        self.inbound.due().filter(|_| self.inbound.extent() != STILL)
    }

    /// Looks how fast the peer is. A record, if the lease is drawn back.
    pub(super) fn look(&mut self, now_ns: u64) -> Option<Essential> {
        let extent = self.pace.look(self.inbound.next(), now_ns);
        self.inbound.set_extent(extent);
        let inbound = self.inbound.draw_back(self.inbound.next().saturating_add(extent.length))?;
        Some(Essential { outbound: self.outbound.record(), inbound })
    }

    /// Tells the backups. `anew`: all of it, for the tunnel has just woken up.
    pub(super) fn write(
        &mut self,
        essential: Essential,
        anew: bool,
        key: DigestKey,
        mut append: impl FnMut(&Update<'_>) -> Position,
    ) -> Position {
        let (unit, session) = (self.unit, session_key(self.spi));
        let written = &mut self.written;
        if anew {
            let bytes = &written.fingerprint;
            written.digest.set_initial(key, VERSION, bytes, &[]);
            append(&Update::new(unit, session, APP, Change::Initial { version: VERSION, bytes }));
        }
        let bytes = &essential.encode();
        written.digest.set_essential(key, VERSION, bytes, &[]);
        written.essential = essential;
        append(&Update::new(unit, session, APP, Change::Essential { version: VERSION, bytes }))
    }

    /// Its share of its unit's digest.
    pub(super) fn digest(&self, key: DigestKey) -> u64 {
        self.written.digest.value(key, std::iter::empty())
    }

    /// Tells the changes that make it, as it was written.
    pub(super) fn put(&self, put: &mut dyn FnMut(&Update<'_>)) {
        let mut put = |change| put(&Update::new(self.unit, session_key(self.spi), APP, change));
        put(Change::Reset);
        put(Change::Initial { version: VERSION, bytes: &self.written.fingerprint });
        put(Change::Essential { version: VERSION, bytes: &self.written.essential.encode() });
    }
}
