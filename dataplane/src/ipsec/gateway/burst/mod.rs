//! Several packets at once: a burst's, of however many tunnels, are prepared one after another, sealed or opened where they lie, and
//! finished one after another. So nobody waits for anybody: while one packet's tunnel comes out of a farther cache, others are worked on.
//!
//! Here is only what is done to nearly all packets. Where one needs more (a number that is not leased, a sleeping tunnel that does
//! not wake up, AH, transport mode, a SYN whose MSS is too large, a sender that is to be told of a smaller MTU), it is left as it is with all
//! that follow in its tunnel, and comes again by itself (`outbound`, `inbound`). A packet that was opened cannot be left: with it everything
//! is done that `inbound` does.

mod open;
mod seal;

use std::ops::Range;

use dpdk::prefetch::{prefetch, prefetch_first};

use self::open::Guests;
use super::Gateway;
use super::slots::{Child, Slot};
use super::tally::Tally;
use super::tunnel::{HOT, Tunnel};
use crate::app::{Outlet, Parcel, Way};
use crate::ipsec::crypto::choice::SIDE_BY_SIDE_MIN;
use crate::ipsec::crypto::{Job, Session};

/// Packets that are looked at together.
const BURST: usize = 32;
const DESTINATION_AT: usize = 16;
/// What each packet needs of a session: where its keys lie, which it fetches itself ([`Session::prefetch`]).
const SESSION_HOT: usize = 128;

/// Which packet a job is of.
#[derive(Clone, Copy)]
struct Ticket {
    /// Its own number.
    sequence: u64,
    /// Which of the burst it is.
    place: u8,
}

/// Jobs side by side, of one tunnel and way.
#[derive(Clone, Copy)]
struct Run {
    /// The tunnel's number.
    tunnel: usize,
    way: Way,
    first: u8,
    end: u8,
    then: Then,
}

/// What is known of packets before they are sealed, so that nobody has to look at their tunnel again.
#[derive(Clone, Copy, Default)]
struct Then {
    /// Which counters are the tunnel's, and the bytes inside.
    counters: usize,
    bytes: u64,
    /// Whether something depends on the sealed bytes.
    finishes: bool,
    /// Whether the tunnel may have something to say.
    is_due: bool,
}

/// Whose the jobs are.
struct List {
    tickets: [Ticket; BURST],
    runs: [Run; BURST],
    count: usize,
}

/// What is to be sealed and opened of a burst.
struct Batch<'p, 'l> {
    jobs: [Job<'p>; BURST],
    count: usize,
    list: &'l mut List,
}

/// Packets side by side that go one way with one SPI, and the tunnel that they go through.
#[derive(Clone, Copy)]
struct Stretch {
    tunnel: Option<usize>,
    spi: u32,
    way: Way,
    len: u8,
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
        tally.end(&self.counters);
        self.settle(outlet);
    }

