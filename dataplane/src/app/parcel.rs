//! Packets of tunnels, several at a time.
//!
//! The worker shows a burst of them where they lie; the app seals and opens them there, and says of each what became of it. It need
//! not take any: what it leaves as it is goes to it once more, by itself ([`super::App::handle_passing`], [`super::App::handle_packet`]).

use crate::drop_reason::DropReason;

/// A packet in its buffer: IPv4 without options, its header sound, with a TTL that takes one more hop.
#[derive(Debug)]
pub struct Parcel<'p> {
    /// All of the buffer.
    pub room: &'p mut [u8],
    /// Where in it the packet begins.
    pub start: u16,
    /// How long it is.
    pub len: u16,
    /// The tunnel's inbound SPI.
    pub spi: u32,
    /// Which way it goes.
    pub way: Way,
    /// What became of it; [`Fate::Untouched`] to begin with.
    pub fate: Fate,
}

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Into a tunnel, of which the policies say that it is to go there.
    Into,
    /// Out of one: it is ESP to a cluster address.
    OutOf,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// Nothing. Those behind it that go the same way through the same tunnel are untouched as well.
    Untouched,
    /// An IP packet lies in its buffer that is to be sent. Before it, there is room for any link's header.
    Sent {
        /// Where it begins.
        start: u16,
        /// How long it is.
        len: u16,
    },
    /// Its buffer is of no use any more.
    Taken,
    /// It is dropped.
    Dropped(DropReason),
}

impl Parcel<'_> {
    /// One of nobody.
    pub const fn none() -> Self {
        Self { room: &mut [], start: 0, len: 0, spi: 0, way: Way::Into, fate: Fate::Untouched }
    }

    /// The packet.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        let start = usize::from(self.start);
        self.room.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}
