//! New keys from our side (RFC 7296 sections 1.3.2, 1.3.3, 2.8).
//!
//! Both sides may want new keys for one child at once. Then there are two new ones, and whoever made the one with the lowest of the four
//! nonces ends that; the other ends the old one. A peer that has granted new keys may end the old child before its answer comes: the
//! answer still says what the new one is like. Both wanting a new IKE SA at once refuse each other, and try again after a while, which
//! is not the same for both.

use super::child::{Made, Traffic, common};
use super::payloads::{key_exchange, nonce, notified, proposals, selectors};
use super::{Report, Turn};
use crate::crypto::{Group, IkeKeys, KeyPair, Secret, child_keymat};
use crate::proposal::{accepted_esp, accepted_ike, offer_esp, offer_ike};
use crate::state::{Child, Collision, IkeSa, Pieces, Purpose, Rekey, Role};
use crate::wire::protocol::ESP;
use crate::wire::{Exchange, Notify, Payload, Proposal, notify};

/// Notifications below this are errors (RFC 7296 section 3.10.1).
const FIRST_FACT: u16 = 16384;
/// IANA's number of key exchange methods among kinds of transforms.
const GROUPS: u8 = 4;
/// After a refusal it is tried again after so long, or up to twice as long.
const AGAIN_S: u64 = 10;

impl Turn<'_, '_> {
    /// How long the SA's connection lets it live; 0: for ever.
    pub(super) fn rekey_of(&self, sa: &IkeSa) -> u64 {
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        connection.map_or(0, |connection| connection.rekey_s)
    }

    /// Asks for new keys for a child; in this group, if the peer has named one.
    pub(super) fn rekey_child(&mut self, mut sa: IkeSa, spi: u32, group: Option<Group>) {
        let config = sa.children.iter().find(|child| child.inbound_spi == spi).and_then(|child| {
            let connection = self.connection(&sa.peer()?.connection)?;
            let config = connection.children.iter().find(|config| config.name == child.name)?;
            Some((&config.proposals, child.local.clone(), child.remote.clone(), child.transport))
        });
        let Some((proposals, local, remote, transport)) = config else {
            // The configuration does not know it any more: so it lives as long as the peer wants.
            sa.children.iter_mut().filter(|child| child.inbound_spi == spi).for_each(|child| child.rekey_at_s = 0);
            return self.go_on(sa);
        };
        let (new_spi, our_nonce) = (self.child_spi(), self.nonce());
        let offer = offer_esp(proposals, new_spi, true);
        let key_pair = group.or_else(|| first_group(&offer)).map(|group| KeyPair::generate(group, self.given.random));
        let named = Notify { protocol: ESP, spi: spi.to_be_bytes().into(), kind: notify::REKEY_SA, data: Vec::new() };
        let mut payloads = vec![Payload::Notify(named), Payload::Sa(offer), Payload::Nonce(our_nonce.clone())];
        payloads.extend(key_pair.as_ref().map(public_of));
        payloads.extend([Payload::SelectorsInitiator(local), Payload::SelectorsResponder(remote)]);
        payloads.extend(transport.then(|| Payload::Notify(Notify::new(notify::USE_TRANSPORT_MODE, Vec::new()))));
        let rekey = Rekey { old_spi: spi, new_spi: new_spi.into(), nonce: our_nonce, key_pair };
        let purpose = Purpose::RekeyChild(rekey, Collision::default());
        self.ask(sa, Exchange::CREATE_CHILD_SA, purpose, &payloads);
    }

    /// Handles the answer.
    pub(super) fn hear_child(&mut self, mut sa: IkeSa, rekey: &Rekey, collision: &Collision, payloads: &[Payload]) {
        if let Some(refusal) = refusal(payloads) {
            return self.child_refused(sa, rekey, refusal);
        }
        let nonces = nonce(payloads).map(|theirs| theirs.min(&rekey.nonce));
        if self.child_granted(&mut sa, rekey, collision, payloads).is_none() {
            return self.put_off(sa, rekey.old_spi);
        }
        let ours_is_lowest = nonces.is_some_and(|lowest| lowest < collision.nonce.as_slice());
        let superfluous = collision.their_spi != 0 && ours_is_lowest;
        match u32::try_from(rekey.new_spi) {
            Ok(new_spi) if superfluous => self.close_child(sa, new_spi),
            _ if sa.children.iter().any(|child| child.inbound_spi == rekey.old_spi) => {
                self.close_child(sa, rekey.old_spi);
            }
            // The peer has ended it already.
            _ => self.go_on(sa),
        }
    }

