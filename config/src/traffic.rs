//! Networks, and which of their traffic: `10.3.0.0/24`, `10.3.0.10/32[tcp/80]`, `::/0[udp/1024-65535]`, `10.3.0.0/24[icmp]`, as
//! strongSwan's users write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrafficNet {
    /// The network.
    pub network: IpNet,
    /// The protocol's number; 0: any.
    pub protocol: u8,
    /// The first port and the last: of TCP and UDP only.
    pub ports: (u16, u16),
}

/// A text that is no such thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no network, or no traffic of one")]
pub struct NoTraffic;

const ANY_PORTS: (u16, u16) = (0, u16::MAX);
const TCP: u8 = 6;
const UDP: u8 = 17;
const NAMES: [(&str, u8); 4] = [("tcp", TCP), ("udp", UDP), ("icmp", 1), ("icmpv6", 58)];

impl TrafficNet {
    /// The network's address.
    pub fn addr(&self) -> IpAddr {
        self.network.addr()
    }
}

impl From<IpNet> for TrafficNet {
    fn from(network: IpNet) -> Self {
        Self { network, protocol: 0, ports: ANY_PORTS }
    }
}

impl FromStr for TrafficNet {
    type Err = NoTraffic;

    fn from_str(text: &str) -> Result<Self, NoTraffic> {
        let Some((network, limits)) = text.split_once('[') else {
            return text.parse().map(|network: IpNet| network.into()).map_err(|_| NoTraffic);
        };
        let limits = limits.strip_suffix(']').ok_or(NoTraffic)?;
        let (protocol, ports) = limits.split_once('/').map_or((limits, None), |(name, ports)| (name, Some(ports)));
        let protocol = protocol_of(protocol)?;
        let ports = match ports {
            Some(ports) if [TCP, UDP].contains(&protocol) => ports_of(ports)?,
            Some(_) => return Err(NoTraffic),
            None => ANY_PORTS,
        };
        Ok(Self { network: network.parse().map_err(|_| NoTraffic)?, protocol, ports })
    }
}

fn protocol_of(text: &str) -> Result<u8, NoTraffic> {
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok()).filter(|number| *number > 0).ok_or(NoTraffic)
}

fn ports_of(text: &str) -> Result<(u16, u16), NoTraffic> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = (first.parse().map_err(|_| NoTraffic)?, last.parse().map_err(|_| NoTraffic)?);
    if ports.0 > ports.1 { Err(NoTraffic) } else { Ok(ports) }
}

impl fmt::Display for TrafficNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, protocol, ports: (first, last) } = self;
        write!(f, "{network}")?;
        if *protocol == 0 {
            return Ok(());
        }
        match NAMES.iter().find(|(_, number)| number == protocol) {
            Some((name, _)) => write!(f, "[{name}")?,
            None => write!(f, "[{protocol}")?,
        }
        match self.ports {
            ANY_PORTS => write!(f, "]"),
            _ if first == last => write!(f, "/{first}]"),
            _ => write!(f, "/{first}-{last}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["10.3.0.0/24", "10.3.0.10/32[tcp/80]", "::/0[udp/1024-65535]", "10.3.0.0/24[icmp]", "fd00::/8[47]"]
        {
            assert_eq!(text.parse::<TrafficNet>().unwrap().to_string(), text);
        }
        let all: TrafficNet = "10.3.0.0/24[tcp/0-65535]".parse().unwrap();
        assert_eq!((all.protocol, all.ports, all.to_string()), (6, ANY_PORTS, "10.3.0.0/24[tcp]".to_owned()));
        for wrong in [
            "",
            "[tcp]",
            "10.3.0.0/24[",
            "10.3.0.0/24[]",
            "10.3.0.0/24[tcp",
            "10.3.0.0/24[tcp/]",
            "10.3.0.0/24[tcp/90-80]",
            "10.3.0.0/24[icmp/8]",
            "10.3.0.0/24[/80]",
            "10.3.0.0/24[tcp/65536]",
            "10.3.0.0/24[0]",
            "10.3.0.0/24[256]",
            "10.3.0.0[tcp]",
        ] {
            assert!(wrong.parse::<TrafficNet>().is_err(), "{wrong}");
        }
    }
}
