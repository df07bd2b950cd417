//! Measuring: which nodes were there, slot by slot, as the validators together saw it.
//!
//! The module exists to turn the reports of single validators into verdicts that money can depend
//! on, at a cost that grows with the exceptions and not with the number of deals.
//!
//! ```text
//!   validators' workers --report(slot, 2 bits a node)--> Reports[slot]
//!                                                            |  the slot closes, in on_initialize
//!                             VOID <-- too little power --+--+-- verdict of each node (verdict.rs)
//!                              |                                   |
//!                         one global count            bad[node], unknown[node]; MarketHooks
//! ```
//!
//! A slot is time: `floor((parent timestamp - genesis time) / slot length)`. Slot `s` closes at the
//! first block whose slot is at least `s + 1 + REPORT_GRACE_SLOTS`, in the order of slots. Slot 0 counts
//! as closed from the start.
//!
//! # Correctness
//! * Powers come from the state of the closing block, never from a report.
//! * The validator of a node's owner neither reports on the node nor counts in `N`.
//! * One report for each validator and slot. What a validator that left the set reported is dropped.
//! * A node's index rests after its dismissal until no report about the old node can be open, so that
//!   nobody inherits another's observations (see [`x0_limits::NODE_INDEX_REST_SLOTS`]). The node itself
//!   takes it back at once: each node occupies one index at most, however often it comes and goes, so
//!   that using up the indices takes as many registered agents.
//! * `good + bad + unknown + void` of a node is the number of slots closed since its enrolment, at
//!   every moment, also while the closing of a slot goes on over several blocks.
//! * The hook never panics and does at most [`Config::SlotWorkPerBlock`] units of work; the rest
//!   goes on in the next block at the same place.
//!
//! # Limits
//! [`x0_limits::MEASURED_NODES_MAX`] nodes; [`x0_limits::REPORTED_SLOTS_MAX`] slots with reports that wait.
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

