//! Measuring, trust, escrow, listings and deals, and the janitor.
//!
//! ```text
//!   Measurement --Hooks--> Marketplace --Queue--> Janitor --Worker--> Marketplace --> Escrow
//! ```

use crate::{
    Balances, Did, Janitor, Marketplace, Measurement, Owners, Runtime, RuntimeHoldReason, Timestamp, Trust, Validators,
};
use frame_support::{
    PalletId, parameter_types,
    traits::{ConstU32, ConstU64, ConstU128, Get},
};
use x0_types::{
    AccountId, Balance,
    account::{MILLI, UNIT},
    trust::NodeRegions,
};

/// Held for each listing, base units.
pub const LISTING_DEPOSIT: Balance = 100 * MILLI;
/// Smallest deposit of a deal, base units.
pub const DEAL_DEPOSIT_MIN: Balance = 10 * MILLI;
/// Smallest bond of a listing, base units.
pub const BOND_MIN: Balance = 100 * MILLI;
/// Held for each entry of a blocklist, base units.
pub const BLOCK_DEPOSIT: Balance = 10 * MILLI;
/// Smallest bond of an auditor, base units.
pub const AUDITOR_BOND_MIN: Balance = 1_000 * UNIT;
parameter_types! {
    /// Names the treasury's account.
    pub const TreasuryId: PalletId = super::money::TREASURY_ID;
}

/// The length of a slot, which the network definition chose.
pub struct SlotMs;

impl Get<u64> for SlotMs {
    fn get() -> u64 {
        // Constants of the metadata are also read where there is no state.
        sp_externalities::with_externalities(|_| ())
            .map_or(x0_limits::SLOT_MS, |()| pallet_x0_measurement::SlotMs::<Runtime>::get())
    }
}

impl pallet_x0_measurement::Config for Runtime {
    type Time = Timestamp;
    type Validators = Validators;
    type Hooks = Marketplace;
    type Listener = Trust;
    type Sla = Marketplace;
    type Owners = Owners;
    type Identities = Did;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ParametersOrigin = super::governance::ParametersAdministrator;
    type SlotWorkPerBlock = ConstU32<{ x0_limits::SLOT_WORK_PER_BLOCK_MAX }>;
    type WeightInfo = pallet_x0_measurement::weights::MeasuredWeight<Runtime>;
}

impl pallet_x0_escrow::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type TreasuryId = TreasuryId;
}

impl pallet_x0_marketplace::Config for Runtime {
    type Meter = Measurement;
    type Queue = Janitor;
    type Identities = Did;
    type Owners = Owners;
    type Trust = Trust;
    type Validators = Validators;
    type ParametersOrigin = super::governance::ParametersAdministrator;
    type SlotMs = SlotMs;
    type ListingDeposit = ConstU128<LISTING_DEPOSIT>;
    type DealDepositMin = ConstU128<DEAL_DEPOSIT_MIN>;
    type BondMin = ConstU128<BOND_MIN>;
    type BlockDeposit = ConstU128<BLOCK_DEPOSIT>;
    type ClosedDealsKept = ConstU64<{ x0_limits::CLOSED_DEALS_KEPT }>;
    type WeightInfo = pallet_x0_marketplace::weights::MeasuredWeight<Runtime>;
}

/// Where a node stands is what its listing says.
pub struct ListedRegions;

impl NodeRegions<AccountId> for ListedRegions {
    fn region(node: &AccountId) -> Vec<u8> {
        pallet_x0_marketplace::ListingOf::<Runtime>::get(node)
            .and_then(pallet_x0_marketplace::Listings::<Runtime>::get)
            .map(|listing| listing.offer.region.into_inner())
            .unwrap_or_default()
    }
}

impl pallet_x0_trust::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Meter = Measurement;
    type Identities = Did;
    type Regions = ListedRegions;
    type Suspensions = Marketplace;
    type GovernanceOrigin = super::governance::TrustAdministrator;
    type OffenceOrigin = super::governance::OffenceReporter;
    type AuditorBondMin = ConstU128<AUDITOR_BOND_MIN>;
    type SlotMs = SlotMs;
    type EpochSlots = ConstU64<{ x0_limits::TRUST_EPOCH_SLOTS }>;
    type TreasuryId = TreasuryId;
    type WeightInfo = pallet_x0_trust::weights::MeasuredWeight<Runtime>;
}

impl pallet_x0_janitor::Config for Runtime {
    type Meter = Measurement;
    type Worker = Marketplace;
    type Cap = ConstU32<{ x0_limits::JANITOR_CAP }>;
    // Stuck entries are tried again by themselves; a call that anybody may make would let one crowd
    // out the work of others.
    type RetryOrigin = super::governance::RulesAdministrator;
    type WeightInfo = pallet_x0_janitor::weights::MeasuredWeight<Runtime>;
}
