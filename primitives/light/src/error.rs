//! Why something is not believed.

use alloc::string::String;
use x0_crypto::certificate::CertificateError;

/// Why bytes are no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Longer than any header of this chain.
    #[error("a header of {bytes} bytes; {max} are allowed")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes do not decode as a header.
    #[error("not a header: {0}")]
    Malformed(String),
    /// More than one digest item announces a set.
    #[error("header {0} announces more than one validator set")]
    RepeatedAnnouncement(u32),
    /// The item that announces a set does not hold a hash.
    #[error("header {number} announces a validator set with {bytes} bytes in place of a hash")]
    BadAnnouncement {
        /// The header's height.
        number: u32,
        /// Bytes in the item.
        bytes: usize,
    },
}

/// Why bytes are no validator set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The length does not fit the number of validators.
    #[error("a validator set of {0} bytes does not decode")]
    Malformed(usize),
    /// Nobody is in it.
    #[error("the validator set is empty")]
    Empty,
    /// More validators than a set may have.
    #[error("a set of {found} validators; {max} are allowed")]
    TooMany {
        /// Validators named.
        found: u32,
        /// Validators allowed.
        max: u32,
    },
    /// A validator's power is zero or above the largest one.
    #[error("validator {validator} has power {power}, which is out of range")]
    Power {
        /// The validator's address in hex.
        validator: String,
        /// Its power.
        power: u64,
    },
    /// A key stands twice in it.
    #[error("the consensus key of {0} stands twice in the set")]
    RepeatedKey(String),
}

/// Why a storage proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Larger than a reader takes.
    #[error("a proof of {nodes} nodes and {bytes} bytes is too large")]
    TooLarge {
        /// Nodes given.
        nodes: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// A node that the path to a key needs is not in the proof, or the proof is for another root.
    #[error("the proof does not lead from the state root to the key {key}: {reason}")]
    Incomplete {
        /// The key in hex.
        key: String,
        /// What the trie says.
        reason: String,
    },
    /// The proven value is not of the expected type.
    #[error("the value of {0} does not decode")]
    Value(&'static str),
    /// A value that must exist is proven to be absent.
    #[error("the state has no {0}")]
    Missing(&'static str),
}

/// Why a light client does not accept what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The validator set cannot be read or breaks a rule.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The certificate does not convince.
    #[error("height {number}: {source}")]
    Certificate {
        /// The header's height.
        number: u32,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The certificate is for another height than the header.
    #[error("the certificate is for height {certificate}, the header for {header}")]
    OtherHeight {
        /// Height of the header.
        header: u32,
        /// Height of the certificate.
        certificate: u64,
    },
    /// The header is not the one that is to be trusted.
    #[error("the header hashes to {found}, but {expected} is trusted")]
    OtherAnchor {
        /// The trusted hash in hex.
        expected: String,
        /// The header's hash in hex.
        found: String,
    },
    /// A genesis header has number 0.
    #[error("the genesis header has height {0}")]
    NotGenesis(u32),
    /// The header's height lies before the first set that is known.
    #[error("no validator set is known for height {number}: the oldest known one decides from {first} on")]
    SetUnknown {
        /// The header's height.
        number: u32,
        /// First height of the oldest known set.
        first: u32,
    },
    /// A change of the set is announced that was not brought yet.
    #[error("height {number} needs the validator set that decides from {from} on: fetch set changes first")]
    SetNeeded {
        /// The header's height.
        number: u32,
        /// First height of the announced set.
        from: u32,
    },
    /// A proof of a set change has a header that announces none.
    #[error("header {0} announces no validator set")]
    AnnouncementMissing(u32),
    /// The set is not the announced one.
    #[error("header {number} announces the validator set {announced}, not {found}")]
    OtherSet {
        /// The header's height.
        number: u32,
        /// The announced hash in hex.
        announced: String,
        /// The given set's hash in hex.
        found: String,
    },
    /// The trust has aged.
    #[error(
        "what was trusted at {trusted_at_ms} ms is too old at {now_ms} ms: trust lasts {period_ms} ms; name a newer checkpoint"
    )]
    TrustExpired {
        /// Time of the trust, milliseconds since the Unix epoch.
        trusted_at_ms: u64,
        /// The caller's clock.
        now_ms: u64,
        /// How long trust lasts.
        period_ms: u64,
    },
    /// The caller's clock lies before the time of the trust.
    #[error("the clock says {now_ms} ms, but trust was stated at {trusted_at_ms} ms: set the clock")]
    ClockBehind {
        /// Time of the trust, milliseconds since the Unix epoch.
        trusted_at_ms: u64,
        /// The caller's clock.
        now_ms: u64,
    },
    /// Two valid certificates contradict one another. The state is halted.
    #[error("two certificates contradict one another at heights {first} and {second}: halted, keep the evidence")]
    Conflict {
        /// Height of the earlier accepted block.
        first: u32,
        /// Height of the new one.
        second: u32,
    },
    /// A conflict was seen before.
    #[error("halted by a conflict at height {0}: only a person may go on, with a new checkpoint")]
    Halted(u32),
    /// A storage proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Stored trust does not decode.
    #[error("the stored trust does not decode: {0}")]
    Stored(&'static str),
    /// A set change does not decode.
    #[error("not a proof of a set change: {0}")]
    Malformed(&'static str),
}
