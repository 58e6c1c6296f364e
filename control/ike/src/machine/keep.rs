//! Who sees to it that there is an IKE SA: of each connection that says `start = "always"` there is one keeper.
//!
//! ```text
//!   looks ──a tunnel of the connection's, whoever made it─────────▶ looks again
//!     ├──one that it began is under way, or has its children yet──▶ looks again
//!     └──neither, and the pause is over──▶ begins one, and lets it go its way
//! ```
//! A keeper is a record like an IKE SA's, in a unit that the connection's name says: so exactly one member looks at a time, and an heir
//! knows when the last attempt was, and whether it is over: who sees an attempt end has its keeper look at once, because an heir
//! could not tell it from one under way. What it began is an IKE SA of its own, in the same unit, which gives up by itself. The SPI
//! of each attempt is new, as its nonce and its keys are: nothing is begun twice.

use super::{Given, Machine, Outcome, Turn};
use crate::config::Connection;
use crate::crypto::Prf;
use crate::fields::{Reader, Writer};
use crate::wire::IkeSpi;

/// It looks so often.
const LOOK_S: u64 = 5;
/// After the first failure it waits so long, then twice as long, and so on.
const FIRST_PAUSE_S: u64 = 4;
const PAUSE_MAX_S: u64 = 300;
/// An attempt is over after so long, one way or the other: its first message and its second each wait a minute and a half for an answer,
/// and a child that is refused a minute.
const ATTEMPT_MAX_S: u64 = 300;
/// What went so long was no failure.
const STEADY_S: u64 = 60;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keeper {
    /// The connection, by name.
    pub connection: String,
    /// The IKE SA that it began last; 0: none.
    pub spi: IkeSpi,
    /// When that was.
    pub begun_s: u64,
    /// How often it has begun one since one went well.
    pub tries: u8,
    /// Before then it begins no other.
    pub again_s: u64,
    /// The one that it began last is over.
    pub over: bool,
}

/// What is to be seen of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Seen {
    /// The cluster has a tunnel of it, though what was begun with that SPI may be over.
    Tunnel(Option<IkeSpi>),
    /// The IKE SA that was begun with that SPI, or what took its place, was there a moment ago.
    Alive(IkeSpi),
    /// It is over.
    Over(IkeSpi),
    /// Nothing.
    Nothing,
}

impl Keeper {
    /// The record.
    pub fn save(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.nested(tag::KEEPER, |to| {
            to.bytes(1, self.connection.as_bytes()).number(2, self.spi).number(3, self.begun_s);
            to.number(4, self.tries.into()).number(5, self.again_s).number(6, self.over.into());
        });
        to.done()
    }

    /// None: it is none.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let from = Reader::new(bytes)?.nested(tag::KEEPER)?;
        Some(Self {
            connection: from.text(1)?,
            spi: from.number(2)?,
            begun_s: from.number(3)?,
            tries: from.small(4)?,
            again_s: from.number(5)?,
            // An older member does not say.
            over: from.number(6).is_some_and(|over| over != 0),
        })
    }
}

/// A field that no IKE SA has.
mod tag {
    pub(super) const KEEPER: u8 = 255;
}

impl Machine<'_> {
    /// What the keeper of a connection is called: the same on all members. Its low ten bits are its unit. No peer ever sees it.
    pub fn keeper_of(&self, connection: &str) -> IkeSpi {
        let parts = [&b"keeper"[..], connection.as_bytes()];
        let tag = Prf::HmacSha256.compute(self.config.cookie_key.as_bytes(), &parts);
        tag.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) | 1 << 63
    }

    /// The names of the connections that there is to be an IKE SA of.
    pub fn kept(&self) -> impl Iterator<Item = &str> {
        self.config.connections.iter().filter(|it| it.start.is_some()).map(|it| it.name.as_str())
    }

    /// A keeper looks; none: it begins to. What it is then, and what came of it: an IKE SA that it begins is the outcome's successor.
    pub fn keep(
        &self,
        mut given: Given<'_>,
        keeper: Option<Keeper>,
        connection: &str,
        seen: Seen,
    ) -> Option<(Keeper, Outcome)> {
        let connection = self.config.connections.iter().find(|it| it.name == connection)?;
        connection.start?;
        let mut turn = Turn { config: self.config, given: &mut given, drawn: 0, out: Outcome::default() };
        let keeper = match keeper {
            Some(keeper) => turn.look(keeper, connection, seen),
            // What the cluster has may not be known here yet.
            None => turn.first_look(connection),
        };
        Some((keeper, turn.out))
    }
}

impl Turn<'_, '_> {
    fn first_look(&mut self, connection: &Connection) -> Keeper {
        let again_s = self.given.now_s.saturating_add(1 + self.up_to(2));
        self.out.timeout_s = Some(again_s);
        Keeper { connection: connection.name.clone(), spi: 0, begun_s: 0, tries: 0, again_s, over: false }
    }

    fn look(&mut self, mut keeper: Keeper, connection: &Connection, seen: Seen) -> Keeper {
        let now_s = self.given.now_s;
        let since_s = now_s.saturating_sub(keeper.begun_s);
        keeper.over |= matches!(seen, Seen::Over(spi) | Seen::Tunnel(Some(spi)) if spi == keeper.spi);
        let is_there = match seen {
            Seen::Tunnel(_) => {
                if since_s >= STEADY_S {
                    (keeper.tries, keeper.again_s) = (0, 0);
                }
                true
            }
            // Who saw it alive may have lost sight of it since.
            Seen::Alive(spi) if spi == keeper.spi => !keeper.over,
            Seen::Alive(_) => true,
            Seen::Over(_) | Seen::Nothing => keeper.spi != 0 && !keeper.over && since_s < ATTEMPT_MAX_S,
        };
        let Some(path) = connection.start.filter(|_| !is_there && keeper.again_s <= now_s) else {
            let at_s = if is_there { now_s.saturating_add(LOOK_S) } else { keeper.again_s };
            self.out.timeout_s = Some(at_s.min(now_s.saturating_add(LOOK_S)));
            return keeper;
        };
        self.out.timeout_s = Some(now_s.saturating_add(LOOK_S));
        if let Some(sa) = self.begin_own(connection, path) {
            (keeper.spi, keeper.begun_s, keeper.over) = (sa.initiator_spi, now_s, false);
            let pause_s = (FIRST_PAUSE_S << keeper.tries.min(7)).min(PAUSE_MAX_S);
            keeper.again_s = now_s.saturating_add(pause_s + self.up_to(pause_s / 2));
            keeper.tries = keeper.tries.saturating_add(1);
            let timeout_s = self.deadline(&sa);
            self.out.successor = Some((Box::new(sa), timeout_s));
        }
        keeper
    }

    /// A number from 0 to this one: so that not all begin at once.
    fn up_to(&mut self, most: u64) -> u64 {
        let mut bytes = [0; 2];
        self.given.random.fill(&mut bytes);
        u64::from(u16::from_be_bytes(bytes)) % (most + 1)
    }
}
