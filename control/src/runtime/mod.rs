//! `phalanx run`: the threads of a member, and the only place where the pure parts meet clocks, sockets, files and DPDK.
//!
//! | thread | what | file |
//! | --- | --- | --- |
//! | workers | the packet path, one each | `phalanx_dataplane::worker` |
//! | cluster | drives the cluster core; never does anything slow | `member`, with `post`, `udp`, `merge`, `loads`, `timeline` |
//! | link | QUIC to the other members | `crate::link`, and `inbox` |
//! | management | signals, HTTP, files | `manage`, with `reload`, `desk`, `http`, `report`, `metrics`, `logging` |
//!
//! Invariants: the cluster thread waits for nobody (rings and channels are bounded, and a full one is counted or ends the
//! process); everyone else sees the cluster only through `board`, a value that is replaced as a whole; a worker that is
//! stuck or gone ends the process, for others can take over from a dead member but not from half a one.

mod apps;
mod board;
mod capture;
mod desk;
mod eal;
mod http;
mod lives;
mod loads;
mod logging;
mod manage;
mod member;
mod merge;
mod metrics;
mod post;
mod reload;
mod report;
mod settings;
mod start;
mod state;
mod timeline;
mod udp;
mod wake;

use std::path::PathBuf;

pub use start::{cores, run};
pub use state::StateError;

/// Why a member does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log.
    #[error("{0}")]
    Log(String),
    /// Who this member is.
    #[error("identity {}: {error}", path.display())]
    Identity {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        error: crate::pki::IdentityError,
    },
    /// The bundle and the configuration contradict each other.
    #[error(
        "{what} is {configured} in the configuration but {certified} in the certificate; correct the one or issue the other"
    )]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// As configured.
        configured: String,
        /// As certified.
        certified: String,
    },
    /// The revocation list.
    #[error("revocation list {}: {error}", path.display())]
    Crl {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        error: crate::pki::CrlError,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// DPDK.
    #[error("DPDK: {0}; see [eal] args in the configuration, and DPDK's own lines above")]
    Dpdk(#[from] dpdk::Error),
    /// A tunnel.
    #[error(transparent)]
    Tunnel(#[from] crate::tunnels::TunnelError),
    /// An IKE connection, or a file that one needs.
    #[error(transparent)]
    Ike(#[from] crate::ike::IkeError),
    /// Ports and workers.
    #[error(transparent)]
    Dataplane(#[from] phalanx_dataplane::worker::SetupError),
    /// The cluster link's datagrams.
    #[error("cluster link on {interface}: {source}")]
    Sockets {
        /// The interface.
        interface: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The cluster link's reliable side.
    #[error(transparent)]
    Link(#[from] crate::link::LinkError),
    /// Keys.
    #[error(transparent)]
    Seal(#[from] crate::envelope::SealError),
    /// The system's random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// Threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// HTTP, sockets, signals.
    #[error("{what}: {source}")]
    Management {
        /// Which.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ran, and then could not go on.
    #[error("{0}")]
    Ended(String),
}
