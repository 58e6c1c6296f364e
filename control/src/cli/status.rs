//! `phalanx status`: the cluster as one member sees it.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::status::{Quantiles, ReplicationStatus, Status};

use super::table::columns;
use super::target::{self, Target};
use super::{FAILED, failed};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx status
  phalanx status --watch
  phalanx status --json --socket /run/phalanx/m1.sock | jq .master";

/// From one look to the next with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How many of the latest events are shown.
const EVENTS_SHOWN: usize = 5;

/// Show the cluster as one member sees it: members, units, load, ports, lease.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusCommand {
    /// The member's own JSON; with --watch one object a line.
    #[arg(long)]
    json: bool,
    /// Look again each second, until interrupted.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(command: &StatusCommand) -> ExitCode {
    let socket = match command.target.path() {
        Ok(socket) => socket,
        Err(error) => return failed(FAILED, error),
    };
    let clears = command.watch && !command.json && std::io::stdout().is_terminal();
    loop {
        let seen = target::status(&socket);
        if clears {
            // Home, and clear to the end of the screen (ECMA-48 CUP, ED).
            print!("\x1b[H\x1b[2J");
        }
        match seen {
            Ok((json, _)) if command.json => println!("{}", json.trim()),
            Ok((_, status)) => print!("{}", render(&status)),
            // A member that restarts is worth watching for; a single look at nothing is a failure.
            Err(error) if command.watch => eprintln!("phalanx: {error}"),
            Err(error) => return failed(FAILED, error),
        }
        if !command.watch || std::io::stdout().flush().is_err() {
            return ExitCode::SUCCESS;
        }
        pause();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a screen that is redrawn each second for a person has nothing to wait for"
)]
fn pause() {
    std::thread::sleep(WATCH_INTERVAL);
}

/// The status for people.
fn render(status: &Status) -> String {
    let mut text = String::new();
    let master = status.master.map_or_else(|| "unknown".to_owned(), |id| status.name_of(id));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "cluster {} ({}, {})  member {} is {}  master {master}  term {} generation {}",
        status.cluster,
        status.mode,
        status.scheme,
        status.member.name,
        status.role.as_str(),
        status.term,
        status.generation
    );
    let quorum = &status.quorum;
    let _ = writeln!(
        text,
        "units {} of {} assigned, {} here  lease {:.1} ms  detection {:.1} ms  quorum {} ({} of {} heard{})\n",
        status.units.assigned,
        status.units.total,
        status.units.own,
        status.lease_ms,
        status.detection_ms,
        quorum.rule,
        quorum.heard,
        quorum.of,
        if quorum.held { "" } else { ", LOST" }
    );
    text.push_str(&members(status));
    text.push('\n');
    text.push_str(&ports(status));
    text.push('\n');
    text.push_str(&workers(status));
    let _ = writeln!(text, "\n{}", packets(status));
    if let Some(it) = &status.replication {
        let _ = writeln!(text, "{}", replication(it));
    }
    for (reason, count) in status.drops.iter().filter(|(_, count)| **count > 0) {
        let _ = writeln!(text, "  dropped {count}: {reason}");
    }
    let skipped = status.events.len().saturating_sub(EVENTS_SHOWN);
    for event in status.events.iter().skip(skipped) {
        let _ = writeln!(text, "{:>12.3} s  {}", event.t_ms / 1000.0, event.what);
    }
    text
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(ToString::to_string).collect()
}

/// A figure, or a dash for what the answering member does not know.
fn known<T>(figure: Option<T>, show: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), show)
}

fn members(status: &Status) -> String {
    let mut rows = vec![words(&["ID", "MEMBER", "STATE", "UNITS", "LOAD", "LOSS", "N", "HEARD", "PORTS", "ADDRESS"])];
    for member in &status.members {
        rows.push(vec![
            member.id.to_string(),
            member.name.clone(),
            member.state.as_str().to_owned(),
            member.units.to_string(),
            known(member.load, |load| format!("{:.1} %", load * 100.0)),
            known(member.loss_permille, |loss| format!("{loss:.1} ‰")),
            member.n.to_string(),
            known((member.id != status.member.id).then_some(member.heard_ms), |ms| format!("{ms:.0} ms")),
            if member.ports_ok { "ok" } else { "DOWN" }.to_owned(),
            member.address.clone(),
        ]);
    }
    columns(&rows)
}

