//! Classification alone: receive, look, count the unit, free. The look is the worker's own ([`Look`]).

use dpdk::mempool::MempoolConfig;
use dpdk::{Burst, Eal, Mempool, Port, RxQueue};

use super::{BenchError, FROM};
use crate::filter::Filter;
use crate::parse::summarise;
use crate::port::open;
use crate::steer::code;
use crate::unit::UNITS;
use crate::worker::{Addresses, BURST, DataplaneConfig, Gate, Look};

/// One port, and how often each unit was seen.
pub(super) struct Classifier {
    queue: RxQueue,
    gate: Gate,
    addresses: Addresses,
    filter: Filter,
    look: Look,
    codes: Box<[u8; UNITS]>,
    counts: Box<[u64; UNITS]>,
    pub(super) pool: Mempool,
    _port: Port,
}

impl Classifier {
    pub(super) fn open(eal: &Eal, config: &DataplaneConfig, buffers: u32) -> Result<Self, BenchError> {
        let pool = Mempool::create(eal, &MempoolConfig::new("classify", buffers))?;
        let spec = &config.ports[usize::from(FROM)];
        let mut opened = open(eal, spec, config.delivery, 1, false, pool)?;
        Ok(Self {
            queue: opened.queues.rx.remove(0),
            gate: Gate::new(opened.mac, config.delivery.shared_mac(), false),
            addresses: Addresses::new(&config.ports),
            filter: Filter::new(config.scheme, config.key),
            look: Look::default(),
            codes: Box::new([code::MINE; UNITS]),
            counts: Box::new([0; UNITS]),
            pool,
            _port: opened.port,
        })
    }

    /// Packets whose unit was found.
    pub(super) fn classified(&self) -> u64 {
        self.counts.iter().sum()
    }

    #[inline]
    pub(super) fn poll_once(&mut self) -> usize {
        let mut burst = Burst::<BURST>::new();
        let count = self.queue.receive(&mut burst);
        self.look.at(&burst, &self.gate, &self.addresses, &self.filter, &self.codes);
        for i in 0..burst.len().min(BURST) {
            let unit = if self.look.codes[i] == code::MINE {
                self.look.units[i]
            } else {
                let frame = burst[i].data();
                let Ok(summary) = summarise(frame, None) else { continue };
                let to_cluster = self.addresses.destination_of(&summary).is_some();
                self.filter.unit_of_frame(&summary, to_cluster, frame)
            };
            self.counts[unit.index()] += 1;
        }
        burst.clear();
        count
    }
}
