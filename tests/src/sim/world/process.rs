//! Members' processes begin, end, and go on after they were stopped.

use super::{Event, MS, World};

impl World {
    /// Starts a member's process.
    pub(in crate::sim) fn start(&mut self, at: usize) -> Result<(), String> {
        if self.nodes[at].process.is_some() {
            return Ok(());
        }
        let (now, common) = (self.now, self.common);
        self.nodes[at].inbox.clear();
        self.nodes[at].cluster_inbox.clear();
        self.nodes[at].start(now, &common);
        self.furnish(at);
        self.checks.reborn(now, at);
        let life = self.nodes[at].life;
        self.holdings.reborn(&mut self.rng, at, life);
        self.at(now + 100 * MS, Event::Loads(at, life));
        self.after_cluster(at)
    }

    /// Ends a member's process, as `kill -9` does.
    pub(in crate::sim) fn stop(&mut self, at: usize) {
        self.break_streams_to(at);
        let node = &mut self.nodes[at];
        node.process = None;
        node.inbox.clear();
        node.cluster_inbox.clear();
    }

    /// A stopped process goes on: workers take what waits in their queues, then the cluster thread its messages, then
    /// timers fire.
    pub(in crate::sim) fn resume(&mut self, at: usize) -> Result<(), String> {
        while self.nodes[at].paused == 0
            && let Some(event) = self.nodes[at].inbox.pop_front()
        {
            self.worker_event(event)?;
        }
        let node = &mut self.nodes[at];
        if node.paused + node.stalled > 0 {
            return Ok(());
        }
        let (timers, others): (Vec<_>, Vec<_>) = std::mem::take(&mut node.cluster_inbox)
            .into_iter()
            .partition(|event| matches!(event, Event::Timer(..) | Event::Loads(..)));
        for event in others.into_iter().chain(timers) {
            self.cluster_event(event)?;
        }
        self.check_owners()
    }
}
