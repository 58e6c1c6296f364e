//! How names are proved: from paths to certificates, keys and authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phalanx_config::{IkeConnection, OwnProof, PeersProof};
use phalanx_ike::config;
use phalanx_ike::crypto::Secret;
use phalanx_ike::pki::{Credential, CredentialError, Trust, TrustError};
use phalanx_ike::wire::Identity;
use zeroize::Zeroizing;

use super::error::Why;
use crate::pki::{check_private, read};

/// Of certificates and keys: a chain has some kilobytes.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// Of a revocation list: some 400,000 entries.
const CRL_BYTES_MAX: u64 = 16 << 20;

/// The key in the configuration, and what is wrong with its value.
type Wrong = (&'static str, Why);

/// How we prove our name.
pub(super) fn own(it: &IkeConnection) -> Result<config::OwnProof, Wrong> {
    match &it.own_proof {
        OwnProof::SharedKey(key) => Ok(config::OwnProof::SharedKey(Secret::from(key.expose()))),
        OwnProof::Certificate { certificate, private_key } => {
            credential(&it.local_id, certificate, private_key).map(Arc::new).map(config::OwnProof::Certificate)
        }
    }
}

/// How peers prove theirs.
pub(super) fn peers(it: &IkeConnection) -> Result<config::PeersProof, Wrong> {
    Ok(match &it.peers_proof {
        PeersProof::SharedKey(key) => config::PeersProof::SharedKey(Secret::from(key.expose())),
        PeersProof::Certificate { ca, crl } => config::PeersProof::Certificate(Arc::new(trust(ca, crl)?)),
        PeersProof::Password => config::PeersProof::Password,
    })
}

fn credential(local_id: &str, certificate: &Path, private_key: &Path) -> Result<Credential, Wrong> {
    const CERTIFICATE: &str = "certificate";
    const KEY: &str = "private_key";
    check_private(private_key).map_err(|error| (KEY, error.into()))?;
    let key = text(KEY, private_key)?;
    let credential = Credential::from_pem(&text(CERTIFICATE, certificate)?, &key).map_err(|error| {
        let (name, path) = match error {
            CredentialError::Certificate => (CERTIFICATE, certificate),
            CredentialError::Key | CredentialError::Encrypted | CredentialError::NotAPair => (KEY, private_key),
        };
        (name, Why::Credential { path: path.to_owned(), error })
    })?;
    if !credential.says(&Identity::of_text(local_id)) {
        return Err((CERTIFICATE, Why::OtherName { path: certificate.to_owned(), id: local_id.to_owned() }));
    }
    Ok(credential)
}

fn text(key: &'static str, path: &Path) -> Result<Zeroizing<String>, Wrong> {
    let bytes = read(path, PEM_BYTES_MAX).map_err(|error| (key, error.into()))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => {
            Err((key, Why::Content { path: path.to_owned(), what: "it is not PEM; `openssl` converts DER to it" }))
        }
    }
}

fn trust(ca: &[PathBuf], crl: &[PathBuf]) -> Result<Trust, Wrong> {
    let trust = Trust::new(&all("ca", ca, PEM_BYTES_MAX)?).map_err(|error| distrusted(error, ca, crl))?;
    trust.with_crls(&all("crl", crl, CRL_BYTES_MAX)?).map_err(|error| distrusted(error, ca, crl))
}

fn all(key: &'static str, paths: &[PathBuf], bytes_max: u64) -> Result<Vec<Zeroizing<Vec<u8>>>, Wrong> {
    paths.iter().map(|path| read(path, bytes_max).map_err(|error| (key, error.into()))).collect()
}

/// Files have numbers for those who read them, and paths for people.
fn distrusted(error: TrustError, ca: &[PathBuf], crl: &[PathBuf]) -> Wrong {
    let (key, paths, place, what) = match error {
        TrustError::NoRoots => ("ca", ca, 0, "it holds no certificate"),
        TrustError::NoCertificate(place) => ("ca", ca, place, "it holds no certificate that can be read"),
        TrustError::NoAuthority(place) => (
            "ca",
            ca,
            place,
            "it holds a certificate that is no authority's (CA:TRUE): leave only those of authorities",
        ),
        TrustError::NoRevocationList(place) => {
            ("crl", crl, place, "it holds no revocation list that can be read (X.509 version 2, whole and direct)")
        }
    };
    (key, Why::Content { path: paths.get(place).cloned().unwrap_or_default(), what })
}
