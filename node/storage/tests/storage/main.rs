//! What an operator relies on: nothing acknowledged is lost, nothing half written is found, old
//! states go away exactly when they should, and a wrong directory is refused by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod blocks;
mod damage;
mod durability;
mod opening;
mod pruning;
mod snapshots;
mod support;
