//! Which member a command is for: its control socket.

use std::path::{Path, PathBuf};

use clap::Args;
use phalanx_config::{Config, defaults};

use crate::status::{Status, UnitAnswer, UnitQuestion};

use super::client::{self, ClientError};

/// How the command line names the member.
#[derive(Args, Debug, Default)]
pub(super) struct Target {
    /// The member's control socket [default: the only one in /run/phalanx].
    #[arg(long, value_name = "PATH", global = true)]
    pub(super) socket: Option<PathBuf>,
    /// The member's configuration, which names its control socket.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
}

/// Why a member cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// Nothing on the command line, and nothing to be found.
    #[error("no control socket in {0}; name one with --socket PATH, or start a member with `phalanx run`")]
    NoSocket(String),
    /// Nothing on the command line, and too much to be found.
    #[error("several members run here ({0}); name one with --socket PATH")]
    SeveralSockets(String),
    /// `--config` names a bad file.
    #[error("{0}")]
    Config(#[from] phalanx_config::ConfigErrors),
    /// It doesn't answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It answers something else.
    #[error("the member answers {0} to {1}; its log may say why")]
    Refused(u16, &'static str),
    /// It answers nonsense.
    #[error("the member's answer cannot be read: {0}; is it of another version?")]
    Json(#[from] serde_json::Error),
}

impl Target {
    /// The configuration that the command line names, if it does.
    pub(super) fn configuration(&self) -> Result<Option<Config>, TargetError> {
        Ok(self.config.as_deref().map(Config::load).transpose()?)
    }

    /// The socket's path: as given, or by the configuration, or the only one there is.
    pub(super) fn path(&self) -> Result<PathBuf, TargetError> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        if let Some(config) = self.configuration()? {
            return Ok(config.management.socket);
        }
        only_socket(socket_folder())
    }
}

/// Where members put their control sockets unless told otherwise.
pub(super) fn socket_folder() -> &'static Path {
    Path::new(defaults::SOCKET_DIR)
}

/// The only control socket in a folder.
pub(super) fn only_socket(folder: &Path) -> Result<PathBuf, TargetError> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sockets: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect();
    sockets.sort();
    match sockets.pop() {
        None => Err(TargetError::NoSocket(folder.display().to_string())),
        Some(only) if sockets.is_empty() => Ok(only),
        Some(last) => {
            sockets.push(last);
            let names: Vec<String> = sockets.iter().map(|path| path.display().to_string()).collect();
            Err(TargetError::SeveralSockets(names.join(", ")))
        }
    }
}

/// A member's status, as the text that it sent and as its meaning.
pub(super) fn status(socket: &Path) -> Result<(String, Status), TargetError> {
    let answer = client::ask(socket, "GET", "/status")?;
    if answer.code != 200 {
        return Err(TargetError::Refused(answer.code, "GET /status"));
    }
    let status = serde_json::from_slice(&answer.body)?;
    Ok((String::from_utf8_lossy(&answer.body).into_owned(), status))
}

/// A flow's unit, by the word of a member.
pub(super) fn unit(socket: &Path, question: &UnitQuestion) -> Result<UnitAnswer, TargetError> {
    let answer = client::ask(socket, "GET", &question.path())?;
    if answer.code != 200 {
        return Err(TargetError::Refused(answer.code, "GET /unit"));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_socket_is_found_and_several_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(only_socket(folder.path()), Err(TargetError::NoSocket(_))));
        std::fs::write(folder.path().join("m1.sock"), "").unwrap();
        std::fs::write(folder.path().join("m1.pid"), "").unwrap();
        assert_eq!(only_socket(folder.path()).unwrap(), folder.path().join("m1.sock"));
        std::fs::write(folder.path().join("m2.sock"), "").unwrap();
        let error = only_socket(folder.path()).unwrap_err().to_string();
        assert!(error.contains("m1.sock") && error.contains("m2.sock"), "{error}");
    }
}
