//! The other implementation: `other.py`, as a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/crypto/tests/other.py");

/// The running process; it ends with this.
pub(super) struct Other {
    child: Child,
    tasks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Other {
    pub(super) fn start() -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-B", "-W", "ignore", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Debian's python3 and python3-cryptography: scripts/setup installs them");
        let tasks = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, tasks, answers }
    }

    /// What it makes of the arguments.
    pub(super) fn ask(&mut self, what: &str, names: &[&str], arguments: &[&[u8]]) -> Vec<u8> {
        let mut line = what.to_owned();
        for name in names {
            line += &format!(" {name}");
        }
        for bytes in arguments {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            line += &format!(" {}", if hex.is_empty() { "-" } else { &hex });
        }
        writeln!(self.tasks.as_mut().expect("it runs"), "{line}").expect("other.py reads");
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer).expect("other.py answers");
        assert!(read > 0, "other.py stopped at `{line}`: scripts/setup installs python3-cryptography");
        super::hex(&answer)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.tasks.take());
        let _ = self.child.wait();
    }
}
