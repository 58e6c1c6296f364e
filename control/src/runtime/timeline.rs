//! The story of one failover in one line: when the dead member was last heard, when that was judged to be death, when
//! its units were in force elsewhere, when the LAN was told, and when the first packet was processed again.

use std::collections::VecDeque;

use crate::cluster::{ClusterEvent, Span, Time};

/// How long the first packet is waited for.
const PATIENCE: Span = Span::from_ms(5000);

/// Two verdicts on a member within this are one death, told twice.
const SAME_DEATH: Span = Span::from_ms(100);

/// A failover under way.
#[derive(Clone, Copy, Debug)]
struct Failover {
    dead: u8,
    last_heard: Time,
    verdict: Time,
    takeover: Option<Time>,
    announced: Option<Time>,
    first_packet: Option<Time>,
    /// Whether this member took over the master's role, and so has to announce.
    announces: bool,
}

/// Follows failovers. Members that die before the units of the first are in force elsewhere share one interruption, and each
/// has its own line about it; a death after that ends the wait for traffic, and begins a story of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// One for each dead member at most.
    open: Vec<Failover>,
    /// Lines that wait to be written.
    lines: VecDeque<String>,
}

impl Timeline {
    /// Takes in an event; says whether a failover begins with it (so that the workers' stamp is to be reset after
    /// `first_packet_ns`, which it holds now).
    pub(super) fn take(&mut self, now: Time, event: &ClusterEvent, first_packet_ns: u64) -> bool {
        let (dead, silent, announces) = match event {
            ClusterEvent::BecameMaster { succeeded: Some((dead, silent)), .. } => (dead.number(), silent, true),
            ClusterEvent::MemberDead(dead, silent) => (dead.number(), silent, false),
            ClusterEvent::TakeoverAcknowledged(..) => {
                self.note_takeover(now);
                return false;
            }
            _ => return false,
        };
        self.note_first_packet(first_packet_ns);
        // Whoever dies again was back meanwhile, and the story of its first death is over.
        self.close(|open| open.takeover.is_some() || open.dead == dead && now.since(open.verdict) >= SAME_DEATH);
        if self.open.iter().any(|open| open.dead == dead) {
            return false;
        }
        self.open.push(Failover {
            dead,
            last_heard: Time(now.0.saturating_sub(silent.0)),
            verdict: now,
            takeover: None,
            announced: None,
            first_packet: None,
            announces,
        });
        true
    }

    /// This member's own workers obey a new view.
    pub(super) fn note_takeover(&mut self, now: Time) {
        for failover in &mut self.open {
            failover.takeover.get_or_insert(now);
        }
    }

    /// The cluster addresses were announced.
    pub(super) fn note_announced(&mut self, now: Time) {
        for failover in &mut self.open {
            failover.announced.get_or_insert(now);
        }
    }

    /// `first_packet_ns` is the workers' stamp, 0 if there is none. Returns a line, one at a call, once its story is
    /// complete, or nobody sends anything.
    pub(super) fn poll(&mut self, now: Time, first_packet_ns: u64) -> Option<String> {
        self.note_first_packet(first_packet_ns);
        self.close(|open| open.is_complete() || now.since(open.verdict) >= PATIENCE);
        self.lines.pop_front()
    }

    /// Whether a failover is under way.
    pub(super) fn is_active(&self) -> bool {
        !self.open.is_empty() || !self.lines.is_empty()
    }

    fn note_first_packet(&mut self, first_packet_ns: u64) {
        for failover in self.open.iter_mut().filter(|_| first_packet_ns != 0) {
            failover.first_packet.get_or_insert(Time(first_packet_ns));
        }
    }

    /// Writes down those stories that are over, with what is known of them.
    fn close(&mut self, is_over: impl Fn(&Failover) -> bool) {
        let (over, open): (Vec<Failover>, _) = self.open.drain(..).partition(is_over);
        self.open = open;
        self.lines.extend(over.iter().map(Failover::line));
    }
}

