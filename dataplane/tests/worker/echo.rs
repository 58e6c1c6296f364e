//! The least that an app is: UDP echo (RFC 862) at the cluster address, one session for each asker, with a reminder some
//! time after its last word.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dpdk::Eal;
use phalanx_dataplane::app::{App, Outgoing, Outlet, Returned, Trouble, UnitSet};
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::parse::{Summary, summarise};
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::replica::{Cursor, Source, Step, Update};
use phalanx_dataplane::steer::{Mode, Order, ReleaseTo};
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::wire::{proto, udp};
use phalanx_dataplane::worker::WorkerOrder;

use crate::frames::{CLIENT, Ip, port_unreachable, summary};
use crate::stage::{OUTSIDE, Stage};

const PORT: u16 = 7;
const REMINDER: &[u8] = b"still there?";
const REMIND_NS: u64 = 1_000_000;

/// What the scene wants to know afterwards.
#[derive(Default)]
struct Seen {
    sessions: AtomicUsize,
    lost: AtomicUsize,
    returned: AtomicUsize,
}

struct Session {
    asker: IpAddr,
    port: u16,
    here: IpAddr,
    remind_ns: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Echo {
    /// By unit, then asker: what goes with a unit is found at once.
    sessions: BTreeMap<(Unit, IpAddr, u16), Session>,
    seen: Arc<Seen>,
    bears_repeats: bool,
}

impl Echo {
    pub(crate) fn bearing_repeats() -> Self {
        Self { bears_repeats: true, ..Self::default() }
    }

    fn say(outlet: &mut dyn Outlet, session: &Session, data: &[u8]) {
        let packet = Outgoing { source: session.here, destination: session.asker, proto: proto::UDP };
        outlet.send(packet, &mut |room| {
            let repr = udp::Repr { source_port: PORT, destination_port: session.port, payload_len: data.len() as u16 };
            let len = udp::HEADER_LEN + data.len();
            room[udp::HEADER_LEN..len].copy_from_slice(data);
            // No checksum: the scene's hosts do not look at it.
            repr.emit(&mut room[..len]).map_or(0, |_| len)
        });
    }
}

/// Nothing of an echo is worth being kept by others.
impl Source for Echo {
    fn digest(&mut self, _: Unit) -> u64 {
        0
    }

    fn put_next(&mut self, _: Unit, _: Cursor, _: &mut dyn FnMut(&Update<'_>)) -> Step {
        Step::End
    }
}

impl App for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn claims(&self, summary: &Summary) -> bool {
        summary.proto == proto::UDP && summary.dst_port == PORT
    }

    fn bears_repeats(&self) -> bool {
        self.bears_repeats
    }

    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        assert!(outlet.owns(unit), "only packets of our units come here");
        let data = summary.carried(packet).get(udp::HEADER_LEN..).ok_or(DropReason::Malformed)?;
        let (asker, port, here) = (summary.src_ip(), summary.src_port, summary.dst_ip());
        let remind_ns = Some(outlet.now_ns() + REMIND_NS);
        let session = Session { asker, port, here, remind_ns };
        Self::say(outlet, &session, data);
        self.sessions.insert((unit, asker, port), session);
        self.seen.sessions.store(self.sessions.len(), Relaxed);
        Ok(())
    }

    /// Who does not listen any more needs no reminder.
    fn handle_returned(&mut self, _: &mut dyn Outlet, unit: Unit, returned: &Returned<'_>) -> bool {
        let about = &returned.about;
        let gone = self.sessions.remove(&(unit, about.src_ip(), about.src_port));
        if gone.is_some() && returned.trouble == Trouble::Refused {
            self.seen.returned.fetch_add(1, Relaxed);
        }
        gone.is_some()
    }

    fn handle_units(&mut self, _: &mut dyn Outlet, _: &UnitSet, lost: &UnitSet) {
        let before = self.sessions.len();
        self.sessions.retain(|(unit, ..), _| !lost.contains(*unit));
        self.seen.lost.fetch_add(before - self.sessions.len(), Relaxed);
    }

    fn handle_commit(&mut self, _: &mut dyn Outlet) {}

    fn poll_timeout(&self) -> Option<u64> {
        self.sessions.values().filter_map(|session| session.remind_ns).min()
    }

