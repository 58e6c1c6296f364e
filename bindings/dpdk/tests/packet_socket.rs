//! Sleeping until packets come, with the drivers that the lab uses, in a network namespace of this process's own. Without
//! the privilege to make one there is nothing to test, and the test says so.

use std::process::Command;
use std::time::Duration;

use dpdk::mempool::MempoolConfig;
use dpdk::wait::{WaitSet, Woken, packet_sockets};
use dpdk::{Burst, Eal, Error, Mempool, Port, PortConfig};

const LONG: Duration = Duration::from_secs(10);

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn packets_end_a_sleep() {
    // SAFETY: moves this thread, and those that it starts, into a namespace of their own.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        panic!("a network namespace of our own takes root: run the tests as root");
    }
    ip("link add near0 type veth peer name far0");
    for name in ["near0", "far0"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        ip(&format!("link set {name} arp off up"));
    }
    let eal = Eal::init(["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "128", "-l", "0"]).unwrap();
    let pool = Mempool::create(&eal, &MempoolConfig::new("frames", 4095)).unwrap();
    let open = |device: &str| {
        let mut port = Port::open(&eal, device).unwrap();
        let queues = port.start(&PortConfig { rx_ring: 256, tx_ring: 256, ..PortConfig::default() }, pool).unwrap();
        (port, queues)
    };
    let (mut near, mut near_queues) = open("net_af_packet0,iface=near0");
    let (far, mut far_queues) = open("net_af_packet1,iface=far0");
    assert_eq!(packet_sockets().unwrap().len(), 2);
    assert!(near.set_all_multicast(true).unwrap_err().is_not_supported());
    near.set_promiscuous(true).unwrap();
    assert_eq!(near.info().unwrap().driver, "net_af_packet");

    let mut set = WaitSet::new().unwrap();
    assert_eq!(set.add_queue(&far_queues.rx[0]), Ok(1));
    let mut received = Burst::<32>::new();
    // What the kernel itself sent while the interfaces came up.
    while set.wait(Some(Duration::from_millis(200))).unwrap().ready > 0 {
        far_queues.rx[0].receive(&mut received);
        received.clear();
    }
    let mut frame = vec![0xff; 6];
    frame.extend(near.mac().unwrap());
    frame.extend([0x88, 0xb5]);
    frame.resize(60, 7);
    let mut burst = Burst::<32>::new();
    burst.push(pool.alloc_from(&frame).unwrap()).unwrap();
    assert_eq!(near_queues.tx[0].send(&mut burst), 1);
    assert_eq!(set.wait(Some(LONG)), Ok(Woken { by_waker: false, ready: 1 }));
    assert_eq!(far_queues.rx[0].receive(&mut received), 1);
    assert_eq!(received[0].data(), frame);
    received.clear();

    let waker = set.waker();
    std::thread::scope(|scope| {
        scope.spawn(move || waker.wake());
        assert!(set.wait(Some(LONG)).unwrap().by_waker);
    });
    let null = open("net_null0");
    assert!(matches!(set.add_queue(&null.1.rx[0]), Err(Error::NotSupported { .. })));
    tap(&eal, pool);
    drop((set, near, near_queues, far, far_queues, null, burst, received));
    assert_eq!(packet_sockets().unwrap(), [], "closing the ports closes their sockets");
    assert_eq!(pool.in_use(), 0);
}

/// A driver with a receive interrupt, and a link state.
fn tap(eal: &Eal, pool: Mempool) {
    let mut port = Port::open(eal, "net_tap0,iface=tap0").unwrap();
    let config = PortConfig { rx_interrupts: true, rx_ring: 256, tx_ring: 256, ..PortConfig::default() };
    let queues = port.start(&config, pool).unwrap();
    let mut set = WaitSet::new().unwrap();
    assert_eq!(set.add_queue(&queues.rx[0]), Ok(1));
    port.link().unwrap();
}
