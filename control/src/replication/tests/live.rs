//! Real links over the loopback.
#![allow(clippy::disallowed_methods, reason = "measures how long real links take")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded, unbounded};
use phalanx_dataplane::replica::{
    Change, MemberSet, Outbox, OutboxLimits, Position, SessionKey, Snapshots, Store, StoreLimits, Wake, WorkerPort,
};
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_dataplane::worker::worker_of;

use super::super::{Replication, ReplicationHandle};
use super::support::{KEY, id, table, unit, update};
use crate::link::{Link, LinkEvent, LinkHandle};
use crate::pki::{Admission, Authority, Identity, WallTime};

/// Longer than anything here takes; only what is broken waits for its end.
const PATIENCE: Duration = Duration::from_secs(20);

struct Ca {
    _dir: tempfile::TempDir,
    authority: Authority,
    admission: Admission,
}

impl Ca {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(dir.path(), &"edge".parse().unwrap(), WallTime::read_clock()).unwrap();
        let mut admission = Admission::new(authority.certificate().clone());
        admission.load_crl(&std::fs::read(dir.path().join("crl.pem")).unwrap()).unwrap();
        Self { _dir: dir, authority, admission }
    }

    fn issue(&mut self, number: u8) -> Identity {
        let (now, name) = (WallTime::read_clock(), format!("m{number}").parse().unwrap());
        let issued = self.authority.issue(&name, id(number), 30, now).unwrap();
        Identity::parse(issued.bundle.as_bytes(), now).unwrap()
    }
}

/// A worker as far as replication is concerned.
struct Worker {
    port: WorkerPort,
    outbox: Outbox,
    store: Store,
    snapshots: Snapshots,
    woken: Receiver<()>,
}

impl Worker {
    /// One round: sleeps first if there is nothing to do.
    fn round(&mut self) {
        if !self.port.is_waiting() {
            let _ = self.woken.recv_timeout(Duration::from_millis(20));
        }
        self.port.poll(&mut self.store, &mut self.outbox);
        // There is no cluster here that would have to know.
        self.outbox.release();
        self.snapshots.pump(&mut self.outbox, &mut self.store, 64);
        self.port.flush(&mut self.outbox);
    }
}

struct Member {
    link: LinkHandle,
    replication: ReplicationHandle,
    workers: Vec<Worker>,
    _inbox: Receiver<LinkEvent>,
}

impl Member {
    fn start(ca: &Ca, identity: &Identity, incarnation: u64, workers: usize, socket: UdpSocket) -> Self {
        let (wakes, woken): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (wake, woken) = bounded(1);
                let wake: Wake = Arc::new(move || {
                    let _ = wake.try_send(());
                });
                (wake, woken)
            })
            .unzip();
        let (replication, handle, ports) = Replication::new(incarnation, wakes);
        let (sender, inbox) = bounded(64);
        let link = Link::start_with(identity, ca.admission.clone(), socket, sender, Some(replication)).unwrap();
        let worker = |(port, woken)| Worker {
            port,
            outbox: Outbox::new(OutboxLimits::default()),
            store: Store::new(KEY, StoreLimits::default()),
            snapshots: Snapshots::new(),
            woken,
        };
        let workers = ports.into_iter().zip(woken).map(worker).collect();
        Self { link, replication: handle, workers, _inbox: inbox }
    }

    /// The table: `owner` owns all units, `backups` hold them.
    fn set_table(&mut self, me: MemberId, owner: MemberId, backups: &[MemberId]) {
        let backups: MemberSet = backups.iter().copied().collect();
        let count = self.workers.len();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            for unit in Unit::all().filter(|unit| worker_of(*unit, count) == index) {
                worker.store.set_owner(unit, Some(owner), table(1));
                worker.outbox.set_backups(unit, if me == owner { backups } else { MemberSet::EMPTY });
            }
            worker.store.set_version(table(1));
            worker.outbox.set_version(table(1));
        }
    }

    fn worker(&mut self, unit: Unit) -> &mut Worker {
        let index = worker_of(unit, self.workers.len());
        &mut self.workers[index]
    }

    fn round(&mut self) {
        self.workers.iter_mut().for_each(Worker::round);
    }
}

fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// An owner and its backup, both on threads of their own: the backup runs until told to stop.
struct Pair {
    ca: Ca,
    owner: Member,
    backup: Option<std::thread::JoinHandle<Member>>,
    stop: crossbeam::channel::Sender<()>,
    backup_identity: Identity,
    place: UdpSocket,
}

