//! The IKE machine as a whole, before a peer that may have all keys and means harm.
//!
//! The bytes are a script: which configuration, then what happens to the IKE SAs, one event after the other. The state goes through its
//! record before every event, and some outcomes are thrown away, as by a member that has lost the unit. The peer has no memory of its
//! own: it reads the keys in the records.
//!
//! Whatever happens: no panic; a record is bounded, and says all; message IDs never go back; the children that the data plane was told of
//! are those that the records have; no explicit IV is sent twice with different words, and none that was not drawn for it; what is sent is
//! bounded; what comes in clear ends an established IKE SA with the right token only, and changes nothing else; no token is shown in clear.
//!
//! Files: `script` (payloads out of bytes), `peer` (messages out of payloads and keys), `tests` (the corpus, and how deep it goes).

mod peer;
mod script;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use phalanx_ike::config::{ChildConfig, Config, Connection, Life, OwnProof, PeersProof, Unique};
use phalanx_ike::crypto::{Random, Secret};
use phalanx_ike::machine::{ChildEvent, DRAWS, Event, Given, Keeper, Machine, Next, Outcome, Seen, Unit10};
use phalanx_ike::pool::{Book, Pool};
use phalanx_ike::state::{IkeSa, Path, Phase};
use phalanx_ike::wire::{Body, Identity, Parsed, Payload, Selector, notify, parse};

use super::cursor::Cursor;

const KEY: &[u8] = b"a shared key";
const USER: &str = "alice";
const PASSWORD: &str = "clientPass";
/// What the data plane takes (`STATE_BYTES_MAX`, less when it is due).
const RECORD_MAX: usize = (32 << 10) - 64;
/// The machine's limit, and the one that has our new keys.
const CHILDREN_MAX: usize = 17;
/// Datagrams that one event may send.
const SENT_MAX: usize = 64;
/// IKE SAs that one script may begin.
const SAS_MAX: u64 = 6;

/// Numbers that look random enough, and are the same each time.
struct Counted(u64);

impl Random for Counted {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// How far a script came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Reached {
    established: usize,
    children: usize,
    successors: usize,
    asked: usize,
    ended: usize,
}

/// The members, and the peer.
struct World {
    config: Config,
    records: BTreeMap<u64, Vec<u8>>,
    /// Inbound SPIs of the tunnels that the data plane has.
    tunnels: BTreeSet<u32>,
    book: Book,
    now_s: u64,
    random: Counted,
    draw: u64,
    under_load: bool,
    /// What was sent with each IV.
    sealed: HashMap<u64, Vec<u8>>,
    /// The last words of the peer.
    said: Vec<(u64, Vec<u8>)>,
    begun: u64,
    path: Path,
    /// The next outcome is thrown away.
    lost: bool,
    reached: Reached,
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    run(data);
}

fn run(data: &[u8]) -> Reached {
    let mut script = Cursor(data);
    let mut world = World::new(script.u8());
    while !script.is_empty() {
        world.step(&mut script);
    }
    world.reached
}

fn network(text: &str) -> Selector {
    let (address, len) = text.split_once('/').expect("a network");
    Selector::of_network(address.parse().expect("an address"), len.parse().expect("a length"))
}

/// Between whom we begin.
fn path() -> Path {
    Path { ours: ([198, 51, 100, 1], 500).into(), theirs: ([192, 0, 2, 9], 500).into() }
}

fn config(kind: u8) -> Config {
    let rekeys = kind & 4 != 0;
    let child = |name: &str, remote: &[&str]| ChildConfig {
        name: name.into(),
        transport: false,
        local: vec![network("10.3.0.0/24"), network("2001:db8:3::/48")],
        remote: remote.iter().map(|text| network(text)).collect(),
        proposals: ["aes128gcm16", "aes256-sha256-x25519"].map(|text| text.parse().expect("a proposal")).into(),
        rekey_s: if rekeys { 100 } else { 0 },
        life: Life { packets: 1000, bytes: 0 },
        outer: phalanx_ike::config::OuterHeader::default(),
    };
    let key = || Secret::from(KEY);
    let connection = Connection {
        name: "road".into(),
        local_address: None,
        remote_addresses: Vec::new(),
        proposals: vec!["aes128gcm16-prfsha256-x25519".parse().expect("a proposal")],
        local_id: Identity::of_text("gw.example.org"),
        remote_id: None,
        own_proof: OwnProof::SharedKey(key()),
        peers_proof: if kind & 1 == 0 { PeersProof::SharedKey(key()) } else { PeersProof::Password },
        pools: if kind & 2 == 0 { Vec::new() } else { vec!["guests".into()] },
        unique: Unique::IfSaid,
        reauth_s: 0,
        start: (kind & 64 != 0).then(path),
        dns: vec![IpAddr::from([10, 3, 0, 53])],
        children: vec![child("net", &["10.9.0.0/16", "2001:db8:9::/48"]), child("guest", &[])],
        dpd_delay_s: if kind & 8 == 0 { 0 } else { 30 },
        rekey_s: if rekeys { 300 } else { 0 },
    };
    let users = [(USER.to_owned(), PASSWORD.to_owned().into())];
    Config {
        connections: vec![connection],
        cookie_key: Secret::from(&b"cookies"[..]),
        token_key: Secret::from(&b"tokens"[..]),
        users: Arc::new(users.into_iter().collect()),
    }
}

