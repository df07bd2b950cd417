//! Balances and fees.
//!
//! A fee is `weight * per_picosecond + bytes * per_byte`; owners may change both within bounds (see
//! [`crate::settings`]). Bytes are cheap, because a
//! post-quantum signature is 3 to 5 kB of them and nobody can sign with less; an ordinary transfer
//! costs some thousandths of an X0T. Fees go to the treasury, all of them: nothing is burnt, so that
//! the issuance never changes.
//!
//! An account that signed a transaction stays in the state for ever, with its nonce, also when its
//! money is gone ([`RememberSigner`]): otherwise the nonce of an account that was closed and opened
//! again would start anew, and anybody could put its old transactions into a block once more.

use crate::{Balance, Balances, Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, System};
use frame_support::{
    PalletId, parameter_types,
    traits::{ConstU8, ConstU32, ConstU128, VariantCountOf, tokens::imbalance::ResolveTo},
    weights::ConstantMultiplier,
};
use pallet_transaction_payment::{FungibleAdapter, OnChargeTransaction, TxCreditHold};
use sp_runtime::{
    traits::{AccountIdConversion, DispatchInfoOf, PostDispatchInfoOf},
    transaction_validity::TransactionValidityError,
};
use x0_types::{AccountId, account::MILLI};

/// Least balance that keeps an account alive, base units.
pub const EXISTENTIAL_DEPOSIT: Balance = MILLI;
/// Fee of one picosecond of execution where nobody decided otherwise, base units.
pub const FEE_PER_PICOSECOND: Balance = 10;
/// Fee of one byte of a transaction where nobody decided otherwise, base units.
pub const FEE_PER_BYTE: Balance = 100_000;
/// Names the treasury account.
pub const TREASURY_ID: PalletId = PalletId(*b"x0/trsry");

/// The account that collects fees.
#[must_use]
pub fn treasury() -> AccountId {
    TREASURY_ID.into_account_truncating()
}

parameter_types! {
    /// The account that collects fees.
    pub Treasury: AccountId = treasury();
}

impl pallet_balances::Config for Runtime {
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type ReserveIdentifier = [u8; 8];
    type Balance = Balance;
    type RuntimeEvent = RuntimeEvent;
    type DustRemoval = ResolveTo<Treasury, Balances>;
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
    type AccountStore = System;
    type WeightInfo = crate::weights::MeasuredWeight<Runtime>;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type RuntimeHoldReason = RuntimeHoldReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type DoneSlashHandler = ();
}

/// Charges fees, and gives each account that signs its first transaction a reference that keeps its
/// record, and so its nonce, in the state.
///
/// Fees are charged for every signed transaction and for nothing else, after the nonce was checked.
pub struct RememberSigner;

type Fees = FungibleAdapter<Balances, ResolveTo<Treasury, Balances>>;

impl TxCreditHold<Runtime> for RememberSigner {
    type Credit = <Fees as TxCreditHold<Runtime>>::Credit;
}

impl OnChargeTransaction<Runtime> for RememberSigner {
    type Balance = Balance;
    type LiquidityInfo = <Fees as OnChargeTransaction<Runtime>>::LiquidityInfo;

    fn withdraw_fee(
        who: &AccountId,
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        fee: Balance,
        tip: Balance,
    ) -> Result<Self::LiquidityInfo, TransactionValidityError> {
        let paid = <Fees as OnChargeTransaction<Runtime>>::withdraw_fee(who, call, info, fee, tip)?;
        if System::sufficients(who) == 0 {
            System::inc_sufficients(who);
        }
        Ok(paid)
    }

    fn can_withdraw_fee(
        who: &AccountId,
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        fee: Balance,
        tip: Balance,
    ) -> Result<(), TransactionValidityError> {
        <Fees as OnChargeTransaction<Runtime>>::can_withdraw_fee(who, call, info, fee, tip)
    }

    fn correct_and_deposit_fee(
        who: &AccountId,
        info: &DispatchInfoOf<RuntimeCall>,
        post_info: &PostDispatchInfoOf<RuntimeCall>,
        fee: Balance,
        tip: Balance,
        paid: Self::LiquidityInfo,
    ) -> Result<(), TransactionValidityError> {
        <Fees as OnChargeTransaction<Runtime>>::correct_and_deposit_fee(who, info, post_info, fee, tip, paid)
    }
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = RememberSigner;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightToFee = ConstantMultiplier<Balance, crate::settings::PerPicosecond>;
    type LengthToFee = ConstantMultiplier<Balance, crate::settings::PerByte>;
    type FeeMultiplierUpdate = ();
    type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
}
