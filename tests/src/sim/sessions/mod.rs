//! Sessions in the simulated cluster: every member runs the production apps on production logs, stores and replication
//! machines, hosts talk TCP through its relays and draw tickets, and everything that hosts see is checked.
//!
//! Switched on by [`super::Options::sessions`]; without it the cluster's simulation is what it always was.
//!
//! Real: `relay::Relay` and all of `tcp`, `replica` (outbox, store, snapshots, ring port), `worker::Holdings`, the protocol
//! machines of `control::replication`, the filter; besides `Core` and `Steering`. The hosts' TCP is ours too. Modelled: the
//! tasks around the protocol machines and QUIC ([`link`]), the worker's round ([`desk`]), the LAN ([`lan`]).
//!
//! Checked ([`check`], [`host`], [`twin`]): every byte that a host hears is the right one at the right place; no connection is
//! reset or given up, and none stands still for long once all has healed; no ticket comes twice or backwards; what a
//! backup in sync restores behaves like what its owner has; at the end all copies are alike. So no byte that was acknowledged to
//! anyone is lost as long as one member lives that was in sync.

pub mod check;
pub mod conversation;
pub mod desk;
pub mod host;
pub(in crate::sim) mod ipsec;
pub mod lan;
pub mod link;
pub mod ticket;
pub mod twin;

use std::rc::Rc;

use phalanx_dataplane::filter::{Filter, Scheme};
use phalanx_dataplane::relay::{RelayConfig, RelayStats};
use phalanx_dataplane::replica::OutboxLimits;
use phalanx_dataplane::steer::Order;
use phalanx_dataplane::unit::{MemberId, UNITS, Unit};

use self::check::Holders;
use self::conversation::Conversation;
pub use self::conversation::LINES;
use self::desk::{Desk, REPLICA_KEY, Setup};
use self::ipsec::Ipsec;
use self::lan::{Frame, Stretch};
use self::link::{Bytes, Wire};
use self::ticket::Asker;
use self::twin::Twin;
use super::node::Packet;
use super::rng::Rng;
use super::world::{Event, MS, US, World};

/// A fault planted in the simulator's shell around the production code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionFault {
    /// An owner takes what it has sent to a backup for acknowledged.
    AckBeforeCommit,
    /// Leases are used without being replicated.
    LeaseNotReplicated,
    /// With IPsec: as [`Self::AckBeforeCommit`], so that peers see what no backup holds.
    AnswerBeforeCommit,
    /// With IPsec: an heir goes by the first lease of a tunnel's numbers.
    NumbersNotReplicated,
    /// With IPsec: a member that comes back lives under the number of its former life.
    IncarnationReused,
    /// With IPsec: an heir goes on with the first record of an IKE SA.
    OldRecordRestored,
    /// With IPsec: an owner that was replaced, and does not know, takes what it has sent to a backup for acknowledged.
    FenceIgnored,
}

/// How sessions are simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionOptions {
    /// A planted fault.
    pub fault: Option<SessionFault>,
    /// Peers with IPsec, instead of connections through the relay.
    pub ipsec: bool,
}

/// What became of the sessions of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionReport {
    /// Connections that clients have begun.
    pub begun: u64,
    /// And those that were carried to their end.
    pub completed: u64,
    /// Bytes that hosts heard, each of them checked.
    pub bytes: u64,
    /// Tickets that were heard of.
    pub tickets: u64,
    /// Units with a connection under way that came to another member.
    pub takeovers: u64,
    /// Connections that were restored from what backups held.
    pub restored: u64,
    /// Restored twins that were compared with their originals.
    pub compared: u64,
    /// Sessions that were lost by right: nobody who held them was left, or was chosen.
    pub excused: u64,
    /// Those among them of which somebody alive held the state.
    pub bad_heirs: u64,
    /// Those among these of which somebody did who followed the same master as the heir.
    pub unchosen: u64,
    /// Handshakes that peers have begun, those of peers that have lost all by right among them.
    pub handshakes: u64,
    /// Handshakes that they have given up, for nobody answered, and begun anew.
    pub given_up: u64,
    /// Tunnels that they have had.
    pub tunnels: u64,
    /// Words of theirs that were let in, and answers that they heard.
    pub words: u64,
    /// See there.
    pub answers: u64,
    /// Members that have gone on without a lease (`ipsec::forced`), and units with peers that had two owners when they noticed.
    pub blind: u64,
    /// See there.
    pub dual_units: u64,
    /// Packets to peers that second owners have sent, and words that they have let in.
    pub dual_sent: u64,
    /// See there.
    pub dual_let_in: u64,
}

