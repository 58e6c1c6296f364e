//! Refusals: a certificate that one side does not accept, told to both sides' operators and to the refused member itself.
//!
//! A refusal is said in one of two ways: as the alert that ends a TLS handshake (RFC 8446 section 6.2, carried by QUIC as an
//! error code, RFC 9001 section 4.8), or, once a connection stands, as the code that we close it with. The refused member
//! must hear it as what it is. Taken for silence, it would make the member believe that the master is deaf, and found a
//! cluster of its own.

use std::net::SocketAddr;

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};
use quinn::{Connection, ConnectionError};
use rustls::{AlertDescription, CertificateError};

use super::driver::Farewell;
use crate::limited::Limited;
use crate::pki::{AdmissionError, Claim};

/// What QUIC adds to a TLS alert to make an error code (RFC 9001 section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Why another member does not accept this one's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Its CA did not sign it, or it does not hold at this time.
    Unknown,
    /// The CA took it back.
    Revoked,
    /// It names another cluster.
    OtherCluster,
}

impl Refusal {
    /// How a reason of ours is told.
    pub(super) fn of(reason: &AdmissionError) -> Self {
        match reason {
            AdmissionError::Revoked => Self::Revoked,
            AdmissionError::OtherCluster { .. } => Self::OtherCluster,
            AdmissionError::Certificate(_)
            | AdmissionError::NotYetValid(_)
            | AdmissionError::Expired(_)
            | AdmissionError::NotListed
            | AdmissionError::OtherMember { .. } => Self::Unknown,
        }
    }

    /// What the other side said, if it was a refusal. Our own verdict on it is none.
    pub(super) fn heard(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::ConnectionClosed(close) => {
                let code = u64::from(close.error_code).checked_sub(CRYPTO_ERROR)?;
                Self::of_alert(AlertDescription::from(u8::try_from(code).ok()?))
            }
            ConnectionError::ApplicationClosed(close) => Farewell::refusal(close.error_code.into_inner()),
            _ => None,
        }
    }

    fn of_alert(alert: AlertDescription) -> Option<Self> {
        match alert {
            AlertDescription::CertificateRevoked => Some(Self::Revoked),
            AlertDescription::AccessDenied => Some(Self::OtherCluster),
            AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError => Some(Self::Unknown),
            _ => None,
        }
    }

    /// What the refused one's operator can do.
    fn remedy(self) -> &'static str {
        match self {
            Self::Unknown => {
                "whose certificate is not known or does not hold there: compare the clocks, and issue it anew with \
                 `phalanx ca issue` by the cluster's own CA"
            }
            Self::Revoked => {
                "whose certificate is revoked: if it is to come back, issue a new one with `phalanx ca issue` and start it \
                 with that"
            }
            Self::OtherCluster => {
                "whose certificate is for another cluster: give it an identity of that cluster's CA, or another [link] group"
            }
        }
    }
}

/// How a reason of ours becomes the alert that [`Refusal::heard`] knows.
pub(super) fn alert(reason: &AdmissionError) -> CertificateError {
    match (Refusal::of(reason), reason) {
        (Refusal::Revoked, _) => CertificateError::Revoked,
        (Refusal::OtherCluster, _) => CertificateError::ApplicationVerificationFailure,
        (Refusal::Unknown, AdmissionError::NotYetValid(_)) => CertificateError::NotValidYet,
        (Refusal::Unknown, AdmissionError::Expired(_)) => CertificateError::Expired,
        (Refusal::Unknown, _) => CertificateError::UnknownIssuer,
    }
}

/// What the link's tasks tell the driver.
pub(super) enum News {
    /// A handshake is done.
    Made(Connection),
    /// A member does not accept this one.
    RefusedBy(MemberId, Refusal),
    /// Somebody who dialled does not accept this member.
    RefusedFrom(SocketAddr, Refusal),
    /// This member does not accept somebody, who claims to be this one.
    NotAccepted(Option<Claim>, AdmissionError),
}

/// The log of refusals. Each one is repeated with every attempt, so few of them are written.
pub(super) struct RefusalLog {
    by: Vec<Limited>,
    of: Vec<Limited>,
    from: Limited,
    strangers: Limited,
}

impl RefusalLog {
    pub(super) fn new() -> Self {
        let each = || vec![Limited::rare(); usize::from(MEMBER_NUMBER_MAX)];
        Self { by: each(), of: each(), from: Limited::rare(), strangers: Limited::rare() }
    }

    pub(super) fn refused_by(&mut self, by: MemberId, why: Refusal, now_ns: u64) {
        if let Some(left_out) = self.by.get_mut(by.index()).and_then(|log| log.take(now_ns)) {
            tracing::warn!(left_out, "member {by} refuses this member, {}", why.remedy());
        }
    }

    pub(super) fn refused_from(&mut self, from: SocketAddr, why: Refusal, now_ns: u64) {
        if let Some(left_out) = self.from.take(now_ns) {
            tracing::warn!(left_out, "{from} refuses this member, {}", why.remedy());
        }
    }

    pub(super) fn not_accepted(&mut self, who: Option<&Claim>, reason: &AdmissionError, now_ns: u64) {
        let log = who.and_then(|claim| self.of.get_mut(claim.member.index())).unwrap_or(&mut self.strangers);
        let Some(left_out) = log.take(now_ns) else { return };
        match who {
            Some(claim) => tracing::warn!(left_out, "refused {claim} on the cluster link: {reason}"),
            None => tracing::warn!(left_out, "refused a stranger on the cluster link: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_arrives_as_what_it_was() {
        let reasons = [
            (AdmissionError::Revoked, Refusal::Revoked),
            (AdmissionError::OtherCluster { theirs: "core".parse().unwrap() }, Refusal::OtherCluster),
            (AdmissionError::NotListed, Refusal::Unknown),
            (AdmissionError::Expired(crate::pki::WallTime::from_unix_seconds(0)), Refusal::Unknown),
            (AdmissionError::NotYetValid(crate::pki::WallTime::from_unix_seconds(0)), Refusal::Unknown),
            (AdmissionError::Certificate(crate::pki::CertificateError::NotOurCa), Refusal::Unknown),
        ];
        for (reason, expected) in reasons {
            assert_eq!(Refusal::of_alert(alert(&reason).into()), Some(expected), "{reason}");
            let farewell = Farewell::not_accepted(&reason);
            assert_eq!(Farewell::refusal(farewell as u64), Some(expected), "{reason}");
        }
        assert_eq!(Refusal::of_alert(AlertDescription::NoApplicationProtocol), None);
        for farewell in [Farewell::Leaving, Farewell::Crowded, Farewell::Malformed, Farewell::Stuck] {
            assert_eq!(Farewell::refusal(farewell as u64), None);
        }
    }

    #[test]
    fn attempts_by_the_hundred_make_one_line_a_minute() {
        let mut log = Limited::rare();
        let written = (0..600).filter(|tenth| log.take(tenth * 100_000_000).is_some()).count();
        assert_eq!(written, 1);
        assert_eq!(log.take(61_000_000_000), Some(599));
    }
}
