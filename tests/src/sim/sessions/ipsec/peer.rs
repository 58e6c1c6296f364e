//! A peer: shakes hands as RFC 7296 has an initiator do it, and is a production machine from then on: with requests and answers,
//! new keys from its side, retransmissions, questions whether the gateway lives.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use phalanx_ike::config::{ChildConfig, Config, Connection, Life, OwnProof, PeersProof, Unique};
use phalanx_ike::crypto::{
    Cipher, Group, IkeKeys, KeyPair, Prf, Random, Secret, Suite, child_keymat, open, psk_auth, seal, sealed_len,
};
use phalanx_ike::machine::{ChildEvent, ChildSa, DRAWS, Event, Given, Half, Machine, Next, Outcome, Report, Unit10};
use phalanx_ike::pool::Book;
use phalanx_ike::proposal::{accepted_esp, offer_esp, offer_ike};
use phalanx_ike::state::{Abilities, Child, IkeSa, Nat, Path, Peer as Named, Phase, Pieces, Role};
use phalanx_ike::wire::{self, Body, Exchange, Header, Identity, Payload, Selector};

use super::Pace;
use super::thread::Drawn;
use super::tunnel::Tunnel;

const KEY: &[u8] = b"a shared key";
const GATEWAY: &str = "gw.example.org";
/// What the gateway lets one pair of keys carry: little enough for a run to come to the end of several.
const LIFE_PACKETS: u64 = 160;
const SUITE: Suite =
    Suite { cipher: Cipher::AesGcm16_128, integrity: None, prf: Prf::HmacSha256, group: Group::X25519 };

fn network(address: [u8; 4]) -> Selector {
    Selector::of_network(IpAddr::from(address), 24)
}

fn config(local_id: Identity, local: Selector, remote: Selector, (ike_s, child_s, dpd_s): (u64, u64, u64)) -> Config {
    let key = || Secret::from(KEY);
    let child = ChildConfig {
        name: "net".into(),
        transport: false,
        local: vec![local],
        remote: vec![remote],
        proposals: "aes128gcm16".parse().into_iter().collect(),
        rekey_s: child_s,
        life: Life::default(),
        outer: phalanx_ike::config::OuterHeader::default(),
    };
    let connection = Connection {
        name: "site".into(),
        local_address: None,
        remote_addresses: Vec::new(),
        proposals: "aes128gcm16-prfsha256-x25519".parse().into_iter().collect(),
        local_id,
        remote_id: None,
        own_proof: OwnProof::SharedKey(key()),
        peers_proof: PeersProof::SharedKey(key()),
        pools: Vec::new(),
        unique: Unique::IfSaid,
        reauth_s: 0,
        start: None,
        dns: Vec::new(),
        children: vec![child],
        dpd_delay_s: dpd_s,
        rekey_s: ike_s,
    };
    let [cookie_key, token_key] = [&b"cookies"[..], b"tokens"].map(Secret::from);
    Config { connections: vec![connection], cookie_key, token_key, users: Default::default() }
}

/// What the gateways go by.
pub(super) fn config_of_gateway(pace: Pace) -> Config {
    let everywhere = Selector::of_network(IpAddr::from([10, 9, 0, 0]), 16);
    let mut config = config(Identity::of_text(GATEWAY), network([10, 3, 0, 0]), everywhere, pace.gateway_s);
    // Where time gives no child new keys, what it has carried does; but not where nobody may answer for longer than a life lasts.
    let (_, child_s, _) = pace.gateway_s;
    let packets = if child_s == 0 && pace.never == 0 { LIFE_PACKETS } else { 0 };
    config.connections.iter_mut().flat_map(|it| &mut it.children).for_each(|child| child.life.packets = packets);
    config
}

/// How far a peer is.
#[allow(clippy::large_enum_variant, reason = "there are four of them")]
pub(super) enum Stage {
    /// Nowhere, or it has lost all and begins anew.
    Idle,
    /// It waits for the answer to its first message.
    Init { message: Vec<u8>, pair: KeyPair, nonce: Vec<u8> },
    /// Or to the second.
    Auth { message: Vec<u8>, sa: Box<IkeSa>, answer: Vec<u8>, nonces: [Vec<u8>; 2], child_spi: u32 },
    /// It has an IKE SA.
    Up,
}

