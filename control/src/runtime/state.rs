//! What a member keeps on disk: three small files in `state_dir`, each replaced whole and made durable.
//!
//! | file | what | when it is written |
//! | --- | --- | --- |
//! | `boot` | number of the last start: the envelope's incarnation | at the start, before anything is sent |
//! | `incarnation` | the last life in a cluster | before that life begins |
//! | `members` | the membership last agreed on | soon after it changes |
//!
//! They are apart because they have different writers: `members` alone is written by the management thread, so that a
//! slow disk delays no keepalive; the other two must be on disk before they are used, and whoever needs them waits.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use phalanx_dataplane::unit::MemberId;

use crate::pki::{FileError, WallTime, write_secret};

/// Why the state is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system says no.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// To do what.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// Something else wrote it.
    #[error("{} does not hold a number; if the disk was damaged, remove the file", .0.display())]
    Garbled(PathBuf),
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

impl StateDir {
    /// The directory, made if it is missing, closed to others.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let error = |what| move |source| StateError::Io { what, path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error("make"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(error("close to others"))?;
        Ok(Self(path.to_owned()))
    }

    /// Takes the next boot number: on disk when this returns, and never one that an earlier boot had. The clock takes
    /// part in case the disk was lost.
    pub(super) fn next_boot(&self, wall: WallTime) -> Result<u64, StateError> {
        let clock = u64::try_from(wall.unix_seconds()).unwrap_or(0);
        let boot = self.read_number("boot")?.saturating_add(1).max(clock);
        self.write("boot", &boot.to_string())?;
        Ok(boot)
    }

    /// The last life in a cluster; 0: none.
    pub(super) fn incarnation(&self) -> Result<u64, StateError> {
        self.read_number("incarnation")
    }

    /// Keeps a life's number, durably.
    pub(super) fn save_incarnation(&self, incarnation: u64) -> Result<(), StateError> {
        self.write("incarnation", &incarnation.to_string())
    }

    /// The membership last agreed on; none if it is not known.
    pub(super) fn members(&self) -> Vec<MemberId> {
        let text = fs::read_to_string(self.0.join("members")).unwrap_or_default();
        text.split_whitespace().filter_map(|word| MemberId::new(word.parse().ok()?)).collect()
    }

    /// Keeps the membership.
    pub(super) fn save_members(&self, members: &[MemberId]) -> Result<(), StateError> {
        let words: Vec<String> = members.iter().map(ToString::to_string).collect();
        self.write("members", &words.join(" "))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StateError> {
        Ok(write_secret(&self.0.join(name), format!("{text}\n").as_bytes())?)
    }

    fn read_number(&self, name: &str) -> Result<u64, StateError> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| StateError::Garbled(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(StateError::Io { what: "read", path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_members_survive() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("a/b")).unwrap();
        let wall = WallTime::from_unix_seconds(1000);
        assert_eq!(state.next_boot(wall).unwrap(), 1000);
        assert_eq!(state.next_boot(wall).unwrap(), 1001);
        assert_eq!(state.next_boot(WallTime::from_unix_seconds(-5)).unwrap(), 1002);
        assert_eq!(state.incarnation().unwrap(), 0);
        state.save_incarnation(7).unwrap();
        assert_eq!(state.incarnation().unwrap(), 7);
        let members: Vec<_> = [3, 1, 32].into_iter().filter_map(MemberId::new).collect();
        assert!(state.members().is_empty());
        state.save_members(&members).unwrap();
        assert_eq!(state.members(), members);
    }

    #[test]
    fn a_garbled_number_is_an_error_not_a_zero() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join("boot"), "seven").unwrap();
        assert!(matches!(state.next_boot(WallTime::from_unix_seconds(0)), Err(StateError::Garbled(_))));
    }
}