impl Failover {
    fn is_complete(&self) -> bool {
        self.takeover.is_some() && self.first_packet.is_some() && (self.announced.is_some() || !self.announces)
    }

    fn line(&self) -> String {
        let after = |at: Option<Time>| match at {
            Some(at) => format!("{:.1} ms", at.since(self.last_heard).0 as f64 / 1e6),
            None => "none".to_owned(),
        };
        format!(
            "failover from member {}: last heard 0.0 ms, verdict {}, takeover {}, announced {}, first packet {}",
            self.dead,
            after(Some(self.verdict)),
            after(self.takeover),
            if self.announces { after(self.announced) } else { "not needed".to_owned() },
            after(self.first_packet),
        )
    }
}

#[cfg(test)]
mod tests {
    use phalanx_dataplane::unit::MemberId;

    use super::*;

    fn death(number: u8) -> ClusterEvent {
        ClusterEvent::MemberDead(MemberId::new(number).unwrap(), Span::from_ms(30))
    }

    #[test]
    fn the_line_has_all_five_times() {
        let mut timeline = Timeline::default();
        assert!(timeline.take(Time(100_000_000), &death(2), 0));
        assert!(!timeline.take(Time(101_000_000), &death(2), 0), "the same death");
        assert_eq!(timeline.poll(Time(101_000_000), 0), None);
        timeline.note_takeover(Time(102_000_000));
        let line = timeline.poll(Time(110_000_000), 105_500_000).unwrap();
        let expected = "failover from member 2: last heard 0.0 ms, verdict 30.0 ms, takeover 32.0 ms, \
                        announced not needed, first packet 35.5 ms";
        assert_eq!(line, expected);
        assert!(!timeline.is_active());
    }

    #[test]
    fn without_traffic_the_line_comes_all_the_same() {
        let mut timeline = Timeline::default();
        timeline.take(Time(1), &death(2), 0);
        assert!(timeline.poll(Time(6_000_000_000), 0).unwrap().ends_with("first packet none"));
    }

    #[test]
    fn a_second_death_ends_the_wait_for_traffic_and_has_a_line_of_its_own() {
        let mut timeline = Timeline::default();
        assert!(timeline.take(Time(100_000_000), &death(2), 0));
        timeline.note_takeover(Time(102_000_000));
        assert_eq!(timeline.poll(Time(900_000_000), 0), None);
        assert!(timeline.take(Time(1_000_000_000), &death(3), 0));
        let first = timeline.poll(Time(1_000_000_000), 0).unwrap();
        assert!(first.contains("member 2") && first.contains("takeover 32.0 ms") && first.ends_with("none"), "{first}");
        timeline.note_takeover(Time(1_001_000_000));
        let second = timeline.poll(Time(1_002_000_000), 1_001_500_000).unwrap();
        assert!(second.contains("member 3") && second.ends_with("first packet 31.5 ms"), "{second}");
        assert!(!timeline.is_active());
    }

    #[test]
    fn members_that_die_together_have_a_line_each() {
        let mut timeline = Timeline::default();
        assert!(timeline.take(Time(100_000_000), &death(2), 0));
        assert!(timeline.take(Time(100_001_000), &death(3), 0));
        timeline.note_takeover(Time(102_000_000));
        let now = Time(110_000_000);
        let lines = [timeline.poll(now, 105_000_000).unwrap(), timeline.poll(now, 105_000_000).unwrap()];
        for (line, dead) in lines.iter().zip([2, 3]) {
            assert!(line.contains(&format!("member {dead}")) && !line.contains("none"), "{line}");
        }
        assert_eq!(timeline.poll(now, 105_000_000), None);
        assert!(!timeline.is_active());
    }

    #[test]
    fn a_member_that_dies_again_is_told_of_again() {
        let mut timeline = Timeline::default();
        assert!(timeline.take(Time(100_000_000), &death(2), 0));
        assert!(timeline.take(Time(3_000_000_000), &death(2), 0));
        assert!(timeline.poll(Time(3_000_000_000), 0).unwrap().contains("takeover none"));
        assert!(timeline.is_active());
    }
}
