//! The status that `phalanx status` shows, from what the cluster thread posted and what the workers counted. Pure: the
//! same inputs give the same answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use phalanx_config::Config;
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::filter::{Filter, Flow};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_dataplane::worker::{Histogram, Shared, WorkerShared};

use super::board::Posted;
use crate::cluster::{Owner, Seen, Standing, Time};
use crate::status::{
    MemberName, MemberRole, MemberStatus, PacketTotals, PortStatus, Quantiles, QuorumStatus, ReplicationStatus, Status,
    UnitAnswer, WorkerStatus,
};
use crate::tunnels::unit_of_flow;

/// Everything that an answer is made of.
pub(super) struct Sources<'a> {
    pub(super) config: &'a Config,
    pub(super) posted: &'a Posted,
    pub(super) shared: &'a Shared,
    /// By port: its hardware address, and the packets that the device itself dropped.
    pub(super) devices: &'a [Device],
    /// By worker: the share of its time that packets took lately.
    pub(super) busy: &'a [f64],
    /// Log lines that were left out.
    pub(super) log_left_out: u64,
    /// Packet buffers that are not in the pool: in receive rings, kept, or on their way out.
    pub(super) buffers_in_use: u32,
    pub(super) now: Time,
}

/// What only a port's driver knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Device {
    pub(super) mac: [u8; 6],
    pub(super) missed: u64,
    pub(super) errors: u64,
}

