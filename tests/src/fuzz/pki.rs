//! Certificates, bundles, revocation lists and names out of any bytes. Nothing but what our CA signed is accepted.

use std::str::FromStr;

use phalanx_control::pki::{CaCertificate, ClusterName, Identity, MemberName};
use phalanx_dataplane::filter::Flow;

use super::identities::{CLUSTER, NOW};

/// See the module. The first byte picks the parser.
pub(super) fn target(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    match choice % 6 {
        0 => certificate(data),
        1 => {
            if let Ok(identity) = Identity::parse(data, NOW) {
                assert!([1, 2, 3].contains(&identity.member().number()));
            }
        }
        2 => {
            let mut admission = CLUSTER.admission.clone();
            let _ = admission.load_crl(data);
            assert!(admission.check(CLUSTER.m1.certificate(), NOW).is_ok(), "nobody but our CA revokes");
            assert!(admission.check(CLUSTER.revoked.certificate(), NOW).is_err(), "what is revoked stays revoked");
        }
        3 => {
            if let Ok(ca) = CaCertificate::parse(data) {
                assert_eq!(ca.der(), data);
            }
        }
        4 => names(&String::from_utf8_lossy(data)),
        _ => flow(&String::from_utf8_lossy(data)),
    }
}

fn certificate(der: &[u8]) {
    let known = [CLUSTER.m1.certificate(), CLUSTER.m2.certificate()];
    match CLUSTER.admission.check(der, NOW) {
        Ok(peer) => assert!(known.contains(&der), "member {} by a certificate that was not issued", peer.member),
        Err(refusal) => assert!(!known.contains(&der), "{refusal}"),
    }
}

/// A name that is accepted is shown, and read again, the same.
fn names(text: &str) {
    if let Ok(name) = ClusterName::from_str(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = MemberName::from_str(text) {
        assert_eq!(name.as_str(), text);
    }
}

/// The flow that `phalanx unit` is asked about: protocol, source and destination.
fn flow(text: &str) {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    if let Ok(flow) = Flow::parse(word(), word(), word()) {
        assert_eq!(flow.src().0.is_ipv4(), flow.dst().0.is_ipv4());
        assert_eq!(flow.has_ports(), flow.src().1.is_some());
    }
}
