//! `phalanx ca`: the operator's side of the cluster's certificates. Thin: all of it is done by [`crate::pki::Authority`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use phalanx_dataplane::unit::MemberId;

use super::{FAILED, failed};
use crate::pki::{
    Authority, CaError, ClusterName, DAYS_DEFAULT, FileError, MemberName, Record, WallTime, write_secret,
};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx ca init /root/ca --cluster edge              make the CA of cluster `edge`
  phalanx ca issue /root/ca --name m1 --id 1           make m1's bundle: /root/ca/m1.pem
  phalanx ca revoke /root/ca m1                        shut m1 out; then copy crl.pem to the members
  phalanx ca list /root/ca --json                      everything that was ever issued";

/// Keep the cluster's certificates: make the CA, issue members' identities, revoke them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct CaCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a new CA; keep its directory away from the members
    Init {
        /// Directory of the CA; made if it is not there
        dir: PathBuf,
        /// Name of the cluster, the same as in the members' configurations
        #[arg(long)]
        cluster: ClusterName,
    },
    /// Issue a member's identity: one file with its certificate, its key and the cluster secret
    Issue {
        /// Directory of the CA
        dir: PathBuf,
        /// Name of the member
        #[arg(long)]
        name: MemberName,
        /// Number of the member, 1..32
        #[arg(long, value_parser = parse_member)]
        id: MemberId,
        /// File to write [default: DIR/NAME.pem]
        #[arg(long)]
        out: Option<PathBuf>,
        /// Days for which it is valid
        #[arg(long, default_value_t = DAYS_DEFAULT)]
        days: u32,
    },
    /// Revoke a certificate; writes a new crl.pem
    Revoke {
        /// Directory of the CA
        dir: PathBuf,
        /// Serial number of the certificate, or name of the member
        which: String,
    },
    /// List all certificates
    List {
        /// Directory of the CA
        dir: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Why a `phalanx ca` command failed.
#[derive(Debug, thiserror::Error)]
enum CaCommandError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("{error}; certificate {serial} is in the index and unused: revoke it, then issue again")]
    Write { error: FileError, serial: String },
    #[error("cannot write the list: {0}")]
    Output(#[from] std::io::Error),
}

/// Does what the command says.
pub(super) fn run(command: &CaCommand) -> ExitCode {
    let now = WallTime::read_clock();
    let done = match &command.action {
        Action::Init { dir, cluster } => init(dir, cluster, now),
        Action::Issue { dir, name, id, out, days } => issue(dir, name, *id, out.as_deref(), *days, now),
        Action::Revoke { dir, which } => revoke(dir, which, now),
        Action::List { dir, json } => list(dir, *json, now, &mut std::io::stdout()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(FAILED, error),
    }
}

fn init(dir: &Path, cluster: &ClusterName, now: WallTime) -> Result<(), CaCommandError> {
    let ca = Authority::init(dir, cluster, now)?;
    println!("{}", ca.path("ca.pem").display());
    eprintln!("made the CA of cluster {cluster}, valid until {}", ca.certificate().not_after());
    Ok(())
}

fn issue(
    dir: &Path,
    name: &MemberName,
    id: MemberId,
    out: Option<&Path>,
    days: u32,
    now: WallTime,
) -> Result<(), CaCommandError> {
    let mut ca = Authority::open(dir)?;
    let path = out.map_or_else(|| ca.path(&format!("{name}.pem")), Path::to_owned);
    let issued = ca.issue(name, id, days, now)?;
    write_secret(&path, issued.bundle.as_bytes())
        .map_err(|error| CaCommandError::Write { error, serial: issued.record.serial.clone() })?;
    println!("{}", path.display());
    eprintln!("issued {} (number {}), valid until {}; it holds secrets", name, id.number(), issued.record.not_after);
    Ok(())
}

fn revoke(dir: &Path, which: &str, now: WallTime) -> Result<(), CaCommandError> {
    let mut ca = Authority::open(dir)?;
    let record = ca.revoke(which, now)?;
    println!("{}", ca.path("crl.pem").display());
    eprintln!("revoked certificate {} of {}; give the new crl.pem to all members", record.serial, record.name);
    Ok(())
}

fn list(dir: &Path, json: bool, now: WallTime, out: &mut impl std::io::Write) -> Result<(), CaCommandError> {
    let ca = Authority::open(dir)?;
    if json {
        serde_json::to_writer_pretty(&mut *out, ca.records()).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{:<20} {:>3}  {:<10}  {:<8}  SERIAL", "NAME", "ID", "UNTIL", "STATE")?;
    for record in ca.records() {
        let Record { name, id, not_after, serial, .. } = record;
        // Padded as text: the date's own formatting knows no width.
        let (until, state) = (not_after.to_string(), state(record, now));
        writeln!(out, "{:<20} {id:>3}  {until:<10}  {state:<8}  {serial}", name.as_str())?;
    }
    Ok(())
}

fn state(record: &Record, now: WallTime) -> &'static str {
    match (record.revoked_at, record.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "ended",
    }
}

fn parse_member(text: &str) -> Result<MemberId, String> {
    let number = text.parse().ok().and_then(MemberId::new);
    number.ok_or_else(|| "a member's number is 1 to 32".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_init_to_list() {
        let now = WallTime::read_clock();
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("ca");
        init(&dir, &"edge".parse().unwrap(), now).unwrap();
        let (m1, id) = ("m1".parse().unwrap(), MemberId::new(1).unwrap());
        issue(&dir, &m1, id, None, 30, now).unwrap();
        assert!(issue(&dir, &m1, id, None, 30, now).is_err());
        crate::pki::Identity::load(&dir.join("m1.pem"), now).unwrap();
        revoke(&dir, "m1", now).unwrap();
        let mut text = Vec::new();
        list(&dir, false, now, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.lines().nth(1).is_some_and(|line| line.starts_with("m1 ") && line.contains(" revoked ")),
            "{text}"
        );
        let mut json = Vec::new();
        list(&dir, true, now, &mut json).unwrap();
        let records: Vec<Record> = serde_json::from_slice(&json).unwrap();
        assert_eq!(records.len(), 1);
    }
}
