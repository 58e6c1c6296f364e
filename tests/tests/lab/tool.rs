//! The tool that all these suites drive: labs live side by side, and nothing of one is left behind, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use phalanx_tests::lab::process::Running;
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

/// What can be left of a lab: files, processes, namespaces.
struct Traces {
    dir: PathBuf,
    /// The holder's namespaces of processes and of the network, as the kernel names them. It uses names again.
    namespaces: BTreeSet<PathBuf>,
    /// When these traces were taken, in clock ticks since the machine started: whoever is younger may be another lab's.
    taken: u64,
}

impl Traces {
    /// Of a lab whose holder runs.
    fn of(dir: &Path) -> Outcome<Self> {
        let argument = format!("holder.py\0{}\0", dir.display());
        let holder = processes()
            .find(|(pid, line)| {
                line.contains(&argument)
                    && fs::read_to_string(pid.join("comm")).is_ok_and(|name| name.starts_with("python"))
            })
            .ok_or_else(|| failure(format!("{} has no holder", dir.display())))?
            .0;
        let namespaces: BTreeSet<_> =
            ["pid", "net"].iter().filter_map(|kind| fs::read_link(holder.join("ns").join(kind)).ok()).collect();
        let own = fs::read_link("/proc/self/ns/net").map_err(failure)?;
        if namespaces.len() != 2 || namespaces.contains(&own) {
            return Err(failure(format!("the holder is not in namespaces of its own yet: {namespaces:?}")));
        }
        let taken = started(Path::new("/proc/self")).max(processes().map(|(pid, _)| started(&pid)).max().unwrap_or(0));
        Ok(Self { dir: dir.to_owned(), namespaces, taken })
    }

    /// Everything that is still there, in words.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.dir.exists() {
            left.push(format!("{} is there", self.dir.display()));
        }
        let dir = self.dir.display().to_string();
        for (pid, line) in processes() {
            let inside = ["pid", "net"]
                .iter()
                .any(|kind| fs::read_link(pid.join("ns").join(kind)).is_ok_and(|link| self.namespaces.contains(&link)));
            let inside = inside && started(&pid) <= self.taken;
            if inside || line.split('\0').any(|word| word == dir || word.starts_with(&format!("{dir}/"))) {
                left.push(format!("{} runs: {}", pid.display(), line.replace('\0', " ")));
            }
        }
        // A namespace without processes lives on only where it is mounted; the lab's mounts are its own.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| line.contains("lab-netns")).map(str::to_owned));
        left
    }

    /// The kernel takes a moment to end what lived in a namespace.
    fn await_gone(&self) {
        let look = || match self.left() {
            left if left.is_empty() => Ok(()),
            left => Err(failure(left.join("\n"))),
        };
        clock::until(Duration::from_secs(10), Duration::from_millis(20), look).unwrap();
    }
}

/// When a process was started, in clock ticks since the machine was (proc(5): field 22 of `stat`, the name being in brackets).
fn started(pid: &Path) -> u64 {
    let stat = fs::read_to_string(pid.join("stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// All processes: their directory in /proc, and their command line with a NUL after each word. Zombies have no line.
fn processes() -> impl Iterator<Item = (PathBuf, String)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let numbered = all.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().parse::<u32>().is_ok()));
    numbered.filter_map(|path| {
        let line = fs::read(path.join("cmdline")).ok().filter(|line| !line.is_empty())?;
        Some((path, String::from_utf8_lossy(&line).into_owned()))
    })
}

fn serves(lab: &Lab) {
    let _ = lab.exec("client", &["ping", "-n", "-q", "-c", "1", "-W", "1", "10.3.0.100"]);
    let said = lab.run("client", &["ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", "10.3.0.100"]).unwrap();
    assert!(said.contains(" 0% packet loss") && !said.contains("duplicates"), "{}: {said}", lab.name());
}

/// Two labs with the same addresses, members' names and MACs, at the same time: neither notices the other.
#[test]
fn labs_live_side_by_side() {
    let plan = || Plan { members: 2, ..Plan::new("forward", "none") };
    let (first, second) = (Lab::up(plan()).unwrap(), Lab::up(plan()).unwrap());
    for lab in [&first, &second] {
        serves(lab);
        lab.healthy().unwrap();
    }
    let listed = first.call(&["list"]).unwrap();
    let listed: Vec<&str> = listed.lines().collect();
    assert!([first.name(), second.name()].iter().all(|name| listed.contains(name)), "{listed:?}");
    let (first_traces, second_traces) = (Traces::of(&first.dir()).unwrap(), Traces::of(&second.dir()).unwrap());
    drop(first);
    first_traces.await_gone();
    serves(&second);
    second.healthy().unwrap();
    drop(second);
    second_traces.await_gone();
}

/// `lab up`, ended by a signal as soon as this file is there.
fn cut_short(number: usize, signal: &str, when: &str) {
    let name = format!("suite-{}-cut{number}", std::process::id());
    let dir = Path::new("/run/phalanx-lab").join(&name);
    let mut command = Command::new(stage::tool());
    command.args(["--name", &name, "up"]).stderr(Stdio::null());
    let mut up = Running::start(command, "lab up").unwrap();
    let come = || match dir.join(when).exists() {
        true => Ok(()),
        false => Err(failure(format!("no {when}"))),
    };
    clock::until(Duration::from_secs(20), Duration::from_millis(5), come).unwrap();
    let traces = Traces::of(&dir).unwrap();
    up.signal(signal);
    up.wait(Duration::from_secs(15)).unwrap();
    traces.await_gone();
}

/// Ctrl-C leaves nothing, and neither does the death of the tool that could have cleared up.
#[test]
fn nothing_is_left_of_a_lab_that_was_cut_short() {
    let moments = ["holder.sock", "m1/log.json", "m3/ctl.sock"];
    let signals = ["INT", "KILL"];
    let all = moments.iter().flat_map(|when| signals.iter().map(move |signal| (signal, when)));
    for (number, (signal, when)) in all.enumerate() {
        cut_short(number, signal, when);
    }
}
