//! TLS 1.3 as the link uses it: both sides show a certificate, and [`Admission`] judges it.
//!
//! Two things are switched off on purpose: session resumption (a resumed session would not look at the certificate again, so
//! a revoked member could come back with one) and early data (it can be replayed). The name that is asked for in the handshake
//! carries the expected member's number, so a connection to the wrong member fails before anything is said.

use std::fmt;
use std::sync::Arc;

use phalanx_dataplane::unit::MemberId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme};
use tokio::sync::{mpsc, watch};

use super::refusal::{News, alert};
use crate::pki::{self, Admission, AdmissionError, Claim, Identity, PeerIdentity, SigningKey, WallTime};

/// The protocol's name in the handshake (ALPN).
const ALPN: &[u8] = b"phalanx/1";

/// Both directions' configuration.
pub(super) struct Tls {
    pub(super) client: Arc<QuicClientConfig>,
    pub(super) server: Arc<QuicServerConfig>,
}

/// Configures TLS for `identity`; the rules of admission are looked up anew for each handshake, and whom they shut out is
/// told to `news`.
pub(super) fn configure(
    identity: &Identity,
    admission: watch::Receiver<Arc<Admission>>,
    news: mpsc::Sender<News>,
) -> Result<Tls, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = &[&rustls::version::TLS13];
    let verifier = Arc::new(Verifier { admission, news, provider: Arc::clone(&provider) });
    let key = Arc::new(TlsKey(Arc::clone(identity.signing_key())));
    let chain = vec![CertificateDer::from(identity.certificate().to_vec())];
    let certified = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));

    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::<Verifier>::clone(&verifier))
        .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&certified));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(certified);
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();

    let no_suite = |_| Error::General("the TLS library lacks the cipher suite that QUIC starts with".to_owned());
    Ok(Tls {
        client: Arc::new(QuicClientConfig::try_from(client).map_err(no_suite)?),
        server: Arc::new(QuicServerConfig::try_from(server).map_err(no_suite)?),
    })
}

/// The name under which `member` is asked for.
pub(super) fn server_name(member: MemberId) -> String {
    format!("m{}.phalanx", member.number())
}

/// Who is at the other end of an established connection, judged once more by `admission`.
pub(super) fn peer_of(connection: &quinn::Connection, admission: &Admission) -> Result<PeerIdentity, AdmissionError> {
    let shown = connection.peer_identity().and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
    let shown = shown.as_deref().and_then(|chain| chain.first());
    let certificate = shown.ok_or(pki::CertificateError::Malformed("none was shown"))?;
    admission.check(certificate, WallTime::read_clock())
}

/// Judges peers in both directions.
struct Verifier {
    admission: watch::Receiver<Arc<Admission>>,
    news: mpsc::Sender<News>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<PeerIdentity, Error> {
        let now = WallTime::from_unix_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let admission = Arc::clone(&self.admission.borrow());
        admission.check(certificate, now).map_err(|reason| {
            let claim = Claim::read(certificate);
            let reason = match (reason, &claim) {
                // Another cluster has another CA. That the name differs as well is what people understand.
                (AdmissionError::Certificate(pki::CertificateError::NotOurCa), Some(claim))
                    if claim.cluster != *admission.cluster() =>
                {
                    AdmissionError::OtherCluster { theirs: claim.cluster.clone() }
                }
                (reason, _) => reason,
            };
            let refused = Error::InvalidCertificate(alert(&reason));
            // A line in the log is all that is lost when the driver has too much to do.
            let _ = self.news.try_send(News::NotAccepted(claim, reason));
            refused
        })
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }
}

/// TLS 1.2 is not even offered; whoever asks for its signatures gets this.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = self.check(end_entity, now)?;
        if name.to_str() == server_name(peer.member) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Our key for the TLS library, which thereby never holds a copy of it.
#[derive(Clone, Debug)]
struct TlsKey(Arc<SigningKey>);

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
