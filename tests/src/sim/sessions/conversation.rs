//! Conversations: a client, a server, and the relay between them. On each line (a relay with one back end) one follows the
//! other; so whatever reaches a server is known to belong to the conversation that its line has.

use std::net::{IpAddr, SocketAddr};

use phalanx_dataplane::filter::steered::OPENED_PORTS_MIN;
use phalanx_dataplane::parse::{Summary, flag};
use phalanx_dataplane::relay::RelaySpec;
use phalanx_dataplane::tcp::{Config, Flow, Segment, Seq, State};
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::proto;

use super::super::rng::Rng;
use super::super::world::{Event, MS, World};
use super::Sessions;
use super::desk::OUTSIDE;
use super::host::{Host, Manner, config};
use super::lan::Frame;

/// Lines of a run.
pub const LINES: usize = 4;
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// One conversation.
pub(super) struct Conversation {
    pub(super) line: usize,
    pub(super) unit: Unit,
    pub(super) hosts: [Option<Host>; 2],
    manners: [Manner; 2],
    server_config: Config,
    /// Its state was lost with all who held it, or its unit went to one who did not.
    pub(super) excused: bool,
    pub(super) is_over: bool,
    pub(super) progress_at: u64,
    progress: [Option<(u64, u64, u64, State)>; 2],
}

/// The address on which a line's relay listens.
pub(super) fn listen(line: usize) -> SocketAddr {
    SocketAddr::new(OUTSIDE.parse().unwrap_or(IpAddr::from([0; 4])), 8000 + line as u16)
}

/// The address of a line's server.
pub(super) fn server(line: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 10, 0, 10 + line as u8]), 80)
}

/// A line's relay.
pub(super) fn spec(line: usize, buffer_bytes: u32) -> RelaySpec {
    RelaySpec {
        name: format!("line{line}"),
        listen: listen(line),
        backends: vec![server(line)],
        connections_max: 100,
        buffer_bytes,
        idle_ns: 300_000 * MS,
        connect_ns: 20_000 * MS,
        keepalive: None,
        health: None,
        proxy_protocol: false,
    }
}

fn manners(rng: &mut Rng) -> [Manner; 2] {
    let kind = rng.below(4);
    let mut lengths = [0_u64; 2];
    for length in &mut lengths {
        *length = match kind {
            0 => rng.between(1, 2_000),
            1 => rng.between(1, 60_000),
            2 => *rng.pick(&[0, 1, 40_000]),
            _ => rng.between(2_000, 20_000),
        };
    }
    let names = [rng.number(), rng.number()];
    let last = rng.below(4);
    [CLIENT, SERVER].map(|end| Manner {
        says: names[end],
        say_bytes: lengths[end],
        hears: names[1 - end],
        hear_bytes: lengths[1 - end],
        // A few seconds at most, if nothing holds it up.
        piece: lengths[end] / rng.between(1, 12) + 1,
        pause_ns: *rng.pick(&[MS, 5 * MS, 30 * MS, 200 * MS]),
        ends_last: last == end as u64,
        deaf: *rng.pick(&[0, 0, 0, 300]),
    })
}

impl Conversation {
    /// Whether somebody waits for something.
    fn waits(&self) -> bool {
        !self.hosts.iter().all(|host| host.as_ref().is_some_and(Host::rests))
    }
}

impl World {
    /// A line's next conversation begins, unless the run is about to end.
    pub(super) fn begin_conversation(&mut self, sessions: &mut Sessions, line: usize) {
        if sessions.closing {
            return;
        }
        let to = listen(line);
        let from = IpAddr::from([192, 0, 2, 1 + self.rng.below(200) as u8]);
        let (port, unit) = loop {
            let port = self.rng.between(1024, OPENED_PORTS_MIN.into()) as u16;
            let mut summary = Summary::of_addresses(from, to.ip(), proto::TCP);
            (summary.src_port, summary.dst_port) = (port, to.port());
            summary.flags |= flag::PORTS;
            let unit = sessions.filter.unit(&summary, true, &[]);
            if unit.index() < self.common.units {
                break (port, unit);
            }
        };
        let flow = Flow { local_ip: from, local_port: port, remote_ip: to.ip(), remote_port: to.port() };
        if sessions.find(&flow).is_some() {
            return self.at(self.now + MS, Event::Begin(line));
        }
        let manners = manners(&mut self.rng);
        let client_config = config(&mut self.rng, sessions.setup.mtu);
        let server_config = config(&mut self.rng, sessions.setup.mtu);
        let iss = Seq(self.rng.number() as u32);
        let client = Host::connect(&client_config, flow, iss, manners[CLIENT], self.now);
        self.note(|| format!("line {line}: {flow:?} of unit {unit} begins: {manners:?}"));
        sessions.conversations.push(Conversation {
            line,
            unit,
            hosts: [Some(client), None],
            manners,
            server_config,
            excused: false,
            is_over: false,
            progress_at: self.now,
            progress: [None; 2],
        });
        let number = sessions.conversations.len() - 1;
        sessions.lines[line] = number;
        sessions.report.begun += 1;
        let _ = self.let_act(sessions, number, CLIENT);
    }

