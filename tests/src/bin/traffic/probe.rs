//! Numbered echoes: ICMP echo requests (RFC 792, RFC 4443) and UDP datagrams that the server sends back.
//!
//! Both carry the same 16 bytes: a magic number and the request's own number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

use crate::{ECHO_PORT, STRAGGLERS, Shared};

const MAGIC: [u8; 8] = *b"phalanx?";
const PAYLOAD_BYTES: usize = 16;
const ICMP_HEADER_BYTES: usize = 8;

/// What a probe's packets look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Icmp4,
    Icmp6,
    Udp,
}

/// One flow: its socket, and its place in the record.
pub(crate) struct Probe {
    kind: Kind,
    socket: UdpSocket,
    /// Tells this flow's ICMP answers from those of others.
    identifier: u16,
    /// Index in the record's pings; UDP has its own place.
    index: usize,
}

/// Opens a ping flow per source address and the UDP flow.
pub(crate) fn open_all(shared: &Shared) -> io::Result<Vec<Probe>> {
    let args = &shared.args;
    let any: IpAddr = if args.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let sources = if args.ping_sources.is_empty() { vec![any] } else { args.ping_sources.clone() };
    let process = (std::process::id() & 0xff) as u16;
    let mut probes = Vec::new();
    if args.pings_per_s > 0.0 {
        for (index, &source) in sources.iter().enumerate() {
            let kind = if args.server.is_ipv4() { Kind::Icmp4 } else { Kind::Icmp6 };
            let identifier = (process << 8) | (index as u16 & 0xff);
            probes.push(Probe { kind, socket: open(kind, source, shared.server(0))?, identifier, index });
            shared.record.borrow_mut().add_ping(source);
        }
    }
    if args.udp_per_s > 0.0 {
        let source = args.sources.first().copied().unwrap_or(any);
        let socket = open(Kind::Udp, source, shared.server(ECHO_PORT))?;
        probes.push(Probe { kind: Kind::Udp, socket, identifier: 0, index: 0 });
    }
    Ok(probes)
}

/// A connected socket. Tokio's `UdpSocket` serves for raw ICMP sockets, too: it only ever sends and receives whole packets.
fn open(kind: Kind, source: IpAddr, server: SocketAddr) -> io::Result<UdpSocket> {
    let domain = if server.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = match kind {
        Kind::Icmp4 => Socket::new(domain, Type::RAW, Some(Protocol::ICMPV4)),
        Kind::Icmp6 => Socket::new(domain, Type::RAW, Some(Protocol::ICMPV6)),
        Kind::Udp => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)),
    }?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&server.into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

impl Probe {
    /// Sends at the flow's rate until told to stop; listens a little longer.
    pub(crate) async fn run(self, shared: Shared) {
        let rate = if self.kind == Kind::Udp { shared.args.udp_per_s } else { shared.args.pings_per_s };
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let end = async {
            shared.stopped().await;
            tokio::time::sleep(STRAGGLERS).await;
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                _ = tick.tick(), if !*shared.stopping.borrow() => self.send(&shared),
                answer = self.receive() => if let Some(sequence) = answer {
                    let now_us = shared.clock.now_us();
                    shared.record.borrow_mut().flow(self.ping_index()).answered(sequence, now_us);
                },
            }
        }
    }

    fn ping_index(&self) -> Option<usize> {
        (self.kind != Kind::Udp).then_some(self.index)
    }

    fn send(&self, shared: &Shared) {
        let mut record = shared.record.borrow_mut();
        let flow = record.flow(self.ping_index());
        let packet = encode(self.kind, self.identifier, flow.next_sequence());
        if self.socket.try_send(&packet).is_err() {
            flow.send_failed();
        }
    }

    /// The next packet's number, if it answers this flow. Errors (a refused port, an unreachable network) are no answer.
    async fn receive(&self) -> Option<u64> {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).await.ok()?;
        decode(self.kind, self.identifier, buffer.get(..length)?)
    }
}

/// A request. The kernel computes ICMPv6 checksums (they cover its choice of addresses), not ICMPv4 ones.
fn encode(kind: Kind, identifier: u16, sequence: u64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(ICMP_HEADER_BYTES + PAYLOAD_BYTES);
    if kind != Kind::Udp {
        packet.extend([if kind == Kind::Icmp4 { 8 } else { 128 }, 0, 0, 0]);
        packet.extend(identifier.to_be_bytes());
        packet.extend(((sequence & 0xffff) as u16).to_be_bytes());
    }
    packet.extend(MAGIC);
    packet.extend(sequence.to_be_bytes());
    if kind == Kind::Icmp4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The number in an answer to this flow. Raw IPv4 sockets deliver the IP header, too.
fn decode(kind: Kind, identifier: u16, packet: &[u8]) -> Option<u64> {
    let message = match kind {
        Kind::Icmp4 => packet.get(usize::from(packet.first()? & 0x0f) * 4..)?,
        Kind::Icmp6 | Kind::Udp => packet,
    };
    let payload = if kind == Kind::Udp {
        message
    } else {
        let answer = if kind == Kind::Icmp4 { 0 } else { 129 };
        if message.first() != Some(&answer) || message.get(4..6)? != identifier.to_be_bytes() {
            return None;
        }
        message.get(ICMP_HEADER_BYTES..)?
    };
    if payload.get(..8)? != MAGIC {
        return None;
    }
    Some(u64::from_be_bytes(payload.get(8..PAYLOAD_BYTES)?.try_into().ok()?))
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(data: &[u8]) -> u16 {
    let sum: u32 = data.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_request_gives_its_number_back_and_others_do_not() {
        let mut request = encode(Kind::Icmp4, 0x1234, 70_000);
        assert_eq!(checksum(&request), 0, "a message with its checksum sums to zero");
        request[0] = 0;
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet.extend(&request);
        assert_eq!(decode(Kind::Icmp4, 0x1234, &packet), Some(70_000));
        assert_eq!(decode(Kind::Icmp4, 0x1235, &packet), None);
        for length in 0..packet.len() {
            assert_eq!(decode(Kind::Icmp4, 0x1234, &packet[..length]), None);
        }
        assert_eq!(decode(Kind::Udp, 0, &encode(Kind::Udp, 0, 5)), Some(5));
    }
}
