//! Opening a port: as many queues and as much filtering as its driver can, software for the rest.
//!
//! Most virtual drivers filter nothing and offload nothing; real ones do. So every filter is asked for and none is
//! relied upon: the worker looks at each frame's destination itself. What the driver must let in is the port's own
//! address, the cluster's shared one, and IPv6's multicast groups; where it cannot be told so, it lets everything in.

use dpdk::port::{Active, PortInfo, Queues};
use dpdk::{Eal, Error, Mempool, Port, PortConfig};

use super::{Delivery, PortSpec};

/// A started port.
#[derive(Debug)]
pub struct OpenPort {
    /// For questions about it (statistics, link).
    pub port: Port,
    /// Its queues, to be given to the workers.
    pub queues: Queues,
    /// How many receive queues it was started with.
    pub rx_queues: u16,
    /// Its own hardware address.
    pub mac: [u8; 6],
    /// What its driver can do.
    pub info: PortInfo,
    /// Which offloads are on.
    pub active: Active,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Why a port could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("port {name} ({device}): {error}")]
pub struct OpenError {
    /// The port's name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// What DPDK says.
    pub error: Error,
}

/// Opens and starts a port. `workers` is how many transmit queues are useful, `interrupts` whether workers want to sleep.
pub fn open(
    eal: &Eal,
    spec: &PortSpec,
    delivery: Delivery,
    workers: u16,
    interrupts: bool,
    pool: Mempool,
) -> Result<OpenPort, OpenError> {
    let wrap = |error| OpenError { name: spec.name.clone(), device: spec.device.clone(), error };
    let mut port = Port::open(eal, &spec.device).map_err(wrap)?;
    let info = port.info().map_err(wrap)?;
    let rx_queues = spec.queues.clamp(1, info.rx_queues_max.max(1));
    let config = PortConfig {
        rx_queues,
        tx_queues: tx_queues(&info, rx_queues, workers),
        // Checksums of IPv4 headers are adjusted in software, which costs less than the offload's bookkeeping.
        tx_checksums: false,
        rx_interrupts: interrupts,
        ..PortConfig::default()
    };
    let mut warnings = Vec::new();
    if rx_queues < spec.queues {
        let (wanted, name) = (spec.queues, &spec.name);
        warnings.push(format!("port {name}: its device has {rx_queues} receive queue(s), not {wanted}: workers share"));
    }
    let (config, queues) = start_with_mtu(&mut port, config, spec, pool, &mut warnings).map_err(wrap)?;
    let mac = port.mac().map_err(wrap)?;
    let_in(&mut port, delivery, spec).map_err(wrap)?;
    let active = port.active();
    Ok(OpenPort { port, queues, rx_queues: config.rx_queues, mac, info, active, warnings })
}

/// A transmit queue for each worker, if that is the driver's alone to say. Drivers without RSS mostly have someone at the
/// other end who knows of a queue for each receive queue, and of no more (`net_memif` does not even say so). Workers
/// share what there is.
fn tx_queues(info: &PortInfo, rx_queues: u16, workers: u16) -> u16 {
    let useful = if info.rss { workers } else { workers.min(rx_queues) };
    useful.clamp(1, info.tx_queues_max.max(1))
}

/// The call that refuses numbers of queues, as errors name it.
const CONFIGURE: &str = "rte_eth_dev_configure";

/// Starts a port; with as many transmit as receive queues if the driver will have it no other way (`net_tap`).
fn start(port: &mut Port, config: PortConfig, pool: Mempool) -> Result<(PortConfig, Queues), Error> {
    match port.start(&config, pool) {
        Ok(queues) => Ok((config, queues)),
        Err(Error::Invalid { what: CONFIGURE } | Error::NotPermitted { what: CONFIGURE })
            if config.tx_queues != config.rx_queues =>
        {
            let config = PortConfig { tx_queues: config.rx_queues, ..config };
            let queues = port.start(&config, pool)?;
            Ok((config, queues))
        }
        Err(error) => Err(error),
    }
}

