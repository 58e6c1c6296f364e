//! Who answers the workers' questions: restores an IKE SA, lets the machine make another of it, and gives it back. It knows no
//! clock and no thread, so that the simulator can have it as it is.

use phalanx_dataplane::ipsec::gateway::{Answer, Asked, ChildChange, Datagram, Kept, Network, Question, Wish, Word};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::Random;
use phalanx_ike::machine::{Event, Given, Keeper, Machine, Next, Outcome, Report, Unit10};
use phalanx_ike::pool::Book;
use phalanx_ike::state::{IkeSa, Path, Phase};

use super::comers::Comers;
use super::half_open::HalfOpen;
use super::starts::Starts;
use super::translate;

/// See the module.
pub struct Speaker<R> {
    config: Config,
    book: Book,
    half_open: HalfOpen,
    comers: Comers,
    starts: Starts,
    random: R,
    /// The cluster's clock, as it was last asked.
    now_s: u64,
    /// Before then no line is logged of a peer whose IKE SA is lost.
    quiet_until_s: u64,
}

/// One such line stands for all within this time: after a crash all peers come.
const QUIET_S: u64 = 10;

impl<R: Random> Speaker<R> {
    /// One that goes by this configuration and gives addresses from this book.
    pub fn new(config: Config, book: Book, random: R) -> Self {
        let starts = Starts::new(&config);
        let (half_open, comers) = (HalfOpen::default(), Comers::default());
        Self { config, book, half_open, comers, starts, random, now_s: 0, quiet_until_s: 0 }
    }

    /// Hears of a tunnel that comes or goes somewhere in the cluster, and of peers that come anew. Which IKE SAs are to be forgotten,
    /// by our SPIs, wherever they are served.
    pub fn hear(&mut self, word: Word) -> Vec<u64> {
        match word {
            Word::Contact(contact) => return self.comers.older(&contact),
            Word::Insert(selectors, spi) => {
                let hosts = selectors.remote.iter().filter(|network| network.is_host()).map(Network::address);
                self.book.hear_tunnel(spi, hosts);
                self.starts.hear_tunnel(spi, &selectors);
            }
            Word::Remove(spi) => {
                self.book.lose_tunnel(spi, self.now_s);
                self.comers.lose_tunnel(spi);
                self.starts.lose_tunnel(spi);
            }
        }
        Vec::new()
    }

    /// Answers a question; and what there is to be logged.
    pub fn answer(&mut self, question: Question) -> (Answer, Vec<Report>) {
        if let Asked::Lost { from, to, head } = &question.asked {
            return self.answer_lost(&question, Path { ours: *to, theirs: *from }, head);
        }
        let keeper = question.record.as_deref().and_then(Keeper::restore);
        if keeper.is_some() || self.starts.connection_of(question.spi).is_some() {
            return self.answer_keeper(&question, keeper);
        }
        let Question { ticket, unit, spi, record, now_s, asked, draw } = question;
        self.now_s = now_s;
        let sa = match record.as_deref().map(IkeSa::restore) {
            Some(None) => {
                tracing::error!("the record of IKE SA {spi:016x} cannot be read: it is dropped");
                return (Answer { record: Kept::Ended, ..Answer::nothing(ticket, None) }, Vec::new());
            }
            Some(Some(sa)) => Some(sa),
            None if self.half_open.is_full(now_s) => return (Answer::nothing(ticket, None), Vec::new()),
            None => None,
        };
        let before = sa.clone();
        if let Some(sa) = &sa {
            self.book.hear(sa, now_s);
        }
        let event = match &asked {
            Asked::Message { from, to, bytes } => Event::Message { path: Path { ours: *to, theirs: *from }, bytes },
            Asked::Wish(Wish::Close) => Event::Close,
            Asked::Wish(Wish::Rekey) => Event::Rekey,
            Asked::Wish(Wish::Forget) => Event::Replaced,
            Asked::Wish(Wish::RekeyChild(spi)) => Event::ChildWorn(*spi),
            Asked::Wish(Wish::CloseChild(spi)) => Event::ChildSpent(*spi),
            Asked::Timeout | Asked::Lost { .. } | Asked::Shown | Asked::ShownAll => Event::Timeout,
        };
        let given = Given {
            now_s,
            unit: Unit10(unit.number()),
            draw: u64::from_be_bytes(draw),
            random: &mut self.random,
            pools: &mut self.book,
            under_load: self.half_open.is_many(now_s),
        };
        let mut outcome = Machine::new(&self.config).handle(given, spi, sa, event);
        self.half_open.note(spi, &outcome, now_s);
        let prompts = self.starts.note(spi, before.as_ref(), &outcome, now_s);
        self.note(before.as_ref(), &outcome);
        let reports = std::mem::take(&mut outcome.reports);
        (Answer { prompts, ..into_answer(ticket, spi, outcome) }, reports)
    }

