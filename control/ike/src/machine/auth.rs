//! IKE_AUTH, at the responder (RFC 7296 sections 1.2, 2.15, 2.19): names, their proofs, addresses, the first child.

use std::net::IpAddr;

use super::child::Wanted;
use super::hear::notified;
use super::{Failure, Report, Turn};
use crate::config::Connection;
use crate::crypto::{Secret, psk_auth};
use crate::pool::Ask;
use crate::state::{IkeSa, Opening, Path, Peer, Phase};
use crate::wire::{Attribute, Exchange, Identity, Notify, Payload, attribute, notify};

/// The proof by a shared key (RFC 7296 section 3.8).
const SHARED_KEY: u8 = 2;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// What an initiator says of itself.
struct Claim<'m> {
    identity: &'m Identity,
    /// As whom it wants us.
    wants: Option<&'m Identity>,
    proof: Option<(u8, &'m [u8])>,
}

impl Turn<'_, '_> {
    /// Handles the message that proves the peer's name.
    pub(super) fn authenticate(&mut self, mut sa: IkeSa, path: Path, payloads: &[Payload]) {
        let Phase::Opening(opening) = &sa.phase else { return };
        let claim = Claim::of(payloads);
        let proved = claim.as_ref().and_then(|claim| self.prove(&sa, opening, path, claim));
        let (Some(claim), Some((connection, proof))) = (claim, proved) else {
            let name = Claim::of(payloads).map_or_else(|| "nobody".to_owned(), |claim| claim.identity.to_string());
            self.report(Report::Failed { from: path.theirs, why: Failure::NotAuthentic(name) });
            let refusal = Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, Vec::new()));
            return self.answer_and_close(sa, path, Exchange::IKE_AUTH, &[refusal]);
        };
        let (nonces, identity) = ((opening.nonce_i.clone(), opening.nonce_r.clone()), claim.identity.clone());
        let mut answers = vec![
            Payload::IdResponder(connection.local_id.clone()),
            Payload::Auth { method: SHARED_KEY, data: proof.as_bytes().to_vec() },
        ];
        sa.abilities.mobike = notified(payloads, notify::MOBIKE_SUPPORTED).is_some();
        let mut peer = Peer { connection: connection.name.clone(), identity, addresses: Vec::new() };
        let addresses = self.give_addresses(&connection, &sa, &mut peer, payloads);
        sa.phase = Phase::Established(peer.clone());
        sa.rekey_at_s = self.lifetime_end(connection.rekey_s);
        self.report(Report::Established {
            connection: connection.name.clone(),
            peer: peer.identity.clone(),
            from: path.theirs,
            addresses: peer.addresses.clone(),
        });
        match addresses {
            Ok(reply) => {
                answers.extend(reply);
                answers.extend(self.first_child(&mut sa, &connection, &peer, payloads, &nonces));
            }
            Err(()) => {
                let name = peer.identity.to_string();
                self.report(Report::Failed { from: path.theirs, why: Failure::NoAddress(name) });
                answers.push(Payload::Notify(Notify::new(notify::INTERNAL_ADDRESS_FAILURE, Vec::new())));
            }
        }
        if sa.abilities.mobike {
            answers.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, Vec::new())));
        }
        self.answer(sa, path, Exchange::IKE_AUTH, &answers);
    }

    /// The connection whose shared key the peer has, and our own proof of it.
    fn prove(&self, sa: &IkeSa, opening: &Opening, path: Path, claim: &Claim<'_>) -> Option<(Connection, Secret)> {
        let (SHARED_KEY, theirs) = claim.proof? else { return None };
        let prf = sa.suite.prf;
        self.config.connections.iter().find_map(|connection| {
            let suits = connection.suits(path.ours.ip(), path.theirs.ip())
                && claim.wants.is_none_or(|wanted| *wanted == connection.local_id)
                && connection.remote_id.as_ref().is_none_or(|id| id == claim.identity);
            if !suits {
                return None;
            }
            let key = connection.shared_key.as_bytes();
            let peers = claim.identity.body();
            let expected = psk_auth(prf, key, &opening.request, &opening.nonce_r, &sa.keys.pi, &peers);
            if expected != Secret::from(theirs) {
                return None;
            }
            let ours = connection.local_id.body();
            let proof = psk_auth(prf, key, &opening.answer, &opening.nonce_i, &sa.keys.pr, &ours);
            Some((connection.clone(), proof))
        })
    }

    /// Gives the peer the addresses that it asks for, and answers so. An error: there are none.
    fn give_addresses(
        &mut self,
        connection: &Connection,
        sa: &IkeSa,
        peer: &mut Peer,
        payloads: &[Payload],
    ) -> Result<Option<Payload>, ()> {
        let asked = payloads.iter().find_map(|payload| match payload {
            Payload::Configuration { kind: REQUEST, attributes } => Some(attributes),
            _ => None,
        });
        let Some(asked) = asked.filter(|_| !connection.pools.is_empty()) else { return Ok(None) };
        let mut attributes = Vec::new();
        for wish in asked {
            let v6 = match wish.kind {
                attribute::INTERNAL_IP4_ADDRESS => false,
                attribute::INTERNAL_IP6_ADDRESS => true,
                _ => continue,
            };
            // One of each family.
            if peer.addresses.iter().any(|address| address.is_ipv6() == v6) {
                continue;
            }
            let ask = |pool| Ask {
                pool,
                v6,
                peer: &peer.identity,
                wish: wish.address(),
                spi: sa.own_spi(),
                now_s: self.given.now_s,
            };
            let pools = &mut self.given.pools;
            if let Some(address) = connection.pools.iter().find_map(|pool| pools.lease(ask(pool))) {
                peer.addresses.push(address);
                attributes.push(Attribute::of_address(address));
            }
        }
        if attributes.is_empty() {
            return Err(());
        }
        let dns =
            connection.dns.iter().filter(|server| peer.addresses.iter().any(|it| it.is_ipv4() == server.is_ipv4()));
        attributes.extend(dns.map(|server| Attribute::of_dns(*server)));
        Ok(Some(Payload::Configuration { kind: REPLY, attributes }))
    }

    /// The child that comes with the IKE SA, or why there is none.
    fn first_child(
        &mut self,
        sa: &mut IkeSa,
        connection: &Connection,
        peer: &Peer,
        payloads: &[Payload],
        (nonce_i, nonce_r): &(Vec<u8>, Vec<u8>),
    ) -> Vec<Payload> {
        let Some(wanted) = Wanted::of(payloads, nonce_i) else { return Vec::new() };
        match self.make_child(sa, connection, peer, &wanted, nonce_r, None) {
            Ok(payloads) => payloads,
            Err(refusal) => vec![Payload::Notify(refusal)],
        }
    }
}

