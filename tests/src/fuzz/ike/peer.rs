//! What the peer says: with the right keys, which it reads in our records.

use phalanx_ike::crypto::{open, psk_auth, seal, sealed_len};
use phalanx_ike::state::{IkeSa, Opening, Phase, Purpose};
use phalanx_ike::wire::{
    Attribute, Body, Exchange, Header, Identity, Notify, Payload, Proposal, emit, emit_fragment_head, emit_payloads,
    emit_sealed_head, notify, parse, payloads,
};

use super::script::{self, esp_proposal, ike_proposal, key_exchange};
use super::{Counted, KEY, PASSWORD, SAS_MAX, USER, World};
use crate::fuzz::cursor::Cursor;

const EXCHANGES: [Exchange; 4] =
    [Exchange::INFORMATIONAL, Exchange::CREATE_CHILD_SA, Exchange::IKE_AUTH, Exchange::IKE_SA_INIT];

fn fact(kind: u16, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify { protocol: 0, spi: Vec::new(), kind, data })
}

/// The header of a message of the peer's.
fn header(sa: &IkeSa, exchange: Exchange, response: bool, message_id: u32) -> Header {
    let ours = sa.header(exchange, response, message_id);
    Header { from_initiator: !ours.from_initiator, ..ours }
}

/// What a datagram carries; the wire emits nothing longer.
const LONGEST: usize = 60_000;

/// Seals as the peer does.
fn sealed(sa: &IkeSa, mut head: Vec<u8>, inside: &[u8]) -> Vec<u8> {
    let (encryption, integrity) = sa.peer_keys();
    head.extend(seal(sa.suite, encryption, integrity, &head, inside, [9; 8], &mut Counted(3)));
    head
}

fn whole(sa: &IkeSa, header: &Header, (first, inside): (u8, &[u8])) -> Vec<u8> {
    let head = emit_sealed_head(header, first, sealed_len(sa.suite, inside.len()));
    sealed(sa, head, inside)
}

/// What our own words say.
fn opened(sa: &IkeSa, datagrams: &[Vec<u8>]) -> Option<Vec<Payload>> {
    let (encryption, integrity) = sa.own_keys();
    let (mut first, mut inside) = (0, Vec::new());
    for bytes in datagrams {
        let (kind, associated, sealed) = match parse(bytes).ok()?.body {
            Body::Sealed(it) => (it.first, it.associated, it.sealed),
            Body::Fragment(it) => (it.first, it.associated, it.sealed),
            Body::Plain(_) => return None,
        };
        first = first.max(kind);
        inside.extend_from_slice(&open(sa.suite, encryption, integrity, associated, sealed).ok()?);
    }
    payloads(first, &inside).ok()
}

impl World {
    /// A first message.
    pub(super) fn begin(&mut self, script: &mut Cursor<'_>) {
        self.begun = (self.begun + 1) % SAS_MAX;
        let initiator_spi = 0x1111_0000 + self.begun;
        let how = script.u8();
        if how & 64 != 0 {
            return self.begin_own();
        }
        let header = Header {
            initiator_spi,
            responder_spi: 0,
            exchange: Exchange::IKE_SA_INIT,
            from_initiator: true,
            response: false,
            message_id: u32::from(how & 16 != 0),
        };
        let mut chain = if how & 1 == 0 { Vec::new() } else { script::payloads(script, None) };
        if how & 2 == 0 {
            chain.extend([Payload::Sa(vec![ike_proposal(&[])]), key_exchange(), Payload::Nonce(vec![7; 32])]);
        }
        if how & 4 == 0 {
            chain.push(fact(notify::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()));
        }
        if how & 8 != 0 {
            // As from behind a translator.
            chain.push(fact(notify::NAT_DETECTION_SOURCE_IP, vec![0; 20]));
        }
        if emit_payloads(&chain).1.len() > LONGEST {
            return;
        }
        let mut bytes = emit(&header, &chain);
        if how & 32 != 0 {
            let at = usize::from(script.u16()) % bytes.len();
            bytes[at] ^= script.u8();
        }
        self.hear(self.begun << 16 | 1 << 10 | 77, &bytes);
    }

