//! Two members of a cluster that exists for these tests only. Its keys are public: `tests/fuzz/fixtures`.

use std::sync::LazyLock;

use phalanx_control::pki::{Admission, Identity, WallTime};

/// A moment within the certificates' lifetime (January 2027): validity is judged at a time that is passed in.
pub(super) const NOW: WallTime = WallTime::from_unix_seconds(1_800_000_000);

pub(super) const BUNDLE_1: &[u8] = include_bytes!("../../fuzz/fixtures/m1.pem");
const BUNDLE_2: &[u8] = include_bytes!("../../fuzz/fixtures/m2.pem");
const BUNDLE_REVOKED: &[u8] = include_bytes!("../../fuzz/fixtures/revoked.pem");
const REVOCATIONS: &[u8] = include_bytes!("../../fuzz/fixtures/crl.pem");

/// Members 1 and 2, the revoked member 3, and whom they admit.
pub(super) struct Cluster {
    pub(super) m1: Identity,
    pub(super) m2: Identity,
    pub(super) revoked: Identity,
    pub(super) admission: Admission,
}

/// The cluster, read once.
pub(super) static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let read = |bundle| Identity::parse(bundle, NOW).expect("a bundle of the fixtures");
    let m1 = read(BUNDLE_1);
    let mut admission = Admission::new(m1.ca().clone());
    admission.load_crl(REVOCATIONS).expect("the revocation list of the fixtures");
    Cluster { m1, m2: read(BUNDLE_2), revoked: read(BUNDLE_REVOKED), admission }
});
