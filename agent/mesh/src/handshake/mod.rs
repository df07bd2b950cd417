//! The handshake "KEM-SIGMA": two nodes agree on keys and prove who they are, in four messages.
//!
//! ```text
//!   initiator                                                     responder
//!     Hello   M1  ML-KEM key, id                            ->      (anonymous; cookie under load)
//!             M2  ML-KEM ciphertext, X25519 key, id         <-  Answer
//!     Proof   M3  {name, [key], X25519 key, signature}      ->      verified? authorised?
//!             M4  {name, [key], signature}                  <-  Proof
//!   Established                                                 Established (confirmed by the first data)
//! ```
//!
//! [`Handshakes`] runs all handshakes of a node, in both roles and for links and end-to-end sessions
//! alike. It does no slow work: keys are agreed and signatures made and checked in [`Job`]s, which
//! someone else runs and answers. `docs/mesh/handshake.md` describes the protocol byte by byte.
//!
//! # Correctness
//! * Both sides end with the same keys, peer, purpose and transcript, or at least one of them ends
//!   without. A side never ends with a peer that did not sign this very exchange with it.
//! * A responder tells nothing about itself, not even that it is there, to who does not know its name
//!   in this mesh, and nothing beyond the second message to who is not authorised.
//! * A responder never sends more bytes to a place than it received from there, before it verified
//!   the initiator.
//! * Of two handshakes that meet, the one that the lower name began goes on.
//!
//! # Limits
//! The `HANDSHAKE_*` constants of `x0_mesh_wire::limits`.
//!
//! # Errors
//! [`Refusal`]: why a datagram had no effect; each is counted. [`ConnectError`] for a call that cannot
//! start, [`Failure`] for a handshake of ours that ended without keys.

mod cookies;
mod counters;
mod fragments;
mod halves;
mod handshakes;
mod initiator;
mod job;
mod keys;
mod peers;
mod proof;
mod responder;
mod table;
mod theirs;
mod via;

pub use counters::{ConnectError, Failure, HandshakeCounters, Refusal};
pub use handshakes::Handshakes;
pub use job::{Job, JobDone, JobKind};
pub use keys::{ALGORITHMS, Established, Keys, Role};
pub use via::Via;

use crate::NodeId;
use x0_crypto::PublicKey;
use x0_mesh_wire::handshake::{PURPOSE_END_TO_END, PURPOSE_LINK};

/// What keys are for. The purpose is part of the transcript, so a handshake of one never gives keys
/// for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A link between neighbours.
    Link,
    /// A session between the ends.
    EndToEnd,
}

impl Purpose {
    /// The purpose as it travels.
    const fn code(self) -> u8 {
        match self {
            Self::Link => PURPOSE_LINK,
            Self::EndToEnd => PURPOSE_END_TO_END,
        }
    }
}

/// Who this node is, and where. The secret key stays with whoever runs jobs.
#[derive(Clone, Debug)]
pub struct Local {
    /// This node's name.
    pub node: NodeId,
    /// Its ML-DSA-65 agent key.
    pub key: PublicKey,
    /// Hash of the chain's first block.
    pub genesis: [u8; 32],
    /// The renter's mesh.
    pub mesh_id: [u8; 32],
}

/// Who says whom this node may talk to.
pub trait Authority {
    /// Whether this peer may hold a link or session with this node now.
    fn may_connect(&self, peer: &NodeId, purpose: Purpose) -> bool;
    /// The peer's key, when it is known. A peer then proves itself with this key and no other, so a
    /// key that was rotated or revoked is worth nothing.
    fn public_key(&self, peer: &NodeId) -> Option<PublicKey>;
}

/// What a call into [`Handshakes`] asks to be done, in order.
#[derive(Debug)]
pub enum Action {
    /// Send these bytes: over a socket a whole datagram; end to end the body of a data frame, which
    /// starts with session index 0.
    Send {
        /// Where to.
        via: Via,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Run this job and hand its answer to [`Handshakes::complete`].
    Job(Job),
    /// A handshake gave keys.
    Established(Box<Established>),
    /// A handshake that this node began gave none.
    Failed {
        /// Our handshake id, as [`Handshakes::connect`] gave it.
        id: u32,
        /// The peer that was asked for.
        peer: NodeId,
        /// For what.
        purpose: Purpose,
        /// Why.
        reason: Failure,
    },
}

#[cfg(test)]
mod tests;
