//! The state machine by example: three members on a perfect network with instant workers, one figure after the other.
//! What happens on imperfect ones is the simulator's business.

mod in_sync;
mod sole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::steer::{Holders, Mode, Notice, Order};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::*;

const UNITS: usize = 64;
const STEP: Span = Span(500_000);

struct Net {
    now: Time,
    cores: BTreeMap<u8, Core>,
    leases: BTreeMap<u8, Time>,
    modes: BTreeMap<u8, Vec<Mode>>,
    events: Vec<(u8, ClusterEvent)>,
    refuse: Option<NakReason>,
    left: Vec<u8>,
    deaf: Option<u8>,
    unheard: Option<u8>,
    /// Its datagrams are lost: nothing arrives but what it says by mutual TLS.
    hushed: Option<u8>,
    /// Its workers do not say that they have stopped.
    unstopped: Option<u8>,
    /// Who is to hold what, as each member's workers were told.
    holders: BTreeMap<u8, Arc<Holders>>,
    /// The members that come into sync at once with whatever they are to hold; the others never do.
    quick: BTreeSet<u8>,
    stamp: u64,
    /// What each member's workers said last.
    said: BTreeMap<u8, BTreeMap<MemberId, UnitSet>>,
}

fn member(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

fn settings(number: u8) -> Settings {
    let contact =
        Contact { address: format!("10.9.0.{number}:7400").parse().unwrap(), macs: vec![[2, 0, 0, 0, 0, number]; 2] };
    Settings { units: UNITS, ..Settings::new(member(number), contact) }
}

impl Net {
    fn new(numbers: &[u8]) -> Self {
        let mut net = Self {
            now: Time(1_000_000_000),
            cores: BTreeMap::new(),
            leases: BTreeMap::new(),
            modes: BTreeMap::new(),
            events: Vec::new(),
            refuse: None,
            left: Vec::new(),
            deaf: None,
            unheard: None,
            hushed: None,
            unstopped: None,
            holders: BTreeMap::new(),
            quick: BTreeSet::new(),
            stamp: 0,
            said: BTreeMap::new(),
        };
        for number in numbers {
            net.start(settings(*number));
        }
        net
    }

    fn start(&mut self, settings: Settings) {
        let number = settings.id.number();
        self.said.remove(&number);
        self.cores.insert(number, Core::new(settings, self.now));
        self.deliver();
    }

    fn deliver(&mut self) {
        loop {
            let mut outputs = Vec::new();
            for (number, core) in &mut self.cores {
                while let Some(output) = core.poll_output() {
                    outputs.push((*number, output));
                }
            }
            if outputs.is_empty() {
                return;
            }
            for (number, output) in outputs {
                self.carry_out(number, output);
            }
        }
    }

    fn carry_out(&mut self, number: u8, output: Output) {
        let now = self.now;
        match output {
            Output::Send(to, message) => {
                if self.hushed == Some(number) && !matches!(to, To::Reliably(..)) {
                    return;
                }
                for (other, core) in &mut self.cores {
                    let meant = match &to {
                        To::All | To::Strangers => true,
                        To::Member(id) | To::Reliably(id, _) => id.number() == *other,
                    };
                    if meant && *other != number && self.deaf != Some(*other) && self.unheard != Some(number) {
                        for port in 0..2 {
                            core.handle_heard(now, member(number), Path::Port(port));
                        }
                        core.handle_message(now, member(number), Path::Link, message.clone());
                    }
                }
            }
            Output::Order(Order::View(view)) => {
                self.modes.insert(number, view.modes);
                if self.unstopped == Some(number) && self.kept(number) > 0 {
                    return;
                }
                self.holders.extend(view.holders.map(|holders| (number, holders)));
                let notice = Notice::Applied { version: view.version, logs: Vec::new() };
                if let Some(core) = self.cores.get_mut(&number) {
                    core.handle_notice(now, notice);
                }
            }
            Output::Lease(until) => {
                self.leases.insert(number, until);
            }
            Output::AskApps(candidate, _) => {
                let verdict = self.refuse.map_or(Ok(()), Err);
                if let Some(core) = self.cores.get_mut(&number) {
                    core.handle_verdict(now, candidate, verdict);
                }
            }
            Output::Event(event) => self.events.push((number, event)),
            Output::Left => {
                self.left.push(number);
                self.cores.remove(&number);
            }
            _ => {}
        }
    }

    fn run(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + STEP;
            for core in self.cores.values_mut() {
                if core.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                    core.handle_timeout(self.now);
                }
            }
            self.tell_in_sync();
            self.deliver();
        }
    }

    fn tell_in_sync(&mut self) {
        for (number, core) in &mut self.cores {
            let Some(holders) = self.holders.get(number) else { continue };
            let mut held: BTreeMap<MemberId, UnitSet> = BTreeMap::new();
            let ours = Unit::all().zip(&holders.owners).zip(&holders.backups);
            for ((unit, _), backups) in ours.filter(|((_, owner), _)| **owner == Some(member(*number))) {
                for backup in backups.iter().filter(|id| self.quick.contains(&id.number())) {
                    held.entry(backup).or_insert(UnitSet::EMPTY).insert(unit);
                }
            }
            if self.said.get(number) != Some(&held) {
                self.stamp += 1;
                self.said.insert(*number, held.clone());
                core.handle_in_sync(self.now, self.stamp, held);
            }
        }
    }

    fn master(&self) -> u8 {
        let masters: Vec<u8> = self
            .cores
            .iter()
            .filter(|(n, c)| c.reign().is_some_and(|r| r.master.number() == **n))
            .map(|(n, _)| *n)
            .collect();
        assert_eq!(masters.len(), 1, "masters: {masters:?}; events: {:#?}", self.events);
        masters[0]
    }

    fn owners(&self) -> Vec<Option<u8>> {
        let mine = |number: &u8, unit: Unit| {
            let leased = self.leases.get(number).is_some_and(|until| self.now < *until);
            leased && matches!(self.modes[number][unit.index()], Mode::Mine | Mode::MineLogged | Mode::HoldOwn)
        };
        Unit::all()
            .take(UNITS)
            .map(|unit| {
                let owners: Vec<u8> = self.cores.keys().filter(|number| mine(number, unit)).copied().collect();
                assert!(owners.len() < 2, "{unit:?} has owners {owners:?}");
                owners.first().copied()
            })
            .collect()
    }

    /// How many units of its own a member only keeps packets of.
    fn kept(&self, number: u8) -> usize {
        let (modes, table) = (&self.modes[&number], self.cores.get(&number).map(|core| &core.table));
        let kept = |unit: &Unit| modes[unit.index()] == Mode::Hold;
        table.map_or(0, |table| table.units_of(member(number)).filter(kept).count())
    }

    fn share(&self, number: u8) -> usize {
        self.owners().iter().filter(|owner| **owner == Some(number)).count()
    }

    fn hear(&mut self, number: u8, from: u8, message: Message) {
        let now = self.now;
        self.cores.get_mut(&number).unwrap().handle_message(now, member(from), Path::Link, message);
    }

    /// The members of another cluster are heard from now on.
    fn meet(&mut self, mut other: Self) {
        self.cores.append(&mut other.cores);
        self.leases.append(&mut other.leases);
        self.modes.append(&mut other.modes);
    }

    fn formed() -> Self {
        let mut net = Self::new(&[1, 2, 3]);
        net.run(Span::from_ms(2000));
        net
    }
}

