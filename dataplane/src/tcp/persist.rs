//! What outlives the machine: the records of Figure 7's initial and essential parts, and an endpoint made from them.
//!
//! Live types are never serialised. A record is its version and its fields in a fixed order, in network order; newer
//! members append fields, which this one skips, and a record that ends early is refused. Log Initial before Essential
//! where both change: an Initial of a later time fits an older Essential, not the other way round.
//!
//! The streams are replicated by their own records (append, trim, end), and are the truth where the Essential record
//! lags behind: "receive next" follows from the end of `rx`, and "send unacknowledged" is at least the start of `tx`.

use super::calculable::{Calculable, millis};
use super::config::Config;
use super::endpoint::Endpoint;
use super::flow::Flow;
use super::outcome::Change;
use super::pool::ChunkPool;
use super::seq::{Pos, Seq};
use super::state::{Essential, Event, Initial, State};
use super::stream::Stream;
use super::timers::Timer;
use crate::parse::address_number;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version of the records written here.
pub const RECORD_VERSION: u8 = 1;
/// Positions and offsets beyond this are no connection's: sums of them cannot overflow.
const POS_MAX: u64 = 1 << 60;
/// TSval after a takeover is at least this much beyond what it would have been, for clocks that run apart.
const TSVAL_LEAP_MS: u64 = 1000;

/// The Initial record (Figure 7, 702).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitialState {
    /// Addresses and ports.
    pub flow: Flow,
    /// Our initial sequence number.
    pub iss: Seq,
    /// The peer's.
    pub irs: Seq,
    /// The offset in `tx` of our first byte.
    pub tx_base: u64,
    /// The offset in `rx` of the peer's first byte.
    pub rx_base: u64,
    /// The largest segment that the peer takes.
    pub peer_mss: u16,
    /// Shift of the windows that the peer names.
    pub snd_scale: u8,
    /// Shift of the windows that we name.
    pub rcv_scale: u8,
    /// Window scaling is agreed on, or offered.
    pub window_scaling: bool,
    /// So are timestamps.
    pub timestamps: bool,
    /// So is SACK.
    pub sack: bool,
}

/// The Essential record (Figure 7, 701).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EssentialState {
    /// The state.
    pub state: State,
    /// Send unacknowledged, as a position.
    pub snd_una: Pos,
    /// The peer's window.
    pub snd_wnd: u32,
    /// Window update segment sequence number.
    pub wl1: Pos,
    /// Window update segment acknowledgement number.
    pub wl2: Pos,
    /// Receive next.
    pub rcv_nxt: Pos,
    /// Right edge of the advertised window.
    pub right_edge: Pos,
    /// The timestamp to echo.
    pub ts_recent: u32,
    /// Our own clock when the record was saved.
    pub tsval: u32,
}

/// What a backup has of an endpoint, besides its streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saved {
    /// The Initial record.
    pub initial: InitialState,
    /// The newest Essential record.
    pub essential: EssentialState,
    /// How long ago the Essential record came from its owner, by this member's clock.
    pub age_ns: u64,
}

/// Why bytes are not a record, or records not a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum RecordError {
    /// It ends before its fields do.
    #[error("the record is too short")]
    Truncated,
    /// Another version's.
    #[error("the record has version {0}, which is not known")]
    Version(u8),
    /// A field has a value that it cannot have.
    #[error("a field has an impossible value")]
    Value,
    /// The records and the streams contradict one another.
    #[error("the records and the streams do not belong together")]
    Mismatch,
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        crate::wire::bytes::put(self.buffer, self.at, bytes);
        self.at += N;
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.take().map(u32::from_be_bytes)
    }

    fn offset(&mut self) -> Result<u64, RecordError> {
        let offset = u64::from_be_bytes(self.take()?);
        if offset <= POS_MAX { Ok(offset) } else { Err(RecordError::Value) }
    }

    fn pos(&mut self) -> Result<Pos, RecordError> {
        self.offset().map(|offset| offset as Pos)
    }

    fn version(&mut self) -> Result<(), RecordError> {
        match self.u8()? {
            RECORD_VERSION => Ok(()),
            other => Err(RecordError::Version(other)),
        }
    }

    fn ip(&mut self, six: bool) -> Result<IpAddr, RecordError> {
        let bits = u128::from_be_bytes(self.take()?);
        match u32::try_from(bits) {
            _ if six => Ok(Ipv6Addr::from_bits(bits).into()),
            Ok(bits) => Ok(Ipv4Addr::from_bits(bits).into()),
            Err(_) => Err(RecordError::Value),
        }
    }
}

