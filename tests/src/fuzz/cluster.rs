//! A cluster core among hostile members: any decodable messages from any admitted member, notices of its workers, and
//! time, in any order and in every role.
//!
//! The script mixes raw datagrams, which the codec has to accept, with plausible messages built from what the core
//! itself said last (its reign, its own sequence numbers, the versions it told): otherwise no run would get beyond the
//! search for a master. Promises: no panic; each input causes a bounded number of outputs; whatever is sent fits its
//! way; time never leads to a busy loop; and a follower's lease is renewed by nothing but its master's word.

use phalanx_control::cluster::{
    Beacon, BeaconKind, Contact, Core, Entry, Holder, InSync, InSyncKnown, JoinAnswer, JoinRequest, Listed, Loads,
    MasterKeepalive, MemberKeepalive, Message, MoveStep, NakReason, Output, PROTOCOL_VERSION, Path, Quorum, Reign,
    Replicas, Settings, Span, TableChunk, Time, To, Version,
};
use phalanx_control::codec::{decode, encode};
use phalanx_control::envelope::BODY_MAX;
use phalanx_control::envelope::beacon::BEACON_BODY_MAX;
use phalanx_dataplane::steer::{MarkerPart, Notice, Order};
use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId, UNITS, Unit};

use super::cursor::{Cursor, member};

const ME: u8 = 1;
const MEMBERS: u8 = 6;
/// Outputs that one input may cause. The most comes of publishing a table: chunks to every member, and releases of
/// units that change hands.
const OUTPUTS_MAX: usize = 4 * UNITS;
/// Inputs that one script may hold: what comes later is not read.
const STEPS_MAX: usize = 200;

/// See the module.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let mut settings = Settings::new(member(ME), contact(ME));
    if script.bool() {
        settings.quorum = Quorum::Majority;
        settings.last_membership = vec![member(1), member(2), member(3)];
    }
    settings.replicas = Some(Replicas::All);
    let mut scene = Scene::new(settings);
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        scene.step(&mut script);
    }
}

fn contact(number: u8) -> Contact {
    Contact { address: ([10, 9, 0, number], 7400).into(), macs: vec![[2, 0, 0, 0, 0, number]; 2] }
}

/// The core, and what it said last.
struct Scene {
    core: Core,
    now: Time,
    lease: Time,
    view: u64,
    seq: u64,
    version: Version,
    move_id: u64,
    left: bool,
}

impl Scene {
    fn new(settings: Settings) -> Self {
        let core = Core::new(settings, Time(0));
        let version = Version::default();
        let mut scene = Self { core, now: Time(0), lease: Time(0), view: 0, seq: 0, version, move_id: 0, left: false };
        scene.drain();
        scene
    }

    fn step(&mut self, script: &mut Cursor<'_>) {
        let operation = script.u8();
        let from = script.member(MEMBERS);
        let master = self.core.reign().map(|reign| reign.master);
        let lease = self.lease;
        match operation % 16 {
            0..=2 => self.pass_time(u64::from(script.u8())),
            3 => {
                let version = self.view.saturating_sub(u64::from(script.u8() & 1));
                let logs = vec![(unit(script), script.bool().then(|| vec![1, 2, 3]))];
                self.core.handle_notice(self.now, Notice::Applied { version, logs });
            }
            4 => self.core.handle_notice(self.now, Notice::Unassigned(unit(script))),
            5 => self
                .core
                .handle_notice(self.now, Notice::Marker { from, token: script.number(), part: MarkerPart::WHOLE }),
            6 => {
                let verdict = if script.bool() { Err(NakReason::AppRefusal) } else { Ok(()) };
                self.core.handle_verdict(self.now, from, verdict);
            }
            7 if script.u8() == 7 => self.core.handle_drain(self.now),
            7 => self.core.handle_loads(self.now, &[(unit(script), script.u32())]),
            8 => {
                let len = usize::from(script.u8());
                if let Ok(message) = decode(script.take(len)) {
                    self.hear(from, script, message);
                }
            }
            _ => {
                let message = self.plausible(from, script);
                self.hear(from, script, message);
            }
        }
        self.drain();
        let followed = |reign: Option<Reign>| reign.is_some_and(|reign| reign.master != from);
        let follows = master.is_some_and(|m| m != member(ME)) && self.core.reign().map(|r| r.master) == master;
        if operation % 16 >= 8 && follows && followed(self.core.reign()) {
            assert!(self.lease <= lease, "{from} is not the master and renewed the lease");
        }
        assert!(self.lease <= self.now + Span::from_ms(10 * 25), "a lease far ahead");
        assert!(
            self.left || !self.core.lease_is_valid(self.now) || self.core.reign().is_some(),
            "a lease without a master"
        );
        assert!(self.left || self.core.poll_timeout().is_some(), "nothing would ever happen again");
    }

