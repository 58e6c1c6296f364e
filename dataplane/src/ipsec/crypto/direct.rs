//! AES-GCM by the library under DPDK's driver, without the driver: nothing is prepared for a burst, so one packet of a tunnel is done as
//! fast as many are. A gateway with many tunnels has few packets of each at once.

use dpdk::crypto::Direction;
use dpdk::gcm::{GcmKey, NONCE_LEN, TAG_LEN};
use zeroize::Zeroizing;

use super::{Engine, EngineError, Job, Numbers, Session, checked_number};
use crate::ipsec::esp::{HEADER_LEN, Shape};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Aead, SALT_LEN, Transform};

const IV_LEN: usize = NONCE_LEN - SALT_LEN;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Direct;

impl Engine for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        if !keys.are_for(transform) {
            return Err(EngineError::Keys(transform));
        }
        let unsupported = EngineError::Unsupported(self.name(), transform);
        let Transform::Aead(Aead::AesGcm(_)) = transform else { return Err(unsupported) };
        let (key, salt) = keys.cipher().split_last_chunk().ok_or(unsupported)?;
        let key = GcmKey::new(key, direction).map_err(|_| unsupported)?;
        Ok(Box::new(Gcm { key, salt: Zeroizing::new(*salt), shape: Shape::of(transform), numbers }))
    }
}

struct Gcm {
    key: GcmKey,
    salt: Zeroizing<[u8; SALT_LEN]>,
    shape: Shape,
    numbers: Numbers,
}

impl Session for Gcm {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.done = self.is_done(job).unwrap_or(false);
        }
    }

    fn prefetch(&self) {
        self.key.prefetch();
    }

    fn likes_many(&self) -> bool {
        false
    }
}

impl Gcm {
    /// Whether a packet was done. None: it is none.
    #[inline]
    fn is_done(&self, job: &mut Job<'_>) -> Option<bool> {
        self.shape.check(job.packet.len()).ok()?;
        let (header, rest) = job.packet.split_first_chunk_mut::<HEADER_LEN>()?;
        let (iv, rest) = rest.split_first_chunk_mut::<IV_LEN>()?;
        let (data, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        let (checked, len) = checked_number(header, self.numbers, job.sequence_high);
        let nonce = u128::from(u32::from_le_bytes(*self.salt)) | u128::from(u64::from_le_bytes(*iv)) << 32;
        Some(self.key.process(nonce, (u128::from_le_bytes(checked), len), data, tag))
    }
}
