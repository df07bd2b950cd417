//! The permissioned validator set, by height.
//!
//! The module exists so that consensus, measuring and light clients take the set of a height, with
//! its keys and powers, from one place, and know each change two heights before it counts.
//!
//! ```text
//!   change in block H ---> Upcoming{from: H+2} ---> on_initialize(H+2): Current
//!        |
//!        +--> on_finalize(H): digest item Consensus("x0vs", blake2b-256(SCALE(set of H+2)))
//! ```
//!
//! The delay lets the engine start height H+1 while block H is still executing: the set of H+1 is
//! known since block H-1.
//!
//! # Correctness
//! * A set is never empty, has no controller and no key twice, and each power lies between 1 and
//!   [`x0_limits::VALIDATOR_POWER_MAX`].
//! * The keys and powers of a height are final once block `height - 2` is final.
//! * Several changes in one block build on one another and give one set and one digest item.
//!
//! # Limits
//! [`x0_limits::VALIDATORS_MAX`] validators; a delay of [`x0_limits::VALIDATOR_SET_DELAY_BLOCKS`].
//!
//! # Errors
//! [`Error`] has one variant for each broken rule.
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

mod sets;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{GenesisValidator, PowerList, UpcomingSet, Validator, ValidatorList};
pub use weights::WeightInfo;

/// Names the digest items of this module in a block's header.
pub const CONSENSUS_ENGINE_ID: sp_runtime::ConsensusEngineId = *b"x0vs";

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{GenesisValidator, PowerList, UpcomingSet, ValidatorList, WeightInfo};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use x0_types::{AccountId, BlockNumber, Hash};

    /// The module.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + pallet_x0_did::Config {
        /// Who may change the set.
        type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// The set of this block.
    #[pallet::storage]
    pub type Current<T: Config> = StorageValue<_, ValidatorList, ValueQuery>;

    /// Controllers and powers of [`Current`], in its order: what most readers need, at a
    /// hundredth of the bytes.
    #[pallet::storage]
    pub type Powers<T: Config> = StorageValue<_, PowerList, ValueQuery>;

    /// Sets that are decided but not yet in force, in the order of heights: at most one for each
    /// of the next two heights.
    #[pallet::storage]
    pub type Upcoming<T: Config> =
        StorageValue<_, BoundedVec<UpcomingSet, ConstU32<{ x0_limits::VALIDATOR_SET_DELAY_BLOCKS }>>, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A new set is decided; `hash` is BLAKE2b-256 of its SCALE encoding.
        SetScheduled { from: BlockNumber, validators: u32, hash: Hash },
        /// A set came into force with this block.
        SetActivated { validators: u32 },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// A set needs at least one validator.
        EmptySet,
        /// The set would have more validators than allowed.
        TooManyValidators,
        /// A controller stands in the set already.
        DuplicateValidator,
        /// The controller does not stand in the set.
        UnknownValidator,
        /// A power is at least one.
        PowerZero,
        /// A power is above the largest one allowed.
        PowerTooLarge,
        /// The controller has no valid Consensus key in the identity module.
        NoConsensusKey,
    }

    /// The set of the first blocks.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The validators; their consensus keys stand in the identity module's genesis.
        pub validators: Vec<GenesisValidator>,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Pallet::<T>::build_genesis(&self.validators);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Brings a set into force at its height. The weight covers `on_finalize` too.
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::activate_due(now)
        }

        /// Announces a set that this block decided in the block's header.
        fn on_finalize(now: BlockNumberFor<T>) {
            Self::announce_decided(now);
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Replaces the whole set.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::set_validators(validators.len().try_into().unwrap_or(u32::MAX)))]
        pub fn set_validators(origin: OriginFor<T>, validators: PowerList) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let members = validators
                .into_iter()
                .map(|(controller, power)| Self::member(controller, power))
                .collect::<Result<Vec<_>, DispatchError>>()?;
            Self::schedule(members)
        }

        /// Adds a validator with the Consensus key that it has now.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn add_validator(origin: OriginFor<T>, controller: AccountId, power: u64) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            members.push(Self::member(controller, power)?);
            Self::schedule(members)
        }

        /// Removes a validator; the last one stays.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn remove_validator(origin: OriginFor<T>, controller: AccountId) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            let before = members.len();
            members.retain(|member| member.controller != controller);
            ensure!(members.len() < before, Error::<T>::UnknownValidator);
            Self::schedule(members)
        }

        /// Gives a validator another power.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn set_power(origin: OriginFor<T>, controller: AccountId, power: u64) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            let member = members
                .iter_mut()
                .find(|member| member.controller == controller)
                .ok_or(Error::<T>::UnknownValidator)?;
            member.power = power;
            Self::schedule(members)
        }

        /// Puts the origin's present Consensus key in the place of the one in the set. A validator
        /// calls this after rotating the key in the identity module; the old key signs until the
        /// new set is in force.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn refresh_consensus_key(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let mut members = Self::latest();
            let member =
                members.iter_mut().find(|member| member.controller == who).ok_or(Error::<T>::UnknownValidator)?;
            *member = Self::member(who, member.power)?;
            Self::schedule(members)
        }
    }
}
