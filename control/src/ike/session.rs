//! The thread that answers the workers' questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::sync::{Parker, Unparker};
use phalanx_dataplane::ipsec::gateway::{Answer, Asked, Datagram, Kept, Network, Question, SessionDesk, Wish, Word};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::SystemRandom;
use phalanx_ike::machine::{Event, Given, Machine, Next, Outcome, Report, Unit10};
use phalanx_ike::pool::Book;
use phalanx_ike::state::{IkeSa, Path, Phase};

use super::clerk::{Clerk, Register, clerk};
use super::half_open::HalfOpen;
use super::translate;

/// How long the thread sleeps if nobody wakes it.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Words of tunnels that are heard before the next question.
const WORDS_A_ROUND: usize = 64;

/// See the module.
pub(crate) struct Sessions {
    config: Config,
    book: Book,
    desks: Vec<SessionDesk>,
    register: Register,
    half_open: HalfOpen,
    random: SystemRandom,
    /// Answers that a worker has not had room for, by desk.
    late: Vec<(usize, Answer)>,
    /// The cluster's clock, as it was last asked.
    now_s: u64,
}

/// Ends the thread when it is dropped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    unparker: Unparker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.unparker.unpark();
    }
}

impl Sessions {
    /// With one desk for each worker. `unparker`: of the thread that it will be started on.
    pub(crate) fn new(config: Config, book: Book, desks: Vec<SessionDesk>, unparker: Unparker) -> (Self, Clerk) {
        let (clerk, register) = clerk(unparker);
        let half_open = HalfOpen::default();
        let it =
            Self { config, book, desks, register, half_open, random: SystemRandom::new(), late: Vec::new(), now_s: 0 };
        (it, clerk)
    }

    /// Starts the thread. `parker` is what the desks wake.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn start(mut self, parker: Parker) -> std::io::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let running = Running { stop: stop.clone(), unparker: parker.unparker().clone() };
        let body = move || {
            while !stop.load(Relaxed) {
                if !self.round() {
                    parker.park_timeout(SLEEP_MAX);
                }
            }
        };
        std::thread::Builder::new().name("phalanx-ike".to_owned()).spawn(body)?;
        Ok(running)
    }

    /// Answers each worker's next question. False: nobody has asked.
    fn round(&mut self) -> bool {
        let mut late = std::mem::take(&mut self.late);
        for (at, answer) in late.drain(..) {
            self.tell(at, answer);
        }
        self.register.turn(&mut self.desks);
        let mut asked = self.listen();
        for at in 0..self.desks.len() {
            let Some(question) = self.desks[at].next() else { continue };
            asked = true;
            if let Some(answer) = self.answer(question) {
                self.tell(at, answer);
            }
        }
        asked
    }

    /// Hears of tunnels. Answers whether there was one to hear of.
    fn listen(&mut self) -> bool {
        let mut heard = false;
        for desk in &mut self.desks {
            for word in std::iter::from_fn(|| desk.next_word()).take(WORDS_A_ROUND) {
                heard = true;
                match word {
                    Word::Insert(selectors, spi) => {
                        let hosts = selectors.remote.iter().filter(|network| network.is_host()).map(Network::address);
                        self.book.hear_tunnel(spi, hosts);
                    }
                    Word::Remove(spi) => self.book.lose_tunnel(spi, self.now_s),
                }
            }
        }
        heard
    }

    fn tell(&mut self, at: usize, answer: Answer) {
        if let Err(answer) = self.desks[at].answer(answer) {
            self.late.push((at, answer));
        }
    }

    /// None: it was no question.
    fn answer(&mut self, question: Question) -> Option<Answer> {
        let Question { ticket, unit, spi, record, now_s, asked, draw } = question;
        self.now_s = now_s;
        if asked == Asked::Shown || asked == Asked::ShownAll {
            match record {
                Some(record) => self.register.note(spi, &record, now_s),
                None => self.register.end(),
            }
            return None;
        }
        let sa = match record.as_deref().map(IkeSa::restore) {
            Some(None) => {
                tracing::error!("the record of IKE SA {spi:016x} cannot be read: it is dropped");
                return Some(Answer { record: Kept::Ended, ..Answer::nothing(ticket, None) });
            }
            Some(Some(sa)) => Some(sa),
            None => None,
        };
        if sa.is_none() && self.half_open.is_full(now_s) {
            return Some(Answer::nothing(ticket, None));
        }
        let before = sa.clone();
        if let Some(sa) = &sa {
            self.book.hear(sa, now_s);
        }
        let event = match &asked {
            Asked::Message { from, to, bytes } => Event::Message { path: Path { ours: *to, theirs: *from }, bytes },
            Asked::Wish(Wish::Close) => Event::Close,
            Asked::Wish(Wish::Rekey) => Event::Rekey,
            Asked::Timeout | Asked::Shown | Asked::ShownAll => Event::Timeout,
        };
        let given = Given {
            now_s,
            unit: Unit10(unit.number()),
            draw: u64::from_be_bytes(draw),
            random: &mut self.random,
            pools: &mut self.book,
            under_load: self.half_open.is_many(now_s),
        };
        let outcome = Machine::new(&self.config).handle(given, spi, sa, event);
        self.half_open.note(spi, &outcome, now_s);
        self.note(before.as_ref(), &outcome);
        outcome.reports.iter().for_each(log);
        Some(into_answer(ticket, spi, outcome))
    }

    /// What it means for addresses that an SA has become another.
    fn note(&mut self, before: Option<&IkeSa>, outcome: &Outcome) {
        match (before, &outcome.next) {
            (Some(before), Next::Changed(after)) if matches!(after.phase, Phase::Closed) => self.book.hear_end(before),
            (_, Next::Changed(after)) => self.book.hear(after, self.now_s),
            _ => {}
        }
    }
}

fn into_answer(ticket: u64, spi: u64, outcome: Outcome) -> Answer {
    let Outcome { next, timeout_s, successor, children, send, .. } = outcome;
    // A child goes with the SA that goes on.
    let ike_spi = successor.as_ref().map_or(spi, |(successor, _)| successor.own_spi());
    Answer {
        ticket,
        record: match next {
            Next::Same => Kept::Unchanged,
            Next::Changed(sa) => Kept::Changed(sa.save()),
            Next::Ended => Kept::Ended,
        },
        timeout_s,
        children: children.into_iter().filter_map(|event| translate::change(event, ike_spi)).collect(),
        successor: successor.map(|(successor, timeout_s)| (successor.own_spi(), successor.save(), timeout_s)),
        send: send.into_iter().map(|it| Datagram { from: it.from, to: it.to, bytes: it.bytes }).collect(),
    }
}

fn log(report: &Report) {
    match report {
        Report::Failed { .. } => tracing::warn!("IKE: {report}"),
        _ => tracing::info!("IKE: {report}"),
    }
}
