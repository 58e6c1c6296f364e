//! The cluster's CA: a directory that the operator keeps away from the members.
//!
//! ```text
//! ca.pem          the CA's certificate          crl.pem      what is revoked, signed (RFC 5280)
//! ca.key          its private key (0600)        index.json   everything that was ever issued
//! cluster.secret  32 random bytes (0600)        lock         while a command is at work
//! ```
//! The index is written *before* a bundle leaves: no certificate exists that could not be revoked.

use std::path::{Path, PathBuf};

use phalanx_dataplane::unit::MemberId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
    SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::bundle::{self, Bundle};
use super::certificate::{CaCertificate, CertificateError, Fingerprint, URI_SCHEME, member_uri};
use super::files::{self, FileError, Lock, Readers};
use super::index::{Index, Record};
use super::names::{ClusterName, MemberName};
use super::secret::{ClusterSecret, SECRET_BYTES, SigningKey};
use super::time::WallTime;

/// How long a member's certificate lasts unless told otherwise.
pub const DAYS_DEFAULT: u32 = 730;
const CA_DAYS: u32 = 20 * 365;
/// Certificates start this long before they are made, so that a member whose clock is a little late accepts them.
const CLOCK_TOLERANCE_S: i64 = 300;
const FILE_BYTES_MAX: u64 = 16 << 20;
const SERIAL_BYTES: usize = 16;

/// Why the CA did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is something there already.
    #[error("{} already exists; a CA is never overwritten, use another directory", .0.display())]
    Exists(PathBuf),
    /// A file of the CA has a content that it should not have.
    #[error("{} is damaged; restore it from a backup", .0.display())]
    Damaged(PathBuf),
    /// The CA's certificate is no good.
    #[error("ca.pem is no good: {0}")]
    Certificate(#[from] CertificateError),
    /// Name or number is taken.
    #[error("member {} (number {}) already has certificate {}; revoke that first with `phalanx ca revoke`", .0.name, .0.id, .0.serial)]
    Taken(Box<Record>),
    /// The name would collide with the CA's own files.
    #[error("a member cannot be named {0:?}: its bundle would be taken for a file of the CA")]
    Reserved(MemberName),
    /// No days, or more than the CA itself has left.
    #[error("the certificate must last at least a day and end before the CA's own does ({0})")]
    Days(WallTime),
    /// No such certificate.
    #[error("there is no certificate with this name or serial number: {0:?}; see `phalanx ca list`")]
    Unknown(String),
    /// It was revoked before.
    #[error("certificate {0} is already revoked")]
    AlreadyRevoked(String),
    /// The certificate library refused.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The operating system has no entropy to give.
    #[error("the operating system gave no random bytes")]
    Entropy,
}

/// A CA that is open for work; locked against others until dropped.
pub struct Authority {
    dir: PathBuf,
    ca: CaCertificate,
    key: SigningKey,
    secret: ClusterSecret,
    index: Index,
    _lock: Lock,
}

/// A newly issued identity.
pub struct Issued {
    /// The bundle's text: holds secrets, so write it with [`super::write_secret`].
    pub bundle: Zeroizing<String>,
    /// Its entry in the index.
    pub record: Record,
}

