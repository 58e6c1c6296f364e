//! Ethernet ports: opening a device by its string, configuring, starting, and what can be asked of a running one.
//!
//! [`Port::open`] finds or probes the device; [`Port::start`] configures and starts it and gives out its queues, once.
//! Port and queues share the device, which is stopped and closed when the last of them goes.
//!
//! Much is optional in drivers: such calls answer [`Error::NotSupported`], and the caller falls back (promiscuous mode
//! instead of address filters, software checksums).

use std::sync::Arc;

use crate::device::Device;
use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mempool::{Mempool, socket_id};
use crate::queue::{RxQueue, Siblings, TxQueue};

/// How a port is to be set up. Offloads are switched on where wanted *and* supported: see [`Port::active`].
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues; more than one is fed by RSS (or by the driver's own fanout).
    pub rx_queues: u16,
    /// Transmit queues; one a worker.
    pub tx_queues: u16,
    /// Descriptors of each receive queue, adjusted to the driver's limits.
    pub rx_ring: u16,
    /// Descriptors of each transmit queue, likewise.
    pub tx_ring: u16,
    /// The MTU to set; `None` leaves the driver's.
    pub mtu: Option<u16>,
    /// Let the card check received checksums.
    pub rx_checksums: bool,
    /// Let the card fill in checksums to be sent.
    pub tx_checksums: bool,
    /// Allow chains of mbufs to be sent.
    pub multi_segment: bool,
    /// Prepare receive interrupts, if the driver has them.
    pub rx_interrupts: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_ring: 1024,
            tx_ring: 1024,
            mtu: None,
            rx_checksums: true,
            tx_checksums: true,
            multi_segment: true,
            rx_interrupts: false,
        }
    }
}

/// What a device and its driver can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// The driver's name, such as `net_af_packet`.
    pub driver: String,
    /// The kernel interface behind a virtual device, if any.
    pub interface_index: Option<u32>,
    /// Its NUMA socket, if known.
    pub socket: Option<u32>,
    /// The most receive queues.
    pub rx_queues_max: u16,
    /// The most transmit queues.
    pub tx_queues_max: u16,
    /// The largest MTU.
    pub mtu_max: u16,
    /// How many unicast addresses it can filter, its own included.
    pub mac_addresses_max: u32,
    /// Whether it can spread flows over receive queues by RSS.
    pub rss: bool,
}

/// What was switched on when the port started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// The card checks IPv4 header checksums.
    pub rx_ip_checksum: bool,
    /// The card checks TCP and UDP checksums.
    pub rx_l4_checksum: bool,
    /// The card can fill in IPv4 header checksums.
    pub tx_ip_checksum: bool,
    /// The card can fill in TCP and UDP checksums.
    pub tx_l4_checksum: bool,
    /// Chains of mbufs may be sent.
    pub multi_segment: bool,
    /// Flows are spread by RSS.
    pub rss: bool,
}

/// The state of a link, as far as the driver knows; many virtual drivers always say "up".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is a carrier.
    pub up: bool,
    /// Its speed in Mbit/s; `u32::MAX` is unknown.
    pub speed_mbps: u32,
    /// Whether it's full duplex.
    pub full_duplex: bool,
}

/// A port's counters since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets lost because the receive queue was full.
    pub rx_missed: u64,
    /// Broken packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets lost because the pool was used up.
    pub rx_no_mbuf: u64,
}

/// The queues of a port that was started: hand them to the workers.
#[derive(Debug)]
pub struct Queues {
    /// The receive queues, in order.
    pub rx: Vec<RxQueue>,
    /// The transmit queues, in order.
    pub tx: Vec<TxQueue>,
}

/// A port: the side of it that configures and asks.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
    active: Active,
    started: bool,
}

impl Port {
    /// Opens a device by its string: a PCI address or `driverN,key=value,…`. It may have been given to EAL already
    /// (`--vdev`, `-a`); else it's probed now. A port can be open once.
    pub fn open(eal: &Eal, device: &str) -> Result<Self> {
        let name = device.split(',').next().unwrap_or(device).trim();
        let id = match find(name) {
            Ok(id) => id,
            Err(_) => {
                eal.probe(device)?;
                find(name)?
            }
        };
        Ok(Self { device: Arc::new(Device::claim(id)?), active: Active::default(), started: false })
    }

    /// The port's number, as in [`crate::Mbuf::port`].
    pub fn id(&self) -> u16 {
        self.device.id()
    }

