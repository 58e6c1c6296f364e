//! The CA's index: every certificate that it ever issued, and which of them it revoked.

use phalanx_dataplane::unit::MemberId;
use serde::{Deserialize, Serialize};

use super::names::{ClusterName, MemberName};
use super::time::WallTime;

/// One issued certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The member's name.
    pub name: MemberName,
    /// The member's number.
    pub id: u8,
    /// When the certificate ends (seconds since 1970).
    pub not_after: WallTime,
    /// When it was revoked, if it was (seconds since 1970).
    pub revoked_at: Option<WallTime>,
    /// SHA-256 over the certificate, in hexadecimal.
    pub fingerprint: String,
}

impl Record {
    /// Whether its member could join with it.
    pub fn is_live(&self, now: WallTime) -> bool {
        self.revoked_at.is_none() && now <= self.not_after
    }
}

/// The index file's content (JSON).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) version: u32,
    pub(super) cluster: ClusterName,
    /// The number of the newest CRL.
    pub(super) crl_number: u64,
    pub(super) records: Vec<Record>,
}

impl Index {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn new(cluster: ClusterName) -> Self {
        Self { version: Self::VERSION, cluster, crl_number: 0, records: Vec::new() }
    }

    /// A live certificate that stands in the way of a new one with this name or number.
    pub(super) fn conflict(&self, name: &MemberName, id: MemberId, now: WallTime) -> Option<&Record> {
        self.records.iter().find(|record| record.is_live(now) && (record.name == *name || record.id == id.number()))
    }

    /// The certificate that `which` means: a serial number, or the name of a member with one certificate that is not revoked.
    pub(super) fn find(&mut self, which: &str) -> Option<&mut Record> {
        let serial = which.to_ascii_lowercase().replace(':', "");
        let by_serial = self.records.iter().position(|record| record.serial == serial);
        let by_name = || {
            let live = |record: &Record| record.name.as_str() == which && record.revoked_at.is_none();
            // The newest: an older one of the same name has ended.
            self.records.iter().rposition(live).or_else(|| self.records.iter().rposition(|r| r.name.as_str() == which))
        };
        let position = by_serial.or_else(by_name)?;
        self.records.get_mut(position)
    }
}
