//! Other people's programs on connections through a relay: `curl`, `nc` and `ssh` carry streams from `traffic source` to `traffic
//! sink` for as long as the test lasts, each byte checked, and each must end well.
//!
//! ```text
//!  client                                    relay            server
//!  curl GET | traffic sink                   10.2.0.10:7805   traffic web
//!  traffic source | curl PUT                 10.2.0.10:7805   traffic web
//!  traffic source | nc | traffic sink        10.2.0.10:7811.. traffic source | nc -l | traffic sink
//!  traffic source | ssh                      10.2.0.10:7822   dropbear: traffic sink
//!  ssh | traffic sink                        10.2.0.10:7822   dropbear: traffic source
//!  a counter, echoed | ssh                   10.2.0.10:7822   dropbear: a loop of the shell
//! ```
//!
//! The one server with a configuration of its own is dropbear, a program without a daemon: its keys are made for the lab, and a
//! list of users of the lab's own, mounted for it alone, leads to them.

mod talk;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Running;
use super::{Lab, Outcome, clock, failure, traffic};
use talk::Talk;

const WEB_PORT: u16 = 7805;
const NETCAT_PORT: u16 = 7811;
const SSH_PORT: u16 = 7822;
const CLIENT: &str = "client";
const SERVER: &str = "server";
const CLUSTER: &str = "10.2.0.10";
const BYTES_PER_S: u32 = 20_000;
const DOWNLOADS: u64 = 4;
const UPLOADS: u64 = 2;
const NETCATS: u16 = 4;
/// Servers need a moment until they listen, and connections until the first byte is through.
const BEGINNING: Duration = Duration::from_secs(15);
/// What is under way at the stop may take so long to arrive.
const ENDING: Duration = Duration::from_secs(30);

/// The relays that these programs go through, as configuration.
pub fn relays() -> String {
    let mut text = String::new();
    let ports = [(WEB_PORT, true), (SSH_PORT, false)];
    // Whoever looks whether `nc -l` is there is the one connection that it takes.
    for (port, check) in ports.into_iter().chain((0..NETCATS).map(|n| (NETCAT_PORT + n, false))) {
        let _ = write!(
            text,
            "\n[[relay]]\nname = \"port-{port}\"\nlisten = \"{CLUSTER}:{port}\"\nbackend = [\"10.3.0.100:{port}\"]\n\
             health_check = {check}\n"
        );
    }
    text
}

/// One direction of one connection.
struct Way {
    /// What its files are called: `NAME.in`, `NAME.out`.
    name: String,
    /// The sink's count when it was last looked at.
    seen: u64,
    /// The least that came between two looks.
    least: Option<u64>,
}

/// All of them.
pub struct Foreign {
    dir: PathBuf,
    ways: Vec<Way>,
    clients: Vec<Running>,
    servers: Vec<Running>,
    talk: Option<Talk>,
    looks: u32,
}

impl Foreign {
    /// Starts servers and clients; returns when bytes have come through on every way.
    pub fn start(lab: &Lab) -> Outcome<Self> {
        let dir = lab.dir().join("foreign");
        std::fs::create_dir_all(&dir).map_err(failure)?;
        let mut all = Self { dir, ways: Vec::new(), clients: Vec::new(), servers: Vec::new(), talk: None, looks: 0 };
        all.start_web(lab)?;
        all.start_netcats(lab)?;
        all.start_shells(lab)?;
        clock::until(BEGINNING, Duration::from_millis(50), || {
            let silent: Vec<&str> =
                all.ways.iter().filter(|way| all.count(way, "out").0 == 0).map(|way| &*way.name).collect();
            if silent.is_empty() { Ok(()) } else { Err(failure(format!("nothing came through {silent:?}"))) }
        })?;
        Ok(all)
    }

