//! Why the filter does not do what it was asked.

use crate::LoaderError;

/// Why the filter does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Loading, attaching, or a map failed.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// No port, too many, or port zero.
    #[error("{count} ports; 1 to {max} that are not zero are needed")]
    Ports {
        /// Ports that were given.
        count: usize,
        /// Most ports.
        max: usize,
    },
    /// A bucket's rate or burst is out of bounds.
    #[error("the bucket {name} has {value}; 1 to {max} is allowed")]
    Bucket {
        /// Which bucket.
        name: &'static str,
        /// What was given.
        value: u32,
        /// The most.
        max: u32,
    },
    /// The bound of tags is out of bounds itself.
    #[error("a bound of {value} tags; 1 to {max} is allowed")]
    TagBound {
        /// What was given.
        value: u32,
        /// The most.
        max: u32,
    },
    /// There is no room for another tag.
    #[error("{max} tags are allowed already")]
    TooManyTags {
        /// The configured bound.
        max: u32,
    },
    /// There are too many rules.
    #[error("{count} rules, at most {max} are kept")]
    TooManyRules {
        /// Rules that were given.
        count: usize,
        /// Most rules.
        max: usize,
    },
    /// A prefix is longer than its address.
    #[error("a prefix of {bits} bits, an address of {max}")]
    PrefixLength {
        /// The length that was given.
        bits: u8,
        /// The address's length.
        max: u8,
    },
    /// A rate limit is below what lets one super-packet pass.
    #[error("a limit of {bytes_per_s} bytes/s with a burst of {burst_bytes}; at least 1000 and 65536 are needed")]
    Limit {
        /// The rate that was given.
        bytes_per_s: u64,
        /// The burst that was given.
        burst_bytes: u64,
    },
    /// XDP on an interface without hardware.
    #[error(
        "{interface} ({driver}) has no hardware behind it: XDP there switches segmentation offload off at the other \
         end and costs more than it saves; use TC, or force it"
    )]
    XdpNeedsHardware {
        /// The interface.
        interface: String,
        /// What the kernel calls its driver.
        driver: String,
    },
    /// XDP on a tunnel that has no Ethernet header.
    #[error("{interface} has no Ethernet header; XDP reads Ethernet only, use TC")]
    XdpNeedsEthernet {
        /// The interface.
        interface: String,
    },
    /// The program is attached there already.
    #[error("the filter is attached to {interface} already")]
    AlreadyAttached {
        /// The interface.
        interface: String,
    },
    /// Tags cannot be enforced because the program would outlive this process.
    #[error(
        "this kernel has no TCX links (Linux 6.6): on {interface} the program would outlive a killed agent and drop \
         everything, so tags are not enforced"
    )]
    ArmNeedsLinks {
        /// The interface.
        interface: String,
    },
    /// There is no number left for another peer.
    #[error("{max} peers have numbers already")]
    TooManyPeers {
        /// Most peers.
        max: usize,
    },
}
