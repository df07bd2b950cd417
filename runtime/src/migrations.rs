//! What changes in the state when a new version of the rules begins.
//!
//! A release that changes the layout of the state adds its migrations to [`ALL`], each with the
//! version of the rules that it belongs to and the storage version that it starts from.
//!
//! ```text
//!   block h under new rules: initialize_block
//!     version differs from LastRuntimeUpgrade? --> OnUpgrade: every migration with from < spec <= to, in order
//!     LastRuntimeUpgrade = to                      then on_initialize of all pallets
//! ```
//!
//! # Correctness
//! * A migration runs in the first block of its version and never again: the block notes the version,
//!   and each migration also asks for the storage version that it starts from and moves it on.
//! * A jump over several versions runs all of their migrations in order.
//! * The `storage_version` attributes of the pallets stay what they were in the first rules: they say
//!   what a genesis block holds, and a newer binary must find the same genesis block.
//! * What a migration would break is found before a release: its test runs it on the state of a chain
//!   on which deals ran, and checks the invariants of all pallets afterwards.

use crate::{Runtime, network};
use frame_support::{
    traits::{GetStorageVersion, OnRuntimeUpgrade, PalletInfoAccess, StorageVersion},
    weights::Weight,
};

/// One step from a layout of the state to the next one.
#[derive(Clone, Copy)]
pub struct Migration {
    /// For people.
    pub name: &'static str,
    /// The version of the rules that needs it.
    pub spec: u32,
    /// Changes the state and says what that weighed.
    pub run: fn() -> Weight,
}

/// Every migration of this chain, in the order of versions.
pub const ALL: &[Migration] = &[
    #[cfg(any(test, feature = "next-spec"))]
    Migration { name: "rehearsal", spec: 2, run: || step::<network::Pallet<Runtime>>(1, 2, Weight::zero) },
];

/// Runs `change` if the pallet's storage has version `from`, and moves it to `to`.
pub fn step<P: GetStorageVersion + PalletInfoAccess>(from: u16, to: u16, change: impl FnOnce() -> Weight) -> Weight {
    let found = P::on_chain_storage_version();
    if found != StorageVersion::new(from) {
        tracing::error!(pallet = P::name(), ?found, from, to, "a migration finds another layout and does nothing");
        return Weight::zero();
    }
    let weight = change();
    StorageVersion::new(to).put::<P>();
    weight
}

/// Runs the migrations of all versions after `from` up to `to`; says how many there were.
pub fn run(all: &[Migration], from: u32, to: u32) -> (u32, Weight) {
    let mut count: u32 = 0;
    let mut weight = Weight::zero();
    for migration in all.iter().filter(|migration| from < migration.spec && migration.spec <= to) {
        tracing::info!(name = migration.name, spec = migration.spec, "migrating the state");
        weight = weight.saturating_add((migration.run)());
        count = count.saturating_add(1);
    }
    (count, weight)
}

/// Brings the state to the layout of the active version, in its first block.
pub struct OnUpgrade;

impl OnRuntimeUpgrade for OnUpgrade {
    fn on_runtime_upgrade() -> Weight {
        let to = network::ActiveSpec::<Runtime>::get();
        let last = frame_system::LastRuntimeUpgrade::<Runtime>::get();
        let from = last.map_or(to, |last| last.spec_version.0);
        let (count, weight) = run(ALL, from, to);
        network::Pallet::<Runtime>::note_migrated(from, to, count);
        weight
    }
}