impl World {
    fn new(kind: u8) -> Self {
        let port = if kind & 32 == 0 { 500 } else { 4500 };
        let pool = Pool::new("guests".into(), IpAddr::from([10, 99, 0, 0]), 28, 0, 1);
        Self {
            config: config(kind),
            records: BTreeMap::new(),
            tunnels: BTreeSet::new(),
            book: Book::new(vec![pool]),
            now_s: 1000,
            random: Counted(7),
            draw: 0,
            under_load: kind & 16 != 0,
            sealed: HashMap::new(),
            said: Vec::new(),
            begun: 0,
            path: Path { ours: ([198, 51, 100, 1], port).into(), theirs: ([192, 0, 2, 9], port).into() },
            lost: false,
            reached: Reached::default(),
        }
    }

    /// The SA that the script means.
    fn pick(&self, script: &mut Cursor<'_>) -> Option<(u64, IkeSa)> {
        let at = usize::from(script.u8()) % self.records.len().max(1);
        let (spi, record) = self.records.iter().nth(at)?;
        Some((*spi, IkeSa::restore(record).expect("a record of ours")))
    }

    fn step(&mut self, script: &mut Cursor<'_>) {
        match script.u8() & 15 {
            0 => {
                let Some((spi, _)) = self.pick(script) else { return };
                let bytes = script::raw(script);
                self.hear(spi, &bytes);
            }
            1 => self.begin(script),
            2 => self.prove(script),
            3 | 4 => self.say(script, false),
            5 => self.say(script, true),
            6 => self.say_raw(script),
            7 => self.wish(script),
            8 => self.answer(script),
            9 => {
                let at = usize::from(script.u8()) % self.said.len().max(1);
                if let Some((spi, bytes)) = self.said.get(at).cloned() {
                    self.hear(spi, &bytes);
                }
            }
            10 | 11 => {
                self.now_s = self.now_s.saturating_add(u64::from(script.u8()));
                let spis: Vec<u64> = self.records.keys().copied().collect();
                spis.into_iter().for_each(|spi| self.happen(spi, Event::Timeout));
            }
            12 => {
                if let Some((spi, _)) = self.pick(script) {
                    self.happen(spi, Event::Close);
                }
            }
            13 => self.lost = true,
            14 => self.path.theirs.set_port(u16::from(script.u8()) + 1),
            _ => self.under_load = script.bool(),
        }
    }

    /// The peer's words reach the SA that we call so.
    fn hear(&mut self, spi: u64, bytes: &[u8]) {
        self.said.push((spi, bytes.to_vec()));
        if self.said.len() > 16 {
            self.said.remove(0);
        }
        self.happen(spi, Event::Message { path: self.path, bytes });
    }

    /// The machine, and what it is given for one event.
    fn turn(&mut self) -> (Machine<'_>, Given<'_>) {
        self.draw += DRAWS;
        let given = Given {
            now_s: self.now_s,
            unit: Unit10(77),
            draw: self.draw,
            random: &mut self.random,
            pools: &mut self.book,
            under_load: self.under_load,
        };
        (Machine::new(&self.config), given)
    }

    /// We begin one, if that is configured.
    fn begin_own(&mut self) {
        let (machine, given) = self.turn();
        let keeper = Keeper { connection: "road".into(), spi: 0, begun_s: 0, tries: 0, again_s: 0, over: false };
        let kept = machine.keep(given, Some(keeper), "road", Seen::Nothing);
        let Some((keeper, outcome)) = kept else { return };
        assert_eq!(Keeper::restore(&keeper.save()), Some(keeper));
        self.check_sent(&outcome);
        if !std::mem::take(&mut self.lost) && self.records.len() < SAS_MAX as usize {
            self.commit(u64::MAX, None, outcome);
        }
    }

    fn happen(&mut self, spi: u64, event: Event<'_>) {
        let before = self.records.get(&spi).map(|record| IkeSa::restore(record).expect("a record of ours"));
        let (machine, given) = self.turn();
        let outcome = machine.handle(given, spi, before.clone(), event);
        self.check_sent(&outcome);
        if let (Some(before), Event::Message { bytes, .. }) = (&before, event) {
            check_clear(before, bytes, &outcome);
        }
        if std::mem::take(&mut self.lost) {
            return;
        }
        self.commit(spi, before.as_ref(), outcome);
    }