mod closing;
mod invariants;
mod nodes;
mod seats;
mod tally;
pub mod types;
pub mod verdict;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{ClosingStage, ClosingState, NodeBits, NodeRecord, Observations, Report, SlotOutcome, SlotRing};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{ClosingState, NodeBits, NodeRecord, Observations, Report, SlotRing, WeightInfo};
    use frame_support::{pallet_prelude::*, traits::Time};
    use frame_system::pallet_prelude::*;
    use x0_types::{
        AccountId, Hash, Moment,
        market::{MarketHooks, NodeIndex, Slot, ValidatorSet, Verdict},
    };

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The module.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
        /// The block's time, milliseconds since the Unix epoch: the parent's in `on_initialize`,
        /// the block's own afterwards.
        type Time: Time<Moment = Moment>;
        /// The validators and their reporters.
        type Validators: ValidatorSet<AccountId>;
        /// Who hears of verdicts and closed slots.
        type Hooks: MarketHooks<AccountId>;
        /// Units of closing work that one block does, at least one. The results do not depend on it.
        #[pallet::constant]
        type SlotWorkPerBlock: Get<u32>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// Start of slot 0, milliseconds since the Unix epoch.
    #[pallet::storage]
    pub type GenesisTimeMs<T: Config> = StorageValue<_, Moment, ValueQuery>;

    /// Length of a slot, milliseconds.
    #[pallet::storage]
    pub type SlotMs<T: Config> = StorageValue<_, Moment, ValueQuery>;

    /// The slot of this block.
    #[pallet::storage]
    pub type CurrentSlot<T: Config> = StorageValue<_, Slot, ValueQuery>;

    /// Slots up to and including this one have their verdicts.
    #[pallet::storage]
    pub type ClosedSlot<T: Config> = StorageValue<_, Slot, ValueQuery>;

    /// The slot whose closing goes on in the next block.
    #[pallet::storage]
    pub type Closing<T: Config> = StorageValue<_, ClosingState>;

    /// Number of closed slots that were VOID.
    #[pallet::storage]
    pub type VoidSlots<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Which of the latest slots were VOID, for display.
    #[pallet::storage]
    pub type VoidHistory<T: Config> = StorageValue<_, SlotRing, ValueQuery>;

    /// Measured nodes.
    #[pallet::storage]
    pub type Nodes<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, NodeRecord>;

    /// The node of each index that is in use.
    #[pallet::storage]
    pub type NodeAt<T: Config> = StorageMap<_, Twox64Concat, NodeIndex, AccountId>;

    /// The indices of each owner's nodes.
    #[pallet::storage]
    pub type OwnedNodes<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, AccountId, Twox64Concat, NodeIndex, (), OptionQuery>;

    /// Indices in use.
    #[pallet::storage]
    pub type ActiveNodes<T: Config> = StorageValue<_, NodeBits, ValueQuery>;

    /// Indices of nodes that were DOWN and have not been UP since.
    #[pallet::storage]
    pub type OpenRuns<T: Config> = StorageValue<_, NodeBits, ValueQuery>;

    /// Indices below this one were given out at least once.
    #[pallet::storage]
    pub type NextIndex<T: Config> = StorageValue<_, NodeIndex, ValueQuery>;

    /// Indices of dismissed nodes with the slot of the block that dismissed them and the node, in
    /// that order: a queue whose ends stand in [`RestingEnds`]. A place is empty when its node came back.
    #[pallet::storage]
    pub type Resting<T: Config> = StorageMap<_, Twox64Concat, u64, (NodeIndex, Slot, AccountId)>;

    /// The place in [`Resting`] of each dismissed node whose index rests.
    #[pallet::storage]
    pub type RestingPlace<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, u64>;

    /// First place and end of the queue [`Resting`].
    #[pallet::storage]
    pub type RestingEnds<T: Config> = StorageValue<_, (u64, u64), ValueQuery>;

    /// First place of [`Resting`] that this block filled; its time is known at the block's end.
    #[pallet::storage]
    pub type Unstamped<T: Config> = StorageValue<_, u64>;

    /// Reports of slots that are not closed, by slot and the validator's controller.
    #[pallet::storage]
    pub type Reports<T: Config> = StorageDoubleMap<_, Twox64Concat, Slot, Blake2_128Concat, AccountId, Report>;

    /// Slots that have reports, in order.
    #[pallet::storage]
    pub type ReportedSlots<T: Config> =
        StorageValue<_, BoundedVec<Slot, ConstU32<{ x0_limits::REPORTED_SLOTS_MAX }>>, ValueQuery>;

    /// Which validator holds which bit in the bitmaps of reporters.
    #[pallet::storage]
    pub type Seats<T: Config> =
        StorageValue<_, BoundedVec<AccountId, ConstU32<{ x0_limits::VALIDATORS_MAX }>>, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A node is measured from now on.
        Enrolled { node: AccountId, index: NodeIndex },
        /// A node is no longer measured.
        Dismissed { node: AccountId, index: NodeIndex },
        /// A validator reported on a slot.
        Reported { slot: Slot, validator: AccountId, receipts_root: Hash },
        /// The verdict on a node is not UP, or it is UP again after DOWN.
        Judged { slot: Slot, node: AccountId, verdict: Verdict },
        /// All nodes have their verdict of the slot; `exceptions` of them are not UP.
        SlotClosed { slot: Slot, exceptions: u32 },
        /// These slots are VOID.
        SlotsVoid { first: Slot, last: Slot },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// The origin is no validator's reporter account.
        UnknownReporter,
        /// The validator reported on this slot already.
        AlreadyReported,
        /// The slot has not begun.
        SlotInFuture,
        /// The time for reports on this slot is over.
        SlotTooOld,
        /// The report has bits for nodes that do not exist.
        ReportTooLong,
        /// Closing lags so far behind that no further slot can take reports.
        TooManyOpenSlots,
        /// No further node can be measured.
        TooManyNodes,
    }

    /// The chain's clock.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Start of slot 0, milliseconds since the Unix epoch.
        pub genesis_time_ms: Moment,
        /// Length of a slot, milliseconds.
        pub slot_ms: Moment,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { genesis_time_ms: 0, slot_ms: x0_limits::SLOT_MS, _config: core::marker::PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            assert!(self.slot_ms > 0, "measurement genesis: slot_ms is zero");
            GenesisTimeMs::<T>::put(self.genesis_time_ms);
            SlotMs::<T>::put(self.slot_ms);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Closes the slots whose time for reports is over.
        fn on_initialize(_now: BlockNumberFor<T>) -> Weight {
            Self::advance()
        }

        /// Notes the time of this block for the indices that it freed.
        fn on_finalize(_now: BlockNumberFor<T>) {
            Self::stamp_resting();
        }

        fn integrity_test() {
            assert!(T::SlotWorkPerBlock::get() > 0, "measurement: no slot would ever close");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Takes in what the origin's validator saw in a slot. Free of fee when accepted; since
        /// only the first report of a validator for a slot is, nobody can send free ones at will.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::report(observations.len().try_into().unwrap_or(u32::MAX)))]
        pub fn report(
            origin: OriginFor<T>,
            slot: Slot,
            observations: Observations,
            receipts_root: Hash,
        ) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            let validator = Self::validator_of(&reporter).ok_or(Error::<T>::UnknownReporter)?;
            let now = Self::slot_of(T::Time::now());
            ensure!(slot <= now, Error::<T>::SlotInFuture);
            // The slot is not due for closing, whether or not closing lags behind, and it is not long
            // over by the clock of this block, so that a chain that stood still takes no reports on
            // all the time that it missed. Slot 0 is closed from the start.
            let due = slot.saturating_add(1).saturating_add(x0_limits::REPORT_GRACE_SLOTS);
            let is_open = slot > 0 && due > CurrentSlot::<T>::get() && due >= now;
            ensure!(is_open, Error::<T>::SlotTooOld);
            let bytes_max = NextIndex::<T>::get().div_ceil(4);
            ensure!(u32::try_from(observations.len()).is_ok_and(|len| len <= bytes_max), Error::<T>::ReportTooLong);
            ensure!(!Reports::<T>::contains_key(slot, &validator), Error::<T>::AlreadyReported);
            Self::note_reported(slot)?;
            Reports::<T>::insert(slot, &validator, Report { observations, receipts_root });
            Self::deposit_event(Event::Reported { slot, validator, receipts_root });
            Ok(Pays::No.into())
        }
    }

    impl<T: Config> Pallet<T> {
        /// The slot of a time; times before genesis lie in slot 0.
        #[must_use]
        pub fn slot_of(time_ms: Moment) -> Slot {
            time_ms.saturating_sub(GenesisTimeMs::<T>::get()).checked_div(SlotMs::<T>::get()).unwrap_or_default()
        }

        /// The controller of the validator whose reporter account this is.
        fn validator_of(reporter: &AccountId) -> Option<AccountId> {
            let place = usize::try_from(T::Validators::index_of_reporter(reporter)?).ok()?;
            T::Validators::current().into_iter().nth(place).map(|(controller, _)| controller)
        }

        /// Enters a slot in the ordered list of slots with reports.
        fn note_reported(slot: Slot) -> Result<(), Error<T>> {
            ReportedSlots::<T>::try_mutate(|slots| match slots.binary_search(&slot) {
                Ok(_) => Ok(()),
                Err(place) => slots.try_insert(place, slot).map_err(|_| Error::<T>::TooManyOpenSlots),
            })
        }
    }
}
