//! A member's half: what a gateway is given besides what every app is, and the session thread behind its desk, which answers when it
//! likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_control::ike::Speaker;
use phalanx_dataplane::app::{App, Wrappable};
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::gateway::{Gateway, GatewayConfig, Policies, Question, SessionDesk, TunnelStats, desk};
use phalanx_dataplane::replica::{Change, SessionKey, Store, Update, Wake};
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_ike::crypto::Random;
use phalanx_ike::pool::Book;

use super::super::super::clock::Clock;
use super::super::super::rng::Rng;
use super::super::super::world::{MS, US, World};
use super::super::desk::REPLICA_KEY;
use super::super::{SessionFault, Sessions};
use super::{Pace, TUNNEL_APP, clock_s};

/// Entropy of a seed.
pub(super) struct Drawn(pub(super) Rng);

impl Random for Drawn {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.0.number() as u8);
    }
}

/// See the module.
pub(in crate::sim) struct Half {
    session: SessionDesk,
    speaker: Speaker<Drawn>,
    /// Questions, and when they are answered.
    asked: Vec<(u64, Question)>,
    clock: Clock,
    pub(in crate::sim) incarnation: u64,
    pub(in crate::sim::sessions) policies: Policies,
    /// Packets of the cluster's that wait to be sent, and packets that came out of tunnels.
    pub(in crate::sim::sessions) whole: Vec<Vec<u8>>,
    pub(in crate::sim::sessions) forwarded: Vec<Vec<u8>>,
    fault: Option<SessionFault>,
    /// How each session's essential state was first told.
    first: BTreeMap<(Unit, SessionKey), Vec<u8>>,
}

/// A gateway, and what it needs.
pub(super) fn begin(me: MemberId, clock: Clock, seed: u64, pace: Pace, fault: Option<SessionFault>) -> (Gateway, Half) {
    let nothing: Wake = Arc::new(|| {});
    let (worker, session) = desk(nothing.clone(), nothing);
    let config = GatewayConfig::new(me, Vec::new(), REPLICA_KEY);
    let gateway = Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(0)).with_desk(worker, Arc::default());
    let half = Half {
        session,
        speaker: Speaker::new(super::peer::config_of_gateway(pace), Book::default(), Drawn(Rng::new(seed))),
        asked: Vec::new(),
        clock,
        incarnation: 0,
        policies: gateway.policies().unwrap_or_default(),
        whole: Vec::new(),
        forwarded: Vec::new(),
        fault,
        first: BTreeMap::new(),
    };
    (gateway, half)
}

impl Half {
    pub(in crate::sim::sessions) fn clock_s(&self, local: u64) -> u64 {
        clock_s(self.clock.moment(local))
    }

    /// When the thread answers next.
    pub(in crate::sim::sessions) fn due(&self) -> Option<u64> {
        self.asked.iter().map(|(at, _)| *at).min()
    }

    /// Takes what is asked by now, and answers what has been thought about for long enough.
    fn think(&mut self, now: u64, mut delay: impl FnMut(Unit) -> Option<u64>) {
        while let Some(question) = self.session.next() {
            if let Some(delay) = delay(question.unit) {
                self.asked.push((now + delay, question));
            }
        }
        let (due, later) = std::mem::take(&mut self.asked).into_iter().partition(|(at, _)| *at <= now);
        self.asked = later;
        let due: Vec<(u64, Question)> = due;
        for (_, question) in due {
            // There is always room: the ring holds hundreds.
            let _ = self.session.answer(self.speaker.answer(question).0);
        }
    }

    /// For a planted fault: how sessions were told first.
    pub(in crate::sim::sessions) fn look(&mut self, store: &Store) {
        if !matches!(self.fault, Some(SessionFault::NumbersNotReplicated | SessionFault::OldRecordRestored)) {
            return;
        }
        for unit in Unit::all() {
            for (key, record) in store.sessions(unit) {
                if let Some(essential) = &record.essential {
                    self.first.entry((unit, key)).or_insert_with(|| essential.bytes.to_vec());
                }
            }
        }
    }

    /// Plants the fault: a unit comes, and what is held of it is as it was at first.
    pub(in crate::sim::sessions) fn wind_back(&mut self, store: &mut Store, unit: Unit) {
        let of_tunnels = match self.fault {
            Some(SessionFault::NumbersNotReplicated) => true,
            Some(SessionFault::OldRecordRestored) => false,
            _ => return,
        };
        let sessions: Vec<(SessionKey, u8)> = store.sessions(unit).map(|(key, record)| (key, record.app)).collect();
        for (key, app) in sessions.into_iter().filter(|(_, app)| (*app == TUNNEL_APP) == of_tunnels) {
            if let Some(bytes) = self.first.get(&(unit, key)) {
                let _ = store.keep(&Update::new(unit, key, app, Change::Essential { version: 1, bytes }));
            }
        }
    }
}

impl World {
    /// A member's session thread goes on.
    pub(in crate::sim::sessions) fn think(&mut self, sessions: &mut Sessions, at: usize) {
        let Some(ipsec) = &mut sessions.ipsec else { return };
        let pace = ipsec.pace;
        let mut unanswered = Vec::new();
        let Self { nodes, rng, now, .. } = self;
        let desk = nodes[at].process.as_mut().and_then(|process| process.desk.as_mut());
        let Some(half) = desk.and_then(|desk| desk.ipsec.as_mut()) else { return };
        half.think(*now, |unit| {
            if rng.permille(pace.never) {
                unanswered.push(unit);
                // Lost, or answered when nobody waits any more.
                return rng.permille(500).then_some(11_000 * MS);
            }
            let most = if rng.permille(50) { 20 * pace.think_ns } else { pace.think_ns };
            Some(rng.between(10 * US, most))
        });
        let id = self.nodes[at].id;
        for unit in unanswered {
            ipsec.note_unanswered(unit);
            self.note(|| format!("{id}'s session thread does not answer a question about unit {unit} in time"));
        }
    }
}

/// A packet of a host's, in a buffer that has room around it.
pub(in crate::sim::sessions) struct Roomy(pub(in crate::sim::sessions) Vec<u8>);

impl Wrappable for Roomy {
    fn packet(&self) -> &[u8] {
        &self.0
    }

    fn packet_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn grow(&mut self, before: usize, after: usize) -> Option<&mut [u8]> {
        self.0 = [&vec![0; before], &self.0[..], &vec![0; after]].concat();
        Some(&mut self.0)
    }
}
