//! Owners, their votes, and what these may change; the treasury; stopping in an emergency.
//!
//! ```text
//!   Owners (attested by Validators) --> Governance --Origin::Track--> parameters, treasury, appeals, pauses, rules
//! ```
//!
//! There is no superuser outside development networks: what sudo does there, a track or the validators'
//! quorum does everywhere.

use super::identity::DevelopmentRoot;
use crate::{
    Balances, Measurement, Owners, Preimage, Runtime, RuntimeCall, RuntimeEvent, RuntimeHoldReason, RuntimeOrigin,
    System, Validators,
    configs::money::{EXISTENTIAL_DEPOSIT, TREASURY_ID, Treasury},
    filter::{Essential, EssentialNames, TrackCalls},
};
use frame_support::{
    PalletId, parameter_types,
    traits::{
        ConstU32, ConstU64, ConstU128, EitherOfDiverse, EnsureOrigin, LinearStoragePrice,
        fungible::HoldConsideration,
        tokens::{PayFromAccount, UnityAssetBalanceConversion},
    },
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MILLIS},
};
use pallet_x0_governance::{EnsureTrack, Origin};
use pallet_x0_validators::EnsureQuorum;
use sp_runtime::{Permill, traits::IdentityLookup};
use x0_types::{
    AccountId, Balance, BlockNumber,
    account::{MILLI, UNIT},
    governance::TrackId,
};

/// Held for an owner's record, and for a motion about one, base units.
pub const OWNER_DEPOSIT: Balance = 10 * UNIT;
/// Held for each byte of a proposed or noted call, base units.
pub const CALL_BYTE_DEPOSIT: Balance = MILLI / 10;
/// Held for each noted call beside its bytes, base units.
pub const PREIMAGE_DEPOSIT: Balance = 100 * MILLI;
/// Held for each open multisig operation, base units.
pub const MULTISIG_DEPOSIT: Balance = 100 * MILLI;
/// Held for each signatory of an open multisig operation, base units.
pub const MULTISIG_DEPOSIT_EACH: Balance = 10 * MILLI;
/// What decided calls may weigh in one block: a twentieth of the largest block.
pub const ENACTMENT_MS: u64 = 200;
/// Most that one proposal of the treasury's track spends, base units.
pub const TREASURY_SPEND_MAX: Balance = 10_000 * UNIT;
/// Most that one proposal of the track for the rules spends, base units.
pub const ROOT_SPEND_MAX: Balance = 1_000_000 * UNIT;
/// Blocks between two payments of approved spending.
pub const SPEND_BLOCKS: u32 = 10;
/// Blocks within which a spending that waits for its beneficiary can be claimed.
pub const PAYOUT_BLOCKS: u32 = 432_000;
/// Blocks for which one decision stops calls.
pub const SAFE_MODE_BLOCKS: u32 = 14_400;

