//! What is wrong with the configuration's words on IKE, and with the files that they name.

use std::path::PathBuf;

use phalanx_ike::pki::CredentialError;
use phalanx_ike::proposal::ProposalError;

use crate::pki::FileError;

/// Why IKE cannot be spoken as configured.
#[derive(Debug, thiserror::Error)]
pub enum IkeError {
    /// A connection.
    #[error("[[ipsec.connection]] {name:?} {key}: {why}")]
    Connection {
        /// Its name.
        name: String,
        /// The key whose value, or file, it is.
        key: String,
        /// What is wrong.
        why: Why,
    },
    /// The file of users cannot be read, or others can read it.
    #[error("[ipsec] users: {0}")]
    Users(#[from] FileError),
    /// A line of it is wrong.
    #[error("[ipsec] users: {}:{line}: {what}", path.display())]
    User {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong with it, without what it says.
        what: &'static str,
    },
}

/// What is wrong with a connection.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// A proposal.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// A file that cannot be read, or that others can read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Our certificate and key.
    #[error("{}: {error}", path.display())]
    Credential {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong with it.
        error: CredentialError,
    },
    /// What a file holds.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Our certificate is for another name.
    #[error(
        "{}: it does not say {id:?}, which is `local_id`, as a subjectAltName, so no peer would believe it; \
         have one issued that does, or correct `local_id`",
        path.display()
    )]
    OtherName {
        /// The certificate.
        path: PathBuf,
        /// Our name.
        id: String,
    },
}
