//! Crypto devices that work at once, on the calling thread: a burst of packets goes in and comes out of one call
//! (`rte_cryptodev_sym_cpu_crypto_process`). The `ipsec_mb` drivers can do that; it needs no operations from a pool, no
//! queue, and no second look for what is done.
//!
//! A device lives as long as the process, as a pool does: its handle is `Copy`. A [`Session`] is a key in one direction, used by
//! one thread at a time.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mempool::socket_id;

/// Packets that one call of the driver takes.
pub const BURST: usize = 32;

/// Bytes of IV that every operation must have, whether its cipher reads them all or not.
pub const IV_LEN: usize = 16;

/// A crypto device, open and started.
#[derive(Clone, Copy, Debug)]
pub struct CryptoDev {
    id: u8,
    sessions: NonNull<dpdk_sys::rte_mempool>,
}

// SAFETY: a device's sessions are made under its own locks, and processing needs no queue of the device's.
unsafe impl Send for CryptoDev {}
// SAFETY: as above.
unsafe impl Sync for CryptoDev {}

/// Ciphers that check as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-GCM.
    AesGcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// Ciphers that check nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-CBC.
    AesCbc,
    /// AES-CTR, the whole first block given.
    AesCtr,
    /// DES-CBC.
    DesCbc,
}

/// Checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// HMAC-SHA-1.
    HmacSha1,
    /// HMAC-SHA-256.
    HmacSha256,
    /// HMAC-SHA-384.
    HmacSha384,
    /// HMAC-SHA-512.
    HmacSha512,
    /// HMAC-MD5.
    HmacMd5,
    /// AES-CMAC.
    AesCmac,
    /// AES-XCBC-MAC.
    AesXcbc,
}

impl Auth {
    const fn id(self) -> dpdk_sys::rte_crypto_auth_algorithm {
        match self {
            Self::HmacSha1 => dpdk_sys::RTE_CRYPTO_AUTH_SHA1_HMAC,
            Self::HmacSha256 => dpdk_sys::RTE_CRYPTO_AUTH_SHA256_HMAC,
            Self::HmacSha384 => dpdk_sys::RTE_CRYPTO_AUTH_SHA384_HMAC,
            Self::HmacSha512 => dpdk_sys::RTE_CRYPTO_AUTH_SHA512_HMAC,
            Self::HmacMd5 => dpdk_sys::RTE_CRYPTO_AUTH_MD5_HMAC,
            Self::AesCmac => dpdk_sys::RTE_CRYPTO_AUTH_AES_CMAC,
            Self::AesXcbc => dpdk_sys::RTE_CRYPTO_AUTH_AES_XCBC_MAC,
        }
    }
}

/// What a session does. Keys are copied by the driver.
#[derive(Clone, Copy)]
pub enum Work<'k> {
    /// Both at once.
    Aead {
        /// Which.
        algorithm: Aead,
        /// Its key.
        key: &'k [u8],
        /// Bytes that are checked and not hidden, in each operation.
        aad_len: u16,
    },
    /// Encrypt, then check; check, then decrypt.
    Chain {
        /// Which cipher, and its key.
        cipher: Option<(Cipher, &'k [u8])>,
        /// Which check, and its key.
        auth: (Auth, &'k [u8]),
    },
}

impl Work<'_> {
    /// An HMAC of nothing the drivers refuse, and from then on they answer each operation with another one's result.
    const fn data_min(&self) -> usize {
        match self {
            Self::Aead { .. } | Self::Chain { auth: (Auth::AesCmac | Auth::AesXcbc, _), .. } => 0,
            Self::Chain { .. } => 1,
        }
    }
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Encrypts, and writes check values.
    Seal,
    /// Compares check values, and decrypts.
    Open,
}

/// Bytes of each packet that a chain checks and does not hide. (An AEAD has [`Op::aad`] for that.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clear {
    /// At its beginning.
    pub first: u16,
    /// At its end.
    pub last: u16,
}

/// One packet's work.
#[derive(Debug, Default)]
pub struct Op<'p> {
    /// What is worked on, in place.
    pub data: &'p mut [u8],
    /// Its check value, written or compared.
    pub digest: &'p mut [u8],
    /// The IV, in its first bytes; for AES-CTR the first block.
    pub iv: [u8; IV_LEN],
    /// What is checked and not hidden.
    pub aad: &'p [u8],
    /// Whether it was done: a packet that is opened had the right check value.
    pub done: bool,
}

