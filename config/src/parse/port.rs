//! `[[port]]`: one data port each, and what its own addresses must have to do with one another.

use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;

use super::{PORTS_MAX, no_duplicates};
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{Port, Role};

/// A port that still knows where each of its values stands.
pub(super) struct Draft {
    pub(super) name: At<String>,
    pub(super) device: At<String>,
    pub(super) role: Role,
    pub(super) vlan: Option<NonZeroU16>,
    pub(super) mtu: u16,
    pub(super) cluster_addresses: Vec<At<IpNet>>,
    pub(super) unit_addresses: Vec<At<IpNet>>,
    pub(super) queues: At<NonZeroU16>,
}

impl Draft {
    /// Forgets the places.
    pub(super) fn finish(self) -> Port {
        Port {
            name: self.name.value,
            device: self.device.value,
            role: self.role,
            vlan: self.vlan,
            mtu: self.mtu,
            cluster_addresses: self.cluster_addresses.into_iter().map(|at| at.value).collect(),
            unit_addresses: self.unit_addresses.into_iter().map(|at| at.value).collect(),
            queues: self.queues.value,
        }
    }

    /// All addresses, the cluster's first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &At<IpNet>> {
        self.cluster_addresses.iter().chain(&self.unit_addresses)
    }

    /// Where each network that this port is on is first named, host bits cleared.
    pub(super) fn networks(&self) -> Vec<At<IpNet>> {
        let mut networks: Vec<At<IpNet>> = Vec::new();
        for at in self.addresses() {
            let network = at.clone().map(|address| address.trunc());
            if !networks.iter().any(|known| known.value == network.value) {
                networks.push(network);
            }
        }
        networks
    }
}

/// All ports; none if any of them is wrong.
pub(super) fn ports(problems: &mut Problems<'_>, sections: Vec<Section<'_, '_>>) -> Option<Vec<Draft>> {
    if sections.is_empty() {
        let fix = "add at least one [[port]] with its name, device, role and addresses";
        problems.add(&(0..0), Kind::MissingKey, "there is no [[port]]", fix);
        return None;
    }
    if let Some(beyond) = sections.get(PORTS_MAX) {
        let what = format!("there are more than {PORTS_MAX} ports");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer, or route between some of them elsewhere");
    }
    let count = sections.len();
    let drafts: Vec<Draft> = sections.into_iter().filter_map(|s| port(problems, s)).collect();
    no_duplicates(
        problems,
        drafts.iter().map(|port| &port.name),
        |name| format!("there is another [[port]] named {name:?}"),
        "give each port its own name",
    );
    devices(problems, &drafts);
    (drafts.len() == count).then_some(drafts)
}

fn port(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Draft> {
    let name = s.required(problems, "name", "\"outside0\"", |r| r.name());
    let device = s.required(problems, "device", "\"0000:03:00.0\"", |r| r.filled());
    let role = s.required(problems, "role", "\"outside\"", |r| r.word(Role::WORDS));
    let vlan = s.optional(problems, "vlan", |r| r.number(1..=4094_u16).and_then(NonZeroU16::new));
    let (least, most) = defaults::MTU_RANGE;
    let mtu = s.or(problems, "mtu", defaults::MTU, |r| r.number(least..=most));
    let cluster_addresses = s.or(problems, "cluster_addresses", Vec::new(), addresses);
    let unit_addresses = s.required(problems, "unit_addresses", "[\"10.2.0.1/24\"]", addresses);
    let (least, most) = defaults::QUEUES_RANGE;
    let queues = s.or(problems, "queues", defaults::QUEUES, |r| r.number(least..=most).and_then(NonZeroU16::new));
    let span = s.span.clone();
    s.finish(problems);
    let (cluster_addresses, unit_addresses) = (cluster_addresses?, unit_addresses?);
    if unit_addresses.value.is_empty() {
        let what = "[[port]] `unit_addresses` is empty";
        problems.add(
            &unit_addresses.span,
            Kind::MissingKey,
            what,
            "give this member its own address on the port's network",
        );
    }
    let mtu = mtu?;
    let draft = Draft {
        name: name?,
        device: device?,
        role: role?.value,
        vlan: vlan?.map(|vlan| vlan.value),
        mtu: mtu.value,
        cluster_addresses: cluster_addresses.value,
        unit_addresses: unit_addresses.value,
        queues: queues?,
    };
    mtu_for_ipv6(problems, &draft, &mtu.span);
    cluster_beside_unit(problems, &draft);
    if draft.cluster_addresses.is_empty() {
        problems.warn(
            &span,
            format!("[[port]] {:?} has no cluster address", draft.name.value),
            "add `cluster_addresses` unless nothing on this network uses the cluster as its gateway",
        );
    }
    Some(draft)
}

/// Whether it is an address of the cluster or of this member.
pub(super) fn is_ours(ports: &[Draft], ip: IpAddr) -> bool {
    ports.iter().flat_map(Draft::addresses).any(|at| at.value.addr() == ip)
}

/// What the address's family is called.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn addresses(r: &mut Reading<'_, '_, '_>) -> Option<Vec<At<IpNet>>> {
    r.list("[\"10.2.0.1/24\"]", |r| {
        let text = r.text()?;
        if text.parse::<IpAddr>().is_ok() {
            return r.refuse(format!("{text:?} has no prefix length"), format!("write it like \"{text}/24\""));
        }
        let Ok(address) = text.parse::<IpNet>() else {
            return r.refuse(
                format!("{text:?} is not an address with a prefix"),
                "write it like \"10.2.0.1/24\" or \"fd00:2::1/64\"",
            );
        };
        match unfit(&address) {
            Some(why) => r.refuse(format!("{address} {why}"), "give the address of a host in that network"),
            None => Some(address),
        }
    })
}

