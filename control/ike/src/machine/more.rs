//! Children that we ask for, in an IKE SA that we began: what the peer grants, and what is missing.
//!
//! There are to be all that are configured. The first one comes with the IKE SA (`prove`), the others by CREATE_CHILD_SA; so does one
//! that the peer ended. One that is refused is asked for again, ever more rarely; an IKE SA that gets none ends.

use super::child::{Made, Traffic, common, sides};
use super::limits::{ALL_SELECTORS_MAX, CHILDREN_MAX};
use super::payloads::{nonce, notified, selectors};
use super::rekey::{agreed, first_group, other_group, proposal, public_of, refusal};
use super::{Closure, Failure, Report, Turn};
use crate::config::{ChildConfig, Connection};
use crate::crypto::{Group, KeyPair, Secret, child_keymat};
use crate::proposal::{accepted_esp, offer_esp};
use crate::state::{IkeSa, Kept, Lack, Purpose, Rekey};
use crate::wire::{Exchange, Notify, Payload, notify};

/// A peer that ends a child may be about to make another: it is given so long.
const PATIENCE_S: u64 = 2;
/// One that refuses a child is asked again after so long, then after twice as long, and so on.
const FIRST_AGAIN_S: u64 = 10;
const AGAIN_MAX_S: u64 = 320;
/// After so many refusals an IKE SA that has no child at all is of no use.
const TRIES_CHILDLESS_MAX: u8 = 3;

/// What was asked for.
pub(super) struct AskedFor<'a> {
    /// The child's name.
    pub(super) name: &'a str,
    /// Our SPI of it.
    pub(super) spi: u32,
    /// Ours, the peer's.
    pub(super) nonces: [&'a [u8]; 2],
    /// Our half of a key exchange of its own, if it may have one: not the first child.
    pub(super) own: Option<&'a Rekey>,
}

