//! Several packets at once: a burst's, of however many tunnels, are prepared one after another, sealed or opened where they lie, and
//! finished one after another. So nobody waits for anybody: while one packet's tunnel comes out of a farther cache, others are worked on.
//!
//! Here is only what is done to nearly all packets. Where one needs more (a number that is not leased, a sleeping tunnel that does
//! not wake up, AH, transport mode, a SYN whose MSS is too large, a sender that is to be told of a smaller MTU), it is left as it is with all
//! that follow in its tunnel, and comes again by itself (`outbound`, `inbound`). A packet that was opened cannot be left: with it everything
//! is done that `inbound` does.

mod open;
mod seal;

use dpdk::prefetch::{prefetch, prefetch_first};

use self::open::Guests;
use super::Gateway;
use super::tally::Tally;
use super::tunnel::{HOT, Tunnel};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::drop_reason::DropReason;
use crate::ipsec::crypto::choice::SIDE_BY_SIDE_MIN;
use crate::ipsec::crypto::{Job, Session};

/// Packets that are looked at together.
const BURST: usize = 32;
const DESTINATION_AT: usize = 16;

/// Whose a job is.
#[derive(Clone, Copy)]
struct Ticket {
    /// The tunnel's number.
    tunnel: usize,
    /// Of the packet's own.
    sequence: u64,
    /// Which of the burst it is.
    place: u8,
    way: Way,
}

/// What is to be sealed and opened of a burst.
struct Batch<'p> {
    jobs: [Job<'p>; BURST],
    tickets: [Ticket; BURST],
    count: usize,
}

/// Tunnels, by number and way, of which a packet was left as it is: those that follow are left, too.
#[derive(Default)]
struct Left {
    some: [Option<(usize, Way)>; 4],
    /// More than there is room for.
    all: bool,
}

