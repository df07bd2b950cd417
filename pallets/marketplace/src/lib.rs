//! Listings and deals: who offers which node, who rents it, and where each deal stands.
//!
//! ```text
//!   request --> Requested --bid--> Bidding --accept--+
//!                                                    v     confirm                UP
//!   (none) ---------------- rent ----------------> Funded ---------> Active <------------> Suspect
//!                                                    |    (Reclaiming after notice)  DOWN     |
//!                                   confirm deadline |                |  end slot, cancel,    | f DOWN slots
//!                                                    |                |  exhausted, notice,   | in a row, seen
//!                                                    |                |  window missed        | by > 2/3
//!                                                    v                v                       v
//!                                              Frozen (reason, height, billed slots: fixed from here on)
//!                paid at once, or by the janitor |         | contested: good slots paid, rest held
//!                in the next block               |         +--dispute--> Disputed --ruling or deadline--+
//!                                                v                                                      v
//!       Expired | Completed | Cancelled | Reclaimed | Exhausted | Failed                            Resolved
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
//! * Price, capacity and promises are those of the listing's version at `rent`, the parameters and the
//!   bond's weight with trust those at `confirm`; later changes do not touch a deal.
//! * What is not UP is written down when it happens, everything else is a difference of counters: a slot
//!   costs what its exceptions and milestones cost, however many deals run.
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

mod acceptance;
mod auction;
mod dispute;
mod hooks;
mod invariants;
mod invariants_bids;
mod invariants_deal;
mod leaf;
mod life;
mod listings;
#[cfg(test)]
mod mock;
mod maintenance;
mod notice;
mod price;
mod promise;
mod renewal;
mod reputation;
#[cfg(test)]
mod tests;
mod types;
pub mod weights;
mod window;