impl Turn<'_, '_> {
    /// Makes the child that the peer grants. Otherwise: why there is none.
    pub(super) fn granted(
        &mut self,
        sa: &mut IkeSa,
        connection: &Connection,
        asked: &AskedFor<'_>,
        payloads: &[Payload],
    ) -> Result<(), Failure> {
        let what = "a child SA";
        if let Some(refusal) = refusal(payloads) {
            return Err(Failure::Refused { what, kind: refusal.kind });
        }
        let nonsense = || Failure::Protocol("it grants a child SA that nobody asked for");
        let config = child_of(connection, asked.name).ok_or_else(nonsense)?;
        let answer = proposal(payloads).ok_or_else(nonsense)?;
        let choice = accepted_esp(&config.proposals, answer, asked.own.is_some()).ok_or_else(nonsense)?;
        let peers_spi = answer.spi.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| nonsense())?;
        let shared: Option<Secret> = match (asked.own, choice.group) {
            (Some(own), Some(group)) => Some(agreed(own, group, payloads).ok_or_else(nonsense)?),
            _ => None,
        };
        if config.transport != notified(payloads, notify::USE_TRANSPORT_MODE).is_some() || peers_spi == 0 {
            return Err(Failure::Protocol("it grants another mode than the one that was asked for"));
        }
        // It may grant less than it was asked for, but nothing else.
        let (ours, theirs) = sides(config, &[], sa.path);
        let [of_initiator, of_responder] = selectors(payloads).ok_or_else(nonsense)?;
        let traffic = Traffic::new(common(&ours, of_initiator), common(&theirs, of_responder)).ok_or_else(nonsense)?;
        let [own_nonce, peers_nonce] = asked.nonces;
        let len = choice.suite.keymat_len();
        let keymat = child_keymat(sa.suite.prf, &sa.keys.d, shared.as_ref(), own_nonce, peers_nonce, len);
        let made = Made {
            name: (&connection.name, &config.name),
            spis: (asked.spi, peers_spi),
            suite: choice.suite,
            extended: choice.esn,
            transport: config.transport,
            keymat: &keymat,
            initiated: true,
            replaces: None,
            rekey_s: config.rekey_s,
            life: config.life,
            outer: config.outer,
        };
        self.add_child(sa, made, traffic);
        Ok(())
    }

    /// A child that was asked for does not come about: it will be asked for again.
    pub(super) fn miss(&mut self, sa: &mut IkeSa, name: &str, why: Failure) {
        self.report(Report::Failed { from: sa.path.theirs, why });
        let Some(Kept { lacking, .. }) = &mut sa.kept else { return };
        let known = lacking.iter().position(|lack| lack.name == name);
        let at = known.unwrap_or_else(|| {
            lacking.push(Lack { name: name.to_owned(), at_s: 0, tries: 0 });
            lacking.len() - 1
        });
        if let Some(lack) = lacking.get_mut(at) {
            let pause_s = (FIRST_AGAIN_S << lack.tries.min(5)).min(AGAIN_MAX_S);
            lack.at_s = self.given.now_s.saturating_add(pause_s);
            lack.tries = lack.tries.saturating_add(1);
        }
    }

    /// Writes down which children an IKE SA has not.
    pub(super) fn note_lacking(&self, sa: &mut IkeSa) {
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        let Some(connection) = connection.filter(|_| !sa.succeeded) else { return };
        let Some(mut kept) = sa.kept.take() else { return };
        let has = |name: &str| sa.children.iter().any(|child| child.name == name);
        kept.lacking.retain(|lack| !has(&lack.name) && child_of(connection, &lack.name).is_some());
        let at_s = self.given.now_s.saturating_add(PATIENCE_S);
        for child in &connection.children {
            let usable = !(child.transport && sa.is_translated());
            if usable && !has(&child.name) && !kept.lacking.iter().any(|lack| lack.name == child.name) {
                kept.lacking.push(Lack { name: child.name.clone(), at_s, tries: 0 });
            }
        }
        sa.kept = Some(kept);
    }

    /// Asks for a child that is missing; in this group, if the peer has named one.
    pub(super) fn make_missing(&mut self, mut sa: IkeSa, name: &str, group: Option<Group>) {
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        let Some(child) = connection.and_then(|connection| child_of(connection, name)) else {
            // It is configured no more: so it is missed no more.
            return self.go_on(sa);
        };
        let selectors: usize = sa.children.iter().map(|child| child.local.len() + child.remote.len()).sum();
        if sa.children.len() >= CHILDREN_MAX || selectors >= ALL_SELECTORS_MAX {
            self.miss(&mut sa, name, Failure::TooMuch);
            return self.go_on(sa);
        }
        let (spi, nonce) = (self.child_spi(), self.nonce());
        let offer = offer_esp(&child.proposals, spi, true);
        let key_pair = group.or_else(|| first_group(&offer)).map(|group| KeyPair::generate(group, self.given.random));
        let (local, remote) = sides(child, &[], sa.path);
        let mut payloads = vec![Payload::Sa(offer), Payload::Nonce(nonce.clone())];
        payloads.extend(key_pair.as_ref().map(public_of));
        payloads.extend([
            Payload::SelectorsInitiator(common(&local, &local)),
            Payload::SelectorsResponder(common(&remote, &remote)),
        ]);
        payloads.extend(child.transport.then(|| Payload::Notify(Notify::new(notify::USE_TRANSPORT_MODE, Vec::new()))));
        let own = Rekey { old_spi: 0, new_spi: spi.into(), nonce, key_pair };
        self.ask(sa, Exchange::CREATE_CHILD_SA, Purpose::MakeChild(name.to_owned(), own), &payloads);
    }

    /// Handles the answer.
    pub(super) fn hear_made(&mut self, mut sa: IkeSa, name: &str, own: &Rekey, payloads: &[Payload]) {
        let wrong_group = refusal(payloads).filter(|refusal| refusal.kind == notify::INVALID_KE_PAYLOAD);
        if let Some(group) = wrong_group.and_then(|refusal| other_group(own, refusal)) {
            return self.make_missing(sa, name, Some(group));
        }
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        let Some(connection) = connection else { return self.go_on(sa) };
        let spi = u32::try_from(own.new_spi).unwrap_or_default();
        let nonces = [own.nonce.as_slice(), nonce(payloads).unwrap_or_default()];
        let asked = AskedFor { name, spi, nonces, own: Some(own) };
        if let Err(why) = self.granted(&mut sa, connection, &asked, payloads) {
            self.miss(&mut sa, name, why);
        }
        self.go_on(sa);
    }

    /// Asks for the child that is due, unless the peer has shown that there will be none.
    pub(super) fn do_lacking(&mut self, sa: IkeSa, place: usize) {
        let lack = sa.kept.as_ref().and_then(|kept| kept.lacking.get(place)).cloned();
        let Some(lack) = lack else { return self.go_on(sa) };
        if sa.children.is_empty() && lack.tries >= TRIES_CHILDLESS_MAX {
            self.report(Report::Closed { peer: self.name_of(&sa), why: Closure::Childless });
            return self.close(sa);
        }
        self.make_missing(sa, &lack.name, None);
    }
}

fn child_of<'c>(connection: &'c Connection, name: &str) -> Option<&'c ChildConfig> {
    connection.children.iter().find(|child| child.name == name)
}
