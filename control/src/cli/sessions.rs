//! `phalanx sessions`: the IKE SAs that a member serves.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::status::{SessionStatus, SessionsAnswer};

use super::client;
use super::table::columns;
use super::target::{Target, TargetError};
use super::{FAILED, failed};

const EXAMPLES: &str = "\
WHICH
  Those that the member serves which is asked. An IKE SA is named by the cluster's SPI of it: its last ten bits are its work unit.

EXAMPLES
  phalanx sessions --socket /run/phalanx/m1.sock
  phalanx sessions list --json
  phalanx sessions show 5a1b2c3d4e5f604d
  phalanx sessions rekey 5a1b2c3d4e5f604d
  phalanx sessions terminate 5a1b2c3d4e5f604d

EXIT STATUS
  0  done; `terminate` and `rekey`: it is on its way
  1  the member does not answer, or does not serve this one";

/// Show the peers that are connected by IKEv2, end one, or give one new keys.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct SessionsCommand {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show all, a line each [default].
    #[command(after_help = EXAMPLES)]
    List,
    /// Show all that there is to say of one.
    #[command(after_help = EXAMPLES)]
    Show {
        /// The cluster's SPI, as the list has it.
        spi: String,
    },
    /// End one; the peer is told.
    #[command(after_help = EXAMPLES)]
    Terminate {
        /// The cluster's SPI, as the list has it.
        spi: String,
    },
    /// Give one new keys.
    #[command(after_help = EXAMPLES)]
    Rekey {
        /// The cluster's SPI, as the list has it.
        spi: String,
    },
}

pub(super) fn run(command: &SessionsCommand) -> ExitCode {
    match command.target.path().and_then(|socket| act(command, &socket)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(FAILED, error),
    }
}

fn act(command: &SessionsCommand, socket: &Path) -> Result<String, TargetError> {
    match &command.verb {
        None | Some(Verb::List) => {
            let sessions = sessions(socket)?;
            Ok(if command.json { json(&sessions) } else { list(&sessions) })
        }
        Some(Verb::Show { spi }) => {
            let sessions = sessions(socket)?;
            let Some(one) = sessions.iter().find(|session| session.spi == *spi) else {
                return Err(TargetError::Refused(404, "GET /sessions: it serves no such session"));
            };
            Ok(if command.json { json(one) } else { show(one) })
        }
        Some(Verb::Terminate { spi }) => order(socket, "terminate", spi),
        Some(Verb::Rekey { spi }) => order(socket, "rekey", spi),
    }
}

fn sessions(socket: &Path) -> Result<Vec<SessionStatus>, TargetError> {
    let answer = client::ask(socket, "GET", "/sessions")?;
    if answer.code != 200 {
        return Err(TargetError::Refused(answer.code, "GET /sessions"));
    }
    let said: SessionsAnswer = serde_json::from_slice(&answer.body)?;
    Ok(said.sessions)
}

fn order(socket: &Path, verb: &str, spi: &str) -> Result<String, TargetError> {
    // What is no SPI is refused by the member.
    let spi: String = spi.chars().filter(char::is_ascii_alphanumeric).collect();
    let answer = client::ask(socket, "POST", &format!("/sessions/{verb}?spi={spi}"))?;
    match answer.code {
        202 => Ok(String::new()),
        404 => Err(TargetError::Refused(404, "POST /sessions: it serves no such session")),
        code => Err(TargetError::Refused(code, "POST /sessions")),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn list(sessions: &[SessionStatus]) -> String {
    let heading = ["SPI", "PEER", "FROM", "ADDRESSES", "STATE", "AGE", "CHILDREN"].map(str::to_owned).to_vec();
    let row = |it: &SessionStatus| {
        let children: Vec<&str> = it.children.iter().map(|child| child.name.as_str()).collect();
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            it.spi.clone(),
            or_none(it.peer.clone()),
            it.remote.clone(),
            or_none(it.addresses.join(",")),
            it.state.clone(),
            format!("{}s", it.age_s),
            or_none(children.join(",")),
        ]
    };
    columns(&std::iter::once(heading).chain(sessions.iter().map(row)).collect::<Vec<_>>())
}

fn show(it: &SessionStatus) -> String {
    let mut rows = vec![
        ["spi", &it.spi].map(str::to_owned).to_vec(),
        ["connection", &it.connection].map(str::to_owned).to_vec(),
        ["peer", &it.peer].map(str::to_owned).to_vec(),
        ["from", &it.remote].map(str::to_owned).to_vec(),
        ["addresses", &it.addresses.join(", ")].map(str::to_owned).to_vec(),
        ["state", &it.state].map(str::to_owned).to_vec(),
        ["age", &format!("{} s", it.age_s)].map(str::to_owned).to_vec(),
        ["last heard", &format!("{} s ago", it.silent_s)].map(str::to_owned).to_vec(),
        ["ESP in UDP", if it.udp { "yes" } else { "no" }].map(str::to_owned).to_vec(),
    ];
    for child in &it.children {
        let counts = if child.esn { "64 bits" } else { "32 bits" };
        let mode = if child.transport { "transport mode, " } else { "" };
        let text = format!(
            "{}, {mode}numbers of {counts}, in {}, out {}, {} <-> {}, {} s old",
            child.esp,
            child.spi_in,
            child.spi_out,
            child.local_ts.join(", "),
            child.remote_ts.join(", "),
            child.age_s
        );
        rows.push(vec![format!("child {}", child.name), text]);
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ChildStatus;

    #[test]
    fn what_a_person_sees() {
        let session = SessionStatus {
            spi: "5a1b2c3d4e5f604d".into(),
            connection: "road".into(),
            peer: "alice@example.org".into(),
            remote: "192.0.2.9:4500".into(),
            addresses: vec!["10.99.0.5".into()],
            state: "established".into(),
            age_s: 61,
            silent_s: 2,
            udp: true,
            children: vec![ChildStatus { name: "lan".into(), esp: "aes128gcm16".into(), ..ChildStatus::default() }],
        };
        let opening = SessionStatus { spi: "01".into(), state: "opening".into(), ..SessionStatus::default() };
        let text = list(&[session.clone(), opening]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("SPI") && lines[0].ends_with("CHILDREN"));
        assert!(lines[1].contains("alice@example.org  192.0.2.9:4500  10.99.0.5  established  61s  lan"), "{text}");
        assert!(lines[2].starts_with("01") && lines[2].contains(" -  "), "{text}");
        let text = show(&session);
        assert!(text.contains("child lan") && text.contains("aes128gcm16, numbers of 32 bits"), "{text}");
        let again: SessionStatus = serde_json::from_str(&json(&session)).unwrap();
        assert_eq!(again, session);
    }
}
