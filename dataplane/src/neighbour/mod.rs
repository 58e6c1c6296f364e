//! Who has the next hop's address: one worker's table of neighbours, for ARP and Neighbor Discovery alike.
//!
//! Pure: time is an argument, packets are a type parameter, and everything to be done comes out as an [`Action`]
//! through the caller's `sink`. States, after RFC 4861 section 7.3.2 with DELAY folded into PROBE:
//!
//! | state | usable | on use | on a timer |
//! | --- | --- | --- | --- |
//! | incomplete | no: packets queue | queue | ask again; after the last try: unreachable, entry gone |
//! | reachable | yes | – (turns stale by the clock) | – |
//! | stale | yes | ask (unicast) → probe | – |
//! | probe | yes | – | ask again; after the last try: entry gone |
//!
//! What a stranger can do is limited. An answer changes only entries that exist; a new entry comes from a packet of
//! ours that needs one, or from a request for one of our own addresses while there is room. Entries, entries being
//! asked for, and packets per entry are bounded, so that somebody who scans a connected subnet cannot push out the
//! neighbours in use (RFC 6583). Making room looks at a few entries, never at all of them.

mod index;
#[cfg(test)]
mod tests;
mod waiting;

use crate::parse::{Family, address_number};
use crate::wire::MacAddr;
use index::Index;
use std::collections::VecDeque;
use std::net::IpAddr;
use waiting::{Pool, Queue};

/// A neighbour: an address on the link of one port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NextHop {
    /// The port's number.
    pub port: u16,
    /// Which IP.
    pub family: Family,
    /// The address as [`crate::parse::Summary`] keeps it.
    pub address: u128,
}

impl NextHop {
    /// The neighbour with this address on this port's link.
    pub fn new(port: u16, ip: IpAddr) -> Self {
        let (family, address) = address_number(ip);
        Self { port, family, address }
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4((self.address as u32).into()),
            Family::V6 => IpAddr::V6(self.address.into()),
        }
    }
}

/// Bounds and times of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Neighbours known or asked for.
    pub entries_max: usize,
    /// Of these, asked for and not yet known: a scan of a subnet fills no more.
    pub incomplete_max: usize,
    /// Packets of others that wait for one neighbour.
    pub queue_max: usize,
    /// Packets of this member's own making that find room though others have filled theirs. They are not bounded for each
    /// neighbour: who takes over a thousand sessions with one server has a packet for each.
    pub own_max: usize,
    /// Time between two requests (RFC 4861's RetransTimer). Its default is a second there; but who has just taken over others' work
    /// knows few of its neighbours, and one lost answer would be a second of silence.
    pub request_interval_ns: u64,
    /// Requests before a neighbour counts as unreachable.
    pub tries_max: u8,
    /// How long an answer is trusted.
    pub reachable_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: 4096,
            incomplete_max: 1024,
            queue_max: 16,
            own_max: 1024,
            request_interval_ns: 250_000_000,
            tries_max: 12,
            reachable_ns: 30_000_000_000,
        }
    }
}

/// What the caller has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action<P> {
    /// Ask for the neighbour, from the member's own unit address.
    SendRequest {
        /// Whom.
        hop: NextHop,
        /// At its last known address; to all (ARP broadcast, solicited-node group) if `None`.
        unicast_to: Option<MacAddr>,
    },
    /// A packet that waited can go.
    Deliver {
        /// The packet.
        packet: P,
        /// To whom.
        hop: NextHop,
        /// Where that is.
        mac: MacAddr,
    },
    /// A packet waited in vain: answer host unreachable, or count a drop.
    Unreachable {
        /// The packet.
        packet: P,
        /// Who does not answer.
        hop: NextHop,
    },
}

/// Whose packet wants to wait.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    /// Somebody whose packets are routed.
    Host,
    /// This member itself.
    Own,
}

/// Why a packet cannot wait.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// Enough packets wait for this neighbour.
    #[error("too many packets wait for this neighbour")]
    QueueFull,
    /// Too many neighbours are being asked for, or all entries are in use.
    #[error("the neighbour table has no room")]
    TableFull,
}

