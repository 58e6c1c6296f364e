//! A client: says what RFC 7296 has an initiator say.

use super::{CLIENT, Counted, KEY, Shown, World, network, path};
use crate::crypto::{Cipher, Group, IkeKeys, KeyPair, Prf, Secret, Suite, open, psk_auth, seal, sealed_len};
use crate::state::Path;
use crate::wire::{self, Body, Exchange, Header, Identity, Notify, Payload, Proposal, Selector, Transform, notify};

/// The SPI that the member gives the SA.
pub(in crate::machine) const SPI: u64 = 0xaaaa_bbbb_cccc_004d;
pub(in crate::machine) const CLIENT_SPI: u64 = 0x1111_2222_3333_4444;

pub(in crate::machine) const SUITE: Suite =
    Suite { cipher: Cipher::AesGcm16_128, integrity: None, prf: Prf::HmacSha256, group: Group::X25519 };

/// See the module.
pub(in crate::machine) struct Client {
    pub(in crate::machine) id: Identity,
    pub(in crate::machine) key: Vec<u8>,
    pub(in crate::machine) path: Path,
    pub(in crate::machine) spi: u64,
    pub(in crate::machine) gateway_spi: u64,
    pub(in crate::machine) keys: Option<IkeKeys>,
    pub(in crate::machine) next: u32,
    pub(in crate::machine) extra: Vec<Payload>,
    pair: KeyPair,
    pub(in crate::machine) nonce: Vec<u8>,
    pub(in crate::machine) gateway_nonce: Vec<u8>,
    pub(in crate::machine) request: Vec<u8>,
    answer: Vec<u8>,
    iv: u64,
    random: Counted,
}

const fn transform(kind: u8, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { kind, id, key_bits, strange: false }
}

/// `aes128gcm16-prfsha256-x25519`, with an SPI.
pub(in crate::machine) fn ike_proposal(spi: &[u8]) -> Proposal {
    let transforms = vec![transform(1, 20, Some(128)), transform(2, 5, None), transform(4, 31, None)];
    Proposal { number: 1, protocol: 1, spi: spi.to_vec(), transforms }
}

/// `aes128gcm16`, with extended numbers or without.
pub(in crate::machine) fn esp_proposal(spi: u32) -> Proposal {
    let transforms = vec![transform(1, 20, Some(128)), transform(5, 1, None), transform(5, 0, None)];
    Proposal { number: 1, protocol: 3, spi: spi.to_be_bytes().into(), transforms }
}

/// `aes256-sha256-x25519`.
pub(in crate::machine) fn esp_proposal_with_exchange(spi: u32) -> Proposal {
    let transforms =
        vec![transform(1, 12, Some(256)), transform(3, 12, None), transform(4, 31, None), transform(5, 0, None)];
    Proposal { number: 1, protocol: 3, spi: spi.to_be_bytes().into(), transforms }
}

pub(in crate::machine) fn notify(kind: u16, data: &[u8]) -> Payload {
    Payload::Notify(Notify { protocol: 0, spi: Vec::new(), kind, data: data.into() })
}

/// What a child is asked for with.
pub(in crate::machine) fn child_request(proposal: Proposal, theirs: &str, ours: &str) -> [Payload; 3] {
    let selectors = |text: &str| vec![network(text)];
    [
        Payload::Sa(vec![proposal]),
        Payload::SelectorsInitiator(selectors(theirs)),
        Payload::SelectorsResponder(selectors(ours)),
    ]
}

impl Client {
    pub(in crate::machine) fn new() -> Self {
        let mut random = Counted(99);
        let mut nonce = vec![0; 32];
        random.fill_all(&mut nonce);
        Self {
            id: Identity::of_text(CLIENT),
            key: KEY.to_vec(),
            path: path(),
            spi: CLIENT_SPI,
            gateway_spi: SPI,
            keys: None,
            next: 1,
            extra: Vec::new(),
            pair: KeyPair::generate(Group::X25519, &mut random),
            nonce,
            gateway_nonce: Vec::new(),
            request: Vec::new(),
            answer: Vec::new(),
            iv: 1 << 63,
            random,
        }
    }

    /// The first message; `extra` goes with it.
    pub(in crate::machine) fn first(&mut self) -> Vec<u8> {
        let header = Header {
            initiator_spi: self.spi,
            responder_spi: 0,
            exchange: Exchange::IKE_SA_INIT,
            from_initiator: true,
            response: false,
            message_id: 0,
        };
        let mut payloads = std::mem::take(&mut self.extra);
        payloads.extend([
            Payload::Sa(vec![ike_proposal(&[])]),
            Payload::KeyExchange { group: Group::X25519.id(), public: self.pair.public().to_vec() },
            Payload::Nonce(self.nonce.clone()),
            notify(notify::IKEV2_FRAGMENTATION_SUPPORTED, &[]),
        ]);
        self.request = wire::emit(&header, &payloads);
        self.request.clone()
    }