#[test]
fn three_members_form_one_cluster_and_share_the_units() {
    let net = Net::formed();
    assert_eq!(net.master(), 1, "the lowest address wins the auction");
    for number in 1..=3 {
        assert!((19..=24).contains(&net.share(number)), "member {number} owns {}", net.share(number));
    }
}

#[test]
fn a_dead_members_units_go_to_the_others_within_the_detection_time() {
    let mut net = Net::formed();
    net.cores.remove(&3);
    net.run(Span::from_ms(30 + 15 + 11));
    assert!(net.owners().iter().all(|owner| matches!(owner, Some(1 | 2))), "{:?} {:#?}", net.owners(), net.events);
}

#[test]
fn a_dead_master_is_succeeded_by_the_next_in_the_list_and_nobody_falls_silent() {
    let mut net = Net::formed();
    net.cores.remove(&1);
    for _ in 0..20 {
        net.run(Span::from_ms(3));
        assert!(net.share(2) >= 19 && net.share(3) >= 19, "{:#?}", net.events);
    }
    assert_eq!(net.master(), 2);
    assert!(net.owners().iter().all(Option::is_some), "{:?} {:#?}", net.owners(), net.events);
}

#[test]
fn a_drained_member_leaves_owning_nothing_and_a_drained_master_hands_on_its_role() {
    for drained in [3, 1] {
        let mut net = Net::formed();
        net.cores.get_mut(&drained).unwrap().handle_drain(net.now);
        for _ in 0..100 {
            net.run(Span::from_ms(5));
            assert!(net.owners().iter().all(Option::is_some), "drained {drained}: {:#?}", net.events);
        }
        assert_eq!(net.left, [drained], "{:#?}", net.events);
        net.master();
    }
}