pub use life::MeterReading;
pub use types::{
    Blocked, Calendar, Deal, Dispute, Failure, Failures, Frozen, Maintenance, Marks, Period, REPORTERS_BYTES_MAX,
    Reporters, Ruling, Run, SlotCounts, Suspicion, Window,
};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{
        Blocked, Calendar, Deal, Dispute, Failures, Marks, Ruling, Suspicion, WeightInfo, acceptance::Rental,
        auction::Asked,
    };
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use x0_types::{
        Balance,
        deal::{
            BidDeposit, Capacity, CloseReason, DealLeaf, DealState, DealTerms, Listing, Manifest, ManifestChange, Offer, Outcome,
            PriceTerms, Rate, Reputation, Request, Wanted,
        },
        governance::OwnerRegistry,
        market::{DealId, DealQueue, Identities, ListingId, Meter, SlaBreach, Slot, ValidatorSet},
        trust::TrustSource,
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
        /// Which accounts belong to one owner.
        type Owners: OwnerRegistry<Self::AccountId>;
        /// What is known about nodes.
        type Trust: TrustSource<Self::AccountId>;
        /// Who rules on disputes.
        type Validators: ValidatorSet<Self::AccountId>;
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
        /// Held for each entry of a blocklist, base units.
        #[pallet::constant]
        type BlockDeposit: Get<Balance>;
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
        /// The deposit of a bid that is open, or accepted and not confirmed yet.
        Bid,
        /// The storage deposits of a blocklist.
        Blocklist,
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

    /// What was written down about running deals whose nodes were not UP all the time.
    #[pallet::storage]
    pub type MarksOf<T: Config> = StorageMap<_, Twox64Concat, DealId, Marks, ValueQuery>;

    /// Announced maintenance of listed nodes.
    #[pallet::storage]
    pub type Calendars<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Calendar, ValueQuery>;

    /// Disputes of the deals in state Disputed.
    #[pallet::storage]
    pub type Disputes<T: Config> = StorageMap<_, Twox64Concat, DealId, Dispute<T::AccountId>>;

    /// What light clients prove about the ended deals in [`Deals`].
    #[pallet::storage]
    pub type Leaves<T: Config> = StorageMap<_, Twox64Concat, DealId, DealLeaf<T::AccountId>>;

    /// Requests that wait for bids or for the renter's choice. A request has the number of the deal that it
    /// becomes.
    #[pallet::storage]
    pub type Requests<T: Config> = StorageMap<_, Twox64Concat, DealId, Request<T::AccountId>>;

    /// Deposits of accepted bids whose deals are not confirmed yet.
    #[pallet::storage]
    pub type AcceptedBids<T: Config> = StorageMap<_, Twox64Concat, DealId, BidDeposit<T::AccountId>>;

    /// Deals in [`Deals`] whose renters changed their agents.
    #[pallet::storage]
    pub type ManifestChanges<T: Config> = StorageMap<_, Twox64Concat, DealId, ManifestChange>;

    /// Factor on list prices, and the deposit for bids.
    #[pallet::storage]
    pub type Prices<T: Config> = StorageValue<_, PriceTerms, ValueQuery>;

    /// With whom an account makes no deals.
    #[pallet::storage]
    pub type Blocklists<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<Blocked<T::AccountId>, ConstU32<{ x0_limits::BLOCKED_MAX }>>,
        ValueQuery,
    >;

    /// What became of the confirmed deals of an account, on either side. An entry costs its account the
    /// fees of a deal and stays, like the failures on the slash ladder.
    #[pallet::storage]
    pub type Reputations<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Reputation, ValueQuery>;

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
        DealClosed { deal: DealId, state: DealState, reason: CloseReason, code: u16, outcome: Outcome },
        /// The parameters of future deals changed.
        ParametersSet { old: DealTerms, new: DealTerms },
        /// Somebody added to a running deal's deposit.
        DealToppedUp { deal: DealId, payer: T::AccountId, amount: Balance, affordable_slots: u64 },
        /// The renter's limit for renewals changed; what the present term lacked was taken from it.
        RenewalSet { deal: DealId, limit: Balance },
        /// A further term has begun, paid from the limit.
        DealRenewed { deal: DealId, end_slot: Slot, amount: Balance, renewals: u32 },
        /// The provider has given notice: the deal ends with the slot named.
        DealReclaiming { deal: DealId, end_slot: Slot },
        /// A window has closed and kept the promise.
        WindowConfirmed { deal: DealId, window: u64, good_slots: u64 },
        /// Validators found the deal's round trip or throughput worse than promised in these slots.
        PromiseBroken { deal: DealId, first: Slot, last: Slot, breach: SlaBreach },
        /// Maintenance of a node is announced.
        MaintenanceAnnounced { listing: ListingId, node: T::AccountId, from_slot: Slot, to_slot: Slot },
        /// Announced maintenance will not take place.
        MaintenanceWithdrawn { listing: ListingId, node: T::AccountId, from_slot: Slot },
        /// A DOWN slot lay in announced maintenance; the deal has so many credits left.
        SlotExcused { deal: DealId, slot: Slot, left: u64 },
        /// The good slots of a contested deal are paid; the rest is held until the slot named.
        DealContested { deal: DealId, held: Balance, until_slot: Slot },
        /// A deal's record is disputed, by a party or by its own contradictions.
        DealDisputed { deal: DealId, opened_by: Option<T::AccountId>, deadline_slot: Slot },
        /// A validator said how a disputed deal is to be paid.
        RulingGiven { deal: DealId, validator: T::AccountId, ruling: Ruling },
        /// Two thirds of the validators agreed.
        DealRuled { deal: DealId, ruling: Ruling },
        /// A listing takes no deals while the trust of its node is suspended.
        ListingPaused { listing: ListingId },
        /// The node has recovered; its listing takes deals again.
        ListingResumed { listing: ListingId },
        /// A new deal can have so much of a listing now.
        FreeCapacityChanged { listing: ListingId, free: Capacity },
        /// A renter asks for bids; its deposit is held.
        DealRequested {
            deal: DealId,
            renter: T::AccountId,
            deposit: Balance,
            rate_max: Rate,
            manifest_hash: sp_core::H256,
            bids_until_slot: Slot,
        },
        /// A provider bids. A lower bid of the same listing replaces its earlier one.
        BidPlaced { deal: DealId, bid: u32, provider: T::AccountId, listing: ListingId, rate: Rate, notice_slots: Slot },
        /// A bid lost or its request is over: its deposit is back.
        BidReturned { deal: DealId, bid: u32, provider: T::AccountId, amount: Balance },
        /// The renter took a bid; its provider has to confirm.
        BidAccepted { deal: DealId, bid: u32, provider: T::AccountId },
        /// The provider of an accepted bid did not confirm: the renter has its deposit.
        BidForfeited { deal: DealId, provider: T::AccountId, renter: T::AccountId, amount: Balance },
        /// A request is over without a deal and its deposit is back.
        RequestClosed { deal: DealId, renter: T::AccountId, reason: CloseReason, deposit: Balance },
        /// The renter of a running deal changed its agents.
        ManifestChanged { deal: DealId, version: u32, before: sp_core::H256, now: sp_core::H256 },
        /// An account makes no deals with another one.
        AccountBlocked { who: T::AccountId, account: T::AccountId },
        /// An account makes deals with another one again.
        AccountUnblocked { who: T::AccountId, account: T::AccountId },
        /// The factor on list prices or the deposit for bids changed.
        PricesSet { old: PriceTerms, new: PriceTerms },
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
        /// An attribute's key or value has other characters than it may, or keys do not rise.
        InvalidAttributes,
        /// A promised term lies outside its bounds.
        InvalidSla,
        /// The steps of the congestion curve do not rise, or a factor lies outside its bounds.
        InvalidCongestion,
        /// A service check names no port or no path.
        InvalidManifest,
        /// The trust of the listing's node is suspended.
        ListingPaused,
        /// The price is above the most that the renter pays.
        PriceAboveMax,
        /// The deal is about another manifest than the one named.
        OtherManifest,
        /// Nothing would change.
        NothingChanged,
        /// One of the two has blocked the other.
        Blocked,
        /// The blocklist is full.
        TooManyBlocked,
        /// The deposit for the blocklist's entry is not covered.
        BlockDepositNotCovered,
        /// No such request, or it is a deal by now.
        UnknownRequest,
        /// The request has no such bid.
        UnknownBid,
        /// The time for bids is shorter or longer than it may be.
        InvalidBidWindow,
        /// The time for bids has passed.
        BiddingOver,
        /// The listing does not offer what the request asks for.
        NotWanted,
        /// The listing's own bid stands already and is not above this one.
        BidNotLower,
        /// The request has all the bids it can have, and none is above this one.
        TooManyBids,
        /// The deposit for the bid is not covered.
        BidDepositNotCovered,
        /// The value to be replaced is not the one named.
        ParametersMismatch,
        /// The amount does not pay for one more slot.
        TopUpTooSmall,
        /// The provider did not agree to renewals.
        RenewalNotAgreed,
        /// The provider did not reserve the right to end the deal early.
        NoticeNotAgreed,
        /// The provider has given notice already.
        NoticeGiven,
        /// The deal ends before the notice would run out.
        EndsBefore,
        /// The maintenance is announced too late or too early, is too long, or overlaps another.
        InvalidMaintenance,
        /// The node has as much announced maintenance as it may.
        TooMuchMaintenance,
        /// The origin is neither the renter nor the provider.
        NotParty,
        /// The deal's record is not contested, or the time for disputes is over.
        NotContested,
        /// The deal is not disputed, or the time for rulings is over.
        NotDisputed,
        /// The origin is no validator, or shares an owner with a party.
        NotJudge,
        /// The ruling counts more slots than are contested, or slashes without a record.
        InvalidRuling,
    }

    /// The parameters that the chain starts with.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Parameters of deals; the usual ones when none are given.
        pub terms: Option<DealTerms>,
        /// Ties the type to the runtime.
        #[serde(skip)]
        pub marker: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        #[allow(clippy::panic, reason = "a genesis that cannot be is refused before there is a chain")]
        fn build(&self) {
            if let Some(terms) = self.terms {
                assert!(terms.is_valid(), "genesis: the parameters of deals lie outside their bounds: {terms:?}");
                Parameters::<T>::put(terms);
            }
        }
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
        pub fn list(origin: OriginFor<T>, node: T::AccountId, offer: Offer) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_list(provider, node, offer)
        }

        /// Changes an offer. Running deals keep what they were made with.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::update_listing())]
        pub fn update_listing(origin: OriginFor<T>, listing: ListingId, offer: Offer) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_update(&provider, listing, offer)
        }

        /// Takes an offer back. Running deals go on; the listing closes with the last of them.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::retire())]
        pub fn retire(origin: OriginFor<T>, listing: ListingId) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_retire(&provider, listing)
        }

        /// Rents capacity at the listing's price, if that is at most `rate_max` for a good slot of the whole
        /// capacity asked for, and pays the deposit in. The provider confirms within
        /// [`x0_limits::CONFIRM_DEADLINE_SLOTS`], or the deposit comes back.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::rent())]
        #[allow(clippy::too_many_arguments, reason = "the call's shape is what wallets show before signing")]
        pub fn rent(
            origin: OriginFor<T>,
            listing: ListingId,
            version: u32,
            capacity: Capacity,
            term_slots: u64,
            deposit: Balance,
            rate_max: Rate,
            manifest: Manifest<T::AccountId>,
        ) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            let rental = Rental { listing, version, capacity, term_slots, deposit, rate_max, manifest };
            Self::do_rent(renter, rental)
        }

        /// Accepts a funded deal with the manifest that has this hash, and posts its bond.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::confirm())]
        pub fn confirm(origin: OriginFor<T>, deal: DealId, manifest_hash: sp_core::H256) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_confirm(&provider, deal, manifest_hash)
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

        /// Sets the parameters of deals that are confirmed from now on, if those that stand are the ones
        /// that the proposer read.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::set_parameters())]
        pub fn set_parameters(origin: OriginFor<T>, expected: DealTerms, new: DealTerms) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            let old = Parameters::<T>::get();
            ensure!(old == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::InvalidParameters);
            Parameters::<T>::put(new);
            Self::deposit_event(Event::ParametersSet { old, new });
            Ok(())
        }

        /// Asks for bids of at most `rate_max` for a good slot of the capacity. The deposit is held until a
        /// bid is accepted and its deal has ended, or until the time for bids is over.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::request())]
        #[allow(clippy::too_many_arguments, reason = "the call's shape is what wallets show before signing")]
        pub fn request(
            origin: OriginFor<T>,
            capacity: Capacity,
            term_slots: u64,
            rate_max: Rate,
            deposit: Balance,
            wanted: Wanted,
            bid_slots: Slot,
            manifest: Manifest<T::AccountId>,
        ) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            let asked = Asked { capacity, term_slots, rate_max, deposit, wanted, bid_slots, manifest };
            Self::do_request(renter, asked)
        }

        /// Bids for a request with a listing. The bid binds: a deposit is held and the capacity kept until it
        /// loses or its deal is confirmed. A further bid of the listing must be lower.
        #[pallet::call_index(9)]
        #[pallet::weight(<T as Config>::WeightInfo::bid())]
        pub fn bid(
            origin: OriginFor<T>,
            request: DealId,
            listing: ListingId,
            rate: Rate,
            notice_slots: Slot,
        ) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_bid(provider, request, listing, rate, notice_slots)
        }

        /// Takes a bid by its number. All others are returned, and the provider has
        /// [`x0_limits::CONFIRM_DEADLINE_SLOTS`] to confirm, or the renter gets its bid deposit.
        #[pallet::call_index(10)]
        #[pallet::weight(<T as Config>::WeightInfo::accept())]
        pub fn accept(origin: OriginFor<T>, request: DealId, bid: u32) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_accept(&renter, request, bid)
        }

        /// Takes a request back before a bid is accepted. Everything returns at once.
        #[pallet::call_index(11)]
        #[pallet::weight(<T as Config>::WeightInfo::withdraw_request())]
        pub fn withdraw_request(origin: OriginFor<T>, request: DealId) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_withdraw(&renter, request)
        }

        /// Refuses a funded deal: the renter's deposit returns at once, with the bid deposit if the deal
        /// came from a bid.
        #[pallet::call_index(12)]
        #[pallet::weight(<T as Config>::WeightInfo::cancel())]
        pub fn decline(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_decline(&provider, deal)
        }

        /// Changes the agents that the node admits for a running deal.
        #[pallet::call_index(13)]
        #[pallet::weight(<T as Config>::WeightInfo::set_agents())]
        pub fn set_agents(
            origin: OriginFor<T>,
            deal: DealId,
            agents: BoundedVec<T::AccountId, ConstU32<{ x0_limits::MANIFEST_AGENTS_MAX }>>,
        ) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_set_agents(&renter, deal, agents)
        }

        /// Pauses or opens a listing as the trust of its node says now. Anybody may ask; calls that make
        /// deals look at the node's trust by themselves.
        #[pallet::call_index(14)]
        #[pallet::weight(<T as Config>::WeightInfo::refresh_listing())]
        pub fn refresh_listing(origin: OriginFor<T>, listing: ListingId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_refresh(listing)
        }

        /// Makes no more deals with an account. A deposit is held for the entry.
        #[pallet::call_index(15)]
        #[pallet::weight(<T as Config>::WeightInfo::block())]
        pub fn block(origin: OriginFor<T>, account: T::AccountId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_block(who, account)
        }

        /// Makes deals with an account again.
        #[pallet::call_index(16)]
        #[pallet::weight(<T as Config>::WeightInfo::block())]
        pub fn unblock(origin: OriginFor<T>, account: T::AccountId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unblock(who, account)
        }

        /// Sets the factor on list prices and the deposit for bids. Deals and standing bids keep theirs.
        #[pallet::call_index(17)]
        #[pallet::weight(<T as Config>::WeightInfo::set_parameters())]
        pub fn set_price_terms(origin: OriginFor<T>, expected: PriceTerms, new: PriceTerms) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            let old = Prices::<T>::get();
            ensure!(old == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::InvalidParameters);
            Prices::<T>::put(new);
            Self::deposit_event(Event::PricesSet { old, new });
            Ok(())
        }

        /// Adds to the deposit of a running deal. Anybody may; what is not earned goes to the renter.
        #[pallet::call_index(20)]
        #[pallet::weight(<T as Config>::WeightInfo::top_up())]
        pub fn top_up(origin: OriginFor<T>, deal: DealId, amount: Balance) -> DispatchResult {
            let payer = ensure_signed(origin)?;
            Self::do_top_up(&payer, deal, amount)
        }

        /// Sets what may be spent on renewing a running deal, and holds it; 0 ends renewals.
        #[pallet::call_index(21)]
        #[pallet::weight(<T as Config>::WeightInfo::set_renewal())]
        pub fn set_renewal(origin: OriginFor<T>, deal: DealId, limit: Balance) -> DispatchResult {
            let renter = ensure_signed(origin)?;
            Self::do_set_renewal(&renter, deal, limit)
        }

        /// Gives notice: the deal ends when the agreed notice has run out, and the bond comes back.
        #[pallet::call_index(22)]
        #[pallet::weight(<T as Config>::WeightInfo::reclaim())]
        pub fn reclaim(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_reclaim(&provider, deal)
        }

        /// Announces maintenance of a listed node: its DOWN slots are excused up to each deal's share.
        #[pallet::call_index(23)]
        #[pallet::weight(<T as Config>::WeightInfo::announce_maintenance())]
        pub fn announce_maintenance(
            origin: OriginFor<T>,
            listing: ListingId,
            from_slot: Slot,
            slots: Slot,
        ) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_announce(&provider, listing, from_slot, slots)
        }

        /// Takes an announcement back before it begins.
        #[pallet::call_index(24)]
        #[pallet::weight(<T as Config>::WeightInfo::announce_maintenance())]
        pub fn withdraw_maintenance(origin: OriginFor<T>, listing: ListingId, from_slot: Slot) -> DispatchResult {
            let provider = ensure_signed(origin)?;
            Self::do_withdraw_maintenance(&provider, listing, from_slot)
        }

        /// Disputes the record of a contested deal, with a stake.
        #[pallet::call_index(25)]
        #[pallet::weight(<T as Config>::WeightInfo::dispute())]
        pub fn dispute(origin: OriginFor<T>, deal: DealId) -> DispatchResult {
            let party = ensure_signed(origin)?;
            Self::do_dispute(&party, deal)
        }

        /// Says as a validator how a disputed deal is to be paid.
        #[pallet::call_index(26)]
        #[pallet::weight(<T as Config>::WeightInfo::rule())]
        pub fn rule(origin: OriginFor<T>, deal: DealId, ruling: Ruling) -> DispatchResult {
            let validator = ensure_signed(origin)?;
            Self::do_rule(&validator, deal, ruling)
        }
    }
}
