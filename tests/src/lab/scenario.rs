//! One fault under traffic, measured: from the cut, through the time that it lasts, to the healing.
//!
//! Traffic is numbered and comes from one address for each owner, so that every member's fate is felt. Captures at both
//! ends count what arrived more than once: a request that two members forwarded, or an answer that two members gave.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_control::status::Status;

use super::capture::{Answers, Capture, mac_of};
use super::traffic::{Load, Report, Traffic};
use super::{Lab, Outcome, clock, failure, stage};

/// After the cut ends, all must be as before within this time (what the issue demands).
pub const HEAL: Duration = Duration::from_secs(1);
/// How long to watch after a cut has ended.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// While frames are lost at random, a flow may lose so many in a row: at 20 % in each of four crossings of the victim's
/// ports a ping gets through with 0.41, and one in a million runs of losses is longer than 26 pings. Twice that, and what
/// the machine adds.
const LOSSES_IN_A_ROW_MS: f64 = 520.0;
/// What a shared, noisy machine may add to times that the cluster keeps.
pub const SLACK_MS: f64 = 300.0;
/// The same, for how long a member may go on after its lease.
const SILENCE_SLACK_MS: f64 = 100.0;

/// Whom the fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victim {
    /// The master.
    Master,
    /// A member that is not the master.
    Other,
}

/// What happens to the victim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Frames on a port (or `all`) are lost: direction (rx, tx, both), and percent.
    Cut(&'static str, &'static str, u8),
    /// SIGSTOP, later SIGCONT.
    Pause,
    /// The victim and the other members no longer see one another on any LAN; hosts still see all of them.
    Isolation,
}

/// What the fault may do to traffic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Harm {
    /// No packet is lost, nobody leaves.
    Nothing,
    /// Packets may be lost as the network loses them, but nobody is condemned. The one fault for which n is meant to grow.
    NobodyLeaves,
    /// Traffic is interrupted for at most the configured detection time and so many milliseconds more.
    Detection(f64),
    /// Traffic is interrupted for at most so many milliseconds.
    AtMost(f64),
}

/// A fault, and what it may do.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name in the table.
    pub name: &'static str,
    /// Whom it hits.
    pub victim: Victim,
    /// What it is.
    pub fault: Fault,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it may do.
    pub harm: Harm,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The fault's name and where it was run.
    pub name: String,
    /// The configured detection time: what deaths and leases are judged by.
    pub detection_ms: f64,
    /// How many losses in a row condemned a member when the fault struck: what the cluster had made of `losses_min`.
    pub adaptive_n: f64,
    /// The longest time without answers of any flow around the cut, and around the healing.
    pub blackout_ms: f64,
    /// See above.
    pub heal_blackout_ms: f64,
    /// From the end of the cut until all members were one cluster again.
    pub heal_ms: Option<f64>,
    /// Requests sent, and those without any answer.
    pub sent: u64,
    /// See above.
    pub lost: u64,
    /// Packets that came more than once, at the client and at the server.
    pub repeated: u64,
    /// Everything that is not as it must be.
    pub problems: Vec<String>,
}

impl Findings {
    /// The head of the table.
    pub fn head() -> String {
        format!(
            "{:<46} {:>9} {:>4} {:>9} {:>9} {:>8} {:>7} {:>6} {:>6}",
            "scenario", "detection", "n", "blackout", "at heal", "healed", "sent", "lost", "twice"
        )
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let healed = self.heal_ms.map_or("never".to_owned(), |ms| format!("{ms:.0} ms"));
        format!(
            "{:<46} {:>6.0} ms {:>4.0} {:>6.0} ms {:>6.0} ms {:>8} {:>7} {:>6} {:>6}",
            self.name,
            self.detection_ms,
            self.adaptive_n,
            self.blackout_ms,
            self.heal_blackout_ms,
            healed,
            self.sent,
            self.lost,
            self.repeated
        )
    }

