//! What is looked at of all that members send and let in, whoever of them believes to own what.
//!
//! *By right lost* is a peer whose unit went to somebody who does not hold what was shown (`sessions::check`): it begins anew. Then its
//! old SAs' numbers and messages may come again, from members on two sides of a split; an IV must not even then.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_dataplane::ipsec::esp;
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::proto;
use phalanx_ike::state::IkeSa;
use phalanx_ike::wire::{self, Body};

use super::super::super::net::HOST;
use super::super::super::world::{Event, MS, World};
use super::super::lan::{Frame, is_inside};
use super::super::twin::{Picture, picture};
use super::super::{Sessions, check, desk};
use super::tunnel::{Mark, message};
use super::{IKE_APP, Ipsec, Remote, TUNNEL_APP};

/// So long both sides may disagree on their SAs: IKE repeats itself after eight seconds in the end.
const DISAGREEMENT: u64 = 25_000 * MS;
/// What a question that is never answered costs besides.
const UNANSWERED: u64 = 12_000 * MS;

/// All that was ever sent. IKE SAs by both names.
#[derive(Default)]
pub(super) struct Seen {
    ivs: BTreeSet<(u32, u64)>,
    numbers: BTreeSet<(u32, u32)>,
    ike_ivs: BTreeMap<(u64, u64, u64), Vec<u8>>,
    /// By message ID, whether it is an answer, and the number of the piece.
    messages: BTreeMap<(u64, u64, u32, bool, u16), Vec<u8>>,
}

impl Seen {
    /// No IV comes twice, whether anybody sees it or not.
    fn note_iv(&mut self, frame: &Frame) -> Result<(), String> {
        if frame.proto == proto::ESP {
            let (spi, number) = esp_header(frame).ok_or("an ESP packet without a header")?;
            let iv = frame.bytes.get(28..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_be_bytes);
            let iv = iv.ok_or("an ESP packet without an IV")?;
            let new = self.ivs.insert((spi, iv));
            return new.then_some(()).ok_or_else(|| format!("IV {iv:x} of SPI {spi:x} comes twice, number {number}"));
        }
        let (_, bytes) = message(&frame.bytes).ok_or("no message")?;
        let parsed = wire::parse(bytes).map_err(|error| format!("a member sends what is no IKE: {error}"))?;
        let sealed = match parsed.body {
            Body::Plain(_) => return Ok(()),
            Body::Sealed(it) => it.sealed,
            Body::Fragment(it) => it.sealed,
        };
        let iv = sealed.first_chunk().copied().map(u64::from_be_bytes).ok_or("a message without an IV")?;
        let name = (parsed.header.initiator_spi, parsed.header.responder_spi, iv);
        let known = self.ike_ivs.entry(name).or_insert_with(|| bytes.to_vec());
        if *known == bytes { Ok(()) } else { Err(format!("IV {iv:x} of IKE SA {:x} comes twice", name.1)) }
    }

    /// Nor does a number, or a message ID with other words.
    fn note_number(&mut self, frame: &Frame) -> Result<(), String> {
        if let Some((spi, number)) = esp_header(frame).filter(|_| frame.proto == proto::ESP) {
            let new = self.numbers.insert((spi, number));
            return new.then_some(()).ok_or_else(|| format!("number {number} of SPI {spi:x} comes twice"));
        }
        let Some((_, bytes)) = message(&frame.bytes) else { return Ok(()) };
        let Ok(parsed) = wire::parse(bytes) else { return Ok(()) };
        let piece = if let Body::Fragment(it) = parsed.body { it.number } else { 0 };
        let header = parsed.header;
        let name = (header.initiator_spi, header.responder_spi, header.message_id, header.response, piece);
        let known = self.messages.entry(name).or_insert_with(|| bytes.to_vec());
        if *known == bytes {
            return Ok(());
        }
        Err(format!("message {} of IKE SA {:x}, answer: {}, comes with other words", name.2, name.1, name.3))
    }
}

fn esp_header(frame: &Frame) -> Option<(u32, u32)> {
    esp::header(frame.bytes.get(20..)?)
}

