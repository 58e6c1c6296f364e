//! Starting a member, in the order that safety wants, and ending it.
//!
//! Nothing is sent before everything is known to be sound: configuration, identity, state on disk, ports, sockets. The
//! boot number is on disk before the first frame. Privileges go as soon as nothing needs them: each thread gives its
//! own up after it has set its priority.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::sync::Parker;
use dpdk::Eal;
use dpdk::process::{Capability, drop_capabilities, forbid_core_dumps, lock_memory};
use dpdk::sched::{Affinity, Class, set_nice};
use phalanx_config::Config;
use phalanx_dataplane::filter::Filter;
use phalanx_dataplane::unit::MemberId;
use phalanx_dataplane::worker::{Clock, Dataplane, Wake, Worker, WorkerHandle};
use ring::rand::SecureRandom;
use tokio::sync::{Mutex, oneshot, watch};

use super::apps::{Apps, Router};
use super::board::Board;
use super::desk::{Desk, Furniture};
use super::loads::LoadMeter;
use super::logging::Logging;
use super::manage::Management;
use super::member::{ClusterThread, Command, End, Parts};
use super::post::Post;
use super::reload::load_crl;
use super::state::StateDir;
use super::udp::{LinkSockets, open_reliable};
use super::wake::{Sleeper, Waker};
use super::{RunError, eal, settings};
use crate::cluster::{Core, Time};
use crate::envelope::{SALT_BYTES, ike_key, ike_token_key, relay_key, replica_key, steered_key};
use crate::ike::{Running, Sessions, ike};
use crate::link::{Link, LinkEvent};
use crate::pki::{Admission, Identity, WallTime};
use crate::replication::Replication;
use crate::tunnels::{traffic_rules, tunnels};

/// Commands that may wait for the cluster thread.
const COMMANDS_MAX: usize = 256;
/// Reliable messages that may wait for it.
const INBOX_MAX: usize = 256;
/// How long the workers may take to stop.
const STOP_MAX: Duration = Duration::from_secs(2);
/// How much the management thread gives way to others.
const MANAGEMENT_NICE: u8 = 10;

/// The cores that this process may use.
pub fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

/// Runs a member until it has left. `path` is where `config` came from, for reloads.
pub fn run(config: Config, path: &Path) -> Result<(), RunError> {
    let clock = Clock::start();
    let logging = Logging::start(config.log.level, config.log.format).map_err(RunError::Log)?;
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    if let Err(error) = forbid_core_dumps() {
        tracing::warn!("a core dump would hold secrets: {error}");
    }
    let foundation = Foundation::lay(&config)?;
    let eal: &'static Eal = Box::leak(Box::new(Eal::init(eal::arguments(&config, &cores()))?));
    let member = Member::assemble(config, foundation, eal, clock, logging)?;
    tracing::info!("member {} of cluster {} starts", member.desk_config.member.name, member.desk_config.cluster.name);
    member.live(eal, path)
}

/// What is needed before any device is touched.
struct Foundation {
    id: MemberId,
    identity: Identity,
    /// Without any revocation list.
    rules: Admission,
    /// With it.
    admission: Admission,
    state: StateDir,
    boot: u64,
    salt: [u8; SALT_BYTES],
    seed: u64,
}

impl Foundation {
    fn lay(config: &Config) -> Result<Self, RunError> {
        let wall = WallTime::read_clock();
        let path = &config.member.identity;
        let identity = Identity::load(path, wall).map_err(|error| RunError::Identity { path: path.clone(), error })?;
        let mismatch = |what, configured: &dyn ToString, certified: &dyn ToString| RunError::Mismatch {
            what,
            configured: configured.to_string(),
            certified: certified.to_string(),
        };
        let certified = identity.member();
        let id = settings::member_id(config)
            .filter(|id| *id == certified)
            .ok_or_else(|| mismatch("member.id", &config.member.id, &certified))?;
        if identity.cluster().as_str() != config.cluster.name {
            return Err(mismatch("cluster.name", &config.cluster.name, identity.cluster()));
        }
        if identity.name().as_str() != config.member.name {
            return Err(mismatch("member.name", &config.member.name, identity.name()));
        }
        let rules = Admission::new(identity.ca().clone());
        let mut admission = rules.clone();
        load_crl(&mut admission, config)?;
        let own = admission.check(identity.certificate(), wall);
        own.map_err(|error| RunError::Identity { path: path.clone(), error: error.into() })?;
        let state = StateDir::open(&config.member.state_dir)?;
        let boot = state.next_boot(wall)?;
        let salt = random()?;
        let seed = u64::from_ne_bytes(random()?);
        Ok(Self { id, identity, rules, admission, state, boot, salt, seed })
    }
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| RunError::Random)?;
    Ok(bytes)
}

