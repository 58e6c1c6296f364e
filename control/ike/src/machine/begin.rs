//! IKE_SA_INIT, at the initiator (RFC 7296 sections 1.2, 2.6, 2.7, 2.23).
//!
//! ```text
//!   Beginning ──a cookie, another group wanted──▶ Beginning
//!       └──algorithms, keys──▶ Proving: what is said next goes under these keys (`prove`)
//! ```
//! Nobody vouches for an answer: whoever sees our message can make one. So what makes no sense is as if it had not come, and the right
//! one may still do. A refusal ends the attempt; there will be another (`keep`).

use super::init::{nat_between, nat_notifies};
use super::limits::FIRST_MAX;
use super::own::FIRST_PAUSE_S;
use super::payloads::{key_exchange, nonce, not_understood, notified};
use super::rekey::{first_group, proposal, refusal};
use super::{Failure, Report, Turn};
use crate::config::{Connection, OwnProof, PeersProof};
use crate::crypto::{Cipher, Group, IkeKeys, KeyPair, Prf, Secret, Suite};
use crate::pki::hash_algorithms;
use crate::proposal::{accepted_ike, offer_ike};
use crate::state::{Abilities, Beginning, IkeSa, Kept, Nat, Opening, Path, Pending, Phase, Pieces, Purpose, Role};
use crate::wire::{self, Body, Exchange, Header, IkeSpi, Notify, Parsed, Payload, notify};

/// So often a peer may want something else before it answers: a cookie, another group, a cookie again.
const TURNS_MAX: u8 = 5;
/// RFC 7296 section 2.6.
const COOKIE_LEN: std::ops::RangeInclusive<usize> = 1..=64;
/// Where IKE goes on if addresses are translated on the way, so that ESP can go in the same UDP (RFC 7296 section 2.23).
const PORT_NAT: u16 = 4500;

impl Turn<'_, '_> {
    /// Begins an IKE SA. None: the connection proposes nothing.
    pub(super) fn begin_own(&mut self, connection: &Connection, path: Path) -> Option<IkeSa> {
        let group = first_group(&offer_ike(&connection.proposals, &[]))?;
        let beginning = Beginning {
            connection: connection.name.clone(),
            pair: KeyPair::generate(group, self.given.random),
            nonce: self.nonce(),
            cookie: Vec::new(),
            turns: 0,
        };
        let spi = self.ike_spi();
        let sa = self.say_first(self.unbegun(spi, path, group), beginning, connection);
        Some(sa)
    }

    /// One without keys, of which nothing is said yet.
    fn unbegun(&self, spi: IkeSpi, path: Path, group: Group) -> IkeSa {
        IkeSa {
            role: Role::Initiator,
            initiator_spi: spi,
            responder_spi: 0,
            path,
            nat: Nat::default(),
            // The peer says which.
            suite: Suite { cipher: Cipher::AesGcm16_128, integrity: None, prf: Prf::HmacSha256, group },
            keys: IkeKeys::default(),
            phase: Phase::Closed,
            succeeded: false,
            abilities: Abilities::default(),
            created_s: self.given.now_s,
            heard_s: self.given.now_s,
            rekey_at_s: 0,
            next_request: 0,
            last_answer: Vec::new(),
            next_own: 1,
            pending: None,
            pieces: Pieces::default(),
            children: Vec::new(),
            kept: Some(Kept { begun: spi, lacking: Vec::new() }),
            synced: 0,
            token: Secret::default(),
            beyond: Vec::new(),
        }
    }

    /// The first message, or the first one once more with what the peer wants besides.
    fn say_first(&mut self, mut sa: IkeSa, beginning: Beginning, connection: &Connection) -> IkeSa {
        let Beginning { pair, nonce, cookie, .. } = &beginning;
        let plain = |kind, data| Payload::Notify(Notify::new(kind, data));
        let mut payloads = Vec::new();
        payloads.extend((!cookie.is_empty()).then(|| plain(notify::COOKIE, cookie.clone())));
        payloads.extend([
            Payload::Sa(offer_ike(&connection.proposals, &[])),
            Payload::KeyExchange { group: pair.group().id(), public: pair.public().to_vec() },
            Payload::Nonce(nonce.clone()),
        ]);
        payloads.extend(nat_notifies(sa.path, sa.initiator_spi, 0));
        payloads.push(plain(notify::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()));
        payloads.extend(signs(connection).then(|| plain(notify::SIGNATURE_HASH_ALGORITHMS, hash_algorithms())));
        let request = wire::emit(&sa.header(Exchange::IKE_SA_INIT, false, 0), &payloads);
        self.send(sa.path, [request.clone()]);
        let again_s = self.given.now_s.saturating_add(FIRST_PAUSE_S);
        sa.pending = Some(Pending { datagrams: vec![request], purpose: Purpose::Begin, tries: 1, again_s });
        sa.phase = Phase::Beginning(Box::new(beginning));
        sa
    }

