//! Messages as both implementations describe them to each other: JSON, bytes as hex.

use phalanx_ike::wire::{Attribute, Header, Identity, Notify, Payload, Proposal, Selector, Transform};
use serde_json::{Value, json};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

pub(crate) fn message(header: &Header, payloads: &[Payload]) -> Value {
    described(header, payloads.iter().map(payload).collect())
}

/// Payloads that are described already.
pub(crate) fn described(header: &Header, payloads: Value) -> Value {
    let spis = [header.initiator_spi, header.responder_spi].map(|spi| hex(&spi.to_be_bytes()));
    json!({
        "header": {
            "spis": spis, "exchange": header.exchange.0, "from_initiator": header.from_initiator,
            "response": header.response, "message_id": header.message_id,
        },
        "payloads": payloads,
    })
}

fn payload(payload: &Payload) -> Value {
    match payload {
        Payload::Sa(proposals) => {
            json!({ "is": "sa", "proposals": proposals.iter().map(proposal).collect::<Value>() })
        }
        Payload::KeyExchange { group, public } => json!({ "is": "ke", "group": group, "data": hex(public) }),
        Payload::IdInitiator(Identity { kind, data }) => json!({ "is": "idi", "kind": kind, "data": hex(data) }),
        Payload::IdResponder(Identity { kind, data }) => json!({ "is": "idr", "kind": kind, "data": hex(data) }),
        Payload::Certificate { encoding, data } => json!({ "is": "cert", "encoding": encoding, "data": hex(data) }),
        Payload::CertificateRequest { encoding, authorities } => {
            json!({ "is": "certreq", "encoding": encoding, "data": hex(authorities) })
        }
        Payload::Auth { method, data } => json!({ "is": "auth", "method": method, "data": hex(data) }),
        Payload::Nonce(data) => json!({ "is": "nonce", "data": hex(data) }),
        Payload::Notify(Notify { protocol, spi, kind, data }) => {
            json!({ "is": "notify", "protocol": protocol, "spi": hex(spi), "kind": kind, "data": hex(data) })
        }
        Payload::Delete { protocol, spis } => json!({ "is": "delete", "protocol": protocol, "spis": spis }),
        Payload::VendorId(data) => json!({ "is": "vendor", "data": hex(data) }),
        Payload::SelectorsInitiator(list) => {
            json!({ "is": "tsi", "selectors": list.iter().map(selector).collect::<Value>() })
        }
        Payload::SelectorsResponder(list) => {
            json!({ "is": "tsr", "selectors": list.iter().map(selector).collect::<Value>() })
        }
        Payload::Configuration { kind, attributes } => {
            json!({ "is": "cp", "kind": kind, "attributes": attributes.iter().map(attribute).collect::<Value>() })
        }
        Payload::Eap(data) => json!({ "is": "eap", "data": hex(data) }),
        Payload::Unknown { kind, critical } => json!({ "is": "unknown", "kind": kind, "critical": critical }),
    }
}

fn proposal(Proposal { number, protocol, spi, transforms }: &Proposal) -> Value {
    let transforms: Value = transforms.iter().map(transform).collect();
    json!({ "number": number, "protocol": protocol, "spi": hex(spi), "transforms": transforms })
}

fn transform(Transform { kind, id, key_bits, .. }: &Transform) -> Value {
    json!({ "kind": kind, "id": id, "key_bits": key_bits })
}

fn selector(Selector { protocol, ports, addresses: (low, high) }: &Selector) -> Value {
    json!({ "protocol": protocol, "ports": ports, "low": low, "high": high })
}

fn attribute(Attribute { kind, value }: &Attribute) -> Value {
    json!({ "kind": kind, "value": hex(value) })
}
