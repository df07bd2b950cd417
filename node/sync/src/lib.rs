//! Lets a new or wiped node join without replaying the chain.
//!
//! This crate exists because a chain that runs for months cannot be executed again from its first
//! block within the 30 seconds in which a validator has to be back. A node makes a snapshot of its
//! state now and then and serves it; another one fetches it from several peers, believes none of them,
//! and goes on with the blocks after it.
//!
//! ```text
//!   serving node                                            restoring node
//!   executor --head--> SnapshotMaker --> Shelf (disk)       fetch_and_restore
//!                       (pinned state,     |                  Fetcher (state machine: whom, what, whom not)
//!                        low priority)     v                  |   |
//!                                     SnapshotServer <--------+   +--> Download (disk, resumable)
//!                                      (quota per peer) ------>          |
//!                                        offers, set changes,            v
//!                                        manifest, chunks          StateImport --> switch of databases
//! ```
//!
//! # Correctness
//! * The header of a snapshot is verified by [`x0_light`] from the genesis set on: each change of the
//!   validator set by a quorum of the set before it. The state is verified node by node against that
//!   header's state root before anything names it as the head.
//! * A manifest lists the hashes of the chunks, so that a wrong chunk is noticed on arrival and laid to
//!   the peer that sent it. A manifest that lies is noticed by the state root, and everybody who offered
//!   it is reported.
//! * A crash at any point leaves the old database or the new one. Chunks on the disk are believed by
//!   their hashes only.
//! * A restored node claims no history below its snapshot.
//! * Snapshots are made from a pinned state on a thread of low priority: block production does not wait.
//!
//! # Limits
//! The `SNAPSHOT_*` and `SET_CHANGES_*` constants of `x0-limits`; every frame is checked against them
//! before memory is taken.
//!
//! # Errors
//! [`SyncError`] for this node's files, [`RestoreError`] for a restore that ends, [`PeerFault`] for what
//! peers do wrong, [`WireError`] and [`ManifestError`] for bytes.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod download;
mod error;
mod events;
pub mod fetcher;
pub mod maker;
pub mod manifest;
pub mod quota;
mod restore;
mod server;
mod shelf;
pub mod wire;

#[cfg(test)]
mod tests;

pub use error::{RestoreError, SyncError};
pub use fetcher::{Anchor, Fetcher, PeerFault};
pub use maker::{MakerStats, SnapshotMaker, make_snapshot};
pub use manifest::{Manifest, ManifestError};
pub use restore::{RestoreSettings, Restored, fetch_and_restore};
pub use server::{ServerStats, SnapshotServer};
pub use shelf::{Shelf, Snapshot};
pub use wire::WireError;
