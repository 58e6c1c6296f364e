//! What ends at the cluster: the interface between the packet path and the protocol handlers (apps).
//!
//! An app is two halves. This is the one that lives in a worker: it gets the packets to the cluster's own addresses that
//! it claims, runs its own timers, and sends. It is called on the worker's thread only, for units of this worker only, so
//! it keeps its sessions in plain maps. The other half, which accepts members and does slow work, lives in the control
//! crate.
//!
//! | question | answer |
//! | --- | --- |
//! | which packets are mine? | [`App::claims`] |
//! | which unit does a packet belong to? | the filter says; an identifier that the app allocates carries the session's unit ([`crate::filter::steered::embed`], [`crate::filter::steered::port_of`]) |
//! | which packets between hosts are mine? | [`App::policies`], [`Outlet::protect`] |
//! | which units are mine? | [`App::handle_units`] tells when that changes, [`Outlet::owns`] any time |
//! | when am I called next? | [`App::poll_timeout`] |
//! | what do others own? | [`App::watches`], [`App::handle_backup`] |
//! | what outlives this machine? | what went into [`Outlet::outbox`]; [`App::handle_commit`] tells that the backups hold it |
//! | what does the network say of what I sent? | [`App::handle_returned`] |
//! | how do I send? | [`Outlet::send`]; what this member may not send (no lease) is dropped on its way out |
//! | who sends for me? | nobody: an app never waits, and never keeps a packet |
//!
//! A session belongs to exactly one unit for life. When its unit goes elsewhere, the app keeps of it what a backup would
//! have; when the unit comes (back), it goes on from that.

mod parcel;
mod returned;

use std::net::IpAddr;

use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::ipsec::gateway::{Contact, Policies, Selectors};
use crate::parse::Summary;
use crate::replica::{Outbox, SessionKey, Source, Store};
use crate::unit::{UNITS, Unit};

pub use parcel::{Fate, Parcel, Way};
pub use returned::{Returned, Trouble};

/// A protocol handler's half in a worker.
///
/// As a [`Source`] it tells the live sessions of a unit to a backup that lacks them, as they were last written to the log.
pub trait App: Source + Send {
    /// What it is called in logs and metrics.
    fn name(&self) -> &'static str;

    /// Whether a packet to a cluster address is for this app. Asked of each such packet: cheap.
    fn claims(&self, summary: &Summary) -> bool;

    /// Whether a packet that comes a second time, at another member even, does no harm: then what a dead owner's peers sent into
    /// its death is processed by its heir, and not lost. Not for an app whose answers can be counted.
    fn bears_repeats(&self) -> bool {
        false
    }

