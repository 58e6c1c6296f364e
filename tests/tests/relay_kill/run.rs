//! One run: the lab, its connections, what is done to its members, and what must be true in the end.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_tests::lab::chaos::Dice;
use phalanx_tests::lab::course::{Action, Round};
use phalanx_tests::lab::delays::Event;
use phalanx_tests::lab::foreign::{self, Foreign};
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

use crate::report::{self, Findings};

const STREAMS: &str = r#"
[[relay]]
name = "streams"
listen = "10.2.0.10:7804"
backend = ["10.3.0.100:7804"]
"#;
const MEMBERS: u8 = 3;
/// From so many kills on, the run is judged by the bar itself.
const FULL_KILLS: u32 = 100;
/// After a death the others have this long until the member comes back.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// Before it, nothing happens for so long: what is late then, is late without a cause in the cluster.
const CALM: Duration = Duration::from_millis(500);
/// A member that comes back, and the copies of all state, must be in order again within this time.
const HEALED: Duration = Duration::from_secs(30);
/// Members are asked no more often: their answers, a thousand units long, cost the processors that the connections need.
const LOOK: Duration = Duration::from_millis(200);
/// How long a member is frozen, or without its cables: longer than its lease.
const AWAY: Duration = Duration::from_secs(2);

/// What is done to the members.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Deaths only.
    Deaths,
    /// Deaths, and members that leave by plan, freeze, or are cut off.
    Changes,
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// A whole run, judged.
pub(crate) fn through(mode: &'static str, course: Course) {
    let (steps, streams) = (number("RELAY_KILLS", FULL_KILLS), number("RELAY_STREAMS", 1000));
    let seed = number("RELAY_SEED", std::process::id());
    let name = if course == Course::Changes { format!("{mode}-changes") } else { mode.to_owned() };
    println!("{name}: {steps} times under {streams} connections, seed {seed}");
    let config = format!("{STREAMS}{}", foreign::relays());
    let mut lab = Lab::up(Plan { config: Some(config), ..Plan::new(mode, "none") }).unwrap();
    let server = Server::start_for_a_crowd(&lab, "server").unwrap();
    let traffic = Traffic::start(&lab, &load(streams), "relay-kill").unwrap();
    let foreign = Foreign::start(&lab).unwrap();
    let mut run = Run {
        lab: &mut lab,
        foreign,
        round: Round::new(MEMBERS),
        dice: Dice::new(u64::from(seed)),
        course,
        events: Vec::new(),
        problems: Vec::new(),
    };
    for step in 0..steps {
        run.step(step).unwrap();
    }
    await_in_sync(run.lab).unwrap();
    let Run { foreign, round, events, mut problems, .. } = run;
    let counts = report::count_events(&lab).unwrap();
    let (foreign, more) = foreign.finish().unwrap();
    problems.extend(more);
    let (client, server) = (traffic.finish().unwrap(), server.finish().unwrap());
    keep_metrics(&lab).unwrap();
    let detection_ms = lab.timing.detection_ms();
    let findings = Findings {
        name,
        seed,
        streams,
        detection_ms,
        round,
        events,
        counts,
        foreign,
        client: client.0,
        server,
        problems,
        full: steps >= FULL_KILLS,
    };
    report::judge(&lab, &findings);
}

/// Beside the logs, which are saved if the test fails.
fn keep_metrics(lab: &Lab) -> Outcome<()> {
    for member in &lab.members {
        std::fs::write(member.dir.join("metrics.txt"), member.metrics()?).map_err(failure)?;
    }
    Ok(())
}

fn load(streams: u32) -> Load {
    Load {
        host: "client".into(),
        server: stage::cluster(false),
        sources: (100..103).map(|n| IpAddr::from([10, 2, 0, n])).collect(),
        pings_per_s: 10,
        udp_per_s: 0,
        connections_per_s: 0,
        streams,
        download_kbytes_per_s: 0,
    }
}

