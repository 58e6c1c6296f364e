//! An IKE SA as a record, for the backups.
//!
//! `restore(save(x))` is `x`. The record holds keys: the members' link is encrypted, and nobody writes it to a disk.

use crate::crypto::{Cipher, Group, IkeKeys, Integrity, KeyPair, Prf, Secret, Suite};
use crate::eap::Conversation;
use crate::fields::{Reader, Writer, address};
use crate::state::{
    Abilities, Asking, Child, Collision, IkeSa, Nat, Opening, Path, Peer, Pending, Phase, Pieces, Purpose, Rekey, Role,
};
use crate::wire::{Identity, Selector};

/// The version of the records written here.
pub const VERSION: u8 = 1;

/// The fields, by number.
mod tag {
    pub(super) const ROLE: u8 = 1;
    pub(super) const INITIATOR_SPI: u8 = 2;
    pub(super) const RESPONDER_SPI: u8 = 3;
    pub(super) const OURS: u8 = 4;
    pub(super) const THEIRS: u8 = 5;
    pub(super) const FLAGS: u8 = 6;
    pub(super) const SUITE: u8 = 7;
    pub(super) const KEYS: u8 = 8;
    pub(super) const OPENING: u8 = 9;
    pub(super) const PEER: u8 = 10;
    pub(super) const CREATED: u8 = 11;
    pub(super) const HEARD: u8 = 12;
    pub(super) const NEXT_REQUEST: u8 = 13;
    pub(super) const LAST_ANSWER: u8 = 14;
    pub(super) const NEXT_OWN: u8 = 15;
    pub(super) const PENDING: u8 = 16;
    pub(super) const PIECES: u8 = 17;
    pub(super) const CHILD: u8 = 18;
    pub(super) const REKEY_AT: u8 = 19;
    pub(super) const ASKING: u8 = 20;
    pub(super) const BEGINNING: u8 = 21;
    pub(super) const PROVING: u8 = 22;
    pub(super) const KEPT: u8 = 23;
    pub(super) const TOKEN: u8 = 24;
    pub(super) const SYNCED: u8 = 25;
    /// What is not known yet.
    pub(super) const BEYOND: u8 = 26;
}

impl IkeSa {
    /// The record.
    pub fn save(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.number(tag::ROLE, u64::from(self.role == Role::Responder));
        to.number(tag::INITIATOR_SPI, self.initiator_spi).number(tag::RESPONDER_SPI, self.responder_spi);
        to.socket(tag::OURS, self.path.ours).socket(tag::THEIRS, self.path.theirs);
        let flags = [
            self.nat.ours,
            self.nat.theirs,
            self.abilities.fragmentation,
            self.abilities.mobike,
            self.abilities.message_id_sync,
            self.succeeded,
            self.abilities.replay_sync,
        ];
        to.number(tag::FLAGS, flags.iter().rev().fold(0, |all, flag| all << 1 | u64::from(*flag)));
        save_suite(&mut to, self.suite);
        to.nested(tag::KEYS, |to| {
            let IkeKeys { d, ai, ar, ei, er, pi, pr } = &self.keys;
            for (key, at) in [d, ai, ar, ei, er, pi, pr].into_iter().zip(1..) {
                to.bytes(at, key.as_bytes());
            }
        });
        match &self.phase {
            Phase::Beginning(beginning) => {
                to.nested(tag::BEGINNING, |to| begun::save_beginning(to, beginning));
            }
            Phase::Proving(proving) => {
                to.nested(tag::PROVING, |to| begun::save_proving(to, proving));
            }
            Phase::Opening(opening) => {
                to.nested(tag::OPENING, |to| save_opening(to, opening));
            }
            Phase::Asking(asking) => {
                to.nested(tag::ASKING, |to| save_asking(to, asking));
            }
            Phase::Established(peer) => {
                to.nested(tag::PEER, |to| save_peer(to, peer));
            }
            Phase::Closed => {}
        }
        to.number(tag::CREATED, self.created_s).number(tag::HEARD, self.heard_s);
        to.number(tag::REKEY_AT, self.rekey_at_s);
        to.number(tag::NEXT_REQUEST, self.next_request.into()).number(tag::NEXT_OWN, self.next_own.into());
        for datagram in &self.last_answer {
            to.bytes(tag::LAST_ANSWER, datagram);
        }
        if let Some(pending) = &self.pending {
            to.nested(tag::PENDING, |to| save_pending(to, pending));
        }
        if !self.pieces.parts.is_empty() {
            to.nested(tag::PIECES, |to| save_pieces(to, &self.pieces));
        }
        for child in &self.children {
            to.nested(tag::CHILD, |to| save_child(to, child));
        }
        if let Some(kept) = &self.kept {
            to.nested(tag::KEPT, |to| begun::save_kept(to, kept));
        }
        if !self.token.is_empty() {
            to.nested(tag::TOKEN, |to| {
                save_spis(to, self).bytes(3, self.token.as_bytes());
            });
        }
        if self.synced > 0 {
            to.nested(tag::SYNCED, |to| {
                save_spis(to, self).number(3, self.synced.into());
            });
        }
        for (tag, bytes) in &self.beyond {
            to.bytes(*tag, bytes);
        }
        to.done()
    }

