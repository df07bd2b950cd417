//! Where money moves: the only place from which it leaves a deal.

use frame_support::{
    StorageValue,
    traits::{
        fungible::{Inspect as _, MutateHold as _},
        tokens::{DepositConsequence, Fortitude, Precision, Preservation, Provenance, Restriction},
    },
};
use sp_runtime::{DispatchError, DispatchResult};
use x0_accounting::{Accrued, BondSplit, Slash, split_bond};
use x0_types::{Balance, deal::Outcome};

use crate::{BondTotal, Config, Error, EscrowTotal, HoldReason, Ledger, Pallet};

/// Amounts of one payment, before anything moves.
pub(crate) struct Payment {
    /// Good slots and what they cost in all, after the payment.
    pub owed: Accrued,
    /// What the provider loses, when the deal ends with this payment.
    pub slash: Option<Slash>,
    /// Whether it does.
    pub ends: bool,
}

impl<T: Config> Pallet<T> {
    /// Pays what is owed beyond what was paid. Runs inside a storage layer: an error undoes all.
    pub(crate) fn pay_out(ledger: &mut Ledger<T::AccountId>, payment: &Payment) -> Result<Outcome, DispatchError> {
        let owed = &payment.owed;
        frame_support::ensure!(owed.good_slots >= ledger.good_paid, Error::<T>::GoodSlotsFell);
        let issuance = T::Currency::total_issuance();
        let held = ledger.deposit.checked_sub(ledger.gross_paid).ok_or(Error::<T>::Overflow)?;
        let earned = owed.gross.checked_sub(ledger.gross_paid).ok_or(Error::<T>::GoodSlotsFell)?;
        let fee = owed.fee.checked_sub(ledger.fee_due).ok_or(Error::<T>::GoodSlotsFell)?;
        let refund = held.checked_sub(earned).ok_or(Error::<T>::Overflow)?;
        let mut outcome = Outcome { good_slots: owed.good_slots, gross: owed.gross, ..Outcome::default() };

        // What stays with the holder is released first, so that the holder's free balance only grows.
        if payment.ends {
            Self::release(HoldReason::DealEscrow, &ledger.renter, refund)?;
            outcome.refund = refund;
        }
        let fee_paid = if Self::treasury_can_receive(fee) { fee } else { 0 };
        let to_provider = earned.checked_sub(fee_paid).ok_or(Error::<T>::Overflow)?;
        Self::transfer(HoldReason::DealEscrow, &ledger.renter, &ledger.provider, to_provider)?;
        Self::transfer(HoldReason::DealEscrow, &ledger.renter, &Self::treasury(), fee_paid)?;
        Self::take_from_total::<EscrowTotal<T>>(if payment.ends { held } else { earned })?;

        ledger.good_paid = owed.good_slots;
        ledger.gross_paid = owed.gross;
        ledger.fee_due = owed.fee;
        ledger.fee_paid = ledger.fee_paid.checked_add(fee_paid).ok_or(Error::<T>::Overflow)?;
        outcome.fee = ledger.fee_paid;
        outcome.to_provider = owed.gross.checked_sub(ledger.fee_paid).ok_or(Error::<T>::Overflow)?;

        if payment.ends {
            Self::dispose_of_bond(ledger, payment.slash, &mut outcome)?;
        }
        frame_support::ensure!(T::Currency::total_issuance() == issuance, Error::<T>::IssuanceChanged);
        Ok(outcome)
    }

    /// Splits the bond between provider, renter and treasury: the victim comes first.
    fn dispose_of_bond(ledger: &Ledger<T::AccountId>, slash: Option<Slash>, outcome: &mut Outcome) -> DispatchResult {
        let BondSplit { slash, compensation, to_treasury, back } = split_bond(ledger.bond, slash);
        // What the treasury cannot receive goes to the victim rather than nowhere.
        let (compensation, to_treasury) =
            if Self::treasury_can_receive(to_treasury) { (compensation, to_treasury) } else { (slash, 0) };
        Self::release(HoldReason::DealBond, &ledger.provider, back)?;
        Self::transfer(HoldReason::DealBond, &ledger.provider, &ledger.renter, compensation)?;
        Self::transfer(HoldReason::DealBond, &ledger.provider, &Self::treasury(), to_treasury)?;
        Self::take_from_total::<BondTotal<T>>(ledger.bond)?;
        outcome.slash = slash;
        outcome.compensation = compensation;
        outcome.bond_back = back;
        Ok(())
    }

    /// Takes a hold, leaving the existential deposit free whatever else keeps the account alive:
    /// a holder must be able to receive any amount while the hold lasts.
    pub(crate) fn hold(reason: HoldReason, who: &T::AccountId, amount: Balance, error: Error<T>) -> DispatchResult {
        if amount == 0 {
            return Ok(());
        }
        let spare = T::Currency::reducible_balance(who, Preservation::Preserve, Fortitude::Polite);
        frame_support::ensure!(amount <= spare, error);
        T::Currency::hold(&reason.into(), who, amount)
    }

    /// Returns held money to its holder, exactly.
    pub(crate) fn release(reason: HoldReason, who: &T::AccountId, amount: Balance) -> DispatchResult {
        if amount > 0 {
            T::Currency::release(&reason.into(), who, amount, Precision::Exact)?;
        }
        Ok(())
    }

    /// Moves held money to another account's free balance, exactly. Locks do not stop it: what is
    /// held for a deal is owed.
    pub(crate) fn transfer(
        reason: HoldReason,
        from: &T::AccountId,
        to: &T::AccountId,
        amount: Balance,
    ) -> DispatchResult {
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

    /// Counts money that is held from now on.
    pub(crate) fn add_to_total<Total: StorageValue<Balance, Query = Balance>>(amount: Balance) -> DispatchResult {
        Total::put(Total::get().checked_add(amount).ok_or(Error::<T>::Overflow)?);
        Ok(())
    }

    /// Counts money that is not held any more.
    pub(crate) fn take_from_total<Total: StorageValue<Balance, Query = Balance>>(amount: Balance) -> DispatchResult {
        Total::put(Total::get().checked_sub(amount).ok_or(Error::<T>::Overflow)?);
        Ok(())
    }

    /// Whether the treasury's account can take this amount without falling below the existential deposit.
    fn treasury_can_receive(amount: Balance) -> bool {
        T::Currency::can_deposit(&Self::treasury(), amount, Provenance::Extant) == DepositConsequence::Success
    }
}
