//! A conversation as bytes, for the member that goes on with it.
//!
//! ```text
//!   0         1       2       3
//!   ┌─────────┬───────┬───────┬─────────────────────────────────────────────────────┐
//!   │ version │ state │  id   │ challenged: the challenge; proven: the key, the name │
//!   └─────────┴───────┴───────┴─────────────────────────────────────────────────────┘
//! ```
//!
//! Neither a password nor its hash is ever in it; once the user has proven one, the key is. It is as secret as IKE's own
//! keys, and goes the same ways.

use zeroize::Zeroizing;

use super::MSK_BYTES;
use super::mschapv2::NAME_BYTES_MAX;
use super::server::{Conversation, Key, State};

const VERSION: u8 = 1;

const IDENTITY: u8 = 0;
const CHALLENGED: u8 = 1;
const PROVEN: u8 = 2;
const FAILING: u8 = 3;
const OVER: u8 = 4;

const SAVED_BYTES_MAX: usize = 3 + MSK_BYTES + NAME_BYTES_MAX;

impl Conversation {
    /// All of it.
    #[must_use]
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        // As large as it may get at once, so that no copy of the key is left behind by growing.
        let mut saved = Zeroizing::new(Vec::with_capacity(SAVED_BYTES_MAX));
        let mut put = |state, fields: [&[u8]; 2]| {
            saved.extend_from_slice(&[VERSION, state, self.id]);
            fields.iter().for_each(|field| saved.extend_from_slice(field));
        };
        match &self.state {
            State::Identity => put(IDENTITY, [&[], &[]]),
            State::Challenged { challenge } => put(CHALLENGED, [challenge, &[]]),
            State::Proven { user, key } => put(PROVEN, [&*key.0, user.as_bytes()]),
            State::Failing => put(FAILING, [&[], &[]]),
            State::Over => put(OVER, [&[], &[]]),
        }
        saved
    }

    /// What was saved; `None` for anything else, also of a newer version.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (&[version, state, id], fields) = saved.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let state = match state {
            IDENTITY if fields.is_empty() => State::Identity,
            CHALLENGED => State::Challenged { challenge: fields.try_into().ok()? },
            PROVEN => {
                let (key, user) = fields.split_first_chunk::<MSK_BYTES>()?;
                let user = std::str::from_utf8(user).ok()?;
                if user.is_empty() || user.len() > NAME_BYTES_MAX {
                    return None;
                }
                State::Proven { user: user.to_owned(), key: Key(Zeroizing::new(*key)) }
            }
            FAILING if fields.is_empty() => State::Failing,
            OVER if fields.is_empty() => State::Over,
            _ => return None,
        };
        Some(Self { id, state })
    }
}
