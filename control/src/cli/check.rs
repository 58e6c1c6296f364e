//! `phalanx check`: is a configuration sound, and what follows from it?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use phalanx_config::{Cluster, Config, DeliveryMode, IkeConnection, Machine, Port};

use super::WRONG_USAGE;
use crate::ike::ike;
use crate::pki::{Identity, WallTime};
use crate::runtime::RunError;
use crate::tunnels::tunnels;

// The configuration knows no dataplane, so it has its own copy of this bound.
const _: () = assert!(phalanx_config::defaults::MEMBER_ID_MAX == phalanx_dataplane::unit::MEMBER_NUMBER_MAX);

const EXAMPLES: &str = "\
EXAMPLES
  phalanx check /etc/phalanx/m1.toml
  phalanx check m1.toml m2.toml m3.toml      also: do they belong to one cluster?

Each problem is told as FILE:LINE:COLUMN: what is wrong; what to do. Exit status 2 if there is any; warnings do not count.";

/// Check configurations and say what follows from them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckCommand {
    /// The configurations.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(command: &CheckCommand) -> ExitCode {
    let mut sound = Vec::new();
    let cores = crate::runtime::cores();
    for file in &command.files {
        match Config::load_on(file, &Machine { cores: &cores, runs_here: false }) {
            Ok(config) => {
                if let Err(error) = makes_sense(&config) {
                    eprintln!("{}: {error}", file.display());
                    continue;
                }
                let identity = identity(&config);
                if let Identified::Other(what) = &identity {
                    eprintln!("{}: {what}", file.display());
                    continue;
                }
                print!("{}", report(file, &config));
                if let Identified::Unknown(what) = identity {
                    println!("{}: warning: {what}", file.display());
                }
                sound.push((file, config));
            }
            Err(errors) => {
                for warning in &errors.warnings {
                    eprintln!("{warning}");
                }
                eprintln!("{errors}");
            }
        }
    }
    let disagreements = disagreements(&sound);
    for disagreement in &disagreements {
        eprintln!("{disagreement}");
    }
    if sound.len() == command.files.len() && disagreements.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WRONG_USAGE)
    }
}

/// What `phalanx run` would refuse beyond the file itself.
fn makes_sense(config: &Config) -> Result<(), RunError> {
    tunnels(config)?;
    // The key is for cookies of the members that run.
    ike(config, &[], &[])?;
    Ok(())
}

/// `FILE: ok`, what follows from the file, and its warnings.
fn report(file: &Path, config: &Config) -> String {
    let mut text = format!("{}: ok\n", file.display());
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<11}{value}");
    };
    let (cluster, member) = (&config.cluster, &config.member);
    line("member", format!("{} (number {}) of cluster {:?}", member.name, member.id, cluster.name));
    line("delivery", delivery(cluster));
    line("filter", cluster.scheme.to_string());
    line("detection", detection(cluster));
    line("quorum", format!("{}; replicas {}", cluster.quorum, cluster.replicas));
    line("link", format!("{} {}, group {}", config.link.interface, config.link.address, config.link.group));
    for port in &config.ports {
        line("port", describe(port));
    }
    for route in &config.routes {
        let by = config.ports.get(route.port).map_or("?", |port| port.name.as_str());
        let via = route.via.map_or_else(|| "on-link".to_owned(), |via| format!("via {via}"));
        line("route", format!("{} {via} by {by}", route.to));
    }
    for relay in &config.relays {
        line("relay", format!("{} at {} to {}", relay.name, relay.listen, listed(&relay.backends)));
    }
    for sa in &config.static_sas {
        let (local, remote) = (listed(&sa.local_ts), listed(&sa.remote_ts));
        line("tunnel", format!("{} to {}, {} {}: {local} and {remote}", sa.name, sa.remote, sa.protocol, sa.transform));
    }
    for connection in &config.ike_connections {
        line("connection", negotiated(connection));
    }
    for pool in &config.pools {
        line("pool", format!("{} {}, {} shares", pool.name, pool.network, pool.shares));
    }
    let cores = &config.workers.cores;
    let placed = if cores.is_empty() { "placed by the scheduler".to_owned() } else { format!("on cores {cores:?}") };
    line("workers", format!("{} {placed}, idle {}", config.workers.count(), config.workers.idle));
    line("buffers", config.limits.mbufs.to_string());
    line("digest", config.digest().iter().take(8).map(|byte| format!("{byte:02x}")).collect());
    for warning in &config.warnings {
        let _ = writeln!(text, "{warning}");
    }
    text
}

