//! A member, and if there is to be one, a backup of its: the gateway of a worker and who speaks IKE for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dpdk::alloc_count::thread_bytes;
use phalanx_dataplane::app::{App, UnitSet};
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::gateway::{
    Gateway, GatewayConfig, IkeCounters, SessionDesk, TunnelStats, WorkerDesk, desk,
};
use phalanx_dataplane::parse::summarise_l3;
use phalanx_dataplane::replica::{Consequence, MemberSet, Ship, Snapshots, Sources, updates};
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_dataplane::wire::{ipv4, proto, udp};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::SystemRandom;
use phalanx_ike::pool::Book;

use super::desk::{Desk, REPLICA_KEY, TABLE};
use super::{IkeBenchError, odd};
use crate::ike::Speaker;

/// Rounds in which a message must have been answered.
const ROUNDS_MAX: usize = 100;
const PORT: u16 = 500;
/// Where peers reach the member.
pub(super) const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), PORT);

fn id(number: u8) -> Result<MemberId, IkeBenchError> {
    MemberId::new(number).ok_or_else(|| odd("has no number"))
}

/// A worker's gateway, with all that it needs.
pub(super) struct Worker {
    gateway: Box<Gateway>,
    desk: Desk,
    session: SessionDesk,
    speaker: Speaker<SystemRandom>,
}

impl Worker {
    fn new(me: MemberId, config: Config, mut desk_of_worker: Desk) -> Self {
        let wake: phalanx_dataplane::worker::Wake = Arc::new(|| {});
        let (desk, session): (WorkerDesk, SessionDesk) = desk(wake.clone(), wake);
        let gateway_config = GatewayConfig::new(me, Vec::new(), REPLICA_KEY);
        let gateway = Gateway::new(gateway_config, Arc::new(BuiltIn), TunnelStats::new(0))
            .with_desk(desk, Arc::<IkeCounters>::default());
        (0..=u8::MAX).filter(|app| gateway.watches(*app)).for_each(|app| desk_of_worker.store.watch(app));
        let speaker = Speaker::new(config, Book::default(), SystemRandom::new());
        Self { gateway: Box::new(gateway), desk: desk_of_worker, session, speaker }
    }

    /// What a backup does with what it is told of tunnels.
    fn note_changes(&mut self) {
        while let Some((_, unit, session)) = self.desk.store.next_change() {
            self.gateway.handle_backup(&mut self.desk, unit, session);
        }
        while let Some(word) = self.desk.words.pop_front() {
            self.speaker.hear(word);
        }
    }

    /// What an owner does with a packet, but for its backups: as far as there is something to do at once.
    fn turn(&mut self) -> Result<(), IkeBenchError> {
        for _ in 0..ROUNDS_MAX {
            let mut idle = true;
            while let Some(question) = self.session.next() {
                idle = false;
                let (answer, _) = self.speaker.answer(question);
                self.session.answer(answer).map_err(|_| odd("has no room for an answer"))?;
            }
            while let Some(word) = self.desk.words.pop_front() {
                self.speaker.hear(word);
            }
            while self.gateway.poll_timeout().is_some_and(|at_ns| at_ns <= self.desk.now_ns) {
                idle = false;
                self.gateway.handle_timeout(&mut self.desk);
            }
            if idle {
                return Ok(());
            }
        }
        Err(odd("is never done"))
    }
}

/// An owner of all units, and who holds what it has.
pub(super) struct Member {
    owner: Worker,
    backup: Option<Worker>,
    /// What the backup has taken from the heap.
    pub(super) backup_bytes: i64,
    snapshots: Snapshots,
}

impl Member {
    /// One without tunnels.
    pub(super) fn new(config: &Config, has_backup: bool) -> Result<Self, IkeBenchError> {
        let (me, other) = (id(1)?, id(2)?);
        let backups = if has_backup { MemberSet::of(other) } else { MemberSet::EMPTY };
        let mut owner = Worker::new(me, config.clone(), Desk::new(me, backups, true));
        let all: UnitSet = Unit::all().collect();
        owner.gateway.handle_units(&mut owner.desk, &all, &UnitSet::EMPTY);
        if has_backup {
            owner.desk.outbox.greeted(other, 1, None);
        }
        owner.turn()?;
        let backup = has_backup.then(|| Worker::new(other, config.clone(), Desk::new(me, MemberSet::EMPTY, false)));
        let mut member = Self { owner, backup, backup_bytes: 0, snapshots: Snapshots::new() };
        member.replicate()?;
        Ok(member)
    }