    /// A frame reaches a host.
    pub(super) fn host_hears(&mut self, sessions: &mut Sessions, frame: &Frame) -> Result<(), String> {
        if frame.is_whole {
            return self.whole_arrives(sessions, frame);
        }
        if frame.proto != proto::TCP {
            return self.asker_hears(sessions, frame);
        }
        let segment = Segment::parse(&frame.bytes, frame.source, frame.destination)
            .map_err(|error| format!("a member sends what is no segment: {error}"))?;
        let flow = Flow {
            local_ip: frame.destination,
            local_port: segment.destination_port,
            remote_ip: frame.source,
            remote_port: segment.source_port,
        };
        let known = sessions.find(&flow);
        let (number, end) = match known {
            Some((number, end)) if !sessions.yields(number, end, &segment) => (number, end),
            _ => match self.accept(sessions, frame, flow, &segment)? {
                Some(number) => (number, SERVER),
                None => return Ok(()),
            },
        };
        let now = self.now;
        let conversation = &mut sessions.conversations[number];
        if let Some(host) = &mut conversation.hosts[end] {
            host.handle(now, &segment)?;
            if let Some(how) = host.failure().filter(|_| !conversation.excused && !conversation.is_over) {
                let both = conversation.show();
                return Err(format!("the connection of {flow:?} (unit {}) {how}: {both}", conversation.unit));
            }
        }
        self.let_act(sessions, number, end)
    }

    /// A server hears of a connection that it does not know.
    fn accept(
        &mut self,
        sessions: &mut Sessions,
        frame: &Frame,
        flow: Flow,
        syn: &Segment<'_>,
    ) -> Result<Option<usize>, String> {
        let line = (0..LINES).find(|line| server(*line) == SocketAddr::new(flow.local_ip, flow.local_port));
        let (Some(line), true) = (line, syn.syn() && !syn.has_ack()) else { return Ok(None) };
        let (number, unit) = (sessions.lines[line], sessions.unit_of_answer(frame));
        let has_excused = sessions.has_excused(line, unit);
        let Some(conversation) = sessions.conversations.get_mut(number) else { return Ok(None) };
        // The connection of one that was excused may still be tried, by an owner that had it of old.
        if conversation.is_over || conversation.excused || conversation.unit != unit {
            return Ok(None);
        }
        if let Some(host) = conversation.hosts[SERVER].as_ref().filter(|host| host.state() != State::SynReceived) {
            // Of the same connection, come late; or of one that was excused, in the same unit.
            if *host.flow() == flow || has_excused {
                return Ok(None);
            }
            return Err(format!("a second connection to the server of line {line}, {flow:?} beside {}", host.show()));
        }
        let iss = Seq(self.rng.number() as u32);
        let (config, manner) = (conversation.server_config, conversation.manners[SERVER]);
        conversation.hosts[SERVER] = Some(Host::accept(&config, syn, flow, iss, manner, self.now));
        Ok(Some(number))
    }

    /// A host does what it has to, now.
    pub(super) fn let_act(&mut self, sessions: &mut Sessions, number: usize, end: usize) -> Result<(), String> {
        let now = self.now;
        let conversation = &mut sessions.conversations[number];
        let Some(host) = &mut conversation.hosts[end] else { return Ok(()) };
        if host.due.is_some_and(|due| due <= now) {
            host.due = None;
        }
        let before = host.heard;
        host.tick(now, &mut self.rng)?;
        sessions.report.bytes += host.heard - before;
        let frames = host.speak(now);
        if let Some(next) = host.next().map(|next| next.max(now + 1))
            && host.due.is_none_or(|due| next < due)
        {
            host.due = Some(next);
            self.at(next, Event::Act(number, end));
        }
        let progress = host.progress();
        if conversation.progress[end].replace(progress) != Some(progress) || !conversation.waits() {
            conversation.progress_at = now;
        }
        self.end_if_over(sessions, number);
        for frame in frames {
            self.host_sends(sessions, frame);
        }
        Ok(())
    }

    fn end_if_over(&mut self, sessions: &mut Sessions, number: usize) {
        let conversation = &mut sessions.conversations[number];
        let over = conversation.hosts.iter().all(|host| host.as_ref().is_some_and(Host::is_over));
        if over && !conversation.is_over {
            conversation.is_over = true;
            sessions.report.completed += 1;
            let line = conversation.line;
            self.note(|| format!("line {line}: the conversation is over"));
            self.next_conversation(line);
        }
    }

    /// A line is free.
    pub(super) fn next_conversation(&mut self, line: usize) {
        let pause = self.rng.between(MS, 200 * MS);
        self.at(self.now + pause, Event::Begin(line));
    }
}

impl Conversation {
    /// For a violation's story.
    pub(super) fn show(&self) -> String {
        let shown = self.hosts.iter().map(|host| host.as_ref().map_or("nobody".to_owned(), Host::show));
        shown.collect::<Vec<_>>().join("; ")
    }
}

impl Sessions {
    /// Whether a conversation of this unit was excused on a line.
    fn has_excused(&self, line: usize, unit: Unit) -> bool {
        self.conversations.iter().any(|it| (it.line, it.unit, it.excused) == (line, unit, true))
    }

    /// The conversation and the end that a flow belongs to, as its host sees it.
    fn find(&self, flow: &Flow) -> Option<(usize, usize)> {
        let all = self.conversations.iter().enumerate().rev();
        all.flat_map(|(number, it)| it.hosts.iter().enumerate().map(move |(end, host)| (number, end, host)))
            .find(|(.., host)| host.as_ref().is_some_and(|host| host.flow() == flow))
            .map(|(number, end, _)| (number, end))
    }

    /// Whether a host's old connection makes room for a new one.
    fn yields(&self, number: usize, end: usize, segment: &Segment<'_>) -> bool {
        let host = self.conversations[number].hosts[end].as_ref();
        segment.syn()
            && !segment.has_ack()
            && host.is_some_and(|host| host.yields_to(segment) || host.state() == State::Closed)
    }
}
