//! What hosts do with a relay, and what that costs it: bulk transfer, requests and answers, short connections.

use super::RelayBenchError;
use super::desk::Desk;
use super::host::Side;
use super::member::Backups;
use super::meter::Waits;
use super::world::World;

/// How long anything takes at most that is not measured.
const PATIENCE_S: u64 = 20;
const NS_PER_S: u64 = 1_000_000_000;
/// With less than that, a figure says nothing: what is on its way at the beginning and at the end would be most of it.
const BULK_BYTES_MIN: u64 = 16 << 20;
/// The same, of requests and short connections.
const EXCHANGES_MIN: u64 = 100;
/// Bytes of the request of a short connection, and of its answer.
const SHORT_BYTES: u64 = 100;

/// What hosts do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Servers say as much as they can.
    Bulk,
    /// Clients ask by so many bytes, and servers answer by as many; one request of a connection at a time.
    Requests(u64),
    /// A connection for each request.
    Connections,
}

impl Work {
    /// Its name in reports.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Bulk => "bulk".into(),
            Self::Requests(bytes) => format!("requests-{bytes}"),
            Self::Connections => "connections".into(),
        }
    }
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// What hosts do.
    pub(crate) work: Work,
    /// Backups that hold every session.
    pub(crate) replicas: u8,
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// For how long.
    pub(crate) seconds: f64,
}

/// What that came to.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct TrafficFigures {
    /// How long it was measured.
    pub(crate) wall_s: f64,
    /// What of it the relay and its part of replication took.
    pub(crate) relay_s: f64,
    /// Bytes that hosts received.
    pub(crate) bytes: u64,
    /// Requests that were answered, or short connections that were opened, used and closed.
    pub(crate) exchanges: u64,
    /// Bytes of the log, which each backup gets.
    pub(crate) log_bytes: u64,
    /// Bytes on the link's streams, to all backups.
    pub(crate) link_bytes: u64,
    /// From a request to the end of its answer.
    pub(crate) answer_us: [f64; 2],
    /// From the log to the last backup's acknowledgement.
    pub(crate) commit_us: [f64; 2],
}

/// Measures.
pub(crate) fn measure(traffic: Traffic) -> Result<TrafficFigures, RelayBenchError> {
    let mut desk = Desk::new();
    let (member, backups) = Backups::start(traffic.replicas, &mut desk)?;
    let mut run = Run { world: World::new(desk, member)?, work: traffic.work, answers: Waits::new()?, exchanges: 0 };
    run.world.until("the backups came into sync", PATIENCE_S, World::is_replicated)?;
    for _ in 0..traffic.connections {
        run.world.open();
    }
    // Windows and caches come to their size first.
    run.go_on(traffic.seconds / 4.0)?;
    let figures = run.measure(traffic.seconds)?;
    run.world.leave();
    backups.stop()?;
    Ok(figures)
}

struct Run {
    world: World,
    work: Work,
    answers: Waits,
    exchanges: u64,
}

impl Run {
    fn measure(&mut self, seconds: f64) -> Result<TrafficFigures, RelayBenchError> {
        let before = (self.world.bytes_of_log(), self.world.bytes_to_backups());
        (self.answers, self.exchanges, self.world.commits, self.world.news.bytes) =
            (Waits::new()?, 0, Waits::new()?, 0);
        self.world.meter.start();
        self.go_on(seconds)?;
        // On a machine that is busy with other things, a short while may pass without anything; so it becomes longer.
        let patience_ns = self.world.desk.now_ns + PATIENCE_S * NS_PER_S;
        while !self.has_seen_enough() {
            if self.world.desk.now_ns > patience_ns {
                return Err(RelayBenchError::Late("a few answers came through the relay", PATIENCE_S));
            }
            self.go_on(seconds)?;
        }
        let (wall_ns, relay_ns) = self.world.meter.read_ns();
        let quantiles = |waits: &Waits| [0.5, 0.99].map(|share| waits.quantile_us(share));
        Ok(TrafficFigures {
            wall_s: wall_ns as f64 / 1e9,
            relay_s: relay_ns as f64 / 1e9,
            bytes: self.world.news.bytes,
            exchanges: self.exchanges,
            log_bytes: self.world.bytes_of_log() - before.0,
            link_bytes: self.world.bytes_to_backups() - before.1,
            answer_us: quantiles(&self.answers),
            commit_us: quantiles(&self.world.commits),
        })
    }