    /// `curl`, down and up.
    fn start_web(&mut self, lab: &Lab) -> Outcome<()> {
        let (dir, stop) = (self.dir.display().to_string(), self.stop().display().to_string());
        let port = WEB_PORT.to_string();
        let words = [&*traffic::binary(), "web", "--port", &port, "--dir", &dir, "--until", &stop];
        let mut web = lab.start_in(SERVER, &words)?;
        web.expect(&format!("listening on [::]:{port}"))?;
        self.servers.push(web);
        let site = format!("http://{CLUSTER}:{WEB_PORT}");
        let curl = "curl --silent --show-error --fail --no-buffer --max-time 7200";
        for seed in 1..=DOWNLOADS {
            let way = self.way(&format!("curl-down-{seed}"));
            let source = format!("{site}/source/{way}?seed={seed}&bytes_per_s={BYTES_PER_S}");
            let line = format!("{curl} '{source}' | {}", self.sink(&way, seed));
            self.clients.push(pipeline(lab, CLIENT, &line)?);
        }
        for seed in 11..11 + UPLOADS {
            let way = self.way(&format!("curl-up-{seed}"));
            let sink = format!("{site}/sink/{way}?seed={seed}");
            let line = format!("{} | {curl} --output /dev/null --upload-file - '{sink}'", self.source(&way, seed));
            self.clients.push(pipeline(lab, CLIENT, &line)?);
        }
        Ok(())
    }

    /// `nc` to `nc`, both ways at once; `-N` passes on the end of its input.
    fn start_netcats(&mut self, lab: &Lab) -> Outcome<()> {
        for port in NETCAT_PORT..NETCAT_PORT + NETCATS {
            let (up, down) = (self.way(&format!("nc-up-{port}")), self.way(&format!("nc-down-{port}")));
            let (up_seed, down_seed) = (u64::from(port), u64::from(port) + 100);
            let line = format!("{} | nc -N -l {port} | {}", self.source(&down, down_seed), self.sink(&up, up_seed));
            self.clients.push(pipeline(lab, SERVER, &line)?);
            await_listening(lab, port)?;
            let line =
                format!("{} | nc -N {CLUSTER} {port} | {}", self.source(&up, up_seed), self.sink(&down, down_seed));
            self.clients.push(pipeline(lab, CLIENT, &line)?);
        }
        Ok(())
    }

    /// `ssh`: a transfer up, one down, and a loop that one talks with.
    fn start_shells(&mut self, lab: &Lab) -> Outcome<()> {
        let home = self.dir.join("home");
        let (key, host_key, users) = (self.dir.join("client.key"), self.dir.join("host.key"), self.dir.join("passwd"));
        let (home, key) = (home.display(), key.display());
        let (host_key, users) = (host_key.display(), users.display());
        let make = format!(
            "umask 077 && mkdir -p {home}/.ssh && ssh-keygen -q -t ed25519 -N '' -f {key} && \
             cp {key}.pub {home}/.ssh/authorized_keys && dropbearkey -t ed25519 -f {host_key} >/dev/null 2>&1 && \
             echo 'root:x:0:0:root:{home}:/bin/bash' >{users} && chmod 644 {users}"
        );
        lab.run(SERVER, &["bash", "-c", &make])?;
        let serve = format!(
            "mount --bind {users} /etc/passwd && exec dropbear -F -E -s -r {host_key} -p {SSH_PORT} -P {}/dropbear.pid \
             2>{}/dropbear.log",
            self.dir.display(),
            self.dir.display()
        );
        self.servers.push(lab.start_in(SERVER, &["unshare", "--mount", "bash", "-c", &serve])?);
        await_listening(lab, SSH_PORT)?;
        let ssh = format!(
            "ssh -F none -i {key} -p {SSH_PORT} -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@{CLUSTER}"
        );
        let (up, down) = (self.way("ssh-up"), self.way("ssh-down"));
        let line = format!("{} | {ssh} '{}'", self.source(&up, 31), self.sink(&up, 31));
        self.clients.push(pipeline(lab, CLIENT, &line)?);
        let line = format!("{ssh} '{}' | {}", self.source(&down, 32), self.sink(&down, 32));
        self.clients.push(pipeline(lab, CLIENT, &line)?);
        let line = format!("{ssh} 'while read -r n; do echo \"$n\"; done'");
        self.talk = Some(Talk::start(pipeline(lab, CLIENT, &line)?)?);
        Ok(())
    }

