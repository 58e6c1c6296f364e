//! Processes that are started beside a test and ended by it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{Outcome, clock, failure};

/// A process group that ends with this value: the tools that enter namespaces leave several processes in a row.
pub struct Running {
    child: Child,
    what: String,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it; its standard error is the test's.
    pub fn start(mut command: Command, what: &str) -> Outcome<Self> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failure(format!("{what}: {error}")))?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, what: what.to_owned(), input, output })
    }

    /// Writes a line to it.
    pub fn say(&mut self, line: &str) -> Outcome<()> {
        let problem = |error| failure(format!("{} does not listen: {error}", self.what));
        let Some(input) = &mut self.input else { return Err(failure(format!("{} does not listen", self.what))) };
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(problem)
    }

    /// It gets nothing more to read.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits for the next line that it prints.
    pub fn line(&mut self) -> Outcome<String> {
        let Some(output) = &mut self.output else { return Err(failure(format!("{} says nothing", self.what))) };
        let mut heard = String::new();
        match output.read_line(&mut heard) {
            Ok(0) => Err(failure(format!("{} has ended", self.what))),
            Ok(_) => Ok(heard.trim_end().to_owned()),
            Err(error) => Err(failure(format!("{}: {error}", self.what))),
        }
    }

    /// Waits for a line that it prints.
    pub fn expect(&mut self, line: &str) -> Outcome<()> {
        loop {
            match self.line() {
                Ok(heard) if heard.trim() == line => return Ok(()),
                Ok(_) => {}
                Err(problem) => return Err(failure(format!("waiting for '{line}': {problem}"))),
            }
        }
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, limit: Duration) -> Outcome<()> {
        let what = self.what.clone();
        clock::until(limit, Duration::from_millis(10), || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(failure(format!("{what} still runs"))),
            Err(error) => Err(failure(format!("{what}: {error}"))),
        })?;
        Ok(())
    }

    /// Waits until it has ended by itself, and well.
    pub fn succeed(&mut self, limit: Duration) -> Outcome<()> {
        self.wait(limit)?;
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failure(format!("{}: {status}", self.what))),
            Err(error) => Err(failure(format!("{}: {error}", self.what))),
        }
    }

    /// Ends all of its processes the way Ctrl-C does.
    pub fn interrupt(&mut self) {
        self.signal("INT");
        if self.wait(Duration::from_secs(3)).is_err() {
            self.signal("KILL");
            let _ = self.child.wait();
        }
    }

    /// Sends a signal to all of its processes.
    pub fn signal(&self, name: &str) {
        signal_group(self.child.id(), name);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.alive() {
            self.interrupt();
        }
    }
}

fn signal_group(group: u32, name: &str) {
    let _ = Command::new("kill").args(["-s", name, "--", &format!("-{group}")]).stderr(Stdio::null()).status();
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) -> Outcome<()> {
    let done = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err(failure(format!("cannot send SIG{name} to {pid}"))),
    }
}