impl SessionReport {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.completed += other.completed;
        self.bytes += other.bytes;
        self.tickets += other.tickets;
        self.takeovers += other.takeovers;
        self.restored += other.restored;
        self.compared += other.compared;
        self.excused += other.excused;
        self.bad_heirs += other.bad_heirs;
        self.unchosen += other.unchosen;
        self.handshakes += other.handshakes;
        self.given_up += other.given_up;
        self.tunnels += other.tunnels;
        self.words += other.words;
        self.answers += other.answers;
        self.blind += other.blind;
        self.dual_units += other.dual_units;
        self.dual_sent += other.dual_sent;
        self.dual_let_in += other.dual_let_in;
    }
}

/// Something for a member's worker or link.
#[derive(Clone, Debug)]
pub enum DeskEvent {
    /// A round: something is due, or was left over.
    Round,
    /// Bytes of a replication stream.
    Bytes(Bytes),
    /// A stream to this member is to be opened.
    Dial(usize),
    /// The stream of this number, to this member, is broken.
    Broken(usize, u32),
}

/// All that the hosts know, and the checkers.
pub struct Sessions {
    fault: Option<SessionFault>,
    members: usize,
    filter: Filter,
    setup: Setup,
    stretch: Stretch,
    frames: Vec<Rc<Frame>>,
    conversations: Vec<Conversation>,
    /// The conversation that each line has.
    lines: [usize; LINES],
    askers: Vec<Asker>,
    ipsec: Option<Ipsec>,
    /// Who holds what was last shown, by unit.
    holders: Vec<Holders>,
    /// By sender and receiver.
    wires: Vec<Wire>,
    twin: Twin,
    /// No new conversation begins.
    closing: bool,
    report: SessionReport,
}

impl Sessions {
    pub(super) fn new(rng: &mut Rng, options: SessionOptions, me: MemberId, members: usize, units: usize) -> Self {
        let filter = Filter::new(Scheme::Steered, [9; 16]);
        let buffer_bytes = *rng.pick(&[4 << 10, 16 << 10]);
        let relay = RelayConfig {
            relays: (0..LINES).map(|line| conversation::spec(line, buffer_bytes)).collect(),
            chunks: 64,
            // No cookies: where a handshake's last ACK is lost, they end in a reset, here as everywhere.
            half_open_max: 16,
            key: [3; 16],
            replica_key: REPLICA_KEY,
            seed: rng.number(),
        };
        let setup = Setup {
            relay,
            relay_stats: RelayStats::new(LINES),
            tickets_unreplicated: options.fault == Some(SessionFault::LeaseNotReplicated),
            mtu: *rng.pick(&[400, 1500]),
            outbox: OutboxLimits { snapshot_window_bytes: 4 << 10, ..OutboxLimits::default() },
        };
        Self {
            fault: options.fault,
            members,
            filter,
            stretch: Stretch::draw(rng),
            frames: Vec::new(),
            conversations: Vec::new(),
            lines: [usize::MAX; LINES],
            askers: (0..if options.ipsec { 0 } else { 2 })
                .map(|number| Asker::draw(rng, &filter, units, number))
                .collect(),
            ipsec: options.ipsec.then(|| Ipsec::new(rng, options.fault)),
            holders: vec![Holders::new(); UNITS],
            wires: (0..members * members).map(|_| Wire::default()).collect(),
            twin: Twin::new(me, &setup),
            setup,
            closing: false,
            report: SessionReport::default(),
        }
    }

    pub(super) fn report(&self) -> SessionReport {
        let stats = (0..=LINES).flat_map(|line| self.setup.relay_stats.of(line).iter());
        let restored = stats.filter(|(name, ..)| *name == "restored").map(|(.., count)| count).sum();
        SessionReport { restored, ..self.report }
    }

    /// No more of them begin.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether all that began has ended.
    pub(super) fn is_quiet(&self) -> bool {
        self.conversations.iter().all(|it| it.is_over || it.excused)
    }
}