    /// Handles what may be the answer to our first message.
    pub(super) fn hear_first_answer(
        &mut self,
        sa: IkeSa,
        beginning: Beginning,
        (path, message, bytes): (Path, &Parsed<'_>, &[u8]),
    ) {
        let (header, Body::Plain(payloads)) = (&message.header, &message.body) else { return };
        let its = header.exchange == Exchange::IKE_SA_INIT
            && header.response
            && !header.from_initiator
            && header.message_id == 0
            && header.initiator_spi == sa.initiator_spi
            && path.theirs.ip() == sa.path.theirs.ip();
        if !its || bytes.len() > FIRST_MAX || not_understood(payloads).is_some() {
            return;
        }
        let Some(connection) = self.connection(&beginning.connection) else { return };
        if let Some(cookie) = notified(payloads, notify::COOKIE) {
            if COOKIE_LEN.contains(&cookie.len()) && beginning.turns < TURNS_MAX {
                let turns = beginning.turns + 1;
                let sa = self.say_first(sa, Beginning { cookie: cookie.to_vec(), turns, ..beginning }, connection);
                self.go_on(sa);
            }
            return;
        }
        if let Some(refusal) = refusal(payloads) {
            return self.refused_first(sa, beginning, connection, refusal);
        }
        self.agree_with(sa, &beginning, connection, (header, payloads, bytes));
    }

    fn refused_first(&mut self, sa: IkeSa, beginning: Beginning, connection: &Connection, refusal: &Notify) {
        let group = wanted_group(connection, refusal).filter(|group| *group != beginning.pair.group());
        match group {
            Some(group) if beginning.turns < TURNS_MAX => {
                let pair = KeyPair::generate(group, self.given.random);
                let turns = beginning.turns + 1;
                let sa = self.say_first(sa, Beginning { pair, turns, ..beginning }, connection);
                self.go_on(sa);
            }
            _ => self.fail(&sa, Failure::Refused { what: "an IKE SA", kind: refusal.kind }),
        }
    }

    /// Agrees on keys, and says who we are.
    fn agree_with(
        &mut self,
        mut sa: IkeSa,
        beginning: &Beginning,
        connection: &Connection,
        (header, payloads, bytes): (&Header, &[Payload], &[u8]),
    ) {
        let (Some(chosen), Some((group, public)), Some(theirs)) =
            (proposal(payloads), key_exchange(payloads), nonce(payloads))
        else {
            return;
        };
        let suite = accepted_ike(&connection.proposals, chosen);
        let Some(suite) = suite.filter(|suite| suite.group == beginning.pair.group() && group == suite.group.id())
        else {
            return self.fail(&sa, Failure::Protocol("it takes algorithms that were not proposed"));
        };
        let (Ok(shared), true) = (beginning.pair.agree(public), header.responder_spi != 0) else { return };
        sa.suite = suite;
        sa.responder_spi = header.responder_spi;
        sa.keys = IkeKeys::derive(suite, &shared, &beginning.nonce, theirs, sa.initiator_spi, sa.responder_spi);
        sa.nat = nat_between(sa.path, (sa.initiator_spi, sa.responder_spi), payloads);
        if sa.is_translated() {
            sa.path.ours.set_port(PORT_NAT);
            sa.path.theirs.set_port(PORT_NAT);
        }
        sa.abilities.fragmentation = notified(payloads, notify::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        let request = sa.pending.take().map(|pending| pending.datagrams.concat()).unwrap_or_default();
        let opening =
            Opening { request, answer: bytes.to_vec(), nonce_i: beginning.nonce.clone(), nonce_r: theirs.to_vec() };
        sa.heard_s = self.given.now_s;
        self.say_name(sa, opening, connection);
    }

    /// An SA of ours does not come about.
    pub(super) fn fail(&mut self, sa: &IkeSa, why: Failure) {
        self.report(Report::Failed { from: sa.path.theirs, why });
        self.end(sa);
    }
}

/// The group that a peer wants instead, if it is among those that we propose.
fn wanted_group(connection: &Connection, refusal: &Notify) -> Option<Group> {
    let id = u16::from_be_bytes(refusal.data.as_slice().try_into().ok()?);
    let group = Group::from_id(id).filter(|_| refusal.kind == notify::INVALID_KE_PAYLOAD)?;
    let offer = offer_ike(&connection.proposals, &[]);
    offer.into_iter().any(|proposal| has_group(&proposal.transforms, id)).then_some(group)
}

/// Whether a proposal has a group.
fn has_group(transforms: &[wire::Transform], id: u16) -> bool {
    const GROUPS: u8 = 4;
    transforms.iter().any(|transform| (transform.kind, transform.id) == (GROUPS, id))
}

/// Whether either side signs.
const fn signs(connection: &Connection) -> bool {
    matches!(connection.own_proof, OwnProof::Certificate(_))
        || matches!(connection.peers_proof, PeersProof::Certificate(_))
}
