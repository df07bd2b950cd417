//! Keeps the money of deals: holds it, accrues it by good slots and pays it out, and nothing else.
//!
//! ```text
//!   renter's free --open--> hold DealEscrow --+                 +--> provider's free
//!                                             |-- pay_out() ----+--> treasury (fee, rest of slash)
//! provider's free --bond--> hold DealBond ----+                 +--> renter's free (refund, compensation)
//! ```
//!
//! The marketplace decides what a deal's state is and how many slots were good; this pallet turns
//! that into amounts. It has no calls: nobody but the marketplace moves this money.
//!
//! # Correctness
//! * One deal, one [`Ledger`]. The hold of the renter under `DealEscrow` is the sum of `deposit -
//!   gross_paid` over the renter's ledgers, and the hold of the provider under `DealBond` the sum of
//!   `bond` over the provider's ledgers. A ledger goes away with its last unit.
//! * Accrual is cumulative: `gross = floor(min(good, floor(D*den/num)) * num/den)` and
//!   `fee = floor(gross * fee_ppm / 10^6)` are recomputed from the total of good slots, and a payment
//!   is the difference to what was paid. So the number of settlements changes nothing.
//! * All movements are transfers between accounts: total issuance before and after is compared,
//!   and a difference rolls the payment back.
//!
//! # Limits
//! Existential deposits. A holder keeps at least the existential deposit free beside its holds
//! (checked when a hold is taken, kept by the balances pallet while the hold lasts), so renters and
//! providers of live deals can always receive any amount. The treasury is endowed with the
//! existential deposit at genesis and has no key. If it can nevertheless not receive an amount
//! below the existential deposit, a fee stays with the provider and the rest of a slash goes to the
//! renter: a payment never waits for the treasury and never turns into dust. Locks do not stop
//! payments: what is held for a deal is owed.
//!
//! # Errors
//! [`Error`]: unknown or doubled ledgers, amounts that cannot be held, and payments that would not add up.
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

pub use pallet::*;

mod invariants;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::{
    Get as _,
    fungible::{Inspect as _, MutateHold as _},
    tokens::{DepositConsequence, Fortitude, Precision, Preservation, Provenance, Restriction},
};
use scale_info::TypeInfo;
use sp_runtime::{DispatchError, DispatchResult, traits::AccountIdConversion};
use x0_types::{
    Balance,
    deal::{Outcome, Rate, share_floor},
    market::DealId,
};

/// The money of one deal that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Ledger<AccountId> {
    /// Who paid the deposit and gets what is not earned.
    pub renter: AccountId,
    /// Who earns.
    pub provider: AccountId,
    /// What the renter paid in.
    pub deposit: Balance,
    /// What the provider posted; 0 until the deal is confirmed.
    pub bond: Balance,
    /// The price of a good slot.
    pub rate: Rate,
    /// The treasury's share of `gross_paid`, fixed when the bond is posted.
    pub fee_ppm: u32,
    /// Good slots paid for so far.
    pub good_paid: u64,
    /// What left the deposit for those slots, fee included.
    pub gross_paid: Balance,
    /// The fee within `gross_paid` as it is due: `floor(gross_paid * fee_ppm / 10^6)`.
    pub fee_due: Balance,
    /// The fee that the treasury received; differs from `fee_due` only where it could not receive.
    pub fee_paid: Balance,
}

/// What a slash takes and who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slash {
    /// Share of the bond, ppm, floored.
    pub share_ppm: u32,
    /// The renter's share of the slash, ppm, floored.
    pub compensation_ppm: u32,
}

