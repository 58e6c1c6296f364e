//! Files that must never be half-written or readable by others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct FileError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    Owner,
    All,
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_atomic(path, content, Readers::Owner)
}

/// Writes beside the target, makes it durable, then renames: a reader sees the old file or the new one.
pub(super) fn write_atomic(path: &Path, content: &[u8], readers: Readers) -> Result<(), FileError> {
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let written = write_new(&temporary, content, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|source| {
        // Best effort: the error that matters is the one being reported.
        let _ = fs::remove_file(&temporary);
        FileError { what: "write", path: path.to_owned(), source }
    })
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Reads a file with a limit on its size.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let length = fs::metadata(path).map_err(FileError::new("read", path))?.len();
    if length > bytes_max {
        return Err(FileError::new("read", path)(io::Error::other("the file is too long to be what it should be")));
    }
    fs::read(path).map(Zeroizing::new).map_err(FileError::new("read", path))
}

/// Refuses a file with secrets that others may read.
pub(crate) fn check_private(path: &Path) -> Result<(), FileError> {
    let mode = fs::metadata(path).map_err(FileError::new("read", path))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let advice = "others may read it, though it holds secrets; run `chmod 600` on it";
    Err(FileError::new("use", path)(io::Error::other(advice)))
}

/// Makes a folder that only its owner may enter.
pub(super) fn make_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::new("make", path))
}

/// A lock file: two operators at once must not both hand out a number.
pub(super) struct Lock(PathBuf);

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, FileError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::new("lock", path)(io::Error::other(
                "another `phalanx ca` is at work; if none is, remove this file",
            )),
            _ => FileError::new("lock", path)(source),
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The next one to take the lock is told what to do if this failed.
        let _ = fs::remove_file(&self.0);
    }
}
