//! Traffic as the data plane looks at it.

use std::fmt;
use std::net::IpAddr;

use crate::wire::Selector;

/// Some traffic of a network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    /// The network's address.
    pub address: IpAddr,
    /// How many bits its addresses have in common.
    pub prefix_len: u8,
    /// The protocol; 0: any.
    pub protocol: u8,
    /// The first port and the last.
    pub ports: (u16, u16),
}

impl Part {
    /// Those that a selector is made of. None: too many.
    pub fn of(selector: &Selector) -> Option<Vec<Self>> {
        let Selector { protocol, ports, .. } = *selector;
        let part = |(address, prefix_len)| Self { address, prefix_len, protocol, ports };
        Some(selector.networks()?.into_iter().map(part).collect())
    }
}

/// As the configuration writes it.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix_len, protocol, ports: (first, last) } = *self;
        write!(f, "{address}/{prefix_len}")?;
        let ports = (first, last) != Selector::ANY_PORTS;
        match protocol {
            0 if !ports => return Ok(()),
            0 => write!(f, "[any")?,
            1 => write!(f, "[icmp")?,
            6 => write!(f, "[tcp")?,
            17 => write!(f, "[udp")?,
            58 => write!(f, "[icmpv6")?,
            other => write!(f, "[{other}")?,
        }
        match ports {
            false => write!(f, "]"),
            true if (first, last) == Selector::OPAQUE_PORTS => write!(f, "/none]"),
            true if first == last => write!(f, "/{first}]"),
            true => write!(f, "/{first}-{last}]"),
        }
    }
}