impl Pair {
    fn new(owner_workers: usize, backup_workers: usize) -> Self {
        let mut ca = Ca::new();
        let (one, backup_identity) = (ca.issue(1), ca.issue(2));
        let mut owner = Member::start(&ca, &one, 1, owner_workers, socket());
        owner.set_table(id(1), id(1), &[id(2)]);
        let place = socket();
        owner.replication.set_backups([(id(2), place.local_addr().unwrap())]);
        let mut pair = Self { ca, owner, backup: None, stop: unbounded().0, backup_identity, place };
        pair.start_backup(1, backup_workers);
        pair
    }

    fn start_backup(&mut self, incarnation: u64, workers: usize) {
        let place = self.place.try_clone().unwrap();
        let mut member = Member::start(&self.ca, &self.backup_identity, incarnation, workers, place);
        member.set_table(id(2), id(1), &[id(2)]);
        let (stop, stopped) = bounded(1);
        self.stop = stop;
        self.backup = Some(std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                member.round();
            }
            member
        }));
    }

    fn stop_backup(&mut self) -> Member {
        self.stop.send(()).unwrap();
        self.backup.take().unwrap().join().unwrap()
    }

    fn until(&mut self, wanted: impl Fn(&mut Member) -> bool) {
        let begin = Instant::now();
        while !wanted(&mut self.owner) {
            assert!(begin.elapsed() < PATIENCE, "never came about: {:?}", self.owner.replication.stats());
            self.owner.round();
        }
    }

    fn until_synced(&mut self) {
        self.until(|owner| {
            let count = owner.workers.len();
            let synced = |unit| owner.workers[worker_of(unit, count)].outbox.is_synced(id(2), unit);
            Unit::all().all(synced)
        });
    }

    /// Appends to the outbox and to the owner's own picture of the session, which its snapshots are taken from.
    fn append(&mut self, unit: Unit, session: u128, change: Change<'_>) -> Position {
        let worker = self.owner.worker(unit);
        worker.store.keep(&update(unit, session, change)).unwrap();
        let position = worker.outbox.append(&update(unit, session, change));
        worker.port.flush(&mut worker.outbox);
        position
    }

    fn until_committed(&mut self) {
        self.until(|owner| owner.workers.iter_mut().all(|it| it.outbox.committed() == it.outbox.head()));
    }
}

fn assert_same(owner: &mut Member, backup: &mut Member) {
    for unit in Unit::all() {
        let ours: Vec<_> = owner.worker(unit).store.sessions(unit).map(|(key, it)| (key, it.clone())).collect();
        let theirs: Vec<_> = backup.worker(unit).store.sessions(unit).map(|(key, it)| (key, it.clone())).collect();
        assert_eq!(ours, theirs, "{unit:?}");
        assert_eq!(owner.worker(unit).store.digest(unit), backup.worker(unit).store.digest(unit));
    }
}

#[test]
fn what_is_committed_is_held_by_a_backup_with_another_number_of_workers() {
    let mut pair = Pair::new(2, 3);
    pair.until_synced();
    for number in 0..200_u16 {
        let unit = unit(number * 5);
        pair.append(unit, 7, Change::Initial { version: 1, bytes: &number.to_be_bytes() });
        pair.append(unit, 7, Change::Append { stream: 0, offset: 0, bytes: &[number as u8; 100] });
        pair.append(unit, 7, Change::Trim { stream: 0, to: 40 });
    }
    pair.until_committed();
    let mut backup = pair.stop_backup();
    assert_same(&mut pair.owner, &mut backup);
    assert_eq!(backup.worker(unit(5)).store.get(unit(5), SessionKey(7)).unwrap().streams[0].bytes, [1; 60]);
}

#[test]
fn one_update_is_committed_within_a_fraction_of_a_millisecond() {
    let mut pair = Pair::new(1, 1);
    pair.until_synced();
    let unit = unit(3);
    pair.append(unit, 1, Change::Initial { version: 1, bytes: b"initial" });
    pair.until_committed();
    let mut took_us: Vec<u128> = (0..500_u32)
        .map(|number| {
            let begin = Instant::now();
            pair.append(unit, 1, Change::Essential { version: 1, bytes: &number.to_be_bytes() });
            pair.until_committed();
            begin.elapsed().as_micros()
        })
        .collect();
    took_us.sort_unstable();
    println!("append to committed: p50 {} us, p99 {} us", took_us[250], took_us[495]);
    // The machine is shared. That it is not the pace of some timer is what matters.
    assert!(took_us[0] < 5_000, "{took_us:?}");
}

