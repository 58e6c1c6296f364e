//! Quick crash detection (RFC 6290): who has lost an IKE SA proves that to its peer by a token that it gave it before.
//!
//! ```text
//!   under the SA       maker ──N(QUICK_CRASH_DETECTION, token)──▶ taker, who keeps it
//!   the maker has no such SA any more
//!   taker ──a sealed request──▶ maker
//!   taker ◀──in clear: INVALID_IKE_SPI, the token── maker; the taker ends the SA, without a word
//! ```
//! *Ours* is a keyed hash of both SPIs, so any member makes it of a message alone. Whoever sees one can end the SA that it is for: so it
//! is sent in clear only when nobody in the cluster has that SA, which the data plane finds out. Nor must an SA come about under SPIs
//! whose token somebody has been shown: the SPIs that we choose say when that was, and none is answered for while an SA may come of it. (A
//! peer that has granted us new keys uses the new SA before we have read its answer.)
//!
//! *The peer's* is kept with the SA. Nothing that comes in clear ends an established SA but the right one.

use super::payloads::notification;
use super::report::Closure;
use super::{Datagram, Machine, Turn};
use crate::crypto::{Prf, Secret};
use crate::state::{IkeSa, Path};
use crate::wire::{self, Exchange, Header, IkeSpi, Notify, Payload, notify, protocol};

/// RFC 6290 section 4.1.
const TOKEN_LEN: std::ops::RangeInclusive<usize> = 16..=128;
/// So many of a message's tokens are looked at. Section 4.5 wants four: a maker may have changed its secret.
const TOKENS_MAX: usize = 4;

impl Machine<'_> {
    /// What a peer is told that speaks of an IKE SA that no member has: `head` is its request's header, as a message of its own. None:
    /// it is no request that is answered so.
    pub fn tell_lost(&self, path: Path, head: &[u8]) -> Option<Datagram> {
        let header = wire::header(head).ok()?;
        let (initiator, responder) = (header.initiator_spi, header.responder_spi);
        if header.response || header.exchange == Exchange::IKE_SA_INIT || initiator == 0 || responder == 0 {
            return None;
        }
        let header = Header { response: true, from_initiator: !header.from_initiator, ..header };
        let lost = Payload::Notify(Notify::new(notify::INVALID_IKE_SPI, Vec::new()));
        let bytes = wire::emit(&header, &[lost, token_of(&self.config.token_key, initiator, responder)]);
        Some(Datagram { from: path.ours, to: path.theirs, bytes })
    }
}

impl Turn<'_, '_> {
    /// What we give the peer of an SA.
    pub(super) fn token(&self, sa: &IkeSa) -> Payload {
        token_of(&self.config.token_key, sa.initiator_spi, sa.responder_spi)
    }

    /// Handles a message that anybody may have sent.
    pub(super) fn hear_in_clear(&mut self, sa: &IkeSa, header: &Header, payloads: &[Payload]) {
        let its = (header.initiator_spi, header.responder_spi) == (sa.initiator_spi, sa.responder_spi)
            && header.from_initiator != sa.header(header.exchange, false, 0).from_initiator;
        let says_lost = [notify::INVALID_IKE_SPI, notify::INVALID_SPI];
        let right = sa.peer().is_some()
            && !sa.token.is_empty()
            && its
            && says_lost.iter().any(|kind| notification(payloads, *kind).is_some())
            && tokens(payloads).take(TOKENS_MAX).any(|token| Secret::from(token) == sa.token);
        self.out.token = Some(right);
        if right {
            self.give_up(sa, Closure::Lost);
        }
    }
}

impl IkeSa {
    /// Keeps the token that the peer has given for this SA, if there is one in what it has sealed.
    pub(super) fn keep_token(&mut self, payloads: &[Payload]) {
        if let Some(token) = tokens(payloads).find(|token| TOKEN_LEN.contains(&token.len())) {
            self.token = Secret::from(token);
        }
    }
}

fn tokens(payloads: &[Payload]) -> impl Iterator<Item = &[u8]> {
    payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == notify::QUICK_CRASH_DETECTION => Some(notify.data.as_slice()),
        _ => None,
    })
}

fn token_of(key: &Secret, initiator: IkeSpi, responder: IkeSpi) -> Payload {
    let token = Prf::HmacSha256.compute(key.as_bytes(), &[&initiator.to_be_bytes(), &responder.to_be_bytes()]);
    let data = token.as_bytes().to_vec();
    Payload::Notify(Notify { protocol: protocol::IKE, ..Notify::new(notify::QUICK_CRASH_DETECTION, data) })
}