    /// The IKE SA of a record. None: it is none.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let from = Reader::new(bytes)?;
        let flags = from.number(tag::FLAGS)?;
        let flag = |at: u32| flags >> at & 1 == 1;
        let keys = from.nested(tag::KEYS)?;
        let key = |at| keys.bytes(at).map(Secret::from);
        Some(Self {
            role: if from.number(tag::ROLE)? == 1 { Role::Responder } else { Role::Initiator },
            initiator_spi: from.number(tag::INITIATOR_SPI)?,
            responder_spi: from.number(tag::RESPONDER_SPI)?,
            path: Path { ours: from.socket(tag::OURS)?, theirs: from.socket(tag::THEIRS)? },
            nat: Nat { ours: flag(0), theirs: flag(1) },
            abilities: Abilities {
                fragmentation: flag(2),
                mobike: flag(3),
                message_id_sync: flag(4),
                replay_sync: flag(6),
            },
            suite: restore_suite(&from)?,
            keys: IkeKeys { d: key(1)?, ai: key(2)?, ar: key(3)?, ei: key(4)?, er: key(5)?, pi: key(6)?, pr: key(7)? },
            phase: restore_phase(&from)?,
            succeeded: flag(5),
            created_s: from.number(tag::CREATED)?,
            heard_s: from.number(tag::HEARD)?,
            rekey_at_s: from.number(tag::REKEY_AT)?,
            next_request: from.small(tag::NEXT_REQUEST)?,
            last_answer: from.all(tag::LAST_ANSWER).map(<[u8]>::to_vec).collect(),
            next_own: from.small(tag::NEXT_OWN)?,
            pending: match from.nested(tag::PENDING) {
                Some(from) => Some(restore_pending(&from)?),
                None => None,
            },
            pieces: match from.nested(tag::PIECES) {
                Some(from) => restore_pieces(&from)?,
                None => Pieces::default(),
            },
            children: from.all(tag::CHILD).map(|bytes| restore_child(&Reader::new(bytes)?)).collect::<Option<_>>()?,
            kept: match from.nested(tag::KEPT) {
                Some(from) => Some(begun::restore_kept(&from)?),
                None => None,
            },
            synced: of_these_spis(&from, tag::SYNCED).and_then(|it| it.small(3)).unwrap_or(0),
            token: of_these_spis(&from, tag::TOKEN).and_then(|it| it.bytes(3)).map(Secret::from).unwrap_or_default(),
            beyond: from.beyond(tag::BEYOND),
        })
    }
}

/// What is true for one pair of SPIs says so: a member that does not know such a field hands it on when the SA gets new keys, and new
/// SPIs.
fn save_spis<'w>(to: &'w mut Writer, sa: &IkeSa) -> &'w mut Writer {
    to.number(1, sa.initiator_spi).number(2, sa.responder_spi)
}

/// A field of that kind, if it is for the SPIs that the SA has.
fn of_these_spis<'a>(from: &Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    let own = [from.number(tag::INITIATOR_SPI), from.number(tag::RESPONDER_SPI)];
    from.nested(tag).filter(|field| [field.number(1), field.number(2)] == own)
}

fn restore_phase(from: &Reader<'_>) -> Option<Phase> {
    let at = |tag| from.nested(tag);
    if let Some(from) = at(tag::BEGINNING) {
        return begun::restore_beginning(&from).map(Box::new).map(Phase::Beginning);
    }
    if let Some(from) = at(tag::PROVING) {
        return begun::restore_proving(&from).map(Box::new).map(Phase::Proving);
    }
    Some(match (at(tag::OPENING), at(tag::ASKING), at(tag::PEER)) {
        (Some(from), _, _) => Phase::Opening(restore_opening(&from)?),
        (_, Some(from), _) => Phase::Asking(Box::new(restore_asking(&from)?)),
        (_, _, Some(from)) => Phase::Established(restore_peer(&from)?),
        (None, None, None) => Phase::Closed,
    })
}

