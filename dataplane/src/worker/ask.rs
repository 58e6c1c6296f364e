//! ARP and Neighbor Discovery: answers for our addresses, questions about others', announcements.
//!
//! A unit address is answered for always, with the port's own hardware address. A cluster address is answered for only
//! by the member that the view names (the master), and only under its lease: with its own address under `forward`,
//! with the shared one otherwise (DESIGN section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dpdk::Mbuf;

use super::addresses::Owner;
use super::news::News;
use super::path::Path;
use crate::drop_reason::DropReason;
use crate::local::{self, Discovery};
use crate::neighbour::{Evidence, Learned, NextHop};
use crate::parse::{Summary, address_number};
use crate::port::PortIndex;
use crate::wire::{MacAddr, WireError, arp};

impl Path {
    /// The hardware address under which one of our addresses is found on this port, if it is ours to say.
    fn found_at(&self, port: PortIndex, address: IpAddr) -> Option<MacAddr> {
        let (family, number) = address_number(address);
        let own = self.ports.get(usize::from(port))?.origin.mac;
        let ours = self.addresses.find(family, number).filter(|a| a.port == port)?;
        match ours.owner {
            Owner::Unit => Some(own),
            Owner::Cluster if self.answers && self.lease_ok => Some(self.delivery.shared_mac().map_or(own, MacAddr)),
            Owner::Cluster | Owner::Everyone => None,
        }
    }

    /// An ARP packet came in.
    pub(super) fn receive_arp(&mut self, mbuf: Mbuf, offset: u16, port: PortIndex) {
        let Ok(told) = arp::Repr::parse(mbuf.data().get(usize::from(offset)..).unwrap_or(&[])) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        self.counters.delivered.add(1);
        drop(mbuf);
        let (sender, target) = (IpAddr::V4(told.sender_ip), IpAddr::V4(told.target_ip));
        let evidence = match (told.operation, self.is_unit_address(target)) {
            (arp::Operation::Reply, true) => Evidence::Reply,
            (arp::Operation::Request, true) => Evidence::RequestForUs,
            _ => Evidence::Gratuitous,
        };
        self.learn(port, sender, told.sender_mac, evidence);
        if told.operation == arp::Operation::Request
            && let Some(mac) = self.found_at(port, target)
        {
            self.say(port, |origin, buffer| local::arp_reply(origin, &told, mac, buffer));
        }
    }

    /// A Neighbor Discovery message came in; `None`: it is some other packet.
    pub(super) fn receive_discovery(&mut self, mbuf: Mbuf, summary: &Summary, port: PortIndex) -> Option<Mbuf> {
        let message = match local::discovery(summary, mbuf.data()) {
            None => return Some(mbuf),
            Some(Err(_)) => {
                self.drop_packet(mbuf, DropReason::Malformed);
                return None;
            }
            Some(Ok(message)) => message,
        };
        self.counters.delivered.add(1);
        drop(mbuf);
        match message {
            Discovery::Router => {}
            Discovery::Advertisement(told) => {
                let evidence = if told.solicited { Evidence::Reply } else { Evidence::Gratuitous };
                self.learn(port, IpAddr::V6(told.target), told.mac, evidence);
            }
            Discovery::Solicitation(asked) => {
                let target = IpAddr::V6(asked.target);
                if !asked.source.is_unspecified() {
                    let ours = self.is_unit_address(target);
                    let evidence = if ours { Evidence::RequestForUs } else { Evidence::Gratuitous };
                    self.learn(port, IpAddr::V6(asked.source), asked.source_mac, evidence);
                }
                if let Some(mac) = self.found_at(port, target) {
                    self.say(port, |origin, buffer| local::nd_reply(origin, &asked, mac, buffer));
                }
            }
        }
        None
    }

    fn is_unit_address(&self, address: IpAddr) -> bool {
        let (family, number) = address_number(address);
        self.addresses.find(family, number).is_some_and(|a| a.owner == Owner::Unit)
    }

    /// News about a neighbour, believed only for addresses of the port's own network that are not ours.
    fn learn(&mut self, port: PortIndex, address: IpAddr, mac: MacAddr, evidence: Evidence) {
        let (family, number) = address_number(address);
        if !self.addresses.on_link(port, address) || self.addresses.find(family, number).is_some() {
            return;
        }
        let news = News { port, address, mac, evidence };
        self.news.tell(news);
        self.take_in(news);
    }

    /// Takes in what other workers have heard.
    pub(super) fn hear_news(&mut self) {
        while let Some(news) = self.news.next() {
            self.take_in(news);
        }
    }

    fn take_in(&mut self, news: News) {
        let News { port, address, mac, evidence } = news;
        let actions = &mut self.actions;
        let hop = NextHop::new(port.into(), address);
        let learned =
            self.neighbours.handle_learned(hop, mac, evidence, self.now_ns, &mut |action| actions.push(action));
        if learned == Learned::Moved {
            self.cache.forget();
        }
        self.act();
    }

    /// A neighbour that is known without having been asked for.
    pub(super) fn introduce(&mut self, port: PortIndex, address: IpAddr, mac: MacAddr, now_ns: u64) {
        self.now_ns = now_ns;
        self.learn(port, address, mac, Evidence::RequestForUs);
        self.learn(port, address, mac, Evidence::Reply);
    }

    /// Asks who has a neighbour's address, from this member's own.
    pub(super) fn ask(&mut self, hop: NextHop, unicast_to: Option<MacAddr>) {
        let (port, target) = (hop.port as PortIndex, hop.ip());
        match (self.addresses.asking(port, target), target) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                self.say(port, |origin, buffer| local::arp_request(origin, own, target, unicast_to, buffer));
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                self.say(port, |origin, buffer| local::nd_request(origin, own, target, unicast_to, buffer));
            }
            // Nothing to ask from: the packets that wait time out, counted.
            _ => {}
        }
    }

    /// Announces every address that we answer for, on its port.
    pub(super) fn announce(&mut self) {
        for port in 0..self.ports.len() as PortIndex {
            let Some(spec) = self.addresses.port(port) else { continue };
            let all: Vec<IpAddr> =
                spec.cluster_addresses.iter().chain(&spec.unit_addresses).map(|i| i.address).collect();
            for address in all {
                if let Some(mac) = self.found_at(port, address) {
                    match address {
                        IpAddr::V4(ip) => self.announce_v4(port, ip, mac),
                        IpAddr::V6(ip) => self.announce_v6(port, ip, mac),
                    }
                }
            }
        }
    }

    /// Some stacks take in gratuitous requests, some replies (RFC 5227 section 3): both are sent.
    fn announce_v4(&mut self, port: PortIndex, ip: Ipv4Addr, mac: MacAddr) {
        for operation in [arp::Operation::Request, arp::Operation::Reply] {
            self.say(port, |origin, buffer| local::arp_announcement(origin, operation, ip, mac, buffer));
        }
    }

    fn announce_v6(&mut self, port: PortIndex, ip: Ipv6Addr, mac: MacAddr) {
        self.say(port, |origin, buffer| -> Result<usize, WireError> {
            local::nd_announcement(origin, ip, mac, buffer)
        });
    }
}
