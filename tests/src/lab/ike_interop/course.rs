//! What is done while the tunnel is up.

use std::net::IpAddr;
use std::process::{Child as Process, Stdio};
use std::time::Duration;

use super::super::charon::{IkeSa, Rekey};
use super::cases::{Case, Course, Peer};
use super::cluster::WEB_PORT;
use super::stage::Stage;
use super::words;
use crate::lab::{Outcome, clock, failure, stage};

/// The cluster asks six times, with longer and longer pauses, before it gives a silent peer up.
const SILENCE: Duration = Duration::from_secs(130);
/// Within it, IKE SA and child come to the ends that the configuration gives them.
const RENEWAL: Duration = Duration::from_secs(100);
const MOVE: Duration = Duration::from_secs(15);
const FILE_BYTES: usize = 300_000;
/// Where the guest moves to.
const ELSEWHERE: &str = "10.2.0.199";

impl Stage {
    /// Does what the case wants; what a reader should know of it.
    pub(super) fn course(&mut self, case: &Case) -> Outcome<String> {
        match case.course {
            Course::Pings => Ok(String::new()),
            Course::Group => self.new_keys(case),
            Course::Rekeys => self.rekeys(case),
            Course::ClusterRekeys => self.cluster_rekeys(case),
            Course::WornKeys => self.worn_keys(case),
            Course::Moves => self.moves(case),
            Course::SecondChild => {
                self.with(case.peer, |lab, charon| charon.initiate(lab, "net6"))?;
                self.pings_pass(case, "net6")?;
                self.pings_pass(case, "net").map(|()| String::new())
            }
            Course::Pieces => self.pieces(case),
            Course::Relay => self.relay(case),
            Course::Dies => {
                self.kill(case.peer)?;
                let began = clock::now();
                self.until_none("{kind=\"tunnels\"}", SILENCE)?;
                Ok(format!("gone after {} s", began.elapsed().as_secs()))
            }
            Course::ComesAgain => {
                self.kill(case.peer)?;
                let connection = self.connection(case);
                self.charon(case.peer)?.load_in(connection)?;
                self.with(case.peer, |lab, charon| charon.initiate(lab, "net"))?;
                self.pings_pass(case, "net").map(|()| String::new())
            }
        }
    }

    /// The child's next keys come from an exchange in its group, if it has one.
    fn new_keys(&self, case: &Case) -> Outcome<String> {
        let sa = self.with(case.peer, |lab, charon| charon.rekey(lab, Rekey::Child("net")))?;
        let said = &sa.child()?.said;
        let wrong = words::missing(&case.esp, said, true);
        if !wrong.is_empty() {
            return Err(failure(format!("after the rekeying {}", wrong.join("; "))));
        }
        self.pings_pass(case, "net")?;
        Ok(said["dh-group"].as_str().map_or_else(String::new, |group| format!("then {group}")))
    }

    fn rekeys(&self, case: &Case) -> Outcome<String> {
        let pings = self.keep_pinging(case, "0.02", "350")?;
        for what in [Rekey::Child("net"), Rekey::Ike(case.called()), Rekey::Child("net")] {
            clock::last(Duration::from_millis(500));
            self.with(case.peer, |lab, charon| charon.rekey(lab, what))?;
        }
        let lost = lost(pings)?;
        self.pings_pass(case, "net")?;
        no_loss(&lost)
    }

    fn cluster_rekeys(&self, case: &Case) -> Outcome<String> {
        let pings = self.keep_pinging(case, "0.1", "850")?;
        let child_of = |sa: &IkeSa| Ok(sa.child()?.spi_in);
        let begun = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        let child = child_of(&begun)?;
        let renewed = clock::until(RENEWAL, Duration::from_secs(1), || {
            let now = self.with(case.peer, |lab, charon| charon.sa(lab))?;
            match now.spis != begun.spis && child_of(&now)? != child {
                true => Ok(()),
                false => Err(failure("IKE SA and child do not both have new keys")),
            }
        });
        let lost = lost(pings)?;
        renewed?;
        let begun_here = self.with(case.peer, |lab, charon| charon.counters(lab))?["ike-rekey-init"];
        if begun_here > 0 && case.peer == Peer::Client {
            return Err(failure("strongSwan began a rekeying"));
        }
        self.pings_pass(case, "net")?;
        no_loss(&lost)
    }

    /// More pings than two pairs of keys carry.
    fn worn_keys(&self, case: &Case) -> Outcome<String> {
        let begun = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        let child = begun.child()?.spi_in;
        let lost = lost(self.keep_pinging(case, "0.01", "2000")?)?;
        let now = self.with(case.peer, |lab, charon| charon.sa(lab))?;
        if now.spis != begun.spis || now.child()?.spi_in == child {
            return Err(failure("the child has no new keys, or the IKE SA has"));
        }
        self.pings_pass(case, "net")?;
        no_loss(&lost)
    }