    pub(in crate::machine) fn hear_first(&mut self, bytes: &[u8]) {
        let message = wire::parse(bytes).unwrap();
        assert!(message.header.response && !message.header.from_initiator);
        assert_eq!(message.header.responder_spi, self.gateway_spi);
        let Body::Plain(payloads) = message.body else { panic!("sealed") };
        let public = payloads.iter().find_map(|payload| match payload {
            Payload::KeyExchange { public, .. } => Some(public),
            _ => None,
        });
        self.gateway_nonce = nonce_of(&payloads);
        let shared = self.pair.agree(public.unwrap()).unwrap();
        let keys = IkeKeys::derive(SUITE, &shared, &self.nonce, &self.gateway_nonce, self.spi, self.gateway_spi);
        (self.keys, self.answer) = (Some(keys), bytes.to_vec());
    }

    /// The second message: name, proof, a child; `extra` goes with it.
    pub(in crate::machine) fn auth(&mut self, child: impl IntoIterator<Item = Payload>) -> Vec<u8> {
        let keys = self.keys.as_ref().unwrap();
        let proof = psk_auth(SUITE.prf, &self.key, &self.request, &self.gateway_nonce, &keys.pi, &self.id.body());
        let mut payloads =
            vec![Payload::IdInitiator(self.id.clone()), Payload::Auth { method: 2, data: proof.as_bytes().to_vec() }];
        payloads.append(&mut self.extra);
        payloads.extend(child);
        self.request(Exchange::IKE_AUTH, &payloads)
    }

    /// Whether the gateway proved its name.
    pub(in crate::machine) fn is_proved(&self, payloads: &[Payload]) -> bool {
        let keys = self.keys.as_ref().unwrap();
        let id = payloads.iter().find_map(|payload| match payload {
            Payload::IdResponder(id) => Some(id.body()),
            _ => None,
        });
        let expected = psk_auth(SUITE.prf, &self.key, &self.answer, &self.nonce, &keys.pr, &id.unwrap());
        payloads.iter().any(|payload| match payload {
            Payload::Auth { method: 2, data } => Secret::from(&data[..]) == expected,
            _ => false,
        })
    }

    /// The next request.
    pub(in crate::machine) fn request(&mut self, exchange: Exchange, payloads: &[Payload]) -> Vec<u8> {
        self.next += 1;
        self.message(exchange, self.next - 1, false, payloads)
    }

    /// A sealed message.
    pub(in crate::machine) fn message(
        &mut self,
        exchange: Exchange,
        message_id: u32,
        response: bool,
        payloads: &[Payload],
    ) -> Vec<u8> {
        let header = self.header(exchange, message_id, response);
        let (first, inside) = wire::emit_payloads(payloads);
        let head = wire::emit_sealed_head(&header, first, sealed_len(SUITE, inside.len()));
        self.sealed(head, &inside)
    }

    /// The next request in pieces.
    pub(in crate::machine) fn pieces(&mut self, exchange: Exchange, payloads: &[Payload], size: usize) -> Vec<Vec<u8>> {
        self.next += 1;
        let header = self.header(exchange, self.next - 1, false);
        let (first, inside) = wire::emit_payloads(payloads);
        let total = inside.len().div_ceil(size) as u16;
        let pieces: Vec<Vec<u8>> = inside.chunks(size).map(<[u8]>::to_vec).collect();
        let piece = |(piece, number): (Vec<u8>, u16)| {
            let first = if number == 1 { first } else { 0 };
            let head = wire::emit_fragment_head(&header, first, number, total, sealed_len(SUITE, piece.len()));
            self.sealed(head, &piece)
        };
        pieces.into_iter().zip(1..).map(piece).collect()
    }

    /// The next request, with these bytes inside.
    pub(in crate::machine) fn raw(&mut self, exchange: Exchange, first: u8, inside: &[u8]) -> Vec<u8> {
        self.next += 1;
        let header = self.header(exchange, self.next - 1, false);
        let head = wire::emit_sealed_head(&header, first, sealed_len(SUITE, inside.len()));
        self.sealed(head, inside)
    }

    /// The header that an answer to an INFORMATIONAL request has.
    pub(in crate::machine) const fn open_header(&self, message_id: u32) -> Header {
        Header { from_initiator: false, ..self.header(Exchange::INFORMATIONAL, message_id, true) }
    }

    const fn header(&self, exchange: Exchange, message_id: u32, response: bool) -> Header {
        Header {
            initiator_spi: self.spi,
            responder_spi: self.gateway_spi,
            exchange,
            from_initiator: true,
            response,
            message_id,
        }
    }

    fn sealed(&mut self, mut head: Vec<u8>, inside: &[u8]) -> Vec<u8> {
        self.iv += 1;
        let keys = self.keys.as_ref().unwrap();
        let iv = self.iv.to_be_bytes();
        let sealed = seal(SUITE, &keys.ei, &keys.ai, &head, inside, iv, &mut self.random);
        head.extend(sealed);
        head
    }

