//! The thread that answers the workers' questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam::sync::{Parker, Unparker};
use phalanx_dataplane::ipsec::gateway::{Answer, Question, SessionDesk};
use phalanx_ike::config::Config;
use phalanx_ike::crypto::SystemRandom;
use phalanx_ike::machine::Report;
use phalanx_ike::pool::Book;

use super::Speaker;

/// How long the thread sleeps if nobody wakes it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Sessions {
    speaker: Speaker<SystemRandom>,
    desks: Vec<SessionDesk>,
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
    /// With one desk for each worker.
    pub(crate) fn new(config: Config, book: Book, desks: Vec<SessionDesk>) -> Self {
        Self { speaker: Speaker::new(config, book, SystemRandom::new()), desks, late: Vec::new() }
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
        let mut asked = false;
        for at in 0..self.desks.len() {
            let Some(question) = self.desks[at].next() else { continue };
            asked = true;
            let answer = self.answer(question);
            self.tell(at, answer);
        }
        asked
    }

    fn tell(&mut self, at: usize, answer: Answer) {
        if let Err(answer) = self.desks[at].answer(answer) {
            self.late.push((at, answer));
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let (answer, reports) = self.speaker.answer(question);
        reports.iter().for_each(log);
        answer
    }
}

fn log(report: &Report) {
    match report {
        Report::Failed { .. } => tracing::warn!("IKE: {report}"),
        _ => tracing::info!("IKE: {report}"),
    }
}