    fn take_burst(&mut self, outlet: &mut dyn Outlet, parcels: &mut [Parcel<'_>], tally: &mut Tally) {
        let mut stretches = [Stretch { tunnel: None, spi: 0, way: Way::Into, len: 0 }; BURST];
        let count = self.find_all(outlet, parcels, &mut stretches);
        let (incarnation, mtu) = (outlet.incarnation(), outlet.mtu_least());
        let (mut list, mut left) = (List::new(), Left::default());
        let (mut batch, mut rest, mut place) = (Batch::new(&mut list), &mut *parcels, 0);
        for Stretch { tunnel, way, len, .. } in stretches.iter().copied().take(count) {
            let Some((run, others)) = std::mem::take(&mut rest).split_at_mut_checked(len.into()) else { break };
            let first = place;
            (rest, place) = (others, place + len);
            let Some(tunnel) = tunnel.filter(|tunnel| !left.has(*tunnel, way)) else { continue };
            let from = batch.count as u8;
            let (begun, then) = match way {
                Way::Into => self.begin_sealing(outlet, (incarnation, mtu), tunnel, (first, run), &mut batch),
                Way::OutOf => (self.begin_opening(tunnel, (first, run), &mut batch), Then::default()),
            };
            batch.end_run(Run { tunnel, way, first: from, end: batch.count as u8, then });
            if begun < len.into() {
                left.note(tunnel, way);
            }
        }
        let done = self.work(&mut batch);
        self.finish(outlet, &list, done, parcels, tally);
        for run in list.runs() {
            let is_due = match run.way {
                Way::Into => run.then.is_due,
                Way::OutOf => self.slots.tunnel(run.tunnel).is_some_and(|tunnel| tunnel.may_be_due()),
            };
            if is_due {
                self.renew(outlet, run.tunnel, None);
            }
        }
    }

    /// Finds the tunnels that packets go through, all of them awake; answers how many stretches there are.
    fn find_all(&mut self, outlet: &mut dyn Outlet, parcels: &[Parcel<'_>], stretches: &mut [Stretch; BURST]) -> usize {
        let is_one = |one: &Parcel<'_>, other: &Parcel<'_>| one.spi == other.spi && one.way == other.way;
        let mut count = 0;
        for (stretch, run) in stretches.iter_mut().zip(parcels.chunk_by(is_one)) {
            let (spi, way) = (run[0].spi, run[0].way);
            *stretch = Stretch { tunnel: self.slots.find(spi), spi, way, len: run.len() as u8 };
            count += 1;
        }
        let stretches = &mut stretches[..count];
        if count > 1 {
            self.fetch(stretches);
        }
        for Stretch { tunnel, spi, way, .. } in stretches {
            if !tunnel.is_some_and(|number| self.slots.get_mut(number).is_some_and(|slot| is_ready(slot, *way))) {
                *tunnel = self.make_ready(outlet, *spi, *way);
            }
        }
        count
    }

    /// The tunnel that a packet goes through, which is awake from now on. None: there is none, or nothing goes through it.
    #[cold]
    fn make_ready(&mut self, outlet: &mut dyn Outlet, spi: u32, way: Way) -> Option<usize> {
        let number = self.find(outlet, spi)?;
        let through = match way {
            Way::Into => self.way_from(outlet, number)?,
            Way::OutOf => number,
        };
        self.wake(outlet, through).is_ok().then_some(through)
    }

    /// Fetches what is known of the packets' tunnels into the cache: of many tunnels it is elsewhere as a rule, and lies behind one
    /// pointer after another. So all tunnels' first steps come before the first one's second.
    fn fetch(&self, stretches: &[Stretch]) {
        stretches.iter().filter_map(|stretch| stretch.tunnel).for_each(|number| self.slots.prefetch(number));
        let (mut awake, mut count) = ([None; BURST], 0);
        for stretch in stretches {
            let Some(slot) = stretch.tunnel.and_then(|number| self.slots.get(number)) else { continue };
            let Some(tunnel) = slot.tunnel.as_deref() else { continue };
            prefetch_first(tunnel, HOT);
            prefetch(self.counters.of(slot.counters));
            awake[count % BURST] = Some((tunnel, stretch.way));
            count += 1;
        }
        let sessions = || awake[..count].iter().flatten().map(|(tunnel, way)| session_of(tunnel, *way));
        sessions().for_each(|session| prefetch_first(session, SESSION_HOT));
        sessions().for_each(Session::prefetch);
    }

    /// Has all jobs done. Answers which were, a bit each.
    fn work(&mut self, batch: &mut Batch<'_, '_>) -> u32 {
        let (chained, mut done) = self.work_on_chained(batch);
        for run in batch.list.runs() {
            if chained >> run.first & 1 == 1 {
                continue;
            }
            let jobs = batch.jobs.get_mut(run.places()).unwrap_or_default();
            if let Some(tunnel) = self.slots.tunnel(run.tunnel) {
                match run.way {
                    Way::Into => tunnel.sealer.process(jobs),
                    Way::OutOf => tunnel.opener.process(jobs),
                }
            }
        }
        for (job, bit) in batch.jobs.iter().take(batch.count).zip(0_u32..) {
            done |= u32::from(job.done) << bit;
        }
        done
    }

    /// Has those done that are done together, of whichever tunnels they are. Answers which these are, and which were done.
    fn work_on_chained(&mut self, batch: &mut Batch<'_, '_>) -> (u32, u32) {
        let Some(chains) = self.chains.as_mut().filter(|_| batch.count >= SIDE_BY_SIDE_MIN) else { return (0, 0) };
        let (mut many, mut chained) = ([None; BURST], 0);
        for run in batch.list.runs() {
            let tunnel = self.slots.get(run.tunnel).and_then(|slot| slot.tunnel.as_deref());
            if let Some(it) = tunnel.and_then(|tunnel| session_of(tunnel, run.way).chained()) {
                many.get_mut(run.places()).unwrap_or_default().fill(Some(it));
                chained |= run.bits();
            }
        }
        let jobs = batch.jobs.iter_mut().zip(many).take(batch.count);
        let done = chains.process(jobs.map(|(job, many)| many?.work(job.packet, job.sequence_high)));
        (chained, done)
    }

    fn finish(
        &mut self,
        outlet: &mut dyn Outlet,
        list: &List,
        done: u32,
        parcels: &mut [Parcel<'_>],
        tally: &mut Tally,
    ) {
        let mut guests = Guests::new();
        for run in list.runs() {
            let ended = (run, list.tickets.get(run.places()).unwrap_or_default(), done >> run.first);
            match run.way {
                Way::Into => self.end_sealing(ended, parcels, tally),
                Way::OutOf => self.end_opening(outlet, ended, parcels, &mut guests, tally),
            }
        }
        self.send_guests(outlet, &guests, parcels);
    }
}

impl Run {
    fn places(&self) -> Range<usize> {
        self.first.into()..self.end.into()
    }

    /// One for each of its jobs.
    fn bits(&self) -> u32 {
        let below = |place: u8| (1_u64 << place) - 1;
        (below(self.end) ^ below(self.first)) as u32
    }
}

impl List {
    fn new() -> Self {
        let then = Then::default();
        let run = Run { tunnel: 0, way: Way::Into, first: 0, end: 0, then };
        let ticket = Ticket { sequence: 0, place: 0 };
        Self { tickets: [ticket; BURST], runs: [run; BURST], count: 0 }
    }

    fn runs(&self) -> &[Run] {
        &self.runs[..self.count]
    }
}

impl<'p, 'l> Batch<'p, 'l> {
    fn new(list: &'l mut List) -> Self {
        Self { jobs: std::array::from_fn(|_| Job::new(&mut [], 0)), count: 0, list }
    }

    /// There is room: a job is one packet of a burst.
    #[inline]
    fn add(&mut self, job: Job<'p>, ticket: Ticket) {
        let at = self.count % BURST;
        (self.jobs[at], self.list.tickets[at]) = (job, ticket);
        self.count = at + 1;
    }

    /// A run of jobs that were added, if there are any.
    #[inline]
    fn end_run(&mut self, run: Run) {
        let List { runs, count, .. } = &mut *self.list;
        if run.first < run.end {
            runs[*count % BURST] = run;
            *count += 1;
        }
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

/// Whether a packet can go through a tunnel as things are: nothing is to be done first. It has traffic then.
#[inline]
fn is_ready(slot: &mut Slot, way: Way) -> bool {
    let goes_itself = way == Way::OutOf || slot.child.as_ref().is_none_or(Child::is_in_use);
    let Some(tunnel) = slot.tunnel.as_deref_mut().filter(|it| goes_itself && it.listed && !it.spent) else {
        return false;
    };
    tunnel.busy = true;
    true
}

/// What works on a tunnel's packets that go this way.
fn session_of(tunnel: &Tunnel, way: Way) -> &dyn Session {
    match way {
        Way::Into => &*tunnel.sealer,
        Way::OutOf => &*tunnel.opener,
    }
}
