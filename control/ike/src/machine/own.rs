//! What we ask of a peer: whether it lives (RFC 7296 section 2.4); that an SA is over.
//!
//! A request is part of the SA's value before it is sent, so whoever owns the SA when the answer comes understands it, and whoever owns
//! it when none comes asks again.

use super::report::Closure;
use super::{CLOSED_S, ChildEvent, OPENING_S, Report, Turn};
use crate::state::{IkeSa, Peer, Pending, Phase, Purpose};
use crate::wire::protocol::{ESP, IKE};
use crate::wire::{Exchange, Identity, Payload};

/// So long an SA that has new keys is left to the peer to be ended.
const RETIRED_S: u64 = 30;
/// A request is sent so often; the pauses in between double.
const TRIES_MAX: u8 = 6;
pub(super) const FIRST_PAUSE_S: u64 = 2;
const PAUSE_MAX_S: u64 = 32;

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Duty {
    Probe,
    Close,
    /// To end it: its peer has not proved its name again.
    Expire,
    CloseChild(u32),
    RekeyChild(u32),
    RekeyIke,
    /// To ask for a child that is missing, by its place among those.
    MakeChild(usize),
}

/// So long something lives that is to get new keys after this time, but gets none.
fn hard(rekey_s: u64) -> u64 {
    if rekey_s == 0 { 0 } else { rekey_s.saturating_add((rekey_s / 10).max(120)) }
}

impl Turn<'_, '_> {
    /// The time has come that the SA asked for.
    pub(super) fn tick(&mut self, sa: IkeSa) {
        let now_s = self.given.now_s;
        match &sa.phase {
            Phase::Opening(_) | Phase::Asking(_) if !self.is_overdue(&sa) => self.wait(&sa),
            Phase::Closed if now_s < sa.heard_s.saturating_add(CLOSED_S) => self.wait(&sa),
            Phase::Opening(_) | Phase::Asking(_) | Phase::Closed => self.end(&sa),
            Phase::Beginning(_) | Phase::Proving(_) => match &sa.pending {
                Some(pending) if now_s < pending.again_s => self.wait(&sa),
                Some(_) => self.ask_again(sa),
                None => self.end(&sa),
            },
            Phase::Established(peer) => {
                if self.connection(&peer.connection).is_none() {
                    return self.give_up(&sa, Closure::NotConfigured);
                }
                match &sa.pending {
                    Some(pending) if now_s < pending.again_s => self.wait(&sa),
                    Some(_) => self.ask_again(sa),
                    None => match self.due(&sa, peer) {
                        Some((at_s, duty)) if at_s <= now_s => self.do_duty(sa, duty),
                        _ => self.wait(&sa),
                    },
                }
            }
        }
    }

    /// Whether its peer has not proved its name in time.
    pub(super) fn is_overdue(&self, sa: &IkeSa) -> bool {
        let is_open = matches!(sa.phase, Phase::Opening(_) | Phase::Asking(_));
        is_open && self.given.now_s >= sa.created_s.saturating_add(OPENING_S)
    }

    /// What an established SA wants done next, and when.
    pub(super) fn due(&self, sa: &IkeSa, peer: &Peer) -> Option<(u64, Duty)> {
        let connection = self.connection(&peer.connection)?;
        let after = |from_s: u64, span_s: u64| (span_s > 0).then(|| from_s.saturating_add(span_s));
        if sa.succeeded {
            return Some((sa.heard_s.saturating_add(RETIRED_S), Duty::Close));
        }
        let mut duties: Vec<(u64, Duty)> = Vec::new();
        // A peer that proves its name again in time ends this one itself (RFC 4478 section 3).
        duties.extend((peer.proved_until_s > 0).then_some((peer.proved_until_s, Duty::Expire)));
        duties.extend(after(sa.created_s, hard(connection.rekey_s)).map(|at_s| (at_s, Duty::Close)));
        for child in &sa.children {
            let config = connection.children.iter().find(|config| config.name == child.name);
            let lives_s = config.map_or(0, |config| hard(config.rekey_s));
            duties.extend(after(child.created_s, lives_s).map(|at_s| (at_s, Duty::CloseChild(child.inbound_spi))));
            duties.extend((child.rekey_at_s > 0).then_some((child.rekey_at_s, Duty::RekeyChild(child.inbound_spi))));
        }
        let lacking = sa.kept.iter().flat_map(|kept| kept.lacking.iter().enumerate());
        duties.extend(lacking.map(|(place, lack)| (lack.at_s, Duty::MakeChild(place))));
        duties.extend((sa.rekey_at_s > 0).then_some((sa.rekey_at_s, Duty::RekeyIke)));
        duties.extend(after(sa.heard_s, connection.dpd_delay_s).map(|at_s| (at_s, Duty::Probe)));
        duties.into_iter().min_by_key(|(at_s, _)| *at_s)
    }

