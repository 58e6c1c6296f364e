//! CREATE_CHILD_SA, at the responder (RFC 7296 sections 1.3, 2.8): further children, new keys for one, new keys for the IKE SA.
//!
//! A peer may have several children for the same traffic, one for each of its CPUs, say (RFC 9611): what goes to it takes the newest.
//!
//! A child with new keys stands beside the old one until the peer deletes that. An IKE SA with new keys takes all children with it.

use super::child::Wanted;
use super::limits::{ALL_SELECTORS_MAX, CHILDREN_MAX};
use super::payloads::{key_exchange, nonce, notification, proposals};
use super::{Failure, Report, Turn};
use crate::crypto::{IkeKeys, KeyPair, Suite};
use crate::proposal::choose_ike;
use crate::state::{IkeSa, Path, Purpose, Role};
use crate::wire::protocol::{ESP, IKE};
use crate::wire::{Exchange, IkeSpi, Notify, Payload, Proposal, notify};

impl Turn<'_, '_> {
    /// Handles a peer's wish for an SA.
    pub(super) fn create(&mut self, mut sa: IkeSa, path: Path, payloads: &[Payload]) {
        let Some(proposals) = proposals(payloads) else {
            return self.refuse(sa, path, Notify::new(notify::INVALID_SYNTAX, Vec::new()));
        };
        if proposals.iter().any(|proposal| proposal.protocol == IKE) {
            return self.rekey_ike(sa, path, payloads, proposals);
        }
        match self.create_child(&mut sa, payloads) {
            Ok(answers) => self.answer(sa, path, Exchange::CREATE_CHILD_SA, &answers),
            Err(refusal) => self.refuse(sa, path, refusal),
        }
    }

    fn refuse(&mut self, sa: IkeSa, path: Path, refusal: Notify) {
        self.answer(sa, path, Exchange::CREATE_CHILD_SA, &[Payload::Notify(refusal)]);
    }

    fn create_child(&mut self, sa: &mut IkeSa, payloads: &[Payload]) -> Result<Vec<Payload>, Notify> {
        let plain = |kind| Notify::new(kind, Vec::new());
        if sa.succeeded
            || matches!(sa.pending.as_ref().map(|it| &it.purpose), Some(Purpose::Close | Purpose::RekeyIke(_)))
        {
            return Err(plain(notify::TEMPORARY_FAILURE));
        }
        if sa.children.len() >= CHILDREN_MAX || selectors(sa) >= ALL_SELECTORS_MAX {
            return Err(plain(notify::NO_ADDITIONAL_SAS));
        }
        let replaces = match notification(payloads, notify::REKEY_SA) {
            Some(named) => Some(self.child_named(sa, named)?),
            None => None,
        };
        let wanted = Wanted::of_own(payloads).ok_or_else(|| plain(notify::INVALID_SYNTAX))?;
        let peer = sa.peer().cloned().ok_or_else(|| plain(notify::TEMPORARY_FAILURE))?;
        let connection = self.connection(&peer.connection).ok_or_else(|| plain(notify::NO_ADDITIONAL_SAS))?;
        let our_nonce = self.nonce();
        let mut answers = self.make_child(sa, connection, &peer, &wanted, &our_nonce, replaces)?;
        if let (Some(old_spi), Some(new)) = (replaces, sa.children.last().map(|child| child.inbound_spi)) {
            note_collision(sa, old_spi, new, wanted.nonce().min(&our_nonce).to_vec());
        }
        answers.insert(1, Payload::Nonce(our_nonce));
        Ok(answers)
    }

    /// The child that a peer wants new keys for: it names it by its own SPI.
    fn child_named(&self, sa: &IkeSa, named: &Notify) -> Result<u32, Notify> {
        let lost = Notify { protocol: ESP, spi: named.spi.clone(), kind: notify::CHILD_SA_NOT_FOUND, data: Vec::new() };
        let later = Notify::new(notify::TEMPORARY_FAILURE, Vec::new());
        let Ok(spi) = named.spi.as_slice().try_into().map(u32::from_be_bytes) else { return Err(lost) };
        let child = sa.children.iter().find(|child| child.outbound_spi == spi).map(|child| child.inbound_spi);
        match (child, sa.pending.as_ref().map(|it| &it.purpose)) {
            // It is about to go (RFC 7296 section 2.25.1).
            (Some(child), Some(Purpose::CloseChild(closing))) if *closing == child => Err(later),
            (Some(child), _) => Ok(child),
            // It may be the one that we have asked for: its peer is not to throw it away, for the answer may be on its way.
            (None, Some(Purpose::RekeyChild(..) | Purpose::MakeChild(..))) => Err(later),
            (None, _) => Err(lost),
        }
    }

