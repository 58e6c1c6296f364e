//! Why a store does not take an update, and what that leads to.

use super::super::record::Malformed;

/// Why an update was not applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    /// By our table the sender does not own the unit.
    #[error("the sender does not own the unit")]
    NotOwner,
    /// It was made before the sender became the unit's owner.
    #[error("it was made under an older table than the one that gave its sender the unit")]
    OlderGeneration,
    /// It was made under a table that we do not have yet, and by ours the unit is another's: to be tried again.
    #[error("it was made under a newer table than ours")]
    AheadOfTable,
    /// An append that does not begin at the stream's end, or a trim beyond it.
    #[error("bytes of a stream are missing before it")]
    Gap,
    /// A change of a session that we do not have.
    #[error("its session is unknown")]
    UnknownSession,
    /// There is no room.
    #[error("there is no room for it")]
    OverLimits,
    /// It contradicts what is known: bytes behind a stream's end, a second end, another app.
    #[error("it contradicts what is known of its session")]
    Contradiction,
    /// Its unit was not checked since it became the sender's, who does not know that it must be.
    #[error("its unit was not checked since it became the sender's")]
    Unchecked,
    /// The unit's digest is not the owner's.
    #[error("the unit's digest is not the owner's")]
    DigestMismatch,
    /// It is no update.
    #[error("it is no update: {0}")]
    Malformed(#[from] Malformed),
}

/// What a refusal leads to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Consequence {
    /// The update is tried again under the next table.
    Wait,
    /// The sender commits nothing until it has our table.
    Fence,
    /// The unit is out of sync; the sender is asked for a snapshot.
    Unsync,
    /// The sender is not to be trusted: the stream ends.
    Close,
}

impl Refused {
    /// What it leads to.
    pub const fn consequence(&self) -> Consequence {
        match self {
            Self::AheadOfTable => Consequence::Wait,
            Self::NotOwner | Self::OlderGeneration => Consequence::Fence,
            Self::Gap
            | Self::UnknownSession
            | Self::OverLimits
            | Self::Contradiction
            | Self::Unchecked
            | Self::DigestMismatch => Consequence::Unsync,
            Self::Malformed(_) => Consequence::Close,
        }
    }
}
