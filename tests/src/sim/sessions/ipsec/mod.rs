//! IPsec in the simulated cluster: every member runs the production gateway, behind its desk the production speaker of IKE answers
//! when it likes, and peers come in by IKEv2 and talk through ESP.
//!
//! A peer says a word through its tunnel every few milliseconds; a host inside answers; the answer comes back through the tunnel. Both
//! sides give their SAs new keys all the time, and somebody sends what peers have sent once more.
//!
//! The cluster's clock runs four times as fast as the simulation's: IKE counts in seconds.
//!
//! Members that were stopped go on beside those who have taken over (`forced`).
//!
//! Checked (`check`): of all that members send, under one key no IV comes twice, no sequence number, and under one message ID nothing
//! else than before; nothing that a peer has sent is let in twice; no peer loses its IKE SA as long as somebody lives who held it; when
//! all has healed, words pass both ways, and both sides agree on their SAs.
//!
//! Files: `peer` (IKE at a peer), `tunnel` (ESP there, packets), `thread` (a member's half), `talk` (who says what when), `forced` (two
//! owners), `check`.

mod check;
mod forced;
mod peer;
mod talk;
pub(in crate::sim) mod thread;
mod tunnel;

use std::collections::BTreeSet;

use phalanx_dataplane::ipsec::gateway::Gateway;
use phalanx_dataplane::unit::{MemberId, Unit};

use self::check::Seen;
use self::peer::Peer;
use self::thread::{Drawn, Half};
use super::super::clock::Clock;
use super::super::rng::Rng;
use super::super::world::{MS, US};
use super::SessionFault;

/// Tunnels in updates, and IKE SAs (`gateway::record`).
const TUNNEL_APP: u8 = 2;
const IKE_APP: u8 = 3;
/// A second of the cluster's clock.
const SECOND: u64 = 250 * MS;
/// How many peers there are.
const PEERS: usize = 3;

const fn clock_s(now: u64) -> u64 {
    1000 + now / SECOND
}

/// How fast things go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long a session thread thinks, mostly.
    think_ns: u64,
    /// In a thousand: questions that are never answered in time.
    never: u64,
    /// New keys for the IKE SA and for a child, and how long a silence may be, in the cluster's seconds, at the gateway and at peers.
    gateway_s: (u64, u64, u64),
    peer_s: (u64, u64, u64),
    /// Between two words of a peer.
    word_ns: u64,
    /// In a thousand: words after which something old is sent once more.
    replays: u64,
}

impl Pace {
    fn draw(rng: &mut Rng) -> Self {
        let mut times = || (*rng.pick(&[0, 9, 14]), *rng.pick(&[0, 6, 10]), *rng.pick(&[0, 3, 8]));
        let (gateway_s, peer_s) = (times(), times());
        Self {
            think_ns: *rng.pick(&[200 * US, 2 * MS, 20 * MS]),
            never: *rng.pick(&[0, 0, 0, 10]),
            gateway_s,
            peer_s,
            word_ns: *rng.pick(&[4 * MS, 12 * MS, 40 * MS]),
            replays: *rng.pick(&[0, 50, 200]),
        }
    }
}

/// A peer, and what it has seen.
struct Remote {
    peer: Peer,
    unit: Unit,
    /// It has lost all by right: it begins anew, and what is known of it is looked at no more.
    excused: bool,
    numbers: u64,
    said_at: u64,
    ticked_at: u64,
    answered_at: u64,
    /// How often it has shaken hands or tried to.
    handshakes: u64,
    /// When this life of its began, and when the handshake did that it is in, or was in last: it gives up and begins another.
    begun_at: u64,
    tried_at: u64,
    /// Questions about its unit that no session thread has answered in time, since it last heard an answer.
    unanswered: u64,
    /// What it has sent through its tunnels, in this life.
    sent: Vec<Vec<u8>>,
    /// What was let in of that.
    let_in: BTreeSet<u64>,
}

/// All peers, and what is seen of all members.
pub(super) struct Ipsec {
    pub(super) pace: Pace,
    fault: Option<SessionFault>,
    remotes: Vec<Remote>,
    seen: Seen,
}

impl Remote {
    /// An answer has come.
    const fn note_answer(&mut self, now: u64) {
        (self.answered_at, self.unanswered) = (now, 0);
    }
}

impl Ipsec {
    pub(super) fn new(rng: &mut Rng, fault: Option<SessionFault>) -> Self {
        let pace = Pace::draw(rng);
        let remote = |number: usize, rng: &mut Rng| Remote {
            peer: Peer::new(number, pace, Drawn(Rng::new(rng.number()))),
            unit: Unit::from_low_bits(0),
            excused: false,
            numbers: 0,
            said_at: 0,
            ticked_at: 0,
            answered_at: 0,
            handshakes: 0,
            begun_at: 0,
            tried_at: 0,
            unanswered: 0,
            sent: Vec::new(),
            let_in: BTreeSet::new(),
        };
        let remotes = (0..PEERS).map(|number| remote(number, rng)).collect();
        Self { pace, fault, remotes, seen: Seen::default() }
    }

    /// A gateway for a member's process, and what goes with it.
    pub(super) fn furnish(&self, me: MemberId, clock: Clock, seed: u64) -> (Gateway, Half) {
        thread::begin(me, clock, seed, self.pace, self.fault)
    }

    /// A session thread does not answer a question about this unit in time.
    fn note_unanswered(&mut self, unit: Unit) {
        self.remotes.iter_mut().filter(|remote| remote.unit == unit).for_each(|remote| remote.unanswered += 1);
    }

    pub(super) fn peers() -> usize {
        PEERS
    }
}