    /// None: the answer makes no sense.
    fn child_granted(
        &mut self,
        sa: &mut IkeSa,
        rekey: &Rekey,
        collision: &Collision,
        payloads: &[Payload],
    ) -> Option<()> {
        let old = |child: &&Child| [rekey.old_spi, collision.their_spi].contains(&child.inbound_spi);
        let old = sa.children.iter().find(old).or(collision.ended.as_deref())?;
        let Child { name, local, remote, transport, .. } = old.clone();
        let connection = self.connection(&sa.peer()?.connection)?;
        let config = connection.children.iter().find(|config| config.name == name)?;
        let answer = proposal(payloads)?;
        let choice = accepted_esp(&config.proposals, answer, true)?;
        let peers_spi = u32::from_be_bytes(answer.spi.as_slice().try_into().ok()?);
        let shared = match choice.group {
            Some(group) => Some(agreed(rekey, group, payloads)?),
            None => None,
        };
        let granted = selectors(payloads)?;
        if transport != notified(payloads, notify::USE_TRANSPORT_MODE).is_some() {
            return None;
        }
        // It may grant less than it was asked for, but nothing else.
        let (local, remote) = (common(&local, granted[0]), common(&remote, granted[1]));
        let keymat = child_keymat(
            sa.suite.prf,
            &sa.keys.d,
            shared.as_ref(),
            &rekey.nonce,
            nonce(payloads)?,
            choice.suite.keymat_len(),
        );
        let made = Made {
            name: (&connection.name, &name),
            spis: (u32::try_from(rekey.new_spi).ok()?, peers_spi),
            suite: choice.suite,
            extended: choice.esn,
            transport,
            keymat: &keymat,
            initiated: true,
            replaces: Some(rekey.old_spi),
            rekey_s: config.rekey_s,
            life: config.life,
            outer: config.outer,
        };
        self.add_child(sa, made, Traffic::new(local, remote)?);
        Some(())
    }

    fn child_refused(&mut self, mut sa: IkeSa, rekey: &Rekey, refusal: &Notify) {
        match refusal.kind {
            notify::CHILD_SA_NOT_FOUND => {
                sa.children.retain(|child| child.inbound_spi != rekey.old_spi);
                self.out.children.push(super::ChildEvent::Remove(rekey.old_spi));
                self.go_on(sa);
            }
            notify::INVALID_KE_PAYLOAD => match other_group(rekey, refusal) {
                Some(group) => self.rekey_child(sa, rekey.old_spi, Some(group)),
                None => self.put_off(sa, rekey.old_spi),
            },
            _ => self.put_off(sa, rekey.old_spi),
        }
    }

    /// Tries again later; 0: for the IKE SA. A child that the peer has ended meanwhile needs no new keys.
    fn put_off(&mut self, mut sa: IkeSa, spi: u32) {
        let at_s = self.later();
        if spi == 0 {
            sa.rekey_at_s = at_s;
        }
        sa.children.iter_mut().filter(|child| child.inbound_spi == spi).for_each(|child| child.rekey_at_s = at_s);
        self.go_on(sa);
    }

    fn later(&mut self) -> u64 {
        let mut byte = [0];
        self.given.random.fill(&mut byte);
        self.given.now_s.saturating_add(AGAIN_S + u64::from(byte[0]) % AGAIN_S)
    }

    /// Somebody wants new keys for the IKE SA. What is asked of the peer already comes first.
    pub(super) fn rekey_now(&mut self, mut sa: IkeSa) {
        if sa.peer().is_none() || sa.succeeded {
            return self.wait(&sa);
        }
        if sa.pending.is_none() {
            return self.rekey_own(sa, None);
        }
        sa.rekey_at_s = self.given.now_s;
        self.go_on(sa);
    }

    /// Asks for new keys for the IKE SA; in this group, if the peer has named one.
    pub(super) fn rekey_own(&mut self, mut sa: IkeSa, group: Option<Group>) {
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        let Some(proposals) = connection.map(|connection| &connection.proposals) else {
            sa.rekey_at_s = 0;
            return self.go_on(sa);
        };
        let (new_spi, our_nonce) = (self.ike_spi(), self.nonce());
        let offer = offer_ike(proposals, &new_spi.to_be_bytes());
        let Some(group) = group.or_else(|| first_group(&offer)) else { return self.go_on(sa) };
        let pair = KeyPair::generate(group, self.given.random);
        let payloads = [Payload::Sa(offer), Payload::Nonce(our_nonce.clone()), public_of(&pair)];
        let rekey = Rekey { old_spi: 0, new_spi, nonce: our_nonce, key_pair: Some(pair) };
        self.ask(sa, Exchange::CREATE_CHILD_SA, Purpose::RekeyIke(rekey), &payloads);
    }