    /// A peer speaks of an IKE SA that no member has.
    fn answer_lost(&mut self, question: &Question, path: Path, head: &[u8]) -> (Answer, Vec<Report>) {
        let said = Machine::new(&self.config).tell_lost(path, head);
        let now_s = question.now_s;
        let mut reports = Vec::new();
        if said.is_some() && now_s >= self.quiet_until_s {
            self.quiet_until_s = now_s.saturating_add(QUIET_S);
            reports.push(Report::Lost { from: path.theirs });
        }
        let send = said.into_iter().map(|it| Datagram { from: it.from, to: it.to, bytes: it.bytes }).collect();
        (Answer { send, ..Answer::nothing(question.ticket, None) }, reports)
    }

    /// A keeper's time has come, or its unit has come here and it is to begin. Nobody else has to say anything to it.
    fn answer_keeper(&mut self, question: &Question, keeper: Option<Keeper>) -> (Answer, Vec<Report>) {
        let Question { ticket, unit, spi, now_s, draw, .. } = *question;
        self.now_s = now_s;
        let seen = self.starts.seen(spi, now_s);
        let given = Given {
            now_s,
            unit: Unit10(unit.number()),
            draw: u64::from_be_bytes(draw),
            random: &mut self.random,
            pools: &mut self.book,
            under_load: false,
        };
        let connection = self.starts.connection_of(spi);
        let kept = connection.and_then(|name| Machine::new(&self.config).keep(given, keeper, name, seen));
        let Some((keeper, mut outcome)) = kept else {
            // It is configured no more.
            return (Answer { record: Kept::Ended, ..Answer::nothing(ticket, None) }, Vec::new());
        };
        self.starts.note(spi, None, &outcome, now_s);
        let reports = std::mem::take(&mut outcome.reports);
        (Answer { record: Kept::Changed(keeper.save()), ..into_answer(ticket, spi, outcome) }, reports)
    }

    /// What it means for addresses, and for who comes anew, that an SA has become another.
    fn note(&mut self, before: Option<&IkeSa>, outcome: &Outcome) {
        let after = if let Next::Changed(after) = &outcome.next { Some(&**after) } else { None };
        let successor = outcome.successor.as_ref().map(|(successor, _)| &**successor);
        for sa in after.into_iter().chain(successor) {
            let names = sa.peer().and_then(|peer| Machine::new(&self.config).names(peer));
            let tunnels = sa.children.iter().map(|child| child.inbound_spi);
            if let Some(names) = names {
                self.comers.hear(names, (sa.own_spi(), sa.created_s), tunnels);
            }
        }
        match (before, &outcome.next) {
            (Some(before), Next::Changed(after)) if matches!(after.phase, Phase::Closed) => self.book.hear_end(before),
            (_, Next::Changed(after)) => self.book.hear(after, self.now_s),
            _ => {}
        }
    }
}

fn into_answer(ticket: u64, spi: u64, outcome: Outcome) -> Answer {
    let Outcome { next, timeout_s, successor, children, send, token, .. } = outcome;
    // A child goes with the SA that goes on.
    let ike_spi = successor.as_ref().map_or(spi, |(successor, _)| successor.own_spi());
    // ... and so do those that there are.
    let taken_along = successor.iter().flat_map(|(successor, _)| &successor.children);
    let taken_along: Vec<_> = taken_along.map(|child| ChildChange::Adopt { spi: child.inbound_spi, ike_spi }).collect();
    let changed = children.into_iter().filter_map(|event| translate::change(event, ike_spi));
    Answer {
        ticket,
        record: match next {
            Next::Same => Kept::Unchanged,
            Next::Changed(sa) => Kept::Changed(sa.save()),
            Next::Ended => Kept::Ended,
        },
        timeout_s,
        children: changed.chain(taken_along).collect(),
        successor: successor.map(|(successor, timeout_s)| (successor.own_spi(), successor.save(), timeout_s)),
        send: send.into_iter().map(|it| Datagram { from: it.from, to: it.to, bytes: it.bytes }).collect(),
        token,
        prompts: None,
    }
}