/// See the module.
pub(super) struct Peer {
    pub(super) number: usize,
    config: Config,
    pub(super) path: Path,
    random: Drawn,
    draw: u64,
    /// How often it has begun.
    pub(super) epoch: u32,
    pub(super) spi: u64,
    pub(super) stage: Stage,
    pub(super) records: BTreeMap<u64, IkeSa>,
    /// In the order in which they came.
    pub(super) tunnels: Vec<Tunnel>,
}

fn payload<T>(payloads: &[Payload], of: impl Fn(&Payload) -> Option<T>) -> Option<T> {
    payloads.iter().find_map(of)
}

impl Peer {
    pub(super) fn new(number: usize, pace: Pace, random: Drawn) -> Self {
        let identity = Identity::of_text(&format!("peer{number}@example.org"));
        let ours = SocketAddr::from(([192, 0, 2, 100 + number as u8], 500));
        let cluster = SocketAddr::from(([198, 51, 100, 1], 500));
        Self {
            number,
            config: config(identity, network([10, 9, number as u8, 0]), network([10, 3, 0, 0]), pace.peer_s),
            path: Path { ours, theirs: cluster },
            random,
            draw: 1 << 62,
            epoch: 0,
            spi: 0,
            stage: Stage::Idle,
            records: BTreeMap::new(),
            tunnels: Vec::new(),
        }
    }

