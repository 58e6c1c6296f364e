//! Which engine is used.

use std::sync::Arc;

use dpdk::Eal;

use super::builtin::BuiltIn;
use super::devices::Devices;
use super::{Direction, Engine, EngineError, Numbers, Session};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::Transform;

/// What the configuration says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Choice {
    /// The faster one. That is the built-in one, for the gateway hands over one packet at a time: a call of a device's costs more
    /// than what it gains (`phalanx bench esp-encrypt --engine`). For bursts it would be the devices.
    #[default]
    Auto,
    /// The built-in engine.
    BuiltIn,
    /// DPDK's devices, and the built-in engine for what they do not know.
    Devices,
}

impl Choice {
    /// The engine for so many SAs, each of two directions.
    ///
    /// # Errors
    /// The devices were asked for, and cannot be started.
    pub fn open(self, eal: &Eal, sas: u32) -> dpdk::Result<Arc<dyn Engine>> {
        Ok(match self {
            Self::Auto | Self::BuiltIn => Arc::new(BuiltIn),
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
