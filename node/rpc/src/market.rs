//! `market_*`: listings, deals, meters, solvency.

use crate::{
    did::endpoint,
    error::{RpcResult, error, invalid_params},
    module::{Module, Registered, asynchronous, blocking},
    node::Node,
    params::Args,
    per_block::PerBlock,
};
use pallet_x0_janitor::Place;
use pallet_x0_marketplace::{self as pallet, Deal, MeterReading};
use std::sync::Arc;
use x0_rpc_types::{
    Amount, Number, error as code,
    market::{
        self as shape, DEAL_STATES, DealFilter, DealMeter, ListingFilter, PAGE_MAX, RECENT_SLOTS_MAX, SlotVerdict,
        Solvency,
    },
};
use x0_runtime::Runtime;
use x0_types::{
    AccountId, Hash,
    deal::{Capacity, Listing, ListingState, Manifest, Outcome, Rate},
    market::{DealId, ListingId},
};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "market_listings", listings)?;
    blocking(module, "market_listing", listing)?;
    asynchronous(module, "market_deals", |node, args| Box::pin(deals(node, args)))?;
    blocking(module, "market_deal", deal)?;
    blocking(module, "market_dealMeter", deal_meter)?;
    asynchronous(module, "market_solvency", |node, args| Box::pin(solvency(node, args)))
}

/// What takes a walk over the whole market, kept by block.
#[derive(Default)]
pub(crate) struct Walks {
    /// All deals in the order of their numbers.
    deals: PerBlock<Vec<(DealId, Deal<AccountId>)>>,
    solvency: PerBlock<Solvency>,
}

/// The page's size: what was asked for, at most [`PAGE_MAX`].
fn page(limit: Option<u32>) -> usize {
    limit.unwrap_or(PAGE_MAX).min(PAGE_MAX) as usize
}

/// Keeps the matching entries after a number, in the order of numbers, one page of them.
fn select<T>(
    all: impl Iterator<Item = (u64, T)>,
    after: Option<Number>,
    limit: Option<u32>,
    keep: impl Fn(&T) -> bool,
) -> Vec<(u64, T)> {
    let wanted = |id: u64| after.is_none_or(|Number(after)| id > after);
    let mut found: Vec<(u64, T)> = all.filter(|(id, entry)| wanted(*id) && keep(entry)).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    found.truncate(page(limit));
    found
}

/// Whether an optional wish is met.
fn meets<T: PartialEq>(wish: Option<&T>, value: &T) -> bool {
    wish.is_none_or(|wish| wish == value)
}

fn listings(node: &Node, mut args: Args) -> RpcResult<Vec<shape::Listing>> {
    let filter: ListingFilter = args.optional_text("filter")?.unwrap_or_default();
    let at = args.block()?;
    args.end()?;
    node.read(at, move |_| {
        let keep = |listing: &Listing<AccountId>| {
            meets(filter.provider.as_ref(), &listing.provider)
                && meets(filter.node.as_ref(), &listing.node)
                && filter.region.as_ref().is_none_or(|region| region.as_bytes() == listing.offer.region.as_slice())
                && (filter.include_retired || listing.state == ListingState::Open)
        };
        let found = select(pallet::Listings::<Runtime>::iter(), filter.after, filter.limit, keep);
        found.into_iter().map(|(id, listing)| listing_shape(id, listing)).collect()
    })
}

fn listing(node: &Node, mut args: Args) -> RpcResult<shape::Listing> {
    let Number(id) = args.required("listing")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| pallet::Listings::<Runtime>::get(id).map(|listing| listing_shape(id, listing)))?
        .ok_or_else(|| error(code::NOT_FOUND, format!("No listing {id} (closed listings are not kept)")))
}

