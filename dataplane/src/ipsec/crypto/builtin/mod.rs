//! The engine that is always there: `ring` for AES-GCM, ChaCha20-Poly1305 and the HMACs, RustCrypto for what `ring` lacks.
//! A packet at a time; it knows every transform.

mod aead;
mod cipher;
mod mac;
mod pair;

#[cfg(test)]
mod tests;

use super::{Direction, Engine, EngineError, Job, Numbers, Session};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::Transform;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltIn;

impl Engine for BuiltIn {
    fn name(&self) -> &'static str {
        "built-in"
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        let known = keys.are_for(transform).then(|| match transform {
            Transform::Aead(aead) => aead::Sealer::new(aead, keys, numbers).map(|inner| directed(inner, direction)),
            Transform::Pair(cipher, check) => {
                pair::Pair::new(cipher, check, keys, numbers).map(|inner| directed(inner, direction))
            }
        });
        known.flatten().ok_or(EngineError::Keys(transform))
    }
}

/// What one packet after the other is sealed and opened with. None: it was not done.
trait EachWay: Send {
    fn seal(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()>;
    fn open(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()>;
}

struct Sealing<T>(T);
struct Opening<T>(T);

impl<T: EachWay> Session for Sealing<T> {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        jobs.iter_mut().for_each(|job| job.done = self.0.seal(job.packet, job.sequence_high).is_some());
    }
}

impl<T: EachWay> Session for Opening<T> {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        jobs.iter_mut().for_each(|job| job.done = self.0.open(job.packet, job.sequence_high).is_some());
    }
}

fn directed<T: EachWay + 'static>(inner: T, direction: Direction) -> Box<dyn Session> {
    match direction {
        Direction::Seal => Box::new(Sealing(inner)),
        Direction::Open => Box::new(Opening(inner)),
    }
}
