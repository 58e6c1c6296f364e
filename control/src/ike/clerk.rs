//! Operators' questions to the session thread: which IKE SAs this member serves; that one ends, or gets new keys.

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::sync::Unparker;
use phalanx_dataplane::ipsec::gateway::{SessionDesk, Wish};
use phalanx_ike::machine::Part;
use phalanx_ike::state::{Child, IkeSa, Phase};
use phalanx_ike::wire::Selector;
use tokio::sync::oneshot;

use crate::status::{ChildStatus, SessionStatus};

/// Questions that may wait.
const REQUESTS_MAX: usize = 16;

/// What the management thread wants.
pub(super) enum Request {
    Show(oneshot::Sender<Vec<SessionStatus>>),
    Wish(u64, Wish),
}

/// The management thread's end.
#[derive(Clone, Debug)]
pub(crate) struct Clerk {
    requests: Sender<Request>,
    unparker: Unparker,
}

/// The session thread's end: what is asked, and what has been found out so far.
pub(super) struct Register {
    requests: Receiver<Request>,
    waiting: Vec<oneshot::Sender<Vec<SessionStatus>>>,
    /// Workers that have not shown all.
    left: usize,
    found: Vec<SessionStatus>,
}

/// Both ends.
pub(super) fn clerk(unparker: Unparker) -> (Clerk, Register) {
    let (sender, requests) = bounded(REQUESTS_MAX);
    (Clerk { requests: sender, unparker }, Register { requests, waiting: Vec::new(), left: 0, found: Vec::new() })
}

impl Clerk {
    /// All IKE SAs that this member serves. None: nobody answers.
    pub(crate) async fn sessions(&self) -> Option<Vec<SessionStatus>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Show(answer)).then_some(())?;
        answered.await.ok()
    }

    /// Wants something of an IKE SA. False: nobody listens.
    pub(crate) fn wish(&self, spi: u64, wish: Wish) -> bool {
        self.ask(Request::Wish(spi, wish))
    }

    fn ask(&self, request: Request) -> bool {
        let taken = self.requests.try_send(request).is_ok();
        self.unparker.unpark();
        taken
    }
}

impl Register {
    /// Takes up what is asked, as far as the workers have room for it.
    pub(super) fn turn(&mut self, desks: &mut [SessionDesk]) {
        // Who asks while others are being shown is answered by the next round.
        while self.left == 0
            && let Ok(request) = self.requests.try_recv()
        {
            match request {
                Request::Show(answer) => {
                    self.waiting.push(answer);
                    self.left = desks.iter_mut().map(SessionDesk::show).filter(|taken| *taken).count();
                    if self.left < desks.len() {
                        // A worker has too much to read: whoever asked hears that nobody answers, and asks again.
                        self.waiting.clear();
                    }
                }
                // The one that serves it obeys.
                Request::Wish(spi, wish) => desks.iter_mut().for_each(|desk| {
                    desk.wish(spi, wish);
                }),
            }
        }
    }

    /// One is shown.
    pub(super) fn note(&mut self, spi: u64, record: &[u8], now_s: u64) {
        self.found.extend(IkeSa::restore(record).map(|sa| status(spi, &sa, now_s)));
    }

    /// A worker has shown all.
    pub(super) fn end(&mut self) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            let mut found = std::mem::take(&mut self.found);
            found.sort_by(|one, other| (&one.peer, &one.spi).cmp(&(&other.peer, &other.spi)));
            for answer in self.waiting.drain(..) {
                // Whoever asked may have gone.
                let _ = answer.send(found.clone());
            }
        }
    }
}

fn status(spi: u64, sa: &IkeSa, now_s: u64) -> SessionStatus {
    let state = match &sa.phase {
        Phase::Beginning(_) => "beginning",
        Phase::Proving(_) => "proving",
        Phase::Opening(_) => "opening",
        Phase::Asking(_) => "asking",
        Phase::Established(_) if sa.succeeded => "succeeded",
        Phase::Established(_) => "established",
        Phase::Closed => "closed",
    };
    let peer = sa.peer();
    SessionStatus {
        spi: format!("{spi:016x}"),
        connection: peer.map(|peer| peer.connection.clone()).unwrap_or_default(),
        peer: peer.map(|peer| peer.identity.to_string()).unwrap_or_default(),
        remote: sa.path.theirs.to_string(),
        addresses: peer.iter().flat_map(|peer| &peer.addresses).map(ToString::to_string).collect(),
        state: state.to_owned(),
        age_s: now_s.saturating_sub(sa.created_s),
        silent_s: now_s.saturating_sub(sa.heard_s),
        udp: sa.is_translated(),
        children: sa.children.iter().map(|child| child_status(child, now_s)).collect(),
    }
}

fn child_status(child: &Child, now_s: u64) -> ChildStatus {
    let networks = |selectors: &[Selector]| {
        let parts = selectors.iter().filter_map(Part::of).flatten();
        parts.map(|part| part.to_string()).collect()
    };
    ChildStatus {
        name: child.name.clone(),
        spi_in: format!("{:08x}", child.inbound_spi),
        spi_out: format!("{:08x}", child.outbound_spi),
        esp: child.transform.clone(),
        esn: child.extended,
        transport: child.transport,
        age_s: now_s.saturating_sub(child.created_s),
        local_ts: networks(&child.local),
        remote_ts: networks(&child.remote),
    }
}
