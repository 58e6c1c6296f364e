//! `phalanx unit`: a flow's work unit, and who owns it.
//!
//! The unit stands alone on the first line. Whoever knows the cluster's scheme and key can tell it: a running member, which
//! is asked over its control socket and names owner and backups too; or this command itself, with the key from the identity
//! bundle that a member's configuration names. The classic scheme has no key. Where none of these helps there is no answer:
//! a unit by some other key would be a wrong one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use phalanx_config::Config;
use phalanx_dataplane::filter::{Filter, Flow, Scheme};
use serde::Serialize;

use crate::envelope::steered_key;
use crate::pki::{Identity, WallTime};
use crate::status::{MemberName, UnitAnswer, UnitQuestion};
use crate::tunnels::unit_of_flow;

use super::target::{self, Target};
use super::{FAILED, WRONG_USAGE, failed};

const EXAMPLES: &str = "\
WHOSE UNIT
  A running member computes it with the cluster's own scheme and key. It is found by --socket, by --config,
  or as the only one in /run/phalanx. `owner NUMBER NAME` and `backups NUMBER NAME, ...` follow the unit.
  With --config, and that member not running, the unit is computed here with the key in its identity bundle.
  --scheme classic needs no key, and asks a member only if one is named.
  Otherwise there is no answer: the steered scheme is keyed, and without the key nobody can tell the unit.

EXAMPLES
  phalanx unit tcp '[2001:db8::7]:4711' '[2001:db8:2::10]:443' --socket /run/phalanx/m1.sock --json
  phalanx unit --forwarding udp 192.0.2.7 10.3.0.100 --config /etc/phalanx/m1.toml
  phalanx unit --scheme classic tcp 192.0.2.7:4711 192.0.2.10:443

EXIT STATUS
  0  the unit is on the first line
  1  the member that was named does not answer; if the unit is on the first line all the same, it is right
  2  not a flow, or nothing says which cluster's unit is meant";

/// The scheme, as the command line names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SchemeName {
    /// The patent's function.
    Classic,
    /// The keyed one.
    Steered,
}

impl SchemeName {
    /// The word in answers.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Steered => "steered",
        }
    }
}

/// Print a flow's work unit and, with a running cluster, its owner and backups.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct UnitCommand {
    /// The filter [default: the cluster's].
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

/// What was found out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    unit: u16,
    scheme: Scheme,
    /// Owner and backups, if a member said them.
    keepers: Option<(Option<MemberName>, Vec<MemberName>)>,
    /// What went wrong though the unit is right.
    trouble: Option<String>,
}

/// Nothing was found out: exit code and reason.
type Failure = (u8, String);

/// The JSON answer; without a cluster there are no owner and backups.
#[derive(Serialize)]
struct Shown {
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
    let found = match find(command, &flow, target::socket_folder()) {
        Ok(found) => found,
        Err((code, what)) => return failed(code, what),
    };
    if found.scheme == Scheme::Steered && !command.forwarding && flow.carries_unit() {
        eprintln!(
            "phalanx: note: such packets carry their unit in an identifier (SPI, tunnel ID); this is that of one without"
        );
    }
    print!("{}", render(&found, command.json));
    match found.trouble {
        None => ExitCode::SUCCESS,
        // Scripts that only want the unit have it.
        Some(what) => failed(FAILED, what),
    }
}

/// Asks whoever can tell.
fn find(command: &UnitCommand, flow: &Flow, folder: &Path) -> Result<Found, Failure> {
    let config = command.target.configuration().map_err(|error| (WRONG_USAGE, error.to_string()))?;
    let local = || local(command, config.as_ref(), flow);
    let Some(socket) = socket(command, config.as_ref(), folder)? else { return local() };
    let question = UnitQuestion {
        proto: command.protocol.clone(),
        src: command.source.clone(),
        dst: command.destination.clone(),
        forwarding: command.forwarding,
    };
    match target::unit(&socket, &question) {
        Ok(answer) => match command.scheme {
            // What if the cluster had another scheme? Its units would have other owners too.
            Some(scheme) if scheme.as_str() != answer.scheme => local(),
            _ => Ok(answer.into()),
        },
        Err(error) => match local() {
            Ok(found) => Ok(Found { trouble: Some(error.to_string()), ..found }),
            Err(_) => Err((FAILED, error.to_string())),
        },
    }
}

