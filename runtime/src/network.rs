//! What kind of network this is and which version of the rules is active.
//!
//! ```text
//!   schedule_spec(v, at) --> Scheduled --on_finalize(at - 1)--> ActiveSpec = v, :code = ("native", v)
//! ```
//!
//! # Correctness
//! The switch happens at the end of the block before `at`, so that block `at` and everything that is
//! checked against its parent state run under the new version. `:code` changes with the version,
//! because wallets key their metadata cache by its hash.

pub use pallet::*;

/// Storage key of the runtime code; holds a marker, since the rules are native.
const CODE_KEY: &[u8] = sp_storage::well_known_keys::CODE;

/// What stands under `:code` for a version of the rules.
#[must_use]
pub fn code_marker(spec_version: u32) -> Vec<u8> {
    codec::Encode::encode(&(b"native", spec_version))
}

#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
#[frame_support::pallet]
pub mod pallet {
    use super::{CODE_KEY, code_marker};
    use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    /// A version of the rules that takes over at a height.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub struct ScheduledSpec {
        /// The version.
        pub spec_version: u32,
        /// The first block that runs under it.
        pub at: u32,
    }

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>, Hash = x0_types::Hash> {}

    /// The version of the rules under which the next block runs.
    #[pallet::storage]
    pub type ActiveSpec<T: Config> = StorageValue<_, u32, ValueQuery, FirstSpec>;

    /// The version that takes over next.
    #[pallet::storage]
    pub type Scheduled<T: Config> = StorageValue<_, ScheduledSpec, OptionQuery>;

    /// Whether this is a development network: sudo works on these only.
    #[pallet::storage]
    pub type Development<T: Config> = StorageValue<_, bool, ValueQuery>;

    /// The version of a chain whose state does not say: the first.
    #[pallet::type_value]
    pub fn FirstSpec() -> u32 {
        1
    }

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Whether this is a development network.
        pub development: bool,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Development::<T>::put(self.development);
            Pallet::<T>::activate(crate::version::SPEC_VERSION);
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A version takes over at a height, unless it is cancelled before.
        SpecScheduled {
            /// The version.
            spec_version: u32,
            /// The first block that runs under it.
            at: u32,
        },
        /// The scheduled version does not take over.
        SpecCancelled {
            /// The version.
            spec_version: u32,
        },
        /// The next block runs under this version.
        SpecActivated {
            /// The version.
            spec_version: u32,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The version is not newer than the active one.
        NotNewer,
        /// The height is not at least two blocks ahead.
        TooEarly,
        /// No version is scheduled.
        NothingScheduled,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T>
    where
        BlockNumberFor<T>: Into<u64>,
    {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            T::DbWeight::get().reads(1)
        }

        fn on_finalize(now: BlockNumberFor<T>) {
            let Some(scheduled) = Scheduled::<T>::get() else { return };
            let next: u64 = now.into().saturating_add(1);
            if next >= u64::from(scheduled.at) {
                Scheduled::<T>::kill();
                Self::activate(scheduled.spec_version);
                Self::deposit_event(Event::SpecActivated { spec_version: scheduled.spec_version });
            }
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T>
    where
        BlockNumberFor<T>: Into<u64>,
    {
        /// Announces the version of the rules that takes over at block `at`. Root only.
        ///
        /// Nodes whose binary does not know the version stop before that block.
        #[pallet::call_index(0)]
        #[pallet::weight(T::DbWeight::get().reads_writes(2, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn schedule_spec(origin: OriginFor<T>, spec_version: u32, at: u32) -> DispatchResult {
            ensure_root(origin)?;
            ensure!(spec_version > ActiveSpec::<T>::get(), Error::<T>::NotNewer);
            let now: u64 = frame_system::Pallet::<T>::block_number().into();
            ensure!(u64::from(at) >= now.saturating_add(2), Error::<T>::TooEarly);
            Scheduled::<T>::put(ScheduledSpec { spec_version, at });
            Self::deposit_event(Event::SpecScheduled { spec_version, at });
            Ok(())
        }

        /// Takes an announced version back. Root only.
        #[pallet::call_index(1)]
        #[pallet::weight(T::DbWeight::get().reads_writes(1, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn cancel_spec(origin: OriginFor<T>) -> DispatchResult {
            ensure_root(origin)?;
            let scheduled = Scheduled::<T>::take().ok_or(Error::<T>::NothingScheduled)?;
            Self::deposit_event(Event::SpecCancelled { spec_version: scheduled.spec_version });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Makes a version the active one.
        fn activate(spec_version: u32) {
            ActiveSpec::<T>::put(spec_version);
            frame_support::storage::unhashed::put_raw(CODE_KEY, &code_marker(spec_version));
        }
    }
}
