//! `phalanx run`: be a member, in the foreground, until told to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use phalanx_config::{Config, Machine};

use super::{FAILED, WRONG_USAGE, failed};
use crate::runtime;

const EXAMPLES: &str = "\
EXAMPLES
  phalanx run --config /etc/phalanx/m1.toml

SIGNALS
  SIGTERM, SIGINT  drain (give all work away), then stop; a second one stops at once
  SIGHUP           read the configuration again and take over what can change live: routes, log level and format,
                   the balancing interval, and crl.pem beside the identity; anything else is refused, and nothing
                   changes";

/// Be a member of the cluster, in the foreground.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunCommand {
    /// The member's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(command: &RunCommand) -> ExitCode {
    let config = match Config::load_on(&command.config, &Machine { cores: &runtime::cores(), runs_here: true }) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match runtime::run(config, &command.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(FAILED, error),
    }
}
