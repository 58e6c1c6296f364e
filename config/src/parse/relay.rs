//! `[[relay]]`: one relay each, by itself; `reach` holds its addresses against the ports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::no_duplicates;
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{HealthCheck, Relay};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A relay that still knows where its addresses stand.
pub(super) struct Draft {
    pub(super) section: Span,
    pub(super) name: At<String>,
    pub(super) listen: At<SocketAddr>,
    pub(super) backends: Vec<At<SocketAddr>>,
    connections_max: u32,
    buffer_kbytes: u32,
    idle_timeout: Duration,
    connect_timeout: Duration,
    keepalive: Option<Duration>,
    proxy_protocol: bool,
    health: Option<HealthCheck>,
}

impl Draft {
    fn finish(self) -> Relay {
        let mut backends: Vec<SocketAddr> = self.backends.into_iter().map(|at| at.value).collect();
        backends.sort_unstable();
        Relay {
            name: self.name.value,
            listen: self.listen.value,
            backends,
            connections_max: self.connections_max,
            buffer_bytes: self.buffer_kbytes << 10,
            idle_timeout: self.idle_timeout,
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
            proxy_protocol: self.proxy_protocol,
            health: self.health,
        }
    }
}

/// Forgets the places, and puts the relays into an order that does not hang on the file's.
pub(super) fn finish(drafts: Vec<Draft>) -> Vec<Relay> {
    let mut relays: Vec<Relay> = drafts.into_iter().map(Draft::finish).collect();
    relays.sort_by_key(|relay| relay.listen);
    relays
}

/// All relays; none if any of them is wrong.
pub(super) fn relays(problems: &mut Problems<'_>, sections: Vec<Section<'_, '_>>) -> Option<Vec<Draft>> {
    let most = defaults::RELAYS_MAX;
    if let Some(beyond) = sections.get(most) {
        let what = format!("there are more than {most} relays");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer, or serve some of them from another cluster");
    }
    let count = sections.len();
    let drafts: Vec<Draft> = sections.into_iter().filter_map(|s| relay(problems, s)).collect();
    no_duplicates(
        problems,
        drafts.iter().map(|relay| &relay.name),
        |name| format!("there is another [[relay]] named {name:?}"),
        "give each relay its own name",
    );
    no_duplicates(
        problems,
        drafts.iter().map(|relay| &relay.listen),
        |listen| format!("there is another [[relay]] that listens on {listen}"),
        "give each relay its own address or port number, or put all servers into the `backend` of one",
    );
    (drafts.len() == count).then_some(drafts)
}

