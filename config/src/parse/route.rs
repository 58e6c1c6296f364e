//! `[[route]]`: static routes, each resolved to the port that it leaves by.

use std::net::IpAddr;

use ipnet::IpNet;

use super::port::{Draft, is_ours};
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{Limits, Route};

/// All routes; none if any of them is wrong. With `ports` unknown (because wrong), only their own form is checked.
pub(super) fn routes(
    problems: &mut Problems<'_>,
    sections: Vec<Section<'_, '_>>,
    ports: Option<&[Draft]>,
    limits: Option<&At<Limits>>,
) -> Option<Vec<Route>> {
    let count = sections.len();
    if let Some(limits) = limits {
        let most = usize::try_from(limits.value.routes_max).unwrap_or(usize::MAX);
        if let Some(beyond) = sections.get(most) {
            let what = format!("there are more than {most} routes");
            problems.add(&beyond.span, Kind::OutOfRange, what, "raise `routes_max` in [limits]");
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut routes = Vec::new();
    for section in sections {
        let Some((to, route)) = route(problems, section, ports) else { continue };
        if !seen.insert(to.value) {
            let what = format!("there is another [[route]] to {}", to.value);
            problems.add(&to.span, Kind::Duplicate, what, "keep one of them");
        }
        routes.extend(route);
    }
    (routes.len() == count).then_some(routes)
}

fn route(
    problems: &mut Problems<'_>,
    mut s: Section<'_, '_>,
    ports: Option<&[Draft]>,
) -> Option<(At<IpNet>, Option<Route>)> {
    let to = s.required(problems, "to", "\"0.0.0.0/0\"", destination);
    let via = s.optional(problems, "via", |r| r.parsed::<IpAddr>("an address without a prefix", "10.2.0.254"));
    let port = s.optional(problems, "port", |r| r.filled());
    let span = s.span.clone();
    let neither = !s.has("via") && !s.has("port");
    s.finish(problems);
    if neither {
        let fix = "add `via = \"ADDRESS OF THE NEXT HOP\"`, or `port = \"NAME\"` if the destinations are on that link";
        problems.add(&span, Kind::MissingKey, "[[route]] has neither `via` nor `port`", fix);
    }
    let to = to?;
    let (via, port) = (via?, port?);
    if neither {
        return Some((to, None));
    }
    let resolved = ports.and_then(|ports| {
        let leaves_by = match &port {
            Some(name) => Some(named(problems, ports, name)?),
            None => None,
        };
        let port = match &via {
            Some(via) => next_hop(problems, ports, &to, via, leaves_by)?,
            None => leaves_by?,
        };
        Some(Route { to: to.value, via: via.map(|via| via.value), port })
    });
    Some((to, resolved))
}

fn destination(r: &mut Reading<'_, '_, '_>) -> Option<IpNet> {
    let text = r.text()?;
    let Ok(to) = text.parse::<IpNet>() else {
        return r.refuse(format!("{text:?} is not a network"), "write it like \"10.3.0.0/16\" or \"::/0\"");
    };
    if to != to.trunc() {
        return r.refuse(format!("{to} has bits set behind its prefix"), format!("write \"{}\"", to.trunc()));
    }
    if to.prefix_len() > 0 && (to.addr().is_multicast() || to.addr().is_loopback()) {
        return r.refuse(format!("{to} cannot be routed"), "give unicast destinations");
    }
    Some(to)
}

fn named(problems: &mut Problems<'_>, ports: &[Draft], name: &At<String>) -> Option<usize> {
    let found = ports.iter().position(|port| port.name.value == name.value);
    if found.is_none() {
        let known: Vec<&str> = ports.iter().map(|port| port.name.value.as_str()).collect();
        let fix = match crate::suggest::nearest(&name.value, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("use one of: {}", known.join(", ")),
        };
        let what = format!("[[route]] `port`: there is no [[port]] named {:?}", name.value);
        problems.add(&name.span, Kind::Contradiction, what, fix);
    }
    found
}

/// The port on whose network the next hop is.
fn next_hop(
    problems: &mut Problems<'_>,
    ports: &[Draft],
    to: &At<IpNet>,
    via: &At<IpAddr>,
    leaves_by: Option<usize>,
) -> Option<usize> {
    let hop = via.value;
    let mut refuse = |span: &Span, what: String, fix: &str| {
        problems.add(span, Kind::Contradiction, what, fix);
        None
    };
    if hop.is_ipv4() != to.value.addr().is_ipv4() {
        let what = format!("[[route]] to {} goes via {hop}, an address of the other family", to.value);
        return refuse(&via.span, what, "give a next hop of the destination's family");
    }
    if is_ours(ports, hop) {
        let what = format!("[[route]] to {} goes via {hop}, which is an address of this cluster", to.value);
        return refuse(&via.span, what, "give the address of the next router");
    }
    if let (IpAddr::V6(address), Some(port)) = (hop, leaves_by)
        && address.is_unicast_link_local()
    {
        return Some(port);
    }
    let on = |port: &Draft| port.networks().iter().any(|network| network.value.contains(&hop));
    let found = match leaves_by {
        Some(index) => ports.get(index).filter(|port| on(port)).map(|_| index),
        None => ports.iter().position(on),
    };
    if found.is_none() {
        let of = if leaves_by.is_some() { "of that port" } else { "of any port" };
        let what = format!("[[route]] to {} goes via {hop}, which is in no network {of}", to.value);
        return refuse(&via.span, what, "give a next hop that a port reaches directly (a link-local one with `port`)");
    }
    found
}