    fn has_seen_enough(&self) -> bool {
        match self.work {
            Work::Bulk => self.world.news.bytes >= BULK_BYTES_MIN,
            Work::Requests(_) | Work::Connections => self.exchanges >= EXCHANGES_MIN,
        }
    }

    fn go_on(&mut self, seconds: f64) -> Result<(), RelayBenchError> {
        let until_ns = self.world.clock.now_ns() + (seconds * NS_PER_S as f64) as u64;
        let mut busy = true;
        while self.world.desk.now_ns < until_ns {
            busy = self.world.round_or_nap(busy);
            while let Some(at) = self.world.news.heard.pop_front() {
                self.react(at);
            }
            if self.world.news.corrupt {
                return Err(RelayBenchError::Corrupt);
            }
            if self.world.news.broken > 0 {
                return Err(RelayBenchError::Broken(self.world.news.broken));
            }
        }
        Ok(())
    }

    /// A host has heard something: what it does next.
    fn react(&mut self, at: usize) {
        match self.work {
            Work::Bulk => self.react_in_bulk(at),
            Work::Requests(bytes) => {
                if self.is_answered(at, bytes) {
                    self.ask(at, bytes);
                }
            }
            Work::Connections => self.react_in_short(at),
        }
    }

    fn react_in_bulk(&mut self, at: usize) {
        let world = &mut self.world;
        let Some(host) = world.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        if host.side == Side::Server {
            host.say_all(&world.text, &mut world.pool);
            world.wants_to_speak(at);
        }
    }

    /// Servers answer; whether a client has its answer, or has asked nothing yet.
    fn is_answered(&mut self, at: usize, bytes: u64) -> bool {
        let world = &mut self.world;
        let Some(host) = world.hosts.get_mut(at).and_then(Option::as_mut) else { return false };
        if !host.endpoint().state().is_synchronized() || host.got() < host.expects {
            return false;
        }
        if host.side == Side::Client {
            if host.expects > 0 {
                self.answers.record(world.clock.now_ns().saturating_sub(host.asked_ns));
                self.exchanges += 1;
            }
            return true;
        }
        if host.got() >= host.expects + bytes {
            host.expects += bytes;
            host.say(&world.text, &mut world.pool, bytes);
            world.wants_to_speak(at);
        }
        false
    }

    fn ask(&mut self, at: usize, bytes: u64) {
        let world = &mut self.world;
        let Some(host) = world.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        host.expects += bytes;
        host.asked_ns = world.clock.now_ns();
        host.say(&world.text, &mut world.pool, bytes);
        world.wants_to_speak(at);
    }

    /// A client asks once and ends; so does the server when it has heard that. Then comes the next client.
    fn react_in_short(&mut self, at: usize) {
        let world = &mut self.world;
        let Some(host) = world.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        if host.is_over() {
            let client = host.side == Side::Client;
            world.forget(at);
            if client {
                world.open();
            }
            return;
        }
        if host.side == Side::Server && host.is_ended() && !host.has_ended() {
            host.end();
            return world.wants_to_speak(at);
        }
        if !self.is_answered(at, SHORT_BYTES) {
            return;
        }
        let Some(host) = self.world.hosts.get_mut(at).and_then(Option::as_mut) else { return };
        if host.expects == 0 {
            self.ask(at, SHORT_BYTES);
        } else if !host.has_ended() {
            host.end();
            self.world.wants_to_speak(at);
        }
    }
}
