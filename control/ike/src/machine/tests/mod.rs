//! The machine before a client that is written here: in one process, step by step, the SA going through its record between any two.

mod alike;
mod begun;
mod client;
mod contact;
mod crash;
mod exchanges;
mod faults;
mod hostile;
mod initiator;
mod lifetimes;
mod parts;
mod peers;
mod proofs;
mod rekeys;
mod sync;
mod transport;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(super) use self::client::Client;
use super::{ChildEvent, Datagram, Event, Given, Machine, Next, Outcome, Report, Unit10};
use crate::config::{ChildConfig, Config, Connection, Life, OwnProof, PeersProof, Unique};
use crate::crypto::{Random, Secret};
use crate::pool::{Book, Pool};
use crate::state::{IkeSa, Path};
use crate::wire::{Identity, Selector};

pub(super) const KEY: &[u8] = b"a shared key";
pub(super) const CLIENT: &str = "alice@example.org";
pub(super) const GATEWAY: &str = "gw.example.org";

/// Numbers that look random enough, and are the same each time.
pub(super) struct Counted(pub(super) u64);

impl Random for Counted {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A member that has nothing but records.
pub(super) struct World {
    pub(super) config: Config,
    pub(super) records: HashMap<u64, Vec<u8>>,
    pub(super) book: Book,
    pub(super) now_s: u64,
    pub(super) under_load: bool,
    random: Counted,
    draw: u64,
}

/// What a step showed.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) sent: Vec<Datagram>,
    pub(super) children: Vec<ChildEvent>,
    pub(super) reports: Vec<Report>,
    pub(super) timeout_s: Option<u64>,
    pub(super) changed: bool,
}

pub(super) fn path() -> Path {
    Path { ours: socket("198.51.100.1:500"), theirs: socket("192.0.2.9:500") }
}

/// From port 4500 to port 4500, where translators are.
pub(super) fn nat_path() -> Path {
    Path { ours: socket("198.51.100.1:4500"), theirs: socket("192.0.2.9:4500") }
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn network(text: &str) -> Selector {
    let (address, len) = text.split_once('/').unwrap();
    Selector::of_network(address.parse().unwrap(), len.parse().unwrap())
}

pub(super) fn config() -> Config {
    let child = |name: &str, local: &str, remote: &[&str]| ChildConfig {
        name: name.into(),
        transport: false,
        local: vec![network(local)],
        remote: remote.iter().map(|text| network(text)).collect(),
        proposals: ["aes128gcm16", "aes256-sha256-x25519"].map(|text| text.parse().unwrap()).into(),
        rekey_s: 0,
        life: Life::default(),
        outer: crate::config::OuterHeader::default(),
    };
    let connection = Connection {
        name: "road".into(),
        local_address: Some("198.51.100.1".parse().unwrap()),
        remote_addresses: vec![network("192.0.2.0/24")],
        proposals: ["aes128gcm16-prfsha256-x25519", "aes256-sha256-ecp256"].map(|text| text.parse().unwrap()).into(),
        local_id: Identity::of_text(GATEWAY),
        remote_id: None,
        own_proof: OwnProof::SharedKey(Secret::from(KEY)),
        peers_proof: PeersProof::SharedKey(Secret::from(KEY)),
        pools: Vec::new(),
        unique: Unique::IfSaid,
        reauth_s: 0,
        start: None,
        dns: vec!["10.3.0.53".parse().unwrap()],
        children: vec![child("lan", "10.3.0.0/24", &["10.9.0.0/16"]), child("more", "10.4.0.0/16", &["10.9.0.0/16"])],
        dpd_delay_s: 30,
        rekey_s: 0,
    };
    let [cookie_key, token_key] = [&b"cookies"[..], b"tokens"].map(Secret::from);
    Config { connections: vec![connection], cookie_key, token_key, users: Arc::default() }
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        let network: IpAddr = "10.99.0.0".parse().unwrap();
        let book = Book::new(vec![Pool::new("guests".into(), network, 24, 0, 1)]);
        Self { config, records: HashMap::new(), book, now_s: 1000, under_load: false, random: Counted(7), draw: 0 }
    }

    /// Any member that has the records handles an event.
    pub(super) fn step(&mut self, spi: u64, event: Event<'_>) -> Shown {
        let outcome = self.try_step(spi, event);
        self.commit(spi, outcome)
    }

    /// What would come of an event.
    pub(super) fn try_step(&mut self, spi: u64, event: Event<'_>) -> Outcome {
        let sa = self.records.get(&spi).map(|record| IkeSa::restore(record).expect("a record of ours"));
        let (machine, given) = self.turn();
        machine.handle(given, spi, sa, event)
    }

    /// The machine, and what it is given for one event.
    pub(super) fn turn(&mut self) -> (Machine<'_>, Given<'_>) {
        self.draw += super::DRAWS;
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

    /// It came about.
    pub(super) fn commit(&mut self, spi: u64, outcome: Outcome) -> Shown {
        let changed = !matches!(outcome.next, Next::Same);
        if let (Some(before), Next::Changed(after)) = (self.records.get(&spi), &outcome.next)
            && matches!(after.phase, crate::state::Phase::Closed)
        {
            self.book.hear_end(&IkeSa::restore(before).expect("a record of ours"));
        }
        for event in &outcome.children {
            match event {
                ChildEvent::Add(child) => {
                    let hosts = child.remote.iter().map(|part| part.address);
                    self.book.hear_tunnel(child.inbound.spi, hosts);
                }
                ChildEvent::Remove(spi) => self.book.lose_tunnel(*spi, self.now_s),
                ChildEvent::Move { .. } | ChildEvent::Skip { .. } => {}
            }
        }
        match &outcome.next {
            Next::Same => {}
            Next::Changed(sa) => self.keep(spi, sa),
            Next::Ended => drop(self.records.remove(&spi)),
        }
        if let Some((successor, _)) = &outcome.successor {
            self.keep(successor.own_spi(), successor);
        }
        let Outcome { timeout_s, children, send, reports, .. } = outcome;
        Shown { sent: send, children, reports, timeout_s, changed }
    }

    fn keep(&mut self, spi: u64, sa: &IkeSa) {
        self.book.hear(sa, self.now_s);
        let record = sa.save();
        let again = IkeSa::restore(&record).expect("what was saved");
        assert_eq!(again.save(), record, "restore(save(x)) is x");
        self.records.insert(spi, record);
    }

    pub(super) fn sa(&self, spi: u64) -> IkeSa {
        IkeSa::restore(&self.records[&spi]).expect("a record of ours")
    }

    /// Hears a message of a client's SA; the one answer.
    pub(super) fn ask(&mut self, spi: u64, path: Path, bytes: &[u8]) -> (Vec<u8>, Shown) {
        let shown = self.step(spi, Event::Message { path, bytes });
        assert_eq!(shown.sent.len(), 1, "{:?}", shown.reports);
        (shown.sent[0].bytes.clone(), shown)
    }
}

/// All traffic of a network.
pub(super) fn whole(text: &str) -> Vec<super::Part> {
    super::Part::of(&network(text)).unwrap()
}
