//! Real DPDK without hugepages or network cards. EAL starts once a process, so one test runs all cases of this file.

use dpdk::mempool::MempoolConfig;
use dpdk::{Burst, Eal, Error, Mempool, Port, PortConfig};

const MBUFS: u32 = 2047;

#[test]
fn loopback_without_hugepages() {
    let eal = Eal::init(["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "128", "-l", "0"]).unwrap();
    assert_eq!(Eal::init(["--no-pci"]).unwrap_err(), Error::Busy { what: "rte_eal_init" });
    let pool = Mempool::create(&eal, &MempoolConfig::new("frames", MBUFS)).unwrap();
    assert_eq!(pool.available(), MBUFS);
    let cache = MempoolConfig { cache: 513, ..MempoolConfig::new("refused", MBUFS) };
    assert!(matches!(Mempool::create(&eal, &cache), Err(Error::Invalid { .. })));
    mbuf_bounds(pool);
    bursts(pool);
    ring_port(&eal, pool);
    null_port(&eal, pool);
    pcap_port(&eal, pool);
    drivers_that_lack_features(&eal);
    wires_closed_at_once(&eal, pool);
    assert_eq!(pool.available(), MBUFS, "every mbuf is back");
}

fn mbuf_bounds(pool: Mempool) {
    let mut mbuf = pool.alloc_from(b"payload").unwrap();
    assert_eq!((mbuf.data(), mbuf.pkt_len(), mbuf.headroom()), (&b"payload"[..], 7, dpdk::mempool::HEADROOM));
    assert!(mbuf.prepend(129).is_none() && mbuf.adj(8).is_none() && mbuf.trim(8).is_none());
    let tail = mbuf.tailroom();
    assert_eq!(tail, 2048 - 7);
    assert!(mbuf.append(tail + 1).is_none());
    mbuf.prepend(2).unwrap().copy_from_slice(b"> ");
    mbuf.append(2).unwrap().copy_from_slice(b" <");
    assert_eq!(mbuf.data(), b"> payload <");
    mbuf.adj(2).unwrap();
    mbuf.trim(2).unwrap();
    assert_eq!((mbuf.data(), mbuf.headroom()), (&b"payload"[..], dpdk::mempool::HEADROOM));
    mbuf.set_tag(77);
    let copy = mbuf.copy(pool).unwrap();
    mbuf.data_mut()[0] = b'P';
    assert_eq!((copy.data(), mbuf.data()), (&b"payload"[..], &b"Payload"[..]));
    assert!(copy.is_contiguous() && copy.segments().count() == 1);
    let mut four = [0; 4];
    assert_eq!((copy.read(&mut four), &four), (4, b"payl"));
    assert!(pool.alloc_from(&vec![0; 2049]).is_none(), "longer than a buffer");
    assert_eq!(mbuf.tag(), 77);
    assert_eq!(pool.in_use(), 2);
}

fn bursts(pool: Mempool) {
    let mut burst = Burst::<8>::new();
    assert_eq!((pool.fill(&mut burst), burst.is_full()), (8, true));
    let extra = burst.push(pool.alloc().unwrap()).unwrap_err();
    drop(extra);
    for (index, mbuf) in burst.iter_mut().enumerate() {
        mbuf.set_tag(index as u32);
    }
    assert_eq!(burst.swap_remove(1).map(|mbuf| mbuf.tag()), Some(1));
    assert!(burst.swap_remove(7).is_none());
    assert_eq!(burst.iter().map(dpdk::Mbuf::tag).collect::<Vec<_>>(), [0, 7, 2, 3, 4, 5, 6]);
    let mut drain = burst.drain();
    assert_eq!(drain.next().map(|mbuf| mbuf.tag()), Some(0));
    assert_eq!((drain.rest().len(), drain.len()), (6, 6));
    drop(drain);
    assert_eq!((burst.len(), pool.in_use()), (0, 0));
    pool.fill(&mut burst);
    assert_eq!((burst.clear(), pool.in_use()), (8, 0));
    let mut whole = Burst::<2048>::new();
    assert_eq!(pool.fill(&mut whole), 0, "more than the pool has: none");
}

fn ring_port(eal: &Eal, pool: Mempool) {
    let mut port = Port::open(eal, "net_ring0").unwrap();
    assert!(matches!(Port::open(eal, "net_ring0"), Err(Error::Busy { .. })));
    let mut queues = port.start(&PortConfig { tx_ring: 64, ..PortConfig::default() }, pool).unwrap();
    assert!(matches!(port.start(&PortConfig::default(), pool), Err(Error::Busy { .. })));
    let (rx, tx) = (&mut queues.rx[0], &mut queues.tx[0]);
    let mut burst = Burst::<32>::new();
    for index in 0..10_u32 {
        let mut frame = [0xff_u8; 60];
        frame[..4].copy_from_slice(&index.to_be_bytes());
        burst.push(pool.alloc_from(&frame).unwrap()).unwrap();
    }
    assert_eq!((tx.send(&mut burst), burst.len()), (10, 0));
    assert_eq!(rx.receive(&mut burst), 10);
    for (index, mbuf) in burst.iter().enumerate() {
        assert_eq!(mbuf.data()[..4], (index as u32).to_be_bytes());
    }
    burst.clear();
    // What the ring does not take stays with the caller, in order.
    let mut sent = 0;
    let rest = loop {
        pool.fill(&mut burst);
        for (index, mbuf) in burst.iter_mut().enumerate() {
            mbuf.set_tag(sent + index as u32);
        }
        let count = tx.send(&mut burst);
        sent += count as u32;
        if !burst.is_empty() {
            break burst.iter().map(dpdk::Mbuf::tag).collect::<Vec<_>>();
        }
    };
    assert_eq!(rest[0], sent, "the first that was not taken comes first");
    assert_eq!(port.stats().unwrap().tx_packets, u64::from(sent) + 10);
    burst.clear();
    while rx.receive(&mut burst) > 0 {
        burst.clear();
    }
    assert_eq!(port.info().unwrap().driver, "net_ring");
    assert_eq!(pool.in_use(), 0);
    drop((port, queues));
}

fn null_port(eal: &Eal, pool: Mempool) {
    let mut port = Port::open(eal, "net_null0,size=64").unwrap();
    let mut queues = port.start(&PortConfig::default(), pool).unwrap();
    let mut burst = Burst::<32>::new();
    assert_eq!(queues.rx[0].receive(&mut burst), 32);
    assert!(burst.iter().all(|mbuf| mbuf.pkt_len() == 64));
    assert_eq!(queues.tx[0].send(&mut burst), 32);
    assert!(port.mac().is_ok() && port.mtu().is_ok());
    port.link().unwrap();
}

fn pcap_port(eal: &Eal, pool: Mempool) {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.pcap"), folder.path().join("out.pcap"));
    let mut file = Vec::new();
    file.extend([0xa1b2_c3d4_u32.to_le_bytes(), 0x0004_0002_u32.to_le_bytes(), [0; 4], [0; 4]].concat());
    file.extend([65535_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    for index in 0..3_u32 {
        file.extend([index.to_le_bytes(), [0; 4], 60_u32.to_le_bytes(), 60_u32.to_le_bytes()].concat());
        file.extend([index as u8; 60]);
    }
    std::fs::write(&input, file).unwrap();
    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let mut port = Port::open(eal, &device).unwrap();
    let mut queues = port.start(&PortConfig::default(), pool).unwrap();
    let mut burst = Burst::<32>::new();
    assert_eq!(queues.rx[0].receive(&mut burst), 3);
    assert_eq!(burst[2].data(), [2; 60]);
    assert_eq!(queues.tx[0].send(&mut burst), 3);
    drop((port, queues));
    assert_eq!(std::fs::metadata(&output).unwrap().len(), 24 + 3 * (16 + 60), "closing the port writes the file");
}

fn drivers_that_lack_features(eal: &Eal) {
    let mut port = Port::open(eal, "net_ring1").unwrap();
    assert!(port.set_multicast_list(&[[1, 0, 0x5e, 0, 0, 1]]).unwrap_err().is_not_supported());
    assert!(matches!(Port::open(eal, "net_nonsense0"), Err(error) if error != Error::Busy { what: "port" }));
}

/// Closing one end of a wire makes the driver clean up the other, in the background, while that one is closed as well.
fn wires_closed_at_once(eal: &Eal, pool: Mempool) {
    for round in 0..20 {
        let socket = format!("phalanx-loopback-{}-{round}", std::process::id());
        let mut ends = ["server", "client"].map(|role| {
            let device = format!("net_memif_{role}{round},role={role},id={round},socket={socket},socket-abstract=yes");
            let mut port = Port::open(eal, &device).unwrap();
            let queues = port.start(&PortConfig::default(), pool).unwrap();
            (port, queues)
        });
        #[allow(clippy::disallowed_methods, reason = "a test that waits for a background thread")]
        let start = std::time::Instant::now();
        while !ends.iter().all(|(port, _)| port.link().unwrap().up) {
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "the wire does not come up");
            std::thread::yield_now();
        }
        let mut burst = Burst::<1>::new();
        burst.push(pool.alloc_from(&[7; 60]).unwrap()).unwrap();
        assert_eq!(ends[1].1.tx[0].send(&mut burst), 1);
        assert_eq!(ends[0].1.rx[0].receive(&mut burst), 1);
        if round % 2 == 1 {
            ends.reverse();
        }
    }
}
