//! Peers that come anew (RFC 7296 section 2.4): which of their IKE SAs from before are served here.
//!
//! The new IKE SA may be any member's, and so may the old ones. That the peer has come anew stands in the record of the new one's tunnel,
//! which all members hold; so each hears of it, looks for older IKE SAs between the same names, and has them forgotten. What is known of
//! them here is what this thread has spoken for: an IKE SA that came to this member a moment ago is known when it is due next, and if
//! its peer comes anew before that, it stays until the peer answers no more. So does one without a tunnel.

use std::collections::{BTreeSet, HashMap};

use phalanx_dataplane::ipsec::gateway::Contact;

/// A pair of names, ours and a peer's, as [`phalanx_ike::machine::Machine::names`] calls it.
type Names = [u8; 16];

/// See the module. No larger than there are tunnels in the cluster.
#[derive(Debug, Default)]
pub(super) struct Comers {
    /// By inbound SPI.
    tunnels: HashMap<u32, Tunnel>,
    by_names: HashMap<Names, BTreeSet<u32>>,
}

#[derive(Debug)]
struct Tunnel {
    names: Names,
    ike_spi: u64,
    since_s: u64,
}

impl Comers {
    /// An IKE SA since then, between these names, has these tunnels: our SPIs.
    pub(super) fn hear(
        &mut self,
        names: Names,
        (ike_spi, since_s): (u64, u64),
        tunnels: impl IntoIterator<Item = u32>,
    ) {
        for spi in tunnels {
            self.tunnels.insert(spi, Tunnel { names, ike_spi, since_s });
            self.by_names.entry(names).or_default().insert(spi);
        }
    }

    /// A tunnel is no more, somewhere in the cluster.
    pub(super) fn lose_tunnel(&mut self, spi: u32) {
        let Some(tunnel) = self.tunnels.remove(&spi) else { return };
        if let Some(spis) = self.by_names.get_mut(&tunnel.names) {
            spis.remove(&spi);
            if spis.is_empty() {
                self.by_names.remove(&tunnel.names);
            }
        }
    }

    /// The IKE SAs that a peer has left behind.
    pub(super) fn older(&self, contact: &Contact) -> Vec<u64> {
        let tunnels = self.by_names.get(&contact.names).into_iter().flatten().filter_map(|spi| self.tunnels.get(spi));
        let older: BTreeSet<u64> =
            tunnels.filter(|tunnel| tunnel.since_s < contact.since_s).map(|tunnel| tunnel.ike_spi).collect();
        older.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Names = [1; 16];
    const BOB: Names = [2; 16];

    #[test]
    fn what_a_peer_leaves_behind() {
        let mut comers = Comers::default();
        let anew = |names, since_s| Contact { names, since_s };
        comers.hear(ALICE, (10, 1000), [100, 101]);
        comers.hear(ALICE, (11, 1000), [102]);
        comers.hear(BOB, (12, 1000), [103]);
        comers.hear(ALICE, (13, 2000), [104]);
        assert_eq!(comers.older(&anew(ALICE, 2000)), [10, 11], "but not what comes with it");
        assert!(comers.older(&anew(ALICE, 1000)).is_empty() && comers.older(&anew([3; 16], 2000)).is_empty());
        // Another one with new keys has the tunnels now: it is younger than its tunnels' peer.
        comers.hear(ALICE, (14, 3000), [102]);
        assert_eq!(comers.older(&anew(ALICE, 2000)), [10]);
        [100, 101, 101, 999].into_iter().for_each(|spi| comers.lose_tunnel(spi));
        assert!(comers.older(&anew(ALICE, 2000)).is_empty());
        [102, 103, 104].into_iter().for_each(|spi| comers.lose_tunnel(spi));
        assert!(comers.tunnels.is_empty() && comers.by_names.is_empty(), "nothing is left of what is no more");
    }
}
