//! A lab with its peers; one case from its beginning to its end.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde_json::Value;

use super::super::charon::{Charon, Child, ChildSa, Connection, IkeSa, Mode};
use super::cases::{Case, Course, Peer};
use super::cluster::Papers;
use super::words;
use crate::lab::{Lab, Outcome, Plan, clock, failure, stage};

/// Answers that must come through the tunnel.
pub(super) const PINGS: u32 = 10;
/// After an end, for both sides to notice it.
const END: Duration = Duration::from_secs(5);
/// A member keeps an SA that is over for a while, to answer who has not heard so.
const LINGER: Duration = Duration::from_secs(45);
/// Of the guest, so that the machine's other work does not keep it waiting.
const PRIORITY: &str = "4";
/// Far's network, which nobody else knows.
const FAR: [u8; 4] = [192, 168, 7, 2];

/// A lab with three peers.
pub struct Stage {
    pub(super) lab: Lab,
    papers: Papers,
    charons: [Option<Charon>; 3],
}

/// What became of a case.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub case: Case,
    /// What IKE used, by strongSwan's word.
    pub ike: String,
    /// And ESP.
    pub esp: String,
    /// How long it took to connect.
    pub connected_ms: Option<u128>,
    /// What a reader should know.
    pub note: String,
    /// What went wrong.
    pub problem: Option<String>,
}

impl Row {
    /// Of a case that is to be played.
    pub(super) fn of(case: &Case) -> Self {
        Self {
            case: case.clone(),
            ike: String::new(),
            esp: String::new(),
            connected_ms: None,
            note: String::new(),
            problem: None,
        }
    }
}

impl Stage {
    /// A cluster of so many members, and the peers' hosts.
    pub fn up(members: u8) -> Outcome<Self> {
        let papers = Papers::issue()?;
        // The mode matters to a cluster only.
        let lab = Lab::up(Plan { members, config: Some(papers.config()), ..Plan::new("unicast", "none") })?;
        lab.call(&["host", "add", "guest", "outside", "--uml", "--priority", PRIORITY])?;
        lab.call(&["host", "add", "far", "outside"])?;
        for peer in [Peer::Client, Peer::Far, Peer::Guest] {
            lab.run(peer.host(), &["ip", "address", "add", &format!("10.60.{}.1/32", peer.number()), "dev", "lo"])?;
            let address = format!("fd00:60:{}::1/128", peer.number());
            lab.run(peer.host(), &["ip", "address", "add", &address, "dev", "lo"])?;
        }
        for (to, by) in [
            ("10.60.0.0/16", "10.3.0.10"),
            ("10.99.0.0/24", "10.3.0.10"),
            ("fd00:60::/32", "fd00:3::10"),
            ("fd00:99::/120", "fd00:3::10"),
        ] {
            lab.run("server", &["ip", "route", "add", to, "via", by])?;
        }
        put_behind_client(&lab)?;
        lab.await_healthy(Duration::from_secs(30))?;
        Ok(Self { lab, papers, charons: [None, None, None] })
    }

    /// Plays a case. Whatever comes of it, the next one can be played.
    pub fn play(&mut self, case: &Case) -> Row {
        let began = clock::now();
        let mut row = Row::of(case);
        let done = self.go_through(case, &mut row).and_then(|()| self.ends(case.peer, case.called()));
        if let Err(problem) = done {
            row.problem = Some(match row.connected_ms {
                Some(_) => format!("{problem}\n{}", self.said(case.peer)),
                None => problem.0,
            });
            let _ = self.ends(case.peer, case.called());
            // Whatever it knows is no concern of the next case.
            if let Some(charon) = self.charons[case.peer.place()].take() {
                let _ = charon.kill(&self.lab);
            }
        }
        let result = row.problem.as_deref().unwrap_or("as it should be");
        println!("{}: {result} ({:.1} s)", case.name, began.elapsed().as_secs_f64());
        row
    }

    /// Whether the members still know of an SA when all is over.
    pub fn left_over(&self) -> Outcome<()> {
        self.until_none("", LINGER)
    }