/// Names a set of tracks.
macro_rules! tracks {
    ($(#[$doc:meta])* $name:ident: $($track:ident)|+) => {
        $(#[$doc])*
        pub struct $name;

        impl pallet_x0_governance::TrackSet for $name {
            fn contains(track: TrackId) -> bool {
                matches!(track, $(TrackId::$track)|+)
            }
        }
    };
}

tracks! {
    /// Who decides on the rules.
    RulesTracks: Root
}
tracks! {
    /// Who decides on bounded parameters.
    ParameterTracks: Root | Parameters
}
tracks! {
    /// Who decides on appeals of owners.
    MembershipTracks: Root | Membership
}
tracks! {
    /// Who stops and resumes calls.
    EmergencyTracks: Root | Emergency
}
tracks! {
    /// Who spends from the treasury.
    TreasuryTracks: Root | Treasury
}

/// Who changes bounded parameters: a ballot, or Root on development networks.
pub type ParametersAdministrator = EitherOfDiverse<DevelopmentRoot, EnsureTrack<ParameterTracks>>;
/// Who changes the tracks.
pub type RulesAdministrator = EitherOfDiverse<DevelopmentRoot, EnsureTrack<RulesTracks>>;
/// Who stops and resumes calls: a ballot, or the validators together, who are faster.
pub type EmergencyAdministrator =
    EitherOfDiverse<DevelopmentRoot, EitherOfDiverse<EnsureQuorum, EnsureTrack<EmergencyTracks>>>;

tracks! {
    /// Who decides on the formula of trust, on binaries and on auditors.
    TrustTracks: Root | Parameters | Membership
}

/// Who changes the formula of trust, approves binaries and admits auditors: a ballot.
pub type TrustAdministrator = EitherOfDiverse<DevelopmentRoot, EnsureTrack<TrustTracks>>;
/// Who writes offences of nodes down: the validators together, who saw them, or a ballot.
pub type OffenceReporter =
    EitherOfDiverse<DevelopmentRoot, EitherOfDiverse<EnsureQuorum, EnsureTrack<MembershipTracks>>>;

parameter_types! {
    /// What decided calls may weigh in one block.
    pub const EnactmentWeight: Weight = Weight::from_parts(ENACTMENT_MS * WEIGHT_REF_TIME_PER_MILLIS, u64::MAX);
    /// Why calls that wait for a vote hold money.
    pub const PreimageHold: RuntimeHoldReason = RuntimeHoldReason::Preimage(pallet_preimage::HoldReason::Preimage);
    /// Nothing is burnt.
    pub const NoBurn: Permill = Permill::zero();
    /// Names the treasury's account.
    pub const TreasuryPalletId: PalletId = TREASURY_ID;
    /// Nobody buys a stop of the chain.
    pub const NotForSale: Option<Balance> = None;
    /// Deposits of a safe mode, which nobody makes, are never released by themselves.
    pub const NeverReleased: Option<BlockNumber> = None;
}

impl pallet_x0_owners::Config for Runtime {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Validators = Validators;
    type Meter = Measurement;
    type OwnerDeposit = ConstU128<OWNER_DEPOSIT>;
    type AppealOrigin = EitherOfDiverse<DevelopmentRoot, EnsureTrack<MembershipTracks>>;
    type ParametersOrigin = ParametersAdministrator;
    type WeightInfo = pallet_x0_owners::weights::MeasuredWeight<Runtime>;
}

impl pallet_x0_governance::Config for Runtime {
    type RuntimeCall = RuntimeCall;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type TreasuryAccount = Treasury;
    type ByteDeposit = ConstU128<CALL_BYTE_DEPOSIT>;
    type Preimages = Preimage;
    type Owners = Owners;
    type Validators = Validators;
    type Meter = Measurement;
    type TrackFilter = TrackCalls;
    type TracksOrigin = RulesAdministrator;
    type EnactmentWeight = EnactmentWeight;
    type TransitionsPerBlock = ConstU32<{ x0_limits::GOVERNANCE_TRANSITIONS_PER_BLOCK }>;
    type VotesKeptSlots = ConstU64<{ x0_limits::GOVERNANCE_VOTES_KEPT_SLOTS }>;
    type WeightInfo = pallet_x0_governance::weights::MeasuredWeight<Runtime>;
}

impl pallet_multisig::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type DepositBase = ConstU128<MULTISIG_DEPOSIT>;
    type DepositFactor = ConstU128<MULTISIG_DEPOSIT_EACH>;
    type MaxSignatories = ConstU32<32>;
    type WeightInfo = pallet_multisig::weights::SubstrateWeight<Runtime>;
    type BlockNumberProvider = System;
}

impl pallet_preimage::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = pallet_preimage::weights::SubstrateWeight<Runtime>;
    type Currency = Balances;
    type ManagerOrigin = RulesAdministrator;
    type Consideration = HoldConsideration<
        AccountId,
        Balances,
        PreimageHold,
        LinearStoragePrice<ConstU128<PREIMAGE_DEPOSIT>, ConstU128<CALL_BYTE_DEPOSIT>, Balance>,
    >;
}