fn save_suite(to: &mut Writer, suite: Suite) {
    to.nested(tag::SUITE, |to| {
        to.number(1, suite.cipher.id().into()).number(2, suite.cipher.key_bits().unwrap_or(0).into());
        to.number(3, suite.integrity.map_or(0, Integrity::id).into());
        to.number(4, suite.prf.id().into()).number(5, suite.group.id().into());
    });
}

fn restore_suite(from: &Reader<'_>) -> Option<Suite> {
    let from = from.nested(tag::SUITE)?;
    let integrity = match from.small(3)? {
        0 => None,
        id => Some(Integrity::from_id(id)?),
    };
    let key_bits = from.small(2).filter(|bits| *bits > 0);
    Some(Suite {
        cipher: Cipher::from_id(from.small(1)?, key_bits)?,
        integrity,
        prf: Prf::from_id(from.small(4)?)?,
        group: Group::from_id(from.small(5)?)?,
    })
}

fn save_opening(to: &mut Writer, opening: &Opening) {
    let Opening { request, answer, nonce_i, nonce_r } = opening;
    to.bytes(1, request).bytes(2, answer).bytes(3, nonce_i).bytes(4, nonce_r);
}

fn restore_opening(from: &Reader<'_>) -> Option<Opening> {
    Some(Opening {
        request: from.bytes(1)?.into(),
        answer: from.bytes(2)?.into(),
        nonce_i: from.bytes(3)?.into(),
        nonce_r: from.bytes(4)?.into(),
    })
}

fn save_asking(to: &mut Writer, asking: &Asking) {
    to.nested(1, |to| save_opening(to, &asking.opening));
    to.bytes(2, asking.connection.as_bytes());
    to.number(3, asking.identity.kind.into()).bytes(4, &asking.identity.data);
    to.number(5, asking.wanted.0.into()).bytes(6, &asking.wanted.1);
    to.bytes(7, &asking.conversation.save());
    if let Some((user, key)) = &asking.granted {
        to.bytes(8, user.as_bytes()).bytes(9, key.as_bytes());
    }
}

fn restore_asking(from: &Reader<'_>) -> Option<Asking> {
    Some(Asking {
        opening: restore_opening(&from.nested(1)?)?,
        connection: from.text(2)?,
        identity: Identity { kind: from.small(3)?, data: from.bytes(4)?.into() },
        wanted: (from.small(5)?, from.bytes(6)?.into()),
        conversation: Conversation::restore(from.bytes(7)?)?,
        granted: match from.bytes(9) {
            Some(key) => Some((from.text(8)?, Secret::from(key))),
            None => None,
        },
    })
}

fn save_peer(to: &mut Writer, peer: &Peer) {
    to.bytes(1, peer.connection.as_bytes());
    to.number(2, peer.identity.kind.into()).bytes(3, &peer.identity.data);
    for address in &peer.addresses {
        to.address(4, *address);
    }
    if peer.sole_since_s > 0 {
        to.number(5, peer.sole_since_s);
    }
    if peer.proved_until_s > 0 {
        to.number(6, peer.proved_until_s);
    }
}

fn restore_peer(from: &Reader<'_>) -> Option<Peer> {
    Some(Peer {
        connection: from.text(1)?,
        identity: Identity { kind: from.small(2)?, data: from.bytes(3)?.into() },
        addresses: from.all(4).map(address).collect::<Option<_>>()?,
        sole_since_s: from.number(5).unwrap_or(0),
        proved_until_s: from.number(6).unwrap_or(0),
    })
}

fn save_pending(to: &mut Writer, pending: &Pending) {
    for datagram in &pending.datagrams {
        to.bytes(1, datagram);
    }
    to.number(2, pending.tries.into()).number(3, pending.again_s);
    match &pending.purpose {
        Purpose::Probe => to.number(4, 0),
        Purpose::Close => to.number(4, 1),
        Purpose::CloseChild(spi) => to.number(4, 2).number(5, (*spi).into()),
        Purpose::RekeyChild(rekey, collision) => {
            save_rekey(to.number(4, 3), rekey);
            to.number(10, collision.their_spi.into()).bytes(11, &collision.nonce);
            if let Some(child) = &collision.ended {
                to.nested(13, |to| save_child(to, child));
            }
            to
        }
        Purpose::RekeyIke(rekey) => save_rekey(to.number(4, 4), rekey),
        Purpose::Begin => to.number(4, 5),
        Purpose::Prove => to.number(4, 6),
        Purpose::MakeChild(name, rekey) => save_rekey(to.number(4, 7), rekey).bytes(12, name.as_bytes()),
    };
}