/// Why no host can have this address, if so.
fn unfit(address: &IpNet) -> Option<&'static str> {
    let host = address.addr();
    if host.is_unspecified() || address.prefix_len() == 0 {
        return Some("is not an address of a host");
    }
    if host.is_loopback() {
        return Some("is a loopback address");
    }
    if host.is_multicast() {
        return Some("is a multicast address");
    }
    // RFC 3021: a /31 has neither network nor broadcast address.
    let subnet = address.max_prefix_len() - address.prefix_len() > 1;
    if subnet && host == address.network() {
        return Some("is the network's own address");
    }
    if subnet && host.is_ipv4() && host == address.broadcast() {
        return Some("is the network's broadcast address");
    }
    None
}

fn mtu_for_ipv6(problems: &mut Problems<'_>, draft: &Draft, mtu: &Span) {
    let ipv6 = draft.addresses().any(|at| at.value.addr().is_ipv6());
    if ipv6 && draft.mtu < defaults::MTU_IPV6_MIN {
        let least = defaults::MTU_IPV6_MIN;
        let what = format!("[[port]] `mtu` {} is too small for the port's IPv6 addresses", draft.mtu);
        problems.add(mtu, Kind::Contradiction, what, format!("use at least {least}, or remove them"));
    }
}

/// Each cluster address needs a unit address in the same network: neighbours are asked for under the unit address.
fn cluster_beside_unit(problems: &mut Problems<'_>, draft: &Draft) {
    for At { value: shared, span } in &draft.cluster_addresses {
        let of_family = |unit: &&At<IpNet>| unit.value.addr().is_ipv4() == shared.addr().is_ipv4();
        let mut units = draft.unit_addresses.iter().filter(of_family).peekable();
        if units.peek().is_none() {
            let family = family(shared.addr());
            problems.add(
                span,
                Kind::Contradiction,
                format!(
                    "[[port]] {:?} has the {family} cluster address {shared} but no {family} unit address",
                    draft.name.value
                ),
                format!("add one in {} to `unit_addresses`", shared.trunc()),
            );
        } else if !units.any(|unit| unit.value.trunc() == shared.trunc()) {
            problems.add(
                span,
                Kind::Contradiction,
                format!(
                    "cluster address {shared} is not in the network of any unit address of [[port]] {:?}",
                    draft.name.value
                ),
                format!("add a unit address in {}, or correct the prefix", shared.trunc()),
            );
        }
    }
}

/// A PCI address, or a vdev's name without its arguments, may be used once, whatever the tags.
fn devices(problems: &mut Problems<'_>, drafts: &[Draft]) {
    let names: Vec<At<String>> = drafts
        .iter()
        .map(|port| port.device.clone().map(|device| device.split(',').next().unwrap_or("").trim().to_owned()))
        .collect();
    let fix = match drafts.iter().any(|port| port.vlan.is_some()) {
        true => {
            "give each VLAN a device of its own: a virtual function, or a net_af_packet on the kernel's VLAN interface"
        }
        false => "give each port its own device (vdevs: another number, like net_af_packet1)",
    };
    no_duplicates(problems, &names, |device| format!("device {device:?} is already used by another [[port]]"), fix);
}
