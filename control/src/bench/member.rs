//! Members as far as replication is concerned: a link each, over the loopback, and for each backup a thread that applies what
//! arrives.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use phalanx_dataplane::replica::{MemberSet, Outbox, Store, TableVersion, Wake, WorkerPort};
use phalanx_dataplane::unit::MemberId;

use super::RelayBenchError;
use super::desk::Desk;
use crate::link::{Link, LinkEvent, LinkHandle};
use crate::pki::{Admission, Authority, Identity, WallTime};
use crate::replication::{Replication, ReplicationHandle};

/// The key of digests; anything that all have.
pub(super) const KEY: [u8; 16] = *b"a key for tests.";
/// The table that makes member 1 the owner of everything.
pub(super) const FIRST: TableVersion = TableVersion { term: 1, generation: 1 };
/// How long a backup sleeps at most.
const NAP: Duration = Duration::from_millis(20);
const DAYS: u32 = 1;

/// Whoever is told of errors here, sees them as the link's.
fn link_error(error: impl std::fmt::Display) -> RelayBenchError {
    RelayBenchError::Link(error.to_string())
}

/// One of the members that are on the bench.
pub(super) fn id(number: u8) -> Result<MemberId, RelayBenchError> {
    MemberId::new(number).ok_or_else(|| RelayBenchError::Odd(format!("there is no member {number}")))
}

/// A link, and the worker's end of what it carries.
pub(super) struct Member {
    pub(super) port: WorkerPort,
    pub(super) woken: Receiver<()>,
    pub(super) replication: ReplicationHandle,
    _link: LinkHandle,
    _inbox: Receiver<LinkEvent>,
}

impl Member {
    fn start(identity: &Identity, admission: Admission, socket: UdpSocket) -> Result<Self, RelayBenchError> {
        let (wake, woken) = bounded(1);
        let wake: Wake = Arc::new(move || {
            // Full: it was woken already.
            let _ = wake.try_send(());
        });
        let (carried, replication, ports) = Replication::new(1, vec![wake]);
        let (inbox_end, inbox) = bounded(64);
        let link = Link::start_with(identity, admission, socket, inbox_end, Some(carried)).map_err(link_error)?;
        let port = ports.into_iter().next().ok_or(RelayBenchError::Ended)?;
        Ok(Self { port, woken, replication, _link: link, _inbox: inbox })
    }

    pub(super) fn poll(&mut self, store: &mut Store, outbox: &mut Outbox) -> bool {
        self.port.poll(store, outbox)
    }
}

/// A thread that holds what the owner tells.
struct Backup {
    stop: Sender<()>,
    thread: JoinHandle<Desk>,
}

impl Backup {
    fn start(mut member: Member, mut desk: Desk) -> Result<Self, RelayBenchError> {
        let (stop, stopped) = bounded::<()>(1);
        let work = move || {
            while stopped.try_recv().is_err() {
                if !member.port.is_waiting() {
                    // Woken or not: it looks again.
                    let _ = member.woken.recv_timeout(NAP);
                }
                member.poll(&mut desk.store, &mut desk.outbox);
            }
            desk
        };
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(work).map_err(link_error)?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<Desk, RelayBenchError> {
        self.stop.send(()).map_err(|_| RelayBenchError::Ended)?;
        self.thread.join().map_err(|_| RelayBenchError::Ended)
    }
}

/// The backups of a bench.
pub(super) struct Backups(Vec<Backup>);

impl Backups {
    /// Starts so many, and the owner's link to them; sets the owner's table.
    pub(super) fn start(count: u8, desk: &mut Desk) -> Result<(Option<Member>, Self), RelayBenchError> {
        let owner = id(1)?;
        let numbers: Vec<MemberId> = (2..count + 2).map(id).collect::<Result<_, _>>()?;
        let holders: MemberSet = numbers.iter().copied().collect();
        desk.set_table(owner, owner, holders, FIRST);
        if numbers.is_empty() {
            return Ok((None, Self(Vec::new())));
        }
        let mut ca = Ca::new()?;
        let mut backups = Vec::new();
        let mut places: Vec<(MemberId, SocketAddr)> = Vec::new();
        for number in numbers {
            let socket = socket()?;
            places.push((number, socket.local_addr().map_err(link_error)?));
            let member = Member::start(&ca.issue(number)?, ca.admission.clone(), socket)?;
            let mut desk = Desk::new();
            desk.set_table(number, owner, holders, FIRST);
            backups.push(Backup::start(member, desk)?);
        }
        let member = Member::start(&ca.issue(owner)?, ca.admission.clone(), socket()?)?;
        member.replication.set_backups(places);
        Ok((Some(member), Self(backups)))
    }

    /// Stops all of them; answers what each holds.
    pub(super) fn stop(self) -> Result<Vec<Desk>, RelayBenchError> {
        self.0.into_iter().map(Backup::stop).collect()
    }
}

fn socket() -> Result<UdpSocket, RelayBenchError> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(link_error)
}

/// A CA that lives as long as the benchmark's start: its files are gone as soon as all identities are made.
struct Ca {
    authority: Authority,
    admission: Admission,
    _folder: tempfile::TempDir,
}

impl Ca {
    fn new() -> Result<Self, RelayBenchError> {
        let folder = tempfile::tempdir().map_err(link_error)?;
        let name = "bench".parse().map_err(link_error)?;
        let authority = Authority::init(folder.path(), &name, WallTime::read_clock()).map_err(link_error)?;
        let mut admission = Admission::new(authority.certificate().clone());
        let revoked = std::fs::read(folder.path().join("crl.pem")).map_err(link_error)?;
        admission.load_crl(&revoked).map_err(link_error)?;
        Ok(Self { authority, admission, _folder: folder })
    }

    fn issue(&mut self, member: MemberId) -> Result<Identity, RelayBenchError> {
        let now = WallTime::read_clock();
        let name = format!("m{}", member.number()).parse().map_err(link_error)?;
        let issued = self.authority.issue(&name, member, DAYS, now).map_err(link_error)?;
        Identity::parse(issued.bundle.as_bytes(), now).map_err(link_error)
    }
}
