//! What is true of the escrow after every block (I1 to I4, I17 of the market's specification).

use std::collections::BTreeMap;

use frame_support::traits::fungible::InspectHold as _;
use x0_types::{Balance, deal::share_floor};

use crate::{BondTotal, Config, EscrowTotal, HoldReason, Ledgers, Pallet};

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// Checks ledgers, totals and holds against one another.
    ///
    /// # Errors
    /// The first rule that does not hold, with its numbers.
    pub fn check_invariants() -> Result<(), String> {
        let (mut escrow, mut bonds) = (BTreeMap::new(), BTreeMap::new());
        for (deal, ledger) in Ledgers::<T>::iter() {
            let expected = Self::gross(&ledger, ledger.good_paid);
            if ledger.gross_paid != expected {
                return Err(format!(
                    "I4: deal {deal} paid {} for {} good slots worth {expected}",
                    ledger.gross_paid, ledger.good_paid
                ));
            }
            let Some(held) = ledger.deposit.checked_sub(ledger.gross_paid) else {
                return Err(format!("I4: deal {deal} paid {} of {}", ledger.gross_paid, ledger.deposit));
            };
            if ledger.fee_due != share_floor(ledger.gross_paid, ledger.fee_ppm) || ledger.fee_paid > ledger.fee_due {
                return Err(format!("fee: deal {deal} owes {} and paid {}", ledger.fee_due, ledger.fee_paid));
            }
            add(&mut escrow, ledger.renter, held)?;
            add(&mut bonds, ledger.provider, ledger.bond)?;
        }
        Self::compare("DealEscrow", HoldReason::DealEscrow, &escrow, EscrowTotal::<T>::get())?;
        Self::compare("DealBond", HoldReason::DealBond, &bonds, BondTotal::<T>::get())
    }

    /// I2 and I3: each account's hold is what its ledgers say, and the total is their sum.
    fn compare(
        name: &str,
        reason: HoldReason,
        by_account: &BTreeMap<T::AccountId, Balance>,
        total: Balance,
    ) -> Result<(), String> {
        let reason = reason.into();
        let mut sum: Balance = 0;
        for (account, expected) in by_account {
            let held = T::Currency::balance_on_hold(&reason, account);
            if held != *expected {
                return Err(format!("I2: {account:?} holds {held} under {name}, its deals say {expected}"));
            }
            sum = sum.checked_add(held).ok_or_else(|| format!("I3: sum of {name} overflows"))?;
        }
        if sum == total { Ok(()) } else { Err(format!("I3: {name} total {total}, sum {sum}")) }
    }
}

/// Adds to an account's sum.
fn add<A: Ord>(sums: &mut BTreeMap<A, Balance>, account: A, amount: Balance) -> Result<(), String> {
    let sum = sums.entry(account).or_insert(0);
    *sum = sum.checked_add(amount).ok_or("I3: an account's holds overflow")?;
    Ok(())
}
