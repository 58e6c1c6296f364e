//! `[cluster]`, `[member]`, `[link]`.

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::beside;
use crate::defaults;
use crate::mac::MacAddr;
use crate::problem::{Kind, Problems};
use crate::read::{At, Reading, Section};
use crate::schema::{Cluster, DeliveryMode, Link, Member, Quorum, Replicas, Scheme, Timing};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn cluster(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Cluster> {
    let name = s.required(problems, "name", "\"edge\"", |r| r.name());
    let number = s.required(problems, "number", "1", |r| r.number(1..=255_u8).and_then(NonZeroU8::new));
    let config_version = s.required(problems, "config_version", "1", |r| r.number(0..=u64::MAX >> 1));
    let mode = s.required(problems, "mode", "\"forward\"", |r| r.word(DeliveryMode::WORDS));
    let scheme = s.or(problems, "scheme", defaults::SCHEME, |r| r.word(Scheme::WORDS));
    let quorum = s.or(problems, "quorum", defaults::QUORUM, |r| r.word(Quorum::WORDS));
    let timing = timing(problems, &mut s);
    let replicas = s.or(problems, "replicas", defaults::REPLICAS, replicas);
    let balance_interval = s.or(problems, "balance_interval_ms", defaults::BALANCE_INTERVAL, |r| {
        r.time(MILLISECOND, defaults::BALANCE_RANGE)
    });
    let compare_interval =
        s.or(problems, "compare_interval_s", defaults::COMPARE_INTERVAL, |r| r.time(SECOND, defaults::COMPARE_RANGE));
    let mac = s.optional(problems, "mac", |r| r.parsed::<MacAddr>("a hardware address", "02:50:48:00:00:01"));
    s.finish(problems);
    if let (Some(mode), Some(Some(mac))) = (&mode, &mac) {
        shared_mac(problems, mode.value, mac);
    }
    Some(Cluster {
        name: name?.value,
        number: number?.value,
        config_version: config_version?.value,
        mode: mode?.value,
        scheme: scheme?.value,
        quorum: quorum?.value,
        timing: timing?,
        replicas: replicas?.value,
        balance_interval: balance_interval?.value,
        compare_interval: compare_interval?.value,
        mac: mac?.map(|mac| mac.value),
    })
}

fn timing(problems: &mut Problems<'_>, s: &mut Section<'_, '_>) -> Option<Timing> {
    let period = s.or(problems, "period_ms", defaults::PERIOD, |r| r.time(MILLISECOND, defaults::PERIOD_RANGE));
    let (least, most) = defaults::LOSSES_RANGE;
    let losses_min = s.or(problems, "losses_min", defaults::LOSSES_MIN, |r| r.number(least..=most));
    let false_alarm = s.or(problems, "false_alarm_interval_s", defaults::FALSE_ALARM_INTERVAL, |r| {
        r.time(SECOND, defaults::FALSE_ALARM_RANGE)
    });
    let (period, losses_min) = (period?, losses_min?);
    let timing =
        Timing { period: period.value, losses_min: losses_min.value, false_alarm_interval: false_alarm?.value };
    let detection = timing.detection(timing.losses_min);
    if detection > defaults::DETECTION_SENSIBLE_MAX {
        problems.warn(
            &period.span,
            format!("a death is noticed only after {detection:?} (period_ms × losses_min)"),
            "lower period_ms or losses_min unless the cluster link is really that slow",
        );
    }
    Some(timing)
}

fn replicas(r: &mut Reading<'_, '_, '_>) -> Option<Replicas> {
    if r.is_text() {
        return r.word(&[("all", Replicas::All)]);
    }
    r.number(1..=defaults::MEMBER_ID_MAX).and_then(NonZeroU8::new).map(Replicas::Count)
}

/// `cluster.mac` must be of the sort that the mode needs.
fn shared_mac(problems: &mut Problems<'_>, mode: DeliveryMode, mac: &At<MacAddr>) {
    let given = mac.value;
    let (what, fix) = match mode {
        DeliveryMode::Forward => (
            "[cluster] `mac` has no use with mode \"forward\": the master answers with its port's own address"
                .to_owned(),
            "remove it, or choose mode \"unicast\" or \"multicast\"",
        ),
        DeliveryMode::Unicast if given.is_multicast() || !given.is_local() => (
            format!(
                "[cluster] `mac` {given} is not a locally administered unicast address, which mode \"unicast\" needs"
            ),
            "choose one whose first byte ends in 2, 6, a or e, like 02:50:48:00:00:01",
        ),
        DeliveryMode::Multicast if !given.is_multicast() || given.is_broadcast() => (
            format!("[cluster] `mac` {given} is not a multicast address, which mode \"multicast\" needs"),
            "choose one whose first byte is odd, like 03:50:48:00:00:01",
        ),
        DeliveryMode::Unicast | DeliveryMode::Multicast => return,
    };
    problems.add(&mac.span, Kind::Contradiction, what, fix);
}

pub(super) fn member(problems: &mut Problems<'_>, mut s: Section<'_, '_>, file: &Path) -> Option<Member> {
    let name = s.required(problems, "name", "\"m1\"", |r| r.name());
    let id = s.required(problems, "id", "1", |r| r.number(1..=defaults::MEMBER_ID_MAX).and_then(NonZeroU8::new));
    let identity = s.required(problems, "identity", "\"m1.pem\"", |r| r.filled());
    let state_dir = s.optional(problems, "state_dir", |r| r.filled());
    s.finish(problems);
    let name = name?.value;
    let state_dir = match state_dir? {
        Some(given) => beside(file, &given.value),
        None => PathBuf::from(defaults::STATE_DIR).join(&name),
    };
    Some(Member { name, id: id?.value, identity: beside(file, &identity?.value), state_dir })
}

/// The kernel's IFNAMSIZ is 16 with the closing zero.
const INTERFACE_NAME_MAX: usize = 15;

pub(super) fn link(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<At<Link>> {
    let interface = s.required(problems, "interface", "\"eth2\"", |r| {
        let name = r.filled()?;
        if name.len() > INTERFACE_NAME_MAX || name.contains(|c: char| c == '/' || c.is_whitespace()) {
            return r.refuse(
                format!("{name:?} cannot be a kernel interface"),
                "use a name that `ip link` shows, at most 15 letters",
            );
        }
        Some(name)
    });
    let address = s.required(problems, "address", "\"10.9.0.1:7400\"", |r| {
        r.parsed::<SocketAddr>("an address with a port number", "10.9.0.1:7400")
    });
    let group = s.required(problems, "group", "\"239.80.72.1:7400\"", |r| {
        r.parsed::<SocketAddr>("a multicast group with a port number", "239.80.72.1:7400")
    });
    s.finish(problems);
    let (address, group) = (address?, group?);
    let sound = link_addresses(problems, &address, &group);
    let link = Link { interface: interface?.value, address: address.value, group: group.value };
    sound.then_some(At { value: link, span: address.span })
}

fn link_addresses(problems: &mut Problems<'_>, address: &At<SocketAddr>, group: &At<SocketAddr>) -> bool {
    let mut sound = true;
    let mut refuse = |at: &At<SocketAddr>, kind, what: String, fix: &str| {
        problems.add(&at.span, kind, what, fix);
        sound = false;
    };
    let ip = address.value.ip();
    if ip.is_multicast() || ip.is_unspecified() {
        let what = format!("[link] `address`: {ip} is not an address of one member");
        refuse(address, Kind::BadValue, what, "give the address that this member has on the link's interface");
    }
    if !group.value.ip().is_multicast() {
        let what = format!("[link] `group`: {} is not a multicast address", group.value.ip());
        refuse(group, Kind::BadValue, what, "use one of 239.0.0.0/8, or of ff05::/16 with an IPv6 link");
    } else if group.value.is_ipv4() != address.value.is_ipv4() {
        let what = "[link] `group` and `address` are of different families".to_owned();
        refuse(group, Kind::Contradiction, what, "make both IPv4 or both IPv6");
    }
    for at in [address, group] {
        if at.value.port() == 0 {
            refuse(at, Kind::OutOfRange, "[link]: port number 0 cannot be used".to_owned(), "choose one, like 7400");
        }
    }
    if address.value.port() == u16::MAX {
        let what = "[link] `address`: port number 65535 leaves no room for the next one, which QUIC uses".to_owned();
        refuse(address, Kind::OutOfRange, what, "choose one, like 7400");
    }
    sound
}