#[test]
fn a_hundred_megabytes_arrive() {
    const MEGABYTES: u64 = 100;
    let mut pair = Pair::new(1, 1);
    pair.until_synced();
    let unit = unit(3);
    pair.append(unit, 1, Change::Initial { version: 1, bytes: b"initial" });
    let bytes = [7; 16 << 10];
    let begin = Instant::now();
    let mut offset = 0;
    while offset < MEGABYTES << 20 {
        pair.append(unit, 1, Change::Append { stream: 0, offset, bytes: &bytes });
        offset += bytes.len() as u64;
        pair.append(unit, 1, Change::Trim { stream: 0, to: offset });
        // As with output commit: no more than a window is on its way.
        while pair.owner.workers[0].outbox.stats().lag_bytes > 4 << 20 {
            pair.owner.round();
        }
    }
    pair.until_committed();
    let took = begin.elapsed();
    println!("{MEGABYTES} MiB in {took:?}: {:.0} MiB/s", MEGABYTES as f64 / took.as_secs_f64());
    let mut backup = pair.stop_backup();
    assert_same(&mut pair.owner, &mut backup);
    assert_eq!(backup.workers[0].store.stats().appended_bytes, MEGABYTES << 20);
}

/// The process is gone and another one comes, which holds nothing.
#[test]
fn a_backup_that_was_killed_gets_everything_again() {
    let mut pair = Pair::new(1, 1);
    pair.until_synced();
    for number in 0..500 {
        let unit = unit(number % 50);
        pair.append(unit, u128::from(number), Change::Initial { version: 1, bytes: b"initial" });
        pair.append(unit, u128::from(number), Change::Append { stream: 1, offset: 0, bytes: &[9; 500] });
    }
    pair.until_committed();
    drop(pair.stop_backup());
    let begin = Instant::now();
    pair.start_backup(2, 2);
    pair.until(|owner| owner.workers[0].outbox.stats().begun == 2);
    pair.until_synced();
    println!("in sync again after {:?}", begin.elapsed());
    pair.until_committed();
    let mut backup = pair.stop_backup();
    assert_same(&mut pair.owner, &mut backup);
}

/// As when a backup is out of the table for a moment: its stream ends, and the next one goes on where that ended.
#[test]
fn a_stream_that_ended_is_resumed_without_a_snapshot() {
    let mut pair = Pair::new(1, 1);
    pair.until_synced();
    pair.append(unit(3), 1, Change::Initial { version: 1, bytes: b"initial" });
    pair.until_committed();
    pair.owner.replication.set_backups([]);
    pair.until(|owner| owner.replication.stats().streams_broken == 1);
    let position = pair.append(unit(3), 1, Change::Append { stream: 0, offset: 0, bytes: b"meanwhile" });
    for _ in 0..3 {
        pair.owner.round();
    }
    assert!(pair.owner.workers[0].outbox.committed() < position, "it is a backup still, and has it not");
    pair.owner.replication.set_backups([(id(2), pair.place.local_addr().unwrap())]);
    pair.until_committed();
    let stats = pair.owner.workers[0].outbox.stats();
    assert_eq!((stats.resumed, stats.begun, stats.unsynced), (1, 1, 0));
    let mut backup = pair.stop_backup();
    assert_same(&mut pair.owner, &mut backup);
    assert_eq!(backup.workers[0].store.stats().snapshots, 0);
}

#[test]
fn every_counter_has_a_description() {
    for (name, description, _) in super::super::ReplicationStats::default().iter() {
        assert!(description.trim().ends_with('.'), "{name}");
    }
}

/// Messages and replication share a connection, whoever made it.
#[test]
fn messages_pass_beside_replication() {
    let mut pair = Pair::new(1, 1);
    pair.until_synced();
    let to = pair.place.local_addr().unwrap();
    for number in 0..20_u8 {
        pair.owner.link.send(to, id(2), vec![number; 1000]).unwrap();
    }
    pair.append(unit(1), 1, Change::Initial { version: 1, bytes: b"initial" });
    pair.until_committed();
    let backup = pair.stop_backup();
    let received = || backup.link.stats().received == 20;
    let begin = Instant::now();
    while !received() {
        assert!(begin.elapsed() < PATIENCE);
        pair.owner.round();
    }
}
