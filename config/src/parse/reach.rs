//! Whether a `[[relay]]` listens where clients reach the whole cluster, and can reach its back ends from there.

use std::net::{IpAddr, SocketAddr};

use super::port::{self, family};
use super::relay::Draft;
use crate::problem::{Kind, Problems};
use crate::read::At;
use crate::schema::Route;

/// Notes what keeps this relay from working with these ports. With `routes` unknown (because wrong), no way is missed.
pub(super) fn relay(problems: &mut Problems<'_>, relay: &Draft, ports: &[port::Draft], routes: Option<&[Route]>) {
    listens_on_the_cluster(problems, &relay.listen, ports);
    for backend in &relay.backends {
        if is_a_server(problems, backend, ports) {
            has_a_way(problems, backend, ports, routes);
        }
    }
}

fn cluster_addresses(ports: &[port::Draft]) -> impl Iterator<Item = IpAddr> {
    ports.iter().flat_map(|port| &port.cluster_addresses).map(|at| at.value.addr())
}

/// Any other address goes down with its member, and the connections with it.
fn listens_on_the_cluster(problems: &mut Problems<'_>, listen: &At<SocketAddr>, ports: &[port::Draft]) {
    let ip = listen.value.ip();
    if cluster_addresses(ports).any(|address| address == ip) {
        return;
    }
    let own = ports.iter().flat_map(|port| &port.unit_addresses).any(|at| at.value.addr() == ip);
    let what = match own {
        true => format!("[[relay]] `listen`: {ip} is this member's own address, which goes down with it"),
        false => format!("[[relay]] `listen`: {ip} is not a cluster address of any [[port]]"),
    };
    let nearest = cluster_addresses(ports).filter_map(|address| Some((distance(ip, address)?, address))).min();
    let fix = match nearest {
        Some((_, near)) => format!("did you mean \"{}\"?", SocketAddr::new(near, listen.value.port())),
        None => format!("add an {} cluster address to the [[port]] that clients come by, and listen on it", family(ip)),
    };
    problems.add(&listen.span, Kind::Contradiction, what, fix);
}

/// How far apart two addresses of a family are: the longer their common prefix, the less.
fn distance(a: IpAddr, b: IpAddr) -> Option<u128> {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some(u128::from(a.to_bits() ^ b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some(a.to_bits() ^ b.to_bits()),
        _ => None,
    }
}

fn is_a_server(problems: &mut Problems<'_>, backend: &At<SocketAddr>, ports: &[port::Draft]) -> bool {
    let ip = backend.value.ip();
    let ours = port::is_ours(ports, ip);
    if ours {
        let what = format!("[[relay]] `backend`: {ip} is an address of this cluster");
        problems.add(&backend.span, Kind::Contradiction, what, "give the address of a server behind it");
    }
    !ours
}

/// The relay speaks to a back end from a cluster address, so that the answers come to whoever owns it by then.
fn has_a_way(problems: &mut Problems<'_>, backend: &At<SocketAddr>, ports: &[port::Draft], routes: Option<&[Route]>) {
    let ip = backend.value.ip();
    if !cluster_addresses(ports).any(|address| address.is_ipv4() == ip.is_ipv4()) {
        let family = family(ip);
        problems.add(
            &backend.span,
            Kind::Contradiction,
            format!("[[relay]] `backend`: {ip} cannot be reached, since no [[port]] has an {family} cluster address"),
            format!("add one to the [[port]] that leads there, or give an address of the server that is not {family}"),
        );
        return;
    }
    let Some(routes) = routes else { return };
    let near = ports.iter().flat_map(port::Draft::networks).any(|network| network.value.contains(&ip));
    if !near && !routes.iter().any(|route| route.to.contains(&ip)) {
        problems.warn(
            &backend.span,
            format!("[[relay]] `backend`: there is no way to {ip}, which is in no port's network and under no route"),
            "add a [[route]] to it, or correct the address",
        );
    }
}
