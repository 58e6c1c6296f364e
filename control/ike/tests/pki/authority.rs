//! Certificates and revocation lists to try things with.

use phalanx_ike::pki::Trust;
use phalanx_ike::wire::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// 2030-01-01, within every certificate's time unless a test wants otherwise.
pub(crate) const NOW_S: u64 = 1_893_456_000;
/// The name in [`leaf`].
pub(crate) const NAME: &str = "gw.example.org";

/// An authority: at the top, or between.
pub(crate) struct Authority {
    pub(crate) der: Vec<u8>,
    pub(crate) key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_from(authority(name))
    }

    pub(crate) fn root_from(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { der, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn between(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { der, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, params: CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }

    /// A certificate with a new key.
    pub(crate) fn issue_new(&self, params: CertificateParams) -> Vec<u8> {
        self.issue(params, &KeyPair::generate().unwrap())
    }

    /// A list that revokes certificates, made in this year and good for a month.
    pub(crate) fn revoke(&self, serials: &[u8], year: i32) -> Vec<u8> {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(year, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(year, 1, 1),
            next_update: date_time_ymd(year, 2, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::new(&[&self.der]).unwrap()
    }
}

/// What an authority's certificate says.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What a peer's certificate says.
pub(crate) fn leaf() -> CertificateParams {
    named("peer", &[SanType::DnsName(NAME.try_into().unwrap())])
}

pub(crate) fn named(common: &str, names: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common);
    params.subject_alt_names = names.to_vec();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

pub(crate) fn identity(kind: u8, data: impl AsRef<[u8]>) -> Identity {
    Identity { kind, data: data.as_ref().to_vec() }
}

/// [`NAME`] as an identity.
pub(crate) fn fqdn() -> Identity {
    identity(2, NAME)
}

/// A certificate in PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}
