//! IKE_AUTH, at the initiator (RFC 7296 sections 1.2, 2.15): who we are, who the peer is, and the first child.
//!
//! We are never asked for a password: EAP is for clients, and a gateway is none.

use super::child::{common, sides};
use super::more::AskedFor;
use super::payloads::{not_understood, notified, proof};
use super::proof::{Claim, Proofs};
use super::rekey::refusal;
use super::sync::supported;
use super::{Failure, Report, Turn};
use crate::config::{Connection, PeersProof, Unique};
use crate::pki::ENCODING_X509;
use crate::proposal::offer_esp;
use crate::state::{IkeSa, Opening, Path, Peer, Phase, Proving, Purpose};
use crate::wire::protocol::IKE;
use crate::wire::{Exchange, Identity, Notify, Payload, notify};

impl Turn<'_, '_> {
    /// Says who we are, and what child is to be made.
    pub(super) fn say_name(&mut self, mut sa: IkeSa, opening: Opening, connection: &Connection) {
        let plain = |kind| Payload::Notify(Notify::new(kind, Vec::new()));
        // Through a translator nobody knows whose addresses they are.
        let Some(child) = connection.children.iter().find(|child| !(child.transport && sa.is_translated())) else {
            return self.fail(&sa, Failure::Translated(connection.name.clone()));
        };
        let Some(own) = (Proofs { sa: &sa, opening: &opening, now_s: self.given.now_s }).own(connection) else {
            return self.fail(&sa, Failure::not_authentic("we", "the peer takes no signature of ours"));
        };
        let mut payloads = own;
        payloads.push(self.token(&sa));
        payloads.extend(supported());
        if let PeersProof::Certificate(trust) = &connection.peers_proof {
            payloads.push(Payload::CertificateRequest { encoding: ENCODING_X509, authorities: trust.authorities() });
        }
        payloads.extend(connection.remote_id.clone().map(Payload::IdResponder));
        // We begin because there is no other (section 2.4). That is of the two names, whatever the connections.
        let may_be_another = connection.unique == Unique::Never || self.has_namesake(connection, sa.path);
        payloads.extend((!may_be_another).then(|| plain(notify::INITIAL_CONTACT)));
        let spi = self.child_spi();
        let (local, remote) = sides(child, &[], sa.path);
        payloads.extend(child.transport.then(|| plain(notify::USE_TRANSPORT_MODE)));
        payloads.push(Payload::Sa(offer_esp(&child.proposals, spi, false)));
        payloads.extend([
            Payload::SelectorsInitiator(common(&local, &local)),
            Payload::SelectorsResponder(common(&remote, &remote)),
        ]);
        let proving = Proving { opening, connection: connection.name.clone(), child: (child.name.clone(), spi) };
        sa.phase = Phase::Proving(Box::new(proving));
        self.ask(sa, Exchange::IKE_AUTH, Purpose::Prove, &payloads);
    }

    /// Whether another connection may be between the same two names: it says so, or it takes any name from there.
    fn has_namesake(&self, connection: &Connection, path: Path) -> bool {
        let others = self.config.connections.iter().filter(|it| it.name != connection.name);
        others.filter(|it| it.local_id == connection.local_id).any(|it| match (&it.remote_id, &connection.remote_id) {
            (Some(one), Some(other)) => one == other,
            _ => it.suits(path.ours.ip(), path.theirs.ip()),
        })
    }

    /// Handles the answer.
    pub(super) fn hear_name(&mut self, sa: IkeSa, payloads: &[Payload]) {
        let Phase::Proving(proving) = sa.phase.clone() else { return self.end(&sa) };
        let Some(connection) = self.connection(&proving.connection) else { return self.end(&sa) };
        let (None, Some(_)) = (not_understood(payloads), proof(payloads)) else {
            let kind = refusal(payloads).map_or(0, |refusal| refusal.kind);
            return match kind {
                0 => self.disown(sa, "it does not prove its name"),
                kind => self.fail(&sa, Failure::Refused { what: "our name or its proof", kind }),
            };
        };
        let Some(claim) = Claim::of_responder(payloads) else { return self.disown(sa, "it says no name") };
        if connection.remote_id.as_ref().is_some_and(|id| id != claim.identity) {
            return self.disown(sa, &format!("it says that it is {:?}", claim.identity.to_string()));
        }
        let proofs = Proofs { sa: &sa, opening: &proving.opening, now_s: self.given.now_s };
        match proofs.check(connection, &claim) {
            Ok(()) => {
                let identity = claim.identity.clone();
                self.trust(sa, connection, identity, &proving, payloads);
            }
            Err(why) => self.disown(sa, &why),
        }
    }

    /// The peer is who it is to be.
    fn trust(
        &mut self,
        mut sa: IkeSa,
        connection: &Connection,
        identity: Identity,
        proving: &Proving,
        payloads: &[Payload],
    ) {
        sa.rekey_at_s = self.lifetime_end(connection.rekey_s);
        sa.keep_token(payloads);
        sa.note_sync(payloads);
        let sole = match connection.unique {
            Unique::IfSaid => notified(payloads, notify::INITIAL_CONTACT).is_some(),
            Unique::Never => false,
            Unique::Always => true,
        };
        let peer = Peer {
            connection: connection.name.clone(),
            identity,
            addresses: Vec::new(),
            sole_since_s: if sole { sa.created_s } else { 0 },
            proved_until_s: match connection.reauth_s {
                0 => 0,
                span_s => self.given.now_s.saturating_add(span_s),
            },
        };
        self.report(Report::Established {
            connection: peer.connection.clone(),
            peer: peer.identity.clone(),
            from: sa.path.theirs,
            addresses: Vec::new(),
        });
        sa.phase = Phase::Established(peer);
        let Proving { opening, child: (child, spi), .. } = proving;
        let asked = AskedFor { name: child, spi: *spi, nonces: [&opening.nonce_i, &opening.nonce_r], own: None };
        if let Err(why) = self.granted(&mut sa, connection, &asked, payloads) {
            self.miss(&mut sa, child, why);
        }
        self.go_on(sa);
    }

    /// The peer is not who it is to be; it may believe that the SA is there (section 2.21.2).
    fn disown(&mut self, sa: IkeSa, why: &str) {
        let name = self.name_of(&sa).to_string();
        self.report(Report::Failed { from: sa.path.theirs, why: Failure::not_authentic(&name, why) });
        let payloads = [
            Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, Vec::new())),
            Payload::Delete { protocol: IKE, spis: Vec::new() },
        ];
        self.ask(sa, Exchange::INFORMATIONAL, Purpose::Close, &payloads);
    }
}
