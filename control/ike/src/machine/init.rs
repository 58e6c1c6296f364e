//! IKE_SA_INIT, at the responder (RFC 7296 sections 1.2, 2.6, 2.23).
//!
//! It costs a key exchange to answer, and the sender's address may be forged: so under load whoever comes must first send back a
//! cookie, which costs one hash, and no memory.

use std::net::IpAddr;

use super::limits::FIRST_MAX;
use super::payloads::{key_exchange, nonce, not_understood, notified, proposals};
use super::{Failure, Report, Turn};
use crate::config::{OwnProof, PeersProof};
use crate::crypto::{IkeKeys, KeyPair, Prf, Secret, Suite, nat_hash};
use crate::pki::{ENCODING_X509, hash_algorithms};
use crate::proposal::{IkeProposal, choose_ike};
use crate::state::{Abilities, IkeSa, Nat, Opening, Path, Phase, Pieces, Role};
use crate::wire::{self, Body, Exchange, Header, IkeSpi, Notify, Payload, Proposal, notify};

/// What an initiator's first message says.
struct First<'m> {
    proposals: &'m [Proposal],
    group: u16,
    public: &'m [u8],
    nonce: &'m [u8],
}

impl Turn<'_, '_> {
    /// Handles a message to an SA that there is not.
    pub(super) fn begin(&mut self, spi: IkeSpi, path: Path, bytes: &[u8]) {
        let Ok(message) = wire::parse(bytes) else { return };
        let header = message.header;
        let first = header.exchange == Exchange::IKE_SA_INIT
            && header.from_initiator
            && !header.response
            && header.message_id == 0
            && header.responder_spi == 0
            && header.initiator_spi != 0;
        let Body::Plain(payloads) = &message.body else { return };
        if !first || bytes.len() > FIRST_MAX {
            return;
        }
        if let Some(kind) = not_understood(payloads) {
            return self.turn_away(path, &header, Notify::new(notify::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind]));
        }
        let Some(first) = First::of(payloads) else { return };
        if self.given.under_load {
            let cookie = self.cookie(path, &header, first.nonce);
            if notified(payloads, notify::COOKIE) != Some(&cookie) {
                return self.turn_away(path, &header, Notify::new(notify::COOKIE, cookie));
            }
        }
        match self.choose(path, &first) {
            Ok((suite, answer)) => self.agree(spi, path, &header, bytes, payloads, &first, (suite, answer)),
            Err((notify, why)) => {
                if let Some(why) = why {
                    self.report(Report::Failed { from: path.theirs, why });
                }
                self.turn_away(path, &header, notify);
            }
        }
    }

    /// Chooses algorithms. Otherwise what is answered, and what is logged.
    fn choose(&self, path: Path, first: &First<'_>) -> Result<(Suite, Proposal), (Notify, Option<Failure>)> {
        let refuse = |why| (Notify::new(notify::NO_PROPOSAL_CHOSEN, Vec::new()), Some(why));
        let suits = self.config.connections.iter().filter(|it| it.suits(path.ours.ip(), path.theirs.ip()));
        let ours: Vec<IkeProposal> = suits.flat_map(|connection| connection.proposals.iter().cloned()).collect();
        if ours.is_empty() {
            return Err(refuse(Failure::NoConnection));
        }
        let Some((_, suite, answer)) = choose_ike(&ours, first.proposals, Some(first.group)) else {
            return Err(refuse(Failure::NoProposal(text_of(first.proposals))));
        };
        if suite.group.id() != first.group {
            return Err((Notify::new(notify::INVALID_KE_PAYLOAD, suite.group.id().to_be_bytes().into()), None));
        }
        Ok((suite, answer))
    }

    /// Agrees on keys and answers.
    #[allow(clippy::too_many_arguments)]
    fn agree(
        &mut self,
        spi: IkeSpi,
        path: Path,
        header: &Header,
        request: &[u8],
        payloads: &[Payload],
        first: &First<'_>,
        (suite, answer): (Suite, Proposal),
    ) {
        let pair = KeyPair::generate(suite.group, self.given.random);
        let Ok(shared) = pair.agree(first.public) else {
            return self.turn_away(path, header, Notify::new(notify::INVALID_SYNTAX, Vec::new()));
        };
        let nonce = self.nonce();
        let keys = IkeKeys::derive(suite, &shared, first.nonce, &nonce, header.initiator_spi, spi);
        let mut answers = vec![
            Payload::Sa(vec![answer]),
            Payload::KeyExchange { group: suite.group.id(), public: pair.public().to_vec() },
            Payload::Nonce(nonce.clone()),
        ];
        answers.extend(nat_notifies(path, header.initiator_spi, spi));
        let says = |kind| notified(payloads, kind).is_some();
        let abilities =
            Abilities { fragmentation: says(notify::IKEV2_FRAGMENTATION_SUPPORTED), ..Abilities::default() };
        answers.extend(self.wanted_proofs(path));
        if abilities.fragmentation {
            answers.push(Payload::Notify(Notify::new(notify::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new())));
        }
        let answered = wire::emit(&answering(header, spi), &answers);
        let sa = IkeSa {
            role: Role::Responder,
            initiator_spi: header.initiator_spi,
            responder_spi: spi,
            path,
            nat: nat_between(path, (header.initiator_spi, 0), payloads),
            suite,
            keys,
            phase: Phase::Opening(Opening {
                request: request.to_vec(),
                answer: answered.clone(),
                nonce_i: first.nonce.to_vec(),
                nonce_r: nonce,
            }),
            succeeded: false,
            abilities,
            created_s: self.given.now_s,
            heard_s: self.given.now_s,
            rekey_at_s: 0,
            next_request: 1,
            last_answer: vec![answered.clone()],
            next_own: 0,
            pending: None,
            pieces: Pieces::default(),
            children: Vec::new(),
            kept: None,
            synced: 0,
            token: Secret::default(),
            beyond: Vec::new(),
        };
        self.send(path, [answered]);
        self.go_on(sa);
    }

    /// What the peer is told of the proofs that we take.
    fn wanted_proofs(&self, path: Path) -> Vec<Payload> {
        let mut payloads = Vec::new();
        let suits = self.config.connections.iter().filter(|it| it.suits(path.ours.ip(), path.theirs.ip()));
        let (mut authorities, mut signs) = (Vec::new(), false);
        for connection in suits {
            signs |= matches!(connection.own_proof, OwnProof::Certificate(_));
            if let PeersProof::Certificate(trust) = &connection.peers_proof {
                authorities.extend(trust.authorities());
            }
        }
        if !authorities.is_empty() {
            payloads.push(Payload::CertificateRequest { encoding: ENCODING_X509, authorities });
            signs = true;
        }
        if signs {
            let hashes = Notify::new(notify::SIGNATURE_HASH_ALGORITHMS, hash_algorithms());
            payloads.push(Payload::Notify(hashes));
        }
        payloads
    }

    /// Answers with a notification alone, and keeps nothing.
    fn turn_away(&mut self, path: Path, header: &Header, notify: Notify) {
        let answer = wire::emit(&answering(header, 0), &[Payload::Notify(notify)]);
        self.send(path, [answer]);
    }

    /// The cookie of who speaks from there and says that: any member makes the same.
    fn cookie(&self, path: Path, header: &Header, nonce: &[u8]) -> Vec<u8> {
        let address: &[u8] = match path.theirs.ip() {
            IpAddr::V4(address) => &address.octets(),
            IpAddr::V6(address) => &address.octets(),
        };
        let parts = [nonce, address, &path.theirs.port().to_be_bytes(), &header.initiator_spi.to_be_bytes()];
        Prf::HmacSha256.compute(self.config.cookie_key.as_bytes(), &parts).as_bytes().to_vec()
    }
}

