//! Why a frame is refused before anyone asked whose it is: the names under which such drops are counted.

use crate::wire::EtherType;

/// Why [`super::summarise`] refuses a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ParseDrop {
    /// Not a drop yet: ARP, the members' own frames, or something nobody here speaks.
    #[error("not an IP packet (EtherType {ethertype:?})")]
    NotIp {
        /// What it is.
        ethertype: EtherType,
        /// Where it starts in the frame.
        offset: u16,
    },
    /// The frame ends inside its Ethernet header or tag.
    #[error("the frame ends inside its Ethernet header")]
    FrameTruncated,
    /// The frame has another VLAN's tag, or none where one is configured.
    #[error("the frame belongs to another VLAN")]
    WrongVlan,
    /// The frame ends before the IP packet does.
    #[error("the frame ends before the IP packet does")]
    IpTruncated,
    /// The version field contradicts the EtherType.
    #[error("the IP version contradicts the EtherType")]
    IpVersion,
    /// Header length and total length contradict each other.
    #[error("the IP lengths contradict each other")]
    IpLength,
    /// The IPv4 header's checksum is wrong.
    #[error("the IPv4 header checksum is wrong")]
    IpChecksum,
    /// An address that must not be on a wire: loopback, a group as source, …
    #[error("an address that must not be on a wire")]
    Martian,
    /// The IPv6 extension headers are malformed, misplaced or too many.
    #[error("malformed or too many IPv6 extension headers")]
    ExtensionHeaders,
    /// A fragment that would end past the longest possible packet.
    #[error("a fragment that would end past the longest packet")]
    FragmentPastEnd,
}

impl ParseDrop {
    /// How many kinds there are: the length of a table of counters.
    pub const COUNT: usize = 10;

    /// This kind's place in a table of [`Self::COUNT`] counters.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Self::NotIp { .. } => 0,
            Self::FrameTruncated => 1,
            Self::WrongVlan => 2,
            Self::IpTruncated => 3,
            Self::IpVersion => 4,
            Self::IpLength => 5,
            Self::IpChecksum => 6,
            Self::Martian => 7,
            Self::ExtensionHeaders => 8,
            Self::FragmentPastEnd => 9,
        }
    }

    /// The names of all kinds, by [`Self::index`], for metrics.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "not_ip",
        "frame_truncated",
        "wrong_vlan",
        "ip_truncated",
        "ip_version",
        "ip_length",
        "ip_checksum",
        "martian",
        "extension_headers",
        "fragment_past_end",
    ];

    /// This kind's name, for metrics.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}
