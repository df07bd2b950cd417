//! How two parties come to a deal: a renter rents or accepts a bid, the provider confirms the manifest
//! that it read.

use frame_support::ensure;
use sp_runtime::{BoundedVec, DispatchResult};
use x0_types::{
    Balance,
    deal::{
        Capacity, CloseReason, DealState, Listing, ListingRef, ListingState, Manifest, ManifestChange, Rate, SlaTerms,
    },
    governance::OwnerRegistry as _,
    market::{DealId, DealQueue as _, Identities as _, ListingId, Meter as _},
};

use crate::{
    Blocklists, Config, Deal, Deals, DealsOfNode, Error, Event, FundedOf, Listings, ManifestChanges, Manifests,
    NextDeal, Pallet,
};

type Escrow<T> = pallet_x0_escrow::Pallet<T>;
type Agents<T> =
    BoundedVec<<T as frame_system::Config>::AccountId, sp_core::ConstU32<{ x0_limits::MANIFEST_AGENTS_MAX }>>;

/// What a renter and a listing have agreed on; the provider has not confirmed it yet.
pub(crate) struct Agreed<AccountId> {
    pub source: ListingRef,
    pub renter: AccountId,
    pub provider: AccountId,
    pub node: AccountId,
    pub capacity: Capacity,
    pub rate: Rate,
    pub term_slots: u64,
    pub deposit: Balance,
    pub bond: Balance,
    pub sla: SlaTerms,
    pub manifest_hash: sp_core::H256,
}

/// What a renter asks of a listing at its own price.
pub(crate) struct Rental<AccountId> {
    pub listing: ListingId,
    pub version: u32,
    pub capacity: Capacity,
    pub term_slots: u64,
    pub deposit: Balance,
    pub rate_max: Rate,
    pub manifest: Manifest<AccountId>,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_rent(renter: T::AccountId, rental: Rental<T::AccountId>) -> DispatchResult {
        let Rental { listing: id, version, capacity, term_slots, deposit, rate_max, manifest } = rental;
        let mut listing = Listings::<T>::get(id).ok_or(Error::<T>::UnknownListing)?;
        Self::ensure_takes_deals(id, &mut listing)?;
        ensure!(listing.version == version, Error::<T>::VersionChanged);
        ensure!(manifest.is_valid(), Error::<T>::InvalidManifest);
        Self::ensure_parties(&renter, &listing)?;
        Self::ensure_live(&listing.node, &listing.provider)?;
        Self::ensure_free(&listing, &capacity)?;
        let offer = &listing.offer;
        ensure!((offer.term_min_slots..=offer.term_max_slots).contains(&term_slots), Error::<T>::TermOutsideListing);
        let quote = Self::quote_of(&listing, &capacity)?;
        ensure!(x0_accounting::price::is_at_most(&quote.rate, &rate_max), Error::<T>::PriceAboveMax);
        ensure!(deposit >= quote.deposit_min, Error::<T>::DepositTooSmall);

        let deal = Self::next_deal()?;
        Escrow::<T>::open(deal, &renter, &listing.provider, deposit, quote.rate)?;
        let agreed = Agreed {
            source: ListingRef { listing: id, version },
            renter,
            provider: listing.provider.clone(),
            node: listing.node.clone(),
            capacity,
            rate: quote.rate,
            term_slots,
            deposit,
            bond: quote.bond,
            sla: offer.sla,
            manifest_hash: manifest.hash(),
        };
        Manifests::<T>::insert(deal, manifest);
        Self::fund(deal, agreed, listing)
    }

    /// Stores a deal whose deposit is held, and waits for the provider.
    pub(crate) fn fund(
        deal: DealId,
        agreed: Agreed<T::AccountId>,
        mut listing: Listing<T::AccountId>,
    ) -> DispatchResult {
        let id = agreed.source.listing;
        let funded_slot = T::Meter::current_slot();
        let confirm_by_slot = funded_slot.saturating_add(x0_limits::CONFIRM_DEADLINE_SLOTS);
        FundedOf::<T>::insert(id, deal, ());
        T::Queue::wake_at_slot(deal, confirm_by_slot.saturating_add(1));
        listing.funded_deals = listing.funded_deals.checked_add(1).ok_or(Error::<T>::Overflow)?;
        Listings::<T>::insert(id, listing);
        Self::deposit_event(Event::DealFunded {
            deal,
            listing: id,
            renter: agreed.renter.clone(),
            provider: agreed.provider.clone(),
            node: agreed.node.clone(),
            deposit: agreed.deposit,
            manifest_hash: agreed.manifest_hash,
            confirm_by_slot,
        });
        Deals::<T>::insert(
            deal,
            Deal {
                source: agreed.source,
                renter: agreed.renter,
                provider: agreed.provider,
                node: agreed.node,
                capacity: agreed.capacity,
                rate: agreed.rate,
                term_slots: agreed.term_slots,
                deposit: agreed.deposit,
                bond: agreed.bond,
                manifest_hash: agreed.manifest_hash,
                sla: agreed.sla,
                funded_slot,
                confirm_by_slot,
                state: DealState::Funded,
                run: None,
                frozen: None,
                outcome: None,
            },
        );
        Ok(())
    }

