//! Wakes deals when their time has come, so that every deal ends without anybody asking.
//!
//! ```text
//!  wake_next_block(deal) --> Fifo  (sequence)   --+
//!                                                 +-- on_initialize, at most Cap --> DealWorker::work
//!  wake_at_slot(deal, s) --> Timed (slot, deal) --+        |              |
//!                              ^                           | fails        +-- Terminal: entry gone
//!                              +--- NotBefore(slot) -------+-- retried in the next block, reported
//!                              |                           +-- NextBlock: goes on in the next block
//!                              +--- after the last attempt: reported as stuck, retried later
//! ```
//!
//! # Correctness
//! * A deal has at most one entry; [`Entries`] says where it stands, and both queues point back.
//! * Both queues are ordered by big-endian keys under an identity hasher, so that the next entry is
//!   the first key of a map: finding it costs one read however long the queue is.
//! * An entry goes away only when its work ended in a terminal state or its owner took it back. Work
//!   is all or nothing: an error rolls storage back and keeps the entry.
//! * An entry of the next-block queue that was added in block H is worked off from block H + 1 on.
//! * Next-block work goes first, because refunds are promised within one block. It cannot starve the
//!   timed queue for long: a deal enters once, and after [`x0_limits::JANITOR_ATTEMPTS_MAX`] failures
//!   it waits in the timed queue.
//!
//! # Limits
//! At most [`Config::Cap`] entries in one block. The rest waits for the next block; amounts do not
//! depend on it, because the market fixes them before it wakes a deal.
//!
//! # Errors
//! [`Error::NotQueued`] for a retry of a deal without an entry. Failures of work are events:
//! `JanitorFailed` at each, `JanitorStuck` at the last of a row.
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

#[cfg(test)]
mod tests;
mod types;
pub mod weights;

use frame_support::{traits::Get, weights::Weight};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::{DispatchError, traits::SaturatedConversion};
use x0_types::deal::{queue_key, split_queue_key};
use x0_types::market::{DealId, DealProgress, DealQueue, DealWorker, Meter, Slot};

pub use types::{Entry, Place, Waiting};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{DealId, DealWorker, Entry, Meter, Slot, Waiting, WeightInfo};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The janitor.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the pallet needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// Tells the current slot.
        type Meter: Meter<Self::AccountId>;
        /// Works off the deals.
        type Worker: DealWorker;
        /// Most entries in one block.
        #[pallet::constant]
        type Cap: Get<u32>;
        /// Who may ask for a retry of an entry out of turn.
        type RetryOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// What the work costs.
        type WeightInfo: WeightInfo;
    }

    /// Each waiting deal's entry.
    #[pallet::storage]
    pub type Entries<T: Config> = StorageMap<_, Twox64Concat, DealId, Entry>;

    /// The timed queue: key is the slot and the deal, both big-endian, so that the map's order is
    /// the order of work.
    #[pallet::storage]
    pub type Timed<T: Config> = StorageMap<_, Identity, [u8; 16], ()>;

    /// The next-block queue: key is the sequence number, big-endian.
    #[pallet::storage]
    pub type Fifo<T: Config> = StorageMap<_, Identity, [u8; 8], Waiting>;

    /// The sequence number of the next element of the next-block queue.
    #[pallet::storage]
    pub type NextSequence<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// What the janitor met.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A deal could not be worked off; it stays in the queue.
        JanitorFailed {
            /// The deal.
            deal: DealId,
            /// Failed attempts in a row, this one included.
            attempts: u8,
            /// Why.
            error: DispatchError,
        },
        /// A deal failed too often in a row; it is tried again at the slot named or when asked.
        JanitorStuck {
            /// The deal.
            deal: DealId,
            /// The deal's close reason, if the market knows it.
            reason: Option<Vec<u8>>,
            /// When it is tried again by itself.
            retry_at_slot: Slot,
        },
        /// A retry out of turn was asked for.
        RetryQueued {
            /// The deal.
            deal: DealId,
        },
    }

    /// Why a call failed.
    #[pallet::error]
    pub enum Error<T> {
        /// The deal has no entry.
        NotQueued,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::run(now)
        }

        /// A full block of work stays within a tenth of the block's weight.
        #[allow(clippy::panic, reason = "integrity tests run before a runtime is released, never on chain")]
        fn integrity_test() {
            let full = T::WeightInfo::on_initialize_base()
                .saturating_add(T::WeightInfo::entry().saturating_mul(T::Cap::get().into()));
            let block = T::BlockWeights::get().max_block;
            assert!(T::Cap::get() >= 1, "the janitor's cap is zero: no deal would ever end");
            assert!(
                full.ref_time() <= block.ref_time() / 10,
                "a full janitor block takes {full:?} of {block:?}: more than a tenth",
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("janitor invariants"))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Puts a waiting deal into the next-block queue with a fresh count of attempts.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::retry())]
        pub fn retry(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            T::RetryOrigin::ensure_origin(origin)?;
            ensure!(Entries::<T>::contains_key(deal), Error::<T>::NotQueued);
            Self::put_next_block(deal, 0);
            Self::deposit_event(Event::RetryQueued { deal });
            Ok(())
        }
    }
}