/// A payment for good slots in the course of a deal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accrual {
    /// What the provider received now.
    pub to_provider: Balance,
    /// What the treasury received now.
    pub fee: Balance,
}

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{Accrual, Balance, DealId, Ledger, Outcome};
    use frame_support::{
        PalletId,
        pallet_prelude::*,
        traits::fungible::{self, Inspect as _},
    };

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The escrow.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the pallet needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// The token.
        type Currency: fungible::hold::Mutate<Self::AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>
            + fungible::Mutate<Self::AccountId>;
        /// The runtime's hold reasons.
        type RuntimeHoldReason: From<HoldReason>;
        /// Names the treasury's account, which has no key.
        #[pallet::constant]
        type TreasuryId: Get<PalletId>;
    }

    /// Why money is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// A renter's deposit for a deal.
        DealEscrow,
        /// A provider's bond for a deal.
        DealBond,
    }

    /// The ledgers of deals that have not ended.
    #[pallet::storage]
    pub type Ledgers<T: Config> = StorageMap<_, Twox64Concat, DealId, Ledger<T::AccountId>>;

    /// Sum of all deposits held: `deposit - gross_paid` over all ledgers.
    #[pallet::storage]
    pub type EscrowTotal<T: Config> = StorageValue<_, Balance, ValueQuery>;

    /// Sum of all bonds held.
    #[pallet::storage]
    pub type BondTotal<T: Config> = StorageValue<_, Balance, ValueQuery>;

    /// What happened to the money of a deal.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A deposit is held.
        DepositHeld {
            /// The deal.
            deal: DealId,
            /// Whose money it is.
            renter: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A bond is held.
        BondHeld {
            /// The deal.
            deal: DealId,
            /// Whose money it is.
            provider: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// Good slots were paid for while the deal runs.
        Accrued {
            /// The deal.
            deal: DealId,
            /// Good slots paid for so far.
            good_slots: u64,
            /// What the provider received now.
            to_provider: Balance,
            /// What the treasury received now.
            fee: Balance,
        },
        /// The deal's money is paid out; nothing is held for it any more.
        PaidOut {
            /// The deal.
            deal: DealId,
            /// Who got what, over the whole deal.
            outcome: Outcome,
        },
    }

    /// Why money could not be moved.
    #[pallet::error]
    pub enum Error<T> {
        /// The deal has no ledger.
        UnknownDeal,
        /// The deal has a ledger already.
        LedgerExists,
        /// The deal's bond is held already.
        BondExists,
        /// The rate has a zero numerator or denominator.
        InvalidRate,
        /// The account's free balance, less the existential deposit, does not cover the deposit.
        DepositNotCovered,
        /// The account's free balance, less the existential deposit, does not cover the bond.
        BondNotCovered,
        /// A sum does not fit 128 bits.
        Overflow,
        /// Good slots fell below those already paid for.
        GoodSlotsFell,
        /// The payment would change total issuance; it was rolled back.
        IssuanceChanged,
    }

    /// Endows the treasury, so that it can receive any amount from the first block on.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Nothing to configure.
        #[serde(skip)]
        pub marker: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            use frame_support::traits::fungible::Mutate as _;
            let treasury = Pallet::<T>::treasury();
            let missing = T::Currency::minimum_balance().saturating_sub(T::Currency::balance(&treasury));
            if missing > 0
                && let Err(error) = T::Currency::mint_into(&treasury, missing)
            {
                // Genesis has no error channel; the payment rules do not depend on the endowment.
                tracing::error!(target: "x0::escrow", ?error, "the treasury could not be endowed");
            }
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<frame_system::pallet_prelude::BlockNumberFor<T>> for Pallet<T> {
        #[cfg(feature = "try-runtime")]
        fn try_state(_: frame_system::pallet_prelude::BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("escrow invariants"))
        }
    }

    impl<T: Config> Pallet<T> {
        pub(super) fn emit_accrued(deal: DealId, good_slots: u64, paid: Accrual) {
            Self::deposit_event(Event::Accrued { deal, good_slots, to_provider: paid.to_provider, fee: paid.fee });
        }
    }
}

/// Amounts of one pay-out, before anything moves.
struct Payment {
    /// Total of good slots and of what they cost, after the payment.
    good_slots: u64,
    gross: Balance,
    fee_due: Balance,
    /// Set when the deal ends with this payment.
    slash: Option<Slash>,
    ends: bool,
}

impl<T: Config> Pallet<T> {
    /// The treasury's account.
    #[must_use]
    pub fn treasury() -> T::AccountId {
        <T as Config>::TreasuryId::get().into_account_truncating()
    }

    /// What is still held of a deal's deposit.
    #[must_use]
    pub fn escrowed(deal: DealId) -> Balance {
        Ledgers::<T>::get(deal).map_or(0, |ledger| ledger.deposit.saturating_sub(ledger.gross_paid))
    }

    /// What a deal owes for this many good slots in all: floored once, in favour of the renter.
    #[must_use]
    pub fn gross(ledger: &Ledger<T::AccountId>, good_slots: u64) -> Balance {
        ledger.rate.accrued(ledger.deposit, good_slots)
    }

    /// Opens a deal's ledger and holds the renter's deposit.
    ///
    /// # Errors
    /// When a ledger exists, the rate is invalid or the deposit is not covered.
    pub fn open(
        deal: DealId,
        renter: &T::AccountId,
        provider: &T::AccountId,
        deposit: Balance,
        rate: Rate,
    ) -> DispatchResult {
        frame_support::ensure!(!Ledgers::<T>::contains_key(deal), Error::<T>::LedgerExists);
        frame_support::ensure!(rate.is_valid(), Error::<T>::InvalidRate);
        Self::hold(HoldReason::DealEscrow, renter, deposit, Error::<T>::DepositNotCovered)?;
        let total = EscrowTotal::<T>::get().checked_add(deposit).ok_or(Error::<T>::Overflow)?;
        EscrowTotal::<T>::put(total);
        Ledgers::<T>::insert(
            deal,
            Ledger {
                renter: renter.clone(),
                provider: provider.clone(),
                deposit,
                bond: 0,
                rate,
                fee_ppm: 0,
                good_paid: 0,
                gross_paid: 0,
                fee_due: 0,
                fee_paid: 0,
            },
        );
        Self::deposit_event(Event::DepositHeld { deal, renter: renter.clone(), amount: deposit });
        Ok(())
    }