mod flag {
    pub(super) const V6: u8 = 1;
    pub(super) const WINDOW_SCALING: u8 = 2;
    pub(super) const TIMESTAMPS: u8 = 4;
    pub(super) const SACK: u8 = 8;
}

impl InitialState {
    /// Bytes that [`Self::encode`] writes.
    pub const ENCODED_LEN: usize = 66;

    /// Writes the record.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        let mut writer = Writer { buffer: &mut bytes, at: 0 };
        let mark = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = mark(self.flow.local_ip.is_ipv6(), flag::V6)
            | mark(self.window_scaling, flag::WINDOW_SCALING)
            | mark(self.timestamps, flag::TIMESTAMPS)
            | mark(self.sack, flag::SACK);
        writer.put([RECORD_VERSION, flags]);
        writer.put(address_number(self.flow.local_ip).1.to_be_bytes());
        writer.put(address_number(self.flow.remote_ip).1.to_be_bytes());
        writer.put(self.flow.local_port.to_be_bytes());
        writer.put(self.flow.remote_port.to_be_bytes());
        writer.put(self.iss.0.to_be_bytes());
        writer.put(self.irs.0.to_be_bytes());
        writer.put(self.tx_base.to_be_bytes());
        writer.put(self.rx_base.to_be_bytes());
        writer.put(self.peer_mss.to_be_bytes());
        writer.put([self.snd_scale, self.rcv_scale]);
        bytes
    }

    /// Reads a record; fields that a newer member appended are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        reader.version()?;
        let flags = reader.u8()?;
        let six = flags & flag::V6 != 0;
        let (local_ip, remote_ip) = (reader.ip(six)?, reader.ip(six)?);
        let state = Self {
            flow: Flow { local_ip, remote_ip, local_port: reader.u16()?, remote_port: reader.u16()? },
            iss: Seq(reader.u32()?),
            irs: Seq(reader.u32()?),
            tx_base: reader.offset()?,
            rx_base: reader.offset()?,
            peer_mss: reader.u16()?,
            snd_scale: reader.u8()?,
            rcv_scale: reader.u8()?,
            window_scaling: flags & flag::WINDOW_SCALING != 0,
            timestamps: flags & flag::TIMESTAMPS != 0,
            sack: flags & flag::SACK != 0,
        };
        let most = super::options::WINDOW_SCALE_MAX;
        if state.snd_scale > most || state.rcv_scale > most { Err(RecordError::Value) } else { Ok(state) }
    }
}

impl EssentialState {
    /// Bytes that [`Self::encode`] writes.
    pub const ENCODED_LEN: usize = 54;

    /// Writes the record.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        let mut writer = Writer { buffer: &mut bytes, at: 0 };
        writer.put([RECORD_VERSION, self.state as u8]);
        writer.put(self.snd_una.to_be_bytes());
        writer.put(self.snd_wnd.to_be_bytes());
        writer.put(self.wl1.to_be_bytes());
        writer.put(self.wl2.to_be_bytes());
        writer.put(self.rcv_nxt.to_be_bytes());
        writer.put(self.right_edge.to_be_bytes());
        writer.put(self.ts_recent.to_be_bytes());
        writer.put(self.tsval.to_be_bytes());
        bytes
    }

    /// Reads a record; fields that a newer member appended are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        reader.version()?;
        let state = usize::from(reader.u8()?);
        Ok(Self {
            state: *State::ALL.get(state).ok_or(RecordError::Value)?,
            snd_una: reader.pos()?,
            snd_wnd: reader.u32()?,
            wl1: reader.pos()?,
            wl2: reader.pos()?,
            rcv_nxt: reader.pos()?,
            right_edge: reader.pos()?,
            ts_recent: reader.u32()?,
            tsval: reader.u32()?,
        })
    }
}

impl Endpoint {
    /// The Initial record. It changes only with [`super::Outcome::initial_changed`].
    pub fn save_initial(&self) -> InitialState {
        let Initial { flow, iss, irs, tx_base, rx_base, peer_mss, snd_scale, rcv_scale, .. } = self.initial;
        let Initial { window_scaling, timestamps, sack, .. } = self.initial;
        InitialState {
            flow,
            iss,
            irs,
            tx_base,
            rx_base,
            peer_mss,
            snd_scale,
            rcv_scale,
            window_scaling,
            timestamps,
            sack,
        }
    }

    /// The Essential record as of now. It is due when [`Endpoint::take_change`] says so.
    pub fn save_essential(&self, now_ns: u64) -> EssentialState {
        let Essential { state, snd_una, snd_wnd, wl1, wl2, rcv_nxt, right_edge, ts_recent } = self.essential;
        let tsval = self.tsval(now_ns);
        EssentialState { state, snd_una, snd_wnd, wl1, wl2, rcv_nxt, right_edge, ts_recent, tsval }
    }