    /// What the device and its driver can do.
    pub fn info(&self) -> Result<PortInfo> {
        let raw = self.raw_info()?;
        let driver = if raw.driver_name.is_null() {
            String::new()
        } else {
            // SAFETY: the driver's name is a C string for as long as its plugin is loaded: for ever.
            unsafe { std::ffi::CStr::from_ptr(raw.driver_name) }.to_string_lossy().into_owned()
        };
        // SAFETY: the port exists.
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id()) };
        Ok(PortInfo {
            driver,
            interface_index: (raw.if_index != 0).then_some(raw.if_index),
            socket: u32::try_from(socket).ok(),
            rx_queues_max: raw.max_rx_queues,
            tx_queues_max: raw.max_tx_queues,
            mtu_max: raw.max_mtu,
            mac_addresses_max: raw.max_mac_addrs,
            rss: raw.flow_type_rss_offloads & dpdk_sys::SYS_PORT_RSS_IP_TCP_UDP != 0,
        })
    }

    fn raw_info(&self) -> Result<dpdk_sys::rte_eth_dev_info> {
        let mut info = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: the port exists; `info` is written.
        error::check("rte_eth_dev_info_get", unsafe { dpdk_sys::rte_eth_dev_info_get(self.id(), &mut info) })?;
        Ok(info)
    }

    /// Configures and starts the port, with receive buffers from `pool`, and gives out its queues. Once; what failed may
    /// be tried again with a configuration that asks for less.
    pub fn start(&mut self, config: &PortConfig, pool: Mempool) -> Result<Queues> {
        if self.started {
            return Err(Error::Busy { what: "starting a started port" });
        }
        let info = self.raw_info()?;
        self.configure(config, &info)?;
        if let Some(mtu) = config.mtu {
            self.set_mtu(mtu)?;
        }
        self.set_up_queues(config, pool)?;
        // SAFETY: the port is configured.
        error::check("rte_eth_dev_start", unsafe { dpdk_sys::rte_eth_dev_start(self.id()) })?;
        self.started = true;
        let interface_index = (info.if_index != 0).then_some(info.if_index);
        let siblings = Siblings { rx_queues: config.rx_queues, interface_index };
        Ok(Queues {
            rx: (0..config.rx_queues).map(|queue| RxQueue::new(&self.device, queue, siblings)).collect(),
            tx: (0..config.tx_queues).map(|queue| TxQueue::new(&self.device, queue)).collect(),
        })
    }

    fn configure(&mut self, config: &PortConfig, info: &dpdk_sys::rte_eth_dev_info) -> Result<()> {
        const RX_L4: u64 = dpdk_sys::SYS_PORT_RX_TCP_CKSUM | dpdk_sys::SYS_PORT_RX_UDP_CKSUM;
        const TX_L4: u64 = dpdk_sys::SYS_PORT_TX_TCP_CKSUM | dpdk_sys::SYS_PORT_TX_UDP_CKSUM;
        let mut conf = dpdk_sys::rte_eth_conf::default();
        let (mut rx, mut tx) = (0, 0);
        if config.rx_checksums {
            rx |= RX_L4 | dpdk_sys::SYS_PORT_RX_IPV4_CKSUM;
        }
        if config.tx_checksums {
            tx |= TX_L4 | dpdk_sys::SYS_PORT_TX_IPV4_CKSUM;
        }
        if config.multi_segment {
            tx |= dpdk_sys::SYS_PORT_TX_MULTI_SEGS;
        }
        let hashes = info.flow_type_rss_offloads & dpdk_sys::SYS_PORT_RSS_IP_TCP_UDP;
        let rss = config.rx_queues > 1 && hashes != 0;
        if rss {
            conf.rxmode.mq_mode = dpdk_sys::SYS_PORT_MQ_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = hashes;
            rx |= dpdk_sys::SYS_PORT_RX_RSS_HASH;
        }
        rx &= info.rx_offload_capa;
        tx &= info.tx_offload_capa;
        conf.rxmode.offloads = rx;
        conf.txmode.offloads = tx;
        conf.intr_conf.set_rxq(u32::from(config.rx_interrupts));
        // SAFETY: the port is stopped, and `conf` is copied.
        let answer = unsafe { dpdk_sys::rte_eth_dev_configure(self.id(), config.rx_queues, config.tx_queues, &conf) };
        error::check("rte_eth_dev_configure", answer)?;
        self.active = Active {
            rx_ip_checksum: rx & dpdk_sys::SYS_PORT_RX_IPV4_CKSUM != 0,
            rx_l4_checksum: rx & RX_L4 == RX_L4,
            tx_ip_checksum: tx & dpdk_sys::SYS_PORT_TX_IPV4_CKSUM != 0,
            tx_l4_checksum: tx & TX_L4 == TX_L4,
            multi_segment: tx & dpdk_sys::SYS_PORT_TX_MULTI_SEGS != 0,
            rss,
        };
        Ok(())
    }

    fn set_up_queues(&self, config: &PortConfig, pool: Mempool) -> Result<()> {
        let (id, socket) = (self.id(), socket_id(self.info()?.socket) as u32);
        let (mut rx_ring, mut tx_ring) = (config.rx_ring, config.tx_ring);
        // SAFETY: the port is configured; both numbers are written.
        let answer = unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_ring, &mut tx_ring) };
        error::check("rte_eth_dev_adjust_nb_rx_tx_desc", answer)?;
        for queue in 0..config.rx_queues {
            // SAFETY: the port is configured and stopped; the pool lives for ever; no special configuration.
            let answer = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(id, queue, rx_ring, socket, std::ptr::null(), pool.as_ptr())
            };
            error::check("rte_eth_rx_queue_setup", answer)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let answer = unsafe { dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx_ring, socket, std::ptr::null()) };
            error::check("rte_eth_tx_queue_setup", answer)?;
        }
        Ok(())
    }

    /// The offloads that are on, since the start.
    pub fn active(&self) -> Active {
        self.active
    }

    /// The port's own MAC address.
    pub fn mac(&self) -> Result<[u8; 6]> {
        let mut mac = dpdk_sys::rte_ether_addr::default();
        // SAFETY: the port exists; `mac` is written.
        error::check("rte_eth_macaddr_get", unsafe { dpdk_sys::rte_eth_macaddr_get(self.id(), &mut mac) })?;
        Ok(mac.addr_bytes)
    }

    /// Changes the port's own MAC address.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<()> {
        let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port exists; the address is copied.
        let answer = unsafe { dpdk_sys::rte_eth_dev_default_mac_addr_set(self.id(), &mut mac) };
        error::check("rte_eth_dev_default_mac_addr_set", answer).map(drop)
    }

    /// Lets frames to a further unicast address in.
    pub fn add_mac(&mut self, mac: [u8; 6]) -> Result<()> {
        let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port exists; the address is copied.
        let answer = unsafe { dpdk_sys::rte_eth_dev_mac_addr_add(self.id(), &mut mac, 0) };
        error::check("rte_eth_dev_mac_addr_add", answer).map(drop)
    }

    /// Takes [`Self::add_mac`] back.
    pub fn remove_mac(&mut self, mac: [u8; 6]) -> Result<()> {
        let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port exists; the address is copied.
        let answer = unsafe { dpdk_sys::rte_eth_dev_mac_addr_remove(self.id(), &mut mac) };
        error::check("rte_eth_dev_mac_addr_remove", answer).map(drop)
    }

    /// Lets frames to these multicast addresses in, and to no others.
    pub fn set_multicast_list(&mut self, macs: &[[u8; 6]]) -> Result<()> {
        let mut list: Vec<_> = macs.iter().map(|&addr_bytes| dpdk_sys::rte_ether_addr { addr_bytes }).collect();
        // SAFETY: the port exists; the list has the stated length and is copied.
        let answer = unsafe { dpdk_sys::rte_eth_dev_set_mc_addr_list(self.id(), list.as_mut_ptr(), list.len() as u32) };
        error::check("rte_eth_dev_set_mc_addr_list", answer).map(drop)
    }

    /// Lets all frames in, or only those addressed to the port.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<()> {
        // SAFETY: the port exists.
        let answer = unsafe {
            if on {
                dpdk_sys::rte_eth_promiscuous_enable(self.id())
            } else {
                dpdk_sys::rte_eth_promiscuous_disable(self.id())
            }
        };
        error::check("rte_eth_promiscuous", answer).map(drop)
    }

    /// Lets all multicast frames in, or only those of the list.
    pub fn set_all_multicast(&mut self, on: bool) -> Result<()> {
        // SAFETY: the port exists.
        let answer = unsafe {
            if on {
                dpdk_sys::rte_eth_allmulticast_enable(self.id())
            } else {
                dpdk_sys::rte_eth_allmulticast_disable(self.id())
            }
        };
        error::check("rte_eth_allmulticast", answer).map(drop)
    }

    /// The MTU.
    pub fn mtu(&self) -> Result<u16> {
        let mut mtu = 0;
        // SAFETY: the port exists; `mtu` is written.
        error::check("rte_eth_dev_get_mtu", unsafe { dpdk_sys::rte_eth_dev_get_mtu(self.id(), &mut mtu) })?;
        Ok(mtu)
    }

    /// Sets the MTU.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<()> {
        // SAFETY: the port exists.
        error::check("rte_eth_dev_set_mtu", unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.id(), mtu) }).map(drop)
    }

    /// The link's state, without waiting.
    pub fn link(&self) -> Result<Link> {
        let (mut speed_mbps, mut full_duplex, mut up) = (0, 0, 0);
        // SAFETY: the port exists; the three numbers are written.
        let answer = unsafe { dpdk_sys::shim_eth_link_get(self.id(), &mut speed_mbps, &mut full_duplex, &mut up) };
        error::check("rte_eth_link_get_nowait", answer)?;
        Ok(Link { up: up != 0, speed_mbps, full_duplex: full_duplex != 0 })
    }

    /// The port's counters.
    pub fn stats(&self) -> Result<PortStats> {
        let mut raw = dpdk_sys::rte_eth_stats::default();
        // SAFETY: the port exists; `raw` is written.
        error::check("rte_eth_stats_get", unsafe { dpdk_sys::rte_eth_stats_get(self.id(), &mut raw) })?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            tx_packets: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            rx_no_mbuf: raw.rx_nombuf,
        })
    }
}

fn find(name: &str) -> Result<u16> {
    const WHAT: &str = "rte_eth_dev_get_port_by_name";
    let name = error::c_string(WHAT, name)?;
    let mut id = 0;
    // SAFETY: a C string; `id` is written.
    error::check(WHAT, unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) })?;
    Ok(id)
}