impl Gateway {
    /// Takes in packets of tunnels of ours.
    pub(super) fn take_parcels(&mut self, outlet: &mut dyn Outlet, parcels: &mut [Parcel<'_>]) {
        let mut tally = Tally::default();
        for parcels in parcels.chunks_mut(BURST) {
            self.take_burst(outlet, parcels, &mut tally);
        }
        tally.add_to(&self.counters);
        self.settle(outlet);
    }

    fn take_burst(&mut self, outlet: &mut dyn Outlet, parcels: &mut [Parcel<'_>], tally: &mut Tally) {
        let numbers = self.find_all(outlet, parcels);
        let (incarnation, mtu) = (outlet.incarnation(), outlet.mtu_least());
        let (mut batch, mut left, mut place) = (Batch::new(), Left::default(), 0);
        for run in parcels.chunk_by_mut(|one, other| one.spi == other.spi && one.way == other.way) {
            let (first, len, way) = (place, run.len(), run[0].way);
            place += len;
            let Some(tunnel) = numbers[first].filter(|tunnel| !left.has(*tunnel, way)) else { continue };
            let ticket = Ticket { tunnel, sequence: 0, place: first as u8, way };
            let begun = match way {
                Way::Into => self.begin_sealing(outlet, (incarnation, mtu), ticket, run, &mut batch),
                Way::OutOf => self.begin_opening(ticket, run, &mut batch),
            };
            if begun < len {
                left.note(tunnel, way);
            }
        }
        let done = self.work(&mut batch);
        let Batch { tickets, count, .. } = batch;
        let tickets = &tickets[..count];
        self.finish(outlet, tickets, done, parcels, tally);
        for runs in tickets.chunk_by(|one, other| one.tunnel == other.tunnel) {
            let number = runs[0].tunnel;
            if self.slots.tunnel(number).is_some_and(|tunnel| tunnel.may_be_due()) {
                self.renew(outlet, number, None);
            }
        }
    }

    /// The numbers of the tunnels that packets go through, all of them awake. None: it is not here, or does not wake up.
    fn find_all(&mut self, outlet: &mut dyn Outlet, parcels: &[Parcel<'_>]) -> [Option<usize>; BURST] {
        let mut numbers = [None; BURST];
        let runs = || parcels.chunk_by(|one, other| one.spi == other.spi && one.way == other.way);
        if runs().nth(1).is_some() {
            self.fetch(parcels);
        }
        let mut place = 0;
        for run in runs() {
            let (spi, way) = (run[0].spi, run[0].way);
            let number = match way {
                Way::Into => self.way_of(outlet, spi),
                Way::OutOf => self.find(outlet, spi),
            };
            let number = number.filter(|number| self.wake(outlet, *number).is_ok());
            numbers[place..place + run.len()].fill(number);
            place += run.len();
        }
        numbers
    }

    /// Fetches what is known of the packets' tunnels into the cache: of many tunnels it is elsewhere as a rule, and lies behind one
    /// pointer after another. So all tunnels' first steps come before the first one's second.
    fn fetch(&self, parcels: &[Parcel<'_>]) {
        let mut numbers = [usize::MAX; BURST];
        for (number, parcel) in numbers.iter_mut().zip(parcels) {
            *number = self.slots.find(parcel.spi).unwrap_or(usize::MAX);
            self.slots.prefetch(*number);
        }
        let tunnels = || {
            let slots = numbers.iter().zip(parcels).filter_map(|(number, it)| Some((self.slots.get(*number)?, it.way)));
            slots.filter_map(|(slot, way)| Some((slot.tunnel.as_deref()?, way, slot.counters)))
        };
        tunnels().for_each(|(tunnel, _, counters)| {
            prefetch_first(tunnel, HOT);
            prefetch(self.counters.of(counters));
        });
        tunnels().for_each(|(tunnel, way, _)| prefetch(session_of(tunnel, way)));
        tunnels().for_each(|(tunnel, way, _)| session_of(tunnel, way).prefetch());
    }

    /// Has all jobs done. Answers which were, a bit each.
    fn work(&mut self, batch: &mut Batch<'_>) -> u32 {
        let (chained, mut done) = self.work_on_chained(batch);
        let mut jobs = &mut batch.jobs[..batch.count];
        let mut place = 0;
        for run in
            batch.tickets[..batch.count].chunk_by(|one, other| (one.tunnel, one.way) == (other.tunnel, other.way))
        {
            let (mine, others) = std::mem::take(&mut jobs).split_at_mut(run.len());
            jobs = others;
            if chained >> place & 1 == 1 {
                place += run.len();
                continue;
            }
            if let Some(tunnel) = self.slots.tunnel(run[0].tunnel) {
                match run[0].way {
                    Way::Into => tunnel.sealer.process(mine),
                    Way::OutOf => tunnel.opener.process(mine),
                }
            }
            for job in &*mine {
                done |= u32::from(job.done) << place;
                place += 1;
            }
        }
        done
    }

    /// Has those done that are done together, of whichever tunnels they are. Answers which these are, and which were done.
    fn work_on_chained(&mut self, batch: &mut Batch<'_>) -> (u32, u32) {
        let Some(chains) = self.chains.as_mut().filter(|_| batch.count >= SIDE_BY_SIDE_MIN) else { return (0, 0) };
        let (mut places, mut count) = ([0; BURST], 0);
        let mut chained = 0;
        let slots = &self.slots;
        let jobs = batch.tickets[..batch.count].iter().zip(&mut batch.jobs).zip(0_u8..);
        let works = jobs.filter_map(|((ticket, job), place)| {
            let tunnel = slots.get(ticket.tunnel)?.tunnel.as_deref()?;
            let many = session_of(tunnel, ticket.way).chained()?;
            chained |= 1 << place;
            let work = many.work(job.packet, job.sequence_high)?;
            (places[count], count) = (place, count + 1);
            Some(work)
        });
        let done = chains.process(works);
        let done = places.iter().zip(0..).take(count).map(|(place, number)| (done >> number & 1) << place);
        (chained, done.fold(0, |all, one| all | one))
    }

    fn finish(
        &mut self,
        outlet: &mut dyn Outlet,
        tickets: &[Ticket],
        done: u32,
        parcels: &mut [Parcel<'_>],
        tally: &mut Tally,
    ) {
        let mut guests = Guests::new();
        for (ticket, job) in tickets.iter().zip(0..) {
            let Some(parcel) = parcels.get_mut(usize::from(ticket.place)) else { continue };
            match (ticket.way, done >> job & 1 == 1) {
                (Way::Into, done) => self.end_sealing(ticket, done, parcel, tally),
                (Way::OutOf, false) => parcel.fate = Fate::Dropped(DropReason::EspBadIcv),
                (Way::OutOf, true) => {
                    let fate = self.let_in(outlet, ticket, parcel, &mut guests, tally);
                    parcel.fate = fate.unwrap_or_else(Fate::Dropped);
                }
            }
        }
        self.send_guests(outlet, &guests, parcels);
    }
}

impl<'p> Batch<'p> {
    fn new() -> Self {
        let ticket = Ticket { tunnel: 0, sequence: 0, place: 0, way: Way::Into };
        Self { jobs: std::array::from_fn(|_| Job::new(&mut [], 0)), tickets: [ticket; BURST], count: 0 }
    }

    /// There is room: a job is one packet of a burst.
    #[inline]
    fn add(&mut self, job: Job<'p>, ticket: Ticket) {
        let at = self.count % BURST;
        (self.jobs[at], self.tickets[at]) = (job, ticket);
        self.count = at + 1;
    }
}

impl Left {
    #[inline]
    fn has(&self, tunnel: usize, way: Way) -> bool {
        self.all || self.some[0].is_some() && self.some.contains(&Some((tunnel, way)))
    }

    #[cold]
    fn note(&mut self, tunnel: usize, way: Way) {
        match self.some.iter_mut().find(|it| it.is_none()) {
            Some(it) => *it = Some((tunnel, way)),
            None => self.all = true,
        }
    }
}

/// What works on a tunnel's packets that go this way.
fn session_of(tunnel: &Tunnel, way: Way) -> &dyn Session {
    match way {
        Way::Into => &*tunnel.sealer,
        Way::OutOf => &*tunnel.opener,
    }
}