    pub(crate) fn do_confirm(provider: &T::AccountId, id: DealId, manifest_hash: sp_core::H256) -> DispatchResult {
        let mut deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.provider == *provider, Error::<T>::NotProvider);
        ensure!(deal.state == DealState::Funded, Error::<T>::NotFunded);
        ensure!(deal.manifest_hash == manifest_hash, Error::<T>::OtherManifest);
        let current = T::Meter::current_slot();
        ensure!(current <= deal.confirm_by_slot, Error::<T>::ConfirmTooLate);
        let mut listing = Listings::<T>::get(deal.source.listing).ok_or(Error::<T>::UnknownListing)?;
        Self::ensure_takes_deals(deal.source.listing, &mut listing)?;
        Self::ensure_live(&deal.node, provider)?;
        // The bid's deposit and the capacity kept for it come free first: they back this very deal.
        Self::redeem_bid(id, &deal, &mut listing)?;
        Self::ensure_free(&listing, &deal.capacity)?;

        Self::begin(id, &mut deal, current)?;
        DealsOfNode::<T>::try_mutate(&deal.node, |deals| deals.try_push(id)).map_err(|_| Error::<T>::TooManyDeals)?;
        FundedOf::<T>::remove(deal.source.listing, id);
        listing.funded_deals = listing.funded_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
        Self::reserve(deal.source.listing, &mut listing, &deal.capacity)?;
        Listings::<T>::insert(deal.source.listing, listing);
        Self::count_start(&deal);
        let (bond, end_slot) = (deal.posted_bond(), deal.run.as_ref().map_or(current, |run| run.end_slot));
        Deals::<T>::insert(id, deal);
        Self::deposit_event(Event::DealConfirmed { deal: id, confirmed_slot: current, end_slot, bond });
        Ok(())
    }

    /// The provider says no before the deadline: the renter does not have to wait for it.
    pub(crate) fn do_decline(provider: &T::AccountId, id: DealId) -> DispatchResult {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.provider == *provider, Error::<T>::NotProvider);
        ensure!(deal.state == DealState::Funded, Error::<T>::NotFunded);
        Self::end_now(id, deal, CloseReason::NotConfirmed)
    }

    /// Replaces the agents of a running deal's manifest. Mesh and checks stay what the provider accepted.
    pub(crate) fn do_set_agents(renter: &T::AccountId, id: DealId, agents: Agents<T>) -> DispatchResult {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.renter == *renter, Error::<T>::NotRenter);
        ensure!(deal.state.is_running(), Error::<T>::NotRunning);
        let mut manifest = Manifests::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(manifest.agents != agents, Error::<T>::NothingChanged);
        let before = manifest.hash();
        manifest.agents = agents;
        let now = manifest.hash();
        let version = ManifestChanges::<T>::get(id).map_or(0, |change| change.version);
        let version = version.checked_add(1).ok_or(Error::<T>::Overflow)?;
        let slot = T::Meter::current_slot();
        ManifestChanges::<T>::insert(id, ManifestChange { version, before, now, slot });
        Manifests::<T>::insert(id, manifest);
        Self::deposit_event(Event::ManifestChanged { deal: id, version, before, now });
        Ok(())
    }

    /// Takes the number of the next deal.
    pub(crate) fn next_deal() -> Result<DealId, Error<T>> {
        let deal = NextDeal::<T>::get();
        NextDeal::<T>::put(deal.checked_add(1).ok_or(Error::<T>::Overflow)?);
        Ok(deal)
    }

    /// Renter and provider are two parties, and neither has blocked the other.
    ///
    /// A renter is neither the provider nor its node, nor controlled by it or in control of it, and no
    /// registered owner stands behind both.
    pub(crate) fn ensure_parties(renter: &T::AccountId, listing: &Listing<T::AccountId>) -> DispatchResult {
        let provider = &listing.provider;
        let controller = T::Identities::controller(renter);
        ensure!(
            renter != provider
                && renter != &listing.node
                && controller.as_ref() != Some(provider)
                && T::Identities::controller(provider).as_ref() != Some(renter)
                && !T::Owners::same_owner(renter, provider)
                && !controller.is_some_and(|controller| T::Owners::same_owner(&controller, provider)),
            Error::<T>::SelfDealing
        );
        let blocks = |who: &T::AccountId, other: &T::AccountId| {
            Blocklists::<T>::get(who).iter().any(|entry| entry.account == *other)
        };
        ensure!(!blocks(renter, provider) && !blocks(provider, renter), Error::<T>::Blocked);
        Ok(())
    }

    /// The listing can serve this capacity and one more deal now, beside what it has pledged to bids.
    pub(crate) fn ensure_free(listing: &Listing<T::AccountId>, capacity: &Capacity) -> DispatchResult {
        ensure!(capacity.is_positive(), Error::<T>::InvalidCapacity);
        ensure!(capacity.fits(&listing.free()), Error::<T>::CapacityNotFree);
        ensure!(
            listing.confirmed_deals.saturating_add(listing.pledged_deals) < x0_limits::DEALS_PER_NODE_MAX,
            Error::<T>::TooManyDeals
        );
        Ok(())
    }

    /// The listing is open and its node's trust is not suspended. A listing that was paused opens here
    /// when its node has recovered.
    pub(crate) fn ensure_takes_deals(id: ListingId, listing: &mut Listing<T::AccountId>) -> DispatchResult {
        Self::follow_trust(id, listing);
        match listing.state {
            ListingState::Open => Ok(()),
            ListingState::Paused => Err(Error::<T>::ListingPaused.into()),
            ListingState::Draining => Err(Error::<T>::ListingRetired.into()),
        }
    }

    /// Counts a deal that was confirmed for both parties.
    fn count_start(deal: &Deal<T::AccountId>) {
        Self::count(deal, |reputation| reputation.confirmed = reputation.confirmed.saturating_add(1));
    }
}
