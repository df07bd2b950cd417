//! The two connections of a pair of peers.
//!
//! TCP delivers in order: behind a lost or waiting packet of a block, everything later on the same connection waits,
//! a vote as well. So each pair has two connections, and each has its own order:
//!
//! ```text
//!   lane    carries                              dialled by
//!   Votes   votes, proposals, statuses, requests either side
//!   Bulk    parts, transactions, large answers   the side that dialled the lane of votes, once that stands
//! ```
//!
//! # Correctness
//! * Both connections make the same handshake with the same key, and say the same hello: they are bound to one
//!   admitted peer, which is told of once.
//! * While one of the two is missing, the other carries everything.

use crate::queue::Class;

/// What a connection is for. The dialling side says it by the name of the control stream that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Votes,
    Bulk,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Votes, Self::Bulk];

    /// The lane on which frames of a class go when both stand.
    pub(super) const fn of(class: Class) -> Self {
        match class {
            Class::Votes => Self::Votes,
            Class::Blocks | Class::Bulk => Self::Bulk,
        }
    }
}
