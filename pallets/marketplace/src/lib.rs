//! Listings and deals: who offers which node, who rents it, and where each deal stands.
//!
//! ```text
//!            rent             confirm                UP            
//!   (none) --------> Funded ----------> Active <------------> Suspect
//!                      |                  |  \       DOWN       /  |
//!     confirm deadline |      end slot,   |   \                /   | f DOWN slots in a row, seen
//!                      |      cancel,     |    +------+-------+    | by more than 2/3
//!                      |      exhausted   |           |            |
//!                      v                  v           v            v
//!                    Frozen (reason, height, good slots: amounts are fixed from here on)
//!                      |  paid at once, or by the janitor in the next block
//!                      v
//!       Expired | Completed | Cancelled | Exhausted | Failed
//! ```
//!
//! This pallet decides states and counts good slots; the escrow moves the money, the janitor wakes
//! deals, the measuring module says which slots were good.
//!
//! # Correctness
//! * A deal confirmed in slot c bills the slots c+1 to c+term. Its start counters are read when c has
//!   closed and it is frozen when c+term has closed, both through queues ordered by slot, so neither
//!   depends on how busy a block is.
//! * `good = slots - void - bad - unknown` between two counters; nobody is billed for a slot
//!   that was not UP.
//! * At one slot the order is: failed, then completed. A DOWN verdict on a deal whose deposit is used up
//!   does not count: that deal was over before, and is frozen as exhausted.
//! * A deal fails when `fail_run_slots` consecutive DOWN verdicts lie inside it (UNKNOWN, CONFLICT and
//!   VOID neither extend nor reset the run, UP resets it) and `reporters * 3 > validators * 2`
//!   for the union of those who reported DOWN over the run. While the union is too small it stays Suspect.
//! * Price, capacity and bond are those of the listing's version at `rent`, the parameters those at
//!   `confirm`; later changes do not touch a deal.
//! * Each deal that is not over has one entry with the janitor: every deal ends without a user.
//! * A provider does not rent from itself, and only a live node under the provider's control is rented.
//!
//! # Limits
//! One listing for each node; [`x0_limits::LISTINGS_PER_PROVIDER_MAX`] listings for each provider and
//! [`x0_limits::DEALS_PER_NODE_MAX`] confirmed deals on each node. A funded deal reserves nothing: the
//! provider chooses which of them it confirms. Records of the last [`Config::ClosedDealsKept`]
//! ended deals stay readable. A cancelling renter pays the slots that have closed.
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

pub use pallet::*;

mod hooks;
mod invariants;
mod life;
mod listings;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
mod types;
pub mod weights;