    /// Who the peer is, and its proof, as far as it has got; with what it wants.
    pub(super) fn prove(&mut self, script: &mut Cursor<'_>) {
        let Some((spi, sa)) = self.pick(script) else { return };
        let how = script.u8();
        let identity = Identity::of_text(if how & 16 == 0 { "alice@example.org" } else { "bob@example.org" });
        let proof = |opening: &Opening, key: &[u8]| {
            let (request, nonce) = (&opening.request, &opening.nonce_r);
            let body = [&[identity.kind, 0, 0, 0], &*identity.data].concat();
            let proof = psk_auth(sa.suite.prf, key, request, nonce, &sa.keys.pi, &body);
            Payload::Auth { method: 2, data: proof.as_bytes().to_vec() }
        };
        let chain = match &sa.phase {
            Phase::Opening(opening) => {
                let mut chain = vec![Payload::IdInitiator(identity.clone())];
                if how & 1 == 0 {
                    chain.push(proof(opening, KEY));
                }
                if how & 2 != 0 {
                    let attributes = [1, 3, 8].map(|kind| Attribute { kind, value: Vec::new() });
                    chain.push(Payload::Configuration { kind: 1, attributes: attributes.into() });
                }
                if how & 4 != 0 {
                    chain.push(fact(notify::MOBIKE_SUPPORTED, Vec::new()));
                }
                if how & 8 == 0 {
                    chain.push(Payload::Sa(vec![esp_proposal(0xc000 + self.now_s as u32, false)]));
                    chain.extend(script::traffic(script));
                }
                if how & 32 != 0 {
                    chain.extend(script::payloads(script, Some(&sa)));
                }
                chain
            }
            Phase::Asking(asking) => match &asking.granted {
                Some((_, key)) => vec![proof(&asking.opening, key.as_bytes())],
                None => self.eap(&sa).into_iter().collect(),
            },
            Phase::Beginning(_) | Phase::Proving(_) | Phase::Established(_) | Phase::Closed => return,
        };
        let header = header(&sa, Exchange::IKE_AUTH, false, sa.next_request);
        self.speak(script, spi, &sa, &header, &chain, how & 64 != 0);
    }

    /// The user's answer to what was asked last, by one who has heard nothing before.
    fn eap(&self, sa: &IkeSa) -> Option<Payload> {
        let asked = opened(sa, &sa.last_answer)?.into_iter().find_map(|payload| match payload {
            Payload::Eap(packet) => Some(packet),
            _ => None,
        })?;
        let mut client = phalanx_ike::eap::Client::new(USER, PASSWORD.to_owned().into());
        let mut random = Counted(1);
        let mut fill = |bytes: &mut [u8]| phalanx_ike::crypto::Random::fill(&mut random, bytes);
        match client.hear(&asked, &mut fill) {
            phalanx_ike::eap::Answer::Send(answer) => Some(Payload::Eap(answer)),
            // The success that it cannot judge; RFC 2759 has it said so.
            _ => Some(Payload::Eap(vec![2, *asked.get(1)?, 0, 6, 26, 3])),
        }
    }

    /// A request or an answer with some payloads.
    pub(super) fn say(&mut self, script: &mut Cursor<'_>, in_pieces: bool) {
        let Some((spi, sa)) = self.pick(script) else { return };
        let how = script.u8();
        let exchange = EXCHANGES[usize::from(how & 3)];
        let response = how & 4 != 0;
        let message_id = match (how >> 3 & 3, response) {
            (0 | 1, false) => sa.next_request,
            (0 | 1, true) => sa.next_own.wrapping_sub(1),
            (2, _) => sa.next_request.wrapping_sub(1),
            _ => script.u32(),
        };
        let chain = script::payloads(script, Some(&sa));
        let header = header(&sa, exchange, response, message_id);
        if how & 0xe0 == 0xe0 && emit_payloads(&chain).1.len() <= LONGEST {
            // As anybody could.
            return self.hear(spi, &emit(&header, &chain));
        }
        self.speak(script, spi, &sa, &header, &chain, in_pieces);
    }

