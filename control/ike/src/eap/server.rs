//! The gateway's side of a conversation.

use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::mschapv2::{self, CHALLENGE_BYTES, ChallengeBytes, NtResponse, Proof, opcode};
use super::packet::{self, Packet, kind};
use super::proof::{PasswordHash, challenge_hash};
use super::users::without_domain;
use super::{Msk, Random, Users};

/// A conversation with one who wants in. It owns no secret but, between the proof and the end, the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversation {
    /// Of the request that is to be answered.
    pub(super) id: u8,
    pub(super) state: State,
}

/// What was asked, and so what is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    Identity,
    Challenged { challenge: ChallengeBytes },
    Proven { user: String, key: Key },
    Failing,
    Over,
}

/// A key that Debug does not show.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) Msk);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is to be done after a packet.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait for the answer.
    Ask(Vec<u8>),
    /// Let the user in: the conversation is over.
    Granted {
        /// Says so to the client.
        message: Vec<u8>,
        /// Who it is, without a domain.
        user: String,
        /// What both sides now have in common.
        msk: Msk,
    },
    /// Do not let the user in: the conversation is over.
    Refused {
        /// Says so to the client.
        message: Vec<u8>,
        /// For the log.
        why: Refusal,
    },
    /// The packet is none that EAP would look at (RFC 3748 sections 4.1 and 5); the conversation is where it was. There are
    /// no strays inside of IKE, so that a client which sends such a packet will hardly get further.
    Ignored,
}

/// Why a user is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// The client will not have MSCHAPv2, and there is nothing else.
    #[error("the client wants another EAP method than MSCHAPv2")]
    OtherMethod,
    /// Which of the two is not told.
    #[error("unknown user or wrong password")]
    NotProven,
    /// The method's message is broken, or one that has no place here.
    #[error("the client's MSCHAPv2 message is malformed or out of place")]
    Malformed,
    /// The client does not take our own proof.
    #[error("the client broke off after the gateway's proof")]
    BrokenOff,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(message) => f.debug_tuple("Ask").field(message).finish(),
            Self::Granted { message, user, msk: _ } => {
                f.debug_struct("Granted").field("message", message).field("user", user).finish_non_exhaustive()
            }
            Self::Refused { message, why } => {
                f.debug_struct("Refused").field("message", message).field("why", why).finish()
            }
            Self::Ignored => f.write_str("Ignored"),
        }
    }
}

impl Conversation {
    /// Begins with the question who it is, to be sent. Its identifier should be a random one.
    #[must_use]
    pub fn begin(id: u8) -> (Self, Vec<u8>) {
        (Self { id, state: State::Identity }, packet::request(id, kind::IDENTITY, &[]))
    }

    /// Takes a packet of the client's.
    pub fn hear(&mut self, packet: &[u8], users: &dyn Users, random: Random<'_>) -> Step {
        let Some(Packet::Response { id, kind, data }) = packet::parse(packet) else { return Step::Ignored };
        if id != self.id {
            return Step::Ignored;
        }
        match (&self.state, kind) {
            (State::Identity, kind::IDENTITY) => self.challenge(random),
            (State::Challenged { .. }, kind::NAK) => self.refuse(Refusal::OtherMethod),
            (State::Challenged { challenge }, kind::MSCHAPV2) => match Proof::parse(data) {
                Some(proof) => match proven(&proof, challenge, users) {
                    Some(proven) => self.welcome(proven),
                    None => self.fail(random),
                },
                None => self.refuse(Refusal::Malformed),
            },
            (State::Proven { user, key }, kind::MSCHAPV2) => match mschapv2::opcode_of(data) {
                Some(opcode::SUCCESS) => {
                    let granted =
                        Step::Granted { message: packet::success(id), user: user.clone(), msk: key.0.clone() };
                    self.state = State::Over;
                    granted
                }
                Some(opcode::FAILURE) => self.refuse(Refusal::BrokenOff),
                _ => self.refuse(Refusal::Malformed),
            },
            (State::Failing, kind::MSCHAPV2) => self.refuse(Refusal::NotProven),
            _ => Step::Ignored,
        }
    }

    /// It was granted or refused.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn challenge(&mut self, random: Random<'_>) -> Step {
        let challenge = fresh_challenge(random);
        self.id = self.id.wrapping_add(1);
        self.state = State::Challenged { challenge };
        self.ask(&mschapv2::challenge(self.id, &challenge))
    }

    /// The method's own id stays that of the challenge, from here to the end.
    fn welcome(&mut self, proven: Proven) -> Step {
        let data = mschapv2::success(self.id, &proven.authenticator);
        self.id = self.id.wrapping_add(1);
        self.state = State::Proven { user: proven.user, key: proven.key };
        self.ask(&data)
    }

    fn fail(&mut self, random: Random<'_>) -> Step {
        let data = mschapv2::failure(self.id, &fresh_challenge(random));
        self.id = self.id.wrapping_add(1);
        self.state = State::Failing;
        self.ask(&data)
    }

    fn refuse(&mut self, why: Refusal) -> Step {
        self.state = State::Over;
        Step::Refused { message: packet::failure(self.id), why }
    }

    fn ask(&self, data: &[u8]) -> Step {
        Step::Ask(packet::request(self.id, kind::MSCHAPV2, data))
    }
}

struct Proven {
    user: String,
    authenticator: mschapv2::Authenticator,
    key: Key,
}

/// For users that do not exist the same is computed as for those with another password.
fn proven(proof: &Proof, challenge: &ChallengeBytes, users: &dyn Users) -> Option<Proven> {
    let name = without_domain(&proof.name);
    let user = std::str::from_utf8(name).unwrap_or_default();
    let password = if user.is_empty() { None } else { users.password(user) };
    let known = Choice::from(u8::from(password.is_some()));
    let hash = PasswordHash::of(&password.unwrap_or_else(|| Zeroizing::new("nobody's".into())));

    let challenge = challenge_hash(&proof.challenge, challenge, name);
    let expected: NtResponse = hash.nt_response(&challenge);
    bool::from(expected.ct_eq(&proof.nt_response) & known).then(|| Proven {
        user: user.to_owned(),
        authenticator: hash.authenticator(&expected, &challenge),
        key: Key(hash.msk(&expected)),
    })
}

fn fresh_challenge(random: Random<'_>) -> ChallengeBytes {
    let mut challenge = [0; CHALLENGE_BYTES];
    random(&mut challenge);
    challenge
}
