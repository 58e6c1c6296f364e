//! What each unit cost lately, for the balance: so many times 100 us of processor time a second.
//!
//! All members measure alike, whatever their clock rates. The step is coarse on purpose: an idle unit weighs one in the
//! balance, all of them together a tenth of a processor. So neither a lone ping nor a few rounds that the system
//! interrupted (a machine's neighbours do that, and each counts as much as the longest round) send idle units around.

use dpdk::clock::Rate;
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::worker::Shared;

use crate::cluster::Span;

/// One step of load, in nanoseconds per second.
const STEP_NS: u64 = 100_000;
const SECOND_NS: u64 = 1_000_000_000;

/// The workers' cycle counters as they were last time, and what was reported then.
pub(super) struct LoadMeter {
    rate: Rate,
    last: Vec<(u64, u32)>,
}

impl LoadMeter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, last: vec![(0, 0); UNITS] }
    }

    /// The units that cost something in the `span` since the last call, and those that no longer do.
    pub(super) fn take(&mut self, shared: &Shared, span: Span) -> Vec<(Unit, u32)> {
        let mut loads = Vec::new();
        for (unit, (cycles, load)) in Unit::all().zip(&mut self.last) {
            let workers = shared.workers.iter();
            let now = workers.map(|worker| worker.loads.cycles(unit).get()).fold(0, u64::wrapping_add);
            let spent_ns = self.rate.to_ns(now.wrapping_sub(*cycles));
            let per_second = u128::from(spent_ns) * u128::from(SECOND_NS) / u128::from(span.0.max(1));
            let before = std::mem::replace(load, u32::try_from(per_second / u128::from(STEP_NS)).unwrap_or(u32::MAX));
            *cycles = now;
            if *load > 0 || before > 0 {
                loads.push((unit, *load));
            }
        }
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts_and_its_end_is_told_once() {
        let shared = Shared::new(2, 1, 0, 0);
        let mut meter = LoadMeter::new(Rate::from_hz(1_000_000_000));
        let unit = Unit::from_low_bits(5);
        shared.workers[0].loads.cycles(unit).add(1_000_000);
        shared.workers[1].loads.cycles(unit).add(123_450);
        shared.workers[1].loads.cycles(Unit::from_low_bits(6)).add(3_000);
        assert_eq!(meter.take(&shared, Span(SECOND_NS / 2)), [(unit, 22)]);
        assert_eq!(meter.take(&shared, Span(SECOND_NS)), [(unit, 0)]);
        assert!(meter.take(&shared, Span(SECOND_NS)).is_empty());
    }

    /// With a tenth of this step, a nearly idle member on a busy machine gave away all the units that were pinged.
    #[test]
    fn a_few_interrupted_rounds_weigh_little_beside_idle_units() {
        let shared = Shared::new(1, 1, 0, 0);
        let mut meter = LoadMeter::new(Rate::from_hz(1_000_000_000));
        // What a worker charges for a round that was interrupted, eight times in a second.
        shared.workers[0].loads.cycles(Unit::from_low_bits(5)).add(8 * 1_000_000);
        let weight: u32 = meter.take(&shared, Span(SECOND_NS)).iter().map(|(_, load)| load).sum();
        assert!((weight as usize) < UNITS / 10, "{weight}");
    }
}