impl<'m> Claim<'m> {
    fn of(payloads: &'m [Payload]) -> Option<Self> {
        let identity = payloads.iter().find_map(|payload| match payload {
            Payload::IdInitiator(identity) => Some(identity),
            _ => None,
        })?;
        let wants = payloads.iter().find_map(|payload| match payload {
            Payload::IdResponder(identity) => Some(identity),
            _ => None,
        });
        let proof = payloads.iter().find_map(|payload| match payload {
            Payload::Auth { method, data } => Some((*method, data.as_slice())),
            _ => None,
        });
        Some(Self { identity, wants, proof })
    }
}

impl Identity {
    /// The body of its payload, which proofs are about.
    pub(super) fn body(&self) -> Vec<u8> {
        [&[self.kind, 0, 0, 0], &*self.data].concat()
    }
}

impl Attribute {
    fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { kind: attribute::INTERNAL_IP4_ADDRESS, value: address.octets().into() },
            IpAddr::V6(address) => {
                Self { kind: attribute::INTERNAL_IP6_ADDRESS, value: [&address.octets()[..], &[128]].concat() }
            }
        }
    }

    fn of_dns(server: IpAddr) -> Self {
        match server {
            IpAddr::V4(server) => Self { kind: attribute::INTERNAL_IP4_DNS, value: server.octets().into() },
            IpAddr::V6(server) => Self { kind: attribute::INTERNAL_IP6_DNS, value: server.octets().into() },
        }
    }

    /// The address that is wished for, if one is.
    fn address(&self) -> Option<IpAddr> {
        let v4 = self.value.first_chunk::<4>().map(|octets| IpAddr::from(*octets));
        let v6 = self.value.first_chunk::<16>().map(|octets| IpAddr::from(*octets));
        v6.or(v4).filter(|address| !address.is_unspecified())
    }
}
