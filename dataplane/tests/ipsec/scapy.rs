//! The other implementation: `codec.py`, as a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use phalanx_dataplane::ipsec::{Keys, Transform};
use serde_json::{Value, json};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ipsec/codec.py");

/// The running process; it ends with this.
pub(crate) struct Scapy {
    child: Child,
    tasks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What it is to do with a packet.
pub(crate) struct Task {
    pub(crate) op: &'static str,
    pub(crate) transform: Transform,
    pub(crate) keys: Keys,
    pub(crate) spi: u32,
    pub(crate) seq: u32,
    pub(crate) esn: Option<u32>,
    pub(crate) outer: Option<[IpAddr; 2]>,
    pub(crate) nat: bool,
    /// Whether it is AH, whose transform here is `null-…`.
    pub(crate) ah: bool,
    pub(crate) packet: Vec<u8>,
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

    /// The packet that it makes of one, or what it has against it.
    pub(crate) fn ask(&mut self, task: &Task) -> Result<Vec<u8>, String> {
        let name = task.transform.to_string();
        let (crypt, auth) = name.split_once('-').unwrap_or((&name, ""));
        let line = json!({
            "op": task.op, "ah": task.ah, "crypt": crypt, "auth": auth,
            "crypt_key": hex(task.keys.cipher()), "auth_key": hex(task.keys.integrity()),
            "spi": task.spi, "seq": task.seq, "esn": task.esn, "outer": task.outer, "nat": task.nat,
            "packet": hex(&task.packet),
        });
        writeln!(self.tasks.as_mut().expect("it runs"), "{line}").expect("codec.py reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("codec.py answers");
        let answer: Value = serde_json::from_str(&answer).expect("python3-scapy is there: scripts/setup installs it");
        match answer["packet"].as_str() {
            Some(packet) => Ok(bytes(packet)),
            None => Err(answer["error"].to_string()),
        }
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        drop(self.tasks.take());
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect()
}