/// Its log has a long way to the new owner: until that has it, workers do not say that they have stopped.
#[test]
fn who_has_stopped_for_a_move_that_does_not_come_about_goes_on_before_what_it_kept_is_dropped() {
    // The second is the master itself.
    for stuck in [3, 1] {
        let mut net = Net::formed();
        net.unstopped = Some(stuck);
        net.cores.get_mut(&stuck).unwrap().handle_drain(net.now);
        let wait = |net: &mut Net, until: fn(usize) -> bool| {
            let begin = net.now;
            while !until(net.kept(stuck)) {
                net.run(STEP);
                assert!(net.now < begin + Span::from_ms(250), "{stuck}: {:#?}", net.events);
            }
        };
        wait(&mut net, |kept| kept > 0);
        wait(&mut net, |kept| kept == 0);
        let given_up = net.events.iter().filter(|(_, event)| matches!(event, ClusterEvent::MoveAborted(_)));
        assert_eq!(given_up.count(), 1, "{:#?}", net.events);
        assert!(net.owners().iter().all(Option::is_some));
        net.unstopped = None;
        net.run(Span::from_ms(5000));
        assert_eq!(net.left, [stuck], "{:#?}", net.events);
    }
}

#[test]
fn an_app_that_refuses_keeps_a_candidate_out() {
    let mut net = Net::new(&[1]);
    net.run(Span::from_ms(500));
    net.refuse = Some(NakReason::AppRefusal);
    net.start(settings(2));
    net.run(Span::from_ms(500));
    assert!(net.events.contains(&(2, ClusterEvent::JoinRefused(NakReason::AppRefusal))));
    assert_eq!(net.share(1), UNITS);
}

#[test]
fn another_configuration_is_refused() {
    let mut net = Net::new(&[1]);
    net.run(Span::from_ms(500));
    net.start(Settings { config_digest: [1; 32], ..settings(2) });
    net.run(Span::from_ms(500));
    assert!(net.events.contains(&(2, ClusterEvent::JoinRefused(NakReason::ConfigurationVersion))));
}

#[test]
fn a_master_that_slept_assumes_that_it_was_replaced() {
    let mut net = Net::formed();
    let mut asleep = net.cores.remove(&1).unwrap();
    net.run(Span::from_ms(200));
    asleep.handle_timeout(net.now);
    net.cores.insert(1, asleep);
    net.run(Span::from_ms(1500));
    assert!(net.events.contains(&(1, ClusterEvent::Rejoining(RejoinReason::Slept))), "{:#?}", net.events);
    assert_eq!(net.master(), 2);
    assert!(net.share(1) >= 19, "it is let in again and gets its share");
}

#[test]
fn two_masters_become_one() {
    let mut net = Net::new(&[1]);
    net.run(Span::from_ms(500));
    let mut alone = Net::new(&[2]);
    alone.run(Span::from_ms(500));
    net.meet(alone);
    net.run(Span::from_ms(1000));
    assert_eq!(net.master(), 1, "as many members each: the lower address wins");
    assert!(net.share(2) > 0, "{:#?}", net.events);
}

#[test]
fn a_master_that_speaks_but_hears_nobody_is_succeeded() {
    let mut net = Net::formed();
    net.deaf = Some(1);
    net.run(Span::from_ms(30 + 20));
    let two = net.cores[&2].reign().unwrap();
    assert_eq!((two.master, net.cores[&3].reign()), (member(2), Some(two)), "{:#?}", net.events);
    net.deaf = None;
    net.run(Span::from_ms(1500));
    assert_eq!(net.master(), 2);
    assert!(net.share(1) > 0);
}

/// A lease that a master gives lasts longer than the one that it gives itself, for which its followers wait.
#[test]
fn who_is_handed_the_role_of_master_serves_no_longer_than_its_followers_wait() {
    let mut net = Net::formed();
    net.cores.get_mut(&1).unwrap().handle_drain(net.now);
    let master = |net: &Net| net.cores[&3].reign().map_or(1, |reign| reign.master.number());
    while master(&net) == 1 {
        net.run(STEP);
    }
    let settings = &net.cores[&2].settings;
    let most = settings.self_lease(settings.losses_min);
    assert_eq!(master(&net), 2, "{:#?}", net.events);
    assert!(net.leases[&2] <= net.now + most, "{:?} at {:?}", net.leases[&2], net.now);
}

