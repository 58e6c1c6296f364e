//! The method's messages (draft-kamath-pppext-eap-mschapv2 section 2), the data of EAP's packets of type 26.
//!
//! ```text
//!   0        1       2                   4
//!   ┌────────┬───────┬───────────────────┬─────────┐
//!   │ opcode │  id   │ length (of all of │  body   │   of a response to Success or Failure the opcode only
//!   │        │       │ this)             │         │
//!   └────────┴───────┴───────────────────┴─────────┘
//! ```
//!
//! The id and the length repeat what EAP's head says, and there are clients that err in them; they are written, but not
//! looked at: EAP's count.

use std::fmt::Write as _;

pub(super) const CHALLENGE_BYTES: usize = 16;
pub(super) const NT_RESPONSE_BYTES: usize = 24;
pub(super) const AUTHENTICATOR_BYTES: usize = 20;
/// RFC 2759 section 4.
pub(super) const NAME_BYTES_MAX: usize = 256;

pub(super) type ChallengeBytes = [u8; CHALLENGE_BYTES];
pub(super) type NtResponse = [u8; NT_RESPONSE_BYTES];
pub(super) type Authenticator = [u8; AUTHENTICATOR_BYTES];

pub(super) mod opcode {
    pub(in crate::eap) const CHALLENGE: u8 = 1;
    pub(in crate::eap) const RESPONSE: u8 = 2;
    pub(in crate::eap) const SUCCESS: u8 = 3;
    pub(in crate::eap) const FAILURE: u8 = 4;
}

const SERVER_NAME: &[u8] = b"phalanx";
const HEAD_BYTES: usize = 4;
/// Challenge, reserved bytes, NT response, flags.
const RESPONSE_VALUE_BYTES: u8 = 49;
const RESERVED_BYTES: usize = 8;

/// The user's proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proof {
    pub(super) challenge: ChallengeBytes,
    pub(super) nt_response: NtResponse,
    /// As it came, maybe with a domain.
    pub(super) name: Vec<u8>,
}

impl Proof {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let body = body(data, opcode::RESPONSE)?;
        let (&value_bytes, body) = body.split_first()?;
        let (&challenge, body) = body.split_first_chunk()?;
        let (_, body) = body.split_at_checked(RESERVED_BYTES)?;
        let (&nt_response, body) = body.split_first_chunk()?;
        let (_flags, name) = body.split_first()?;
        (value_bytes == RESPONSE_VALUE_BYTES && name.len() <= NAME_BYTES_MAX).then(|| Self {
            challenge,
            nt_response,
            name: name.to_vec(),
        })
    }

    pub(super) fn emit(&self, id: u8) -> Vec<u8> {
        let value: [&[u8]; 6] = [
            &[RESPONSE_VALUE_BYTES],
            &self.challenge,
            &[0; RESERVED_BYTES],
            &self.nt_response,
            &[0], // flags
            &self.name,
        ];
        emit(opcode::RESPONSE, id, &value.concat())
    }
}

pub(super) fn challenge(id: u8, challenge: &ChallengeBytes) -> Vec<u8> {
    let value: [&[u8]; 3] = [&[16], challenge, SERVER_NAME];
    emit(opcode::CHALLENGE, id, &value.concat())
}

pub(super) fn parse_challenge(data: &[u8]) -> Option<ChallengeBytes> {
    let (&value_bytes, value) = body(data, opcode::CHALLENGE)?.split_first()?;
    (usize::from(value_bytes) == CHALLENGE_BYTES).then(|| value.first_chunk().copied())?
}

/// We know the password, too.
pub(super) fn success(id: u8, authenticator: &Authenticator) -> Vec<u8> {
    emit(opcode::SUCCESS, id, format!("S={} M=Welcome", hex(authenticator)).as_bytes())
}

pub(super) fn parse_success(data: &[u8]) -> Option<Authenticator> {
    let text = body(data, opcode::SUCCESS)?;
    let digits = text.strip_prefix(b"S=")?.first_chunk::<{ 2 * AUTHENTICATOR_BYTES }>()?;
    let mut authenticator = [0; AUTHENTICATOR_BYTES];
    for (byte, pair) in authenticator.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |value, &digit| {
            let digit = char::from(digit).to_digit(16)?;
            Some(value << 4 | u8::try_from(digit).ok()?)
        })?;
    }
    Some(authenticator)
}

/// "Authentication failure, no second try" (RFC 2759 section 6). The challenge would be the second try's.
pub(super) fn failure(id: u8, next_challenge: &ChallengeBytes) -> Vec<u8> {
    emit(opcode::FAILURE, id, format!("E=691 R=0 C={} V=3 M=Wrong name or password", hex(next_challenge)).as_bytes())
}

/// The message's kind.
pub(super) fn opcode_of(data: &[u8]) -> Option<u8> {
    data.first().copied()
}

fn body(data: &[u8], opcode: u8) -> Option<&[u8]> {
    (opcode_of(data)? == opcode).then(|| data.get(HEAD_BYTES..))?
}

fn emit(opcode: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEAD_BYTES + body.len()).unwrap_or(u16::MAX);
    let [length_high, length_low] = length.to_be_bytes();
    [&[opcode, id, length_high, length_low], body].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
