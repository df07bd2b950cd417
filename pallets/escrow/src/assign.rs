//! Who earns, once a renter has chosen.

use frame_support::ensure;
use sp_runtime::DispatchResult;
use x0_types::{deal::Rate, market::DealId};

use crate::{Config, Error, Ledgers, Pallet};

impl<T: Config> Pallet<T> {
    /// Names the provider and the price of a deal that was opened by its renter for bids: until then the
    /// renter stands on both sides of the ledger.
    ///
    /// # Errors
    /// When the ledger is unknown, has a bond, has paid, or the rate is invalid.
    pub fn assign(deal: DealId, provider: &T::AccountId, rate: Rate) -> DispatchResult {
        ensure!(rate.is_valid(), Error::<T>::InvalidRate);
        Ledgers::<T>::try_mutate(deal, |slot| {
            let ledger = slot.as_mut().ok_or(Error::<T>::UnknownDeal)?;
            ensure!(ledger.bond == 0 && ledger.gross_paid == 0, Error::<T>::BondExists);
            ledger.provider = provider.clone();
            ledger.rate = rate;
            Ok(())
        })
    }
}