fn restore_pending(from: &Reader<'_>) -> Option<Pending> {
    let purpose = match from.number(4)? {
        0 => Purpose::Probe,
        1 => Purpose::Close,
        2 => Purpose::CloseChild(from.small(5)?),
        3 => {
            let ended = match from.nested(13) {
                Some(from) => Some(Box::new(restore_child(&from)?)),
                None => None,
            };
            let collision = Collision { their_spi: from.small(10)?, nonce: from.bytes(11)?.into(), ended };
            Purpose::RekeyChild(restore_rekey(from)?, collision)
        }
        4 => Purpose::RekeyIke(restore_rekey(from)?),
        5 => Purpose::Begin,
        6 => Purpose::Prove,
        7 => Purpose::MakeChild(from.text(12)?, restore_rekey(from)?),
        _ => return None,
    };
    let datagrams = from.all(1).map(<[u8]>::to_vec).collect();
    Some(Pending { datagrams, purpose, tries: from.small(2)?, again_s: from.number(3)? })
}

fn save_rekey<'w>(to: &'w mut Writer, rekey: &Rekey) -> &'w mut Writer {
    to.number(5, rekey.old_spi.into()).number(6, rekey.new_spi).bytes(7, &rekey.nonce);
    if let Some(pair) = &rekey.key_pair {
        to.number(8, pair.group().id().into()).bytes(9, pair.private().as_bytes());
    }
    to
}

fn restore_rekey(from: &Reader<'_>) -> Option<Rekey> {
    Some(Rekey {
        old_spi: from.small(5)?,
        new_spi: from.number(6)?,
        nonce: from.bytes(7)?.into(),
        key_pair: match from.small(8) {
            Some(group) => Some(KeyPair::restore(Group::from_id(group)?, from.bytes(9)?)?),
            None => None,
        },
    })
}

fn save_pieces(to: &mut Writer, pieces: &Pieces) {
    to.number(1, pieces.first.into()).number(2, pieces.parts.len() as u64);
    for (at, part) in pieces.parts.iter().enumerate() {
        if let Some(part) = part {
            to.number(3, at as u64).bytes(4, part);
        }
    }
}

fn restore_pieces(from: &Reader<'_>) -> Option<Pieces> {
    let mut parts = vec![None; from.small::<u16>(2)?.into()];
    for (at, part) in from.all(3).zip(from.all(4)) {
        let at = usize::try_from(u64::from_be_bytes(at.try_into().ok()?)).ok()?;
        *parts.get_mut(at)? = Some(part.to_vec());
    }
    Some(Pieces { first: from.small(1)?, parts })
}

fn save_child(to: &mut Writer, child: &Child) {
    to.bytes(1, child.name.as_bytes()).bytes(2, child.transform.as_bytes());
    to.number(3, child.inbound_spi.into()).number(4, child.outbound_spi.into());
    to.number(5, child.extended.into()).number(6, child.created_s).number(9, child.rekey_at_s);
    if child.transport {
        to.number(10, 1);
    }
    for (selectors, at) in [(&child.local, 7), (&child.remote, 8)] {
        for selector in selectors {
            to.nested(at, |to| {
                to.address(1, selector.addresses.0).address(2, selector.addresses.1);
                to.number(3, selector.ports.0.into()).number(4, selector.ports.1.into());
                to.number(5, selector.protocol.into());
            });
        }
    }
}

fn restore_child(from: &Reader<'_>) -> Option<Child> {
    let selectors = |at| from.all(at).map(|bytes| restore_selector(&Reader::new(bytes)?)).collect::<Option<_>>();
    Some(Child {
        name: from.text(1)?,
        transform: from.text(2)?,
        inbound_spi: from.small(3)?,
        outbound_spi: from.small(4)?,
        extended: from.number(5)? == 1,
        transport: from.number(10) == Some(1),
        created_s: from.number(6)?,
        rekey_at_s: from.number(9)?,
        local: selectors(7)?,
        remote: selectors(8)?,
    })
}

fn restore_selector(from: &Reader<'_>) -> Option<Selector> {
    let addresses = (address(from.bytes(1)?)?, address(from.bytes(2)?)?);
    Some(Selector { protocol: from.small(5)?, ports: (from.small(3)?, from.small(4)?), addresses })
}

mod begun;
#[cfg(test)]
mod tests;
