//! A tunnel under adverse timing, drawn from a seed: commits that are late, owners that come and go, crash, and do not know that
//! they are no longer owners; a peer's packets that come late, twice, and all over again.

use super::*;
use crate::app::Way;

/// A fault planted in what is around the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// An owner is told that its backup holds what it was never sent.
    CommitsTooEarly,
    /// A member that comes back lives under the number of its former life.
    LivesTwice,
}

/// Numbers that look random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }
}

/// One run, and what it has seen.
struct Run {
    world: World,
    dice: Dice,
    fault: Option<Fault>,
    spec: TunnelSpec,
    /// All that the peer ever sent.
    heard: Vec<Vec<u8>>,
    delivered: HashSet<u32>,
    marks: u32,
    incarnation: u64,
    /// The member that was robbed of the tunnel and does not know it yet.
    robbed: Option<usize>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    sent: usize,
    delivered: usize,
    crashes: usize,
    robberies: usize,
}

impl Run {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut dice = Dice(seed);
        let numbers = if dice.roll(2) == 0 { Numbers::Short } else { Numbers::Extended };
        let mut world = World::new(numbers);
        world.peer.in_order = false;
        Self {
            world,
            dice,
            fault,
            spec: spec(numbers),
            heard: Vec::new(),
            delivered: HashSet::new(),
            marks: 0,
            incarnation: 9,
            robbed: None,
        }
    }

    fn mark(&mut self) -> u32 {
        self.marks += 1;
        self.marks
    }

    /// Who gets what the network carries: the owner, or one that believes to be.
    fn someone(&mut self) -> usize {
        match self.robbed {
            Some(robbed) if self.dice.roll(2) == 0 => robbed,
            _ => self.world.owner,
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        match self.dice.roll(100) {
            0..25 => {
                let count = self.dice.roll(20) + 1;
                let packets: Vec<_> = (0..count).map(|_| packet(INSIDE, BRANCH, self.mark(), 60, 0)).collect();
                if self.dice.roll(2) == 0 {
                    let at = self.someone();
                    self.world.members[at].take_burst(Way::Into, &packets);
                } else {
                    for packet in &packets {
                        let at = self.someone();
                        let _ = self.world.members[at].send(packet);
                    }
                }
            }
            25..50 => {
                let mut arrived = Vec::new();
                for _ in 0..=self.dice.roll(20) {
                    let mark = self.mark();
                    let frame = self.world.peer.seal(&packet(BRANCH, INSIDE, mark, 60, 0));
                    if self.dice.roll(10) > 0 {
                        arrived.push(frame.clone());
                    }
                    self.heard.push(frame);
                }
                if self.dice.roll(2) == 0 {
                    let at = self.someone();
                    self.world.members[at].take_burst(Way::OutOf, &arrived);
                } else {
                    for frame in &arrived {
                        let at = self.someone();
                        let _ = self.world.members[at].hear(frame);
                    }
                }
            }
            50..60 => {
                let count = self.dice.roll(20).min(self.heard.len() as u64) + 1;
                let some = (0..count).map(|_| self.dice.roll(self.heard.len().max(1) as u64) as usize);
                let frames: Vec<_> = some.filter_map(|old| self.heard.get(old).cloned()).collect();
                if self.dice.roll(2) == 0 {
                    let at = self.someone();
                    self.world.members[at].take_burst(Way::OutOf, &frames);
                } else {
                    for frame in &frames {
                        let at = self.someone();
                        let _ = self.world.members[at].hear(frame);
                    }
                }
            }
            60..68 => self.world.ship(),
            68..84 => self.commit(),
            84..92 => {
                let (at, span_ns) = (self.someone(), self.dice.roll(120) * MS);
                self.world.members[at].wait(span_ns);
            }
            92..95 => self.turn(),
            95..98 => {
                seen.robberies += usize::from(self.robbed.is_none());
                self.rob();
            }
            _ => seen.crashes += usize::from(self.crash()),
        }
        self.world.peer_opens();
        for mark in self.world.delivered() {
            assert!(self.delivered.insert(mark), "the peer's packet {mark} was let in twice");
        }
    }

    fn commit(&mut self) {
        if self.fault == Some(Fault::CommitsTooEarly) {
            let backup = self.world.members[1 - self.world.owner].id;
            let owner = self.world.owner();
            let head = owner.desk.outbox.head();
            while owner.desk.outbox.poll_ship(backup).is_some() {}
            owner.desk.outbox.acknowledged(backup, head);
            owner.gateway.handle_commit(&mut owner.desk);
        } else {
            self.world.replicate();
        }
    }

    /// A planned change, or the end of a robbery.
    fn turn(&mut self) {
        if let Some(robbed) = self.robbed.take() {
            let all: UnitSet = Unit::all().collect();
            let member = &mut self.world.members[robbed];
            member.gateway.handle_units(&mut member.desk, &UnitSet::EMPTY, &all);
            member.desk.owned = false;
            // What it kept is older than what the owner has told, or the owner tells it anew.
            member.desk.store.clear(unit());
            return self.begin_anew();
        }
        if self.is_held() {
            self.world.turn();
        }
    }

    /// The backup becomes the owner, and the owner does not hear of it.
    fn rob(&mut self) {
        if self.robbed.is_some() || !self.is_held() {
            return;
        }
        let old = self.world.owner;
        self.robbed = Some(old);
        self.world.take(1 - old);
    }

    /// The owner dies and comes back with nothing.
    fn crash(&mut self) -> bool {
        if self.robbed.is_some() || !self.is_held() {
            return false;
        }
        let dead = self.world.owner;
        self.world.take(1 - dead);
        if self.fault != Some(Fault::LivesTwice) {
            self.incarnation += 1;
        }
        let now_ns = self.world.members[dead].desk.now_ns;
        self.world.members[dead] = Member::new(dead as u8 + 1, self.incarnation, &self.spec);
        self.world.members[dead].desk.now_ns = now_ns;
        self.begin_anew();
        true
    }

    /// Whether the backup holds the tunnel: only then may it become the owner.
    fn is_held(&mut self) -> bool {
        let backup = self.world.members[1 - self.world.owner].id;
        self.world.owner().desk.outbox.is_synced(backup, unit())
    }

    /// The owner has its backup again, and tells it all.
    fn begin_anew(&mut self) {
        self.world.take(self.world.owner);
        self.world.replicate();
    }
}

