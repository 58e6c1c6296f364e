//! Who is certain that nobody else owns what it owns.

use super::*;

impl Net {
    /// Runs on, looking at each member's certainty; up to when each is certain in the end.
    fn looks(&mut self, soles: &mut BTreeMap<u8, Sole>, span: Span) -> BTreeMap<u8, Option<Time>> {
        let end = self.now + span;
        while self.now < end {
            self.run(STEP);
            for (number, core) in &self.cores {
                soles.entry(*number).or_default().look(self.now, core);
            }
        }
        let looked = self.cores.iter().map(|(number, core)| {
            let up_to = soles.get_mut(number).and_then(|sole| sole.look(self.now, core));
            (*number, up_to)
        });
        looked.collect()
    }
}

fn three(quorum: Quorum) -> Net {
    let mut net = Net::new(&[]);
    (1..=3).for_each(|number| net.start(Settings { quorum, ..settings(number) }));
    net.run(Span::from_ms(5000));
    net
}

#[test]
fn all_are_certain_while_all_are_there() {
    let (mut net, mut soles) = (three(Quorum::None), BTreeMap::new());
    let up_to = net.looks(&mut soles, Span::from_ms(1000));
    assert!(up_to.values().all(|up_to| up_to.is_some_and(|at| net.now.since(at) < Span::from_ms(300))), "{up_to:?}");
    // One dies: it may be on another side. Nobody is certain before it is back.
    net.cores.remove(&3);
    let up_to = net.looks(&mut soles, Span::from_ms(2000));
    assert!(up_to.values().all(Option::is_none), "{up_to:?}");
    net.start(Settings { incarnation: 9, ..settings(3) });
    let up_to = net.looks(&mut soles, Span::from_ms(5000));
    assert!(up_to.values().all(Option::is_some), "{up_to:?}");
    // One leaves: it agrees not to be counted.
    net.cores.get_mut(&2).unwrap().handle_drain(net.now);
    let up_to = net.looks(&mut soles, Span::from_ms(5000));
    assert_eq!(net.left, [2]);
    assert!(up_to[&1].is_some() && up_to[&3].is_some(), "{up_to:?}");
}

#[test]
fn a_majority_need_not_wait_for_the_dead() {
    let (mut net, mut soles) = (three(Quorum::Majority), BTreeMap::new());
    net.cores.remove(&3);
    let up_to = net.looks(&mut soles, Span::from_ms(2000));
    assert!(up_to.values().all(Option::is_some), "{up_to:?}");
}

/// One that starts alone, where there were others, cannot know what they do.
#[test]
fn a_founder_waits_for_those_that_there_were() {
    let (mut net, mut soles) = (Net::new(&[]), BTreeMap::new());
    let last_membership = vec![member(1), member(2)];
    net.start(Settings { incarnation: 4, last_membership: last_membership.clone(), ..settings(1) });
    assert_eq!(net.looks(&mut soles, Span::from_ms(5000)), [(1, None)].into());
    assert_eq!(net.share(1), UNITS, "it serves all the same");
    net.start(Settings { incarnation: 4, last_membership, ..settings(2) });
    let up_to = net.looks(&mut soles, Span::from_ms(5000));
    assert!(up_to.values().all(Option::is_some), "{up_to:?}");
    let (mut net, mut soles) = (Net::new(&[1]), BTreeMap::new());
    assert!(net.looks(&mut soles, Span::from_ms(5000))[&1].is_some(), "there never was another");
}