impl World {
    pub(super) fn begin_sessions(&mut self, sessions: &Sessions) {
        if sessions.ipsec.is_some() {
            for peer in 0..Ipsec::peers() {
                let then = self.rng.between(100 * MS, 600 * MS);
                self.at(then, Event::Peer(peer));
            }
        } else {
            for line in 0..LINES {
                let then = self.rng.between(100 * MS, 600 * MS);
                self.at(then, Event::Begin(line));
            }
        }
        for asker in 0..sessions.askers.len() {
            let then = self.rng.between(100 * MS, 600 * MS);
            self.at(then, Event::Ask4Ticket(asker));
        }
        self.at(check::LOOK, Event::LookAtSessions);
    }

    /// A member's process begins: it gets a desk.
    pub(super) fn furnish(&mut self, at: usize) {
        let Some(sessions) = &self.sessions else { return };
        let node = &mut self.nodes[at];
        let mut desk = Desk::new(node.id, node.life, sessions.members, &sessions.setup);
        if let Some(ipsec) = &sessions.ipsec {
            let (gateway, half) = ipsec.furnish(node.id, node.clock, self.rng.number());
            desk.speak(gateway, half);
        }
        if let Some(process) = &mut node.process {
            process.desk = Some(Box::new(desk));
        }
    }

    /// A member's life has this number now, and it is on its disk.
    pub(super) fn live_as(&mut self, at: usize, incarnation: u64) {
        let reused = self.sessions.as_ref().is_some_and(|it| it.fault == Some(SessionFault::IncarnationReused));
        if let Some(half) = self.desk(at).and_then(|desk| desk.ipsec.as_mut()) {
            half.incarnation = if reused { 1 } else { incarnation };
        }
    }

    /// Something that happens to the hosts.
    pub(super) fn host_event(&mut self, sessions: &mut Sessions, event: Event) -> Result<(), String> {
        match event {
            Event::Begin(line) => self.begin_conversation(sessions, line),
            Event::Act(number, end) => {
                let host = sessions.conversations[number].hosts[end].as_ref();
                if host.is_some_and(|host| host.due == Some(self.now)) {
                    self.let_act(sessions, number, end)?;
                }
            }
            Event::Ask4Ticket(number) => self.ask_ticket(sessions, number),
            Event::Peer(number) => self.peer_acts(sessions, number)?,
            Event::Lan(packet) => self.flood(packet),
            Event::ToHost(id) => {
                let frame = sessions.frame(id);
                self.host_hears(sessions, &frame)?;
            }
            Event::Stalled(from, to) => self.try_stalled(sessions, from, to),
            Event::LookAtSessions => {
                self.check_sessions(sessions)?;
                self.at(self.now + check::LOOK, Event::LookAtSessions);
            }
            _ => {}
        }
        Ok(())
    }

    /// The apps' half of a member's worker, if it lives.
    fn desk(&mut self, at: usize) -> Option<&mut Desk> {
        self.nodes[at].process.as_mut()?.desk.as_deref_mut()
    }

    /// Something that happens to a member's worker or link.
    pub(super) fn desk_event(&mut self, at: usize, event: &DeskEvent) -> Result<(), String> {
        self.with_sessions(|world, sessions| {
            let now = world.now;
            match event {
                DeskEvent::Round => {
                    // One that was set earlier for a later time changes nothing.
                    if let Some(desk) = world.desk(at)
                        && desk.round_at.is_some_and(|set| set <= now)
                    {
                        desk.round_at = None;
                    }
                }
                DeskEvent::Bytes(bytes) => world.take_bytes(at, bytes)?,
                DeskEvent::Dial(to) => world.dial(sessions, at, *to),
                DeskEvent::Broken(to, number) => world.break_stream(at, *to, Some(*number)),
            }
            Ok(())
        })
    }

    /// The sessions, taken out of the world for the time of a call.
    pub(super) fn with_sessions(
        &mut self,
        call: impl FnOnce(&mut Self, &mut Sessions) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(mut sessions) = self.sessions.take() else { return Ok(()) };
        let result = call(self, &mut sessions);
        self.sessions = Some(sessions);
        result
    }

