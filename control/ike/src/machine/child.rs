//! A child SA: which traffic, which algorithms, which keys (RFC 7296 sections 2.9, 2.17).

use std::net::IpAddr;

use super::limits::{ALIKE_MAX, NETWORKS_MAX, SELECTORS_MAX};
use super::part::Part;
use super::payloads::{key_exchange, nonce, notified, proposals, selectors};
use super::{ChildEvent, Failure, Machine, Report, Turn};
use crate::config::{ChildConfig, Connection, Life, OuterHeader};
use crate::crypto::{Group, KeyPair, Secret, child_keymat};
use crate::proposal::{EspChoice, EspSuite, choose_esp};
use crate::state::{Child, IkeSa, Path, Peer};
use crate::wire::protocol::ESP;
use crate::wire::{Notify, Payload, Proposal, Selector, notify};

/// Protocols whose messages have types in the place of ports (RFC 7296 section 3.13.1).
const ICMP: [u8; 2] = [1, 58];

/// A pair of SAs, with all that the data plane needs.
#[derive(Clone, Debug)]
pub struct ChildSa {
    /// `connection/child`.
    pub name: String,
    /// Between whom its packets go.
    pub path: Path,
    /// Whether they go in UDP.
    pub udp: bool,
    /// Whether they keep their own headers (RFC 7296 section 1.3.1).
    pub transport: bool,
    /// The algorithms, as the data plane calls them.
    pub transform: String,
    /// Whether it counts to 2^64.
    pub extended: bool,
    /// What comes.
    pub inbound: Half,
    /// What goes.
    pub outbound: Half,
    /// Networks on our side.
    pub local: Vec<Part>,
    /// Networks on the peer's.
    pub remote: Vec<Part>,
    /// The child that it has new keys for, by our SPI.
    pub replaces: Option<u32>,
    /// Its peer's IKE SAs from before are no more.
    pub contact: Option<Contact>,
    /// How much it may carry.
    pub life: Life,
    /// What the headers around its packets say.
    pub outer: OuterHeader,
}

/// A peer came anew, and has nothing of what was before (RFC 7296 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Contact {
    /// Between which names: as [`super::Machine::names`] says.
    pub names: [u8; 16],
    /// When, on the cluster's clock.
    pub since_s: u64,
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Half {
    /// The receiver's name for it.
    pub spi: u32,
    /// The cipher's key and its salt.
    pub cipher_key: Secret,
    /// The key of the check, if that is apart.
    pub integrity_key: Secret,
}

/// What an initiator wants.
pub(super) struct Wanted<'m> {
    proposals: &'m [Proposal],
    theirs: &'m [Selector],
    ours: &'m [Selector],
    nonce: &'m [u8],
    key_exchange: Option<(u16, &'m [u8])>,
    /// In transport mode.
    transport: bool,
    /// The peer asks whether there may be several for the same traffic (RFC 9611).
    of_several: bool,
    /// It does not come with the IKE SA, so it may have a key exchange of its own.
    alone: bool,
}

/// What both want.
#[derive(Clone)]
pub(super) struct Traffic {
    local: Vec<Selector>,
    remote: Vec<Selector>,
    local_networks: Vec<Part>,
    remote_networks: Vec<Part>,
}

/// What a child SA is made of.
pub(super) struct Made<'m> {
    /// The connection's, its own.
    pub(super) name: (&'m str, &'m str),
    /// Ours, the peer's.
    pub(super) spis: (u32, u32),
    pub(super) suite: EspSuite,
    pub(super) extended: bool,
    pub(super) transport: bool,
    pub(super) keymat: &'m Secret,
    /// We began the exchange that made it.
    pub(super) initiated: bool,
    pub(super) replaces: Option<u32>,
    /// So long it lives before it gets new keys; 0: for ever.
    pub(super) rekey_s: u64,
    /// How much it may carry.
    pub(super) life: Life,
    /// What the headers around its packets say.
    pub(super) outer: OuterHeader,
}

impl Traffic {
    /// None: it is nothing, or too much.
    pub(super) fn new(local: Vec<Selector>, remote: Vec<Selector>) -> Option<Self> {
        let (local_networks, remote_networks) = (networks(&local)?, networks(&remote)?);
        (!local.is_empty() && !remote.is_empty()).then_some(Self { local, remote, local_networks, remote_networks })
    }

    fn is_of(&self, child: &Child) -> bool {
        let same =
            |ours: &[Selector], its: &[Selector]| ours.len() == its.len() && ours.iter().all(|it| its.contains(it));
        same(&self.local, &child.local) && same(&self.remote, &child.remote)
    }
}

impl<'m> Wanted<'m> {
    /// In a message with this nonce. None: it wants no child.
    pub(super) fn of(payloads: &'m [Payload], nonce: &'m [u8]) -> Option<Self> {
        let ([theirs, ours], proposals) = (selectors(payloads)?, proposals(payloads)?);
        let transport = notified(payloads, notify::USE_TRANSPORT_MODE).is_some();
        // What it calls the CPU, or whatever else it is for, is for people alone.
        let of_several = notified(payloads, notify::SA_RESOURCE_INFO).is_some();
        Some(Self { proposals, theirs, ours, nonce, key_exchange: None, transport, of_several, alone: false })
    }