async fn deals(node: Arc<Node>, mut args: Args) -> RpcResult<Vec<shape::Deal>> {
    let filter: DealFilter = args.optional_text("filter")?.unwrap_or_default();
    let at = args.block()?;
    args.end()?;
    if let Some(unknown) = filter.state.as_deref().filter(|state| !DEAL_STATES.contains(state)) {
        return Err(invalid_params(format!("'state': no state '{unknown:.40}', only {}", DEAL_STATES.join(", "))));
    }
    let block = at_or_head(&node, at).await?;
    let all = all_deals(&node, block).await?;
    node.run(move |node| {
        let keep = |deal: &Deal<AccountId>| {
            meets(filter.renter.as_ref(), &deal.renter)
                && meets(filter.provider.as_ref(), &deal.provider)
                && meets(filter.node.as_ref(), &deal.node)
                && filter.state.as_ref().is_none_or(|state| *state == format!("{:?}", deal.state))
                && !(filter.live && deal.state.is_terminal())
        };
        let found = all
            .iter()
            .filter(|(id, deal)| filter.after.is_none_or(|Number(after)| *id > after) && keep(deal))
            .take(page(filter.limit));
        node.read(Some(block), |_| found.map(|(id, deal)| deal_shape(*id, deal.clone())).collect())
    })
    .await
}

/// Whether a deal is this account's, as renter, provider or node.
pub(crate) fn takes_part(deal: &Deal<AccountId>, account: &AccountId) -> bool {
    [&deal.renter, &deal.provider, &deal.node].contains(&account)
}

/// Numbers of the deals of a party that are not over at the head, the latest ones, at most so many.
pub(crate) async fn live_deals_of(node: &Arc<Node>, account: &AccountId, limit: usize) -> RpcResult<Vec<DealId>> {
    let all = all_deals(node, node.head().hash).await?;
    let live = all.iter().rev().filter(|(_, deal)| !deal.state.is_terminal() && takes_part(deal, account));
    Ok(live.take(limit).map(|(id, _)| *id).collect())
}

/// All deals of a block in the order of their numbers, read once for each block.
async fn all_deals(node: &Arc<Node>, block: Hash) -> RpcResult<Arc<Vec<(DealId, Deal<AccountId>)>>> {
    let read = move |node: &Node| {
        node.read(Some(block), |_| {
            let mut all: Vec<_> = pallet::Deals::<Runtime>::iter().collect();
            all.sort_unstable_by_key(|(id, _)| *id);
            all
        })
    };
    node.market.deals.get(node, block, read).await
}

/// The block that `at` names, or the head.
async fn at_or_head(node: &Arc<Node>, at: Option<Hash>) -> RpcResult<Hash> {
    match at {
        None => Ok(node.head().hash),
        Some(_) => node.run(move |node| node.block(at)).await.map(|(hash, _)| hash),
    }
}

fn deal(node: &Node, mut args: Args) -> RpcResult<shape::Deal> {
    let Number(id) = args.required("deal")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| pallet::Deals::<Runtime>::get(id).map(|deal| deal_shape(id, deal)))?.ok_or_else(|| no_deal(id))
}

fn no_deal(id: DealId) -> jsonrpsee::types::ErrorObjectOwned {
    error(code::NOT_FOUND, format!("No deal {id} (the oldest ended deals are not kept)"))
}

fn deal_meter(node: &Node, mut args: Args) -> RpcResult<DealMeter> {
    let Number(id) = args.required("deal")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |block| {
        let reading = pallet::Pallet::<Runtime>::meter(id)?;
        let deal = pallet::Deals::<Runtime>::get(id)?;
        Some(meter_shape(id, block, &deal, reading))
    })?
    .ok_or_else(|| no_deal(id))
}

async fn solvency(node: Arc<Node>, mut args: Args) -> RpcResult<Solvency> {
    let at = args.block()?;
    args.end()?;
    let block = at_or_head(&node, at).await?;
    let compute = move |node: &Node| {
        let (_, number) = node.block(Some(block))?;
        node.read(Some(block), |block| read_solvency(block, number))
    };
    node.market.solvency.get(&node, block, compute).await.map(|solvency| (*solvency).clone())
}

pub(crate) fn rate(rate: Rate) -> shape::Rate {
    shape::Rate { num: Amount(rate.num), den: Amount(rate.den) }
}

pub(crate) const fn capacity(capacity: Capacity) -> shape::Capacity {
    shape::Capacity { bandwidth_kbps: capacity.bandwidth_kbps, sessions: capacity.sessions }
}

