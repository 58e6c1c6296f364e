//! What an IKE SA makes of a message: RFC 7296's exchanges, one after the other.
//!
//! ```text
//!   the SA's value ─┐                    ┌─▶ its next value        (committed before ...)
//!   a message       ├─▶ Machine::handle ─┼─▶ child SAs that come, go, move
//!   time, entropy  ─┘                    └─▶ datagrams             (... these are sent)
//! ```
//! The machine keeps nothing: an IKE SA is what the backups hold of it, so whichever member the next message meets goes on with it.
//! If an outcome is thrown away (its member has lost the unit meanwhile), nothing has happened: the peer asks again.
//!
//! | file | what it does |
//! | --- | --- |
//! | `sealed` | opens what comes, whole or in pieces; seals what goes |
//! | `payloads` | finds the payloads of a message |
//! | `hear` | whose turn it is: requests, answers, repetitions |
//! | `init` | IKE_SA_INIT: algorithms, key exchange, cookies |
//! | `auth`, `proof`, `addresses` | IKE_AUTH: who the peer is, and how that is proved; addresses for it |
//! | `child` | which traffic, which algorithms, which keys a child SA has |
//! | `part` | which traffic, as the data plane looks at it |
//! | `crash` | peers that have lost an IKE SA, and prove it; that we have |
//! | `create` | CREATE_CHILD_SA: further children, new keys for them and for the IKE SA |
//! | `informational` | deletes, moves, signs of life |
//! | `keep` | who sees to it that there is an IKE SA |
//! | `begin`, `prove` | IKE_SA_INIT and IKE_AUTH, begun by us |
//! | `more` | children that we ask for |
//! | `own` | what we ask: whether the peer lives; that it is over |
//! | `rekey` | new keys from our side, and what if both want some at once |
//! | `worn` | children that have carried much |
//! | `sync` | message IDs that are agreed on anew |
//! | `report` | what a person reads of it |
//! | `limits` | how much of a peer's is kept |

mod addresses;
mod auth;
mod begin;
mod child;
mod crash;
mod create;
mod hear;
mod informational;
mod init;
mod keep;
mod limits;
mod more;
mod own;
mod part;
mod payloads;
mod proof;
mod prove;
mod rekey;
mod report;
mod sealed;
mod sync;
#[cfg(test)]
mod tests;
mod worn;

use std::net::SocketAddr;

pub use child::{ChildSa, Contact, Half};
pub use keep::{Keeper, Seen};
pub use part::Part;
pub use report::{Closure, Failure, Report};

use crate::config::{Config, Connection};
use crate::crypto::{Prf, Random};
use crate::pool::Pools;
use crate::state::{IkeSa, Path, Peer, Phase};
use crate::wire::{Identity, IkeSpi};

/// So long an IKE SA whose peer has not proved its name is kept.
pub const OPENING_S: u64 = 30;
/// So long the last answer of one that is over is kept.
const CLOSED_S: u64 = 10;

/// What the machine is given besides the SA and the message.
pub struct Given<'a> {
    /// The cluster's clock.
    pub now_s: u64,
    /// What the SPIs that we choose end with: the SA's unit.
    pub unit: Unit10,
    /// The first of [`DRAWS`] numbers that no member has used or will use: explicit IVs.
    pub draw: u64,
    /// Entropy.
    pub random: &'a mut dyn Random,
    /// Addresses for peers.
    pub pools: &'a mut dyn Pools,
    /// So many SAs are open whose peers have proved nothing that a newcomer must show that it receives what is sent to it.
    pub under_load: bool,
}

/// The cluster's clock is divided into ages of so many seconds, of which the low eight bits stand below an SPI's highest bit.
const SPI_AGE_S: u64 = 64;
const SPI_AGE_SHIFT: u32 = 55;

/// How many IVs one message may take.
pub const DRAWS: u64 = 64;

/// The ten bits at the end of an SPI that name its unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Unit10(pub u16);

