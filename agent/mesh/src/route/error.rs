//! Why something that a neighbour sent about routes is not believed.

use crate::NodeId;
use std::collections::BTreeMap;
use x0_mesh_wire::limits::{
    ROUTE_ADJACENCIES_MAX, ROUTE_LIFETIME_S_MAX, ROUTE_MESSAGE_BYTES_MAX, ROUTE_NODES_MAX, ROUTE_NOTICE_HOPS_MAX,
    ROUTE_PARALLEL_MAX, ROUTE_RECORD_BYTES_MAX, ROUTE_VERIFY_PENDING_MAX,
};

/// Why a message, a record or a notice is refused. Each is counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no message or no record.
    #[error("{bytes} bytes are no {what}")]
    Malformed {
        /// What they should be.
        what: &'static str,
        /// How many bytes.
        bytes: usize,
    },
    /// A message is longer than a control frame on the smallest underlay.
    #[error("a message of {bytes} bytes, at most {ROUTE_MESSAGE_BYTES_MAX} are read")]
    MessageTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A record is too long.
    #[error("a record of {bytes} bytes, at most {ROUTE_RECORD_BYTES_MAX} are read")]
    RecordTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A record of another mesh.
    #[error("the record belongs to another mesh")]
    OtherMesh,
    /// A record claims too many links.
    #[error("{claims} links are claimed, at most {ROUTE_ADJACENCIES_MAX} are allowed")]
    TooManyAdjacencies {
        /// How many.
        claims: usize,
    },
    /// A record claims too many links to one neighbour.
    #[error("{claims} links to {neighbour} are claimed, at most {ROUTE_PARALLEL_MAX} are allowed")]
    TooManyParallel {
        /// The neighbour.
        neighbour: NodeId,
        /// How many.
        claims: usize,
    },
    /// A record claims a link to its own node.
    #[error("{node} claims a link to itself")]
    SelfAdjacency {
        /// The node.
        node: NodeId,
    },
    /// Two links of a record have the same label, or one has label 0.
    #[error("{node} uses the label {label} twice, or it is zero")]
    Label {
        /// The node.
        node: NodeId,
        /// The label.
        label: u32,
    },
    /// A lifetime of nothing or beyond the limit.
    #[error("a lifetime of {lifetime_s} s, 1 to {ROUTE_LIFETIME_S_MAX} are allowed")]
    Lifetime {
        /// Seconds.
        lifetime_s: u16,
    },
    /// The record was on the way for longer than it lives.
    #[error("the record is {age_s} s old and lives {lifetime_s} s")]
    Expired {
        /// Its age.
        age_s: u16,
        /// Its lifetime.
        lifetime_s: u16,
    },
    /// A record that is not newer than what is known of its node.
    #[error("record {seq} of {node} is not newer than {known}")]
    Stale {
        /// The node.
        node: NodeId,
        /// The number of the record.
        seq: u64,
        /// The number that is known.
        known: u64,
    },
    /// The signature does not hold.
    #[error("the signature of record {seq} of {node} does not hold")]
    Forged {
        /// The node.
        node: NodeId,
        /// The number of the record.
        seq: u64,
    },
    /// Nobody admitted this node to the mesh.
    #[error("{node} does not belong to the mesh")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// No room for another node.
    #[error("{ROUTE_NODES_MAX} nodes are known, no room for {node}")]
    TableFull {
        /// The node.
        node: NodeId,
    },
    /// Too many records of one neighbour wait for their verification.
    #[error("{ROUTE_VERIFY_PENDING_MAX} records of this neighbour wait for their verification")]
    PendingFull,
    /// A neighbour sends more of this than its share.
    #[error("too many {what} from this neighbour")]
    TooFast {
        /// What it sends.
        what: &'static str,
    },
    /// A message came over a link that is not known.
    #[error("no link has the label {label}")]
    NoSuchLink {
        /// The label.
        label: u32,
    },
    /// A delta that does not fit the record it changes.
    #[error("a delta to record {base} of {node}, known is {known}")]
    Delta {
        /// The node.
        node: NodeId,
        /// The record that it changes.
        base: u64,
        /// The record that is known.
        known: u64,
    },
    /// A notice about a link that nobody claims, or about a link of this node.
    #[error("a notice about a link {label} of {owner}, which is not known")]
    NoticeUnknown {
        /// Whose link.
        owner: NodeId,
        /// Its label.
        label: u32,
    },
    /// A notice that travelled too far.
    #[error("a notice after {hops} hops, at most {ROUTE_NOTICE_HOPS_MAX} are followed")]
    NoticeTooFar {
        /// Hops so far.
        hops: u8,
    },
    /// An answer to a job that nobody waits for.
    #[error("nobody waits for the answer {ticket}")]
    NoSuchTicket {
        /// The ticket of the answer.
        ticket: u64,
    },
}

impl Refusal {
    /// Its name, for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::RecordTooLong { .. } => "record_too_long",
            Self::OtherMesh => "other_mesh",
            Self::TooManyAdjacencies { .. } => "too_many_adjacencies",
            Self::TooManyParallel { .. } => "too_many_parallel",
            Self::SelfAdjacency { .. } => "self_adjacency",
            Self::Label { .. } => "label",
            Self::Lifetime { .. } => "lifetime",
            Self::Expired { .. } => "expired",
            Self::Stale { .. } => "stale",
            Self::Forged { .. } => "forged",
            Self::UnknownNode { .. } => "unknown_node",
            Self::TableFull { .. } => "table_full",
            Self::PendingFull => "pending_full",
            Self::TooFast { .. } => "too_fast",
            Self::NoSuchLink { .. } => "no_such_link",
            Self::Delta { .. } => "delta",
            Self::NoticeUnknown { .. } => "notice_unknown",
            Self::NoticeTooFar { .. } => "notice_too_far",
            Self::NoSuchTicket { .. } => "no_such_ticket",
        }
    }
}

/// How often each refusal happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct RefusalCounters(BTreeMap<&'static str, u64>);

impl RefusalCounters {
    /// Counts one.
    pub fn count(&mut self, refusal: &Refusal) {
        let counter = self.0.entry(refusal.name()).or_default();
        *counter = counter.saturating_add(1);
    }

    /// How often this one happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}