    fn go_through(&mut self, case: &Case, row: &mut Row) -> Outcome<()> {
        let connection = self.connection(case);
        self.charon(case.peer)?.load_in(connection)?;
        let logged = self.reports().len();
        let began = clock::now();
        let child = if case.inner_v6 { "net6" } else { "net" };
        if let Err(problem) = self.with(case.peer, |lab, charon| charon.initiate(lab, child)) {
            let first = problem.0.lines().next().unwrap_or("").to_owned();
            let why = self
                .reports()
                .split_off(logged)
                .into_iter()
                .find_map(|it| Some(it.strip_prefix("IKE: with ")?.split_once(": ")?.1.to_owned()));
            row.note = why.unwrap_or_default();
            return Err(failure(format!("{first}\n{}", self.said(case.peer))));
        }
        row.connected_ms = Some(began.elapsed().as_millis());
        let sa = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        row.ike = words::in_use(&sa.said);
        row.esp = words::in_use(&sa.child()?.said);
        check_words(case, &sa)?;
        self.check_cluster(case, logged)?;
        self.pings_pass_in(case, child, &sa)?;
        row.note = self.course(case)?;
        if case.wide {
            row.note = format!("asked for 10.0.0.0/8, got {}", sa.child()?.remote_ts.join(" "));
        }
        Ok(())
    }

    /// Pings through a child, and back to where the packets come from; both sides' counters must have moved.
    pub(super) fn pings_pass(&self, case: &Case, child: &str) -> Outcome<()> {
        let sa = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        self.pings_pass_in(case, child, &sa)
    }

    /// The same, where strongSwan has just been asked for its SA.
    fn pings_pass_in(&self, case: &Case, child: &str, sa: &IkeSa) -> Outcome<()> {
        let (v6, number) = (child == "net6", case.peer.number());
        let before = self.counted(sa, child)?;
        let dropped = self.dropped()?;
        let answered = self.ping(case.peer.host(), &case.target(v6).to_string()).and_then(|()| {
            let behind = if v6 { format!("fd00:60:{number}::1") } else { format!("10.60.{number}.1") };
            if case.virtual_ip || case.transport { Ok(()) } else { self.ping("server", &behind) }
        });
        answered.map_err(|problem| {
            let now = self.dropped().unwrap_or_default();
            let more: Vec<_> = now.into_iter().filter(|(line, count)| dropped.get(line) != Some(count)).collect();
            failure(format!("{problem}; the members have dropped: {more:?}"))
        })?;
        let now = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        // New keys begin to count anew.
        if spis(&now, child) != spis(sa, child) {
            return self.pings_pass_in(case, child, &now);
        }
        let after = self.counted(&now, child)?;
        let names = ["strongSwan received", "strongSwan sent", "the cluster received", "the cluster sent"];
        for ((name, before), after) in names.iter().zip(before).zip(after) {
            let passed = after - before;
            if passed < f64::from(PINGS) {
                return Err(failure(format!("{name} {passed} packets in the tunnel, where {PINGS} and more passed")));
            }
        }
        Ok(())
    }

    fn ping(&self, from: &str, to: &str) -> Outcome<()> {
        let count = PINGS.to_string();
        let said = self.lab.run(from, &["ping", "-n", "-q", "-c", &count, "-i", "0.02", "-W", "2", to])?;
        said.contains(" 0% packet loss").then_some(()).ok_or_else(|| failure(format!("{from} -> {to}: {said}")))
    }

    /// What the members have dropped, by the line of their metrics.
    fn dropped(&self) -> Outcome<BTreeMap<String, String>> {
        let all = self.lab.metrics_of_all()?;
        let lines = all.lines().filter(|line| line.starts_with("phalanx_dropped_packets_total"));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')).map(|(line, count)| (line.into(), count.into())).collect())
    }

    /// Packets in a child: received and sent by the peer's word, and by the cluster's.
    fn counted(&self, sa: &IkeSa, child: &str) -> Outcome<[f64; 4]> {
        let child: &ChildSa =
            sa.children.iter().find(|it| it.name == child).ok_or_else(|| failure(format!("no child {child}")))?;
        let total = |direction| {
            self.lab.total(&format!("phalanx_tunnel_packets_total{{tunnel=\"ike\",direction=\"{direction}\""))
        };
        Ok([child.received.packets as f64, child.sent.packets as f64, total("in")?, total("out")?])
    }

    /// The cluster's word of the child that has just come.
    fn check_cluster(&self, case: &Case, logged: usize) -> Outcome<()> {
        let Some(suite) = words::suite(&case.esp) else { return Ok(()) };
        let reports = self.reports().split_off(logged);
        let mut established =
            reports.iter().filter(|it| it.starts_with("IKE: child SA") && it.contains(" established "));
        match established.any(|it| it.contains(&format!(": {suite}, in "))) {
            true => Ok(()),
            false => Err(failure(format!("the cluster logs no child with {suite}: {reports:?}"))),
        }
    }

    /// The peer takes it down, and the cluster knows of no tunnel any more.
    fn ends(&self, peer: Peer, called: &str) -> Outcome<()> {
        if let Some(charon) = &self.charons[peer.place()] {
            charon.terminate(&self.lab, called)?;
        }
        self.until_none("{kind=\"tunnels\"}", END)
    }

