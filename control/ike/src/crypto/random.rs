//! Where entropy comes from: the caller, so that a test can run everything twice alike.

use ring::rand::SecureRandom;

/// A source of bytes that nobody can foresee.
pub trait Random {
    /// Fills all of them.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The operating system's.
#[derive(Clone, Debug)]
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    /// It needs no seed.
    pub fn new() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    /// # Panics
    /// The system has no entropy: a key made without would be worse than none.
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes).expect("the system gives entropy");
    }
}
