//! A flow in words, for `phalanx unit PROTO SRC[:PORT] DST[:PORT]`.

use super::{Filter, steered};
use crate::parse::{Summary, flag};
use crate::unit::Unit;
use crate::wire::proto;
use std::net::{IpAddr, Ipv6Addr};

/// A flow: protocol, addresses, and ports (or, for ESP and AH, the destination's SPI).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    proto: u8,
    src: IpAddr,
    dst: IpAddr,
    src_port: Option<u16>,
    dst_port: Option<u16>,
}

/// Why a flow's description isn't one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FlowError {
    /// Not a protocol.
    #[error("unknown protocol {0:?}: say tcp, udp, icmp, esp, or a protocol number 0..255")]
    Protocol(String),
    /// Not an address.
    #[error("bad address {0:?}: say 192.0.2.1, 192.0.2.1:80, 2001:db8::1 or [2001:db8::1]:80")]
    Address(String),
    /// Not a port.
    #[error("bad port {0:?}: say a number 0..65535")]
    Port(String),
    /// The protocol has no ports.
    #[error("{0} has no ports: leave out {1:?}")]
    NoPorts(String, String),
    /// One side has a port, the other none.
    #[error("give a port for both sides or for neither")]
    OnePort,
    /// The sides are of different IP versions.
    #[error("source and destination must both be IPv4 or both be IPv6")]
    Families,
}

impl Flow {
    /// Reads a flow: protocol by name or number, sides as `ADDRESS` or `ADDRESS:PORT`, IPv6 with a port in brackets.
    pub fn parse(proto: &str, src: &str, dst: &str) -> Result<Self, FlowError> {
        let ((src, src_port), (dst, dst_port)) = (side(src)?, side(dst)?);
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(FlowError::Families);
        }
        let number = match proto.to_ascii_lowercase().as_str() {
            "tcp" => proto::TCP,
            "udp" => proto::UDP,
            "icmp" if src.is_ipv6() => proto::ICMPV6,
            "icmp" => proto::ICMP,
            "icmpv6" | "icmp6" if src.is_ipv6() => proto::ICMPV6,
            "esp" => proto::ESP,
            other => other.parse().map_err(|_| FlowError::Protocol(proto.to_owned()))?,
        };
        if let Some(port) = src_port.or(dst_port)
            && !matches!(number, proto::TCP | proto::UDP)
        {
            return Err(FlowError::NoPorts(proto.to_owned(), format!(":{port}")));
        }
        if src_port.is_some() != dst_port.is_some() {
            return Err(FlowError::OnePort);
        }
        Ok(Self { proto: number, src, dst, src_port, dst_port })
    }

    /// The protocol's number.
    pub const fn proto(&self) -> u8 {
        self.proto
    }

    /// Source address and port.
    pub const fn src(&self) -> (IpAddr, Option<u16>) {
        (self.src, self.src_port)
    }

    /// Destination address and port.
    pub const fn dst(&self) -> (IpAddr, Option<u16>) {
        (self.dst, self.dst_port)
    }

    /// Whether both ports are known: the unit of TCP or UDP to the cluster depends on them.
    pub const fn has_ports(&self) -> bool {
        self.src_port.is_some() && self.dst_port.is_some()
    }

    /// One of its packets.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::of_addresses(self.src, self.dst, self.proto);
        if let (Some(src_port), Some(dst_port)) = (self.src_port, self.dst_port) {
            summary.src_port = src_port;
            summary.dst_port = dst_port;
            summary.flags |= flag::PORTS;
        }
        summary
    }

    /// Whether the unit of this flow's packets, to the cluster under `steered`, is in an identifier that they carry
    /// (SPI, tunnel ID, …), which the flow's description doesn't have: then [`Filter::unit_of_flow`] gives that of a
    /// packet without one.
    pub fn carries_unit(&self) -> bool {
        match self.proto {
            proto::ESP | proto::AH | proto::GRE => true,
            proto::UDP => matches!(self.dst_port, Some(steered::PORT_IKE | steered::PORT_IKE_NAT | steered::PORT_L2TP)),
            _ => false,
        }
    }
}

impl Filter {
    /// The unit of a flow's packets: `forwarding` through the cluster, or to it.
    pub fn unit_of_flow(&self, flow: &Flow, forwarding: bool) -> Unit {
        self.unit(&flow.summary(), !forwarding, &[])
    }
}

fn side(text: &str) -> Result<(IpAddr, Option<u16>), FlowError> {
    let bad = || FlowError::Address(text.to_owned());
    let port = |port: &str| {
        let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
        port.parse().ok().filter(|_| digits).ok_or_else(|| FlowError::Port(port.to_owned()))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or_else(bad)?;
        let address: Ipv6Addr = address.parse().map_err(|_| bad())?;
        return match after.strip_prefix(':') {
            Some(number) => Ok((address.into(), Some(port(number)?))),
            None if after.is_empty() => Ok((address.into(), None)),
            None => Err(bad()),
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, None));
    }
    let (address, number) = text.rsplit_once(':').ok_or_else(bad)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| bad())?;
    Ok((address.into(), Some(port(number)?)))
}