    /// Up to 20 ms a step of the script, from deadline to deadline, as the runtime does it.
    fn pass_time(&mut self, quarters: u64) {
        let until = self.now + Span(quarters * 80_000);
        for _ in 0..64 {
            match self.core.poll_timeout() {
                Some((at, _)) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.core.handle_timeout(self.now);
            self.drain();
            if let Some((next, why)) = self.core.poll_timeout() {
                assert!(next > self.now, "a busy loop: {why}");
            }
        }
        // Whoever is late looks only now.
        self.now = self.now.max(until);
    }

    fn hear(&mut self, from: MemberId, script: &mut Cursor<'_>, message: Message) {
        let path = if script.bool() { Path::Link } else { Path::Port(script.u8()) };
        self.core.handle_message(self.now, from, path, message);
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.core.poll_output() {
            count += 1;
            match output {
                Output::Send(to, message) => self.sent(&to, &message),
                Output::Order(Order::View(view)) => {
                    assert!(view.version > self.view && view.modes.len() == UNITS);
                    assert_eq!(view.peers.len(), usize::from(MEMBER_NUMBER_MAX));
                    self.view = view.version;
                }
                Output::Lease(until) => self.lease = until,
                Output::Left => self.left = true,
                _ => {}
            }
        }
        assert!(count <= OUTPUTS_MAX, "{count} outputs at once");
    }

    /// What is sent fits the way that it goes, and its receiver can read it.
    fn sent(&mut self, to: &To, message: &Message) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        assert_eq!(decode(&bytes).as_ref(), Ok(message));
        let most = match to {
            To::All | To::Member(_) => BODY_MAX,
            To::Strangers => BEACON_BODY_MAX,
            To::Reliably(..) => usize::MAX,
        };
        assert!(bytes.len() <= most, "{} bytes: {message:?}", bytes.len());
        match message {
            Message::MasterKeepalive(keepalive) => (self.seq, self.version) = (keepalive.seq, keepalive.version),
            Message::MemberKeepalive(keepalive) => (self.seq, self.version) = (keepalive.seq, keepalive.holds),
            Message::Move(_, MoveStep::Prepare { id, .. }) => self.move_id = *id,
            _ => {}
        }
    }

    /// A message that the core may well take seriously.
    fn plausible(&self, from: MemberId, script: &mut Cursor<'_>) -> Message {
        let choice = script.u8();
        let known = self.core.reign();
        let reign = match known {
            Some(reign) if choice & 0x10 == 0 => reign,
            _ => Reign { term: script.number(), master: from },
        };
        let contact = contact(from.number());
        match choice & 15 {
            0 => {
                const KINDS: [BeaconKind; 4] =
                    [BeaconKind::Seek, BeaconKind::Offer, BeaconKind::Member, BeaconKind::Master];
                Message::Beacon(Beacon { kind: KINDS[usize::from(choice >> 6)], term: script.number(), contact })
            }
            1..=3 => Message::MasterKeepalive(self.master_keepalive(reign, contact, script)),
            4..=6 => Message::MemberKeepalive(MemberKeepalive {
                reign,
                seq: script.number(),
                heard: self.seq.saturating_sub(u64::from(script.u8() & 3)),
                applied: self.version(script),
                holds: self.version(script),
                draining: script.u8() == 1,
                hears: vec![(member(ME), script.u8())],
                contact,
            }),
            7 => self.chunk(reign, script),
            8 => Message::TableRequest(reign),
            9 => Message::Loads(Loads { reign, loads: vec![(unit(script), script.u32()), (unit(script), u32::MAX)] }),
            10 => Message::Move(reign, self.move_step(script)),
            11 => match script.u8() % 4 {
                0 => Message::OtherMasterExists(reign),
                1 => Message::ExitRequest(reign),
                2 => Message::Exit(reign),
                _ => Message::Abdicate(reign, script.member(MEMBERS)),
            },
            12 | 13 => Message::JoinRequest(JoinRequest {
                protocol: PROTOCOL_VERSION + u16::from(script.u8() == 1),
                config_digest: [0; 32],
                roles: Vec::new(),
                incarnation: script.number(),
                contact,
                term: reign.term,
            }),
            14 => match script.u8() % 4 {
                0 => Message::InSyncKnown(InSyncKnown { reign, number: script.number() }),
                1 | 2 => Message::InSync(self.in_sync(script)),
                _ => Message::JoinAnswer(JoinAnswer::Nak(NakReason::InProgress)),
            },
            _ => Message::JoinAnswer(JoinAnswer::Ack { reign, incarnation: script.number() }),
        }
    }

