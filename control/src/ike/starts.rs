//! What is to be seen of the connections that we begin: whether there is a tunnel of one, and what became of the last IKE SA.
//!
//! All of it may be lost, and is known again a little later. Of tunnels the workers tell, of all members' ones. One is a connection's if
//! its traffic is that of a child of it, whoever began it: so two sides that both begin come to rest. Of IKE SAs only those are
//! known that this thread has spoken for since the unit came to this member; the keeper asks in the same unit, so that is enough.

use std::collections::{HashMap, HashSet};

use phalanx_dataplane::ipsec::gateway::{Network, Selectors};
use phalanx_ike::config::{Config, Connection};
use phalanx_ike::machine::{Machine, Next, Outcome, Part, Seen};
use phalanx_ike::state::{IkeSa, Phase};
use phalanx_ike::wire::{IkeSpi, Selector};

/// An IKE SA that was there is believed to be there until it was to be asked next, and so long on top.
const BELIEVED_S: u64 = 60;
/// But no longer than this.
const BELIEVED_MAX_S: u64 = 300;

/// See the module.
#[derive(Debug)]
pub(super) struct Starts {
    connections: Vec<Begun>,
    /// By our SPI of the keeper.
    keepers: HashMap<IkeSpi, usize>,
    /// Which connections a tunnel is of, by our SPI.
    tunnels: HashMap<u32, Vec<usize>>,
}

/// A connection that we begin.
#[derive(Debug)]
struct Begun {
    name: String,
    /// Its children's traffic.
    children: Vec<Selectors>,
    tunnels: HashSet<u32>,
    last: Last,
}

/// The last IKE SA of a connection.
#[derive(Debug)]
enum Last {
    Unknown,
    Alive(IkeSpi, u64),
    Over(IkeSpi),
}

impl Starts {
    pub(super) fn new(config: &Config) -> Self {
        let machine = Machine::new(config);
        let kept = config.connections.iter().filter(|it| it.start.is_some());
        let connections: Vec<Begun> = kept.map(Begun::new).collect();
        let keepers = connections.iter().enumerate().map(|(at, it)| (machine.keeper_of(&it.name), at)).collect();
        Self { connections, keepers, tunnels: HashMap::new() }
    }

    /// Whose keeper has this name.
    pub(super) fn connection_of(&self, keeper: IkeSpi) -> Option<&str> {
        self.keepers.get(&keeper).and_then(|at| self.connections.get(*at)).map(|it| it.name.as_str())
    }

    /// What its keeper is to know.
    pub(super) fn seen(&self, keeper: IkeSpi, now_s: u64) -> Seen {
        let Some(it) = self.keepers.get(&keeper).and_then(|at| self.connections.get(*at)) else { return Seen::Nothing };
        match it.last {
            _ if !it.tunnels.is_empty() => Seen::Tunnel,
            Last::Alive(spi, until_s) if now_s < until_s => Seen::Alive(spi),
            Last::Over(spi) => Seen::Over(spi),
            Last::Alive(..) | Last::Unknown => Seen::Nothing,
        }
    }

    /// There is a tunnel, somewhere in the cluster.
    pub(super) fn hear_tunnel(&mut self, spi: u32, traffic: &Selectors) {
        let of: Vec<usize> =
            (0..).zip(&self.connections).filter(|(_, it)| it.carries(traffic)).map(|(at, _)| at).collect();
        for at in &of {
            self.connections.get_mut(*at).map(|it| it.tunnels.insert(spi));
        }
        if !of.is_empty() {
            self.tunnels.insert(spi, of);
        }
    }

    /// One is no more.
    pub(super) fn lose_tunnel(&mut self, spi: u32) {
        for at in self.tunnels.remove(&spi).into_iter().flatten() {
            self.connections.get_mut(at).map(|it| it.tunnels.remove(&spi));
        }
    }

    /// What an IKE SA has become.
    pub(super) fn note(&mut self, spi: IkeSpi, before: Option<&IkeSa>, outcome: &Outcome, now_s: u64) {
        if self.connections.is_empty() {
            return;
        }
        if let Some((successor, timeout_s)) = &outcome.successor {
            self.live(successor, *timeout_s, now_s);
        }
        match &outcome.next {
            Next::Changed(sa) if !matches!(sa.phase, Phase::Closed) => self.live(sa, outcome.timeout_s, now_s),
            Next::Same => before.into_iter().for_each(|sa| self.live(sa, outcome.timeout_s, now_s)),
            Next::Changed(_) | Next::Ended => self.lose(spi),
        }
    }

    fn live(&mut self, sa: &IkeSa, timeout_s: Option<u64>, now_s: u64) {
        let Some(connection) = sa.begun_for().filter(|_| !sa.succeeded) else { return };
        let due_s = timeout_s.unwrap_or(now_s).saturating_add(BELIEVED_S);
        let until_s = due_s.min(now_s.saturating_add(BELIEVED_MAX_S));
        if let Some(it) = self.connections.iter_mut().find(|it| it.name == connection) {
            it.last = Last::Alive(sa.own_spi(), until_s);
        }
    }

    fn lose(&mut self, spi: IkeSpi) {
        let of = |it: &&mut Begun| matches!(it.last, Last::Alive(alive, _) if alive == spi);
        self.connections.iter_mut().filter(of).for_each(|it| it.last = Last::Over(spi));
    }
}

impl Begun {
    fn new(connection: &Connection) -> Self {
        let (ours, theirs) =
            connection.start.map_or((None, None), |path| (Some(path.ours.ip()), Some(path.theirs.ip())));
        let networks = |list: &[Selector], end: Option<std::net::IpAddr>| match list {
            [] => end.into_iter().map(|address| Network::new(address, u8::MAX)).collect(),
            list => {
                let parts = list.iter().filter_map(Part::of).flatten();
                parts.map(|part| Network::new(part.address, part.prefix_len)).collect()
            }
        };
        let traffic = |child: &phalanx_ike::config::ChildConfig| Selectors {
            local: networks(&child.local, ours),
            remote: networks(&child.remote, theirs),
        };
        Self {
            name: connection.name.clone(),
            children: connection.children.iter().map(traffic).collect(),
            tunnels: HashSet::new(),
            last: Last::Unknown,
        }
    }

    /// Whether a tunnel's traffic is that of a child.
    fn carries(&self, traffic: &Selectors) -> bool {
        let within = |inner: &[Network], outer: &[Network]| inner.iter().all(|it| outer.iter().any(|net| has(net, it)));
        self.children.iter().any(|child| within(&traffic.local, &child.local) && within(&traffic.remote, &child.remote))
    }
}

/// Whether a network is in another.
fn has(outer: &Network, inner: &Network) -> bool {
    let (len, address) = (outer.prefix_len(), inner.address());
    address.is_ipv4() == outer.address().is_ipv4()
        && len <= inner.prefix_len()
        && Network::new(address, len).address() == outer.address()
}