    /// Takes in a packet that it claims, of a unit of ours: the whole IP packet ([`Summary::carried`] says what it carries).
    ///
    /// # Errors
    /// Why it is dropped instead.
    fn handle_packet(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason>;

    /// Which packets between hosts are for this app, to begin with; later [`Outlet::protect`] and [`Outlet::unprotect`] change that. At most
    /// one app has any.
    fn policies(&self) -> Option<Policies> {
        None
    }

    /// Takes in such a packet, of a unit of ours, or wraps it where it lies. `spi`: as the policies say.
    ///
    /// # Errors
    /// Why it does not go on; the packet is as it was.
    fn handle_passing(
        &mut self,
        _outlet: &mut dyn Outlet,
        _spi: u32,
        _summary: &Summary,
        _buffer: &mut dyn Wrappable,
    ) -> Result<Passed, Hindrance> {
        Err(DropReason::NoApp.into())
    }

    /// Takes in such packets, and others that come out of its tunnels, of units of ours, as many at once as it likes: those of one
    /// tunnel and way in order, and side by side if it wants that.
    fn handle_parcels(&mut self, _outlet: &mut dyn Outlet, _parcels: &mut [Parcel<'_>]) {}

    /// Whether those of one tunnel are to be shown side by side.
    fn wants_side_by_side(&self) -> bool {
        false
    }

    /// Whether it wants to know what begins and ends of the sessions with this number ([`crate::replica::Update::app`]), though they
    /// are others'. Asked when it is added.
    fn watches(&self, _app: u8) -> bool {
        false
    }

    /// Such a session has begun or ended, or what is known of it was told anew: [`Outlet::store`] says which. It may be one that was
    /// ours, or is by now.
    fn handle_backup(&mut self, _outlet: &mut dyn Outlet, _unit: Unit, _session: SessionKey) {}

    /// The network has returned a packet of a unit of ours. False: it is of no session of this app's.
    fn handle_returned(&mut self, _outlet: &mut dyn Outlet, _unit: Unit, _returned: &Returned<'_>) -> bool {
        false
    }

    /// Units came to this member, or left it. What backups (this member among them) hold of the sessions of those that came
    /// is in [`Outlet::store`]; the sessions of those that left are to be put there, as a backup would have them.
    fn handle_units(&mut self, outlet: &mut dyn Outlet, gained: &UnitSet, lost: &UnitSet);

    /// The backups hold more of the log than before: what waited for it may be shown.
    fn handle_commit(&mut self, outlet: &mut dyn Outlet);

    /// When it is to be called next.
    fn poll_timeout(&self) -> Option<u64>;

    /// Does what is due. Called when the time has come, and possibly more often; it may leave work for the next call.
    fn handle_timeout(&mut self, outlet: &mut dyn Outlet);
}

/// What an app may do.
pub trait Outlet {
    /// The time on the worker's clock.
    fn now_ns(&self) -> u64;

    /// Whether this worker serves the unit.
    fn owns(&self, unit: Unit) -> bool;

    /// Whether the unit is this member's by the table, though it may have stopped serving it: nobody else serves it yet.
    fn replicates(&self, unit: Unit) -> bool {
        self.owns(unit)
    }

    /// The cluster's address on the network that leads to a destination.
    fn source_towards(&self, destination: IpAddr) -> Option<IpAddr>;

    /// The largest IP packet that the first link to a destination takes.
    fn mtu_towards(&self, destination: IpAddr) -> Option<u16>;

    /// What every link takes; 0: not known.
    fn mtu_least(&self) -> usize {
        0
    }

    /// The log of what the backups are to hold: each change of a session's state goes into it, and whatever shows that
    /// change waits for [`Outbox::committed`].
    fn outbox(&mut self) -> &mut Outbox;

    /// What this member holds of sessions that are not live here.
    fn store(&mut self) -> &mut Store;

    /// A clock that all members share to within a minute, in seconds: for what is not worth replicating.
    fn cluster_clock_s(&self) -> u64;

    /// Sends an IP packet. `write` fills in what the packet carries, at the front of the room that it is given, and answers
    /// how long that is; zero: nothing is sent. Answers whether a packet went on its way.
    fn send(&mut self, packet: Outgoing, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool;

    /// Sends a whole IP packet of the cluster's, which `write` writes with its header, at the front of the room; otherwise
    /// as [`Self::send`].
    fn send_whole(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool;

    /// Routes on a whole IP packet of somebody else's that has come out of a tunnel of this unit, as if it had come in by a port; one
    /// to an address of the cluster's goes to who claims it, when this call is over. Otherwise as [`Self::send_whole`].
    fn forward(&mut self, unit: Unit, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool;

    /// Whether a whole IP packet of somebody else's that has come out of a tunnel may be routed on; then it is one hop older.
    fn lets_on(&mut self, _summary: &Summary, _packet: &mut [u8]) -> bool {
        false
    }

    /// Of which of these plain IPv4 hosts ([`crate::parse::plain_v4`]), source and destination, [`Self::lets_on`] would say so whatever
    /// their packet: a bit each, from the lowest on. The packets stay as they are.
    fn lets_on_all(&mut self, _hosts: &[(u32, u32)]) -> u32 {
        0
    }

    /// Traffic that these select goes into the tunnel with this inbound SPI from now on, whichever worker it comes to. Nothing, if that
    /// was so before.
    fn protect(&mut self, _selectors: &Selectors, _spi: u32) {}

    /// Nothing goes into the tunnel from now on.
    fn unprotect(&mut self, _spi: u32) {}

    /// A peer has come anew: who speaks IKE is told, on this member.
    fn announce(&mut self, _contact: Contact) {}

    /// Up to when it is known by now that no unit of ours was anybody else's, too, on [`Self::now_ns`]'s clock; 0: it is not known.
    fn sole_up_to_ns(&self) -> u64 {
        0
    }

    /// Which of its lives in the cluster the member lives: no other had this number, and it is on disk. 0: it has not joined yet.
    fn incarnation(&self) -> u64;
}

/// An IP packet in a buffer, in which it can be wrapped.
pub trait Wrappable {
    /// The packet.
    fn packet(&self) -> &[u8];

    /// The packet, to be changed where it lies.
    fn packet_mut(&mut self) -> &mut [u8];

    /// Makes the buffer hold the packet, so much before it and so much behind it, and nothing else; what is there is nobody's.
    /// None: it has not so much room, and is as it was.
    fn grow(&mut self, before: usize, after: usize) -> Option<&mut [u8]>;
}

/// What became of a packet between hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// Its buffer holds a packet of the cluster's that is to be sent.
    Wrapped,
    /// Its buffer is of no use any more.
    Taken,
}

/// Why a packet between hosts does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hindrance {
    /// Nobody is told.
    Drop(DropReason),
    /// Its sender is told.
    Complaint(Complaint, DropReason),
    /// It is too long, and may be cut into packets of this size.
    Cut {
        /// The most that is taken.
        mtu: u16,
    },
}

impl From<DropReason> for Hindrance {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// The header of a packet to be sent. Both addresses are of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// An address of the cluster.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The protocol of what it carries.
    pub proto: u8,
}

/// A set of units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UnitSet([u64; UNITS / 64]);

impl UnitSet {
    /// No unit.
    pub const EMPTY: Self = Self([0; UNITS / 64]);

    /// Adds one.
    pub fn insert(&mut self, unit: Unit) {
        self.0[unit.index() / 64] |= 1 << (unit.index() % 64);
    }

    /// Takes one out.
    pub fn remove(&mut self, unit: Unit) {
        self.0[unit.index() / 64] &= !(1 << (unit.index() % 64));
    }

    /// Whether it is in.
    #[inline]
    pub fn contains(&self, unit: Unit) -> bool {
        self.0[unit.index() / 64] >> (unit.index() % 64) & 1 == 1
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The first of them.
    pub fn first(&self) -> Option<Unit> {
        self.iter().next()
    }

    /// Those that are not in the other.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = *self;
        left.0.iter_mut().zip(&other.0).for_each(|(word, gone)| *word &= !gone);
        left
    }

    /// Those that are in the other, too.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        both.0.iter_mut().zip(&other.0).for_each(|(word, kept)| *word &= kept);
        both
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// As words, the lowest unit lowest in the first.
    pub const fn words(&self) -> &[u64; UNITS / 64] {
        &self.0
    }

    /// The set that these words say.
    pub const fn from_words(words: [u64; UNITS / 64]) -> Self {
        Self(words)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Unit> + '_ {
        self.0.iter().zip(0..).flat_map(|(word, at)| {
            let mut bits = *word;
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < u64::BITS).then(|| Unit::from_low_bits(at * u64::BITS + bit))
            })
        })
    }
}

impl FromIterator<Unit> for UnitSet {
    fn from_iter<T: IntoIterator<Item = Unit>>(units: T) -> Self {
        let mut set = Self::EMPTY;
        units.into_iter().for_each(|unit| set.insert(unit));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let units = [0, 1, 63, 64, 700, 1023].map(|number| Unit::new(number).expect("a unit"));
        let set: UnitSet = units.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), units);
        let others: UnitSet = units.into_iter().skip(2).collect();
        assert_eq!(set.without(&others).iter().collect::<Vec<_>>(), units[..2]);
        assert!(others.without(&set).is_empty() && !set.is_empty());
    }
}