/// A member that is ready to live.
struct Member {
    parts: Parts,
    workers: Vec<Worker>,
    commands: Sender<Command>,
    waker: Waker,
    desk: Arc<Desk>,
    desk_config: Config,
    rules: Admission,
    certificate: Vec<u8>,
    state: StateDir,
    memberships: watch::Receiver<Vec<MemberId>>,
    /// Who speaks IKE, as long as the member lives.
    _sessions: Option<Running>,
}

impl Member {
    fn assemble(
        config: Config,
        foundation: Foundation,
        eal: &'static Eal,
        clock: Clock,
        logging: Logging,
    ) -> Result<Self, RunError> {
        let Foundation { id, identity, rules, admission, state, boot, salt, seed } = foundation;
        let sleeper = Sleeper::new().map_err(RunError::Thread)?;
        let waker = sleeper.waker();
        let wake = waker.clone();
        let secret = identity.secret();
        let secrets = settings::Secrets {
            steered: steered_key(secret),
            relay: relay_key(secret),
            replica: replica_key(secret),
            ike: ike_key(secret),
            ike_token: ike_token_key(secret),
            seed,
        };
        let wall_s = u64::try_from(WallTime::read_clock().unix_seconds()).unwrap_or(0);
        let epoch_s = wall_s.saturating_sub(clock.now_ns() / 1_000_000_000);
        let mut wanted = settings::dataplane(&config, id, &secrets, epoch_s);
        let (talk, woken) = (ike(&config, &secrets.ike, &secrets.ike_token)?, Parker::new());
        let unparker = woken.unparker().clone();
        let wake_session: Wake = Arc::new(move || unparker.unpark());
        let spoken = talk.as_ref().map(|talk| (talk.guards.clone(), talk.keepers.clone(), wake_session));
        wanted.gateway = settings::gateway(
            (config.ipsec_engine, config.clamp_mss),
            (tunnels(&config)?, traffic_rules(&config)),
            spoken,
            id,
            &secrets,
        );
        let dataplane = Dataplane::open(eal, &wanted, clock, Arc::new(move || wake.wake()))?;
        let Dataplane { mut workers, handles, shared, ports, macs, pool, desks, tap, warnings } = dataplane;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        if let Err(error) = lock_memory() {
            tracing::warn!("secrets may be swapped out: {error}");
        }
        let refused = |source| RunError::Sockets { interface: config.link.interface.clone(), source };
        let sockets = LinkSockets::open(&config.link).map_err(refused)?;
        let reliable = open_reliable(&config.link).map_err(refused)?;
        let sessions = match talk {
            Some(talk) => {
                let (sessions, clerk) = Sessions::new(talk.config, talk.book, desks, woken.unparker().clone());
                Some((sessions.start(woken).map_err(RunError::Thread)?, clerk))
            }
            None => None,
        };
        let (running, clerk) = sessions.unzip();
        // The link's thread and the management thread need no privileges; workers and the cluster thread set a
        // priority first.
        drop_privileges(&[Capability::SysNice, Capability::IpcLock]);
        let (events, inbox) = inbox(&waker)?;
        let (mut replication, mut replicas) = (None, None);
        if config.has_sessions() {
            let wakes = handles.iter().map(WorkerHandle::wake).collect();
            let (carrier, handle, ports) = Replication::new(boot, wakes);
            workers.iter_mut().zip(ports).for_each(|(worker, port)| worker.replicate(port));
            (replication, replicas) = (Some(carrier), Some(handle));
        }
        let link = Link::start_with(&identity, admission.clone(), reliable, events, replication)?;
        let told = settings::core(&config, id, macs.clone(), state.incarnation()?, state.members());
        let (members, memberships) = watch::channel(Vec::new());
        let (commands, commanded) = bounded(COMMANDS_MAX);
        let board = Arc::new(Board::default());
        let rate = dpdk::clock::Rate::of(eal);
        let parts = Parts {
            apps: Apps::new(vec![Box::new(Router::new(told.roles.clone()))]),
            core: Core::new(told, Time(clock.now_ns())),
            clock,
            post: Post::new(&identity, admission, salt, boot)?,
            sockets,
            sleeper,
            link,
            replicas,
            inbox,
            commands: commanded,
            workers: handles,
            shared: Arc::clone(&shared),
            meter: LoadMeter::new(rate),
            state: state.clone(),
            memberships: members,
            board: Arc::clone(&board),
        };
        let desk = Desk::new(Furniture {
            config: config.clone(),
            clock,
            filter: Filter::new(wanted.scheme, wanted.key),
            board,
            shared,
            ports,
            macs,
            pool,
            commands: commands.clone(),
            waker: waker.clone(),
            logging,
            rate,
            clerk,
            window: tap.map(|tap| Arc::new(Mutex::new(tap))),
        });
        let desk = Arc::new(desk);
        let certificate = identity.certificate().to_vec();
        Ok(Self {
            parts,
            workers,
            commands,
            waker,
            desk,
            desk_config: config,
            rules,
            certificate,
            state,
            memberships,
            _sessions: running,
        })
    }