    /// Notes a problem.
    pub fn complain(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// Both ends' captures and the traffic between them.
struct Stagehands {
    traffic: Traffic,
    client: Capture,
    server: Capture,
}

impl Stagehands {
    fn start(lab: &Lab, name: &str) -> Outcome<Self> {
        let sources: Vec<IpAddr> = lab.flow_of_each_owner(false)?.into_values().collect();
        let client = Capture::of_probes(lab, "client", &format!("{name}-client"))?;
        let server = Capture::of_probes(lab, "server", &format!("{name}-server"))?;
        let load = Load {
            host: "client".into(),
            server: stage::server(false),
            sources,
            pings_per_s: 100,
            udp_per_s: 100,
            connections_per_s: 0,
            download_kbytes_per_s: 0,
            streams: 0,
        };
        Ok(Self { traffic: Traffic::start(lab, &load, name)?, client, server })
    }

    fn finish(self, lab: &Lab) -> Outcome<(Report, Answers, Answers)> {
        let report = self.traffic.finish()?;
        let (client, server) = (self.client.finish()?, self.server.finish()?);
        let (client_mac, server_mac) = (mac_of(lab, "client", "e0")?, mac_of(lab, "server", "e0")?);
        Ok((report, Answers::of(&client, client_mac), Answers::of(&server, server_mac)))
    }
}

/// Runs a scenario in a healthy lab, and leaves it healthy if the product can.
pub fn run(lab: &mut Lab, scenario: &Scenario) -> Outcome<Findings> {
    lab.await_healthy(Duration::from_secs(20))?;
    let master = lab.healthy()?;
    let victim = match scenario.victim {
        Victim::Master => master,
        Victim::Other => *lab.awake().iter().find(|id| **id != master).ok_or_else(|| failure("only one member"))?,
    };
    let slug: String = scenario.name.replace(' ', "-");
    let mut hands = Stagehands::start(lab, &slug)?;
    let before = lab.reports()?;
    let mut findings = Findings {
        name: format!("{} {}: {}", lab.plan.mode, lab.plan.quorum, scenario.name),
        detection_ms: lab.timing.detection_ms(),
        adaptive_n: before.iter().map(|report| report.detection_ms).fold(0.0, f64::max) / lab.timing.period_ms,
        ..Findings::default()
    };
    hands.traffic.mark("cut")?;
    strike(lab, victim, scenario.fault)?;
    let cut_us = clock::wall_us();
    let witnesses = Witnesses::during(lab, victim, scenario, &mut findings);
    hands.traffic.mark("heal")?;
    relieve(lab, victim, scenario.fault)?;
    match lab.await_healthy(Duration::from_secs(15)) {
        Ok(took) => findings.heal_ms = Some(took.as_secs_f64() * 1000.0),
        Err(problem) => findings.complain(format!("never healed: {problem}")),
    }
    clock::last(AFTERMATH);
    let (report, client, server) = hands.finish(lab)?;
    witnesses.judge(lab, victim, &before, &mut findings);
    if scenario.fault == Fault::Isolation {
        judge_silence(lab, victim, cut_us, &client, &server, &mut findings);
    }
    judge(scenario, &report, &[("client", &client), ("server", &server)], &mut findings);
    Ok(findings)
}

fn strike(lab: &mut Lab, victim: u8, fault: Fault) -> Outcome<()> {
    match fault {
        Fault::Cut(port, direction, loss) => lab.cut(victim, port, direction, loss),
        Fault::Pause => lab.act("pause", victim),
        Fault::Isolation => {
            let (here, there) = sides(lab, victim);
            lab.split(&[&here], &there.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

fn relieve(lab: &mut Lab, victim: u8, fault: Fault) -> Outcome<()> {
    match fault {
        Fault::Cut(port, ..) => lab.heal(victim, port),
        Fault::Pause => lab.act("resume", victim),
        Fault::Isolation => lab.unsplit(),
    }
}

/// The victim, and all other members.
fn sides(lab: &Lab, victim: u8) -> (String, Vec<String>) {
    let name = |id: u8| lab.member(id).name();
    (name(victim), lab.members.iter().filter(|member| member.id != victim).map(|member| name(member.id)).collect())
}

/// What members said while the fault lasted.
struct Witnesses {
    /// What the victim had forwarded when its lease must have lapsed, and at the end of the fault.
    forwarded: Option<(u64, u64)>,
    /// The fault should leave the membership alone.
    stay: bool,
}

impl Witnesses {
    /// Lets the fault last, looking on.
    fn during(lab: &Lab, victim: u8, scenario: &Scenario, findings: &mut Findings) -> Self {
        let began = clock::now();
        let stay = matches!(scenario.harm, Harm::Nothing | Harm::NobodyLeaves);
        let lease = Duration::from_secs_f64((findings.detection_ms * 1.25 + SILENCE_SLACK_MS) / 1000.0);
        let mut forwarded = None;
        while began.elapsed() < scenario.lasts {
            clock::last(Duration::from_millis(100));
            if stay && let Err(problem) = lab.healthy() {
                findings.complain(format!("{} ms into the fault: {problem}", began.elapsed().as_millis()));
                break;
            }
            if scenario.fault == Fault::Isolation && began.elapsed() > lease {
                let now = lab.member(victim).status().map(|status| status.counters.forwarded).unwrap_or_default();
                let first = forwarded.map_or(now, |(first, _)| first);
                forwarded = Some((first, now));
            }
        }
        clock::last(scenario.lasts.saturating_sub(began.elapsed()));
        Self { forwarded, stay }
    }

    fn judge(&self, lab: &Lab, victim: u8, before: &[Status], findings: &mut Findings) {
        if lab.plan.quorum == "majority"
            && let Some((first, last)) = self.forwarded
            && last != first
        {
            findings.complain(format!("m{victim}, a minority, forwarded {} packets after its lease", last - first));
        }
        if !self.stay {
            return;
        }
        for report in lab.reports().unwrap_or_default() {
            let old = before.iter().find(|old| old.member.id == report.member.id);
            if old.is_some_and(|old| old.term != report.term) {
                findings.complain(format!("{} went through a change of masters", report.member.name));
            }
        }
    }
}

/// A minority must be silent once its lease has lapsed. `cut_us` is when the split was known to be complete.
fn judge_silence(lab: &Lab, victim: u8, cut_us: u64, client: &Answers, server: &Answers, findings: &mut Findings) {
    // n losses and a quarter more (n is at least 5 here), and what a noisy machine delays.
    let lease_ms = findings.detection_ms * 1.25 + SILENCE_SLACK_MS;
    for (side, answers) in [("outside", client), ("inside", server)] {
        let mac = super::capture::member_mac(victim, side);
        let last = answers.last_from(mac, cut_us, cut_us + 2_000_000);
        let last_ms = last.map_or(0.0, |at| (at - cut_us) as f64 / 1000.0);
        println!(
            "    m{victim}, isolated, was last heard {side} after {last_ms:.1} ms (lease and slack: {lease_ms:.0} ms)"
        );
        if lab.plan.quorum == "majority" && last_ms > lease_ms {
            findings.complain(format!("the minority spoke {side} {last_ms:.0} ms after the split"));
        }
    }
}

fn judge(scenario: &Scenario, report: &Report, seen: &[(&str, &Answers)], findings: &mut Findings) {
    findings.sent = report.sent();
    findings.lost = report.lost();
    findings.repeated = report.duplicates();
    findings.blackout_ms = report.blackout_ms("cut").unwrap_or(f64::INFINITY);
    findings.heal_blackout_ms = report.blackout_ms("heal").unwrap_or(f64::INFINITY);
    if report.duplicates() > 0 {
        findings.complain(format!("{} requests were answered twice", report.duplicates()));
    }
    for (host, answers) in seen {
        let repeated = answers.repeated();
        findings.repeated = findings.repeated.max(repeated.len() as u64);
        for line in repeated.iter().take(5) {
            findings.complain(format!("the {host} got twice: {line}"));
        }
        if answers.count() == 0 {
            findings.complain(format!("the {host}'s capture is empty"));
        }
    }
    let bound_ms = match scenario.harm {
        Harm::Nothing => {
            if findings.lost > 0 {
                findings.complain(format!("{} packets were lost", findings.lost));
            }
            SLACK_MS
        }
        Harm::NobodyLeaves => LOSSES_IN_A_ROW_MS + SLACK_MS,
        Harm::Detection(more_ms) => findings.detection_ms + more_ms,
        Harm::AtMost(ms) => ms,
    };
    if findings.blackout_ms > bound_ms {
        findings.complain(format!("interrupted for {:.0} ms, more than {bound_ms:.0}", findings.blackout_ms));
    }
    let heal_limit_ms = HEAL.as_secs_f64() * 1000.0;
    if findings.heal_ms.is_some_and(|ms| ms > heal_limit_ms) {
        findings.complain(format!("healed after {:.0} ms only", findings.heal_ms.unwrap_or_default()));
    }
}

/// Runs scenarios in one lab, prints the table, and says whether all went well.
pub fn run_all(lab: &mut Lab, scenarios: &[Scenario]) {
    let mut table = vec![Findings::head()];
    let mut problems = Vec::new();
    for scenario in scenarios {
        match run(lab, scenario) {
            Ok(findings) => {
                println!("{}", findings.line());
                table.push(findings.line());
                for problem in &findings.problems {
                    println!("    ! {problem}");
                    problems.push(format!("{}: {problem}", findings.name));
                }
            }
            Err(problem) => {
                println!("{}: {problem}", scenario.name);
                problems.push(format!("{}: {problem}", scenario.name));
            }
        }
    }
    println!("{}", table.join("\n"));
    if !problems.is_empty() {
        lab.keep_logs();
    }
    assert!(problems.is_empty(), "{} things are not as they must be:\n{}", problems.len(), problems.join("\n"));
}