/// What happens to an IKE SA.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A message came.
    Message {
        /// From the peer to us.
        path: Path,
        /// Without the marker of port 4500.
        bytes: &'a [u8],
    },
    /// The time has come that it asked for.
    Timeout,
    /// Somebody wants it ended.
    Close,
    /// Somebody wants new keys for it.
    Rekey,
    /// A child, by our SPI, has carried so much that it needs new keys.
    ChildWorn(u32),
    /// A child, by our SPI, has carried all that it may.
    ChildSpent(u32),
    /// Its peer has come anew, and has it no more.
    Replaced,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The SA.
    pub next: Next,
    /// When it wants to be asked again, on the cluster's clock.
    pub timeout_s: Option<u64>,
    /// The SA that goes on for it, with its children; when that wants to be asked.
    pub successor: Option<(Box<IkeSa>, Option<u64>)>,
    /// Its children's doings, in order.
    pub children: Vec<ChildEvent>,
    /// What is sent once the backups hold all this.
    pub send: Vec<Datagram>,
    /// A message came in clear: whether it proved that its sender has lost the SA.
    pub token: Option<bool>,
    /// What is logged.
    pub reports: Vec<Report>,
}

/// An SA's next value.
#[derive(Clone, Debug, Default)]
pub enum Next {
    /// The present one.
    #[default]
    Same,
    /// Another.
    Changed(Box<IkeSa>),
    /// None: it is over.
    Ended,
}

/// What becomes of a child SA.
#[derive(Clone, Debug)]
pub enum ChildEvent {
    /// There is a new one.
    Add(Box<ChildSa>),
    /// One is over; our SPI.
    Remove(u32),
    /// Its packets go another way.
    Move {
        /// Our SPI.
        inbound_spi: u32,
        /// The way.
        path: Path,
        /// Whether they go in UDP.
        udp: bool,
    },
    /// Its next packets' numbers are not used.
    Skip {
        /// Our SPI.
        inbound_spi: u32,
        /// So many of them.
        count: u64,
    },
}

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// From an address of ours.
    pub from: SocketAddr,
    /// To the peer.
    pub to: SocketAddr,
    /// Without the marker of port 4500.
    pub bytes: Vec<u8>,
}

/// See the module.
#[derive(Clone, Copy)]
pub struct Machine<'c> {
    config: &'c Config,
}

/// One event's handling.
struct Turn<'t, 'g> {
    config: &'t Config,
    given: &'t mut Given<'g>,
    /// IVs taken.
    drawn: u64,
    out: Outcome,
}

impl<'c> Machine<'c> {
    /// One that goes by this configuration.
    pub const fn new(config: &'c Config) -> Self {
        Self { config }
    }

    /// What the cluster calls the pair of names between which a peer's IKE SAs are: the same on all members. None: its connection is
    /// configured no more.
    pub fn names(&self, peer: &Peer) -> Option<[u8; 16]> {
        let connection = self.config.connections.iter().find(|connection| connection.name == peer.connection)?;
        let [ours, theirs] = [&connection.local_id, &peer.identity].map(Identity::body);
        let parts = [&b"names"[..], &(ours.len() as u64).to_be_bytes(), &ours, &theirs];
        let tag = Prf::HmacSha256.compute(self.config.cookie_key.as_bytes(), &parts);
        tag.as_bytes().first_chunk().copied()
    }

    /// Handles an event of the IKE SA that we call `spi`; none: there is no such SA yet.
    pub fn handle(&self, mut given: Given<'_>, spi: IkeSpi, sa: Option<IkeSa>, event: Event<'_>) -> Outcome {
        let mut turn = Turn { config: self.config, given: &mut given, drawn: 0, out: Outcome::default() };
        let due_s = sa.as_ref().and_then(|sa| turn.deadline(sa));
        match (sa, event) {
            (None, Event::Message { path, bytes }) => turn.begin(spi, path, bytes),
            (None, _) => {}
            (Some(sa), Event::Message { path, bytes }) => turn.hear(sa, path, bytes),
            (Some(sa), Event::Timeout) => turn.tick(sa),
            (Some(sa), Event::Close) => turn.close(sa),
            (Some(sa), Event::Rekey) => turn.rekey_now(sa),
            (Some(sa), Event::ChildWorn(spi)) => turn.renew_child(sa, spi),
            (Some(sa), Event::ChildSpent(spi)) => turn.end_child(sa, spi),
            (Some(sa), Event::Replaced) => turn.replaced(&sa),
        }
        // What changes nothing does not change when it is due, either.
        if matches!(turn.out.next, Next::Same) {
            turn.out.timeout_s = turn.out.timeout_s.or(due_s);
        }
        turn.out
    }
}

