//! Identities and validators.

use crate::{Balances, Runtime, RuntimeCall, RuntimeHoldReason, RuntimeOrigin, Timestamp, filter::QuorumCalls};
use frame_support::traits::{ConstU128, EitherOf, EitherOfDiverse, EnsureOrigin};
use frame_system::EnsureRoot;
use pallet_x0_governance::EnsureTrack;
use pallet_x0_validators::EnsureQuorum;
use x0_types::{AccountId, Balance, Hash, KeyRole, MlDsa65PublicKey, account::MILLI};

/// Deposit for one identity, base units.
pub const IDENTITY_DEPOSIT: Balance = 50 * MILLI;
/// Deposit for one key, base units: a key takes 2 kB of state for as long as it stands.
pub const KEY_DEPOSIT: Balance = 100 * MILLI;

impl pallet_x0_did::Config for Runtime {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Time = Timestamp;
    type IdentityDeposit = ConstU128<IDENTITY_DEPOSIT>;
    type KeyDeposit = ConstU128<KEY_DEPOSIT>;
    type WeightInfo = pallet_x0_did::weights::MeasuredWeight<Runtime>;
}

/// Root, on development networks. Elsewhere nothing gives Root to anybody, and this says so once more.
pub struct DevelopmentRoot;

impl EnsureOrigin<RuntimeOrigin> for DevelopmentRoot {
    type Success = ();
    fn try_origin(origin: RuntimeOrigin) -> Result<(), RuntimeOrigin> {
        if crate::network::Development::<Runtime>::get() {
            EnsureRoot::<AccountId>::try_origin(origin)
        } else {
            Err(origin)
        }
    }
}

/// Who changes the validator set and the rules: Root on development networks, and everywhere more
/// than two thirds of the validators' power, or a ballot on the track for the rules.
pub type Administrator =
    EitherOfDiverse<EitherOf<DevelopmentRoot, EnsureQuorum>, EnsureTrack<super::governance::RulesTracks>>;

impl pallet_x0_validators::Config for Runtime {
    type AdminOrigin = Administrator;
    type QuorumCall = RuntimeCall;
    type QuorumFilter = QuorumCalls;
    type WeightInfo = pallet_x0_validators::weights::MeasuredWeight<Runtime>;
}

impl pallet_x0_evidence::Config for Runtime {
    type WeightInfo = pallet_x0_evidence::weights::MeasuredWeight<Runtime>;
}

/// The key that `did` names for an account; only this key signs for it then.
#[must_use]
pub fn account_key(account: &AccountId) -> Option<MlDsa65PublicKey> {
    pallet_x0_did::Pallet::<Runtime>::account_key(account)
}

/// Whether the key with this fingerprint may sign transactions of the account that its hash names: a key that the chain
/// knows in a role that signs other things may not, because one key has one role (architecture D13).
#[must_use]
pub fn may_sign_transactions(fingerprint: &Hash) -> bool {
    pallet_x0_did::Pallet::<Runtime>::use_of(fingerprint)
        .is_none_or(|usage| matches!(usage.role, KeyRole::Account | KeyRole::Reporter))
}
