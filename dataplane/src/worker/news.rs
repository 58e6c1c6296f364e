//! News of neighbours, from the worker that heard it to the others: a reply comes in by one queue, and the worker that
//! asked may serve another, and sleep until it hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::link::Wake;
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

/// One worker's inbox, and those of the others with what wakes them.
#[derive(Default)]
pub(super) struct NewsRings {
    inbox: Option<Arc<ArrayQueue<News>>>,
    others: Vec<(Arc<ArrayQueue<News>>, Wake)>,
}

impl NewsRings {
    /// The rings of the workers that these wake up.
    pub(super) fn mesh(wakes: &[Wake]) -> Vec<Self> {
        let inboxes: Vec<_> = wakes.iter().map(|wake| (Arc::new(ArrayQueue::new(NEWS_MAX)), wake.clone())).collect();
        let ends = |at: usize| {
            let others = inboxes.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, other)| other.clone());
            Self { inbox: inboxes.get(at).map(|(ring, _)| ring.clone()), others: others.collect() }
        };
        (0..wakes.len()).map(ends).collect()
    }

    /// Tells the others; wakes them if packets may wait for this.
    pub(super) fn tell(&self, news: News) {
        for (ring, wake) in &self.others {
            ring.force_push(news);
            if news.evidence != Evidence::Gratuitous {
                wake();
            }
        }
    }

    #[inline]
    pub(super) fn next(&self) -> Option<News> {
        self.inbox.as_ref()?.pop()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn news_reach_the_others_only() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Relaxed);
        });
        let rings = NewsRings::mesh(&[wake.clone(), wake.clone(), wake]);
        let news = News {
            port: 1,
            address: "10.2.0.1".parse().expect("an address"),
            mac: MacAddr([2; 6]),
            evidence: Evidence::Reply,
        };
        rings[0].tell(News { evidence: Evidence::Gratuitous, ..news });
        assert_eq!(woken.load(Relaxed), 0, "nobody waits for this");
        (0..NEWS_MAX + 5).for_each(|_| rings[0].tell(news));
        assert_eq!(woken.load(Relaxed), 2 * (NEWS_MAX + 5));
        assert!(rings[0].next().is_none());
        for ring in &rings[1..] {
            assert_eq!(std::iter::from_fn(|| ring.next()).count(), NEWS_MAX);
        }
    }
}
