//! Pallets that wrap calls: batches, proxies, and sudo on development networks.
#![allow(clippy::cast_possible_truncation, reason = "the codec derive casts variant indices, which are small")]

use crate::{Balances, OriginCaller, Runtime, RuntimeCall, RuntimeEvent, System};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::{ConstU32, ConstU128, InstanceFilter};
use scale_info::TypeInfo;
use sp_runtime::traits::BlakeTwo256;
use x0_types::{Balance, account::MILLI};

/// Deposit for an account's list of proxies and for each announcement list, base units.
pub const PROXY_DEPOSIT_BASE: Balance = 100 * MILLI;
/// Deposit for each entry of these lists, base units.
pub const PROXY_DEPOSIT_EACH: Balance = 10 * MILLI;

impl pallet_utility::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PalletsOrigin = OriginCaller;
    type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

/// What a proxy may do for the account that named it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum ProxyType {
    /// Everything.
    #[default]
    Any,
    /// Everything but moving money out and changing the account's keys or proxies.
    NonTransfer,
    /// Listings and deals only.
    Market,
    /// Confirming deals by their manifests and asking for what was earned, nothing else: for a machine that
    /// takes deals for a provider while its keys lie elsewhere.
    Confirm,
    /// Voting and delegating for the account's owner.
    Governance,
}

impl InstanceFilter<RuntimeCall> for ProxyType {
    fn filter(&self, call: &RuntimeCall) -> bool {
        match self {
            Self::Any => true,
            Self::NonTransfer => non_transfer(call),
            Self::Market => market(call),
            Self::Confirm => confirm(call),
            Self::Governance => votes(call),
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        self == other
            || matches!(
                (self, other),
                (Self::Any, _)
                    | (Self::NonTransfer, Self::Market | Self::Confirm | Self::Governance)
                    | (Self::Market, Self::Confirm)
            )
    }
}

/// An allow-list, so that a new pallet is closed to such proxies until somebody decides otherwise.
fn non_transfer(call: &RuntimeCall) -> bool {
    matches!(call, RuntimeCall::System(_) | RuntimeCall::Utility(_)) || market(call) || votes(call)
}

/// Batches are let through, because each call inside passes this filter again.
fn market(call: &RuntimeCall) -> bool {
    matches!(call, RuntimeCall::Utility(_) | RuntimeCall::Marketplace(_))
}

/// No batches: a machine that confirms one deal at a time can be limited and watched.
const fn confirm(call: &RuntimeCall) -> bool {
    matches!(
        call,
        RuntimeCall::Marketplace(
            pallet_x0_marketplace::Call::confirm { .. } | pallet_x0_marketplace::Call::settle { .. }
        )
    )
}

/// No proposals, which hold money.
const fn votes(call: &RuntimeCall) -> bool {
    use pallet_x0_governance::Call as Governance;
    matches!(
        call,
        RuntimeCall::Governance(
            Governance::vote { .. }
                | Governance::commit_vote { .. }
                | Governance::reveal_vote { .. }
                | Governance::delegate { .. }
                | Governance::undelegate { .. }
        )
    )
}

impl pallet_proxy::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type ProxyType = ProxyType;
    type ProxyDepositBase = ConstU128<PROXY_DEPOSIT_BASE>;
    type ProxyDepositFactor = ConstU128<PROXY_DEPOSIT_EACH>;
    type MaxProxies = ConstU32<32>;
    type WeightInfo = pallet_proxy::weights::SubstrateWeight<Runtime>;
    type MaxPending = ConstU32<32>;
    type CallHasher = BlakeTwo256;
    type AnnouncementDepositBase = ConstU128<PROXY_DEPOSIT_BASE>;
    type AnnouncementDepositFactor = ConstU128<PROXY_DEPOSIT_EACH>;
    type BlockNumberProvider = System;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}
