//! The management thread: signals, HTTP, the membership file, the ports' links. Everything that may be slow lives here.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use nix::net::if_::InterfaceFlags;
use phalanx_config::Config;
use phalanx_dataplane::unit::MemberId;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::desk::Desk;
use super::eal::kernel_interfaces;
use super::member::{Command, End};
use super::reload::Reload;
use super::state::StateDir;
use super::{RunError, http};
use crate::pki::Admission;

/// How often links are looked at.
const LINKS_EVERY: Duration = Duration::from_millis(50);
/// How often busy shares are sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the thread works on.
pub(super) struct Management {
    pub(super) desk: Arc<Desk>,
    /// What runs, as last reloaded.
    pub(super) config: Config,
    pub(super) path: std::path::PathBuf,
    /// The rules of admission without any revocation list.
    pub(super) admission: Admission,
    /// This member's own certificate.
    pub(super) certificate: Vec<u8>,
    pub(super) state: StateDir,
    pub(super) memberships: watch::Receiver<Vec<MemberId>>,
    /// Fires when the cluster thread has ended.
    pub(super) ended: oneshot::Receiver<End>,
}

impl Management {
    /// Works until the cluster thread has ended; says how it did.
    pub(super) async fn run(self) -> Result<End, RunError> {
        let wrap = |what: String| move |source| RunError::Management { what, source };
        let socket = self.config.management.socket.clone();
        let unix = http::listen_unix(&socket).map_err(wrap(format!("the socket {}", socket.display())))?;
        let tcp = match self.config.management.listen {
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(wrap(format!("management.listen = {address}")))?)
            }
            None => None,
        };
        let mut signals = Signals::new().map_err(wrap("signals".to_owned()))?;
        let serve = serve(Arc::clone(&self.desk), unix, tcp);
        let keep = keep_members(self.state.clone(), self.memberships.clone());
        let watch = watch_ports(Arc::clone(&self.desk), self.config.clone());
        let mut ended = self.ended;
        let mut reload = Reload {
            orders: Arc::clone(&self.desk),
            config: self.config,
            path: self.path,
            admission: self.admission,
            certificate: self.certificate,
        };
        let obey = async {
            loop {
                signals.next_into(&self.desk, &mut reload).await;
            }
        };
        let end = tokio::select! {
            end = &mut ended => end,
            () = serve => ended.await,
            () = keep => ended.await,
            () = watch => ended.await,
            () = obey => ended.await,
        };
        // A socket without a process would only puzzle.
        let _ = std::fs::remove_file(&socket);
        let members = self.memberships.borrow().clone();
        if !members.is_empty() {
            self.state.save_members(&members)?;
        }
        Ok(end.unwrap_or_else(|_| End::Failed("the cluster thread panicked; others take over".to_owned())))
    }
}

async fn serve(desk: Arc<Desk>, unix: UnixListener, tcp: Option<TcpListener>) {
    let questions = http::questions(Arc::clone(&desk));
    let tcp = async {
        match tcp {
            Some(tcp) => axum::serve(tcp, questions).await,
            None => pending().await,
        }
    };
    let (unix, tcp) = tokio::join!(axum::serve(unix, http::orders(desk)), tcp);
    for error in [unix.err(), tcp.err()].into_iter().flatten() {
        tracing::error!("management: {error}");
    }
}

/// Writes the membership whenever it changed.
async fn keep_members(state: StateDir, mut memberships: watch::Receiver<Vec<MemberId>>) {
    while memberships.changed().await.is_ok() {
        let members = memberships.borrow_and_update().clone();
        if let Err(error) = state.save_members(&members) {
            tracing::error!("the membership was not kept: {error}");
        }
    }
    pending().await
}

/// Looks at the ports' links and at the workers' busy shares.
async fn watch_ports(desk: Arc<Desk>, config: Config) {
    let mut links = tokio::time::interval(LINKS_EVERY);
    let mut sample = tokio::time::interval(SAMPLE_EVERY);
    loop {
        tokio::select! {
            _ = links.tick() => look_at_links(&desk, &config),
            _ = sample.tick() => desk.sample(),
        }
    }
}

/// Says of every port whether it has a link: virtual drivers do not know, but the kernel interface behind them does.
fn look_at_links(desk: &Desk, config: &Config) {
    let running = interfaces_running();
    for (index, port) in config.ports.iter().enumerate() {
        let virtual_device = kernel_interfaces(&port.device).next().is_some();
        let up = if virtual_device { carrier(&port.device, &running) } else { desk.driver_link(index) };
        // An interface that nobody can tell of is taken to work: silence on it will show if it does not.
        if let Some(up) = up {
            desk.set_link(index, up);
        }
    }
}

/// Whether every kernel interface behind a device runs; none if nothing is known of any.
fn carrier(device: &str, running: &BTreeMap<String, bool>) -> Option<bool> {
    kernel_interfaces(device).filter_map(|interface| running.get(interface).copied()).reduce(|all, up| all && up)
}

/// The kernel's interfaces, and whether each is up and has a carrier.
fn interfaces_running() -> BTreeMap<String, bool> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return BTreeMap::new() };
    let both = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    interfaces.map(|interface| (interface.interface_name, interface.flags.contains(both))).collect()
}

/// The signals that mean something here.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    asked_to_stop: bool,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            asked_to_stop: false,
        })
    }

    async fn next_into(&mut self, desk: &Desk, reload: &mut Reload<Arc<Desk>>) {
        tokio::select! {
            _ = self.terminate.recv() => self.stop(desk),
            _ = self.interrupt.recv() => self.stop(desk),
            _ = self.hang_up.recv() => reload.run(),
        }
    }

    fn stop(&mut self, desk: &Desk) {
        let taken = if std::mem::replace(&mut self.asked_to_stop, true) {
            tracing::warn!("told to stop a second time: leaving at once");
            desk.command(Command::Stop)
        } else {
            tracing::info!("told to stop: giving all units away first");
            desk.command(Command::Drain { hurry: true })
        };
        if !taken {
            tracing::error!("the cluster thread takes no orders: if it does not end by itself, kill this process");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_link_if_all_that_is_behind_it_has() {
        let running = [("a", true), ("b", false)].map(|(name, up)| (name.to_owned(), up)).into();
        let link = |device| carrier(device, &running);
        assert_eq!(link("net_pcap0,rx_iface=a,tx_iface=a"), Some(true));
        assert_eq!(link("net_pcap0,rx_iface=a,tx_iface=b"), Some(false));
        assert_eq!(link("net_tap0,iface=dtap0,remote=b"), Some(false));
        assert_eq!(link("net_af_packet0,iface=elsewhere"), None);
    }
}