impl Remote {
    /// Whether what a member sends it is of its present life, and nothing of that was lost by right.
    fn minds(&self, frame: &Frame) -> bool {
        if self.excused {
            return false;
        }
        if frame.proto == proto::ESP {
            let spi = esp_header(frame).map(|(spi, _)| spi);
            return self.peer.tunnels.iter().any(|tunnel| Some(tunnel.inbound_spi) == spi);
        }
        let Some(header) = message(&frame.bytes).and_then(|(_, bytes)| wire::header(bytes).ok()) else { return false };
        let spi = if header.from_initiator { header.responder_spi } else { header.initiator_spi };
        (spi == self.peer.spi || self.peer.records.contains_key(&spi)) && header.responder_spi != 0
    }

    /// Its SAs: the gateway's name of each, and the SPIs of its children, the gateway's first.
    fn sas(&self) -> BTreeSet<(u64, Vec<(u32, u32)>)> {
        let living = self.peer.records.values().filter(|sa| sa.peer().is_some() && !sa.succeeded);
        living.map(|sa| (other_name(sa), children(sa, |child| (child.outbound_spi, child.inbound_spi)))).collect()
    }
}

fn other_name(sa: &IkeSa) -> u64 {
    if sa.own_spi() == sa.initiator_spi { sa.responder_spi } else { sa.initiator_spi }
}

fn children(sa: &IkeSa, of: impl Fn(&phalanx_ike::state::Child) -> (u32, u32)) -> Vec<(u32, u32)> {
    let mut children: Vec<_> = sa.children.iter().map(of).collect();
    children.sort_unstable();
    children
}

impl Ipsec {
    /// A unit's peers have lost all by right. How many they are.
    pub(in crate::sim::sessions) fn excuse(&mut self, unit: Unit) -> u64 {
        let of = self.remotes.iter_mut().filter(|remote| remote.unit == unit && remote.epoch() > 0 && !remote.excused);
        of.map(|remote| remote.excused = true).count() as u64
    }

    pub(in crate::sim::sessions) fn is_alive_in(&self, unit: Unit) -> bool {
        self.remotes.iter().any(|remote| remote.unit == unit && remote.peer.lives())
    }
}

impl Remote {
    pub(super) const fn epoch(&self) -> u32 {
        self.peer.epoch
    }
}

impl World {
    /// A member sends a packet to a peer.
    pub(super) fn check_sent(&mut self, sessions: &mut Sessions, frame: &Frame) -> Result<(), String> {
        sessions.ipsec.as_mut().map_or(Ok(()), |ipsec| ipsec.seen.note_iv(frame))
    }

    /// And it leaves the member.
    pub(super) fn check_seen(&mut self, sessions: &mut Sessions, at: usize, frame: &Frame) -> Result<(), String> {
        let Some(ipsec) = &sessions.ipsec else { return Ok(()) };
        let Some(number) = ipsec.of(frame.destination) else { return Err("a packet to nobody".into()) };
        if ipsec.remotes[number].minds(frame) {
            let unit = ipsec.remotes[number].unit;
            self.shown_of(sessions, at, unit);
            self.count_sent(sessions, at, unit);
        }
        let Some(ipsec) = &mut sessions.ipsec else { return Ok(()) };
        let minded = ipsec.remotes[number].minds(frame);
        let noted = ipsec.seen.note_number(frame);
        if minded { noted.map_err(|why| format!("peer {number}: {why}")) } else { Ok(()) }
    }

    /// A word has come out of a tunnel, and leaves the member.
    pub(super) fn check_let_in(&mut self, sessions: &mut Sessions, at: usize, mark: Mark) -> Result<(), String> {
        let minded = |sessions: &Sessions| {
            let remote = sessions.ipsec.as_ref()?.remotes.get(mark.peer)?;
            (remote.peer.epoch == mark.epoch && !remote.excused).then_some(remote.unit)
        };
        let Some(unit) = minded(sessions) else { return Ok(()) };
        self.shown_of(sessions, at, unit);
        if minded(sessions).is_none() {
            return Ok(());
        }
        sessions.report.words += 1;
        self.count_let_in(sessions, at, unit);
        let remote = sessions.ipsec.as_mut().and_then(|ipsec| ipsec.remotes.get_mut(mark.peer));
        let new = remote.is_none_or(|remote| remote.let_in.insert(mark.number));
        new.then_some(()).ok_or_else(|| format!("{mark:?} is let in twice"))
    }

