//! From the machine's child SAs to the workers' tunnels.

use phalanx_dataplane::ipsec::crypto::Numbers;
use phalanx_dataplane::ipsec::gateway::{
    ChildChange, Contact, Half, Life, Limits, Network, Protection, SaMode, Selectors, TunnelSpec,
};
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer, Ports};
use phalanx_dataplane::ipsec::{Keys, Transform};
use phalanx_ike::config::{self, OuterHeader};
use phalanx_ike::machine::{self, ChildEvent, ChildSa, Part};
use phalanx_ike::state::Path;

/// The hop limit of tunnelled packets.
const HOP_LIMIT: u8 = 64;
/// Packets may overtake each other by so many: members' rings and a peer's cores.
const REPLAY_WINDOW: u16 = 512;

/// What the worker is to do. None: the child is of algorithms that the data plane does not have.
pub(super) fn change(event: ChildEvent, ike_spi: u64) -> Option<ChildChange> {
    Some(match event {
        ChildEvent::Add(child) => {
            let replaces = child.replaces;
            ChildChange::Add { tunnel: Box::new(tunnel(*child)?), ike_spi, replaces }
        }
        ChildEvent::Remove(spi) => ChildChange::Remove { spi },
        ChildEvent::Skip { inbound_spi, count } => ChildChange::Skip { spi: inbound_spi, count },
        ChildEvent::Move { inbound_spi, path, udp } => {
            let (source, destination) = (path.ours.ip(), path.theirs.ip());
            ChildChange::Move { spi: inbound_spi, source, destination, udp: udp.then(|| ports(path)) }
        }
    })
}

fn tunnel(child: ChildSa) -> Option<TunnelSpec> {
    let transform: Transform = child.transform.parse().ok()?;
    let half = |half: &machine::Half| {
        let keys = Keys::new(transform, half.cipher_key.as_bytes(), half.integrity_key.as_bytes()).ok()?;
        Some(Half { spi: half.spi, keys })
    };
    Some(TunnelSpec {
        protection: Protection::Esp(transform),
        mode: if child.transport { SaMode::Transport } else { SaMode::Tunnel },
        numbers: if child.extended { Numbers::Extended } else { Numbers::Short },
        replay_window: REPLAY_WINDOW,
        outer: outer(child.path, child.udp, child.outer),
        selectors: Selectors { local: networks(&child.local), remote: networks(&child.remote) },
        inbound: half(&child.inbound)?,
        outbound: half(&child.outbound)?,
        contact: child.contact.map(|it| Contact { names: it.names, since_s: it.since_s }),
        life: Life { packets: child.life.packets, bytes: child.life.bytes },
        name: child.name,
    })
}

fn networks(list: &[Part]) -> Vec<Network> {
    let network = |part: &Part| {
        let limits = Limits { protocol: part.protocol, ports: part.ports };
        Network::new(part.address, part.prefix_len).only(limits)
    };
    list.iter().map(network).collect()
}

const fn ports(path: Path) -> Ports {
    Ports { source: path.ours.port(), destination: path.theirs.port() }
}

fn outer(path: Path, udp: bool, header: OuterHeader) -> Outer {
    Outer {
        source: path.ours.ip(),
        destination: path.theirs.ip(),
        udp: udp.then(|| ports(path)),
        dscp: header.dscp,
        dont_fragment: match header.dont_fragment {
            config::DontFragment::Copy => DontFragment::Copy,
            config::DontFragment::Set => DontFragment::Set,
            config::DontFragment::Clear => DontFragment::Clear,
        },
        hop_limit: HOP_LIMIT,
    }
}
