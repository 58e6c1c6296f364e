//! INFORMATIONAL, at the responder (RFC 7296 section 1.4, RFC 4555): deletes, moves, signs of life.

use super::init::{nat_between, nat_notifies};
use super::limits::COOKIE2_MAX;
use super::payloads::notified;
use super::report::Closure;
use super::{ChildEvent, Report, Turn};
use crate::state::{IkeSa, Path, Purpose};
use crate::wire::protocol::{ESP, IKE};
use crate::wire::{Exchange, Notify, Payload, notify};

/// So often a peer that ends an IKE SA for which we want new keys is asked whether it has granted them.
const ANSWERS_LOST_MAX: u8 = 2;

impl Turn<'_, '_> {
    /// Handles what a peer has to say.
    pub(super) fn inform(&mut self, mut sa: IkeSa, path: Path, payloads: &[Payload]) {
        if payloads.iter().any(|payload| matches!(payload, Payload::Delete { protocol: IKE, .. })) {
            // Our wish for new keys may be granted already, and the answer lost: then the children go on elsewhere. It comes once more.
            if let Some(pending) = sa.pending.as_mut().filter(|it| matches!(it.purpose, Purpose::RekeyIke(_)))
                && pending.tries <= ANSWERS_LOST_MAX
            {
                pending.tries += 1;
                let datagrams = pending.datagrams.clone();
                self.send(sa.path, datagrams);
                return self.go_on(sa);
            }
            if !sa.succeeded {
                self.report(Report::Closed { peer: self.name_of(&sa), why: Closure::ByPeer });
            }
            return self.answer_and_close(sa, path, Exchange::INFORMATIONAL, &[]);
        }
        let mut answers = Vec::new();
        let deleted = payloads.iter().flat_map(|payload| match payload {
            Payload::Delete { protocol: ESP, spis } => spis.as_slice(),
            _ => &[],
        });
        let gone: Vec<u32> = deleted.filter_map(|spi| self.delete_child(&mut sa, *spi)).collect();
        if !gone.is_empty() {
            answers.push(Payload::Delete { protocol: ESP, spis: gone });
        }
        if notified(payloads, notify::UPDATE_SA_ADDRESSES).is_some() && sa.abilities.mobike {
            match self.relocate(&mut sa, path, payloads) {
                Ok(()) => {}
                Err(refusal) => answers.push(Payload::Notify(refusal)),
            }
            answers.extend(nat_notifies(path, sa.initiator_spi, sa.responder_spi));
        }
        self.hear_skip(&sa, payloads);
        if let Some(cookie) = notified(payloads, notify::COOKIE2).filter(|cookie| cookie.len() <= COOKIE2_MAX) {
            answers.push(Payload::Notify(Notify::new(notify::COOKIE2, cookie.to_vec())));
        }
        self.answer(sa, path, Exchange::INFORMATIONAL, &answers);
    }

    /// A child that the peer calls so is over. Our SPI of it, to be told; none if we are telling that already. If we have asked for new
    /// keys for it, the peer may have made them before: its answer is still to be understood.
    fn delete_child(&mut self, sa: &mut IkeSa, peers_spi: u32) -> Option<u32> {
        let at = sa.children.iter().position(|child| child.outbound_spi == peers_spi)?;
        let child = sa.children.remove(at);
        let spi = child.inbound_spi;
        self.out.children.push(ChildEvent::Remove(spi));
        match sa.pending.as_mut().map(|pending| &mut pending.purpose) {
            Some(Purpose::CloseChild(closing)) if *closing == spi => return None,
            Some(Purpose::RekeyChild(rekey, collision)) if rekey.old_spi == spi => {
                collision.ended = Some(Box::new(child));
            }
            _ => {}
        }
        Some(spi)
    }

    /// The peer speaks from elsewhere now, and says so. What is in transport mode cannot follow: its traffic is the old addresses'.
    fn relocate(&mut self, sa: &mut IkeSa, path: Path, payloads: &[Payload]) -> Result<(), Notify> {
        let nat = nat_between(path, (sa.initiator_spi, sa.responder_spi), payloads);
        let ends = |path: Path| (path.ours.ip(), path.theirs.ip());
        let stays = ends(sa.path) == ends(path) && !nat.ours && !nat.theirs;
        if !stays && sa.children.iter().any(|child| child.transport) {
            return Err(Notify::new(notify::UNACCEPTABLE_ADDRESSES, Vec::new()));
        }
        sa.nat = nat;
        if sa.path != path {
            sa.path = path;
            self.report(Report::Moved { peer: self.name_of(sa), to: path.theirs });
        }
        self.move_children(sa);
        Ok(())
    }
}
