//! To the peer: the size looked at, numbered, sealed.

use super::Gateway;
use crate::app::{Hindrance, Outlet};
use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::ipsec::crypto::Numbers;
use crate::ipsec::encap::Draws;
use crate::parse::{Summary, flag};
use crate::tallies::add;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is on its way, or counted as lost.
    Done,
    /// It must wait: the backups do not hold a lease of its number yet.
    NoNumber,
    /// The SA has no numbers left, or this member no IVs.
    NeverAgain,
}

impl Gateway {
    /// Takes a packet that belongs into a tunnel.
    pub(super) fn seal(
        &mut self,
        outlet: &mut dyn Outlet,
        number: usize,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), Hindrance> {
        if summary.ttl <= 1 {
            return Err(Hindrance::Complaint(Complaint::TimeExceeded, DropReason::TtlExceeded));
        }
        self.wake(outlet, number)?;
        let Some(tunnel) = &mut self.awake[number] else { return Err(DropReason::SaUnusable.into()) };
        if summary.has(flag::DONT_FRAGMENT) {
            let link = outlet.mtu_towards(self.config.tunnels[number].outer.destination);
            let mtu = link.map_or(usize::from(u16::MAX), |link| tunnel.form.mtu(usize::from(link)));
            if packet.len() > mtu {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                return Err(Hindrance::Complaint(Complaint::TooBig { mtu }, DropReason::TooBig));
            }
        }
        // What waits already goes first.
        let sent = match tunnel.to_seal.is_empty() {
            true => self.seal_now(outlet, number, summary, packet),
            false => Sent::NoNumber,
        };
        match sent {
            Sent::Done => self.renew(outlet, number, false),
            Sent::NeverAgain => return Err(DropReason::SaUnusable.into()),
            Sent::NoNumber => {
                self.wait(number, packet)?;
                self.renew(outlet, number, false);
            }
        }
        Ok(())
    }

    fn wait(&mut self, number: usize, packet: &[u8]) -> Result<(), DropReason> {
        let counters = self.counters.of(number);
        let (Some(kept), Some(tunnel)) = (self.spares.keep(packet), &mut self.awake[number]) else {
            add(&counters.wait_full, 1);
            return Err(DropReason::SaPending);
        };
        add(&counters.waited, 1);
        tunnel.to_seal.push_back(kept);
        Ok(())
    }

    /// Seals and sends a packet, if there is a number for it.
    pub(super) fn seal_now(
        &mut self,
        outlet: &mut dyn Outlet,
        number: usize,
        summary: &Summary,
        packet: &[u8],
    ) -> Sent {
        let (Some(nonces), Some(tunnel)) = (self.ivs.of(outlet.incarnation()), &mut self.awake[number]) else {
            return Sent::NeverAgain;
        };
        let counters = self.counters.of(number);
        let Some(sequence) = tunnel.outbound.take(&mut self.leases) else { return Sent::NoNumber };
        if tunnel.numbers == Numbers::Short && sequence > u64::from(u32::MAX) {
            return Sent::NeverAgain;
        }
        let Some(nonce) = nonces.take(&mut tunnel.draw) else { return Sent::NeverAgain };
        tunnel.id = tunnel.id.wrapping_add(1);
        let draws = Draws { sequence, nonce, id: tunnel.id };
        let (form, sealer, text) = (&tunnel.form, &mut tunnel.sealer, &mut self.text);
        let sent = outlet
            .send_whole(&mut |room| form.seal(packet, summary.family, draws, sealer.as_mut(), room, text).unwrap_or(0));
        if sent {
            add(&counters.packets_out, 1);
            add(&counters.bytes_out, packet.len() as u64);
        } else {
            add(&counters.not_sent, 1);
        }
        Sent::Done
    }
}
