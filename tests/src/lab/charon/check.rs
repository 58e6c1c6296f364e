//! A connection used from its beginning to its end.

use std::net::IpAddr;
use std::time::Duration;

use super::{Charon, ChildSa, Connection};
use crate::lab::{Lab, Outcome, clock, failure};

/// Sets up the connection's first child, pings a host at its other end so many times, and takes the connection down
/// again. Every ping must come back, and the SA's counters must show that both ways led through it. The SA as it was at
/// its end.
///
/// The connection becomes the daemon's only one.
pub fn connect_and_check(
    lab: &Lab,
    charon: &mut Charon,
    connection: &Connection,
    host: IpAddr,
    pings: u32,
) -> Outcome<ChildSa> {
    let child = connection.children.first().ok_or_else(|| failure(format!("{} has no child", connection.name)))?;
    charon.load(lab, &[connection])?;
    charon.initiate(lab, &child.name)?;
    let begun = charon.sa(lab)?;
    if begun.local_vips.len() != connection.virtual_ips.len() {
        let (asked, got) = (&connection.virtual_ips, &begun.local_vips);
        return Err(failure(format!("{} asked for the addresses {asked:?} and has {got:?}", charon.host())));
    }
    let before = begun.child()?;
    ping(lab, charon.host(), host, pings)?;
    let ended = charon.sa(lab)?;
    let after = ended.child()?.clone();
    let came = after.received.packets - before.received.packets;
    let went = after.sent.packets - before.sent.packets;
    if (after.spi_in, after.spi_out) != (before.spi_in, before.spi_out) {
        return Err(failure(format!("the SA was another after the pings: {before:?}, {after:?}")));
    }
    if came < u64::from(pings) || went < u64::from(pings) {
        return Err(failure(format!("of {pings} pings and their answers {went} went through the SA and {came} came")));
    }
    charon.terminate(lab, &connection.name)?;
    let gone = clock::until(Duration::from_secs(3), Duration::from_millis(50), || match charon.sas(lab)?.as_slice() {
        [] => Ok(()),
        left => Err(failure(format!("{} was taken down and has {left:?}", connection.name))),
    });
    gone.map(|_| after)
}

/// Every one must be answered.
fn ping(lab: &Lab, from: &str, to: IpAddr, count: u32) -> Outcome<()> {
    let (count, to) = (count.to_string(), to.to_string());
    lab.run(from, &["ping", "-n", "-q", "-c", &count, "-i", "0.02", "-W", "2", &to]).and_then(|said| {
        match said.contains(" 0% packet loss") {
            true => Ok(()),
            false => Err(failure(format!("{from} -> {to}: {said}"))),
        }
    })
}