    /// What the gateway says, in one piece or several.
    pub(in crate::machine) fn open(&self, datagrams: &[Vec<u8>]) -> (Header, Vec<Payload>) {
        let keys = self.keys.as_ref().unwrap();
        let (mut whole, mut first_kind, mut header) = (Vec::new(), 0, None);
        for bytes in datagrams {
            let message = wire::parse(bytes).unwrap();
            let (first, associated, sealed) = match message.body {
                Body::Sealed(it) => (it.first, it.associated, it.sealed),
                Body::Fragment(it) => (it.first, it.associated, it.sealed),
                Body::Plain(_) => panic!("not sealed"),
            };
            if header.is_none() {
                first_kind = first;
            }
            header = Some(message.header);
            whole.extend_from_slice(&open(SUITE, &keys.er, &keys.ar, associated, sealed).expect("authentic"));
        }
        (header.unwrap(), wire::payloads(first_kind, &whole).unwrap())
    }

    /// Comes as far as to have a child; our SPI of it is 0xc001.
    pub(in crate::machine) fn connect(&mut self, world: &mut World) -> Vec<Payload> {
        let child = child_request(esp_proposal(0xc001), "10.9.1.0/24", "10.3.0.0/24");
        self.connect_for(world, child).0
    }

    /// Comes as far as to have this child, or none. What it is told, and what came of it.
    pub(in crate::machine) fn connect_for(
        &mut self,
        world: &mut World,
        child: impl IntoIterator<Item = Payload>,
    ) -> (Vec<Payload>, Shown) {
        let first = self.first();
        let (answer, _) = world.ask(self.gateway_spi, self.path, &first);
        self.hear_first(&answer);
        let auth = self.auth(child);
        let (answer, shown) = world.ask(self.gateway_spi, self.path, &auth);
        let (_, payloads) = self.open(&[answer]);
        assert!(self.is_proved(&payloads), "{:?}", shown.reports);
        (payloads, shown)
    }
}

/// An IKE SA that goes on for another one.
pub(in crate::machine) struct Successor {
    spi: u64,
    pub(in crate::machine) gateway_spi: u64,
    keys: IkeKeys,
}

impl Client {
    /// Has the gateway give the IKE SA new keys.
    pub(in crate::machine) fn rekey(&mut self, world: &mut World) -> (Successor, Shown) {
        let pair = KeyPair::generate(Group::X25519, &mut Counted(5));
        let (spi, nonce) = (0x5555_6666_7777_8888_u64, [9; 32]);
        let wish = [
            Payload::Sa(vec![ike_proposal(&spi.to_be_bytes())]),
            Payload::Nonce(nonce.to_vec()),
            Payload::KeyExchange { group: Group::X25519.id(), public: pair.public().to_vec() },
        ];
        let request = self.request(Exchange::CREATE_CHILD_SA, &wish);
        let (answer, shown) = world.ask(self.gateway_spi, self.path, &request);
        let (_, payloads) = self.open(&[answer]);
        let (Payload::Sa(chosen), Payload::KeyExchange { public, .. }) = (&payloads[0], &payloads[2]) else {
            panic!("{payloads:?}")
        };
        let gateway_spi = u64::from_be_bytes(chosen[0].spi.clone().try_into().unwrap());
        let (old, shared) = (&self.keys.as_ref().unwrap().d, pair.agree(public).unwrap());
        let theirs = nonce_of(&payloads);
        let keys = IkeKeys::derive_rekeyed(SUITE, SUITE.prf, old, &shared, &nonce, &theirs, spi, gateway_spi);
        (Successor { spi, gateway_spi, keys }, shown)
    }

    /// Goes on under it.
    pub(in crate::machine) fn succeed(&mut self, successor: Successor) {
        let Successor { spi, gateway_spi, keys } = successor;
        (self.spi, self.gateway_spi, self.keys, self.next) = (spi, gateway_spi, Some(keys), 0);
    }
}

impl Counted {
    fn fill_all(&mut self, bytes: &mut [u8]) {
        crate::crypto::Random::fill(self, bytes);
    }
}

pub(in crate::machine) fn nonce_of(payloads: &[Payload]) -> Vec<u8> {
    let nonce = payloads.iter().find_map(|payload| match payload {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    });
    nonce.expect("a nonce")
}

/// The kinds of all notifications.
pub(in crate::machine) fn notified(payloads: &[Payload]) -> Vec<u16> {
    let kind = |payload: &Payload| match payload {
        Payload::Notify(notify) => Some(notify.kind),
        _ => None,
    };
    payloads.iter().filter_map(kind).collect()
}

/// The peer's selectors, then ours.
pub(in crate::machine) fn selectors(payloads: &[Payload]) -> (Vec<Selector>, Vec<Selector>) {
    let mut found = (Vec::new(), Vec::new());
    for payload in payloads {
        match payload {
            Payload::SelectorsInitiator(selectors) => found.0.clone_from(selectors),
            Payload::SelectorsResponder(selectors) => found.1.clone_from(selectors),
            _ => {}
        }
    }
    found
}