impl<'m> First<'m> {
    fn of(payloads: &'m [Payload]) -> Option<Self> {
        let (group, public) = key_exchange(payloads)?;
        Some(Self { proposals: proposals(payloads)?, group, public, nonce: nonce(payloads)? })
    }
}

/// What we say of the addresses that we see, so that the peer finds translators on the way.
pub(super) fn nat_notifies(path: Path, initiator_spi: IkeSpi, responder_spi: IkeSpi) -> [Payload; 2] {
    [(notify::NAT_DETECTION_SOURCE_IP, path.ours), (notify::NAT_DETECTION_DESTINATION_IP, path.theirs)].map(
        |(kind, at)| {
            let hash = nat_hash(initiator_spi, responder_spi, at.ip(), at.port());
            Payload::Notify(Notify::new(kind, hash.to_vec()))
        },
    )
}

/// Who is behind a translator, by what the peer says of the addresses that it sees.
pub(super) fn nat_between(path: Path, spis: (IkeSpi, IkeSpi), payloads: &[Payload]) -> Nat {
    let translated = |kind: u16, at: std::net::SocketAddr| {
        let hash = nat_hash(spis.0, spis.1, at.ip(), at.port());
        let mut said = payloads.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) if notify.kind == kind => Some(&notify.data),
            _ => None,
        });
        let mut any = false;
        let same = said.any(|data| {
            any = true;
            data.as_slice() == hash
        });
        any && !same
    };
    Nat {
        theirs: translated(notify::NAT_DETECTION_SOURCE_IP, path.theirs),
        ours: translated(notify::NAT_DETECTION_DESTINATION_IP, path.ours),
    }
}

/// Which groups and ciphers were proposed, for people.
pub(super) fn text_of(proposals: &[Proposal]) -> String {
    let transforms = proposals.iter().flat_map(|proposal| &proposal.transforms).take(24);
    let texts = transforms.map(|it| match it.key_bits {
        Some(bits) => format!("{}/{}/{bits}", it.kind, it.id),
        None => format!("{}/{}", it.kind, it.id),
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// The header of an answer to a first message.
const fn answering(header: &Header, responder_spi: IkeSpi) -> Header {
    Header { responder_spi, from_initiator: false, response: true, ..*header }
}
