//! Who is next: the order of deaths, and of everything else that members go through. Pure.
//!
//! Deaths go round the members, owner after owner. Each death of a master makes the next member on the list the master, so that a
//! plain round would hit nothing but masters: the one after a master's death spares the new one. So a third of the victims
//! are masters; if the cluster's own choices make it less, the master is next.

use super::chaos::Dice;

/// What happens to a member. All of it is undone later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// kill -9.
    Kill,
    /// `phalanx drain`: its units are moved away, then it leaves.
    Drain,
    /// SIGTERM: the same by another way.
    Stop,
    /// SIGSTOP, for longer than its lease: the others bury it, and it wakes up.
    Pause,
    /// All its cables are cut.
    Cut,
}

impl Action {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Cut => "cut",
        }
    }

    /// Half of what happens are deaths, most of the rest is planned.
    pub fn draw(dice: &mut Dice) -> Self {
        *dice.one_of(&[
            Self::Kill,
            Self::Kill,
            Self::Kill,
            Self::Kill,
            Self::Drain,
            Self::Drain,
            Self::Stop,
            Self::Pause,
            Self::Cut,
        ])
    }
}

/// Chooses victims.
#[derive(Clone, Debug)]
pub struct Round {
    members: u8,
    last: u8,
    last_was_master: bool,
    /// So far.
    pub victims: u32,
    /// So many of them were masters.
    pub masters: u32,
}

impl Round {
    /// Among the members 1 to `members`, of which there are two at least.
    pub fn new(members: u8) -> Self {
        Self { members, last: members, last_was_master: false, victims: 0, masters: 0 }
    }

    fn after(&self, id: u8) -> u8 {
        id % self.members + 1
    }

    /// The next one, given who is the master now.
    pub fn next(&mut self, master: u8) -> u8 {
        let mut victim = self.after(self.last);
        if victim == master && self.last_was_master {
            victim = self.after(victim);
        }
        if self.masters * 3 < self.victims {
            victim = master;
        }
        self.last = victim;
        self.last_was_master = victim == master;
        self.victims += 1;
        self.masters += u32::from(self.last_was_master);
        victim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of a cluster in which whoever comes back is the last, and the first is the master.
    fn run(steps: usize) -> (Vec<u8>, Round) {
        let (mut list, mut round) = (vec![1, 2, 3], Round::new(3));
        let mut victims = Vec::new();
        for _ in 0..steps {
            let victim = round.next(list[0]);
            list.retain(|&id| id != victim);
            list.push(victim);
            victims.push(victim);
        }
        (victims, round)
    }

    #[test]
    fn everyone_dies_and_every_third_is_the_master() {
        let (victims, round) = run(100);
        assert!(round.masters * 3 >= 100 && round.masters < 60, "{} masters", round.masters);
        for id in 1..=3 {
            assert!(victims.iter().filter(|&&victim| victim == id).count() > 25, "{id}");
        }
    }

    #[test]
    fn a_master_that_stays_is_not_spared_for_ever() {
        let mut round = Round::new(3);
        for _ in 0..30 {
            round.next(2);
        }
        assert!(round.masters >= 10 && round.masters < 20, "{}", round.masters);
    }

    #[test]
    fn a_seed_determines_the_actions() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            (0..60).map(|_| Action::draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        for action in [Action::Kill, Action::Drain, Action::Stop, Action::Pause, Action::Cut] {
            assert!(draw(3).contains(&action), "{}", action.as_str());
        }
    }
}
