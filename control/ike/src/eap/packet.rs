//! EAP's packets (RFC 3748 section 4).
//!
//! ```text
//!   0       1       2                 4       5
//!   ┌───────┬───────┬─────────────────┬───────┬────────┐
//!   │ code  │  id   │ length (of all) │ type  │  data  │   the type and data in requests and responses only
//!   └───────┴───────┴─────────────────┴───────┴────────┘
//! ```

/// What a request asks for, or a response answers (section 5).
pub(super) mod kind {
    pub(in crate::eap) const IDENTITY: u8 = 1;
    pub(in crate::eap) const NAK: u8 = 3;
    pub(in crate::eap) const MSCHAPV2: u8 = 26;
}

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;
const HEAD_BYTES: usize = 4;

/// A packet, borrowed from its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packet<'p> {
    Request { id: u8, kind: u8, data: &'p [u8] },
    Response { id: u8, kind: u8, data: &'p [u8] },
    Success { id: u8 },
    Failure { id: u8 },
}

/// `None` for what RFC 3748 has silently discarded: packets cut short, unknown codes. Bytes behind the length are padding
/// (section 4.1).
pub(super) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let &[code, id, length_high, length_low] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let typed = || bytes.get(HEAD_BYTES..length)?.split_first();
    match code {
        REQUEST => typed().map(|(&kind, data)| Packet::Request { id, kind, data }),
        RESPONSE => typed().map(|(&kind, data)| Packet::Response { id, kind, data }),
        SUCCESS if length == HEAD_BYTES => Some(Packet::Success { id }),
        FAILURE if length == HEAD_BYTES => Some(Packet::Failure { id }),
        _ => None,
    }
}

pub(super) fn request(id: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    emit(REQUEST, id, &[&[kind], data].concat())
}

pub(super) fn response(id: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    emit(RESPONSE, id, &[&[kind], data].concat())
}

pub(super) fn success(id: u8) -> Vec<u8> {
    emit(SUCCESS, id, &[])
}

pub(super) fn failure(id: u8) -> Vec<u8> {
    emit(FAILURE, id, &[])
}

fn emit(code: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEAD_BYTES + body.len()).unwrap_or(u16::MAX);
    let [length_high, length_low] = length.to_be_bytes();
    [&[code, id, length_high, length_low], body].concat()
}
