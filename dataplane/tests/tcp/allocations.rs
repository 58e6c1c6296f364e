//! After construction, nothing is allocated.

use super::relay::Session;
use dpdk::alloc_count::thread_allocations;

#[test]
fn a_relayed_segment_costs_no_allocation() {
    let mut session = Session::new();
    let total = [u64::MAX; 2];
    for _ in 0..200 {
        session.applications(total);
        session.round();
    }
    let (before, segments) = (thread_allocations(), session.segments);
    for _ in 0..500 {
        session.applications(total);
        session.round();
    }
    assert!(session.segments - segments > 10_000, "{}", session.segments - segments);
    assert_eq!(thread_allocations(), before);
    drop(Box::new(7));
    assert!(thread_allocations() > before, "allocations are counted");
}
