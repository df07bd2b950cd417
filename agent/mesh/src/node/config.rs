//! What a mesh is told from outside: its own name, its underlays, whom it may talk to, which rules filter.

use crate::NodeId;
use core::fmt;
use std::net::SocketAddr;
use x0_crypto::PublicKey;

/// Number of an underlay: a local interface, or a tunnel that looks like one (Yggdrasil), over which
/// one socket sends datagrams. Local to this process; it never travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct UnderlayId(pub u16);

impl fmt::Display for UnderlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

/// One underlay of this node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Underlay {
    /// Its number.
    pub id: UnderlayId,
    /// Its name for people, such as `eth0` or `ygg`.
    pub name: String,
    /// Largest UDP payload that the interface takes without fragments, bytes: its MTU less 28 (IPv4)
    /// or 48 (IPv6). Path probing goes down from it.
    pub payload_bytes_max: u16,
    /// Underlays with the same number share a fate (one cable, one provider): disjoint paths avoid
    /// sharing it (shared-risk link group, RFC 4202 section 2.3).
    pub srlg: u32,
}

/// What does not change while a mesh runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hash of the chain's first block; part of every transcript and signature.
    pub genesis: [u8; 32],
    /// The renter's mesh; part of every transcript and of overlay addresses.
    pub mesh_id: [u8; 32],
    /// A number that is higher at each start of this node than at any time before, such as the wall
    /// clock's milliseconds since 1970: other nodes ignore link-state records with lower numbers. The
    /// protocol reads no wall clock itself.
    pub start_number: u64,
    /// The underlays that this node sends over.
    pub underlays: Vec<Underlay>,
}

/// Who this node is. The secret key stays outside, with whoever runs [`super::Job`]s.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This node's name.
    pub id: NodeId,
    /// Its ML-DSA-65 agent key, public half.
    pub key: PublicKey,
}

/// What a peer may do here. A missing right is refused and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rights {
    /// May hold a link with this node: be its neighbour.
    pub link: bool,
    /// May hold an end-to-end session with this node: send packets to it and receive them.
    pub session: bool,
    /// Frames may pass through this node from this neighbour, and to it.
    pub relay: bool,
}

impl Rights {
    /// Every right: a member of the same mesh.
    pub const ALL: Self = Self { link: true, session: true, relay: true };
}

/// Another node, as the authority (the chain, through the light client) knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub id: NodeId,
    /// Its ML-DSA-65 agent key. A peer whose key changes is a peer that left and another that came.
    pub key: PublicKey,
    /// Where its datagrams may be sent, each over the underlay of this node that reaches it. Empty for
    /// a node that is reached through relays only, or that opens its links itself.
    pub addresses: Vec<(UnderlayId, SocketAddr)>,
    /// Its trust, 65,536 for full trust: weighs every route that passes it.
    pub trust_q16: u32,
    /// What it may do here.
    pub rights: Rights,
}

/// Everybody whom this node may deal with, as of one moment. Who is not in it is nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityView {
    /// Height of the block that the view follows from. An older view than the current one is refused.
    pub height: u64,
    /// The peers, in any order; this node itself is skipped.
    pub peers: Vec<Peer>,
}

/// A rule that a playbook or the operator sets on a peer. Rules only take away; they never admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Closes the peer's links and sessions and refuses new ones.
    Deny {
        /// The peer.
        peer: NodeId,
    },
    /// Keeps the peer's links alive for observation, and passes nothing: no delivery, no relaying, no
    /// route through it.
    Quarantine {
        /// The peer.
        peer: NodeId,
    },
    /// Bounds what the peer may bring in over its links, data frames only.
    RateLimit {
        /// The peer.
        peer: NodeId,
        /// Bytes per second in the long run.
        bytes_per_s: u64,
        /// Bytes at once after a rest.
        burst_bytes: u64,
    },
    /// Weighs routes that pass the peer: 16 is neutral, 0 avoids it while anything else is left.
    Prefer {
        /// The peer.
        peer: NodeId,
        /// Weight, 0 to 16.
        weight: u8,
    },
}

impl Rule {
    /// Whom the rule is about.
    #[must_use]
    pub const fn peer(&self) -> &NodeId {
        match self {
            Self::Deny { peer }
            | Self::Quarantine { peer }
            | Self::RateLimit { peer, .. }
            | Self::Prefer { peer, .. } => peer,
        }
    }
}
