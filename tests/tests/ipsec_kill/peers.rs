//! The peers: one charon in the client's namespace, a connection with an IKE SA and a child of its own for each tunnel, each from
//! an address of its own, as a peer of its own. And beside them guests that come and go: connections that are set up while
//! members die.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use phalanx_tests::lab::charon::{Auth, Charon, Child, Connection, IkeSa, Party};
use phalanx_tests::lab::process::Running;
use phalanx_tests::lab::{Lab, Outcome, clock, failure, stage};

const HOST: &str = "client";
const SECRET: &str = "a secret of the lab's hosts";
/// Connections that come and go have these numbers.
pub(crate) const FRESH: std::ops::Range<u8> = 50..53;
/// How long a peer may take for whatever it was told to do while a member dies: it asks again after 0.5 s, 0.75 s, ...
const PATIENCE: Duration = Duration::from_secs(20);
/// Peers ask whether the cluster lives when they have heard nothing for so long.
const DPD: Duration = Duration::from_secs(5);
/// Through each tunnel: a blackout is known to twenty milliseconds.
pub(crate) const PINGS_PER_S: u32 = 50;
/// Before the measured traffic, behind the members.
const URGENCY: u8 = 4;

/// What the members are told.
pub(crate) fn config() -> String {
    format!(
        "[[ipsec.connection]]\nname = \"branches\"\nlocal_id = \"gw.lab\"\npsk = \"{SECRET}\"\n\
         [[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.60.0.0/16\"]\n"
    )
}

/// The peer's end of a connection to the cluster.
pub(crate) fn connection(name: &str, child: &str, from: IpAddr, behind: &str) -> Connection {
    let psk = |id: &str| Party::new(id, Auth::Psk(SECRET.into()));
    Connection {
        local_address: Some(from),
        remote_address: Some(stage::cluster(false)),
        dpd_after: Some(DPD),
        mobike: false,
        ..Connection::new(name, psk(&format!("{name}.lab")), psk("gw.lab"), Child::tunnel(child, behind, "10.3.0.0/24"))
    }
}

/// What a rekeying changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Ike,
    Child,
}

/// The SPIs of a tunnel: whoever shakes hands again, or rekeys, has others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spis {
    ike: [u64; 2],
    child: (u32, u32),
}

/// Something that the peers were told to do.
pub(crate) struct Task {
    what: String,
    file: PathBuf,
}

/// All tunnels.
pub(crate) struct Peers {
    charon: Charon,
    tunnels: Vec<u8>,
    /// A shell in the peers' host: no program has to be started between an order and what it is to coincide with.
    shell: Running,
    dir: PathBuf,
    known: BTreeMap<u8, Spis>,
    tasks: u32,
}

fn tunnel_name(number: u8) -> String {
    format!("peer-{number}")
}

fn child_name(number: u8) -> String {
    format!("net-{number}")
}

/// The outside address of a tunnel's peer.
pub(crate) fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 2, 0, 100 + number).into()
}

/// The inside address of a tunnel's peer.
pub(crate) fn behind(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 60, 1, number).into()
}

impl Peers {
    /// Sets all tunnels up.
    pub(crate) fn connect(lab: &Lab, count: u8) -> Outcome<Self> {
        let tunnels: Vec<u8> = (1..=count).collect();
        let mut charon = Charon::in_namespace(lab, HOST)?;
        charon.hurry(lab, URGENCY)?;
        let numbers = || tunnels.iter().copied().chain(FRESH);
        let addresses: Vec<String> =
            numbers().map(|number| format!("ip address add {}/32 dev lo", behind(number))).collect();
        lab.run(HOST, &["sh", "-ec", &addresses.join("\n")])?;
        lab.run("server", &["ip", "route", "add", "10.60.0.0/16", "via", "10.3.0.10"])?;
        let connections: Vec<Connection> = numbers()
            .map(|number| {
                let behind = format!("{}/32", behind(number));
                connection(&tunnel_name(number), &child_name(number), address(number), &behind)
            })
            .collect();
        charon.load(lab, &connections.iter().collect::<Vec<_>>())?;
        let dir = lab.dir().join("tasks");
        std::fs::create_dir_all(&dir).map_err(failure)?;
        let shell = lab.start_in(HOST, &["sh"])?;
        let mut all = Self { charon, tunnels, shell, dir, known: BTreeMap::new(), tasks: 0 };
        for &number in &all.tunnels.clone() {
            let task = all.initiate(number, Duration::ZERO)?;
            all.await_tasks(&[task])?;
        }
        all.known = all.look(lab)?;
        Ok(all)
    }

    /// The numbers of all tunnels.
    pub(crate) fn tunnels(&self) -> &[u8] {
        &self.tunnels
    }

    /// The SPI by which a tunnel's peer sends: the cluster chose it, and it names the unit.
    pub(crate) fn spi(&self, number: u8) -> u32 {
        self.known[&number].child.1
    }

    // -- orders -------------------------------------------------------------------------------------------------------

