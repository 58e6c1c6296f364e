//! The soak: faults drawn from a seed, every few seconds, under traffic; then the search for what was left behind.
//!
//! One member, the veteran, is never killed: it is frozen, cut off and split like the others, but its one life spans the
//! whole soak, so that a slow leak of memory, descriptors or packet buffers shows in it. The others are killed and
//! restarted, too.

use std::time::Duration;

use serde_json::{Value, json};

use super::traffic::{Load, Report, Server, Traffic};
use super::{Lab, Outcome, clock, failure, health, stage};

/// After each fault, all must be well again within this time: a killed member has to start anew.
const RECOVER: Duration = Duration::from_secs(15);
/// Before the books are looked at, whatever is under way must have arrived.
const CALM: Duration = Duration::from_secs(6);
/// Memory that a member may gain in all the soak: allocators keep what a peak of work took.
const GROWTH_KBYTES: u64 = 16 << 10;
/// Packet buffers that may be in use in one idle lab more than in another: the receive rings take theirs as they turn.
const BUFFERS: u64 = 64;

/// Random numbers that a seed determines (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, choice: &'a [T]) -> &'a T {
        &choice[self.below(choice.len() as u64) as usize]
    }

    /// Between two times.
    pub fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below(most_ms - least_ms + 1))
    }
}

/// What a fault is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// kill -9, and a start later.
    Kill,
    /// SIGTERM, and a start later.
    Stop,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// Frames of a port are lost: direction and percent.
    Cut(&'static str, &'static str, u8),
}

impl Fault {
    /// Draws one; the veteran is spared the end of its life.
    pub fn draw(dice: &mut Dice, veteran: bool) -> Self {
        let port = *dice.one_of(&["outside", "inside", "cluster", "all", "all"]);
        let direction = *dice.one_of(&["both", "both", "rx", "tx"]);
        match (dice.below(10), veteran) {
            (0..=2, false) => Self::Kill,
            (3, false) => Self::Stop,
            (4..=5, _) => Self::Pause,
            (6, _) => Self::Cut("all", "both", 20),
            _ => Self::Cut(port, direction, 100),
        }
    }

    /// Does it.
    pub fn strike(&self, lab: &mut Lab, id: u8) -> Outcome<()> {
        match self {
            Self::Kill => lab.act("kill", id),
            Self::Stop => lab.act("stop", id),
            Self::Pause => lab.act("pause", id),
            Self::Cut(port, direction, loss) => lab.cut(id, port, direction, *loss),
        }
    }

    /// Undoes it.
    pub fn relieve(&self, lab: &mut Lab, id: u8) -> Outcome<()> {
        match self {
            Self::Kill | Self::Stop => lab.act("start", id),
            Self::Pause => lab.act("resume", id),
            Self::Cut(port, ..) => lab.heal(id, port),
        }
    }
}

/// What a member's process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holdings {
    /// Its PID: another one is another life.
    pub pid: u32,
    /// Memory.
    pub rss_kbytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Packet buffers in use, if the member tells.
    pub buffers: Option<u64>,
}

impl Holdings {
    /// Of one member.
    pub fn of(lab: &Lab, id: u8) -> Outcome<Self> {
        let pid = lab.pid(id)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(failure)?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kbytes = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok());
        let buffers = lab.member(id).samples("phalanx_packet_buffers_in_use")?;
        let buffers = buffers.into_iter().map(|n| n as u64).reduce(|a, b| a + b);
        Ok(Self {
            pid,
            rss_kbytes: rss_kbytes.ok_or_else(|| failure(format!("m{id} has no memory")))?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(failure)?.count() as u64,
            buffers,
        })
    }

    fn to_json(self) -> Value {
        json!({"pid": self.pid, "rss_kbytes": self.rss_kbytes, "descriptors": self.descriptors, "buffers": self.buffers})
    }

    /// What this life has gained since `before` that it must not.
    pub fn leaks(&self, before: &Self) -> Vec<String> {
        let mut leaks = Vec::new();
        if self.pid != before.pid {
            return leaks;
        }
        if self.rss_kbytes > before.rss_kbytes + GROWTH_KBYTES {
            leaks.push(format!("memory grew from {} to {} KiB", before.rss_kbytes, self.rss_kbytes));
        }
        if self.descriptors > before.descriptors {
            leaks.push(format!("descriptors went from {} to {}", before.descriptors, self.descriptors));
        }
        if let (Some(old), Some(new)) = (before.buffers, self.buffers)
            && new > old + BUFFERS
        {
            leaks.push(format!("packet buffers in use went from {old} to {new}"));
        }
        leaks
    }
}

/// What came of a soak.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The whole report.
    pub report: Value,
    /// Everything that is not as it must be.
    pub problems: Vec<String>,
}

