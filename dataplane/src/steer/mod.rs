//! Figure 9's second half: a packet's unit is known; what becomes of the packet here?
//!
//! The cluster core (control crate) decides; a worker obeys. What it must know is one [`Mode`] per unit, in a [`View`]
//! that the cluster thread sends whenever something changes. Two exchanges need more than a mode:
//!
//! *A death.* The master gives the dead owner's units to their backups and **holds** their packets ([`Mode::Hold`])
//! until the new owner acknowledges. Under `forward` it alone sees them; it then releases them to the new owner and
//! turns to [`Mode::Relay`]. Under `unicast`/`multicast` the new owner sees packets too: it holds its own
//! ([`Mode::HoldOwn`]) while it processes what the master passes on, until the master's marker says "that was all"
//! (or a deadline passes), then releases what it held *except* what it already had from the master: nothing is
//! processed twice, nothing overtakes.
//!
//! *A planned move* of a unit from A to B. B is set to [`Mode::Hold`], A to [`Mode::MineLogged`]: it processes and
//! notes a digest of each packet. Under `forward` the master sends each packet to both ([`Mode::RelayBoth`]). Then A
//! stops (`Hold`), its log goes to B, and B releases what it held except what A's log names; A drops what it held. If the
//! move is given up instead, A goes on with what it held, and B drops its. Exactly once, in order, in all three delivery modes.
//!
//! The packet type is a parameter: the worker steers mbufs, the simulator steers numbers.
//!
//! Files: `engine` (a packet comes), `obey` (an order or a deadline comes), `hold` and `digests` (their memory),
//! `limits`.

mod digests;
mod engine;
mod hold;
mod limits;
mod obey;
#[cfg(test)]
mod tests;

pub use engine::{Steering, code};
pub use limits::Limits;
pub use obey::Sink;

use std::sync::Arc;

use crate::drop_reason::DropReason;
use crate::replica::{MemberSet, TableVersion};
use crate::unit::{MemberId, Unit};

/// What a worker does with a packet of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// Not ours: dropped, at next to no cost. (A member that is neither owner nor master; or the master under
    /// `unicast`/`multicast` when the owner has acknowledged.)
    #[default]
    Drop,
    /// Ours, under a valid lease.
    Mine,
    /// Ours, and on its way to another member: each packet's digest is logged.
    MineLogged,
    /// Kept, in order, bounded and with a deadline, until released.
    Hold,
    /// Ours, just taken over under `unicast`/`multicast`: packets passed on by a member are processed (and logged),
    /// packets seen directly are kept until released.
    HoldOwn,
    /// Master under `forward`: passed on to the owner.
    Relay(MemberId),
    /// Master under `forward`, planned move: passed on to the old owner and, as a copy, to the new one. Either may be
    /// this member itself: then that half is processed-and-logged (old owner) or kept (new owner) here.
    RelayBoth {
        /// Still processes.
        from: MemberId,
        /// Keeps, until `from` has stopped.
        to: MemberId,
    },
    /// Master: nobody owns it. The packet is kept, and the cluster core is told, once per unit and view.
    Unassigned,
    /// It killed two owners in a row: dropped by everyone, under its own drop reason.
    Quarantined,
}

/// The assignment table, as far as replication goes by it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Holders {
    /// Which table.
    pub version: TableVersion,
    /// Each unit's owner, by unit number.
    pub owners: Vec<Option<MemberId>>,
    /// And those that are to hold its sessions besides.
    pub backups: Vec<MemberSet>,
}

/// The whole of what the cluster core tells a worker: replaced as one value, never patched.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct View {
    /// Rises with every view of this process. A worker reports the version that it runs under.
    pub version: u64,
    /// One mode per unit, by unit number (production: `UNITS` entries; models may use fewer).
    pub modes: Vec<Mode>,
    /// Whether this member answers ARP and ND for the cluster addresses (it is the master).
    pub answers: bool,
    /// Where members are reached: for each member (by `MemberId::index`), the hardware address of each of its data
    /// ports, in the configuration's port order. Absent members have none.
    pub peers: Vec<Option<Vec<[u8; 6]>>>,
    /// Who holds which sessions; none where no app keeps any.
    pub holders: Option<Arc<Holders>>,
    /// To whom those units are on their way that are ours by the table and not served any more.
    pub heir: Option<MemberId>,
}

/// Where kept packets of a unit go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReleaseTo {
    /// Processed here.
    Here,
    /// Passed on to this member.
    Member(MemberId),
    /// Dropped, counted as held and discarded.
    Nowhere,
}

/// An order from the cluster core to a worker. Orders are obeyed in the order given, between two bursts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Run under this view from now on; answer with [`Applied`].
    View(View),
    /// Empty the hold buffer of a unit, oldest first, leaving out packets whose digest is in `except` (each entry
    /// leaves out one packet) or, at the end of [`Mode::HoldOwn`], was logged here.
    Release {
        /// The unit.
        unit: Unit,
        /// Where its packets go.
        to: ReleaseTo,
        /// Digests of packets already processed elsewhere.
        except: Vec<u32>,
    },
    /// Send a marker frame to a member on every data port, behind everything passed on to it so far.
    Marker {
        /// The receiver.
        to: MemberId,
        /// Comes back as [`Notice::Marker`] at the receiver.
        token: u64,
    },
}

/// What a worker tells the cluster core.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// A view is in force. `logs` holds, for each unit that left [`Mode::MineLogged`] (or the `from` half of
    /// `RelayBoth`) with this view, the digests of the packets processed under it; `None` if there were too many.
    Applied {
        /// The view's version.
        version: u64,
        /// Per unit: digests, oldest first.
        logs: Vec<(Unit, Option<Vec<u32>>)>,
    },
    /// A packet of an unassigned unit came by.
    Unassigned(Unit),
    /// A member's marker arrived, or a part of it.
    Marker {
        /// Who sent it.
        from: MemberId,
        /// Its token.
        token: u64,
        /// Which part this is. The runtime collects them, and tells the core when it has all.
        part: MarkerPart,
    },
}

/// One of the frames that are a marker together: each worker sends one by each port, behind what it passed on there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MarkerPart {
    index: u16,
    of: u16,
}

impl MarkerPart {
    /// A marker that needs no other part.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `index`, counted from 0, `of` so many.
    pub const fn new(index: u16, of: u16) -> Option<Self> {
        if index < of { Some(Self { index, of }) } else { None }
    }

    /// Its place among the parts, from 0.
    pub const fn index(self) -> u16 {
        self.index
    }

    /// How many parts there are.
    pub const fn of(self) -> u16 {
        self.of
    }
}

/// How a packet reached this member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// From a host, or by the switch's flooding.
    Direct,
    /// Passed on by this member: the frame's source address is one of that member's ports.
    Member(MemberId),
}

/// What becomes of a packet now.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Verdict<P> {
    /// It is ours: process it.
    Process(P),
    /// Pass it on to its owner.
    PassOn(P, MemberId),
    /// For `from`; a copy of it, made before the packet is changed, for `to`. The half that concerns this very member
    /// is processed here (`from`) or given to [`Steering::keep`] with this digest (`to`); the other half is passed on.
    /// Without memory for a copy, go on without: `from` processes the packet and names it in its log.
    Copy {
        /// The packet.
        packet: P,
        /// Still processes the unit.
        from: MemberId,
        /// Will own the unit.
        to: MemberId,
        /// The packet's digest.
        digest: u32,
    },
    /// Drop it, counted under this reason.
    Drop(P, DropReason),
    /// It is in the hold buffer.
    Held,
}
