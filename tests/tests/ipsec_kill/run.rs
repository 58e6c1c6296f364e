//! One run: the lab, its peers, what is done to its members, and what must be true after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_tests::lab::capture::{Answers, Capture, mac_of};
use phalanx_tests::lab::chaos::Dice;
use phalanx_tests::lab::course::Round;
use phalanx_tests::lab::delays::Event;
use phalanx_tests::lab::process::Running;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

use crate::guest::Guest;
use crate::peers::{self, FRESH, Peers, Task, What};
use crate::report::{self, Findings};
use crate::strike::{self, Circumstance};

const MEMBERS: u8 = 3;
/// From so many hits on, the run is judged by the bar itself.
const FULL_KILLS: u32 = 100;
const HEALED: Duration = Duration::from_secs(30);
/// Members are asked no more often: their answers, a thousand units long, cost the processors that the tunnels need.
const LOOK: Duration = Duration::from_millis(200);
/// Nothing happens for so long before a hit.
const CALM: Duration = Duration::from_millis(300);
/// A hit comes at any moment of what peers were told to do: starting the program that tells them is most of it.
const LEAD_MS: [u64; 2] = [5, 70];

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// A whole run, judged.
pub(crate) fn through(mode: &'static str) {
    let (steps, tunnels) = (number("IPSEC_KILLS", 3), number("IPSEC_TUNNELS", 20));
    let (seed, with_guest) = (number("IPSEC_SEED", std::process::id()), number("IPSEC_GUEST", 1) > 0);
    println!("{mode}: {steps} hits under {tunnels} tunnels, seed {seed}");
    let mut lab = Lab::up(Plan { config: Some(peers::config()), ..Plan::new(mode, "none") }).unwrap();
    lab.await_healthy(HEALED).unwrap();
    let watch = Watch::start(&lab, with_guest).unwrap();
    let peers = Peers::connect(&lab, u8::try_from(tunnels).unwrap()).unwrap();
    let guest = with_guest.then(|| Guest::connect(&lab).unwrap());
    let server = Server::start(&lab, "server").unwrap();
    let traffic = Traffic::start(&lab, &load(&peers), "ipsec-kill").unwrap();
    let replayer = watch.replayer(&lab).unwrap();
    let mut run = Run {
        lab: &mut lab,
        peers,
        guest,
        traffic,
        replayer,
        round: Round::new(MEMBERS),
        dice: Dice::new(u64::from(seed)),
        events: Vec::new(),
        fresh: 0,
        rekeyed: 0,
        replayed: 0,
        problems: Vec::new(),
    };
    for step in 0..steps {
        run.step(step).unwrap();
    }
    let findings = run.end(mode, seed, steps >= FULL_KILLS, server, watch).unwrap();
    report::judge(&lab, &findings);
}

/// A ping flow and a stream both ways through every tunnel, and more through the first.
fn load(peers: &Peers) -> Load {
    Load {
        host: "client".into(),
        server: stage::server(false),
        sources: peers.tunnels().iter().map(|&number| peers::behind(number)).collect(),
        pings_per_s: peers::PINGS_PER_S,
        udp_per_s: 50,
        connections_per_s: 10,
        streams: u32::try_from(peers.tunnels().len()).unwrap_or(0),
        download_kbytes_per_s: 300,
    }
}

/// What is recorded of the wires.
struct Watch {
    outside: Capture,
    inside: Capture,
    guest: Option<Capture>,
}

impl Watch {
    fn start(lab: &Lab, with_guest: bool) -> Outcome<Self> {
        let guest = with_guest.then(|| {
            Guest::add(lab)?;
            Capture::start_lazy(lab, crate::guest::HOST, "any", "outside-guest", "ip")
        });
        Ok(Self {
            outside: Capture::start_lazy(lab, "client", "e0", "outside", "ip")?,
            inside: Capture::start_lazy(lab, "server", "e0", "inside", "icmp[icmptype]=8")?,
            guest: guest.transpose()?,
        })
    }

    /// Someone who listened.
    fn replayer(&self, lab: &Lab) -> Outcome<Running> {
        let program = stage::target_dir().join("release/esp-replay").display().to_string();
        let (file, cluster) = (self.outside.file().display().to_string(), stage::cluster(false).to_string());
        let mut running = lab.start_in("client", &[&program, "--capture", &file, "--cluster", &cluster])?;
        running.expect("ready")?;
        Ok(running)
    }
}