/// A member that has founded a cluster alone, in a later term than any that it was told of.
fn founder_after_term(number: u8, term: u64) -> Net {
    let mut net = Net::new(&[number]);
    let beacon = Beacon { kind: BeaconKind::Member, term, contact: settings(3).contact };
    net.hear(number, 3, Message::Beacon(beacon));
    net.run(Span::from_ms(500));
    net
}

/// A backup refuses what is said under an older table than its own.
#[test]
fn tables_outdo_those_that_newcomers_bring_from_later_reigns() {
    let mut net = Net::new(&[1]);
    net.run(Span::from_ms(500));
    let alone = founder_after_term(2, 6);
    let before = alone.cores[&2].version();
    assert!(before > net.cores[&1].version(), "{before:?}");
    net.meet(alone);
    net.run(Span::from_ms(1000));
    let after = net.cores[&1].version();
    assert_eq!((net.master(), net.cores[&2].version()), (1, after), "{:#?}", net.events);
    assert!(after > before, "{after:?}");
    net.cores.remove(&1);
    net.leases.remove(&1);
    net.run(Span::from_ms(500));
    assert!(net.cores[&2].version() > after);
}

/// The master knows of no terms but its own: it has died, and counts from the beginning. The candidate's workers commit nothing before
/// they have a table of its former cluster's, or a later one.
#[test]
fn tables_outdo_what_a_candidate_knows_of_which_nothing_was_heard_before_it_asked() {
    let mut net = Net::new(&[1]);
    net.run(Span::from_ms(500));
    let alone = founder_after_term(2, 6);
    let before = alone.cores[&2].version();
    net.hushed = Some(2);
    net.meet(alone);
    while net.cores[&2].reign().is_none_or(|reign| reign.master != member(1)) {
        net.run(STEP);
        assert!(net.now < Time(3_000_000_000), "{:#?}", net.events);
    }
    net.hushed = None;
    net.run(Span::from_ms(1500));
    let after = net.cores[&1].version();
    assert_eq!((net.master(), net.cores[&2].version()), (1, after), "{:#?}", net.events);
    assert!(after > before, "{after:?} after {before:?}");
}

/// Any of them may be the table by which a backup refuses what this member's workers tell.
#[test]
fn a_candidate_knows_the_terms_of_all_tables_that_others_say_to_have() {
    let reign = Reign { term: 4, master: member(3) };
    let contact = settings(3).contact;
    let version = Version { term: 5, generation: 10 };
    let keepalive = MemberKeepalive {
        reign,
        seq: 1,
        heard: 1,
        applied: version,
        holds: version,
        draining: false,
        hears: Vec::new(),
        contact: contact.clone(),
    };
    let masters = MasterKeepalive {
        reign,
        seq: 1,
        version: Version { term: 6, generation: 11 },
        digest: 0,
        losses: 2,
        quorate: true,
        abdicating: None,
        members: vec![Listed { id: member(3), incarnation: 1, echo: 0 }],
        agreed: vec![member(3)],
        joining: Vec::new(),
        list: Version::default(),
        hears: Vec::new(),
        contact,
    };
    let entries = vec![Entry::default(); UNITS];
    let chunk = TableChunk { reign, version: Version { term: 7, generation: 12 }, chunk: 0, moved: 0, entries };
    let mut net = Net::new(&[2]);
    let said = [Message::MemberKeepalive(keepalive), Message::MasterKeepalive(masters), Message::TableChunk(chunk)];
    for (message, term) in said.into_iter().zip(5..) {
        net.hear(2, 3, message);
        assert_eq!(net.cores[&2].term_max, term);
    }
    let asks = |output: Output| match output {
        Output::Send(To::Reliably(..), Message::JoinRequest(request)) => Some(request.term),
        _ => None,
    };
    let two = net.cores.get_mut(&2).unwrap();
    two.handle_timeout(net.now + Span::from_ms(100));
    assert_eq!(std::iter::from_fn(|| two.poll_output()).filter_map(asks).last(), Some(7));
}

#[test]
fn a_majority_that_comes_together_again_serves_again() {
    let mut net = Net::new(&[]);
    for number in 1..=3 {
        net.start(Settings { quorum: Quorum::Majority, period: Span::from_ms(100), ..settings(number) });
    }
    net.run(Span::from_ms(6000));
    let mut asleep = net.cores.remove(&1).unwrap();
    net.run(Span::from_ms(225));
    net.cores.remove(&2);
    net.run(Span::from_ms(325));
    asleep.handle_timeout(net.now);
    net.cores.insert(1, asleep);
    net.run(Span::from_ms(2500));
    assert!(net.owners().iter().all(Option::is_some), "{:?} {:#?}", net.owners(), net.events);
}

