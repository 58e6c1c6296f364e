//! Message IDs and replay counters that are agreed on anew (RFC 6311), with a peer that is a cluster and has lost some of them.
//!
//! ```text
//!   its new member ──message ID 0: a nonce, M1, P1, and how far to skip──▶ we
//!                  ◀──message ID 0: the nonce, P2, M2─────────────────────
//! ```
//! M1 is its next request's number, P1 that of the next one that it expects of us; M2 and P2 are what both are from then on. No
//! number goes back: so whoever says such a message again, or an old one, is not answered, and does nothing (section 5.1). What we had
//! asked under an old number is asked anew. How far we skip are numbers of packets that we shall not use: so that the new member, which
//! does not know which ones it has had, need not let in what it cannot tell from a replay.
//!
//! We never begin this ourselves: what a member knows of message IDs its heir knows, too, and it knows how far it may let numbers in.

use super::payloads::notified;
use super::sealed::Opened;
use super::{ChildEvent, Report, Turn};
use crate::state::{IkeSa, Path, Pending, Pieces, Purpose, Role};
use crate::wire::{Body, Exchange, Notify, Parsed, Payload, notify};

/// No sound peer comes so far by itself: one that said more would have us, or itself, run out of numbers.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// What one side says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sync {
    nonce: [u8; 4],
    /// The number of its next request.
    sends: u32,
    /// The number of the other side's next one.
    expects: u32,
}

impl Sync {
    fn read(data: &[u8]) -> Option<Self> {
        let [nonce, sends, expects] = data.as_chunks::<4>().0 else { return None };
        (data.len() == 12).then_some(Self {
            nonce: *nonce,
            sends: u32::from_be_bytes(*sends),
            expects: u32::from_be_bytes(*expects),
        })
    }

    fn payload(self) -> Payload {
        let data = [self.nonce, self.sends.to_be_bytes(), self.expects.to_be_bytes()].concat();
        Payload::Notify(Notify::new(notify::IKEV2_MESSAGE_ID_SYNC, data))
    }

    /// What a request says, and how far to skip. None: it has something else in it.
    fn of(payloads: &[Payload]) -> Option<(Self, u64)> {
        let (mut said, mut skip) = (None, 0);
        for payload in payloads {
            match payload {
                Payload::Notify(it) if it.kind == notify::IKEV2_MESSAGE_ID_SYNC && said.is_none() => {
                    said = Some(Self::read(&it.data)?);
                }
                Payload::Notify(it) if it.kind == notify::IPSEC_REPLAY_COUNTER_SYNC => skip = delta(&it.data)?,
                _ => return None,
            }
        }
        Some((said?, skip))
    }
}

/// Four bytes, or eight if the children count so far.
fn delta(data: &[u8]) -> Option<u64> {
    let short = data.try_into().map(|short| u64::from(u32::from_be_bytes(short)));
    short.or_else(|_| data.try_into().map(u64::from_be_bytes)).ok()
}

/// What is said by who can do this.
pub(super) fn supported() -> [Payload; 2] {
    [notify::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, notify::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED]
        .map(|kind| Payload::Notify(Notify::new(kind, Vec::new())))
}

impl IkeSa {
    /// Notes what the peer says that it can do.
    pub(super) fn note_sync(&mut self, payloads: &[Payload]) {
        let says = |kind| notified(payloads, kind).is_some();
        self.abilities.message_id_sync |= says(notify::IKEV2_MESSAGE_ID_SYNC_SUPPORTED);
        self.abilities.replay_sync |= says(notify::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED);
    }

    fn takes(&self, said: Sync) -> bool {
        // A peer that has asked nothing yet may say 0, once.
        let is_new = said.sends >= self.next_request.max(self.synced);
        is_new && said.sends.max(said.expects) <= NUMBER_MAX && self.peer().is_some()
    }

    /// Whether its peer has not said yet that it has our token: the first thing that we say under an SA that we have had made for another.
    fn owes_token(&self) -> bool {
        let asks = self.pending.as_ref().is_some_and(|pending| matches!(pending.purpose, Purpose::Probe));
        asks && self.role == Role::Initiator && self.next_own == 1
    }
}

impl Turn<'_, '_> {
    /// The payloads of a message that is such a request, whatever message ID is expected. Its number is that of ordinary ones, too.
    pub(super) fn sync_in(&mut self, sa: &IkeSa, message: &Parsed<'_>) -> Option<Vec<Payload>> {
        let header = &message.header;
        let may_be = header.message_id == 0
            && !header.response
            && header.exchange == Exchange::INFORMATIONAL
            && sa.abilities.message_id_sync
            && matches!(message.body, Body::Sealed(_));
        if !may_be {
            return None;
        }
        match self.open(&mut sa.clone(), &message.body) {
            Opened::Payloads(payloads) if notified(&payloads, notify::IKEV2_MESSAGE_ID_SYNC).is_some() => {
                Some(payloads)
            }
            _ => None,
        }
    }

    /// Handles it.
    pub(super) fn hear_sync(&mut self, mut sa: IkeSa, path: Path, payloads: &[Payload]) {
        let Some((said, skip)) = Sync::of(payloads).filter(|(said, _)| sa.takes(*said)) else { return };
        sa.heard_s = self.given.now_s;
        sa.synced = said.sends + 1;
        if sa.next_request != said.sends {
            // The answer that there is, and the pieces, are of a request that nobody remembers.
            sa.next_request = said.sends;
            (sa.last_answer, sa.pieces) = (Vec::new(), Pieces::default());
        }
        let owes_token = sa.owes_token();
        sa.next_own = sa.next_own.max(said.expects);
        let pending = sa.pending.take();
        let answer = Sync { nonce: said.nonce, sends: sa.next_own, expects: sa.next_request };
        // It is not kept: who has not got it begins with a higher number.
        let header = sa.header(Exchange::INFORMATIONAL, true, 0);
        let datagrams = self.seal(&sa, &header, &[answer.payload()]);
        self.send(path, datagrams);
        self.skip(&sa, skip);
        self.report(Report::Synced { peer: self.name_of(&sa) });
        if owes_token {
            self.give_token(&mut sa);
            return self.go_on(sa);
        }
        self.ask_anew(sa, pending);
    }

    /// The peer wants us to skip numbers of packets, in a message like any other one.
    pub(super) fn hear_skip(&mut self, sa: &IkeSa, payloads: &[Payload]) {
        let data = notified(payloads, notify::IPSEC_REPLAY_COUNTER_SYNC);
        self.skip(sa, data.and_then(delta).unwrap_or(0));
    }

    fn skip(&mut self, sa: &IkeSa, count: u64) {
        if count > 0 && sa.abilities.replay_sync {
            let skips = sa.children.iter().map(|child| ChildEvent::Skip { inbound_spi: child.inbound_spi, count });
            self.out.children.extend(skips);
        }
    }

    /// Goes on with what was asked and will not be answered.
    fn ask_anew(&mut self, sa: IkeSa, pending: Option<Pending>) {
        match pending.map(|pending| pending.purpose) {
            Some(Purpose::Close) => self.close(sa),
            Some(Purpose::CloseChild(spi)) => self.close_child(sa, spi),
            Some(Purpose::RekeyChild(rekey, _)) => self.rekey_child(sa, rekey.old_spi, None),
            Some(Purpose::RekeyIke(_)) => self.rekey_own(sa, None),
            // The peer lives. A child that is missing is missed.
            Some(Purpose::Probe | Purpose::MakeChild(..) | Purpose::Begin | Purpose::Prove) | None => self.go_on(sa),
        }
    }
}
