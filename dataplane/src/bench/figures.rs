//! From counts to rates.

use dpdk::clock::Rate;

/// What a stretch of work amounted to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figures {
    /// Packets received.
    pub packets: u64,
    /// Cycles of the time stamp counter that passed.
    pub cycles: u64,
    /// Heap allocations of the working thread.
    pub allocations: u64,
    rate: Rate,
}

impl Figures {
    /// Nothing yet, on a counter of this rate.
    pub fn new(rate: Rate) -> Self {
        Self { packets: 0, cycles: 0, allocations: 0, rate }
    }

    /// Adds another stretch.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.cycles += other.cycles;
        self.allocations += other.allocations;
    }

    fn per_packet(&self, amount: f64) -> f64 {
        if self.packets == 0 { 0.0 } else { amount / self.packets as f64 }
    }

    /// Nanoseconds per packet.
    pub fn ns_per_packet(&self) -> f64 {
        self.per_packet(self.cycles as f64 * 1e9 / self.rate.hz() as f64)
    }

    /// Cycles per packet.
    pub fn cycles_per_packet(&self) -> f64 {
        self.per_packet(self.cycles as f64)
    }

    /// Heap allocations per packet.
    pub fn allocations_per_packet(&self) -> f64 {
        self.per_packet(self.allocations as f64)
    }

    /// Millions of packets per second.
    pub fn mpps(&self) -> f64 {
        let ns = self.ns_per_packet();
        if ns == 0.0 { 0.0 } else { 1e3 / ns }
    }

    /// Gigabits per second of frames of `size` bytes, counted as DPDK counts them: without checksum, preamble and gap.
    pub fn gbps(&self, size: u16) -> f64 {
        self.mpps() * f64::from(size) * 8.0 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_counts() {
        let mut figures = Figures::new(Rate::from_hz(2_000_000_000));
        assert_eq!((figures.mpps(), figures.ns_per_packet()), (0.0, 0.0));
        figures.add(&Figures { packets: 100, cycles: 4000, allocations: 50, ..figures });
        assert_eq!(figures.cycles_per_packet(), 40.0);
        assert_eq!(figures.ns_per_packet(), 20.0);
        assert_eq!(figures.mpps(), 50.0);
        assert_eq!(figures.gbps(64), 25.6);
        assert_eq!(figures.allocations_per_packet(), 0.5);
    }
}
