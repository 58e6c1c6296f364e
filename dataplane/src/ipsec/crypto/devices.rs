//! DPDK's crypto devices, where they can work at once: `crypto_aesni_gcm` for AES-GCM, `crypto_aesni_mb` for ChaCha20-Poly1305 and
//! for ciphers with an HMAC. A burst is one call; what the processor can do for several packets at a time (AES-CBC, the
//! HMACs) it does.
//!
//! Left to the built-in engine: 3DES, which the driver does not do at once; GMAC; and the checks that are made of AES where
//! something is hidden as well, because a cipher chained to one of those comes out wrong (DPDK 22.11, ipsec-mb 1.3: not what
//! AES-CBC makes of the same bytes). By themselves they are right.
//!
//! Check values go through a buffer of our own: with extended numbers their place in the packet holds the number's high half
//! while it is checked (by transforms that check it at the end).

use dpdk::Eal;
use dpdk::crypto::{self as device, Clear, CryptoDev, IV_LEN, Op, Work};
use zeroize::Zeroizing;

use super::{Direction, Engine, EngineError, Job, Numbers, Session, checked_number, first_block};
use crate::ipsec::esp::{HEADER_LEN, Shape};
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Aead, Cipher, Integrity, SALT_LEN, Transform};

const BURST: usize = device::BURST;
/// The longest check value, and the longest thing that is checked and not hidden by an AEAD.
const ICV_MAX: usize = 32;
const AAD_MAX: usize = 12;
/// The check value of an AEAD.
const TAG_LEN: usize = 16;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Devices {
    gcm: CryptoDev,
    mb: CryptoDev,
}

impl Devices {
    /// Starts both devices, each with room for so many sessions: one for each direction of each SA.
    ///
    /// # Errors
    /// A driver is not installed, or there is too little memory.
    pub fn open(eal: &Eal, sessions_max: u32) -> dpdk::Result<Self> {
        let gcm = CryptoDev::open(eal, "crypto_aesni_gcm", sessions_max)?;
        Ok(Self { gcm, mb: CryptoDev::open(eal, "crypto_aesni_mb", sessions_max)? })
    }

    /// The device for all but AES-GCM: tests ask it for what no packet has.
    pub fn mb(&self) -> CryptoDev {
        self.mb
    }

    /// Who does it, and how. None: nobody here.
    fn plan<'k>(&self, transform: Transform, keys: &'k Keys, numbers: Numbers) -> Option<(CryptoDev, Work<'k>, Style)> {
        let aad_len = if numbers == Numbers::Extended { 12 } else { 8 };
        match transform {
            Transform::Aead(Aead::AesGmac(_)) => None,
            Transform::Aead(aead) => {
                let (key, salt) = keys.cipher().split_last_chunk()?;
                let (device, algorithm) = match aead {
                    Aead::ChaCha20Poly1305 => (self.mb, device::Aead::ChaCha20Poly1305),
                    _ => (self.gcm, device::Aead::AesGcm),
                };
                Some((device, Work::Aead { algorithm, key, aad_len }, Style::Aead(Zeroizing::new(*salt))))
            }
            Transform::Pair(cipher, check) => {
                if cipher != Cipher::Null && matches!(check, Integrity::AesXcbc | Integrity::AesCmac) {
                    return None;
                }
                let (cipher, style) = cipher_of(cipher, keys.cipher())?;
                Some((self.mb, Work::Chain { cipher, auth: (auth_of(check), keys.integrity()) }, style))
            }
        }
    }
}

impl Engine for Devices {
    fn name(&self) -> &'static str {
        "ipsec_mb"
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
        let (device, work, style) = self.plan(transform, keys, numbers).ok_or(unsupported)?;
        let shape = Shape::of(transform);
        let session =
            device::Session::create(device, &work, direction, shape.icv_len() as u16).map_err(|_| unsupported)?;
        Ok(Box::new(OnDevice { session, style, shape, numbers, direction }))
    }
}

type Salt = Zeroizing<[u8; SALT_LEN]>;

/// How IV and header are used.
enum Style {
    /// Salt and IV are the nonce; the header is checked, with the number's high half in its middle.
    Aead(Salt),
    /// Salt, IV and a number from 1 on make the key stream.
    Stream(Salt),
    /// Blocks are chained.
    Chain,
    /// Nothing is hidden.
    Null,
}

/// What a device is told of a cipher, if it is to encrypt at all, and how IVs are used.
type Told<'k> = (Option<(device::Cipher, &'k [u8])>, Style);

fn cipher_of(cipher: Cipher, key: &[u8]) -> Option<Told<'_>> {
    Some(match cipher {
        Cipher::Null => (None, Style::Null),
        Cipher::AesCbc(_) => (Some((device::Cipher::AesCbc, key)), Style::Chain),
        Cipher::AesCtr(_) => {
            let (key, salt) = key.split_last_chunk()?;
            (Some((device::Cipher::AesCtr, key)), Style::Stream(Zeroizing::new(*salt)))
        }
        Cipher::DesCbc => (Some((device::Cipher::DesCbc, key)), Style::Chain),
        Cipher::TripleDesCbc => return None,
    })
}

