//! A tunnel of IKE's as a backup holds it: all of it, for no configuration knows it.
//!
//! ```text
//!  protocol  transform   ESN  window  IKE SPI  replaced SPI  outer header  selectors        keys               name
//!  u8        u8 + text   u8   u16     u64      u32           see `outer`   local, remote    inbound, outbound  u8 + text
//! ```
//! A network of which only some traffic is meant says its family otherwise, and has protocol and ports behind it. Behind all, if the peer
//! has come anew: its names (16 bytes), since when (u64); and if it may not carry any amount: how many packets and bytes (u64), with zeros
//! for the names of a peer that has not come anew. The protocol says the mode, too. All numbers are big-endian. Networks and keys stand
//! behind their counts (u16). What a newer member appends is skipped; what makes no sense is no tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use super::policies::{Limits, Network, Selectors};
use super::spec::{Contact, Half, Life, Protection, SaMode, TunnelSpec};
use crate::ipsec::crypto::Numbers;
use crate::ipsec::keys::Keys;
use crate::ipsec::outer::{DontFragment, Outer, Ports};
use crate::ipsec::transform::{Cipher, Transform};

const ESP: u8 = 0;
const AH: u8 = 1;
const ESP_TRANSPORT: u8 = 2;
const AH_TRANSPORT: u8 = 3;
const NO_DSCP: u8 = 0xff;
/// Who has not come anew.
const NOBODY: Contact = Contact { names: [0; 16], since_s: 0 };
/// Of an address's family: it is followed by which traffic of it.
const LIMITED: u8 = 0x80;

/// A tunnel and what IKE says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Saved {
    pub(super) spec: TunnelSpec,
    pub(super) ike_spi: u64,
    pub(super) replaces: Option<u32>,
}

impl Saved {
    /// The Initial record of a tunnel.
    pub(super) fn encode(spec: &TunnelSpec, ike_spi: u64, replaces: Option<u32>) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(encoded_len_max(spec)));
        out.push(match (spec.protection, spec.mode) {
            (Protection::Esp(_), SaMode::Tunnel) => ESP,
            (Protection::Ah(_), SaMode::Tunnel) => AH,
            (Protection::Esp(_), SaMode::Transport) => ESP_TRANSPORT,
            (Protection::Ah(_), SaMode::Transport) => AH_TRANSPORT,
        });
        put_text(&mut out, &spec.protection.transform().to_string());
        out.push(u8::from(spec.numbers == Numbers::Extended));
        out.extend_from_slice(&spec.replay_window.to_be_bytes());
        out.extend_from_slice(&ike_spi.to_be_bytes());
        out.extend_from_slice(&replaces.unwrap_or(0).to_be_bytes());
        put_outer(&mut out, &spec.outer);
        put_networks(&mut out, &spec.selectors.local);
        put_networks(&mut out, &spec.selectors.remote);
        for half in [&spec.inbound, &spec.outbound] {
            out.extend_from_slice(&half.spi.to_be_bytes());
            for key in [half.keys.cipher(), half.keys.integrity()] {
                out.extend_from_slice(&(key.len() as u16).to_be_bytes());
                out.extend_from_slice(key);
            }
        }
        put_text(&mut out, &spec.name);
        if spec.contact.is_some() || spec.life != Life::default() {
            let Contact { names, since_s } = spec.contact.unwrap_or(NOBODY);
            out.extend_from_slice(&names);
            out.extend_from_slice(&since_s.to_be_bytes());
        }
        if spec.life != Life::default() {
            out.extend_from_slice(&spec.life.packets.to_be_bytes());
            out.extend_from_slice(&spec.life.bytes.to_be_bytes());
        }
        out
    }

    /// None: it is no such record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let protocol = r.u8()?;
        let transform: Transform = r.text()?.parse().ok()?;
        let protection = match (protocol, transform) {
            (ESP | ESP_TRANSPORT, transform) => Protection::Esp(transform),
            (AH | AH_TRANSPORT, Transform::Pair(Cipher::Null, integrity)) => Protection::Ah(integrity),
            _ => return None,
        };
        let mode = if protocol < ESP_TRANSPORT { SaMode::Tunnel } else { SaMode::Transport };
        let numbers = if r.flag()? { Numbers::Extended } else { Numbers::Short };
        let replay_window = r.u16()?;
        let ike_spi = r.u64()?;
        let replaces = Some(r.u32()?).filter(|spi| *spi != 0);
        let outer = r.outer()?;
        let selectors = Selectors { local: r.networks()?, remote: r.networks()? };
        let (inbound, outbound) = (r.half(transform)?, r.half(transform)?);
        let name = r.text()?.to_owned();
        let contact = r.contact();
        let life = r.life().unwrap_or_default();
        let spec = TunnelSpec {
            name,
            protection,
            mode,
            numbers,
            replay_window,
            outer,
            selectors,
            inbound,
            outbound,
            contact: contact.filter(|contact| *contact != NOBODY),
            life,
        };
        Some(Self { spec, ike_spi, replaces })
    }
}