fn listed<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Who may negotiate what: `road: anyone from anywhere; lan: 10.3.0.0/24 and its own address`.
fn negotiated(connection: &IkeConnection) -> String {
    let or = |list: String, if_empty: &str| if list.is_empty() { if_empty.to_owned() } else { list };
    let who = connection.remote_id.as_deref().unwrap_or("anyone");
    let from = or(listed(&connection.remote), "anywhere");
    let mut text = format!("{}: {who} from {from}", connection.name);
    for child in &connection.children {
        let remote = or(listed(&child.remote_ts), "its own address");
        let local = or(listed(&child.local_ts), "ours, in transport mode");
        // Writing to a String cannot fail.
        let _ = write!(text, "; {}: {local} and {remote}", child.name);
    }
    text
}

/// How the member's certificate and its configuration go together.
enum Identified {
    /// They name the same member.
    Same,
    /// The certificate cannot be judged here and now: it is not made yet, or not readable for this user.
    Unknown(String),
    /// They name different members: `phalanx run` would refuse.
    Other(String),
}

fn identity(config: &Config) -> Identified {
    let (member, path) = (&config.member, config.member.identity.display());
    if !member.identity.exists() {
        return Identified::Unknown(format!("there is no {path} yet; make it with `phalanx ca issue`"));
    }
    let identity = match Identity::load(&member.identity, WallTime::read_clock()) {
        Ok(identity) => identity,
        Err(error) => return Identified::Unknown(format!("{path}: {error}")),
    };
    let certified = (identity.member().number(), identity.name().to_string(), identity.cluster().to_string());
    let configured = (member.id.get(), member.name.clone(), config.cluster.name.clone());
    if certified == configured {
        return Identified::Same;
    }
    let tell = |(id, name, cluster): (u8, String, String)| format!("{name} (number {id}) of cluster {cluster}");
    Identified::Other(format!(
        "this is {}, but {path} was issued to {}; correct one of them",
        tell(configured),
        tell(certified)
    ))
}

fn delivery(cluster: &Cluster) -> String {
    let how = match cluster.mode {
        DeliveryMode::Forward => "the master passes packets on",
        DeliveryMode::Unicast | DeliveryMode::Multicast => "every member sees every packet",
    };
    let mac = cluster.shared_mac().map(|mac| format!(", shared address {mac}")).unwrap_or_default();
    format!("{}: {how}{mac}", cluster.mode)
}

/// The three times of DESIGN section 6, in the order that keeps two owners apart.
fn detection(cluster: &Cluster) -> String {
    let (timing, n) = (&cluster.timing, cluster.timing.losses_min);
    format!(
        "{n} × {}: a death is noticed after {}, a lease lapses after {}, units are given away after {}",
        ms(timing.period),
        ms(timing.detection(n)),
        ms(timing.lease(n)),
        ms(timing.reassignment(n)),
    )
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_nanos() as f64 / 1e6)
}

fn describe(port: &Port) -> String {
    let list = |addresses: &[phalanx_config::IpNet]| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
    };
    let vlan = port.vlan.map(|vlan| format!(" VLAN {vlan}")).unwrap_or_default();
    format!(
        "{} ({}{vlan}, {}, MTU {}): cluster {}; own {}",
        port.name,
        port.role,
        port.device,
        port.mtu,
        list(&port.cluster_addresses),
        list(&port.unit_addresses)
    )
}

