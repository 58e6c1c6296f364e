//! The story of one failover in one line: when the dead member was last heard, when that was judged to be death, when
//! its units were in force elsewhere, when the LAN was told, and when the first packet was processed again.

use crate::cluster::{ClusterEvent, Span, Time};

/// How long the first packet is waited for.
const PATIENCE: Span = Span::from_ms(5000);

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

/// Follows failovers, one at a time: a second death while one is under way belongs to the same interruption.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline(Option<Failover>);

impl Timeline {
    /// Takes in an event; says whether a failover begins with it (so that the workers' stamp is to be reset).
    pub(super) fn take(&mut self, now: Time, event: &ClusterEvent) -> bool {
        let (dead, silent, announces) = match event {
            ClusterEvent::BecameMaster { succeeded: Some((dead, silent)), .. } => (dead, silent, true),
            ClusterEvent::MemberDead(dead, silent) => (dead, silent, false),
            ClusterEvent::TakeoverAcknowledged(..) => {
                self.note_takeover(now);
                return false;
            }
            _ => return false,
        };
        if self.0.is_some() {
            return false;
        }
        self.0 = Some(Failover {
            dead: dead.number(),
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
        if let Some(failover) = &mut self.0 {
            failover.takeover.get_or_insert(now);
        }
    }

    /// The cluster addresses were announced.
    pub(super) fn note_announced(&mut self, now: Time) {
        if let Some(failover) = &mut self.0 {
            failover.announced.get_or_insert(now);
        }
    }

    /// `first_packet_ns` is the workers' stamp, 0 if there is none. Returns the line once the story is complete, or nobody
    /// sends anything.
    pub(super) fn poll(&mut self, now: Time, first_packet_ns: u64) -> Option<String> {
        let failover = self.0.as_mut()?;
        if first_packet_ns != 0 {
            failover.first_packet = Some(Time(first_packet_ns));
        }
        let complete = failover.takeover.is_some()
            && failover.first_packet.is_some()
            && (failover.announced.is_some() || !failover.announces);
        if !complete && now.since(failover.verdict) < PATIENCE {
            return None;
        }
        let line = failover.line();
        self.0 = None;
        Some(line)
    }

    /// Whether a failover is under way.
    pub(super) fn is_active(&self) -> bool {
        self.0.is_some()
    }
}

impl Failover {
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

    #[test]
    fn the_line_has_all_five_times() {
        let mut timeline = Timeline::default();
        let dead = ClusterEvent::MemberDead(MemberId::new(2).unwrap(), Span::from_ms(30));
        assert!(timeline.take(Time(100_000_000), &dead));
        assert!(!timeline.take(Time(101_000_000), &dead), "one at a time");
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
        timeline.take(Time(1), &ClusterEvent::MemberDead(MemberId::new(2).unwrap(), Span(1)));
        assert!(timeline.poll(Time(6_000_000_000), 0).unwrap().ends_with("first packet none"));
    }
}