/// Starts a port whose device takes frames as long as the configuration says. Many drivers change that before the start
/// only. One that cannot be told (`net_pcap` takes what comes) is believed, with a warning; one that refuses is not: hosts
/// would be promised an MTU at which their packets vanish.
fn start_with_mtu(
    port: &mut Port,
    config: PortConfig,
    spec: &PortSpec,
    pool: Mempool,
    warnings: &mut Vec<String>,
) -> Result<(PortConfig, Queues), Error> {
    if port.mtu().is_ok_and(|mtu| mtu >= spec.mtu) {
        return start(port, config, pool);
    }
    match start(port, PortConfig { mtu: Some(spec.mtu), ..config.clone() }, pool) {
        Err(Error::NotSupported { what: SET_MTU }) => {
            let (name, mtu) = (&spec.name, spec.mtu);
            warnings.push(format!(
                "port {name}: its driver cannot be told of an MTU of {mtu}; see that the device behind it takes such frames"
            ));
            start(port, config, pool)
        }
        Err(Error::Invalid { what: SET_MTU }) => Err(Error::Invalid { what: TOO_LONG }),
        other => other,
    }
}

/// The call that sets an MTU, as errors name it.
const SET_MTU: &str = "rte_eth_dev_set_mtu";
/// What to do when it refuses.
const TOO_LONG: &str = "the device does not take frames as long as `mtu` says: lower it, or make the device take longer \
     ones (net_af_packet: framesz=)";

/// IPv6's "all nodes", and the solicited-node group of each of our addresses.
fn groups(spec: &PortSpec) -> Vec<[u8; 6]> {
    let all = spec.cluster_addresses.iter().chain(&spec.unit_addresses);
    let mut groups: Vec<[u8; 6]> = all
        .filter_map(|i| match i.address {
            std::net::IpAddr::V6(a) => {
                let [.., b, c, d] = a.octets();
                Some([0x33, 0x33, 0xff, b, c, d])
            }
            std::net::IpAddr::V4(_) => None,
        })
        .collect();
    if !groups.is_empty() {
        groups.push([0x33, 0x33, 0, 0, 0, 1]);
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn let_in(port: &mut Port, delivery: Delivery, spec: &PortSpec) -> Result<(), Error> {
    let mut wanted = groups(spec);
    let unicast = match delivery {
        Delivery::Forward => Ok(()),
        Delivery::Unicast(mac) => port.add_mac(mac),
        Delivery::Multicast(mac) => {
            wanted.push(mac);
            Ok(())
        }
    };
    let multicast = if wanted.is_empty() { Ok(()) } else { port.set_multicast_list(&wanted) };
    let multicast = multicast.or_else(|_| port.set_all_multicast(true));
    if unicast.is_ok() && multicast.is_ok() {
        return Ok(());
    }
    match port.set_promiscuous(true) {
        // Drivers without a switch for it let everything in anyway (net_pcap, net_ring).
        Err(Error::NotSupported { .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{Interface, Role};

    #[test]
    fn groups_follow_the_addresses() {
        let at = |text: &str| Interface { address: text.parse().expect("an address"), prefix_len: 64 };
        let mut spec = PortSpec {
            name: "p".into(),
            device: "net_null0".into(),
            role: Role::Inside,
            vlan: None,
            mtu: 1500,
            queues: 1,
            cluster_addresses: vec![at("fd00:2::10"), at("10.2.0.10")],
            unit_addresses: vec![at("fd00:2::1:10")],
        };
        // The last three bytes of both are the same but for the ones before: ff00:10 and ff01:0010.
        assert_eq!(groups(&spec).len(), 3);
        spec.cluster_addresses.clear();
        spec.unit_addresses = vec![at("10.2.0.1")];
        assert!(groups(&spec).is_empty());
    }
}
