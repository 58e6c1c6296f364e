//! One lab, from `up` to `down`, by way of `scripts/lab`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use phalanx_control::status::Status;
use serde_json::Value;

use super::member::Member;
use super::process::{self, Running};
use super::{Outcome, clock, failure, health};

/// Labs of these suites are named so, with the PID of the test process: those of a dead one are cleared away.
const PREFIX: &str = "suite-";
/// How many of the client's addresses are looked at for a flow of every owner.
const CANDIDATES: u8 = 40;

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// forward, unicast or multicast.
    pub mode: &'static str,
    /// none or majority.
    pub quorum: &'static str,
    /// How many members.
    pub members: u8,
    /// TOML, merged into every member's configuration.
    pub config: Option<String>,
}

impl Plan {
    /// Three members.
    pub fn new(mode: &'static str, quorum: &'static str) -> Self {
        Self { mode, quorum, members: 3, config: None }
    }
}

/// How fast a lab's members are configured to notice a death.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// From one keepalive to the next.
    pub period_ms: f64,
    /// So many lost in a row condemn a member, unless the cluster has adapted n to a lossy network.
    pub losses_min: f64,
}

impl Timing {
    /// The configured detection time.
    pub fn detection_ms(&self) -> f64 {
        self.period_ms * self.losses_min
    }

    /// As the tool wrote it down.
    fn of(dir: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(dir.join("lab.json")).map_err(failure)?;
        let facts: Value = serde_json::from_str(&text).map_err(failure)?;
        match (facts["period_ms"].as_f64(), facts["losses_min"].as_f64()) {
            (Some(period_ms), Some(losses_min)) => Ok(Self { period_ms, losses_min }),
            _ => Err(failure(format!("the lab does not say how it is timed: {facts}"))),
        }
    }
}

/// A lab that is up. It ends with this value; if the test is failing, logs and captures are kept.
pub struct Lab {
    name: String,
    /// What it is like.
    pub plan: Plan,
    /// How it is timed.
    pub timing: Timing,
    /// All members, running or not.
    pub members: Vec<Member>,
    /// The numbers of those that run and are not paused.
    awake: BTreeSet<u8>,
    keep_logs: bool,
}

