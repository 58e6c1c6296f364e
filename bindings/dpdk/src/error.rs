//! What DPDK refuses, as an enum: DPDK answers with negative error numbers, of which a caller wants to tell only a few
//! apart. `NotSupported` above all: half of the drivers lack a filter or a multicast list, and the caller falls back.

/// What went wrong in `what`, a DPDK function or the step that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The driver has no such feature: do without it, or choose another driver.
    #[error("{what}: this driver does not support it")]
    NotSupported {
        /// The function that answered.
        what: &'static str,
    },
    /// DPDK's memory is used up.
    #[error("{what}: out of DPDK memory; reserve more hugepages (vm.nr_hugepages) or raise the EAL argument -m")]
    NoMemory {
        /// The function that answered.
        what: &'static str,
    },
    /// There is no such device or object.
    #[error("{what}: not found; check the device string, the interface name and that the driver's plugin is installed")]
    NotFound {
        /// The function that answered.
        what: &'static str,
    },
    /// It exists already.
    #[error("{what}: exists already; names must differ")]
    Exists {
        /// The function that answered.
        what: &'static str,
    },
    /// Someone uses it.
    #[error("{what}: in use; it can be taken only once")]
    Busy {
        /// The function that answered.
        what: &'static str,
    },
    /// The process may not do this.
    #[error("{what}: not permitted; run as root or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_IPC_LOCK and CAP_SYS_NICE")]
    NotPermitted {
        /// The function that answered.
        what: &'static str,
    },
    /// An argument does not fit.
    #[error("{what}: invalid argument, or beyond the limits of the driver")]
    Invalid {
        /// The function that answered.
        what: &'static str,
    },
    /// Any other error number.
    #[error("{what}: error {code} ({})", std::io::Error::from_raw_os_error(*.code))]
    Other {
        /// The function that answered.
        what: &'static str,
        /// The positive error number.
        code: i32,
    },
}

/// The result of anything that DPDK can refuse.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error for DPDK's answer `code`: an errno, of either sign.
    pub fn from_code(what: &'static str, code: i32) -> Self {
        match code.saturating_abs() {
            libc::ENOTSUP | libc::ENOSYS => Self::NotSupported { what },
            libc::ENOMEM | libc::ENOSPC | libc::ENOBUFS => Self::NoMemory { what },
            libc::ENODEV | libc::ENOENT | libc::ENXIO => Self::NotFound { what },
            libc::EEXIST => Self::Exists { what },
            libc::EBUSY => Self::Busy { what },
            libc::EPERM | libc::EACCES => Self::NotPermitted { what },
            libc::EINVAL | libc::ERANGE => Self::Invalid { what },
            code => Self::Other { what, code },
        }
    }

    /// Whether the driver merely lacks the feature.
    pub fn is_not_supported(&self) -> bool {
        matches!(self, Self::NotSupported { .. })
    }
}

/// `Ok` of a function's non-negative answer, the error of a negative one.
pub(crate) fn check(what: &'static str, answer: i32) -> Result<i32> {
    if answer < 0 { Err(Error::from_code(what, answer)) } else { Ok(answer) }
}

/// The error of a function that left its reason in `rte_errno`.
pub(crate) fn last(what: &'static str) -> Error {
    // SAFETY: reads a thread-local integer.
    Error::from_code(what, unsafe { dpdk_sys::shim_errno() })
}

/// The error of a system call that left its reason in `errno`.
pub(crate) fn os(what: &'static str) -> Error {
    Error::from_code(what, std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
}

/// `text` as a C string; one with a NUL inside is an invalid argument of `what`.
pub(crate) fn c_string(what: &'static str, text: &str) -> Result<std::ffi::CString> {
    std::ffi::CString::new(text).map_err(|_| Error::Invalid { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_sign_gives_the_same_error() {
        let expected = Error::NotSupported { what: "x" };
        assert_eq!(Error::from_code("x", -libc::ENOTSUP), expected);
        assert_eq!(Error::from_code("x", libc::ENOTSUP), expected);
        assert!(check("x", -libc::ENOTSUP).is_err_and(|error| error.is_not_supported()));
        assert_eq!(check("x", 3), Ok(3));
    }

    #[test]
    fn unnamed_numbers_keep_their_code() {
        assert_eq!(Error::from_code("x", -libc::EIO), Error::Other { what: "x", code: libc::EIO });
        assert!(Error::from_code("x", i32::MIN).to_string().starts_with("x: error"));
    }
}
