//! Rings, lookup tables, reassembly and fragmentation. EAL starts once a process, so one test runs all cases of this file.

use dpdk::fib::{Fib4, Fib6, FibConfig, Layout};
use dpdk::mempool::MempoolConfig;
use dpdk::reassembly::{Losses, Outcome, Reassembler, ReassemblyConfig};
use dpdk::{Burst, Eal, Error, Mempool, fragment, ring};

const MBUFS: u32 = 1023;
const LINK: [u8; 14] = *b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0";

#[test]
fn tables_without_hugepages() {
    let eal = Eal::init(["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "256", "-l", "0"]).unwrap();
    let pool = Mempool::create(&eal, &MempoolConfig::new("frames", MBUFS)).unwrap();
    hand_over(&eal, pool);
    for (name, layout) in [("tree", Layout::Tree), ("direct", Layout::Direct { groups: 64 })] {
        let config = FibConfig { name: name.into(), routes_max: 100, layout, default_hop: 999, socket: None };
        routes_of_ipv4(&eal, &config);
        routes_of_ipv6(&eal, &config);
    }
    reassembly_of_ipv4(&eal, pool);
    reassembly_of_ipv6(&eal, pool);
    losses_of_reassembly(&eal, pool);
    fragmentation(&eal, pool);
    fragmentation_of_ipv6(&eal, pool);
    assert_eq!(pool.available(), MBUFS, "every mbuf is back");
}

fn hand_over(eal: &Eal, pool: Mempool) {
    let (mut sender, mut receiver) = ring::channel(eal, "over", 40, None).unwrap();
    assert_eq!(sender.capacity(), 63);
    let total = 1000_u32;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _registered = eal.register_thread().unwrap();
            assert!(dpdk::eal::lcore().is_some());
            let mut burst = Burst::<32>::new();
            let mut next = 0;
            while next < total {
                receiver.receive(&mut burst);
                for mbuf in burst.drain() {
                    assert_eq!(mbuf.tag(), next, "in order, none lost");
                    next += 1;
                }
                std::thread::yield_now();
            }
        });
        let mut burst = Burst::<32>::new();
        for tag in 0..total {
            let mut mbuf = loop {
                match pool.alloc() {
                    Some(mbuf) => break mbuf,
                    None => std::thread::yield_now(),
                }
            };
            mbuf.set_tag(tag);
            burst.push(mbuf).unwrap();
            while (burst.is_full() || tag + 1 == total) && !burst.is_empty() {
                if sender.send(&mut burst) == 0 {
                    std::thread::yield_now();
                }
            }
        }
    });
    let (mut sender, receiver) = ring::channel(eal, "left", 7, None).unwrap();
    let mut burst = Burst::<16>::new();
    pool.fill(&mut burst);
    assert_eq!((sender.send(&mut burst), burst.len(), receiver.len()), (7, 9, 7), "a full ring leaves the rest");
    drop((sender, receiver, burst));
    assert_eq!(pool.in_use(), 0, "what was left in the ring is freed");
}

fn routes_of_ipv4(eal: &Eal, config: &FibConfig) {
    let address = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
    let mut fib = Fib4::create(eal, config).unwrap();
    assert!(Fib4::create(eal, config).is_err(), "names are unique");
    fib.add(address("10.0.0.0"), 8, 1).unwrap();
    fib.add(address("10.1.2.128"), 25, 2).unwrap();
    assert!(fib.add(0, 33, 1).is_err() && fib.add(0, 0, 0x8000).is_err());
    let addresses = ["10.9.9.9", "10.1.2.129", "10.1.2.1", "11.0.0.1"].map(address);
    let mut hops = [0; 4];
    fib.lookup(&addresses, &mut hops);
    assert_eq!(hops, [1, 2, 1, 999]);
    fib.delete(address("10.1.2.128"), 25).unwrap();
    assert!(fib.delete(address("10.1.2.128"), 25).is_err());
    fib.lookup(&addresses[..2], &mut hops[..2]);
    assert_eq!(hops[..2], [1, 1]);
    fib.lookup(&[], &mut hops);
}

fn routes_of_ipv6(eal: &Eal, config: &FibConfig) {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut fib = Fib6::create(eal, config).unwrap();
    fib.add(&address("fd00::"), 8, 1).unwrap();
    fib.add(&address("fd00:1::"), 64, 2).unwrap();
    fib.add(&address("fd00:1::5"), 128, 3).unwrap();
    let addresses = ["fd00:2::1", "fd00:1::1", "fd00:1::5", "2001:db8::"].map(address);
    let mut hops = [0; 4];
    fib.lookup(&addresses, &mut hops);
    assert_eq!(hops, [1, 2, 3, 999]);
    fib.delete(&address("fd00:1::"), 64).unwrap();
    fib.lookup(&addresses[1..2], &mut hops);
    assert_eq!(hops[0], 1);
}

