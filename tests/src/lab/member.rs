//! One member, asked directly on its control socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use phalanx_control::status::Status;

use super::{Outcome, failure};

/// A member that does not answer within this time counts as silent: it may be frozen.
const PATIENCE: Duration = Duration::from_millis(500);

/// A member of a lab.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub id: u8,
    /// Its files: `config.toml`, `log.json`, `ctl.sock`, `state/`.
    pub dir: PathBuf,
}

impl Member {
    /// m1, m2, ...
    pub fn name(&self) -> String {
        format!("m{}", self.id)
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("ctl.sock")
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// Its own word.
    pub fn status(&self) -> Outcome<Status> {
        let body = self.get("/status")?;
        serde_json::from_str(&body).map_err(|error| failure(format!("{}'s status: {error}", self.name())))
    }

    /// Its metrics, as Prometheus reads them.
    pub fn metrics(&self) -> Outcome<String> {
        self.get("/metrics")
    }

    /// The values of all its metrics whose line begins so, in the page's order.
    pub fn samples(&self, beginning: &str) -> Outcome<Vec<f64>> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| line.starts_with(beginning));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect())
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.join("log.json")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The body of an answer. HTTP/1.0, so that the end of the stream is the end of the body.
    fn get(&self, path: &str) -> Outcome<String> {
        let answer = self.ask(path).map_err(|error| failure(format!("{} does not answer: {error}", self.name())))?;
        let text = String::from_utf8_lossy(&answer);
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
            Some((head, _)) => Err(failure(format!("{}: {}", self.name(), head.lines().next().unwrap_or("")))),
            None => Err(failure(format!("{} broke off its answer", self.name()))),
        }
    }

    fn ask(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: member\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
