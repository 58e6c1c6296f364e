//! The PROXY protocol, version 2: who the client is, before its first byte.

use crate::tcp::Flow;
use std::net::IpAddr;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// A header's length at most.
pub(super) const LEN_MAX: usize = 16 + 36;

/// Writes the header for a client's connection; answers its length.
pub(super) fn header(flow: &Flow, buffer: &mut [u8; LEN_MAX]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    put(&SIGNATURE);
    match (flow.remote_ip, flow.local_ip) {
        (IpAddr::V4(client), IpAddr::V4(here)) => {
            put(&[VERSION_2_PROXY, TCP_OVER_IPV4, 0, 12]);
            put(&client.octets());
            put(&here.octets());
        }
        (client, here) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            put(&[VERSION_2_PROXY, TCP_OVER_IPV6, 0, 36]);
            put(&octets(client));
            put(&octets(here));
        }
    }
    put(&flow.remote_port.to_be_bytes());
    put(&flow.local_port.to_be_bytes());
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_the_specification_has_it() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut buffer = [0; LEN_MAX];
        let flow =
            Flow { local_ip: ip("198.51.100.1"), local_port: 8080, remote_ip: ip("192.0.2.7"), remote_port: 4711 };
        let len = header(&flow, &mut buffer);
        let wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x1f\x90";
        assert_eq!(&buffer[..len], wanted);
        let flow = Flow { local_ip: ip("2001:db8::1"), remote_ip: ip("2001:db8::7"), ..flow };
        assert_eq!(header(&flow, &mut buffer), LEN_MAX);
        assert_eq!(buffer[13..16], [0x21, 0, 36]);
        assert_eq!(buffer[LEN_MAX - 4..], [0x12, 0x67, 0x1f, 0x90]);
    }
}