    /// A packet of a session is processed by a member.
    pub(super) fn session_packet(&mut self, at: usize, packet: Packet) -> Result<(), String> {
        self.with_sessions(|world, sessions| {
            let frame = sessions.frame(packet.id);
            world.note(|| format!("which is {}", frame.show()));
            let node = &mut world.nodes[at];
            let local = node.clock.local(world.now);
            let Some(desk) = node.process.as_mut().and_then(|process| process.desk.as_mut()) else { return Ok(()) };
            let unit = packet.unit;
            let heard_others = sessions.holders[unit.index()].first().is_some_and(|(last, _)| *last != at);
            let before = desk.holdings.store.owner(unit);
            let new = desk.take_up(local, unit);
            if new && !world.usurps(at) {
                world.check_predecessor(sessions, at, unit, before);
                world.check_heirs(sessions, at, &std::iter::once(unit).collect());
            }
            world.check_heir(sessions, at, unit);
            let mirrored = !frame.is_whole && world.rng.permille(twin::SHARE);
            let Some(desk) = world.desk(at) else { return Ok(()) };
            if mirrored {
                sessions.twin.mirror(desk, local, unit, &frame.summary(), &frame.bytes)?;
            }
            let offered = desk.offer(local, unit, &frame.summary(), &frame.bytes);
            if mirrored {
                sessions.report.compared += 1;
                sessions.twin.compare(desk, local, unit, heard_others)?;
            }
            if let Err(reason) = offered {
                world.note(|| format!("dropped by its app: {reason}"));
            }
            Ok(())
        })
    }

    /// An order is about to be obeyed by a member's worker.
    pub(super) fn desk_obeys(&mut self, at: usize, order: &Order) -> Result<(), String> {
        self.with_sessions(|world, sessions| {
            let node = &mut world.nodes[at];
            let local = node.clock.local(world.now);
            let Some(desk) = node.process.as_mut().and_then(|process| process.desk.as_mut()) else { return Ok(()) };
            let before: Vec<_> = Unit::all().map(|unit| desk.holdings.store.owner(unit)).collect();
            let gained = desk.note_order(local, order);
            if world.usurps(at) {
                return Ok(());
            }
            gained.iter().for_each(|unit| world.check_predecessor(sessions, at, unit, before[unit.index()]));
            world.check_heirs(sessions, at, &gained);
            Ok(())
        })
    }

    /// The end of a worker's round: what came in is dealt with, what is to go out goes.
    pub(super) fn desk_round(&mut self, at: usize) -> Result<(), String> {
        self.with_sessions(|world, sessions| {
            world.think(sessions, at);
            let node = &mut world.nodes[at];
            let local = node.clock.local(world.now);
            let Some(process) = &mut node.process else { return Ok(()) };
            let lease_ok = process.may_act(local);
            let Some(desk) = &mut process.desk else { return Ok(()) };
            let busy = desk.round(local, lease_ok);
            let sent = std::mem::take(&mut desk.sent);
            let (whole, forwarded) = desk.take_whole();
            if busy {
                world.note_in_sync(sessions, at);
            }
            world.link_round(at, sessions)?;
            for sent in sent.into_iter().filter(|_| lease_ok) {
                world.member_sends(sessions, at, sent)?;
            }
            for packet in whole.into_iter().filter(|_| lease_ok) {
                world.gateway_sends(sessions, at, packet)?;
            }
            for packet in forwarded.into_iter().filter(|_| lease_ok) {
                world.member_forwards(sessions, at, packet)?;
            }
            world.set_round(at, busy, lease_ok);
            Ok(())
        })
    }

    fn set_round(&mut self, at: usize, busy: bool, lease_ok: bool) {
        let (now, soon) = (self.now, self.now + self.rng.between(2 * US, 20 * US));
        let node = &mut self.nodes[at];
        let (life, clock) = (node.life, node.clock);
        let Some(desk) = node.process.as_mut().and_then(|process| process.desk.as_mut()) else { return };
        // What the link has delivered since wakes the worker up.
        let busy = busy || desk.port.is_waiting();
        // Without a lease the apps' timers wait; it comes with a round of its own.
        let timer = desk.timeout().filter(|_| lease_ok).map(|at_ns| clock.moment(at_ns).max(now + US));
        let look = desk.holdings.looks_again().then_some(now + MS);
        let thought = desk.ipsec.as_ref().and_then(|half| half.due()).map(|at| at.max(now + US));
        let Some(next) = timer.into_iter().chain(thought).chain(busy.then_some(soon)).chain(look).min() else { return };
        if desk.round_at.is_none_or(|set| next < set) {
            desk.round_at = Some(next);
            self.at(next, Event::Desk(at, life, DeskEvent::Round));
        }
    }
}
