//! Proofs of names: by a shared key, by a certificate, by the key that EAP gives (RFC 7296 sections 2.15, 2.16; RFC 7427).

use super::limits::NAME_MAX;
use super::payloads::{initiator, notified, proof, responder};
use crate::config::{Connection, OwnProof, PeersProof};
use crate::crypto::{Secret, psk_auth, signed_octets};
use crate::pki::ENCODING_X509;
use crate::state::{IkeSa, Opening, Role};
use crate::wire::{self, Body, Identity, Payload, notify};

/// The proof by a shared key (RFC 7296 section 3.8).
const SHARED_KEY: u8 = 2;

/// What a peer says of itself.
pub(super) struct Claim<'m> {
    pub(super) identity: &'m Identity,
    /// As whom it wants us.
    pub(super) wants: Option<&'m Identity>,
    pub(super) proof: Option<(u8, &'m [u8])>,
    certificates: Vec<Vec<u8>>,
}

/// What proofs are about.
pub(super) struct Proofs<'s> {
    pub(super) sa: &'s IkeSa,
    pub(super) opening: &'s Opening,
    /// On the cluster's clock, which is a wall clock as well.
    pub(super) now_s: u64,
}

impl<'m> Claim<'m> {
    /// An initiator's. None: it says no name, or one that no name is as long as.
    pub(super) fn of(payloads: &'m [Payload]) -> Option<Self> {
        Self::named(payloads, initiator(payloads)?, responder(payloads))
    }

    /// A responder's.
    pub(super) fn of_responder(payloads: &'m [Payload]) -> Option<Self> {
        Self::named(payloads, responder(payloads)?, None)
    }

    fn named(payloads: &'m [Payload], identity: &'m Identity, wants: Option<&'m Identity>) -> Option<Self> {
        if identity.data.len() > NAME_MAX {
            return None;
        }
        let certificates = payloads.iter().filter_map(|payload| match payload {
            Payload::Certificate { encoding: ENCODING_X509, data } => Some(data.clone()),
            _ => None,
        });
        Some(Self { identity, wants, proof: proof(payloads), certificates: certificates.collect() })
    }
}

/// What one side vouches for: its first message, the other's nonce, the key under which its name is.
struct Vouched<'s> {
    message: &'s [u8],
    nonce: &'s [u8],
    key: &'s Secret,
}

impl Proofs<'_> {
    fn of(&self, role: Role) -> Vouched<'_> {
        let (Opening { request, answer, nonce_i, nonce_r }, keys) = (self.opening, &self.sa.keys);
        match role {
            Role::Initiator => Vouched { message: request, nonce: nonce_r, key: &keys.pi },
            Role::Responder => Vouched { message: answer, nonce: nonce_i, key: &keys.pr },
        }
    }

    fn own_part(&self) -> Vouched<'_> {
        self.of(self.sa.role)
    }

    fn peers_part(&self) -> Vouched<'_> {
        self.of(match self.sa.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        })
    }

    /// Whether the peer is who it says, as this connection wants it proved; why not.
    pub(super) fn check(&self, connection: &Connection, claim: &Claim<'_>) -> Result<(), String> {
        let Some((method, data)) = claim.proof else { return Err("it wants to be asked for a password".into()) };
        match &connection.peers_proof {
            PeersProof::SharedKey(key) if method == SHARED_KEY => {
                let right = self.key_proof_of_peer(key.as_bytes(), claim.identity) == Secret::from(data);
                right.then_some(()).ok_or_else(|| "it has another key".into())
            }
            PeersProof::Certificate(trust) if method != SHARED_KEY => {
                let key =
                    trust.verify(&claim.certificates, claim.identity, self.now_s).map_err(|why| why.to_string())?;
                let Vouched { message, nonce, key: of_name } = self.peers_part();
                let octets = signed_octets(self.sa.suite.prf, message, nonce, of_name, &claim.identity.body());
                key.verify(method, data, &octets).map_err(|why| why.to_string())
            }
            _ => Err("it proves its name in a way that is not configured".into()),
        }
    }

    /// Our name and its proof. None: the peer takes no signature that we can make.
    pub(super) fn own(&self, connection: &Connection) -> Option<Vec<Payload>> {
        let name = match self.sa.role {
            Role::Initiator => Payload::IdInitiator,
            Role::Responder => Payload::IdResponder,
        };
        let mut payloads = vec![name(connection.local_id.clone())];
        match &connection.own_proof {
            OwnProof::SharedKey(key) => payloads.push(self.with_key(key.as_bytes(), &connection.local_id)),
            OwnProof::Certificate(credential) => {
                let certificates = credential.certificates().iter();
                payloads.extend(
                    certificates.map(|der| Payload::Certificate { encoding: ENCODING_X509, data: der.clone() }),
                );
                let Vouched { message, nonce, key } = self.own_part();
                let octets = signed_octets(self.sa.suite.prf, message, nonce, key, &connection.local_id.body());
                let (method, data) = credential.sign(&octets, &self.peers_hashes())?;
                payloads.push(Payload::Auth { method, data });
            }
        }
        Some(payloads)
    }

    /// Whether the peer proves this name with this key.
    pub(super) fn has_key(&self, key: &[u8], identity: &Identity, payloads: &[Payload]) -> bool {
        let proof = proof(payloads).filter(|(method, _)| *method == SHARED_KEY);
        proof.is_some_and(|(_, data)| self.key_proof_of_peer(key, identity) == Secret::from(data))
    }

    /// Our own proof with a key.
    pub(super) fn with_key(&self, key: &[u8], own_id: &Identity) -> Payload {
        let Vouched { message, nonce, key: of_name } = self.own_part();
        let proof = psk_auth(self.sa.suite.prf, key, message, nonce, of_name, &own_id.body());
        Payload::Auth { method: SHARED_KEY, data: proof.as_bytes().to_vec() }
    }

    fn key_proof_of_peer(&self, key: &[u8], identity: &Identity) -> Secret {
        let Vouched { message, nonce, key: of_name } = self.peers_part();
        psk_auth(self.sa.suite.prf, key, message, nonce, of_name, &identity.body())
    }

    /// Which hashes the peer has said that it takes in signatures.
    fn peers_hashes(&self) -> Vec<u16> {
        let Ok(wire::Parsed { body: Body::Plain(payloads), .. }) = wire::parse(self.peers_part().message) else {
            return Vec::new();
        };
        let said = notified(&payloads, notify::SIGNATURE_HASH_ALGORITHMS).unwrap_or_default();
        said.as_chunks::<2>().0.iter().map(|number| u16::from_be_bytes(*number)).collect()
    }
}

impl Identity {
    /// The body of its payload, which proofs are about.
    pub(super) fn body(&self) -> Vec<u8> {
        [&[self.kind, 0, 0, 0], &*self.data].concat()
    }
}