/// Runs faults for so long.
pub fn soak(lab: &mut Lab, seed: u64, length: Duration) -> Outcome<Summary> {
    let mut dice = Dice::new(seed);
    let veteran = 1 + dice.below(u64::from(lab.plan.members)) as u8;
    println!("soak: seed {seed}, {} s, the veteran is m{veteran}", length.as_secs());
    let mut problems = Vec::new();
    let server = Server::start(lab, "server")?;
    let traffic = start_traffic(lab)?;
    clock::last(CALM);
    let before: Vec<Holdings> = (1..=lab.plan.members).map(|id| Holdings::of(lab, id)).collect::<Outcome<_>>()?;
    let began = clock::now();
    let mut history = Vec::new();
    let mut peak_kbytes = 0;
    while began.elapsed() < length {
        clock::last(dice.between(500, 3000));
        let id = 1 + dice.below(u64::from(lab.plan.members)) as u8;
        let fault = Fault::draw(&mut dice, id == veteran);
        let lasts = dice.between(100, 3500);
        let at_s = began.elapsed().as_secs_f64();
        fault.strike(lab, id)?;
        clock::last(lasts);
        fault.relieve(lab, id)?;
        let recovered = lab.await_healthy(RECOVER);
        if let Err(problem) = &recovered {
            problems.push(format!("at {at_s:.0} s, after {fault:?} of m{id} for {} ms: {problem}", lasts.as_millis()));
        }
        peak_kbytes = peak_kbytes.max(Holdings::of(lab, veteran).map_or(0, |held| held.rss_kbytes));
        let healed_ms = recovered.as_ref().ok().map(Duration::as_millis).and_then(|ms| u64::try_from(ms).ok());
        println!("  {at_s:6.1} s m{id} {fault:?} for {} ms: healed after {healed_ms:?} ms", lasts.as_millis());
        history.push(json!({
            "at_s": at_s, "member": id, "fault": format!("{fault:?}"), "lasts_ms": lasts.as_millis() as u64,
            "healed_ms": healed_ms,
        }));
    }
    let report = traffic.finish()?;
    drop(server);
    clock::last(CALM);
    examine(lab, &before, &report, &mut problems);
    let after: Vec<Value> =
        (1..=lab.plan.members).filter_map(|id| Holdings::of(lab, id).ok()).map(Holdings::to_json).collect();
    let before: Vec<Value> = before.into_iter().map(Holdings::to_json).collect();
    let report = json!({
        "seed": seed, "seconds": began.elapsed().as_secs(), "mode": lab.plan.mode, "quorum": lab.plan.quorum,
        "veteran": veteran, "faults": history.len(), "history": history, "before": before, "after": after,
        "veteran_peak_rss_kbytes": peak_kbytes, "sent": report.sent(), "lost": report.lost(),
        "duplicates": report.duplicates(), "tcp": report.0["tcp"]["attempted"], "tcp_failed": report.tcp_failed(),
        "problems": problems,
    });
    Ok(Summary { report, problems })
}

fn start_traffic(lab: &Lab) -> Outcome<Traffic> {
    let load = Load {
        host: "client".into(),
        server: stage::server(false),
        sources: lab.flow_of_each_owner(false)?.into_values().collect(),
        pings_per_s: 50,
        udp_per_s: 50,
        connections_per_s: 20,
        download_kbytes_per_s: 0,
        streams: 0,
    };
    Traffic::start(lab, &load, "soak")
}

/// What was left behind.
fn examine(lab: &Lab, before: &[Holdings], report: &Report, problems: &mut Vec<String>) {
    if let Err(problem) = lab.healthy() {
        problems.push(format!("at the end: {problem}"));
    }
    if report.duplicates() > 0 {
        problems.push(format!("{} requests were answered twice", report.duplicates()));
    }
    for member in &lab.members {
        let name = member.name();
        // Keepalives come in even when the lab is idle: a few looks may be needed to see the books closed.
        let balanced = clock::until(Duration::from_secs(2), Duration::from_millis(20), || {
            let report = member.status()?;
            match health::imbalance(&report) {
                0 => Ok(()),
                short => Err(failure(format!("{name}'s counters are {short} short: {:?}", report.counters))),
            }
        });
        problems.extend(balanced.err().map(|problem| problem.to_string()));
        // The looking itself takes a descriptor for a moment, a connection to the member's metrics: what is gone a little
        // later has not leaked.
        let clean = clock::until(Duration::from_secs(5), Duration::from_millis(200), || {
            let leaks = Holdings::of(lab, member.id)?.leaks(&before[usize::from(member.id) - 1]);
            if leaks.is_empty() { Ok(()) } else { Err(failure(format!("{name}: {}", leaks.join("; ")))) }
        });
        problems.extend(clean.err().map(|problem| problem.to_string()));
        for line in member.log().lines().filter(|line| line.contains("panicked")) {
            problems.push(format!("{name} logged: {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_faults() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..50).map(|_| Fault::draw(&mut dice, false)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for kind in [Fault::Kill, Fault::Stop, Fault::Pause] {
            assert!(draw(7).contains(&kind));
        }
    }

    #[test]
    fn a_veteran_is_never_ended() {
        let mut dice = Dice::new(1);
        assert!((0..500).all(|_| !matches!(Fault::draw(&mut dice, true), Fault::Kill | Fault::Stop)));
    }

    #[test]
    fn leaks_are_told_from_another_life() {
        let old = Holdings { pid: 7, rss_kbytes: 50_000, descriptors: 30, buffers: Some(900) };
        let grown = Holdings { pid: 7, rss_kbytes: 90_000, descriptors: 31, buffers: Some(1800) };
        assert_eq!(grown.leaks(&old).len(), 3);
        assert_eq!(old.leaks(&old), Vec::<String>::new());
        assert_eq!(Holdings { pid: 8, ..grown }.leaks(&old), Vec::<String>::new());
    }
}