    /// When a member's packet reaches the hosts, if it does.
    pub(super) fn leaves(&mut self, at: usize, frame: &Frame) -> Option<u64> {
        let port = if is_inside(frame.destination) { 2 } else { 1 };
        self.net.frame(&mut self.rng, self.now, at, HOST, port)
    }

    pub(super) fn arrive(&mut self, sessions: &mut Sessions, then: u64, frame: Frame) {
        let id = sessions.keep(frame);
        for late in sessions.stretch.copies(&mut self.rng).into_iter().flatten() {
            self.at(then + late, Event::ToHost(id));
        }
    }

    /// Nobody is silent for long once everything has healed.
    pub(in crate::sim::sessions) fn check_peers(
        &mut self,
        sessions: &mut Sessions,
        healed_at: u64,
    ) -> Result<(), String> {
        let Some(ipsec) = &sessions.ipsec else { return Ok(()) };
        for (number, remote) in ipsec.remotes.iter().enumerate() {
            let last = remote.answered_at.max(remote.begun_at);
            let since = last.max(healed_at);
            let patience = check::PATIENCE + 3 * healed_at.saturating_sub(last) + UNANSWERED * remote.unanswered;
            if self.now > since + patience {
                let (silent, up) = ((self.now - last) / MS, remote.peer.lives());
                let tunnels: Vec<_> = remote
                    .peer
                    .tunnels
                    .iter()
                    .map(|it| format!("{:x}/{:x}", it.outbound_spi, it.inbound_spi))
                    .collect();
                return Err(format!(
                    "peer {number} of unit {} hears no answer for {silent} ms, has an IKE SA: {up}, tunnels {tunnels:?}",
                    remote.unit
                ));
            }
        }
        Ok(())
    }

    /// Whether all peers and the owners of their units have the same SAs.
    pub(in crate::sim) fn check_agreement(&mut self, since: u64) -> Result<bool, String> {
        let mut what = None;
        self.with_sessions(|world, sessions| {
            let Some(ipsec) = &sessions.ipsec else { return Ok(()) };
            let extra = if ipsec.pace.never > 0 { UNANSWERED } else { 0 };
            what = ipsec.remotes.iter().find_map(|remote| world.disagreement(remote));
            match &what {
                Some(what) if world.now > since + DISAGREEMENT + extra => Err(what.clone()),
                _ => Ok(()),
            }
        })?;
        Ok(what.is_none())
    }

    fn disagreement(&mut self, remote: &Remote) -> Option<String> {
        let unit = remote.unit;
        let number = remote.peer.number;
        if !remote.peer.lives() {
            return Some(format!("peer {number} is not up"));
        }
        let owner = (0..self.nodes.len()).find(|at| self.nodes[*at].owns(self.now, unit))?;
        let desk = self.nodes[owner].process.as_mut()?.desk.as_deref_mut()?;
        let held = picture(desk, unit, &mut desk::scratch()).ok()?;
        let sas = sas_of(&held);
        let tunnels: BTreeSet<u32> =
            held.iter().filter(|(_, it)| it.app == TUNNEL_APP).map(|(key, _)| key.0 as u32).collect();
        let known: BTreeSet<u32> = sas.iter().flat_map(|sa| &sa.children).map(|child| child.inbound_spi).collect();
        if tunnels != known {
            return Some(format!("unit {unit} has tunnels {tunnels:x?}, and IKE SAs know of {known:x?}"));
        }
        let of =
            sas.iter().filter(|sa| sa.path.theirs == remote.peer.path.ours && sa.peer().is_some() && !sa.succeeded);
        let ours: BTreeSet<_> =
            of.map(|sa| (sa.own_spi(), children(sa, |child| (child.inbound_spi, child.outbound_spi)))).collect();
        let theirs = remote.sas();
        // Of a life that it has lost, the gateway does not know.
        let alike = if remote.handshakes == 1 { ours == theirs } else { ours.is_superset(&theirs) };
        (!alike).then(|| format!("peer {number} has {theirs:x?}, its gateway {ours:x?}"))
    }
}

/// The IKE SAs that are held of a unit.
fn sas_of(held: &Picture) -> Vec<IkeSa> {
    let records = held.values().filter(|record| record.app == IKE_APP);
    // When it is due comes first.
    let records = records.filter_map(|record| IkeSa::restore(record.essential.as_ref()?.bytes.get(8..)?));
    records.collect()
}
