//! IKE_AUTH, at the responder (RFC 7296 sections 1.2, 2.15, 2.16): who the peer is, and what it gets.
//!
//! ```text
//!   Opening ──a proof, by shared key or certificate──────────────────▶ Established
//!      └──no proof──▶ Asking ──EAP, to and fro──▶ Asking ──a proof by EAP's key──▶ Established
//! ```
//! What the peer wants (addresses, a child) it says in its first message; who must be asked first gets it in the end.

use super::child::Wanted;
use super::limits::WANTED_MAX;
use super::payloads::{eap, notified};
use super::proof::{Claim, Proofs};
use super::sync::supported;
use super::{Failure, Report, Turn};
use crate::config::{Connection, Unique};
use crate::crypto::Secret;
use crate::eap::{Conversation, Step};
use crate::state::{Asking, IkeSa, Opening, Path, Peer, Phase};
use crate::wire::{self, Exchange, Identity, Notify, Payload, notify};

impl Turn<'_, '_> {
    /// Handles a message of a peer that has proved nothing yet.
    pub(super) fn authenticate(&mut self, sa: IkeSa, path: Path, payloads: &[Payload]) {
        match sa.phase.clone() {
            Phase::Opening(opening) => self.hear_claim(sa, path, &opening, payloads),
            Phase::Asking(asking) => self.hear_asked(sa, path, *asking, payloads),
            Phase::Beginning(_) | Phase::Proving(_) | Phase::Established(_) | Phase::Closed => {}
        }
    }

    fn hear_claim(&mut self, sa: IkeSa, path: Path, opening: &Opening, payloads: &[Payload]) {
        let Some(claim) = Claim::of(payloads) else { return self.distrust(sa, path, "nobody", "it says no name") };
        let proofs = Proofs { sa: &sa, opening, now_s: self.given.now_s };
        let suiting = self.config.connections.iter().filter(|it| {
            it.suits(path.ours.ip(), path.theirs.ip())
                && claim.wants.is_none_or(|wanted| *wanted == it.local_id)
                && it.remote_id.as_ref().is_none_or(|id| id == claim.identity)
        });
        let mut why = "no connection is for this name".to_owned();
        for connection in suiting {
            if claim.proof.is_none() && connection.asks() {
                return self.begin_asking(sa.clone(), path, opening, connection, (claim.identity, payloads));
            }
            match proofs.check(connection, &claim) {
                Ok(()) => {
                    let Some(own) = proofs.own(connection) else {
                        why = "the peer takes no signature of ours".to_owned();
                        continue;
                    };
                    let named = (opening.nonce_i.clone(), opening.nonce_r.clone());
                    let identity = claim.identity.clone();
                    return self.admit(sa.clone(), path, (connection, identity), &named, (own, payloads));
                }
                Err(reason) => why = reason,
            }
        }
        self.distrust(sa, path, &claim.identity.to_string(), &why);
    }

    /// The peer wants to be asked for a password. We prove our name first.
    fn begin_asking(
        &mut self,
        mut sa: IkeSa,
        path: Path,
        opening: &Opening,
        connection: &Connection,
        (identity, payloads): (&Identity, &[Payload]),
    ) {
        let Some(mut answers) = (Proofs { sa: &sa, opening, now_s: 0 }).own(connection) else {
            return self.distrust(sa, path, &identity.to_string(), "the peer takes no signature of ours");
        };
        let wanted = wire::emit_payloads(&payloads.iter().filter(|it| is_wish(it)).cloned().collect::<Vec<_>>());
        if wanted.1.len() > WANTED_MAX {
            return self.distrust(sa, path, &identity.to_string(), "it wants too much");
        }
        let mut id = [0];
        self.given.random.fill(&mut id);
        let (conversation, question) = Conversation::begin(id[0]);
        answers.push(Payload::Eap(question));
        sa.phase = Phase::Asking(Box::new(Asking {
            opening: opening.clone(),
            connection: connection.name.clone(),
            identity: identity.clone(),
            wanted,
            conversation,
            granted: None,
        }));
        self.answer(sa, path, Exchange::IKE_AUTH, &answers);
    }

    fn hear_asked(&mut self, mut sa: IkeSa, path: Path, mut asking: Asking, payloads: &[Payload]) {
        if asking.granted.is_some() {
            return self.hear_final_proof(sa, path, &asking, payloads);
        }
        let name = asking.identity.to_string();
        let Some(packet) = eap(payloads) else { return self.distrust(sa, path, &name, "it does not say its password") };
        let random = &mut self.given.random;
        let step = asking.conversation.hear(packet, self.config.users.as_ref(), &mut |bytes| random.fill(bytes));
        let question = match step {
            Step::Ask(question) => question,
            Step::Granted { message, user, msk } => {
                asking.granted = Some((user, Secret::from(&msk[..])));
                message
            }
            Step::Refused { message, why } => {
                self.report(Report::Failed { from: path.theirs, why: Failure::not_authentic(&name, &why.to_string()) });
                return self.answer_and_close(sa, path, Exchange::IKE_AUTH, &[Payload::Eap(message)]);
            }
            Step::Ignored => return self.distrust(sa, path, &name, "it does not follow EAP"),
        };
        sa.phase = Phase::Asking(Box::new(asking));
        self.answer(sa, path, Exchange::IKE_AUTH, &[Payload::Eap(question)]);
    }