fn relay(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Draft> {
    let name = s.required(problems, "name", "\"web\"", |r| r.name());
    let listen = s.required(problems, "listen", "\"198.51.100.1:8080\"", listen);
    let backends = s.required(problems, "backend", "[\"10.3.0.20:80\"]", |r| r.list("[\"10.3.0.20:80\"]", backend));
    let (least, most) = defaults::CONNECTIONS_MAX_RANGE;
    let connections_max = s.or(problems, "connections_max", defaults::CONNECTIONS_MAX, |r| r.number(least..=most));
    let (least, most) = defaults::BUFFER_KBYTES_RANGE;
    let buffer_kbytes = s.or(problems, "buffer_kbytes", defaults::BUFFER_KBYTES, |r| r.number(least..=most));
    let idle_timeout =
        s.or(problems, "idle_timeout_s", defaults::IDLE_TIMEOUT, |r| r.time(SECOND, defaults::IDLE_TIMEOUT_RANGE));
    let connect_timeout = s.or(problems, "connect_timeout_ms", defaults::CONNECT_TIMEOUT, |r| {
        r.time(MILLISECOND, defaults::CONNECT_TIMEOUT_RANGE)
    });
    let keepalive =
        s.or(problems, "keepalive_s", defaults::KEEPALIVE, |r| r.seconds_or_none(defaults::KEEPALIVE_RANGE));
    let proxy_protocol = s.or(problems, "proxy_protocol", false, |r| r.flag());
    let health = health(problems, &mut s);
    let section = s.span.clone();
    s.finish(problems);
    let backends = backends?;
    backend_list(problems, &backends);
    Some(Draft {
        section,
        name: name?,
        listen: listen?,
        backends: backends.value,
        connections_max: connections_max?.value,
        buffer_kbytes: buffer_kbytes?.value,
        idle_timeout: idle_timeout?.value,
        connect_timeout: connect_timeout?.value,
        keepalive: Some(keepalive?.value).filter(|keepalive| !keepalive.is_zero()),
        proxy_protocol: proxy_protocol?.value,
        health: health?,
    })
}

/// The `health_...` keys; the other ones are read, and must be sound, though `health_check` is false.
fn health(problems: &mut Problems<'_>, s: &mut Section<'_, '_>) -> Option<Option<HealthCheck>> {
    let check = s.or(problems, "health_check", true, |r| r.flag());
    let interval = s.or(problems, "health_interval_ms", defaults::HEALTH_INTERVAL, |r| {
        r.time(MILLISECOND, defaults::HEALTH_INTERVAL_RANGE)
    });
    let timeout = s.optional(problems, "health_timeout_ms", |r| r.time(MILLISECOND, defaults::HEALTH_TIMEOUT_RANGE));
    let (least, most) = defaults::HEALTH_COUNT_RANGE;
    let fall = s.or(problems, "health_fall", defaults::HEALTH_FALL, |r| r.number(least..=most));
    let rise = s.or(problems, "health_rise", defaults::HEALTH_RISE, |r| r.number(least..=most));
    let (interval, timeout) = (interval?.value, timeout?);
    if let Some(At { value: timeout, span }) = &timeout
        && *timeout > interval
    {
        problems.add(
            span,
            Kind::Contradiction,
            format!(
                "[[relay]] `health_timeout_ms`: a check may last {timeout:?}, but the next begins after {interval:?}"
            ),
            "lower health_timeout_ms or raise health_interval_ms",
        );
    }
    let timeout = timeout.map_or(defaults::health_timeout(interval), |timeout| timeout.value);
    let health = HealthCheck { interval, timeout, fall: fall?.value, rise: rise?.value };
    Some(check?.value.then_some(health))
}

fn listen(r: &mut Reading<'_, '_, '_>) -> Option<SocketAddr> {
    let listen = endpoint(r)?;
    let opened = defaults::OPENED_PORTS_MIN;
    if listen.port() >= opened {
        return r.wrong(
            Kind::OutOfRange,
            format!("port number {} is not below {opened}", listen.port()),
            format!(
                "choose one from 1 to {}: those above carry the work units of connections that the cluster itself opens",
                opened - 1
            ),
        );
    }
    Some(listen)
}

fn backend(r: &mut Reading<'_, '_, '_>) -> Option<SocketAddr> {
    let backend = endpoint(r)?;
    match unfit(backend.ip()) {
        Some(why) => r.refuse(format!("{} {why}", backend.ip()), "give the address of one server"),
        None => Some(backend),
    }
}

/// An address and a port number that TCP can use.
fn endpoint(r: &mut Reading<'_, '_, '_>) -> Option<SocketAddr> {
    let text = r.text()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        let fix = format!("write it like \"{}\"", SocketAddr::new(address, 80));
        return r.refuse(format!("{text:?} has no port number"), fix);
    }
    let Ok(endpoint) = text.parse::<SocketAddr>() else {
        return r.refuse(
            format!("{text:?} is not an address with a port number"),
            "write it like \"10.3.0.20:80\" or \"[fd00:3::20]:80\" (names are not looked up)",
        );
    };
    if let SocketAddr::V6(address) = endpoint {
        if address.scope_id() != 0 {
            return r.refuse(format!("{endpoint} has a zone"), "write the address without the % and what follows");
        }
        if let Some(ipv4) = address.ip().to_ipv4_mapped() {
            let fix = format!("write \"{}\"", SocketAddr::new(ipv4.into(), address.port()));
            return r.refuse(format!("{endpoint} is an IPv4 address in IPv6's form"), fix);
        }
    }
    if endpoint.port() == 0 {
        return r.wrong(Kind::OutOfRange, "port number 0 cannot be used", "choose one, like 80");
    }
    Some(endpoint)
}

/// Why no server can be reached under this address, if so.
pub(super) fn unfit(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() || matches!(address, IpAddr::V4(address) if address.is_broadcast()) {
        return Some("is not an address of a host");
    }
    if address.is_loopback() {
        return Some("is a loopback address");
    }
    if address.is_multicast() {
        return Some("is a multicast address");
    }
    if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
        return Some("is a link-local address");
    }
    None
}

fn backend_list(problems: &mut Problems<'_>, backends: &At<Vec<At<SocketAddr>>>) {
    if backends.value.is_empty() {
        let what = "[[relay]] `backend` is empty";
        problems.add(&backends.span, Kind::MissingKey, what, "give at least one server that the relay leads to");
    }
    let most = defaults::BACKENDS_MAX;
    if let Some(beyond) = backends.value.get(most) {
        let what = format!("[[relay]] `backend` has more than {most} servers");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer, or a second relay");
    }
    no_duplicates(
        problems,
        &backends.value,
        |backend| format!("[[relay]] `backend` names {backend} twice"),
        "name each server once: they all take the same share",
    );
}