/// No less than what its record takes: a buffer that grew would leave keys behind.
fn encoded_len_max(spec: &TunnelSpec) -> usize {
    let networks = 23 * (spec.selectors.local.len() + spec.selectors.remote.len());
    let keys = [&spec.inbound, &spec.outbound].map(|half| half.keys.cipher().len() + half.keys.integrity().len());
    512 + networks + keys.iter().sum::<usize>() + spec.name.len()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut lens = (0..=text.len().min(u8::MAX.into())).rev();
    let len = lens.find(|len| text.is_char_boundary(*len)).unwrap_or(0);
    let text = text.get(..len).unwrap_or_default();
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
    }
}

fn put_networks(out: &mut Vec<u8>, networks: &[Network]) {
    let networks = &networks[..networks.len().min(u16::MAX.into())];
    out.extend_from_slice(&(networks.len() as u16).to_be_bytes());
    for network in networks {
        let family_at = out.len();
        put_address(out, network.address());
        out.push(network.prefix_len());
        let Limits { protocol, ports: (first, last) } = network.limits();
        if network.limits() != Limits::NONE {
            out[family_at] |= LIMITED;
            out.push(protocol);
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&last.to_be_bytes());
        }
    }
}

/// Source, destination, whether there are UDP ports and which, DSCP, "don't fragment", hop limit.
fn put_outer(out: &mut Vec<u8>, outer: &Outer) {
    put_address(out, outer.source);
    put_address(out, outer.destination);
    out.push(u8::from(outer.udp.is_some()));
    if let Some(Ports { source, destination }) = outer.udp {
        out.extend_from_slice(&source.to_be_bytes());
        out.extend_from_slice(&destination.to_be_bytes());
    }
    let dont_fragment = match outer.dont_fragment {
        DontFragment::Copy => 0,
        DontFragment::Set => 1,
        DontFragment::Clear => 2,
    };
    out.extend_from_slice(&[outer.dscp.unwrap_or(NO_DSCP), dont_fragment, outer.hop_limit]);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        self.u8().filter(|flag| *flag < 2).map(|flag| flag == 1)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u8()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    fn address(&mut self) -> Option<IpAddr> {
        let family = self.u8()?;
        self.address_of(family)
    }

    fn address_of(&mut self, family: u8) -> Option<IpAddr> {
        match family {
            4 => Some(Ipv4Addr::from(self.array::<4>()?).into()),
            6 => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => None,
        }
    }

    fn networks(&mut self) -> Option<Vec<Network>> {
        let count = self.u16()?;
        (0..count).map(|_| self.network()).collect()
    }

    fn network(&mut self) -> Option<Network> {
        let family = self.u8()?;
        let network = Network::new(self.address_of(family & !LIMITED)?, self.u8()?);
        if family & LIMITED == 0 {
            return Some(network);
        }
        Some(network.only(Limits { protocol: self.u8()?, ports: (self.u16()?, self.u16()?) }))
    }

    /// It may not be there.
    fn contact(&mut self) -> Option<Contact> {
        Some(Contact { names: self.array()?, since_s: self.u64()? })
    }

    /// Nor may this be.
    fn life(&mut self) -> Option<Life> {
        Some(Life { packets: self.u64()?, bytes: self.u64()? })
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn half(&mut self, transform: Transform) -> Option<Half> {
        let spi = self.u32()?;
        let (cipher, integrity) = (self.key()?, self.key()?);
        Some(Half { spi, keys: Keys::new(transform, cipher, integrity).ok()? })
    }

    fn outer(&mut self) -> Option<Outer> {
        let (source, destination) = (self.address()?, self.address()?);
        let udp = match self.flag()? {
            true => Some(Ports { source: self.u16()?, destination: self.u16()? }),
            false => None,
        };
        let dscp = Some(self.u8()?).filter(|dscp| *dscp != NO_DSCP);
        let dont_fragment = match self.u8()? {
            0 => DontFragment::Copy,
            1 => DontFragment::Set,
            2 => DontFragment::Clear,
            _ => return None,
        };
        let outer = Outer { source, destination, udp, dscp, dont_fragment, hop_limit: self.u8()? };
        (source.is_ipv4() == destination.is_ipv4() && dscp.is_none_or(|dscp| dscp < 64)).then_some(outer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipsec::transform::Integrity;

    fn spec() -> TunnelSpec {
        let transform: Transform = "aes128gcm16".parse().unwrap();
        let half = |spi, key: u8| Half { spi, keys: Keys::new(transform, &[key; 20], &[]).unwrap() };
        let network = |address: &str, len| vec![Network::new(address.parse().unwrap(), len)];
        TunnelSpec {
            name: "é".to_owned(),
            protection: Protection::Esp(transform),
            mode: SaMode::Tunnel,
            numbers: Numbers::Extended,
            replay_window: 128,
            outer: Outer {
                source: "198.51.100.1".parse().unwrap(),
                destination: "192.0.2.9".parse().unwrap(),
                udp: Some(Ports { source: 4500, destination: 61_234 }),
                dscp: None,
                dont_fragment: DontFragment::Clear,
                hop_limit: 64,
            },
            selectors: Selectors { local: network("10.3.0.0", 16), remote: network("2001:db8::", 32) },
            inbound: half(0x1_004d, 0xaa),
            outbound: half(0x2_0001, 0xbb),
            contact: None,
            life: Life::default(),
        }
    }

    #[test]
    fn golden() {
        let bytes = Saved::encode(&spec(), 0x0102, Some(7));
        let expected: Vec<u8> = [
            &[0, 11][..],
            b"aes128gcm16",
            &[1, 0, 128, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 7],
            &[4, 198, 51, 100, 1, 4, 192, 0, 2, 9, 1, 0x11, 0x94, 0xef, 0x32, 255, 2, 64],
            &[0, 1, 4, 10, 3, 0, 0, 16],
            &[0, 1, 6, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32],
            &[0, 1, 0, 0x4d, 0, 20],
            &[0xaa; 20],
            &[0, 0, 0, 2, 0, 1, 0, 20],
            &[0xbb; 20],
            &[0, 0, 2],
            "é".as_bytes(),
        ]
        .concat();
        assert_eq!(*bytes, expected);
        assert!(bytes.len() <= encoded_len_max(&spec()));
        let saved = Saved { spec: spec(), ike_spi: 0x0102, replaces: Some(7) };
        assert_eq!(Saved::decode(&bytes), Some(saved.clone()));
        assert_eq!(Saved::decode(&[&bytes[..], &[9]].concat()), Some(saved), "a newer member's");
    }

    #[test]
    fn what_makes_no_sense_is_no_tunnel() {
        let bytes = Saved::encode(&spec(), 1, None);
        for len in 0..bytes.len() {
            assert_eq!(Saved::decode(&bytes[..len]), None, "{len} bytes");
        }
        // The protocol: aes128gcm16 is no AH; the transform; a family; the halves' key lengths.
        for (at, value) in [(0, 1), (0, 3), (0, 4), (2, b'x'), (28, 5), (79, 19)] {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            assert_eq!(Saved::decode(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn networks_of_which_some_traffic_is_meant() {
        let limits = Limits { protocol: 6, ports: (80, 0x1234) };
        let mut spec = spec();
        spec.selectors.remote[0] = spec.selectors.remote[0].only(limits);
        let bytes = Saved::encode(&spec, 1, None);
        let written = [&[0, 1, 0x86, 0x20, 1, 0x0d, 0xb8][..], &[0; 12], &[32, 6, 0, 80, 0x12, 0x34]].concat();
        assert!(bytes.windows(written.len()).any(|part| part == written), "{bytes:?}");
        assert_eq!(Saved::decode(&bytes).unwrap().spec, spec);
    }

    #[test]
    fn who_has_come_anew() {
        let spec = TunnelSpec { contact: Some(Contact { names: [9; 16], since_s: 0x0102 }), ..spec() };
        let bytes = Saved::encode(&spec, 1, None);
        assert!(bytes.ends_with(&[9, 9, 0, 0, 0, 0, 0, 0, 1, 2]) && bytes.len() <= encoded_len_max(&spec));
        assert_eq!(Saved::decode(&bytes).unwrap().spec, spec);
    }

    #[test]
    fn how_much_it_may_carry() {
        let life = Life { packets: 0x0304, bytes: 5 };
        for contact in [None, Some(Contact { names: [9; 16], since_s: 0x0102 })] {
            let spec = TunnelSpec { life, contact, ..spec() };
            let bytes = Saved::encode(&spec, 1, None);
            assert!(bytes.ends_with(&[0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5]), "{bytes:?}");
            assert!(bytes.len() <= encoded_len_max(&spec));
            assert_eq!(Saved::decode(&bytes).unwrap().spec, spec);
            // What an older member makes of it.
            let older = Saved::decode(&bytes[..bytes.len() - 16]).unwrap().spec;
            assert_eq!(older, TunnelSpec { life: Life::default(), ..spec });
        }
    }

    #[test]
    fn ah_and_ipv6() {
        let integrity = Integrity::HmacSha256;
        let half = |spi| Half { spi, keys: Keys::new(Protection::Ah(integrity).transform(), &[], &[1; 32]).unwrap() };
        let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let spec = TunnelSpec {
            name: "x".repeat(300),
            protection: Protection::Ah(integrity),
            numbers: Numbers::Short,
            mode: SaMode::Transport,
            outer: Outer { source, destination, udp: None, dscp: Some(10), ..spec().outer },
            inbound: half(1000),
            outbound: half(2000),
            ..spec()
        };
        let decoded = Saved::decode(&Saved::encode(&spec, 1, None)).unwrap();
        assert_eq!(decoded.spec.name.len(), 255);
        let name = format!("x{}", "é".repeat(200));
        let cut = Saved::decode(&Saved::encode(&TunnelSpec { name, ..spec.clone() }, 1, None)).unwrap();
        assert_eq!(cut.spec.name, format!("x{}", "é".repeat(127)), "between characters");
        assert_eq!(decoded, Saved { spec: TunnelSpec { name: "x".repeat(255), ..spec }, ike_spi: 1, replaces: None });
    }

    proptest! {
        #[test]
        fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..160, value in any::<u8>()) {
            let _ = Saved::decode(&bytes);
            let mut bytes = Saved::encode(&spec(), 1, None).to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = Saved::decode(&bytes);
        }
    }
}
