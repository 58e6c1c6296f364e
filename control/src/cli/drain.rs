//! `phalanx drain`: a member gives all its work away, then leaves the cluster.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::status::{DrainAnswer, MemberRole};

use super::client::{self, ClientError};
use super::target::{self, Target, TargetError};
use super::{FAILED, failed};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx drain --socket /run/phalanx/m1.sock
  phalanx drain --no-wait

No packet is lost by it. Stopping a member with SIGTERM drains it too.";

/// From one look to the next while waiting.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Give all work of a member away, then let it leave.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct DrainCommand {
    /// Do not wait until all units are gone.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait at most, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u32,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(command: &DrainCommand) -> ExitCode {
    match command.target.path().and_then(|socket| drain(command, &socket)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let what = format!(
                "units are still here after {} s; see `phalanx status`: can the others take them?",
                command.timeout
            );
            failed(FAILED, what)
        }
        Err(error) => failed(FAILED, error),
    }
}

/// Whether it is done: drained, or begun if nobody wants to wait.
fn drain(command: &DrainCommand, socket: &Path) -> Result<bool, TargetError> {
    let answer = client::ask(socket, "POST", "/drain")?;
    let said: DrainAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.code != 200 || !said.accepted {
        if !said.what.is_empty() {
            eprintln!("phalanx: the member does not drain: {}", said.what);
        }
        return Err(TargetError::Refused(answer.code, "POST /drain"));
    }
    if command.no_wait {
        println!("drains");
        return Ok(true);
    }
    let looks = u64::from(command.timeout) * 1000 / LOOK_INTERVAL.as_millis() as u64;
    for _ in 0..=looks {
        match target::status(socket) {
            Ok((_, status)) if status.role == MemberRole::Stopped || status.units.own == 0 => return Ok(done()),
            // It left, and took its socket along.
            Err(TargetError::Client(ClientError::Unreachable { .. })) => return Ok(done()),
            Ok(_) => {}
            // Mid-answer, it may be about to leave: the next look tells.
            Err(TargetError::Client(ClientError::Broken(_) | ClientError::Malformed(_))) => {}
            Err(other) => return Err(other),
        }
        pause();
    }
    Ok(false)
}

fn done() -> bool {
    println!("drained");
    true
}

#[allow(clippy::disallowed_methods, reason = "asks a member of another process again: nothing here to be woken by")]
fn pause() {
    std::thread::sleep(LOOK_INTERVAL);
}