    /// Tells a peer to connect, after so long.
    pub(crate) fn initiate(&mut self, number: u8, after: Duration) -> Outcome<Task> {
        let child = child_name(number);
        let words = ["--initiate", "--child", &child, "--timeout", &PATIENCE.as_secs().to_string()];
        let line = self.charon.command_line(&words);
        self.order(format!("peer {number} connects"), &line, after)
    }

    /// Tells a peer to rekey, after so long.
    pub(crate) fn rekey(&mut self, number: u8, what: What, after: Duration) -> Outcome<Task> {
        let line = match what {
            What::Ike => self.charon.command_line(&["--rekey", "--ike", &tunnel_name(number)]),
            What::Child => self.charon.command_line(&["--rekey", "--child", &child_name(number)]),
        };
        self.order(format!("peer {number} rekeys {what:?}"), &line, after)
    }

    fn order(&mut self, what: String, line: &str, after: Duration) -> Outcome<Task> {
        self.tasks += 1;
        let file = self.dir.join(self.tasks.to_string());
        let (path, wait) = (file.display(), after.as_secs_f64());
        self.shell.say(&format!(
            "( sleep {wait}; {line} >{path}.out 2>&1; echo $? >{path}.new; mv {path}.new {path} ) </dev/null &"
        ))?;
        Ok(Task { what, file })
    }

    /// Waits until all have been done, well.
    pub(crate) fn await_tasks(&self, tasks: &[Task]) -> Outcome<()> {
        for Task { what, file } in tasks {
            let ended = || std::fs::read_to_string(file).map_err(|_| failure(format!("{what}: it does not end")));
            let (code, _) = clock::until(PATIENCE * 2, Duration::from_millis(20), ended)?;
            if code.trim() != "0" {
                let said = std::fs::read_to_string(file.with_extension("out")).unwrap_or_default();
                return Err(failure(format!("{what}: {}", said.trim())));
            }
        }
        Ok(())
    }

    /// Takes a connection down.
    pub(crate) fn terminate(&self, lab: &Lab, number: u8) -> Outcome<()> {
        self.charon.terminate(lab, &tunnel_name(number))
    }

    /// Packets must go through a tunnel both ways.
    pub(crate) fn ping(lab: &Lab, number: u8) -> Outcome<()> {
        let (from, to) = (behind(number).to_string(), stage::server(false).to_string());
        lab.run(HOST, &["ping", "-n", "-q", "-c", "3", "-i", "0.02", "-W", "2", "-I", &from, &to]).map(drop)
    }

    // -- judgement ----------------------------------------------------------------------------------------------------

    /// Every tunnel must be as it was, but for what was rekeyed: that must have new SPIs. What is so now is remembered.
    pub(crate) fn check(&mut self, lab: &Lab, rekeyed: &BTreeSet<(u8, bool)>) -> Outcome<()> {
        let settled = clock::until(PATIENCE, Duration::from_millis(200), || {
            let now = self.look(lab)?;
            let problems: Vec<String> = self
                .known
                .iter()
                .filter_map(|(&number, &before)| {
                    let after = now[&number];
                    let asked = [What::Ike, What::Child].map(|what| rekeyed.contains(&(number, what == What::Ike)));
                    let is = [after.ike != before.ike, after.child != before.child];
                    (is != asked).then(|| format!("peer {number} was {before:x?} and is {after:x?}, asked: {asked:?}"))
                })
                .collect();
            if problems.is_empty() { Ok(now) } else { Err(failure(problems.join("; "))) }
        });
        match settled {
            Ok((now, _)) => {
                self.known = now;
                Ok(())
            }
            Err(problem) => {
                // From here on what is there now is what must stay: each fault is told once.
                self.known = self.look(lab)?;
                Err(problem)
            }
        }
    }

    /// The SPIs of all tunnels: each must have one IKE SA and one child.
    fn look(&self, lab: &Lab) -> Outcome<BTreeMap<u8, Spis>> {
        let mut found: BTreeMap<u8, Spis> = BTreeMap::new();
        for sa in self.charon.sas(lab)?.iter().filter(|sa| sa.is_up()) {
            let Some(number) = self.tunnels.iter().copied().find(|&number| tunnel_name(number) == sa.name) else {
                continue;
            };
            if let Some(other) = found.insert(number, spis(sa)?) {
                return Err(failure(format!("peer {number} has two IKE SAs: {other:x?} and {:x?}", sa.spis)));
            }
        }
        let missing: Vec<u8> = self.tunnels.iter().copied().filter(|number| !found.contains_key(number)).collect();
        if missing.is_empty() { Ok(found) } else { Err(failure(format!("these tunnels are lost: {missing:?}"))) }
    }

    /// What it counted: `ike-init-out-req`, ...
    pub(crate) fn counters(&self, lab: &Lab) -> Outcome<BTreeMap<String, u64>> {
        self.charon.counters(lab)
    }
}

fn spis(sa: &IkeSa) -> Outcome<Spis> {
    let child = sa.child()?;
    Ok(Spis { ike: sa.spis, child: (child.spi_in, child.spi_out) })
}
