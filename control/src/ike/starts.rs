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
    keeper: IkeSpi,
    /// Its children's traffic.
    children: Vec<Selectors>,
    tunnels: HashSet<u32>,
    last: Last,
}

/// The last IKE SA of a connection.
#[derive(Clone, Copy, Debug)]
enum Last {
    Unknown,
    /// It was there: what we call it, what we called it when it began, how long that is believed.
    Alive(IkeSpi, IkeSpi, u64),
    /// It is over: what we called it when it began.
    Over(IkeSpi),
}

impl Starts {
    pub(super) fn new(config: &Config) -> Self {
        let machine = Machine::new(config);
        let kept = config.connections.iter().filter(|it| it.start.is_some());
        let connections: Vec<Begun> = kept.map(|it| Begun::new(it, machine.keeper_of(&it.name))).collect();
        let keepers = connections.iter().enumerate().map(|(at, it)| (it.keeper, at)).collect();
        Self { connections, keepers, tunnels: HashMap::new() }
    }

    /// Whose keeper has this name.
    pub(super) fn connection_of(&self, keeper: IkeSpi) -> Option<&str> {
        self.keepers.get(&keeper).and_then(|at| self.connections.get(*at)).map(|it| it.name.as_str())
    }

    /// What its keeper is to know.
    pub(super) fn seen(&self, keeper: IkeSpi, now_s: u64) -> Seen {
        let Some(it) = self.keepers.get(&keeper).and_then(|at| self.connections.get(*at)) else { return Seen::Nothing };
        let has_tunnel = !it.tunnels.is_empty();
        match it.last {
            Last::Over(begun) if has_tunnel => Seen::Tunnel(Some(begun)),
            _ if has_tunnel => Seen::Tunnel(None),
            Last::Alive(_, begun, until_s) if now_s < until_s => Seen::Alive(begun),
            Last::Over(begun) => Seen::Over(begun),
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

    /// What an IKE SA has become. The keeper that is to look at once: what it began last is over, and no heir could see that.
    pub(super) fn note(
        &mut self,
        spi: IkeSpi,
        before: Option<&IkeSa>,
        outcome: &Outcome,
        now_s: u64,
    ) -> Option<IkeSpi> {
        if self.connections.is_empty() {
            return None;
        }
        if let Some((successor, timeout_s)) = &outcome.successor {
            self.live(successor, *timeout_s, now_s);
        }
        match &outcome.next {
            Next::Changed(sa) if !matches!(sa.phase, Phase::Closed) => self.live(sa, outcome.timeout_s, now_s),
            Next::Same => before.into_iter().for_each(|sa| self.live(sa, outcome.timeout_s, now_s)),
            Next::Changed(_) | Next::Ended => return self.lose(spi, before),
        }
        None
    }

    fn live(&mut self, sa: &IkeSa, timeout_s: Option<u64>, now_s: u64) {
        let (Some(connection), Some(kept), false) = (sa.begun_for(), &sa.kept, sa.succeeded) else { return };
        let due_s = timeout_s.unwrap_or(now_s).saturating_add(BELIEVED_S);
        let until_s = due_s.min(now_s.saturating_add(BELIEVED_MAX_S));
        if let Some(it) = self.connections.iter_mut().find(|it| it.name == connection) {
            it.last = Last::Alive(sa.own_spi(), kept.begun, until_s);
        }
    }

    fn lose(&mut self, spi: IkeSpi, before: Option<&IkeSa>) -> Option<IkeSpi> {
        let begun_for = before.filter(|sa| !sa.succeeded).and_then(IkeSa::begun_for);
        self.connections.iter_mut().find_map(|it| {
            let begun = match (it.last, before.and_then(|sa| sa.kept.as_ref())) {
                (Last::Alive(alive, begun, _), _) if alive == spi => begun,
                // Its end is the first that is heard of it here.
                (Last::Unknown | Last::Over(_), Some(kept)) if begun_for == Some(&it.name) => kept.begun,
                _ => return None,
            };
            it.last = Last::Over(begun);
            Some(it.keeper)
        })
    }
}

impl Begun {
    fn new(connection: &Connection, keeper: IkeSpi) -> Self {
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
            keeper,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use phalanx_dataplane::ipsec::gateway::may_come_about;
    use phalanx_ike::config::{ChildConfig, OwnProof, PeersProof, Unique};
    use phalanx_ike::crypto::{Secret, SystemRandom};
    use phalanx_ike::machine::{DRAWS, Given, Keeper, Unit10};
    use phalanx_ike::pool::Book;
    use phalanx_ike::state::Path;
    use phalanx_ike::wire::Identity;

    use super::*;

    fn network(text: &str) -> Network {
        let (address, len) = text.split_once('/').unwrap();
        Network::new(address.parse().unwrap(), len.parse().unwrap())
    }

    fn traffic(local: &str, remote: &str) -> Selectors {
        Selectors { local: vec![network(local)], remote: vec![network(remote)] }
    }

    fn config() -> Config {
        let selector = |text: &str| {
            let network = network(text);
            Selector::of_network(network.address(), network.prefix_len())
        };
        let child = |name: &str, remote: &[&str]| ChildConfig {
            name: name.into(),
            transport: false,
            local: vec![selector("10.3.0.0/24")],
            remote: remote.iter().map(|text| selector(text)).collect(),
            proposals: vec!["aes256gcm16".parse().unwrap()],
            rekey_s: 0,
            life: phalanx_ike::config::Life::default(),
            outer: phalanx_ike::config::OuterHeader::default(),
        };
        let key = || Secret::from(&b"a key"[..]);
        let path = Path { ours: "198.51.100.1:500".parse().unwrap(), theirs: "192.0.2.9:500".parse().unwrap() };
        let connection = Connection {
            name: "branch".into(),
            local_address: Some(path.ours.ip()),
            remote_addresses: vec![Selector::of_network(path.theirs.ip(), 32)],
            proposals: vec!["aes256gcm16-prfsha384-x25519".parse().unwrap()],
            local_id: Identity::of_text("gw"),
            remote_id: None,
            own_proof: OwnProof::SharedKey(key()),
            peers_proof: PeersProof::SharedKey(key()),
            pools: Vec::new(),
            dns: Vec::new(),
            reauth_s: 0,
            start: Some(path),
            unique: Unique::IfSaid,
            children: vec![child("lan", &["10.9.0.0/16", "10.8.0.0/16"]), child("itself", &[])],
            dpd_delay_s: 30,
            rekey_s: 0,
        };
        let other = Connection { name: "other".into(), start: None, ..connection.clone() };
        Config { connections: vec![other, connection], cookie_key: key(), token_key: key(), users: Arc::default() }
    }

    #[test]
    fn a_tunnel_is_a_connections_if_its_traffic_is() {
        let mut starts = Starts::new(&config());
        let keeper = Machine::new(&config()).keeper_of("branch");
        assert_eq!((starts.connection_of(keeper), starts.connection_of(5)), (Some("branch"), None));
        assert_eq!(starts.connection_of(Machine::new(&config()).keeper_of("other")), None, "its peer begins");
        for (spi, (local, remote), is) in [
            (1, ("10.3.0.0/24", "10.9.0.0/16"), true),
            (2, ("10.3.0.7/32", "10.8.7.0/24"), true),
            (3, ("10.3.0.0/24", "192.0.2.9/32"), true),
            (4, ("10.3.0.0/24", "192.0.2.8/32"), false),
            (5, ("10.3.0.0/16", "10.9.0.0/16"), false),
            (6, ("10.3.0.0/24", "10.0.0.0/8"), false),
        ] {
            starts.hear_tunnel(spi, &traffic(local, remote));
            assert_eq!(starts.seen(keeper, 1000) == Seen::Tunnel(None), is, "{local}, {remote}");
            starts.lose_tunnel(spi);
            assert_eq!(starts.seen(keeper, 1000), Seen::Nothing);
        }
        // Of two the second is one as well.
        starts.hear_tunnel(1, &traffic("10.3.0.0/24", "10.9.0.0/16"));
        starts.hear_tunnel(2, &traffic("10.3.0.0/24", "10.9.0.0/16"));
        starts.lose_tunnel(1);
        assert_eq!(starts.seen(keeper, 1000), Seen::Tunnel(None));
    }

    #[test]
    fn what_became_of_the_last_one() {
        let config = config();
        let machine = Machine::new(&config);
        let (mut random, mut book) = (SystemRandom::new(), Book::new(Vec::new()));
        let given = Given {
            now_s: 1000,
            unit: Unit10(77),
            draw: DRAWS,
            random: &mut random,
            pools: &mut book,
            under_load: false,
        };
        let mut starts = Starts::new(&config);
        let name = machine.keeper_of("branch");
        let keeper = Keeper { connection: "branch".into(), spi: 0, begun_s: 0, tries: 0, again_s: 0, over: false };
        let (keeper, outcome) = machine.keep(given, Some(keeper), "branch", Seen::Nothing).unwrap();
        // The data plane and the machine agree on how an SPI says when it was chosen.
        assert!(may_come_about(keeper.spi, 1000) && may_come_about(keeper.spi, 1000 + 160));
        assert!(!may_come_about(keeper.spi, 1000 + 320) && !may_come_about(keeper.spi, 1000 - 128));
        starts.note(name, None, &outcome, 1000);
        assert_eq!(starts.seen(name, 1000), Seen::Alive(keeper.spi));
        assert_eq!(starts.seen(name, 2000), Seen::Nothing, "that is long ago");
        // Under another name it is still the one that was begun.
        let (begun, _) = outcome.successor.unwrap();
        // An heir hears of its end first of all.
        let mut heirs = Starts::new(&config);
        let ended = Outcome { next: Next::Ended, ..Outcome::default() };
        assert_eq!(heirs.note(keeper.spi, Some(&begun), &ended, 1010), Some(name), "the keeper is to know");
        assert_eq!(heirs.seen(name, 1010), Seen::Over(keeper.spi));
        let renewed = IkeSa { initiator_spi: 0x7004d, ..(*begun).clone() };
        let old = IkeSa { succeeded: true, ..*begun };
        let outcome = Outcome {
            next: Next::Changed(Box::new(old)),
            successor: Some((Box::new(renewed), Some(1030))),
            ..Outcome::default()
        };
        assert_eq!(starts.note(keeper.spi, None, &outcome, 1010), None);
        assert_eq!(starts.seen(name, 1010), Seen::Alive(keeper.spi));
        assert_eq!(starts.note(keeper.spi, None, &ended, 1011), None);
        assert_eq!(starts.seen(name, 1011), Seen::Alive(keeper.spi), "the old one is gone, not the new one");
        assert_eq!(starts.note(0x7004d, None, &ended, 1012), Some(name));
        assert_eq!(starts.seen(name, 1012), Seen::Over(keeper.spi));
        starts.hear_tunnel(1, &traffic("10.3.0.0/24", "10.9.0.0/16"));
        assert_eq!(starts.seen(name, 1012), Seen::Tunnel(Some(keeper.spi)), "whoever's that is");
    }
}