/// What a hardware address was learned from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Evidence {
    /// An ARP reply to one of our addresses, or a solicited advertisement.
    Reply,
    /// A solicited advertisement without the override flag (RFC 4861 section 7.2.5): confirms or fills in, but does
    /// not replace an address that is known.
    WeakReply,
    /// An ARP request or solicitation for one of our own addresses.
    RequestForUs,
    /// Anything unasked: gratuitous ARP, an unsolicited advertisement.
    Gratuitous,
}

/// What became of news about a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Learned {
    /// Nothing: nobody we know, or not a host's hardware address.
    Ignored,
    /// A known neighbour is confirmed.
    Confirmed,
    /// A known neighbour has moved to this hardware address.
    Moved,
    /// One that was asked for, or has just asked for us, is known now.
    New,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Incomplete { tries: u8 },
    Reachable { until_ns: u64 },
    Stale,
    Probe { tries: u8 },
}

struct Entry {
    hop: NextHop,
    mac: MacAddr,
    state: State,
    /// Distinguishes this use of the slot from earlier ones, whose timers may still be in the list.
    serial: u32,
    used_ns: u64,
    waiting: Queue,
}

struct Timer {
    due_ns: u64,
    slot: u32,
    serial: u32,
}

/// Slots that making room looks at.
const EVICTION_SCAN: usize = 8;
/// Timers that one [`Table::poll`] handles.
const POLL_MAX: usize = 64;

/// One worker's neighbours; `P` is the packet type.
pub struct Table<P> {
    limits: Limits,
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: Index,
    /// In order of time: every timer is armed for the same interval ahead.
    timers: VecDeque<Timer>,
    /// Packets that wait, and how many entries they may wait for.
    waiting: Pool<P>,
    incomplete: usize,
    serial: u32,
    hand: usize,
}

impl<P> Table<P> {
    /// An empty table; all its memory is allocated here. `seed` is a secret that keeps outsiders from choosing
    /// addresses that collide.
    pub fn new(limits: Limits, seed: u64) -> Self {
        let nobody = NextHop { port: 0, family: Family::V4, address: 0 };
        let entry = |_| Entry {
            hop: nobody,
            mac: MacAddr::ZERO,
            state: State::Free,
            serial: 0,
            used_ns: 0,
            waiting: Queue::EMPTY,
        };
        Self {
            limits,
            entries: (0..limits.entries_max).map(entry).collect(),
            free: (0..limits.entries_max as u32).rev().collect(),
            index: Index::new(limits.entries_max, seed),
            timers: VecDeque::with_capacity(limits.entries_max * 2),
            waiting: Pool::new(limits.incomplete_max * limits.queue_max + limits.own_max),
            incomplete: 0,
            serial: 0,
            hand: 0,
        }
    }

