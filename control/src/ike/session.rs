//! The thread that takes the workers' questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::sync::{Parker, Unparker};
use phalanx_dataplane::ipsec::gateway::{Answer, Asked, Question, SessionDesk, Wish};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::SystemRandom;
use phalanx_ike::machine::Report;
use phalanx_ike::pool::Book;

use super::Speaker;
use super::clerk::{Clerk, Register, clerk};

/// How long the thread sleeps if nobody wakes it.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Words of tunnels that are heard before the next question.
const WORDS_A_ROUND: usize = 64;

/// See the module.
pub(crate) struct Sessions {
    speaker: Speaker<SystemRandom>,
    desks: Vec<SessionDesk>,
    register: Register,
    /// Answers that a worker has not had room for, by desk.
    late: Vec<(usize, Answer)>,
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
        let speaker = Speaker::new(config, book, SystemRandom::new());
        (Self { speaker, desks, register, late: Vec::new() }, clerk)
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

    /// Answers each worker's next question. False: there was nothing to be done.
    fn round(&mut self) -> bool {
        let mut late = std::mem::take(&mut self.late);
        for (at, answer) in late.drain(..) {
            self.tell(at, answer);
        }
        self.register.turn(&mut self.desks);
        let mut busy = self.listen();
        for at in 0..self.desks.len() {
            let Some(question) = self.desks[at].next() else { continue };
            busy = true;
            self.take(at, question);
        }
        busy
    }

    /// Hears of tunnels. Answers whether there was one to hear of.
    fn listen(&mut self) -> bool {
        let (mut heard, mut forgotten) = (false, Vec::new());
        for desk in &mut self.desks {
            for word in std::iter::from_fn(|| desk.next_word()).take(WORDS_A_ROUND) {
                heard = true;
                forgotten.extend(self.speaker.hear(word));
            }
        }
        // The worker that serves it obeys. One that has too much to read is not asked twice: a peer that does not answer is forgotten, too.
        for spi in forgotten {
            self.desks.iter_mut().for_each(|desk| {
                desk.wish(spi, Wish::Forget);
            });
        }
        heard
    }

    fn take(&mut self, at: usize, question: Question) {
        match (&question.asked, &question.record) {
            (Asked::Shown, Some(record)) => self.register.note(question.spi, record, question.now_s),
            (Asked::Shown | Asked::ShownAll, _) => self.register.end(),
            _ => {
                let (answer, reports) = self.speaker.answer(question);
                reports.iter().for_each(log);
                self.tell(at, answer);
            }
        }
    }

    fn tell(&mut self, at: usize, answer: Answer) {
        if let Err(answer) = self.desks[at].answer(answer) {
            self.late.push((at, answer));
        }
    }
}

fn log(report: &Report) {
    match report {
        Report::Failed { .. } => tracing::warn!("IKE: {report}"),
        _ => tracing::info!("IKE: {report}"),
    }
}
