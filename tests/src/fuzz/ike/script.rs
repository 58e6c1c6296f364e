//! Payloads out of a script's bytes: mostly such as make sense to the machine, now and then nonsense.

use std::net::{IpAddr, Ipv4Addr};

use phalanx_ike::crypto::{Group, KeyPair};
use phalanx_ike::state::IkeSa;
use phalanx_ike::wire::{Attribute, Identity, Notify, Payload, Proposal, Selector, Transform, notify};

use super::{Counted, network};
use crate::fuzz::cursor::Cursor;

/// So many payloads a script can put into one message at once.
const PAYLOADS_MAX: u8 = 12;

/// So many bytes as the script says, the script's own or many of one.
pub(super) fn raw(script: &mut Cursor<'_>) -> Vec<u8> {
    match script.u8() {
        // Three of these are no more than a payload holds.
        long @ 240.. => vec![long; 256 << (long - 240).min(6)],
        len => script.take(len.into()).to_vec(),
    }
}

const fn transform(kind: u8, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { kind, id, key_bits, strange: false }
}

/// `aes128gcm16-prfsha256-x25519`.
pub(super) fn ike_proposal(spi: &[u8]) -> Proposal {
    let transforms = vec![transform(1, 20, Some(128)), transform(2, 5, None), transform(4, 31, None)];
    Proposal { number: 1, protocol: 1, spi: spi.to_vec(), transforms }
}

/// `aes128gcm16`; or `aes256-sha256-x25519`.
pub(super) fn esp_proposal(spi: u32, exchanges: bool) -> Proposal {
    let transforms = if exchanges {
        vec![transform(1, 12, Some(256)), transform(3, 12, None), transform(4, 31, None), transform(5, 0, None)]
    } else {
        vec![transform(1, 20, Some(128)), transform(5, 1, None), transform(5, 0, None)]
    };
    Proposal { number: 1, protocol: 3, spi: spi.to_be_bytes().into(), transforms }
}

/// A key that everybody has.
pub(super) fn key_exchange() -> Payload {
    let pair = KeyPair::generate(Group::X25519, &mut Counted(5));
    Payload::KeyExchange { group: Group::X25519.id(), public: pair.public().to_vec() }
}

fn proposal(script: &mut Cursor<'_>) -> Proposal {
    match script.u8() % 4 {
        0 => ike_proposal(&script.u32().to_be_bytes().repeat(2)),
        1 => esp_proposal(script.u32(), false),
        2 => esp_proposal(script.u32(), true),
        _ => {
            let mut proposal = Proposal { number: script.u8(), protocol: script.u8() % 4, ..esp_proposal(9, false) };
            let len = [0, 4, 8][usize::from(script.u8()) % 3];
            proposal.spi = script.take(len).to_vec();
            for _ in 0..script.u8() % 8 {
                let key_bits = [None, Some(128), Some(256), Some(7)][usize::from(script.u8()) % 4];
                proposal.transforms.push(transform(script.u8() % 7, script.u16(), key_bits));
            }
            proposal
        }
    }
}

fn selectors(script: &mut Cursor<'_>) -> Vec<Selector> {
    match script.u8() {
        0 => vec![network("10.3.0.0/24")],
        1 => vec![network("10.9.1.0/24")],
        2 => vec![network("0.0.0.0/0"), network("::/0")],
        // Many, none of which is in another.
        many @ 3..16 => {
            let base = if many & 1 == 0 { [10, 9] } else { [10, 3] };
            let address = |low: u8| IpAddr::V4(Ipv4Addr::new(base[0], base[1], 0, low));
            (0..many * 16).map(|at| Selector { addresses: (address(at), address(at)), ..network("::/0") }).collect()
        }
        count => {
            let mut list = Vec::new();
            for _ in 0..count % 4 {
                let (low, high) = (script.u32(), script.u32());
                let address = |it: u32| IpAddr::from(it.to_be_bytes());
                let addresses = (address(low.min(high)), address(low.max(high)));
                list.push(Selector { protocol: script.u8(), ports: (script.u16(), script.u16()), addresses });
            }
            list
        }
    }
}