    /// A request whose payloads are any bytes.
    pub(super) fn say_raw(&mut self, script: &mut Cursor<'_>) {
        let Some((spi, sa)) = self.pick(script) else { return };
        let exchange = EXCHANGES[usize::from(script.u8() & 3)];
        let first = script.u8();
        let inside = script::raw(script);
        if matches!(sa.phase, Phase::Beginning(_)) {
            return;
        }
        let header = header(&sa, exchange, false, sa.next_request);
        let bytes = whole(&sa, &header, (first, &inside));
        self.hear(spi, &bytes);
    }

    /// A wish that makes sense: a child, new keys for one, new keys for the IKE SA.
    pub(super) fn wish(&mut self, script: &mut Cursor<'_>) {
        let Some((spi, sa)) = self.pick(script) else { return };
        let how = script.u8();
        let nonce = Payload::Nonce(vec![how; 32]);
        let name = u32::from(script.u16()) | 1 << 20;
        let mut chain = if how & 3 == 3 {
            vec![Payload::Sa(vec![ike_proposal(&u64::from(name).to_be_bytes())]), nonce, key_exchange()]
        } else {
            let exchanges = how & 4 != 0;
            let mut chain = vec![Payload::Sa(vec![esp_proposal(name, exchanges)]), nonce];
            if exchanges {
                chain.push(key_exchange());
            }
            chain.extend(script::traffic(script));
            chain
        };
        if let (1, Some(old)) = (how & 3, sa.children.get(usize::from(script.u8()))) {
            let spi = old.outbound_spi.to_be_bytes().into();
            chain.push(Payload::Notify(Notify { protocol: 3, spi, kind: notify::REKEY_SA, data: Vec::new() }));
        }
        let header = header(&sa, Exchange::CREATE_CHILD_SA, false, sa.next_request);
        self.speak(script, spi, &sa, &header, &chain, how & 8 != 0);
    }

    /// An answer to what we ask, one that makes sense but for what the script changes.
    pub(super) fn answer(&mut self, script: &mut Cursor<'_>) {
        let Some((spi, sa)) = self.pick(script) else { return };
        let how = script.u8();
        let Some(pending) = &sa.pending else { return };
        if let Phase::Beginning(_) = &sa.phase {
            return self.answer_first(script, spi, &sa, how);
        }
        let mut chain = match &sa.phase {
            Phase::Proving(proving) => proof_of_responder(&sa, &proving.opening),
            _ => Vec::new(),
        };
        let (exchange, new_spi) = match &pending.purpose {
            Purpose::Prove => (Exchange::IKE_AUTH, script.u32().max(1).to_be_bytes().to_vec()),
            Purpose::RekeyChild(..) | Purpose::MakeChild(..) => {
                (Exchange::CREATE_CHILD_SA, script.u32().max(1).to_be_bytes().to_vec())
            }
            Purpose::RekeyIke(_) => (Exchange::CREATE_CHILD_SA, vec![how | 1; 8]),
            _ => (Exchange::INFORMATIONAL, Vec::new()),
        };
        if exchange != Exchange::INFORMATIONAL {
            for asked in opened(&sa, &pending.datagrams).unwrap_or_default() {
                match asked {
                    Payload::Sa(proposals) => {
                        let chosen = proposals.into_iter().next().map(|it| chosen(it, &new_spi));
                        chain.push(Payload::Sa(chosen.into_iter().collect()));
                    }
                    Payload::Nonce(_) => chain.push(Payload::Nonce(vec![how; 32])),
                    Payload::KeyExchange { .. } => chain.push(key_exchange()),
                    Payload::SelectorsInitiator(_) | Payload::SelectorsResponder(_) if how & 2 != 0 => {}
                    other @ (Payload::SelectorsInitiator(_) | Payload::SelectorsResponder(_)) => chain.push(other),
                    _ => {}
                }
            }
            if how & 2 != 0 {
                chain.extend(script::traffic(script));
            }
        }
        if how & 1 != 0 {
            chain.extend(script::payloads(script, Some(&sa)));
        }
        let header = header(&sa, exchange, true, sa.next_own.wrapping_sub(1));
        self.speak(script, spi, &sa, &header, &chain, how & 4 != 0);
    }