    /// The initiator's nonce.
    pub(super) const fn nonce(&self) -> &'m [u8] {
        self.nonce
    }

    /// In a message of its own.
    pub(super) fn of_own(payloads: &'m [Payload]) -> Option<Self> {
        let wanted = Self::of(payloads, nonce(payloads)?)?;
        Some(Self { key_exchange: key_exchange(payloads), alone: true, ..wanted })
    }
}

impl Turn<'_, '_> {
    /// Makes a child SA, and answers so. Otherwise: what is answered.
    pub(super) fn make_child(
        &mut self,
        sa: &mut IkeSa,
        connection: &Connection,
        peer: &Peer,
        wanted: &Wanted<'_>,
        our_nonce: &[u8],
        replaces: Option<u32>,
    ) -> Result<Vec<Payload>, Notify> {
        let old = sa.children.iter().find(|child| Some(child.inbound_spi) == replaces).map(|child| child.name.clone());
        let suiting = || connection.children.iter().filter(|child| old.as_ref().is_none_or(|name| *name == child.name));
        let in_mode = |transport: bool| {
            let mut suiting = suiting().filter(|child| child.transport == transport);
            suiting.find_map(|child| Some((child, traffic(child, peer, sa.path, wanted)?)))
        };
        // Who asks for transport mode may be given a tunnel. Through a translator it is: whose addresses they are, nobody knows.
        let transport = (wanted.transport && !sa.is_translated()).then(|| in_mode(true)).flatten();
        let Some((config, traffic)) = transport.or_else(|| in_mode(false)) else {
            let name = peer.identity.to_string();
            let translated = wanted.transport && sa.is_translated();
            let why = if translated { Failure::Translated(name) } else { Failure::NoTraffic(name) };
            self.report(Report::Failed { from: sa.path.theirs, why });
            return Err(Notify::new(notify::TS_UNACCEPTABLE, Vec::new()));
        };
        if replaces.is_none() && sa.children.iter().filter(|child| traffic.is_of(child)).count() >= ALIKE_MAX {
            return Err(Notify::new(notify::TS_MAX_QUEUE, Vec::new()));
        }
        let choice = self.choose_child(sa, config, wanted)?;
        let (exchanged, shared) = self.exchange(choice.group, wanted)?;
        let spi = self.child_spi();
        let Some(peers_spi) = peers_spi(wanted.proposals, choice.number) else {
            return Err(Notify::new(notify::INVALID_SYNTAX, Vec::new()));
        };
        let keymat =
            child_keymat(sa.suite.prf, &sa.keys.d, shared.as_ref(), wanted.nonce, our_nonce, choice.suite.keymat_len());
        let made = Made {
            name: (&connection.name, &config.name),
            spis: (spi, peers_spi),
            suite: choice.suite,
            extended: choice.esn,
            transport: config.transport,
            keymat: &keymat,
            initiated: false,
            replaces,
            rekey_s: config.rekey_s,
            life: config.life,
            outer: config.outer,
        };
        self.add_child(sa, made, traffic.clone());
        let mut payloads = vec![Payload::Sa(vec![choice.answer(spi)])];
        payloads.extend(exchanged);
        payloads.push(Payload::SelectorsInitiator(traffic.remote));
        payloads.push(Payload::SelectorsResponder(traffic.local));
        if config.transport {
            payloads.push(Payload::Notify(Notify::new(notify::USE_TRANSPORT_MODE, Vec::new())));
        }
        if wanted.of_several {
            payloads.push(Payload::Notify(Notify::new(notify::SA_RESOURCE_INFO, Vec::new())));
        }
        Ok(payloads)
    }

    /// There is a new child SA.
    pub(super) fn add_child(&mut self, sa: &mut IkeSa, made: Made<'_>, traffic: Traffic) {
        let Made { name: (connection, child), spis: (inbound_spi, outbound_spi), suite, extended, .. } = made;
        let (transport, replaces) = (made.transport, made.replaces);
        // The initiator's direction comes first.
        let [first, second] = suite.split(made.keymat.as_bytes()).unwrap_or_default();
        let (theirs, ours) = if made.initiated { (second, first) } else { (first, second) };
        let half = |spi, (cipher, integrity): (&[u8], &[u8])| Half {
            spi,
            cipher_key: cipher.into(),
            integrity_key: integrity.into(),
        };
        let (name, transform) = (format!("{connection}/{child}"), suite.to_string());
        self.report(Report::Child {
            name: name.clone(),
            peer: self.name_of(sa),
            inbound_spi,
            outbound_spi,
            transform: transform.clone(),
            transport,
            rekeyed: replaces.is_some(),
        });
        self.out.children.push(ChildEvent::Add(Box::new(ChildSa {
            name,
            path: sa.path,
            udp: sa.is_translated(),
            transport,
            transform: transform.clone(),
            extended,
            inbound: half(inbound_spi, theirs),
            outbound: half(outbound_spi, ours),
            local: traffic.local_networks,
            remote: traffic.remote_networks,
            replaces,
            contact: self.contact(sa),
            life: made.life,
            outer: made.outer,
        })));
        sa.children.push(Child {
            name: child.to_owned(),
            inbound_spi,
            outbound_spi,
            transform,
            extended,
            transport,
            local: traffic.local,
            remote: traffic.remote,
            created_s: self.given.now_s,
            rekey_at_s: self.lifetime_end(made.rekey_s),
        });
    }

