//! Who says what, and when.

use std::net::{IpAddr, Ipv4Addr};

use phalanx_dataplane::ipsec::esp;
use phalanx_dataplane::wire::proto;
use phalanx_ike::machine::Event as IkeEvent;
use phalanx_ike::wire;

use super::super::super::world::{Event, MS, World};
use super::super::Sessions;
use super::super::lan::Frame;
use super::peer::Stage;
use super::tunnel::{Mark, datagram, message};
use super::{Ipsec, Remote, clock_s};

/// A host inside.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 5);
/// How often a peer looks at what is due.
const TICK: u64 = 100 * MS;
/// When a peer repeats itself in a handshake.
const AGAIN: u64 = 500 * MS;
/// When it gives a handshake up, and begins another (RFC 7296 section 2.4): what the gateway knows of it is forgotten after thirty seconds
/// of the cluster's clock, and then nobody will ever answer.
const GIVES_UP: u64 = 8_000 * MS;
/// How much of what it has sent somebody remembers.
const SENT_MAX: usize = 400;

impl Ipsec {
    /// Whose address this is.
    pub(super) fn of(&self, address: IpAddr) -> Option<usize> {
        self.remotes.iter().position(|remote| remote.peer.path.ours.ip() == address)
    }
}

impl World {
    /// A peer's turn.
    pub(in crate::sim::sessions) fn peer_acts(&mut self, sessions: &mut Sessions, number: usize) -> Result<(), String> {
        let Some(mut ipsec) = sessions.ipsec.take() else { return Ok(()) };
        let done = self.act(sessions, &mut ipsec, number);
        let pause = ipsec.pace.word_ns;
        sessions.ipsec = Some(ipsec);
        let pause = self.rng.between(pause / 2, 2 * pause);
        self.at(self.now + pause, Event::Peer(number));
        done
    }

    fn act(&mut self, sessions: &mut Sessions, ipsec: &mut Ipsec, number: usize) -> Result<(), String> {
        let now = self.now;
        if ipsec.remotes[number].excused || matches!(ipsec.remotes[number].peer.stage, Stage::Idle) {
            ipsec.remotes[number].begun_at = now;
            self.begin_peer(sessions, ipsec, number);
            return Ok(());
        }
        let remote = &mut ipsec.remotes[number];
        if let Some(message) = remote.peer.unanswered().map(<[u8]>::to_vec) {
            if now > remote.tried_at + GIVES_UP {
                sessions.report.given_up += 1;
                self.begin_peer(sessions, ipsec, number);
            } else if now > remote.said_at + AGAIN {
                remote.said_at = now;
                self.say(sessions, remote, &message);
            }
            return Ok(());
        }
        if now > remote.ticked_at + TICK {
            remote.ticked_at = now;
            let spis: Vec<u64> = remote.peer.records.keys().copied().collect();
            for spi in spis {
                self.let_handle(sessions, ipsec, number, spi, IkeEvent::Timeout)?;
            }
        }
        let remote = &mut ipsec.remotes[number];
        remote.numbers += 1;
        let word = Mark { peer: number, epoch: remote.peer.epoch, number: remote.numbers, is_answer: false };
        let word = word.packet(remote.peer.host(), INSIDE);
        let usable = remote.peer.tunnels.iter().rposition(|tunnel| tunnel.usable);
        let tunnel = usable.and_then(|at| remote.peer.tunnels.get_mut(at));
        if let Some(packet) = tunnel.and_then(|tunnel| tunnel.seal(&word)) {
            remote.sent.push(packet.clone());
            self.host_sends(sessions, Frame::whole(packet));
        }
        let old = remote.sent.len().saturating_sub(SENT_MAX);
        remote.sent.drain(..old);
        if !remote.sent.is_empty() && self.rng.permille(ipsec.pace.replays) {
            let packet = self.rng.pick(&remote.sent).clone();
            self.host_sends(sessions, Frame::whole(packet));
        }
        Ok(())
    }

    fn begin_peer(&mut self, sessions: &mut Sessions, ipsec: &mut Ipsec, number: usize) {
        let remote = &mut ipsec.remotes[number];
        let (message, unit) = loop {
            let message = remote.peer.begin();
            let frame = Frame::whole(datagram(remote.peer.path.ours, remote.peer.path.theirs, &message));
            let unit = sessions.unit_of(&frame);
            if unit.index() < self.common.units {
                break (message, unit);
            }
        };
        remote.unit = unit;
        remote.excused = false;
        (remote.said_at, remote.tried_at) = (self.now, self.now);
        remote.sent.clear();
        remote.let_in.clear();
        remote.handshakes += 1;
        sessions.report.handshakes += 1;
        self.note(|| format!("peer {number} begins, unit {unit}"));
        self.say(sessions, remote, &message);
    }

    /// A peer sends an IKE message.
    fn say(&mut self, sessions: &mut Sessions, remote: &Remote, message: &[u8]) {
        let path = remote.peer.path;
        self.host_sends(sessions, Frame::whole(datagram(path.ours, path.theirs, message)));
    }

