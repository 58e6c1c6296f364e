//! SYN cookies (RFC 4987 section 3.6): under a flood of SYNs, the SYN-ACK alone keeps the state.
//!
//! Our sequence number is five bits of time, three of the segment size, and 24 of a keyed hash over the connection, the
//! peer's number, the time and the size. A peer with timestamps echoes six bits more: its window scale, and SACK. A
//! cookie is good for two periods of 64 s. `clock_s` is any clock, in seconds, that the members share to within a
//! minute, and the key is the cluster's: who takes over accepts the cookies of its predecessor.

use super::config::Config;
use super::flow::Flow;
use super::options::{Options, Timestamps};
use super::segment::{Repr, Segment};
use super::seq::Seq;
use crate::filter::hash::Key;
use crate::wire::tcp::{FLAG_ACK, FLAG_SYN};

const PERIOD_S: u64 = 64;
/// Segment sizes that three bits can name.
const SIZES: [u16; 8] = [536, 1200, 1220, 1360, 1400, 1440, 1460, 8960];
const OPTION_BITS: u32 = 0x3f;
const NO_SCALE: u32 = 0xf;
const SACK_BIT: u32 = 0x10;

/// Makes and reads cookies.
#[derive(Clone, Copy)]
pub struct CookieJar {
    key: Key,
}

/// What a sound cookie remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The peer's options, as far as the cookie could hold them.
    pub(super) options: Options,
    /// The TSval that the cookie went out with.
    pub(super) echo: u32,
}

impl CookieJar {
    /// A jar with a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key: Key::new(key) }
    }

    /// Writes the SYN-ACK that answers a SYN without keeping anything. `None`: not a plain SYN, or a short buffer.
    pub fn answer(
        &self,
        config: &Config,
        flow: &Flow,
        syn: &Segment<'_>,
        clock_s: u64,
        now_ns: u64,
        buffer: &mut [u8],
    ) -> Option<usize> {
        if !syn.syn() || syn.has_ack() || syn.rst() {
            return None;
        }
        let asked = &syn.options;
        let offered = asked.mss.unwrap_or(flow.default_mss());
        let size = SIZES.iter().rposition(|size| *size <= offered).unwrap_or(0);
        let timestamps = asked.timestamps.filter(|_| config.timestamps);
        // Without timestamps there is no room to remember more than the size.
        let scale = asked.window_scale.filter(|_| config.window_scaling && timestamps.is_some());
        let sack = asked.sack_permitted && config.sack && timestamps.is_some();
        let bits = scale.map_or(NO_SCALE, u32::from) | if sack { SACK_BIT } else { 0 };
        let value = super::calculable::millis(now_ns) & !OPTION_BITS | bits;
        let repr = Repr {
            flow: *flow,
            seq: self.cookie(flow, syn.seq, clock_s / PERIOD_S, size as u32),
            ack: syn.seq.plus(1),
            flags: FLAG_SYN | FLAG_ACK,
            window: config.receive_limit_bytes.min(0xffff) as u16,
            options: Options {
                mss: Some(config.mss),
                window_scale: scale.map(|_| config.window_scale()),
                sack_permitted: sack,
                timestamps: timestamps.map(|asked| Timestamps { value, echo: asked.value }),
                ..Options::default()
            },
        };
        repr.emit([&[], &[]], buffer).ok()
    }

    /// Reads the cookie that the handshake's last ACK brings back.
    pub fn check(&self, flow: &Flow, ack: &Segment<'_>, clock_s: u64) -> Option<Accepted> {
        if !ack.has_ack() || ack.syn() || ack.rst() {
            return None;
        }
        let (cookie, peer_seq) = (ack.ack.plus(u32::MAX), ack.seq.plus(u32::MAX));
        let size = cookie.0 >> 24 & 7;
        let now = clock_s / PERIOD_S;
        let sound = [Some(now), now.checked_sub(1)];
        if !sound.into_iter().flatten().any(|period| self.cookie(flow, peer_seq, period, size) == cookie) {
            return None;
        }
        let echo = ack.options.timestamps.map_or(0, |timestamps| timestamps.echo);
        let bits = ack.options.timestamps.map_or(NO_SCALE, |timestamps| timestamps.echo & OPTION_BITS);
        let scale = bits & NO_SCALE;
        let options = Options {
            mss: SIZES.get(size as usize).copied(),
            window_scale: (scale != NO_SCALE).then_some(scale as u8),
            sack_permitted: bits & SACK_BIT != 0,
            timestamps: ack.options.timestamps,
            ..Options::default()
        };
        Some(Accepted { options, echo })
    }

    fn cookie(&self, flow: &Flow, peer_seq: Seq, period: u64, size: u32) -> Seq {
        let [a, b, c, d, e] = flow.words();
        let last = u64::from(peer_seq.0) << 32 | u64::from(size);
        let hash = self.key.hash([a, b, c, d, e, last, period, 0x0063_6f6f_6b69_6500]);
        Seq((period as u32 & 31) << 27 | size << 24 | hash & 0x00ff_ffff)
    }
}

impl std::fmt::Debug for CookieJar {
    /// The key is a secret: never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieJar").finish_non_exhaustive()
    }
}
