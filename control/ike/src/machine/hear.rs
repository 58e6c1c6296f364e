//! A message to an SA that there is: whose turn it is, and what it is about.
//!
//! The window is one message each way. A request is either the next one, or the last one once more, which gets the same answer again;
//! all else is not looked at.

use super::payloads::not_understood;
use super::sealed::Opened;
use super::{Failure, Report, Turn};
use crate::state::{Beginning, IkeSa, Path, Phase};
use crate::wire::{self, Body, Exchange, Header, Notify, Payload, notify};

impl Turn<'_, '_> {
    /// Handles a message to an SA.
    pub(super) fn hear(&mut self, mut sa: IkeSa, path: Path, bytes: &[u8]) {
        let Ok(message) = wire::parse(bytes) else { return };
        let header = message.header;
        // Its time may not have been seen to come yet. A peer that has begun anew meanwhile must not get a second one by what it said long ago.
        if self.is_overdue(&sa) {
            return self.end(&sa);
        }
        if let Phase::Beginning(beginning) = &sa.phase {
            let beginning = Beginning::clone(beginning);
            return self.hear_first_answer(sa, beginning, (path, &message, bytes));
        }
        let its = (header.initiator_spi, header.responder_spi) == (sa.initiator_spi, sa.responder_spi);
        if header.exchange == Exchange::IKE_SA_INIT {
            return self.hear_first_again(&sa, path, bytes);
        }
        if let Body::Plain(payloads) = &message.body {
            return self.hear_in_clear(&sa, &header, payloads);
        }
        // Its sender has the other part.
        if !its || header.from_initiator == sa.header(header.exchange, false, 0).from_initiator {
            return;
        }
        if let Some(payloads) = self.sync_in(&sa, &message) {
            return self.hear_sync(sa, path, &payloads);
        }
        let again = !header.response && header.message_id.wrapping_add(1) == sa.next_request;
        let next = match header.response {
            true => sa.pending.is_some() && header.message_id.wrapping_add(1) == sa.next_own,
            false => header.message_id == sa.next_request,
        };
        if !again && !next {
            return;
        }
        let opened = if again { self.open(&mut sa.clone(), &message.body) } else { self.open(&mut sa, &message.body) };
        match opened {
            Opened::Unauthentic => {}
            // Of a request in pieces the first stands for all (RFC 7383 section 2.6.1).
            _ if again && is_later_piece(&message.body) => {}
            _ if again => self.answer_again(&sa, path),
            Opened::Piece => self.go_on(sa),
            Opened::Nonsense if header.response => {}
            Opened::Nonsense => self.refuse_nonsense(sa, path, &header),
            Opened::Payloads(payloads) => self.take(sa, path, &header, &payloads),
        }
    }

    /// A first message to an SA that has got one: the same, or a stranger's.
    fn hear_first_again(&mut self, sa: &IkeSa, path: Path, bytes: &[u8]) {
        if let Phase::Opening(opening) = &sa.phase
            && opening.request == bytes
            && sa.next_request == 1
        {
            self.send(path, sa.last_answer.clone());
        }
    }

    /// A request that has been answered: the same answer, to where it came from.
    fn answer_again(&mut self, sa: &IkeSa, path: Path) {
        self.send(path, sa.last_answer.clone());
    }

    /// Handles a message that is the peer's and whose turn it is.
    fn take(&mut self, mut sa: IkeSa, path: Path, header: &Header, payloads: &[Payload]) {
        sa.heard_s = self.given.now_s;
        // At any time, in either direction (RFC 6290 section 4.4).
        if header.exchange == Exchange::INFORMATIONAL && sa.peer().is_some() {
            sa.keep_token(payloads);
        }
        if header.response {
            return self.hear_answer(sa, payloads);
        }
        // Who is to prove its name to us does that first: it asks again.
        if matches!(sa.phase, Phase::Closed | Phase::Proving(_)) {
            return;
        }
        self.follow(&mut sa, path, header);
        if let Some(kind) = not_understood(payloads) {
            let refusal = Notify::new(notify::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind]);
            return self.answer_only(sa, path, header.exchange, refusal);
        }
        match (&sa.phase, header.exchange) {
            (Phase::Opening(_) | Phase::Asking(_), Exchange::IKE_AUTH) => self.authenticate(sa, path, payloads),
            (Phase::Established(_), Exchange::CREATE_CHILD_SA) => self.create(sa, path, payloads),
            (Phase::Established(_), Exchange::INFORMATIONAL) => self.inform(sa, path, payloads),
            _ => self.answer_only(sa, path, header.exchange, Notify::new(notify::INVALID_SYNTAX, Vec::new())),
        }
    }

    /// Whether a peer behind a translator, or one that begins, is somewhere else by now. (One that can move says so by itself.)
    fn follow(&mut self, sa: &mut IkeSa, path: Path, header: &Header) {
        let follows = sa.nat.theirs && !sa.abilities.mobike;
        if sa.path == path || !(follows || header.exchange == Exchange::IKE_AUTH) {
            return;
        }
        sa.path = path;
        self.move_children(sa);
    }

    fn refuse_nonsense(&mut self, sa: IkeSa, path: Path, header: &Header) {
        self.report(Report::Failed { from: path.theirs, why: Failure::Protocol("its payloads make no sense") });
        self.answer_only(sa, path, header.exchange, Notify::new(notify::INVALID_SYNTAX, Vec::new()));
    }

    fn answer_only(&mut self, sa: IkeSa, path: Path, exchange: Exchange, notify: Notify) {
        self.answer(sa, path, exchange, &[Payload::Notify(notify)]);
    }

    /// Answers the peer's request, and goes on.
    pub(super) fn answer(&mut self, mut sa: IkeSa, path: Path, exchange: Exchange, payloads: &[Payload]) {
        let header = sa.header(exchange, true, sa.next_request);
        sa.last_answer = self.seal(&sa, &header, payloads);
        sa.next_request = sa.next_request.wrapping_add(1);
        self.send(path, sa.last_answer.clone());
        self.go_on(sa);
    }

    /// Answers the peer's request, after which the SA is over.
    pub(super) fn answer_and_close(&mut self, mut sa: IkeSa, path: Path, exchange: Exchange, payloads: &[Payload]) {
        self.remove_children(&sa);
        sa.children.clear();
        sa.pending = None;
        // The answer is sealed with the SA's keys, whatever its phase.
        sa.phase = Phase::Closed;
        self.answer(sa, path, exchange, payloads);
    }
}

const fn is_later_piece(body: &Body<'_>) -> bool {
    matches!(body, Body::Fragment(piece) if piece.number > 1)
}

impl Notify {
    /// One that speaks of no SA.
    pub(super) const fn new(kind: u16, data: Vec<u8>) -> Self {
        Self { protocol: 0, spi: Vec::new(), kind, data }
    }
}