/// Call it on the state of a block.
pub(crate) fn listing_shape(id: ListingId, listing: Listing<AccountId>) -> shape::Listing {
    let free = listing.free();
    let offer = listing.offer;
    shape::Listing {
        id: Number(id),
        endpoint: endpoint(&listing.node),
        provider: listing.provider,
        node: listing.node,
        version: listing.version,
        state: match listing.state {
            ListingState::Open => shape::ListingState::Open,
            ListingState::Draining => shape::ListingState::Draining,
            ListingState::Paused => shape::ListingState::Paused,
        },
        price: rate(offer.price),
        capacity: capacity(offer.capacity),
        free: capacity(free),
        region: String::from_utf8_lossy(&offer.region).into_owned(),
        term_min_slots: Number(offer.term_min_slots),
        term_max_slots: Number(offer.term_max_slots),
        bond: Amount(offer.bond),
    }
}

fn deal_shape(id: DealId, deal: Deal<AccountId>) -> shape::Deal {
    let manifest = pallet::Manifests::<Runtime>::get(id)
        .map(|Manifest { mesh, agents, checks: _ }| shape::Manifest { mesh, agents: agents.into_inner() });
    // Before the confirmation nobody knows the trust that the bond will be weighted with.
    let bond = if deal.run.is_some() { deal.posted_bond() } else { deal.bond };
    shape::Deal {
        id: Number(id),
        listing: Number(deal.source.listing),
        version: deal.source.version,
        renter: deal.renter,
        provider: deal.provider,
        node: deal.node,
        state: format!("{:?}", deal.state),
        reason: deal.frozen.as_ref().map(|frozen| frozen.reason.name().to_owned()),
        terminal: deal.state.is_terminal(),
        rate: rate(deal.rate),
        capacity: capacity(deal.capacity),
        term_slots: Number(deal.term_slots),
        deposit: Amount(deal.deposit),
        bond: Amount(bond),
        funded_slot: Number(deal.funded_slot),
        confirm_by_slot: Number(deal.confirm_by_slot),
        start_slot: deal.run.as_ref().map(|run| Number(run.confirmed_slot)),
        end_slot: deal.run.as_ref().map(|run| Number(run.end_slot)),
        frozen_slot: deal.frozen.as_ref().map(|frozen| Number(frozen.slot)),
        frozen_block: deal.frozen.as_ref().map(|frozen| frozen.height),
        manifest_hash: deal.manifest_hash,
        manifest,
        outcome: deal.outcome.as_ref().map(outcome_shape),
    }
}

fn outcome_shape(outcome: &Outcome) -> shape::Outcome {
    shape::Outcome {
        good_slots: Number(outcome.good_slots),
        gross: Amount(outcome.gross),
        to_provider: Amount(outcome.to_provider),
        fee: Amount(outcome.fee),
        refund: Amount(outcome.refund),
        slash: Amount(outcome.slash),
        compensation: Amount(outcome.compensation),
        bond_back: Amount(outcome.bond_back),
    }
}

fn meter_shape(id: DealId, block: Hash, deal: &Deal<AccountId>, reading: MeterReading) -> DealMeter {
    let recent = pallet_x0_measurement::Pallet::<Runtime>::history(&deal.node, RECENT_SLOTS_MAX);
    let wakes_at_slot = match pallet_x0_janitor::Entries::<Runtime>::get(id).map(|entry| entry.place) {
        Some(Place::AtSlot(slot)) => Some(Number(slot)),
        _ => None,
    };
    DealMeter {
        deal: Number(id),
        block,
        closed_slot: Number(reading.closed_slot),
        slots: Number(reading.slots),
        good: Number(reading.good),
        bad: Number(reading.bad),
        unknown: Number(reading.unknown),
        void: Number(reading.void),
        down_run: reading.down_run,
        gross: Amount(reading.gross),
        paid: Amount(reading.paid),
        remaining: Amount(reading.remaining),
        affordable_slots: Number(reading.affordable_slots),
        wakes_at_slot,
        recent: recent
            .into_iter()
            .map(|(slot, outcome)| SlotVerdict { slot: Number(slot), verdict: format!("{outcome:?}").to_uppercase() })
            .collect(),
    }
}