impl Lab {
    /// Builds a lab and waits until its members are one cluster.
    pub fn up(plan: Plan) -> Outcome<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        need_root()?;
        clear_dead_labs();
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new("/run/phalanx-lab").join(&name);
        let members = (1..=plan.members).map(|id| Member { id, dir: dir.join(format!("m{id}")) }).collect();
        let awake = (1..=plan.members).collect();
        let timing = Timing { period_ms: 0.0, losses_min: 0.0 };
        let mut lab = Self { name, plan, timing, members, awake, keep_logs: false };
        let mut words = vec!["up".to_owned(), "--mode".into(), lab.plan.mode.into(), "--quorum".into()];
        words.extend([lab.plan.quorum.to_owned(), "--members".into(), lab.plan.members.to_string()]);
        let extra = std::env::temp_dir().join(format!("{}.toml", lab.name));
        if let Some(config) = &lab.plan.config {
            std::fs::write(&extra, config).map_err(failure)?;
            words.extend(["--config".to_owned(), extra.display().to_string()]);
        }
        let done = lab.call(&words);
        let _ = std::fs::remove_file(&extra);
        done?;
        lab.timing = Timing::of(&dir)?;
        Ok(lab)
    }

    /// What the tool calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the lab's files are.
    pub fn dir(&self) -> PathBuf {
        Path::new("/run/phalanx-lab").join(&self.name)
    }

    /// Logs and captures are to be kept when the lab ends.
    pub fn keep_logs(&mut self) {
        self.keep_logs = true;
    }

    /// The tool, with words for it.
    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(tool());
        command.args(["--name", &self.name]).args(words);
        command
    }

    /// Runs the tool to its end; its standard output.
    pub fn call(&self, words: &[impl AsRef<str>]) -> Outcome<String> {
        let words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let done = self.command(&words).stdin(Stdio::null()).output().map_err(failure)?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(failure(format!("lab {}: {}", words.join(" "), said.trim())));
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Runs a command in a host or member's namespace, whatever becomes of it.
    pub fn exec(&self, host: &str, argv: &[&str]) -> Outcome<Output> {
        self.command_in(host, argv).stdin(Stdio::null()).output().map_err(failure)
    }

    /// Runs a command in a host or member's namespace to its good end; its standard output.
    pub fn run(&self, host: &str, argv: &[&str]) -> Outcome<String> {
        let done = self.exec(host, argv)?;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() {
            return Err(failure(format!("{host}: {}: {}{}", argv.join(" "), out.trim(), err.trim())));
        }
        Ok(out.into_owned())
    }

    /// A command in a host, for whenever it is wanted.
    pub fn command_in(&self, host: &str, argv: &[&str]) -> Command {
        let words = [&["exec", host, "--"], argv].concat();
        self.command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    /// Starts a command in a host.
    pub fn start_in(&self, host: &str, argv: &[&str]) -> Outcome<Running> {
        Running::start(self.command_in(host, argv), &format!("{} in {host}", argv.first().unwrap_or(&"nothing")))
    }

    /// Starts a capture; a lazy one writes once in a while, which spares the processors.
    pub fn start_capture(
        &self,
        host: &str,
        interface: &str,
        file: &Path,
        filter: &str,
        lazy: bool,
    ) -> Outcome<Running> {
        let file = file.display().to_string();
        let mut words =
            ["capture", host, &file, "--interface", interface, "--filter", filter].map(str::to_owned).to_vec();
        if lazy {
            words.push("--lazy".to_owned());
        }
        let mut command = self.command(&words);
        command.stderr(Stdio::null());
        Running::start(command, "the capture")
    }

    // -- members ------------------------------------------------------------------------------------------------------

    /// A member by its number.
    pub fn member(&self, id: u8) -> &Member {
        &self.members[usize::from(id) - 1]
    }

    /// start, stop, kill, pause or resume.
    pub fn act(&mut self, verb: &str, id: u8) -> Outcome<()> {
        if !matches!(verb, "start" | "resume") {
            self.awake.remove(&id);
        }
        self.call(&["member", verb, &format!("m{id}")])?;
        if matches!(verb, "start" | "resume") {
            self.awake.insert(id);
        }
        Ok(())
    }

    /// kill -9 in an instant, without a tool in between; the moment, as the machine counts.
    pub fn kill_at(&mut self, id: u8, pid: u32) -> Outcome<u64> {
        self.awake.remove(&id);
        let at_us = clock::machine_us();
        process::signal(pid, "KILL")?;
        Ok(at_us)
    }

    /// A member has ended by itself, as it should.
    pub fn forget(&mut self, id: u8) {
        self.awake.remove(&id);
    }

    /// A member counts again.
    pub fn remember(&mut self, id: u8) {
        self.awake.insert(id);
    }

    /// `phalanx drain`; returns when the member has left and ended by itself.
    pub fn drain(&mut self, id: u8) -> Outcome<()> {
        let done = Command::new(phalanx())
            .args(["drain", "--timeout", "20", "--socket"])
            .arg(self.member(id).socket())
            .output();
        let done = done.map_err(failure)?;
        if !done.status.success() {
            return Err(failure(format!("phalanx drain m{id}: {}", String::from_utf8_lossy(&done.stderr).trim())));
        }
        self.awake.remove(&id);
        let limit = Duration::from_secs(15);
        let ended = clock::until(limit, Duration::from_millis(100), || match self.process(id)?["process"].as_str() {
            Some("exited") => Ok(()),
            other => Err(failure(format!("m{id} was drained and is {other:?}"))),
        });
        ended.map(drop)
    }

    /// Which members run and are not paused.
    pub fn awake(&self) -> &BTreeSet<u8> {
        &self.awake
    }

    /// The word of each member that is awake.
    pub fn reports(&self) -> Outcome<Vec<Status>> {
        self.awake.iter().map(|&id| self.member(id).status()).collect()
    }

    /// The sum of all metrics whose line begins so, over the members that are awake.
    pub fn total(&self, beginning: &str) -> Outcome<f64> {
        let samples = self.awake.iter().map(|&id| self.member(id).samples(beginning));
        Ok(samples.collect::<Outcome<Vec<_>>>()?.into_iter().flatten().sum())
    }

    /// The metrics of all members that are awake, one after the other.
    pub fn metrics_of_all(&self) -> Outcome<String> {
        self.awake.iter().map(|&id| self.member(id).metrics()).collect()
    }

    /// The master's number, if those that are awake are one whole cluster.
    pub fn healthy(&self) -> Outcome<u8> {
        health::agreed(&self.reports()?)
    }

    /// Waits until those that are awake are one whole cluster; how long that took.
    pub fn await_healthy(&self, limit: Duration) -> Outcome<Duration> {
        Ok(clock::until(limit, Duration::from_millis(10), || self.healthy())?.1)
    }

    /// What the tool knows of a member: `process`, `pid`, `exit`.
    pub fn process(&self, id: u8) -> Outcome<Value> {
        let status: Value = serde_json::from_str(&self.call(&["status", "--json"])?).map_err(failure)?;
        Ok(status["members"][usize::from(id) - 1].clone())
    }

    /// A member's PID, as this process sees it.
    pub fn pid(&self, id: u8) -> Outcome<u32> {
        let process = self.process(id)?;
        let pid = process["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.ok_or_else(|| failure(format!("m{id} does not run: {process}")))
    }

    // -- links --------------------------------------------------------------------------------------------------------

    /// Cuts a member's port.
    pub fn cut(&self, id: u8, port: &str, direction: &str, loss: u8) -> Outcome<()> {
        self.call(&["link", "cut", &format!("m{id}"), port, "--direction", direction, "--loss", &loss.to_string()])?;
        Ok(())
    }

    /// Ends all cuts of a member's port.
    pub fn heal(&self, id: u8, port: &str) -> Outcome<()> {
        self.call(&["link", "heal", &format!("m{id}"), port])?;
        Ok(())
    }

    /// Tears all three LANs in two: no frame passes between a port of `here` and one of `there`. Names are members (m1) and
    /// hosts; those in neither list stay connected with everyone.
    pub fn split(&self, here: &[&str], there: &[&str]) -> Outcome<()> {
        let mut rules =
            String::from("table bridge split {\n chain f { type filter hook forward priority 0; policy accept;\n");
        for (one, other) in here.iter().flat_map(|one| there.iter().map(move |other| (one, other))) {
            for (from, to) in [(one, other), (other, one)] {
                let _ = writeln!(rules, "  iifname \"{from}-*\" oifname \"{to}-*\" counter drop");
            }
        }
        rules.push_str(" }\n}\n");
        let file = self.dir().join("split.nft");
        std::fs::write(&file, rules).map_err(failure)?;
        self.run("switch", &["nft", "-f", &file.display().to_string()])?;
        Ok(())
    }

    /// Ends a split.
    pub fn unsplit(&self) -> Outcome<()> {
        self.run("switch", &["nft", "delete", "table", "bridge", "split"])?;
        Ok(())
    }

    // -- flows --------------------------------------------------------------------------------------------------------

    /// The owner of forwarded traffic between two addresses, by the word of a member that is awake. The balance may
    /// give its unit to another member at any time.
    pub fn owner(&self, source: IpAddr, destination: IpAddr) -> Outcome<u8> {
        let answer = self.filtered(source, destination)?;
        let owner = answer["owner"].as_u64().and_then(|owner| u8::try_from(owner).ok());
        owner.ok_or_else(|| failure(format!("nobody owns {source} -> {destination}: {answer}")))
    }

    /// The unit of forwarded traffic between two addresses: that stays.
    pub fn unit(&self, source: IpAddr, destination: IpAddr) -> Outcome<u64> {
        let answer = self.filtered(source, destination)?;
        answer["unit"].as_u64().ok_or_else(|| failure(format!("{source} -> {destination} has no unit: {answer}")))
    }

    /// What `phalanx unit` says of forwarded traffic between two addresses.
    fn filtered(&self, source: IpAddr, destination: IpAddr) -> Outcome<Value> {
        let id = *self.awake.first().ok_or_else(|| failure("no member is awake"))?;
        let member = self.member(id);
        let done = Command::new(phalanx())
            .args(["unit", "--forwarding", "--json", "icmp", &source.to_string(), &destination.to_string(), "--config"])
            .arg(member.config())
            .arg("--socket")
            .arg(member.socket())
            .output()
            .map_err(failure)?;
        serde_json::from_slice(&done.stdout).map_err(|error| {
            failure(format!("phalanx unit: {error}: {}", String::from_utf8_lossy(&done.stderr).trim()))
        })
    }

    /// One of the client's addresses for each owner, so that every member's fate is felt.
    pub fn flow_of_each_owner(&self, v6: bool) -> Outcome<BTreeMap<u8, IpAddr>> {
        let address = |n: u8| if v6 { format!("fd00:2::{n}") } else { format!("10.2.0.{n}") };
        let server: IpAddr = server(v6);
        let mut flows = BTreeMap::new();
        for n in 100..100 + CANDIDATES {
            let source: IpAddr = address(n).parse().map_err(failure)?;
            flows.entry(self.owner(source, server)?).or_insert(source);
            if flows.len() == self.awake.len() {
                break;
            }
        }
        Ok(flows)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut words = vec!["down".to_owned()];
        if self.keep_logs || std::thread::panicking() {
            let saved = target_dir().join("lab-logs").join(&self.name);
            eprintln!("lab {}: logs and captures are in {}", self.name, saved.display());
            words.extend(["--save".to_owned(), saved.display().to_string()]);
        }
        if let Err(problem) = self.call(&words) {
            eprintln!("{problem}");
        }
    }
}

/// The server's first address.
pub fn server(v6: bool) -> IpAddr {
    if v6 { IpAddr::from([0xfd00, 3, 0, 0, 0, 0, 0, 0x100]) } else { IpAddr::from([10, 3, 0, 100]) }
}

/// The cluster's outside address.
pub fn cluster(v6: bool) -> IpAddr {
    if v6 { IpAddr::from([0xfd00, 2, 0, 0, 0, 0, 0, 0x10]) } else { IpAddr::from([10, 2, 0, 10]) }
}

/// `scripts/lab`.
pub fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab")
}

/// Where cargo builds: this program lies in TARGET/PROFILE/deps.
pub fn target_dir() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

/// The binary under test, as scripts/lab finds it.
pub fn phalanx() -> PathBuf {
    let named = std::env::var_os("PHALANX_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        target.unwrap_or(checkout).join("release/phalanx")
    })
}

/// A lab makes network namespaces.
fn need_root() -> Outcome<()> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(failure)?;
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    match line.split_whitespace().nth(2) {
        Some("0") => Ok(()),
        _ => Err(failure("the lab suites make network namespaces: run them as root")),
    }
}

/// Ends labs whose test process is gone (it was killed, and could not clear up).
fn clear_dead_labs() {
    let Ok(listed) = Command::new(tool()).arg("list").output() else { return };
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new(tool()).args(["--name", name, "down"]).status();
        }
    }
}
