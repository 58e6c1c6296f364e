//! Addresses for the peer (RFC 7296 sections 2.19, 3.15).

use std::net::IpAddr;

use super::Turn;
use crate::config::Connection;
use crate::pool::Ask;
use crate::state::{IkeSa, Peer};
use crate::wire::{Attribute, Payload, attribute};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

impl Turn<'_, '_> {
    /// Gives the peer the addresses that it asks for, and answers so. An error: there are none.
    pub(super) fn give_addresses(
        &mut self,
        connection: &Connection,
        sa: &IkeSa,
        peer: &mut Peer,
        payloads: &[Payload],
    ) -> Result<Option<Payload>, ()> {
        let asked = payloads.iter().find_map(|payload| match payload {
            Payload::Configuration { kind: REQUEST, attributes } => Some(attributes),
            _ => None,
        });
        let Some(asked) = asked.filter(|_| !connection.pools.is_empty()) else { return Ok(None) };
        let mut attributes = Vec::new();
        for wish in asked {
            let v6 = match wish.kind {
                attribute::INTERNAL_IP4_ADDRESS => false,
                attribute::INTERNAL_IP6_ADDRESS => true,
                _ => continue,
            };
            // One of each family.
            if peer.addresses.iter().any(|address| address.is_ipv6() == v6) {
                continue;
            }
            let (spi, now_s) = (sa.own_spi(), self.given.now_s);
            let ask = |pool| Ask { pool, v6, peer: &peer.identity, wish: wish.address(), spi, now_s };
            let pools = &mut self.given.pools;
            if let Some(address) = connection.pools.iter().find_map(|pool| pools.lease(ask(pool))) {
                peer.addresses.push(address);
                attributes.push(Attribute::of_address(address));
            }
        }
        if attributes.is_empty() {
            return Err(());
        }
        let has_family = |server: &&IpAddr| peer.addresses.iter().any(|it| it.is_ipv4() == server.is_ipv4());
        attributes.extend(connection.dns.iter().filter(has_family).map(|server| Attribute::of_dns(*server)));
        Ok(Some(Payload::Configuration { kind: REPLY, attributes }))
    }
}

impl Attribute {
    fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { kind: attribute::INTERNAL_IP4_ADDRESS, value: address.octets().into() },
            IpAddr::V6(address) => {
                Self { kind: attribute::INTERNAL_IP6_ADDRESS, value: [&address.octets()[..], &[128]].concat() }
            }
        }
    }

    fn of_dns(server: IpAddr) -> Self {
        match server {
            IpAddr::V4(server) => Self { kind: attribute::INTERNAL_IP4_DNS, value: server.octets().into() },
            IpAddr::V6(server) => Self { kind: attribute::INTERNAL_IP6_DNS, value: server.octets().into() },
        }
    }

    /// The address that is wished for, if one is.
    fn address(&self) -> Option<IpAddr> {
        let v4 = self.value.first_chunk::<4>().map(|octets| IpAddr::from(*octets));
        let v6 = self.value.first_chunk::<16>().map(|octets| IpAddr::from(*octets));
        v6.or(v4).filter(|address| !address.is_unspecified())
    }
}