fn ports(status: &Status) -> String {
    let mut rows = vec![words(&["PORT", "ROLE", "LINK", "RX PACKETS", "TX PACKETS", "MISSED", "ADDRESS"])];
    for port in &status.ports {
        rows.push(vec![
            port.name.clone(),
            port.role.clone(),
            if port.up { "up" } else { "DOWN" }.to_owned(),
            port.rx_packets.to_string(),
            port.tx_packets.to_string(),
            port.rx_missed.to_string(),
            port.mac.clone(),
        ]);
    }
    columns(&rows)
}

/// Two lines a worker: what its loop's rounds took, and how long packets were here.
fn workers(status: &Status) -> String {
    let mut rows =
        vec![words(&["WORKER", "CORE", "RX PACKETS", "BUSY", "MICROSECONDS", "P50", "P99", "P99.9", "MAX", "COUNT"])];
    for worker in &status.workers {
        let figures = |times: Option<Quantiles>| {
            let us = |figure: fn(&Quantiles) -> f64| known(times.as_ref(), |times| format!("{:.1}", figure(times)));
            let count = known(times.as_ref(), |times| times.count.to_string());
            [us(|it| it.p50_us), us(|it| it.p99_us), us(|it| it.p999_us), us(|it| it.max_us), count]
        };
        let mut row = vec![
            worker.index.to_string(),
            known(worker.core, |core| core.to_string()),
            worker.packets.to_string(),
            format!("{:.1} %", worker.busy * 100.0),
            "poll loop".to_owned(),
        ];
        row.extend(figures(worker.poll));
        rows.push(row);
        let mut row = words(&["", "", "", "", "latency"]);
        row.extend(figures(worker.latency));
        rows.push(row);
    }
    columns(&rows)
}

fn packets(status: &Status) -> String {
    let c = &status.counters;
    format!(
        "packets {} = forwarded {} + relayed {} + delivered {} + dropped {} + held {}",
        c.received, c.forwarded, c.relayed, c.delivered, c.dropped, c.held
    )
}

fn replication(it: &ReplicationStatus) -> String {
    let lacking = match it.lacking_units {
        0 => "backups hold everything".to_owned(),
        units => format!("backups lack {units} units: take no member down now"),
    };
    let mismatches = match it.digest_mismatches {
        0 => String::new(),
        units => format!("; {units} units had silently diverged and were sent anew"),
    };
    format!(
        "sessions {} of others held; {lacking}; {} updates uncommitted, up to {:.1} ms{mismatches}",
        it.held_sessions, it.uncommitted, it.commit_ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Event, MemberName, MemberRole, MemberStatus, PortStatus, WorkerStatus};

    #[test]
    fn people_see_who_is_master_and_what_is_broken() {
        let mut status = Status { cluster: "edge".into(), master: Some(2), term: 3, ..Status::default() };
        status.member = MemberName { id: 1, name: "m1".into() };
        status.members =
            vec![MemberStatus { id: 2, name: "m2".into(), state: MemberRole::Master, ..MemberStatus::default() }];
        status.ports = vec![PortStatus { name: "outside0".into(), ..PortStatus::default() }];
        let latency = Quantiles { count: 9, p50_us: 12.5, p99_us: 40.0, p999_us: 80.25, max_us: 1000.0 };
        status.workers = vec![WorkerStatus { latency: Some(latency), ..WorkerStatus::default() }];
        status.drops.insert("ttl_exceeded".into(), 7);
        status.replication = Some(ReplicationStatus { held_sessions: 5, lacking_units: 3, ..Default::default() });
        status.drops.insert("not_owned".into(), 0);
        status.events =
            (0..9).map(|t| Event { t_ms: f64::from(t), what: format!("event {t}"), ..Event::default() }).collect();
        let text = render(&status);
        for part in
            ["master m2", "LOST", "DOWN", "dropped 7: ttl_exceeded", "backups lack 3 units", "event 8", "event 4"]
        {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let line = |word| text.lines().find(|line| line.contains(word)).map(|line| line.split_whitespace().collect());
        assert_eq!(line("latency"), Some(vec!["latency", "12.5", "40.0", "80.2", "1000.0", "9"]), "{text}");
        assert_eq!(line("poll loop"), Some(vec!["0", "-", "0", "0.0", "%", "poll", "loop", "-", "-", "-", "-", "-"]));
        assert_eq!(line("2   m2"), Some(vec!["2", "m2", "master", "0", "-", "-", "0", "0", "ms", "DOWN"]), "{text}");
        assert!(!text.contains("not_owned") && !text.contains("event 3"), "{text}");
    }
}
