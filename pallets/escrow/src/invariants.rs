//! What is true of the escrow after every block (I1 to I4, I17 of the market's specification), and
//! the same as a reading for whoever wants to see it.

use std::collections::BTreeMap;

use frame_support::traits::fungible::{Inspect as _, InspectHold as _};
use x0_types::Balance;

use crate::{BondTotal, Config, EscrowTotal, HoldReason, Ledger, Ledgers, Pallet, StakeTotal};

/// One kind of money that is held for deals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Purse {
    /// What the ledgers say is owed to somebody.
    pub owed: Balance,
    /// What is held for it in the parties' accounts.
    pub held: Balance,
    /// The running total.
    pub total: Balance,
}

impl Purse {
    /// Whether everything that is owed is held, and nothing else.
    #[must_use]
    pub const fn is_covered(&self) -> bool {
        self.owed == self.held && self.owed == self.total
    }
}

/// Whether the market can pay what it owes: read from every ledger and every hold, for people and RPC,
/// never in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Solvency {
    /// Deals that have not ended.
    pub deals: u32,
    /// Deposits that are not paid out, and reserves for renewals.
    pub deposits: Purse,
    /// Providers' bonds.
    pub bonds: Purse,
    /// Stakes of disputes.
    pub stakes: Purse,
    /// What the treasury has.
    pub treasury: Balance,
    /// All money there is.
    pub issuance: Balance,
    /// Whether every purse is covered.
    pub is_solvent: bool,
}

/// What each account's deals say it holds.
type Sums<A> = BTreeMap<A, Balance>;

/// The three kinds of money, by account.
struct Owed<A> {
    deals: u32,
    deposits: Sums<A>,
    bonds: Sums<A>,
    stakes: Sums<A>,
}

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// Checks ledgers, totals and holds against one another.
    ///
    /// # Errors
    /// The first rule that does not hold, with its numbers.
    pub fn check_invariants() -> Result<(), String> {
        for (deal, ledger) in Ledgers::<T>::iter() {
            Self::check_ledger(&ledger).map_err(|text| format!("deal {deal}: {text}"))?;
        }
        let owed = Self::owed()?;
        Self::compare("DealEscrow", HoldReason::DealEscrow, &owed.deposits, EscrowTotal::<T>::get())?;
        Self::compare("DealBond", HoldReason::DealBond, &owed.bonds, BondTotal::<T>::get())?;
        Self::compare("DealDispute", HoldReason::DealDispute, &owed.stakes, StakeTotal::<T>::get())
    }

    /// What the market owes and holds as of this block.
    ///
    /// # Errors
    /// When sums do not fit, which no chain with this issuance reaches.
    pub fn solvency() -> Result<Solvency, String> {
        let owed = Self::owed()?;
        let purse = |reason: HoldReason, sums: &Sums<T::AccountId>, total: Balance| {
            let reason = reason.into();
            let held = sums.keys().map(|account| T::Currency::balance_on_hold(&reason, account));
            Purse { owed: sums.values().sum(), held: held.sum(), total }
        };
        let deposits = purse(HoldReason::DealEscrow, &owed.deposits, EscrowTotal::<T>::get());
        let bonds = purse(HoldReason::DealBond, &owed.bonds, BondTotal::<T>::get());
        let stakes = purse(HoldReason::DealDispute, &owed.stakes, StakeTotal::<T>::get());
        Ok(Solvency {
            deals: owed.deals,
            deposits,
            bonds,
            stakes,
            treasury: T::Currency::balance(&Self::treasury()),
            issuance: T::Currency::total_issuance(),
            is_solvent: deposits.is_covered() && bonds.is_covered() && stakes.is_covered(),
        })
    }

    /// I4: what was paid is what the paid slots cost, and no more than was paid in.
    fn check_ledger(ledger: &Ledger<T::AccountId>) -> Result<(), String> {
        let owed = ledger.owed(ledger.good_paid);
        if ledger.gross_paid != owed.gross || ledger.good_paid != owed.good_slots {
            return Err(format!("I4: paid {} for {} good slots: {owed:?}", ledger.gross_paid, ledger.good_paid));
        }
        if ledger.fee_due != owed.fee || ledger.fee_paid > ledger.fee_due {
            return Err(format!("fee: {} due, {} paid: {owed:?}", ledger.fee_due, ledger.fee_paid));
        }
        Ok(())
    }

    /// Sums what all ledgers say.
    fn owed() -> Result<Owed<T::AccountId>, String> {
        let mut owed = Owed { deals: 0, deposits: BTreeMap::new(), bonds: BTreeMap::new(), stakes: BTreeMap::new() };
        for (deal, ledger) in Ledgers::<T>::iter() {
            owed.deals = owed.deals.saturating_add(1);
            let held = ledger.deposit.checked_sub(ledger.gross_paid).and_then(|held| held.checked_add(ledger.reserve));
            let held =
                held.ok_or_else(|| format!("I4: deal {deal} paid {} of {}", ledger.gross_paid, ledger.deposit))?;
            if let Some(stake) = ledger.stake {
                let party = if stake.by_renter { &ledger.renter } else { &ledger.provider };
                add(&mut owed.stakes, party.clone(), stake.amount)?;
            }
            add(&mut owed.deposits, ledger.renter, held)?;
            add(&mut owed.bonds, ledger.provider, ledger.bond)?;
        }
        Ok(owed)
    }

    /// I2 and I3: each account's hold is what its ledgers say, and the total is their sum.
    fn compare(name: &str, reason: HoldReason, by_account: &Sums<T::AccountId>, total: Balance) -> Result<(), String> {
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
fn add<A: Ord>(sums: &mut Sums<A>, account: A, amount: Balance) -> Result<(), String> {
    let sum = sums.entry(account).or_insert(0);
    *sum = sum.checked_add(amount).ok_or("I3: an account's holds overflow")?;
    Ok(())
}
