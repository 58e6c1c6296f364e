//! What is done to the cluster: phases of calm, in which everything must work, and of trouble, drawn from the seed.
//!
//! Every phase begins when the cluster has converged, which it must within [`Schedule::bound`]. In the calm, members may
//! be drained and units move, and no packet is lost. Then either one member is killed, and the blackout is
//! measured against its bound, or several faults overlap for a while. Then everything heals, and the next phase begins.

use super::net::{LINK, PATHS};
use super::rng::Rng;
use super::world::{Event, MS, US, World};

/// Something done to the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Start a process.
    Start(usize),
    /// `kill -9`.
    Kill(usize),
    /// SIGSTOP.
    Pause(usize, u32),
    /// SIGCONT.
    Resume(usize, u32),
    /// The cluster thread alone stands still.
    Stall(usize, u32),
    /// It goes on.
    Unstall(usize, u32),
    /// Sending (true) or receiving on a path, or on all, is cut.
    Cut(usize, Option<usize>, bool, bool),
    /// Loss in a thousand on a path.
    Loss(usize, usize, u64),
    /// Datagrams are late and overtake one another.
    Delay(usize, usize, u64),
    /// Datagrams come twice.
    Double(usize, usize, u64),
    /// The LAN of a path, or of all, falls apart: these members are cut off from the hosts.
    Split(u32, Option<usize>),
    /// Leave in good order.
    Drain(usize),
    /// Everything is repaired, and the dead start again.
    Heal,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Converging {
        by: u64,
    },
    Calm {
        until: u64,
        drained: Option<usize>,
    },
    Killed {
        at: u64,
        by: u64,
    },
    Trouble,
    /// No more faults: sessions come to their end.
    Finishing {
        since: u64,
    },
}

/// The course of events.
pub struct Schedule {
    phases: u64,
    phase: Phase,
    must_until: u64,
    calm_since: u64,
}

impl Schedule {
    pub(super) fn new(rng: &mut Rng, short: bool) -> Self {
        let phases = if short { rng.between(1, 4) } else { rng.between(2, 5) };
        Self { phases, phase: Phase::Trouble, must_until: 0, calm_since: 0 }
    }

    /// Whether nothing happens, or nothing but a lone kill has.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self.phase, Phase::Calm { .. } | Phase::Killed { .. })
    }

    /// Whether a packet sent now must be processed.
    pub(super) fn must(&self, now: u64) -> bool {
        match self.phase {
            Phase::Calm { drained: Some(_), .. } => true,
            Phase::Calm { .. } => now < self.must_until,
            _ => false,
        }
    }
}

impl Schedule {
    /// Since when nothing has been broken, if nothing is.
    pub(super) fn calm_since(&self) -> Option<u64> {
        matches!(self.phase, Phase::Calm { .. } | Phase::Finishing { .. }).then_some(self.calm_since)
    }
}

impl World {
    pub(super) fn begin(&mut self) {
        let slow = self.rng.permille(300);
        for at in 0..self.nodes.len() {
            let then = self.rng.below(if slow { 1000 * MS } else { 150 * MS });
            self.at(then, Event::Deed(Deed::Start(at)));
        }
        self.at(0, Event::Inject);
        self.begin_replicating();
        self.at(10 * MS, Event::Ask);
        let begun = if slow { 1000 * MS } else { 150 * MS };
        self.schedule.phase = Phase::Converging { by: begun + self.bound() };
        self.at(begun, Event::Schedule);
    }

    /// How long the cluster may take to be whole again after everything healed.
    fn bound(&self) -> u64 {
        // A link between two members may be noticed to be broken only when all is healed, a second later.
        let links = if self.sessions.is_some() { 2500 * MS } else { 0 };
        1000 * MS + 100 * self.common.period.0 + links
    }

    /// A unit may be on its way at the very moment when a calm ends, or its sessions be on their way to a backup.
    fn grace(&self) -> u64 {
        if self.sessions.is_some() { 200 * MS } else { 10 * MS }
    }

