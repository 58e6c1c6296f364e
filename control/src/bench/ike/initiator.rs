//! A peer: says what RFC 7296 has an initiator say, and believes nothing that is not proved.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::{ipv4, udp};
use phalanx_ike::crypto::{
    Group, IkeKeys, KeyPair, Random, Secret, Suite, SystemRandom, open, psk_auth, seal, sealed_len, signed_octets,
};
use phalanx_ike::eap::{self, Client};
use phalanx_ike::pki::{ENCODING_X509, hash_algorithms};
use phalanx_ike::proposal::{EspProposal, IkeProposal, accepted_ike, offer_esp, offer_ike};
use phalanx_ike::wire::{self, Body, Exchange, Header, Identity, Notify, Payload, notify};
use rustix::time::{ClockId, clock_gettime};
use zeroize::Zeroizing;

use super::credentials::{Credentials, PASSWORD, SHARED_KEY, USER};
use super::member::Member;
use super::settings::{self, Way};
use super::{IkeBenchError, odd};

/// The AUTH payload's method for shared keys, and for EAP's.
const SHARED_KEY_METHOD: u8 = 2;
/// How often a peer says the same.
const TRIES: usize = 3;
/// What certificates are valid at.
const NOW_S: u64 = 1_800_000_000;

/// All peers, one after the other.
pub(super) struct Initiator<'c> {
    way: Way,
    credentials: &'c Credentials,
    ike: Vec<IkeProposal>,
    esp: Vec<EspProposal>,
    random: SystemRandom,
}

/// What has been said and found out in one handshake.
struct Talk {
    number: u32,
    from: SocketAddr,
    spi: u64,
    gateway_spi: u64,
    suite: Suite,
    keys: IkeKeys,
    request: Vec<u8>,
    answer: Vec<u8>,
    nonces: [Vec<u8>; 2],
    next: u32,
    /// What the member has spent on it.
    spent: Duration,
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What the member answers, and what that took. A message without an answer is said again: of two million SPIs a member may draw, for one
/// child in many thousands, one that it has already, and lets the peer ask once more.
fn ask(
    member: &mut Member,
    from: SocketAddr,
    unit: Unit,
    message: &[u8],
) -> Result<(Vec<u8>, Duration), IkeBenchError> {
    let before = cpu_time();
    let mut sent = Vec::new();
    for _ in 0..TRIES {
        sent.extend(member.hear(from, unit, message)?);
        sent.extend(member.replicate()?);
        if !sent.is_empty() {
            break;
        }
    }
    let spent = cpu_time().saturating_sub(before);
    let [packet] = <[Vec<u8>; 1]>::try_from(sent).map_err(|sent| odd(format!("sent {} packets", sent.len())))?;
    let payload = packet.get(ipv4::HEADER_LEN + udp::HEADER_LEN..).unwrap_or_default();
    Ok((payload.to_vec(), spent))
}

fn found<T>(payloads: &[Payload], what: &str, of: impl Fn(&Payload) -> Option<T>) -> Result<T, IkeBenchError> {
    payloads.iter().find_map(of).ok_or_else(|| odd(format!("gave no {what}: {payloads:?}")))
}

fn auth(payload: &Payload) -> Option<(u8, Vec<u8>)> {
    match payload {
        Payload::Auth { method, data } => Some((*method, data.clone())),
        _ => None,
    }
}

/// The body of an identity's payload.
fn body(identity: &Identity) -> Vec<u8> {
    [&[identity.kind, 0, 0, 0], &*identity.data].concat()
}

impl<'c> Initiator<'c> {
    pub(super) fn new(way: Way, credentials: &'c Credentials) -> Result<Self, IkeBenchError> {
        let (ike, esp) = settings::proposals(way)?;
        Ok(Self { way, credentials, ike, esp, random: SystemRandom::new() })
    }