/// The member to ask, if there is one: as named, by the configuration if it runs, or the only one here.
fn socket(command: &UnitCommand, config: Option<&Config>, folder: &Path) -> Result<Option<PathBuf>, Failure> {
    match (&command.target.socket, config, command.scheme) {
        (Some(socket), ..) => Ok(Some(socket.clone())),
        (None, Some(config), _) => Ok(Some(config.management.socket.clone()).filter(|socket| socket.exists())),
        (None, None, Some(SchemeName::Classic)) => Ok(None),
        (None, None, _) => target::only_socket(folder).map(Some).map_err(|error| {
            let what = format!(
                "the steered scheme's units depend on the cluster's key: give --config FILE, --socket PATH of a running \
                 member, or --scheme classic ({error})"
            );
            (WRONG_USAGE, what)
        }),
    }
}

/// Computes the unit here.
fn local(command: &UnitCommand, config: Option<&Config>, flow: &Flow) -> Result<Found, Failure> {
    let filter = match (command.scheme, config.map(|config| (config, config.cluster.scheme))) {
        (Some(SchemeName::Classic), _) | (None, Some((_, phalanx_config::Scheme::Classic))) => {
            Filter::new(Scheme::Classic, [0; 16])
        }
        (_, Some((config, _))) => Filter::new(Scheme::Steered, key_of(config).map_err(|error| (FAILED, error))?),
        (_, None) => {
            let what = "the member that answers does not have the steered scheme, whose key is in a member's identity: \
                        give --config FILE, or leave out --scheme";
            return Err((WRONG_USAGE, what.to_owned()));
        }
    };
    let unit = unit_of_flow(config, &filter, flow, command.forwarding).number();
    Ok(Found { unit, scheme: filter.scheme(), keepers: None, trouble: None })
}

