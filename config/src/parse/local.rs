//! The sections about this machine: `[workers]`, `[cluster_thread]`, `[eal]`, `[management]`, `[log]`, `[limits]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{beside, no_duplicates};
use crate::defaults;
use crate::problem::{Kind, Problems};
use crate::read::{At, Section};
use crate::schema::{ClusterThread, Eal, Idle, Level, Limits, Log, LogFormat, Management, Port, Workers};

/// `[workers]` that still knows where each core stands.
pub(super) struct WorkersDraft {
    pub(super) cores: Vec<At<u16>>,
    pub(super) idle: Idle,
    realtime: u8,
}

pub(super) fn workers(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<WorkersDraft> {
    let cores = s.or(problems, "cores", Vec::new(), |r| r.list("[1, 2]", |r| r.number(0..=defaults::CORE_MAX)));
    let idle = s.optional(problems, "idle", |r| r.word(Idle::WORDS));
    let realtime = s.or(problems, "realtime", 0, |r| r.number(0..=defaults::REALTIME_MAX));
    s.finish(problems);
    let cores = cores?.value;
    no_duplicates(
        problems,
        &cores,
        |core| format!("[workers] `cores` names core {core} twice"),
        "name each core once: one worker runs on each",
    );
    let (idle, realtime) = (idle?, realtime?);
    if let Some(At { value: Idle::Spin, span }) = &idle
        && cores.is_empty()
    {
        problems.warn(
            span,
            "[workers] a worker without a core of its own spins",
            "name dedicated `cores`, or use idle = \"interrupt\"",
        );
    }
    let idle = idle.map_or(defaults::idle(!cores.is_empty()), |idle| idle.value);
    if idle == Idle::Spin && realtime.value > 0 {
        problems.add(
            &realtime.span,
            Kind::Contradiction,
            "[workers] `realtime` with idle = \"spin\" would let nothing else run on those cores, the kernel included",
            "set realtime = 0, or idle = \"interrupt\"",
        );
    }
    Some(WorkersDraft { cores, idle, realtime: realtime.value })
}

pub(super) fn finish_workers(draft: WorkersDraft) -> Workers {
    Workers { cores: draft.cores.into_iter().map(|at| at.value).collect(), idle: draft.idle, realtime: draft.realtime }
}

pub(super) fn cluster_thread(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<At<ClusterThread>> {
    let core = s.optional(problems, "core", |r| r.number(0..=defaults::CORE_MAX));
    let realtime = s.or(problems, "realtime", 0, |r| r.number(0..=defaults::REALTIME_MAX));
    s.finish(problems);
    let (core, realtime) = (core?, realtime?);
    let span = core.as_ref().map_or(0..0, |core| core.span.clone());
    Some(At { value: ClusterThread { core: core.map(|core| core.value), realtime: realtime.value }, span })
}

/// EAL arguments that would take the choice of cores out of `[workers]` and `[cluster_thread]`.
const CORE_ARGUMENTS: &[&str] = &["-l", "-c", "--lcores", "-s", "--main-lcore"];

pub(super) fn eal(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Eal> {
    let args = s.or(problems, "args", Vec::new(), |r| r.list("[\"--in-memory\"]", |r| r.text()));
    s.finish(problems);
    let args = args?.value;
    for At { value, span } in &args {
        if CORE_ARGUMENTS.contains(&value.split('=').next().unwrap_or("")) {
            problems.warn(
                span,
                format!("[eal] {value:?} chooses cores, which [workers] and [cluster_thread] do"),
                "remove it unless DPDK itself needs other cores",
            );
        }
    }
    Some(Eal { args: args.into_iter().map(|at| at.value).collect() })
}

pub(super) fn management(
    problems: &mut Problems<'_>,
    mut s: Section<'_, '_>,
    member: Option<&str>,
    file: &Path,
) -> Option<Management> {
    let listen = s.optional(problems, "listen", |r| {
        let text = r.text()?;
        match (text.as_str(), text.parse::<SocketAddr>()) {
            ("off", _) => Some(None),
            (_, Ok(address)) if address.port() > 0 => Some(Some(address)),
            _ => r.refuse(
                format!("{text:?} is not an address with a port number"),
                "write it like \"127.0.0.1:9464\", or \"off\"",
            ),
        }
    });
    let socket = s.optional(problems, "socket", |r| {
        let text = r.filled()?;
        let path = beside(file, &text);
        if path.as_os_str().len() > defaults::SOCKET_PATH_MAX {
            let what = format!("{path:?} is too long for a unix socket");
            return r.refuse(what, format!("use a path of at most {} bytes", defaults::SOCKET_PATH_MAX));
        }
        Some(path)
    });
    s.finish(problems);
    let (listen, socket) = (listen?, socket?);
    if let Some(At { value: Some(address), span }) = &listen
        && !address.ip().is_loopback()
    {
        problems.warn(
            span,
            format!("[management] metrics and status are served on {address} to anyone who reaches it"),
            "listen on 127.0.0.1, or keep others out with a firewall",
        );
    }
    let listen = listen.map_or_else(|| defaults::LISTEN.parse().ok(), |at| at.value);
    let socket = match socket {
        Some(at) => at.value,
        None => PathBuf::from(defaults::SOCKET_DIR).join(format!("{}.sock", member?)),
    };
    Some(Management { listen, socket })
}

pub(super) fn log(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Log> {
    let format = s.or(problems, "format", defaults::LOG_FORMAT, |r| r.word(LogFormat::WORDS));
    let level = s.or(problems, "level", defaults::LOG_LEVEL, |r| r.word(Level::WORDS));
    s.finish(problems);
    Some(Log { format: format?.value, level: level?.value })
}

/// `[limits]`; `mbufs` is 0 until [`finish_limits`] if the file leaves it out. The place is that of `mbufs`.
pub(super) fn limits(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<At<Limits>> {
    let (least, most) = defaults::LIMIT_RANGE;
    let mut number = |key, default| s.or(problems, key, default, |r| r.number(least..=most));
    let mbufs = number("mbufs", 0);
    let hold_packets_max = number("hold_packets_max", defaults::HOLD_PACKETS_MAX);
    let neighbours_max = number("neighbours_max", defaults::NEIGHBOURS_MAX);
    let neighbour_queue_max = number("neighbour_queue_max", defaults::NEIGHBOUR_QUEUE_MAX);
    let neighbour_pending_max = number("neighbour_pending_max", defaults::NEIGHBOUR_PENDING_MAX);
    let reassembly_max = number("reassembly_max", defaults::REASSEMBLY_MAX);
    let routes_max = number("routes_max", defaults::ROUTES_MAX);
    let hold_time =
        s.or(problems, "hold_ms", defaults::HOLD_TIME, |r| r.time(Duration::from_millis(1), defaults::HOLD_TIME_RANGE));
    let (least, most) = defaults::RELAY_BUFFER_MBYTES_RANGE;
    let relay_buffer_mbytes =
        s.or(problems, "relay_buffer_mbytes", defaults::RELAY_BUFFER_MBYTES, |r| r.number(least..=most));
    s.finish(problems);
    let (mbufs, queue) = (mbufs?, neighbour_queue_max?);
    let limits = Limits {
        mbufs: mbufs.value,
        hold_packets_max: hold_packets_max?.value,
        hold_time: hold_time?.value,
        neighbours_max: neighbours_max?.value,
        neighbour_queue_max: queue.value,
        neighbour_pending_max: neighbour_pending_max?.value,
        reassembly_max: reassembly_max?.value,
        routes_max: routes_max?.value,
        relay_buffer_bytes: u64::from(relay_buffer_mbytes?.value) << 20,
    };
    if limits.neighbour_queue_max > limits.neighbour_pending_max {
        let pending = limits.neighbour_pending_max;
        let what = format!("[limits] one neighbour's queue ({}) is longer than all together ({pending})", queue.value);
        problems.add(
            &queue.span,
            Kind::Contradiction,
            what,
            "lower neighbour_queue_max or raise neighbour_pending_max",
        );
    }
    Some(At { value: limits, span: mbufs.span })
}

/// Fills in `mbufs`, or holds what the file says against what the configuration needs.
pub(super) fn finish_limits(
    problems: &mut Problems<'_>,
    limits: At<Limits>,
    ports: &[Port],
    workers: usize,
) -> Option<Limits> {
    let At { value: mut limits, span } = limits;
    let needed = defaults::mbufs(ports, workers, &limits);
    let rings = defaults::mbufs_of_rings(ports, u32::try_from(workers).unwrap_or(u32::MAX));
    match limits.mbufs {
        0 => limits.mbufs = needed,
        given if given <= rings => {
            let what = format!("[limits] {given} mbufs cannot even fill the ports' rings, which take {rings}");
            problems.add(&span, Kind::Contradiction, what, format!("use {needed}, or remove the line"));
            return None;
        }
        given if given < needed => problems.warn(
            &span,
            format!("[limits] {given} mbufs are fewer than the {needed} that rings and limits can need at once"),
            "raise it, remove the line, or lower the other limits",
        ),
        _ => {}
    }
    Some(limits)
}
