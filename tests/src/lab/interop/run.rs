//! A lab with a guest on either side of the cluster; one case in it; the table.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::cases::{Case, FAULTS, Role, Window};
use super::kernel::{self, Counters};
use crate::lab::traffic::{Server, transfers};
use crate::lab::{Lab, Outcome, Plan, failure, stage};

/// Where transfers are served (`traffic server`).
const SERVED: u16 = 7806;
/// A transfer that takes longer has stalled.
const LIMIT: Duration = Duration::from_secs(40);
const OUTSIDE: &str = "outer";
const INSIDE: &str = "inner";

/// The lab.
pub struct Stage {
    lab: Lab,
    _servers: [Server; 2],
}

impl Stage {
    /// Three members, and two guests beside the usual hosts: one outside, one inside.
    pub fn up() -> Outcome<Self> {
        let lab = Lab::up(Plan { config: Some(relays()), ..Plan::new("forward", "none") })?;
        for (guest, side) in [(OUTSIDE, "outside"), (INSIDE, "inside")] {
            lab.call(&["host", "add", guest, side, "--uml"])?;
            kernel::prepare(&lab, guest)?;
        }
        let servers = [Server::start(&lab, "server")?, Server::start(&lab, INSIDE)?];
        Ok(Self { lab, _servers: servers })
    }

    /// Runs one case: bytes up, down, and both ways at once.
    pub fn play(&self, case: &Case) -> Outcome<Row> {
        let (guest, client) = match case.role {
            Role::Client => (OUTSIDE, OUTSIDE),
            Role::Server => (INSIDE, "client"),
        };
        let before = kernel::set(&self.lab, guest, case)?;
        let server = SocketAddr::new(stage::cluster(case.v6), port(case));
        let bytes = case.bytes();
        let done = transfers(&self.lab, client, server, &[[bytes, 0], [0, bytes], [bytes, bytes]], LIMIT)?;
        let mut row = Row { case: *case, seconds: [0.0; 3], counters: Counters::default(), problems: Vec::new() };
        for ((what, done), seconds) in ["up", "down", "both"].into_iter().zip(done).zip(&mut row.seconds) {
            *seconds = done.seconds;
            row.problems.extend(done.problem.map(|problem| format!("{what}: {problem}")));
        }
        row.counters = Counters::read(&self.lab, guest)?.since(&before);
        for (name, what) in [("EstabResets", "connections were reset"), ("InCsumErrors", "checksums were wrong")] {
            let count = row.counters.of(name);
            if count != 0 {
                row.problems.push(format!("by the guest's word, {count} {what}"));
            }
        }
        Ok(row)
    }

    /// Connections that the relays have lost, by their own word.
    pub fn lost_by_relays(&self) -> Outcome<f64> {
        // Not `resets_received`: a host that has closed answers what comes late or twice by a RST, which ends a TIME-WAIT.
        let events = ["timed_out", "refused_no_backend", "idle_closed"];
        let mut sum = 0.0;
        for (relay, ..) in relay_list() {
            for event in events {
                let name = format!("phalanx_relay_events_total{{relay=\"{relay}\",event=\"{event}\"}}");
                sum += self.lab.total(&name)?;
            }
        }
        Ok(sum)
    }
}

/// What became of a case.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub case: Case,
    /// How long bytes took: up, down, both ways.
    pub seconds: [f64; 3],
    /// What the guest's kernel counted meanwhile.
    pub counters: Counters,
    /// What went wrong.
    pub problems: Vec<String>,
}

fn port(case: &Case) -> u16 {
    let number = u16::from(case.role == Role::Server) * 2 + u16::from(case.window == Window::Relay);
    SERVED + number
}

/// A relay for each role and buffer, in both families, with the number of its port.
fn relay_list() -> impl Iterator<Item = (String, Role, Window, bool, u16)> {
    [
        (Role::Client, Window::Large),
        (Role::Client, Window::Relay),
        (Role::Server, Window::Large),
        (Role::Server, Window::Relay),
    ]
    .into_iter()
    .zip(SERVED..)
    .flat_map(|((role, window), port)| {
        [false, true].map(|v6| (format!("r{port}v{}", if v6 { 6 } else { 4 }), role, window, v6, port))
    })
}

fn relays() -> String {
    let mut toml = String::new();
    for (name, role, window, v6, port) in relay_list() {
        let listen = SocketAddr::new(stage::cluster(v6), port);
        let backend = match role {
            Role::Client => stage::server(v6),
            Role::Server if v6 => IpAddr::from([0xfd00, 3, 0, 0, 0, 0, 0, 0x164]),
            Role::Server => IpAddr::from([10, 3, 0, 164]),
        };
        let backend = SocketAddr::new(backend, SERVED);
        let kbytes = if window == Window::Relay { 4 } else { 64 };
        let _ = writeln!(
            toml,
            "[[relay]]\nname = \"{name}\"\nlisten = \"{listen}\"\nbackend = [\"{backend}\"]\nbuffer_kbytes = {kbytes}\nhealth_check = false"
        );
    }
    toml
}

/// What is wrong with all of it: the cases' own problems, and a network or a kernel that was not as it was to be.
pub fn judge(rows: &[Row]) -> Vec<String> {
    let mut problems: Vec<String> = rows
        .iter()
        .flat_map(|row| row.problems.iter().map(move |problem| format!("{}: {problem}", row.case)))
        .collect();
    let mut must_have_counted = |what: &str, name: &str, of: &dyn Fn(&Case) -> bool| {
        let count: i64 = rows.iter().filter(|row| of(&row.case)).map(|row| row.counters.of(name)).sum();
        if count == 0 {
            problems.push(format!("{what}, and no guest's kernel has counted any {name}"));
        }
    };
    for fault in FAULTS {
        for name in kernel::proof(&fault) {
            must_have_counted(fault.name, name, &|case| case.fault == fault);
        }
    }
    // A small window has too few segments on their way for three duplicate ACKs.
    let lossy = |case: &Case| case.fault.out.contains("loss") && case.window == Window::Large;
    must_have_counted("loss with SACK", "TCPSackRecovery", &|case| lossy(case) && case.sack);
    must_have_counted("loss without SACK", "TCPRenoRecovery", &|case| lossy(case) && !case.sack);
    problems
}

/// Writes what became of all, for a reader.
pub fn write_table(path: &Path, rows: &[Row]) -> Outcome<()> {
    let mut text = String::from(
        "| the guest's kernel | bytes | up s | down s | both s | it sent again | of that after a timeout | it got twice | it queued out of order | problems |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let [up, down, both] = row.seconds;
        let count = |name| row.counters.of(name);
        let _ = writeln!(
            text,
            "| {} | {} | {up:.2} | {down:.2} | {both:.2} | {} | {} | {} | {} | {} |",
            row.case,
            row.case.bytes(),
            count("RetransSegs"),
            count("TCPTimeouts"),
            count("TCPDSACKOldSent") + count("TCPDSACKOfoSent"),
            count("TCPOFOQueue"),
            row.problems.join("; ")
        );
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(path, text)).map_err(failure)
}
