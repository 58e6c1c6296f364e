//! Children that have carried much (RFC 4301 section 4.4.2.1): the data plane counts, and says when one needs new keys, and when it may
//! carry no more.
//!
//! It says so again while nothing comes of it: so what is said in the middle of something else need not be remembered.

use super::{Report, Turn};
use crate::state::{IkeSa, Purpose};

impl Turn<'_, '_> {
    /// A child has carried so much that it needs new keys. What is asked of the peer already comes first.
    pub(super) fn renew_child(&mut self, mut sa: IkeSa, spi: u32) {
        if !goes_on(&sa, spi) || is_renewed_or_closed(&sa, spi) {
            return self.wait(&sa);
        }
        if sa.pending.is_none() {
            return self.rekey_child(sa, spi, None);
        }
        let now_s = self.given.now_s;
        sa.children.iter_mut().filter(|child| child.inbound_spi == spi).for_each(|child| child.rekey_at_s = now_s);
        self.go_on(sa);
    }

    /// A child has carried all that it may. If it is about to get new keys, it ends with that.
    pub(super) fn end_child(&mut self, sa: IkeSa, spi: u32) {
        let child = sa.children.iter().find(|child| child.inbound_spi == spi);
        let Some(child) = child.filter(|_| goes_on(&sa, spi) && sa.pending.is_none()) else { return self.wait(&sa) };
        self.report(Report::Spent { name: child.name.clone(), peer: self.name_of(&sa), inbound_spi: spi });
        self.close_child(sa, spi);
    }
}

/// Whether a child is the SA's, and the SA can still do something for it.
fn goes_on(sa: &IkeSa, spi: u32) -> bool {
    sa.peer().is_some() && !sa.succeeded && sa.children.iter().any(|child| child.inbound_spi == spi)
}

/// Whether that is asked of the peer at present.
fn is_renewed_or_closed(sa: &IkeSa, spi: u32) -> bool {
    match sa.pending.as_ref().map(|pending| &pending.purpose) {
        Some(Purpose::RekeyChild(rekey, _)) => rekey.old_spi == spi,
        Some(Purpose::CloseChild(closing)) => *closing == spi,
        _ => false,
    }
}
