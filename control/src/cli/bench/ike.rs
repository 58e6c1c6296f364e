//! `phalanx bench ike-handshakes` and `ike-memory`: what IKE costs the member that answers.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::super::{FAILED, failed};
use crate::bench::{IkeBenchError, Way, measure_handshakes, measure_memory};

const HANDSHAKES_EXAMPLES: &str = "\
WHAT IT SAYS
  CPU ms  what one handshake takes of the one that answers, from the first message to the child SA: mean, median.
          In it: the worker's gateway, the desk, the session thread's work, the tunnel's keys. Not in it: the
          kernel's part of receiving and sending, and the peers, which are in the same process

EXIT STATUS
  0  done
  1  it went wrong
  2  the command line is wrong";

const MEMORY_EXAMPLES: &str = "\
WHAT IT SAYS
  owner, backup  bytes of heap that one IKE SA with one child SA takes, all that goes with them included
  resident       bytes that the process got from the system for each, for owner and backup together

EXIT STATUS
  0  done
  1  it went wrong
  2  the command line is wrong";

/// Answer handshakes of peers in the same process, and count the CPU time of the one that answers.
#[derive(Args, Debug)]
#[command(after_help = HANDSHAKES_EXAMPLES)]
pub(super) struct HandshakesCommand {
    /// Which kinds; all, if none is named.
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(Way::ALL.map(Way::name)))]
    ways: Vec<String>,
    /// Handshakes of each kind.
    #[arg(long, default_value_t = 500, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// One JSON object a line, nothing else.
    #[arg(long)]
    json: bool,
}

/// Make tunnels by as many handshakes, have a backup hold them, and count the memory of both.
#[derive(Args, Debug)]
#[command(after_help = MEMORY_EXAMPLES)]
pub(super) struct MemoryCommand {
    /// IKE SAs, each with a child SA.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(100..=400_000))]
    tunnels: u32,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
}

/// What handshakes of one kind came to.
#[derive(Serialize)]
struct HandshakesRow {
    bench: &'static str,
    work: &'static str,
    handshakes: u32,
    cpu_ms_mean: f64,
    cpu_ms_p50: f64,
}

/// What tunnels came to.
#[derive(Serialize)]
struct MemoryRow {
    bench: &'static str,
    tunnels: u32,
    owner_bytes: f64,
    backup_bytes: f64,
    resident_bytes: f64,
}

pub(super) fn run_handshakes(command: &HandshakesCommand) -> ExitCode {
    finish(measure_all(command))
}

pub(super) fn run_memory(command: &MemoryCommand) -> ExitCode {
    finish(measure_tunnels(command))
}

fn finish(done: Result<(), IkeBenchError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(FAILED, error),
    }
}

fn measure_all(command: &HandshakesCommand) -> Result<(), IkeBenchError> {
    if !command.json {
        println!("{:<21}{:>10}{:>10}{:>10}", "handshake", "count", "CPU ms", "median");
    }
    let wanted = |way: &Way| command.ways.is_empty() || command.ways.iter().any(|name| name == way.name());
    for way in Way::ALL.into_iter().filter(wanted) {
        let figures = measure_handshakes(way, command.count)?;
        let row = HandshakesRow {
            bench: "ike-handshakes",
            work: way.name(),
            handshakes: figures.count,
            cpu_ms_mean: figures.mean_ms,
            cpu_ms_p50: figures.median_ms,
        };
        if command.json {
            print_json(&row)?;
        } else {
            println!("{:<21}{:>10}{:>10.3}{:>10.3}", row.work, row.handshakes, row.cpu_ms_mean, row.cpu_ms_p50);
        }
    }
    Ok(())
}

fn measure_tunnels(command: &MemoryCommand) -> Result<(), IkeBenchError> {
    let memory = measure_memory(command.tunnels)?;
    let row = MemoryRow {
        bench: "ike-memory",
        tunnels: memory.tunnels,
        owner_bytes: memory.owner,
        backup_bytes: memory.backup,
        resident_bytes: memory.resident,
    };
    if command.json {
        return print_json(&row);
    }
    println!(
        "{} tunnels, bytes each: owner {:.0}, backup {:.0}; resident for both {:.0}",
        row.tunnels, row.owner_bytes, row.backup_bytes, row.resident_bytes
    );
    Ok(())
}

fn print_json(row: &impl Serialize) -> Result<(), IkeBenchError> {
    let text = serde_json::to_string(row).map_err(std::io::Error::other)?;
    println!("{text}");
    Ok(())
}
