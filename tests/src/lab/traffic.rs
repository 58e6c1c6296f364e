//! The traffic generator (`tests/src/bin/traffic`), run in a lab's hosts, and its report.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::process::Running;
use super::{Lab, Outcome, failure, stage};

/// How long the report may take after sending has stopped: the generator itself waits half a minute for what does not come.
const REPORT: Duration = Duration::from_secs(60);
/// A short connection that takes longer has failed.
const PATIENCE_S: u32 = 5;

/// The generator's real-time priority: below the members', above everything else, so that it measures them and not itself.
const PRIORITY: [&str; 3] = ["chrt", "--fifo", "5"];

/// From so many streams on, the generator spares the processors.
const CROWD: u32 = 100;
/// Its priority is then that of the members' workers, so that these do not interrupt it at each packet to look for that
/// one, but find all it has sent.
const CROWD_PRIORITY: [&str; 3] = ["chrt", "--fifo", "10"];
/// And both ends work once in a while, not whenever anything comes: the processors are the members'.
const CROWD_OPTIONS: [&str; 2] = ["--gather-us", "1000"];

/// The answering side; ends with this value.
pub struct Server {
    running: Running,
    report: PathBuf,
}

impl Server {
    /// Answers in a host; returns when it does, for who connects earlier is refused.
    pub fn start(lab: &Lab, host: &str) -> Outcome<Self> {
        Self::start_with(lab, host, PRIORITY, &[])
    }

    /// Answers [`Load::streams`] by the thousand.
    pub fn start_for_a_crowd(lab: &Lab, host: &str) -> Outcome<Self> {
        Self::start_with(lab, host, CROWD_PRIORITY, &CROWD_OPTIONS)
    }

    fn start_with(lab: &Lab, host: &str, priority: [&str; 3], options: &[&str]) -> Outcome<Self> {
        let report = lab.dir().join(format!("traffic-{host}.json"));
        let (program, file) = (binary(), report.display().to_string());
        let words = [priority.as_slice(), &[&program, "server", "--report", &file], options].concat();
        let mut running = lab.start_in(host, &words)?;
        running.expect("listening")?;
        Ok(Self { running, report })
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.running.alive()
    }

    /// Ends it; what arrived of the streams, and those that went wrong.
    pub fn finish(mut self) -> Outcome<Value> {
        self.running.say("stop")?;
        self.running.succeed(REPORT)?;
        let text = std::fs::read_to_string(&self.report).map_err(failure)?;
        serde_json::from_str(&text).map_err(failure)
    }
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// The host that sends.
    pub host: String,
    /// Where to.
    pub server: IpAddr,
    /// A ping flow from each of these.
    pub sources: Vec<IpAddr>,
    /// Pings per second and flow.
    pub pings_per_s: u32,
    /// UDP echoes per second.
    pub udp_per_s: u32,
    /// Short TCP connections per second.
    pub connections_per_s: u32,
    /// Long connections at once, both ways.
    pub streams: u32,
    /// How fast the long download goes; 0: there is none.
    pub download_kbytes_per_s: u32,
}

/// A run of the generator.
pub struct Traffic {
    running: Running,
    report: PathBuf,
}

impl Traffic {
    /// Starts sending; returns when every kind of probe has been answered.
    pub fn start(lab: &Lab, load: &Load, name: &str) -> Outcome<Self> {
        Self::start_patient(lab, load, name, PATIENCE_S)
    }

    /// The same where frames are lost: short connections have so many seconds, for who loses three SYNs in a row, which one
    /// in a hundred thousand does at 2 % loss, tries again only after seven.
    pub fn start_patient(lab: &Lab, load: &Load, name: &str, patience_s: u32) -> Outcome<Self> {
        let report = lab.dir().join(format!("traffic-{name}.json"));
        let mut words = vec![binary(), "run".into(), "--server".into(), load.server.to_string()];
        for source in &load.sources {
            words.extend(["--ping-source".to_owned(), source.to_string()]);
        }
        let own = if load.streams > 0 { load.sources.len() } else { 1 };
        for source in load.sources.iter().take(own) {
            words.extend(["--source".to_owned(), source.to_string()]);
        }
        let rates = [
            ("--pings-per-s", load.pings_per_s),
            ("--udp-per-s", load.udp_per_s),
            ("--connections-per-s", load.connections_per_s),
            ("--patience-s", patience_s),
            ("--download-kbytes-per-s", load.download_kbytes_per_s),
            ("--streams", load.streams),
        ];
        for (option, rate) in rates {
            words.extend([option.to_owned(), rate.to_string()]);
        }
        let crowd = load.streams >= CROWD;
        if crowd {
            words.extend(CROWD_OPTIONS.map(str::to_owned));
        }
        words.extend(["--seconds".to_owned(), "36000".into(), "--report".into(), report.display().to_string()]);
        let priority = if crowd { CROWD_PRIORITY } else { PRIORITY };
        let words: Vec<&str> = priority.into_iter().chain(words.iter().map(String::as_str)).collect();
        let mut running = lab.start_in(&load.host, &words)?;
        running.expect("ready")?;
        Ok(Self { running, report })
    }

