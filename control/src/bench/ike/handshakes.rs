//! Handshakes, one after the other: what the member spends on each.

use std::time::Duration;

use super::IkeBenchError;
use super::credentials::Credentials;
use super::initiator::Initiator;
use super::member::Member;
use super::settings::{self, Way};

/// What is done before anything counts: memory comes, tables grow.
const WARM_UP: u32 = 50;

/// What handshakes of one way came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Handshakes {
    /// How many.
    pub(crate) count: u32,
    /// CPU milliseconds of the member's for each: the mean.
    pub(crate) mean_ms: f64,
    /// The median.
    pub(crate) median_ms: f64,
}

/// Makes so many handshakes with a new member that has no backups.
pub(crate) fn measure_handshakes(way: Way, count: u32) -> Result<Handshakes, IkeBenchError> {
    let credentials = Credentials::new()?;
    let mut member = Member::new(&settings::config(way, &credentials)?, false)?;
    let mut initiator = Initiator::new(way, &credentials)?;
    for number in 0..WARM_UP {
        initiator.shake_hands(&mut member, number)?;
    }
    let mut each = Vec::new();
    for number in WARM_UP..WARM_UP + count {
        each.push(initiator.shake_hands(&mut member, number)?);
    }
    each.sort_unstable();
    let total: Duration = each.iter().sum();
    let median = each.get(each.len() / 2).copied().unwrap_or_default();
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    Ok(Handshakes { count, mean_ms: ms(total) / f64::from(count.max(1)), median_ms: ms(median) })
}