/// Lets the emergency's administrators through, for a fixed number of blocks.
pub struct StopsCalls;

impl EnsureOrigin<RuntimeOrigin> for StopsCalls {
    type Success = BlockNumber;

    fn try_origin(origin: RuntimeOrigin) -> Result<BlockNumber, RuntimeOrigin> {
        EmergencyAdministrator::try_origin(origin).map(|_| SAFE_MODE_BLOCKS)
    }

    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<RuntimeOrigin, ()> {
        EmergencyAdministrator::try_successful_origin()
    }
}

impl pallet_safe_mode::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type WhitelistedCalls = Essential;
    type EnterDuration = ConstU32<SAFE_MODE_BLOCKS>;
    type ExtendDuration = ConstU32<SAFE_MODE_BLOCKS>;
    type EnterDepositAmount = NotForSale;
    type ExtendDepositAmount = NotForSale;
    type ForceEnterOrigin = StopsCalls;
    type ForceExtendOrigin = StopsCalls;
    type ForceExitOrigin = EmergencyAdministrator;
    type ForceDepositOrigin = EmergencyAdministrator;
    type Notify = ();
    type ReleaseDelay = NeverReleased;
    type WeightInfo = pallet_safe_mode::weights::SubstrateWeight<Runtime>;
}

impl pallet_tx_pause::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PauseOrigin = EmergencyAdministrator;
    type UnpauseOrigin = EmergencyAdministrator;
    type WhitelistedCalls = EssentialNames;
    type MaxNameLen = ConstU32<64>;
    type WeightInfo = pallet_tx_pause::weights::SubstrateWeight<Runtime>;
}

/// Who spends from the treasury, and how much at a time.
pub struct SpendsUpTo;

impl EnsureOrigin<RuntimeOrigin> for SpendsUpTo {
    type Success = Balance;

    fn try_origin(origin: RuntimeOrigin) -> Result<Balance, RuntimeOrigin> {
        EnsureTrack::<TreasuryTracks>::try_origin(origin).map(|track| match track {
            TrackId::Root => ROOT_SPEND_MAX,
            _ => TREASURY_SPEND_MAX,
        })
    }

    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<RuntimeOrigin, ()> {
        EnsureTrack::<TreasuryTracks>::try_successful_origin()
    }
}

impl pallet_treasury::Config for Runtime {
    type Currency = Balances;
    type RejectOrigin = EnsureTrack<TreasuryTracks>;
    type RuntimeEvent = RuntimeEvent;
    type SpendPeriod = ConstU32<SPEND_BLOCKS>;
    type Burn = NoBurn;
    type PalletId = TreasuryPalletId;
    type BurnDestination = ();
    type WeightInfo = pallet_treasury::weights::SubstrateWeight<Runtime>;
    type SpendFunds = ();
    type MaxApprovals = ConstU32<16>;
    type SpendOrigin = SpendsUpTo;
    type AssetKind = ();
    type Beneficiary = AccountId;
    type BeneficiaryLookup = IdentityLookup<AccountId>;
    type Paymaster = PayFromAccount<Balances, Treasury>;
    type BalanceConverter = UnityAssetBalanceConversion;
    type PayoutPeriod = ConstU32<PAYOUT_BLOCKS>;
    type BlockNumberProvider = System;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = ();
}

/// The origin of a decision of this track, for dry runs.
#[must_use]
pub fn track_origin(track: TrackId) -> RuntimeOrigin {
    use frame_support::traits::OriginTrait;
    let mut origin = RuntimeOrigin::root();
    origin.set_caller(Origin::Track(track).into());
    origin
}

const _: () = assert!(CALL_BYTE_DEPOSIT > 0 && EXISTENTIAL_DEPOSIT > CALL_BYTE_DEPOSIT);