    /// Notes that something happens now.
    pub fn mark(&mut self, what: &str) -> Outcome<()> {
        self.running.say(&format!("mark {what}"))?;
        self.running.expect(&format!("marked {what}"))
    }

    /// Stops sending, waits for stragglers.
    pub fn finish(mut self) -> Outcome<Report> {
        self.running.say("stop")?;
        self.running.wait(REPORT)?;
        let text = std::fs::read_to_string(&self.report).map_err(failure)?;
        Ok(Report(serde_json::from_str(&text).map_err(failure)?))
    }
}

/// What became of it all.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

impl Report {
    fn flows(&self) -> impl Iterator<Item = &Value> {
        self.0["pings"].as_array().into_iter().flatten().chain([&self.0["udp"]])
    }

    fn sum(&self, field: &str) -> u64 {
        self.flows().filter_map(|flow| flow[field].as_u64()).sum()
    }

    /// Requests that the generator sent: pings and UDP.
    pub fn sent(&self) -> u64 {
        self.sum("sent")
    }

    /// Those that were never answered, without those that the host's own kernel refused to send.
    pub fn lost(&self) -> u64 {
        self.sum("lost").saturating_sub(self.sum("send_errors"))
    }

    /// Answers beyond the first.
    pub fn duplicates(&self) -> u64 {
        self.0["duplicates"].as_u64().unwrap_or(u64::MAX)
    }

    /// Bytes of the download, if every one was right up to its proper end.
    pub fn downloaded(&self) -> Option<u64> {
        let download = &self.0["download"];
        download["bytes"].as_u64().filter(|_| download["intact"] == true)
    }

    /// Short connections that were tried.
    pub fn tcp_attempted(&self) -> u64 {
        self.0["tcp"]["attempted"].as_u64().unwrap_or(0)
    }

    /// Short connections that failed.
    pub fn tcp_failed(&self) -> u64 {
        self.0["tcp"]["failed"].as_u64().unwrap_or(0)
    }

    /// The worst time without answers of any flow around an event.
    pub fn blackout_ms(&self, event: &str) -> Option<f64> {
        let events = self.0["events"].as_array()?;
        let event = events.iter().find(|entry| entry["what"] == event)?;
        let udp = event["blackout_ms_by_probe"]["udp"].as_f64().unwrap_or(0.0);
        let pings = event["blackout_ms"].as_f64()?;
        let has_udp = self.0["udp"]["sent"].as_u64().unwrap_or(0) > 0;
        Some(if has_udp { pings.max(udp) } else { pings })
    }
}

/// Carries bytes up and down over one connection after the other: how long each took, and what went wrong, if anything did.
pub fn transfers(
    lab: &Lab,
    host: &str,
    server: SocketAddr,
    bytes: &[[u64; 2]],
    limit: Duration,
) -> Outcome<Vec<Transferred>> {
    let (ip, port, limit) = (server.ip().to_string(), server.port().to_string(), limit.as_secs().to_string());
    let mut words = vec![binary(), "transfer".into(), "--server".into(), ip, "--port".into(), port];
    words.extend(["--limit-s".into(), limit]);
    words.extend(bytes.iter().map(|[up, down]| format!("{up}:{down}")));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let each = |line: &str| {
        let said: Value = serde_json::from_str(line).map_err(failure)?;
        let seconds = said["seconds"].as_f64().ok_or_else(|| failure(format!("the transfer said {line}")))?;
        Ok(Transferred { seconds, problem: said["problem"].as_str().map(str::to_owned) })
    };
    let done: Vec<Transferred> = lab.run(host, &words)?.lines().map(each).collect::<Outcome<_>>()?;
    if done.len() == bytes.len() { Ok(done) } else { Err(failure(format!("only {} transfers were made", done.len()))) }
}

/// See [`transfers`].
#[derive(Clone, Debug)]
pub struct Transferred {
    /// From the SYN to the server's end.
    pub seconds: f64,
    /// A reset, a wrong or missing byte, too long a time.
    pub problem: Option<String>,
}

/// The generator.
pub fn binary() -> String {
    stage::target_dir().join("release/traffic").display().to_string()
}
