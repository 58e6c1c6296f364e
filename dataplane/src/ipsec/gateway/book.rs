//! One worker's policies, and what it tells the member's other workers of them.
//!
//! IKE's tunnels come and go while packets pass, and any worker may be given a packet that belongs into any of them. Who learns of
//! one first is the worker that serves its unit, as owner or as backup: it tells the others. What the ring to another does not take
//! at once waits, for as long as it may be, and goes later in the same order: a worker that had missed one would send its traffic
//! in clear, or to the wrong member, until the tunnel ends.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::judged::Judged;
use super::policies::{Passing, Policies, Selectors};
use super::spec::Contact;
use crate::parse::{Family, Summary};
use crate::worker::Wake;

/// What one worker may have told another that has not listened yet; more waits with the teller.
const RING_MAX: usize = 256;
/// What a worker listens to in one round: packets must not wait for long.
const HEARD_A_ROUND: usize = 64;

/// A tunnel of IKE's comes or goes, somewhere in the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// This traffic goes into it; its inbound SPI.
    Insert(Arc<Selectors>, u32),
    /// It is no more.
    Remove(u32),
    /// A peer has come anew: workers need not know.
    Contact(Contact),
}

struct Other {
    ring: Producer<Word>,
    waiting: VecDeque<Word>,
    wake: Wake,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Book {
    policies: Policies,
    judged: Judged,
    inboxes: Vec<Consumer<Word>>,
    others: Vec<Other>,
}

impl Book {
    /// The books of the workers that these wake up.
    pub(crate) fn mesh(wakes: &[Wake]) -> Vec<Self> {
        let mut mesh: Vec<Self> = wakes.iter().map(|_| Self::default()).collect();
        for (hearer, wake) in wakes.iter().enumerate() {
            let mut inboxes = Vec::with_capacity(wakes.len());
            for (_, speaker) in mesh.iter_mut().enumerate().filter(|(speaker, _)| *speaker != hearer) {
                let (ring, inbox) = RingBuffer::new(RING_MAX);
                speaker.others.push(Other { ring, waiting: VecDeque::new(), wake: wake.clone() });
                inboxes.push(inbox);
            }
            if let Some(it) = mesh.get_mut(hearer) {
                it.inboxes = inboxes;
            }
        }
        mesh
    }

    /// Tells somebody else as well.
    pub(crate) fn tell_too(&mut self, wake: Wake) -> Consumer<Word> {
        let (ring, inbox) = RingBuffer::new(RING_MAX);
        self.others.push(Other { ring, waiting: VecDeque::new(), wake });
        inbox
    }

    /// Begins with these, which all workers have.
    pub(crate) fn begin(&mut self, policies: Policies) {
        self.policies = policies;
        self.judged = Judged::new();
    }

    #[inline]
    pub(crate) const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What becomes of a packet between hosts.
    #[inline]
    pub(crate) fn judge(&mut self, summary: &Summary) -> Passing {
        let remembered = match summary.family {
            Family::V4 => self.judge_v4(summary.src as u32, summary.dst as u32),
            Family::V6 => None,
        };
        remembered.unwrap_or_else(|| self.policies.judge(summary))
    }

    /// The same, of IPv4 hosts. None: it depends on more than who they are.
    #[inline]
    pub(crate) fn judge_v4(&mut self, source: u32, destination: u32) -> Option<Passing> {
        if !self.policies.need_only_hosts() {
            return None;
        }
        self.judged.find(source, destination).or_else(|| Some(self.ask(source, destination)))
    }

    #[cold]
    fn ask(&mut self, source: u32, destination: u32) -> Passing {
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let passing = self.policies.judge(&Summary::of_addresses(address(source), address(destination), 0));
        self.judged.note(source, destination, passing);
        passing
    }

    /// A tunnel of this worker's units comes.
    pub(crate) fn insert(&mut self, selectors: &Selectors, spi: u32) {
        if self.policies.insert(selectors, spi) {
            self.judged.forget();
            self.tell(&Word::Insert(Arc::new(selectors.clone()), spi));
        }
    }

    /// One goes.
    pub(crate) fn remove(&mut self, spi: u32) {
        if self.policies.remove(spi) {
            self.judged.forget();
            self.tell(&Word::Remove(spi));
        }
    }

    /// A peer of this worker's units has come anew.
    pub(crate) fn announce(&mut self, contact: Contact) {
        self.tell(&Word::Contact(contact));
    }

    fn tell(&mut self, word: &Word) {
        for other in &mut self.others {
            other.waiting.push_back(word.clone());
            other.flush();
        }
    }

    /// Listens to the others, and tells them what they had no room for. To be called every round.
    pub(crate) fn turn(&mut self) {
        for inbox in &mut self.inboxes {
            for word in std::iter::from_fn(|| inbox.pop().ok()).take(HEARD_A_ROUND) {
                let changed = match word {
                    Word::Insert(selectors, spi) => self.policies.insert(&selectors, spi),
                    Word::Remove(spi) => self.policies.remove(spi),
                    Word::Contact(_) => continue,
                };
                if changed {
                    self.judged.forget();
                }
            }
        }
        self.others.iter_mut().for_each(Other::flush);
    }

    /// Whether another worker has told something that was not listened to.
    pub(crate) fn is_told(&self) -> bool {
        self.inboxes.iter().any(|inbox| !inbox.is_empty())
    }
}

impl Other {
    fn flush(&mut self) {
        let mut told = false;
        while let Some(word) = self.waiting.pop_front() {
            if let Err(PushError::Full(word)) = self.ring.push(word) {
                self.waiting.push_front(word);
                break;
            }
            told = true;
        }
        if told {
            (self.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::ipsec::gateway::Network;

    fn selectors(branch: u32) -> Selectors {
        let network = |bits: u32| vec![Network::new(bits.to_be_bytes().into(), 32)];
        Selectors { local: network(0x0a03_0001), remote: network(0x0a09_0000 | branch) }
    }

    fn judge(book: &mut Book, branch: u32) -> Passing {
        let (inside, remote) = (0x0a03_0001_u32.to_be_bytes(), (0x0a09_0000 | branch).to_be_bytes());
        let summary = Summary::of_addresses(inside.into(), remote.into(), 6);
        let judged = book.judge(&summary);
        assert_eq!(judged, book.policies().judge(&summary), "from memory or not");
        judged
    }

    #[test]
    fn a_worker_that_listens_late_misses_nothing() {
        const COUNT: u32 = 3 * RING_MAX as u32;
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let wake: Wake = Arc::new(move || {
            count.fetch_add(1, Relaxed);
        });
        let mut books = Book::mesh(&[wake.clone(), wake.clone(), wake]);
        for book in &mut books {
            book.begin(Policies::default());
            assert_eq!(judge(book, 1), Passing::Clear);
        }
        (0..COUNT).for_each(|branch| books[0].insert(&selectors(branch), 1000 + branch));
        books[0].insert(&selectors(0), 1000);
        (0..COUNT).step_by(2).for_each(|branch| books[0].remove(1000 + branch));
        assert!(woken.load(Relaxed) > 0 && books[1].is_told() && !books[0].is_told());
        for _ in 0..COUNT {
            books.iter_mut().for_each(Book::turn);
        }
        for book in &mut books {
            assert!(!book.is_told());
            for branch in 0..COUNT {
                let expected = if branch % 2 == 0 { Passing::Clear } else { Passing::Into(1000 + branch) };
                assert_eq!(judge(book, branch), expected);
            }
        }
    }
}