const NOTIFIES: [u16; 21] = [
    notify::REKEY_SA,
    notify::MOBIKE_SUPPORTED,
    notify::UPDATE_SA_ADDRESSES,
    notify::COOKIE2,
    notify::INVALID_KE_PAYLOAD,
    notify::TEMPORARY_FAILURE,
    notify::CHILD_SA_NOT_FOUND,
    notify::IKEV2_FRAGMENTATION_SUPPORTED,
    notify::NAT_DETECTION_SOURCE_IP,
    notify::NAT_DETECTION_DESTINATION_IP,
    notify::SIGNATURE_HASH_ALGORITHMS,
    notify::INITIAL_CONTACT,
    notify::COOKIE,
    notify::NO_ADDITIONAL_SAS,
    notify::QUICK_CRASH_DETECTION,
    notify::INVALID_IKE_SPI,
    notify::INVALID_SPI,
    notify::IKEV2_MESSAGE_ID_SYNC,
    notify::IPSEC_REPLAY_COUNTER_SYNC,
    notify::IKEV2_MESSAGE_ID_SYNC_SUPPORTED,
    notify::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED,
];

/// The peer's SPI of one of the children, or some SPI.
fn child_spi(script: &mut Cursor<'_>, sa: Option<&IkeSa>) -> u32 {
    let children = sa.map(|sa| sa.children.as_slice()).unwrap_or_default();
    let at = usize::from(script.u8());
    children.get(at).map_or_else(|| script.u32(), |child| child.outbound_spi)
}

/// A payload of the peer of this SA.
fn payload(script: &mut Cursor<'_>, sa: Option<&IkeSa>) -> Payload {
    match script.u8() % 18 {
        0 => Payload::Sa((0..1 + script.u8() % 3).map(|_| proposal(script)).collect()),
        1 => key_exchange(),
        2 => Payload::KeyExchange { group: script.u16() % 40, public: raw(script) },
        3 => Payload::IdInitiator(Identity { kind: script.u8() % 12, data: raw(script) }),
        4 => Payload::IdResponder(Identity::of_text("gw.example.org")),
        5 => Payload::Auth { method: script.u8() % 15, data: raw(script) },
        6 => Payload::Nonce(vec![script.u8(); 32]),
        7 => Payload::Nonce(raw(script)),
        8 => {
            let spi = child_spi(script, sa).to_be_bytes().into();
            Payload::Notify(Notify { protocol: 3, spi, kind: notify::REKEY_SA, data: Vec::new() })
        }
        9 => {
            let kind = NOTIFIES.get(usize::from(script.u8())).copied().unwrap_or_else(|| script.u16());
            // The right token is nothing that a script finds.
            let token = sa.filter(|_| kind == notify::QUICK_CRASH_DETECTION).map(|sa| sa.token.as_bytes());
            let data = match token.filter(|_| script.bool()) {
                Some(token) => token.to_vec(),
                None => raw(script),
            };
            Payload::Notify(Notify { protocol: 0, spi: Vec::new(), kind, data })
        }
        10 => Payload::Delete { protocol: 1, spis: Vec::new() },
        11 => Payload::Delete { protocol: 3, spis: (0..script.u8() % 4).map(|_| child_spi(script, sa)).collect() },
        12 => Payload::SelectorsInitiator(selectors(script)),
        13 => Payload::SelectorsResponder(selectors(script)),
        14 => {
            let attribute = |script: &mut Cursor<'_>| Attribute { kind: script.u16() % 30, value: raw(script) };
            let kind = script.u8() % 5;
            let wishes = [1, 8].map(|kind| Attribute { kind, value: Vec::new() });
            let others = (0..script.u8() % 4).map(|_| attribute(script));
            Payload::Configuration { kind, attributes: wishes.into_iter().chain(others).collect() }
        }
        15 => Payload::Eap(raw(script)),
        16 => Payload::Certificate { encoding: script.u8(), data: raw(script) },
        _ => Payload::Unknown { kind: script.u8() | 128, critical: script.bool() },
    }
}

/// Some payloads.
pub(super) fn payloads(script: &mut Cursor<'_>, sa: Option<&IkeSa>) -> Vec<Payload> {
    (0..script.u8() % PAYLOADS_MAX).map(|_| payload(script, sa)).collect()
}

/// The traffic that the configuration is for, or that the script says.
pub(super) fn traffic(script: &mut Cursor<'_>) -> [Payload; 2] {
    if script.bool() {
        return [Payload::SelectorsInitiator(selectors(script)), Payload::SelectorsResponder(selectors(script))];
    }
    let (theirs, ours) = (vec![network("10.9.1.0/24")], vec![network("10.3.0.0/24")]);
    [Payload::SelectorsInitiator(theirs), Payload::SelectorsResponder(ours)]
}