    fn handle_timeout(&mut self, outlet: &mut dyn Outlet) {
        let now_ns = outlet.now_ns();
        for session in self.sessions.values_mut() {
            if session.remind_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                session.remind_ns = None;
                Self::say(outlet, session, REMINDER);
            }
        }
    }
}

pub(crate) fn echoes(frames: &[Vec<u8>]) -> Vec<&[u8]> {
    let answers = frames.iter().filter(|frame| summarise(frame, None).is_ok_and(|s| s.src_port == PORT));
    answers.map(|frame| &summary(frame).l4(frame)[udp::HEADER_LEN..]).collect()
}

/// An asker becomes known as a neighbour.
pub(crate) fn introduce(stage: &mut Stage, asker: &str) {
    stage.data.workers[0].introduce(OUTSIDE as u8, asker.parse().expect("an address"), CLIENT);
}

/// A datagram to a port of the cluster's.
pub(crate) fn question(stage: &Stage, asker: &str, address: &str, port: u16, data: &[u8]) -> Vec<u8> {
    let mut ip = Ip::udp(stage.mac(OUTSIDE), CLIENT, udp::HEADER_LEN + data.len());
    ip.payload[2..4].copy_from_slice(&port.to_be_bytes());
    ip.payload[udp::HEADER_LEN..].copy_from_slice(data);
    ip.frame(asker, address)
}

/// Packets to the app are answered by it, its timer fires, and it learns that its units went.
pub(crate) fn scene(eal: &Eal) {
    for address in ["10.2.0.10", "fd00:2::10"] {
        let mut stage = Stage::new(eal, Delivery::Forward, 1500);
        let seen = Arc::new(Seen::default());
        stage.data.workers[0].add_app(Box::new(Echo { seen: seen.clone(), ..Echo::default() }));
        stage.set_all(Mode::Mine, true);
        let asker = if address.contains(':') { "fd00:2::64" } else { "10.2.0.100" };
        introduce(&mut stage, asker);
        let ask = |stage: &Stage, port: u16, data: &[u8]| question(stage, asker, address, port, data);
        let asked = ask(&stage, PORT, b"anybody?");
        let [outside, inside] = stage.exchange(OUTSIDE, &[asked]);
        assert_eq!(echoes(&outside), [b"anybody?"]);
        assert!(inside.is_empty());
        let mut reminded = Vec::new();
        while reminded.is_empty() {
            stage.work();
            reminded = stage.collect()[OUTSIDE].clone();
        }
        assert_eq!(echoes(&reminded), [REMINDER]);
        // Another port is nobody's.
        let other = ask(&stage, 9, b"anybody?");
        assert!(stage.exchange(OUTSIDE, &[other])[OUTSIDE].is_empty());
        assert!(stage.drops().contains(&("no_app", 1)));
        assert_eq!(seen.sessions.load(Relaxed), 1);
        // An error about what the app has sent is the app's; one about anything else is nobody's.
        let port = 0x1001;
        for (port, returned) in [(port + 1, 0), (port, 1)] {
            let [here, there] = [address, asker];
            let error = port_unreachable(stage.mac(OUTSIDE), CLIENT, there, [here, there], [PORT, port]);
            assert!(stage.exchange(OUTSIDE, &[error])[OUTSIDE].is_empty());
            assert_eq!(seen.returned.load(Relaxed), returned);
        }
        assert!(stage.drops().contains(&("no_app", 2)));
        let again = ask(&stage, PORT, b"I am back");
        assert_eq!(echoes(&stage.exchange(OUTSIDE, &[again])[OUTSIDE]), [b"I am back"]);
        stage.set(vec![Mode::Drop; UNITS], false);
        assert_eq!(seen.lost.load(Relaxed), 1);
        // What is kept for a unit on its way here is released just before the view that says that it is ours.
        stage.set(vec![Mode::Hold; UNITS], false);
        let kept = ask(&stage, PORT, b"too early");
        assert!(stage.exchange(OUTSIDE, &[kept])[OUTSIDE].is_empty());
        for unit in Unit::all() {
            stage.order(WorkerOrder::Steer(Order::Release { unit, to: ReleaseTo::Here, except: Vec::new() }));
        }
        stage.set(vec![Mode::Mine; UNITS], false);
        assert_eq!(echoes(&stage.collect()[OUTSIDE])[0], b"too early");
        stage.assert_balance();
    }
}
