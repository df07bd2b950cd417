//! What a router is told at its start, and what it wants done.

use super::{PlanRequest, Refusal, SignedRecord};
use crate::NodeId;

/// What does not change while a router lives.
#[derive(Clone, Copy, Debug)]
pub struct RouterConfig {
    /// This node.
    pub me: NodeId,
    /// The mesh.
    pub mesh: [u8; 32],
    /// Number of the first record. One that is too low after a restart costs a second: neighbours send back the newer
    /// record, and the next one goes beyond it.
    pub first_seq: u64,
    /// Spreads refreshes over time.
    pub seed: u64,
}

/// What a router wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this as a control message over the own link with this label.
    Send {
        /// The own link.
        label: u32,
        /// The body, at most `ROUTE_MESSAGE_BYTES_MAX` long.
        bytes: Vec<u8>,
    },
    /// Sign this body for the purpose `link_state`; answer with [`super::Router::signed`].
    Sign {
        /// The number of the record.
        seq: u64,
        /// What to sign.
        body: Vec<u8>,
    },
    /// Verify [`SignedRecord::signature`] over [`SignedRecord::body`] under the key that the authority names for the
    /// record's node, purpose `link_state`; answer with [`super::Router::verified`].
    Verify {
        /// Names the answer.
        ticket: u64,
        /// The record.
        record: SignedRecord,
    },
    /// Run this on any thread; answer with [`super::Router::planned`].
    Plan(PlanRequest),
    /// A relay says that this link is dead: tell every session ([`super::Scheduler::notice`]).
    Suspect {
        /// Whose link.
        owner: NodeId,
        /// Its label.
        label: u32,
        /// The neighbour that said it.
        heard_from: NodeId,
    },
    /// Something that a neighbour sent earlier turned out to be wrong.
    Refused {
        /// The neighbour.
        from: NodeId,
        /// Why.
        refusal: Refusal,
    },
}