    /// Both.
    pub fn save(&self, now_ns: u64) -> (InitialState, EssentialState) {
        (self.save_initial(), self.save_essential(now_ns))
    }

    /// The endpoint that the records and the streams describe; `config` is this member's. What the streams hold counts as
    /// possibly sent. Replicate its records and streams, then [`Endpoint::confirm`] and commit: nothing is sent before,
    /// or a second takeover would begin from the same old record, and its clock (TSval) behind this one's.
    pub fn restore(
        config: &Config,
        saved: &Saved,
        rx: &mut Stream,
        tx: &mut Stream,
        pool: &mut ChunkPool,
        now_ns: u64,
    ) -> Result<Self, RecordError> {
        let initial = live_initial(&saved.initial)?;
        let mut live = live_essential(&saved.essential)?;
        reconcile(&initial, &mut live, rx, tx)?;
        tx.trim_to(pool, initial.tx_offset(live.snd_una));
        let elapsed_ms = (saved.age_ns / 1_000_000).saturating_add(TSVAL_LEAP_MS);
        let ts_offset = saved.essential.tsval.wrapping_add(elapsed_ms as u32).wrapping_sub(millis(now_ns));
        let mut calc = Calculable::new(config, &initial, &live, ts_offset, now_ns);
        calc.snd_max = calc.snd_max.max(initial.tx_pos(tx.end()) + Pos::from(tx.fin().is_some()));
        calc.last_ack_sent = initial.rx_pos(rx.committed()) + Pos::from(rx.is_fin_committed());
        // The peer learns at once where we are, and tells where it is. One that has nothing more to say may be gone.
        calc.ack_now = live.state.is_synchronized() && live.state != State::TimeWait;
        let mut endpoint = Self {
            config: *config,
            initial,
            essential: live,
            calc,
            initial_version: 1,
            confirmed: 0,
            change: Change::State,
        };
        if rx.fin().is_some() {
            endpoint.step(Event::FinReceived);
        }
        endpoint.watch_silence();
        if endpoint.essential.state == State::TimeWait {
            endpoint.calc.timers.set(Timer::TimeWait, now_ns.saturating_add(config.time_wait_ns));
        }
        Ok(endpoint)
    }
}

fn live_initial(saved: &InitialState) -> Result<Initial, RecordError> {
    let InitialState { flow, iss, irs, tx_base, rx_base, peer_mss, snd_scale, rcv_scale, .. } = *saved;
    let InitialState { window_scaling, timestamps, sack, .. } = *saved;
    let most = super::options::WINDOW_SCALE_MAX;
    if tx_base > POS_MAX || rx_base > POS_MAX || snd_scale > most || rcv_scale > most {
        return Err(RecordError::Value);
    }
    Ok(Initial { flow, iss, irs, tx_base, rx_base, peer_mss, snd_scale, rcv_scale, window_scaling, timestamps, sack })
}

fn live_essential(saved: &EssentialState) -> Result<Essential, RecordError> {
    let EssentialState { state, snd_una, snd_wnd, wl1, wl2, rcv_nxt, right_edge, ts_recent, .. } = *saved;
    let possible = |pos: Pos| (0..=POS_MAX as Pos).contains(&pos);
    if ![snd_una, wl1, wl2, rcv_nxt, right_edge].into_iter().all(possible) {
        return Err(RecordError::Value);
    }
    Ok(Essential { state, snd_una, snd_wnd, wl1, wl2, rcv_nxt, right_edge, ts_recent })
}

/// Puts right what the Essential record knows less of than the streams.
fn reconcile(initial: &Initial, essential: &mut Essential, rx: &Stream, tx: &Stream) -> Result<(), RecordError> {
    if rx.end() > POS_MAX || tx.end() > POS_MAX || rx.end() < initial.rx_base {
        return Err(RecordError::Mismatch);
    }
    let acknowledged = initial.tx_pos(tx.start());
    if acknowledged > 1 || essential.state.is_synchronized() {
        essential.snd_una = essential.snd_una.max(acknowledged);
    }
    if matches!(essential.state, State::SynSent | State::SynReceived) && essential.snd_una > 1 {
        // Bytes of ours were acknowledged: the handshake was done.
        essential.state = State::Established;
    }
    let fin = Pos::from(tx.fin().is_some());
    if essential.snd_una > initial.tx_pos(tx.end()) + fin {
        return Err(RecordError::Mismatch);
    }
    essential.rcv_nxt = initial.rx_pos(rx.end()) + Pos::from(rx.fin().is_some());
    // The window may be an old one: the next that is heard counts, whatever number it bears.
    essential.wl1 = 0;
    Ok(())
}