impl<T: Config> Pallet<T> {
    /// Works off at most [`Config::Cap`] entries.
    fn run(now: BlockNumberFor<T>) -> Weight {
        let block: u32 = now.saturated_into();
        let current = T::Meter::current_slot();
        let mut left = T::Cap::get();
        // An entry that fails goes to the end of the next-block queue as of this block, and one that
        // is not due goes to a later slot, so neither comes up twice in one block.
        while left > 0
            && let Some(deal) = Self::next_waiting(block).or_else(|| Self::next_due(current))
        {
            Self::work(deal, current);
            left = left.saturating_sub(1);
        }
        let worked = T::Cap::get().saturating_sub(left);
        T::WeightInfo::on_initialize_base().saturating_add(T::WeightInfo::entry().saturating_mul(worked.into()))
    }

    /// The head of the next-block queue, if it was added before this block.
    fn next_waiting(block: u32) -> Option<DealId> {
        Fifo::<T>::iter_values().next().filter(|head| head.added_in < block).map(|head| head.deal)
    }

    /// The head of the timed queue, if its slot has come.
    fn next_due(current: Slot) -> Option<DealId> {
        Timed::<T>::iter_keys().next().map(split_queue_key).filter(|(slot, _)| *slot <= current).map(|(_, deal)| deal)
    }

    /// Works off one deal, all or nothing.
    fn work(deal: DealId, current: Slot) {
        let attempts = Entries::<T>::get(deal).map_or(0, |entry| entry.attempts);
        let worked = frame_support::storage::with_storage_layer::<(), DispatchError, _>(|| {
            Self::take_out(deal);
            match T::Worker::work(deal)? {
                // Strictly forward: an entry never comes up again in the slot it was looked at.
                DealProgress::NotBefore(slot) => Self::put_at_slot(deal, slot.max(current.saturating_add(1)), 0),
                DealProgress::NextBlock => Self::put_next_block(deal, 0),
                DealProgress::Terminal => {}
            }
            Ok(())
        });
        if let Err(error) = worked {
            Self::keep_failed(deal, attempts.saturating_add(1), current, error);
        }
    }

    /// Keeps an entry whose work failed: at the end of the next-block queue, or after the last
    /// attempt for a later slot, so that stuck entries do not use up the block's work.
    fn keep_failed(deal: DealId, attempts: u8, current: Slot, error: DispatchError) {
        Self::deposit_event(Event::JanitorFailed { deal, attempts, error });
        if attempts < x0_limits::JANITOR_ATTEMPTS_MAX {
            Self::put_next_block(deal, attempts);
        } else {
            let retry_at_slot = current.saturating_add(x0_limits::JANITOR_STUCK_RETRY_SLOTS);
            Self::put_at_slot(deal, retry_at_slot, attempts);
            Self::deposit_event(Event::JanitorStuck { deal, reason: T::Worker::reason(deal), retry_at_slot });
        }
    }

    fn put_at_slot(deal: DealId, slot: Slot, attempts: u8) {
        Self::take_out(deal);
        Timed::<T>::insert(queue_key(slot, deal), ());
        Entries::<T>::insert(deal, Entry { place: Place::AtSlot(slot), attempts });
    }

    fn put_next_block(deal: DealId, attempts: u8) {
        Self::take_out(deal);
        let sequence = NextSequence::<T>::get();
        // 2^64 entries do not happen; a wrapped number would only change the order of work.
        NextSequence::<T>::put(sequence.wrapping_add(1));
        let added_in: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        Fifo::<T>::insert(sequence.to_be_bytes(), Waiting { deal, added_in });
        Entries::<T>::insert(deal, Entry { place: Place::NextBlock(sequence), attempts });
    }

    fn take_out(deal: DealId) {
        match Entries::<T>::take(deal).map(|entry| entry.place) {
            Some(Place::AtSlot(slot)) => Timed::<T>::remove(queue_key(slot, deal)),
            Some(Place::NextBlock(sequence)) => Fifo::<T>::remove(sequence.to_be_bytes()),
            None => {}
        }
    }

    /// Checks that entries and queues point at one another (I9).
    ///
    /// # Errors
    /// The first entry that is not where it says.
    pub fn check_invariants() -> Result<(), String> {
        let (mut timed, mut waiting) = (0u64, 0u64);
        for (deal, entry) in Entries::<T>::iter() {
            let found = match entry.place {
                Place::AtSlot(slot) => {
                    timed += 1;
                    Timed::<T>::contains_key(queue_key(slot, deal))
                }
                Place::NextBlock(sequence) => {
                    waiting += 1;
                    Fifo::<T>::get(sequence.to_be_bytes()).is_some_and(|head| head.deal == deal)
                }
            };
            if !found {
                return Err(format!("I9: deal {deal} is not at {:?}", entry.place));
            }
        }
        let queued = (Timed::<T>::iter_keys().count(), Fifo::<T>::iter_keys().count());
        if (u64::try_from(queued.0), u64::try_from(queued.1)) != (Ok(timed), Ok(waiting)) {
            return Err(format!("I9: {timed} timed and {waiting} waiting entries, queues hold {queued:?}"));
        }
        Ok(())
    }
}

impl<T: Config> DealQueue for Pallet<T> {
    fn wake_at_slot(deal: DealId, slot: Slot) {
        Self::put_at_slot(deal, slot, 0);
    }

    fn wake_next_block(deal: DealId) {
        Self::put_next_block(deal, 0);
    }

    fn forget(deal: DealId) {
        Self::take_out(deal);
    }

    fn is_queued(deal: DealId) -> bool {
        Entries::<T>::contains_key(deal)
    }
}
