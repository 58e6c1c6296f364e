//! Cluster messages on the wire: a version byte, a type byte, then the fields of `cluster::message` in their order,
//! big-endian, lists behind a two-byte count.
//!
//! Decoding is total: any bytes give a message or an error, in time and memory bounded by the input's length. What
//! follows the known fields is ignored, so that a newer member may say more; what an older one does not say is nothing
//! (`Reader::added_later`).

mod bytes;

pub(crate) use bytes::Reader;
use bytes::Writer;

use crate::cluster::{
    Beacon, BeaconKind, CHUNK_ENTRIES, Entry, Holder, IN_SYNC_HOLDERS_MAX, InSync, InSyncKnown, JoinAnswer,
    JoinRequest, LOADS_MAX, LOG_DIGESTS_MAX, Listed, Loads, MOVE_UNITS_MAX, MasterKeepalive, MemberKeepalive, Message,
    MoveStep, NakReason, PORTS_MAX, TableChunk,
};
use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId, UNITS, Unit};

/// The message format's version.
pub const FORMAT: u8 = 1;

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the message ends too early")]
    Truncated,
    /// Another format.
    #[error("message format {0} is not spoken here: run members of neighbouring versions only")]
    Format(u8),
    /// No such type.
    #[error("message type {0} is unknown")]
    Type(u8),
    /// A field's value is not allowed.
    #[error("the message's {0} has no allowed value")]
    Value(&'static str),
    /// A list is longer than is allowed.
    #[error("a list in the message is longer than allowed")]
    TooMany,
}

const MEMBERS: usize = MEMBER_NUMBER_MAX as usize;

/// Appends the message's bytes to `out`.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let w = &mut Writer(out);
    w.u8(FORMAT);
    match message {
        Message::Beacon(beacon) => {
            w.u8(1);
            w.u8(beacon_number(beacon.kind));
            w.u64(beacon.term);
            w.contact(&beacon.contact);
        }
        Message::MasterKeepalive(keepalive) => {
            w.u8(2);
            put_master_keepalive(w, keepalive);
        }
        Message::MemberKeepalive(keepalive) => {
            w.u8(3);
            put_member_keepalive(w, keepalive);
        }
        Message::TableChunk(chunk) => {
            w.u8(4);
            w.reign(chunk.reign);
            w.version(chunk.version);
            w.u8(chunk.chunk);
            w.u64(chunk.moved);
            w.list(&chunk.entries, |w, entry| w.put(&entry.to_bytes()));
        }
        Message::TableRequest(reign) => put_reign(w, 5, *reign),
        Message::Loads(loads) => {
            put_reign(w, 6, loads.reign);
            w.list(&loads.loads, |w, (unit, load)| {
                w.unit(*unit);
                w.u32(*load);
            });
        }
        Message::Move(reign, step) => {
            put_reign(w, 7, *reign);
            put_step(w, step);
        }
        Message::OtherMasterExists(reign) => put_reign(w, 8, *reign),
        Message::ExitRequest(reign) => put_reign(w, 9, *reign),
        Message::Exit(reign) => put_reign(w, 10, *reign),
        Message::Abdicate(reign, to) => {
            put_reign(w, 11, *reign);
            w.member(*to);
        }
        Message::JoinRequest(request) => {
            w.u8(12);
            w.u16(request.protocol);
            w.put(&request.config_digest);
            w.list(&request.roles, |w, role| w.u8(*role));
            w.u64(request.incarnation);
            w.contact(&request.contact);
            w.u64(request.term);
        }
        Message::JoinAnswer(answer) => {
            w.u8(13);
            put_answer(w, *answer);
        }
        Message::InSync(report) => {
            w.u8(14);
            w.u64(report.number);
            w.version(report.version);
            w.u8(report.part);
            w.u8(report.parts);
            w.list(&report.holders, |w, holder| {
                w.member(holder.member);
                w.u64(holder.incarnation);
                holder.units.words().iter().for_each(|word| w.u64(*word));
            });
        }
        Message::InSyncKnown(known) => {
            put_reign(w, 15, known.reign);
            w.u64(known.number);
        }
    }
}