    /// How many neighbours are known or asked for.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Nobody is known or asked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn find(&self, hop: NextHop) -> Option<usize> {
        self.index.find(hop, |slot| self.entries.get(slot).is_some_and(|entry| entry.hop == hop))
    }

    /// Where the neighbour is, if that is known. May ask it whether it is still there.
    #[inline]
    pub fn resolve(&mut self, hop: NextHop, now_ns: u64, sink: &mut impl FnMut(Action<P>)) -> Option<MacAddr> {
        let slot = self.find(hop)?;
        let entry = self.entries.get_mut(slot)?;
        match entry.state {
            State::Reachable { until_ns } if now_ns < until_ns => {}
            State::Probe { .. } => {}
            State::Reachable { .. } | State::Stale => self.start_probe(slot, now_ns, sink),
            State::Incomplete { .. } | State::Free => return None,
        }
        let entry = self.entries.get_mut(slot)?;
        entry.used_ns = now_ns;
        Some(entry.mac)
    }

    #[cold]
    fn start_probe(&mut self, slot: usize, now_ns: u64, sink: &mut impl FnMut(Action<P>)) {
        let armed = self.arm(slot, now_ns);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.state = if armed { State::Probe { tries: 1 } } else { State::Stale };
        if armed {
            sink(Action::SendRequest { hop: entry.hop, unicast_to: Some(entry.mac) });
        }
    }

    /// Lets a packet wait for a neighbour that [`Self::resolve`] did not know; asks for it if nobody has yet.
    /// Gives the packet back, with the reason, if it cannot wait.
    pub fn enqueue(
        &mut self,
        hop: NextHop,
        packet: P,
        sender: Sender,
        now_ns: u64,
        sink: &mut impl FnMut(Action<P>),
    ) -> Result<(), (P, Refusal)> {
        let slot = match self.find(hop) {
            Some(slot) => slot,
            None => match self.start_asking(hop, now_ns) {
                Some(slot) => {
                    sink(Action::SendRequest { hop, unicast_to: None });
                    slot
                }
                None => return Err((packet, Refusal::TableFull)),
            },
        };
        let Some(entry) = self.entries.get_mut(slot) else { return Err((packet, Refusal::TableFull)) };
        if !matches!(entry.state, State::Incomplete { .. }) {
            sink(Action::Deliver { packet, hop, mac: entry.mac });
            return Ok(());
        }
        if sender == Sender::Host && entry.waiting.len() >= self.limits.queue_max {
            return Err((packet, Refusal::QueueFull));
        }
        self.waiting.push(&mut entry.waiting, packet).map_err(|packet| (packet, Refusal::QueueFull))
    }

    fn start_asking(&mut self, hop: NextHop, now_ns: u64) -> Option<usize> {
        if self.incomplete >= self.limits.incomplete_max || self.timers.len() >= self.entries.len() * 2 {
            return None;
        }
        if self.free.is_empty() {
            self.evict();
        }
        let slot = self.insert(hop, now_ns)?;
        self.incomplete += 1;
        let entry = self.entries.get_mut(slot)?;
        entry.state = State::Incomplete { tries: 1 };
        entry.waiting = Queue::EMPTY;
        self.arm(slot, now_ns);
        Some(slot)
    }

    /// Takes in what a neighbour says about itself. The caller has checked that the packet is what `evidence` says:
    /// sent to one of our addresses, by an address of the port's own subnet.
    pub fn handle_learned(
        &mut self,
        hop: NextHop,
        mac: MacAddr,
        evidence: Evidence,
        now_ns: u64,
        sink: &mut impl FnMut(Action<P>),
    ) -> Learned {
        if !mac.is_host() {
            return Learned::Ignored;
        }
        let Some(slot) = self.find(hop) else {
            return if evidence == Evidence::RequestForUs {
                self.learn_asker(hop, mac, now_ns)
            } else {
                Learned::Ignored
            };
        };
        let reachable = State::Reachable { until_ns: now_ns.saturating_add(self.limits.reachable_ns) };
        let Some(entry) = self.entries.get_mut(slot) else { return Learned::Ignored };
        let learned = match entry.state {
            State::Incomplete { .. } => Learned::New,
            _ if entry.mac == mac => Learned::Confirmed,
            _ if evidence == Evidence::WeakReply => return Learned::Ignored,
            _ => Learned::Moved,
        };
        entry.mac = mac;
        entry.state = match (evidence, learned) {
            (Evidence::Reply | Evidence::WeakReply, _) => reachable,
            // Unasked news with nothing new in it proves nothing about both directions: the state stays.
            (_, Learned::Confirmed) => entry.state,
            _ => State::Stale,
        };
        if learned == Learned::New {
            while let Some(packet) = self.waiting.pop(&mut entry.waiting) {
                sink(Action::Deliver { packet, hop, mac });
            }
            self.incomplete -= 1;
        }
        learned
    }

    /// Whoever asks for us is about to talk to us. Only into free room: nobody in use gives way to a stranger.
    fn learn_asker(&mut self, hop: NextHop, mac: MacAddr, now_ns: u64) -> Learned {
        match self.insert(hop, now_ns).and_then(|slot| self.entries.get_mut(slot)) {
            Some(entry) => {
                entry.mac = mac;
                entry.state = State::Stale;
                Learned::New
            }
            None => Learned::Ignored,
        }
    }

    /// When [`Self::poll`] has something to do: the next repetition of a request, or verdict.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.front().map(|timer| timer.due_ns)
    }

    /// Repeats requests and gives up on neighbours, as far as it is time; a bounded number of them a call.
    pub fn poll(&mut self, now_ns: u64, sink: &mut impl FnMut(Action<P>)) {
        for _ in 0..POLL_MAX {
            match self.timers.front() {
                Some(timer) if timer.due_ns <= now_ns => {}
                _ => return,
            }
            if let Some(timer) = self.timers.pop_front() {
                self.handle_timer(&timer, now_ns, sink);
            }
        }
    }

    fn handle_timer(&mut self, timer: &Timer, now_ns: u64, sink: &mut impl FnMut(Action<P>)) {
        let slot = timer.slot as usize;
        let tries_max = self.limits.tries_max;
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.serial == timer.serial) else { return };
        let (hop, mac) = (entry.hop, entry.mac);
        let (tries, unicast_to) = match &mut entry.state {
            State::Incomplete { tries } => (tries, None),
            State::Probe { tries } => (tries, Some(mac)),
            State::Free | State::Reachable { .. } | State::Stale => return,
        };
        if *tries < tries_max {
            *tries += 1;
            self.arm(slot, now_ns);
            sink(Action::SendRequest { hop, unicast_to });
        } else {
            self.remove(slot, sink);
        }
    }

    /// Asks for all who have not answered yet as if for the first time: whoever was cut off may have asked in vain, and would give them
    /// up, and what waits for them, at the next verdict.
    pub fn ask_again(&mut self, now_ns: u64, sink: &mut impl FnMut(Action<P>)) {
        for slot in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(slot) else { return };
            let hop = entry.hop;
            let State::Incomplete { tries } = &mut entry.state else { continue };
            *tries = 1;
            if self.arm(slot, now_ns) {
                sink(Action::SendRequest { hop, unicast_to: None });
            }
        }
    }

    /// Forgets everyone on a port (its link went down); packets that wait come back as unreachable.
    pub fn forget_port(&mut self, port: u16, sink: &mut impl FnMut(Action<P>)) {
        for slot in 0..self.entries.len() {
            if self.entries.get(slot).is_some_and(|e| e.state != State::Free && e.hop.port == port) {
                self.remove(slot, sink);
            }
        }
    }

    /// Starts the timer of a slot, cancelling (by serial) an older one.
    fn arm(&mut self, slot: usize, now_ns: u64) -> bool {
        if self.timers.len() >= self.entries.len() * 2 {
            return false;
        }
        self.serial = self.serial.wrapping_add(1);
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        entry.serial = self.serial;
        let due_ns = now_ns.saturating_add(self.limits.request_interval_ns);
        self.timers.push_back(Timer { due_ns, slot: slot as u32, serial: self.serial });
        true
    }

    fn insert(&mut self, hop: NextHop, now_ns: u64) -> Option<usize> {
        let slot = self.free.pop()? as usize;
        self.serial = self.serial.wrapping_add(1);
        let entry = self.entries.get_mut(slot)?;
        entry.hop = hop;
        entry.used_ns = now_ns;
        entry.serial = self.serial;
        self.index.insert(hop, slot);
        Some(slot)
    }

    /// Frees the entry that has been idle longest among the next few that nobody waits for.
    fn evict(&mut self) {
        let mut victim: Option<(u64, usize)> = None;
        for _ in 0..EVICTION_SCAN.min(self.entries.len()) {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            if let Some(entry) = self.entries.get(slot)
                && !matches!(entry.state, State::Incomplete { .. } | State::Free)
                && victim.is_none_or(|(used_ns, _)| entry.used_ns < used_ns)
            {
                victim = Some((entry.used_ns, slot));
            }
        }
        if let Some((_, slot)) = victim {
            self.remove(slot, &mut |_| {});
        }
    }

    fn remove(&mut self, slot: usize, sink: &mut impl FnMut(Action<P>)) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let hop = entry.hop;
        let was_incomplete = matches!(entry.state, State::Incomplete { .. });
        entry.state = State::Free;
        while let Some(packet) = self.waiting.pop(&mut entry.waiting) {
            sink(Action::Unreachable { packet, hop });
        }
        self.incomplete -= usize::from(was_incomplete);
        let entries = &self.entries;
        self.index.remove(hop, slot, |slot| entries.get(slot).map(|entry| entry.hop));
        self.free.push(slot as u32);
    }
}