impl CryptoDev {
    /// Starts a device of this driver (`crypto_aesni_gcm`, `crypto_aesni_mb`), with room for so many sessions.
    ///
    /// # Errors
    /// The driver is not installed, or cannot work at once.
    pub fn open(eal: &Eal, driver: &str, sessions_max: u32) -> Result<Self> {
        const WHAT: &str = "rte_cryptodev_get_dev_id";
        let name = format!("{driver}_phalanx");
        eal.probe(&name)?;
        let c_name = error::c_string(WHAT, &name)?;
        // SAFETY: a C string, only read.
        let id = unsafe { dpdk_sys::rte_cryptodev_get_dev_id(c_name.as_ptr()) };
        let id = u8::try_from(error::check(WHAT, id)?).map_err(|_| Error::NotFound { what: WHAT })?;
        let mut info = dpdk_sys::rte_cryptodev_info::default();
        // SAFETY: writes to the given place.
        unsafe { dpdk_sys::rte_cryptodev_info_get(id, &mut info) };
        if info.feature_flags & dpdk_sys::SYS_CRYPTO_AT_ONCE == 0 {
            return Err(Error::NotSupported { what: "synchronous crypto" });
        }
        let sessions = Self::session_pool(id, driver, sessions_max)?;
        Self::start(id)?;
        Ok(Self { id, sessions })
    }

    /// Whether the driver says that it does this check with a key and a check value of so many bytes.
    pub fn checks(&self, auth: Auth, key_len: u16, digest_len: u16) -> bool {
        let mut index = dpdk_sys::rte_cryptodev_sym_capability_idx {
            type_: dpdk_sys::RTE_CRYPTO_SYM_XFORM_AUTH,
            ..Default::default()
        };
        index.algo.auth = auth.id();
        // SAFETY: the device exists; what it says of itself lives as long as it does.
        unsafe {
            let capability = dpdk_sys::rte_cryptodev_sym_capability_get(self.id, &index);
            !capability.is_null()
                && dpdk_sys::rte_cryptodev_sym_capability_check_auth(capability, key_len, digest_len, 0) == 0
        }
    }

    fn session_pool(id: u8, driver: &str, sessions_max: u32) -> Result<NonNull<dpdk_sys::rte_mempool>> {
        const WHAT: &str = "rte_cryptodev_sym_session_pool_create";
        let name = error::c_string(WHAT, &format!("{driver}_sess"))?;
        // SAFETY: the device exists; the name is copied.
        let pool = unsafe {
            let size = dpdk_sys::rte_cryptodev_sym_get_private_session_size(id);
            dpdk_sys::rte_cryptodev_sym_session_pool_create(name.as_ptr(), sessions_max, size, 0, 0, socket_id(None))
        };
        NonNull::new(pool).ok_or_else(|| error::last(WHAT))
    }

    /// A device has a queue, though nothing ever goes through it: it starts with none less.
    fn start(id: u8) -> Result<()> {
        let mut config =
            dpdk_sys::rte_cryptodev_config { socket_id: socket_id(None), nb_queue_pairs: 1, ..Default::default() };
        let queue = dpdk_sys::rte_cryptodev_qp_conf { nb_descriptors: 64, mp_session: ptr::null_mut() };
        // SAFETY: the device exists and is not started; the configurations are only read.
        unsafe {
            error::check("rte_cryptodev_configure", dpdk_sys::rte_cryptodev_configure(id, &mut config))?;
            let answer = dpdk_sys::rte_cryptodev_queue_pair_setup(id, 0, &queue, socket_id(None));
            error::check("rte_cryptodev_queue_pair_setup", answer)?;
            error::check("rte_cryptodev_start", dpdk_sys::rte_cryptodev_start(id)).map(drop)
        }
    }
}

/// A key in one direction.
#[derive(Debug)]
pub struct Session {
    device: CryptoDev,
    session: NonNull<c_void>,
    aad_len: usize,
    digest_len: usize,
    data_min: usize,
}

// SAFETY: nothing of a session belongs to the thread that made it.
unsafe impl Send for Session {}