/// Reads a message.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let r = &mut Reader(bytes);
    let format = r.u8()?;
    if format != FORMAT {
        return Err(DecodeError::Format(format));
    }
    Ok(match r.u8()? {
        1 => Message::Beacon(Beacon { kind: beacon_kind(r.u8()?)?, term: r.u64()?, contact: r.contact()? }),
        2 => Message::MasterKeepalive(master_keepalive(r)?),
        3 => Message::MemberKeepalive(member_keepalive(r)?),
        4 => Message::TableChunk(TableChunk {
            reign: r.reign()?,
            version: r.version()?,
            chunk: r.u8()?,
            moved: r.u64()?,
            entries: r.list(CHUNK_ENTRIES, |r| Entry::from_bytes(r.array()?).ok_or(DecodeError::Value("entry")))?,
        }),
        5 => Message::TableRequest(r.reign()?),
        6 => Message::Loads(Loads { reign: r.reign()?, loads: r.list(LOADS_MAX, |r| Ok((r.unit()?, r.u32()?)))? }),
        7 => Message::Move(r.reign()?, step(r)?),
        8 => Message::OtherMasterExists(r.reign()?),
        9 => Message::ExitRequest(r.reign()?),
        10 => Message::Exit(r.reign()?),
        11 => Message::Abdicate(r.reign()?, r.member()?),
        12 => Message::JoinRequest(JoinRequest {
            protocol: r.u16()?,
            config_digest: r.array()?,
            roles: r.list(PORTS_MAX, Reader::u8)?,
            incarnation: r.u64()?,
            contact: r.contact()?,
            term: r.added_later(Reader::u64)?,
        }),
        13 => Message::JoinAnswer(answer(r)?),
        14 => Message::InSync(in_sync(r)?),
        15 => Message::InSyncKnown(InSyncKnown { reign: r.reign()?, number: r.u64()? }),
        other => return Err(DecodeError::Type(other)),
    })
}

fn in_sync(r: &mut Reader<'_>) -> Result<InSync, DecodeError> {
    let report = InSync {
        number: r.u64()?,
        version: r.version()?,
        part: r.u8()?,
        parts: r.u8()?,
        holders: r.list(IN_SYNC_HOLDERS_MAX, |r| {
            Ok(Holder { member: r.member()?, incarnation: r.u64()?, units: unit_set(r)? })
        })?,
    };
    let parts_max = MEMBERS.div_ceil(IN_SYNC_HOLDERS_MAX);
    let sound = report.part < report.parts && usize::from(report.parts) <= parts_max;
    if sound { Ok(report) } else { Err(DecodeError::Value("part")) }
}

fn unit_set(r: &mut Reader<'_>) -> Result<UnitSet, DecodeError> {
    let mut words = [0; UNITS / u64::BITS as usize];
    for word in &mut words {
        *word = r.u64()?;
    }
    Ok(UnitSet::from_words(words))
}

fn put_reign(w: &mut Writer<'_>, kind: u8, reign: crate::cluster::Reign) {
    w.u8(kind);
    w.reign(reign);
}

fn put_hears(w: &mut Writer<'_>, hears: &[(MemberId, u8)]) {
    w.list(hears, |w, (member, ports)| {
        w.member(*member);
        w.u8(*ports);
    });
}

fn hears(r: &mut Reader<'_>) -> Result<Vec<(MemberId, u8)>, DecodeError> {
    r.list(MEMBERS, |r| Ok((r.member()?, r.u8()?)))
}

fn put_master_keepalive(w: &mut Writer<'_>, keepalive: &MasterKeepalive) {
    w.reign(keepalive.reign);
    w.u64(keepalive.seq);
    w.version(keepalive.version);
    w.u64(keepalive.digest);
    w.u8(keepalive.losses);
    w.u8(u8::from(keepalive.quorate));
    w.u8(keepalive.abdicating.map_or(0, MemberId::number));
    w.list(&keepalive.members, |w, member| {
        w.member(member.id);
        w.u64(member.incarnation);
        w.u64(member.echo);
    });
    w.list(&keepalive.agreed, |w, member| w.member(*member));
    w.list(&keepalive.joining, |w, member| w.member(*member));
    w.version(keepalive.list);
    put_hears(w, &keepalive.hears);
    w.contact(&keepalive.contact);
}

fn master_keepalive(r: &mut Reader<'_>) -> Result<MasterKeepalive, DecodeError> {
    Ok(MasterKeepalive {
        reign: r.reign()?,
        seq: r.u64()?,
        version: r.version()?,
        digest: r.u64()?,
        losses: r.u8().and_then(losses)?,
        quorate: r.bool()?,
        abdicating: r.u8().and_then(nobody_or_member)?,
        members: r.list(MEMBERS, |r| Ok(Listed { id: r.member()?, incarnation: r.u64()?, echo: r.u64()? }))?,
        agreed: r.list(MEMBERS, Reader::member)?,
        joining: r.list(MEMBERS, Reader::member)?,
        list: r.version()?,
        hears: hears(r)?,
        contact: r.contact()?,
    })
}

fn nobody_or_member(number: u8) -> Result<Option<MemberId>, DecodeError> {
    match number {
        0 => Ok(None),
        number => MemberId::new(number).map(Some).ok_or(DecodeError::Value("member")),
    }
}

fn losses(number: u8) -> Result<u8, DecodeError> {
    if (2..=crate::cluster::LOSSES_MAX).contains(&number) { Ok(number) } else { Err(DecodeError::Value("losses")) }
}

