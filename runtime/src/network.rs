//! Which network this is, of what kind, and which version of the rules is active.
//!
//! ```text
//!   schedule_upgrade(v, h) --> Scheduled --on_finalize(h - 1)--> ActiveSpec = v, :code = ("native", v)
//!                                         --block h, before all hooks--> migrations to v, once
//! ```
//!
//! # Correctness
//! * The switch happens at the end of the block before `h`, so that block `h` and everything that is
//!   checked against its parent state run under the new version. `:code` changes with the version,
//!   because wallets key their metadata cache by its hash.
//! * The id of the network is part of the first state, so that two networks whose definitions differ
//!   in nothing else have different genesis hashes, and no signature of one counts on the other.
//! * The first version of the rules is part of the network's definition and not of the binary: a newer
//!   binary finds the same genesis block.

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
    use x0_types::BlockNumber;

    /// A version of the rules that takes over at a height.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub struct Upgrade {
        /// The version.
        pub spec_version: u32,
        /// The first block that runs under it.
        pub height: BlockNumber,
    }

    /// Layout of this module's storage in the first rules. Migrations move the version on chain, and
    /// this constant stays, because the genesis block of older chains must come out the same.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>, Hash = x0_types::Hash> {
        /// Who may announce new rules.
        type UpgradeOrigin: EnsureOrigin<Self::RuntimeOrigin>;
    }

    /// The network's id.
    #[pallet::storage]
    pub type Id<T: Config> = StorageValue<_, BoundedVec<u8, ConstU32<{ x0_limits::CHAIN_ID_BYTES_MAX }>>, ValueQuery>;

    /// The version of the rules under which the next block runs.
    #[pallet::storage]
    pub type ActiveSpec<T: Config> = StorageValue<_, u32, ValueQuery, FirstSpec>;

    /// The version that takes over next.
    #[pallet::storage]
    pub type Scheduled<T: Config> = StorageValue<_, Upgrade, OptionQuery>;

    /// Whether this is a development network: sudo works on these only.
    #[pallet::storage]
    pub type Development<T: Config> = StorageValue<_, bool, ValueQuery>;

    /// The version of a chain whose state does not say: the first.
    #[pallet::type_value]
    pub fn FirstSpec() -> u32 {
        crate::version::FIRST_SPEC
    }

    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// The network's id.
        pub id: String,
        /// Whether this is a development network.
        pub development: bool,
        /// The version of the rules under which block 1 runs.
        pub spec_version: u32,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self {
                id: String::new(),
                development: false,
                spec_version: crate::version::FIRST_SPEC,
                _config: core::marker::PhantomData,
            }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            let id = self.id.as_bytes().to_vec();
            assert!(
                id.len() <= x0_limits::CHAIN_ID_BYTES_MAX as usize,
                "network genesis: the id has {} bytes, at most {} are allowed",
                id.len(),
                x0_limits::CHAIN_ID_BYTES_MAX
            );
            assert!(
                crate::version::SUPPORTED_SPECS.contains(&self.spec_version),
                "network genesis: this binary does not know version {} of the rules",
                self.spec_version
            );
            Id::<T>::put(BoundedVec::truncate_from(id));
            Development::<T>::put(self.development);
            Pallet::<T>::activate(self.spec_version);
            // The first state has the layout of its own rules already: nothing is migrated in block 1.
            let version = <T as frame_system::Config>::Version::get();
            frame_system::LastRuntimeUpgrade::<T>::put(frame_system::LastRuntimeUpgradeInfo::from(version));
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A version takes over at a height, unless it is cancelled before.
        UpgradeScheduled {
            /// The version.
            spec_version: u32,
            /// The first block that runs under it.
            height: BlockNumber,
        },
        /// The scheduled version does not take over.
        UpgradeCancelled {
            /// The version.
            spec_version: u32,
        },
        /// The next block runs under this version.
        UpgradeActivated {
            /// The version.
            spec_version: u32,
        },
        /// The state was brought to the layout of the active version.
        Migrated {
            /// The version under which the block before ran.
            from: u32,
            /// The active version.
            to: u32,
            /// How many migrations ran.
            migrations: u32,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The version is not newer than the active one.
        NotNewer,
        /// The height is too near: nodes need time to install the binary.
        TooEarly,
        /// No version is scheduled.
        NothingScheduled,
        /// The height is further ahead than anybody plans.
        TooLate,
        /// Another version is scheduled: cancel it first.
        UpgradePending,
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
            if next >= u64::from(scheduled.height) {
                Scheduled::<T>::kill();
                Self::activate(scheduled.spec_version);
                Self::deposit_event(Event::UpgradeActivated { spec_version: scheduled.spec_version });
            }
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T>
    where
        BlockNumberFor<T>: Into<u64>,
    {
        /// Announces the version of the rules that takes over at block `height`.
        ///
        /// Nodes whose binary does not know the version stop before that block.
        #[pallet::call_index(0)]
        #[pallet::weight(T::DbWeight::get().reads_writes(4, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn schedule_upgrade(origin: OriginFor<T>, spec_version: u32, height: BlockNumber) -> DispatchResult {
            T::UpgradeOrigin::ensure_origin(origin)?;
            ensure!(spec_version > ActiveSpec::<T>::get(), Error::<T>::NotNewer);
            ensure!(!Scheduled::<T>::exists(), Error::<T>::UpgradePending);
            let now: u64 = frame_system::Pallet::<T>::block_number().into();
            // Block `now + 1` may be under way at other nodes already, so 2 is the least that works.
            let notice = if Development::<T>::get() { 2 } else { x0_limits::UPGRADE_NOTICE_BLOCKS_MIN };
            ensure!(u64::from(height) >= now.saturating_add(notice.into()), Error::<T>::TooEarly);
            let latest = now.saturating_add(x0_limits::UPGRADE_NOTICE_BLOCKS_MAX.into());
            ensure!(u64::from(height) <= latest, Error::<T>::TooLate);
            Scheduled::<T>::put(Upgrade { spec_version, height });
            Self::deposit_event(Event::UpgradeScheduled { spec_version, height });
            Ok(())
        }

        /// Takes an announced version back.
        #[pallet::call_index(1)]
        #[pallet::weight(T::DbWeight::get().reads_writes(1, 1).saturating_add(Weight::from_parts(10_000_000, 0)))]
        pub fn cancel_upgrade(origin: OriginFor<T>) -> DispatchResult {
            T::UpgradeOrigin::ensure_origin(origin)?;
            let scheduled = Scheduled::<T>::take().ok_or(Error::<T>::NothingScheduled)?;
            Self::deposit_event(Event::UpgradeCancelled { spec_version: scheduled.spec_version });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Makes a version the active one.
        fn activate(spec_version: u32) {
            ActiveSpec::<T>::put(spec_version);
            frame_support::storage::unhashed::put_raw(CODE_KEY, &code_marker(spec_version));
        }

        /// Reports that the state has the layout of the active version now.
        pub(crate) fn note_migrated(from: u32, to: u32, migrations: u32) {
            Self::deposit_event(Event::Migrated { from, to, migrations });
        }
    }
}