impl<'t> Turn<'t, '_> {
    /// A connection by its name. None: the configuration has it no more.
    fn connection(&self, name: &str) -> Option<&'t Connection> {
        self.config.connections.iter().find(|connection| connection.name == name)
    }
}

impl Turn<'_, '_> {
    /// The SA goes on with another value.
    fn go_on(&mut self, mut sa: IkeSa) {
        self.note_lacking(&mut sa);
        self.out.timeout_s = self.deadline(&sa);
        self.out.next = Next::Changed(Box::new(sa));
    }

    /// The SA is over, at once, and its children with it.
    fn end(&mut self, sa: &IkeSa) {
        self.remove_children(sa);
        self.out.next = Next::Ended;
        self.out.timeout_s = None;
    }

    fn remove_children(&mut self, sa: &IkeSa) {
        self.out.children.extend(sa.children.iter().map(|child| ChildEvent::Remove(child.inbound_spi)));
    }

    /// When an SA wants to be asked again.
    fn deadline(&self, sa: &IkeSa) -> Option<u64> {
        let peer = match &sa.phase {
            Phase::Beginning(_) | Phase::Proving(_) => {
                return Some(sa.pending.as_ref().map_or(sa.created_s, |pending| pending.again_s));
            }
            Phase::Opening(_) | Phase::Asking(_) => return Some(sa.created_s.saturating_add(OPENING_S)),
            Phase::Closed => return Some(sa.heard_s.saturating_add(CLOSED_S)),
            Phase::Established(peer) => peer,
        };
        if let Some(pending) = &sa.pending {
            return Some(pending.again_s);
        }
        self.due(sa, peer).map(|(at_s, _)| at_s)
    }

    fn send(&mut self, path: Path, datagrams: impl IntoIterator<Item = Vec<u8>>) {
        let datagrams = datagrams.into_iter();
        self.out.send.extend(datagrams.map(|bytes| Datagram { from: path.ours, to: path.theirs, bytes }));
    }

    fn report(&mut self, report: Report) {
        self.out.reports.push(report);
    }

    /// An SPI of ours for a child.
    fn child_spi(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.given.random.fill(&mut bytes);
        // Those below 256 are reserved (RFC 4303 section 2.1): one bit above the unit's keeps away from them.
        u32::from_be_bytes(bytes) & !0x3ff | 1 << 10 | u32::from(self.given.unit.0)
    }

    /// An SPI of ours for an IKE SA. When it was chosen stands in it, so that whoever is asked about it knows whether the SA may still come
    /// about: the data plane puts it the same way into those that it chooses.
    fn ike_spi(&mut self) -> IkeSpi {
        let mut bytes = [0; 8];
        self.given.random.fill(&mut bytes);
        let age = ((self.given.now_s / SPI_AGE_S) & 0xff) << SPI_AGE_SHIFT;
        let random = u64::from_be_bytes(bytes) & !((0x1ff << SPI_AGE_SHIFT) | 0x3ff);
        random | 1 << 63 | age | 1 << 10 | u64::from(self.given.unit.0)
    }

    /// When something that lives so long gets new keys: not always the same time, so that not all come at once. 0: never.
    fn lifetime_end(&mut self, rekey_s: u64) -> u64 {
        if rekey_s == 0 {
            return 0;
        }
        let mut bytes = [0; 2];
        self.given.random.fill(&mut bytes);
        let less = (rekey_s / 10 * u64::from(u16::from_be_bytes(bytes))) >> u16::BITS;
        self.given.now_s.saturating_add(rekey_s - less)
    }

    fn nonce(&mut self) -> Vec<u8> {
        // RFC 7296 section 2.10: at least half the PRF's key, at least 16.
        let mut nonce = vec![0; 32];
        self.given.random.fill(&mut nonce);
        nonce
    }
}
