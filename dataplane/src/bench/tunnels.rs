//! The tunnels of a benchmark: all flows ([`super::flows`]) go into them, evenly.

use crate::ipsec::crypto::Numbers;
use crate::ipsec::crypto::choice::Choice;
use crate::ipsec::esp::Shape;
use crate::ipsec::gateway::{GatewayConfig, Half, Life, Network, Protection, SaMode, Selectors, TunnelSpec};
use crate::ipsec::outer::{DontFragment, Outer};
use crate::ipsec::{Keys, Transform};
use crate::parse::summarise;
use crate::unit::MemberId;
use crate::wire::ipv4;

/// The most tunnels.
pub const SAS_MAX: u32 = 256;

/// Which tunnels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelsPlan {
    /// How they are protected.
    pub transform: Transform,
    /// What does the cryptography.
    pub engine: Choice,
    /// How many: a power of two, up to [`SAS_MAX`].
    pub sas: u32,
}

impl TunnelsPlan {
    /// The gateway of a member whose cluster address towards the peers is this.
    pub(super) fn gateway(self, me: MemberId, source: [u8; 4]) -> GatewayConfig {
        let tunnels = self.tunnels(source).collect();
        GatewayConfig { engine: self.engine, ..GatewayConfig::new(me, tunnels, [0; 16]) }
    }

    fn count(self) -> u32 {
        self.sas.clamp(1, SAS_MAX).next_power_of_two()
    }

    /// All tunnels.
    pub(super) fn tunnels(self, source: [u8; 4]) -> impl Iterator<Item = TunnelSpec> {
        (0..self.count()).filter_map(move |number| self.tunnel(number, self.count(), source))
    }

    /// The number of the tunnel that a flow's frame goes into.
    pub(super) fn tunnel_of(self, frame: &[u8]) -> Option<usize> {
        let server = summarise(frame, None).ok()?.dst as usize & 0xffff;
        Some(server >> (16 - self.count().trailing_zeros()))
    }

    /// How long a frame is when it is sealed, in an ordinary tunnel.
    pub fn sealed_len(self, frame_len: u16) -> u16 {
        const LINK_LEN: u16 = 14;
        let layout = Shape::of(self.transform).around(usize::from(frame_len.saturating_sub(LINK_LEN)));
        frame_len + (ipv4::HEADER_LEN + layout.before + layout.after) as u16
    }

    /// One of so many. (None: a transform whose keys do not have its lengths, of which there is none.)
    fn tunnel(self, number: u32, sas: u32, source: [u8; 4]) -> Option<TunnelSpec> {
        let key = |len: usize, first: u8| (first..=u8::MAX).cycle().take(len).collect::<Vec<u8>>();
        let half = |spi, first| {
            let (cipher, integrity) =
                (key(self.transform.cipher_key_len(), first), key(self.transform.integrity_key_len(), first));
            Some(Half { spi, keys: Keys::new(self.transform, &cipher, &integrity).ok()? })
        };
        // The flows' servers are in 198.19.0.0/16, whose bits are dealt out from the top.
        let bits = sas.trailing_zeros();
        let remote = 0xc613_0000_u32 | number << (16 - bits);
        Some(TunnelSpec {
            name: format!("tunnel{number}"),
            protection: Protection::Esp(self.transform),
            mode: SaMode::Tunnel,
            numbers: Numbers::Extended,
            replay_window: 1024,
            outer: Outer {
                source: source.into(),
                destination: [10, 4, 0, number as u8].into(),
                udp: None,
                dscp: None,
                dont_fragment: DontFragment::Copy,
                hop_limit: 64,
            },
            selectors: Selectors {
                local: vec![Network::new([198, 18, 0, 0].into(), 16)],
                remote: vec![Network::new(remote.to_be_bytes().into(), 16 + bits as u8)],
            },
            inbound: half(0x1_0000 + number, 1)?,
            outbound: half(0x2_0000 + number, 101)?,
            contact: None,
            life: Life::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::flows;
    use crate::ipsec::gateway::Passing;

    #[test]
    fn every_flow_has_its_tunnel_and_every_tunnel_its_share() {
        for sas in [1, 16, 256] {
            let (transform, engine) = ("aes128gcm16".parse().expect("a transform"), Choice::BuiltIn);
            let plan = TunnelsPlan { transform, engine, sas };
            let gateway = plan.gateway(MemberId::new(1).expect("a number"), [10, 3, 0, 10]);
            let mut shares = vec![0; gateway.tunnels.len()];
            for frame in flows::frames(64) {
                match gateway.policies().judge(&summarise(&frame, None).expect("a packet")) {
                    Passing::Into(spi) => {
                        shares[spi as usize - 0x1_0000] += 1;
                        assert_eq!(plan.tunnel_of(&frame), Some(spi as usize - 0x1_0000));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(shares, vec![flows::FLOWS / sas; sas as usize]);
        }
    }
}
