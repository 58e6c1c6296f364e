//! Tunnels whose keys are set by hand: a Linux kernel's ESP and AH, in a guest, against the cluster's. Owner after owner is killed under
//! traffic both ways; the guest's kernel judges what it gets, and a capture on its wire shows every number and IV that the
//! cluster ever sent.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::pcap::Frame;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Plan, clock, guest, stage};

const GUEST: &str = "10.2.0.164";
const CLUSTER: &str = "10.2.0.10";
/// Owners that are killed.
const KILLS: usize = 4;
/// Behind the guest.
const BRANCH: &str = "10.9.0.1";
/// The low ten bits are the tunnel's unit.
const SPI_IN: u32 = 0x1_004d;
const SPI_OUT: u32 = 0x2_0001;

/// How a tunnel is protected, in the configuration's words and in those of `ip xfrm`.
struct Suite {
    protocol: &'static str,
    number: u8,
    transform: &'static str,
    esn: bool,
    /// Lengths of both keys in bytes.
    keys: [usize; 2],
    /// Where SPI, number and IV are on the wire.
    spi_at: usize,
    iv: Range<usize>,
    linux: fn(&[String; 2]) -> Vec<String>,
}

const GCM: Suite = Suite {
    protocol: "esp",
    number: 50,
    transform: "aes128gcm16",
    esn: true,
    keys: [20, 0],
    spi_at: 0,
    iv: 8..16,
    linux: |[key, _]| words(&["aead", "rfc4106(gcm(aes))", key, "128"]),
};

const CBC: Suite = Suite {
    protocol: "esp",
    number: 50,
    transform: "aes256-sha256",
    esn: false,
    keys: [32, 32],
    spi_at: 0,
    iv: 8..24,
    linux: |[key, check]| words(&["enc", "cbc(aes)", key, "auth-trunc", "hmac(sha256)", check, "128"]),
};