impl Session {
    /// Makes a session whose check values are `digest_len` bytes.
    ///
    /// # Errors
    /// The driver does not know the algorithm or the length of a key, or there are as many sessions as the device has room for.
    pub fn create(device: CryptoDev, work: &Work<'_>, direction: Direction, digest_len: u16) -> Result<Self> {
        const WHAT: &str = "rte_cryptodev_sym_session_create";
        let (mut first, mut second) = xforms(work, direction, digest_len);
        if let Some(second) = &mut second {
            first.next = second;
        }
        // SAFETY: both transforms, and the keys they point to, outlive the call; the pool is the device's.
        let session =
            unsafe { dpdk_sys::rte_cryptodev_sym_session_create(device.id, &mut first, device.sessions.as_ptr()) };
        let session = NonNull::new(session).ok_or_else(|| error::last(WHAT))?;
        let aad_len = if let Work::Aead { aad_len, .. } = work { usize::from(*aad_len) } else { 0 };
        Ok(Self { device, session, aad_len, digest_len: usize::from(digest_len), data_min: work.data_min() })
    }

    /// Works on packets. One whose parts are shorter than the session's lengths is not done, and no HMAC of nothing is.
    pub fn process(&mut self, ops: &mut [Op<'_>], clear: Clear) {
        for ops in ops.chunks_mut(BURST) {
            // Room for a whole burst costs more to make than one packet to seal.
            match ops.len() {
                0..=1 => self.process_few::<1>(ops, clear),
                2..=4 => self.process_few::<4>(ops, clear),
                _ => self.process_few::<BURST>(ops, clear),
            }
        }
    }

    /// Works on up to `N` packets.
    fn process_few<const N: usize>(&mut self, ops: &mut [Op<'_>], clear: Clear) {
        let mut vecs = [dpdk_sys::rte_crypto_vec::default(); N];
        let mut lists = [dpdk_sys::rte_crypto_sgl::default(); N];
        let mut ivs = [dpdk_sys::rte_crypto_va_iova_ptr::default(); N];
        let mut aads = [dpdk_sys::rte_crypto_va_iova_ptr::default(); N];
        let mut digests = [dpdk_sys::rte_crypto_va_iova_ptr::default(); N];
        let mut status = [-1_i32; N];
        let mut places = [0_usize; N];
        let mut nothing = [0_u8; 64];
        let mut count = 0;
        for (place, op) in ops.iter_mut().enumerate().take(N) {
            op.done = false;
            let fits = op.aad.len() >= self.aad_len && op.digest.len() >= self.digest_len;
            // The driver is told offsets and lengths that it does not doubt.
            let clear = usize::from(clear.first) + usize::from(clear.last);
            if !fits || op.data.len() < clear.max(self.data_min) || u32::try_from(op.data.len()).is_err() {
                continue;
            }
            // Of nothing, a check made of AES reads a block before it masks it.
            vecs[count].base = if op.data.is_empty() { nothing.as_mut_ptr() } else { op.data.as_mut_ptr() }.cast();
            (vecs[count].len, vecs[count].tot_len) = (op.data.len() as u32, op.data.len() as u32);
            lists[count].num = 1;
            ivs[count].va = op.iv.as_mut_ptr().cast();
            aads[count].va = op.aad.as_ptr().cast_mut().cast();
            digests[count].va = op.digest.as_mut_ptr().cast();
            places[count] = place;
            count += 1;
        }
        for (list, vec) in lists.iter_mut().zip(&mut vecs) {
            list.vec = vec;
        }
        let mut burst = dpdk_sys::rte_crypto_sym_vec {
            num: count as u32,
            src_sgl: lists.as_mut_ptr(),
            dest_sgl: ptr::null_mut(),
            iv: ivs.as_mut_ptr(),
            digest: digests.as_mut_ptr(),
            status: status.as_mut_ptr(),
            ..Default::default()
        };
        burst.__bindgen_anon_1.aad = aads.as_mut_ptr();
        let mut offsets = dpdk_sys::rte_crypto_sym_ofs::default();
        offsets.ofs = dpdk_sys::rte_crypto_sym_ofs__bindgen_ty_1 {
            cipher: dpdk_sys::rte_crypto_sym_ofs__bindgen_ty_1__bindgen_ty_1 { head: clear.first, tail: clear.last },
            ..Default::default()
        };
        // SAFETY: the session is the device's and ours alone; all that the vectors point to is borrowed from `ops` or lies on the
        // stack, and is as long as the session was told (checked above; IVs are as long as any cipher's).
        unsafe {
            dpdk_sys::rte_cryptodev_sym_cpu_crypto_process(self.device.id, self.session.as_ptr(), offsets, &mut burst);
        }
        for (status, place) in status.iter().zip(places).take(count) {
            ops[place].done = *status == 0;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: owned; the driver overwrites it.
        unsafe {
            dpdk_sys::rte_cryptodev_sym_session_free(self.device.id, self.session.as_ptr());
        }
    }
}

type Xform = dpdk_sys::rte_crypto_sym_xform;

/// The transforms of a session, in the order in which they are done.
fn xforms(work: &Work<'_>, direction: Direction, digest_len: u16) -> (Xform, Option<Xform>) {
    match work {
        Work::Aead { algorithm, key, aad_len } => (aead_xform(*algorithm, key, *aad_len, direction, digest_len), None),
        Work::Chain { cipher, auth: (auth, auth_key) } => {
            let auth = auth_xform(*auth, auth_key, direction, digest_len);
            match cipher.map(|(cipher, key)| cipher_xform(cipher, key, direction)) {
                None => (auth, None),
                Some(cipher) if direction == Direction::Seal => (cipher, Some(auth)),
                Some(cipher) => (auth, Some(cipher)),
            }
        }
    }
}

fn aead_xform(algorithm: Aead, key: &[u8], aad_len: u16, direction: Direction, digest_len: u16) -> Xform {
    let mut xform = Xform { type_: dpdk_sys::RTE_CRYPTO_SYM_XFORM_AEAD, ..Default::default() };
    let mut aead = dpdk_sys::rte_crypto_aead_xform {
        op: match direction {
            Direction::Seal => dpdk_sys::RTE_CRYPTO_AEAD_OP_ENCRYPT,
            Direction::Open => dpdk_sys::RTE_CRYPTO_AEAD_OP_DECRYPT,
        },
        algo: match algorithm {
            Aead::AesGcm => dpdk_sys::RTE_CRYPTO_AEAD_AES_GCM,
            Aead::ChaCha20Poly1305 => dpdk_sys::RTE_CRYPTO_AEAD_CHACHA20_POLY1305,
        },
        digest_length: digest_len,
        aad_length: aad_len,
        ..Default::default()
    };
    (aead.key.data, aead.key.length) = (key.as_ptr(), key.len() as u16);
    aead.iv.length = 12;
    xform.__bindgen_anon_1.aead = aead;
    xform
}

fn cipher_xform(algorithm: Cipher, key: &[u8], direction: Direction) -> Xform {
    let mut xform = Xform { type_: dpdk_sys::RTE_CRYPTO_SYM_XFORM_CIPHER, ..Default::default() };
    let (algo, iv_len) = match algorithm {
        Cipher::AesCbc => (dpdk_sys::RTE_CRYPTO_CIPHER_AES_CBC, 16),
        Cipher::AesCtr => (dpdk_sys::RTE_CRYPTO_CIPHER_AES_CTR, 16),
        Cipher::DesCbc => (dpdk_sys::RTE_CRYPTO_CIPHER_DES_CBC, 8),
    };
    let op = match direction {
        Direction::Seal => dpdk_sys::RTE_CRYPTO_CIPHER_OP_ENCRYPT,
        Direction::Open => dpdk_sys::RTE_CRYPTO_CIPHER_OP_DECRYPT,
    };
    let mut cipher = dpdk_sys::rte_crypto_cipher_xform { op, algo, ..Default::default() };
    (cipher.key.data, cipher.key.length) = (key.as_ptr(), key.len() as u16);
    cipher.iv.length = iv_len;
    xform.__bindgen_anon_1.cipher = cipher;
    xform
}

fn auth_xform(algorithm: Auth, key: &[u8], direction: Direction, digest_len: u16) -> Xform {
    let mut xform = Xform { type_: dpdk_sys::RTE_CRYPTO_SYM_XFORM_AUTH, ..Default::default() };
    let mut auth = dpdk_sys::rte_crypto_auth_xform {
        op: match direction {
            Direction::Seal => dpdk_sys::RTE_CRYPTO_AUTH_OP_GENERATE,
            Direction::Open => dpdk_sys::RTE_CRYPTO_AUTH_OP_VERIFY,
        },
        algo: algorithm.id(),
        digest_length: digest_len,
        ..Default::default()
    };
    (auth.key.data, auth.key.length) = (key.as_ptr(), key.len() as u16);
    xform.__bindgen_anon_1.auth = auth;
    xform
}