    fn let_handle(
        &mut self,
        sessions: &mut Sessions,
        ipsec: &mut Ipsec,
        number: usize,
        spi: u64,
        event: IkeEvent<'_>,
    ) -> Result<(), String> {
        let remote = &mut ipsec.remotes[number];
        let lived = remote.peer.lives();
        let before = remote.peer.tunnels.len();
        let (said, reports) = remote.peer.handle(spi, clock_s(self.now), event);
        sessions.report.tunnels += remote.peer.tunnels.len().saturating_sub(before) as u64;
        for report in &reports {
            self.note(|| format!("peer {number}: {report}"));
        }
        for message in said {
            self.say(sessions, remote, &message);
        }
        if lived && !remote.peer.lives() && !remote.excused {
            let unit = remote.unit;
            return Err(format!("peer {number} of unit {unit} has lost its IKE SA: {reports:?}"));
        }
        Ok(())
    }

    /// A packet reaches a peer, or a host inside.
    pub(in crate::sim::sessions) fn whole_arrives(
        &mut self,
        sessions: &mut Sessions,
        frame: &Frame,
    ) -> Result<(), String> {
        let Some(mut ipsec) = sessions.ipsec.take() else { return Ok(()) };
        let done = match ipsec.of(frame.destination) {
            Some(number) => self.peer_hears(sessions, &mut ipsec, number, frame),
            None => {
                self.inside_hears(sessions, &ipsec, frame);
                Ok(())
            }
        };
        sessions.ipsec = Some(ipsec);
        done
    }

    fn inside_hears(&mut self, sessions: &mut Sessions, ipsec: &Ipsec, frame: &Frame) {
        let Some(mark) = Mark::read(&frame.bytes) else { return };
        let Some(remote) = ipsec.remotes.get(mark.peer).filter(|it| it.peer.epoch == mark.epoch) else { return };
        let answer = Mark { is_answer: true, ..mark }.packet(INSIDE, remote.peer.host());
        self.host_sends_of(sessions, Frame::whole(answer), remote.unit);
    }

    fn peer_hears(
        &mut self,
        sessions: &mut Sessions,
        ipsec: &mut Ipsec,
        number: usize,
        frame: &Frame,
    ) -> Result<(), String> {
        let now = self.now;
        let remote = &mut ipsec.remotes[number];
        if remote.excused {
            return Ok(());
        }
        if frame.proto == proto::ESP {
            let spi = esp::header(frame.bytes.get(20..).unwrap_or_default()).map(|(spi, _)| spi);
            let Some(tunnel) = remote.peer.tunnels.iter_mut().find(|it| Some(it.inbound_spi) == spi) else {
                return Ok(());
            };
            let inner =
                tunnel.open(&frame.bytes).map_err(|why| format!("peer {number} cannot open a packet: {why}"))?;
            if inner.and_then(|inner| Mark::read(&inner)).is_some_and(|it| it.is_answer) {
                remote.note_answer(now);
                sessions.report.answers += 1;
            }
            return Ok(());
        }
        let Some((_, bytes)) = message(&frame.bytes) else { return Ok(()) };
        if !matches!(remote.peer.stage, Stage::Up) {
            let next = remote.peer.shake(bytes).map_err(|why| format!("peer {number} does not get in: {why}"))?;
            if let Some(message) = next {
                remote.said_at = now;
                self.say(sessions, remote, &message);
            }
            remote.peer.settle(clock_s(now));
            if matches!(remote.peer.stage, Stage::Up) {
                remote.note_answer(now);
                sessions.report.tunnels += 1;
            }
            return Ok(());
        }
        let Ok(header) = wire::header(bytes) else { return Ok(()) };
        // The SA's name at this side.
        let spi = if header.from_initiator { header.responder_spi } else { header.initiator_spi };
        let path = remote.peer.path;
        self.let_handle(sessions, ipsec, number, spi, IkeEvent::Message { path, bytes })
    }

    /// An inner packet came out of one of a member's tunnels.
    pub(in crate::sim::sessions) fn member_forwards(
        &mut self,
        sessions: &mut Sessions,
        at: usize,
        packet: Vec<u8>,
    ) -> Result<(), String> {
        let mark = Mark::read(&packet).ok_or("what comes out of a tunnel is nothing that anybody said")?;
        let frame = Frame::whole(packet);
        let Some(then) = self.leaves(at, &frame) else { return Ok(()) };
        self.check_let_in(sessions, at, mark)?;
        self.arrive(sessions, then, frame);
        Ok(())
    }

    /// A member sends a packet of the gateway's.
    pub(in crate::sim::sessions) fn gateway_sends(
        &mut self,
        sessions: &mut Sessions,
        at: usize,
        packet: Vec<u8>,
    ) -> Result<(), String> {
        let frame = Frame::whole(packet);
        self.check_sent(sessions, &frame)?;
        let Some(then) = self.leaves(at, &frame) else { return Ok(()) };
        let id = self.nodes[at].id;
        self.note(|| format!("{id} sends to a peer: {}", frame.show()));
        self.check_seen(sessions, at, &frame)?;
        self.arrive(sessions, then, frame);
        Ok(())
    }
}
