//! `[[ipsec.bypass]]` and `[[ipsec.discard]]`: traffic that no tunnel is asked about.

use ipnet::IpNet;
use toml::de::DeTable;

use super::ike::traffic;
use super::repeated;
use crate::defaults;
use crate::problem::{Kind, Problems};
use crate::read::Section;
use crate::schema::TrafficRule;

const BYPASS: &str = "[[ipsec.bypass]]";
const DISCARD: &str = "[[ipsec.discard]]";

/// All rules, those that let pass first; none if any of them is wrong.
pub(super) fn rules(problems: &mut Problems<'_>, table: &DeTable<'_>) -> Option<Vec<TrafficRule>> {
    let mut rules = Vec::new();
    let mut count = 0;
    for (key, name, discard) in [("bypass", BYPASS, false), ("discard", DISCARD, true)] {
        for section in repeated(problems, table, key, name) {
            count += 1;
            if count == defaults::TRAFFIC_RULES_MAX + 1 {
                let what = format!("there are more than {} of {BYPASS} and {DISCARD}", defaults::TRAFFIC_RULES_MAX);
                problems.add(&section.span, Kind::OutOfRange, what, "use fewer: each is tried for each packet");
            }
            rules.extend(rule(problems, section, name, discard));
        }
    }
    (rules.len() == count && count <= defaults::TRAFFIC_RULES_MAX).then_some(rules)
}

fn rule(problems: &mut Problems<'_>, mut s: Section<'_, '_>, name: &str, discard: bool) -> Option<TrafficRule> {
    let local_ts = s.required(problems, "local_ts", "[\"10.3.0.5/32[tcp/22]\"]", |r| traffic(r, "give at least one"));
    let remote_ts = s.required(problems, "remote_ts", "[\"10.9.0.0/24\"]", |r| traffic(r, "give at least one"));
    s.finish(problems);
    let (local_ts, remote_ts) = (local_ts?, remote_ts?);
    let is_v4 = |network: &IpNet| network.addr().is_ipv4();
    let meet = local_ts
        .value
        .iter()
        .any(|one| remote_ts.value.iter().any(|other| is_v4(&one.network) == is_v4(&other.network)));
    if !meet {
        let what = format!("{name} `remote_ts`: no packet goes between these networks and those of `local_ts`");
        problems.add(&remote_ts.span, Kind::Contradiction, what, "give both sides networks of one family");
        return None;
    }
    Some(TrafficRule { discard, local_ts: local_ts.value, remote_ts: remote_ts.value })
}
