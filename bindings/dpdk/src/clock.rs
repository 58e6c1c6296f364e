//! The processor's time stamp counter: the only clock that is cheap enough to read once a burst.

use crate::eal::Eal;

/// The counter's present value, in cycles.
#[inline(always)]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter register.
    unsafe {
        dpdk_sys::shim_rdtsc()
    }
}

/// The rate of the counter, for converting cycles to nanoseconds and back. A plain value: copy it to each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    hz: u64,
    /// Nanoseconds per cycle, times 2^32.
    ns_scaled: u64,
}

impl Rate {
    /// The rate as DPDK measured it at its start.
    pub fn of(_eal: &Eal) -> Self {
        // SAFETY: the EAL is initialised; it reads a variable.
        Self::from_hz(unsafe { dpdk_sys::rte_get_tsc_hz() })
    }

    /// A counter of `hz` cycles per second; 0 counts as 1.
    pub fn from_hz(hz: u64) -> Self {
        let hz = hz.max(1);
        let scaled = (1_000_000_000_u128 << 32) / u128::from(hz);
        Self { hz, ns_scaled: scaled.min(u128::from(u64::MAX)) as u64 }
    }

    /// Cycles per second.
    pub fn hz(self) -> u64 {
        self.hz
    }

    /// `cycles` in nanoseconds, saturating.
    #[inline]
    pub fn to_ns(self, cycles: u64) -> u64 {
        u64::try_from((u128::from(cycles) * u128::from(self.ns_scaled)) >> 32).unwrap_or(u64::MAX)
    }

    /// `ns` nanoseconds in cycles, saturating.
    #[inline]
    pub fn to_cycles(self, ns: u64) -> u64 {
        u64::try_from(u128::from(ns) * u128::from(self.hz) / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_agree() {
        let rate = Rate::from_hz(2_300_000_000);
        assert_eq!(rate.to_cycles(1_000_000_000), 2_300_000_000);
        let second = rate.to_ns(2_300_000_000);
        assert!((999_999_990..=1_000_000_000).contains(&second), "{second}");
        assert_eq!(Rate::from_hz(0).to_cycles(1_000_000_000), 1);
        assert_eq!(Rate::from_hz(u64::MAX).to_cycles(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_counter_advances() {
        let first = cycles();
        while cycles() == first {}
    }
}