pub use life::MeterReading;
pub use types::{Deal, Failure, Failures, Frozen, REPORTERS_BYTES_MAX, Reporters, Run, SlotCounts, Suspicion};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{Deal, Failures, Suspicion, WeightInfo};
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use x0_types::{
        Balance,
        deal::{Capacity, CloseReason, DealState, DealTerms, Listing, Manifest, Offer, Outcome, Rate, Region},
        market::{DealId, DealQueue, Identities, ListingId, Meter, Slot},
    };

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The marketplace.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the pallet needs from the runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>>
        + pallet_x0_escrow::Config<RuntimeHoldReason: From<HoldReason>>
    {
        /// Slots and counters of nodes.
        type Meter: Meter<Self::AccountId>;
        /// The janitor's queue.
        type Queue: DealQueue;
        /// Controllers and keys of nodes.
        type Identities: Identities<Self::AccountId>;
        /// Who may change the parameters of future deals.
        type ParametersOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Length of a slot, milliseconds.
        #[pallet::constant]
        type SlotMs: Get<u64>;
        /// Held from a provider for each listing, base units.
        #[pallet::constant]
        type ListingDeposit: Get<Balance>;
        /// Smallest deposit of a deal, base units: what its record in state costs a renter while it stands.
        #[pallet::constant]
        type DealDepositMin: Get<Balance>;
        /// Smallest bond of a listing, base units.
        #[pallet::constant]
        type BondMin: Get<Balance>;
        /// Ended deals whose records stay in state.
        #[pallet::constant]
        type ClosedDealsKept: Get<u64>;
        /// What the calls cost.
        type WeightInfo: WeightInfo;
    }

    /// Why money is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// The storage deposit of a listing.
        Listing,
    }

    /// Number of the next listing.
    #[pallet::storage]
    pub type NextListing<T: Config> = StorageValue<_, ListingId, ValueQuery>;

    /// Listings that are not closed.
    #[pallet::storage]
    pub type Listings<T: Config> = StorageMap<_, Twox64Concat, ListingId, Listing<T::AccountId>>;

    /// The listing of each listed node.
    #[pallet::storage]
    pub type ListingOf<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, ListingId>;

    /// Number of listings of each provider.
    #[pallet::storage]
    pub type ListingCount<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u32, ValueQuery>;

    /// Number of the next deal.
    #[pallet::storage]
    pub type NextDeal<T: Config> = StorageValue<_, DealId, ValueQuery>;

    /// All deals that are not over and the last that are.
    #[pallet::storage]
    pub type Deals<T: Config> = StorageMap<_, Twox64Concat, DealId, Deal<T::AccountId>>;

    /// Manifests of the deals in [`Deals`].
    #[pallet::storage]
    pub type Manifests<T: Config> = StorageMap<_, Twox64Concat, DealId, Manifest<T::AccountId>>;

    /// Deals of a listing that wait for confirmation.
    #[pallet::storage]
    pub type FundedOf<T: Config> = StorageDoubleMap<_, Twox64Concat, ListingId, Twox64Concat, DealId, ()>;

    /// Confirmed deals of a node that are not over.
    #[pallet::storage]
    pub type DealsOfNode<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<DealId, ConstU32<{ x0_limits::DEALS_PER_NODE_MAX }>>,
        ValueQuery,
    >;

    /// Deals whose start counters are read when a slot has closed, by [`x0_types::deal::queue_key`].
    #[pallet::storage]
    pub type Starts<T: Config> = StorageMap<_, Identity, [u8; 16], ()>;

    /// Deals that are frozen when their last slot has closed, by [`x0_types::deal::queue_key`].
    #[pallet::storage]
    pub type Ends<T: Config> = StorageMap<_, Identity, [u8; 16], ()>;

    /// Open runs of DOWN verdicts of the deals in state Suspect.
    #[pallet::storage]
    pub type Suspicions<T: Config> = StorageMap<_, Twox64Concat, DealId, Suspicion>;

    /// The last failures of each provider.
    #[pallet::storage]
    pub type FailuresOf<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Failures<T::AccountId>, ValueQuery>;

    /// Parameters of deals that are confirmed from now on.
    #[pallet::storage]
    pub type Parameters<T: Config> = StorageValue<_, DealTerms, ValueQuery>;

    /// Ended deals in the order of their ends.
    #[pallet::storage]
    pub type ClosedDeals<T: Config> = StorageMap<_, Twox64Concat, u64, DealId>;

    /// First and next number in [`ClosedDeals`].
    #[pallet::storage]
    pub type ClosedRange<T: Config> = StorageValue<_, (u64, u64), ValueQuery>;

    /// What happened in the market.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A node is offered.
        Listed { listing: ListingId, provider: T::AccountId, node: T::AccountId },
        /// An offer changed.
        ListingUpdated { listing: ListingId, version: u32 },
        /// A listing takes no new deals.
        ListingRetired { listing: ListingId },
        /// A retired listing is gone and its storage deposit returned.
        ListingClosed { listing: ListingId },
        /// A renter's deposit is held; the provider may confirm until the slot named.
        DealFunded {
            deal: DealId,
            listing: ListingId,
            renter: T::AccountId,
            provider: T::AccountId,
            node: T::AccountId,
            deposit: Balance,
            manifest_hash: sp_core::H256,
            confirm_by_slot: Slot,
        },
        /// The provider posted its bond; slots after the first and up to the second are billed.
        DealConfirmed { deal: DealId, confirmed_slot: Slot, end_slot: Slot, bond: Balance },
        /// The confirmation's slot has closed: counting begins.
        DealStarted { deal: DealId, slot: Slot },
        /// Somebody asked for the good slots up to now to be paid.
        DealSettled { deal: DealId, good_slots: u64, to_provider: Balance, fee: Balance },
        /// A DOWN verdict, the run's length with it.
        DealSuspect { deal: DealId, slot: Slot, run: u32 },
        /// An UP verdict ended a run of DOWN verdicts.
        DealRecovered { deal: DealId, slot: Slot },
        /// The deal is over and its amounts are fixed.
        DealFrozen { deal: DealId, reason: CloseReason, slot: Slot, good_slots: u64 },
        /// The deal is paid out.
        DealClosed { deal: DealId, state: DealState, reason: CloseReason, outcome: Outcome },
        /// The parameters of future deals changed.
        ParametersSet { terms: DealTerms },
    }

    /// Why a call failed.
    #[pallet::error]
    pub enum Error<T> {
        /// No such listing.
        UnknownListing,
        /// No such deal.
        UnknownDeal,
        /// The origin is not the listing's or the deal's provider.
        NotProvider,
        /// The origin is not the deal's renter.
        NotRenter,
        /// The node is no live agent under the provider's control.
        NodeNotLive,
        /// The node has a listing already.
        NodeListed,
        /// The provider has as many listings as it may.
        TooManyListings,
        /// The price has a zero part.
        InvalidPrice,
        /// The price of the shortest term does not fit 128 bits.
        PriceTooHigh,
        /// A capacity has a zero part.
        InvalidCapacity,
        /// The region is empty or not printable ASCII.
        InvalidRegion,
        /// The terms are not `DEAL_TERM_SLOTS_MIN <= min <= max <= DEAL_TERM_SLOTS_MAX`.
        InvalidTerm,
        /// The bond is below the smallest.
        BondTooSmall,
        /// Running deals use more than the new capacity.
        CapacityInUse,
        /// The listing is retired.
        ListingRetired,
        /// The listing has another version: its terms changed since the renter read them.
        VersionChanged,
        /// The storage deposit is not covered.
        ListingDepositNotCovered,
        /// The renter is the provider, its node, or under the same control.
        SelfDealing,
        /// The listing's free capacity is smaller.
        CapacityNotFree,
        /// The term lies outside the listing's.
        TermOutsideListing,
        /// The deposit does not cover the listing's shortest term, or is below the smallest.
        DepositTooSmall,
        /// The node has as many deals as it may.
        TooManyDeals,
        /// The deal does not wait for a confirmation.
        NotFunded,
        /// The confirm deadline has passed.
        ConfirmTooLate,
        /// The deal is not running.
        NotRunning,
        /// A share is above the whole, or the fail run is zero.
        InvalidParameters,
        /// A number does not fit; the state is not consistent.
        Overflow,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("marketplace invariants"))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Offers a node. The storage deposit is held and the node is measured from now on.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::list())]
        #[allow(clippy::too_many_arguments, reason = "the call's shape is what wallets show before signing")]
        pub fn list(
            origin: OriginFor<T>,
            node: T::AccountId,
            price: Rate,
            capacity: Capacity,
            region: Region,
            term_min_slots: u64,
            term_max_slots: u64,
            bond: Balance,
        ) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_list(provider, node, Offer { price, capacity, region, term_min_slots, term_max_slots, bond })
        }

        /// Changes an offer. Running deals keep what they were made with.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::update_listing())]
        #[allow(clippy::too_many_arguments, reason = "the call's shape is what wallets show before signing")]
        pub fn update_listing(
            origin: OriginFor<T>,
            listing: ListingId,
            price: Rate,
            capacity: Capacity,
            region: Region,
            term_min_slots: u64,
            term_max_slots: u64,
            bond: Balance,
        ) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            let offer = Offer { price, capacity, region, term_min_slots, term_max_slots, bond };
            Self::do_update(&provider, listing, offer)
        }

        /// Takes an offer back. Running deals go on; the listing closes with the last of them.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::retire())]
        pub fn retire(origin: OriginFor<T>, listing: ListingId) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_retire(&provider, listing)
        }

        /// Rents capacity at the listing's price and pays the deposit in. The provider confirms
        /// within [`x0_limits::CONFIRM_DEADLINE_SLOTS`], or the deposit comes back.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::rent())]
        pub fn rent(
            origin: OriginFor<T>,
            listing: ListingId,
            version: u32,
            capacity: Capacity,
            term_slots: u64,
            deposit: Balance,
            manifest: Manifest<T::AccountId>,
        ) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_rent(renter, listing, version, capacity, term_slots, deposit, manifest)
        }

        /// Accepts a funded deal and posts its bond.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::confirm())]
        pub fn confirm(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_confirm(&provider, deal)
        }

        /// Pays the provider for the good slots up to the last closed slot. Anybody may ask.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::settle())]
        pub fn settle(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_settle(deal)
        }

        /// Ends a running deal: good slots are paid, the rest of the deposit and the bond go back.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::cancel())]
        pub fn cancel(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_cancel(&renter, deal)
        }

        /// Sets the parameters of deals that are confirmed from now on.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::set_parameters())]
        pub fn set_parameters(origin: OriginFor<T>, terms: DealTerms) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            ensure!(terms.is_valid(), Error::<T>::InvalidParameters);
            Parameters::<T>::put(terms);
            Self::deposit_event(Event::ParametersSet { terms });
            Ok(())
        }
    }
}