    /// Takes a message of a peer's, of which it knows no more than the unit; what it sends.
    pub(super) fn hear(&mut self, from: SocketAddr, unit: Unit, message: &[u8]) -> Result<Vec<Vec<u8>>, IkeBenchError> {
        let packet = packet(from, message)?;
        let owner = &mut self.owner;
        let summary = summarise_l3(&packet).map_err(|_| odd("does not know a packet"))?;
        let taken = owner.gateway.handle_packet(&mut owner.desk, unit, &summary, &packet);
        taken.map_err(|reason| odd(format!("dropped a message: {reason:?}")))?;
        owner.turn()?;
        Ok(std::mem::take(&mut owner.desk.sent))
    }

    /// The backup takes in all that the owner has to tell, and says so; what the owner sends then.
    pub(super) fn replicate(&mut self) -> Result<Vec<Vec<u8>>, IkeBenchError> {
        while self.backup.is_some() {
            let told = self.ship()?;
            let (owner, heir) = (&mut self.owner, id(2)?);
            let head = owner.desk.outbox.head();
            owner.desk.outbox.acknowledged(heir, head);
            owner.gateway.handle_commit(&mut owner.desk);
            owner.turn()?;
            if !told {
                break;
            }
        }
        Ok(std::mem::take(&mut self.owner.desk.sent))
    }

    /// Whether there was something to tell.
    fn ship(&mut self) -> Result<bool, IkeBenchError> {
        let Self { owner, backup: Some(backup), backup_bytes, snapshots } = self else { return Ok(false) };
        let (me, heir) = (id(1)?, id(2)?);
        let Worker { gateway, desk, .. } = owner;
        let mut told = false;
        loop {
            let mut all = Sources { store: &mut desk.store, live: std::slice::from_mut(gateway) };
            if !snapshots.pump(&mut desk.outbox, &mut all, usize::MAX) {
                break;
            }
        }
        while let Some((_, ship)) = desk.outbox.poll_ship(heir) {
            told = true;
            let Ship::Segment(segment) = ship else { continue };
            let mut batch = Vec::new();
            segment.write_for(heir, &mut batch);
            let before = thread_bytes();
            for update in updates(&batch) {
                let update = update.map_err(|_| odd("writes what cannot be read"))?;
                match backup.desk.store.apply(me, TABLE, &update) {
                    Ok(()) => {}
                    // It is told all of the unit.
                    Err(refused) if refused.consequence() == Consequence::Unsync => {
                        desk.outbox.unsynced(heir, update.unit);
                    }
                    Err(refused) => return Err(odd(format!("has a backup that refuses an update: {refused}"))),
                }
            }
            backup.note_changes();
            *backup_bytes += thread_bytes() - before;
        }
        Ok(told)
    }

    /// Sessions that the backup holds: one for each IKE SA and each tunnel.
    pub(super) fn held(&self) -> usize {
        self.backup.as_ref().map_or(0, |backup| backup.desk.store.session_count())
    }
}

/// A UDP packet without a checksum.
fn packet(from: SocketAddr, message: &[u8]) -> Result<Vec<u8>, IkeBenchError> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), HERE.ip()) else {
        return Err(odd("is spoken to in IPv6"));
    };
    let payload_len = u16::try_from(message.len()).map_err(|_| odd("gets a message that is too long"))?;
    let mut packet = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN + message.len()];
    let (ip, carried) = packet.split_at_mut(ipv4::HEADER_LEN);
    let (header, payload) = carried.split_at_mut(udp::HEADER_LEN);
    payload.copy_from_slice(message);
    let ports = udp::Repr { source_port: from.port(), destination_port: HERE.port(), payload_len };
    let written = ports.emit(header);
    let (tos, id, fragment, ttl, protocol) = (0, 1, 0, 64, proto::UDP);
    let payload_len = payload_len + udp::HEADER_LEN as u16;
    let repr = ipv4::Repr { tos, id, fragment, ttl, protocol, source, destination, payload_len };
    written.and_then(|_| repr.emit(ip)).map_err(|_| odd("gets a packet that cannot be written"))?;
    Ok(packet)
}
