//! The command line: what an operator types, and which module does it.
//!
//! Exit codes, the same for all commands: 0 done; 1 it went wrong; 2 the command or the configuration is wrong (clap
//! ends with 2 by itself). Results go to stdout, everything said about them to stderr, so that scripts can read the one
//! and people the other.

mod bench;
mod ca;
mod capture;
mod check;
pub mod client;
mod drain;
mod run;
mod sessions;
mod status;
mod table;
mod target;
mod unit;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code: it went wrong.
const FAILED: u8 = 1;
/// Exit code: the command line or the configuration is wrong.
const WRONG_USAGE: u8 = 2;

const EXAMPLES: &str = "\
EXAMPLES
  phalanx check /etc/phalanx/m1.toml         see whether a configuration is sound, and what follows from it
  phalanx run --config /etc/phalanx/m1.toml  be a member
  phalanx status --watch                     watch the cluster
  phalanx drain                              give all work away, then leave
  phalanx sessions                           see which VPN peers are connected
  phalanx capture --decrypt -w inside.pcapng see what passes through their tunnels
  phalanx ca issue /root/ca --name m1 --id 1
  phalanx unit tcp 192.0.2.7:4711 10.3.0.100:443 --forwarding

EXIT STATUS
  0  done
  1  it went wrong; stderr says why
  2  the command line or the configuration is wrong; stderr says where and what to do";

/// One VPN gateway out of many servers: the members of a cluster share an address and their work, and carry on for one
/// another.
#[derive(Parser, Debug)]
#[command(name = "phalanx", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::RunCommand),
    Check(check::CheckCommand),
    Status(status::StatusCommand),
    Drain(drain::DrainCommand),
    Unit(unit::UnitCommand),
    Sessions(sessions::SessionsCommand),
    Capture(capture::CaptureCommand),
    Ca(ca::CaCommand),
    Bench(bench::BenchCommand),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(command) => run::run(&command),
        Command::Check(command) => check::run(&command),
        Command::Status(command) => status::run(&command),
        Command::Drain(command) => drain::run(&command),
        Command::Unit(command) => unit::run(&command),
        Command::Sessions(command) => sessions::run(&command),
        Command::Capture(command) => capture::run(&command),
        Command::Ca(command) => ca::run(&command),
        Command::Bench(command) => bench::run(&command),
    }
}

/// Says on stderr what went wrong.
fn failed(code: u8, what: impl std::fmt::Display) -> ExitCode {
    eprintln!("phalanx: {what}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("EXAMPLES"), "{} has no examples", command.get_name());
        }
    }

    #[test]
    fn a_member_is_named_before_or_behind_the_verb() {
        for line in ["phalanx sessions --socket s show 1", "phalanx sessions show 1 --socket s --json"] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_two() {
        for line in ["phalanx", "phalanx fly", "phalanx check", "phalanx unit tcp", "phalanx run"] {
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(WRONG_USAGE), "{line}");
        }
    }
}