    /// Waits until the members have none of these.
    pub(super) fn until_none(&self, kind: &str, limit: Duration) -> Outcome<()> {
        let done = clock::until(limit, Duration::from_millis(50), || {
            match self.lab.total(&format!("phalanx_ike_sas{kind}"))? {
                0.0 => Ok(()),
                some => Err(failure(format!("the cluster still has {some} of phalanx_ike_sas{kind}"))),
            }
        });
        done.map(drop)
    }

    /// All that the members have logged of IKE.
    pub(super) fn reports(&self) -> Vec<String> {
        let logs: Vec<String> = self.lab.members.iter().map(|member| member.log()).collect();
        let lines = logs.iter().flat_map(|log| log.lines());
        // In the order of time, so that what is new is at the end.
        let mut all: Vec<(String, String)> = lines.filter_map(report).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(_, message)| message).collect()
    }

    /// What the peer's log has of the case.
    pub(super) fn said(&self, peer: Peer) -> String {
        const BEGINNING: &str = "vici initiate CHILD_SA";
        let log = self.charons[peer.place()].as_ref().map_or_else(String::new, |charon| charon.log(&self.lab));
        log.rfind(BEGINNING).map_or(log.clone(), |at| log[at..].to_owned())
    }

    pub(super) fn with<T>(&self, peer: Peer, ask: impl FnOnce(&Lab, &Charon) -> Outcome<T>) -> Outcome<T> {
        let charon = self.charons[peer.place()].as_ref().ok_or_else(|| failure("the peer is dead"))?;
        ask(&self.lab, charon)
    }

    /// The peer is dead from now on.
    pub(super) fn kill(&mut self, peer: Peer) -> Outcome<()> {
        self.charons[peer.place()].take().map_or(Ok(()), |charon| charon.kill(&self.lab))
    }

    /// The peer's daemon; it is started if it does not run.
    pub(super) fn charon(&mut self, peer: Peer) -> Outcome<Loader<'_>> {
        let slot = &mut self.charons[peer.place()];
        if slot.is_none() {
            *slot = Some(match peer {
                Peer::Guest => Charon::in_guest(&self.lab, peer.host())?,
                // IPv4 packets of pieces have so many bytes.
                _ => Charon::in_namespace_with(&self.lab, peer.host(), "fragment_size = 500")?,
            });
        }
        let charon = slot.as_mut().ok_or_else(|| failure("the peer is dead"))?;
        Ok(Loader { lab: &self.lab, charon })
    }

    pub(super) fn connection(&self, case: &Case) -> Connection {
        let [local, remote] = self.papers.parties(case.proof, case.ids);
        let virtual_ips = match (case.virtual_ip, case.inner_v6) {
            (false, _) => Vec::new(),
            (true, false) => vec![IpAddr::from([0, 0, 0, 0])],
            (true, true) => vec![IpAddr::from(Ipv6Addr::UNSPECIFIED)],
        };
        let mut children = vec![child_of(case, case.inner_v6)];
        if case.course == Course::SecondChild {
            children.push(child_of(case, true));
        }
        let from = case.peer.address(case.outer_v6);
        Connection {
            local_address: (case.course != Course::Moves).then_some(from),
            remote_address: Some(stage::cluster(case.outer_v6)),
            proposals: case.ike.clone(),
            virtual_ips,
            fragmentation: case.fragmentation,
            encapsulation: case.encapsulation,
            children,
            ..Connection::new(case.called(), local, remote, child_of(case, false))
        }
    }
}

/// A daemon, to be told its connection.
pub(super) struct Loader<'s> {
    lab: &'s Lab,
    charon: &'s mut Charon,
}

impl Loader<'_> {
    pub(super) fn load_in(self, connection: Connection) -> Outcome<()> {
        self.charon.load(self.lab, &[&connection])
    }
}

impl Peer {
    pub(super) const fn host(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Far => "far",
            Self::Guest => "guest",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Far => 1,
            Self::Guest => 2,
        }
    }

    /// Of its network within the tunnel.
    const fn number(self) -> usize {
        self.place() + 1
    }

    pub(super) fn address(self, v6: bool) -> IpAddr {
        let last = if self == Self::Guest { 0x164 } else { 0x100 };
        match (self, v6) {
            (_, true) => IpAddr::from([0xfd00, 2, 0, 0, 0, 0, 0, last]),
            (Self::Far, false) => IpAddr::from(FAR),
            (Self::Client, false) => IpAddr::from([10, 2, 0, 100]),
            (Self::Guest, false) => IpAddr::from([10, 2, 0, 164]),
        }
    }
}

