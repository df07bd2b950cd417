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
//! * A bid binds: its deposit is held and its capacity kept until it loses or its deal is confirmed, so a
//!   bidder can keep its word and pays the renter if it does not. What confirmed deals and bids take never
//!   exceeds a listing's capacity. Losers are free in the transition that takes the winner.
//! * A price is the list price times the share of the capacity, the network's factor and the listing's step
//!   at the occupancy before the deal; both factors are fixed when the renter agrees, who names the most it
//!   pays. [`Pallet::quote`] is the very value.
//! * Renter and provider name the same manifest by its hash. The renter may change its agents in mid-deal,
//!   nothing else, and both hashes of each change are on record.
//! * Nobody makes deals with itself: neither with its nodes, its controller, nor an account of its owner.
//!   Only a live node under the provider's control is rented, and none whose trust is suspended: calls that
//!   make deals look at the trust themselves, whatever the listing's state says.
//! * An index needs no more than the events: a listing's record changes with its own events, and what is
//!   free of it with [`Event::FreeCapacityChanged`].
//!
//! # Limits
//! One listing for each node; [`x0_limits::LISTINGS_PER_PROVIDER_MAX`] listings for each provider and
//! [`x0_limits::DEALS_PER_NODE_MAX`] confirmed deals and standing bids on each node; at most
//! [`x0_limits::BIDS_PER_REQUEST_MAX`] bids for a request, of which a lower one displaces the highest. A deal
//! at the list price reserves nothing until it is confirmed: the provider chooses which it confirms. Records of the last [`Config::ClosedDealsKept`]
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

use frame_support::pallet_macros::import_section;

pub use pallet::*;

mod acceptance;
mod auction;
mod dispute;
mod errors;
mod events;
mod hooks;
mod invariants;
mod invariants_bids;
mod invariants_deal;
mod leaf;
mod life;
mod listings;
mod maintenance;
#[cfg(test)]
mod mock;
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

#[import_section(events::events)]
#[import_section(errors::errors)]
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
            BidDeposit, Capacity, CloseReason, DealLeaf, DealState, DealTerms, Listing, Manifest, ManifestChange,
            Offer, Outcome, PriceTerms, Rate, Reputation, Request, Wanted,
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
