//! A guest's kernel: how its TCP is set, what its network does to packets, and what it has counted.

use std::collections::BTreeMap;

use super::cases::{Case, Fault, Window};
use crate::lab::{Lab, Outcome, failure};

/// Buffers of an ordinary host: least, default, most.
const LARGE: &str = "4096 131072 6291456";
/// Where a kernel tells them.
const COUNTERS: [&str; 2] = ["/proc/net/snmp", "/proc/net/netstat"];
/// Two or three segments.
const SMALL: &str = "4096 4096 4096";

/// Once for each guest: packets that come are led through an interface of their own, where `netem` can be; and each is to
/// be one packet, not several in one.
pub(super) fn prepare(lab: &Lab, guest: &str) -> Outcome<()> {
    let script = "modprobe -a sch_netem sch_ingress ifb act_mirred cls_matchall &&
        ethtool -K vec0 gso off tso off gro off > /dev/null &&
        { ip link show ifb0 > /dev/null 2>&1 || ip link add ifb0 type ifb; } && ip link set ifb0 up &&
        tc qdisc add dev vec0 handle ffff: ingress &&
        tc filter add dev vec0 parent ffff: matchall action mirred egress redirect dev ifb0";
    lab.run(guest, &["sh", "-c", script]).map(drop)
}

/// Sets a guest as the case has it; the kernel must say that it is so. What it has counted by then.
pub(super) fn set(lab: &Lab, guest: &str, case: &Case) -> Outcome<Counters> {
    let buffers = if case.window == Window::Guest { SMALL } else { LARGE };
    let wanted = [
        ("tcp_window_scaling", u8::from(case.scaling).to_string()),
        ("tcp_timestamps", u8::from(case.timestamps).to_string()),
        ("tcp_sack", u8::from(case.sack).to_string()),
        ("tcp_rmem", buffers.to_owned()),
        ("tcp_wmem", buffers.to_owned()),
    ];
    let mut script = String::from("set -e\n");
    for (name, value) in &wanted {
        script += &format!("echo {value} > /proc/sys/net/ipv4/{name}\n");
    }
    script += &netem("vec0", case.fault.out);
    script += &netem("ifb0", case.fault.inn);
    for (name, _) in &wanted {
        script += &format!("tr '\\t' ' ' < /proc/sys/net/ipv4/{name}\n");
    }
    script += &format!("cat {}\n", COUNTERS.join(" "));
    let said = lab.run(guest, &["sh", "-c", &script])?;
    let mut lines = said.lines();
    let is: Vec<&str> = lines.by_ref().take(wanted.len()).collect();
    let want: Vec<&str> = wanted.iter().map(|(_, value)| value.as_str()).collect();
    if is != want {
        return Err(failure(format!("{guest} has {is:?} instead of {want:?}")));
    }
    Ok(Counters::parse(lines))
}

fn netem(interface: &str, what: &str) -> String {
    // Without any the command fails, which is well.
    let fresh = format!("tc qdisc del dev {interface} root 2> /dev/null || :\n");
    if what.is_empty() {
        fresh
    } else {
        fresh + &format!("tc qdisc add dev {interface} root netem limit 5000 {what}\n")
    }
}

/// What a kernel has counted, by name.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<String, i64>);

impl Counters {
    /// As they are now.
    pub(super) fn read(lab: &Lab, guest: &str) -> Outcome<Self> {
        let text = lab.run(guest, &["cat", COUNTERS[0], COUNTERS[1]])?;
        Ok(Self::parse(text.lines()))
    }

    /// Lines in pairs: names, then values.
    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let lines: Vec<&str> = lines.collect();
        let pairs = lines.as_chunks::<2>().0.iter();
        let named = pairs.flat_map(|[names, values]| names.split_whitespace().zip(values.split_whitespace()).skip(1));
        Self(named.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// One of them; zero if the kernel does not know it.
    pub fn of(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What has come since.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.clone(), value - earlier.of(name))).collect())
    }
}

/// What the kernel counts where it feels a fault: the proof that the network was bad.
pub(super) fn proof(fault: &Fault) -> &'static [&'static str] {
    match fault.name {
        "loss" | "corruption" => &["RetransSegs"],
        "reordering" => &["TCPOFOQueue"],
        "all" => &["RetransSegs", "TCPOFOQueue"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let text = "Tcp: RtoMin RetransSegs\nTcp: 200 7\nTcpExt: TCPOFOQueue\nTcpExt: 5\n";
        let later = text.replace('7', "9");
        let (before, after) = (Counters::parse(text.lines()), Counters::parse(later.lines()));
        assert_eq!((after.since(&before).of("RetransSegs"), after.of("TCPOFOQueue"), after.of("Tcp:")), (2, 5, 0));
    }
}