/// Every unit's sessions are held by all its backups: from here on one death costs nothing.
fn await_in_sync(lab: &Lab) -> Outcome<()> {
    clock::until(HEALED, LOOK, || match lab.total("phalanx_replica_lacking_units{")? {
        0.0 => Ok(()),
        lacking => Err(failure(format!("backups lack {lacking} units"))),
    })
    .map(drop)
}

struct Run<'a> {
    lab: &'a mut Lab,
    foreign: Foreign,
    round: Round,
    dice: Dice,
    course: Course,
    events: Vec<Event>,
    problems: Vec<String>,
}

impl Run<'_> {
    /// Does something to one member, and waits until it is back and everyone holds everything.
    fn step(&mut self, step: u32) -> Outcome<()> {
        let drawn = Action::draw(&mut self.dice);
        let action = match self.course {
            Course::Changes if step > 0 => drawn,
            // A run without any death would show nothing.
            Course::Deaths | Course::Changes => Action::Kill,
        };
        await_in_sync(self.lab)?;
        let (master, _) = clock::until(HEALED, LOOK, || self.lab.healthy())?;
        let victim = self.round.next(master);
        // A master passes on others' packets: under a light load it may own none, and yet its death is felt.
        let owned = if victim == master { self.owned_by(victim)? } else { self.await_owner(victim)? };
        let role = if victim == master { "the master" } else { "a member" };
        let what = format!("{} {step} of m{victim}, {role}, with {owned} connections", action.as_str());
        self.note("calm", format!("before {what}"), None);
        clock::last(CALM);
        self.problems.extend(self.foreign.look(&format!("before {what}")));
        self.strike(action, victim, &what)?;
        // Whatever happened to a member: by now the others carry on what it had.
        clock::last(AFTERMATH);
        self.problems.extend(self.foreign.look(&format!("after {what}")));
        self.note("moves", format!("m{victim} back after {what}"), None);
        self.relieve(action, victim)?;
        if let Err(problem) = clock::until(HEALED, LOOK, || self.lab.healthy()) {
            self.problems.push(format!("after {what}: {problem}"));
        }
        Ok(())
    }

    fn note(&mut self, kind: &'static str, what: String, at_us: Option<u64>) {
        self.events.push(Event { at_us: at_us.unwrap_or_else(clock::machine_us), kind, what });
    }

    /// Only an owner's death counts: one that has connections; how many.
    fn await_owner(&self, id: u8) -> Outcome<f64> {
        let look = || match self.owned_by(id)? {
            0.0 => Err(failure(format!("m{id} owns no connection"))),
            open => Ok(open),
        };
        Ok(clock::until(HEALED, LOOK, look)?.0)
    }

    /// How many connections a member owns.
    fn owned_by(&self, id: u8) -> Outcome<f64> {
        Ok(self.lab.member(id).samples("phalanx_relay_connections{relay=\"streams\"}")?.into_iter().sum())
    }

    fn strike(&mut self, action: Action, victim: u8, what: &str) -> Outcome<()> {
        if action == Action::Kill {
            let pid = self.lab.pid(victim)?;
            let at_us = self.lab.kill_at(victim, pid)?;
            self.note(action.as_str(), what.to_owned(), Some(at_us));
            return Ok(());
        }
        self.note(action.as_str(), what.to_owned(), None);
        match action {
            Action::Drain => self.lab.drain(victim),
            Action::Stop => self.lab.act("stop", victim),
            Action::Pause => self.lab.act("pause", victim),
            Action::Cut => {
                self.lab.cut(victim, "all", "both", 100)?;
                self.lab.forget(victim);
                clock::last(AWAY.saturating_sub(AFTERMATH));
                Ok(())
            }
            Action::Kill => Ok(()),
        }
    }

    fn relieve(&mut self, action: Action, victim: u8) -> Outcome<()> {
        match action {
            // Whoever was killed from outside is not always reaped yet.
            Action::Kill => clock::until(HEALED, LOOK, || self.lab.act("start", victim)).map(drop),
            Action::Drain | Action::Stop => self.lab.act("start", victim),
            Action::Pause => self.lab.act("resume", victim),
            Action::Cut => {
                self.lab.heal(victim, "all")?;
                self.lab.remember(victim);
                Ok(())
            }
        }
    }
}