    fn in_sync(&self, script: &mut Cursor<'_>) -> InSync {
        let units = (0..script.u8() % 4).map(|_| unit(script)).collect();
        let parts = 1 + script.u8() % 3;
        InSync {
            number: script.number(),
            version: self.version(script),
            part: script.u8() % parts,
            parts,
            holders: vec![Holder { member: script.member(MEMBERS), incarnation: script.number(), units }],
        }
    }

    fn master_keepalive(&self, reign: Reign, contact: Contact, script: &mut Cursor<'_>) -> MasterKeepalive {
        let mut members = vec![Listed { id: reign.master, incarnation: script.number(), echo: 0 }];
        let most = script.u8() % 4;
        for _ in 0..most {
            let echo = self.seq.saturating_sub(u64::from(script.u8() & 3));
            members.push(Listed { id: script.member(MEMBERS), incarnation: script.number(), echo });
        }
        MasterKeepalive {
            reign,
            seq: script.number(),
            version: self.version(script),
            digest: script.number(),
            losses: 2 + script.u8() % 19,
            quorate: script.bool(),
            abdicating: script.bool().then(|| script.member(MEMBERS)),
            agreed: members.iter().map(|listed| listed.id).collect(),
            joining: vec![script.member(MEMBERS)],
            list: self.version(script),
            members,
            hears: vec![(member(ME), script.u8())],
            contact,
        }
    }

    fn version(&self, script: &mut Cursor<'_>) -> Version {
        match script.u8() & 3 {
            0 => Version { term: script.number(), generation: script.number() },
            1 => Version { generation: self.version.generation.saturating_add(1), ..self.version },
            _ => self.version,
        }
    }

    fn chunk(&self, reign: Reign, script: &mut Cursor<'_>) -> Message {
        let entry = Entry::from_bytes([script.u8() % 8, script.u8() % 8]).unwrap_or_default();
        let (chunk, count) = (script.u8() % 5, 64 * usize::from(script.u8() % 5));
        let version = self.version(script);
        Message::TableChunk(TableChunk {
            reign,
            version,
            chunk,
            moved: u64::from(count as u8),
            entries: vec![entry; count],
        })
    }

    fn move_step(&self, script: &mut Cursor<'_>) -> MoveStep {
        let id = if script.bool() { self.move_id } else { script.number() };
        match script.u8() % 5 {
            0 => MoveStep::Prepare {
                id,
                base: self.version(script),
                from: script.member(MEMBERS),
                to: script.member(MEMBERS),
                units: vec![unit(script), unit(script)],
            },
            1 => MoveStep::Prepared(id),
            2 => MoveStep::Stop(id),
            3 => MoveStep::Log {
                id,
                part: script.u16() & 3,
                parts: script.u16(),
                digests: vec![(unit(script), script.bool().then(|| vec![script.u32()]))],
            },
            _ => MoveStep::LogHeld(id),
        }
    }
}

fn unit(script: &mut Cursor<'_>) -> Unit {
    Unit::from_low_bits(u32::from(script.u16()))
}