const fn auth_of(check: Integrity) -> device::Auth {
    match check {
        Integrity::HmacSha1 => device::Auth::HmacSha1,
        Integrity::HmacSha256 => device::Auth::HmacSha256,
        Integrity::HmacSha384 => device::Auth::HmacSha384,
        Integrity::HmacSha512 => device::Auth::HmacSha512,
        Integrity::HmacMd5 => device::Auth::HmacMd5,
        Integrity::AesXcbc => device::Auth::AesXcbc,
        Integrity::AesCmac => device::Auth::AesCmac,
    }
}

struct OnDevice {
    session: device::Session,
    style: Style,
    shape: Shape,
    numbers: Numbers,
    direction: Direction,
}

impl Session for OnDevice {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        for jobs in jobs.chunks_mut(BURST) {
            match (&self.style, jobs.len()) {
                (Style::Aead(_), 0..=1) => self.process_aead::<1>(jobs),
                (Style::Aead(_), 2..=4) => self.process_aead::<4>(jobs),
                (Style::Aead(_), _) => self.process_aead::<BURST>(jobs),
                (_, 0..=1) => self.process_chain::<1>(jobs),
                (_, 2..=4) => self.process_chain::<4>(jobs),
                _ => self.process_chain::<BURST>(jobs),
            }
        }
    }
}

impl OnDevice {
    /// Up to `N` packets of an AEAD, whose check values stay where they are.
    fn process_aead<const N: usize>(&mut self, jobs: &mut [Job<'_>]) {
        let Style::Aead(salt) = &self.style else { return };
        let mut aads = [[0; AAD_MAX]; N];
        // What is no packet is left as it is here, and not done.
        let mut ops: [Op<'_>; N] = std::array::from_fn(|_| Op::default());
        let count = jobs.len().min(N);
        for (op, (job, aad)) in ops.iter_mut().zip(jobs.iter_mut().zip(&mut aads)) {
            if self.shape.check(job.packet.len()).is_err() {
                continue;
            }
            let Some((header, rest)) = job.packet.split_first_chunk_mut::<HEADER_LEN>() else { continue };
            let Some((iv, rest)) = rest.split_first_chunk_mut::<8>() else { continue };
            let Some((data, digest)) = rest.split_last_chunk_mut::<TAG_LEN>() else { continue };
            let ([number @ .., _, _, _, _], _) = checked_number(header, self.numbers, job.sequence_high);
            *aad = number;
            *op = Op { data, digest, iv: first_block(salt, iv), aad, done: false };
        }
        self.session.process(&mut ops[..count], Clear::default());
        let done = ops.iter().zip(0..).fold(0_u32, |done, (op, place)| done | u32::from(op.done) << place);
        jobs.iter_mut().zip(0..).for_each(|(job, place)| job.done = done >> place & 1 == 1);
    }

    /// Up to `N` packets of a cipher and a check.
    fn process_chain<const N: usize>(&mut self, jobs: &mut [Job<'_>]) {
        let mut icvs = [[0; ICV_MAX]; N];
        // What is no packet is left as it is here, and not done.
        let mut ops: [Op<'_>; N] = std::array::from_fn(|_| Op::default());
        let (count, icv_len, clear) = (jobs.len().min(N), self.shape.icv_len(), self.clear());
        for (op, (job, icv)) in ops.iter_mut().zip(jobs.iter_mut().zip(icvs.iter_mut())) {
            if self.shape.check(job.packet.len()).is_err() {
                continue;
            }
            self.prepare(job, icv);
            let end = job.packet.len() - icv_len + usize::from(clear.last);
            let iv = self.iv(job.packet);
            let data = job.packet.get_mut(..end).unwrap_or_default();
            *op = Op { data, digest: icv, iv, aad: &[], done: false };
        }
        self.session.process(&mut ops[..count], clear);
        let done = ops.map(|op| op.done);
        for (job, (done, icv)) in jobs.iter_mut().zip(done.into_iter().zip(&icvs)) {
            job.done = done;
            if done && self.direction == Direction::Seal {
                let at = job.packet.len() - icv_len;
                job.packet[at..].copy_from_slice(&icv[..icv_len]);
            }
        }
    }

    /// What each packet has that is checked and not hidden: the header; the IV, unless it becomes one by being encrypted; the
    /// number's high half.
    fn clear(&self) -> Clear {
        let last = if self.numbers == Numbers::Extended { 4 } else { 0 };
        match self.style {
            Style::Chain if self.direction == Direction::Seal => Clear { first: HEADER_LEN as u16, last },
            _ => Clear { first: self.shape.body_at() as u16, last },
        }
    }

    /// Takes the check value out, and puts the number's high half where it is checked.
    fn prepare(&self, job: &mut Job<'_>, icv: &mut [u8; ICV_MAX]) {
        let at = job.packet.len() - self.shape.icv_len();
        if self.direction == Direction::Open {
            icv[..self.shape.icv_len()].copy_from_slice(&job.packet[at..]);
        }
        if self.numbers == Numbers::Extended {
            job.packet[at..at + 4].copy_from_slice(&job.sequence_high.to_be_bytes());
        }
    }

    fn iv(&self, packet: &[u8]) -> [u8; IV_LEN] {
        let mut iv = [0; IV_LEN];
        let field = &packet[HEADER_LEN..self.shape.body_at()];
        match (&self.style, field.first_chunk()) {
            (Style::Stream(salt), Some(field)) => iv = first_block(salt, field),
            // Zeros, under which the number becomes the IV.
            (Style::Chain, _) if self.direction == Direction::Seal => {}
            _ => iv[..field.len()].copy_from_slice(field),
        }
        iv
    }
}
