//! What only shows when sections are seen together: shared addresses, networks, cores, queues, relays and the filter.

use ipnet::IpNet;

use super::Machine;
use super::local::WorkersDraft;
use super::port::Draft;
use super::relay;
use crate::problem::{Kind, Problems};
use crate::read::At;
use crate::schema::{ClusterThread, Idle, Link, Role, Scheme};

/// Every address once; no network on two ports; both sides there.
pub(super) fn addresses_of_ports(problems: &mut Problems<'_>, ports: &[Draft]) {
    let mut seen: Vec<(&At<IpNet>, bool)> = Vec::new();
    for port in ports {
        let shared = port.cluster_addresses.iter().map(|at| (at, true));
        for (at, is_shared) in shared.chain(port.unit_addresses.iter().map(|at| (at, false))) {
            let ip = at.value.addr();
            if let Some((_, was_shared)) = seen.iter().find(|(known, _)| known.value.addr() == ip) {
                let (kind, what, fix) = if is_shared == *was_shared {
                    (Kind::Duplicate, format!("address {ip} is given twice"), "give each address once")
                } else {
                    let what = format!("{ip} is both a cluster address and a unit address");
                    (Kind::Contradiction, what, "the cluster address is shared: give this member another of its own")
                };
                problems.add(&at.span, kind, what, fix);
            }
            seen.push((at, is_shared));
        }
    }
    networks(problems, ports);
    for (role, word) in [(Role::Outside, "outside"), (Role::Inside, "inside")] {
        if !ports.iter().any(|port| port.role == role) {
            let first = ports.first().map_or(0..0, |port| port.name.span.clone());
            problems.warn(
                &first,
                format!("there is no port with role \"{word}\""),
                "add one unless this member really routes on one side only",
            );
        }
    }
}

fn networks(problems: &mut Problems<'_>, ports: &[Draft]) {
    let mut seen: Vec<(usize, At<IpNet>)> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        for network in port.networks() {
            let other = seen.iter().find(|(owner, known)| *owner != index && overlap(&known.value, &network.value));
            if let Some((owner, known)) = other {
                let name = ports.get(*owner).map_or("", |port| port.name.value.as_str());
                let same = known.value == network.value;
                let what = format!("network {} of [[port]] {:?}", network.value, port.name.value);
                if same {
                    let fix = "give each port a network of its own: a route could go either way";
                    problems.add(
                        &network.span,
                        Kind::Contradiction,
                        format!("{what} is also on [[port]] {name:?}"),
                        fix,
                    );
                } else {
                    let what = format!("{what} overlaps {} of [[port]] {name:?}", known.value);
                    problems.warn(&network.span, what, "the longer prefix wins; check that this is meant");
                }
            }
            seen.push((index, network));
        }
    }
}

/// Whether they have an address in common.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The link is a network of its own: a keepalive that leaves by a data port's network proves nothing about the link.
pub(super) fn link_beside_ports(problems: &mut Problems<'_>, link: &At<Link>, ports: &[Draft]) {
    let ip = link.value.address.ip();
    for port in ports {
        if port.addresses().any(|at| at.value.addr() == ip) {
            let what = format!("[link] `address` {ip} is also an address of [[port]] {:?}", port.name.value);
            problems.add(&link.span, Kind::Contradiction, what, "the link is a kernel interface with its own address");
        } else if port.networks().iter().any(|network| network.value.contains(&ip)) {
            problems.warn(
                &link.span,
                format!("[link] `address` {ip} is in a network of [[port]] {:?}", port.name.value),
                "give the cluster link a network of its own",
            );
        }
    }
}

/// A spinning worker leaves no time for the cluster thread on its core.
pub(super) fn cores(problems: &mut Problems<'_>, workers: &WorkersDraft, thread: &At<ClusterThread>) {
    let Some(core) = thread.value.core else { return };
    if workers.idle == Idle::Spin && workers.cores.iter().any(|at| at.value == core) {
        problems.add(
            &thread.span,
            Kind::Contradiction,
            format!("[cluster_thread] core {core} is taken by a spinning worker: keepalives would be late"),
            "give the cluster thread another core, or the workers idle = \"interrupt\"",
        );
    }
}

/// A thread whose core is not there would run unpinned, and a spinning worker would be in everybody's way.
pub(super) fn cores_exist(
    problems: &mut Problems<'_>,
    workers: &WorkersDraft,
    thread: &At<ClusterThread>,
    machine: &Machine<'_>,
) {
    let thread = thread.value.core.map(|core| At { value: core, span: thread.span.clone() });
    let named = workers.cores.iter().map(|at| ("[workers] `cores`", at));
    for (what, At { value: core, span }) in named.chain(thread.iter().map(|at| ("[cluster_thread] `core`", at))) {
        if machine.cores.is_empty() || machine.cores.contains(&usize::from(*core)) {
            continue;
        }
        let cores: Vec<String> = machine.cores.iter().map(ToString::to_string).collect();
        let what = format!("{what} names core {core}, which a process cannot have on this machine");
        let fix = format!("choose from {}", cores.join(", "));
        match machine.runs_here {
            true => problems.add(span, Kind::OutOfRange, what, fix),
            false => problems.warn(span, what, format!("{fix}, unless the file is for another machine")),
        }
    }
}

/// More queues than workers only spread packets over rings that the same worker reads.
pub(super) fn queues(problems: &mut Problems<'_>, ports: &[Draft], workers: &WorkersDraft) {
    let count = workers.cores.len().max(1);
    for port in ports {
        let queues = port.queues.value.get();
        if usize::from(queues) > count {
            problems.warn(
                &port.queues.span,
                format!("[[port]] {:?} has {queues} queues for {count} worker(s)", port.name.value),
                "use at most one queue per worker",
            );
        }
    }
}

/// A back end's answers must arrive at the owner of the client's connection, so the cluster must be able to choose
/// where: `steered` reads the unit from the port number that they go to.
pub(super) fn relays_under_scheme(problems: &mut Problems<'_>, relays: &[relay::Draft], scheme: Scheme) {
    if let (Some(first), Scheme::Classic) = (relays.first(), scheme) {
        problems.add(
            &first.section,
            Kind::Contradiction,
            "[[relay]] cannot work with scheme = \"classic\", which names units by the source alone: the cluster could \
             not choose where a back end's answers arrive",
            "set scheme = \"steered\" in [cluster], or remove every [[relay]]",
        );
    }
}
