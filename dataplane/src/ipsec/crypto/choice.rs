//! Which engine is used.

use std::sync::Arc;

use dpdk::Eal;

use super::builtin::BuiltIn;
use super::chained::{Chained, ManyChained};
use super::devices::Devices;
use super::direct::Direct;
use super::{Direction, Engine, EngineError, Job, Numbers, Session};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::Transform;

/// What the configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Choice {
    /// The faster one, as measured (`phalanx bench esp-encrypt --engine`). AES-GCM goes to the library under DPDK's driver, without
    /// the driver ([`super::direct`]), other AEADs to the devices. AES-CBC with an HMAC goes to the library as well ([`super::chained`]),
    /// other ciphers with a check to the devices, both where there are enough packets to work on side by side,
    /// [`SIDE_BY_SIDE_MIN`]: of any tunnels in the first case, of one in the second. What none of them knows or has room for
    /// ([`AUTO_SAS_MAX`]), and everything where there are none, is the built-in engine's.
    #[default]
    Auto,
    /// The built-in engine.
    BuiltIn,
    /// DPDK's devices, and the built-in engine for what they do not know.
    Devices,
}

/// SAs that devices have room for when nobody has asked for the devices: their memory is taken at once.
pub const AUTO_SAS_MAX: u32 = 1024;

/// Packets from which on what works on several at once is worth its call.
pub const SIDE_BY_SIDE_MIN: usize = 4;

impl Choice {
    /// The engine for so many SAs, each of two directions.
    ///
    /// # Errors
    /// The devices were asked for, and cannot be started.
    pub fn open(self, eal: &Eal, sas: u32) -> dpdk::Result<Arc<dyn Engine>> {
        Ok(match self {
            Self::BuiltIn => Arc::new(BuiltIn),
            Self::Auto => {
                let devices = Devices::open(eal, sas.min(AUTO_SAS_MAX).saturating_mul(2));
                Arc::new(Fastest(devices.ok().map(DevicesFirst)))
            }
            Self::Devices => Arc::new(DevicesFirst(Devices::open(eal, sas.saturating_mul(2))?)),
        })
    }
}

/// The devices, and the built-in engine for what they do not know.
struct DevicesFirst(Devices);

impl Engine for DevicesFirst {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        match self.0.session(transform, keys, numbers, direction) {
            Err(EngineError::Unsupported(..)) => BuiltIn.session(transform, keys, numbers, direction),
            made => made,
        }
    }
}

/// Whichever is faster for what there is to do. The devices, if there are any.
struct Fastest(Option<DevicesFirst>);

impl Engine for Fastest {
    fn name(&self) -> &'static str {
        "auto"
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        let made = |engine: &dyn Engine| engine.session(transform, keys, numbers, direction);
        if let Ok(direct) = made(&Direct) {
            return Ok(direct);
        }
        if let Some(many) = Chained::new(transform, keys, numbers, direction) {
            return Ok(Box::new(ManyChained { few: made(&BuiltIn)?, many }));
        }
        let Some(devices) = &self.0 else { return made(&BuiltIn) };
        let many = made(devices)?;
        Ok(match transform {
            Transform::Aead(_) => many,
            Transform::Pair(..) => Box::new(ByNumber { few: made(&BuiltIn)?, many }),
        })
    }
}

/// What [`Choice::Auto`] is where there are no devices.
#[cfg(test)]
pub(crate) fn without_devices() -> Arc<dyn Engine> {
    Arc::new(Fastest(None))
}

/// One session for few packets, one for many.
struct ByNumber {
    few: Box<dyn Session>,
    many: Box<dyn Session>,
}

impl Session for ByNumber {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        let session = if jobs.len() < SIDE_BY_SIDE_MIN { &mut self.few } else { &mut self.many };
        session.process(jobs);
    }
}
