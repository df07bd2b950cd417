//! Parameters of the whole network that no other pallet holds: fees, and the limits of autonomous repair.
//!
//! ```text
//!   set_fees { expected, new } by a ballot --> Fees --> WeightToFee, LengthToFee
//!   set_autonomy { expected, new }         --> Autonomy: what nodes may repair without asking anybody
//! ```
//!
//! # Correctness
//! * A change names the value that it replaces: a decision that took weeks never overwrites a newer one.
//! * Values keep their bounds, so that no decision makes transactions free or unaffordable.

pub use pallet::*;

use crate::{
    Runtime,
    configs::money::{FEE_PER_BYTE, FEE_PER_PICOSECOND},
};
use frame_support::traits::Get;
use x0_types::Balance;

/// How much larger or smaller than at the start fees may become.
pub const FEE_FACTOR_MAX: Balance = 1_000;

/// Fee of one picosecond of execution, base units.
pub struct PerPicosecond;

impl Get<Balance> for PerPicosecond {
    fn get() -> Balance {
        fees().per_picosecond
    }
}

/// Fee of one byte of a transaction, base units.
pub struct PerByte;

impl Get<Balance> for PerByte {
    fn get() -> Balance {
        fees().per_byte
    }
}

/// The fees of this state; the first ones where there is no state (tools, documentation).
fn fees() -> FeeRates {
    sp_externalities::with_externalities(|_| ()).map_or_else(FeeRates::default, |()| Fees::<Runtime>::get())
}

#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
#[frame_support::pallet]
pub mod pallet {
    use super::{FEE_FACTOR_MAX, FEE_PER_BYTE, FEE_PER_PICOSECOND};
    use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use x0_types::Balance;

    /// What transactions cost.
    #[derive(
        Clone,
        Copy,
        Debug,
        PartialEq,
        Eq,
        Encode,
        Decode,
        DecodeWithMemTracking,
        MaxEncodedLen,
        TypeInfo,
        serde::Serialize,
        serde::Deserialize,
    )]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct FeeRates {
        /// For one picosecond of execution, base units.
        pub per_picosecond: Balance,
        /// For one byte, base units.
        pub per_byte: Balance,
    }

    impl Default for FeeRates {
        fn default() -> Self {
            Self { per_picosecond: FEE_PER_PICOSECOND, per_byte: FEE_PER_BYTE }
        }
    }

    impl FeeRates {
        /// Whether both rates are above zero and within the bounds.
        #[must_use]
        pub const fn is_valid(&self) -> bool {
            self.per_picosecond >= 1
                && self.per_picosecond <= FEE_PER_PICOSECOND * FEE_FACTOR_MAX
                && self.per_byte >= FEE_PER_BYTE / FEE_FACTOR_MAX
                && self.per_byte <= FEE_PER_BYTE * FEE_FACTOR_MAX
        }
    }

    /// What the autonomic loop (monitor, analyse, plan, execute) may do without a decision of people.
    #[derive(
        Clone,
        Copy,
        Debug,
        PartialEq,
        Eq,
        Encode,
        Decode,
        DecodeWithMemTracking,
        MaxEncodedLen,
        TypeInfo,
        serde::Serialize,
        serde::Deserialize,
    )]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct AutonomyLimits {
        /// Actions within [`AutonomyLimits::window_slots`] over the whole network; zero switches the loop off.
        pub actions_max: u32,
        /// The slots over which actions are counted.
        pub window_slots: u64,
        /// Share of all measured nodes that one action may touch, ppm.
        pub nodes_ppm_max: u32,
        /// Slots between two actions on the same node.
        pub cooldown_slots: u64,
    }

    impl Default for AutonomyLimits {
        fn default() -> Self {
            Self { actions_max: 100, window_slots: 14_400, nodes_ppm_max: 50_000, cooldown_slots: 100 }
        }
    }

    impl AutonomyLimits {
        /// Whether every value lies within its bounds: never more than a tenth of the nodes at once.
        #[must_use]
        pub const fn is_valid(&self) -> bool {
            self.actions_max <= 10_000
                && self.window_slots >= 1
                && self.window_slots <= x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX
                && self.nodes_ppm_max <= 100_000
                && self.cooldown_slots >= 1
                && self.cooldown_slots <= x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX
        }
    }

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Who changes the parameters.
        type ParametersOrigin: EnsureOrigin<Self::RuntimeOrigin>;
    }

    /// What transactions cost.
    #[pallet::storage]
    pub type Fees<T: Config> = StorageValue<_, FeeRates, ValueQuery>;

    /// What autonomous repair may do.
    #[pallet::storage]
    pub type Autonomy<T: Config> = StorageValue<_, AutonomyLimits, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Transactions cost something else.
        FeesChanged {
            /// The rates from the next transaction on.
            fees: FeeRates,
        },
        /// Autonomous repair has other limits.
        AutonomyChanged {
            /// The limits.
            limits: AutonomyLimits,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The stored value is not the expected one.
        ParametersMismatch,
        /// A value is out of its bounds.
        ParametersOutOfBounds,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Changes what transactions cost. `expected` is the present value.
        #[pallet::call_index(0)]
        #[pallet::weight(T::DbWeight::get().reads_writes(1, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn set_fees(origin: OriginFor<T>, expected: FeeRates, new: FeeRates) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            ensure!(Fees::<T>::get() == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::ParametersOutOfBounds);
            Fees::<T>::put(new);
            Self::deposit_event(Event::FeesChanged { fees: new });
            Ok(())
        }

        /// Changes what autonomous repair may do. `expected` is the present value.
        #[pallet::call_index(1)]
        #[pallet::weight(T::DbWeight::get().reads_writes(1, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn set_autonomy(origin: OriginFor<T>, expected: AutonomyLimits, new: AutonomyLimits) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            ensure!(Autonomy::<T>::get() == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::ParametersOutOfBounds);
            Autonomy::<T>::put(new);
            Self::deposit_event(Event::AutonomyChanged { limits: new });
            Ok(())
        }
    }
}