/// Files of one cluster (by name) must agree, and each member and address of its own must be there once.
fn disagreements(configs: &[(&PathBuf, Config)]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (file, config)) in configs.iter().enumerate() {
        for (other_file, other) in configs.iter().take(index) {
            if other.cluster.name != config.cluster.name {
                continue;
            }
            let mut clash = |what: String| found.push(format!("{}: {what} {}", file.display(), other_file.display()));
            if other.digest() != config.digest() {
                clash("[cluster] or the ports' shared side differs; make it the same as in".to_owned());
            }
            if other.member.id == config.member.id || other.member.name == config.member.name {
                clash("has the same member name or number; change one of it and".to_owned());
            }
            if other.link.address.ip() == config.link.address.ip() {
                clash(format!("has the link address {}; change one of it and", config.link.address));
            }
            let owned =
                |config: &Config, ip| config.ports.iter().flat_map(|p| &p.unit_addresses).any(|a| a.addr() == ip);
            for address in config.ports.iter().flat_map(|port| &port.unit_addresses) {
                if owned(other, address.addr()) {
                    clash(format!("has the unit address {}; change one of it and", address.addr()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use phalanx_dataplane::unit::MemberId;

    use super::*;
    use crate::pki::{Authority, write_secret};

    const EXAMPLE: &str = include_str!("../../../config/examples/unicast.toml");

    fn config(text: &str) -> Config {
        Config::from_str(text, "m1.toml").unwrap()
    }

    #[test]
    fn says_what_follows() {
        let text = report(Path::new("m1.toml"), &config(EXAMPLE));
        for part in [
            "m1.toml: ok\n",
            "shared address 02:50:48:00:00:04",
            "noticed after 9 ms",
            "lapses after 12.75 ms",
            "0.0.0.0/0 via 192.0.2.254 by outside0",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn says_who_may_negotiate_what() {
        let text = report(Path::new("m1.toml"), &config(include_str!("../../../config/examples/road.toml")));
        for part in [
            "branch: branch.example.org from 192.0.2.9/32; lan: 10.3.0.0/24 and 10.9.0.0/24\n",
            "road: anyone from anywhere; lan: 10.3.0.0/24 and its own address\n",
            "roadwarriors 10.99.0.0/16, 4 shares\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("change me"), "a key is shown: {text}");
    }

    #[test]
    fn a_certificate_is_for_one_member() {
        let folder = tempfile::tempdir().unwrap();
        let now = WallTime::read_clock();
        let cluster = "edge".parse().unwrap();
        let mut ca = Authority::init(&folder.path().join("ca"), &cluster, now).unwrap();
        let issued = ca.issue(&"m1".parse().unwrap(), MemberId::new(1).unwrap(), 10, now).unwrap();
        write_secret(&folder.path().join("m1.pem"), issued.bundle.as_bytes()).unwrap();
        let read = |text: &str| {
            let path = folder.path().join("m1.toml").display().to_string();
            identity(&Config::from_str(&text.replace("/etc/phalanx/m1.pem", "m1.pem"), &path).unwrap())
        };
        assert!(matches!(read(EXAMPLE), Identified::Same));
        let Identified::Other(what) = read(&EXAMPLE.replace("id = 1", "id = 2")) else { panic!("accepted") };
        assert!(what.contains("m1 (number 2)") && what.contains("issued to m1 (number 1) of cluster edge"), "{what}");
        assert!(matches!(read(&EXAMPLE.replace("m1.pem", "m9.pem")), Identified::Unknown(_)));
    }

    #[test]
    fn files_of_one_cluster_are_held_together() {
        let (first, second) = (PathBuf::from("m1.toml"), PathBuf::from("m2.toml"));
        let found = disagreements(&[(&first, config(EXAMPLE)), (&second, config(EXAMPLE))]);
        assert_eq!(found.len(), 4, "{found:?}");
        let other = EXAMPLE
            .replace("name = \"m1\"\nid = 1", "name = \"m2\"\nid = 2")
            .replace(".1/24", ".2/24")
            .replace("10.9.0.1", "10.9.0.2");
        assert_eq!(disagreements(&[(&first, config(EXAMPLE)), (&second, config(&other))]), [""; 0]);
        let differing = other.replace("losses_min = 3", "losses_min = 4");
        assert_eq!(disagreements(&[(&first, config(EXAMPLE)), (&second, config(&differing))]).len(), 1);
    }
}