    pub(super) fn go_on(&mut self) -> Result<(), String> {
        match self.schedule.phase {
            Phase::Converging { by } => match self.unrest() {
                None => {
                    self.report.converged += 1;
                    self.begin_calm();
                }
                Some(why) if self.now >= by => return Err(format!("not converged in time: {why}")),
                Some(_) => self.at(self.now + 4 * MS, Event::Schedule),
            },
            Phase::Calm { until, drained } => {
                let leaves = drained.is_some_and(|at| self.nodes[at].process.is_some());
                if leaves {
                    // Where it holds sessions that nobody else does, it waits for ten seconds at most.
                    let farewell = if self.common.replicas.is_some() { 10_000 * MS } else { 0 };
                    if self.now >= until + 3000 * MS + farewell {
                        return Err("a drained member does not leave".into());
                    }
                    self.at(self.now + 10 * MS, Event::Schedule);
                } else if drained.is_some() {
                    let until = self.now + 200 * MS;
                    self.schedule.must_until = until - 100 * MS;
                    self.schedule.phase = Phase::Calm { until, drained: None };
                    self.at(until, Event::Schedule);
                } else if let Some(why) = self.unrest().filter(|_| self.now < until + self.grace()) {
                    self.note(|| why);
                    self.at(self.now + MS, Event::Schedule);
                } else {
                    self.end_calm()?;
                    if let Some(why) = self.unrest() {
                        return Err(format!("unrest without cause: {why}"));
                    }
                    self.begin_trouble();
                }
            }
            Phase::Killed { at, by } => {
                let unowned = self.unowned();
                if unowned == 0 {
                    self.report.blackout_ns = self.report.blackout_ns.max(self.now - at);
                    self.schedule.phase = Phase::Trouble;
                    let heal = self.now + self.rng.between(20 * MS, 600 * MS);
                    self.at(heal, Event::Deed(Deed::Heal));
                } else if self.now >= by {
                    return Err(format!("{unowned} units have no owner {} us after a lone kill", (self.now - at) / US));
                } else {
                    self.at(self.now + 250 * US, Event::Schedule);
                }
            }
            Phase::Trouble => {}
            Phase::Finishing { since } => {
                let quiet = self.sessions.as_ref().is_none_or(|sessions| sessions.is_quiet());
                let quiet = quiet && self.check_agreement(since)?;
                if quiet && self.now > since + 100 * MS {
                    self.check_copies()?;
                    self.done = true;
                } else {
                    self.at(self.now + 10 * MS, Event::Schedule);
                }
            }
        }
        Ok(())
    }

