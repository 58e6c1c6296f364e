//! The two ends of a connection, as one member sees them.

use crate::parse::address_number;
use crate::wire::checksum::Sum;
use crate::wire::proto;
use std::net::IpAddr;

/// Addresses and ports of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Our address.
    pub local_ip: IpAddr,
    /// Our port.
    pub local_port: u16,
    /// The peer's address.
    pub remote_ip: IpAddr,
    /// The peer's port.
    pub remote_port: u16,
}

impl Flow {
    /// The IP header's length without options: what a segment must leave room for.
    pub const fn ip_header_len(&self) -> u16 {
        match self.remote_ip {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        }
    }

    /// The largest segment to assume where the peer names none (RFC 9293 MUST-15).
    pub const fn default_mss(&self) -> u16 {
        match self.remote_ip {
            IpAddr::V4(_) => 536,
            IpAddr::V6(_) => 1220,
        }
    }

    /// The flow in words, for keyed hashes.
    pub(super) fn words(&self) -> [u64; 5] {
        let (local, remote) = (address_number(self.local_ip).1, address_number(self.remote_ip).1);
        let family = u64::from(self.local_ip.is_ipv6());
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port) | family << 32;
        [local as u64, (local >> 64) as u64, remote as u64, (remote >> 64) as u64, ports]
    }
}

/// The pseudo header's part of a segment's checksum. Addresses of different families sum up to no segment's.
#[inline]
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, len: usize) -> Sum {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::new().pseudo_v4(source.to_bits(), destination.to_bits(), proto::TCP, len)
        }
        (source, destination) => {
            let bits = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
                IpAddr::V6(ip) => ip.to_bits(),
            };
            Sum::new().pseudo_v6(bits(source), bits(destination), proto::TCP, len)
        }
    }
}