impl World {
    /// A member becomes the owner by the table, and the other its backup; that one hears of it only by the table's version.
    pub(super) fn take(&mut self, new: usize) {
        self.generation += 1;
        let version = TableVersion { term: 1, generation: self.generation };
        let (heir, backup) = (self.members[new].id, self.members[1 - new].id);
        for member in &mut self.members {
            member.desk.store.set_owner(unit(), Some(heir), version);
            member.desk.store.set_version(version);
        }
        let is = &mut self.members[new];
        is.desk.owned = true;
        is.desk.outbox.set_version(version);
        is.desk.outbox.set_backups(unit(), MemberSet::of(backup));
        is.desk.outbox.greeted(backup, self.generation as u32, None);
        self.owner = new;
    }
}

fn run(seed: u64, fault: Option<Fault>) -> Seen {
    let (mut run, mut seen) = (Run::new(seed, fault), Seen::default());
    for _ in 0..150 {
        run.step(&mut seen);
    }
    seen.sent = run.world.peer.got.len();
    seen.delivered = run.delivered.len();
    seen
}

#[test]
fn no_number_and_no_iv_comes_twice_whatever_happens() {
    let mut all = Seen::default();
    for seed in 0..10_000 {
        let seen = std::panic::catch_unwind(|| run(seed, None)).unwrap_or_else(|_| panic!("seed {seed}"));
        all.sent += seen.sent;
        all.delivered += seen.delivered;
        all.crashes += seen.crashes;
        all.robberies += seen.robberies;
    }
    println!("{all:?}");
    assert!(
        all.sent > 1_000_000 && all.delivered > 1_000_000 && all.crashes > 10_000 && all.robberies > 10_000,
        "{all:?}"
    );
}

#[test]
fn planted_faults_are_found() {
    for fault in [Fault::CommitsTooEarly, Fault::LivesTwice] {
        let found = (0..200).find(|seed| std::panic::catch_unwind(|| run(*seed, Some(fault))).is_err());
        assert!(found.is_some(), "{fault:?} was not found within 200 seeds");
    }
}
