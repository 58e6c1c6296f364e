//! What operators want: to see all IKE SAs, to end one, to give one new keys. And what tunnels need that have carried much.

use std::ops::Bound;

use super::association::WAITING_MAX;
use super::{Ike, Name};
use crate::app::Outlet;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::desk::{Asked, Question, Wish};
use crate::unit::Unit;

/// IKE SAs that are shown in one round: packets must not wait for long.
const SHOWN_A_ROUND: usize = 16;

impl Gateway {
    /// Asks about an IKE SA, if it is served here. One that somebody else asks about is asked when that is answered.
    pub(super) fn pass_on_wish(&mut self, outlet: &mut dyn Outlet, spi: u64, wish: Wish) {
        let name = (Unit::from_low_bits(spi as u32), spi);
        let Some(ike) = &mut self.ike else { return };
        if !outlet.owns(name.0) || !ike.wake(outlet, name, self.digest_key) {
            return;
        }
        let Some(association) = ike.all.get_mut(&name) else { return };
        if association.ticket.is_some() {
            return association.waiting.push_back(Asked::Wish(wish));
        }
        if let Some(nonces) = self.ivs.of(outlet.incarnation())
            && ike.has_room()
        {
            ike.ask(outlet, nonces, name, Asked::Wish(wish));
        }
    }

    /// Asks an IKE SA for what a tunnel of its needs. False: it cannot be asked now.
    pub(in crate::ipsec::gateway) fn want(&mut self, outlet: &mut dyn Outlet, name: Name, wish: Wish) -> bool {
        self.prompt(outlet, name, Asked::Wish(wish))
    }

    /// Asks about one that is here, or has that wait for the answer that is out. False: there is no room for it.
    pub(super) fn prompt(&mut self, outlet: &mut dyn Outlet, name: Name, asked: Asked) -> bool {
        let Some(ike) = &mut self.ike else { return false };
        if !ike.wake(outlet, name, self.digest_key) {
            return false;
        }
        let Some(association) = ike.all.get_mut(&name) else { return false };
        if association.ticket.is_some() {
            let has_room = association.waiting.len() < WAITING_MAX;
            if has_room {
                association.waiting.push_back(asked);
            }
            has_room
        } else if let Some(nonces) = self.ivs.of(outlet.incarnation()).filter(|_| ike.has_room()) {
            ike.ask(outlet, nonces, name, asked)
        } else {
            false
        }
    }

    /// All are to be shown, from the first on.
    pub(super) fn begin_to_show(&mut self) {
        if let Some(ike) = &mut self.ike {
            ike.showing = Some(Bound::Unbounded);
        }
    }

    /// Shows a few.
    pub(super) fn show_some(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        for _ in 0..SHOWN_A_ROUND {
            let Some(from) = ike.showing.filter(|_| ike.desk.has_much_room()) else { return };
            ike.show_next(outlet.cluster_clock_s(), from);
        }
    }
}

impl Ike {
    fn show_next(&mut self, now_s: u64, from: Bound<Name>) {
        let mut left = self.all.range((from, Bound::Unbounded));
        let next = left.find_map(|(name, it)| Some((*name, it.record()?.to_vec())));
        self.showing = next.as_ref().map(|(name, _)| Bound::Excluded(*name));
        let ((unit, spi), record, asked) = match next {
            Some((name, record)) => (name, Some(record), Asked::Shown),
            None => ((Unit::from_low_bits(0), 0), None, Asked::ShownAll),
        };
        self.desk.ask(Question { ticket: 0, unit, spi, record, now_s, asked, draw: [0; 8] });
    }
}