/// Adds up what the market owes, what is held, and what exists. Sums that overflow are violations:
/// total issuance is an amount, so that no sum of parts of it can overflow unless the books are wrong.
fn read_solvency(block: Hash, number: u32) -> Solvency {
    use pallet_x0_escrow::HoldReason;
    use x0_runtime::RuntimeHoldReason;
    let mut overflow = false;
    let mut add = |sum: &mut u128, amount: u128| match sum.checked_add(amount) {
        Some(total) => *sum = total,
        None => overflow = true,
    };
    let (mut escrow_owed, mut bonds_owed, mut escrow_held, mut bonds_held, mut accounts_total) = (0, 0, 0, 0, 0);
    for ledger in pallet_x0_escrow::Ledgers::<Runtime>::iter_values() {
        add(&mut escrow_owed, ledger.deposit.saturating_sub(ledger.gross_paid));
        add(&mut escrow_owed, ledger.reserve);
        add(&mut bonds_owed, ledger.bond);
    }
    for hold in pallet_balances::Holds::<Runtime>::iter_values().flatten() {
        match hold.id {
            RuntimeHoldReason::Escrow(HoldReason::DealEscrow) => add(&mut escrow_held, hold.amount),
            RuntimeHoldReason::Escrow(HoldReason::DealBond) => add(&mut bonds_held, hold.amount),
            _ => {}
        }
    }
    for account in frame_system::Account::<Runtime>::iter_values() {
        add(&mut accounts_total, account.data.free);
        add(&mut accounts_total, account.data.reserved);
    }
    let live_deals = pallet::Deals::<Runtime>::iter_values().filter(|deal| !deal.state.is_terminal()).count();
    let issuance = pallet_balances::TotalIssuance::<Runtime>::get();
    let checked = pallet_x0_escrow::Pallet::<Runtime>::check_invariants().err();
    let violation = checked.or_else(|| overflow.then(|| "a sum of amounts exceeds 128 bits".to_owned()));
    Solvency {
        block,
        number,
        live_deals: u32::try_from(live_deals).unwrap_or(u32::MAX),
        escrow_owed: Amount(escrow_owed),
        escrow_held: Amount(escrow_held),
        bonds_owed: Amount(bonds_owed),
        bonds_held: Amount(bonds_held),
        issuance: Amount(issuance),
        accounts_total: Amount(accounts_total),
        solvent: violation.is_none()
            && escrow_owed == escrow_held
            && bonds_owed == bonds_held
            && accounts_total == issuance,
        violation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_types::deal::DealState;

    #[test]
    fn the_states_that_clients_may_ask_for_are_those_of_the_chain() {
        use DealState::{
            Active, Bidding, Cancelled, Completed, Disputed, Exhausted, Expired, Failed, Frozen, Funded, Reclaimed,
            Reclaiming, Requested, Resolved, Suspect,
        };
        let all = [
            Funded, Active, Suspect, Frozen, Completed, Cancelled, Exhausted, Failed, Expired, Requested, Bidding,
            Reclaiming, Disputed, Reclaimed, Resolved,
        ];
        // A new state has to be named here and there: this does not compile without it.
        for state in all {
            match state {
                Funded | Active | Suspect | Frozen | Completed | Cancelled | Exhausted | Failed | Expired
                | Requested | Bidding | Reclaiming | Disputed | Reclaimed | Resolved => {}
            }
        }
        assert_eq!(all.map(|state| format!("{state:?}")), DEAL_STATES);
    }

    #[test]
    fn pages_come_in_the_order_of_numbers_and_go_on_after_the_last() {
        let all = || [9u64, 3, 7, 1, 5].into_iter().map(|id| (id, id % 3));
        let ids = |page: Vec<(u64, u64)>| page.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(select(all(), None, Some(2), |_| true)), [1, 3]);
        assert_eq!(ids(select(all(), Some(Number(3)), Some(2), |_| true)), [5, 7]);
        assert_eq!(ids(select(all(), Some(Number(7)), Some(2), |_| true)), [9]);
        assert_eq!(ids(select(all(), None, None, |rest| *rest == 1)), [1, 7]);
        assert_eq!(page(Some(u32::MAX)), PAGE_MAX as usize);
    }
}
