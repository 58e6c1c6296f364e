//! The file of users: `name:password`, one a line, in UTF-8. Lines that begin with `#` and empty ones say nothing; all that is behind
//! the first colon is the password, as it is, with colons and spaces. What is wrong is told by line, without what the line says.

use std::collections::HashSet;
use std::path::Path;

use phalanx_ike::config::Passwords;
use zeroize::Zeroizing;

use super::error::IkeError;
use crate::pki::{check_private, read};

/// Users in a file: some 20 MB of memory.
pub(super) const USERS_MAX: usize = 100_000;
/// For each of them a name and a password of a hundred letters.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// MSCHAPv2's most (RFC 2759 section 4).
const NAME_LENGTH_MAX: usize = 256;
/// MSCHAPv2's most (RFC 2759 section 8.1), in characters of UTF-16.
const PASSWORD_LENGTH_MAX: usize = 256;

/// All users of a file that nobody else may read.
pub(super) fn load(path: &Path) -> Result<Passwords, IkeError> {
    check_private(path)?;
    let bytes = read(path, FILE_BYTES_MAX)?;
    parse(&bytes).map_err(|(line, what)| IkeError::User { path: path.to_owned(), line, what })
}

/// Or which line is wrong, and how.
fn parse(bytes: &[u8]) -> Result<Passwords, (usize, &'static str)> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let sound = bytes.get(..error.valid_up_to()).unwrap_or_default();
        (1 + sound.iter().filter(|byte| **byte == b'\n').count(), "it is not UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut names = HashSet::new();
    let mut users = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, password) = user(line).map_err(|what| (number, what))?;
        if !names.insert(name) {
            return Err((number, "a user of this name is there before: remove one of the two lines"));
        }
        if names.len() > USERS_MAX {
            return Err((number, "there are more users than 100000"));
        }
        users.push((name.to_owned(), Zeroizing::new(password.to_owned())));
    }
    if users.is_empty() {
        return Err((1, "there is no user in it: add lines such as `alice:her password`"));
    }
    Ok(users.into_iter().collect())
}

fn user(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, password) = line.split_once(':').ok_or("there is no colon: write `name:password`")?;
    if name.is_empty() || name.trim() != name || name.len() > NAME_LENGTH_MAX || name.contains(char::is_control) {
        return Err("before the first colon belongs a name of 1 to 256 bytes, without spaces around it");
    }
    if name.contains('\\') {
        return Err("the name has a domain, which users' devices may add and which is not looked at: write it without");
    }
    if password.is_empty() || password.encode_utf16().count() > PASSWORD_LENGTH_MAX {
        return Err("behind the first colon belongs a password of 1 to 256 characters");
    }
    Ok((name, password))
}
