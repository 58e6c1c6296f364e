//! The other implementation: `codec.py`, as a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::described::{bytes, hex};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/codec.py");

/// The running process; it ends with this.
pub(crate) struct Scapy {
    child: Child,
    tasks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Scapy {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-B", "-W", "ignore", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Debian's python3 and python3-scapy: scripts/setup installs them");
        let tasks = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, tasks, answers }
    }

    /// The bytes of a message as it writes them.
    pub(crate) fn build(&mut self, message: &Value) -> Vec<u8> {
        bytes(self.ask(&json!({ "build": message })).as_str().expect("hex"))
    }

    /// A message as it reads it.
    pub(crate) fn read(&mut self, message: &[u8]) -> Value {
        self.ask(&json!({ "read": hex(message) }))
    }

    fn ask(&mut self, task: &Value) -> Value {
        // Whether it reads shows in that it answers.
        let _ = writeln!(self.tasks.as_mut().expect("it runs"), "{task}");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("codec.py answers");
        let mut answer: Value =
            serde_json::from_str(&answer).expect("python3-scapy is there: scripts/setup installs it");
        assert_eq!(answer["error"], Value::Null, "scapy has something against {task}");
        answer["answer"].take()
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        drop(self.tasks.take());
        let _ = self.child.wait();
    }
}
