//! News of neighbours, from the worker that heard it to the others: a reply comes in by one queue, and the worker that
//! asked may serve another, and sleep until it hears of it.

use std::net::IpAddr;

use rtrb::{Consumer, Producer, RingBuffer};

use super::link::Wake;
use crate::neighbour::Evidence;
use crate::port::PortIndex;
use crate::wire::MacAddr;

/// News of one worker that may wait for another; what a full ring does not take is asked for again.
const NEWS_MAX: usize = 256;

/// What a neighbour said about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) port: PortIndex,
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    pub(super) evidence: Evidence,
}

/// One worker's ends: what it hears from each other, and what each other hears of it, with what wakes that one.
#[derive(Default)]
pub(super) struct NewsRings {
    inboxes: Vec<Consumer<News>>,
    others: Vec<(Producer<News>, Wake)>,
}

impl NewsRings {
    /// The rings of the workers that these wake up.
    pub(super) fn mesh(wakes: &[Wake]) -> Vec<Self> {
        let mut mesh: Vec<Self> = wakes.iter().map(|_| Self::default()).collect();
        for (hearer, wake) in wakes.iter().enumerate() {
            let mut inboxes = Vec::with_capacity(wakes.len());
            for (_, speaker) in mesh.iter_mut().enumerate().filter(|(speaker, _)| *speaker != hearer) {
                let (end, inbox) = RingBuffer::new(NEWS_MAX);
                speaker.others.push((end, wake.clone()));
                inboxes.push(inbox);
            }
            if let Some(it) = mesh.get_mut(hearer) {
                it.inboxes = inboxes;
            }
        }
        mesh
    }

    /// Tells the others; wakes them if packets may wait for this.
    pub(super) fn tell(&mut self, news: News) {
        for (ring, wake) in &mut self.others {
            let _ = ring.push(news);
            if news.evidence != Evidence::Gratuitous {
                wake();
            }
        }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<News> {
        self.inboxes.iter_mut().find_map(|inbox| inbox.pop().ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn news_reach_the_others_only() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Relaxed);
        });
        let mut rings = NewsRings::mesh(&[wake.clone(), wake.clone(), wake]);
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
        for ring in &mut rings[1..] {
            assert_eq!(std::iter::from_fn(|| ring.next()).count(), NEWS_MAX);
        }
    }
}
