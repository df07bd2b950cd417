//! Money that joins or accompanies a deposit: top-ups, the reserve for renewals, the stake of a dispute.

use core::cmp::Ordering;

use frame_support::{
    ensure,
    traits::{
        fungible::{Inspect as _, MutateHold as _},
        tokens::{Fortitude, Precision, Preservation},
    },
};
use sp_runtime::DispatchResult;
use x0_types::{Balance, market::DealId};

use crate::{Config, Error, EscrowTotal, Event, HoldReason, Ledger, Ledgers, Pallet, Stake, StakeTotal};

impl<T: Config> Pallet<T> {
    /// Adds to a deal's deposit. What somebody else pays is the renter's from then on.
    ///
    /// # Errors
    /// When the ledger is unknown or the amount is not covered.
    pub fn top_up(deal: DealId, payer: &T::AccountId, amount: Balance) -> DispatchResult {
        Self::change(deal, |ledger| {
            if *payer == ledger.renter {
                Self::hold(HoldReason::DealEscrow, payer, amount, Error::<T>::TopUpNotCovered)?;
            } else {
                let spare = T::Currency::reducible_balance(payer, Preservation::Preserve, Fortitude::Polite);
                ensure!(amount <= spare, Error::<T>::TopUpNotCovered);
                T::Currency::transfer_and_hold(
                    &HoldReason::DealEscrow.into(),
                    payer,
                    &ledger.renter,
                    amount,
                    Precision::Exact,
                    Preservation::Preserve,
                    Fortitude::Polite,
                )?;
            }
            Self::add_to_total::<EscrowTotal<T>>(amount)?;
            ledger.deposit = ledger.deposit.checked_add(amount).ok_or(Error::<T>::Overflow)?;
            Self::deposit_event(Event::ToppedUp { deal, payer: payer.clone(), amount, deposit: ledger.deposit });
            Ok(())
        })
    }

    /// Sets what the renter has set aside for renewals; the difference is held or comes back.
    ///
    /// # Errors
    /// When the ledger is unknown or a higher reserve is not covered.
    pub fn set_reserve(deal: DealId, reserve: Balance) -> DispatchResult {
        Self::change(deal, |ledger| {
            match reserve.cmp(&ledger.reserve) {
                Ordering::Equal => return Ok(()),
                Ordering::Greater => {
                    let more = reserve.checked_sub(ledger.reserve).ok_or(Error::<T>::Overflow)?;
                    Self::hold(HoldReason::DealEscrow, &ledger.renter, more, Error::<T>::ReserveNotCovered)?;
                    Self::add_to_total::<EscrowTotal<T>>(more)?;
                }
                Ordering::Less => {
                    let less = ledger.reserve.checked_sub(reserve).ok_or(Error::<T>::Overflow)?;
                    Self::release(HoldReason::DealEscrow, &ledger.renter, less)?;
                    Self::take_from_total::<EscrowTotal<T>>(less)?;
                }
            }
            ledger.reserve = reserve;
            Self::deposit_event(Event::ReserveSet { deal, reserve });
            Ok(())
        })
    }

    /// Moves money from the reserve into the deposit. It is held for the renter all the time.
    ///
    /// # Errors
    /// When the ledger is unknown or the reserve is smaller.
    pub fn draw(deal: DealId, amount: Balance) -> DispatchResult {
        Self::change(deal, |ledger| {
            ledger.reserve = ledger.reserve.checked_sub(amount).ok_or(Error::<T>::ReserveTooSmall)?;
            ledger.deposit = ledger.deposit.checked_add(amount).ok_or(Error::<T>::Overflow)?;
            Self::deposit_event(Event::ReserveDrawn { deal, amount, reserve: ledger.reserve });
            Ok(())
        })
    }

    /// Holds what a party puts up to open a dispute.
    ///
    /// # Errors
    /// When the ledger is unknown, has a stake, or the stake is not covered.
    pub fn stake(deal: DealId, by_renter: bool, amount: Balance) -> DispatchResult {
        Self::change(deal, |ledger| {
            ensure!(ledger.stake.is_none(), Error::<T>::StakeExists);
            let party = if by_renter { ledger.renter.clone() } else { ledger.provider.clone() };
            Self::hold(HoldReason::DealDispute, &party, amount, Error::<T>::StakeNotCovered)?;
            Self::add_to_total::<StakeTotal<T>>(amount)?;
            ledger.stake = Some(Stake { by_renter, amount });
            Self::deposit_event(Event::StakeHeld { deal, party, amount });
            Ok(())
        })
    }

    /// Ends a dispute's stake: it goes back, or to the other party when it is forfeited. A deal without
    /// a stake stays as it is.
    ///
    /// # Errors
    /// When the ledger is unknown or a transfer fails; nothing has moved then.
    pub fn release_stake(deal: DealId, forfeited: bool) -> DispatchResult {
        Self::change(deal, |ledger| {
            let Some(Stake { by_renter, amount }) = ledger.stake.take() else { return Ok(()) };
            let (party, other) =
                if by_renter { (&ledger.renter, &ledger.provider) } else { (&ledger.provider, &ledger.renter) };
            let to = if forfeited {
                Self::transfer(HoldReason::DealDispute, party, other, amount)?;
                other
            } else {
                Self::release(HoldReason::DealDispute, party, amount)?;
                party
            };
            Self::take_from_total::<StakeTotal<T>>(amount)?;
            Self::deposit_event(Event::StakeReleased { deal, to: to.clone(), amount });
            Ok(())
        })
    }

    /// Changes a ledger, all or nothing.
    fn change(deal: DealId, change: impl FnOnce(&mut Ledger<T::AccountId>) -> DispatchResult) -> DispatchResult {
        frame_support::storage::with_storage_layer(|| {
            Ledgers::<T>::try_mutate(deal, |slot| change(slot.as_mut().ok_or(Error::<T>::UnknownDeal)?))
        })
    }
}