/// A fragment of IPv4, `word` being flags and offset, with Ethernet padding behind.
fn fragment_of_ipv4(id: u16, word: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = LINK.to_vec();
    frame.extend([0x45, 0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([id.to_be_bytes(), word.to_be_bytes(), [64, 17], [0, 0]].concat());
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(payload);
    frame.extend([0xee; 6]);
    frame
}

fn sum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    ((sum & 0xffff) + (sum >> 16)) as u16
}

fn bytes_of(mbuf: &dpdk::Mbuf) -> Vec<u8> {
    mbuf.segments().flatten().copied().collect()
}

fn reassembler(eal: &Eal) -> Reassembler {
    Reassembler::create(eal, &ReassemblyConfig { packets_max: 64, timeout_cycles: 1000, socket: None }).unwrap()
}

fn reassembly_of_ipv4(eal: &Eal, pool: Mempool) {
    let mut table = reassembler(eal);
    let mbuf = |bytes: &[u8]| pool.alloc_from(bytes).unwrap();
    let (first, last) = (fragment_of_ipv4(7, 0x2000, &[1; 16]), fragment_of_ipv4(7, 2, &[2; 5]));
    for order in [[&first, &last], [&last, &first]] {
        assert!(matches!(table.ipv4(mbuf(order[0]), 14, 10), Outcome::Taken));
        let Outcome::Whole { packet: whole, fragments: 2 } = table.ipv4(mbuf(order[1]), 14, 20) else {
            panic!("whole")
        };
        let bytes = bytes_of(&whole);
        assert_eq!(bytes[..14], LINK);
        assert_eq!((u16::from_be_bytes([bytes[16], bytes[17]]), &bytes[20..22]), (41, &[0, 0][..]));
        assert_eq!(sum(&bytes[14..34]), 0xffff, "the header's checksum is right");
        assert_eq!(bytes[34..], [&[1_u8; 16][..], &[2; 5]].concat());
        let copy = whole.copy(pool).unwrap();
        assert!(copy.is_contiguous() && copy.data() == bytes);
    }
    for broken in [
        fragment_of_ipv4(8, 0, &[1; 16]),
        fragment_of_ipv4(8, 0x2000, &[1; 15]),
        fragment_of_ipv4(8, 0x2000, &[]),
        fragment_of_ipv4(8, 0x1fff, &[1; 16]),
        fragment_of_ipv4(8, 0x2000, &[1; 64])[..60].to_vec(),
        first[..20].to_vec(),
    ] {
        assert!(matches!(table.ipv4(mbuf(&broken), 14, 30), Outcome::Refused(_)), "{broken:?}");
    }
    assert!(matches!(table.ipv4(mbuf(&first), 14, 100), Outcome::Taken));
    assert_eq!(pool.in_use(), 1);
    table.expire(5000);
    assert_eq!(pool.in_use(), 0, "time is up");
    assert!(matches!(table.ipv4(mbuf(&first), 14, 6000), Outcome::Taken));
    drop(table);
    assert_eq!(pool.in_use(), 0, "the table frees what it holds");
}

/// Every fragment that was taken is whole, lost or still there.
fn losses_of_reassembly(eal: &Eal, pool: Mempool) {
    let mut table = reassembler(eal);
    let put = |table: &mut Reassembler, id: u16, word: u16, len: usize, now: u64| {
        let outcome = table.ipv4(pool.alloc_from(&fragment_of_ipv4(id, word, &vec![3; len])).unwrap(), 14, now);
        assert!(matches!(outcome, Outcome::Taken), "{outcome:?}");
        table.take_losses()
    };
    let none = Losses::default();
    // Never complete: expired together, and when another packet of the same name comes too late.
    for id in 0..40 {
        assert_eq!(put(&mut table, id, 0x2000, 16, 10), none);
        assert_eq!(put(&mut table, id, 0x2004, 16, 10), none);
    }
    table.expire(1010);
    assert_eq!((table.take_losses(), pool.in_use()), (none, 80), "not yet");
    assert_eq!(put(&mut table, 7, 0x2008, 16, 1011), Losses { expired: 2, ..none });
    table.expire(1011);
    assert_eq!((table.take_losses(), pool.in_use()), (Losses { expired: 78, ..none }, 1));
    table.expire(u64::MAX);
    assert_eq!((table.take_losses(), pool.in_use()), (Losses { expired: 1, ..none }, 0));
    // Full: the newcomer goes, alone. A full bucket is full, too, so it may come to that a little early.
    let full: u32 = (0..100).map(|id| put(&mut table, id, 0x2000, 16, 10).full).sum();
    assert!((36..60).contains(&full), "{full}");
    assert_eq!(pool.in_use(), 100 - full);
    table.expire(u64::MAX);
    assert_eq!((table.take_losses(), pool.in_use()), (Losses { expired: 100 - full, ..none }, 0));
    // Twice the first; nine; and as many bytes as there should be, but with a hole.
    assert_eq!(put(&mut table, 1, 0x2000, 16, 10), none);
    assert_eq!(put(&mut table, 1, 0x2000, 16, 10), Losses { failed: 2, ..none });
    let many: Vec<_> = (1..=7).map(|n| put(&mut table, 2, 0x2000 + n * 2, 16, 10)).collect();
    assert_eq!((many[..6].iter().all(|lost| *lost == none), many[6]), (true, Losses { failed: 7, ..none }));
    for word in [0x2000, 0x2002, 0x2002] {
        assert_eq!(put(&mut table, 3, word, 8, 10), none);
    }
    assert_eq!(put(&mut table, 3, 3, 8, 10), Losses { failed: 4, ..none }, "two of them in one chain");
    assert_eq!(pool.in_use(), 0);
}

fn fragment_of_ipv6(word: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = LINK.to_vec();
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([44, 64]);
    frame.extend([[0xfd; 16], [0xfe; 16]].concat());
    frame.extend([17, 0]);
    frame.extend(word.to_be_bytes());
    frame.extend(9_u32.to_be_bytes());
    frame.extend(payload);
    frame
}

fn reassembly_of_ipv6(eal: &Eal, pool: Mempool) {
    let mut table = reassembler(eal);
    let mbuf = |bytes: &[u8]| pool.alloc_from(bytes).unwrap();
    assert!(matches!(table.ipv6(mbuf(&fragment_of_ipv6(16, &[2; 5])), 14, 1), Outcome::Taken));
    let Outcome::Whole { packet: whole, fragments: 2 } = table.ipv6(mbuf(&fragment_of_ipv6(1, &[1; 16])), 14, 2) else {
        panic!("whole")
    };
    let bytes = bytes_of(&whole);
    assert_eq!((bytes.len(), u16::from_be_bytes([bytes[18], bytes[19]]), bytes[20]), (14 + 40 + 21, 21, 17));
    assert_eq!(bytes[54..], [&[1_u8; 16][..], &[2; 5]].concat());
    for broken in [fragment_of_ipv6(1, &[1; 15]), fragment_of_ipv6(0, &[]), fragment_of_ipv6(1, &[0; 8])[..60].to_vec()]
    {
        assert!(matches!(table.ipv6(mbuf(&broken), 14, 3), Outcome::Refused(_)));
    }
}

fn fragmentation(eal: &Eal, pool: Mempool) {
    let payload: Vec<u8> = (0..1400_u16).map(|n| n as u8).collect();
    let original = fragment_of_ipv4(5, 0, &payload);
    let mut packet = pool.alloc_from(&original).unwrap();
    let mut out = Burst::<8>::new();
    assert_eq!(fragment::ipv4(&mut packet, 14, 576, pool, &mut out), Ok(3));
    assert_eq!(packet.data(), &original[..original.len() - 6], "only the padding is gone");
    let mut table = reassembler(eal);
    let mut whole = None;
    for part in out.drain() {
        assert!(part.is_contiguous() && part.data_len() <= 14 + 576 && part.data()[..14] == LINK);
        assert_eq!(sum(&part.data()[14..34]), 0xffff);
        if let Outcome::Whole { packet: mbuf, .. } = table.ipv4(part, 14, 1) {
            whole = Some(bytes_of(&mbuf));
        }
    }
    assert_eq!(whole.unwrap()[34..], payload);
    let mut one = Burst::<1>::new();
    assert!(fragment::ipv4(&mut packet, 14, 576, pool, &mut one).is_err() && one.is_empty(), "too little room");
    let mut fixed = pool.alloc_from(&fragment_of_ipv4(5, 0x4000, &payload)).unwrap();
    assert!(matches!(fragment::ipv4(&mut fixed, 14, 576, pool, &mut out), Err(Error::NotSupported { .. })));
    assert!(fragment::ipv4(&mut packet, 14, 20, pool, &mut out).is_err());
}

/// A packet of IPv6: these headers (the first one's number before them), then the payload, with Ethernet padding behind.
fn packet_of_ipv6(first: u8, headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = LINK.to_vec();
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(((headers.len() + payload.len()) as u16).to_be_bytes());
    frame.extend([first, 64]);
    frame.extend([[0xfd; 16], [0xfe; 16]].concat());
    frame.extend(headers);
    frame.extend(payload);
    frame.extend([0xee; 3]);
    frame
}

fn fragmentation_of_ipv6(eal: &Eal, pool: Mempool) {
    let bytes: Vec<u8> = (0..1900_u16).map(|n| (n % 251) as u8).collect();
    let mut out = Burst::<16>::new();
    let cut = |frame: &[u8], mtu: u16, out: &mut Burst<16>| {
        fragment::ipv6(&pool.alloc_from(frame).unwrap(), 14, mtu, 0x0102_0304, pool, out)
    };
    // Every length about the places where one more fragment begins.
    for (mtu, len) in [(1280, 1241), (1280, 1248), (1280, 1249), (576, 1900), (300, 1900), (576, 1056), (576, 1057)] {
        let count = cut(&packet_of_ipv6(17, &[], &bytes[..len]), mtu, &mut out);
        assert_eq!(count, Ok(out.len()));
        let each = usize::from(mtu - 48) / 8 * 8;
        assert_eq!(out.len(), len.div_ceil(each), "{len} bytes in {mtu}");
        let mut table = reassembler(eal);
        let mut whole = None;
        for (index, part) in out.drain().enumerate() {
            let data = part.data();
            assert!(part.is_contiguous() && data.len() <= 14 + usize::from(mtu) && data[..14] == LINK);
            assert_eq!(usize::from(u16::from_be_bytes([data[18], data[19]])), data.len() - 54);
            assert_eq!((data[20], data[54], &data[58..62]), (44, 17, &[1, 2, 3, 4][..]));
            let word = usize::from(u16::from_be_bytes([data[56], data[57]]));
            assert_eq!(word, index * each + usize::from((index + 1) * each < len), "offset, and whether more come");
            assert_eq!(&data[62..], &bytes[index * each..len.min((index + 1) * each)]);
            if let Outcome::Whole { packet: mbuf, .. } = table.ipv6(part, 14, 1) {
                whole = Some(bytes_of(&mbuf));
            }
        }
        assert_eq!(whole.unwrap()[..], packet_of_ipv6(17, &[], &bytes[..len])[..54 + len]);
    }
    // Hop-by-hop options, then destination options before a routing header: each fragment has them; options behind go
    // with the data.
    let hops =
        [[60, 0, 1, 4, 0, 0, 0, 0], [43, 0, 1, 4, 0, 0, 0, 0], [60, 0, 0, 0, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]];
    let frame = packet_of_ipv6(0, &hops.concat(), &bytes);
    assert_eq!(cut(&frame, 1280, &mut out), Ok(2));
    let mut data: Vec<u8> = Vec::new();
    for part in out.drain() {
        let part = part.data();
        assert_eq!(part[54..70], frame[54..70]);
        assert_eq!((part[20], part[70], part[78]), (0, 44, 60), "the routing header names the fragment header");
        data.extend(&part[86..]);
    }
    assert_eq!(data, frame[78..frame.len() - 3]);
    let long = packet_of_ipv6(17, &[], &bytes);
    for (what, frame, mtu) in [
        ("it fits", &packet_of_ipv6(17, &[], &bytes[..100]), 1280),
        ("no room for data", &long, 48),
        ("a fragment", &packet_of_ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9], &bytes), 1280),
        ("cut off", &long[..1000].to_vec(), 576),
        ("headers beyond the end", &packet_of_ipv6(0, &[43, 255, 0, 0, 0, 0, 0, 0], &bytes[..1500]), 1280),
        ("too many", &long, 80),
    ] {
        assert!(cut(frame, mtu, &mut out).is_err(), "{what}");
        assert!(out.is_empty());
    }
    let packet = pool.alloc_from(&long).unwrap();
    let mut hoard: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    hoard.truncate(hoard.len() - 1);
    assert!(matches!(fragment::ipv6(&packet, 14, 1280, 9, pool, &mut out), Err(Error::NoMemory { .. })));
    assert!(out.is_empty());
    drop(hoard);
}
