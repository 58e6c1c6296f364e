//! A message's payloads by what they are: the first of a kind.

use crate::wire::{Identity, Notify, Payload, Proposal, Selector};

/// RFC 7296 section 2.10.
const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=256;

/// What SAs are proposed, or chosen.
pub(super) fn proposals(payloads: &[Payload]) -> Option<&[Proposal]> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Sa(proposals) => Some(proposals.as_slice()),
        _ => None,
    })
}

/// The initiator's traffic, and the responder's.
pub(super) fn selectors(payloads: &[Payload]) -> Option<[&[Selector]; 2]> {
    let initiators = payloads.iter().find_map(|payload| match payload {
        Payload::SelectorsInitiator(selectors) => Some(selectors.as_slice()),
        _ => None,
    });
    let responders = payloads.iter().find_map(|payload| match payload {
        Payload::SelectorsResponder(selectors) => Some(selectors.as_slice()),
        _ => None,
    });
    Some([initiators?, responders?])
}

/// The key exchange: its group, the public half.
pub(super) fn key_exchange(payloads: &[Payload]) -> Option<(u16, &[u8])> {
    payloads.iter().find_map(|payload| match payload {
        Payload::KeyExchange { group, public } => Some((*group, public.as_slice())),
        _ => None,
    })
}

/// The nonce, if it is an allowed one.
pub(super) fn nonce(payloads: &[Payload]) -> Option<&[u8]> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Nonce(nonce) => Some(nonce.as_slice()).filter(|nonce| NONCE_LEN.contains(&nonce.len())),
        _ => None,
    })
}

/// Who the initiator says that it is.
pub(super) fn initiator(payloads: &[Payload]) -> Option<&Identity> {
    payloads.iter().find_map(|payload| match payload {
        Payload::IdInitiator(identity) => Some(identity),
        _ => None,
    })
}

/// As whom it wants the responder.
pub(super) fn responder(payloads: &[Payload]) -> Option<&Identity> {
    payloads.iter().find_map(|payload| match payload {
        Payload::IdResponder(identity) => Some(identity),
        _ => None,
    })
}

/// The proof of a name: its method, what it says.
pub(super) fn proof(payloads: &[Payload]) -> Option<(u8, &[u8])> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Auth { method, data } => Some((*method, data.as_slice())),
        _ => None,
    })
}

/// A word of EAP's.
pub(super) fn eap(payloads: &[Payload]) -> Option<&[u8]> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Eap(packet) => Some(packet.as_slice()),
        _ => None,
    })
}

/// The first notification of a kind.
pub(super) fn notification(payloads: &[Payload], wanted: u16) -> Option<&Notify> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == wanted => Some(notify),
        _ => None,
    })
}

/// Its data.
pub(super) fn notified(payloads: &[Payload], wanted: u16) -> Option<&[u8]> {
    notification(payloads, wanted).map(|notify| notify.data.as_slice())
}

/// The kind of a payload that must be understood, and is not.
pub(super) fn not_understood(payloads: &[Payload]) -> Option<u8> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Unknown { kind, critical: true } => Some(*kind),
        _ => None,
    })
}