    fn live(self, eal: &'static Eal, path: &Path) -> Result<(), RunError> {
        let config = self.desk_config;
        let (stopped, stops) = bounded(self.workers.len());
        let count = self.workers.len();
        for worker in self.workers {
            let guard = Guard { worker: worker.index(), commands: self.commands.clone(), waker: self.waker.clone() };
            spawn_worker(eal, worker, &config, guard, stopped.clone())?;
        }
        let (ended, end) = oneshot::channel();
        spawn_cluster(self.parts, &config, ended)?;
        drop_privileges(&[Capability::IpcLock]);
        // A scrape of the metrics must not delay what the link's thread says to backups.
        if let Err(error) = set_nice(MANAGEMENT_NICE) {
            tracing::warn!("management: {error}");
        }
        let management = Management {
            desk: self.desk,
            config,
            path: path.to_owned(),
            admission: self.rules,
            certificate: self.certificate,
            state: self.state,
            memberships: self.memberships,
            ended: end,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Thread)?;
        let end = runtime.block_on(management.run())?;
        for _ in 0..count {
            if stops.recv_timeout(STOP_MAX).is_err() {
                tracing::warn!("a worker did not stop in time");
            }
        }
        match end {
            End::Left => Ok(()),
            End::Failed(why) => {
                tracing::error!("{why}");
                Err(RunError::Ended(why))
            }
        }
    }
}

/// What arrives on the link wakes the cluster thread: a thread between the two channels does it.
fn inbox(waker: &Waker) -> Result<(Sender<LinkEvent>, Receiver<LinkEvent>), RunError> {
    let (events, arrived) = bounded::<LinkEvent>(INBOX_MAX);
    let (forward, inbox) = bounded(INBOX_MAX);
    let waker = waker.clone();
    let relay = move || {
        for event in arrived {
            if forward.send(event).is_err() {
                return;
            }
            waker.wake();
        }
    };
    std::thread::Builder::new().name("phalanx-inbox".to_owned()).spawn(relay).map_err(RunError::Thread)?;
    Ok((events, inbox))
}

/// Tells the cluster thread when its worker is gone, however that came about.
struct Guard {
    worker: usize,
    commands: Sender<Command>,
    waker: Waker,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::WorkerEnded(self.worker));
        self.waker.wake();
    }
}

fn spawn_worker(
    eal: &'static Eal,
    mut worker: Worker,
    config: &Config,
    guard: Guard,
    stopped: Sender<()>,
) -> Result<(), RunError> {
    let index = worker.index();
    let core = config.workers.cores.get(index).copied();
    let priority = config.workers.realtime;
    let body = move || {
        let guard = guard;
        settle(core, priority);
        if let Err(error) = worker.run(eal) {
            tracing::error!("worker {index}: {error}");
        }
        drop(worker);
        drop(guard);
        let _ = stopped.send(());
    };
    let name = format!("phalanx-work{index}");
    std::thread::Builder::new().name(name).spawn(body).map(drop).map_err(RunError::Thread)
}

fn spawn_cluster(parts: Parts, config: &Config, ended: oneshot::Sender<End>) -> Result<(), RunError> {
    let (core, priority) = (config.cluster_thread.core, config.cluster_thread.realtime);
    let body = move || {
        settle(core, priority);
        let _ = ended.send(ClusterThread::new(parts).run());
    };
    std::thread::Builder::new().name("phalanx-cluster".to_owned()).spawn(body).map(drop).map_err(RunError::Thread)
}

/// Gives the calling thread its place: core, priority, exact timers, and no privileges any more.
fn settle(core: Option<u16>, priority: u8) {
    let pinned = core.map_or(Ok(()), |core| Affinity::of_cpu(core.into())?.apply());
    let class = if priority == 0 { Ok(()) } else { Class::Fifo(priority).apply() };
    for (what, done) in [("core", pinned), ("realtime", class), ("timers", dpdk::sched::set_timer_slack(1))] {
        if let Err(error) = done {
            tracing::warn!("{}: {what}: {error}", std::thread::current().name().unwrap_or("thread"));
        }
    }
    drop_privileges(&[Capability::IpcLock]);
}

/// Memory that is locked stays lockable: a thread's stack or a growing heap would fail without that one.
fn drop_privileges(keep: &[Capability]) {
    if let Err(error) = drop_capabilities(keep) {
        tracing::warn!("privileges are not dropped: {error}");
    }
}
