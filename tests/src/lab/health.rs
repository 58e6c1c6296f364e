//! Whether members are one whole cluster: the same members, one master, every unit owned. Pure.

use std::collections::BTreeSet;

use phalanx_control::status::{MemberRole, Status};

use super::{Outcome, failure};

/// The master's number, if these are the words of exactly one healthy cluster.
pub fn agreed(reports: &[Status]) -> Outcome<u8> {
    let all: BTreeSet<u8> = reports.iter().map(|report| report.member.id).collect();
    let masters: BTreeSet<Option<u8>> = reports.iter().map(|report| report.master).collect();
    for report in reports {
        let who = &report.member.name;
        let seen: BTreeSet<u8> = report.members.iter().map(|member| member.id).collect();
        if seen != all {
            return Err(failure(format!("{who} ({}) sees members {seen:?} of {all:?}", report.role.as_str())));
        }
        if !matches!(report.role, MemberRole::Member | MemberRole::Master) {
            return Err(failure(format!("{who} is {}", report.role.as_str())));
        }
        if report.units.assigned != report.units.total || report.units.total == 0 {
            return Err(failure(format!(
                "{who} has {} of {} units assigned",
                report.units.assigned, report.units.total
            )));
        }
    }
    match masters.iter().next() {
        Some(Some(master)) if masters.len() == 1 => Ok(*master),
        _ => Err(failure(format!("members name these masters: {masters:?}"))),
    }
}

/// What the counters' sum is short of what was received; packets that are under way while a status is made may be missing
/// for a moment, so this is only exact in an idle lab.
pub fn imbalance(report: &Status) -> i128 {
    let counters = &report.counters;
    let ended = [counters.forwarded, counters.relayed, counters.delivered, counters.dropped, counters.held];
    i128::from(counters.received) - ended.iter().map(|&packets| i128::from(packets)).sum::<i128>()
}

#[cfg(test)]
mod tests {
    use phalanx_control::status::{MemberName, MemberStatus, PacketTotals};

    use super::*;

    fn report(id: u8, members: &[u8], master: Option<u8>, assigned: u16) -> Status {
        let mut status = Status { member: MemberName { id, name: format!("m{id}") }, master, ..Status::default() };
        status.role = if master == Some(id) { MemberRole::Master } else { MemberRole::Member };
        status.members = members.iter().map(|&id| MemberStatus { id, ..MemberStatus::default() }).collect();
        (status.units.total, status.units.assigned) = (1024, assigned);
        status
    }

    #[test]
    fn a_cluster_is_healthy_if_all_say_the_same() {
        let both = [1, 2];
        assert_eq!(agreed(&[report(1, &both, Some(2), 1024), report(2, &both, Some(2), 1024)]).unwrap(), 2);
        for ill in [
            [report(1, &both, Some(1), 1024), report(2, &both, Some(2), 1024)],
            [report(1, &both, Some(2), 1024), report(2, &[2], Some(2), 1024)],
            [report(1, &both, Some(2), 1023), report(2, &both, Some(2), 1024)],
            [report(1, &both, None, 1024), report(2, &both, None, 1024)],
        ] {
            assert!(agreed(&ill).is_err());
        }
        assert!(agreed(&[]).is_err());
    }

    #[test]
    fn counters_must_add_up() {
        let counters = PacketTotals { received: 10, forwarded: 4, relayed: 3, delivered: 1, dropped: 1, held: 1 };
        let mut status = Status { counters, ..Status::default() };
        assert_eq!(imbalance(&status), 0);
        status.counters.dropped = 0;
        assert_eq!(imbalance(&status), 1);
    }
}
