//! Tunnels and IKE.

use std::sync::atomic::Ordering::Relaxed;

use super::{Page, Sources};

pub(super) fn tunnels(page: &mut Page, sources: &Sources<'_>) {
    let mut names: Vec<&str> = sources.config.static_sas.iter().map(|sa| sa.name.as_str()).collect();
    if ike(page, sources) {
        // What belongs to none of the configuration's is IKE's.
        names.push("ike");
    }
    let stats = |at: usize| sources.shared.tunnels.of(at);
    let is_flow = |event: &str| event.starts_with("packets_") || event.starts_with("bytes_");
    for (family, kind) in [("phalanx_tunnel_packets_total", "packets"), ("phalanx_tunnel_bytes_total", "bytes")] {
        let mut family = page.family(family);
        for (at, name) in names.iter().enumerate() {
            for (event, _, count) in stats(at).iter() {
                if let Some((what, direction)) = event.split_once('_')
                    && what == kind
                {
                    family.add(&[("tunnel", name), ("direction", direction)], count as f64);
                }
            }
        }
    }
    let mut family = page.family("phalanx_tunnel_events_total");
    for (at, name) in names.iter().enumerate() {
        for (event, _, times) in stats(at).iter().filter(|(event, ..)| !is_flow(event)) {
            family.add(&[("tunnel", name), ("event", event)], times as f64);
        }
    }
    let mut family = page.family("phalanx_tunnel_event_info");
    for (event, description, _) in stats(0).iter().filter(|(event, ..)| !is_flow(event)) {
        family.add(&[("event", event), ("description", description)], 1.0);
    }
}

/// Answers whether IKE is spoken, as far as can be seen.
fn ike(page: &mut Page, sources: &Sources<'_>) -> bool {
    let counters = &sources.shared.ike;
    if counters.questions.load(Relaxed) + counters.restored.load(Relaxed) == 0 {
        return false;
    }
    let is_gauge = |event: &str| ["sas", "tunnels"].contains(&event);
    let mut family = page.family("phalanx_ike_sas");
    for (kind, _, count) in counters.iter().filter(|(event, ..)| is_gauge(event)) {
        family.add(&[("kind", kind)], count as f64);
    }
    let mut family = page.family("phalanx_ike_events_total");
    for (event, _, times) in counters.iter().filter(|(event, ..)| !is_gauge(event)) {
        family.add(&[("event", event)], times as f64);
    }
    let mut family = page.family("phalanx_ike_event_info");
    for (event, description, _) in counters.iter().filter(|(event, ..)| !is_gauge(event)) {
        family.add(&[("event", event), ("description", description)], 1.0);
    }
    true
}
