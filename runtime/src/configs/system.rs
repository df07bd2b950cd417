//! Blocks: weight, length, versions, time.
//!
//! Weights are picoseconds of one core on the reference machine (see `docs/qa`). The block budget is
//! larger than the busy block interval on purpose: it bounds the worst block, while the pace of
//! blocks is set by consensus and by the deadline of the builder.

use crate::{Balance, Block, PalletInfo, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin, RuntimeTask};
use frame_support::{
    derive_impl,
    dispatch::DispatchClass,
    parameter_types,
    traits::{ConstU16, ConstU32, ConstU64, Get},
    weights::{RuntimeDbWeight, Weight, constants::WEIGHT_REF_TIME_PER_MICROS, constants::WEIGHT_REF_TIME_PER_MILLIS},
};
use frame_system::limits::{BlockLength, BlockWeights};
use sp_runtime::{DispatchError, DispatchResult, Perbill};
use std::sync::LazyLock;

/// Share of a block that normal transactions may fill, in weight and in length; the rest is for
/// operational calls and hooks.
pub const NORMAL_SHARE: Perbill = Perbill::from_percent(90);
/// Execution time of the largest block, milliseconds.
pub const BLOCK_REF_TIME_MS: u64 = 4_000;
/// One ML-DSA-65 verification, microseconds. Signatures are checked in parallel and not by the
/// thread that executes, yet each check costs every validator this much.
pub const SIGNATURE_CHECK_US: u64 = 75;
/// What each transaction costs beside its signature and call: decoding, hashing, noting, its leaf in
/// the extrinsics trie. Microseconds.
pub const EXTRINSIC_OVERHEAD_US: u64 = 35;
/// An empty block with its timestamp, microseconds.
pub const BLOCK_OVERHEAD_US: u64 = 500;

/// The weight limits. They are built once, since FRAME asks for them several times per transaction.
pub struct Weights;

impl Get<BlockWeights> for Weights {
    fn get() -> BlockWeights {
        static WEIGHTS: LazyLock<BlockWeights> = LazyLock::new(block_weights);
        WEIGHTS.clone()
    }
}

fn block_weights() -> BlockWeights {
    let max_block = Weight::from_parts(BLOCK_REF_TIME_MS * WEIGHT_REF_TIME_PER_MILLIS, u64::MAX);
    let overhead = (SIGNATURE_CHECK_US + EXTRINSIC_OVERHEAD_US) * WEIGHT_REF_TIME_PER_MICROS;
    BlockWeights::builder()
        .base_block(Weight::from_parts(BLOCK_OVERHEAD_US * WEIGHT_REF_TIME_PER_MICROS, 0))
        .for_class(DispatchClass::all(), |class| class.base_extrinsic = Weight::from_parts(overhead, 0))
        .for_class(DispatchClass::Normal, |class| class.max_total = Some(NORMAL_SHARE * max_block))
        .for_class(DispatchClass::Operational, |class| {
            class.max_total = Some(max_block);
            class.reserved = Some(max_block - NORMAL_SHARE * max_block);
        })
        .build_or_panic()
}

/// The length limits, built once.
pub struct Lengths;

impl Get<BlockLength> for Lengths {
    fn get() -> BlockLength {
        static LENGTHS: LazyLock<BlockLength> = LazyLock::new(|| {
            let max = u32::try_from(x0_limits::BLOCK_BYTES_MAX).unwrap_or(u32::MAX);
            BlockLength::builder()
                .max_length(max)
                .modify_max_length_for_class(DispatchClass::Normal, |length| *length = NORMAL_SHARE * max)
                .build()
        });
        LENGTHS.clone()
    }
}

parameter_types! {
    /// One read through the trie cache and one write including its share of the merkle root.
    pub const DbWeight: RuntimeDbWeight = RuntimeDbWeight {
        read: 3 * WEIGHT_REF_TIME_PER_MICROS,
        write: 10 * WEIGHT_REF_TIME_PER_MICROS,
    };
}

/// Refuses every change of the code blob: there is none, and Root is not bound by the call filter.
pub struct RejectCode;

impl frame_system::SetCode<Runtime> for RejectCode {
    fn set_code(_: Vec<u8>) -> DispatchResult {
        Err(DispatchError::Other("the runtime is native: use Network.schedule_upgrade"))
    }
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type Nonce = x0_types::Nonce;
    type AccountData = pallet_balances::AccountData<Balance>;
    type BlockWeights = Weights;
    type BlockLength = Lengths;
    type BlockHashCount = ConstU32<{ x0_limits::BLOCK_HASH_COUNT }>;
    type DbWeight = DbWeight;
    type Version = crate::version::ActiveVersion;
    type BaseCallFilter = crate::filter::BaseCalls;
    type OnSetCode = RejectCode;
    type SingleBlockMigrations = crate::migrations::OnUpgrade;
    type SS58Prefix = ConstU16<{ x0_types::account::SS58_PREFIX }>;
    type SystemWeightInfo = frame_system::weights::SubstrateWeight<Runtime>;
    type ExtensionsWeightInfo = frame_system::SubstrateExtensionsWeight<Runtime>;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = x0_types::Moment;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<{ x0_limits::TIMESTAMP_STEP_MS_MIN }>;
    type WeightInfo = pallet_timestamp::weights::SubstrateWeight<Runtime>;
}

impl crate::network::Config for Runtime {
    type UpgradeOrigin = super::identity::Administrator;
}

impl crate::settings::Config for Runtime {
    type ParametersOrigin = super::governance::ParametersAdministrator;
}
