//! Weights of calls of foreign pallets that matter for the size of blocks, measured natively.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! Transfers are what blocks are full of, so they are measured like our own calls; the rest of the
//! balances pallet, whose calls are rare or for Root, keeps the framework's numbers for wasm, which
//! are larger.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Measured weights of the balances pallet.
pub struct MeasuredWeight<T>(PhantomData<T>);

/// The framework's numbers.
type Framework<T> = pallet_balances::weights::SubstrateWeight<T>;

impl<T: frame_system::Config> pallet_balances::WeightInfo for MeasuredWeight<T> {
    fn transfer_allow_death() -> Weight {
        Weight::from_parts(42_000_000, 0)
    }
    fn transfer_keep_alive() -> Weight {
        Weight::from_parts(41_000_000, 0)
    }
    fn transfer_all() -> Weight {
        Weight::from_parts(44_000_000, 0)
    }
    fn force_set_balance_creating() -> Weight {
        Framework::<T>::force_set_balance_creating()
    }
    fn force_set_balance_killing() -> Weight {
        Framework::<T>::force_set_balance_killing()
    }
    fn force_transfer() -> Weight {
        Framework::<T>::force_transfer()
    }
    fn force_unreserve() -> Weight {
        Framework::<T>::force_unreserve()
    }
    fn upgrade_accounts(u: u32) -> Weight {
        Framework::<T>::upgrade_accounts(u)
    }
    fn force_adjust_total_issuance() -> Weight {
        Framework::<T>::force_adjust_total_issuance()
    }
    fn burn_allow_death() -> Weight {
        Framework::<T>::burn_allow_death()
    }
    fn burn_keep_alive() -> Weight {
        Framework::<T>::burn_keep_alive()
    }
}