    /// The key that the password gave proves both sides' names once more.
    fn hear_final_proof(&mut self, sa: IkeSa, path: Path, asking: &Asking, payloads: &[Payload]) {
        let Some((user, key)) = &asking.granted else { return };
        let name = asking.identity.to_string();
        let Some(connection) = self.config.connections.iter().find(|it| it.name == asking.connection) else {
            return self.distrust(sa, path, &name, "its connection is configured no more");
        };
        let proofs = Proofs { sa: &sa, opening: &asking.opening, now_s: self.given.now_s };
        if !proofs.has_key(key.as_bytes(), &asking.identity, payloads) {
            return self.distrust(sa, path, &name, "it has not the key of its password");
        }
        let own = vec![proofs.with_key(key.as_bytes(), &connection.local_id)];
        let Ok(wanted) = wire::payloads(asking.wanted.0, &asking.wanted.1) else { return };
        let nonces = (asking.opening.nonce_i.clone(), asking.opening.nonce_r.clone());
        let mut sa = sa.clone();
        sa.keep_token(payloads);
        sa.note_sync(payloads);
        self.admit(sa, path, (connection, Identity::of_text(user)), &nonces, (own, &wanted));
    }

    /// The peer is who it says. `own`: our own proof; `payloads`: what it wants.
    fn admit(
        &mut self,
        mut sa: IkeSa,
        path: Path,
        (connection, identity): (&Connection, Identity),
        nonces: &(Vec<u8>, Vec<u8>),
        (own, payloads): (Vec<Payload>, &[Payload]),
    ) {
        let mut answers = own;
        // RFC 6290 section 4.2: behind the proof, before all that is about a child.
        answers.push(self.token(&sa));
        sa.keep_token(payloads);
        sa.note_sync(payloads);
        let [message_ids, numbers] = supported();
        answers.extend(sa.abilities.message_id_sync.then_some(message_ids));
        answers.extend(sa.abilities.replay_sync.then_some(numbers));
        sa.abilities.mobike = notified(payloads, notify::MOBIKE_SUPPORTED).is_some();
        sa.rekey_at_s = self.lifetime_end(connection.rekey_s);
        let sole = match connection.unique {
            Unique::IfSaid => notified(payloads, notify::INITIAL_CONTACT).is_some(),
            Unique::Never => false,
            Unique::Always => true,
        };
        // From when this one began, so that it does not end itself.
        let sole_since_s = if sole { sa.created_s } else { 0 };
        let mut peer = Peer {
            connection: connection.name.clone(),
            identity,
            addresses: Vec::new(),
            sole_since_s,
            proved_until_s: if connection.reauth_s == 0 {
                0
            } else {
                self.given.now_s.saturating_add(connection.reauth_s)
            },
        };
        let addresses = self.give_addresses(connection, &sa, &mut peer, payloads);
        sa.phase = Phase::Established(peer.clone());
        self.report(Report::Established {
            connection: connection.name.clone(),
            peer: peer.identity.clone(),
            from: path.theirs,
            addresses: peer.addresses.clone(),
        });
        match addresses {
            Ok(reply) => {
                answers.extend(reply);
                answers.extend(self.first_child(&mut sa, connection, &peer, payloads, nonces));
            }
            Err(()) => {
                let name = peer.identity.to_string();
                self.report(Report::Failed { from: path.theirs, why: Failure::NoAddress(name) });
                answers.push(Payload::Notify(Notify::new(notify::INTERNAL_ADDRESS_FAILURE, Vec::new())));
            }
        }
        if connection.reauth_s > 0 {
            let seconds = u32::try_from(connection.reauth_s).unwrap_or(u32::MAX);
            answers.push(Payload::Notify(Notify::new(notify::AUTH_LIFETIME, seconds.to_be_bytes().into())));
        }
        if sa.abilities.mobike {
            answers.push(Payload::Notify(Notify::new(notify::MOBIKE_SUPPORTED, Vec::new())));
        }
        self.answer(sa, path, Exchange::IKE_AUTH, &answers);
    }

    fn distrust(&mut self, sa: IkeSa, path: Path, name: &str, why: &str) {
        self.report(Report::Failed { from: path.theirs, why: Failure::not_authentic(name, why) });
        let refusal = Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, Vec::new()));
        self.answer_and_close(sa, path, Exchange::IKE_AUTH, &[refusal]);
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

/// Whether a payload says what a peer wants, and not who it is.
const fn is_wish(payload: &Payload) -> bool {
    use Payload::{Configuration, Notify, Sa, SelectorsInitiator, SelectorsResponder};
    matches!(payload, Sa(_) | SelectorsInitiator(_) | SelectorsResponder(_) | Configuration { .. } | Notify(_))
}