    /// To another address and back.
    fn moves(&self, case: &Case) -> Outcome<String> {
        let home = case.peer.address(false).to_string();
        let first = self.move_to(case, &home, ELSEWHERE);
        // In any case: the next peer is expected there.
        let second = self.move_to(case, ELSEWHERE, &home);
        first.and(second).map(|()| "there and back".into())
    }

    fn move_to(&self, case: &Case, from: &str, to: &str) -> Outcome<()> {
        let host = case.peer.host();
        let logged = self.reports().len();
        let line = format!(
            "set -e; dev=$(ip -o -4 address show to {from} | awk '{{print $2; exit}}')
             sysctl -qw net.ipv4.conf.all.promote_secondaries=1
             ip address add {to}/24 dev $dev; ip address del {from}/24 dev $dev
             ip route replace 10.3.0.0/24 via 10.2.0.10 dev $dev"
        );
        self.lab.run(host, &["sh", "-c", &line])?;
        let there: IpAddr = to.parse().map_err(failure)?;
        clock::until(MOVE, Duration::from_millis(100), || {
            match self.with(case.peer, |lab, charon| charon.sa(lab))?.local.ip() == there {
                true => Ok(()),
                false => Err(failure(format!("strongSwan has not moved to {to}"))),
            }
        })?;
        clock::until(MOVE, Duration::from_millis(100), || {
            let said = self.reports().split_off(logged);
            match said.iter().any(|it| it.contains(&format!(" speaks from {to}"))) {
                true => Ok(()),
                false => Err(failure(format!("the cluster does not know that the peer is at {to}: {said:?}"))),
            }
        })?;
        self.pings_pass(case, "net")
    }

    fn pieces(&self, case: &Case) -> Outcome<String> {
        let log = self.said(case.peer);
        for word in ["splitting IKE message", "received fragment"] {
            if !log.contains(word) {
                return Err(failure(format!("strongSwan says nothing of {word:?}:\n{log}")));
            }
        }
        let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
        Ok(format!(
            "{} messages sent in pieces, {} pieces received",
            count("splitting IKE message"),
            count("received fragment")
        ))
    }

    /// A file comes from a web server inside through a relay, as long as it is, and all of it in the child.
    fn relay(&self, case: &Case) -> Outcome<String> {
        let (dir, port) = (self.lab.dir().join("web"), WEB_PORT.to_string());
        std::fs::create_dir_all(&dir).map_err(failure)?;
        std::fs::write(dir.join("file"), vec![b'f'; FILE_BYTES]).map_err(failure)?;
        let (dir, bind) = (dir.display().to_string(), stage::server(false).to_string());
        let words = ["python3", "-u", "-m", "http.server", &port, "--bind", &bind, "--directory", &dir];
        let mut server = self.lab.start_in("server", &words)?;
        server.line()?;
        let received = |stage: &Self| Ok(stage.with(case.peer, |lab, charon| charon.sa(lab))?.child()?.received.bytes);
        let before: u64 = received(self)?;
        let url = format!("http://{}:{port}/file", case.target(false));
        let words =
            ["curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{size_download}", &url];
        let loaded = self.lab.run(case.peer.host(), &words)?;
        let came = received(self)? - before;
        match loaded.trim() == FILE_BYTES.to_string() && came > FILE_BYTES as u64 {
            true => Ok(format!("{} kB loaded", FILE_BYTES / 1000)),
            false => Err(failure(format!("of {FILE_BYTES} bytes {loaded} came, {came} in the child"))),
        }
    }

    /// The peer pings for a while.
    fn keep_pinging(&self, case: &Case, every: &str, count: &str) -> Outcome<Process> {
        let to = case.target(false).to_string();
        let mut command =
            self.lab.command_in(case.peer.host(), &["ping", "-n", "-q", "-c", count, "-i", every, "-W", "2", &to]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failure)
    }
}

/// What ping says of its answers, when it has ended.
fn lost(pings: Process) -> Outcome<String> {
    let said = pings.wait_with_output().map_err(failure)?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find(|line| line.contains("packet loss"));
    line.map(str::to_owned).ok_or_else(|| failure(format!("ping says nothing of its answers: {said}")))
}

fn no_loss(said: &str) -> Outcome<String> {
    match said.contains(" 0% packet loss") {
        true => Ok("no ping lost".into()),
        false => Err(failure(format!("under the rekeyings, {said}"))),
    }
}