    /// A host behind it.
    pub(super) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, self.number as u8, 7)
    }

    fn name(&self) -> &Identity {
        &self.config.connections[0].local_id
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    fn header(&self, responder_spi: u64, exchange: Exchange, message_id: u32) -> Header {
        let (initiator_spi, from_initiator, response) = (self.spi, true, false);
        Header { initiator_spi, responder_spi, exchange, from_initiator, response, message_id }
    }

    /// Begins, with nothing of what was: its first message.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        self.epoch += 1;
        self.spi = u64::from_be_bytes(self.bytes()) | 1;
        self.records.clear();
        self.tunnels.clear();
        let pair = KeyPair::generate(Group::X25519, &mut self.random);
        let nonce = self.bytes::<32>().to_vec();
        let offer = offer_ike(&self.config.connections[0].proposals, &[]);
        let public = pair.public().to_vec();
        let exchange = Payload::KeyExchange { group: Group::X25519.id(), public };
        let payloads = [Payload::Sa(offer), exchange, Payload::Nonce(nonce.clone())];
        let message = wire::emit(&self.header(0, Exchange::IKE_SA_INIT, 0), &payloads);
        self.stage = Stage::Init { message: message.clone(), pair, nonce };
        message
    }

    /// What it is waiting for the answer of, in a handshake.
    pub(super) fn unanswered(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Init { message, .. } | Stage::Auth { message, .. } => Some(message),
            Stage::Idle | Stage::Up => None,
        }
    }

    /// The gateway's answer in a handshake. What is said to that.
    pub(super) fn shake(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Init { message, pair, nonce } => {
                let Some((header, payloads)) = plain(bytes).filter(|(it, _)| it.initiator_spi == self.spi) else {
                    self.stage = Stage::Init { message, pair, nonce };
                    return Ok(None);
                };
                let public = payload(&payloads, |it| match it {
                    Payload::KeyExchange { public, .. } => Some(public.clone()),
                    _ => None,
                });
                let theirs = nonce_of(&payloads);
                let (Some(public), Some(theirs)) = (public, theirs) else {
                    return Err(format!("a first answer without keys: {payloads:?}"));
                };
                let shared = pair.agree(&public).map_err(|error| error.to_string())?;
                let keys = IkeKeys::derive(SUITE, &shared, &nonce, &theirs, self.spi, header.responder_spi);
                let sa = self.sa(header.responder_spi, keys);
                Ok(Some(self.prove(sa, &message, bytes.to_vec(), [nonce, theirs])))
            }
            Stage::Auth { message, sa, answer, nonces, child_spi } => {
                let about = wire::parse(bytes).ok().map(|it| it.header);
                let opened = opened(&sa, bytes).filter(|_| about.is_some_and(|it| it.response && it.message_id == 1));
                let Some(payloads) = opened else {
                    self.stage = Stage::Auth { message, sa, answer, nonces, child_spi };
                    return Ok(None);
                };
                self.accept(*sa, &payloads, &nonces, child_spi).ok_or_else(|| format!("refused: {payloads:?}"))?;
                Ok(None)
            }
            other => {
                self.stage = other;
                Ok(None)
            }
        }
    }

    fn sa(&self, responder_spi: u64, keys: IkeKeys) -> IkeSa {
        IkeSa {
            role: Role::Initiator,
            initiator_spi: self.spi,
            responder_spi,
            path: self.path,
            nat: Nat::default(),
            suite: SUITE,
            keys,
            phase: Phase::Closed,
            succeeded: false,
            abilities: Abilities::default(),
            created_s: 0,
            heard_s: 0,
            rekey_at_s: 0,
            next_request: 0,
            last_answer: Vec::new(),
            next_own: 2,
            pending: None,
            pieces: Pieces::default(),
            children: Vec::new(),
            kept: None,
            synced: 0,
            token: Secret::default(),
            beyond: Vec::new(),
        }
    }

    fn prove(&mut self, sa: IkeSa, request: &[u8], answer: Vec<u8>, nonces: [Vec<u8>; 2]) -> Vec<u8> {
        let name = self.name().clone();
        let body = [&[name.kind, 0, 0, 0], &*name.data].concat();
        let proof = psk_auth(SUITE.prf, KEY, request, &nonces[1], &sa.keys.pi, &body);
        let child_spi = u32::from_be_bytes(self.bytes()) | 1 << 16;
        let child = &self.config.connections[0].children[0];
        let payloads = [
            Payload::IdInitiator(name),
            Payload::Auth { method: 2, data: proof.as_bytes().to_vec() },
            Payload::Sa(offer_esp(&child.proposals, child_spi, false)),
            Payload::SelectorsInitiator(child.local.clone()),
            Payload::SelectorsResponder(child.remote.clone()),
        ];
        let (first, inside) = wire::emit_payloads(&payloads);
        let header = self.header(sa.responder_spi, Exchange::IKE_AUTH, 1);
        let mut message = wire::emit_sealed_head(&header, first, sealed_len(SUITE, inside.len()));
        let (encryption, integrity) = sa.own_keys();
        message.extend(seal(SUITE, encryption, integrity, &message, &inside, [1; 8], &mut self.random));
        self.stage = Stage::Auth { message: message.clone(), sa: Box::new(sa), answer, nonces, child_spi };
        message
    }

    /// The gateway has let it in. None: it has not.
    fn accept(&mut self, mut sa: IkeSa, payloads: &[Payload], nonces: &[Vec<u8>; 2], child_spi: u32) -> Option<()> {
        let connection = &self.config.connections[0];
        let config = &connection.children[0];
        let answer = payload(payloads, |it| match it {
            Payload::Sa(proposals) => proposals.first().cloned(),
            _ => None,
        })?;
        let choice = accepted_esp(&config.proposals, &answer, false)?;
        let outbound_spi = u32::from_be_bytes(answer.spi.as_slice().try_into().ok()?);
        let keymat = child_keymat(SUITE.prf, &sa.keys.d, None, &nonces[0], &nonces[1], choice.suite.keymat_len());
        let [first, second] = choice.suite.split(keymat.as_bytes())?;
        let half = |spi, (cipher, integrity): (&[u8], &[u8])| Half {
            spi,
            cipher_key: cipher.into(),
            integrity_key: integrity.into(),
        };
        let child = ChildSa {
            name: "site/net".into(),
            path: self.path,
            udp: false,
            transport: false,
            transform: choice.suite.to_string(),
            extended: choice.esn,
            inbound: half(child_spi, second),
            outbound: half(outbound_spi, first),
            local: Vec::new(),
            remote: Vec::new(),
            replaces: None,
            contact: None,
            life: Life::default(),
            outer: phalanx_ike::config::OuterHeader::default(),
        };
        self.tunnels.push(Tunnel::new(&child, true)?);
        sa.children.push(Child {
            name: config.name.clone(),
            inbound_spi: child_spi,
            outbound_spi,
            transform: child.transform,
            extended: choice.esn,
            transport: false,
            local: config.local.clone(),
            remote: config.remote.clone(),
            created_s: 0,
            rekey_at_s: 0,
        });
        sa.phase = Phase::Established(Named {
            connection: connection.name.clone(),
            identity: Identity::of_text(GATEWAY),
            addresses: Vec::new(),
            sole_since_s: 0,
            proved_until_s: 0,
        });
        self.records.insert(self.spi, sa);
        self.stage = Stage::Up;
        Some(())
    }

    /// Its clock begins with the handshake's end.
    pub(super) fn settle(&mut self, now_s: u64) {
        let connection = &self.config.connections[0];
        let (ike_s, child_s) = (connection.rekey_s, connection.children[0].rekey_s);
        let at = |span_s: u64| if span_s == 0 { 0 } else { now_s + span_s };
        for sa in self.records.values_mut().filter(|sa| sa.created_s == 0) {
            (sa.created_s, sa.heard_s, sa.rekey_at_s) = (now_s, now_s, at(ike_s));
            sa.children.iter_mut().for_each(|child| (child.created_s, child.rekey_at_s) = (now_s, at(child_s)));
        }
    }

    /// A message to an IKE SA of its, or a time that comes. What is sent, and what a person would read.
    pub(super) fn handle(&mut self, spi: u64, now_s: u64, event: Event<'_>) -> (Vec<Vec<u8>>, Vec<Report>) {
        let Some(sa) = self.records.get(&spi).cloned() else { return Default::default() };
        self.draw += DRAWS;
        let mut book = Book::default();
        let given = Given {
            now_s,
            unit: Unit10(self.number as u16),
            draw: self.draw,
            random: &mut self.random,
            pools: &mut book,
            under_load: false,
        };
        let is_answer = match event {
            Event::Message { bytes, .. } => wire::header(bytes).is_ok_and(|header| header.response),
            _ => false,
        };
        let outcome = Machine::new(&self.config).handle(given, spi, Some(sa), event);
        self.take(spi, outcome, is_answer)
    }

    fn take(&mut self, spi: u64, outcome: Outcome, is_answer: bool) -> (Vec<Vec<u8>>, Vec<Report>) {
        match outcome.next {
            Next::Same => {}
            Next::Changed(sa) => drop(self.records.insert(spi, *sa)),
            Next::Ended => drop(self.records.remove(&spi)),
        }
        if let Some((successor, _)) = outcome.successor {
            self.records.insert(successor.own_spi(), *successor);
        }
        for child in outcome.children {
            match child {
                // Who has answered cannot know whether the answer has come.
                ChildEvent::Add(child) => self.tunnels.extend(Tunnel::new(&child, is_answer)),
                ChildEvent::Remove(spi) => self.lose_tunnel(spi),
                ChildEvent::Move { .. } | ChildEvent::Skip { .. } => {}
            }
        }
        (outcome.send.into_iter().map(|it| it.bytes).collect(), outcome.reports)
    }

    /// A tunnel is over. Whoever ends one that has new keys has these (RFC 7296 section 2.8), even if nothing has come through the new
    /// one yet.
    fn lose_tunnel(&mut self, spi: u32) {
        self.tunnels.retain(|tunnel| tunnel.inbound_spi != spi);
        if !self.tunnels.iter().any(|tunnel| tunnel.usable)
            && let Some(last) = self.tunnels.last_mut()
        {
            last.usable = true;
        }
    }

    /// Whether it has an IKE SA that goes on.
    pub(super) fn lives(&self) -> bool {
        self.records.values().any(|sa| sa.peer().is_some() && !sa.succeeded)
    }
}

fn plain(bytes: &[u8]) -> Option<(Header, Vec<Payload>)> {
    let message = wire::parse(bytes).ok()?;
    match message.body {
        Body::Plain(payloads) if message.header.response => Some((message.header, payloads)),
        _ => None,
    }
}

fn opened(sa: &IkeSa, bytes: &[u8]) -> Option<Vec<Payload>> {
    let Body::Sealed(it) = wire::parse(bytes).ok()?.body else { return None };
    let (encryption, integrity) = sa.peer_keys();
    let inside = open(sa.suite, encryption, integrity, it.associated, it.sealed).ok()?;
    wire::payloads(it.first, &inside).ok()
}

fn nonce_of(payloads: &[Payload]) -> Option<Vec<u8>> {
    payload(payloads, |it| match it {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    })
}
