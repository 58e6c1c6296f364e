//! The tunnels of a worker: those of the configuration, always there, and those of IKE that are awake.
//!
//! A tunnel of IKE's may take the place of an older one (RFC 7296 section 2.8). The peer installs the new one when it has our answer, or
//! before it answers us; so what we send goes on through the old one until the peer has shown that it has the new one, or until
//! the old one is gone.

use std::collections::BTreeMap;

use super::mix::Table;
use super::spec::TunnelSpec;
use super::tunnel::Tunnel;
use crate::parse::{Family, address_number};
use crate::unit::{UNITS, Unit};

/// How many tunnels may have taken one another's place at once.
const CHAIN_MAX: usize = 8;

/// A tunnel that may be awake. What packets need comes first.
#[repr(C)]
pub(super) struct Slot {
    pub(super) tunnel: Option<Box<Tunnel>>,
    /// Which counters are its.
    pub(super) counters: usize,
    /// What only IKE's have.
    pub(super) child: Option<Child>,
    pub(super) spec: TunnelSpec,
}

/// The part of a [`Slot`] that packets need.
const HOT: usize = std::mem::offset_of!(Slot, spec);

/// What IKE knows of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// The IKE SA that it belongs to.
    pub(super) ike_spi: u64,
    /// The tunnel whose place it takes.
    pub(super) replaces: Option<u32>,
    /// The one that takes its place.
    pub(super) successor: Option<u32>,
    /// Whether the peer has sent anything through it.
    pub(super) heard: bool,
    /// When its peer's address last changed.
    pub(super) moved_ns: Option<u64>,
}

impl Child {
    /// Whether what we send goes through this one, and not through an older or a newer one.
    #[inline]
    pub(super) const fn is_in_use(&self) -> bool {
        self.successor.is_none() && (self.heard || self.replaces.is_none())
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Slots {
    all: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_spi: Table<u32, usize>,
    by_unit: Vec<BTreeMap<u32, usize>>,
    children: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { by_unit: vec![BTreeMap::new(); UNITS], ..Self::default() }
    }

    /// Puts one in. Answers its number, which is its until it is taken out.
    pub(super) fn insert(&mut self, mut slot: Slot) -> usize {
        let (spi, unit) = (slot.spec.inbound.spi, slot.spec.unit());
        self.link(spi, unit, &mut slot);
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        self.by_spi.insert(spi, number);
        self.by_unit[unit.index()].insert(spi, number);
        self.children += usize::from(slot.child.is_some());
        self.all[number] = Some(slot);
        number
    }

    /// Who takes whose place: whichever of them woke up first.
    fn link(&mut self, spi: u32, unit: Unit, slot: &mut Slot) {
        let Some(child) = &mut slot.child else { return };
        for (other, number) in &self.by_unit[unit.index()] {
            let Some(Slot { child: Some(it), .. }) = &mut self.all[*number] else { continue };
            if it.replaces == Some(spi) {
                child.successor = Some(*other);
            }
            if child.replaces == Some(*other) {
                it.successor = Some(spi);
            }
        }
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, number: usize) -> Option<Slot> {
        let slot = self.all.get_mut(number)?.take()?;
        self.free.push(number);
        self.children -= usize::from(slot.child.is_some());
        self.by_spi.remove(&slot.spec.inbound.spi);
        self.by_unit[slot.spec.unit().index()].remove(&slot.spec.inbound.spi);
        Some(slot)
    }

    /// A tunnel is gone for good: nobody takes its place any more.
    pub(super) fn forget(&mut self, unit: Unit, spi: u32) {
        for number in self.by_unit[unit.index()].values() {
            let Some(Slot { child: Some(it), .. }) = &mut self.all[*number] else { continue };
            it.replaces = it.replaces.filter(|old| *old != spi);
            it.successor = it.successor.filter(|new| *new != spi);
        }
    }

    #[inline]
    pub(super) fn find(&self, spi: u32) -> Option<usize> {
        self.by_spi.get(&spi).copied()
    }

    /// The tunnel of a unit that sends to this address, with this SPI.
    pub(super) fn sending(&self, unit: Unit, spi: u32, peer: (Family, u128)) -> Option<usize> {
        let is_it = |spec: &TunnelSpec| spec.outbound.spi == spi && address_number(spec.outer.destination) == peer;
        let mut numbers = self.by_unit[unit.index()].values().copied();
        numbers.find(|number| self.get(*number).is_some_and(|slot| is_it(&slot.spec)))
    }

    /// Fetches what is known of a tunnel into the cache.
    #[inline]
    pub(super) fn prefetch(&self, number: usize) {
        if let Some(slot) = self.all.get(number) {
            dpdk::prefetch::prefetch_first(slot, HOT);
        }
    }

    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&Slot> {
        self.all.get(number)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Slot> {
        self.all.get_mut(number)?.as_mut()
    }

    /// The tunnel, if it is awake.
    #[inline]
    pub(super) fn tunnel(&mut self, number: usize) -> Option<&mut Tunnel> {
        self.get_mut(number)?.tunnel.as_deref_mut()
    }

    /// The numbers of a unit's tunnels.
    pub(super) fn of_unit(&self, unit: Unit) -> Vec<usize> {
        self.by_unit[unit.index()].values().copied().collect()
    }

    /// Those of a unit that are awake, by SPI, from this one on.
    pub(super) fn awake(&self, unit: Unit, from: u32) -> impl Iterator<Item = (u32, &Tunnel)> {
        let numbers = self.by_unit[unit.index()].range(from..);
        numbers.filter_map(|(spi, number)| Some((*spi, self.get(*number)?.tunnel.as_deref()?)))
    }

    /// IKE's tunnels that are awake.
    pub(super) const fn children(&self) -> usize {
        self.children
    }

    /// The tunnel that traffic of this one goes through at present. Err: one that is to be woken first.
    #[inline]
    pub(super) fn through(&self, number: usize) -> Result<usize, u32> {
        match self.get(number) {
            Some(Slot { child: Some(child), .. }) if !child.is_in_use() => self.through_others(number),
            _ => Ok(number),
        }
    }

    fn through_others(&self, number: usize) -> Result<usize, u32> {
        let mut at = number;
        for _ in 0..CHAIN_MAX {
            let Some(child) = self.get(at).and_then(|slot| slot.child.as_ref()) else { return Ok(at) };
            let heard = |number: &usize| self.get(*number).and_then(|slot| slot.child).is_some_and(|it| it.heard);
            if let Some(new) = child.successor.and_then(|spi| self.find(spi)).filter(heard) {
                at = new;
                continue;
            }
            match child.replaces.filter(|_| !child.heard) {
                Some(old) => at = self.find(old).ok_or(old)?,
                None => return Ok(at),
            }
        }
        Ok(at)
    }
}
