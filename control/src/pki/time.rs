//! Wall-clock time, for certificates only: nothing about liveness uses it.

/// Seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct WallTime(i64);

impl WallTime {
    /// This many seconds after 1970-01-01 00:00 UTC.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Reads the wall clock.
    #[allow(clippy::disallowed_methods, reason = "certificates are valid in wall-clock time; only shells call this")]
    pub fn read_clock() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// Seconds after 1970-01-01 00:00 UTC.
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// This many seconds later (or earlier, when negative).
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// This many days later.
    pub const fn plus_days(self, days: u32) -> Self {
        self.plus_seconds(days as i64 * 86_400)
    }

    /// The form that the certificate library wants; years beyond 9999 are cut off.
    pub(super) fn to_offset(self) -> time::OffsetDateTime {
        time::OffsetDateTime::from_unix_timestamp(self.0.clamp(0, 253_402_300_799))
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    }
}

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let date = self.to_offset();
        let (year, month, day) = date.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}