    /// What the cluster is to know of the peer's older IKE SAs.
    fn contact(&self, sa: &IkeSa) -> Option<Contact> {
        let peer = sa.peer().filter(|peer| peer.sole_since_s > 0)?;
        let names = Machine::new(self.config).names(peer)?;
        Some(Contact { names, since_s: peer.sole_since_s })
    }

    fn choose_child(&mut self, sa: &IkeSa, config: &ChildConfig, wanted: &Wanted<'_>) -> Result<EspChoice, Notify> {
        let sent = wanted.key_exchange.map(|(group, _)| group);
        choose_esp(&config.proposals, wanted.proposals, sent, wanted.alone).ok_or_else(|| {
            let why = Failure::NoProposal(super::init::text_of(wanted.proposals));
            self.report(Report::Failed { from: sa.path.theirs, why });
            Notify::new(notify::NO_PROPOSAL_CHOSEN, Vec::new())
        })
    }

    /// A key exchange of the child's own, if it is to have one.
    fn exchange(
        &mut self,
        group: Option<Group>,
        wanted: &Wanted<'_>,
    ) -> Result<(Option<Payload>, Option<Secret>), Notify> {
        let Some(group) = group else { return Ok((None, None)) };
        let wrong = || Notify::new(notify::INVALID_KE_PAYLOAD, group.id().to_be_bytes().into());
        let (_, public) = wanted.key_exchange.filter(|(sent, _)| *sent == group.id()).ok_or_else(wrong)?;
        let pair = KeyPair::generate(group, self.given.random);
        let shared = pair.agree(public).map_err(|_| Notify::new(notify::INVALID_SYNTAX, Vec::new()))?;
        let payload = Payload::KeyExchange { group: group.id(), public: pair.public().to_vec() };
        Ok((Some(payload), Some(shared)))
    }

    /// The children's packets go the IKE SA's way.
    pub(super) fn move_children(&mut self, sa: &IkeSa) {
        let (path, udp) = (sa.path, sa.is_translated());
        self.out.children.extend(sa.children.iter().map(|child| ChildEvent::Move {
            inbound_spi: child.inbound_spi,
            path,
            udp,
        }));
    }
}

/// What of the wanted traffic a child may carry. None: nothing.
fn traffic(child: &ChildConfig, peer: &Peer, path: Path, wanted: &Wanted<'_>) -> Option<Traffic> {
    let (ours, theirs) = sides(child, &peer.addresses, path);
    Traffic::new(common(&ours, wanted.ours), common(&theirs, wanted.theirs))
}

/// All traffic of a child, on our side and on the side of a peer that was given these addresses.
pub(super) fn sides(child: &ChildConfig, given: &[IpAddr], path: Path) -> (Vec<Selector>, Vec<Selector>) {
    let host = |address| Selector::of_network(address, u8::MAX);
    let theirs = match given {
        _ if !child.remote.is_empty() => child.remote.clone(),
        // In transport mode both ends speak in their own names.
        addresses if !addresses.is_empty() && !child.transport => addresses.iter().copied().map(host).collect(),
        _ => vec![host(path.theirs.ip())],
    };
    let ours = if child.local.is_empty() { vec![host(path.ours.ip())] } else { child.local.clone() };
    (ours, theirs)
}

/// What two lists have in common, without what says types of ICMP: the data plane looks at ports only.
pub(super) fn common(ours: &[Selector], theirs: &[Selector]) -> Vec<Selector> {
    let mut all: Vec<Selector> = Vec::new();
    for both in ours.iter().flat_map(|our| theirs.iter().filter_map(|their| our.intersection(their))) {
        let has_types = ICMP.contains(&both.protocol) && both.ports != Selector::ANY_PORTS;
        if has_types || all.iter().any(|known| known.contains(&both)) {
            continue;
        }
        // A peer may name the packet that it begins for, and then what is to go beside it.
        all.retain(|known| !both.contains(known));
        if all.len() < SELECTORS_MAX {
            all.push(both);
        }
    }
    all
}

/// As networks. None: too many.
fn networks(selectors: &[Selector]) -> Option<Vec<Part>> {
    let lists: Option<Vec<_>> = selectors.iter().map(Part::of).collect();
    Some(lists?.concat()).filter(|networks| networks.len() <= NETWORKS_MAX)
}

/// The peer's SPI in the proposal that was chosen.
fn peers_spi(proposals: &[Proposal], number: u8) -> Option<u32> {
    let chosen = proposals.iter().find(|proposal| proposal.number == number && proposal.protocol == ESP)?;
    chosen.spi.as_slice().try_into().ok().map(u32::from_be_bytes).filter(|spi| *spi > 0)
}
