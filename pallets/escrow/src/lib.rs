//! Keeps the money of deals: holds it, accrues it by good slots and pays it out, and nothing else.
//!
//! ```text
//!   renter's free --open, reserve--> hold DealEscrow --+                 +--> provider's free
//!   anybody's free --top_up-------->   (the renter's)  |-- pay_out() ----+--> treasury (fee, rest of slash)
//! provider's free --post_bond------> hold DealBond ----+                 +--> renter's free (refund,
//!                                                                             compensation, reserve)
//!   a party's free --stake---------> hold DealDispute ------------------> back, or to the other party
//! ```
//!
//! The marketplace decides what a deal's state is and how many slots were good; this pallet turns
//! that into amounts. It has no calls: nobody but the marketplace moves this money.
//!
//! # Correctness
//! * One deal, one [`Ledger`]. The hold of the renter under `DealEscrow` is the sum of `deposit -
//!   gross_paid + reserve` over the renter's ledgers, the hold of the provider under `DealBond` the sum
//!   of `bond` over the provider's ledgers, and a party's hold under `DealDispute` the sum of its
//!   stakes. A ledger goes away with its last unit.
//! * What anybody pays in belongs to the deal: a third party's top-up is a gift to the renter, who gets
//!   what is not earned.
//! * The reserve is the renter's spending limit for renewals: it is drawn on in whole and never below
//!   zero, and what is not drawn goes back.
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

mod assign;
mod invariants;
mod ledger;
#[cfg(test)]
mod mock;
mod pay;
mod purse;
#[cfg(test)]
mod tests;

pub use invariants::{Purse, Solvency};
pub use ledger::{Accrual, Ledger, Stake};
pub use x0_accounting::Slash;

use frame_support::traits::Get as _;
use sp_runtime::{DispatchError, DispatchResult, traits::AccountIdConversion};
use x0_types::{
    Balance,
    deal::{Outcome, Rate},
    market::DealId,
};

use pay::Payment;

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
        /// What a party put up to open a dispute.
        DealDispute,
    }

    /// The ledgers of deals that have not ended.
    #[pallet::storage]
    pub type Ledgers<T: Config> = StorageMap<_, Twox64Concat, DealId, Ledger<T::AccountId>>;

    /// Sum of all deposits and reserves held: `deposit - gross_paid + reserve` over all ledgers.
    #[pallet::storage]
    pub type EscrowTotal<T: Config> = StorageValue<_, Balance, ValueQuery>;

    /// Sum of all bonds held.
    #[pallet::storage]
    pub type BondTotal<T: Config> = StorageValue<_, Balance, ValueQuery>;

    /// Sum of all stakes of disputes held.
    #[pallet::storage]
    pub type StakeTotal<T: Config> = StorageValue<_, Balance, ValueQuery>;

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
        /// Money was added to a deposit.
        ToppedUp {
            /// The deal.
            deal: DealId,
            /// Who paid.
            payer: T::AccountId,
            /// How much.
            amount: Balance,
            /// The deposit in all.
            deposit: Balance,
        },
        /// The renter's reserve for renewals changed.
        ReserveSet {
            /// The deal.
            deal: DealId,
            /// What is held for renewals now.
            reserve: Balance,
        },
        /// A renewal was paid from the reserve.
        ReserveDrawn {
            /// The deal.
            deal: DealId,
            /// What went into the deposit.
            amount: Balance,
            /// What is left for further renewals.
            reserve: Balance,
        },
        /// A party's stake in a dispute is held.
        StakeHeld {
            /// The deal.
            deal: DealId,
            /// Whose money it is.
            party: T::AccountId,
            /// How much.
            amount: Balance,
        },
        /// A stake is not held any more.
        StakeReleased {
            /// The deal.
            deal: DealId,
            /// Who got it.
            to: T::AccountId,
            /// How much.
            amount: Balance,
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
        /// The payer's free balance, less the existential deposit, does not cover the amount.
        TopUpNotCovered,
        /// The renter's free balance, less the existential deposit, does not cover the reserve.
        ReserveNotCovered,
        /// The reserve is smaller than what is to be drawn.
        ReserveTooSmall,
        /// The party's free balance, less the existential deposit, does not cover the stake.
        StakeNotCovered,
        /// The deal has a stake already.
        StakeExists,
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
        Self::add_to_total::<EscrowTotal<T>>(deposit)?;
        Ledgers::<T>::insert(deal, Ledger::new(renter.clone(), provider.clone(), deposit, rate));
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
            Self::add_to_total::<BondTotal<T>>(bond)?;
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
            let owed = ledger.owed(good_slots);
            Self::pay_out(&mut ledger, &Payment { owed, slash: None, ends: false })?;
            let fee = ledger.fee_paid.saturating_sub(before.1);
            let paid = Accrual { to_provider: ledger.gross_paid.saturating_sub(before.0).saturating_sub(fee), fee };
            Ledgers::<T>::insert(deal, ledger);
            if paid != Accrual::default() {
                Self::emit_accrued(deal, owed.good_slots, paid);
            }
            Ok(paid)
        })
    }

    /// Ends a deal: pays the good slots, slashes if asked, returns the rest, the reserve and an open
    /// stake to their owners and removes the ledger.
    ///
    /// # Errors
    /// When the ledger is unknown, the count falls or a transfer fails; nothing has moved then.
    pub fn close(deal: DealId, good_slots: u64, slash: Option<Slash>) -> Result<Outcome, DispatchError> {
        frame_support::storage::with_storage_layer(|| {
            Self::release_stake(deal, false)?;
            Self::set_reserve(deal, 0)?;
            let mut ledger = Ledgers::<T>::get(deal).ok_or(Error::<T>::UnknownDeal)?;
            let owed = ledger.owed(good_slots);
            let outcome = Self::pay_out(&mut ledger, &Payment { owed, slash, ends: true })?;
            Ledgers::<T>::remove(deal);
            Self::deposit_event(Event::PaidOut { deal, outcome });
            Ok(outcome)
        })
    }
}
