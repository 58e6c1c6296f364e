//! How both sides prove their names: a shared key, certificates of an authority that lasts as long as the benchmark, a user's password.

use std::sync::Arc;

use phalanx_ike::pki::{Credential, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::IkeBenchError;

/// The member's name.
pub(super) const GATEWAY: &str = "gw.bench";
/// Those who prove a name by a certificate.
pub(super) const CLIENT: &str = "client.bench";
/// Those who prove it by a password.
pub(super) const USER: &str = "alice";
/// Their password.
pub(super) const PASSWORD: &str = "a password for benchmarks";
/// The shared key.
pub(super) const SHARED_KEY: &[u8] = b"a shared key for benchmarks";

/// See the module.
pub(super) struct Credentials {
    pub(super) gateway: Arc<Credential>,
    pub(super) client: Arc<Credential>,
    pub(super) trust: Arc<Trust>,
}

fn failed(error: impl std::fmt::Display) -> IkeBenchError {
    IkeBenchError::Credentials(error.to_string())
}

impl Credentials {
    /// New ones, ECDSA on P-256 all.
    pub(super) fn new() -> Result<Self, IkeBenchError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let authority = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Self {
            gateway: issue(&authority, GATEWAY)?,
            client: issue(&authority, CLIENT)?,
            trust: Arc::new(Trust::new(&[authority.pem()]).map_err(failed)?),
        })
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Result<Arc<Credential>, IkeBenchError> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, authority).map_err(failed)?;
    Credential::from_pem(&certificate.pem(), &key.serialize_pem()).map(Arc::new).map_err(failed)
}
