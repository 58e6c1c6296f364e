//! The other implementation: `foreign.py`, as a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pki/foreign.py");

/// The running process; it ends with this.
pub(crate) struct Foreign {
    child: Child,
    tasks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Foreign {
    pub(crate) fn start() -> Self {
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

    pub(crate) fn ask(&mut self, task: &Value) -> Value {
        // It may have ended already: then there is no answer either, and that is what is told.
        let _ = writeln!(self.tasks.as_mut().expect("it runs"), "{task}");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("its output is text");
        serde_json::from_str(&answer).expect("python3-cryptography is there: scripts/setup installs it")
    }

    /// A private key in PEM, PKCS #8.
    pub(crate) fn key(&mut self, kind: &str, bits: u32) -> String {
        self.ask(&json!({"op": "make", "kind": kind, "bits": bits}))["pkcs8"].as_str().expect("a key").to_owned()
    }

    /// The data of an AUTH payload, as `how` says.
    pub(crate) fn sign(&mut self, key: &str, how: &Value, signed: &[u8]) -> Vec<u8> {
        let mut task = how.clone();
        task["op"] = "sign".into();
        task["key"] = key.into();
        task["signed"] = hex(signed).into();
        bytes(self.ask(&task)["auth"].as_str().expect("a signature"))
    }

    /// What it has against an AUTH payload's data, if anything.
    pub(crate) fn verify(&mut self, certificate: &[u8], how: &Value, signed: &[u8], auth: &[u8]) -> Option<String> {
        let mut task = how.clone();
        task["op"] = "verify".into();
        task["certificate"] = hex(certificate).into();
        task["signed"] = hex(signed).into();
        task["auth"] = hex(auth).into();
        self.ask(&task)["error"].as_str().map(str::to_owned)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.tasks.take());
        let _ = self.child.wait();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect()
}