impl Authority {
    /// Makes a new CA for `cluster` in `dir`, which is made if it is not there.
    pub fn init(dir: &Path, cluster: &ClusterName, now: WallTime) -> Result<Self, CaError> {
        files::make_folder(dir)?;
        let lock = Lock::take(&dir.join("lock"))?;
        for name in ["ca.pem", "ca.key", "cluster.secret", "index.json", "crl.pem"] {
            let path = dir.join(name);
            if path.exists() {
                return Err(CaError::Exists(path));
            }
        }
        let key = SigningKey::generate().ok_or(CaError::Entropy)?;
        let der = ca_params(cluster, now)?.self_signed(&Signer(&key))?.der().to_vec();
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| CaError::Entropy)?;
        let mut made = Self {
            dir: dir.to_owned(),
            ca: CaCertificate::parse(&der)?,
            key,
            secret: ClusterSecret::new(*bytes),
            index: Index::new(cluster.clone()),
            _lock: lock,
        };
        files::write_secret(&made.path("ca.key"), bundle::encode_block("PRIVATE KEY", made.key.pkcs8()).as_bytes())?;
        let secret = bundle::encode_block("PHALANX CLUSTER SECRET", made.secret.bytes());
        files::write_secret(&made.path("cluster.secret"), secret.as_bytes())?;
        made.write_crl(now)?;
        // Last, because this file is what makes the directory a CA.
        let certificate = bundle::encode_block("CERTIFICATE", made.ca.der());
        files::write_atomic(&made.path("ca.pem"), certificate.as_bytes(), Readers::All)?;
        Ok(made)
    }

    /// Opens the CA in `dir`.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let certificate = read_block(&dir.join("ca.pem"), "CERTIFICATE")?;
        let lock = Lock::take(&dir.join("lock"))?;
        let key_path = dir.join("ca.key");
        let secret_path = dir.join("cluster.secret");
        files::check_private(&key_path)?;
        files::check_private(&secret_path)?;
        let ca = CaCertificate::parse(&certificate)?;
        let key = SigningKey::from_pkcs8(&read_block(&key_path, "PRIVATE KEY")?)
            .filter(|key| key.public_key() == *ca.public_key())
            .ok_or(CaError::Damaged(key_path))?;
        let secret = ClusterSecret::from_slice(&read_block(&secret_path, "PHALANX CLUSTER SECRET")?)
            .ok_or(CaError::Damaged(secret_path))?;
        let index_path = dir.join("index.json");
        let index: Index = serde_json::from_slice(&files::read(&index_path, FILE_BYTES_MAX)?)
            .ok()
            .filter(|index: &Index| index.version == Index::VERSION && index.cluster == *ca.cluster())
            .ok_or(CaError::Damaged(index_path))?;
        Ok(Self { dir: dir.to_owned(), ca, key, secret, index, _lock: lock })
    }

    /// Issues an identity for `name` with number `id`; refused while a live certificate has either.
    pub fn issue(&mut self, name: &MemberName, id: MemberId, days: u32, now: WallTime) -> Result<Issued, CaError> {
        if matches!(name.as_str(), "ca" | "crl") {
            return Err(CaError::Reserved(name.clone()));
        }
        let not_after = now.plus_days(days);
        if days == 0 || not_after > self.ca.not_after() {
            return Err(CaError::Days(self.ca.not_after()));
        }
        if let Some(record) = self.index.conflict(name, id, now) {
            return Err(CaError::Taken(Box::new(record.clone())));
        }
        let key = SigningKey::generate().ok_or(CaError::Entropy)?;
        let serial = new_serial()?;
        let params = self.member_params(name, id, &serial, now, not_after)?;
        let certificate = params.signed_by(&Signer(&key), &self.issuer()?)?.der().to_vec();
        let record = Record {
            serial: hex(&serial),
            name: name.clone(),
            id: id.number(),
            not_after,
            revoked_at: None,
            fingerprint: Fingerprint::of(&certificate).to_string(),
        };
        self.index.records.push(record.clone());
        self.write_index()?;
        let bundle = Bundle {
            certificate,
            key_pkcs8: Zeroizing::new(key.pkcs8().to_vec()),
            ca: self.ca.der().to_vec(),
            secret: Zeroizing::new(self.secret.bytes().to_vec()),
        };
        Ok(Issued { bundle: bundle.encode(&self.key), record })
    }

    /// Revokes the certificate with this serial number, or the present one of the member with this name.
    pub fn revoke(&mut self, which: &str, now: WallTime) -> Result<Record, CaError> {
        let record = self.index.find(which).ok_or_else(|| CaError::Unknown(which.to_owned()))?;
        if record.revoked_at.is_some() {
            return Err(CaError::AlreadyRevoked(record.serial.clone()));
        }
        record.revoked_at = Some(now);
        let record = record.clone();
        self.write_crl(now)?;
        Ok(record)
    }

    /// Everything that was ever issued, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.index.records
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CaCertificate {
        &self.ca
    }

    /// Where the CA keeps the file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn issuer(&self) -> Result<rcgen::Issuer<'static, Signer<'_>>, CaError> {
        Ok(rcgen::Issuer::from_ca_cert_der(&self.ca.der().into(), Signer(&self.key))?)
    }

    fn member_params(
        &self,
        name: &MemberName,
        id: MemberId,
        serial: &[u8],
        now: WallTime,
        not_after: WallTime,
    ) -> Result<CertificateParams, CaError> {
        let mut params = CertificateParams::default();
        params.not_before = now.plus_seconds(-CLOCK_TOLERANCE_S).to_offset();
        params.not_after = not_after.to_offset();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.subject_alt_names = vec![SanType::URI(member_uri(self.ca.cluster(), id, name).try_into()?)];
        params.distinguished_name = distinguished_name(self.ca.cluster(), name.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// Signs a new CRL. Index first: if the second write fails, the next command signs a list that is complete again.
    fn write_crl(&mut self, now: WallTime) -> Result<(), CaError> {
        self.index.crl_number += 1;
        self.write_index()?;
        let mut revoked_certs = Vec::new();
        for record in &self.index.records {
            let Some(at) = record.revoked_at else { continue };
            let serial = unhex(&record.serial).ok_or_else(|| CaError::Damaged(self.path("index.json")))?;
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time: at.to_offset(),
                reason_code: Some(RevocationReason::CessationOfOperation),
                invalidity_date: None,
            });
        }
        let params = CertificateRevocationListParams {
            this_update: now.plus_seconds(-CLOCK_TOLERANCE_S).to_offset(),
            next_update: self.ca.not_after().to_offset(),
            crl_number: SerialNumber::from(self.index.crl_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer()?)?;
        let text = bundle::encode_block("X509 CRL", list.der());
        Ok(files::write_atomic(&self.path("crl.pem"), text.as_bytes(), Readers::All)?)
    }

    fn write_index(&self) -> Result<(), CaError> {
        let path = self.path("index.json");
        let text = serde_json::to_vec_pretty(&self.index).map_err(|_| CaError::Damaged(path.clone()))?;
        Ok(files::write_atomic(&path, &text, Readers::All)?)
    }
}

