//! Why calls of the market fail: one variant for each broken rule.

use frame_support::pallet_macros::pallet_section;

/// The errors of the pallet.
#[pallet_section]
mod errors {
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
}