#[test]
fn a_hostile_member_cannot_exhaust_the_terms() {
    let mut net = Net::formed();
    let contact = settings(3).contact;
    let beacon = Beacon { kind: BeaconKind::Member, term: u64::MAX, contact };
    let now = net.now;
    net.cores.get_mut(&2).unwrap().handle_message(now, member(3), Path::Link, Message::Beacon(beacon));
    net.cores.remove(&1);
    net.run(Span::from_ms(500));
    let first = net.cores[&2].reign().unwrap();
    assert_eq!(first.master, member(2), "{:#?}", net.events);
    assert!(first.term < 1 << 20, "{first:?}");
    assert_eq!(net.cores[&3].reign(), Some(first));
}

#[test]
fn a_candidate_whose_certificate_is_refused_founds_no_cluster_of_its_own() {
    let mut net = Net::formed();
    net.cores.remove(&3);
    net.run(Span::from_ms(500));
    net.unheard = Some(3);
    net.start(settings(3));
    for _ in 0..300 {
        net.run(Span::from_ms(10));
        let now = net.now;
        net.cores.get_mut(&3).unwrap().handle_refused(now, member(1), NakReason::CertificateRevoked);
        net.deliver();
    }
    assert_eq!(net.cores[&3].reign(), None, "{:#?}", net.events);
    let told = net.events.iter().filter(|(_, event)| matches!(event, ClusterEvent::JoinRefused(_))).count();
    assert_eq!(told, 1, "{:#?}", net.events);
}

/// Kills one member, then another; who is left: which units went from the first to the second, and what became of them.
fn fate_of_units_that_killed_two(first: u8, second: u8, left: u8) -> Vec<Owner> {
    let (net, units) = killed_two(first, second, left);
    units.iter().map(|unit| net.cores[&left].table.owner(*unit)).collect()
}

fn killed_two(first: u8, second: u8, left: u8) -> (Net, Vec<Unit>) {
    let mut net = Net::formed();
    net.run(Span::from_ms(3000));
    let owned_by = |net: &Net, id: u8| net.cores[&left].table.units_of(member(id)).collect::<Vec<Unit>>();
    let at_first = owned_by(&net, first);
    net.cores.remove(&first);
    net.run(Span::from_ms(300));
    let at_second: Vec<Unit> = owned_by(&net, second).into_iter().filter(|unit| at_first.contains(unit)).collect();
    assert!(!at_second.is_empty());
    net.cores.remove(&second);
    net.run(Span::from_ms(300));
    let table = &net.cores[&left].table;
    let others = Unit::all().take(UNITS).filter(|unit| !at_second.contains(unit));
    assert!(others.clone().all(|unit| table.owns(member(left), unit)), "{table:?}");
    (net, at_second)
}

#[test]
fn a_rested_unit_has_an_owner_again_and_one_more_death_sends_it_back() {
    let (mut net, units) = killed_two(3, 2, 1);
    net.start(settings(2));
    net.run(Span::from_ms(9000));
    assert!(units.iter().all(|unit| net.cores[&1].table.owner(*unit) == Owner::Quarantined));
    let woken = (0..30).any(|_| {
        net.run(Span::from_ms(100));
        units.iter().all(|unit| net.cores[&1].table.owner(*unit) != Owner::Quarantined)
    });
    assert!(woken, "{:#?}", net.events);
    let on_trial: Vec<Unit> = units.into_iter().filter(|unit| net.cores[&1].table.owns(member(2), *unit)).collect();
    assert!(!on_trial.is_empty(), "nobody but the master got any");
    net.cores.remove(&2);
    net.run(Span::from_ms(300));
    assert!(on_trial.iter().all(|unit| net.cores[&1].table.owner(*unit) == Owner::Quarantined));
}

#[test]
fn units_that_kill_two_owners_in_a_row_do_not_get_a_third() {
    let fate = fate_of_units_that_killed_two(3, 2, 1);
    assert!(fate.iter().all(|owner| *owner == Owner::Quarantined), "{fate:?}");
}

#[test]
fn units_that_kill_an_owner_and_then_the_master_do_not_get_a_third() {
    let fate = fate_of_units_that_killed_two(2, 1, 3);
    assert!(fate.iter().all(|owner| *owner == Owner::Quarantined), "{fate:?}");
}
