//! Proofs of names: by a shared key, by a certificate, by the key that EAP gives (RFC 7296 sections 2.15, 2.16; RFC 7427).

use super::limits::NAME_MAX;
use super::payloads::{initiator, notified, proof, responder};
use crate::config::{Connection, OwnProof, PeersProof};
use crate::crypto::{Secret, psk_auth, signed_octets};
use crate::pki::ENCODING_X509;
use crate::state::{IkeSa, Opening};
use crate::wire::{self, Body, Identity, Payload, notify};

/// The proof by a shared key (RFC 7296 section 3.8).
const SHARED_KEY: u8 = 2;

/// What an initiator says of itself.
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
    /// None: it says no name, or one that no name is as long as.
    pub(super) fn of(payloads: &'m [Payload]) -> Option<Self> {
        let identity = initiator(payloads)?;
        if identity.data.len() > NAME_MAX {
            return None;
        }
        let certificates = payloads.iter().filter_map(|payload| match payload {
            Payload::Certificate { encoding: ENCODING_X509, data } => Some(data.clone()),
            _ => None,
        });
        Some(Self {
            identity,
            wants: responder(payloads),
            proof: proof(payloads),
            certificates: certificates.collect(),
        })
    }
}

impl Proofs<'_> {
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
                let octets = signed_octets(
                    self.sa.suite.prf,
                    &self.opening.request,
                    &self.opening.nonce_r,
                    &self.sa.keys.pi,
                    &claim.identity.body(),
                );
                key.verify(method, data, &octets).map_err(|why| why.to_string())
            }
            _ => Err("it proves its name in a way that is not configured".into()),
        }
    }

    /// Our name and its proof. None: the peer takes no signature that we can make.
    pub(super) fn own(&self, connection: &Connection) -> Option<Vec<Payload>> {
        let mut payloads = vec![Payload::IdResponder(connection.local_id.clone())];
        match &connection.own_proof {
            OwnProof::SharedKey(key) => payloads.push(self.with_key(key.as_bytes(), &connection.local_id)),
            OwnProof::Certificate(credential) => {
                let certificates = credential.certificates().iter();
                payloads.extend(
                    certificates.map(|der| Payload::Certificate { encoding: ENCODING_X509, data: der.clone() }),
                );
                let octets = signed_octets(
                    self.sa.suite.prf,
                    &self.opening.answer,
                    &self.opening.nonce_i,
                    &self.sa.keys.pr,
                    &connection.local_id.body(),
                );
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
        let Opening { answer, nonce_i, .. } = self.opening;
        let proof = psk_auth(self.sa.suite.prf, key, answer, nonce_i, &self.sa.keys.pr, &own_id.body());
        Payload::Auth { method: SHARED_KEY, data: proof.as_bytes().to_vec() }
    }

    fn key_proof_of_peer(&self, key: &[u8], identity: &Identity) -> Secret {
        let Opening { request, nonce_r, .. } = self.opening;
        psk_auth(self.sa.suite.prf, key, request, nonce_r, &self.sa.keys.pi, &identity.body())
    }

    /// Which hashes the peer has said that it takes in signatures.
    fn peers_hashes(&self) -> Vec<u16> {
        let Ok(wire::Parsed { body: Body::Plain(payloads), .. }) = wire::parse(&self.opening.request) else {
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
