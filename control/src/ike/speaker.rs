//! Who answers the workers' questions: restores an IKE SA, lets the machine make another of it, and gives it back. It knows no
//! clock and no thread, so that the simulator can have it as it is.

use phalanx_dataplane::ipsec::gateway::{Answer, Asked, Datagram, Kept, Question};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::Random;
use phalanx_ike::machine::{Event, Given, Machine, Next, Outcome, Report, Unit10};
use phalanx_ike::pool::Book;
use phalanx_ike::state::{IkeSa, Path};

use super::translate;

/// See the module.
pub struct Speaker<R> {
    config: Config,
    book: Book,
    random: R,
}

impl<R: Random> Speaker<R> {
    /// One that goes by this configuration and gives addresses from this book.
    pub const fn new(config: Config, book: Book, random: R) -> Self {
        Self { config, book, random }
    }

    /// Answers a question; and what there is to be logged.
    pub fn answer(&mut self, question: Question) -> (Answer, Vec<Report>) {
        let Question { ticket, unit, spi, record, now_s, asked, draw } = question;
        let sa = match record.as_deref().map(IkeSa::restore) {
            Some(None) => {
                tracing::error!("the record of IKE SA {spi:016x} cannot be read: it is dropped");
                return (Answer { record: Kept::Ended, ..Answer::nothing(ticket, None) }, Vec::new());
            }
            Some(Some(sa)) => Some(sa),
            None => None,
        };
        let event = match &asked {
            Asked::Message { from, to, bytes } => Event::Message { path: Path { ours: *to, theirs: *from }, bytes },
            Asked::Timeout => Event::Timeout,
        };
        let given = Given {
            now_s,
            unit: Unit10(unit.number()),
            draw: u64::from_be_bytes(draw),
            random: &mut self.random,
            pools: &mut self.book,
            under_load: false,
        };
        let mut outcome = Machine::new(&self.config).handle(given, spi, sa, event);
        self.note(spi, &outcome, now_s);
        let reports = std::mem::take(&mut outcome.reports);
        (into_answer(ticket, spi, outcome), reports)
    }

    fn note(&mut self, spi: u64, outcome: &Outcome, now_s: u64) {
        match &outcome.next {
            Next::Same => {}
            Next::Changed(sa) => self.book.hear(spi, Some(sa), now_s),
            Next::Ended => self.book.hear(spi, None, now_s),
        }
        if let Some((successor, _)) = &outcome.successor {
            self.book.hear(successor.own_spi(), Some(successor), now_s);
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