    /// An answer to our first message.
    fn answer_first(&mut self, script: &mut Cursor<'_>, spi: u64, sa: &IkeSa, how: u8) {
        let said = sa.pending.as_ref().and_then(|pending| pending.datagrams.first()).expect("a first message");
        let Body::Plain(asked) = parse(said).expect("what we say can be read").body else { return };
        let mut chain = Vec::new();
        match how & 12 {
            4 => chain.push(fact(notify::COOKIE, vec![how; 20])),
            8 => chain.push(fact(notify::INVALID_KE_PAYLOAD, u16::from(script.u8()).to_be_bytes().into())),
            _ => {
                let offered = asked.into_iter().find_map(|payload| match payload {
                    Payload::Sa(proposals) => proposals.into_iter().next(),
                    _ => None,
                });
                chain.push(Payload::Sa(offered.map(|it| chosen(it, &[])).into_iter().collect()));
                chain.extend([key_exchange(), Payload::Nonce(vec![how; 32])]);
                chain.extend((how & 2 == 0).then(|| fact(notify::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new())));
                chain.extend((how & 16 != 0).then(|| fact(notify::NAT_DETECTION_SOURCE_IP, vec![0; 20])));
            }
        }
        if how & 1 != 0 {
            chain.extend(script::payloads(script, None));
        }
        if emit_payloads(&chain).1.len() <= LONGEST {
            let header = Header { responder_spi: 0x2222_0000, ..header(sa, Exchange::IKE_SA_INIT, true, 0) };
            self.hear(spi, &emit(&header, &chain));
        }
    }

    /// Says it, in one piece or in several, of which some may be missing, or of another cut.
    fn speak(
        &mut self,
        script: &mut Cursor<'_>,
        spi: u64,
        sa: &IkeSa,
        header: &Header,
        chain: &[Payload],
        in_pieces: bool,
    ) {
        let (first, inside) = emit_payloads(chain);
        if inside.len() > LONGEST || matches!(sa.phase, Phase::Beginning(_)) {
            return;
        }
        if !in_pieces {
            let bytes = whole(sa, header, (first, &inside));
            return self.hear(spi, &bytes);
        }
        let (size, skip, more) = (16 * usize::from(script.u8()) + 8, script.u8(), u16::from(script.u8() & 3));
        let pieces: Vec<&[u8]> = inside.chunks(size).collect();
        let total = (pieces.len() as u16).saturating_add(more).max(1);
        for (number, piece) in (1_u16..).zip(pieces).filter(|(number, _)| *number != u16::from(skip)).take(80) {
            let first = if number == 1 { first } else { 0 };
            let head = emit_fragment_head(header, first, number, total, sealed_len(sa.suite, piece.len()));
            let bytes = sealed(sa, head, piece);
            self.hear(spi, &bytes);
        }
    }
}

/// The peer's name, and its proof.
fn proof_of_responder(sa: &IkeSa, opening: &Opening) -> Vec<Payload> {
    let identity = Identity::of_text("alice@example.org");
    let body = [&[identity.kind, 0, 0, 0], &*identity.data].concat();
    let proof = psk_auth(sa.suite.prf, KEY, &opening.answer, &opening.nonce_i, &sa.keys.pr, &body);
    vec![Payload::IdResponder(identity), Payload::Auth { method: 2, data: proof.as_bytes().to_vec() }]
}

/// The first of everything that is offered.
fn chosen(mut proposal: Proposal, spi: &[u8]) -> Proposal {
    let mut kinds = Vec::new();
    proposal.transforms.retain(|transform| {
        let new = !kinds.contains(&transform.kind);
        kinds.push(transform.kind);
        new
    });
    Proposal { spi: spi.to_vec(), ..proposal }
}