    fn do_duty(&mut self, sa: IkeSa, duty: Duty) {
        match duty {
            Duty::Probe => self.ask(sa, Exchange::INFORMATIONAL, Purpose::Probe, &[]),
            Duty::Close => self.close(sa),
            Duty::Expire => {
                self.report(Report::Closed { peer: self.name_of(&sa), why: Closure::Unproved });
                self.close(sa);
            }
            Duty::CloseChild(spi) => self.close_child(sa, spi),
            Duty::RekeyChild(spi) => self.rekey_child(sa, spi, None),
            Duty::RekeyIke => self.rekey_own(sa, None),
            Duty::MakeChild(place) => self.do_lacking(sa, place),
        }
    }

    /// Ends a child: the peer is told.
    pub(super) fn close_child(&mut self, sa: IkeSa, spi: u32) {
        let payloads = [Payload::Delete { protocol: ESP, spis: vec![spi] }];
        self.ask(sa, Exchange::INFORMATIONAL, Purpose::CloseChild(spi), &payloads);
    }

    /// It was too early.
    pub(super) fn wait(&mut self, sa: &IkeSa) {
        self.out.timeout_s = self.deadline(sa);
    }

    /// Ends an SA: the peer is told.
    pub(super) fn close(&mut self, mut sa: IkeSa) {
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
        self.ask(sa, Exchange::INFORMATIONAL, Purpose::Close, &[Payload::Delete { protocol: IKE, spis: Vec::new() }]);
    }

    /// Sends a request, and goes on.
    pub(super) fn ask(&mut self, mut sa: IkeSa, exchange: Exchange, purpose: Purpose, payloads: &[Payload]) {
        self.request(&mut sa, exchange, purpose, payloads);
        self.go_on(sa);
    }

    fn request(&mut self, sa: &mut IkeSa, exchange: Exchange, purpose: Purpose, payloads: &[Payload]) {
        let header = sa.header(exchange, false, sa.next_own);
        let datagrams = self.seal(sa, &header, payloads);
        sa.next_own = sa.next_own.wrapping_add(1);
        self.send(sa.path, datagrams.clone());
        let again_s = self.given.now_s.saturating_add(FIRST_PAUSE_S);
        sa.pending = Some(Pending { datagrams, purpose, tries: 1, again_s });
    }

    /// Gives the peer of an SA that has taken another's place our token for it: whoever asks for new keys does not know both SPIs
    /// until they are there (RFC 6290 section 4.3). To be answered, like a mere question, by a peer that knows no tokens as well.
    pub(super) fn give_token(&mut self, sa: &mut IkeSa) {
        let token = self.token(sa);
        self.request(sa, Exchange::INFORMATIONAL, Purpose::Probe, &[token]);
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

    /// The peer has nothing left to be told of.
    pub(super) fn replaced(&mut self, sa: &IkeSa) {
        if sa.peer().is_some() {
            self.give_up(sa, Closure::Replaced);
        }
    }

    pub(super) fn give_up(&mut self, sa: &IkeSa, why: Closure) {
        if sa.succeeded {
            return self.end(sa);
        }
        self.report(Report::Closed { peer: self.name_of(sa), why });
        self.end(sa);
    }

    /// Handles the answer to our request.
    pub(super) fn hear_answer(&mut self, mut sa: IkeSa, payloads: &[Payload]) {
        let Some(pending) = sa.pending.take() else { return };
        match pending.purpose {
            // The first message's answer is no sealed one.
            Purpose::Probe | Purpose::Begin => {}
            Purpose::Prove => return self.hear_name(sa, payloads),
            Purpose::MakeChild(name, own) => return self.hear_made(sa, &name, &own, payloads),
            Purpose::Close => return self.give_up(&sa, Closure::ByUs),
            Purpose::CloseChild(spi) => {
                sa.children.retain(|child| child.inbound_spi != spi);
                self.out.children.push(ChildEvent::Remove(spi));
            }
            Purpose::RekeyChild(rekey, collision) => return self.hear_child(sa, &rekey, &collision, payloads),
            Purpose::RekeyIke(rekey) => return self.hear_ike(sa, &rekey, payloads),
        }
        self.go_on(sa);
    }

    /// Whose an SA is.
    pub(super) fn name_of(&self, sa: &IkeSa) -> Identity {
        sa.peer().map_or_else(|| Identity::of_address(sa.path.theirs.ip()), |peer| peer.identity.clone())
    }
}