fn put_member_keepalive(w: &mut Writer<'_>, keepalive: &MemberKeepalive) {
    w.reign(keepalive.reign);
    w.u64(keepalive.seq);
    w.u64(keepalive.heard);
    w.version(keepalive.applied);
    w.version(keepalive.holds);
    w.u8(u8::from(keepalive.draining));
    put_hears(w, &keepalive.hears);
    w.contact(&keepalive.contact);
}

fn member_keepalive(r: &mut Reader<'_>) -> Result<MemberKeepalive, DecodeError> {
    Ok(MemberKeepalive {
        reign: r.reign()?,
        seq: r.u64()?,
        heard: r.u64()?,
        applied: r.version()?,
        holds: r.version()?,
        draining: r.bool()?,
        hears: hears(r)?,
        contact: r.contact()?,
    })
}

fn put_step(w: &mut Writer<'_>, step: &MoveStep) {
    match step {
        MoveStep::Prepare { id, base, from, to, units } => {
            w.u8(1);
            w.u64(*id);
            w.version(*base);
            w.member(*from);
            w.member(*to);
            w.list(units, |w, unit| w.unit(*unit));
        }
        MoveStep::Prepared(id) => put_id(w, 2, *id),
        MoveStep::Stop(id) => put_id(w, 3, *id),
        MoveStep::Log { id, part, parts, digests } => {
            put_id(w, 4, *id);
            w.u16(*part);
            w.u16(*parts);
            w.list(digests, |w, (unit, digests)| {
                w.unit(*unit);
                w.u8(u8::from(digests.is_some()));
                w.list(digests.as_deref().unwrap_or_default(), |w, digest| w.u32(*digest));
            });
        }
        MoveStep::LogHeld(id) => put_id(w, 5, *id),
    }
}

fn put_id(w: &mut Writer<'_>, kind: u8, id: u64) {
    w.u8(kind);
    w.u64(id);
}

fn step(r: &mut Reader<'_>) -> Result<MoveStep, DecodeError> {
    let kind = r.u8()?;
    let id = r.u64()?;
    Ok(match kind {
        1 => MoveStep::Prepare {
            id,
            base: r.version()?,
            from: r.member()?,
            to: r.member()?,
            units: r.list(MOVE_UNITS_MAX, Reader::unit)?,
        },
        2 => MoveStep::Prepared(id),
        3 => MoveStep::Stop(id),
        4 => MoveStep::Log { id, part: r.u16()?, parts: r.u16()?, digests: r.list(LOG_DIGESTS_MAX, digests)? },
        5 => MoveStep::LogHeld(id),
        _ => return Err(DecodeError::Value("step")),
    })
}

fn digests(r: &mut Reader<'_>) -> Result<(Unit, Option<Vec<u32>>), DecodeError> {
    let unit = r.unit()?;
    let known = r.bool()?;
    let digests = r.list(LOG_DIGESTS_MAX, Reader::u32)?;
    Ok((unit, known.then_some(digests)))
}

fn put_answer(w: &mut Writer<'_>, answer: JoinAnswer) {
    match answer {
        JoinAnswer::Nak(reason) => w.u8(nak_number(reason)),
        JoinAnswer::Ack { reign, incarnation } => {
            put_reign(w, 0, reign);
            w.u64(incarnation);
        }
    }
}

fn answer(r: &mut Reader<'_>) -> Result<JoinAnswer, DecodeError> {
    match r.u8()? {
        0 => Ok(JoinAnswer::Ack { reign: r.reign()?, incarnation: r.u64()? }),
        number => Ok(JoinAnswer::Nak(nak_reason(number)?)),
    }
}

const BEACON_KINDS: [BeaconKind; 4] = [BeaconKind::Seek, BeaconKind::Offer, BeaconKind::Member, BeaconKind::Master];

fn beacon_number(kind: BeaconKind) -> u8 {
    BEACON_KINDS.iter().position(|known| *known == kind).map_or(0, |place| place as u8)
}

fn beacon_kind(number: u8) -> Result<BeaconKind, DecodeError> {
    BEACON_KINDS.get(usize::from(number)).copied().ok_or(DecodeError::Value("beacon kind"))
}

/// The wire's numbers are these places plus one: 0 is the ACK.
const NAK_REASONS: [NakReason; 8] = [
    NakReason::InProgress,
    NakReason::CertificateUnknown,
    NakReason::CertificateRevoked,
    NakReason::ClusterName,
    NakReason::ConfigurationVersion,
    NakReason::ProtocolVersion,
    NakReason::AppRefusal,
    NakReason::NotMaster,
];

fn nak_number(reason: NakReason) -> u8 {
    NAK_REASONS.iter().position(|known| *known == reason).map_or(1, |place| place as u8 + 1)
}

fn nak_reason(number: u8) -> Result<NakReason, DecodeError> {
    NAK_REASONS.get(usize::from(number).wrapping_sub(1)).copied().ok_or(DecodeError::Value("NAK reason"))
}

#[cfg(test)]
mod tests;