/// Our key in the shape that the certificate library signs with.
struct Signer<'a>(&'a SigningKey);

impl rcgen::PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_vec())
    }
}

fn ca_params(cluster: &ClusterName, now: WallTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.not_before = now.plus_seconds(-CLOCK_TOLERANCE_S).to_offset();
    params.not_after = now.plus_days(CA_DAYS).to_offset();
    params.serial_number = Some(SerialNumber::from_slice(&new_serial()?));
    params.subject_alt_names = vec![SanType::URI(format!("{URI_SCHEME}{cluster}").try_into()?)];
    params.distinguished_name = distinguished_name(cluster, "CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn distinguished_name(cluster: &ClusterName, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster.as_str());
    name.push(DnType::CommonName, common);
    name
}

/// Sixteen random bytes, positive and of full length whatever they are (RFC 5280 section 4.1.2.2).
fn new_serial() -> Result<[u8; SERIAL_BYTES], CaError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| CaError::Entropy)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

fn read_block(path: &Path, tag: &str) -> Result<Zeroizing<Vec<u8>>, CaError> {
    let text = files::read(path, FILE_BYTES_MAX)?;
    match pem::parse(&*text) {
        Ok(block) if block.tag() == tag => Ok(Zeroizing::new(block.into_contents())),
        _ => Err(CaError::Damaged(path.to_owned())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