    fn way(&mut self, name: &str) -> String {
        self.ways.push(Way { name: name.to_owned(), seen: 0, least: None });
        name.to_owned()
    }

    fn stop(&self) -> PathBuf {
        self.dir.join("stop")
    }

    fn source(&self, way: &str, seed: u64) -> String {
        let (dir, stop) = (self.dir.display(), self.stop());
        format!(
            "{} source --seed {seed} --bytes-per-s {BYTES_PER_S} --until {} --tally {dir}/{way}.in",
            traffic::binary(),
            stop.display()
        )
    }

    fn sink(&self, way: &str, seed: u64) -> String {
        format!("{} sink --seed {seed} --tally {}/{way}.out", traffic::binary(), self.dir.display())
    }

    /// A tally: bytes, and the checksum if it is over.
    fn count(&self, way: &Way, end: &str) -> (u64, Option<String>) {
        let text = std::fs::read_to_string(self.dir.join(format!("{}.{end}", way.name))).unwrap_or_default();
        let mut words = text.split_whitespace();
        (words.next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0), words.next().map(str::to_owned))
    }

    /// Every way must have carried something since the last look; those that have not, in words.
    pub fn look(&mut self, when: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for index in 0..self.ways.len() {
            let (bytes, _) = self.count(&self.ways[index], "out");
            let way = &mut self.ways[index];
            let came = bytes - way.seen;
            if came == 0 {
                problems.push(format!("{when}: nothing came through {} (after {bytes} bytes)", way.name));
            }
            // The first look has nothing before it.
            if self.looks > 0 {
                way.least = Some(way.least.map_or(came, |least| least.min(came)));
            }
            way.seen = bytes;
        }
        problems.extend(self.talk.as_mut().and_then(|talk| talk.look(when)));
        self.looks += 1;
        problems
    }

    /// Ends all streams, and waits until every program has ended; what they carried, and what went wrong.
    pub fn finish(mut self) -> Outcome<(Value, Vec<String>)> {
        std::fs::write(self.stop(), "").map_err(failure)?;
        let mut problems = Vec::new();
        let talked = self.talk.take().map(Talk::finish);
        for client in &mut self.clients {
            problems.extend(client.succeed(ENDING).err().map(|problem| problem.to_string()));
        }
        let mut ways = Vec::new();
        for way in &self.ways {
            let (source, sink) = (self.count(way, "in"), self.count(way, "out"));
            if source != sink || sink.1.is_none() || sink.0 == 0 {
                problems.push(format!("{}: {source:?} went in, {sink:?} came out", way.name));
            }
            ways.push(json!({
                "name": way.name, "bytes": sink.0, "sha256": sink.1, "least_bytes_between_looks": way.least,
            }));
        }
        let rounds = match talked {
            Some(Ok(rounds)) => Some(rounds),
            Some(Err(problem)) => {
                problems.push(problem.to_string());
                None
            }
            None => None,
        };
        let report = json!({"ways": ways, "ssh_rounds": rounds, "looks": self.looks});
        Ok((report, problems))
    }
}

/// A line of the shell in a host; it fails if any part of it does.
fn pipeline(lab: &Lab, host: &str, line: &str) -> Outcome<Running> {
    lab.start_in(host, &["bash", "-o", "pipefail", "-c", line])
}

/// Whoever connects earlier is refused.
fn await_listening(lab: &Lab, port: u16) -> Outcome<()> {
    clock::until(BEGINNING, Duration::from_millis(50), || {
        match lab.run(SERVER, &["ss", "-Hltn", "sport", "=", &format!(":{port}")])?.trim() {
            "" => Err(failure(format!("nobody listens at port {port}"))),
            _ => Ok(()),
        }
    })
    .map(drop)
}