/// The key that the cluster of this configuration filters with.
fn key_of(config: &Config) -> Result<[u8; 16], String> {
    let path = &config.member.identity;
    match Identity::load(path, WallTime::read_clock()) {
        Ok(identity) => Ok(steered_key(identity.secret())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

impl From<UnitAnswer> for Found {
    fn from(answer: UnitAnswer) -> Self {
        let classic = answer.scheme == SchemeName::Classic.as_str();
        let scheme = if classic { Scheme::Classic } else { Scheme::Steered };
        Self { unit: answer.unit, scheme, keepers: Some((answer.owner, answer.backups)), trouble: None }
    }
}

fn render(found: &Found, json: bool) -> String {
    if json {
        let owner = found.keepers.as_ref().and_then(|(owner, _)| owner.as_ref()).map(|owner| owner.id);
        let backups = found.keepers.as_ref().map(|(_, backups)| backups.iter().map(|backup| backup.id).collect());
        return serde_json::to_string(&Shown { unit: found.unit, owner, backups }).unwrap_or_default() + "\n";
    }
    let mut text = format!("{}\n", found.unit);
    if let Some((owner, backups)) = &found.keepers {
        let word = |member: &MemberName| format!("{} {}", member.id, member.name);
        let backups: Vec<String> = backups.iter().map(word).collect();
        text += &format!("owner {}\n", owner.as_ref().map_or_else(|| "none".to_owned(), word));
        text += &format!("backups {}\n", if backups.is_empty() { "none".to_owned() } else { backups.join(", ") });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: UnitCommand,
    }

    /// Runs a command line in a world whose sockets are in `folder`.
    fn found(folder: &Path, line: &[&str]) -> Result<Found, Failure> {
        let words = ["unit"].iter().chain(line).chain(&["--forwarding", "icmp", "192.0.2.7", "10.3.0.100"]);
        let command = Line::parse_from(words).command;
        let flow = Flow::parse(&command.protocol, &command.source, &command.destination).unwrap();
        find(&command, &flow, folder)
    }

    fn name(id: u8) -> MemberName {
        MemberName { id, name: format!("m{id}") }
    }

    /// A member that answers once, and hands back what it was asked.
    fn member(socket: &Path, scheme: &str) -> std::thread::JoinHandle<String> {
        let answer =
            UnitAnswer { unit: 17, scheme: scheme.to_owned(), owner: Some(name(2)), backups: vec![name(1), name(3)] };
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            let body = serde_json::to_string(&answer).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            String::from_utf8_lossy(&asked[..length]).lines().next().unwrap_or_default().to_owned()
        })
    }

    /// What the patent's fold makes of the flow.
    fn folded() -> u16 {
        let k = 0xc000_0207_u32 ^ 0x0a03_0064;
        u16::try_from((k ^ (k >> 10) ^ (k >> 20) ^ (k >> 30)) & 1023).unwrap()
    }

    #[test]
    fn the_only_running_member_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let asked = member(&folder.path().join("m1.sock"), "steered");
        let found = found(folder.path(), &[]).unwrap();
        assert_eq!(asked.join().unwrap(), "GET /unit?proto=icmp&src=192.0.2.7&dst=10.3.0.100&forwarding=true HTTP/1.1");
        assert_eq!(found.scheme, Scheme::Steered);
        assert_eq!(render(&found, false), "17\nowner 2 m2\nbackups 1 m1, 3 m3\n");
        assert_eq!(render(&found, true), "{\"unit\":17,\"owner\":2,\"backups\":[1,3]}\n");
    }

    #[test]
    fn the_member_that_is_named_is_asked_whatever_its_scheme() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("named.sock");
        let asked = member(&socket, "classic");
        let found = found(Path::new("/nowhere"), &["--socket", socket.to_str().unwrap()]).unwrap();
        asked.join().unwrap();
        assert_eq!((found.unit, found.scheme, found.trouble), (17, Scheme::Classic, None));
    }

    #[test]
    fn without_a_key_there_is_no_steered_unit() {
        let folder = tempfile::tempdir().unwrap();
        for line in [&[][..], &["--scheme", "steered"]] {
            let (code, what) = found(folder.path(), line).unwrap_err();
            assert_eq!(code, WRONG_USAGE, "{what}");
            for way in ["--config", "--socket", "--scheme classic"] {
                assert!(what.contains(way), "{what}");
            }
        }
        // A member that was named and does not answer is another matter.
        let (code, what) = found(folder.path(), &["--socket", "/nowhere/m1.sock"]).unwrap_err();
        assert!(code == FAILED && what.contains("/nowhere/m1.sock"), "{what}");
    }

    #[test]
    fn classic_is_the_patents_fold_and_needs_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let alone = found(folder.path(), &["--scheme", "classic"]).unwrap();
        assert_eq!((alone.unit, alone.trouble.as_deref()), (folded(), None));
        assert_eq!(render(&alone, false), format!("{}\n", folded()));
        assert_eq!(render(&alone, true), format!("{{\"unit\":{}}}\n", folded()));
        let silent = found(folder.path(), &["--scheme", "classic", "--socket", "/nowhere/m1.sock"]).unwrap();
        assert!(silent.unit == folded() && silent.trouble.is_some(), "{silent:?}");
    }

    #[test]
    fn another_scheme_than_the_clusters_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("m1.sock");
        let line = |scheme| ["--scheme", scheme, "--socket", socket.to_str().unwrap()];
        let asked = member(&socket, "steered");
        let classic = found(folder.path(), &line("classic")).unwrap();
        asked.join().unwrap();
        assert_eq!((classic.unit, classic.keepers), (folded(), None));
        std::fs::remove_file(&socket).unwrap();
        let asked = member(&socket, "classic");
        assert_eq!(found(folder.path(), &line("steered")).unwrap_err().0, WRONG_USAGE);
        asked.join().unwrap();
    }
}
