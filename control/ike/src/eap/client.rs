//! The user's side of a conversation: what a client does, for our own initiator.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::mschapv2::{self, Authenticator, CHALLENGE_BYTES, ChallengeBytes, Proof, opcode};
use super::packet::{self, Packet, kind};
use super::proof::{PasswordHash, challenge_hash};
use super::users::without_domain;
use super::{Msk, Random};

/// A user who wants in.
pub struct Client {
    name: String,
    password: Zeroizing<String>,
    state: State,
}

enum State {
    Begun,
    /// What the gateway has to prove, and the key if it does.
    Answered {
        expected: Authenticator,
        key: Msk,
    },
    /// The gateway has proven to know the password.
    Convinced {
        key: Msk,
    },
    Over,
}

/// What is to be done after a packet.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this.
    Send(Vec<u8>),
    /// We are in, and the gateway is one that knows the password.
    Granted(Msk),
    /// We are not in, or the gateway is none that knows the password.
    Refused,
    /// The packet has no place here; nothing changed.
    Ignored,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(message) => f.debug_tuple("Send").field(message).finish(),
            Self::Granted(_) => f.write_str("Granted(secret)"),
            Self::Refused => f.write_str("Refused"),
            Self::Ignored => f.write_str("Ignored"),
        }
    }
}

impl Client {
    /// The name may have a domain before it: `DOMAIN\user`.
    #[must_use]
    pub fn new(name: &str, password: Zeroizing<String>) -> Self {
        Self { name: name.to_owned(), password, state: State::Begun }
    }

    /// Takes a packet of the gateway's.
    pub fn hear(&mut self, packet: &[u8], random: Random<'_>) -> Answer {
        match packet::parse(packet) {
            Some(Packet::Request { id, kind, data }) => self.answer(id, kind, data, random),
            Some(Packet::Success { .. }) => match &self.state {
                State::Convinced { key } => {
                    let granted = Answer::Granted(key.clone());
                    self.state = State::Over;
                    granted
                }
                // A gateway that never proved anything has nothing to grant.
                _ => Answer::Ignored,
            },
            Some(Packet::Failure { .. }) if !matches!(self.state, State::Over) => self.refused(),
            _ => Answer::Ignored,
        }
    }

    fn answer(&mut self, id: u8, kind: u8, data: &[u8], random: Random<'_>) -> Answer {
        match (&self.state, kind, mschapv2::opcode_of(data)) {
            (State::Begun, kind::IDENTITY, _) => {
                Answer::Send(packet::response(id, kind::IDENTITY, self.name.as_bytes()))
            }
            (State::Begun, kind::MSCHAPV2, Some(opcode::CHALLENGE)) => match mschapv2::parse_challenge(data) {
                Some(challenge) => self.prove(id, &challenge, random),
                None => Answer::Ignored,
            },
            (State::Begun, kind::MSCHAPV2, _) => Answer::Ignored,
            (State::Begun, _, _) => Answer::Send(packet::response(id, kind::NAK, &[kind::MSCHAPV2])),
            (State::Answered { expected, key }, kind::MSCHAPV2, Some(opcode::SUCCESS)) => {
                let genuine = mschapv2::parse_success(data).is_some_and(|proof| proof.ct_eq(expected).into());
                if !genuine {
                    return self.refused();
                }
                self.state = State::Convinced { key: key.clone() };
                Answer::Send(packet::response(id, kind::MSCHAPV2, &[opcode::SUCCESS]))
            }
            (State::Answered { .. }, kind::MSCHAPV2, Some(opcode::FAILURE)) => {
                Answer::Send(packet::response(id, kind::MSCHAPV2, &[opcode::FAILURE]))
            }
            _ => Answer::Ignored,
        }
    }

    fn prove(&mut self, id: u8, server: &ChallengeBytes, random: Random<'_>) -> Answer {
        let mut challenge = [0; CHALLENGE_BYTES];
        random(&mut challenge);
        let hashed = challenge_hash(&challenge, server, without_domain(self.name.as_bytes()));
        let password = PasswordHash::of(&self.password);
        let nt_response = password.nt_response(&hashed);
        self.state = State::Answered {
            expected: password.authenticator(&nt_response, &hashed),
            key: password.msk(&nt_response),
        };
        let proof = Proof { challenge, nt_response, name: self.name.as_bytes().to_vec() };
        Answer::Send(packet::response(id, kind::MSCHAPV2, &proof.emit(id)))
    }

    fn refused(&mut self) -> Answer {
        self.state = State::Over;
        Answer::Refused
    }
}
