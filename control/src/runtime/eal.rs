//! DPDK's start-up arguments: what the operator gave, and what follows from the rest of the configuration.
//!
//! Workers are ordinary threads that register with DPDK, so DPDK itself needs a single lcore, for the thread that starts
//! it. That one is allowed on all CPUs of the process: an EAL argument must not pin what the configuration did not.

use phalanx_config::{Config, Port};

use super::settings::device_name;

/// The arguments for a configuration; `cpus` are those that the process may use.
pub(super) fn arguments(config: &Config, cpus: &[usize]) -> Vec<String> {
    let mut arguments = config.eal.args.clone();
    let has = |names: &[&str]| {
        let is = |argument: &String, name: &&str| {
            argument == name
                || (name.starts_with("--") && argument.starts_with(&format!("{name}=")))
                || (!name.starts_with("--") && argument.starts_with(name) && !argument.starts_with("--"))
        };
        config.eal.args.iter().any(|argument| names.iter().any(|name| is(argument, name)))
    };
    let mut more = Vec::new();
    if !has(&["--lcores", "-l", "-c"]) && !cpus.is_empty() {
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        more.push(format!("--lcores=0@({})", cpus.join(",")));
    }
    if !has(&["--in-memory", "--no-huge", "--huge-dir", "--file-prefix"]) {
        more.push("--in-memory".to_owned());
    }
    if !has(&["--no-telemetry"]) {
        more.push("--no-telemetry".to_owned());
    }
    let pci: Vec<&Port> = config.ports.iter().filter(|port| is_pci(&port.device)).collect();
    if pci.is_empty() && !has(&["--no-pci"]) {
        more.push("--no-pci".to_owned());
    }
    more.extend(pci.iter().map(|port| format!("--allow={}", port.device)));
    more.extend(config.ports.iter().filter(|port| !is_pci(&port.device)).map(|port| format!("--vdev={}", vdev(port))));
    arguments.extend(more);
    arguments
}

/// `0000:01:00.0`, with or without the domain, perhaps with arguments behind a comma.
fn is_pci(device: &str) -> bool {
    let name = device_name(device);
    let parts: Vec<&str> = name.split([':', '.']).collect();
    let hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (3..=4).contains(&parts.len()) && name.contains(':') && parts.iter().all(hex)
}

/// The device string with the number of queues, which this driver wants to know when the device is made.
fn vdev(port: &Port) -> String {
    let wants = port.device.starts_with("net_af_packet") && port.queues.get() > 1 && !port.device.contains("qpairs=");
    if wants { format!("{},qpairs={}", port.device, port.queues) } else { port.device.clone() }
}

/// The arguments of virtual devices that name a kernel interface: `net_af_packet`, `net_af_xdp` and `net_pcap` read and
/// write one, `net_pcap` perhaps two, and `net_tap` makes one and may mirror another.
const INTERFACE_ARGUMENTS: &[&str] = &["iface", "rx_iface", "rx_iface_in", "tx_iface", "remote"];

/// The kernel interfaces behind a virtual device: without any one of them it carries nothing.
pub(super) fn kernel_interfaces(device: &str) -> impl Iterator<Item = &str> {
    device.split(',').skip(1).filter_map(|argument| {
        let (key, interface) = argument.split_once('=')?;
        INTERFACE_ARGUMENTS.contains(&key.trim()).then(|| interface.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::settings::tests::example;

    #[test]
    fn what_is_missing_is_added_and_nothing_is_overridden() {
        let mut config = example("forward");
        let plain = arguments(&config, &[0, 1]);
        let expected = ["--lcores=0@(0,1)", "--in-memory", "--no-telemetry", "--allow=0000:01:00.0"];
        assert_eq!(plain[..4], expected);
        assert_eq!(plain[4], "--vdev=net_af_packet0,iface=o");
        config.eal.args = ["--no-huge", "-m", "128", "-l", "0"].map(str::to_owned).to_vec();
        config.ports.pop();
        config.ports[0].queues = 2.try_into().unwrap();
        let own = arguments(&config, &[0, 1]);
        assert_eq!(own[..5], config.eal.args);
        assert_eq!(own[5..], ["--no-telemetry", "--no-pci", "--vdev=net_af_packet0,iface=o,qpairs=2"]);
    }

    #[test]
    fn devices_are_told_apart() {
        assert!(is_pci("0000:01:00.0") && is_pci("01:00.0") && is_pci("0000:01:00.0,iova=va"));
        assert!(!is_pci("net_af_packet0,iface=o") && !is_pci("eth_bond0"));
        let behind = |device| kernel_interfaces(device).collect::<Vec<_>>();
        assert_eq!(behind("net_af_packet0,iface=o,qpairs=2"), ["o"]);
        assert_eq!(behind("net_pcap0,rx_iface=a,tx_iface=b"), ["a", "b"]);
        assert_eq!(behind("net_tap0,iface=t0,remote=eth1"), ["t0", "eth1"]);
        assert!(behind("net_null0").is_empty() && behind("net_memif0,role=server").is_empty());
    }
}