const AH: Suite = Suite {
    protocol: "ah",
    number: 51,
    transform: "sha256",
    esn: true,
    keys: [0, 32],
    spi_at: 4,
    // There is none; nothing comes twice.
    iv: 8..12,
    // Linux rounds AH up to eight bytes over IPv4, too, unless it is told not to.
    linux: |[_, check]| words(&["flag", "align4", "auth-trunc", "hmac(sha256)", check, "128"]),
};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Suite {
    /// Both keys of a direction.
    fn keys(&self, direction: u8) -> [String; 2] {
        [0, 1].map(|at| format!("0x{}", format!("{:02x}", 0x10 * direction + at as u8).repeat(self.keys[at])))
    }

    fn config(&self) -> String {
        let ([cipher_in, check_in], [cipher_out, check_out]) = (self.keys(1), self.keys(2));
        let Self { protocol, transform, esn, .. } = self;
        let mut keys = String::new();
        if self.keys[0] > 0 {
            keys += &format!("encryption_key_in = \"{cipher_in}\"\nencryption_key_out = \"{cipher_out}\"\n");
        }
        if self.keys[1] > 0 {
            keys += &format!("integrity_key_in = \"{check_in}\"\nintegrity_key_out = \"{check_out}\"\n");
        }
        format!(
            "[[ipsec.sa]]\nname = \"branch\"\nlocal = \"{CLUSTER}\"\nremote = \"{GUEST}\"\n\
             local_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.9.0.0/24\"]\n{protocol} = \"{transform}\"\nesn = {esn}\n\
             spi_in = {SPI_IN}\nspi_out = {SPI_OUT}\n{keys}"
        )
    }

    /// Sets the guest's kernel up as the other end.
    fn set_up(&self, lab: &Lab) {
        guest::load_ipsec(lab, "guest").unwrap();
        let guest = |argv: &[&str]| {
            lab.run("guest", argv).unwrap_or_else(|problem| panic!("{argv:?}: {problem}"));
        };
        guest(&["ip", "address", "add", &format!("{BRANCH}/32"), "dev", "lo"]);
        guest(&["ip", "route", "replace", "10.3.0.0/24", "via", CLUSTER, "src", BRANCH]);
        let ways = [(GUEST, CLUSTER, SPI_IN, 1, "1"), (CLUSTER, GUEST, SPI_OUT, 2, "2")];
        for (from, to, spi, direction, id) in ways {
            let spi = format!("{spi:#x}");
            let state = ["ip", "xfrm", "state", "add", "src", from, "dst", to, "proto", self.protocol, "spi", &spi];
            let mut argv = words(&[&state[..], &["reqid", id, "mode", "tunnel", "replay-window", "128"]].concat());
            argv.extend(words(if self.esn { &["flag", "esn"] } else { &[] }));
            argv.extend((self.linux)(&self.keys(direction)));
            guest(&argv.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let policies = [
            ("10.9.0.0/24", "10.3.0.0/24", "out", GUEST, CLUSTER, "1"),
            ("10.3.0.0/24", "10.9.0.0/24", "in", CLUSTER, GUEST, "2"),
        ];
        for (from, to, direction, outer_from, outer_to, id) in policies {
            let policy = ["ip", "xfrm", "policy", "add", "src", from, "dst", to, "dir", direction];
            let template =
                ["tmpl", "src", outer_from, "dst", outer_to, "proto", self.protocol, "reqid", id, "mode", "tunnel"];
            guest(&[&policy[..], &template].concat());
        }
    }
}

fn load() -> Load {
    Load {
        host: "server".into(),
        server: BRANCH.parse().unwrap(),
        sources: vec![stage::server(false)],
        pings_per_s: 100,
        udp_per_s: 50,
        connections_per_s: 10,
        streams: 0,
        download_kbytes_per_s: 300,
    }
}

/// What the wire shows of the cluster.
struct Sent {
    packets: usize,
    /// The longest times without a packet, longest first.
    pauses_ms: Vec<f64>,
}

/// What the cluster sent: no number and no IV twice, and nothing in clear.
fn look_at_the_wire(frames: &[Frame], suite: &Suite) -> Sent {
    let (cluster, branch): (IpAddr, IpAddr) = (CLUSTER.parse().unwrap(), BRANCH.parse().unwrap());
    let (mut numbers, mut ivs, mut times) = (HashSet::new(), HashSet::new(), Vec::new());
    for frame in frames {
        let Some((protocol, from, to, payload)) = frame.ip() else { continue };
        assert!(from != branch && to != branch, "{from} -> {to} went over the wire in clear");
        if (protocol, from) == (suite.number, cluster) {
            let named = &payload[suite.spi_at..];
            assert_eq!(named[..4], SPI_OUT.to_be_bytes());
            assert!(numbers.insert(named[4..8].to_vec()), "number {:?} came twice", &named[4..8]);
            assert!(ivs.insert(payload[suite.iv.clone()].to_vec()), "an IV came twice");
            times.push(frame.at_us);
        }
    }
    let mut pauses_ms: Vec<f64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 / 1e3).collect();
    pauses_ms.sort_by(|a, b| b.total_cmp(a));
    Sent { packets: numbers.len(), pauses_ms }
}

fn outlives_its_owners(mode: &'static str, suite: &Suite) {
    let mut lab = Lab::up(Plan { config: Some(suite.config()), ..Plan::new(mode, "none") }).unwrap();
    lab.call(&["host", "add", "guest", "outside", "--uml"]).unwrap();
    suite.set_up(&lab);
    lab.run("server", &["ip", "route", "add", "10.9.0.0/24", "via", "10.3.0.10"]).unwrap();
    let capture = Capture::start(&lab, "guest", "any", "tunnel", "ip").unwrap();
    let _server = Server::start(&lab, "guest").unwrap();
    let traffic = Traffic::start(&lab, &load(), "tunnel").unwrap();
    clock::last(Duration::from_secs(2));
    for _ in 0..KILLS {
        let (host, branch) = (stage::server(false), BRANCH.parse().unwrap());
        assert_eq!(lab.unit(host, branch).unwrap(), u64::from(SPI_IN % 1024), "the tunnel's unit is its traffic's");
        let victim = lab.owner(host, branch).unwrap();
        lab.act("kill", victim).unwrap();
        clock::last(Duration::from_secs(2));
        lab.act("start", victim).unwrap();
        lab.await_healthy(Duration::from_secs(30)).unwrap();
        clock::until(Duration::from_secs(30), Duration::from_millis(200), || {
            match lab.total("phalanx_replica_lacking_units{")? {
                0.0 => Ok(()),
                lacking => Err(phalanx_tests::lab::failure(format!("backups lack {lacking} units"))),
            }
        })
        .unwrap();
    }
    // Before the hosts fall silent: from then on a pause says nothing.
    let frames = capture.finish().unwrap();
    let report = traffic.finish().unwrap();
    assert_eq!(report.tcp_failed(), 0, "{}", report.0["tcp"]["failures"]);
    assert!(report.downloaded().is_some_and(|bytes| bytes > 1_000_000), "{}", report.0["download"]);
    let Sent { packets, pauses_ms } = look_at_the_wire(&frames, suite);
    assert!(packets > 1000, "the cluster sent {packets} packets");
    // Pings go into the tunnel all the time, so what the wire shows is the cluster alone: the guest, a process like any other,
    // stands still now and then while a member starts.
    println!("{mode}, {}: the cluster's longest pauses were {:.0?} ms", suite.transform, &pauses_ms[..KILLS]);
    assert!(pauses_ms[0] <= lab.timing.detection_ms() + 300.0, "the cluster sent nothing for {} ms", pauses_ms[0]);
    let judged = lab.run("guest", &["cat", "/proc/net/xfrm_stat"]).unwrap();
    for line in judged.lines() {
        let mut fields = line.split_whitespace();
        let (name, count) = (fields.next().unwrap_or(""), fields.next().unwrap_or("?"));
        assert_eq!(count, "0", "the guest's kernel counts {name}:\n{judged}");
    }
    for event in ["not_restored", "late_refused"] {
        let line = format!("phalanx_tunnel_events_total{{tunnel=\"branch\",event=\"{event}\"}}");
        assert_eq!(lab.total(&line).unwrap(), 0.0, "{event}");
    }
    assert!(lab.total("phalanx_tunnel_events_total{tunnel=\"branch\",event=\"restored\"}").unwrap() > 0.0);
}

#[test]
fn forward_gcm_outlives_its_owners() {
    outlives_its_owners("forward", &GCM);
}

#[test]
fn unicast_ah_outlives_its_owners() {
    outlives_its_owners("unicast", &AH);
}

#[test]
fn multicast_cbc_outlives_its_owners() {
    outlives_its_owners("multicast", &CBC);
}
