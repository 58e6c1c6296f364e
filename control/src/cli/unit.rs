//! `phalanx unit`: a flow's work unit, and who owns it.
//!
//! The unit stands alone on the first line. Without a running cluster that is all; with one, its owner and backups
//! follow. The steered scheme needs the cluster's key: `--config` names a member's configuration, whose identity bundle
//! holds the secret that the key is derived from. Without it the key is all zeroes, and stderr says so.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use phalanx_config::Config;
use phalanx_dataplane::filter::{Filter, Flow, Scheme};
use phalanx_dataplane::unit::Unit;
use serde::Serialize;

use crate::envelope::steered_key;
use crate::pki::{Identity, WallTime};
use crate::status::Status;

use super::target::{self, Target, TargetError};
use super::{FAILED, WRONG_USAGE, failed};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx unit --scheme classic tcp 192.0.2.7:4711 192.0.2.10:443
  phalanx unit --forwarding udp 192.0.2.7 10.3.0.100 --config /etc/phalanx/m1.toml
  phalanx unit tcp '[2001:db8::7]:4711' '[2001:db8:2::10]:443' --socket /run/phalanx/m1.sock --json

The first line is the unit alone. With --socket (or --config of a running member), `owner NUMBER NAME` and `backups ...`
follow. The steered scheme is keyed: give --config to use the cluster's key; else an all-zero key is used, and the unit
is NOT the cluster's.";

/// The scheme, as the command line names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SchemeName {
    /// The patent's function.
    Classic,
    /// The keyed one.
    Steered,
}

/// Print a flow's work unit and, with a running cluster, its owner and backups.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct UnitCommand {
    /// The filter [default: that of --config, else steered].
    #[arg(long)]
    scheme: Option<SchemeName>,
    /// The flow passes through the cluster (else: it goes to the cluster's own address).
    #[arg(long)]
    forwarding: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// tcp, udp, icmp, esp, or a protocol's number.
    #[arg(value_name = "PROTO")]
    protocol: String,
    /// Source; IPv6 with a port in brackets.
    #[arg(value_name = "SRC[:PORT]")]
    source: String,
    /// Destination.
    #[arg(value_name = "DST[:PORT]")]
    destination: String,
    #[command(flatten)]
    target: Target,
}

/// The JSON answer; without a cluster there are no owner and backups.
#[derive(Serialize)]
struct Answer {
    unit: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backups: Option<Vec<u8>>,
}

pub(super) fn run(command: &UnitCommand) -> ExitCode {
    let flow = match Flow::parse(&command.protocol, &command.source, &command.destination) {
        Ok(flow) => flow,
        Err(error) => return failed(WRONG_USAGE, error),
    };
    let config = match command.target.configuration() {
        Ok(config) => config,
        Err(error) => return failed(WRONG_USAGE, error),
    };
    let filter = match filter(command.scheme, config.as_ref()) {
        Ok(filter) => filter,
        Err(error) => return failed(FAILED, error),
    };
    if filter.scheme() == Scheme::Steered && !command.forwarding && flow.carries_unit() {
        eprintln!(
            "phalanx: note: such packets carry their unit in an identifier (SPI, tunnel ID); this is that of one without"
        );
    }
    let unit = filter.unit_of_flow(&flow, command.forwarding);
    match owner(command, config.as_ref()) {
        Ok(status) => {
            print!("{}", render(unit, status.as_ref(), command.json));
            ExitCode::SUCCESS
        }
        Err(error) => {
            // The unit is right all the same, and scripts read the first line.
            print!("{}", render(unit, None, command.json));
            failed(FAILED, error)
        }
    }
}

/// The filter of the scheme that the command line or else the configuration names.
fn filter(scheme: Option<SchemeName>, config: Option<&Config>) -> Result<Filter, String> {
    let scheme = match (scheme, config.map(|config| config.cluster.scheme)) {
        (Some(SchemeName::Classic), _) | (None, Some(phalanx_config::Scheme::Classic)) => Scheme::Classic,
        _ => Scheme::Steered,
    };
    let key = match (scheme, config) {
        (Scheme::Classic, _) => [0; 16],
        (Scheme::Steered, Some(config)) => key_of(config)?,
        (Scheme::Steered, None) => {
            eprintln!(
                "phalanx: note: without --config the steered filter's key is all zeroes; the cluster's own units differ"
            );
            [0; 16]
        }
    };
    Ok(Filter::new(scheme, key))
}

/// The key that the cluster of this configuration filters with.
fn key_of(config: &Config) -> Result<[u8; 16], String> {
    let path = &config.member.identity;
    match Identity::load(path, WallTime::read_clock()) {
        Ok(identity) => Ok(steered_key(identity.secret())),
        Err(error) => Err(format!("{}: {error}; without --config, an all-zero key is used", path.display())),
    }
}

/// The running cluster's status, if the command line names a member to ask.
fn owner(command: &UnitCommand, config: Option<&Config>) -> Result<Option<Status>, TargetError> {
    let socket = match (&command.target.socket, config) {
        (Some(socket), _) => socket.clone(),
        // A configuration alone is enough for the key; the member need not run.
        (None, Some(config)) if config.management.socket.exists() => config.management.socket.clone(),
        (None, _) => return Ok(None),
    };
    target::status(&socket).map(|(_, status)| Some(status))
}

fn render(unit: Unit, status: Option<&Status>, json: bool) -> String {
    let range = status.and_then(|status| status.units.find(unit.number()));
    if json {
        let answer = Answer {
            unit: unit.number(),
            owner: range.and_then(|range| range.owner),
            backups: range.map(|range| range.backups.clone()),
        };
        return serde_json::to_string(&answer).unwrap_or_default() + "\n";
    }
    let mut text = format!("{unit}\n");
    if let (Some(status), Some(range)) = (status, range) {
        match range.owner {
            Some(owner) => text += &format!("owner {owner} {}\n", status.name_of(owner)),
            None => text += "owner none\n",
        }
        let backups: Vec<String> = range.backups.iter().map(|id| format!("{id} {}", status.name_of(*id))).collect();
        text += &format!("backups {}\n", if backups.is_empty() { "none".to_owned() } else { backups.join(", ") });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_stands_alone_on_the_first_line() {
        let unit = Unit::new(17).unwrap();
        assert_eq!(render(unit, None, false), "17\n");
        assert_eq!(render(unit, None, true), "{\"unit\":17}\n");
        let mut status = Status::default();
        for number in 0..1024 {
            status.units.push(number, Some(2), &[1, 3], "assigned", 1);
        }
        assert_eq!(render(unit, Some(&status), false), "17\nowner 2 #2\nbackups 1 #1, 3 #3\n");
        assert_eq!(render(unit, Some(&status), true), "{\"unit\":17,\"owner\":2,\"backups\":[1,3]}\n");
    }

    #[test]
    fn classic_is_the_patents_fold() {
        let filter = filter(Some(SchemeName::Classic), None).unwrap();
        let flow = Flow::parse("icmp", "192.0.2.7", "10.3.0.100").unwrap();
        let k = 0xc000_0207_u32 ^ 0x0a03_0064;
        let folded = (k ^ (k >> 10) ^ (k >> 20) ^ (k >> 30)) & 1023;
        assert_eq!(u32::from(filter.unit_of_flow(&flow, true).number()), folded);
    }
}