    /// Holds the provider's bond and fixes the fee for the rest of the deal.
    ///
    /// # Errors
    /// When the ledger is unknown, has a bond, or the bond is not covered.
    pub fn post_bond(deal: DealId, bond: Balance, fee_ppm: u32) -> DispatchResult {
        Ledgers::<T>::try_mutate(deal, |slot| {
            let ledger = slot.as_mut().ok_or(Error::<T>::UnknownDeal)?;
            frame_support::ensure!(ledger.bond == 0, Error::<T>::BondExists);
            Self::hold(HoldReason::DealBond, &ledger.provider, bond, Error::<T>::BondNotCovered)?;
            let total = BondTotal::<T>::get().checked_add(bond).ok_or(Error::<T>::Overflow)?;
            BondTotal::<T>::put(total);
            ledger.bond = bond;
            ledger.fee_ppm = fee_ppm;
            Self::deposit_event(Event::BondHeld { deal, provider: ledger.provider.clone(), amount: bond });
            Ok(())
        })
    }

    /// Pays what the good slots have earned beyond what was paid before. Paying twice for the same
    /// count moves nothing.
    ///
    /// # Errors
    /// When the ledger is unknown, the count falls or a transfer fails; nothing has moved then.
    pub fn accrue(deal: DealId, good_slots: u64) -> Result<Accrual, DispatchError> {
        frame_support::storage::with_storage_layer(|| {
            let mut ledger = Ledgers::<T>::get(deal).ok_or(Error::<T>::UnknownDeal)?;
            let before = (ledger.gross_paid, ledger.fee_paid);
            let gross = Self::gross(&ledger, good_slots);
            let fee_due = share_floor(gross, ledger.fee_ppm);
            let good_slots = good_slots.min(ledger.rate.affordable_slots(ledger.deposit));
            Self::pay_out(&mut ledger, &Payment { good_slots, gross, fee_due, slash: None, ends: false })?;
            let fee = ledger.fee_paid.saturating_sub(before.1);
            let paid = Accrual { to_provider: ledger.gross_paid.saturating_sub(before.0).saturating_sub(fee), fee };
            Ledgers::<T>::insert(deal, ledger);
            if paid != Accrual::default() {
                Self::emit_accrued(deal, good_slots, paid);
            }
            Ok(paid)
        })
    }

    /// Ends a deal: pays the good slots, slashes if asked, returns the rest to its owners and
    /// removes the ledger.
    ///
    /// # Errors
    /// When the ledger is unknown, the count falls or a transfer fails; nothing has moved then.
    pub fn close(deal: DealId, good_slots: u64, slash: Option<Slash>) -> Result<Outcome, DispatchError> {
        frame_support::storage::with_storage_layer(|| {
            let mut ledger = Ledgers::<T>::get(deal).ok_or(Error::<T>::UnknownDeal)?;
            let gross = Self::gross(&ledger, good_slots);
            let fee_due = share_floor(gross, ledger.fee_ppm);
            let good_slots = good_slots.min(ledger.rate.affordable_slots(ledger.deposit));
            let outcome = Self::pay_out(&mut ledger, &Payment { good_slots, gross, fee_due, slash, ends: true })?;
            Ledgers::<T>::remove(deal);
            Self::deposit_event(Event::PaidOut { deal, outcome });
            Ok(outcome)
        })
    }

    /// Takes a hold, leaving the existential deposit free whatever else keeps the account alive:
    /// a holder must be able to receive any amount while the hold lasts.
    fn hold(reason: HoldReason, who: &T::AccountId, amount: Balance, error: Error<T>) -> DispatchResult {
        if amount == 0 {
            return Ok(());
        }
        let spare = T::Currency::reducible_balance(who, Preservation::Preserve, Fortitude::Polite);
        frame_support::ensure!(amount <= spare, error);
        T::Currency::hold(&reason.into(), who, amount)
    }

