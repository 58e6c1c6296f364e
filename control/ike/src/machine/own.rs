//! What we ask of a peer: whether it lives (RFC 7296 section 2.4); that an SA is over.
//!
//! A request is part of the SA's value before it is sent, so whoever owns the SA when the answer comes understands it, and whoever owns
//! it when none comes asks again.

use super::report::Closure;
use super::{CLOSED_S, ChildEvent, OPENING_S, Report, Turn};
use crate::state::{IkeSa, Pending, Phase, Purpose};
use crate::wire::{Exchange, Identity, Payload};

/// A request is sent so often; the pauses in between double.
const TRIES_MAX: u8 = 6;
const FIRST_PAUSE_S: u64 = 2;
const PAUSE_MAX_S: u64 = 32;

impl Turn<'_, '_> {
    /// The time has come that the SA asked for.
    pub(super) fn tick(&mut self, sa: IkeSa) {
        let now_s = self.given.now_s;
        match &sa.phase {
            Phase::Opening(_) if now_s < sa.created_s.saturating_add(OPENING_S) => self.wait(&sa),
            Phase::Closed if now_s < sa.heard_s.saturating_add(CLOSED_S) => self.wait(&sa),
            Phase::Opening(_) | Phase::Closed => self.end(&sa),
            Phase::Established(peer) => {
                let Some(connection) = self.connection(&peer.connection) else {
                    return self.give_up(&sa, Closure::NotConfigured);
                };
                let delay_s = connection.dpd_delay_s;
                match &sa.pending {
                    Some(pending) if now_s < pending.again_s => self.wait(&sa),
                    Some(_) => self.ask_again(sa),
                    None if delay_s > 0 && now_s >= sa.heard_s.saturating_add(delay_s) => {
                        self.ask(sa, Purpose::Probe, &[]);
                    }
                    None => self.wait(&sa),
                }
            }
        }
    }

    /// It was too early.
    fn wait(&mut self, sa: &IkeSa) {
        self.out.timeout_s = self.deadline(sa);
    }

    /// Ends an SA: the peer is told.
    pub(super) fn close(&mut self, mut sa: IkeSa) {
        const IKE: u8 = 1;
        if sa.peer().is_none() {
            return self.end(&sa);
        }
        self.remove_children(&sa);
        sa.children.clear();
        // A request that is out already must be answered first; one that was a mere question is not missed.
        if sa.pending.is_some() {
            self.report(Report::Closed { peer: self.name_of(&sa), why: Closure::ByUs });
            return self.end(&sa);
        }
        self.ask(sa, Purpose::Close, &[Payload::Delete { protocol: IKE, spis: Vec::new() }]);
    }

    fn ask(&mut self, mut sa: IkeSa, purpose: Purpose, payloads: &[Payload]) {
        let header = sa.header(Exchange::INFORMATIONAL, false, sa.next_own);
        let datagrams = self.seal(&sa, &header, payloads);
        sa.next_own = sa.next_own.wrapping_add(1);
        self.send(sa.path, datagrams.clone());
        let again_s = self.given.now_s.saturating_add(FIRST_PAUSE_S);
        sa.pending = Some(Pending { datagrams, purpose, tries: 1, again_s });
        self.go_on(sa);
    }

    fn ask_again(&mut self, mut sa: IkeSa) {
        let Some(pending) = &mut sa.pending else { return };
        if pending.tries >= TRIES_MAX {
            return self.give_up(&sa, Closure::Silent);
        }
        let pause_s = (FIRST_PAUSE_S << pending.tries).min(PAUSE_MAX_S);
        pending.tries += 1;
        pending.again_s = self.given.now_s.saturating_add(pause_s);
        let datagrams = pending.datagrams.clone();
        self.send(sa.path, datagrams);
        self.go_on(sa);
    }

    fn give_up(&mut self, sa: &IkeSa, why: Closure) {
        self.report(Report::Closed { peer: self.name_of(sa), why });
        self.end(sa);
    }

    /// Handles the answer to our request.
    pub(super) fn hear_answer(&mut self, mut sa: IkeSa, _: &[Payload]) {
        let Some(pending) = sa.pending.take() else { return };
        match pending.purpose {
            Purpose::Probe => {}
            Purpose::Close => return self.give_up(&sa, Closure::ByUs),
            Purpose::CloseChild(spi) => {
                sa.children.retain(|child| child.inbound_spi != spi);
                self.out.children.push(ChildEvent::Remove(spi));
            }
        }
        self.go_on(sa);
    }

    /// Whose an SA is.
    pub(super) fn name_of(&self, sa: &IkeSa) -> Identity {
        sa.peer().map_or_else(|| Identity::of_address(sa.path.theirs.ip()), |peer| peer.identity.clone())
    }
}
