//! What is true of the market after every block (I9 to I16 of the market's specification). The rules
//! about money (I1 to I5, I8, I17) are checked against the escrow.

use std::collections::{BTreeMap, BTreeSet};

use frame_support::traits::fungible::InspectHold as _;
use pallet_x0_escrow::Ledgers;
use x0_types::{
    Balance,
    deal::{Capacity, CloseReason, DealState, Listing, ListingState, queue_key},
    market::{DealId, DealQueue as _, ListingId, Meter as _},
};

use crate::{
    ClosedDeals, ClosedRange, Config, Deal, Deals, DealsOfNode, Ends, FundedOf, HoldReason, ListingCount, ListingOf,
    Listings, ManifestChanges, Manifests, Pallet, Starts, Suspicions,
};

/// What the deals of one listing add up to.
#[derive(Default)]
struct Sums {
    reserved: Capacity,
    funded: u32,
    confirmed: u32,
}

/// Fails with a text unless a rule holds.
macro_rules! check {
    ($rule:expr, $($text:tt)*) => {
        if !$rule {
            return Err(format!($($text)*));
        }
    };
}

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// Checks deals, listings, queues, ledgers and the janitor against one another.
    ///
    /// # Errors
    /// The first rule that does not hold, with its numbers.
    pub fn check_invariants() -> Result<(), String> {
        let mut sums: BTreeMap<ListingId, Sums> = BTreeMap::new();
        let mut live = BTreeSet::new();
        let (mut starts, mut ends, mut closed) = (0, 0, 0u64);
        for (id, deal) in Deals::<T>::iter() {
            // A manifest that was changed in mid-deal is checked against the change.
            check!(
                ManifestChanges::<T>::contains_key(id)
                    || Manifests::<T>::get(id).is_some_and(|m| m.hash() == deal.manifest_hash),
                "deal {id}: manifest"
            );
            if deal.state.is_terminal() {
                closed += 1;
                Self::check_terminal(id, &deal)?;
                continue;
            }
            live.insert(id);
            Self::check_live(id, &deal)?;
            if deal.state.is_running() {
                ends += 1;
                starts += usize::from(deal.run.as_ref().is_some_and(|run| run.start.is_none()));
            }
            let sum = sums.entry(deal.source.listing).or_default();
            if deal.run.is_some() {
                sum.confirmed += 1;
                sum.reserved = sum.reserved.checked_add(&deal.capacity).ok_or("I15: reserved overflows")?;
            } else {
                sum.funded += 1;
            }
        }
        check!(Starts::<T>::iter_keys().count() == starts, "start queue: {starts} deals wait to start");
        check!(Ends::<T>::iter_keys().count() == ends, "end queue: {ends} deals run");
        let ledgers: BTreeSet<DealId> = Ledgers::<T>::iter_keys().collect();
        live.extend(Self::check_offers()?);
        check!(ledgers == live, "I3: ledgers {ledgers:?}, live deals {live:?}");
        let (first, next) = ClosedRange::<T>::get();
        let remembered = u64::try_from(ClosedDeals::<T>::iter().count()).unwrap_or(u64::MAX);
        check!(
            next.checked_sub(first) == Some(closed) && remembered == closed,
            "closed deals: {closed} stored, {remembered} remembered, {first}..{next}"
        );
        Self::check_listings(&sums)?;
        Self::check_nodes()
    }

    /// I4, I8, I16, I17: an ended deal has disposed of all its money and waits for nothing.
    fn check_terminal(id: DealId, deal: &Deal<T::AccountId>) -> Result<(), String> {
        let (Some(outcome), Some(frozen)) = (&deal.outcome, &deal.frozen) else {
            return Err(format!("I16: deal {id} ended without outcome or reason"));
        };
        check!(frozen.reason.terminal_state() == deal.state, "deal {id} is {:?} for {:?}", deal.state, frozen.reason);
        check!(!T::Queue::is_queued(id), "I9: ended deal {id} is queued");
        let bond = if deal.run.is_some() { deal.bond } else { 0 };
        let paid: Option<Balance> =
            [outcome.to_provider, outcome.fee, outcome.refund, outcome.slash, outcome.bond_back]
                .into_iter()
                .try_fold(0u128, u128::checked_add);
        check!(paid == deal.deposit.checked_add(bond), "I8: deal {id} paid {paid:?} of {} + {bond}", deal.deposit);
        check!(outcome.gross == deal.rate.accrued(deal.deposit, frozen.good_slots), "I4: deal {id}: {outcome:?}");
        check!(outcome.slash <= bond && outcome.compensation <= outcome.slash, "I17: deal {id}: {outcome:?}");
        check!(outcome.slash == 0 || deal.state == DealState::Failed, "I17: deal {id} slashed without failing");
        Self::check_evidence(id, deal)
    }

    /// I12: a deal fails only on a proven run of DOWN verdicts inside it.
    fn check_evidence(id: DealId, deal: &Deal<T::AccountId>) -> Result<(), String> {
        let Some(frozen) = &deal.frozen else { return Ok(()) };
        let failed = frozen.reason == CloseReason::NodeDown;
        check!(failed == frozen.evidence.is_some(), "I12: deal {id}: {frozen:?}");
        check!(failed == frozen.ladder_step.is_some(), "I12: deal {id}: {frozen:?}");
        if let (Some(evidence), Some(run)) = (&frozen.evidence, &deal.run) {
            check!(evidence.is_proven(run.terms.fail_run_slots), "I12: deal {id}: {evidence:?}");
            check!(evidence.since_slot > run.confirmed_slot, "I12: deal {id}: the run began before the deal");
            check!(frozen.slot <= run.end_slot, "I12: deal {id} failed after its end");
        }
        Ok(())
    }

    /// I2, I9, I10, I11, I14: a live deal's money is held, and it waits exactly where its state says.
    fn check_live(id: DealId, deal: &Deal<T::AccountId>) -> Result<(), String> {
        check!(T::Queue::is_queued(id), "I9: live deal {id} is not queued");
        check!(deal.outcome.is_none(), "deal {id} has an outcome but is {:?}", deal.state);
        let ledger = Ledgers::<T>::get(id).ok_or_else(|| format!("I2: live deal {id} has no ledger"))?;
        let bond = if deal.run.is_some() { deal.bond } else { 0 };
        check!(
            (&ledger.renter, &ledger.provider, ledger.deposit, ledger.bond, ledger.rate)
                == (&deal.renter, &deal.provider, deal.deposit, bond, deal.rate),
            "I2: deal {id} and its ledger differ: {deal:?} {ledger:?}"
        );
        check!(FundedOf::<T>::contains_key(deal.source.listing, id) == deal.run.is_none(), "deal {id}: funded index");
        check!(DealsOfNode::<T>::get(&deal.node).contains(&id) == deal.run.is_some(), "deal {id}: node index");
        check!((deal.state == DealState::Suspect) == Suspicions::<T>::contains_key(id), "deal {id}: suspicion");
        check!((deal.state == DealState::Frozen) == deal.frozen.is_some(), "deal {id}: frozen");
        check!((deal.state == DealState::Funded) == (deal.run.is_none() && deal.frozen.is_none()), "deal {id}: run");
        let Some(run) = &deal.run else { return Ok(()) };
        check!(run.terms.is_valid() && ledger.fee_ppm == run.terms.fee_ppm, "I14: deal {id}: {run:?} {ledger:?}");
        check!(run.end_slot == run.confirmed_slot + deal.term_slots, "deal {id}: {run:?}");
        check!(Ends::<T>::contains_key(queue_key(run.end_slot, id)) == deal.state.is_running(), "deal {id}: end queue");
        check!(
            Starts::<T>::contains_key(queue_key(run.confirmed_slot, id))
                == (deal.state.is_running() && run.start.is_none()),
            "deal {id}: start queue"
        );
        if let (Some(start), true) = (&run.start, deal.state.is_running()) {
            check!(start.closed == run.confirmed_slot, "deal {id} started at {start:?}, confirmed {run:?}");
            let now = T::Meter::counters(&deal.node).ok_or_else(|| format!("deal {id}: node not measured"))?;
            let exceptions = (now.void.checked_sub(start.void))
                .zip(now.bad.checked_sub(start.bad))
                .zip(now.unknown.checked_sub(start.unknown))
                .map(|((void, bad), unknown)| void + bad + unknown);
            let sum = exceptions.map(|exceptions| exceptions + now.good_since(start));
            check!(sum == now.closed.checked_sub(start.closed), "I11: deal {id}: {start:?} to {now:?}");
        }
        Self::check_evidence(id, deal)
    }

    /// I15: listings count and reserve what their deals say.
    fn check_listings(sums: &BTreeMap<ListingId, Sums>) -> Result<(), String> {
        let mut of_provider: BTreeMap<T::AccountId, (u32, Balance)> = BTreeMap::new();
        let mut listings = 0;
        for (id, listing) in Listings::<T>::iter() {
            listings += 1;
            let none = Sums::default();
            let sum = sums.get(&id).unwrap_or(&none);
            Self::check_listing(id, &listing, sum)?;
            let count = of_provider.entry(listing.provider).or_default();
            count.0 += 1;
            count.1 += listing.storage_deposit;
        }
        check!(sums.keys().all(Listings::<T>::contains_key), "a deal's listing is gone");
        check!(ListingOf::<T>::iter().count() == listings, "node index: {listings} listings");
        check!(
            ListingCount::<T>::iter().count() == of_provider.len(),
            "listing counts: {} providers",
            of_provider.len()
        );
        for (provider, (count, deposits)) in of_provider {
            check!(ListingCount::<T>::get(&provider) == count, "{provider:?} has {count} listings");
            let held =
                <T as pallet_x0_escrow::Config>::Currency::balance_on_hold(&HoldReason::Listing.into(), &provider);
            check!(held == deposits, "I3: {provider:?} holds {held} for listings, {deposits} expected");
        }
        Ok(())
    }

    fn check_listing(id: ListingId, listing: &Listing<T::AccountId>, sum: &Sums) -> Result<(), String> {
        check!(ListingOf::<T>::get(&listing.node) == Some(id), "listing {id}: node index");
        check!(
            listing.reserved == sum.reserved && sum.reserved.fits(&listing.offer.capacity),
            "I15: listing {id} reserves {:?}, deals {:?} of {:?}",
            listing.reserved,
            sum.reserved,
            listing.offer.capacity
        );
        check!(
            (listing.funded_deals, listing.confirmed_deals) == (sum.funded, sum.confirmed),
            "I15: listing {id} counts {} and {}, deals {} and {}",
            listing.funded_deals,
            listing.confirmed_deals,
            sum.funded,
            sum.confirmed
        );
        check!(
            listing.state != ListingState::Draining || sum.funded + sum.confirmed + listing.pledged_deals > 0,
            "listing {id} is drained and still stored"
        );
        check!(T::Meter::counters(&listing.node).is_some(), "listing {id}: node not measured");
        Ok(())
    }

    /// No node names a deal that is over.
    fn check_nodes() -> Result<(), String> {
        for (node, deals) in DealsOfNode::<T>::iter() {
            check!(!deals.is_empty(), "{node:?} keeps an empty list of deals");
            for id in deals {
                let live = Deals::<T>::get(id).is_some_and(|deal| deal.node == node && !deal.state.is_terminal());
                check!(live, "{node:?} names deal {id}, which is not live on it");
            }
        }
        for id in Suspicions::<T>::iter_keys() {
            check!(Deals::<T>::get(id).is_some_and(|deal| deal.state == DealState::Suspect), "suspicion of deal {id}");
        }
        Ok(())
    }
}