impl Sources<'_> {
    /// The whole answer.
    pub(super) fn status(&self) -> Status {
        let core = &self.posted.core;
        let cluster = &self.config.cluster;
        let ms = |ns: u64| ns as f64 / 1e6;
        let mut status = Status {
            cluster: cluster.name.clone(),
            config_version: cluster.config_version,
            mode: cluster.mode.to_string(),
            scheme: cluster.scheme.to_string(),
            member: MemberName { id: core.id.number(), name: self.config.member.name.clone() },
            role: self.role(),
            term: core.reign.map_or(core.table.version.term, |reign| reign.term),
            generation: core.table.version.generation,
            master: core.reign.map(|reign| reign.master.number()),
            quorum: QuorumStatus {
                rule: cluster.quorum.to_string(),
                of: count(core.quorum_of),
                heard: count(core.quorum_heard),
                held: core.quorate,
            },
            lease_ms: core.lease_until.map_or(0.0, |until| ms(until.since(self.now).0)),
            detection_ms: ms(core.detection.0),
            uptime_s: self.now.0 as f64 / 1e9,
            members: core.members.iter().map(|seen| self.member(seen)).collect(),
            workers: self.workers(),
            ports: self.ports(),
            drops: self.drops(),
            held: self.sum(|worker| worker.held.get()),
            counters: self.totals(),
            replication: self.replication(),
            events: self.posted.events.as_ref().clone(),
            ..Status::default()
        };
        let members: Vec<MemberId> = core.members.iter().map(|seen| seen.member.id).collect();
        for ((unit, entry), mode) in core.table.iter().zip(&core.modes) {
            let owner = if let Owner::Member(owner) = entry.owner { Some(owner.number()) } else { None };
            let backups: Vec<u8> = match owner {
                Some(_) => core.table.backups(unit, &members).into_iter().map(MemberId::number).collect(),
                None => Vec::new(),
            };
            status.units.push(unit.number(), owner, &backups, state_of(entry.owner, *mode), core.id.number());
        }
        status
    }

    /// A flow's unit and who is there for it.
    pub(super) fn unit(&self, filter: &Filter, flow: &Flow, forwarding: bool) -> UnitAnswer {
        let core = &self.posted.core;
        let unit = unit_of_flow(Some(self.config), filter, flow, forwarding);
        let named = |id: MemberId| MemberName { id: id.number(), name: self.name_of(id) };
        let owner = if let Owner::Member(owner) = core.table.owner(unit) { Some(named(owner)) } else { None };
        let members: Vec<MemberId> = core.members.iter().map(|seen| seen.member.id).collect();
        let backups = match &owner {
            Some(_) => core.table.backups(unit, &members).into_iter().map(named).collect(),
            None => Vec::new(),
        };
        UnitAnswer { unit: unit.number(), scheme: self.config.cluster.scheme.to_string(), owner, backups }
    }

    /// What this member is, in the operator's words.
    pub(super) fn role(&self) -> MemberRole {
        let core = &self.posted.core;
        match core.standing {
            Standing::Left => MemberRole::Stopped,
            _ if core.draining => MemberRole::Draining,
            Standing::Searching if self.posted.was_member => MemberRole::Exiled,
            Standing::Searching => MemberRole::Starting,
            Standing::Joining => MemberRole::Joining,
            Standing::Following => MemberRole::Member,
            Standing::Leading => MemberRole::Master,
        }
    }

    /// Why this member is not in a state to serve; none: it is.
    pub(super) fn ailment(&self) -> Option<String> {
        let core = &self.posted.core;
        let silent_ns = self.now.since(self.posted.at).0;
        if silent_ns > 1_000_000_000 {
            return Some(format!("the cluster thread has said nothing for {} ms", silent_ns / 1_000_000));
        }
        if !matches!(core.standing, Standing::Following | Standing::Leading) {
            return Some(format!("not in a cluster: {}", self.role().as_str()));
        }
        if core.draining {
            return Some("draining".to_owned());
        }
        if core.lease_until.is_none_or(|until| until <= self.now) {
            return Some("the lease has lapsed".to_owned());
        }
        let stuck = |worker: &Arc<WorkerShared>| {
            let last_ns = worker.last_poll_ns.get();
            last_ns != 0 && self.now.0.saturating_sub(last_ns) > 1_000_000_000
        };
        if let Some(worker) = self.shared.workers.iter().position(stuck) {
            return Some(format!("worker {worker} has not polled for a second"));
        }
        let down = |(port, shared): &(&phalanx_config::Port, &phalanx_dataplane::worker::PortShared)| {
            (!shared.link_up.load(Relaxed)).then(|| port.name.clone())
        };
        let down: Vec<String> =
            self.config.ports.iter().zip(self.shared.ports.iter()).filter_map(|it| down(&it)).collect();
        (!down.is_empty()).then(|| format!("no link on {}", down.join(", ")))
    }

    fn member(&self, seen: &Seen) -> MemberStatus {
        let core = &self.posted.core;
        let id = seen.member.id;
        let me = id == core.id;
        let master = core.reign.is_some_and(|reign| reign.master == id);
        MemberStatus {
            id: id.number(),
            name: self.name_of(id),
            state: match (me, seen.draining, master) {
                (true, ..) => self.role(),
                (_, true, _) => MemberRole::Draining,
                (_, _, true) => MemberRole::Master,
                _ => MemberRole::Member,
            },
            units: u16::try_from(core.table.units_of(id).count()).unwrap_or(u16::MAX),
            packets: me.then(|| self.own_packets()),
            load: me.then(|| self.busy.iter().copied().fold(0.0, f64::max)),
            loss_permille: self.loss_permille(seen),
            n: core.losses,
            address: seen.contact.as_ref().map(|contact| contact.address.to_string()).unwrap_or_default(),
            ports_ok: seen.fit,
            heard_ms: seen.heard_at.map_or(0.0, |at| self.now.since(at).0 as f64 / 1e6),
        }
    }

    /// How many of a member's keepalives are lost, if this member counts them: the master those of the others.
    pub(super) fn loss_permille(&self, seen: &Seen) -> Option<f64> {
        let core = &self.posted.core;
        let counts = core.standing == Standing::Leading && seen.member.id != core.id;
        counts.then(|| f64::from(seen.loss_permille))
    }

    /// The name that a member introduced itself with.
    pub(super) fn name_of(&self, id: MemberId) -> String {
        if id == self.posted.core.id {
            return self.config.member.name.clone();
        }
        let known = self.posted.names.iter().find(|(member, _)| *member == id);
        known.map_or_else(|| format!("#{id}"), |(_, name)| name.clone())
    }

    fn own_packets(&self) -> u64 {
        Unit::all().map(|unit| self.sum(|worker| worker.loads.of(unit).packets.get())).sum()
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let worker = |(index, worker): (usize, &Arc<WorkerShared>)| WorkerStatus {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            core: self.config.workers.cores.get(index).copied(),
            packets: worker.received.get(),
            busy: self.busy.get(index).copied().unwrap_or(0.0),
            held: worker.held.get(),
            poll_gap_max_us: worker.poll_ns.snapshot().last().map_or(0.0, |(ns, _)| *ns as f64 / 1e3),
            poll: quantiles(&worker.poll_ns),
            latency: quantiles(&worker.latency_ns),
        };
        self.shared.workers.iter().enumerate().map(worker).collect()
    }

    fn ports(&self) -> Vec<PortStatus> {
        let port = |(index, port): (usize, &phalanx_config::Port)| {
            let sum = |f: fn(&phalanx_dataplane::worker::PortCounters) -> u64| {
                self.sum(|worker| worker.ports.get(index).map_or(0, f))
            };
            let device = self.devices.get(index).copied().unwrap_or_default();
            PortStatus {
                name: port.name.clone(),
                role: port.role.to_string(),
                mac: phalanx_config::MacAddr(device.mac).to_string(),
                up: self.shared.ports.get(index).is_some_and(|shared| shared.link_up.load(Relaxed)),
                rx_packets: sum(|counters| counters.rx_packets.get()),
                rx_bytes: sum(|counters| counters.rx_bytes.get()),
                rx_missed: device.missed,
                tx_packets: sum(|counters| counters.tx_packets.get()),
                tx_bytes: sum(|counters| counters.tx_bytes.get()),
            }
        };
        self.config.ports.iter().enumerate().map(port).collect()
    }

    fn drops(&self) -> std::collections::BTreeMap<String, u64> {
        let counted = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), self.shared.dropped(*reason)));
        counted.filter(|(_, packets)| *packets > 0).collect()
    }

    fn totals(&self) -> PacketTotals {
        let forwarded = self.sum(|worker| worker.forwarded.get());
        let relayed = self.sum(|worker| worker.passed_on.get());
        let delivered = self.sum(|worker| worker.delivered.get());
        let dropped = self.sum(|worker| worker.drops.total());
        let held = self.sum(|worker| worker.held.get() + worker.waiting.get());
        // Copies and reassembled packets came in as well, from this member itself.
        let received = self.sum(|worker| worker.received.get() + worker.copied.get() + worker.reassembled.get());
        PacketTotals { received, forwarded, relayed, delivered, dropped, held }
    }

    fn replication(&self) -> Option<ReplicationStatus> {
        let figure = |wanted: (&str, &str)| {
            let of = |worker: &WorkerShared| {
                let found = worker.replica.iter().find(|(side, name, ..)| (*side, *name) == wanted);
                found.map_or(0, |(.., value)| value)
            };
            self.sum(of)
        };
        let longest_ns = self.shared.workers.iter().map(|worker| worker.replica.commit_ns.get()).max();
        self.config.has_sessions().then(|| ReplicationStatus {
            held_sessions: self.sum(|worker| worker.replica.sessions.get()),
            lacking_units: self.sum(|worker| worker.replica.lacking.get()),
            uncommitted: figure(("log", "uncommitted")),
            commit_ms: longest_ns.unwrap_or(0) as f64 / 1e6,
            digest_mismatches: figure(("store", "diverged")),
        })
    }

    pub(super) fn sum(&self, f: impl Fn(&WorkerShared) -> u64) -> u64 {
        self.shared.workers.iter().map(|worker| f(worker)).fold(0, u64::wrapping_add)
    }
}

