//! Payloads of traffic selectors (RFC 7296 section 3.13).
//!
//! ```text
//!   payload    count │ 0 0 0 │ selector …
//!   selector   type │ protocol │ length │ lowest port │ highest port │ lowest address │ highest address
//! ```
//! Selectors of other types than addresses' are passed over: their traffic is no concern of ours, so a list may come
//! out empty. What is given out is a range: no lower end is above its upper one, but for ports that cannot be seen.

use std::net::IpAddr;

use super::bytes::{Reader, len_u8, put_structure};
use super::{Malformed, Selector};

const IPV4: u8 = 7;
const IPV6: u8 = 8;

pub(super) fn parse(body: &[u8]) -> Result<Vec<Selector>, Malformed> {
    let mut reader = Reader::new(body);
    let (count, [_, _, _]) = (reader.u8()?, reader.array()?);
    let mut selectors = Vec::new();
    for _ in 0..count {
        let found = reader.structure()?;
        let (protocol, range) = (found.second, Reader::new(found.body));
        match found.first {
            IPV4 => selectors.push(selector::<4>(protocol, range)?),
            IPV6 => selectors.push(selector::<16>(protocol, range)?),
            _ => {}
        }
    }
    reader.end()?;
    Ok(selectors)
}

fn selector<const LEN: usize>(protocol: u8, mut reader: Reader<'_>) -> Result<Selector, Malformed>
where
    IpAddr: From<[u8; LEN]>,
{
    let ports = (reader.u16()?, reader.u16()?);
    let addresses = (reader.array::<LEN>()?.into(), reader.array::<LEN>()?.into());
    reader.end()?;
    if ports.0 > ports.1 && ports != Selector::OPAQUE_PORTS {
        return Err(Malformed::Value("range of ports"));
    }
    if addresses.0 > addresses.1 {
        return Err(Malformed::Value("range of addresses"));
    }
    Ok(Selector { protocol, ports, addresses })
}

pub(super) fn emit(selectors: &[Selector], out: &mut Vec<u8>) {
    out.extend_from_slice(&[len_u8(selectors.len()), 0, 0, 0]);
    for Selector { protocol, ports, addresses } in selectors {
        match *addresses {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                emit_one(out, IPV4, *protocol, *ports, [low.octets(), high.octets()]);
            }
            (low, high) => emit_one(out, IPV6, *protocol, *ports, [low, high].map(octets)),
        }
    }
}

fn emit_one<const LEN: usize>(out: &mut Vec<u8>, kind: u8, protocol: u8, ports: (u16, u16), ends: [[u8; LEN]; 2]) {
    put_structure(out, kind, protocol, |out| {
        out.extend_from_slice(&ports.0.to_be_bytes());
        out.extend_from_slice(&ports.1.to_be_bytes());
        out.extend_from_slice(ends.as_flattened());
    });
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