    /// What is shown, or would be.
    fn check_sent(&mut self, outcome: &Outcome) {
        assert!(outcome.send.len() <= SENT_MAX, "{} datagrams", outcome.send.len());
        for datagram in &outcome.send {
            let parsed = parse(&datagram.bytes).expect("what we say can be read");
            let sealed = match parsed.body {
                Body::Plain(said) => {
                    assert!(tokens(&said).next().is_none(), "a token in clear, and the SA is there");
                    continue;
                }
                Body::Sealed(it) => it.sealed,
                Body::Fragment(it) => it.sealed,
            };
            let iv = u64::from_be_bytes(*sealed.first_chunk().expect("an IV"));
            let known = self.sealed.entry(iv).or_insert_with(|| {
                assert!((self.draw..self.draw + DRAWS).contains(&iv), "{iv} was not drawn for this");
                datagram.bytes.clone()
            });
            assert!(*known == datagram.bytes, "IV {iv} comes again with other words");
        }
    }

    fn commit(&mut self, spi: u64, before: Option<&IkeSa>, outcome: Outcome) {
        for child in &outcome.children {
            match child {
                ChildEvent::Add(child) => {
                    assert!(self.tunnels.insert(child.inbound.spi), "an SPI comes twice");
                    assert!(child.inbound.spi & 0x3ff == 77 && child.inbound.spi > 255);
                    assert!(!child.local.is_empty() && !child.remote.is_empty());
                    self.reached.children += 1;
                }
                ChildEvent::Remove(spi) => drop(self.tunnels.remove(spi)),
                ChildEvent::Move { .. } | ChildEvent::Skip { .. } => {}
            }
        }
        match &outcome.next {
            Next::Same => {}
            Next::Changed(sa) => {
                assert_eq!(sa.own_spi(), spi);
                if let Some(before) = before {
                    check_ids(before, sa);
                }
                self.reached.established +=
                    usize::from(sa.peer().is_some() && before.is_none_or(|sa| sa.peer().is_none()));
                self.reached.asked += usize::from(matches!(sa.phase, Phase::Asking(_)));
                self.keep(sa);
            }
            Next::Ended => {
                self.reached.ended += 1;
                self.records.remove(&spi);
            }
        }
        if let Some((successor, _)) = &outcome.successor {
            assert_eq!(successor.own_spi() & 0x3ff, 77);
            assert!(!self.records.contains_key(&successor.own_spi()));
            self.reached.successors += 1;
            self.keep(successor);
        }
        let known = self.records.values().map(|record| IkeSa::restore(record).expect("a record of ours"));
        let known: BTreeSet<u32> = known.flat_map(|sa| sa.children).map(|child| child.inbound_spi).collect();
        assert_eq!(known, self.tunnels, "what IKE knows and what there is");
    }

    fn keep(&mut self, sa: &IkeSa) {
        let record = sa.save();
        assert!(record.len() <= RECORD_MAX, "a record of {} bytes", record.len());
        assert!(sa.children.len() <= CHILDREN_MAX, "{} children", sa.children.len());
        let again = IkeSa::restore(&record).expect("what was saved");
        assert_eq!(again.save(), record, "restore(save(x)) is x");
        self.book.hear(sa, self.now_s);
        self.records.insert(sa.own_spi(), record);
    }
}

fn tokens(said: &[Payload]) -> impl Iterator<Item = &[u8]> {
    said.iter().filter_map(|payload| match payload {
        Payload::Notify(it) if it.kind == notify::QUICK_CRASH_DETECTION => Some(it.data.as_slice()),
        _ => None,
    })
}

/// What anybody can say does nothing to an established IKE SA, but for one thing.
fn check_clear(before: &IkeSa, bytes: &[u8], outcome: &Outcome) {
    let Ok(Parsed { body: Body::Plain(said), .. }) = parse(bytes) else {
        return assert_eq!(outcome.token, None);
    };
    if before.peer().is_none() {
        return assert_ne!(outcome.token, Some(true));
    }
    let right = !before.token.is_empty() && tokens(&said).any(|token| token == before.token.as_bytes());
    let ended = matches!(outcome.next, Next::Ended);
    assert!(outcome.send.is_empty() && (ended || matches!(outcome.next, Next::Same)));
    assert!(ended == (outcome.token == Some(true)) && (right || !ended));
}

/// One message each way at a time, and none again; but for peers that agree on them anew, and that not twice.
fn check_ids(before: &IkeSa, after: &IkeSa) {
    if after.synced != before.synced {
        assert!(after.synced > before.synced && after.synced == after.next_request + 1);
        assert!(after.next_request >= before.next_request && after.next_own >= before.next_own);
        return;
    }
    for (before, after) in [(before.next_request, after.next_request), (before.next_own, after.next_own)] {
        let ahead = after.wrapping_sub(before);
        assert!(ahead <= 1, "message IDs go from {before} to {after}");
    }
}
