//! An IKE SA that is awake.

use std::collections::VecDeque;

use crate::ipsec::gateway::desk::Asked;
use crate::ipsec::gateway::record::{IKE_APP, VERSION, decode_ike, encode_ike};
use crate::ipsec::gateway::written::Written;
use crate::replica::{DigestKey, Outbox, Position, Record, SessionKey};
use crate::unit::Unit;

/// Messages to one IKE SA that wait for the answer about another.
pub(super) const WAITING_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Association {
    /// None: it begins, and nobody has answered yet.
    pub(super) written: Option<Written>,
    /// When it is due.
    pub(super) timeout_s: Option<u64>,
    /// The question that is out.
    pub(super) ticket: Option<u64>,
    pub(super) waiting: VecDeque<Asked>,
    /// Where its last record ends in the log.
    pub(super) at: Position,
}

impl Association {
    /// As others have told it. None: it is none.
    pub(super) fn restore(unit: Unit, session: SessionKey, record: Record, key: DigestKey) -> Option<Self> {
        let essential = record.essential.as_ref()?;
        let (timeout_s, _) = decode_ike(essential.version, &essential.bytes)?;
        let written = Some(Written::restore(unit, session, record, key));
        Some(Self { written, timeout_s, ..Self::default() })
    }

    /// Its bytes.
    pub(super) fn record(&self) -> Option<&[u8]> {
        decode_ike(VERSION, self.written.as_ref()?.essential()).map(|(_, bytes)| bytes)
    }

    /// Tells the backups what it is now.
    pub(super) fn write(
        &mut self,
        outbox: &mut Outbox,
        key: DigestKey,
        (unit, session): (Unit, SessionKey),
        bytes: &[u8],
    ) {
        let essential = encode_ike(self.timeout_s, bytes);
        let written = self.written.get_or_insert_with(|| {
            let mut written = Written::new(unit, session, IKE_APP);
            written.write_initial(outbox, key, VERSION, &[]);
            written
        });
        self.at = written.write_essential(outbox, key, VERSION, &essential);
    }
}