struct Run<'a> {
    lab: &'a mut Lab,
    peers: Peers,
    guest: Option<Guest>,
    traffic: Traffic,
    replayer: Running,
    round: Round,
    dice: Dice,
    events: Vec<Event>,
    /// Connections that came up while a member was hit.
    fresh: u32,
    rekeyed: u32,
    replayed: u64,
    problems: Vec<String>,
}

impl Run<'_> {
    /// Does something to one member, and waits until it is back and everyone holds everything.
    fn step(&mut self, step: u32) -> Outcome<()> {
        let (action, circumstance) = strike::plan(step);
        self.await_in_sync()?;
        let (master, _) = clock::until(HEALED, LOOK, || self.lab.healthy())?;
        let victim = self.round.next(master);
        let pid = self.lab.pid(victim)?;
        let (owned, _) = clock::until(HEALED, LOOK, || self.owned_by(victim))?;
        let role = if victim == master { "the master" } else { "a member" };
        let what = format!(
            "{} {step} of m{victim}, {role}, with {} tunnels, during {}",
            action.as_str(),
            owned.len(),
            circumstance.as_str()
        );
        clock::last(CALM);
        let lead = self.dice.between(LEAD_MS[0], LEAD_MS[1]);
        let undertaking = self.undertake(circumstance, &owned, strike::delay(action))?;
        self.mark(action.as_str(), &what)?;
        clock::last(lead);
        strike::strike(self.lab, action, victim, pid)?;
        clock::last(strike::absence(action));
        self.replay()?;
        self.mark("moves", &format!("m{victim} back after {what}"))?;
        strike::relieve(self.lab, action, victim)?;
        let healthy = clock::until(HEALED, LOOK, || self.lab.healthy());
        self.problems.extend(healthy.err().map(|problem| format!("after {what}: {problem}")));
        self.conclude(undertaking, &what);
        self.replay()?;
        Ok(())
    }

    fn mark(&mut self, kind: &'static str, what: &str) -> Outcome<()> {
        self.events.push(Event { at_us: clock::machine_us(), kind, what: what.to_owned() });
        self.traffic.mark(what)?;
        self.guest.as_mut().map_or(Ok(()), |guest| guest.mark(what))
    }

    /// Every unit's sessions are held by all its backups: from here on one death costs nothing.
    fn await_in_sync(&self) -> Outcome<()> {
        clock::until(HEALED, LOOK, || match self.lab.total("phalanx_replica_lacking_units{")? {
            0.0 => Ok(()),
            lacking => Err(failure(format!("backups lack {lacking} units"))),
        })
        .map(drop)
    }

    /// The tunnels whose units a member owns.
    fn owned_by(&self, id: u8) -> Outcome<Vec<u8>> {
        let status = self.lab.reports()?.into_iter().next().ok_or_else(|| failure("nobody is awake"))?;
        let owner = |spi: u32| {
            let unit = u16::try_from(spi % 1024).ok()?;
            status.units.ranges.iter().find(|range| (range.first..=range.last).contains(&unit))?.owner
        };
        let tunnels = self.peers.tunnels().iter().copied();
        Ok(tunnels.filter(|&number| owner(self.peers.spi(number)) == Some(id)).collect())
    }

    // -- what peers do meanwhile --------------------------------------------------------------------------------------

    fn undertake(&mut self, circumstance: Circumstance, owned: &[u8], after: Duration) -> Outcome<Undertaking> {
        let mut under_way = Undertaking { circumstance, tasks: Vec::new(), rekeyed: BTreeSet::new() };
        match circumstance {
            Circumstance::Calm => {}
            Circumstance::Handshakes => {
                for (index, number) in FRESH.enumerate() {
                    let step = Duration::from_millis(15) * u32::try_from(index).unwrap_or(0);
                    under_way.tasks.push(self.peers.initiate(number, after + step)?);
                }
            }
            Circumstance::Rekeyings => {
                let others = self.peers.tunnels().iter().copied().filter(|number| !owned.contains(number));
                // Three of the victim's, if it has as many, and one or more of the others'.
                let chosen: Vec<u8> = owned.iter().copied().take(3).chain(others).take(4).collect();
                for (index, number) in chosen.into_iter().enumerate() {
                    let what = if index % 2 == 0 { What::Child } else { What::Ike };
                    under_way.tasks.push(self.peers.rekey(number, what, after)?);
                    under_way.rekeyed.insert((number, what == What::Ike));
                }
            }
        }
        Ok(under_way)
    }

    /// All that was undertaken must have come to its good end, and nothing else may have changed.
    fn conclude(&mut self, undertaking: Undertaking, what: &str) {
        let Undertaking { circumstance, tasks, rekeyed } = undertaking;
        let mut outcomes = vec![self.peers.await_tasks(&tasks)];
        if circumstance == Circumstance::Handshakes {
            for number in FRESH {
                outcomes.push(Peers::ping(self.lab, number));
                outcomes.push(self.peers.terminate(self.lab, number));
                self.fresh += 1;
            }
        }
        outcomes.push(self.peers.check(self.lab, &rekeyed));
        self.rekeyed += u32::try_from(rekeyed.len()).unwrap_or(0);
        outcomes.extend(self.guest.as_ref().map(|guest| guest.check(self.lab)));
        let problems = outcomes.into_iter().filter_map(Result::err).map(|problem| format!("after {what}: {problem}"));
        self.problems.extend(problems);
    }

    /// Sends what peers have sent once more.
    fn replay(&mut self) -> Outcome<()> {
        self.replayer.say("again")?;
        let said = self.replayer.line()?;
        let sent: Option<u64> = said.strip_prefix("sent ").and_then(|count| count.parse().ok());
        self.replayed += sent.ok_or_else(|| failure(format!("the replayer says '{said}'")))?;
        Ok(())
    }

    // -- the end ------------------------------------------------------------------------------------------------------

    fn end(self, mode: &str, seed: u32, full: bool, server: Server, watch: Watch) -> Outcome<Findings> {
        self.await_in_sync()?;
        let Run { lab, peers, mut guest, traffic, round, events, fresh, rekeyed, replayed, mut problems, .. } = self;
        let counters: BTreeMap<String, u64> = peers.counters(lab)?;
        let client = traffic.finish()?;
        let to_guest = guest.as_mut().map(Guest::finish).transpose()?;
        let streams = server.finish()?;
        let Watch { outside, inside, guest: outside_guest } = watch;
        let arrived = Answers::of(&inside.finish()?, mac_of(lab, "server", "e0")?);
        let repeated_inside = arrived.repeated();
        if guest.is_some() {
            problems.extend(Guest::complaints(lab)?);
        }
        Ok(Findings {
            name: mode.to_owned(),
            seed,
            full,
            detection_ms: lab.timing.detection_ms(),
            tunnels: peers.tunnels().to_vec(),
            round,
            events,
            fresh,
            handshakes: handshakes(&peers, fresh, guest.is_some()),
            rekeyed,
            replayed,
            counters,
            client,
            to_guest,
            failures_at_server: streams["failures"].clone(),
            arrived_inside: arrived.count(),
            repeated_inside,
            captures: [Some(outside.stop()), outside_guest.map(Capture::stop)].into_iter().flatten().collect(),
            problems,
        })
    }
}

/// How often each peer was told to connect.
fn handshakes(peers: &Peers, fresh: u32, with_guest: bool) -> BTreeMap<String, u64> {
    let of = |number: u8, count: u64| (peers::address(number).to_string(), count);
    let each = u64::from(fresh) / FRESH.len() as u64;
    let mut all: BTreeMap<String, u64> = peers.tunnels().iter().map(|&number| of(number, 1)).collect();
    all.extend(FRESH.filter(|_| each > 0).map(|number| of(number, each)));
    all.extend(with_guest.then(|| (crate::guest::ADDRESS.to_string(), 1)));
    all
}

/// What peers were told to do while a member is hit.
struct Undertaking {
    circumstance: Circumstance,
    tasks: Vec<Task>,
    /// Tunnels, and whether their IKE SA is meant.
    rekeyed: BTreeSet<(u8, bool)>,
}
