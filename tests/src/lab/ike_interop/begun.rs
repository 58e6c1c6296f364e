//! Begun by the cluster: one peer with an address of its own for each case, and as many connections of the cluster's that say
//! `start = "always"`. strongSwan begins nothing.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::charon::{Charon, Child, ChildSa, Connection, IkeSa};
use super::cases::{Case, Proof};
use super::cluster::{IKE, Papers, SECRET};
use super::stage::{PINGS, Row};
use super::words;
use crate::lab::{Lab, Outcome, Plan, clock, failure, stage};

/// The first attempt may come before the peer is there: the next ones are 2, 4, 8 and 16 s later.
const PATIENCE: Duration = Duration::from_secs(60);
const HOST: &str = "client";

/// One case, and which one it is.
#[derive(Clone, Copy)]
struct Numbered<'c> {
    number: u8,
    case: &'c Case,
}

/// Plays all of them at once.
pub fn play_begun(cases: &[Case]) -> Outcome<Vec<Row>> {
    let papers = Papers::issue()?;
    let numbered = || (0..).zip(cases).map(|(number, case)| Numbered { number, case });
    let config: String = numbered().map(|it| it.config(&papers)).collect();
    let lab = Lab::up(Plan { members: 1, config: Some(config), ..Plan::new("unicast", "none") })?;
    lab.await_healthy(Duration::from_secs(30))?;
    lab.run("server", &["ip", "route", "add", "10.60.0.0/16", "via", "10.3.0.10"])?;
    let addresses: Vec<String> = numbered().map(|it| it.commands()).collect();
    lab.run(HOST, &["sh", "-ec", &addresses.concat()])?;
    let mut charon = Charon::in_namespace(&lab, HOST)?;
    let connections: Vec<Connection> = numbered().map(|it| it.connection(&papers)).collect();
    charon.load(&lab, &connections.iter().collect::<Vec<_>>())?;
    Ok(numbered().map(|it| it.play(&lab, &charon)).collect())
}

impl Numbered<'_> {
    fn peer(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 2, 0, 170 + self.number)
    }

    fn name(self) -> String {
        format!("begun{}", self.number)
    }

    /// Within the tunnel.
    fn behind(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 60, 100 + self.number, 1)
    }

    fn network(self) -> String {
        format!("{}/32", self.behind())
    }

    /// The peer's name and ours. No two pairs are alike where nothing else tells them apart: who says that this is the only IKE SA of two
    /// names (`INITIAL_CONTACT`) ends all others.
    fn ids(self) -> [String; 2] {
        let (near, gateway) = self.case.ids;
        match self.case.proof {
            Proof::Certificates(_) => [near.to_owned(), gateway.to_owned()],
            _ => [format!("{}.{near}", self.name()), gateway.to_owned()],
        }
    }

    /// Gives the peer's host its addresses.
    fn commands(self) -> String {
        format!(
            "ip address add {}/24 dev $(ip -o route get {} | sed 's/.* dev \\([^ ]*\\).*/\\1/')\nip address add {} dev lo\n",
            self.peer(),
            stage::cluster(false),
            self.network()
        )
    }

    /// What the members are told. Of IKE they propose all that they know, so that another group than their first one takes
    /// another message.
    fn config(self, papers: &Papers) -> String {
        let Self { case, .. } = self;
        let (name, cluster, peer) = (self.name(), stage::cluster(false), self.peer());
        let [near, gateway] = self.ids();
        let proposals = IKE.map(|proposal| format!("\"{proposal}\"")).join(", ");
        let mut toml = format!(
            "[[ipsec.connection]]\nname = \"{name}\"\nlocal = \"{cluster}\"\nremote = [\"{peer}/32\"]\n\
             local_id = \"{gateway}\"\nremote_id = \"{near}\"\nstart = \"always\"\nproposals = [{proposals}]\n"
        );
        toml += &match case.proof {
            Proof::Certificates(keys) => papers.proves(keys),
            _ => format!("psk = \"{SECRET}\"\n"),
        };
        let _ = writeln!(
            toml,
            "[[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"{}\"]\nesp = [\"{}\"]",
            self.network(),
            case.esp
        );
        toml
    }

    fn connection(self, papers: &Papers) -> Connection {
        let Self { case, .. } = self;
        let [near, gateway] = self.ids();
        let [local, remote] = papers.parties(case.proof, (&near, &gateway));
        let child = Child { proposals: case.esp.clone(), ..Child::tunnel("net", &self.network(), "10.3.0.0/24") };
        Connection {
            local_address: Some(IpAddr::V4(self.peer())),
            remote_address: Some(stage::cluster(false)),
            proposals: case.ike.clone(),
            fragmentation: case.fragmentation,
            ..Connection::new(&self.name(), local, remote, child)
        }
    }

    fn play(self, lab: &Lab, charon: &Charon) -> Row {
        let mut row = Row::of(self.case);
        row.problem = self.go_through(lab, charon, &mut row).err().map(|problem| problem.0);
        println!("{}: {}", self.case.name, row.problem.as_deref().unwrap_or("as it should be"));
        row
    }

    fn go_through(self, lab: &Lab, charon: &Charon, row: &mut Row) -> Outcome<()> {
        let first = self.await_another(lab, charon, None)?;
        let child = first.child()?;
        (row.ike, row.esp) = (words::in_use(&first.said), words::in_use(&child.said));
        let mut problems = words::missing(&self.case.esp, &child.said, false);
        problems.extend(words::missing(&self.case.ike, &first.said, true));
        if !problems.is_empty() {
            return Err(failure(problems.join("; ")));
        }
        self.pings_pass(lab)?;
        charon.terminate(lab, &self.name())?;
        let second = self.await_another(lab, charon, Some(first.spis))?;
        if second.spis.iter().any(|spi| first.spis.contains(spi)) {
            return Err(failure("an SPI came twice"));
        }
        row.note = "begun anew when the peer had ended it".into();
        self.pings_pass(lab)
    }

    /// An IKE SA of this connection that the cluster has begun, with its child, and that is not this one.
    fn await_another(self, lab: &Lab, charon: &Charon, known: Option<[u64; 2]>) -> Outcome<IkeSa> {
        let found = clock::until(PATIENCE, Duration::from_millis(200), || {
            let all = charon.sas(lab)?;
            let begun = |sa: &IkeSa| sa.name == self.name() && sa.is_up() && !sa.initiator && Some(sa.spis) != known;
            let mut sa = all.into_iter().find(begun).ok_or_else(|| failure("the cluster begins nothing"))?;
            sa.children.retain(ChildSa::is_up);
            sa.child()?;
            Ok(sa)
        });
        found.map(|(sa, _)| sa)
    }

    fn pings_pass(self, lab: &Lab) -> Outcome<()> {
        let (count, behind, server) = (PINGS.to_string(), self.behind().to_string(), stage::server(false).to_string());
        let ping = ["ping", "-n", "-q", "-c", &count, "-i", "0.02", "-W", "2"];
        for (host, more) in [("server", &[behind.as_str()][..]), (HOST, &["-I", &behind, &server])] {
            let said = lab.run(host, &[&ping[..], more].concat())?;
            if !said.contains(" 0% packet loss") {
                return Err(failure(format!("{host}: {said}")));
            }
        }
        Ok(())
    }
}