    /// Handles the answer.
    pub(super) fn hear_ike(&mut self, mut sa: IkeSa, rekey: &Rekey, payloads: &[Payload]) {
        if let Some(refusal) = refusal(payloads) {
            let other = (refusal.kind == notify::INVALID_KE_PAYLOAD).then(|| other_group(rekey, refusal)).flatten();
            return match other {
                Some(group) => self.rekey_own(sa, Some(group)),
                None => self.put_off(sa, 0),
            };
        }
        let Some(mut successor) = self.ike_granted(&sa, rekey, payloads) else { return self.put_off(sa, 0) };
        self.report(Report::Rekeyed { peer: self.name_of(&sa) });
        successor.keep_token(payloads);
        self.give_token(&mut successor);
        let timeout_s = self.deadline(&successor);
        self.out.successor = Some((Box::new(successor), timeout_s));
        sa.children.clear();
        sa.succeeded = true;
        self.close(sa);
    }

    fn ike_granted(&mut self, sa: &IkeSa, rekey: &Rekey, payloads: &[Payload]) -> Option<IkeSa> {
        let connection = self.connection(&sa.peer()?.connection)?;
        let answer = proposal(payloads)?;
        let suite = accepted_ike(&connection.proposals, answer)?;
        let their_spi = u64::from_be_bytes(answer.spi.as_slice().try_into().ok()?);
        let shared = agreed(rekey, suite.group, payloads)?;
        let (old, theirs) = ((sa.suite.prf, &sa.keys.d), nonce(payloads)?);
        let keys =
            IkeKeys::derive_rekeyed(suite, old.0, old.1, &shared, &rekey.nonce, theirs, rekey.new_spi, their_spi);
        Some(IkeSa {
            role: Role::Initiator,
            initiator_spi: rekey.new_spi,
            responder_spi: their_spi,
            ..self.successor_of(sa, suite, keys)
        })
    }

    /// What goes on for an SA under new keys; who began it and its SPIs are to be filled in.
    pub(super) fn successor_of(&mut self, sa: &IkeSa, suite: crate::crypto::Suite, keys: IkeKeys) -> IkeSa {
        IkeSa {
            suite,
            keys,
            created_s: self.given.now_s,
            heard_s: self.given.now_s,
            rekey_at_s: self.lifetime_end(self.rekey_of(sa)),
            next_request: 0,
            last_answer: Vec::new(),
            next_own: 0,
            pending: None,
            pieces: Pieces::default(),
            synced: 0,
            // The old one is for the old SPIs.
            token: Secret::default(),
            ..sa.clone()
        }
    }
}

/// The error that an answer is.
pub(super) fn refusal(payloads: &[Payload]) -> Option<&Notify> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind < FIRST_FACT => Some(notify),
        _ => None,
    })
}

/// The group that the peer wants instead, if it is another one.
pub(super) fn other_group(rekey: &Rekey, refusal: &Notify) -> Option<Group> {
    let group = Group::from_id(u16::from_be_bytes(refusal.data.as_slice().try_into().ok()?))?;
    rekey.key_pair.as_ref().is_none_or(|pair| pair.group() != group).then_some(group)
}

pub(super) fn first_group(offer: &[Proposal]) -> Option<Group> {
    let mut transforms = offer.iter().flat_map(|proposal| &proposal.transforms);
    transforms.find(|transform| transform.kind == GROUPS).and_then(|transform| Group::from_id(transform.id))
}

pub(super) fn public_of(pair: &KeyPair) -> Payload {
    Payload::KeyExchange { group: pair.group().id(), public: pair.public().to_vec() }
}

/// The secret that both have now.
pub(super) fn agreed(rekey: &Rekey, group: Group, payloads: &[Payload]) -> Option<Secret> {
    let (sent, public) = key_exchange(payloads)?;
    let pair = rekey.key_pair.as_ref().filter(|pair| pair.group() == group && sent == group.id())?;
    pair.agree(public).ok()
}

/// The one proposal of an answer.
pub(super) fn proposal(payloads: &[Payload]) -> Option<&Proposal> {
    proposals(payloads).and_then(|proposals| proposals.first().filter(|_| proposals.len() == 1))
}
