//! A peer whose kernel does ESP: what it thinks of the packets that it gets stands in its counters.

use std::net::{IpAddr, Ipv4Addr};

use phalanx_tests::lab::charon::{Charon, IkeSa};
use phalanx_tests::lab::traffic::{self, Load, Report, Traffic};
use phalanx_tests::lab::{Lab, Outcome, failure, stage};

use crate::peers;

pub(crate) const HOST: &str = "guest";
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 164));
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 60, 2, 1));

/// As urgent as the other peers.
const PRIORITY: &str = "4";

/// The peer, connected, and traffic from the inside to it.
pub(crate) struct Guest {
    charon: Charon,
    begun: IkeSa,
    traffic: Option<Traffic>,
}

impl Guest {
    /// Makes the host.
    pub(crate) fn add(lab: &Lab) -> Outcome<()> {
        lab.call(&["host", "add", HOST, "outside", "--uml", "--priority", PRIORITY])?;
        lab.run(HOST, &["ip", "address", "add", &format!("{BEHIND}/32"), "dev", "lo"]).map(drop)
    }

    /// Connects it, and begins to send to it.
    pub(crate) fn connect(lab: &Lab) -> Outcome<Self> {
        let mut charon = Charon::in_guest(lab, HOST)?;
        let connection = peers::connection("peer-guest", "net-guest", ADDRESS, &format!("{BEHIND}/32"));
        charon.load(lab, &[&connection])?;
        charon.initiate(lab, "net-guest")?;
        let begun = charon.sa(lab)?;
        serve(lab)?;
        let load = Load {
            host: "server".into(),
            server: BEHIND,
            sources: vec![stage::server(false)],
            pings_per_s: peers::PINGS_PER_S,
            udp_per_s: 20,
            connections_per_s: 0,
            streams: 0,
            download_kbytes_per_s: 100,
        };
        let traffic = Traffic::start(lab, &load, "to-guest")?;
        Ok(Self { charon, begun, traffic: Some(traffic) })
    }

    /// Something is done to a member now.
    pub(crate) fn mark(&mut self, what: &str) -> Outcome<()> {
        self.traffic.as_mut().map_or(Ok(()), |traffic| traffic.mark(what))
    }

    /// Its IKE SA and child must be those of the beginning.
    pub(crate) fn check(&self, lab: &Lab) -> Outcome<()> {
        let now = self.charon.sa(lab)?;
        let spis = |sa: &IkeSa| Ok((sa.spis, sa.child().map(|child| (child.spi_in, child.spi_out))?));
        match spis(&self.begun)? == spis(&now)? {
            true => Ok(()),
            false => Err(failure(format!("the guest had {:x?} and has {:x?}", spis(&self.begun)?, spis(&now)?))),
        }
    }

    /// Ends the traffic; its report.
    pub(crate) fn finish(&mut self) -> Outcome<Report> {
        self.traffic.take().ok_or_else(|| failure("the guest's traffic is over"))?.finish()
    }

    /// What its kernel complains of.
    pub(crate) fn complaints(lab: &Lab) -> Outcome<Vec<String>> {
        let counters = lab.run(HOST, &["cat", "/proc/net/xfrm_stat"])?;
        if !counters.contains("XfrmInStateProtoError") {
            return Err(failure(format!("the guest's kernel counts nothing: {counters}")));
        }
        let bad = |line: &&str| line.split_whitespace().nth(1) != Some("0");
        Ok(counters.lines().filter(bad).map(|line| format!("the guest's kernel counts {line}")).collect())
    }
}

/// Answers in the guest, as long as that lives. By itself, not as a command that goes on: for those a guest must look for input
/// and output all the time, and it is more urgent than most that the machine does.
fn serve(lab: &Lab) -> Outcome<()> {
    let line = format!(
        "setsid {} server </dev/null >/run/traffic.log 2>&1 &
         until grep -q listening /run/traffic.log; do sleep 0.05; done",
        traffic::binary()
    );
    lab.run(HOST, &["sh", "-c", &line]).map(drop)
}