    /// One peer's handshake, to the end: it has its tunnel then. What the member has spent on it.
    pub(super) fn shake_hands(&mut self, member: &mut Member, number: u32) -> Result<Duration, IkeBenchError> {
        let mut talk = self.begin(member, number)?;
        let payloads = match self.way {
            Way::Psk | Way::PskModp2048 => {
                let name = self.way.peers_name();
                let proof = talk.key_proof(SHARED_KEY, &name);
                let answer = self.say(member, &mut talk, &self.claim(name, Some(proof), number))?;
                talk.believe_key(SHARED_KEY, &answer)?;
                answer
            }
            Way::Ecdsa => {
                let claim = self.signed_claim(&talk)?;
                let answer = self.say(member, &mut talk, &claim)?;
                self.believe_certificate(&talk, &answer)?;
                answer
            }
            Way::Eap => self.say_password(member, &mut talk)?,
        };
        found(&payloads, "child SA", |it| matches!(it, Payload::Sa(_)).then_some(()))?;
        Ok(talk.spent)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// IKE_SA_INIT.
    fn begin(&mut self, member: &mut Member, number: u32) -> Result<Talk, IkeBenchError> {
        let group = if self.way == Way::PskModp2048 { Group::Modp2048 } else { Group::X25519 };
        let pair = KeyPair::generate(group, &mut self.random);
        let (spi, nonce) = (u64::from_be_bytes(self.bytes()) | 1, self.bytes::<32>().to_vec());
        let payloads = [
            Payload::Sa(offer_ike(&self.ike, &[])),
            Payload::KeyExchange { group: group.id(), public: pair.public().to_vec() },
            Payload::Nonce(nonce.clone()),
            Payload::Notify(Notify {
                protocol: 0,
                spi: Vec::new(),
                kind: notify::SIGNATURE_HASH_ALGORITHMS,
                data: hash_algorithms(),
            }),
        ];
        let request = wire::emit(&header(spi, 0, Exchange::IKE_SA_INIT, 0), &payloads);
        // Ports that differ, as behind a translator: what tells peers apart is their addresses and SPIs.
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + number)), 500);
        let unit = Unit::from_low_bits(number);
        let (answer, spent) = ask(member, from, unit, &request)?;
        let message = wire::parse(&answer).map_err(|_| odd("answered what cannot be read"))?;
        let gateway_spi = message.header.responder_spi;
        let Body::Plain(payloads) = message.body else { return Err(odd("sealed its first answer")) };
        let public = found(&payloads, "public key", |it| match it {
            Payload::KeyExchange { public, .. } => Some(public.clone()),
            _ => None,
        })?;
        let theirs = found(&payloads, "nonce", |it| match it {
            Payload::Nonce(nonce) => Some(nonce.clone()),
            _ => None,
        })?;
        let suite = found(&payloads, "algorithms", |it| match it {
            Payload::Sa(chosen) => accepted_ike(&self.ike, chosen.first()?),
            _ => None,
        })?;
        let shared = pair.agree(&public).map_err(|error| odd(format!("exchanged no keys: {error}")))?;
        let keys = IkeKeys::derive(suite, &shared, &nonce, &theirs, spi, gateway_spi);
        let nonces = [nonce, theirs];
        Ok(Talk { number, from, spi, gateway_spi, suite, keys, request, answer, nonces, next: 1, spent })
    }

    /// Who the peer is, and what it wants.
    fn claim(&self, name: Identity, proof: Option<Payload>, number: u32) -> Vec<Payload> {
        let mut payloads = vec![Payload::IdInitiator(name)];
        payloads.extend(proof);
        payloads.extend([
            Payload::Sa(offer_esp(&self.esp, 0x1000_0000 | number, false)),
            Payload::SelectorsInitiator(vec![settings::host(number)]),
            Payload::SelectorsResponder(vec![settings::inside()]),
        ]);
        payloads
    }

    fn signed_claim(&self, talk: &Talk) -> Result<Vec<Payload>, IkeBenchError> {
        let (name, credential) = (self.way.peers_name(), &self.credentials.client);
        let octets = signed_octets(talk.suite.prf, &talk.request, &talk.nonces[1], &talk.keys.pi, &body(&name));
        let (method, data) = credential.sign(&octets, &[2, 3, 4, 5]).ok_or_else(|| odd("takes no signature"))?;
        let mut payloads = self.claim(name, Some(Payload::Auth { method, data }), talk.number);
        let certificates = credential.certificates().iter();
        payloads.extend(certificates.map(|der| Payload::Certificate { encoding: ENCODING_X509, data: der.clone() }));
        Ok(payloads)
    }

    /// IKE_AUTH with EAP-MSCHAPv2: the member's certificate first, then the password, then the key that comes of it.
    fn say_password(&mut self, member: &mut Member, talk: &mut Talk) -> Result<Vec<Payload>, IkeBenchError> {
        let name = self.way.peers_name();
        let mut client = Client::new(USER, Zeroizing::new(PASSWORD.to_owned()));
        let mut payloads = self.say(member, talk, &self.claim(name.clone(), None, talk.number))?;
        self.believe_certificate(talk, &payloads)?;
        let key = loop {
            let packet = found(&payloads, "EAP", |it| match it {
                Payload::Eap(packet) => Some(packet.clone()),
                _ => None,
            })?;
            match client.hear(&packet, &mut |bytes| self.random.fill(bytes)) {
                eap::Answer::Send(packet) => payloads = self.say(member, talk, &[Payload::Eap(packet)])?,
                eap::Answer::Granted(key) => break Secret::from(&key[..]),
                other => return Err(odd(format!("does not follow EAP: {other:?}"))),
            }
        };
        let proof = talk.key_proof(key.as_bytes(), &name);
        let answer = self.say(member, talk, &[proof])?;
        talk.believe_key(key.as_bytes(), &answer)?;
        Ok(answer)
    }

    /// Says something that is sealed, and opens the answer.
    fn say(
        &mut self,
        member: &mut Member,
        talk: &mut Talk,
        payloads: &[Payload],
    ) -> Result<Vec<Payload>, IkeBenchError> {
        let (first, inside) = wire::emit_payloads(payloads);
        let header = header(talk.spi, talk.gateway_spi, Exchange::IKE_AUTH, talk.next);
        let mut message = wire::emit_sealed_head(&header, first, sealed_len(talk.suite, inside.len()));
        let iv = u64::from(talk.next).to_be_bytes();
        message.extend(seal(talk.suite, &talk.keys.ei, &talk.keys.ai, &message, &inside, iv, &mut self.random));
        talk.next += 1;
        let unit = Unit::from_low_bits(talk.gateway_spi as u32);
        let (answer, spent) = ask(member, talk.from, unit, &message)?;
        talk.spent += spent;
        talk.opened(&answer).ok_or_else(|| odd("answered what cannot be opened"))
    }

    fn believe_certificate(&self, talk: &Talk, payloads: &[Payload]) -> Result<(), IkeBenchError> {
        let certificates = payloads.iter().filter_map(|it| match it {
            Payload::Certificate { data, .. } => Some(data.clone()),
            _ => None,
        });
        let (name, (method, data)) = (gateways_name(payloads)?, found(payloads, "proof", auth)?);
        let key = self.credentials.trust.verify(&certificates.collect::<Vec<_>>(), &name, NOW_S);
        let key = key.map_err(|error| odd(format!("has no certificate to be believed: {error}")))?;
        let octets = signed_octets(talk.suite.prf, &talk.answer, &talk.nonces[0], &talk.keys.pr, &body(&name));
        key.verify(method, &data, &octets).map_err(|error| odd(format!("did not prove its name: {error}")))
    }
}