    /// New keys for the IKE SA: another one goes on with its children.
    fn rekey_ike(&mut self, mut sa: IkeSa, path: Path, payloads: &[Payload], proposals: &[Proposal]) {
        if sa.succeeded || sa.pending.as_ref().is_some_and(|it| !matches!(it.purpose, Purpose::Probe)) {
            return self.refuse(sa, path, Notify::new(notify::TEMPORARY_FAILURE, Vec::new()));
        }
        match self.succeed(&sa, payloads, proposals) {
            Ok((successor, answers)) => {
                self.report(Report::Rekeyed { peer: self.name_of(&sa) });
                sa.children.clear();
                sa.succeeded = true;
                let timeout_s = self.deadline(&successor);
                self.out.successor = Some((Box::new(successor), timeout_s));
                self.answer(sa, path, Exchange::CREATE_CHILD_SA, &answers);
            }
            Err(refusal) => self.refuse(sa, path, refusal),
        }
    }

    fn succeed(
        &mut self,
        sa: &IkeSa,
        payloads: &[Payload],
        proposals: &[Proposal],
    ) -> Result<(IkeSa, Vec<Payload>), Notify> {
        let malformed = || Notify::new(notify::INVALID_SYNTAX, Vec::new());
        let (sent, public) = key_exchange(payloads).ok_or_else(malformed)?;
        let their_nonce = nonce(payloads).ok_or_else(malformed)?;
        let (suite, chosen) = self.choose_again(sa, proposals, sent)?;
        let their_spi = peers_spi(proposals, chosen.number).ok_or_else(malformed)?;
        let pair = KeyPair::generate(suite.group, self.given.random);
        let shared = pair.agree(public).map_err(|_| malformed())?;
        let (our_nonce, our_spi) = (self.nonce(), self.ike_spi());
        let keys = IkeKeys::derive_rekeyed(
            suite,
            sa.suite.prf,
            &sa.keys.d,
            &shared,
            their_nonce,
            &our_nonce,
            their_spi,
            our_spi,
        );
        let mut answers = vec![
            Payload::Sa(vec![Proposal { spi: our_spi.to_be_bytes().into(), ..chosen }]),
            Payload::Nonce(our_nonce),
            Payload::KeyExchange { group: suite.group.id(), public: pair.public().to_vec() },
        ];
        let successor = IkeSa {
            // Whoever asked for the keys begins anew.
            role: Role::Responder,
            initiator_spi: their_spi,
            responder_spi: our_spi,
            ..self.successor_of(sa, suite, keys)
        };
        answers.push(self.token(&successor));
        Ok((successor, answers))
    }

    fn choose_again(&mut self, sa: &IkeSa, proposals: &[Proposal], sent: u16) -> Result<(Suite, Proposal), Notify> {
        let connection = sa.peer().and_then(|peer| self.connection(&peer.connection));
        let ours = connection.map_or(&[][..], |connection| &connection.proposals);
        let Some((_, suite, chosen)) = choose_ike(ours, proposals, Some(sent)) else {
            let why = Failure::NoProposal(super::init::text_of(proposals));
            self.report(Report::Failed { from: sa.path.theirs, why });
            return Err(Notify::new(notify::NO_PROPOSAL_CHOSEN, Vec::new()));
        };
        if suite.group.id() != sent {
            return Err(Notify::new(notify::INVALID_KE_PAYLOAD, suite.group.id().to_be_bytes().into()));
        }
        Ok((suite, chosen))
    }
}

/// The peer has given a child new keys; if we are about to do that as well, the nonces say later whose last.
fn note_collision(sa: &mut IkeSa, old_spi: u32, their_spi: u32, nonce: Vec<u8>) {
    if let Some(pending) = &mut sa.pending
        && let Purpose::RekeyChild(rekey, collision) = &mut pending.purpose
        && rekey.old_spi == old_spi
    {
        (collision.their_spi, collision.nonce) = (their_spi, nonce);
    }
}

/// How many selectors its children have.
fn selectors(sa: &IkeSa) -> usize {
    sa.children.iter().map(|child| child.local.len() + child.remote.len()).sum()
}

/// The initiator's SPI in the proposal that was chosen.
fn peers_spi(proposals: &[Proposal], number: u8) -> Option<IkeSpi> {
    let chosen = proposals.iter().find(|proposal| proposal.number == number && proposal.protocol == IKE)?;
    chosen.spi.as_slice().try_into().ok().map(u64::from_be_bytes).filter(|spi| *spi > 0)
}
