//! The cluster link's datagram sockets: one at this member's own address, one that listens to the cluster's group.
//!
//! Everything is *sent* from the first, so that a receiver sees the member's own address. Both carry frames as the data
//! ports do: a kind byte, then the sealed datagram or the beacon.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use phalanx_config::Link;
use rustix::io::Errno;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// What the kernel may keep for us while we are busy: some thousand datagrams.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Keepalives go before other traffic: DSCP CS6, "network control" (RFC 4594 section 3.1).
const TRAFFIC_CLASS: u32 = 0xc0;

/// The sockets.
#[derive(Debug)]
pub(super) struct LinkSockets {
    own: UdpSocket,
    group: UdpSocket,
    group_address: SocketAddr,
}

impl LinkSockets {
    /// Opens both on the link's interface.
    pub(super) fn open(link: &Link) -> io::Result<Self> {
        let index = interface_index(&link.interface)?;
        let own = bind(link.address, &link.interface)?;
        own.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let group = bind(link.group, &link.interface)?;
        group.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        match (link.group.ip(), link.address.ip()) {
            (IpAddr::V4(address), IpAddr::V4(_)) => {
                group.join_multicast_v4_n(&address, &InterfaceIndexOrAddress::Index(index))?;
                own.set_multicast_if_v4(&as_v4(link.address.ip()))?;
                own.set_multicast_loop_v4(false)?;
                own.set_multicast_ttl_v4(1)?;
                own.set_tos_v4(TRAFFIC_CLASS)?;
            }
            (IpAddr::V6(address), IpAddr::V6(_)) => {
                group.join_multicast_v6(&address, index)?;
                own.set_multicast_if_v6(index)?;
                own.set_multicast_loop_v6(false)?;
                own.set_multicast_hops_v6(1)?;
                own.set_tclass_v6(TRAFFIC_CLASS)?;
            }
            _ => return Err(io::Error::other("link.address and link.group are of different families")),
        }
        Ok(Self { own: own.into(), group: group.into(), group_address: link.group })
    }

    /// Sends to the whole group.
    pub(super) fn send_to_all(&self, frame: &[u8]) -> io::Result<()> {
        self.own.send_to(frame, self.group_address).map(drop)
    }

    /// Sends to one member.
    pub(super) fn send_to(&self, address: SocketAddr, frame: &[u8]) -> io::Result<()> {
        self.own.send_to(frame, address).map(drop)
    }

    /// The next datagram, if one waits.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        // An error here is an echo of something sent earlier (a port unreachable): the next call may have data.
        let length = [&self.own, &self.group].into_iter().find_map(|socket| {
            (0..8).find_map(|_| match socket.recv_from(buffer) {
                Ok((length, _)) => Some(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(None),
                Err(_) => None,
            })?
        })?;
        buffer.get(..length)
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.own.as_fd(), self.group.as_fd()]
    }
}

/// The socket of the link's reliable side, one port above the datagrams'.
pub(super) fn open_reliable(link: &Link) -> io::Result<UdpSocket> {
    bind(reliable(link.address), &link.interface).map(Into::into)
}

/// Where a member's reliable side listens, given where its datagrams go.
pub(super) fn reliable(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().wrapping_add(1))
}

fn bind(address: SocketAddr, interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip().is_multicast() {
        socket.set_reuse_address(true)?;
    }
    if !address.ip().is_loopback() {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn as_v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

fn interface_index(name: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    rustix::net::netdevice::name_to_index(&socket, name).map_err(|errno| match errno {
        Errno::NODEV => io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {name}")),
        other => other.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(port: u16) -> Link {
        let group = SocketAddr::new("239.80.72.9".parse().unwrap(), port);
        Link { interface: "lo".into(), address: SocketAddr::new("127.0.0.1".parse().unwrap(), port), group }
    }

    #[test]
    fn datagrams_reach_the_own_address() {
        let sockets = LinkSockets::open(&link(17_471)).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(sockets.receive(&mut buffer), None);
        sockets.send_to("127.0.0.1:17471".parse().unwrap(), b"hello").unwrap();
        assert_eq!(sockets.receive(&mut buffer), Some(&b"hello"[..]));
        assert_eq!(sockets.receive(&mut buffer), None);
    }

    #[test]
    fn a_missing_interface_is_named() {
        let missing = Link { interface: "nowhere9".into(), ..link(17_473) };
        assert!(LinkSockets::open(&missing).unwrap_err().to_string().contains("nowhere9"));
    }
}