impl Talk {
    fn key_proof(&self, key: &[u8], name: &Identity) -> Payload {
        let proof = psk_auth(self.suite.prf, key, &self.request, &self.nonces[1], &self.keys.pi, &body(name));
        Payload::Auth { method: SHARED_KEY_METHOD, data: proof.as_bytes().to_vec() }
    }

    fn believe_key(&self, key: &[u8], payloads: &[Payload]) -> Result<(), IkeBenchError> {
        // After EAP the member does not say its name again.
        let name = gateways_name(payloads).unwrap_or_else(|_| Identity::of_text(super::credentials::GATEWAY));
        let (_, data) = found(payloads, "proof", auth)?;
        let right = psk_auth(self.suite.prf, key, &self.answer, &self.nonces[0], &self.keys.pr, &body(&name));
        (right == Secret::from(&data[..])).then_some(()).ok_or_else(|| odd("did not prove its name"))
    }

    fn opened(&self, bytes: &[u8]) -> Option<Vec<Payload>> {
        let Body::Sealed(it) = wire::parse(bytes).ok()?.body else { return None };
        let inside = open(self.suite, &self.keys.er, &self.keys.ar, it.associated, it.sealed).ok()?;
        wire::payloads(it.first, &inside).ok()
    }
}

fn gateways_name(payloads: &[Payload]) -> Result<Identity, IkeBenchError> {
    found(payloads, "name", |it| match it {
        Payload::IdResponder(name) => Some(name.clone()),
        _ => None,
    })
}

fn header(initiator_spi: u64, responder_spi: u64, exchange: Exchange, message_id: u32) -> Header {
    Header { initiator_spi, responder_spi, exchange, from_initiator: true, response: false, message_id }
}