    /// The only place where money leaves a deal. Runs inside a storage layer: an error undoes all.
    fn pay_out(ledger: &mut Ledger<T::AccountId>, payment: &Payment) -> Result<Outcome, DispatchError> {
        frame_support::ensure!(payment.good_slots >= ledger.good_paid, Error::<T>::GoodSlotsFell);
        let issuance = T::Currency::total_issuance();
        let held = ledger.deposit.checked_sub(ledger.gross_paid).ok_or(Error::<T>::Overflow)?;
        let earned = payment.gross.checked_sub(ledger.gross_paid).ok_or(Error::<T>::GoodSlotsFell)?;
        let fee = payment.fee_due.checked_sub(ledger.fee_due).ok_or(Error::<T>::GoodSlotsFell)?;
        let refund = held.checked_sub(earned).ok_or(Error::<T>::Overflow)?;
        let mut outcome = Outcome { good_slots: payment.good_slots, gross: payment.gross, ..Outcome::default() };

        // What stays with the holder is released first, so that the holder's free balance only grows.
        if payment.ends {
            Self::release(HoldReason::DealEscrow, &ledger.renter, refund)?;
            outcome.refund = refund;
        }
        let fee_paid = if Self::treasury_can_receive(fee) { fee } else { 0 };
        let to_provider = earned.checked_sub(fee_paid).ok_or(Error::<T>::Overflow)?;
        Self::transfer(HoldReason::DealEscrow, &ledger.renter, &ledger.provider, to_provider)?;
        Self::transfer(HoldReason::DealEscrow, &ledger.renter, &Self::treasury(), fee_paid)?;
        let left = if payment.ends { held } else { earned };
        EscrowTotal::<T>::try_mutate(|total| {
            *total = total.checked_sub(left).ok_or(Error::<T>::Overflow)?;
            Ok::<_, Error<T>>(())
        })?;

        ledger.good_paid = payment.good_slots;
        ledger.gross_paid = payment.gross;
        ledger.fee_due = payment.fee_due;
        ledger.fee_paid = ledger.fee_paid.checked_add(fee_paid).ok_or(Error::<T>::Overflow)?;
        outcome.fee = ledger.fee_paid;
        outcome.to_provider = payment.gross.checked_sub(ledger.fee_paid).ok_or(Error::<T>::Overflow)?;

        if payment.ends {
            Self::dispose_of_bond(ledger, payment.slash, &mut outcome)?;
        }
        frame_support::ensure!(T::Currency::total_issuance() == issuance, Error::<T>::IssuanceChanged);
        Ok(outcome)
    }

    /// Splits the bond between provider, renter and treasury: the victim comes first.
    fn dispose_of_bond(ledger: &Ledger<T::AccountId>, slash: Option<Slash>, outcome: &mut Outcome) -> DispatchResult {
        let taken = slash.map_or(0, |slash| share_floor(ledger.bond, slash.share_ppm));
        let wanted = slash.map_or(0, |slash| share_floor(taken, slash.compensation_ppm));
        let rest = taken.checked_sub(wanted).ok_or(Error::<T>::Overflow)?;
        let (compensation, rest) = if Self::treasury_can_receive(rest) { (wanted, rest) } else { (taken, 0) };
        let back = ledger.bond.checked_sub(taken).ok_or(Error::<T>::Overflow)?;
        Self::release(HoldReason::DealBond, &ledger.provider, back)?;
        Self::transfer(HoldReason::DealBond, &ledger.provider, &ledger.renter, compensation)?;
        Self::transfer(HoldReason::DealBond, &ledger.provider, &Self::treasury(), rest)?;
        BondTotal::<T>::try_mutate(|total| {
            *total = total.checked_sub(ledger.bond).ok_or(Error::<T>::Overflow)?;
            Ok::<_, Error<T>>(())
        })?;
        outcome.slash = taken;
        outcome.compensation = compensation;
        outcome.bond_back = back;
        Ok(())
    }

    /// Whether the treasury's account can take this amount without falling below the existential deposit.
    fn treasury_can_receive(amount: Balance) -> bool {
        T::Currency::can_deposit(&Self::treasury(), amount, Provenance::Extant) == DepositConsequence::Success
    }

    /// Returns held money to its holder, exactly.
    fn release(reason: HoldReason, who: &T::AccountId, amount: Balance) -> DispatchResult {
        if amount > 0 {
            T::Currency::release(&reason.into(), who, amount, Precision::Exact)?;
        }
        Ok(())
    }

    /// Moves held money to another account's free balance, exactly. Locks do not stop it: what is
    /// held for a deal is owed.
    fn transfer(reason: HoldReason, from: &T::AccountId, to: &T::AccountId, amount: Balance) -> DispatchResult {
        if amount > 0 {
            T::Currency::transfer_on_hold(
                &reason.into(),
                from,
                to,
                amount,
                Precision::Exact,
                Restriction::Free,
                Fortitude::Force,
            )?;
        }
        Ok(())
    }
}
