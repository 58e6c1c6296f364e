//! A conversation with a program at the other end: a counter that it must echo, line by line, several times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::process::Running;
use super::{ENDING, Outcome, clock, failure};

const PAUSE: Duration = Duration::from_millis(100);

/// One conversation, on a thread of its own.
pub(super) struct Talk {
    thread: JoinHandle<Outcome<()>>,
    rounds: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    seen: u64,
}

impl Talk {
    /// Begins it; returns when the first line has come back.
    pub(super) fn start(mut program: Running) -> Outcome<Self> {
        exchange(&mut program, 0)?;
        let (rounds, over) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let (counted, ends) = (rounds.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                exchange(&mut program, counted.load(Ordering::Relaxed))?;
                counted.fetch_add(1, Ordering::Relaxed);
                clock::last(PAUSE);
            }
            program.end_input();
            program.succeed(ENDING)
        });
        Ok(Self { thread, rounds, over, seen: 0 })
    }

    /// What is wrong if it has not gone on since the last look.
    pub(super) fn look(&mut self, when: &str) -> Option<String> {
        let rounds = self.rounds.load(Ordering::Relaxed);
        let stuck =
            (rounds == self.seen).then(|| format!("{when}: the talk with ssh stands still after {rounds} rounds"));
        self.seen = rounds;
        stuck
    }

    /// Ends it; how often the other end answered.
    pub(super) fn finish(self) -> Outcome<u64> {
        self.over.store(true, Ordering::Relaxed);
        clock::until(ENDING * 2, Duration::from_millis(50), || match self.thread.is_finished() {
            true => Ok(()),
            false => Err(failure("the talk with ssh does not end")),
        })?;
        self.thread.join().map_err(|_| failure("the talk with ssh panicked"))??;
        Ok(self.rounds.load(Ordering::Relaxed))
    }
}

fn exchange(program: &mut Running, number: u64) -> Outcome<()> {
    program.say(&number.to_string())?;
    match program.line()? {
        line if line == number.to_string() => Ok(()),
        line => Err(failure(format!("ssh answered '{line}' to '{number}'"))),
    }
}
