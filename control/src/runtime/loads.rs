//! What each unit cost lately, for the balance: nanoseconds of processor time, which all members measure alike.

use dpdk::clock::Rate;
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::worker::Shared;

/// The workers' cycle counters as they were last time.
pub(super) struct LoadMeter {
    rate: Rate,
    cycles: Vec<u64>,
}

impl LoadMeter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, cycles: vec![0; UNITS] }
    }

    /// The units that cost something since the last call, and how much.
    pub(super) fn take(&mut self, shared: &Shared) -> Vec<(Unit, u32)> {
        let mut loads = Vec::new();
        for (unit, before) in Unit::all().zip(&mut self.cycles) {
            let sum = |worker: &std::sync::Arc<_>| cycles_of(worker, unit);
            let now = shared.workers.iter().map(sum).fold(0, u64::wrapping_add);
            let spent_ns = self.rate.to_ns(now.wrapping_sub(*before));
            *before = now;
            if spent_ns > 0 {
                loads.push((unit, u32::try_from(spent_ns).unwrap_or(u32::MAX)));
            }
        }
        loads
    }
}

fn cycles_of(worker: &phalanx_dataplane::worker::WorkerShared, unit: Unit) -> u64 {
    worker.loads.of(unit).cycles.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let shared = Shared::new(2, 1);
        let mut meter = LoadMeter::new(Rate::from_hz(1_000_000_000));
        let unit = Unit::from_low_bits(5);
        shared.workers[0].loads.of(unit).cycles.add(100);
        shared.workers[1].loads.of(unit).cycles.add(11);
        let loads = meter.take(&shared);
        assert!(matches!(loads.as_slice(), [(u, 110..=111)] if *u == unit), "{loads:?}");
        assert!(meter.take(&shared).is_empty());
    }
}
