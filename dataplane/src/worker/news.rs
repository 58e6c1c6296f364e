//! News of neighbours, from the worker that heard it to the others: a reply comes in by one queue, and the worker that
//! asked may serve another.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::neighbour::Evidence;
use crate::port::PortIndex;
use crate::wire::MacAddr;

/// News that may wait for a worker; what is lost to a full ring is asked for again.
const NEWS_MAX: usize = 256;

/// What a neighbour said about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) port: PortIndex,
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    pub(super) evidence: Evidence,
}

/// One worker's inbox, and those of the others.
#[derive(Debug, Default)]
pub(super) struct NewsRings {
    inbox: Option<Arc<ArrayQueue<News>>>,
    others: Vec<Arc<ArrayQueue<News>>>,
}

impl NewsRings {
    /// The rings of this many workers.
    pub(super) fn mesh(workers: usize) -> Vec<Self> {
        let inboxes: Vec<_> = (0..workers).map(|_| Arc::new(ArrayQueue::new(NEWS_MAX))).collect();
        let ends = |at: usize| {
            let others = inboxes.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, ring)| ring.clone());
            Self { inbox: inboxes.get(at).cloned(), others: others.collect() }
        };
        (0..workers).map(ends).collect()
    }

    pub(super) fn tell(&self, news: News) {
        for ring in &self.others {
            ring.force_push(news);
        }
    }

    #[inline]
    pub(super) fn next(&self) -> Option<News> {
        self.inbox.as_ref()?.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_reach_the_others_only() {
        let rings = NewsRings::mesh(3);
        let news = News {
            port: 1,
            address: "10.2.0.1".parse().expect("an address"),
            mac: MacAddr([2; 6]),
            evidence: Evidence::Reply,
        };
        (0..NEWS_MAX + 5).for_each(|_| rings[0].tell(news));
        assert!(rings[0].next().is_none());
        for ring in &rings[1..] {
            assert_eq!(std::iter::from_fn(|| ring.next()).count(), NEWS_MAX);
        }
    }
}