impl Case {
    /// The connection's name. strongSwan takes any address of IPv4 for the same as any of IPv6, and keeps the connection that it has.
    pub(super) const fn called(&self) -> &'static str {
        if self.inner_v6 { "case6" } else { "case" }
    }

    /// Who is pinged from the peer's side.
    pub(super) fn target(&self, v6: bool) -> IpAddr {
        if self.transport { stage::cluster(v6) } else { stage::server(v6) }
    }
}

fn spis(sa: &IkeSa, child: &str) -> Option<[u32; 2]> {
    sa.children.iter().find(|it| it.name == child).map(|it| [it.spi_in, it.spi_out])
}

fn child_of(case: &Case, v6: bool) -> Child {
    let number = case.peer.number();
    let (name, ours, theirs) = match v6 {
        true => ("net6", format!("fd00:60:{number}::/48"), "fd00:3::/64"),
        false => ("net", format!("10.60.{number}.0/24"), "10.3.0.0/24"),
    };
    let ours = if case.virtual_ip || case.transport { "dynamic".to_owned() } else { ours };
    let theirs = match (case.wide, case.transport) {
        (true, _) => "10.0.0.0/8",
        (_, true) => "dynamic",
        _ => theirs,
    };
    let child = Child::tunnel(name, &ours, theirs);
    Child { proposals: case.esp.clone(), mode: if case.transport { Mode::Transport } else { Mode::Tunnel }, ..child }
}

/// strongSwan's word of what is in use.
fn check_words(case: &Case, sa: &IkeSa) -> Outcome<()> {
    let child = sa.child()?;
    let mut problems = words::missing(&case.esp, &child.said, false);
    // Where the first group is not ours, another is taken.
    if !case.ike.contains("modp1024") {
        problems.extend(words::missing(&case.ike, &sa.said, true));
    }
    let translated = sa.said["nat-local"].as_str() == Some("yes");
    // Charon in a namespace feigns one, and whoever insists on UDP; of that `nat-local` says nothing.
    if translated != (case.peer == Peer::Far) {
        problems.push(format!("strongSwan finds a translator before it: {translated}"));
    }
    if child.encapsulated != (case.peer != Peer::Guest || case.encapsulation) {
        problems.push(format!("ESP is within UDP: {}", child.encapsulated));
    }
    if child.mode != if case.transport { "TRANSPORT" } else { "TUNNEL" } {
        problems.push(format!("the child is for {}", child.mode));
    }
    if case.virtual_ip {
        let pool = if case.inner_v6 { "fd00:99::" } else { "10.99.0." };
        match &sa.local_vips[..] {
            [address] if address.to_string().starts_with(pool) => {}
            other => problems.push(format!("strongSwan was given {other:?}")),
        }
    }
    let theirs = match (case.transport, case.inner_v6) {
        (true, true) => "fd00:2::10/128",
        (true, false) => "10.2.0.10/32",
        (false, true) => "fd00:3::/64",
        (false, false) => "10.3.0.0/24",
    };
    if child.remote_ts != [theirs] {
        problems.push(format!("the child is for {:?}", child.remote_ts));
    }
    if problems.is_empty() { Ok(()) } else { Err(failure(problems.join("; "))) }
}

/// When, and what.
fn report(line: &str) -> Option<(String, String)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let message = line["fields"]["message"].as_str().or_else(|| line["message"].as_str())?;
    message.starts_with("IKE: ").then(|| (line["timestamp"].as_str().unwrap_or("").to_owned(), message.to_owned()))
}

/// Takes `far` off its network, and joins it to the client, which translates its addresses: ports too.
fn put_behind_client(lab: &Lab) -> Outcome<()> {
    lab.run("switch", &["sh", "-c", "ip link set far-0 nomaster && ip link set far-0 netns client name n0"])?;
    let [a, b, c, d] = FAR;
    let far = format!(
        "set -e; ip -4 address flush dev e0; ip -6 address flush dev e0 scope global
         ip address add {a}.{b}.{c}.{d}/24 dev e0; ip route add default via {a}.{b}.{c}.1"
    );
    let client = format!(
        "set -e; ip address add {a}.{b}.{c}.1/24 dev n0; ip link set n0 up; sysctl -qw net.ipv4.ip_forward=1
         nft 'add table ip nat; add chain ip nat out {{ type nat hook postrouting priority 100; }};
              add rule ip nat out ip saddr {a}.{b}.{c}.0/24 oifname e0 masquerade random'"
    );
    lab.run("far", &["sh", "-c", &far])?;
    lab.run("client", &["sh", "-c", &client]).map(drop)
}