fn count(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// A histogram in five figures; none if nothing was measured.
fn quantiles(histogram: &Histogram) -> Option<Quantiles> {
    let hdr = histogram.to_hdr().filter(|hdr| !hdr.is_empty())?;
    let us = |ns: u64| ns as f64 / 1e3;
    Some(Quantiles {
        count: hdr.len(),
        p50_us: us(hdr.value_at_quantile(0.5)),
        p99_us: us(hdr.value_at_quantile(0.99)),
        p999_us: us(hdr.value_at_quantile(0.999)),
        max_us: us(hdr.max()),
    })
}

/// What is the matter with a unit, as this member's workers were told.
fn state_of(owner: Owner, mode: Mode) -> &'static str {
    match (owner, mode) {
        (Owner::Quarantined, _) => "quarantined",
        (_, Mode::Hold | Mode::HoldOwn | Mode::Unassigned) | (Owner::Unassigned, _) => "held",
        (_, Mode::MineLogged | Mode::RelayBoth { .. }) => "moving",
        _ => "assigned",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::Core;
    use crate::runtime::settings::{self, tests::example};

    /// A member that has founded its cluster a while ago, and has dropped three packets.
    pub(crate) fn with_sources<T>(look: impl FnOnce(&Sources<'_>) -> T) -> T {
        let config = example("forward");
        let id = settings::member_id(&config).unwrap();
        let mut core = Core::new(settings::core(&config, id, vec![[2; 6], [4; 6]], 0, vec![]), Time(1));
        let mut now = Time(1);
        for _ in 0..100 {
            now = core.poll_timeout().unwrap().0.max(now);
            core.handle_timeout(now);
        }
        let shared = Shared::new(1, 2, 1, 1);
        shared.workers[0].received.add(5);
        shared.workers[0].forwarded.add(2);
        shared.workers[0].drops.add(DropReason::NoLease, 3);
        shared.ike.questions.store(1, std::sync::atomic::Ordering::Relaxed);
        let posted = Posted {
            at: now,
            core: core.snapshot(now),
            names: vec![],
            refused: super::super::post::Refused::default(),
            link: crate::link::LinkStats::default(),
            replication: crate::replication::ReplicationStats::default(),
            events: Arc::default(),
            was_member: true,
            rounds: 7,
            late_max_ns: 9,
        };
        let devices = [Device { mac: [2; 6], missed: 4, errors: 0 }, Device::default()];
        let (posted, shared) = (&posted, &shared);
        look(&Sources {
            config: &config,
            posted,
            shared,
            devices: &devices,
            busy: &[0.25],
            log_left_out: 0,
            buffers_in_use: 7,
            now,
        })
    }

    #[test]
    fn a_lonely_master_reports_itself() {
        let status = with_sources(|sources| sources.status());
        assert_eq!((status.member.id, status.member.name.as_str()), (2, "m2"));
        assert_eq!((status.role, status.master, status.term), (MemberRole::Master, Some(2), 1));
        assert_eq!((status.units.total, status.units.assigned, status.units.own), (1024, 1024, 1024));
        assert_eq!(status.units.ranges.len(), 1);
        assert_eq!((status.members.len(), status.members[0].units, status.members[0].load), (1, 1024, Some(0.25)));
        assert_eq!((status.quorum.rule.as_str(), status.quorum.of, status.quorum.heard), ("majority", 1, 1));
        assert_eq!(status.ports[0].rx_missed, 4);
        assert_eq!(status.drops.get("no_lease"), Some(&3));
        let PacketTotals { received, forwarded, relayed, delivered, dropped, held } = status.counters;
        assert_eq!(received, forwarded + relayed + delivered + dropped + held);
        assert!(status.lease_ms > 0.0 && status.detection_ms == 30.0);
    }

    #[test]
    fn a_flows_unit_is_that_of_the_workers() {
        use phalanx_dataplane::filter::Scheme;
        let flow = Flow::parse("udp", "[2001:db8::7]:53", "[2001:db8:2::10]:53").unwrap();
        let filter = Filter::new(Scheme::Steered, [7; 16]);
        let answer = with_sources(|sources| sources.unit(&filter, &flow, true));
        assert_eq!(answer.unit, filter.unit_of_flow(&flow, true).number());
        assert_eq!(answer.owner, Some(MemberName { id: 2, name: "m2".into() }));
        assert_eq!((answer.scheme.as_str(), answer.backups.len()), ("steered", 0));
    }

    #[test]
    fn each_workers_times_are_told_in_quantiles() {
        with_sources(|sources| {
            let worker = &sources.shared.workers[0];
            (0..980).for_each(|_| worker.latency_ns.record(10_000));
            (0..19).for_each(|_| worker.latency_ns.record(200_000));
            worker.latency_ns.record(3_000_000);
            let status = sources.status();
            let told = status.workers[0].latency.unwrap();
            let near = |us: f64, expected: f64| (expected * 0.87..=expected * 1.02).contains(&us);
            assert_eq!(told.count, 1000);
            assert!(near(told.p50_us, 10.0) && near(told.p99_us, 200.0) && near(told.p999_us, 200.0), "{told:?}");
            assert!(near(told.max_us, 3000.0), "{told:?}");
            assert_eq!(status.workers[0].poll, None);
        });
    }

    #[test]
    fn what_only_others_know_is_not_told() {
        with_sources(|sources| {
            let me = sources.posted.core.members[0].clone();
            let mut other = Seen { loss_permille: 17, ..me.clone() };
            other.member.id = MemberId::new(3).unwrap();
            let seen = sources.member(&other);
            assert_eq!((seen.packets, seen.load, seen.loss_permille), (None, None, Some(17.0)));
            let own = sources.member(&me);
            assert_eq!((own.packets, own.load, own.loss_permille), (Some(0), Some(0.25), None));
            let mut core = sources.posted.core.clone();
            core.standing = Standing::Following;
            let posted = Posted { core, ..sources.posted.clone() };
            let follower = Sources { posted: &posted, ..*sources };
            assert_eq!(follower.member(&other).loss_permille, None);
        });
    }

    #[test]
    fn health_names_what_is_wrong() {
        with_sources(|sources| {
            assert_eq!(sources.ailment(), None);
            sources.shared.ports[1].link_up.store(false, Relaxed);
            assert_eq!(sources.ailment().unwrap(), "no link on inside0");
            let late = Sources { now: Time(sources.now.0 + 500_000_000), ..*sources };
            assert!(late.ailment().unwrap().contains("lease"));
            let stuck = Sources { now: Time(sources.now.0 + 5_000_000_000), ..*sources };
            assert!(stuck.ailment().unwrap().contains("cluster thread"));
        });
    }
}