    fn begin_calm(&mut self) {
        self.note(|| "== calm".into());
        self.check_what_owners_hold();
        self.traffic.begin_calm();
        self.begin_history();
        self.schedule.calm_since = self.now;
        let until = self.now + self.rng.between(200 * MS, 600 * MS);
        self.schedule.must_until = until - 100 * MS;
        let living: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].process.is_some()).collect();
        let drained = (living.len() > 1 && self.rng.permille(250)).then(|| *self.rng.pick(&living));
        if let Some(at) = drained {
            let then = self.now + self.rng.below(100 * MS);
            self.at(then, Event::Deed(Deed::Drain(at)));
        }
        self.schedule.phase = Phase::Calm { until, drained };
        self.at(until, Event::Schedule);
    }

    fn begin_trouble(&mut self) {
        if self.schedule.phases == 0 {
            let Some(sessions) = &mut self.sessions else {
                self.done = true;
                return;
            };
            sessions.close();
            self.schedule.phase = Phase::Finishing { since: self.now };
            self.at(self.now + 10 * MS, Event::Schedule);
            return;
        }
        self.note(|| "== trouble".into());
        self.schedule.phases -= 1;
        let living: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].process.is_some()).collect();
        let two_die = self.common.quorum == phalanx_control::cluster::Quorum::Majority && living.len() < 3;
        if living.len() > 1 && !two_die && self.rng.permille(350) {
            let victim = *self.rng.pick(&living);
            let id = self.nodes[victim].id;
            self.note(|| format!("== {id} is killed"));
            self.stop(victim);
            let n = u64::from(self.losses);
            // give_away(n), two periods, and latencies.
            let bound = self.common.period.0 * (4 * n + 6) / 4 + 2 * self.common.period.0 + 2 * MS;
            self.schedule.phase = Phase::Killed { at: self.now, by: self.now + bound };
            return self.at(self.now + 250 * US, Event::Schedule);
        }
        self.schedule.phase = Phase::Trouble;
        let window = self.rng.between(50 * MS, 900 * MS);
        for _ in 0..self.rng.between(1, 6) {
            self.draw_fault(window);
        }
        self.at(self.now + window, Event::Deed(Deed::Heal));
    }

    fn draw_fault(&mut self, window: u64) {
        let members = self.nodes.len() as u64;
        let at = self.rng.below(members) as usize;
        let begin = self.now + self.rng.below(window);
        let period = self.common.period.0;
        let long = *self.rng.pick(&[2 * period, 5 * period, 8 * period, 300 * MS]);
        let end = begin + self.rng.between(MS, long);
        let path = self.rng.below(PATHS as u64) as usize;
        let life = self.nodes[at].life;
        let (tx, rx) = *self.rng.pick(&[(true, true), (true, false), (false, true)]);
        let (deed, undo) = match self.rng.below(12) {
            0 => (Deed::Kill(at), Some(Deed::Start(at))),
            1 | 2 => (Deed::Pause(at, life), Some(Deed::Resume(at, life))),
            3 => (Deed::Stall(at, life), Some(Deed::Unstall(at, life))),
            4 => (Deed::Cut(at, None, tx, rx), None),
            5 | 6 => (Deed::Cut(at, Some(path), tx, rx), None),
            7 => (Deed::Loss(at, path, self.rng.between(10, 600)), None),
            8 => (Deed::Delay(at, path, self.rng.between(100 * US, 2 * period)), None),
            9 => (Deed::Double(at, path, self.rng.between(50, 900)), None),
            10 => {
                let lan = if self.rng.permille(600) { None } else { Some(self.rng.below(PATHS as u64) as usize) };
                (Deed::Split(self.rng.below(1 << members) as u32, lan), None)
            }
            _ => (Deed::Drain(at), None),
        };
        self.at(begin, Event::Deed(deed));
        if let Some(undo) = undo {
            self.at(end, Event::Deed(undo));
        }
    }

    pub(super) fn done_to(&mut self, deed: Deed) -> Result<(), String> {
        self.note(|| format!("== {deed:?}"));
        match deed {
            // What undoes an earlier fault does not bring back who has just been drained.
            Deed::Start(at) if matches!(self.schedule.phase, Phase::Calm { drained: Some(it), .. } if it == at) => {}
            Deed::Start(at) => return self.start(at),
            Deed::Kill(at) => self.stop(at),
            Deed::Pause(at, life) if self.nodes[at].life == life => self.nodes[at].paused = 1,
            Deed::Stall(at, life) if self.nodes[at].life == life => self.nodes[at].stalled = 1,
            Deed::Resume(at, life) if self.nodes[at].life == life && self.nodes[at].paused > 0 => {
                self.nodes[at].paused = 0;
                self.wakes_blind(at);
                return self.resume(at);
            }
            Deed::Unstall(at, life) if self.nodes[at].life == life && self.nodes[at].stalled > 0 => {
                self.nodes[at].stalled = 0;
                self.count_second(at);
                self.sees_again(at);
                return self.resume(at);
            }
            Deed::Pause(..) | Deed::Stall(..) | Deed::Resume(..) | Deed::Unstall(..) => {}
            Deed::Cut(at, path, tx, rx) => {
                for path in path.map_or(0..PATHS, |path| path..path + 1) {
                    self.net.lines[at].tx[path].cut |= tx;
                    self.net.lines[at].rx[path].cut |= rx;
                }
            }
            Deed::Loss(at, path, permille) => self.net.lines[at].rx[path].loss = permille,
            Deed::Delay(at, path, ns) => self.net.lines[at].tx[path].delay_ns = ns,
            Deed::Double(at, path, permille) => self.net.lines[at].tx[path].doubled = permille,
            Deed::Split(mask, lan) => {
                for at in 0..self.nodes.len() {
                    for path in lan.map_or(LINK..PATHS, |path| path..path + 1) {
                        self.net.lines[at].side[path] = (mask >> at & 1) as u8;
                    }
                }
            }
            Deed::Drain(at) => self.drain(at)?,
            Deed::Heal => self.heal()?,
        }
        Ok(())
    }

    fn drain(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let local = phalanx_control::cluster::Time(node.clock.local(self.now));
        if !node.is_well() {
            return Ok(());
        }
        if let Some(process) = &mut node.process {
            process.draining = true;
            process.core.handle_drain(local);
        }
        self.after_cluster(at)
    }

    fn heal(&mut self) -> Result<(), String> {
        self.net.heal();
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            let held_up = std::mem::take(&mut node.paused) + std::mem::take(&mut node.stalled) > 0;
            if held_up {
                self.count_second(at);
                self.sees_again(at);
                self.resume(at)?;
            }
            // A member that drains when everything heals is killed: it would leave at some moment of the calm.
            if self.nodes[at].process.as_ref().is_some_and(|process| process.draining) {
                self.stop(at);
            }
            let then = self.now + self.rng.below(20 * MS);
            self.at(then, Event::Deed(Deed::Start(at)));
        }
        let by = self.now + 20 * MS + self.bound();
        self.schedule.phase = Phase::Converging { by };
        self.at(self.now + 25 * MS, Event::Schedule);
        Ok(())
    }

    /// A member has left in good order.
    pub(super) fn left(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.paused = 0;
        node.stalled = 0;
    }
}
