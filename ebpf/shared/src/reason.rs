//! What became of a datagram on a mesh port.

/// What became of a datagram on a mesh port; the index of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Passes: its tag is allowed.
    Tagged = 0,
    /// Passes: a handshake within both buckets.
    Handshake = 1,
    /// Passes: its tag is unknown, but tags are not enforced.
    Unarmed = 2,
    /// Passes: more extension headers than the program walks, so that nobody knows whether it is ours.
    /// The user-space side checks everything again.
    Unparsed = 3,
    /// Passes: it would be dropped, but another host is its destination and this one a router.
    Forwarded = 4,
    /// Dropped: shorter than its header says, or longer than any agent sends.
    Length = 5,
    /// Dropped: another version.
    Version = 6,
    /// Dropped: no such kind.
    Kind = 7,
    /// Dropped: flags, labels or pointer out of bounds.
    Fields = 8,
    /// Dropped: the first fragment of an IP datagram. The mesh sends with fragmentation off.
    Fragment = 9,
    /// Dropped: its tag is unknown and tags are enforced.
    UnknownTag = 10,
    /// Dropped: its prefix's handshake bucket is empty.
    PrefixBucket = 11,
    /// Dropped: everybody's handshake bucket is empty.
    GlobalBucket = 12,
    /// Dropped: a rule denies its prefix.
    DeniedPrefix = 13,
    /// Dropped: a rule denies its peer.
    DeniedPeer = 14,
    /// Dropped: its peer is in quarantine, and it is neither a heartbeat nor link control.
    Quarantined = 15,
    /// Dropped: its peer's limit is reached.
    Limited = 16,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 17;
    /// All, by index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Tagged,
        Self::Handshake,
        Self::Unarmed,
        Self::Unparsed,
        Self::Forwarded,
        Self::Length,
        Self::Version,
        Self::Kind,
        Self::Fields,
        Self::Fragment,
        Self::UnknownTag,
        Self::PrefixBucket,
        Self::GlobalBucket,
        Self::DeniedPrefix,
        Self::DeniedPeer,
        Self::Quarantined,
        Self::Limited,
    ];

    /// The index of its counter.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the datagram is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn drops(self) -> bool {
        self as u32 >= Self::Length as u32
    }

    /// One word for status and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tagged => "tagged",
            Self::Handshake => "handshake",
            Self::Unarmed => "unarmed",
            Self::Unparsed => "unparsed",
            Self::Forwarded => "forwarded",
            Self::Length => "length",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::Fields => "fields",
            Self::Fragment => "fragment",
            Self::UnknownTag => "unknown_tag",
            Self::PrefixBucket => "prefix_bucket",
            Self::GlobalBucket => "global_bucket",
            Self::DeniedPrefix => "denied_prefix",
            Self::DeniedPeer => "denied_peer",
            Self::Quarantined => "quarantined",
            Self::Limited => "limited",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn indices_are_dense_and_names_differ() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count() == 1);
        }
        assert!(!Reason::Forwarded.drops() && Reason::Length.drops() && Reason::Limited.drops());
    }
}
